"""A spec as YAML, as JSON Schema, and as short labels."""
