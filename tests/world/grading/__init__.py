"""Evaluators in processes of their own, over a real Redis."""
