"""What a script is written of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.experiment.predicting.output_decoder import OutputDecoder
from nnrun.spec import schema
from nnrun.spec.ports import Port


@dataclass(frozen=True, eq=False)
class Model:
    """What a script is written of.

    Attributes:
        run: the run's id.
        spec: its spec, with the calibration and thresholds that were fitted.
        networks: of several the average is predicted.
        decoders: what each output means.
        file_columns: all columns of the training file, where that has no header.
        feature_names: of the numbers of an array's rows, where they have some.
    """

    run: str
    spec: schema.ExperimentSpec
    networks: Sequence[TrainedNetwork]
    decoders: Mapping[Port, OutputDecoder]
    file_columns: tuple[str, ...] | None
    feature_names: tuple[str, ...] | None = None

    @property
    def of_table(self) -> bool:
        """Whether rows are those of a table."""
        return all(inputs.of_table for inputs in self.networks[0].fitted.inputs.values())

    @property
    def named(self) -> bool:
        """Whether the rows of arrays come in a dictionary by input."""
        return bool(self.spec.inputs) and not self.of_table and len(self.networks[0].fitted.inputs) > 1


def columns_of(model: Model) -> list[Any]:
    """The columns of all inputs that are tables."""
    tables = [inputs.table for inputs in model.networks[0].fitted.inputs.values()]
    return [column for table in tables if table is not None for column in table.columns]


def column_names(model: Model) -> list[str]:
    """Their names, each once: several inputs may take a column."""
    return list(dict.fromkeys(column.name for column in columns_of(model)))
