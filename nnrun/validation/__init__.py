"""Which rows train and which validate, and what a history says about how it went. No torch."""
