"""The whole script: rows, preprocessing, network and decisions of a run, and the arrays beside it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from textwrap import fill, indent

from nnrun.data.dataset import Array
from nnrun.data.inference.number_spelling import Spellings
from nnrun.data.new_rows.named_columns import NamedColumn, missing_strings, missing_texts
from nnrun.data.preprocess import FittedColumn
from nnrun.experiment.scripting.network_script import network_script
from nnrun.experiment.scripting.parts import collected, names_in
from nnrun.experiment.scripting.prediction_script import main_source, outputs_source, predict_source
from nnrun.experiment.scripting.script_files import arrays_content
from nnrun.experiment.scripting.script_model import Model, column_names, columns_of
from nnrun.experiment.scripting.step_scripts import Learned
from nnrun.experiment.scripting.table_script import RowScript
from nnrun.model.network import network_of
from nnrun.output_transforms.target_scale import TargetScale
from nnrun.spec import schema
from nnrun.version import __version__

ARRAYS = ".npz"
"""The ending of the file beside a script."""


def script_of(model: Model, name: str) -> tuple[str, bytes]:
    """The text of the script, and the content of the .npz file beside it.

    Args:
        model: the run's.
        name: of the script's file, without its ending.

    Raises:
        UsageError: a step or a layer cannot be written.
    """
    learned, spellings = Learned("learned"), Spellings.of(model.spec.dataset)
    states: dict[str, Array] = {}
    preparing: dict[str, str] = {}  # the name of a function → its text
    classes: dict[str, str] = {}  # the text of a class → its name
    members: list[tuple[str, str, list[str], list[str]]] = []
    for place, network in enumerate(model.networks):
        own = Learned(f"learned.{place}" if len(model.networks) > 1 else "learned")
        text = RowScript(network.fitted, model.named, spellings, own).source("prepare")
        same = next(
            (n for n, known in enumerate(model.networks[:place]) if known.fitted == network.fitted), None
        )
        if same is None:
            prepare = f"prepare_{place}" if place else "prepare"
            preparing[prepare] = text
            learned.arrays.update(own.arrays)
        else:
            prepare = members[same][0]
        written = network_script(network_of(model.spec, network.fitted.inputs), network.weights)
        class_name = classes.setdefault(written.source, f"Network{len(classes) or ''}")
        prefixes = []
        several = len(model.networks) * len(written.states) > 1
        for member, state in enumerate(written.states):
            prefix = f"network.{place}.{member}." if several else "network."
            states |= {f"{prefix}{key}": value for key, value in state.items()}
            prefixes.append(prefix)
        scales = [_scale(network.fitted.outputs[port].scale, several=several) for port in model.decoders]
        members.append((prepare, class_name, prefixes, scales))
    body = [*_constants(model), _heading("preprocessing")]
    body += [text.replace("def prepare(", f"def {own}(", 1) for own, text in preparing.items()]
    body += [_heading("network")]
    body += [text.replace("class Network(", f"class {own}(", 1) for text, own in classes.items()]
    single = len(members) == 1 and len(members[0][2]) == 1
    body += [_LOADED, _model(members[0]) if single else _models(members), _heading("predictions")]
    body += [
        outputs_source(model, members[0][3] if single else None),
        predict_source(model),
        main_source(model),
    ]
    parts, imports = collected(names_in("\n\n\n".join(body)))
    head = _head(model, name)
    source = "\n\n\n".join([head, _imports(imports), *parts_between(parts), *body]) + "\n"
    return source, arrays_content({**learned.arrays, **states})


def parts_between(parts: Sequence[str]) -> list[str]:
    """The copied parts under a heading."""
    return [_heading("rows, steps and layers that this model needs"), *parts]


def _head(model: Model, name: str) -> str:
    columns = ""
    if model.of_table:
        columns = f"\nRows have the columns {', '.join(column_names(model))}.\n"
    imported = f"    from {name} import predict      predict(rows) → a list with a dictionary for each row\n"
    text = (
        f"Predicts with the network of the run {model.run}.\n\n"
        f"    python {shlex.quote(name + '.py')} ROWS           predictions of the rows of a file, as CSV\n"
        f"{imported if name.isidentifier() else ''}"
        f"{columns}\n"
        f"Needs PyTorch and NumPy. What was learned (weights, vocabularies) is in {name}.npz beside it.\n"
        f"Written by nnrun {__version__}.\n"
    )
    return '"""' + text.replace("\\", "\\\\").replace('"""', "'''") + '"""'


def _imports(found: set[str]) -> str:
    """Those of parts and of the script itself."""
    needed = found | {
        "import sys",
        "import numpy as np",
        "import torch",
        "from pathlib import Path",
        "from torch import Tensor",
        "from torch import nn",
        "from torch.nn import functional as F",
    }
    third = {line for line in needed if line.split()[1].partition(".")[0] in ("numpy", "torch")}
    first = [_sorted_imports(needed - third), _sorted_imports(third)]
    return "\n\n".join(["from __future__ import annotations", *filter(None, first)])


def _sorted_imports(lines: set[str]) -> str:
    """Plain ones first; of one module all names in one line."""
    of_module: dict[str, set[str]] = {}
    plain = set()
    for line in lines:
        if line.startswith("from "):
            module, _, names = line.removeprefix("from ").partition(" import ")
            of_module.setdefault(module, set()).update(names.split(", "))
        else:
            plain.add(line)
    named = [
        f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(of_module.items())
    ]
    return "\n".join([*sorted(plain), *named])


def _constants(model: Model) -> list[str]:
    lines = [
        'with np.load(Path(__file__).with_suffix(".npz"), allow_pickle=False) as _file:',
        "    LEARNED = dict(_file)",
    ]
    if model.of_table:
        missing = fill(repr(sorted(missing_strings(model.spec.dataset)))[1:-1], 100)
        lines = ["MISSING = frozenset([", indent(missing, "    "), "])", *lines]
        if not isinstance(model.spec.dataset, schema.Csv):
            lines += _missing_in_csv(model)
    return [_heading("this model"), "\n".join(lines)]


def _missing_in_csv(model: Model) -> list[str]:
    """Lines that say which fields of a CSV are missing values, as `nnrun predict` takes them."""
    texts = fill(repr(sorted(missing_texts(model.spec.dataset)))[1:-1], 100)
    takers: dict[str, list[FittedColumn]] = {}
    for column in columns_of(model):
        takers.setdefault(column.name, []).append(column)
    lines = ["_TEXTS = frozenset([", indent(texts, "    "), "])"]
    lines.append(f"CSV_MISSING = dict.fromkeys({list(takers)!r}, _TEXTS)")
    for name, fitted in takers.items():
        if kept := NamedColumn.of(fitted).no_gaps:
            texts = ", ".join(map(repr, sorted(kept)))
            lines.append(f"CSV_MISSING[{name!r}] -= {{{texts}}}  # categories of the training rows")
    return lines


def _heading(text: str) -> str:
    return f"# --- {text} ".ljust(100, "-")


_LOADED = '''\
def load(network: nn.Module, prefix: str) -> nn.Module:
    """A network with its weights."""
    own = {name.removeprefix(prefix): values for name, values in LEARNED.items() if name.startswith(prefix)}
    network.load_state_dict({name: torch.from_numpy(values) for name, values in own.items()})
    return network.eval()'''


def _models(members: Sequence[tuple[str, str, list[str], list[str]]]) -> str:
    lines = ["MODELS = [  # what prepares rows, networks whose mean is taken, the units of each output"]
    for prepare, class_name, prefixes, scales in members:
        loaded = ", ".join(f"load({class_name}(), {prefix!r})" for prefix in prefixes)
        lines.append(f"    ({prepare}, [{loaded}], [{', '.join(scales)}]),")
    return "\n".join([*lines, "]"])


def _scale(scale: TargetScale | None, *, several: bool) -> str:
    """A function from a network's outputs to the targets' own units, as an expression."""
    if scale is None:
        return "lambda y: y" if several else "None"
    if scale.curves:
        curves = ", ".join(
            f"(np.array({list(c.normal)}), np.array({list(c.quantiles)}))" for c in scale.curves
        )
        return f"lambda y: from_curves(y, [{curves}])"
    options = ", log1p=True" if scale.log1p else ""
    return f"lambda y: unscaled(y, {list(scale.mean)}, {list(scale.std)}{options})"


def _model(member: tuple[str, str, list[str], list[str]]) -> str:
    return f"NETWORK = load({member[1]}(), {member[2][0]!r})"
