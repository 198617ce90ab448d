"""`nnrun eject`: the training of a spec as a script, and the file beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from nnrun.atomic_files import replace_file
from nnrun.errors import UsageError
from nnrun.experiment.ejecting.lesson import lesson_of
from nnrun.experiment.ejecting.script_text import HISTORY, WEIGHTS
from nnrun.experiment.ejecting.torch_script import torch_script
from nnrun.experiment.scripting.script_files import (
    arrays_content,
    refuse_foreign_arrays,
    refuse_taken_name,
)
from nnrun.spec.reading.load import LoadedSpec

Framework = Literal["pytorch", "keras"]
_NAMES: Final = {"pytorch": "PyTorch", "keras": "Keras"}


@dataclass(frozen=True)
class Ejected:
    """What was written.

    Attributes:
        path: the script.
        beside: the file of arrays beside it.
        history: the file that the script will write.
        framework: what it trains with.
        lines: how many the script has.
        notes: in what its history differs from nnrun's, if in anything.
    """

    path: Path
    beside: Path
    history: Path
    framework: Framework
    lines: int
    notes: tuple[str, ...]


def eject(
    loaded: LoadedSpec,
    framework: Framework,
    output: Path | None = None,
    *,
    data_dir: Path | None = None,
    on_message: Callable[[str], None] = lambda text: None,
) -> Ejected:
    """Write the training of a spec as a script.

    Args:
        loaded: the spec.
        framework: what the script trains with.
        output: the script; default: the spec's name in the working directory.
        data_dir: where data files are looked for first.
        on_message: is told what takes long.

    Raises:
        DataError: the data are missing or do not suit the spec.
        UsageError: something of the spec cannot be written, the file's name does not end in
            .py, is a keyword or hides a module, or a file that nnrun did not write lies beside it.
    """
    path = Path(f"{loaded.spec.name}.py") if output is None else output
    if output is None and path.exists():
        raise UsageError(f"{path} exists. To write over it: -o {path}.")
    if path.suffix != ".py":
        raise UsageError(f"-o {path}: the name of a script must end in .py.")
    beside, history = path.with_name(path.stem + WEIGHTS), path.with_name(path.stem + HISTORY)
    refuse_foreign_arrays(beside)
    if os.path.lexists(history) and not os.path.lexists(beside):  # else a script of before wrote it
        raise UsageError(
            f"{history} exists, and no script of nnrun eject wrote it: this one would write its history "
            "there. Name another script with -o, or move that file away."
        )
    lesson = lesson_of(loaded, data_dir, on_message)
    if framework == "keras":
        from nnrun.experiment.ejecting.keras_script import keras_script

        script = keras_script(lesson, path.stem)
    else:
        script = torch_script(lesson, path.stem)
    refuse_taken_name(path, script.source)
    content = arrays_content(script.arrays)
    replace_file(beside, lambda temporary: temporary.write_bytes(content))
    replace_file(path, lambda temporary: temporary.write_text(script.source, encoding="utf-8"))
    return Ejected(path, beside, history, framework, script.source.count("\n"), script.notes)
