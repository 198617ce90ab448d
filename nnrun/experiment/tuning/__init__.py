"""`nnrun tune`: from a file of data to a model, by the steps that a person would type."""
