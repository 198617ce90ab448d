"""A run's networks measured again, analysed, and compared with other runs. It may import `predicting`."""
