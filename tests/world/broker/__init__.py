"""The broker as a whole: its own process, with real Redis, webapp, graders and clients around it.

Every test looks at it from outside. ``world.py`` says what there is, ``case.py`` what every test checks in
the end.
"""
