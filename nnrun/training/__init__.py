"""Losses, optimizers, metrics, and the loop that trains R replicas side by side."""
