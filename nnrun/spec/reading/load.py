"""A spec's file or text in, a checked `ExperimentSpec` out, or every problem at once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from nnrun.errors import Problem, SpecError, UsageError
from nnrun.interrupts import uninterrupted
from nnrun.paths import user_path
from nnrun.spec.graph import with_vector_files
from nnrun.spec.lint import Finding, lint
from nnrun.spec.lint.port_rules import columns_stand_with_their_ports
from nnrun.spec.ports import columns_of, has_ports, target_of
from nnrun.spec.reading.explain import explain
from nnrun.spec.reading.grammar import Location, empty_values, locate
from nnrun.spec.reading.nodes import ListNode, MapNode, Node, Place, ScalarNode, SourceText, plain, spell_path
from nnrun.spec.reading.overrides import Override, Overrides, apply_overrides
from nnrun.spec.reading.sources import GIVEN_NAME, SpecSource, text_of
from nnrun.spec.reading.spec_file import read_spec_file
from nnrun.spec.reading.yaml_reader import decode, read_yaml
from nnrun.spec.schema import (
    AS_LONG_AS_THE_TRAINING,
    DEFAULT_HOLDOUT_FRACTION,
    Component,
    Csv,
    EarlyStopping,
    ExperimentSpec,
    Holdout,
    Jsonl,
    KFold,
    LearningRateSchedule,
    NamedColumns,
    NoValidation,
    Parquet,
    ReduceOnPlateau,
    Swa,
    TargetStep,
    TimeSeries,
    Warmup,
    WeightAveraging,
    WithPath,
    component_name,
    components,
    target_step_of,
)
from nnrun.spec.score_columns import INNER, has_inner_rows
from nnrun.spec.shapes import facts_with_header, facts_without_header
from nnrun.spec.wording import quoted

Watcher = TypeVar("Watcher", EarlyStopping, ReduceOnPlateau)


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec and where it came from.

    Attributes:
        spec: every default filled in that does not need the data; paths absolute.
        source_text: the file as written, before overrides.
        path: the file, or None for a text.
        warnings: what is allowed and doubtful, in the order of the file.
        root: its values as they were read, each with its place.
    """

    spec: ExperimentSpec
    source_text: str
    path: Path | None
    warnings: tuple[Problem, ...]
    root: MapNode = field(compare=False, repr=False)

    def problem_at(self, location: Location, message: str) -> Problem:
        """An error at its line."""
        return _problem_at(self.root, location, message, "error")


def load_spec(path: SpecSource, overrides: Overrides = ()) -> LoadedSpec:
    """Read and check a spec.

    Args:
        path: the YAML file; or, from Python, the YAML itself or a dict (`nnrun.spec.reading.sources`).
        overrides: `key=value` texts, their values YAML, or a map from key to Python value. The same
            key twice, or one inside another, is an error.

    Raises:
        UsageError: there is no such file.
        SpecError: the spec is invalid; holds every problem.
    """
    return check_tree(read_spec(path, overrides))


@dataclass(frozen=True)
class SpecTree:
    """A spec that has been read and not yet checked.

    Attributes:
        root: its values, overrides written into them.
        problems: what was wrong with the text and the overrides.
        text: the file as written.
        path: the file, or None for a text.
        base: the folder that relative paths are relative to.
        default_name: the name of a spec that gives itself none.
    """

    root: MapNode
    problems: tuple[Problem, ...]
    text: str
    path: Path | None
    base: Path
    default_name: str

    @property
    def called(self) -> str:
        """What messages call it."""
        return "the spec" if self.path is None else str(self.path)

    def base_of(self, *location: str | int) -> Path:
        """What a relative path is relative to: the spec's folder; of an override, the current folder."""
        return self.base if locate(self.root, location).place.source.numbered else Path.cwd()

    def with_overrides(self, overrides: Overrides) -> SpecTree:
        """The same with more values written into it."""
        root, problems = apply_overrides(self.root, overrides)
        return replace(self, root=root, problems=(*self.problems, *problems))


def read_spec(path: SpecSource, overrides: Overrides = ()) -> SpecTree:
    """Read a spec; arguments and errors as for `load_spec`, as far as reading finds them.

    Relative paths of a spec that is no file start from the current folder.
    """
    text = text_of(path)
    if text is not None:
        source = SourceText(GIVEN_NAME, text.removeprefix("\ufeff"))
        return _read(source, path=None, base=Path.cwd(), default_name=GIVEN_NAME, overrides=overrides)
    assert not isinstance(path, Mapping), "a dict has a text"
    path = user_path(path, "The spec's path")
    source = decode(read_spec_file(path), str(path))
    return _read(source, path=path, base=path.absolute().parent, default_name=path.stem, overrides=overrides)


def load_with_folds(
    path: SpecSource,
    overrides: Overrides = (),
    *,
    k: int | None = None,
    repeats: int | None = None,
    nested: int | None = None,
    prefix: str = "",
) -> tuple[LoadedSpec, LoadedSpec]:
    """A spec with its own validation; and with folds: its own, else the default k-fold, by `k` and `repeats`.

    Where folds take the place of its validation, rules look at the second one only.

    Nested in outer folds, a validation without folds stays what it is, unless `k` or `repeats` are given.

    Args:
        path, overrides: as for `load_spec`.
        k, repeats: instead of what the spec says.
        nested: how many outer folds, instead of what the spec says.
        prefix: what messages put before the names of these two, such as the `--` of options.

    Raises:
        UsageError: as `load_spec`; or an override says something of the validation that would be dropped.
        SpecError: as `load_spec`.
    """
    tree = read_spec(path, overrides)
    own = _unchecked(
        tree
    )  # what only lacks folds, such as rows to fit a calibration on, is about to have them
    kind = own.spec.validation.kind
    changes: list[Override] = []
    if nested is not None:
        _refuse_dropped(tree, ("nested", "k"), f"{prefix}nested says otherwise")
        changes.append(Override.of_value("nested.k", nested, f"{prefix}nested", prevails=True))
    is_nested = nested is not None or own.spec.nested is not None
    stays = is_nested and k is None and repeats is None and kind != NoValidation.kind
    if not own.spec.validation.has_folds and not stays:
        _refuse_dropped(tree, ("validation",), "k-fold takes the place of validation")
        kind = KFold.kind
        changes.append(Override.of_value("validation", kind, prevails=True))
    if repeats is not None and kind == TimeSeries.kind:
        if repeats > 1:
            raise UsageError(
                f"{prefix}repeats is {repeats}, but {tree.called} declares time_series, and time has one "
                "order; leave it out, or set validation to kfold for folds in any order."
            )
        _refuse_dropped(tree, ("validation", kind, "repeats"), f"{prefix}repeats says otherwise")
        repeats = None
    for name, value in (("k", k), ("repeats", repeats)):
        if value is not None:
            _refuse_dropped(tree, ("validation", kind, name), f"{prefix}{name} says otherwise")
            path_of_key = f"validation.{kind}.{name}"
            changes.append(Override.of_value(path_of_key, value, f"{prefix}{name}", prevails=True))
    folded = check_tree(tree.with_overrides(changes))
    return own if changes else folded, folded


def _refuse_dropped(tree: SpecTree, location: Location, why: str) -> None:
    """Raise where an override, and not the file, says what stands at a location."""
    spot = locate(tree.root, location)
    place = _place_of_override(spot.node) if spot.form is not None else None
    if place is not None:
        raise UsageError(
            f"{place.source.file} {place.source.text} would be dropped: {why}. Leave out one of the two."
        )


def _place_of_override(node: Node | None) -> Place | None:
    """Where an override has written a value, or a part of it."""
    if node is None:
        return None
    if not node.place.source.numbered:
        return node.place
    inner = [entry.value for entry in node.entries.values()] if isinstance(node, MapNode) else []
    inner += node.items if isinstance(node, ListNode) else ()
    return next((place for part in inner if (place := _place_of_override(part)) is not None), None)


def load_spec_text(
    text: str, *, file: str, base: Path, default_name: str, overrides: Overrides = ()
) -> LoadedSpec:
    """Check a spec that is not in a file of its own, such as that of a finished run.

    Its layers are not compared with the rows that its data set has now: older versions flattened the rows of
    an npz archive, and the networks that they trained take them so.

    Args:
        text: the YAML.
        file: what messages call it.
        base: the folder that relative paths are relative to.
        default_name: the name of a spec that gives itself none.
        overrides: as for `load_spec`.

    Raises:
        SpecError: the spec is invalid; holds every problem.
    """
    source = SourceText(file, text.removeprefix("\ufeff"))
    tree = _read(source, path=None, base=base, default_name=default_name, overrides=overrides)
    return check_tree(tree, look_at_data=False)


def read_kept_spec(text: str, *, file: str) -> ExperimentSpec:
    """A spec that a run kept, every default filled in. Whether it could still run is not asked.

    Args:
        text: the YAML.
        file: what messages call it.

    Raises:
        SpecError: it is damaged; holds every problem.
    """
    root, problems = read_yaml(SourceText(file, text))
    spec = _validated(root, problems)
    if problems:
        raise SpecError(problems)
    return spec


def _read(
    source: SourceText, *, path: Path | None, base: Path, default_name: str, overrides: Overrides
) -> SpecTree:
    root, problems = read_yaml(source)
    tree = SpecTree(root, tuple(problems), source.text, path, base, default_name)
    return tree.with_overrides(overrides)


def check_tree(tree: SpecTree, *, look_at_data: bool = True) -> LoadedSpec:
    """The spec that a tree holds.

    Args:
        tree: the spec, read.
        look_at_data: whether the shape of rows is read from the head of an npz archive.

    Raises:
        SpecError: the spec is invalid; holds every problem, those of reading too.
    """
    root, problems = tree.root, [*tree.problems, *empty_values(tree.root)]
    written = _validated(root, problems)
    spec = _fill_in(written, base_of=tree.base_of, default_name=tree.default_name)
    facts = facts_with_header(spec) if look_at_data else facts_without_header(spec)
    missing = _missing_files(written, spec, given_here=tree.base_of("init_weights") != tree.base)
    for finding in (*missing, *columns_stand_with_their_ports(written), *lint(spec, facts)):
        problems.append(_problem_at(root, finding.location, finding.message, finding.severity))
    problems = in_file_order(problems)
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    return LoadedSpec(spec, tree.text, tree.path, tuple(problems), root)


def _unchecked(tree: SpecTree) -> LoadedSpec:
    """The spec that a tree holds, at which no rule has looked.

    Raises:
        SpecError: it holds none.
    """
    written = _validated(tree.root, [*tree.problems, *empty_values(tree.root)])
    spec = _fill_in(written, base_of=tree.base_of, default_name=tree.default_name)
    return LoadedSpec(spec, tree.text, tree.path, (), tree.root)


def _problem_at(
    root: MapNode, location: Location, message: str, severity: Literal["error", "warning"]
) -> Problem:
    place, path = locate(root, location).place, spell_path(location)
    return place.problem(message, path=path, severity=severity)


def _validated(root: MapNode, problems: Sequence[Problem]) -> ExperimentSpec:
    """The spec that a tree holds; SpecError with these problems and its own where it holds none."""
    errors: list[Mapping[str, Any]] = []
    outputs, loss = root.entries.get("outputs"), root.entries.get("loss")
    if outputs is None or not getattr(outputs.value, "entries", True):
        errors += _missing_target(root)
        if loss is None:
            errors.append({"type": "missing", "loc": ("loss",)})
        elif isinstance(loss.value, ScalarNode) and loss.value.value is None:
            errors.append({"type": "none", "loc": ("loss",)})
    try:
        with uninterrupted():  # pydantic would print what is raised within a function that it calls
            spec = ExperimentSpec.model_validate(plain(root))
    except ValidationError as error:
        errors = [*error.errors(include_url=False, include_context=False), *errors]
    if errors:
        raise SpecError(in_file_order([*problems, *explain(root, errors)]))
    return spec


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems of the whole file first, then by line; those of overrides last, as they were found."""
    return sorted(problems, key=_file_order)


def _file_order(problem: Problem) -> tuple[bool, int, int]:
    in_override = problem.line is None and problem.column is not None
    return (True, 0, 0) if in_override else (False, problem.line or 0, problem.column or 0)


# --- defaults that need more than the schema ---------------------------------------------------------------


def _fill_in(spec: ExperimentSpec, *, base_of: Callable[..., Path], default_name: str) -> ExperimentSpec:
    """The spec with the defaults that depend on other keys, and absolute paths.

    `base_of` says for the keys of a path what it is relative to.
    """
    changes: dict[str, object] = {
        "name": spec.name or default_name,
        "learning_rate_schedule": _filled_in_schedule(spec),
        "weight_averaging": _with_first_epoch(spec),
    }
    if spec.early_stopping is not None:
        changes["early_stopping"] = _watching_inner_rows(spec, spec.early_stopping)
    if spec.loss is not None and not spec.outputs:
        targets = spec.preprocessing.targets or _targets_for(spec.loss)
        changes["preprocessing"] = spec.preprocessing.model_copy(update={"targets": targets})
    changes["outputs"] = {
        name: port.model_copy(update={"preprocessing": port.preprocessing or _targets_for(port.loss)})
        for name, port in spec.outputs.items()
    }
    if isinstance(spec.dataset, NamedColumns) and has_ports(spec):
        spec = spec.model_copy(update={"dataset": _with_columns_of_ports(spec, spec.dataset)})
    if isinstance(spec.dataset, WithPath):
        changes["dataset"] = _with_absolute_paths(spec.dataset, base_of)
    spec = with_vector_files(spec, lambda place, path: _absolute(base_of(*place), path))
    if spec.init_weights is not None:
        changes["init_weights"] = _absolute(base_of("init_weights"), spec.init_weights)
    validation = spec.validation
    if isinstance(validation, Holdout):
        changes["validation"] = _filled_in_holdout(validation)
    return spec.model_copy(update=changes)


def _missing_target(root: MapNode) -> list[Mapping[str, Any]]:
    """Pydantic's error where a file of rows has no target: only a spec with `outputs` leaves it out."""
    dataset = root.entries.get("dataset")
    if dataset is None or not isinstance(dataset.value, MapNode) or len(dataset.value.entries) != 1:
        return []
    ((name, entry),) = dataset.value.entries.items()
    kind, held = str(component_name(name)), entry.value
    given = isinstance(held, MapNode) and ("target" in held.entries or held.incomplete)
    if (
        kind not in {cls.kind for cls in (Csv, Parquet, Jsonl)}
        or not isinstance(held, MapNode | ScalarNode)
        or given
    ):
        return []
    return [{"type": "missing", "loc": ("dataset", kind, "target")}]


def _with_columns_of_ports(spec: ExperimentSpec, dataset: NamedColumns) -> NamedColumns:
    """The columns with the targets of all outputs, and the columns of all inputs."""
    changes: dict[str, object] = {}
    if spec.outputs:
        targets = [column for name in spec.outputs for column in target_of(spec, name)]
        changes["target"] = list(dict.fromkeys(targets))
    if spec.inputs and all(port.columns for port in spec.inputs.values()):
        columns = [column for name in spec.inputs for column in columns_of(spec, name)]
        changes["inputs"] = list(dict.fromkeys(columns))
    return dataset.model_copy(update=changes)


def _filled_in_schedule(spec: ExperimentSpec) -> list[LearningRateSchedule]:
    """The schedule: as long as the training that follows the warm-up where it says no length."""
    warmup = sum(part.epochs for part in spec.learning_rate_schedule if isinstance(part, Warmup))
    parts: list[LearningRateSchedule] = []
    for part in spec.learning_rate_schedule:
        if isinstance(part, AS_LONG_AS_THE_TRAINING) and part.epochs is None:
            parts.append(part.model_copy(update={"epochs": max(1, spec.epochs - warmup)}))
        elif isinstance(part, ReduceOnPlateau):
            parts.append(_watching_inner_rows(spec, part))
        else:
            parts.append(part)
    return parts


def _watching_inner_rows(spec: ExperimentSpec, watcher: Watcher) -> Watcher:
    """The same with `inner_loss` as its monitor, where there are inner rows and it names no column."""
    if not has_inner_rows(spec) or "monitor" in watcher.model_fields_set:
        return watcher
    return watcher.model_copy(update={"monitor": f"{INNER}loss"})


def _with_first_epoch(spec: ExperimentSpec) -> WeightAveraging | None:
    """The average of the weights, its start as the number of an epoch where it is a share of all."""
    averaging = spec.weight_averaging
    if isinstance(averaging, Swa) and averaging.start < 1:
        first = math.floor(averaging.start * spec.epochs) + 1
        return averaging.model_copy(update={"start": float(first)})
    return averaging


def _filled_in_holdout(holdout: Holdout) -> Holdout:
    """A fraction where nothing else says which rows; only a fraction is shuffled."""
    if holdout.first is None and holdout.fraction is None and holdout.column is None:
        return holdout.model_copy(update={"fraction": DEFAULT_HOLDOUT_FRACTION})
    if holdout.fraction is None and "shuffle" not in holdout.model_fields_set:
        return holdout.model_copy(update={"shuffle": False})
    return holdout


def _targets_for(loss: Component) -> Component:
    """The step of the targets where the spec names none: what the loss compares with."""
    return components(TargetStep)[target_step_of(loss) or "none"]()


def _with_absolute_paths(dataset: WithPath, base_of: Callable[..., Path]) -> Component:
    where = ("dataset", dataset.kind)
    changes: dict[str, object] = {"path": _absolute(base_of(*where, "path"), dataset.path)}
    test = getattr(dataset, "test", None)
    if test is not None and test.path is not None:
        changes["test"] = test.model_copy(
            update={"path": _absolute(base_of(*where, "test", "path"), test.path)}
        )
    return dataset.model_copy(update=changes)


def _absolute(base: Path, written: str) -> str:
    return os.path.abspath(base / os.path.expanduser(written))


def _missing_files(written: ExperimentSpec, spec: ExperimentSpec, *, given_here: bool) -> list[Finding]:
    if written.init_weights is None or spec.init_weights is None or os.path.isfile(spec.init_weights):
        return []
    where = "current folder where an override gives it" if given_here else "spec's own folder"
    message = f"there is no file {quoted(written.init_weights)}; a relative path starts from the {where}"
    return [Finding(("init_weights",), message)]
