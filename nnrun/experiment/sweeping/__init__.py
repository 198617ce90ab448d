"""Many trials of one spec: planned, trained, ranked."""
