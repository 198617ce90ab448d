"""Backends compute the steps of a segment: eager PyTorch, C++. `choice` decides between them.

They import from `nnrun.training`, of which only `engine` imports `backend`, the protocol.
"""
