"""Inputs and targets together: fitted on some rows, applied to any, to JSON and back.

Letters in names: N rows, F features, K output columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, Dataset, RawInputs, TokenRows
from nnrun.data.preprocess import json_checks
from nnrun.data.preprocess.arrays import (
    FittedStandardize,
    array_columns,
    array_from_json,
    array_to_json,
    array_within_range,
    fit_array,
    suits_arrays,
    transform_array,
)
from nnrun.data.preprocess.column_steps import kind_of, plan_columns
from nnrun.data.preprocess.column_transformer import FittedTable, fit_table, rows_by_line
from nnrun.data.preprocess.custom_step import FittedCustom, fit_custom, transform_custom
from nnrun.data.preprocess.target_encoding import (
    FittedNoTarget,
    FittedTargetScale,
    TargetState,
    fit_targets,
    loss_of_digits,
    target_columns,
    target_from_json,
    target_to_json,
)
from nnrun.data.preprocess.tokens import (
    FittedMultiHot,
    TokenState,
    fit_tokens,
    token_step_from_json,
    token_step_to_json,
)
from nnrun.data.rows import DenseRows, SparseRows
from nnrun.data.table import Table, number_column
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.target_scale import TargetScale

_JSON_VERSION = 1
_FEW_DIGITS = 1e-6  # of the targets' spread, by which rounding moves them: scores show no more digits
_JSON_VERSION_OF_TABLES = 2  # so that an older nnrun says that it cannot read them


@dataclass(frozen=True)
class FittedPreprocessing:
    """What was learned from training rows, ready to transform any rows.

    Attributes:
        inputs: the fitted steps of an array or of token rows (also of those that `table` makes), in order.
        targets: the fitted target step.
        n_features: columns that an array or a table must have; None for token rows.
        n_outputs: units of the last layer.
        table: the fitted steps of each column of a table; None for token rows, and for arrays that are
            standardized or taken as they are.
        custom: steps of a person's own, on the rows that the others make.
    """

    inputs: tuple[TokenState | FittedStandardize, ...]
    targets: TargetState
    n_features: int | None
    n_outputs: int
    table: FittedTable | None = None
    custom: tuple[FittedCustom, ...] = ()

    @property
    def width(self) -> int:
        """F, the width of a transformed row."""
        if self.custom:
            return self.custom[-1].width
        if self._token_steps:
            return self._token_steps[-1].width
        if self.table is not None:
            return self.table.width
        assert self.n_features is not None, "only multi_hot and pad take token rows"
        return self.n_features

    @property
    def tokens(self) -> int | None:
        """The number that all word indices are below which a network sees; None for other inputs."""
        return self._token_steps[-1].tokens if self._token_steps else None

    @property
    def sparse(self) -> bool:
        """Whether transformed rows are sparse."""
        return not self.custom and self._makes_sparse

    @property
    def _makes_sparse(self) -> bool:
        if self._token_steps:
            return isinstance(self._token_steps[-1], FittedMultiHot)
        return self.table is not None and self.table.sparse

    @property
    def of_table(self) -> bool:
        """Whether the inputs are tables of named columns; else arrays or token rows."""
        return self.table is not None and not self.table.of_array

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the F features, where the inputs have named columns."""
        return None if self.table is None or self._token_steps or self.custom else tuple(self.table.features)

    @property
    def _token_steps(self) -> list[TokenState]:
        return [step for step in self.inputs if not isinstance(step, FittedStandardize)]

    def does_the_same_to_inputs(self, other: FittedPreprocessing) -> bool:
        """Whether another one gives the same rows."""
        return (self.inputs, self.table, self.custom) == (other.inputs, other.table, other.custom)

    def transform_inputs(self, inputs: RawInputs) -> DenseRows | SparseRows:
        """Inputs as the network takes them. Numbers are computed in float64 and rounded to float32 once."""
        rows = self._transform(inputs)
        return transform_custom(self.custom, rows) if self.custom else rows

    def _transform(self, inputs: RawInputs) -> DenseRows | SparseRows:
        """What all steps but the custom ones make."""
        inputs = self._checked(inputs)
        if isinstance(inputs, Table):
            assert self.table is not None, "checked above"
            rows = self.table.transform(inputs)
            return self._of_tokens(rows) if isinstance(rows, TokenRows) else rows
        if isinstance(inputs, TokenRows):
            return self._of_tokens(inputs)
        steps = [step for step in self.inputs if isinstance(step, FittedStandardize)]
        return transform_array(steps, inputs, inputs.shape[1])

    def _of_tokens(self, rows: TokenRows) -> DenseRows | SparseRows:
        (step,) = self._token_steps
        return step.transform(rows)

    def _checked(self, inputs: RawInputs) -> RawInputs:
        """The inputs, which must be of the kind that was fitted; an array as a table where it was one."""
        if isinstance(inputs, Table):
            if not self.of_table:
                raise DataError(
                    "These inputs are a table of named columns, which the run was not trained on."
                )
            return inputs
        if self.of_table:
            raise DataError("These inputs have no named columns, but a table of named columns is needed.")
        if isinstance(inputs, TokenRows):
            if self.n_features is not None:
                raise DataError(
                    f"These inputs are token lists, but a table of {self.n_features} columns is needed."
                )
            return inputs
        if self.n_features is None:
            raise DataError("These inputs are a table, but token lists are needed.")
        if inputs.ndim != 2 or inputs.shape[1] != self.n_features:
            raise DataError(
                f"These inputs have shape {inputs.shape}, but {self.n_features} columns are needed."
            )
        return inputs if self.table is None else self.table.as_table(inputs)

    def problems(self, inputs: RawInputs) -> dict[int, str]:
        """Which rows `transform_inputs` cannot take, and why: the end of a sentence about the row."""
        inputs = self._checked(inputs)
        if isinstance(inputs, Table):
            assert self.table is not None, "checked above"
            return self.table.problems(inputs)
        if isinstance(inputs, TokenRows):
            return {}
        steps = [step for step in self.inputs if isinstance(step, FittedStandardize)]
        wrong = np.flatnonzero(~array_within_range(steps, inputs))
        return dict.fromkeys(wrong.tolist(), "holds a number that is too large for the network")

    def within_range(self, inputs: Array | Table) -> npt.NDArray[np.bool_]:
        """Which rows of a table, (N, F), `transform_inputs` takes: all their numbers stay finite float32."""
        usable = np.ones(len(inputs), bool)
        usable[list(self.problems(inputs))] = False
        return usable

    def transform_targets(self, targets: Array) -> Array:
        """Targets as the loss takes them: float32 (N, K), or int64 (N,) for class indices."""
        return self.targets.transform(np.asarray(targets), self.n_outputs)

    @property
    def target_scale(self) -> TargetScale | None:
        """What numbers to predict were divided by and centred by; None where they are as they were."""
        return self.targets.scale if isinstance(self.targets, FittedTargetScale) else None

    def in_own_units(self, outputs_NK: Array) -> Array:
        """Outputs of the network in float64; of scaled targets in the units that these had before."""
        scale = self.target_scale
        return outputs_NK.astype(np.float64) if scale is None else scale.invert(outputs_NK)

    def own_targets(self, targets: Array) -> Array | None:
        """(N, K) float64: targets in their own units, where the loss compares others; else None.

        Others are scaled ones, and those that float32 noticeably rounds.
        """
        if self.target_scale is None and (
            not isinstance(self.targets, FittedNoTarget) or loss_of_digits(np.asarray(targets)) <= _FEW_DIGITS
        ):
            return None
        return target_columns(np.asarray(targets), self.n_outputs).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values. Floats keep every bit through the json module."""
        document = {
            "version": _JSON_VERSION if self.table is None else _JSON_VERSION_OF_TABLES,
            "n_features": self.n_features,
            "n_outputs": self.n_outputs,
            "inputs": [
                array_to_json(step) if isinstance(step, FittedStandardize) else token_step_to_json(step)
                for step in self.inputs
            ],
            "targets": target_to_json(self.targets),
        }
        if self.custom:
            document["custom"] = [step.to_json() for step in self.custom]
        return document if self.table is None else {**document, "table": self.table.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedPreprocessing:
        """The state that `to_json` wrote.

        Raises:
            DataError: the document is something else.
        """
        try:
            if json_checks.count(document["version"]) not in (_JSON_VERSION, _JSON_VERSION_OF_TABLES):
                raise DataError(
                    f"The preprocessing has version {document['version']}; {_JSON_VERSION} and "
                    f"{_JSON_VERSION_OF_TABLES} are read."
                )
            return cls._read(document)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise DataError("The preprocessing's JSON is damaged.") from None

    @classmethod
    def _read(cls, document: Mapping[str, Any]) -> FittedPreprocessing:
        n_features = None if document["n_features"] is None else json_checks.count(document["n_features"])
        n_outputs = json_checks.count(document["n_outputs"])
        targets = target_from_json(document["targets"], n_outputs)
        table, makes_tokens = None, n_features is None
        if document["version"] == _JSON_VERSION_OF_TABLES:
            table = FittedTable.from_json(document["table"])
            if n_features != len(table.columns):
                raise ValueError(n_features)
            makes_tokens = table.tokens is not None
        steps: list[TokenState | FittedStandardize] = []
        for step in document["inputs"]:
            if makes_tokens:
                steps.append(token_step_from_json(step))
            elif table is None and n_features is not None:
                steps.append(array_from_json(step, n_features))
            else:
                raise ValueError(step)
        if makes_tokens and len(steps) != 1:
            raise ValueError(steps)
        custom = tuple(map(FittedCustom.from_json, document.get("custom", ())))
        return cls(tuple(steps), targets, n_features, n_outputs, table, custom)


def fit_preprocessing(
    spec: schema.Preprocessing, dataset: Dataset, rows: npt.ArrayLike | None = None, *, n_outputs: int
) -> FittedPreprocessing:
    """Learn the preprocessing from some of the training rows, and from nothing else.

    Args:
        spec: the steps. Targets without a step are taken as they are.
        dataset: only its training rows at `rows` are looked at, and its num_words.
        rows: positions among the training rows, or None for all of them.
        n_outputs: units of the last layer.

    Raises:
        DataError: a step does not apply to this data; says to which row.
        UsageError: a step is custom code that may not be run, or that is not there.
    """
    chosen = None if rows is None else np.asarray(rows)
    if chosen is not None and chosen.dtype == bool:
        chosen = np.flatnonzero(chosen)
    custom = [step for step in spec.inputs if isinstance(step, schema.Custom)]
    if custom:
        others = [step for step in spec.inputs if not isinstance(step, schema.Custom)]
        before = spec.model_copy(update={"inputs": others})
        fitted = fit_preprocessing(before, dataset, chosen, n_outputs=n_outputs)
        trained_on = dataset.train if chosen is None else dataset.train.take(chosen)
        return replace(fitted, custom=fit_custom(custom, fitted.transform_inputs(trained_on.inputs)))
    samples = dataset.train
    if not (len(samples) if chosen is None else len(chosen)):
        raise DataError("There are no training rows to fit the preprocessing on.")
    labels = samples.targets if chosen is None else samples.targets[chosen]
    targets = fit_targets(spec.targets, labels, chosen, n_outputs)
    inputs = samples.inputs
    if isinstance(inputs, TokenRows):
        _refuse_other_steps(spec, dataset.name)
        own = inputs if chosen is None else inputs.take(chosen)
        steps = fit_tokens(spec.inputs, dataset.name, dataset.num_words, own)
        return FittedPreprocessing(steps, targets, None, n_outputs)
    if isinstance(inputs, Table):
        return _fit_table(spec, dataset, inputs, chosen, targets, n_outputs, of_array=False)
    if all(map(suits_arrays, spec.inputs)):
        own_rows = inputs if chosen is None else inputs[chosen]
        scales = fit_array(spec.inputs, dataset, own_rows)
        return FittedPreprocessing(scales, targets, int(inputs.shape[1]), n_outputs)
    table = _as_table(dataset, inputs)
    return _fit_table(spec, dataset, table, chosen, targets, n_outputs, of_array=True)


def _fit_table(
    spec: schema.Preprocessing,
    dataset: Dataset,
    table: Table,
    rows: Array | None,
    targets: TargetState,
    n_outputs: int,
    *,
    of_array: bool,
) -> FittedPreprocessing:
    kinds = [(column.name, kind_of(column)) for column in table.columns]
    plans = plan_columns(spec.inputs, kinds, dataset.name, default=not of_array)
    with rows_by_line(dataset.train.lines):
        fitted = fit_table(plans, table, rows, of_array=of_array)
    steps: tuple[TokenState, ...] = ()
    if fitted.tokens is not None:
        after = [step for step in spec.inputs if not isinstance(step, schema.Tokens)]
        own = table if rows is None else table.take(rows)
        token_rows = fitted.transform(own)
        assert isinstance(token_rows, TokenRows), "tokens makes rows of word indices"
        steps = fit_tokens(after, dataset.name, fitted.tokens.num_words, token_rows)
    return FittedPreprocessing(steps, targets, len(table.columns), n_outputs, fitted)


def _as_table(dataset: Dataset, inputs: Array) -> Table:
    """An array as a table, its columns named as the data set has it, or by their positions."""
    names = array_columns(dataset.feature_names, inputs.shape[1])
    columns = zip(names, inputs.T, strict=True)
    return Table(tuple(number_column(name, values) for name, values in columns), len(inputs))


def _refuse_other_steps(spec: schema.Preprocessing, dataset: str) -> None:
    for step in spec.inputs:
        if isinstance(step, (schema.Text, schema.Tokens)):
            raise DataError(
                f"{step.kind} takes texts, and the inputs of {dataset} are lists of tokens already. Use "
                "multi_hot."
            )
