"""Words and their numbers: splitting, vocabularies, padding."""
