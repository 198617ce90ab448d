"""The files that `nnrun export` writes, and how each is asked once it is written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array, RawInputs
from nnrun.experiment.exporting.export_content import Export, quiet
from nnrun.experiment.exporting.onnx_file import ask_onnx, write_onnx
from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.experiment.predicting.outputs import average, in_own_units, outputs_function
from nnrun.records import read_weights_file
from nnrun.spec import schema
from nnrun.spec.ports import Port
from nnrun.spec.reading.load import load_spec_text

FormatName = Literal["safetensors", "pt2", "onnx", "script"]
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        program: whether it computes; else it holds numbers to compute with.
        write: fills a file.
        ask: what the network in a file says of rows of a data set: for each output (N, K), of T steps
            (N, T, K).
    """

    program: bool
    write: Callable[[Export, Path], None]
    ask: Callable[[Export, Path, Mapping[Port, RawInputs]], dict[Port, Array]]


# --- safetensors -------------------------------------------------------------------------------------------


def _write_safetensors(export: Export, path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {
        f"{_prefix(network, export.networks)}{name}": np.asarray(value, order="C")
        for network in export.networks
        for name, value in network.weights.items()
    }
    save_file(arrays, path, metadata=dict(export.metadata))


def _ask_safetensors(export: Export, path: Path, inputs: Mapping[Port, RawInputs]) -> dict[Port, Array]:
    """From the file only: its weights, and its spec and preprocessing."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    spec = load_spec_text(metadata["spec"], file=str(path), base=path.parent, default_name=path.stem).spec
    document, arrays = json.loads(metadata["preprocessing"]), read_weights_file(path)
    if "members" not in metadata:
        return predictions_of(spec, [(FittedPreprocessing.from_json(document), arrays)], inputs)
    networks = []
    for member in json.loads(metadata["members"]):
        own = {n.removeprefix(f"{member}."): a for n, a in arrays.items() if n.startswith(f"{member}.")}
        networks.append((FittedPreprocessing.from_json(document[member]), own))
    return predictions_of(spec, networks, inputs)


def _prefix(network: TrainedNetwork, networks: Sequence[TrainedNetwork]) -> str:
    """What the names of a network's arrays begin with: of several `fold-0.`."""
    return f"{network.member.folder}." if len(networks) > 1 and network.member is not None else ""


def predictions_of(
    spec: schema.ExperimentSpec,
    networks: Sequence[tuple[FittedPreprocessing, Mapping[str, Array]]],
    inputs: Mapping[Port, RawInputs],
) -> dict[Port, Array]:
    """What networks say on average of rows of a data set: each output, numbers in the target's own units."""
    each = [
        in_own_units(fitted, outputs_function(spec, fitted, weights, _CPU)(inputs))
        for fitted, weights in networks
    ]
    return {port: average([own[port] for own in each]).mean for port in each[0]}


# --- torch.export ------------------------------------------------------------------------------------------


def _write_pt2(export: Export, path: Path) -> None:
    content = io.BytesIO()
    program = export.program()
    with quiet():
        torch.export.save(program, content, extra_files=dict(export.metadata))
    path.write_bytes(content.getvalue())


def _ask_pt2(export: Export, path: Path, inputs: Mapping[Port, RawInputs]) -> dict[Port, Array]:
    with quiet(), path.open("rb") as file, torch.inference_mode():
        program = torch.export.load(io.BytesIO(file.read()))
        found = program.module()(export.arguments(export.rows(inputs)))
    outputs = export.by_output(found)
    return {port: outputs[port].numpy() for port in export.output_names}


FORMATS: Mapping[FormatName, Format] = {
    "safetensors": Format(False, _write_safetensors, _ask_safetensors),
    "pt2": Format(True, _write_pt2, _ask_pt2),
    "onnx": Format(True, write_onnx, ask_onnx),
}


def metadata_of(**texts: Any) -> dict[str, str]:
    """Metadata as files hold it: texts by name; other values as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in texts.items()
        if value is not None
    }
