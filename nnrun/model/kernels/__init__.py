"""What layers compute in C++ on a CPU, as functions that PyTorch can differentiate.

Each has a C++ file of its own in `native/cpp/`. Where `usable` says no, layers compute with PyTorch.
"""
