"""Reading a finished run: its spec, data, weights, scores and labels."""
