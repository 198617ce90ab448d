"""A first spec for a file of rows: what is in the file decides the target, the inputs and the network.

The rules are few and stand in the modules of this folder; the comments of the spec say what they decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnrun.data.files.missing_marks import marks_sentence, missing_marks
from nnrun.data.files.read_table import ReadTable
from nnrun.data.sources.table_file import reader_of
from nnrun.data.summaries.describe_columns import counts_of_values
from nnrun.data.summaries.describe_file import kind_of_file, read_file
from nnrun.data.table import Column, NumberColumn
from nnrun.errors import DataError, UsageError
from nnrun.experiment.checking.at_once import said_at_once
from nnrun.experiment.init.input_columns import Inputs, choose_inputs, group_of
from nnrun.experiment.init.likely_target import unable_by_name
from nnrun.experiment.init.network_lines import network_lines
from nnrun.experiment.init.preprocessing import lists_tags, preprocessing_lines
from nnrun.experiment.init.roles import Roles, is_dummy, roles_of
from nnrun.experiment.init.several_outputs import TargetOutput, network_lines_of_outputs, output_names
from nnrun.experiment.init.sizes import Sizes
from nnrun.experiment.init.target import TaskName, possible_tasks, require_classes, require_target
from nnrun.experiment.init.validation import (
    FOR_FINAL,
    Split,
    mark_to_use,
    series_column,
    split_by_group,
    split_by_mark,
    split_by_time,
    usual_split,
)
from nnrun.experiment.init.writing import (
    comment,
    comments,
    dataset_lines,
    flow_list,
    relative,
    remarked,
    some,
    spec_text,
)
from nnrun.spec import schema
from nnrun.spec.wording import counted, listing, listing_of_some, quoted
from nnrun.spec.writing.dump import flow

_LISTED_INPUTS: Final = 200


@dataclass(frozen=True)
class InitialSpec:
    """A spec, and what was decided.

    Attributes:
        text: YAML.
        chosen: what → in words, for a screen.
    """

    text: str
    chosen: Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What somebody decided, and what only the command knows.

    Attributes:
        path: of the file.
        targets: the columns to predict.
        task: as classes, or as numbers.
        tasks: of several targets, those that are predicted otherwise.
        spec_path: where the spec will lie; its paths are relative to that folder.
        why_target: why this column, for the comment next to it.
        runners_up: what else could be the target, the likeliest first; the comment names two.
        test: a file of test rows, or None.
        labels: columns that look like several labels per row.
    """

    path: Path
    targets: tuple[str, ...]
    task: TaskName
    spec_path: Path
    why_target: str = ""
    runners_up: tuple[str, ...] = ()
    test: Path | None = None
    labels: tuple[str, ...] = ()
    tasks: Mapping[str, TaskName] = field(default_factory=dict)

    def task_of(self, target: str) -> TaskName:
        """How a target is predicted."""
        return self.tasks.get(target, self.task)


@dataclass(frozen=True)
class _Decided:
    """Everything that the lines of the spec show.

    `outputs` are those of several targets that have one each; labels, and a single target, have none.
    """

    request: Request
    file: ReadTable
    roles: Roles
    sizes: Sizes
    split: Split
    inputs: Inputs
    types: Mapping[str, str]
    tags: tuple[str, ...]
    outputs: tuple[TargetOutput, ...] = ()

    @property
    def target(self) -> str:
        return self.request.targets[0]

    @property
    def runners_up(self) -> list[str]:
        """The next likeliest targets; a copy of the target is none."""
        copies = self.inputs.giveaways
        return [quoted(name) for name in self.request.runners_up if name not in copies][:2]

    @property
    def passed_over(self) -> list[str]:
        """Columns with a usual name of a target that were not considered, where nobody named the target."""
        if not (self.request.why_target or self.runners_up):
            return []
        return [f"{quoted(name)} {why}" for name, why in unable_by_name(self.file, self.roles).items()]

    @property
    def other_labels(self) -> tuple[str, ...]:
        """Columns that look like several labels per row, where one of them is predicted."""
        several = len(self.request.labels) > 1 and len(self.request.targets) == 1
        return self.request.labels if several else ()

    @property
    def n_others(self) -> int:
        """How many columns are no target."""
        return len(self.file.columns) - len(self.request.targets)

    @property
    def left_out(self) -> int:
        """Rows without a target, of several outputs without any."""
        return _without_any(self.file, self.request.targets) if self.outputs else self.file.left_out

    @property
    def rows_to_check(self) -> tuple[list[Column], list[Column], int]:
        """The inputs, the targets, and how many rows they have."""
        columns, targets = self.file.columns, self.request.targets
        of_inputs = [columns[name].column for name in self.inputs.names]
        return of_inputs, [columns[name].column for name in targets], self.file.n_rows

    @cached_property
    def marks(self) -> dict[str, str]:
        """Target → what a CSV file has where it is missing, as a sentence, where something stands out."""
        path = self.request.path
        lacking = [name for name in self.request.targets if self.file.columns[name].missing]
        targets = lacking if self.outputs else self.request.targets
        if not (self.file.left_out or lacking) or kind_of_file(path.name) is not schema.Csv:
            return {}
        marks = {}
        for target in targets:
            declared = {"path": str(path), "target": [target], **self.file.keys}
            reader = reader_of(schema.Csv.model_validate(declared), path)
            marks[target] = marks_sentence(missing_marks(reader, target))
        return {target: sentence for target, sentence in marks.items() if sentence}


def initial_spec_of_file(
    request: Request, file: ReadTable | None = None, on_message: Callable[[str], None] = lambda text: None
) -> InitialSpec:
    """A spec for a file of rows.

    Args:
        request: what was decided.
        file: what was read of it, if it was.
        on_message: receives the progress of reading.

    Raises:
        UsageError: there is no such column, or it is not a number and the task is regression.
        DataError: the file is damaged, the column cannot be predicted, or nothing is left to learn from.
    """
    file = read_file(request.path, on_message) if file is None else file
    file, types = _with_target_types(request, file, on_message)
    decided = _decide(request, file, types)
    sizes = decided.sizes
    text = spec_text(
        listing(list(request.targets), "and"),
        request.path.name,
        _about_target(decided),
        _dataset_lines(decided),
        preprocessing_lines(
            file,
            decided.inputs.names,
            decided.tags,
            () if decided.outputs or request.task == "classification" or sizes.labels else request.targets,
            sizes,
        ),
        network_lines_of_outputs(sizes, decided.outputs) if decided.outputs else network_lines(sizes),
        [*decided.split.validation_lines(), *_linear_member_lines(decided)],
    )
    return InitialSpec(text, _chosen(decided))


def _linear_member_lines(decided: _Decided) -> list[str]:
    """Of a table whose folds' networks are averaged: a linear model in each."""
    if not decided.sizes.measured or decided.outputs or "kfold" not in decided.split.validation:
        return []
    model = "logistic" if decided.sizes.classes or decided.sizes.labels else "ridge"
    why = (
        f"`nnrun final @last --members folds` averages {model} regression into each network, by as much "
        "as the rows of the other folds say: better where straight lines are what there is to learn"
    )
    return [*comments(why, ""), "linear_member: true"]


def _with_target_types(
    request: Request, file: ReadTable, on_message: Callable[[str], None]
) -> tuple[ReadTable, Mapping[str, str]]:
    """The rows that have a target, numbers that name classes read as categories; and what to write of that
    under `types`. Where each target has an output, a row needs none of them in particular, and all stay."""
    for name in request.targets:
        require_target(file, name)
    labels = _are_all_labels(file, request.targets)
    needed = request.targets if labels or len(request.targets) == 1 else ()
    if any(file.columns[name].missing for name in needed):  # as training will see the file
        file = read_file(request.path, on_message, needed=needed, keys=file.keys)
        for name in request.targets:
            require_target(file, name)
    if labels:
        return file, {}
    types: dict[str, schema.ColumnType] = {}
    for name in request.targets:
        task, inferred = request.task_of(name), file.columns[name]
        if task not in possible_tasks(inferred):
            held = "holds only 0 and 1" if is_dummy(inferred) else "holds texts, not numbers"
            raise UsageError(
                f"{file.name}: column {quoted(name)} {held}, so it can only be predicted as classes: "
                "--task classification."
            )
        if task == "classification" and not _are_labels(inferred.column):
            types[name] = "category"
    if types:
        file = read_file(request.path, on_message, types, needed, file.keys)
    for name in request.targets:
        require_target(file, name)
        if request.task_of(name) == "classification":
            require_classes(file, name)
    return file, types


def _are_all_labels(file: ReadTable, targets: Sequence[str]) -> bool:
    """Whether several targets are labels, each of them 0 or 1, which one output gives."""
    return len(targets) > 1 and all(is_dummy(file.columns[name]) for name in targets)


def _decide(request: Request, file: ReadTable, types: Mapping[str, str]) -> _Decided:
    first = request.targets[0]
    labels = _are_all_labels(file, request.targets)
    if labels:
        request = replace(request, task="classification", tasks={})
    outputs = () if labels or len(request.targets) == 1 else _outputs(request, file)
    lead = _lead(outputs)
    one_of_classes = request.task == "classification" and len(request.targets) == 1
    counts = counts_of_values(file.columns[first].column) if one_of_classes else {}
    rows = file.n_rows - (_without_any(file, request.targets) if outputs else 0)
    if rows < 4:
        raise DataError(f"{file.name} has {counted(rows, 'row')}; training and validation need 4 or more.")
    roles = roles_of(file)
    sizes = Sizes(
        rows,
        counts if lead is None else lead.sizes.classes,
        outputs=len(request.targets) if labels else 1,
        labels=labels,
        columns=True,
        own_test=request.test is not None,
    )
    of_classes = first if lead is None else lead.column.name
    split = _split(request, file, roles, sizes, of_classes)
    sizes = replace(sizes, own_test=sizes.own_test or (split.test is not None and "column" in split.test))
    tasks = {name: request.task_of(name) for name in request.targets}
    inputs = choose_inputs(file, tasks, roles, split.reserved)
    tags = tuple(name for name in inputs.names if lists_tags(file.columns[name].column))
    texts = sum(file.columns[name].type == "text" for name in inputs.names)
    sizes = replace(sizes, texts=2 * texts >= len(inputs.names) and texts > 0)
    if sizes.texts:  # which are split by other sizes than a table of numbers
        split = _split(request, file, roles, sizes, of_classes)
    if lead is not None:
        split = split.stratified_by(lead.name)
    types = {**types, **dict.fromkeys(tags, "text")}
    return _Decided(request, file, roles, sizes, split, inputs, types, tags, outputs)


def _outputs(request: Request, file: ReadTable) -> tuple[TargetOutput, ...]:
    """An output for each target."""
    names = output_names(request.targets)
    found = []
    for target in request.targets:
        column = file.columns[target].column
        classes = request.task_of(target) == "classification"
        counts = counts_of_values(column) if classes else {}
        rows = file.n_rows - file.columns[target].missing
        found.append(TargetOutput(names[target], column, Sizes(rows, counts)))
    return tuple(found)


def _lead(outputs: Sequence[TargetOutput]) -> TargetOutput | None:
    """The output whose classes decide how rows are split: the one with the rarest class; None without any."""
    able = [output for output in outputs if output.sizes.classes and not output.column.missing.any()]
    return min(able, key=lambda output: output.sizes.rarest, default=None)


def _without_any(file: ReadTable, targets: Sequence[str]) -> int:
    """How many rows have none of the targets."""
    return int(np.all([file.columns[name].column.missing for name in targets], axis=0).sum())


def _split(request: Request, file: ReadTable, roles: Roles, sizes: Sizes, target: str) -> Split:
    """By a mark of the rows, else by groups, else by time, else by how many rows there are.

    `target` has the classes of `sizes`, if they have any.
    """
    mark = mark_to_use(roles)
    if mark is not None and mark.name not in request.targets and request.test is None:
        return split_by_mark(mark, replace(sizes, own_test=mark.test is not None))
    group = group_of(file, roles, request.targets)
    split = split_by_group(group, file, target, sizes) if group is not None else None
    if split is None and (time := series_column(file, roles, request.targets)) is not None:
        split = split_by_time(time, file, target, sizes)
    split = usual_split(sizes) if split is None else split
    if request.test is None:
        return split
    said = {**split.said, "test set": f"the file {request.test.name}"}
    test = {"path": relative(request.test, request.spec_path)}
    return replace(split, test=test, why_test=FOR_FINAL, said=said)


# --- data --------------------------------------------------------------------------------------------------


def _about_target(decided: _Decided) -> list[str]:
    sizes, file = decided.sizes, decided.file
    if decided.outputs:
        return [line for output in decided.outputs for line in _about_output(output, sizes.rows)]
    if sizes.classes:
        return class_lines(sizes, "rows")
    lines = []
    for name in decided.request.targets:
        column = file.columns[name].column
        assert isinstance(column, NumberColumn), "other targets are classes"
        values = column.values[~column.missing].astype(np.float64)
        if sizes.labels:
            share = 100 * float(values.mean())
            lines.append(comment(f"{sizes.rows:,} rows; label {quoted(name)} is 1 in {share:.0f} % of them."))
            continue
        lines.append(comment(f"{sizes.rows:,} rows; the target {_range(column)}."))
    return lines


def _about_output(output: TargetOutput, rows: int) -> list[str]:
    """What a target with an output of its own holds, and how many of the rows lack it."""
    name, sizes, column = output.column.name, output.sizes, output.column
    lines = (
        class_lines(sizes, "rows", name)
        if sizes.classes
        else [comment(f"{quoted(name)}: {sizes.rows:,} rows; it {_range(column)}.")]
    )
    if lacking := rows - sizes.rows:
        lack = "row lacks it and counts" if lacking == 1 else "rows lack it and count"
        lines.append(comment(f"  {lacking:,} {lack} for the other outputs only."))
    return lines


def _range(column: Column) -> str:
    """`ranges from 6.8 to 37.6, with a standard deviation of 9.0639`."""
    assert isinstance(column, NumberColumn), "other targets are classes"
    values = column.values[~column.missing].astype(np.float64)
    largest = float(np.abs(values).max()) or 1.0  # its square may be beyond any float
    std = float((values / largest).std()) * largest
    return f"ranges from {values.min():.5g} to {values.max():.5g}, with a standard deviation of {std:.5g}"


def class_lines(sizes: Sizes, rows: str, target: str = "") -> list[str]:
    """How many classes there are, and how large the largest is; of a target among several with its name."""
    most = max(sizes.classes, key=sizes.classes.__getitem__)
    share = f"{100 * sizes.classes[most] / sizes.rows:.0f} % of them: the accuracy of always guessing it."
    classes = f"{sizes.rows:,} {rows} in {len(sizes.classes):,} classes"
    of = f"{quoted(target)}: " if target else ""
    return [comment(f"{of}{classes}. The largest, {quoted(most)}, has {share}")]


def _dataset_lines(decided: _Decided) -> list[str]:
    request = decided.request
    kind = kind_of_file(request.path.name)
    assert kind is not None, "a file of another kind cannot be read"
    lines = dataset_lines(kind.kind, request.path, request.spec_path)
    if decided.outputs:
        return lines + _rest_of_dataset_lines(decided)
    targets: Any = list(request.targets) if len(request.targets) > 1 else decided.target
    why = request.why_target
    if decided.runners_up:
        others = ", ".join(decided.runners_up)
        why = f"{why or 'no column stands out as the target'}; other candidates: {others}"
    lines += remarked(f"    target: {flow(targets)}", why, "    ")
    for passed_over in decided.passed_over:
        lines += comments(f"not the target: {passed_over}", "    ")
    if decided.other_labels:
        command = " ".join(f"--target {flow(name)}" for name in decided.other_labels)
        alike = f"{some(decided.other_labels)} look like several labels per row; to predict all: {command}"
        lines += comments(alike, "    ")
    return lines + _rest_of_dataset_lines(decided)


def _rest_of_dataset_lines(decided: _Decided) -> list[str]:
    """What follows the target: rows that are left out, types, inputs, groups and test rows."""
    request, file, split = decided.request, decided.file, decided.split
    lines: list[str] = []
    if left_out := decided.left_out:
        of = f"{counted(left_out, 'row')} of {decided.sizes.rows + left_out:,}"
        are = "is" if left_out == 1 else "are"
        which = "any target" if decided.outputs else "a target"
        lines.append(f"    drop_missing_target: true  # {of} without {which} {are} left out")
    for name, marks in decided.marks.items():
        lines += comments(f"{quoted(name)}: {marks}", "    ")
    if decided.types:
        labels = [name for name in request.targets if name in decided.types]
        whose = f"the numbers of {some(labels)} are" if decided.outputs else "its numbers are"
        told = [f"{whose} class labels"] if labels else []
        told += ["tags separated by | are read as texts"] if decided.tags else []
        lines.append(f"    types: {flow(dict(decided.types))}  # {'; '.join(told)}")
    lines += [f"    {key}: {flow(value)}  # as found in the file" for key, value in file.keys.items()]
    lines += _input_lines(decided)
    if split.group is not None:
        lines += remarked(f"    group: {flow(split.group)}", split.why, "    ")
    return lines + split.test_lines()


def _input_lines(decided: _Decided) -> list[str]:
    inputs, tells = decided.inputs, decided.inputs.tells
    verdict = "Left out: it is almost certainly the target under another name, or computed from it."
    if inputs.kept_giveaways:
        verdict = "Kept as an input, since nothing else is left: is it known before the target is?"
    good = "It may be a good measurement, so it is kept as an input; if it is known only after the target, "
    told = [
        *(
            f"! {quoted(name)} GIVES {quoted(tells[name])} AWAY: {how}. {verdict}"
            for name, how in inputs.giveaways.items()
        ),
        *(
            f"{quoted(name)} alone predicts {quoted(tells[name])}: {how}. {good}remove it."
            for name, how in inputs.suspects.items()
        ),
        *(f"left out: {quoted(name)} {why}" for name, why in inputs.left_out.items()),
        *(f"read as a category: {quoted(name)} {why}" for name, why in inputs.mixed.items()),
        *(
            f"{quoted(name)} carries the same information as {quoted(of)}: one of them is enough"
            for name, of in inputs.copies.items()
        ),
    ]
    lines = [line for text in told for line in comments(text, "    ")]
    if len(inputs.names) == decided.n_others and len(inputs.names) > _LISTED_INPUTS:
        return [*lines, comment("inputs: all other columns, by default", "    ")]
    return lines + flow_list("inputs", inputs.names, "    ")


# --- words for a screen ------------------------------------------------------------------------------------


def _chosen(decided: _Decided) -> dict[str, str]:
    request, sizes, inputs = decided.request, decided.sizes, decided.inputs
    targets = listing([quoted(name) for name in request.targets], "and")
    unused = [*inputs.left_out, *(() if inputs.kept_giveaways else inputs.giveaways)]
    chosen = {"target": targets + (f", {request.why_target}" if request.why_target else "")}
    if decided.runners_up:
        chosen["other candidates"] = ", ".join(decided.runners_up)
    if decided.passed_over:
        chosen["passed over"] = "; ".join(decided.passed_over)
    if decided.file.keys:
        chosen["read with"] = ", ".join(f"{key}: {flow(value)}" for key, value in decided.file.keys.items())
    chosen["task"] = f"{sizes.outputs:,} labels" if sizes.labels else _task_text(sizes)
    if decided.outputs:
        each = [f"{quoted(o.column.name)}: {_task_text(o.sizes)}" for o in decided.outputs]
        chosen["task"] = "; ".join(each)
    left_out = decided.left_out
    chosen["rows"] = f"{sizes.rows:,}" + (f" of {sizes.rows + left_out:,}" if left_out else "")
    for marks in decided.marks.values():
        chosen["missing?"] = marks
    chosen |= decided.split.said
    chosen["inputs"] = f"{len(inputs.names):,} of {counted(decided.n_others, 'other column')}"
    if decided.other_labels:
        chosen["labels?"] = f"{some(decided.other_labels)}: to predict all, give --target for each"
    if unused:
        chosen["left out"] = some(unused)
    if inputs.mixed:
        name, why = next(iter(inputs.mixed.items()))
        others = [quoted(other) for other in inputs.mixed if other != name]
        also = f"; likewise {listing_of_some(others, 7)}" if others else ""
        chosen["numbers?"] = f"{quoted(name)} {why}{also}"
    if inputs.giveaways:
        kept = " (kept: nothing else is left)" if inputs.kept_giveaways else ""
        gives = "gives" if len(inputs.giveaways) == 1 else "give"
        told = listing(
            [quoted(name) for name in dict.fromkeys(inputs.tells[n] for n in inputs.giveaways)], "and"
        )
        chosen["warning"] = f"{some(list(inputs.giveaways))} {gives} away {told}{kept}"
    if found := said_at_once(*decided.rows_to_check):
        chosen["data?"] = "; ".join(found)
    return chosen


def _task_text(sizes: Sizes) -> str:
    return f"classification, {len(sizes.classes):,} classes" if sizes.classes else "regression"


def _are_labels(column: object) -> bool:
    """Whether a target is classes as it is: texts, or the numbers 0 and 1."""
    if not isinstance(column, NumberColumn):
        return True
    return set(np.unique(column.values[~column.missing]).tolist()) == {0.0, 1.0}
