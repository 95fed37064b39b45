"""A module that cannot be imported."""

ANSWER = 1 / 0
