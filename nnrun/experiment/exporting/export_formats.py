"""The files that `nnrun export` writes, and how each is asked again once it is written."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array, RawInputs
from nnrun.data.table import NumberColumn, Table
from nnrun.errors import NnrunError, UsageError, printable
from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.experiment.predicting.outputs import network_outputs
from nnrun.experiment.setup.groups import network_of
from nnrun.model.standalone import StandaloneNetwork
from nnrun.records import read_weights_file
from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.wording import listing

FormatName = Literal["safetensors", "pt2", "onnx"]
INPUT, OUTPUT = "rows", "predictions"  # what an ONNX file calls them
_EXTRA_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Export:
    """What goes into a file.

    Attributes:
        spec: the run's.
        network: its weights and preprocessing.
        metadata: texts that tell what the numbers are, by name.
        dtype: of the rows that a program takes.
    """

    spec: schema.ExperimentSpec
    network: TrainedNetwork
    metadata: Mapping[str, str]
    dtype: torch.dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row as a program takes it: raw features, or a row that is prepared outside."""
        fitted = self.network.fitted.input
        if self.rows_of != "features":
            return fitted.shape
        return fitted.raw_shape or (fitted.n_features or 0,)

    @property
    def rows_of(self) -> str:
        """What a row is that a program takes."""
        return rows_of(self.network.fitted)

    def module(self) -> StandaloneNetwork:
        """The network with its preprocessing inside."""
        fitted = self.network.fitted
        network = network_of(self.spec, fitted)
        numbers = None if fitted.input.table is None else fitted.input.table.numbers
        preprocess = None
        if numbers is not None:
            compute = partial(numbers.map(torch.from_numpy).compute, xp=torch)
            preprocess = compute if len(self.row_shape) == 1 else partial(_at_each_position, compute)
        module = StandaloneNetwork(network, self.network.weights, preprocess, fitted.output.scale)
        return module.eval()

    def example(self) -> torch.Tensor:
        """Rows to trace with. Their number means nothing, but for 0 and 1, which would be taken for fixed."""
        return torch.zeros(3, *self.row_shape, dtype=self.dtype)

    def program_rows(self, inputs: RawInputs) -> torch.Tensor:
        """Rows of a data set as a program takes them."""
        if self.rows_of != "features":
            rows = self.network.fitted.input.transform(inputs)
            return torch.from_numpy(rows.to_dense())
        if isinstance(inputs, Table):
            columns = [inputs.by_name[name] for name in self.columns]
            inputs = np.stack([c.values for c in columns if isinstance(c, NumberColumn)], axis=1)
        assert isinstance(inputs, np.ndarray), "token rows are prepared outside"
        return torch.from_numpy(np.ascontiguousarray(inputs)).to(self.dtype)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the raw features that a program takes, in order; empty where they are no table."""
        fitted = self.network.fitted
        if fitted.input.table is None or not fitted.input.of_table or self.rows_of != "features":
            return ()
        return tuple(column.name for column in fitted.input.table.columns)


def _at_each_position(compute: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """(N, ..., C) → the same shape: what is computed of C columns, at each position of each row."""
    return compute(x.flatten(0, -2)).view(x.shape)


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        program: whether it computes; else it holds numbers to compute with.
        write: fills a file.
        ask: what the network in a file says of rows of a data set, (N, K).
    """

    program: bool
    write: Callable[[Export, Path], None]
    ask: Callable[[Export, Path, RawInputs], Array]


def rows_of(fitted: FittedPreprocessing) -> str:
    """What a row is that a program takes.

    `features` are raw ones, NaN where one is missing. Other rows are made outside: `multi_hot` or `pad` of a
    data set's tokens, `prepared` of columns of which some hold no numbers.
    """
    if fitted.input.table is None:
        assert fitted.input.token_step is not None, "token rows have a step"
        return fitted.input.token_step.kind
    return "prepared" if fitted.input.table.numbers is None else "features"


def refuse_steps_without_program(fitted: FittedPreprocessing) -> None:
    """Raise UsageError where a step can neither be computed in a program nor be left to those who ask it."""
    steps = (
        [step for column in fitted.input.table.columns for step in column.steps] if fitted.input.table else []
    )
    steps += [] if fitted.input.token_step is None else [fitted.input.token_step]
    names = [step.kind for step in steps if step.program is None]
    names += [printable(step.spec.object) for step in fitted.input.custom]
    if names:
        raise UsageError(
            "An exported program cannot contain the preprocessing step "
            f"{listing(list(dict.fromkeys(names)))}. To export the weights, with spec and preprocessing "
            "beside them: --format safetensors."
        )


# --- safetensors -------------------------------------------------------------------------------------------


def _write_safetensors(export: Export, path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {name: np.asarray(value, order="C") for name, value in export.network.weights.items()}
    save_file(arrays, path, metadata=dict(export.metadata))


def _ask_safetensors(export: Export, path: Path, inputs: RawInputs) -> Array:
    """From the file only: its weights, and its spec and preprocessing."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    spec = load_spec_text(metadata["spec"], file=str(path), base=path.parent, default_name=path.stem).spec
    fitted = FittedPreprocessing.from_json(json.loads(metadata["preprocessing"]))
    return fitted.output.in_own_units(
        network_outputs(spec, fitted, read_weights_file(path), dict.fromkeys(fitted.inputs, inputs), _CPU)
    )


# --- torch.export ------------------------------------------------------------------------------------------


def _write_pt2(export: Export, path: Path) -> None:
    with _quiet(), _traced(export):
        dynamic = ({0: torch.export.Dim(INPUT, min=1)},)
        program = torch.export.export(export.module(), (export.example(),), dynamic_shapes=dynamic)
        content = io.BytesIO()
        torch.export.save(program, content, extra_files=dict(export.metadata))
    path.write_bytes(content.getvalue())


def _ask_pt2(export: Export, path: Path, inputs: RawInputs) -> Array:
    with _quiet(), path.open("rb") as file, torch.inference_mode():
        program = torch.export.load(io.BytesIO(file.read()))
        outputs: torch.Tensor = program.module()(export.program_rows(inputs))
    return outputs.numpy()


# --- ONNX --------------------------------------------------------------------------------------------------


def require_onnx() -> None:
    """Raise UsageError unless the packages of the extra are here."""
    missing = [name for name in _EXTRA_PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--format onnx needs {', '.join(missing)}, which this Python does not have. Install the extra: "
            "pip install 'nnrun[onnx]'."
        )


def _write_onnx(export: Export, path: Path) -> None:
    import onnx

    with _quiet(), _traced(export):
        program = torch.onnx.export(
            export.module(),
            (export.example(),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim(INPUT, min=1)},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None, "without a file to write it is given back"
    model = program.model_proto
    onnx.helper.set_model_props(model, dict(export.metadata))
    onnx.save_model(model, path)


def _ask_onnx(export: Export, path: Path, inputs: RawInputs) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (outputs,) = session.run([OUTPUT], {INPUT: export.program_rows(inputs).numpy()})
    return np.asarray(outputs)


@contextmanager
def _traced(export: Export) -> Iterator[None]:
    """Of a network with custom layers, say which could not be traced; whatever went wrong is theirs."""
    layers = [layer for _, layer in all_layers(export.spec)]
    names = [printable(layer.object) for layer in layers if isinstance(layer, schema.Custom)]
    try:
        yield
    except Exception as error:
        if not names:
            raise
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise NnrunError(
            f"An exported program contains no Python code, and PyTorch cannot trace what {listing(names)} "
            f"does ({type(error).__name__}: {printable(said[:200])}). It must not branch on the values of a "
            "tensor, or leave PyTorch. To export only the weights: --format safetensors."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch's exporters warn about their own internals, which a user cannot change."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


FORMATS: Mapping[FormatName, Format] = {
    "safetensors": Format(False, _write_safetensors, _ask_safetensors),
    "pt2": Format(True, _write_pt2, _ask_pt2),
    "onnx": Format(True, _write_onnx, _ask_onnx),
}


def metadata_of(**texts: Any) -> dict[str, str]:
    """Metadata as files hold it: texts by name; other values as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in texts.items()
        if value is not None
    }
