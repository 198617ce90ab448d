"""Which rows are drawn, train and validate, and what a history says about how it went. No torch."""
