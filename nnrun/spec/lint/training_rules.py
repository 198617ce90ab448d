"""Losses, metrics, the optimizer, early stopping, learning-rate schedules, clipping and class weights."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.graph import graph_of, read_graph
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.lint.network_rules import dataset_name, output_index, output_of, targets_kind
from nnrun.spec.reading.grammar import Location
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.schema.layer_shapes import shape_text
from nnrun.spec.score_columns import (
    INNER,
    NOT_METRICS,
    has_inner_rows,
    inner_columns,
    metric_column,
    trained_columns,
    validated_columns,
)
from nnrun.spec.shapes import masked_nodes, row_shapes, trace
from nnrun.spec.wording import counted, listing, nearest, quoted


def _at(position: int, metric: schema.Component, *key: str) -> Location:
    return ("metrics", position, metric.kind, *key)


def metrics_differ(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Each metric is a column of its own."""
    seen: set[str] = set()
    for position, metric in enumerate(spec.metrics):
        column, custom = metric_column(metric), isinstance(metric, schema.CustomMetric)
        if custom and column in NOT_METRICS:
            said = f"a column of another kind is called {quoted(column)}; give it a name"
            yield Finding(_at(position, metric), said)
        elif column in seen:
            said = f"{column} is in the list twice; each metric is one column"
            yield Finding(_at(position, metric), f"{said}; give one of them a name" if custom else said)
        seen.add(column)


_PROBABILITIES = ("sigmoid", "softmax")


def class_metrics_are_for_classes(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Accuracy and its kin need probabilities of classes."""
    output = output_of(spec)
    for position, metric in enumerate(spec.metrics):
        if not isinstance(metric, schema.ClassMetric):
            continue
        if facts.task == "regression":
            yield Finding(
                _at(position, metric),
                f"{metric.kind} is for classes, and {dataset_name(spec)} has a number to predict; "
                "use mae, mse, rmse or r2",
            )
        elif output is None:
            continue
        elif schema.decision_activation(spec.own_loss, output.activation) not in _PROBABILITIES:
            yield Finding(
                _at(position, metric),
                f"{metric.kind} needs probabilities, and the last layer's activation is "
                f"{output.activation}; use sigmoid or softmax there, or a metric such as mae",
            )
        elif schema.is_of_scores(spec.own_loss) and getattr(metric, "threshold", 0.5) != 0.5:
            learns = f"{spec.own_loss.kind} learns scores, whose sign decides"
            said = f"the threshold is a probability, and {learns}; remove it"
            yield Finding(_at(position, metric, "threshold"), said)
        elif isinstance(metric, schema.TopK) and output.units == 1:
            said = "top_k needs one unit for each class, and the last layer has 1; use accuracy"
            yield Finding(_at(position, metric), said)
        elif isinstance(metric, schema.TopK) and metric.k >= (classes := facts.classes or output.units):
            said = f"with k = {metric.k} and {classes} classes, top_k is always 1; use a k below {classes}"
            yield Finding(_at(position, metric, "k"), said)
        elif metric.of_probabilities and schema.is_of_scores(spec.own_loss):
            said = f"{metric.kind} measures probabilities, and {spec.own_loss.kind} learns scores"
            yield Finding(_at(position, metric), f"{said}; use accuracy or auc")


def number_metrics_are_for_numbers(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Distances mean nothing between class indices, and some metrics belong to regression."""
    output = output_of(spec)
    indices = schema.target_step_of(spec.own_loss) == "class_index" or (
        targets_kind(spec) == "class_index" and output is not None and output.units > 1
    )
    for position, metric in enumerate(spec.metrics):
        if not isinstance(metric, schema.NumberMetric):
            continue
        if metric.for_regression and isinstance(spec.own_loss, schema.ClassLoss):
            yield Finding(
                _at(position, metric),
                f"{metric.kind} is for regression, and the loss is {spec.own_loss.kind}; use accuracy",
            )
        elif schema.is_of_scores(spec.own_loss):
            yield Finding(
                _at(position, metric),
                f"{metric.kind} compares numbers, and {spec.own_loss.kind} learns scores of 0/1 labels; use "
                "accuracy",
            )
        elif indices and not isinstance(
            spec.own_loss, schema.Ctc
        ):  # of whose metrics a rule of its own tells
            yield Finding(
                _at(position, metric),
                f"{metric.kind} measures distances, and the targets are class indices; use accuracy",
            )


def metrics_have_their_quantile(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Of several quantiles of a number a metric takes the one that it is of, mostly the median."""
    quantiles = schema.quantiles_of(spec.own_loss)
    for position, metric in enumerate(spec.metrics if quantiles else ()):
        wanted = schema.quantile_of_metric(metric)
        if wanted not in quantiles:
            yield Finding(
                _at(position, metric),
                f"{metric.kind} compares the quantile {wanted:g} with the target, and it is not in "
                f"quantiles, {quantiles}; add it there, or remove {metric.kind}",
            )


def early_stopping_watches_a_column(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`monitor` names a column that the history will have."""
    stopping = spec.early_stopping
    if stopping is None:
        return
    message = not_a_column(spec, stopping.monitor, "early stopping")
    if message is None and has_inner_rows(spec) and stopping.monitor in trained_columns(spec):
        message = (
            f"early stopping is `on: inner`, and {stopping.monitor} is of the rows that train; watch "
            f"{listing(inner_columns(spec))}"
        )
    if message is not None:
        yield Finding(("early_stopping", "monitor"), message)
    if not has_inner_rows(spec):
        if "fraction" in stopping.model_fields_set:
            said = "fraction is of the inner rows, which `on: inner` sets apart; add it, or remove fraction"
            yield Finding(("early_stopping", "fraction"), said)
        return
    for name in trained_columns(spec):
        if name.startswith(INNER):
            said = (
                f"the column {quoted(name)} begins with {INNER}, as those of the inner rows do; choose "
                "another name for its output or metric, or remove `on: inner`"
            )
            yield Finding(("early_stopping", "on"), said)


def not_a_column(spec: schema.ExperimentSpec, monitor: str, watcher: str) -> str | None:
    """Why `watcher` cannot watch the column `monitor`; None where the history will have it."""
    trained = trained_columns(spec)
    validated = [f"val_{column}" for column in trained]
    columns = [*validated_columns(spec), *inner_columns(spec), *trained]
    if has_inner_rows(spec):
        if monitor.startswith("val_") and monitor in columns:
            instead = INNER + monitor.removeprefix("val_")
            return (
                f"{watcher} watches {monitor}, the score of the validation rows, but with on: inner these "
                f"must have no say; watch {instead}"
            )
    elif monitor.startswith(INNER) and monitor.removeprefix(INNER) in trained:
        return (
            f"{watcher} watches {monitor}, but no inner rows are set apart; set `on: inner` in "
            f"early_stopping, or watch {listing([c for c in columns if not c.startswith(INNER)])}"
        )
    if monitor in columns:
        return None
    prefix = "val_" if monitor.startswith("val_") else ""
    canonical = prefix + str(schema.component_name(monitor.removeprefix(prefix)))
    if columns == trained and {monitor, canonical} & set(validated):
        return (
            f"{watcher} watches {monitor}, but validation is none, so there is no such column; set "
            f"validation, or watch {listing(columns)}"
        )
    match = canonical if canonical in columns else nearest(monitor, columns)
    message = f"no column is called {quoted(monitor)}"
    message += f"; did you mean {quoted(match)}?" if match else "."
    return f"{message} This run has {listing(columns, 'and')}"


def _at_schedule(position: int, part: schema.Component, *key: str) -> Location:
    return ("learning_rate_schedule", position, part.kind, *key)


def schedule_is_a_warmup_and_one_other(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """One schedule decides the rate of an epoch."""
    for position, part in enumerate(spec.learning_rate_schedule[1:], start=1):
        if isinstance(part, schema.Warmup):
            said = "a warm-up comes first; put it at the beginning, and only once"
        elif position > 1 or not isinstance(spec.learning_rate_schedule[0], schema.Warmup):
            said = (
                "only one schedule can set the rate of an epoch; keep one, with or without a warmup before it"
            )
        elif isinstance(part, (schema.Rates, schema.Piecewise)):
            said = f"{part.kind} sets the rate of every epoch, so a warm-up has no effect; remove one"
        elif isinstance(part, schema.OneCycle):
            said = "one_cycle has a warm-up of its own; remove the one before it"
        else:
            continue
        yield Finding(_at_schedule(position, part), said)


def schedule_watches_a_column(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`reduce_on_plateau` watches a column that the history will have."""
    for position, part in enumerate(spec.learning_rate_schedule):
        if isinstance(part, schema.ReduceOnPlateau):
            message = not_a_column(spec, part.monitor, "reduce_on_plateau")
            if message is not None:
                yield Finding(_at_schedule(position, part, "monitor"), message)


def schedule_is_in_order(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Boundaries ascend, and there is a value for each part."""
    rate = spec.optimizer.learning_rate
    for position, part in enumerate(spec.learning_rate_schedule):
        if isinstance(part, schema.Polynomial) and part.end_learning_rate > rate:
            yield Finding(
                _at_schedule(position, part, "end_learning_rate"),
                f"the optimizer's learning rate is {rate:g}, so it would rise to {part.end_learning_rate:g}; "
                "use a smaller end_learning_rate",
            )
        if not isinstance(part, schema.Piecewise):
            continue
        boundaries, values = part.boundaries, part.values
        if sorted(set(boundaries)) != boundaries:
            yield Finding(
                _at_schedule(position, part, "boundaries"), f"boundaries must ascend; found {boundaries}"
            )
        if len(values) != len(boundaries) + 1:
            yield Finding(
                _at_schedule(position, part, "values"),
                f"between {len(boundaries)} boundaries there are {len(boundaries) + 1} values; found "
                f"{len(values)}",
            )


def schedule_does_something(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A plateau can reduce the rate, and a warm-up ends before the training does."""
    rate = spec.optimizer.learning_rate
    for position, part in enumerate(spec.learning_rate_schedule):
        if isinstance(part, schema.ReduceOnPlateau) and part.min_learning_rate >= rate:
            yield Finding(
                _at_schedule(position, part, "min_learning_rate"),
                f"the optimizer's learning rate is {rate:g}, so it cannot be reduced to "
                f"{part.min_learning_rate:g}; use a smaller min_learning_rate",
            )
        elif isinstance(part, schema.Warmup) and part.epochs >= spec.epochs:
            yield Finding(
                _at_schedule(position, part, "epochs"),
                f"the warm-up takes {counted(part.epochs, 'epoch')} of {spec.epochs}: no epoch has the "
                "full learning rate",
                "warning",
            )


def clip_has_one_limit(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A norm or a value, not both."""
    clip = spec.gradient_clip
    if clip is not None and (clip.norm is None) == (clip.value is None):
        found = "neither is given" if clip.norm is None else "both are given"
        yield Finding(
            ("gradient_clip",),
            f"gradients are clipped by norm or by value, and {found}; give exactly one of them",
        )


def clip_is_of_each_batch(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Gradients are clipped batch by batch; Keras clips the mean of those that are accumulated."""
    if spec.gradient_clip is not None and spec.optimizer.gradient_accumulation_steps is not None:
        yield Finding(
            ("optimizer", spec.optimizer.kind, "gradient_accumulation_steps"),
            "accumulated gradients cannot be clipped yet; remove gradient_clip, or use a larger batch_size "
            "instead of gradient_accumulation_steps",
        )


def class_weights_are_for_classes(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """There are classes, and their labels are among those of the data set."""
    if spec.class_weight is None:
        return
    name = dataset_name(spec)
    if facts.task == "regression":
        said = f"class_weight is for classes, and {name} has a number to predict; remove it"
        yield Finding(("class_weight",), said)
        return
    weights = spec.class_weight if isinstance(spec.class_weight, dict) else {}
    for label in weights:
        if facts.classes is not None and label.isdecimal() and int(label) >= facts.classes:
            said = f"{name} has classes 0 to {facts.classes - 1}; found {label}"
            yield Finding(("class_weight", label), said)
    if weights and not any(weights.values()) and len(weights) == facts.classes:
        yield Finding(("class_weight",), "all classes have the weight 0, so nothing would be learned")


def nesterov_has_momentum(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Nesterov's method looks ahead along the momentum."""
    if isinstance(spec.optimizer, schema.Sgd) and spec.optimizer.nesterov and spec.optimizer.momentum == 0:
        yield Finding(
            ("optimizer", "sgd", "nesterov"),
            "nesterov needs momentum above 0, and it is 0; add momentum: 0.9",
        )


def averages_are_kept(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """What says how weights are averaged needs `use_ema`."""
    optimizer = spec.optimizer
    if not isinstance(optimizer, schema.OptimizerComponent) or optimizer.use_ema:
        return
    for name in ("ema_momentum", "ema_overwrite_frequency"):
        if getattr(optimizer, name) != type(optimizer).model_fields[name].default:
            yield Finding(
                ("optimizer", optimizer.kind, name),
                f"{name} is of the moving average of the weights, which use_ema: true keeps; add it, or "
                f"remove {name}",
            )


def weights_are_averaged_in_one_way(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`weight_averaging` or Keras's `use_ema`, and `swa` starts with an epoch that is trained."""
    averaging, optimizer = spec.weight_averaging, spec.optimizer
    if averaging is None:
        return
    if isinstance(optimizer, schema.OptimizerComponent) and optimizer.use_ema:
        said = (
            "weights are averaged in two ways: weight_averaging validates and keeps the average, use_ema (as "
            "in Keras) only ends with it; remove one of them"
        )
        yield Finding(("optimizer", optimizer.kind, "use_ema"), said)
    if not isinstance(averaging, schema.Swa):
        return
    where = ("weight_averaging", "swa", "start")
    if averaging.start >= 1 and not float(averaging.start).is_integer():
        said = (
            f"start is {averaging.start:g}; it must be a share of the epochs, below 1, or an epoch's number"
        )
        yield Finding(where, said)
    elif averaging.start > spec.epochs:
        said = (
            f"the average begins with epoch {averaging.start:g} of {spec.epochs}: there is nothing to average"
        )
        yield Finding(where, said, "warning")


def what_does_not_decay_is_there(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`exclude_from_weight_decay` names known arrays or places of layers, and something decays."""
    optimizer = spec.optimizer
    if not isinstance(optimizer, schema.OptimizerComponent):
        return
    entries, where = optimizer.exclude_from_weight_decay, ("optimizer", optimizer.kind)
    if entries and optimizer.weight_decay == 0 and optimizer.decay_of_others == 0:
        said = "weight_decay is 0, so nothing decays; set it, or remove exclude_from_weight_decay"
        yield Finding((*where, "exclude_from_weight_decay"), said)
    places = [node.weights_path for node in graph_of(spec).nodes]
    for position, entry in enumerate(entries):
        if entry in schema.EXCLUDED_ARRAYS or any(f"{known}.".startswith(f"{entry}.") for known in places):
            continue
        yield Finding(
            (*where, "exclude_from_weight_decay", position),
            f"{entry} is neither {listing(schema.EXCLUDED_ARRAYS)} nor the place of a layer; places are "
            f"those that `nnrun show` prints, here {listing(dict.fromkeys(places), 'and')}",
        )


def muon_excludes_layers_that_are_there(
    spec: schema.ExperimentSpec, facts: DatasetFacts
) -> Iterator[Finding]:
    """Each place that `exclude_layers` names is that of a layer or a chain."""
    if not isinstance(spec.optimizer, schema.Muon):
        return
    places = [node.weights_path for node in graph_of(spec).nodes]
    for position, place in enumerate(spec.optimizer.exclude_layers):
        if not any(f"{known}.".startswith(f"{place}.") for known in places):
            yield Finding(
                ("optimizer", "muon", "exclude_layers", position),
                f"there is no layer at {place}; places are those that `nnrun show` prints, here "
                f"{listing(dict.fromkeys(places), 'and')}",
            )


def ctc_reads_steps(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The output is (steps, K), without activation, and has a class for the blank."""
    if not isinstance(spec.own_loss, schema.Ctc):
        return
    if facts.task is not None:
        has = "a number to predict" if facts.task == "regression" else "one class for each row"
        said = (
            f"ctc reads a list of classes from each row, and {dataset_name(spec)} has {has}; use another loss"
        )
        yield Finding(("loss", "ctc"), said)
        return
    graph, _ = read_graph(spec)
    shapes, _ = trace(graph, row_shapes(spec, facts))
    index = output_index(spec, graph)
    last = None if index is None else graph.nodes[index].layer
    if index is None or not isinstance(last, schema.Dense):
        return  # a finding of its own
    node, shape = graph.nodes[index], shapes[index]
    at = (*node.location, last.kind)
    if shape is not None and len(shape) == 1:
        yield Finding(
            at,
            f"ctc reads classes from steps, and the last layer gives {shape_text(shape)} per row; let it "
            "take (steps, features): set return_sequences: true in the recurrent layer before it",
        )
    if last.activation != "linear":
        said = f"ctc takes the values before any activation, and the last layer has {last.activation}; "
        yield Finding((*at, "activation"), f"{said}leave it out")
    if last.units < 2:
        said = "ctc needs a unit for each class and one for the blank, so at least 2"
        yield Finding((*at, "units"), f"{said}; found {last.units}")
    if masked_nodes(graph)[index]:
        said = "ctc reads masked steps as well, as Keras's does: they can say the blank"
        yield Finding(at, said, "warning")


def ctc_and_its_metric_go_together(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`character_error_rate` measures what `ctc` reads, and nothing else does."""
    of_ctc = isinstance(spec.own_loss, schema.Ctc)
    for position, metric in enumerate(spec.metrics):
        if isinstance(metric, schema.CharacterErrorRate) is not of_ctc:
            said = (
                f"{metric.kind} does not measure lists of classes, which ctc reads; use character_error_rate"
                if of_ctc
                else f"character_error_rate measures what ctc reads, and the loss is {spec.own_loss.kind}"
            )
            yield Finding(("metrics", position, metric.kind), said)
    if of_ctc and spec.class_weight is not None:
        said = "class_weight weighs rows by their class, and ctc reads several from each; remove it"
        yield Finding(("class_weight",), said)
    if not of_ctc and targets_kind(spec) == "characters":
        said = f"characters makes lists of classes for ctc, and the loss is {spec.own_loss.kind}"
        yield Finding(("preprocessing", "targets", "characters"), said)
    if of_ctc and targets_kind(spec) not in ("class_index", "characters", "none"):
        kind = targets_kind(spec)
        said = f"ctc compares with lists of classes, and {kind} makes none; remove the key"
        yield Finding(("preprocessing", "targets", kind), said)


RULES: tuple[Rule, ...] = (
    ctc_reads_steps,
    ctc_and_its_metric_go_together,
    metrics_differ,
    class_metrics_are_for_classes,
    number_metrics_are_for_numbers,
    metrics_have_their_quantile,
    early_stopping_watches_a_column,
    schedule_is_a_warmup_and_one_other,
    schedule_watches_a_column,
    schedule_is_in_order,
    schedule_does_something,
    clip_has_one_limit,
    clip_is_of_each_batch,
    class_weights_are_for_classes,
    nesterov_has_momentum,
    averages_are_kept,
    weights_are_averaged_in_one_way,
    what_does_not_decay_is_there,
    muon_excludes_layers_that_are_there,
)
