"""Where samples come from, and how they become rows of numbers. No torch."""

from nnrun.data.dataset import Dataset, Samples, SourceFile, TokenRows
from nnrun.data.preprocess import FittedPreprocessing
from nnrun.data.rows import ByteRows, DenseRows, SparseRows
from nnrun.data.sources import load_dataset

__all__ = [
    "ByteRows",
    "Dataset",
    "DenseRows",
    "FittedPreprocessing",
    "Samples",
    "SourceFile",
    "SparseRows",
    "TokenRows",
    "load_dataset",
]
