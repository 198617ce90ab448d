"""Training a run from start to finish: recorded, resumed, reproduced, trained finally."""
