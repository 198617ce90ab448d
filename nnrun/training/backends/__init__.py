"""Ways to compute the training steps of a segment: eager PyTorch, C++, compiled."""
