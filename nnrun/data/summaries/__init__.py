"""What a data set or a file holds, as plain values for JSON and tables."""
