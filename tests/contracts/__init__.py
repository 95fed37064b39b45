"""Assertions that each fake and its real twin are both held to."""
