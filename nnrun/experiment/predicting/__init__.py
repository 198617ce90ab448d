"""Predictions of a run's networks for new rows or for its own.

It may import `finished`, `running` and `setup`.
"""
