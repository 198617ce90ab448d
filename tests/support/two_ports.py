"""A graph with two inputs and two outputs, and arrays for it."""

from __future__ import annotations

import numpy as np

from nnrun.data.dataset import Array

# `select` is what PyTorch calls the first array of a program, `a_1` and what is within `a` have like paths.
GRAPH = """
dataset: {npz: {path: data.npz}}
inputs:
  size: {preprocessing: standardize}
  pic-ture: {array: pixels, preprocessing: rescale}
  words: {preprocessing: pad}
shared: {encoder: [dense: {units: 6, activation: relu}]}
layers:
  a: [from: size, dense: 3, residual: [residual: [dense: 3]], use: encoder]
  a_1: [from: size, dense: 3, residual: [dense: 3], use: encoder]
  seen: [from: pic-ture, conv1d: {filters: 4, kernel_size: 2}, flatten, batch_normalization]
  read:
    - from: words
    - embedding: {output_dim: 4, mask_zero: true}
    - parallel:
        merge: add
        branches:
          - [lstm: {units: 2, bidirectional: true, return_sequences: true}]
          - [gru: {units: 4, return_sequences: true}]
  told: [from: read, global_average_pooling]
  trunk: [concatenate: [a, a_1, seen, told], dropout: 0.2, dense: {units: 8, activation: relu}]
  select: [from: trunk, dense: 2]
  ki-nd: [from: trunk, dense: {units: 3, activation: softmax}]
  late: [from: ki-nd, dense: {units: 1, activation: sigmoid}]
  tags: [from: read, dense: {units: 3, activation: softmax}]
outputs:
  select: {loss: mse, preprocessing: standardize, metrics: [mae]}
  ki-nd: {loss: sparse_categorical_crossentropy, target: sort}
  late: {loss: binary_crossentropy}
  tags: {loss: sparse_categorical_crossentropy, metrics: [accuracy]}
optimizer: {adam: {learning_rate: 0.01}}
epochs: 2
batch_size: 16
validation: {kfold: {k: 2}}
"""

ROWS, STEPS = 48, 5


def arrays(rows: int, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    size = rng.normal(5, 2, (rows, 3))
    words = np.empty(rows, object)
    words[:] = [rng.integers(1, 9, rng.integers(1, STEPS)).tolist() for _ in range(rows)]
    words[0] = words[rows // 2] = [1, 2, 3, 4, 8]  # in each fold a row without padding
    return {
        "size": size,
        "pixels": rng.integers(0, 256, (rows, 4, 3)).astype(np.uint8),
        "words": words,
        "select": np.stack([size.sum(1), size[:, 0]], axis=1),
        "sort": rng.integers(0, 3, rows),
        "late": rng.integers(0, 2, rows),
        "tags": rng.integers(0, 3, (rows, STEPS)),
    }
