"""Predictions of a run's networks for new rows or for its own."""
