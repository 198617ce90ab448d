"""Specs and runs described for people: shapes, columns, curves, the report."""
