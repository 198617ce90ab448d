"""From a spec and its data to what can be trained: splits, preprocessing, networks, memory, baseline."""
