"""C++ code, compiled on the user's machine when first needed; imports `errors` and the modules in nnrun/.

Each .cpp file in `cpp/` becomes a shared library of its own, with the headers that it includes.
"""
