"""Names of scores in a record that are no column of a history."""

SHUFFLED = "accuracy_shuffled"
"""The accuracy of labels against themselves in another order (the book's listing 3.21), in `baseline`."""
