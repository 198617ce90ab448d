"""What several test modules share: small experiments, runs on disk, tasks, strategies."""
