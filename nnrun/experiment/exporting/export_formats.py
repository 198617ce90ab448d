"""The files that `nnrun export` writes, and how each is asked again once it is written."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array, RawInputs
from nnrun.data.new_rows.named_columns import missing_strings
from nnrun.data.table import Table
from nnrun.errors import NnrunError, printable
from nnrun.experiment.exporting.column_program import Columns, ColumnsNetwork, TableProgram
from nnrun.experiment.exporting.onnx_graph import OPSETS, OnnxGraph, model_of, prefix_apart
from nnrun.experiment.exporting.onnx_operators import RULES
from nnrun.experiment.exporting.onnx_trace import NotLoweredError, onnx_type, trace_module
from nnrun.experiment.exporting.program_inputs import ProgramInput
from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.experiment.predicting.outputs import average, in_own_units, outputs_function
from nnrun.extras import require
from nnrun.model.network import network_of
from nnrun.model.standalone import AveragedNetworks, StandaloneNetwork
from nnrun.records import read_weights_file
from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.ports import Port, output_views
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.wording import listing
from nnrun.validation.calibration import calibrator_of

FormatName = Literal["safetensors", "pt2", "onnx", "script"]
_ROWS, _PREDICTIONS = "rows", "predictions"  # what files call the only input and the only output
_EXTRA_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Export:
    """What goes into a file.

    Attributes:
        spec: the run's.
        networks: the weights and preprocessing of each; of several their average goes into the file.
        metadata: texts that tell what the numbers are, by name.
        float64: whether a program takes raw features as float64.
        by_columns: whether the columns of a table that holds more than numbers are inputs of their own.
    """

    spec: schema.ExperimentSpec
    networks: tuple[TrainedNetwork, ...]
    metadata: Mapping[str, str]
    float64: bool
    by_columns: bool = False

    @cached_property
    def inputs_of_networks(self) -> Sequence[Mapping[Port, ProgramInput]]:
        """What each network takes, by its inputs.

        Where all take the same rows, these are one input of the program; where each needs rows that are
        prepared outside in its own way, each has an input of its own, named for the member.
        """
        each: list[dict[Port, ProgramInput]] = [{} for _ in self.networks]
        for port in self.networks[0].fitted.inputs:
            name = port if self.spec.inputs else _ROWS
            made = [
                ProgramInput(port, name, n.fitted.inputs[port], self.float64, self.columns_wanted)
                for n in self.networks
            ]
            if not all(one.same_rows(made[0]) for one in made):
                names = [
                    f"{name}_{n.member.type}_{n.member.id}" for n in self.networks if n.member is not None
                ]
                made = [replace(one, name=own) for one, own in zip(made, names, strict=True)]
            for own, one in zip(each, made, strict=True):
                own[port] = one
        return each

    @cached_property
    def inputs(self) -> Mapping[str, ProgramInput]:
        """What a program takes, by the names that it has in the file."""
        by_name: dict[str, ProgramInput] = {}
        for port in self.networks[0].fitted.inputs:
            for own in self.inputs_of_networks:
                by_name.setdefault(own[port].name, own[port])
        return by_name

    @property
    def named_inputs(self) -> bool:
        """Whether a program takes a dictionary of rows, by name."""
        return bool(self.spec.inputs) or len(self.inputs) > 1 or self.columns_wanted

    @cached_property
    def columns_wanted(self) -> bool:
        """Whether columns are inputs of their own: some column of a table holds no numbers."""
        fitted = [each for network in self.networks for each in network.fitted.inputs.values()]
        tables = [each.table for each in fitted if each.of_table]
        of_numbers = [table.numbers is not None for table in tables if table is not None]
        return self.by_columns and len(of_numbers) == len(fitted) and not all(of_numbers)

    @cached_property
    def columns(self) -> Columns | None:
        """Where they are, what a program computes of them.

        Raises:
            UsageError: ONNX cannot hold a step.
        """
        if not self.columns_wanted:
            return None
        tables = {
            name: TableProgram.of(each.fitted, self.float64, str(place))
            for place, (name, each) in enumerate(self.inputs.items())
        }
        return Columns(tables, missing_strings(self.spec.dataset))

    @cached_property
    def output_names(self) -> Mapping[Port, str]:
        """What files call each output: its own name; `predictions`, where the spec names none."""
        outputs = self.networks[0].fitted.outputs
        if self.spec.outputs:
            return {port: port for port in outputs}
        name = _PREDICTIONS
        taken = {*self.spec.inputs, *(() if self.columns is None else self.columns.names)}
        while name in taken:
            name += "_"
        return dict.fromkeys(outputs, name)

    def module(self) -> torch.nn.Module:
        """The network, or the average of several, with the preprocessing of each inside.

        It takes rows, or a dictionary of rows by input where these have names; outputs likewise.
        """
        if len(self.networks) == 1:
            module: torch.nn.Module = self._module(0, self.named_inputs, bool(self.spec.outputs))
        else:
            module = AveragedNetworks(
                [self._module(i, True, True) for i in range(len(self.networks))],
                [{port: one.name for port, one in own.items()} for own in self.inputs_of_networks],
                named_inputs=self.named_inputs,
                named_outputs=bool(self.spec.outputs),
            )
        if self.columns is not None:
            single = len(self.networks) == 1
            called = {name: each.port if single else name for name, each in self.inputs.items()}
            module = ColumnsNetwork(module, {called[n]: t for n, t in self.columns.tables.items()})
        return module.eval()

    @property
    def examples(self) -> dict[str, torch.Tensor]:
        """What the module takes, by name, to trace with: the parts of columns, or rows."""
        if self.columns is not None:
            return self.columns.examples()
        return {name: each.example() for name, each in self.inputs.items()}

    @property
    def open_sizes(self) -> Mapping[str, Mapping[int, str]]:
        """The axes whose size a program leaves open, with a name for each."""
        if self.columns is not None:
            return self.columns.open_sizes(_ROWS)
        return {name: {0: _ROWS} for name in self.inputs}

    def program(self) -> torch.export.ExportedProgram:
        """The module, traced.

        Raises:
            NnrunError: PyTorch cannot trace the network.
        """
        module, example = self.module(), self.arguments(self.examples)
        with _quiet(), _told_of_layers(self.spec, "trace"):
            return torch.export.export(module, (example,), dynamic_shapes=self.dynamic_shapes())

    def _module(self, index: int, named_inputs: bool, named_outputs: bool) -> StandaloneNetwork:
        """One of the networks, its preprocessing inside."""
        network = self.networks[index]
        return StandaloneNetwork(
            network_of(self.spec, network.fitted.inputs),
            network.weights,
            {port: each.preprocess() for port, each in self.inputs_of_networks[index].items()},
            {port: each.scale for port, each in network.fitted.outputs.items()},
            {port: calibrator_of(view.calibrate) for port, view in output_views(self.spec).items()},
            named_inputs=named_inputs,
            named_outputs=named_outputs,
        )

    def dynamic_shapes(self) -> tuple[Any]:
        """`open_sizes` as PyTorch takes them."""
        dims = {
            name: torch.export.Dim(name, min=1) for own in self.open_sizes.values() for name in own.values()
        }
        by_name = {
            part: {axis: dims[name] for axis, name in own.items()} for part, own in self.open_sizes.items()
        }
        return (self.arguments(by_name),)

    def arguments(self, by_input: Mapping[str, Any]) -> Any:
        """What a program takes, of something for each input."""
        return dict(by_input) if self.named_inputs else next(iter(by_input.values()))

    def rows(self, inputs: Mapping[Port, RawInputs]) -> dict[str, torch.Tensor]:
        """Rows of a data set as a program takes them, by the names of its inputs."""
        return {name: each.rows(inputs[each.port]) for name, each in self.inputs.items()}


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
    with _quiet():
        torch.export.save(program, content, extra_files=dict(export.metadata))
    path.write_bytes(content.getvalue())


def _ask_pt2(export: Export, path: Path, inputs: Mapping[Port, RawInputs]) -> dict[Port, Array]:
    with _quiet(), path.open("rb") as file, torch.inference_mode():
        program = torch.export.load(io.BytesIO(file.read()))
        found = program.module()(export.arguments(export.rows(inputs)))
    outputs = found if export.spec.outputs else dict.fromkeys(export.output_names, found)
    return {port: outputs[port].numpy() for port in export.output_names}


# --- ONNX --------------------------------------------------------------------------------------------------


def require_onnx() -> None:
    """Raise UsageError unless the packages of the extra are here."""
    require("onnx", dict(zip(_EXTRA_PACKAGES, _EXTRA_PACKAGES, strict=True)), "--format onnx")


def _write_onnx(export: Export, path: Path) -> None:
    import onnx

    try:
        model = _written_onnx(export)
    except (NotLoweredError, NnrunError) as error:  # what a custom layer raises is wrapped
        if not isinstance(error, NotLoweredError) and not isinstance(error.__cause__, NotLoweredError):
            raise
        model = _onnx_by_torch(export)
    onnx.helper.set_model_props(model, dict(export.metadata))
    onnx.save_model(model, path)


def _onnx_inputs(export: Export) -> list[Any]:
    """What an ONNX file says of what it takes."""
    from onnx import TensorProto, helper

    if export.columns is not None:
        number = TensorProto.DOUBLE if export.float64 else TensorProto.FLOAT
        kinds = {name: number if held else TensorProto.STRING for name, held in export.columns.names.items()}
        return [helper.make_tensor_value_info(name, kind, [_ROWS, 1]) for name, kind in kinds.items()]
    return [
        helper.make_tensor_value_info(name, onnx_type(each.dtype), [_ROWS, *each.row_shape])
        for name, each in export.inputs.items()
    ]


def _written_onnx(export: Export) -> Any:
    """The program, operator by operator.

    Raises:
        NotLoweredError: a layer needs one that is not known here.
    """
    from onnx import helper

    inputs = _onnx_inputs(export)
    taken = [each.name for each in inputs]
    graph = OnnxGraph(prefix_apart([*taken, *export.output_names.values()]))
    values = dict(zip(taken, taken, strict=True)) if export.columns is None else export.columns.write(graph)
    with _told_of_layers(export.spec, "write as ONNX"):
        trace, found = trace_module(
            export.module(), graph, RULES, export.examples, values, export.open_sizes, export.arguments
        )
    given = found if export.spec.outputs else dict.fromkeys(export.output_names, found)
    outputs = []
    for port, name in export.output_names.items():
        value = given[port]
        graph.give(value.onnx_name, name)
        shape = trace.shape_in_words(value.shape)
        outputs.append(helper.make_tensor_value_info(name, onnx_type(value.dtype), shape))
    return model_of(graph, inputs, outputs)


def _onnx_by_torch(export: Export) -> Any:
    """The program as PyTorch's exporter writes it, which knows all operators of PyTorch, and takes long."""
    import onnx

    traced = export.program()
    with _quiet(), _told_of_layers(export.spec, "write as ONNX"):
        program = torch.onnx.export(
            traced,
            dynamo=True,
            dynamic_shapes=export.dynamic_shapes(),  # the file has the names of open sizes from here
            opset_version=OPSETS[""],
            verbose=False,
        )
    assert program is not None, "without a file to write it is given back"
    outputs = list(export.output_names.values())
    if export.columns is None:
        _name_ends(program.model.graph, list(export.inputs), outputs)
        return program.model_proto
    _name_ends(program.model.graph, list(export.examples), outputs, export.columns.names)
    model = program.model_proto
    export.columns.put_before(model)
    del model.graph.input[:]
    model.graph.input.extend(_onnx_inputs(export))
    for domain in OPSETS.keys() - {each.domain for each in model.opset_import}:
        model.opset_import.append(onnx.helper.make_opsetid(domain, OPSETS[domain]))
    return model


def _name_ends(
    graph: Any, inputs: Sequence[str], outputs: Sequence[str], reserved: Iterable[str] = ()
) -> None:
    """Give the inputs and outputs of an ONNX graph (`onnx_ir.Graph`) their names.

    All values in a graph share one name space: what is called so within, or by a reserved name, gets another
    name.
    """
    ends = dict(zip([*graph.inputs, *graph.outputs], [*inputs, *outputs], strict=True))
    within = [value for node in graph.all_nodes() for value in node.outputs if value not in ends]
    within += list(graph.initializers.values())
    kept = {*ends.values(), *reserved}
    taken = {value.name for value in within} | kept
    for value in within:
        if value.name in kept:
            name = value.name
            while name in taken:
                name += "_"
            value.name = name
            taken.add(name)
    for value, name in ends.items():
        value.name = name


def _ask_onnx(export: Export, path: Path, inputs: Mapping[Port, RawInputs]) -> dict[Port, Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    taken = _onnx_rows(export, inputs)
    found = session.run(list(export.output_names.values()), taken)
    return dict(zip(export.output_names, map(np.asarray, found), strict=True))


def _onnx_rows(export: Export, inputs: Mapping[Port, RawInputs]) -> dict[str, Array]:
    """Rows of a data set as the inputs of a program take them."""
    if export.columns is None:
        return {name: values.numpy() for name, values in export.rows(inputs).items()}
    rows: dict[str, Array] = {}
    for port in inputs:
        table = inputs[port]
        assert isinstance(table, Table), "a table has columns"
        rows |= export.columns.rows(table, export.float64)
    return rows


@contextmanager
def _told_of_layers(spec: schema.ExperimentSpec, does: str) -> Iterator[None]:
    """Say that PyTorch cannot `does` a network. Where it has custom layers, whatever went wrong is theirs."""
    layers = [layer for _, layer in all_layers(spec)]
    names = [printable(layer.object) for layer in layers if isinstance(layer, schema.Custom)]
    try:
        yield
    except NotLoweredError:
        raise
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        what, advice = f"{type(error).__name__}: {printable(said[:200])}", "To export only the weights: "
        if not names:
            kinds = listing(list(dict.fromkeys(layer.kind for layer in layers)), "and")
            raise NnrunError(
                f"No program was written: PyTorch {torch.__version__} cannot {does} a network of {kinds} "
                f"({what}). {advice}--format safetensors."
            ) from error
        raise NnrunError(
            f"An exported program contains no Python code, and PyTorch cannot {does} what {listing(names)} "
            f"does ({what}). It must not branch on the values of a tensor, or leave PyTorch. {advice}"
            "--format safetensors."
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
