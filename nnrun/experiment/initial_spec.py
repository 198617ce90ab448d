"""A first spec for a file of one's own: what is in the file decides the target, the inputs and the network.

The rules are few and stand in the functions below; what they decide is told in the spec's comments.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from nnrun.data.describe_columns import counts_of_values
from nnrun.data.describe_file import kind_of_file, read_file
from nnrun.data.files.read import ReadTable
from nnrun.data.sources.text_folder import files_of, folder_parts
from nnrun.data.table import NumberColumn
from nnrun.errors import DataError, UsageError, printable
from nnrun.experiment.initial_inputs import Inputs, choose_inputs
from nnrun.experiment.initial_target import TaskName, possible_tasks, require_target, why_no_classes
from nnrun.spec.dump import flow
from nnrun.spec.suggest import counted, quoted

_WIDTH: Final = 100
_FOLDS: Final = 5
_FEW_ROWS: Final = 2_000  # folds below, one validation set from here on
_TEST_ROWS: Final = 1_000  # a test set is held back above
_HELD_BACK: Final = 0.2
_MANY_VALUES: Final = 50
_RARE: Final = 5
_UNEVEN: Final = 10
_LISTED_INPUTS: Final = 200


@dataclass(frozen=True)
class InitialSpec:
    """A spec, and what was decided.

    Attributes:
        text: YAML.
        chosen: what → in words, for a screen.
    """

    text: str
    chosen: Mapping[str, str]


@dataclass(frozen=True)
class _Sizes:
    """How much there is to learn from.

    Attributes:
        rows: in the file, or in the training folder.
        classes: class → its rows; empty for regression.
        texts: some inputs are texts.
        own_test: the test set is a folder of its own.
    """

    rows: int
    classes: Mapping[str, int] = field(default_factory=dict)
    texts: bool = False
    own_test: bool = False

    @property
    def rarest(self) -> int:
        """Rows of the rarest class; of all rows for regression."""
        return min(self.classes.values(), default=self.rows)

    @property
    def holds_back(self) -> bool:
        """Whether some rows are to be the test set: of more than 1,000, so that each class can be in it."""
        enough = self.rarest >= 3 and math.ceil(_HELD_BACK * self.rows) >= len(self.classes)
        return self.rows > _TEST_ROWS and enough and not self.own_test

    @property
    def train_rows(self) -> int:
        """Rows that are left to train and validate on."""
        return self.rows - math.ceil(_HELD_BACK * self.rows) if self.holds_back else self.rows

    @property
    def folds(self) -> int | None:
        """How many; None for a single validation set. No more than the rarest class has rows for."""
        rarest = self.rarest - math.ceil(_HELD_BACK * self.rarest) if self.holds_back else self.rarest
        too_many_classes = math.ceil(_HELD_BACK * self.train_rows) < len(self.classes)
        return min(_FOLDS, rarest) if self.train_rows < _FEW_ROWS or too_many_classes else None


def initial_spec_of_file(
    path: Path,
    target: str,
    task: TaskName,
    spec_path: Path,
    *,
    why_target: str = "",
    file: ReadTable | None = None,
    on_message: Callable[[str], None] = lambda text: None,
) -> InitialSpec:
    """A spec for a file of rows.

    Args:
        path: of the file.
        target: the column to predict.
        task: as classes, or as a number.
        spec_path: where the spec will lie; its paths are relative to that folder.
        why_target: why this column, for the comment beside it.
        file: what was read of it, if it was.
        on_message: is told how far reading is.

    Raises:
        UsageError: there is no such column, or it is no number and the task is regression.
        DataError: the file is damaged, the column cannot be predicted, or nothing is left to learn from.
    """
    file = read_file(path, on_message) if file is None else file
    require_target(file, target)
    if task not in possible_tasks(file.columns[target]):
        raise UsageError(
            f"{file.name}: column {quoted(target)} holds texts, not numbers, so it can be predicted as "
            "classes only: --task classification."
        )
    types: dict[str, str] = {}
    if task == "classification" and not _are_labels(file.columns[target].column):
        types = {target: "category"}
        file = read_file(path, on_message, {target: "category"})
        require_target(file, target)
    if task == "classification" and (why := why_no_classes(file.columns[target], file.n_rows)):
        raise DataError(f"{file.name}: column {quoted(target)} cannot be classes: it {why}.")
    if file.n_rows < 4:
        raise DataError(
            f"{file.name} has {counted(file.n_rows, 'row')}; to train and to validate takes 4 or more."
        )
    inputs = choose_inputs(file, target, task)
    counts = counts_of_values(file.columns[target].column) if task == "classification" else {}
    texts = any(file.columns[name].type == "text" for name in inputs.names)
    sizes = _Sizes(file.n_rows, counts, texts)
    kind = kind_of_file(path.name)
    assert kind is not None, "a file of another kind cannot be read"
    lines = [
        _comment(f"{target} from {path.name}: a first spec, written by nnrun init. Change what you like."),
        *_about_target(file, target, sizes),
        "dataset:",
        f"  {kind.kind}:",
        f"    path: {flow(_relative(path, spec_path))}",
        f"    target: {flow(target)}" + (f"  # {why_target}" if why_target else ""),
    ]
    if types:
        lines.append(f"    types: {flow(types)}  # its numbers name classes")
    lines += [f"    {key}: {flow(value)}  # as the file is written" for key, value in file.keys.items()]
    lines += _input_lines(file, target, inputs)
    lines += _test_lines(sizes, "    ")
    lines += _preprocessing(file, inputs, task)
    lines += _network(sizes)
    left_out = [*inputs.left_out, *(() if inputs.kept_giveaways else inputs.giveaways)]
    return InitialSpec(
        "\n".join(lines) + "\n",
        {
            "target": quoted(target) + (f", {why_target}" if why_target else ""),
            **_chosen(sizes),
            "inputs": f"{len(inputs.names):,} of {counted(len(file.columns) - 1, 'other column')}",
            **({"left out": _some(left_out)} if left_out else {}),
            **_gives_away(target, inputs),
        },
    )


def initial_spec_of_folder(path: Path, spec_path: Path) -> InitialSpec:
    """A spec for a folder of texts with a folder for each class.

    Raises:
        DataError: there is no such folder, or it does not hold two classes.
    """
    parts = folder_parts(path)
    counts = {name: len(files) for name, files in files_of(parts.train).items()}
    rarest = min(counts, key=counts.__getitem__)
    if len(counts) < 2 or counts[rarest] < 2:
        raise DataError(
            f"{printable(str(parts.train))}: there must be two classes or more with two texts or more each, "
            f"but {quoted(rarest)} has {counted(counts[rarest], 'text')}"
            f"{' and is the only one' if len(counts) < 2 else ''}."
        )
    sizes = _Sizes(sum(counts.values()), counts, texts=True, own_test=parts.test is not None)
    name = path.resolve().name
    lines = [
        _comment(
            f"The folder of a text from {name}: a first spec, written by nnrun init. Change what you like."
        ),
        *_classes(sizes, "texts"),
        "dataset:",
        "  text_folder:",
        f"    path: {flow(_relative(path, spec_path))}",
    ]
    if sizes.own_test:
        lines.append("    # its folder test/ is the test set: `nnrun final` uses it, and counts the uses")
    lines += _test_lines(sizes, "    ")
    lines += ["preprocessing:", "  inputs:  # fitted on the training rows of each fold, and on nothing else"]
    lines += [_TEXT_STEP, *_network(sizes)]
    chosen = {"target": "the folder of each text", **_chosen(sizes), "inputs": "the texts"}
    return InitialSpec("\n".join(lines) + "\n", chosen)


# --- data --------------------------------------------------------------------------------------------------


def _about_target(file: ReadTable, target: str, sizes: _Sizes) -> list[str]:
    if sizes.classes:
        return _classes(sizes, "rows")
    column = file.columns[target].column
    assert isinstance(column, NumberColumn), "regression is of numbers"
    largest = float(np.abs(column.values).max()) or 1.0  # its square may be beyond any float
    std = float((column.values.astype(np.float64) / largest).std()) * largest
    low, high = float(column.values.min()), float(column.values.max())
    return [
        _comment(
            f"{sizes.rows:,} rows; the target goes from {low:.5g} to {high:.5g}, with a standard deviation "
            f"of {std:.5g}."
        )
    ]


def _classes(sizes: _Sizes, rows: str) -> list[str]:
    most = max(sizes.classes, key=sizes.classes.__getitem__)
    share = 100 * sizes.classes[most] / sizes.rows
    return [
        _comment(
            f"{sizes.rows:,} {rows} in {len(sizes.classes):,} classes. The largest, {quoted(most)}, has "
            f"{share:.0f} % of them: the accuracy of always guessing it."
        )
    ]


def _input_lines(file: ReadTable, target: str, inputs: Inputs) -> list[str]:
    lines = []
    for name, how in inputs.giveaways.items():
        if inputs.kept_giveaways:
            verdict = "It stays an input, since nothing else is left: is it known before the target is?"
        else:
            verdict = "Left out: a network that saw it would learn nothing else."
        lines += _comments(f"! {quoted(name)} GIVES {quoted(target)} AWAY: {how}. {verdict}", "    ")
    for name, why in inputs.left_out.items():
        lines += _comments(f"left out: {quoted(name)} {why}", "    ")
    everything = len(inputs.names) == len(file.columns) - 1
    if everything and len(inputs.names) > _LISTED_INPUTS:
        return [*lines, _comment("inputs: all other columns, by default", "    ")]
    return [*lines, *_flow_list("inputs", inputs.names, "    ")]


def _test_lines(sizes: _Sizes, indent: str) -> list[str]:
    if sizes.own_test:
        return []
    if not sizes.holds_back:
        if sizes.rows <= _TEST_ROWS:
            why = f"{sizes.rows:,} rows are few, and the folds use each of them"
        elif sizes.rarest < 3:
            why = f"the rarest class has {counted(sizes.rarest, 'row')}"
        else:
            why = f"it could not hold all {len(sizes.classes):,} classes"
        return [_comment(f"test: none, since {why}", indent)]
    test = {"fraction": _HELD_BACK, **({"stratify": True} if sizes.classes else {})}
    comment = "for `nnrun final` alone, once all is decided"
    return [f"{indent}test: {flow(test)}  # {comment}"]


# --- preprocessing -----------------------------------------------------------------------------------------

_TEXT_STEP: Final = "    - text: {num_words: 10000, weighting: tf_idf}  # texts: their most frequent words"


def _preprocessing(file: ReadTable, inputs: Inputs, task: TaskName) -> list[str]:
    types = [file.columns[name].type for name in inputs.names]
    lines = ["preprocessing:", "  inputs:  # fitted on the training rows of each fold, and on nothing else"]
    if "number" in types:
        gaps = sum(file.columns[n].type == "number" and file.columns[n].missing > 0 for n in inputs.names)
        lacking = "none lacks a value here" if not gaps else f"{counted(gaps, 'column')} with missing values"
        lines += [
            f"    - impute: {{strategy: median, indicator: true}}  # numbers ({lacking})",
            "    - standardize  # numbers: mean 0, standard deviation 1",
        ]
    if "category" in types:
        lines += _one_hot(file, inputs)
    if "text" in types:
        lines.append(_TEXT_STEP)
    if task == "regression":
        lines.append("  targets: standardize  # trains better; mae is in the target's own units all the same")
    return lines


def _one_hot(file: ReadTable, inputs: Inputs) -> list[str]:
    many = [
        name
        for name in inputs.names
        if file.columns[name].type == "category" and (file.columns[name].distinct or 0) > _MANY_VALUES
    ]
    if any(file.n_rows >= 2 * _RARE * (file.columns[name].distinct or 0) for name in many):
        return [
            f"    - one_hot: {{min_count: {_RARE}}}  # categories: a column of 0 and 1 for each value of "
            f"{_RARE} rows or more"
        ]
    return ["    - one_hot  # categories: a column of 0 and 1 for each value"]


# --- network and training ----------------------------------------------------------------------------------


def _network(sizes: _Sizes) -> list[str]:
    """Layers by rows: 16-16 below 500, 32-32 below 2,000, 64-64 below 50,000, else 128-128; for texts one
    layer, whose first weights are many. No layer is narrower than the classes."""
    rows, classes = sizes.train_rows, len(sizes.classes)
    units = 16 if rows < 500 else 32 if rows < 2_000 else 64 if rows < 50_000 else 128
    if classes > 2:
        units = max(units, min(512, 1 << (classes - 1).bit_length()))
    dropout = 0.5 if sizes.texts else 0.3
    hidden = f"  - dense: {{units: {units}, activation: relu}}"
    lines = ["layers:", f"{hidden}  # sized for {counted(rows, 'training row')}"]
    if classes:
        lines.append(
            f"  - dropout: {dropout}  # against overfitting; less where the training loss stays high"
        )
    if not sizes.texts:
        lines.append(hidden)
        if classes:
            lines.append(f"  - dropout: {dropout}")
    if not classes:
        lines += ["  - dense: 1  # a number, of any size", "loss: mse"]
    elif classes == 2:
        lines += [
            "  - dense: {units: 1, activation: sigmoid}  # the probability of the second class",
            "loss: binary_crossentropy",
        ]
    else:
        lines += [
            f"  - dense: {{units: {classes}, activation: softmax}}  # a probability for each class",
            "loss: categorical_crossentropy",
        ]
    return [*lines, *_balance(sizes), *_training(sizes)]


def _balance(sizes: _Sizes) -> list[str]:
    if not sizes.classes:
        return []
    fewest = min(sizes.classes, key=sizes.classes.__getitem__)
    most = max(sizes.classes, key=sizes.classes.__getitem__)
    if sizes.classes[most] < _UNEVEN * sizes.classes[fewest]:
        return []
    return [
        *_comments(
            f"The classes are uneven: {quoted(most)} has {counted(sizes.classes[most], 'row')}, "
            f"{quoted(fewest)} {sizes.classes[fewest]:,}. `class_weight: balanced` would make them count "
            "alike. The accuracy hides how the rare ones fare; the recall shows it.",
            "",
        )
    ]


def _training(sizes: _Sizes) -> list[str]:
    rows = sizes.train_rows
    uneven = bool(_balance(sizes))
    if sizes.classes:
        metrics = ["accuracy", *(["recall"] if uneven else [])]
    else:
        metrics = ["mae", *(["r2"] if rows >= 50 else [])]
    batch = 16 if rows < 500 else 32 if rows < 2_000 else 128 if rows < 5_000 else 256
    epochs, patience = (50, 3) if sizes.texts else (200, 20) if rows < 50_000 else (100, 10)
    optimizer = "optimizer: adam"
    if sizes.texts:
        optimizer = "optimizer: {adam: 0.005}  # faster than the default 0.001, since tf-idf values are small"
    lines = [
        optimizer,
        f"metrics: {flow(metrics)}",
        f"epochs: {epochs}  # at most",
        f"batch_size: {batch}",
        f"early_stopping: {{patience: {patience}, restore_best: true}}  # ends once val_loss gets no better",
    ]
    stratify = {"stratify": True} if sizes.classes else {}
    if sizes.folds is not None:
        kfold = {"k": sizes.folds, "shuffle": True, **stratify}
        comment = "each row validates once"
        return [*lines, f"validation: {flow({'kfold': kfold})}  # {comment}"]
    return [*lines, f"validation: {flow({'holdout': {'fraction': _HELD_BACK, **stratify}})}"]


# --- words -------------------------------------------------------------------------------------------------


def _chosen(sizes: _Sizes) -> dict[str, str]:
    test = (
        "the folder test/"
        if sizes.own_test
        else f"{sizes.rows - sizes.train_rows:,} rows"
        if sizes.holds_back
        else "none"
    )
    return {
        "task": f"classification, {len(sizes.classes):,} classes" if sizes.classes else "regression",
        "rows": f"{sizes.rows:,}",
        "test set": test,
        "validation": f"{sizes.folds} folds" if sizes.folds else f"{_HELD_BACK:.0%} of the training rows",
    }


def _gives_away(target: str, inputs: Inputs) -> dict[str, str]:
    if not inputs.giveaways:
        return {}
    kept = " (kept: nothing else is left)" if inputs.kept_giveaways else ""
    return {"beware": f"{_some(list(inputs.giveaways))} gives {quoted(target)} away{kept}"}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return ", ".join(printable(name) for name in names[:8]) + more


def _are_labels(column: object) -> bool:
    """Whether a target is classes as it is: texts, or the numbers 0 and 1."""
    if not isinstance(column, NumberColumn):
        return True
    return set(np.unique(column.values).tolist()) == {0.0, 1.0}


def _relative(path: Path, spec_path: Path) -> str:
    """The path from the spec's folder, by names alone, as the loader of specs joins them again."""
    try:
        return Path(os.path.relpath(path, spec_path.parent)).as_posix()
    except ValueError:  # on another drive of Windows
        return path.absolute().as_posix()


def _comment(text: str, indent: str = "") -> str:
    return f"{indent}# {printable(text)}".replace("\n", "\\n")


def _comments(text: str, indent: str) -> list[str]:
    """A comment over as many lines as it needs."""
    width = _WIDTH - len(indent) - 2
    return [_comment(line, indent) for line in textwrap.wrap(printable(text), width, break_on_hyphens=False)]


def _flow_list(key: str, items: Sequence[str], indent: str) -> list[str]:
    """`key: [a, b]`, broken between items where it is long."""
    lines, line = [], f"{indent}{key}: ["
    for number, item in enumerate(items):
        text = flow(item) + ("]" if number == len(items) - 1 else ",")
        if len(line) + len(text) + 1 > _WIDTH and line.strip() != f"{key}: [":
            lines.append(line)
            line = f"{indent}  {text}"
        else:
            line += text if line.endswith("[") else f" {text}"
    return [*lines, line]
