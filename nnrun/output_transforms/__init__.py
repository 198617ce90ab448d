"""What is done to a network's outputs, as NumPy arrays or tensors: turned back into units, calibrated.

Fitted elsewhere. Imports no other folder; any folder may import it.
"""
