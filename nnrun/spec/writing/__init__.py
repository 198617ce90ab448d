"""A spec as YAML, as JSON Schema, and as short labels.

Imports the schema and the grammar; anyone may import it.
"""
