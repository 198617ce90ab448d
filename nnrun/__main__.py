"""`python -m nnrun` is the `nnrun` command."""

from nnrun.cli import entry_point

entry_point()
