"""Specs and runs described for people: shapes, columns, curves, the report.

Only commands and the API import it.
"""
