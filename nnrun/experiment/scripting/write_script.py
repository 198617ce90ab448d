"""The whole script: rows, preprocessing, network and decisions of a run, and the arrays beside it."""

from __future__ import annotations

import io
import math
import runpy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill, indent
from typing import Any

import numpy as np

from nnrun.data.dataset import Array, RawInputs, TokenRows
from nnrun.data.inference.number_spelling import Spellings
from nnrun.data.new_rows.named_columns import missing_texts
from nnrun.data.table import NumberColumn, Table, as_texts
from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.experiment.predicting.output_decoder import OutputDecoder
from nnrun.experiment.scripting.layer_scripts import activated
from nnrun.experiment.scripting.network_script import network_script
from nnrun.experiment.scripting.parts import collected, names_in
from nnrun.experiment.scripting.step_scripts import Learned
from nnrun.experiment.scripting.table_script import RowScript
from nnrun.model.network import Network, network_of
from nnrun.spec import schema
from nnrun.spec.ports import Port, array_of, output_views, prediction_columns
from nnrun.target_scale import TargetScale
from nnrun.training.metric_types import has_logits
from nnrun.validation.calibration import calibrator_of
from nnrun.version import __version__

ARRAYS = ".npz"
"""The ending of the file beside a script."""
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Model:
    """What a script is written of.

    Attributes:
        run: the run's id.
        spec: its spec, with the calibration and thresholds that were fitted.
        networks: of several the average is predicted.
        decoders: what each output means.
        file_columns: all columns of the training file, where that has no header.
    """

    run: str
    spec: schema.ExperimentSpec
    networks: Sequence[TrainedNetwork]
    decoders: Mapping[Port, OutputDecoder]
    file_columns: tuple[str, ...] | None

    @property
    def of_table(self) -> bool:
        """Whether rows are those of a table."""
        return all(inputs.of_table for inputs in self.networks[0].fitted.inputs.values())

    @property
    def named(self) -> bool:
        """Whether the rows of arrays come in a dictionary by input."""
        return bool(self.spec.inputs) and not self.of_table and len(self.networks[0].fitted.inputs) > 1


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
    preparing: dict[str, str] = {}  # the text of a function → its name
    classes: dict[str, str] = {}
    members: list[tuple[str, str, list[str], list[str]]] = []
    for place, network in enumerate(model.networks):
        own = Learned(f"learned.{place}" if len(model.networks) > 1 else "learned")
        text = RowScript(network.fitted, model.named, spellings, own).source("prepare")
        same = next(
            (n for n, known in enumerate(model.networks[:place]) if known.fitted == network.fitted), None
        )
        if same is None:
            preparing[f"prepare_{place}" if place else "prepare"] = text
            learned.arrays.update(own.arrays)
            prepare = f"prepare_{place}" if place else "prepare"
        else:
            prepare = members[same][0]
        written = network_script(network_of(model.spec, network.fitted.inputs), network.weights)
        class_name = classes.setdefault(written.source, f"Network{len(classes) or ''}")
        prefixes = []
        for member, state in enumerate(written.states):
            prefix = (
                f"network.{place}.{member}." if len(model.networks) * len(written.states) > 1 else "network."
            )
            states |= {f"{prefix}{key}": value for key, value in state.items()}
            prefixes.append(prefix)
        several = len(model.networks) * len(written.states) > 1
        scales = [_scale(network.fitted.outputs[port].scale, several=several) for port in model.decoders]
        members.append((prepare, class_name, prefixes, scales))
    body = [*_constants(model), _heading("preprocessing")]
    body += [text.replace("def prepare(", f"def {own}(", 1) for own, text in preparing.items()]
    body += [_heading("network")]
    body += [text.replace("class Network(", f"class {own}(", 1) for text, own in classes.items()]
    single = len(members) == 1 and len(members[0][2]) == 1
    body += [_LOADED, _model(members[0]) if single else _models(members), _heading("predictions")]
    body += [_outputs(model, members[0][3] if single else None), _predict(model), _main(model)]
    parts, imports = collected(names_in("\n\n\n".join(body)))
    head = _head(model, name)
    source = "\n\n\n".join([head, _imports(imports), *parts_between(parts), *body]) + "\n"
    content = io.BytesIO()
    np.savez(content, **{**learned.arrays, **states})  # type: ignore[arg-type]
    return source, content.getvalue()


def parts_between(parts: Sequence[str]) -> list[str]:
    """The copied parts under a heading."""
    return [_heading("rows, steps and layers that this model needs"), *parts]


def _head(model: Model, name: str) -> str:
    columns = ""
    if model.of_table:
        taken = list(dict.fromkeys(c.name for c in _columns(model)))
        columns = f"\nRows have the columns {', '.join(taken)}.\n"
    text = (
        f"Predicts with the network of the run {model.run}.\n\n"
        f"    python {name}.py ROWS           predictions of the rows of a file, as CSV\n"
        f"    from {name} import predict      predict(rows) → a list with a dictionary for each row\n"
        f"{columns}\n"
        f"Needs PyTorch and NumPy. What was learned (weights, vocabularies) is in {name}.npz beside it.\n"
        f"Written by nnrun {__version__}.\n"
    )
    return '"""' + text.replace("\\", "\\\\").replace('"""', "'''") + '"""'


def _columns(model: Model) -> list[Any]:
    tables = [inputs.table for inputs in model.networks[0].fitted.inputs.values()]
    return [column for table in tables if table is not None for column in table.columns]


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
        missing = fill(repr(sorted(missing_texts(model.spec.dataset)))[1:-1], 100)
        lines = ["MISSING = frozenset([", indent(missing, "    "), "])", *lines]
    return [_heading("this model"), "\n".join(lines)]


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


def _outputs(model: Model, units: Sequence[str] | None) -> str:
    """The function `outputs`. `units` are those of the only network; None where there are several."""
    network = network_of(model.spec, model.networks[0].fitted.inputs)
    if units is not None:
        lines = [
            "    x = [torch.from_numpy(part) for part in prepare(rows)]",
            "    with torch.inference_mode():",
            "        logits = NETWORK(*x)",
        ]
        for place, port in enumerate(model.decoders):
            lines.append(f"    y_{place} = {_activated(network, port, f'logits[{place}]')}")
            lines += [f"    {line}" for line in _calibrated(model, port, f"y_{place}", f"logits[{place}]")]
            if units[place] != "None":
                lines.append(f"    y_{place} = ({units[place]})(y_{place})")
        returned = f"[{', '.join(f'y_{place}' for place in range(len(model.decoders)))}]"
    else:
        lines = [
            "    found = []",
            "    for prepare_rows, networks, units in MODELS:",
            "        x = [torch.from_numpy(part) for part in prepare_rows(rows)]",
            "        with torch.inference_mode():",
            "            logits = [network(*x) for network in networks]",
        ]
        for place, port in enumerate(model.decoders):
            lines.append(f"        given = [{_activated(network, port, f'own[{place}]')} for own in logits]")
            lines.append(f"        y_{place} = np.mean([units[{place}](y) for y in given], axis=0)")
            z = None if network.number_of_members > 1 else f"logits[0][{place}]"
            lines += [f"        {line}" for line in _calibrated(model, port, f"y_{place}", z)]
        lines.append(
            f"        found.append([{', '.join(f'y_{place}' for place in range(len(model.decoders)))}])"
        )
        returned = "[np.mean(each, axis=0) for each in zip(*found)]"
    head = [
        "def outputs(rows) -> list[np.ndarray]:",
        '    """What the model says before it decides: an array (N, ...) for each output."""',
    ]
    return "\n".join([*head, *lines, f"    return {returned}"])


def _activated(network: Network, port: Port, z: str) -> str:
    activation = network.output_layers[port].activation
    wide = f"{z}.double()" if has_logits(activation) else z
    return f"{activated(activation, wide)}.double().numpy()"


def _calibrated(model: Model, port: Port, y: str, z: str | None) -> list[str]:
    """Lines that calibrate probabilities y; `z` are the logits, None where they follow from y."""
    calibrator = calibrator_of(output_views(model.spec)[port].calibrate)
    if calibrator is None:
        return []
    network = network_of(model.spec, model.networks[0].fitted.inputs)
    of_two = network.output_layers[port].activation == "sigmoid"
    logits = f"{z}.double().numpy()" if z is not None else f"np.log({y})"
    if z is None and of_two:
        logits += f" - np.log1p(-{y})"
    if calibrator.curve is not None:
        xs, ys = (list(values) for values in calibrator.curve)
        return [f"{y} = np.interp({logits}, {xs}, {ys})  # isotonic calibration"]
    scaled = f"z = {calibrator.slope} * ({logits}) + {calibrator.intercept}  # calibration"
    if of_two:
        return [scaled, f"{y} = 1 / (1 + np.exp(-z))"]
    powers = "np.exp(z - z.max(axis=-1, keepdims=True))"
    return [scaled, f"{y} = {powers} / {powers}.sum(axis=-1, keepdims=True)"]


def _predict(model: Model) -> str:
    """The function `predict`."""
    lines = [
        "def predict(rows) -> list[dict]:",
        f'    """{_rows_text(model)} → a dictionary for each."""',
        "    said = []",
        f"    for start in range(0, {_count(model)}, {_ROWS_AT_ONCE}):",
        "        try:",
        f"            found = outputs({_some(model)})",
        "        except BadRow as error:",
        "            raise BadRow(start + error.row, error.reason) from None",
        "        columns = {}",
    ]
    for place, decoder in enumerate(model.decoders.values()):
        function, *arguments = _decision(decoder, f"found[{place}]")
        lines.append(f"        columns |= {function}(")
        lines += [*(f"            {argument}," for argument in arguments), "        )"]
    lines += [
        "        said += [dict(zip(columns, values)) for values in zip(*columns.values())]",
        "    return said",
    ]
    return "\n".join(lines)


def _rows_text(model: Model) -> str:
    if model.of_table:
        return "Rows as dictionaries by column: texts, numbers, None where one is missing"
    if model.named:
        return "A dictionary with the rows of each input"
    inputs = model.networks[0].fitted.input
    return "Rows as lists of tokens" if inputs.table is None else f"An array (N, *{inputs.raw_shape})"


def _count(model: Model) -> str:
    return "len(next(iter(rows.values())))" if model.named else "len(rows)"


def _some(model: Model) -> str:
    if model.named:
        return f"{{name: each[start : start + {_ROWS_AT_ONCE}] for name, each in rows.items()}}"
    return f"rows[start : start + {_ROWS_AT_ONCE}]"


def _decision(decoder: OutputDecoder, y: str) -> list[str]:
    """The function that makes columns of an output, and its arguments."""
    prediction = prediction_columns(decoder.port)[1]
    names, classes = repr(decoder.columns(probabilities=True)), repr(list(decoder.classes))
    if decoder.kind == "numbers":
        return ["number_columns", y, names]
    if decoder.kind in ("steps", "sequence"):
        function = "step_columns" if decoder.kind == "steps" else "sequence_columns"
        return [function, y, classes, repr(prediction)]
    scores = f"scores={decoder.of_scores}"
    if decoder.kind == "class":
        return ["class_columns", y, classes, names, scores]
    function = "binary_columns" if decoder.kind == "binary" else "label_columns"
    return [function, y, classes, names, f"threshold={decoder.threshold!r}", scores]


def _main(model: Model) -> str:
    if model.of_table:
        dataset = model.spec.dataset
        delimiter = (dataset.delimiter if isinstance(dataset, schema.Csv) else None) or ","
        names = "" if model.file_columns is None else f", {list(model.file_columns)!r}"
        columns = list(dict.fromkeys(column.name for column in _columns(model)))
        lines = [
            'if __name__ == "__main__":',
            f"    columns = {columns!r}",
            f"    write_rows(predict(read_table(sys.argv[1], {delimiter!r}, columns{names})))",
        ]
        return "\n".join(lines)
    if model.named:
        arrays = {port: array_of(model.spec, port) for port in model.networks[0].fitted.inputs}
        read = f"read_arrays(sys.argv[1], {arrays!r})"
    else:
        inputs = model.networks[0].fitted.input
        read = (
            "read_lists(sys.argv[1])"
            if inputs.table is None
            else f"read_array(sys.argv[1], {inputs.raw_shape})"
        )
    return f'if __name__ == "__main__":\n    write_rows(predict({read}))'


# --- asked again -------------------------------------------------------------------------------------------


def ask_script(
    source: str, content: bytes, name: str, model: Model, inputs: Mapping[Port, RawInputs]
) -> dict[Port, Array]:
    """What a script says of rows of a data set, run as it stands."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.py"
        path.write_text(source, encoding="utf-8")
        path.with_suffix(ARRAYS).write_bytes(content)
        outputs = runpy.run_path(str(path), run_name="model")["outputs"]
        rows = _rows_of(model, inputs)
        found = outputs(rows)
    return dict(zip(model.decoders, found, strict=True))


def _rows_of(model: Model, inputs: Mapping[Port, RawInputs]) -> Any:
    """Rows of a data set as a script takes them."""
    if model.of_table:
        columns: dict[str, list[Any]] = {}
        for table in inputs.values():
            assert isinstance(table, Table), "a table was fitted"
            for column in table.columns:
                if isinstance(column, NumberColumn):
                    columns[column.name] = [None if math.isnan(v) else v for v in column.values.tolist()]
                else:
                    columns[column.name] = as_texts(column).values.tolist()
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    each = {port: _lists(rows) if isinstance(rows, TokenRows) else rows for port, rows in inputs.items()}
    return each if model.named else next(iter(each.values()))


def _lists(rows: TokenRows) -> list[list[int]]:
    return [rows.tokens[a:b].tolist() for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)]
