"""Layers, loss, metrics and training of a first spec, by how much there is to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nnrun.experiment.init.sizes import Sizes
from nnrun.experiment.init.writing import comments
from nnrun.spec.wording import counted, quoted
from nnrun.spec.writing.dump import flow

_ROWS_FOR_LESS_DROPOUT: Final = 12_000
_OF_A_TABLE: Final = (
    (1_000, 32, 300, 20, 0.15, 3),
    (3_000, 64, 150, 12, 0.1, 0),
    (12_000, 128, 80, 8, 0.1, 0),
    (50_000, 256, 60, 5, 0.1, 0),
)
"""Up to how many training rows: rows of a batch, epochs at most, epochs of patience, share of inner rows, and
epochs that cannot be the best: of few inner rows the first is now and then the best by luck."""
_OF_DROPOUT: Final = "  # against overfitting; lower it if the training loss stays high"


def network_lines(sizes: Sizes, row_shape: Sequence[int] = (), *, images: bool = False) -> list[str]:
    """Layers, loss and training. For images, (height, width) or (height, width, channels), two
    convolutions."""
    hidden = _image_lines(row_shape) if images else hidden_lines(sizes, row_shape)
    layer, gives, loss = last_layer(sizes)
    last = [f"  - dense: {layer}  # {gives}", f"loss: {loss}"]
    return ["layers:", *hidden, *last, *balance_lines(sizes), *training_lines(sizes, metrics_of(sizes))]


def _image_lines(row_shape: Sequence[int]) -> list[str]:
    one_channel = [f"  - reshape: {[*row_shape, 1]}  # height, width and one channel"]
    return [
        *(one_channel if len(row_shape) == 2 else []),
        "  - conv2d: {filters: 16, kernel_size: 3, padding: same, activation: relu}",
        "  - max_pooling",
        "  - conv2d: {filters: 32, kernel_size: 3, padding: same, activation: relu}",
        "  - max_pooling",
        "  - flatten",
        f"  - dropout: 0.3{_OF_DROPOUT}",
    ]


def hidden_lines(sizes: Sizes, row_shape: Sequence[int] = (), *, dropout: bool | None = None) -> list[str]:
    """Layers by rows: 128-128 for a table from 300 rows on; else 16-16 below 500, 32-32 below 2,000, 64-64
    below 50,000, 128-128 above; for texts one layer, whose first weights are many. No layer is narrower than
    the classes. `dropout` follows each layer; by default where classes or labels are predicted."""
    rows, classes = sizes.train_rows, len(sizes.classes)
    units = 16 if rows < 500 else 32 if rows < 2_000 else 64 if rows < 50_000 else 128
    units = 128 if sizes.measured else units
    if classes > 2:
        units = max(units, min(512, 1 << (classes - 1).bit_length()))
    hidden = f"  - dense: {{units: {units}, activation: relu}}"
    flat = [f"  - flatten  # rows of {tuple(row_shape)} to rows of numbers"] if len(row_shape) > 1 else []
    why = f"sized for {counted(rows, 'training row')}"
    if sizes.measured:
        why = "on most tables better than smaller and deeper networks"
    lines = [*flat, f"{hidden}  # {why}"]
    drops = bool(classes) or sizes.labels if dropout is None else dropout
    if drops:
        lines.append(dropout_line(sizes))
    if not sizes.texts:
        lines.append(hidden)
        if drops:
            lines.append(f"  - dropout: {_rate(sizes)}")
    return lines


def _rate(sizes: Sizes) -> float:
    """Of dropout after hidden layers; many rows need less of it."""
    if sizes.measured and sizes.train_rows > _ROWS_FOR_LESS_DROPOUT:
        return 0.1
    return 0.5 if sizes.texts else 0.3


def dropout_line(sizes: Sizes) -> str:
    """The first dropout of a network, with its remark."""
    return f"  - dropout: {_rate(sizes)}{_OF_DROPOUT}"


def last_layer(sizes: Sizes) -> tuple[str, str, str]:
    """The parameters of the last dense layer, what it gives, and the loss."""
    classes, outputs = len(sizes.classes), sizes.outputs
    if sizes.labels or classes == 2:
        gives = f"the probability of {'each label' if sizes.labels else 'the second class'}"
        return f"{{units: {outputs}, activation: sigmoid}}", gives, "binary_crossentropy"
    if classes:
        layer = f"{{units: {classes}, activation: softmax}}"
        return layer, "a probability for each class", "categorical_crossentropy"
    return str(outputs), "a number, of any size" if outputs == 1 else "a number for each target", "mse"


def balance_lines(sizes: Sizes) -> list[str]:
    """Where the classes are uneven: what class weights would do. They are not written, since with them the
    outputs are no longer the probabilities of the classes: accuracy and log loss become worse."""
    if not sizes.uneven:
        return []
    fewest = min(sizes.classes, key=sizes.classes.__getitem__)
    most = max(sizes.classes, key=sizes.classes.__getitem__)
    told = (
        f"The classes are uneven: {quoted(most)} has {counted(sizes.classes[most], 'row')}, "
        f"{quoted(fewest)} {sizes.classes[fewest]:,}. Accuracy hides how well the rare ones are predicted; f1"
    )
    told += (
        " and average_precision show it. "
        if len(sizes.classes) == 2
        else ", the mean over the classes, shows it. "
    )
    told += (
        "`class_weight: balanced` would make all classes count equally: more rows of the rare ones are "
        "found, and the outputs no longer match how frequent the classes are."
    )
    return comments(told, "")


def metrics_of(sizes: Sizes) -> list[str]:
    """The metrics of a target, or of several labels."""
    if sizes.labels:
        return ["accuracy", "f1"]
    if sizes.classes:
        rare = ["f1", *(["average_precision"] if len(sizes.classes) == 2 else [])]
        return ["accuracy", *(rare if sizes.uneven else [])]
    return ["mae", *(["r2"] if sizes.train_rows >= 50 else [])]


def training_lines(sizes: Sizes, metrics: Sequence[str], watched: str = "val_loss") -> list[str]:
    """Optimizer, metrics (none where outputs have their own), epochs, batches and early stopping.

    Args:
        sizes: how much there is to learn from.
        metrics: at the top of the spec.
        watched: what early stopping watches, in words.
    """
    if sizes.measured:
        return _training_lines_of_a_table(sizes, metrics, watched)
    rows = sizes.train_rows
    batch = _batch(rows)
    epochs, patience = (50, 3) if sizes.texts else (200, 20) if rows < 50_000 else (100, 10)
    optimizer = "optimizer: adam"
    if sizes.texts:
        optimizer = "optimizer: {adam: 0.005}  # faster than the default 0.001, since tf-idf values are small"
    return [
        optimizer,
        *_metrics_line(metrics),
        f"epochs: {epochs}  # at most",
        f"batch_size: {batch}",
        f"early_stopping: {{patience: {patience}, restore_best: true}}  # stops when {watched} stops "
        "improving",
    ]


def _training_lines_of_a_table(sizes: Sizes, metrics: Sequence[str], watched: str) -> list[str]:
    """Chosen on half of the tables of `tests/benchmarks/tables.py`, judged on the others."""
    batch, epochs, patience, share, start = next(
        rest for most, *rest in _OF_A_TABLE if sizes.train_rows <= most
    )
    decay = {"learning_rate": 0.002, "weight_decay": 0.3, "exclude_from_weight_decay": "bias"}
    inner = (
        f"A part of the training rows, set apart, decides when to stop: {watched.replace('val_', 'inner_')} "
        "stops improving. So the scores of the validation rows are of rows that chose nothing."
    )
    if start:
        inner += (
            f" The first {start} epochs do not count: of so few rows one of them would be the best by luck."
        )
    stopping = f"on: inner, fraction: {share}, patience: {patience}"
    stopping += f", start_from_epoch: {start}" if start else ""
    return [
        "# AdamW with strong weight decay of the kernels, against overfitting",
        f"optimizer: {flow({'adamw': decay})}",
        "weight_averaging: ema  # of about two epochs; the average is validated and predicts",
        *_metrics_line(metrics),
        f"epochs: {epochs}  # at most",
        f"batch_size: {batch}  # for {counted(sizes.train_rows, 'training row')}",
        *comments(inner, ""),
        f"early_stopping: {{{stopping}, restore_best: true}}",
    ]


def _metrics_line(metrics: Sequence[str]) -> list[str]:
    return [f"metrics: {flow(list(metrics))}"] if metrics else []


def _batch(rows: int) -> int:
    """More rows, larger batches; of very few rows no more than a quarter, so that an epoch has several
    steps."""
    if rows < 64:
        return max(1, min(16, 1 << (max(1, rows // 4)).bit_length() - 1))
    return 16 if rows < 500 else 32 if rows < 2_000 else 128 if rows < 5_000 else 256
