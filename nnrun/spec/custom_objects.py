"""Code of a person's own that a spec names: `custom: package.module:name`.

A spec or a run may name such code and never runs it. It is imported only where the person who starts nnrun
has allowed its module: by `--allow-custom MODULE` on the command line, by `allow_custom=` from Python. There
is no other way, no setting and no environment variable. Modules are looked for on Python's path, then in the
current folder, and not in the folder of the spec.

What the code must be (tensors are PyTorch's; R networks train side by side, B rows, N rows, K outputs,
F features):

loss            name(y_true, y_pred, **parameters) -> (R, B), the loss of each row. y_pred is (R, B, K), the
                outputs after the last activation; y_true is (R, B, K), or (R, B) class indices. The networks
                must not mix: reduce over the last axis alone.
metric          name(y_true, y_pred, **parameters) -> a number, from all N rows of one network: y_pred (N, K),
                y_true (N, K) or (N,). `maximize: true` in the spec says that it is better the higher it is,
                `maximize: false` the lower. By default, as in scikit-learn, a name that ends in `_score` is
                better the higher, every other the lower; `name:` in the spec gives another one. The function
                may have an attribute `maximize`, with which the spec must then agree.
preprocessing   name(**parameters) -> an object with fit(x) -> state and transform(x, state) -> x, both of
                NumPy arrays (N, F) in float64. The state is plain values of JSON. It comes last, after the
                columns have become numbers, and is fitted on the training rows of each fold alone.
layer           name(**parameters) -> a torch.nn.Module, whose forward takes (B, *shape of a row) and gives
                (B, *another shape), float32. Channels and features come last, word indices as float32. A
                parameter called input_shape that the spec does not set is given the shape of a row, a tuple;
                lazy modules are shaped by rows of zeros. Each network has a module's weights of its own, and
                is computed alone: the module never sees the others. What must last from one batch to the
                next is a buffer (they are all kept in the weights file), and parameters that need no gradient
                are kept and not learned. Whatever else a module puts into its attributes is shared, and lost.
                Random numbers are PyTorch's, in the constructor and in forward: nnrun seeds them again, for
                each network's first weights and for each of its batches.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.errors import NnrunError, UsageError, printable
from nnrun.spec import schema
from nnrun.spec.allowed_modules import OPTION, is_allowed
from nnrun.spec.graph import all_layers
from nnrun.spec.ports import input_views, location_of_output, output_views
from nnrun.spec.reading.grammar import Location
from nnrun.spec.reading.nodes import spell_path
from nnrun.spec.wording import listing
from nnrun.torch_compilers import whole_torch

_OWN_FOLDER = str(Path(__file__).parents[1]) + os.sep
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class CustomCode:
    """A module that a run used, for its record.

    Attributes:
        objects: what the spec names in it, `package.module:name`.
        module: its name.
        file: where it was found, or None.
        sha256: of that file, or None.
    """

    objects: tuple[str, ...]
    module: str
    file: str | None
    sha256: str | None


def is_custom_name(text: str) -> bool:
    """Whether a text has the form `package.module:name`."""
    return _NAME.fullmatch(text) is not None


def module_of(custom: schema.Custom) -> str:
    """The module of a component's object."""
    return custom.object.partition(":")[0]


def custom_parts(spec: schema.ExperimentSpec) -> list[tuple[Location, schema.Custom]]:
    """Every custom component of a spec with its place: `("loss",)`, `("metrics", 0)`."""
    places: list[tuple[Location, schema.Component]] = [
        *((("preprocessing", "inputs", i), step) for i, step in enumerate(spec.preprocessing.inputs)),
        *all_layers(spec),
    ]
    for name, view in output_views(spec).items():
        of_output: list[tuple[Location, schema.Component]] = [
            (("loss",), view.own_loss),
            *((("metrics", i), metric) for i, metric in enumerate(view.metrics)),
        ]
        places += [(location_of_output(spec, name, place), part) for place, part in of_output]
    for name, view in input_views(spec).items() if spec.inputs else ():
        steps = enumerate(view.preprocessing.inputs)
        places += [(("inputs", name, "preprocessing", i), step) for i, step in steps]
    return [(place, part) for place, part in places if isinstance(part, schema.Custom)]


def refuse_what_is_not_allowed(spec: schema.ExperimentSpec) -> None:
    """Raise UsageError where a spec names code that may not be run. Nothing is imported."""
    missing = [(place, part) for place, part in custom_parts(spec) if not is_allowed(module_of(part))]
    if not missing:
        return
    modules = list(dict.fromkeys(module_of(part) for _, part in missing))
    named = listing([f"{spell_path(place)}: {printable(part.object)}" for place, part in missing], "and")
    options = " ".join(f"{OPTION} {printable(module)}" for module in modules)
    raise UsageError(
        f"The spec names Python code that is not nnrun's ({named}). It would run on this machine with "
        f"all your permissions. If you know and trust it, add: {options}  (from Python: "
        f"allow_custom={tuple(map(printable, modules))!r})"
    )


def custom_object(custom: schema.Custom) -> Any:
    """What a component names, imported.

    Raises:
        UsageError: its module is not allowed, is not there, or has no such name.
        NnrunError: importing it failed.
    """
    module, _, name = custom.object.partition(":")
    if not is_allowed(module):
        raise UsageError(
            f"{printable(custom.object)} is Python code that is not nnrun's, and it was not allowed to run. "
            f"If you know and trust it, add {OPTION} {printable(module)}."
        )
    found = _import(module)
    if not hasattr(found, name):
        raise UsageError(f"Module {module} ({getattr(found, '__file__', None)}) has no {name!r}.")
    return getattr(found, name)


def code_used(spec: schema.ExperimentSpec) -> list[CustomCode]:
    """The modules that a spec's components come from, with the hash of their files."""
    parts = [part for _, part in custom_parts(spec)]
    used = []
    for module in dict.fromkeys(module_of(part) for part in parts):
        file = getattr(_import(module), "__file__", None)
        sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
        objects = tuple(dict.fromkeys(part.object for part in parts if module_of(part) == module))
        used.append(CustomCode(objects, module, file, sha256))
    return used


def own_fault(what: str, error: BaseException) -> NnrunError:
    """The error that says where custom code went wrong: in its own file, where a place there is known."""
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(sys.modules.get(what.partition(":")[0]), "__file__", None)
    places = [frame for frame in frames if not frame.filename.startswith(_OWN_FOLDER)]
    in_file = [frame for frame in places if frame.filename == file] or places
    place = f" ({in_file[-1].filename}, line {in_file[-1].lineno})" if in_file else ""
    said = printable(f"{type(error).__name__}: {error}")
    return NnrunError(f"The custom code {printable(what)} failed: {said}{place}")


def _import(module: str) -> Any:
    if not is_allowed(module):
        raise UsageError(f"{printable(module)} is not allowed: {OPTION} {printable(module)}.")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that nothing there stands before what is installed
    whole_torch()  # it may use anything of PyTorch
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise UsageError(
                f"There is no module {module}: it is neither on Python's path nor in the current folder, "
                f"{folder}. The folder of the spec is not searched."
            ) from None
        raise own_fault(module, error) from error
    except Exception as error:
        raise own_fault(module, error) from error
