"""Figures of curves, sweeps and evaluations from tables and labels, and the page of a report.

Knows no paths of runs.
"""
