"""Inputs and targets together: fitted on some rows, applied to any, to JSON and back.

Letters in names: N rows, F features, K output columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, NonNegativeInt, TypeAdapter

from nnrun.data.dataset import Array, Dataset, OutputData, RawInputs, Samples, TokenRows
from nnrun.data.preprocess.column_steps import ColumnPlan, plan_columns
from nnrun.data.preprocess.column_transformer import (
    FittedColumn,
    FittedTable,
    fit_array,
    fit_table,
)
from nnrun.data.preprocess.custom_step import FittedCustom, fit_custom, transform_custom
from nnrun.data.preprocess.fitted_step import FitContext, FittedStep, Size, TrainingTargets
from nnrun.data.preprocess.registry import fitted_class, read_step
from nnrun.data.preprocess.target_encoding import (
    FittedTargets,
    fit_targets,
)
from nnrun.data.rows import ByteRows, DenseRows, SparseRows, rows_by_place
from nnrun.data.table import Table, kind_of
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.graph import num_outputs
from nnrun.spec.ports import INPUT, OUTPUT, Port, input_views, named, told_of, told_of_input
from nnrun.spec.random_streams import RandomSource
from nnrun.spec.wording import listing

_WITHOUT_TABLE = 1  # of token rows; once also of arrays
_WITH_TABLE = 2  # so that an older nnrun says that it cannot read it
_WITH_PORTS = 3  # of several inputs or outputs, each with a document of its own
_WITH_ROW_SHAPE = 4  # of arrays whose rows keep more than one axis; before, such rows were flattened
_MEASURED_ROWS = 1000  # that tell what sparse rows take
_VERSIONS_OF_INPUT = (_WITHOUT_TABLE, _WITH_TABLE, _WITH_ROW_SHAPE)
_SIZE: TypeAdapter[int] = TypeAdapter(Size, config=ConfigDict(strict=True))
_PLACE: TypeAdapter[int] = TypeAdapter(NonNegativeInt, config=ConfigDict(strict=True))


@dataclass(frozen=True)
class FittedInputs:
    """What was learned from the training rows of one input, ready to transform any rows.

    Attributes:
        table: the fitted steps of each column of a table or an array; None for token rows.
        token_step: the step that makes rows of numbers of token rows, a data set's or those that `table`
            makes; None where there are none.
        custom: steps of a person's own, on the rows that the others make.
    """

    table: FittedTable | None = None
    token_step: FittedStep | None = None
    custom: tuple[FittedCustom, ...] = ()

    @property
    def n_features(self) -> int | None:
        """Columns of a table, or numbers of a row of an array, before any step; None for token rows."""
        if self.table is None:
            return None
        return len(self.table.columns) if self.raw_shape is None else math.prod(self.raw_shape)

    @property
    def raw_shape(self) -> tuple[int, ...] | None:
        """The shape of a row of an array before any step; None for tables and token rows."""
        if self.table is None or not self.table.of_array:
            return None
        return self.table.row_shape or (len(self.table.columns),)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a transformed row: (F,), or the several axes that rows of an array keep."""
        if self.custom:
            return (self.custom[-1].width,)
        made_by = self._made_by
        return made_by.shape if isinstance(made_by, FittedTable) else (made_by.width,)

    @property
    def width(self) -> int:
        """F, the numbers of a transformed row."""
        return math.prod(self.shape)

    @property
    def _made_by(self) -> FittedStep | FittedTable:
        """What makes the rows that the custom steps take."""
        made_by = self.token_step or self.table
        assert made_by is not None, "token rows have a step"
        return made_by

    @property
    def tokens(self) -> int | None:
        """Of rows that are indices, of words or of the values of columns, the number that these are below;
        None for other rows."""
        if self.token_step is not None:
            return self.token_step.tokens_below
        return None if self.table is None or self.custom else self.table.indices_below

    @property
    def sparse(self) -> bool:
        """Whether transformed rows are sparse."""
        return not self.custom and self._made_by.sparse

    @property
    def of_table(self) -> bool:
        """Whether the inputs are tables of named columns; else arrays or token rows."""
        return self.table is not None and not self.table.of_array

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the F features, where the inputs have columns."""
        if self.table is None or self.token_step or self.custom:
            return None
        names = tuple(self.table.feature_names)
        only_places = self.table.of_array and names == array_columns(None, len(names))
        return None if only_places else names

    @property
    def holds_out(self) -> bool:
        """Whether training rows are transformed in another way than all others, see `transform`."""
        return self.table is not None and self.table.holds_out

    def same_rows(self, other: FittedInputs) -> bool:
        """Whether both make the same of every row, of training rows too."""
        if self.table is None or other.table is None or not (self.holds_out or other.holds_out):
            return self == other
        return self == other and self.table.holds_out_like(other.table)

    def transform(self, inputs: RawInputs, *, training: bool = False) -> DenseRows | ByteRows | SparseRows:
        """Inputs as the network takes them. Numbers are computed in float64 and rounded to float32 once.

        Args:
            inputs: rows of any number.
            training: whether these are all training samples of the data set: those that the steps were fitted
                on are then transformed as a network is trained on them, without what they say of their own
                target (`FittedStep.fit_held_out`). What is read from a file does not know them any more.

        Raises:
            DataError: the inputs are of another kind, or a row cannot be taken: says which and why.
        """
        inputs = self._laid_out(inputs)
        rows: Any = inputs
        if self.table is not None:
            rows = self.table.transform(inputs, training=training)  # type: ignore[arg-type]
        if self.token_step is not None:
            rows = self.token_step.transform(rows, {})
        found: DenseRows | ByteRows | SparseRows = (
            transform_custom(self.custom, rows) if self.custom else rows
        )
        return found

    def _laid_out(self, inputs: RawInputs) -> RawInputs:
        """The inputs as the fitted steps take them: rows of an array that a flat row was fitted on are
        flattened, as the rows of every array once were.

        Raises:
            DataError: the inputs are not of the kind and shape that was fitted.
        """
        n_features = self.n_features
        if isinstance(inputs, Table):
            if not self.of_table:
                raise DataError(
                    "These inputs are a table of named columns, which the run was not trained on."
                )
        elif self.of_table:
            raise DataError("These inputs have no named columns, but a table of named columns is needed.")
        elif isinstance(inputs, TokenRows):
            if n_features is not None:
                raise DataError(
                    f"These inputs are token lists, but a table of {n_features} columns is needed."
                )
        elif n_features is None:
            raise DataError("These inputs are a table, but token lists are needed.")
        elif inputs.shape[1:] != self.raw_shape:
            assert self.raw_shape is not None, "an array was fitted"
            flat = len(self.raw_shape) == 1
            if flat and math.prod(inputs.shape[1:]) == n_features and inputs.ndim > 2:
                return inputs.reshape(len(inputs), n_features)
            needed = f"{n_features} columns" if flat else f"rows of shape {self.raw_shape}"
            raise DataError(f"These inputs have shape {inputs.shape}, but {needed} are needed.")
        return inputs

    def problems(self, inputs: RawInputs) -> dict[int, str]:
        """Which rows `transform` cannot take, and why: the end of a sentence about the row."""
        inputs = self._laid_out(inputs)
        if self.table is None or isinstance(inputs, TokenRows):
            return {}
        return self.table.problems(inputs)

    @property
    def _version(self) -> int:
        """The lowest version of the document that can say all of this, so that older versions read on."""
        if self.table is None:
            return _WITHOUT_TABLE
        return _WITH_TABLE if self.table.row_shape is None else _WITH_ROW_SHAPE

    def to_json(self) -> dict[str, Any]:
        """The state as plain values. Floats keep every bit through the json module."""
        step = self.token_step
        document = {
            "version": self._version,
            "n_features": self.n_features,
            "inputs": [] if step is None else [{step.kind: step.to_json()}],
        }
        if self.custom:
            document["custom"] = [step.to_json() for step in self.custom]
        return document if self.table is None else {**document, "table": self.table.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedInputs:
        """The state that `to_json` wrote; KeyError, TypeError, ValueError and others for anything else."""
        version = document["version"]
        if version not in _VERSIONS_OF_INPUT:
            raise DataError(
                f"The preprocessing has version {version}; {_WITHOUT_TABLE} to {_WITH_ROW_SHAPE} are read."
            )
        n_features = document["n_features"]
        steps = list(document["inputs"])
        table = None if version == _WITHOUT_TABLE else FittedTable.from_json(document["table"])
        if table is None and n_features is not None:
            table, steps = _array_of_version_1(steps, _SIZE.validate_python(n_features)), []
        makes_tokens = table is None or table.tokens is not None
        token_steps = list(map(read_step, steps))
        if len(steps) != makes_tokens:
            raise ValueError(document)
        if any(step.form != "tokens" for step in token_steps):
            raise ValueError(token_steps)
        custom = tuple(map(FittedCustom.from_json, document.get("custom", ())))
        fitted = cls(table, next(iter(token_steps), None), custom)
        if n_features != fitted.n_features or version not in (fitted._version, _WITHOUT_TABLE):
            raise ValueError(document)
        return fitted


@dataclass(frozen=True)
class FittedPreprocessing:
    """What was learned from training rows, for each input and for each output.

    Attributes:
        inputs: how the rows of each input are transformed.
        outputs: how the targets of each output are.
    """

    inputs: Mapping[Port, FittedInputs]
    outputs: Mapping[Port, FittedTargets]

    @property
    def input(self) -> FittedInputs:
        """Of the only input."""
        (only,) = self.inputs.values()
        return only

    def of_output(self, port: Port) -> FittedPreprocessing:
        """That of all inputs and of one output."""
        return FittedPreprocessing(self.inputs, {port: self.outputs[port]})

    @property
    def output(self) -> FittedTargets:
        """Of the only output."""
        (only,) = self.outputs.values()
        return only

    def to_json(self) -> dict[str, Any]:
        """The state as plain values. Floats keep every bit through the json module."""
        if not named(self.inputs) and not named(self.outputs):
            target = {"n_outputs": self.output.n_outputs, "targets": self.output.to_json()}
            return {**self.input.to_json(), **target}
        return {
            "version": _WITH_PORTS,
            "inputs": {port: fitted.to_json() for port, fitted in self.inputs.items()},
            "outputs": {
                port: {"n_outputs": fitted.n_outputs, "targets": fitted.to_json()}
                for port, fitted in self.outputs.items()
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedPreprocessing:
        """The state that `to_json` wrote.

        Raises:
            DataError: the document is something else.
        """
        try:
            single = document["version"] != _WITH_PORTS
            inputs = {INPUT: document} if single else document["inputs"]
            outputs = {OUTPUT: document} if single else document["outputs"]
            return cls(
                {port: FittedInputs.from_json(own) for port, own in inputs.items()},
                {port: _targets_of(own) for port, own in outputs.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError):
            raise DataError("The preprocessing's JSON is damaged.") from None


def _targets_of(document: Mapping[str, Any]) -> FittedTargets:
    return FittedTargets.from_json(document["targets"], _SIZE.validate_python(document["n_outputs"]))


def _array_of_version_1(documents: Sequence[Mapping[str, Any]], n_features: int) -> FittedTable:
    """The columns of an array that is standardized or taken as it is: version 1 had no table of them."""
    columns: list[list[FittedStep]] = [[] for _ in range(n_features)]
    for document in documents:
        ((kind, state),) = document.items()
        places = range(n_features) if state["columns"] is None else state["columns"]
        for place, mean, std in zip(places, state["mean"], state["std"], strict=True):
            columns[_PLACE.validate_python(place)].append(read_step({kind: {"mean": mean, "std": std}}))
    return FittedTable(
        tuple(FittedColumn(str(place), "number", tuple(steps)) for place, steps in enumerate(columns)), True
    )


def input_plans(spec: schema.ExperimentSpec, dataset: Dataset) -> dict[Port, tuple[ColumnPlan, ...]]:
    """`column_plans` of each input: the same for all folds."""
    plans = {}
    for port, view in input_views(spec).items():
        with told_of_input(port if spec.inputs else None):
            plans[port] = column_plans(view.preprocessing, dataset.input(port))
    return plans


def fit_inputs(
    spec: schema.ExperimentSpec,
    dataset: Dataset,
    rows: Array,
    plans: Mapping[Port, Sequence[ColumnPlan]],
    source: RandomSource,
) -> dict[Port, FittedInputs]:
    """Learn the preprocessing of every input from some training rows, and from nothing else.

    Args:
        spec: the experiment.
        dataset: only its training rows at `rows` are looked at, and its num_words.
        rows: positions among the training rows.
        plans: what `input_plans` gives.
        source: of what steps draw at random.

    Raises:
        DataError: a step does not apply to this data; says to which row.
        UsageError: a step is custom code that may not be run, or that is not there.
    """
    inputs, seed = {}, source.derive(purpose="preprocessing")
    for port, view in input_views(spec).items():
        with told_of_input(port if spec.inputs else None):
            own = dataset.input(port)
            inputs[port] = fit_input(view.preprocessing, own, rows, plans=plans[port], seed=seed)
    return inputs


def fit_outputs(
    outputs: Mapping[Port, OutputData], rows: Array, steps: Mapping[Port, schema.Component | None]
) -> dict[Port, FittedTargets]:
    """Learn the preprocessing of every output's targets from some training rows, and from nothing else.

    Args:
        outputs: of the experiment.
        rows: positions among the training rows.
        steps: the target step of each.
    """
    fitted = {}
    for port, output in outputs.items():
        own, spec = output.dataset.train, output.spec
        known = own.with_target(rows)
        known = known if len(known) else rows  # the few rows of a smoke run may have none
        repeated = bool(schema.quantiles_of(spec.own_loss))
        with told_of(spec, port):
            fitted[port] = fit_targets(
                steps[port], own.targets[known], known, num_outputs(spec), repeated=repeated
            )
    return fitted


def share_rows(fitted: Sequence[FittedPreprocessing]) -> bool:
    """Whether the preprocessing of all does the same to the rows, of which some are trained on."""
    first = fitted[0].inputs
    return all(own.same_rows(first[port]) for each in fitted[1:] for port, own in each.inputs.items())


def bytes_of_own_rows(fitted: Sequence[FittedPreprocessing], samples: Samples) -> int:
    """What rows take that each prepares in its own way, about; 0 where all share them."""
    if share_rows(fitted):
        return 0
    taken, some = 0, np.arange(min(len(samples), _MEASURED_ROWS))
    for port, first in fitted[0].inputs.items():
        with rows_by_place(samples.places):
            rows = first.transform(samples.take(some).input(port).inputs)
        if isinstance(rows, ByteRows):
            continue  # they share the bytes
        if first.sparse:
            taken += len(fitted) * rows.nbytes * len(samples) // len(some)
        else:
            taken += len(fitted) * len(samples) * first.width * 4
    return taken


def fit_input(
    spec: schema.Preprocessing,
    dataset: Dataset,
    rows: npt.ArrayLike | None = None,
    *,
    plans: Sequence[ColumnPlan] | None = None,
    seed: int = 0,
) -> FittedInputs:
    """Learn the preprocessing of one input from some of the training rows, and from nothing else.

    Args:
        spec: the steps.
        dataset: as the input sees it.
        rows: positions among the training rows, or None for all of them.
        plans: what `column_plans` gives, where it is known already.
        seed: of what steps draw at random, as `TrainingTargets.seed`.
    """
    chosen = _chosen(dataset, rows)
    samples, inputs = dataset.train, dataset.train.inputs
    fitted, steps, num_words = FittedInputs(), _own_steps(spec), dataset.num_words
    targets = _training_targets(dataset, chosen, seed)
    if not isinstance(inputs, TokenRows):
        plans = column_plans(spec, dataset) if plans is None else plans
        with rows_by_place(samples.places):
            if isinstance(inputs, Table):
                table = fit_table(plans, inputs, chosen, targets)
            else:
                table = fit_array(steps, plans, inputs, chosen, targets)
        _refuse_nothing(table, dataset.name)
        fitted = replace(fitted, table=table)
        num_words = None if table.tokens is None else table.tokens.tokens_below
        steps = [step for step in steps if step.column_after != "tokens"]
    elif refused := next((step for step in steps if step.takes[:1] == ("text",)), None):
        raise DataError(
            f"{refused.kind} takes texts, and the inputs of {dataset.name} are lists of tokens already. Use "
            "multi_hot."
        )
    if fitted.table is None or fitted.table.tokens is not None:
        token_rows: Any = _training_inputs(samples, chosen)
        if fitted.table is not None:
            token_rows = fitted.table.transform(token_rows)
        context = FitContext(num_words=num_words, targets=targets)
        fitted = replace(fitted, token_step=_fit_token_step(steps, dataset.name, context, token_rows))
    custom = [step for step in spec.inputs if isinstance(step, schema.Custom)]
    if not custom:
        return fitted
    if fitted.holds_out:
        rows_before = fitted.transform(samples.inputs, training=True)
        assert not isinstance(rows_before, ByteRows), "bytes hold nothing out"
        rows_before = rows_before if chosen is None else rows_before.take(chosen)
    else:
        rows_before = fitted.transform(_training_inputs(samples, chosen))
    return replace(fitted, custom=fit_custom(custom, rows_before))


def _refuse_nothing(table: FittedTable, name: str) -> None:
    """Raise DataError where no column gives any feature, so that a network would see nothing."""
    if table.tokens is None and not table.width:
        steps = list(dict.fromkeys(column.steps[-1].spec.kind for column in table.columns))
        raise DataError(
            f"The inputs of {name} have no feature left after {listing(steps, 'and')}: in these training "
            "rows every column is constant, or each of its values is rarer than min_count. Lower min_count, "
            "or use other columns."
        )


def _chosen(dataset: Dataset, rows: npt.ArrayLike | None) -> Array | None:
    """Positions among the training rows; None for all."""
    chosen = None if rows is None else np.asarray(rows)
    if chosen is not None and chosen.dtype == bool:
        chosen = np.flatnonzero(chosen)
    if not (len(dataset.train) if chosen is None else len(chosen)):
        raise DataError("There are no training rows to fit the preprocessing on.")
    return chosen


def _training_inputs(samples: Samples, rows: Array | None) -> RawInputs:
    return samples.inputs if rows is None else samples.take(rows).inputs


def _training_targets(dataset: Dataset, rows: Array | None, seed: int) -> TrainingTargets | None:
    """The targets of these training rows, of all if None; None where there are several outputs."""
    outputs = list(dataset.train.of_outputs)
    if len(outputs) > 1:
        return None
    if outputs:
        dataset = dataset.output(outputs[0])
    every, present = dataset.train.targets, dataset.train.present
    if rows is not None:
        every, present = every[rows], None if present is None else present[rows]
    return TrainingTargets(every, present, dataset.classes, dataset.task, seed)


def _own_steps(spec: schema.Preprocessing) -> list[schema.PreprocessingStep]:
    """The input steps but `custom`, which takes the rows that the others make."""
    return [step for step in spec.inputs if isinstance(step, schema.PreprocessingStep)]


def column_plans(spec: schema.Preprocessing, dataset: Dataset) -> tuple[ColumnPlan, ...]:
    """The steps of each column of the inputs, decided by the columns' kinds alone; empty for token rows.

    Raises:
        DataError: a step names a column that is not there, or does not suit a column.
    """
    inputs = dataset.train.inputs
    if isinstance(inputs, TokenRows):
        return ()
    if isinstance(inputs, Table):
        kinds = [(column.name, kind_of(column)) for column in inputs.columns]
        return plan_columns(_own_steps(spec), kinds, dataset.name)
    names = array_columns(dataset.feature_names, inputs.shape[-1])
    return plan_columns(_own_steps(spec), [(name, "number") for name in names], dataset.name, default=False)


def array_columns(names: Sequence[str] | None, n_features: int) -> tuple[str, ...]:
    """What the columns of an array are called: their names where there are as many, else their positions."""
    if names is not None and len(names) == n_features and len(set(names)) == n_features:
        return tuple(names)
    return tuple(map(str, range(n_features)))


def _fit_token_step(
    steps: Sequence[schema.PreprocessingStep], name: str, context: FitContext, rows: TokenRows
) -> FittedStep:
    """Learn the step that makes rows of numbers of token rows, and refuse other steps.

    Args:
        steps: the spec's, those for texts left out.
        name: what messages call the data set.
        context: what the step may need beside the rows.
        rows: the training rows.
    """
    steps = [step for step in steps if step.takes]
    if not steps or steps[0].column_after != "rows":
        raise DataError(
            f"The inputs of {name} are lists of tokens, of differing lengths. Turn them into rows of numbers "
            "first, with preprocessing.inputs: multi_hot."
        )
    first, others = steps[0], steps[1:]
    if others:
        held = "0 and 1 already" if isinstance(first, schema.MultiHot) else "word indices"
        raise DataError(f"{others[0].kind} does not apply to {first.kind} rows, which are {held}.")
    return fitted_class(first, "tokens").fit(first, rows, context)
