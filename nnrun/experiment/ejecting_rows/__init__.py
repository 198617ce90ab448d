"""The rows of an ejected script: how they are loaded and prepared, for either framework."""
