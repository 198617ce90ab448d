"""Learning curves from tables and labels, as figures and as text. Knows no paths of runs."""
