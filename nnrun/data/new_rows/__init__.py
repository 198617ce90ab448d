"""Rows without targets, to be predicted, in blocks."""
