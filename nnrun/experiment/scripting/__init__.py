"""A run's model as one readable Python file that needs PyTorch and NumPy only."""
