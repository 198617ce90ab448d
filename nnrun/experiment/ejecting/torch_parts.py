"""Modules that a script for PyTorch has copies of, where Keras and PyTorch train otherwise.

They are copied as they stand, so that they import nothing of nnrun; short lines, since scripts are formatted
as ruff does it by default.
"""

# mypy: ignore-errors
# ruff: noqa: D102

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SEED = 0


def seed_of(fold, epoch, purpose, seed=SEED):
    """The seed of one stream of random numbers, as nnrun derives it."""
    words = f"{seed},{fold},{epoch},{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1


def shuffled(rows, fold, epoch):
    """The rows in the order of an epoch."""
    seed = seed_of(fold, epoch, "order of training rows")
    return np.random.default_rng(seed).permutation(rows)


class Embedding(nn.Embedding):
    """Keras adds the squares of the gradients of all places where a word stands."""

    def forward(self, words):
        # In float64, since one word may stand at a hundred thousand places of a batch.
        table = self.weight.double()
        found = F.embedding(words, table)

        def remember(gradient):
            places = gradient.flatten(0, -2) ** 2
            sums = torch.zeros_like(table).index_add(0, words.flatten(), places)
            self.weight.squares = sums.float()

        if found.requires_grad:
            found.register_hook(remember)
        return found.float()


class BatchNorm(nn.Module):
    """Keras's: the moving variance, too, is divided by n, and not by n - 1."""

    def __init__(self, features, momentum, eps):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x):
        mean, variance = self.running_mean, self.running_var
        if self.training:
            axes = tuple(range(x.dim() - 1))
            variance, mean = torch.var_mean(x, axes, correction=0)
            self.running_mean.lerp_(mean.detach(), 1 - self.momentum)
            self.running_var.lerp_(variance.detach(), 1 - self.momentum)
        scaled = (x - mean) * torch.rsqrt(variance + self.eps)
        return scaled * self.weight + self.bias


class Dropout(nn.Module):
    """Drops what nnrun drops: by SplitMix64 (Steele, Lea & Flood 2014), not by chance."""

    now = (0, 1, 0)  # the fold, the epoch, and its first row of this batch

    def __init__(self, rate, layer):
        super().__init__()
        self.rate, self.layer = rate, layer

    def key(self, fold, epoch, purpose):
        return seed_of(fold, epoch, purpose)

    def forward(self, x):
        if not self.training:
            return x
        fold, epoch, row = Dropout.now
        key = np.uint64(self.key(fold, epoch, f"dropout of layer {self.layer}"))
        first = row * x[0].numel() + 1
        counter = np.arange(first, first + x.numel(), dtype=np.uint64)
        z = counter * np.uint64(0x9E3779B97F4A7C15) + key
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        uniform = ((z ^ (z >> np.uint64(31))) >> np.uint64(40)) * 2.0**-24
        kept = torch.from_numpy(uniform >= self.rate).view(x.shape)
        return x * kept / (1 - self.rate)


def has_target(y):
    """Which rows have a target: not NaN, and not the class -1. The others do not count."""
    return y >= 0 if y.dim() == 1 else ~y.isnan().any(1)


def categorical_hinge(outputs, y):
    """By how much the right class is less than 1 above the best other one, of each row."""
    right = (y * outputs).sum(-1)
    other = ((1 - y) * outputs).amax(-1)
    return torch.relu(other - right + 1)


def moving_average(decay):
    """How an average follows the weights: first fast, then by 1 - decay of the way at each step."""

    def follow(average, weight, steps):
        slow = min(decay, (1 + int(steps)) / (10 + int(steps)))
        return average + (1 - slow) * (weight - average)

    return follow


def macro(score, y, probabilities):
    """The mean of a score over the classes, each against the others."""
    return np.mean([score(y == k, probabilities[:, k]) for k in y.unique()])


class SparseRows:
    """Rows of which most numbers are 0: a batch of them is a sparse tensor."""

    def __init__(self, rows):
        self.rows, self.shape = rows, rows.shape

    def __getitem__(self, batch):
        part = self.rows[np.asarray(batch)].tocoo()
        places, own = np.stack([part.row, part.col]), part.shape
        return torch.sparse_coo_tensor(places, part.data, own, check_invariants=True)


class MemberDropout(Dropout):
    """Each member of an ensemble draws its own."""

    member = 0

    def key(self, fold, epoch, purpose):
        own = seed_of(fold, 0, f"member {self.member} of the ensemble")
        return seed_of(fold, epoch, purpose, own)
