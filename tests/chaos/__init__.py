"""The proof of durability: real processes, killed at every step, and then everything is counted.

``python -m tests.chaos --help`` says how it is run; ``docs/chaos.rst`` what it shows and what it does not.
"""
