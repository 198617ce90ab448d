"""A run's network as an ONNX or PyTorch program file."""
