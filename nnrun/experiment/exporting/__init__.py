"""A run's network as an ONNX or PyTorch program file."""

from nnrun.lazy_torch import import_torch

import_torch()  # which most modules of this folder import themselves
