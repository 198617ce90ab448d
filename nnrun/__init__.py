"""nnrun: neural-network experiments from a YAML spec."""

__version__ = "0.1.0"
