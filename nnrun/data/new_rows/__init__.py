"""Rows without targets, to be predicted, in batches: where they come from, and what makes inputs of them.

May import `files`, `archives`, `preprocess` and the modules of `data` itself.
"""
