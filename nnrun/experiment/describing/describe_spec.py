"""What a spec describes, before it is trained: columns, layers, rates, rows and bytes; a row of its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.data import Dataset, FittedPreprocessing, SparseRows
from nnrun.data.load_data import load_data
from nnrun.data.preprocess import column_plans
from nnrun.errors import DataError
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.setup.groups import EVERYTHING, Selection, prepare_groups
from nnrun.experiment.setup.memory_estimate import Memory, estimate_memory
from nnrun.model.network import LayerShape, Network, RowShape, build_network
from nnrun.records import MemberType
from nnrun.spec import schema
from nnrun.spec.allowed_modules import OPTION, is_allowed
from nnrun.spec.custom_objects import module_of
from nnrun.spec.graph import all_layers, graph_of
from nnrun.spec.ports import Port, has_ports, input_views
from nnrun.spec.shapes import facts_with_header, row_shapes
from nnrun.spec.wording import counted
from nnrun.spec.writing.dump import flow_text
from nnrun.training.learning_rate import LearningRate


@dataclass(frozen=True)
class Description:
    """A spec, worked out.

    Attributes:
        features: F, the width of a row; None where only missing data could tell.
        layers: what each layer gives and learns; empty where `features` is None.
        parameters: numbers to learn in one network, or None.
        replicas: networks that train side by side.
        kind: what tells them apart (`fold`, `seed`); None where there is one.
        train_rows, validation_rows, test_rows: of the first fold or seed; None where unknown.
        inner_rows: of the same, those that decide when training stops.
        ones: entries of the training data that are not zero, for sparse rows.
        bytes: of all training rows as they are kept in memory; None without the data.
        dense_bytes: what the same rows would take as dense float32.
        memory: what a run takes; None without the data.
        state: numbers that one network keeps in addition to its parameters, such as moving means.
        missing: why the data could not be looked at, or None.
        columns: of a table what becomes of each column; empty for other inputs.
        row_shape: of a row as the layers take it, where it has more than one axis; else None.
        all_ones: whether every entry of sparse rows is 1.
        input_shapes: of a row of each named input as the layers take it; empty without named inputs.
    """

    features: int | None
    layers: tuple[LayerShape, ...]
    parameters: int | None
    replicas: int
    kind: MemberType | None
    train_rows: int | None
    validation_rows: int | None
    test_rows: int | None
    ones: int | None = None
    bytes: int | None = None
    dense_bytes: int | None = None
    memory: Memory | None = None
    state: int = 0
    missing: str | None = None
    inner_rows: int = 0
    columns: tuple[PlannedColumn, ...] = ()
    all_ones: bool = True
    row_shape: tuple[int, ...] | None = None
    input_shapes: Mapping[Port, tuple[int, ...]] = field(default_factory=dict)


def describe_spec(
    spec: schema.ExperimentSpec,
    data_dir: Path | None,
    listener: Listener = SILENT,
    *,
    smoke: bool = False,
    selection: Selection = EVERYTHING,
) -> Description:
    """Load the data and say what would be trained. Without the data, only what the spec shows.

    Args:
        spec: what to describe.
        data_dir: where data files are looked for first.
        listener: receives progress messages.
        smoke: the generated rows of a smoke run.
        selection: which networks.
    """
    if custom := custom_code_that_shapes(spec):
        return _without_data(spec, selection, custom)
    try:
        dataset = load_data(spec, data_dir=data_dir, smoke=smoke, on_message=listener.message)
    except DataError as error:
        return _without_data(spec, selection, str(error))
    groups = prepare_groups(spec, dataset, selection)
    group = groups[0]
    fold = group.folds[0]
    rows = [each.transform(dataset.train.input(port).inputs) for port, each in group.fitted[0].inputs.items()]
    sparse = [own for own in rows if isinstance(own, SparseRows)]
    taken = sum(own.nbytes for own in rows)
    return Description(
        features=sum(each.width for each in group.fitted[0].inputs.values()),
        row_shape=None if spec.inputs else _with_axes(group.fitted[0].input.shape),
        layers=tuple(group.network.summary()),
        parameters=group.network.parameter_count,
        state=group.network.state_count,
        replicas=sum(len(g.folds) for g in groups),
        kind=selection.member_type(spec),
        train_rows=len(fold.train_rows),
        validation_rows=len(fold.validation_rows),
        inner_rows=len(fold.inner_rows),
        test_rows=0 if dataset.test is None else len(dataset.test),
        ones=sum(own.nnz for own in sparse) if sparse else None,
        bytes=taken,
        dense_bytes=sum(own.dense_nbytes if isinstance(own, SparseRows) else own.nbytes for own in rows),
        memory=estimate_memory(dataset, groups, taken, spec),
        columns=() if has_ports(spec) else column_plan(spec, dataset, group.fitted[0]),
        all_ones=all(own.values is None for own in sparse),
        input_shapes={port: own.shape for port, own in group.fitted[0].inputs.items()} if spec.inputs else {},
    )


def _with_axes(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    return shape if len(shape) > 1 else None


def custom_code_that_shapes(spec: schema.ExperimentSpec) -> str:
    """Why shapes are not known, where they follow from custom code that may not run; else empty."""
    missing = [module for module in _modules_that_shape(spec) if not is_allowed(module)]
    options = " ".join(f"{OPTION} {module}" for module in missing)
    return f"the shapes follow from custom code, which runs with {options}" if missing else ""


def _modules_that_shape(spec: schema.ExperimentSpec) -> list[str]:
    """The modules of the custom code that decides what shape the rows and the layers have."""
    steps = [step for view in input_views(spec).values() for step in view.preprocessing.inputs]
    parts = [*steps, *(layer for _, layer in all_layers(spec))]
    return list(dict.fromkeys(module_of(part) for part in parts if isinstance(part, schema.Custom)))


def network_without_data(spec: schema.ExperimentSpec) -> Network | None:
    """The network of a spec; None where only the data could tell the shape of a row."""
    if not all(map(is_allowed, _modules_that_shape(spec))):
        return None
    facts, graph = facts_with_header(spec), graph_of(spec)
    shapes, rows = row_shapes(spec, facts), {}
    for port, view in input_views(spec).items():
        words = (facts.of_input(port) if spec.inputs else facts).num_words
        takers = [graph.layers[index] for index in graph.takers.get(port, ())]
        embeddings = [layer for layer in takers if isinstance(layer, schema.Embedding)]
        for embedding in embeddings:
            words = embedding.input_dim or words
        row = shapes.get(port, (None,))
        known = tuple(size for size in row if size is not None)
        steps = any(isinstance(step, schema.Custom) for step in view.preprocessing.inputs)
        if steps or len(known) < len(row) or (embeddings and words is None):
            return None
        rows[port] = RowShape(known, words)
    return build_network(graph, rows, spec.ensemble)


def _without_data(spec: schema.ExperimentSpec, selection: Selection, missing: str) -> Description:
    network = network_without_data(spec)
    shapes = [] if network is None else list(network.inputs.values())
    return Description(
        features=None if network is None else sum(map(math.prod, shapes)),
        row_shape=None if network is None or spec.inputs else _with_axes(shapes[0]),
        input_shapes=dict(network.inputs) if network is not None and spec.inputs else {},
        layers=() if network is None else tuple(network.summary()),
        parameters=None if network is None else network.parameter_count,
        state=0 if network is None else network.state_count,
        replicas=selection.networks(spec),
        kind=selection.member_type(spec),
        train_rows=None,
        validation_rows=None,
        test_rows=facts_with_header(spec).test_rows,
        missing=missing,
    )


def rates_in_words(spec: schema.ExperimentSpec) -> str | None:
    """The rates of the first epoch, of the first with the highest, and of the last; None without a schedule.

    What a plateau will do is not known before; it is said when it would.
    """
    schedule = spec.learning_rate_schedule
    plateau = next((part for part in schedule if isinstance(part, schema.ReduceOnPlateau)), None)
    if not schedule:
        return None
    rates = LearningRate(spec.optimizer.learning_rate, schedule)
    by_epoch = {epoch: rates.of(epoch) for epoch in range(1, spec.epochs + 1)}
    highest = max(by_epoch, key=lambda epoch: by_epoch[epoch])
    told = sorted({1, highest} | ({spec.epochs} if plateau is None else set()))
    text = "learning rate " + ", ".join(f"{by_epoch[epoch]:.4g} in epoch {epoch}" for epoch in told)
    if plateau is None:
        return text
    waited = counted(max(plateau.patience, 1), "epoch")
    return f"{text}; then times {plateau.factor:g} whenever {plateau.monitor} has not improved for {waited}"


@dataclass(frozen=True)
class PlannedColumn:
    """A column of the inputs.

    Attributes:
        name, kind: as the data set has them.
        steps: that the column passes, as a spec would have them, without their columns.
        default: whether no step of the spec took the column, so that these are the default.
        features: how many it gives.
        sparse: whether they are kept sparse.
    """

    name: str
    kind: str
    steps: tuple[str, ...]
    default: bool
    features: int
    sparse: bool


def column_plan(
    spec: schema.ExperimentSpec, dataset: Dataset, fitted: FittedPreprocessing
) -> tuple[PlannedColumn, ...]:
    """The plan of each column, its features as one network's training rows gave them; empty for no table."""
    if fitted.input.table is None or not fitted.input.of_table:
        return ()
    steps = spec.preprocessing.inputs  # the last ones may take the row as a whole
    after = [_step(step) for step in steps if isinstance(step, schema.Custom) or step.takes == ("tokens",)]
    return tuple(
        PlannedColumn(
            plan.name,
            plan.kind,
            (*(_step(step) for step in plan.steps), *after),
            plan.by_default,
            fitted.input.width if fitted.input.token_step is not None else column.width,
            column.sparse or fitted.input.token_step is not None,
        )
        for plan, column in zip(
            column_plans(spec.preprocessing, dataset), fitted.input.table.columns, strict=True
        )
    )


def _step(step: schema.Component) -> str:
    """`impute: {strategy: median, indicator: true}`."""
    alone: dict[str, object] = {
        name: None for name in ("columns", "column") if name in type(step).model_fields
    }
    text = flow_text(step.model_copy(update=alone))
    return text[1:-1] if text.startswith("{") else text
