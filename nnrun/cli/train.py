"""`nnrun train`."""
