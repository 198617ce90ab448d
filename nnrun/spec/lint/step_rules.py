"""The input steps, against each other and the data set, and what a spec says about custom code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeGuard

from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_parts, is_custom_name
from nnrun.spec.graph import read_graph
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.lint.network_rules import dataset_name
from nnrun.spec.reading.grammar import Location
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.schema.layer_shapes import shape_text
from nnrun.spec.wording import quoted


def _at(position: int, step: schema.Component, *key: str | int) -> Location:
    return ("preprocessing", "inputs", position, step.kind, *key)


def _of_tokens(step: schema.Component) -> bool:
    return isinstance(step, schema.PreprocessingStep) and step.takes == ("tokens",)


def _of_columns(step: schema.Component) -> TypeGuard[schema.PreprocessingStep]:
    return isinstance(step, schema.PreprocessingStep) and step.takes not in ((), ("tokens",))


def none_stands_alone(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`none` takes the inputs as they are."""
    steps = spec.preprocessing.inputs
    for position, step in enumerate(steps):
        if isinstance(step, schema.NoInputStep) and len(steps) > 1:
            yield Finding(
                _at(position, step),
                "none takes the inputs as they are, so it cannot be combined with other steps; remove it",
            )


def word_indices_become_rows(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`tokens` makes word indices of texts, `multi_hot` or `pad` rows of numbers of word indices."""
    steps = spec.preprocessing.inputs
    made = next((i for i, step in enumerate(steps) if isinstance(step, schema.Tokens)), None)
    rows_by: schema.Component | None = None  # the step that made rows of one width of the word indices
    name, tokens = dataset_name(spec), facts.inputs == "tokens"
    for position, step in enumerate(steps):
        said = None
        if _of_tokens(step):
            if isinstance(rows_by, schema.MultiHot) and isinstance(step, schema.MultiHot):
                said = "multi_hot is in the list twice; its rows are no longer token lists"
            elif rows_by is not None:
                said = (
                    f"{step.kind} takes lists of word indices, and {rows_by.kind} has already turned them "
                    "into rows; keep one of the two"
                )
            elif facts.inputs == "table" and (made is None or made > position):
                is_table = f"{name} is a table; remove it, or use standardize"
                said = f"{step.kind} is for lists of word indices, and {is_table}"
            rows_by = step
        elif isinstance(rows_by, schema.MultiHot) and isinstance(step, schema.Standardize):
            said = (
                "standardize after multi_hot makes every 0 a nonzero number: rows of 0 and 1 need no "
                "scaling, and would take a hundred times the memory; remove it"
            )
        elif (tokens or rows_by is not None) and isinstance(step, schema.Standardize):
            said = f"word indices are names, not amounts, so {name} cannot be standardized; use multi_hot"
        elif tokens and _of_columns(step):
            gives = f"{name} gives lists of word indices"
            said = f"{step.kind} is for columns of a table, and {gives}; use multi_hot"
        if said is not None:
            yield Finding(_at(position, step), said)
    graph, _ = read_graph(spec)
    embedded = any(
        isinstance(graph.layers[index], schema.Embedding) for index in graph.takers.get(graph.inputs[0], ())
    )
    layer, step_kind = ("embedding", "pad") if embedded else ("a dense layer", "multi_hot")
    taken = "rows of one length" if embedded else "rows of numbers"
    as_they_are = all(isinstance(s, (schema.NoInputStep, schema.Custom)) for s in steps)
    if tokens and rows_by is None and as_they_are:
        yield Finding(
            ("preprocessing", "inputs"),
            f"{name} gives lists of word indices, and {layer} takes {taken}; "
            f"add `preprocessing: {{inputs: {step_kind}}}`",
        )
    if made is not None and not tokens:
        yield from _around_tokens(steps, made, step_kind, taken)


def _around_tokens(
    steps: Sequence[schema.Component], made: int, step_kind: str, taken: str
) -> Iterator[Finding]:
    """`tokens` takes the only column there is, and something makes rows of numbers of what it gives."""
    for position, step in enumerate(steps):
        if position != made and _of_columns(step):
            yield Finding(
                _at(position, step),
                f"{step.kind} has no column left: tokens takes the only one, and gives word indices; remove "
                "it, or use text instead of tokens",
            )
    if not any(map(_of_tokens, steps[made + 1 :])):
        said = f"tokens gives word indices, and a layer takes {taken}; put {step_kind} after it"
        instead = "" if step_kind == "pad" else " (or use text alone, which is both)"
        yield Finding(_at(made, steps[made]), said + instead)


def steps_follow_each_other(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Each step takes what those before it leave of its columns."""
    if facts.inputs == "tokens":
        return
    steps = spec.preprocessing.inputs
    for position, step in enumerate(steps):
        if not _of_columns(step):
            continue
        yield from _columns_are_there(spec, facts, position, step)
        before = [s for s in steps[:position] if _of_columns(s) and s.column_after != "tokens"]
        clash = next((found for earlier in before if (found := _clash(earlier, step))), None)
        if clash is not None:
            yield Finding(_at(position, step), clash)


def _clash(earlier: schema.PreprocessingStep, step: schema.PreprocessingStep) -> str | None:
    """Why one step cannot follow another on the same columns; None where it can."""
    mine, theirs = step.named_columns, earlier.named_columns
    shared = [c for c in mine if c in theirs] if mine is not None and theirs is not None else []
    same_step, either = type(step) is type(earlier), mine is None or theirs is None
    everything = same_step and mine is None and theirs is None
    replaced = earlier.column_after == "features"
    of_bins = replaced and isinstance(earlier, schema.PiecewiseLinear) and step.takes[0] == "number"
    if of_bins and (shared or theirs is None) and not same_step:
        return (
            f"an earlier piecewise_linear has already replaced these numbers by bins; put {step.kind} "
            "before it, or write `keep: true` there to keep the numbers beside the bins"
        )
    if replaced and shared:
        return (
            f"an earlier {earlier.kind} has already replaced column {_name(shared[0])} by other columns; "
            "remove one of the two"
        )
    again = same_step and not replaced and (shared or (either and step.takes == ("number",)))
    if everything or again:
        return f"an earlier {step.kind} has already processed these columns; remove one of the two"
    if replaced:
        return None
    if isinstance(step, schema.Log1p) and isinstance(earlier, schema.Standardize) and (shared or either):
        return (
            "log1p takes amounts from 0, and standardized values can be negative; put log1p before "
            "standardize"
        )
    return None


def _name(column: int | str) -> str:
    return quoted(column) if isinstance(column, str) else str(column)


def _columns_are_there(
    spec: schema.ExperimentSpec, facts: DatasetFacts, position: int, step: schema.PreprocessingStep
) -> Iterator[Finding]:
    """As far as is known before the data are loaded."""
    if step.takes[0] == "text":
        if facts.features is not None:
            yield Finding(
                _at(position, step),
                f"{step.kind} takes texts, and {dataset_name(spec)} holds numbers; remove it, or use "
                "standardize",
            )
        return
    columns = step.named_columns
    if columns == []:
        yield Finding(
            _at(position, step, "columns"),
            f"an empty list {_ACTS.get(step.kind, 'changes')} nothing; remove it for all columns",
        )
    for index, column in enumerate(columns or ()):
        if isinstance(column, int) and facts.features is not None and column >= facts.features:
            yield Finding(
                _at(position, step, "columns", index),
                f"{dataset_name(spec)} has columns 0 to {facts.features - 1}; found {column}",
            )
        elif column in (columns or ())[:index]:
            yield Finding(
                _at(position, step, "columns", index), f"column {_name(column)} is in the list twice"
            )


_ACTS = {"standardize": "standardizes", "one_hot": "encodes", "hashing": "encodes", "ordinal": "encodes"}


def a_constant_has_its_value(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`impute: constant` says what, and the other strategies learn it; an `order` names each value once."""
    for position, step in enumerate(spec.preprocessing.inputs):
        if isinstance(step, schema.Impute):
            if step.strategy == "constant" and step.value is None:
                said = "the strategy constant needs a value; add one, such as `value: 0`"
                yield Finding(_at(position, step), said)
            elif step.strategy != "constant" and step.value is not None:
                yield Finding(
                    _at(position, step, "value"),
                    f"the strategy {step.strategy} learns what to put in, so value has no effect; remove it, "
                    "or use strategy: constant",
                )
        elif isinstance(step, schema.Ordinal) and step.order is not None:
            for index, value in enumerate(step.order):
                if value in step.order[:index]:
                    said = f"{quoted(value)} is in the order twice"
                    yield Finding(_at(position, step, "order", index), said)


def one_target_to_encode_by(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`target_mean` averages the target of each row, of which there must be one."""
    for position, step in enumerate(spec.preprocessing.inputs):
        if isinstance(step, schema.TargetMean) and len(spec.outputs) > 1:
            yield Finding(
                _at(position, step),
                "target_mean encodes values by the mean of one target, and there are several outputs; use "
                "one_hot, or lookup with embedding",
            )


def multi_hot_is_wide_enough(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Every word index has a column."""
    if facts.inputs != "tokens" or "num_words" not in type(spec.dataset).model_fields:
        return  # of an archive's lists only the data tell how large they are
    for position, step in enumerate(spec.preprocessing.inputs):
        if not isinstance(step, schema.MultiHot) or step.dimension is None:
            continue
        if facts.num_words is None:
            yield Finding(
                _at(position, step, "dimension"),
                f"{dataset_name(spec)} without num_words has word indices above most dimensions, and such a "
                f"row stops the run; write `{dataset_name(spec)}: {{num_words: {step.dimension}}}` as well",
                "warning",
            )
        elif step.dimension < facts.num_words:
            yield Finding(
                _at(position, step, "dimension"),
                f"dimension {step.dimension:,} has no column for word indices up to num_words "
                f"{facts.num_words:,}; leave the dimension out, or make it that large",
            )


def word_weights_have_what_they_need(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`sublinear` counts are those of tf-idf, and `nb_ratio` compares two classes of one output."""
    for position, step in enumerate(spec.preprocessing.inputs):
        if not isinstance(step, (schema.Text, schema.MultiHot)):
            continue
        if step.sublinear and step.weighting != "tf_idf":
            yield Finding(
                _at(position, step, "sublinear"),
                f"sublinear is how tf_idf counts words, and the weighting is {step.weighting}; remove it, or "
                "use weighting: tf_idf",
            )
        if step.weighting != "nb_ratio":
            continue
        if len(spec.outputs) > 1:
            held = f"there are {len(spec.outputs)} outputs"
        elif facts.task == "regression":
            held = f"{dataset_name(spec)} has numbers to predict"
        elif facts.classes is not None and facts.classes != 2:
            held = f"{dataset_name(spec)} has {facts.classes} classes"
        else:
            continue
        yield Finding(
            _at(position, step, "weighting"),
            f"nb_ratio compares the words of two classes, and {held}; use tf_idf",
        )


def augment_takes_images(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Only rows of height and width can be turned; and something must be asked for, once."""
    found = [(i, s) for i, s in enumerate(spec.preprocessing.inputs) if isinstance(s, schema.Augment)]
    for position, step in found:
        if step.flip is None and step.shift is None and step.rotate is None and step.zoom is None:
            said = "augment changes nothing; give flip, shift, rotate or zoom, or remove it"
            yield Finding(_at(position, step), said)
        elif position != found[0][0]:
            yield Finding(_at(position, step), "augment is in the list twice; write one with all it shall do")
        elif facts.inputs is not None and len(facts.row_shape or ()) not in (2, 3):
            gives = facts.row_shape or ((facts.features,) if facts.features is not None else None)
            held = f"rows of {shape_text(gives)}" if gives is not None else "other rows"
            yield Finding(
                _at(position, step),
                f"augment turns images, (height, width) or (height, width, channels), and "
                f"{dataset_name(spec)} gives {held}; remove it",
            )


_COLUMN = re.compile(r"[A-Za-z_]\w*")


def custom_names_are_importable(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`package.module:name`."""
    for place, part in custom_parts(spec):
        if not is_custom_name(part.object):
            said = f"found {quoted(part.object)}; write package.module:name, as in my_losses:focal"
            yield Finding((*place, "custom", "object"), said)
        named = part.name if isinstance(part, schema.CustomMetric) else None
        if named is not None and not _COLUMN.fullmatch(named):
            said = f"{quoted(named)} must be a column name: letters, digits and underscores only"
            yield Finding((*place, "custom", "name"), said)


def custom_preprocessing_is_last(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """It takes the columns once they are numbers."""
    steps = spec.preprocessing.inputs
    for position, step in enumerate(steps):
        followers = [other.kind for other in steps[position + 1 :] if not isinstance(other, schema.Custom)]
        if isinstance(step, schema.Custom) and followers:
            takes = "a custom step takes rows that are numbers already"
            yield Finding(_at(position, step), f"{takes}, and {followers[0]} follows; put it last")


RULES: tuple[Rule, ...] = (
    none_stands_alone,
    word_indices_become_rows,
    steps_follow_each_other,
    a_constant_has_its_value,
    one_target_to_encode_by,
    multi_hot_is_wide_enough,
    word_weights_have_what_they_need,
    augment_takes_images,
    custom_names_are_importable,
    custom_preprocessing_is_last,
)
