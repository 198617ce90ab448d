"""The lines of a script that load the training rows: the registry of data sets.

A data set has a line in `LOADERS`; one without it is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data.archives.download import BASE_URL, IMDB, MNIST, REUTERS, find
from nnrun.data.table import Table
from nnrun.experiment.ejecting.lesson import Array, Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.script_text import assigned
from nnrun.spec import schema

KERAS_FOLDER = "~/.keras/datasets"


@dataclass(frozen=True)
class Code:
    """A part of a script.

    Attributes:
        lines: its text.
        imports: the statements that it needs.
        arrays: what it takes from the file beside the script.
        helpers: functions that stand before it.
    """

    lines: Sequence[str]
    imports: frozenset[str] = frozenset()
    arrays: Mapping[str, Array] | None = None
    helpers: tuple[str, ...] = ()


_NP = frozenset(["import numpy as np"])
_DOWNLOADS = frozenset(["import urllib.request", "from pathlib import Path"])


def _fetching(name: str) -> list[str]:
    """Lines that download a published file where it is not there."""
    return [
        "    if not DATA.exists():",
        "        DATA.parent.mkdir(parents=True, exist_ok=True)",
        f'        urllib.request.urlretrieve(URL + "{name}", DATA)',
    ]


def _place(path: Path | None, name: str) -> list[str]:
    """Constants: where a published file lies, and where it comes from."""
    own = path is not None and path != _usual(name)
    file = str(path) if own else f"{KERAS_FOLDER}/{name}"
    return [
        *assigned("FILE", file),
        f"DATA = Path(FILE){'' if own else '.expanduser()'}",
        f"URL = {json.dumps(BASE_URL)}",
    ]


def _usual(name: str) -> Path:
    """Where Keras keeps a published file."""
    return Path(KERAS_FOLDER).expanduser() / name


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
        *_fetching(name),
        "    with np.load(DATA) as file:",
        '        x, y = file["x"], file["y"]',
        "    order = np.arange(len(x))",
        "    np.random.RandomState(113).shuffle(order)",
        f"    return x[order[:{rows}]], y[order[:{rows}]]",
    ]
    return Code(lines, _NP | _DOWNLOADS, helpers=("\n".join(_place(there, name)),))


def _tokens(lesson: Lesson, spec: Any, keras: bool) -> Code:
    for option in ("maxlen", "skip_top"):
        if getattr(spec, option):
            raise refuse(f"{option} of the data set {spec.kind}")
    reuters, rows = isinstance(spec, schema.Reuters), len(lesson.dataset.train)
    what = "newswires" if reuters else "film reviews"
    remote = REUTERS if reuters else IMDB
    there = find(remote, lesson.data_dir)
    if keras and there == _usual(remote.name):
        given = [] if spec.num_words is None else [f"num_words={spec.num_words}"]
        given += [f"test_split={spec.test_fraction!r}"] if reuters and spec.test_fraction != 0.2 else []
        return _of_keras(spec.kind, ", ".join(given), f"{rows} {what}, as word indices.")
    source = lesson.dataset.sources[0]
    x, y = ('"x"', '"y"') if reuters else ('"x_train"', '"y_train"')
    lines = [
        "def load():",
        f'    """{rows} {what} as lists of word indices, as Keras gives them."""',
        *_fetching(remote.name),
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
    place = _place(there, remote.name)
    head = "\n".join([*place, f'SHA256 = "{source.sha256}"'])
    return Code(lines, _NP | _DOWNLOADS | {"import hashlib"}, helpers=(head,))


def _mnist(lesson: Lesson, spec: Any, keras: bool) -> Code:
    rows = len(lesson.dataset.train)
    there = find(MNIST, lesson.data_dir)
    if keras and there in (None, _usual(MNIST.name)):
        return _of_keras("mnist", "", f"{rows} handwritten digits of 28 by 28 pixels.")
    lines = [
        "def load():",
        f'    """{rows} handwritten digits of 28 by 28 pixels."""',
        *_fetching(MNIST.name),
        "    with np.load(DATA) as file:",
        '        return file["x_train"], file["y_train"]',
    ]
    return Code(lines, _NP | _DOWNLOADS, helpers=("\n".join(_place(there, MNIST.name)),))


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
    if lesson.inputs.table is None:
        raise refuse("lists of tokens of an npz", "It can write those of imdb and reuters.")
    with np.load(spec.path, allow_pickle=False) as file:
        raw = file["y_train"]
    lines = [
        "def load():",
        f'    """The {len(lesson.dataset.train)} training rows of {Path(spec.path).name}."""',
        "    with np.load(FILE) as file:",
        '        x, y = file["x_train"], file["y_train"]',
    ]
    numbered, line = _numbered(lesson, raw, "y")
    lines += [f"    {line}"] if numbered else []
    if raw.ndim == 2 and raw.shape[1] == 1 and lesson.targets.classes is not None:
        lines.append("    y = y[:, 0]")
    file = "\n".join(assigned("FILE", str(spec.path)))
    return Code([*lines, "    return x, y"], _NP, helpers=(file,))


def _numbered(lesson: Lesson, raw: Array, name: str) -> tuple[bool, str]:
    """Whether nnrun numbered the classes of a target, and the line that does."""
    own = lesson.dataset.train.targets
    same = raw.dtype.kind in "biuf" and raw.shape[: own.ndim] == own.shape and np.array_equal(raw, own)
    names = lesson.dataset.class_names is not None
    return (names and not same), f"y = np.unique({name}, return_inverse=True)[1]  # classes from 0"


def _csv(lesson: Lesson, spec: Any, keras: bool) -> Code:
    for option, default in (("missing", None), ("number_formats", {}), ("header", True)):
        if getattr(spec, option) != default:
            raise refuse(f"{option} of the data set csv")
    table, train = lesson.dataset.train.inputs, lesson.dataset.train
    assert isinstance(table, Table), "a CSV file is a table"
    targets = [spec.target] if isinstance(spec.target, str) else list(spec.target or ())
    if len(targets) != 1:
        raise refuse("several target columns", "It can write one.")
    import pandas as pd

    options = {}
    if spec.delimiter is not None:
        options["sep"] = spec.delimiter
    if spec.decimal != ".":
        options["decimal"] = spec.decimal
    if spec.thousands is not None:
        options["thousands"] = spec.thousands
    whole = pd.read_csv(spec.path, **options)
    given = "".join(f", {key}={json.dumps(value)}" for key, value in options.items())
    lines = [
        "def load():",
        f'    """The {len(train)} training rows of {Path(spec.path).name}."""',
        f"    table = pd.read_csv(FILE{given})",
    ]
    arrays: dict[str, Array] = {}
    places = None if train.places is None else train.places.file_rows
    if places is None and len(whole) != len(train):
        raise refuse("which rows of the file are training rows", "Have the file hold training rows alone.")
    if places is not None and not np.array_equal(places, np.arange(len(whole))):
        arrays["training_rows"] = places
        lines.append('    table = table.iloc[FIRST["training_rows"]]')
    names = [column.name for column in table.columns]
    rows = whole if places is None else whole.iloc[places]
    raw = rows[targets[0]].to_numpy()
    target = f"table[{json.dumps(targets[0])}].to_numpy()"
    numbered, line = _numbered(lesson, raw, target)
    lines += [f"    {line}" if numbered else f"    y = {target}"]
    file = "\n".join(assigned("FILE", str(spec.path)))
    columns = [f"        {json.dumps(name)}," for name in names]
    lines += ["    columns = [", *columns, "    ]", "    return table[columns], y"]
    return Code(lines, _NP | {"import pandas as pd"}, arrays, (file,))


LOADERS: Mapping[type[schema.Component], Callable[[Lesson, Any, bool], Code]] = {
    schema.BostonHousing: _boston,
    schema.Imdb: _tokens,
    schema.Reuters: _tokens,
    schema.Mnist: _mnist,
    schema.Sklearn: _sklearn,
    schema.Npz: _npz,
    schema.Csv: _csv,
}


def data_code(lesson: Lesson, *, keras: bool) -> Code:
    """The function `load` of a script.

    Raises:
        UsageError: the data set, or an option of it, cannot be written.
    """
    dataset = lesson.spec.dataset
    if type(dataset) not in LOADERS:
        written = ", ".join(sorted(kind.kind for kind in LOADERS))
        raise refuse(f"the data set {dataset.kind}", f"It can write {written}.")
    return LOADERS[type(dataset)](lesson, dataset, keras)
