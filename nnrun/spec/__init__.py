"""What a YAML spec may say.

Text in, `ExperimentSpec` out; imports no torch, pandas or numpy, and of nnrun only errors.
"""
