"""What the columns of a file are: numbers (in any spelling), dates, categories, texts, indices."""
