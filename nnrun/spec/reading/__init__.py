"""From YAML text and overrides to a valid spec, with every problem at its line.

Others import `load` and `overrides`.
"""
