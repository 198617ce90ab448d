"""What goes into a file that `nnrun export` writes, and the PyTorch module that a program is made of."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from nnrun.data.dataset import RawInputs
from nnrun.data.new_rows.named_columns import missing_strings
from nnrun.errors import NnrunError, printable
from nnrun.experiment.exporting.column_program import Columns, ColumnsNetwork, TableProgram
from nnrun.experiment.exporting.onnx_trace import NotLoweredError
from nnrun.experiment.exporting.program_inputs import ProgramInput
from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.model.network import network_of
from nnrun.model.standalone import AveragedNetworks, StandaloneNetwork
from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.ports import Port, output_views
from nnrun.spec.wording import listing
from nnrun.validation.calibration import calibrator_of

ROWS = "rows"
"""What files call the only input, and the number of rows."""
_PREDICTIONS = "predictions"  # and the only output


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
            name = port if self.spec.inputs else ROWS
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
            return self.columns.open_sizes(ROWS)
        return {name: {0: ROWS} for name in self.inputs}

    def program(self) -> torch.export.ExportedProgram:
        """The module, traced.

        Raises:
            NnrunError: PyTorch cannot trace the network.
        """
        module, example = self.module(), self.arguments(self.examples)
        with quiet(), told_of_layers(self.spec, "trace"):
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

    def by_output(self, found: Any) -> Mapping[Port, Any]:
        """What the module or a program gives, by output."""
        return found if self.spec.outputs else dict.fromkeys(self.output_names, found)

    def rows(self, inputs: Mapping[Port, RawInputs]) -> dict[str, torch.Tensor]:
        """Rows of a data set as a program takes them, by the names of its inputs."""
        return {name: each.rows(inputs[each.port]) for name, each in self.inputs.items()}


@contextmanager
def told_of_layers(spec: schema.ExperimentSpec, does: str) -> Iterator[None]:
    """Say that PyTorch cannot `does` a network. Where it has custom layers, whatever went wrong is theirs."""
    layers = [layer for _, layer in all_layers(spec)]
    names = [printable(layer.object) for layer in layers if isinstance(layer, schema.Custom)]
    try:
        yield
    except NotLoweredError:
        raise
    except Exception as error:
        if isinstance(error.__cause__, NotLoweredError):  # within a custom layer
            raise error.__cause__ from None
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
def quiet() -> Iterator[None]:
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
