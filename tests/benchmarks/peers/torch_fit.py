"""A plain PyTorch loop trains what `fold_arrays.py` wrote. Prints {"epoch": seconds, "update": microseconds}.

    python tests/benchmarks/peers/torch_fit.py FOLDER --epochs N [--clock cpu] [--folds K]

Nothing is copied to Python within an epoch, Adam is fused and RMSprop updates all parameters in one call
(`foreach`), images and kernels lie channels_last, an embedding that is averaged is an `EmbeddingBag`, numbers
too small to matter are flushed to zero, and validation takes large batches. The epoch is the median of the
second to the last, validation included; `--folds K` trains folds 0 to K - 1 one after the other.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
VALIDATION_BATCH = 1024
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class LastStep(nn.Module):
    """Of a recurrent network over rows of words, what its last step gives."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x: Tensor) -> Tensor:
        steps: Tensor = self.recurrent(x)[0]
        return steps[:, -1]


class ChannelsLast(nn.Module):
    """(B, H, W, C) as PyTorch's convolutions take it, without moving a number."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def build(work: dict[str, Any], row_shape: tuple[int, ...], words: int) -> nn.Module:
    """The network without its last activation, which belongs to the loss."""
    modules: list[nn.Module] = []
    shape, layers = tuple(row_shape), list(work["layers"])
    if any(layer["kind"] == "conv2d" for layer in layers):
        shape = (*shape, 1) if len(shape) == 2 else shape
        modules += [nn.Unflatten(-1, (row_shape[-1], 1))] if len(row_shape) == 2 else []
        modules.append(ChannelsLast())
    for place, layer in enumerate(layers):
        kind, following = layer["kind"], layers[place + 1 : place + 2]
        if kind == "embedding":
            averaged = following[0]["kind"] == "global_average_pooling"
            modules.append((nn.EmbeddingBag if averaged else nn.Embedding)(words, layer["output_dim"]))
            shape = (layer["output_dim"],)
        elif kind in ("lstm", "gru"):
            made = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](shape[-1], layer["units"], batch_first=True)
            modules.append(LastStep(made))
            shape = (layer["units"],)
        elif kind == "conv2d":
            height, width, channels = shape
            tall, wide = (layer["kernel_size"] * 2)[:2]  # [3] is 3 by 3
            modules.append(nn.Conv2d(channels, layer["filters"], (tall, wide)))
            shape = (height - tall + 1, width - wide + 1, layer["filters"])
        elif kind == "max_pooling":
            modules.append(nn.MaxPool2d(2))
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif kind == "flatten":
            modules.append(nn.Flatten())
            shape = (math.prod(shape),)
        elif kind == "dense":
            modules.append(nn.Linear(math.prod(shape), layer["units"]))
            shape = (layer["units"],)
        if layer.get("activation") in ACTIVATIONS and kind in ("dense", "conv2d"):
            modules.append(ACTIVATIONS[layer["activation"]]())
    network = nn.Sequential(*modules)
    return network.to(memory_format=torch.channels_last) if len(row_shape) > 1 else network


def optimizer_of(work: dict[str, Any], network: nn.Module) -> torch.optim.Optimizer:
    settings = work["optimizer"]
    rate = settings["learning_rate"]
    if settings["kind"] == "adam":
        return torch.optim.Adam(network.parameters(), lr=rate, eps=1e-7, fused=True)
    return torch.optim.RMSprop(network.parameters(), lr=rate, alpha=0.9, eps=1e-7, foreach=True)


LOSSES: dict[str, tuple[Callable[[], nn.Module], torch.dtype]] = {
    "binary_crossentropy": (nn.BCEWithLogitsLoss, torch.float32),
    "categorical_crossentropy": (nn.CrossEntropyLoss, torch.float32),
    "sparse_categorical_crossentropy": (nn.CrossEntropyLoss, torch.int64),
    "mse": (nn.MSELoss, torch.float32),
}


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """How many rows are right; of numbers the sum of absolute errors."""
    if outputs.shape[-1] == 1:
        return ((outputs > 0) == (targets > 0.5)).sum()
    classes = targets if targets.ndim == 1 else targets.argmax(-1)
    return (outputs.argmax(-1) == classes).sum()


def train(
    work: dict[str, Any], folder: Path, fold: int, epochs: int, clock: Callable[[], float]
) -> list[float]:
    """The seconds of each epoch."""
    names = ("x_train", "y_train", "x_validation", "y_validation")
    x, y, x_validation, y_validation = (
        torch.from_numpy(np.load(folder / f"{name}_{fold}.npy")) for name in names
    )
    words = 0
    if work["layers"][0]["kind"] == "embedding":
        x, x_validation = x.long(), x_validation.long()
        words = int(max(x.max(), x_validation.max())) + 1
    make_loss, target_type = LOSSES[work["loss"]["kind"]]
    loss_function = make_loss()
    y, y_validation = y.to(target_type), y_validation.to(target_type)
    if target_type == torch.int64:
        y, y_validation = y.flatten(), y_validation.flatten()
    network = build(work, tuple(x.shape[1:]), words)
    optimizer = optimizer_of(work, network)
    seconds = []
    for _ in range(epochs):
        began = clock()
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        network.train()
        for rows in torch.randperm(len(x)).split(work["batch_size"]):
            optimizer.zero_grad()
            outputs, targets = network(x[rows]), y[rows]
            loss = loss_function(outputs, targets)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            right += correct(outputs.detach(), targets)
        network.eval()
        with torch.inference_mode():
            for rows_x, rows_y in zip(
                x_validation.split(VALIDATION_BATCH), y_validation.split(VALIDATION_BATCH), strict=True
            ):
                outputs = network(rows_x)
                total += loss_function(outputs, rows_y) * len(rows_x)
                right += correct(outputs, rows_y)
        total.item(), right.item()
        seconds.append(clock() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--folds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    work = json.loads((arguments.folder / "work.json").read_text(encoding="utf-8"))
    seconds: list[float] = []
    for fold in range(arguments.folds):
        seconds += train(work, arguments.folder, fold, arguments.epochs, CLOCKS[arguments.clock])[1:]
    rows = len(np.load(arguments.folder / "x_train_0.npy", mmap_mode="r"))
    epoch = statistics.median(seconds)
    print(json.dumps({"epoch": epoch, "update": epoch / math.ceil(rows / work["batch_size"]) * 1e6}))


if __name__ == "__main__":
    main()
