"""The lines of a script that load the training rows: the registry of data sets.

A data set has a line in `LOADERS`; one without it is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data.archives.download import IMDB, MNIST, REUTERS, find
from nnrun.experiment.ejecting.lesson import Lesson
from nnrun.experiment.ejecting.refusals import can_write, refuse
from nnrun.experiment.ejecting.script_text import assigned, call_lines
from nnrun.experiment.ejecting_rows.loading import (
    DOWNLOADS,
    Code,
    classes_of,
    fetching,
    is_numbered,
    place,
    usual,
)
from nnrun.experiment.ejecting_rows.table_data import csv_code, published_code
from nnrun.spec import schema
from nnrun.spec.ports import INPUT_ARRAY, OUTPUT_ARRAY, array_of, target_of

_NP = frozenset(["import numpy as np"])


def _boston(lesson: Lesson, spec: Any, keras: bool) -> Code:
    name = "boston_housing.npz"
    rows = len(lesson.dataset.train)
    there = lesson.data_dir / name if lesson.data_dir is not None else None
    there = there if there is not None and there.exists() else None
    if keras and there is None:
        given = "" if spec.test_fraction == 0.2 else f"test_split={spec.test_fraction!r}"
        return _of_keras("boston_housing", given, f"House prices in {rows} districts of Boston.")
    lines = [
        "def load():",
        f'    """House prices in {rows} districts of Boston, in the order that Keras gives them."""',
        *fetching(name),
        "    with np.load(DATA) as file:",
        '        x, y = file["x"], file["y"]',
        "    order = np.arange(len(x))",
        "    np.random.RandomState(113).shuffle(order)",
        f"    return x[order[:{rows}]], y[order[:{rows}]]",
    ]
    return Code(lines, _NP | DOWNLOADS, helpers=("\n".join(place(there, name)),))


def _tokens(lesson: Lesson, spec: Any, keras: bool) -> Code:
    for option in ("maxlen", "skip_top"):
        if getattr(spec, option):
            raise refuse(f"{option} of the data set {spec.kind}")
    reuters, rows = isinstance(spec, schema.Reuters), len(lesson.dataset.train)
    what = "newswires" if reuters else "film reviews"
    remote = REUTERS if reuters else IMDB
    there = find(remote, lesson.data_dir)
    if keras and there == usual(remote.name):
        given = [] if spec.num_words is None else [f"num_words={spec.num_words}"]
        given += [f"test_split={spec.test_fraction!r}"] if reuters and spec.test_fraction != 0.2 else []
        return _of_keras(spec.kind, ", ".join(given), f"{rows} {what}, as word indices.")
    source = lesson.dataset.sources[0]
    x, y = ('"x"', '"y"') if reuters else ('"x_train"', '"y_train"')
    lines = [
        "def load():",
        f'    """{rows} {what} as lists of word indices, as Keras gives them."""',
        *fetching(remote.name),
        "    # The lists are Python objects in a pickle: take only the file that is expected.",
        "    assert hashlib.sha256(DATA.read_bytes()).hexdigest() == SHA256, DATA",
        "    with np.load(DATA, allow_pickle=True) as file:",
        f"        x, y = file[{x}], file[{y}]",
        *_highest(spec, reuters),
        "    order = np.arange(len(x))",
        "    np.random.RandomState(113).shuffle(order)",
    ]
    if reuters:
        lines.append(f"    order = order[:{rows}]  # the others are the test set")
    below = spec.num_words or "highest"
    lines += [
        "    # 1 begins a text, words count from 4, and 2 is each word that is too rare.",
        "    x = [[1] + [word + 3 for word in words] for words in x[order]]",
        f"    x = [[word if word < {below} else 2 for word in words] for words in x]",
    ]
    lines.append("    return x, y[order]")
    file = place(there, remote.name)
    head = "\n".join([*file, f'SHA256 = "{source.sha256}"'])
    return Code(lines, _NP | DOWNLOADS | {"import hashlib"}, helpers=(head,))


def _mnist(lesson: Lesson, spec: Any, keras: bool) -> Code:
    rows = len(lesson.dataset.train)
    there = find(MNIST, lesson.data_dir)
    if keras and there in (None, usual(MNIST.name)):
        return _of_keras("mnist", "", f"{rows} handwritten digits of 28 by 28 pixels.")
    lines = [
        "def load():",
        f'    """{rows} handwritten digits of 28 by 28 pixels."""',
        *fetching(MNIST.name),
        "    with np.load(DATA) as file:",
        '        return file["x_train"], file["y_train"]',
    ]
    return Code(lines, _NP | DOWNLOADS, helpers=("\n".join(place(there, MNIST.name)),))


def _highest(spec: Any, reuters: bool) -> list[str]:
    """Without num_words: the largest word index of all, which Keras takes for num_words."""
    if spec.num_words is not None:
        return []
    if reuters:
        return ["    highest = max(map(max, x)) + 3  # as Keras, which leaves out the rarest word"]
    return [
        '        both = [x, file["x_test"]]',
        "    # As Keras, which leaves out the rarest word.",
        "    highest = max(max(map(max, each)) for each in both) + 3",
    ]


def _of_keras(name: str, given: str, says: str) -> Code:
    lines = [
        "def load():",
        f'    """{says}"""',
        f"    (x, y), _ = keras.datasets.{name}.load_data({given})",
        "    return x, y",
    ]
    return Code(lines, frozenset(["import keras"]))


def _sklearn(lesson: Lesson, spec: Any, keras: bool) -> Code:
    lines = [
        "def load():",
        f'    """The {len(lesson.dataset.train)} rows of scikit-learn\'s {spec.name}."""',
        f"    return load_{spec.name}(return_X_y=True)",
    ]
    return Code(lines, frozenset([f"from sklearn.datasets import load_{spec.name}"]))


def _npz(lesson: Lesson, spec: Any, keras: bool) -> Code:
    if any(intake.first.table is None for intake in lesson.intakes):
        raise refuse("lists of tokens of an npz", "It can write those of imdb and reuters.")
    lines = [
        "def load():",
        f'    """The {len(lesson.dataset.train)} training rows of {Path(spec.path).name}."""',
        "    with np.load(FILE) as file:",
    ]
    inputs, outputs = _arrays(lesson)
    if not lesson.names_inputs and not lesson.names_outputs:
        lines.append('        x, y = file["x_train"], file["y_train"]')
    else:
        for variable, arrays in (("x", inputs), ("y", outputs)):
            values = {name: f'file["{array}_train"]' for name, array in arrays.items()}
            said = [f'"{name}": {value}' for name, value in values.items() if name]
            one = [f"        {variable} = {value}" for value in values.values()]
            lines += call_lines(f"        {variable} = {{", said, "}") if said else one
    with np.load(spec.path, allow_pickle=False) as file:
        for head in lesson.heads:
            raw = file[f"{outputs[head.name]}_train"]
            y = f'y["{head.name}"]' if head.name else "y"
            lines += [f"    {y} = {classes_of(head, y)}"] if is_numbered(head, raw) else []
            if raw.ndim == 2 and raw.shape[1] == 1 and head.targets.classes is not None:
                lines.append(f"    {y} = {y}[:, 0]")
    file = "\n".join(assigned("FILE", str(spec.path)))
    return Code([*lines, "    return x, y"], _NP, helpers=(file,))


def _digit_pairs(lesson: Lesson, spec: Any, keras: bool) -> Code:
    """As `data.sources.digit_pairs` draws them."""
    rows = len(lesson.dataset.train)
    inputs, outputs = _arrays(lesson)
    arrays = {
        "left": "images[left]",
        "right": "images[right]",
        "same": "same",
        INPUT_ARRAY: "np.concatenate([images[left], images[right]], axis=2)",
        OUTPUT_ARRAY: "same",
    }
    x = _by_name({name: arrays[array] for name, array in inputs.items()})
    y = _by_name({name: arrays[array] for name, array in outputs.items()})
    return Code(
        [
            "def load():",
            f'    """{rows} pairs of handwritten digits, and whether both show the same one."""',
            f"    rng = np.random.RandomState({spec.seed % 2**32})",
            "    images, digits = load_digits(return_X_y=True)",
            "    order = rng.permutation(len(digits))",
            "    order = order[len(order) // 5 :]  # the others are for test pairs",
            "    images, digits = images[order].reshape(-1, 8, 8) / 16, digits[order]",
            f"    same = rng.permutation(np.arange({rows}) % 2)",
            f"    left, right = rng.randint(0, len(digits), {rows}), []",
            "    for first, alike in zip(left, same):",
            "        fitting = (digits == digits[first]) == bool(alike)",
            "        fitting[first] = False",
            "        others = np.flatnonzero(fitting)",
            "        right.append(others[rng.randint(0, len(others))])",
            f"    x = {x}",
            f"    return x, {y}",
        ],
        _NP | {"from sklearn.datasets import load_digits"},
    )


def _by_name(values: Mapping[str, str]) -> str:
    """A dictionary of expressions; the only one without a name by itself."""
    if "" in values:
        return values[""]
    said = ", ".join(f'"{name}": {value}' for name, value in values.items())
    return f"{{{said}}}"


def _arrays(lesson: Lesson) -> tuple[dict[str, str], dict[str, str]]:
    """The arrays of a data set that the inputs and the outputs are, by their names."""
    spec = lesson.spec
    inputs = {intake.name: array_of(spec, intake.name) for intake in lesson.intakes}
    outputs = {
        head.name: target_of(spec, head.name)[0] if head.name else OUTPUT_ARRAY for head in lesson.heads
    }
    return inputs, outputs


LOADERS: Mapping[type[schema.Component], Callable[[Lesson, Any, bool], Code]] = {
    schema.BostonHousing: _boston,
    schema.Imdb: _tokens,
    schema.Reuters: _tokens,
    schema.Mnist: _mnist,
    schema.Sklearn: _sklearn,
    schema.Npz: _npz,
    schema.Csv: csv_code,
    schema.Penguins: published_code,
    schema.Titanic: published_code,
    schema.DigitPairs: _digit_pairs,
}


def data_code(lesson: Lesson, *, keras: bool) -> Code:
    """The function `load` of a script.

    Raises:
        UsageError: the data set, or an option of it, cannot be written.
    """
    dataset = lesson.spec.dataset
    if type(dataset) not in LOADERS:
        raise refuse(f"the data set {dataset.kind}", can_write(LOADERS))
    return LOADERS[type(dataset)](lesson, dataset, keras)
