"""A run's record in a tracker of experiments: MLflow, TensorBoard, Weights & Biases; nothing is trained."""
