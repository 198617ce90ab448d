"""Where specs differ, and whether their scores can be compared."""
