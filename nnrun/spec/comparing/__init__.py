"""Where specs differ, and whether their scores can be compared. Imports the schema; anyone may import it."""
