"""The training of a spec as a short script for teaching, in PyTorch or Keras."""
