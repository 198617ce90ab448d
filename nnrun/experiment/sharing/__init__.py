"""`nnrun card`: a run described as a model card, and as a folder that others can use.

It may import `serving`, `predicting` and what these may.
"""
