"""One run from spec to record. The only package that knows all the others."""
