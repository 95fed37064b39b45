"""The embedded world of the demo: a small webapp, a sample challenge, its grader."""
