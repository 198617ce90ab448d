"""A sweep's trials: which there are, and whether each is a valid spec of its own.

A *point* says where in the sweep a trial is: for each key the place in its list of values, or the number in
its range. A key may name several keys of the spec, with commas between them, which then have the same value
in each trial. A trial's values keep the place where they were written, so that a problem shows the line of
the value that causes it.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnrun.errors import Problem, SpecError, UsageError
from nnrun.spec import schema
from nnrun.spec.comparing.sweep_scores import incomparable_trials, not_comparable
from nnrun.spec.random_streams import derive_seed
from nnrun.spec.reading.grammar import Location, locate
from nnrun.spec.reading.load import LoadedSpec, SpecTree, check_tree, in_file_order, read_spec
from nnrun.spec.reading.nodes import Entry, ListNode, MapNode, Node, Place, SourceText, from_plain, plain
from nnrun.spec.reading.overrides import (
    Override,
    Overrides,
    is_inside,
    is_overridden,
    location_of,
    overrides_of,
    put,
)
from nnrun.spec.reading.sources import SpecSource
from nnrun.spec.reading.yaml_reader import read_values
from nnrun.spec.score_columns import ranking_column, validated_columns
from nnrun.spec.wording import counted, listing
from nnrun.spec.writing.value_labels import values_label

Point = Mapping[str, int | float]
Over = str | Sequence[str] | Mapping[str, Any]

_MOST_DRAWS = 1000
_RANGES = tuple(cls.kind for cls in (schema.Uniform, schema.LogUniform, schema.IntUniform))


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        number: from 1.
        values: key → value, in the order of the sweep.
        loaded: the spec with these values, and without the sweep.
    """

    number: int
    values: Mapping[str, Any]
    loaded: LoadedSpec


@dataclass(frozen=True)
class SweepPlan:
    """A sweep that can be run.

    Attributes:
        base: the spec that the trials vary, its sweep section included.
        monitor: the column that trials are compared by.
        seed: of what is drawn at random.
        total: how many trials there are.
        trials: all of them; empty for `tpe`, whose trials follow from each other.
        warnings: what is doubtful in the base or in a trial.
    """

    base: LoadedSpec
    monitor: str
    seed: int
    total: int
    trials: tuple[Trial, ...]
    warnings: tuple[Problem, ...]
    _tree: SpecTree
    _first: Trial | None = None

    @property
    def sweep(self) -> schema.Sweep:
        """The sweep section."""
        assert self.base.spec.sweep is not None, "it was read for its sweep"
        return self.base.spec.sweep

    def values(self, point: Point) -> dict[str, Any]:
        """Key → value at a point."""
        return {key: plain(node) for key, (_, node) in _nodes(self._tree, point).items()}

    def trial(self, number: int, point: Point) -> Trial:
        """The trial at a point.

        Raises:
            SpecError: there the spec is invalid, or its score is not comparable with those of other trials.
        """
        trial = _trial(self._tree, self.monitor, number, point)
        if self._first is not None:
            reason = not_comparable(self._first.loaded.spec, trial.loaded.spec, self.monitor)
            if reason is not None:
                message = f"its {self.monitor} cannot be compared with that of other trials: {reason}"
                raise SpecError([_at_sweep(self._tree).problem(message)])
        return trial


def load_sweep(
    path: SpecSource,
    overrides: Overrides = (),
    over: Over = (),
    changes: Mapping[str, str | float] | None = None,
    *,
    prefix: str = "--",
) -> SweepPlan:
    """Read a spec with its sweep, and check every trial.

    The trials of `tpe` are not known yet. Of them each value of each key is checked, of a range both ends,
    with the first value of every other key.

    Args:
        path: the spec file.
        overrides: as for `load_spec`.
        over: `key=value,value` texts, or a map from key to a list of values or a range; they add to the sweep
            section, or replace what it says of the key.
        changes: key of the sweep section → its value instead.
        prefix: what messages put before the names of `over` and the changes: `--` for options, or nothing.

    Raises:
        UsageError: there is no such file, or nothing to sweep over.
        SpecError: the spec or a trial is invalid; holds every problem.
    """
    tree = _with_over(read_spec(path, overrides), over, prefix)
    for key in changes or {}:
        if is_overridden(overrides, f"sweep.{key}"):
            raise UsageError(
                f"{_option(key, prefix)} and the override of sweep.{key} set the same value; leave out one."
            )
    if "sweep" in tree.root.entries:
        options = [
            Override.of_value(f"sweep.{key}", value, _option(key, prefix))
            for key, value in (changes or {}).items()
        ]
        tree = tree.with_overrides(options)
    base = _checked_base(tree, overrides)
    if base.spec.sweep is None:
        raise UsageError(
            f"{tree.called} has no sweep section. Say what to try: --over layers[0].dense.units=16,32,64, or "
            "`sweep: {over: {KEY: [VALUES]}}` in the spec."
        )
    return _plan(tree, base)


def _option(key: str, prefix: str) -> str:
    """What a message calls what changes a key of the sweep section."""
    return f"{prefix}time" if prefix and key == "time_limit" else f"{prefix}{key}"


def check_sweep(path: SpecSource, overrides: Overrides = ()) -> LoadedSpec:
    """A spec, its warnings and, where it has a sweep, those of its trials; raises as `load_sweep`."""
    tree = read_spec(path, overrides)
    base = _checked_base(tree, overrides)
    return base if base.spec.sweep is None else replace(base, warnings=_plan(tree, base).warnings)


def _checked_base(tree: SpecTree, overrides: Overrides) -> LoadedSpec:
    return check_tree(replace(tree, problems=(*tree.problems, *_overlaps(tree, overrides))))


def _plan(tree: SpecTree, base: LoadedSpec) -> SweepPlan:
    sweep = base.spec.sweep
    monitor = sweep.monitor if sweep and sweep.monitor else ranking_column(base.spec)
    assert sweep is not None, "a sweep was read"
    assert monitor is not None, "lint wants validation for a sweep"
    seed = base.spec.seed if sweep.seed is None else sweep.seed
    tpe = sweep.method == "tpe"
    points = list(
        _grid(sweep, seed) if sweep.method == "grid" else _variations(sweep) if tpe else _drawn(sweep, seed)
    )
    trials, problems = _checked(tree, monitor, points, known=base.warnings)
    if len(trials) == len(points):
        problems += _compared(tree, monitor, points, trials)
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    different, same = (tuple(trials), []) if tpe else _each_spec_once(tree, trials)
    problems += same
    return SweepPlan(
        base=base,
        monitor=monitor,
        seed=seed,
        total=int(sweep.trials or 0) if tpe else len(different),
        trials=() if tpe else different,
        warnings=(*base.warnings, *problems),
        _tree=tree,
        _first=trials[0] if trials else None,
    )


def _with_over(tree: SpecTree, over: Over, prefix: str) -> SpecTree:
    """The tree with `over` written into its sweep section."""
    if isinstance(over, Mapping):
        entries, problems = _read_map(over)
    else:
        entries, problems = _read_texts([over] if isinstance(over, str) else over, f"{prefix}over")
    tree = replace(tree, problems=(*tree.problems, *problems))
    if not entries:
        return tree
    place = next(iter(entries.values())).key_place
    section = tree.root.entries.get("sweep", Entry(place, MapNode({}, place)))
    if not isinstance(section.value, MapNode):
        return tree  # it is wrong, and will be said to be
    swept = section.value.entries.get("over", Entry(place, MapNode({}, place)))
    if not isinstance(swept.value, MapNode):
        return tree
    new = {_locations(tree.root, key) or key: key for key in entries}
    merged: dict[str, Entry] = {}
    for key, entry in swept.value.entries.items():
        instead = new.get(_locations(tree.root, key) or key)
        merged |= {key: entry} if instead is None else {instead: entries[instead]}
    whole = replace(swept.value, entries={**merged, **entries})
    changed = replace(section.value, entries={**section.value.entries, "over": Entry(swept.key_place, whole)})
    root = replace(tree.root, entries={**tree.root.entries, "sweep": Entry(section.key_place, changed)})
    return replace(tree, root=root)


def _overlaps(tree: SpecTree, overrides: Overrides) -> list[Problem]:
    """Swept keys of which one contains another, and overrides that no trial would have."""
    over = locate(tree.root, ("sweep", "over")).node
    if not isinstance(over, MapNode):
        return []
    problems: list[Problem] = []
    swept: list[tuple[str, Location]] = []
    for key, entry in over.entries.items():
        for path in schema.swept_paths(key):
            location = location_of(tree.root, path)
            if location is None:
                continue
            told = (_overlap(location, place, other) for other, place in swept)
            if message := next(filter(None, told), None):
                problems.append(entry.key_place.problem(message, path=key))
            swept.append((path, location))
    for override in overrides_of(overrides):
        path = override.text[: override.path_end].strip()
        location = location_of(tree.root, path)
        for key, place in swept:
            if location is not None and is_inside(location, place):
                start = Place(SourceText(override.origin, override.text, numbered=False), 1, 1)
                message = (
                    f"no trial would have this value, since the sweep varies {key}; leave out one of them"
                )
                problems.append(start.problem(message, path=path))
    return problems


def _overlap(location: Location, place: Location, other: str) -> str | None:
    """Why a key at a location cannot be swept beside `other` at `place`; None where it can."""
    order = ": which of them a trial has would depend on their order; sweep one of them"
    if location == place:
        return f"this is the key {other}, which is swept already; keep one of them"
    if is_inside(location, place):
        return f"this is a part of {other}, which is swept as a whole{order}"
    if is_inside(place, location):
        return f"this is swept as a whole, and {other}, a part of it, is swept as well{order}"
    return None


def _locations(root: MapNode, key: str) -> tuple[Location, ...] | None:
    """Where the keys that a swept key names are; None where one cannot be read."""
    found = [location_of(root, path) for path in schema.swept_paths(key)]
    known = [location for location in found if location is not None]
    return tuple(known) if len(known) == len(found) else None


def _read_map(over: Mapping[str, Any]) -> tuple[dict[str, Entry], list[Problem]]:
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []
    for key, values in over.items():
        start = Place(SourceText("over", f"{key}: {values!r}", numbered=False), 1, 1)
        try:
            entries[key] = Entry(start, from_plain(values, start))
        except TypeError as error:
            problems.append(start.problem(f"the value is, or holds, {error}"))
    return entries, problems


def _read_texts(over: Sequence[str], origin: str) -> tuple[dict[str, Entry], list[Problem]]:
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []
    for text in over:
        source = SourceText(origin, text, numbered=False)
        start = Place(source, 1, 1)
        key, equals, rest = text.partition("=")
        if not equals or not key.strip() or not rest.strip():
            problems.append(start.problem("this is KEY=VALUE,VALUE, such as layers[0].dense.units=16,32,64"))
            continue
        try:
            node, found = read_values(source, len(key) + 1)
        except SpecError as error:
            problems += error.problems
            continue
        problems += found
        if key.strip() in entries:
            first = entries[key.strip()].key_place.source
            problems.append(
                start.problem(f"{key.strip()} is swept twice: {origin} {first.text} is here as well")
            )
        entries[key.strip()] = Entry(start, _range_alone(node))
    return entries, problems


def _range_alone(node: Node) -> Node:
    """The list of values; a range alone in it is not a value but what to draw from."""
    if isinstance(node, ListNode) and len(node.items) == 1:
        (item,) = node.items
        if isinstance(item, MapNode) and len(item.entries) == 1 and next(iter(item.entries)) in _RANGES:
            return item
    return node


# --- points ------------------------------------------------------------------------------------------------


def _grid(sweep: schema.Sweep, seed: int) -> Iterator[Point]:
    """Every combination; the last key varies fastest. With `shuffle` all but the first in random order."""
    lists = [range(len(values)) for values in sweep.over.values() if isinstance(values, list)]
    first, *others = itertools.product(*lists)
    if sweep.shuffle:
        random.Random(derive_seed(seed, purpose="order of a grid")).shuffle(others)
    for places in (first, *others):
        yield dict(zip(sweep.over, places, strict=True))


def _variations(sweep: schema.Sweep) -> Iterator[Point]:
    """Each value of each key, of a range its ends, where all others have their first."""
    ends = {
        key: range(len(values)) if isinstance(values, list) else values.range
        for key, values in sweep.over.items()
    }
    first = {key: numbers[0] for key, numbers in ends.items()}
    yield first
    for key, numbers in ends.items():
        for number in numbers[1:]:
            yield {**first, key: number}


def _drawn(sweep: schema.Sweep, seed: int) -> Iterator[Point]:
    """Points drawn at random; none is drawn twice, as long as there are others."""
    seen: set[tuple[int | float, ...]] = set()
    for number in range(1, int(sweep.trials or 0) + 1):
        rng = random.Random(derive_seed(seed, replica=number, purpose="trial of a sweep"))
        for _ in range(_MOST_DRAWS):
            point = {key: _draw(values, rng) for key, values in sweep.over.items()}
            if tuple(point.values()) not in seen:
                break
        seen.add(tuple(point.values()))
        yield point


def _draw(values: schema.SweptValues, rng: random.Random) -> int | float:
    if isinstance(values, list):
        return rng.randrange(len(values))
    if isinstance(values, schema.IntUniform):
        return rng.randint(*values.range)
    low, high = values.range
    if isinstance(values, schema.LogUniform):
        return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)
    return rng.uniform(low, high)


# --- trials ------------------------------------------------------------------------------------------------


def _at_sweep(tree: SpecTree) -> Place:
    return tree.root.entries["sweep"].key_place


def _nodes(tree: SpecTree, point: Point) -> dict[str, tuple[Place, Node]]:
    """Key → where it is written, and its value at a point."""
    over = locate(tree.root, ("sweep", "over")).node
    assert isinstance(over, MapNode), "the sweep section is valid"
    found: dict[str, tuple[Place, Node]] = {}
    for key, number in point.items():
        entry = over.entries[key]
        values = entry.value
        if isinstance(values, ListNode):
            found[key] = entry.key_place, values.items[int(number)]
        else:
            found[key] = entry.key_place, from_plain(number, values.place)
    return found


def _trial(tree: SpecTree, monitor: str, number: int, point: Point) -> Trial:
    root = replace(tree.root, entries={k: v for k, v in tree.root.entries.items() if k != "sweep"})
    nodes = _nodes(tree, point)
    problems: list[Problem] = []
    for key, (place, node) in nodes.items():
        for path in schema.swept_paths(key):
            try:
                root = put(root, path, node, place)
            except SpecError as error:
                problems += error.problems
    loaded = check_tree(replace(tree, root=root, problems=tuple(problems)))
    if monitor not in validated_columns(loaded.spec):
        columns = listing(validated_columns(loaded.spec), "and") or "no validated column"
        raise SpecError([_at_sweep(tree).problem(f"{monitor} is compared, and this has {columns}")])
    return Trial(number, {key: plain(node) for key, (_, node) in nodes.items()}, loaded)


def spec_key(spec: schema.ExperimentSpec) -> str:
    """A text that two specs have in common where they are the same, however they were written."""
    return spec.model_dump_json()


def _each_spec_once(tree: SpecTree, trials: Sequence[Trial]) -> tuple[tuple[Trial, ...], list[Problem]]:
    """The trials, numbered anew, without those whose spec another one has; and a warning of these."""
    different: dict[str, Trial] = {}
    same: list[tuple[Trial, Trial]] = []
    for trial in trials:
        key = spec_key(trial.loaded.spec)
        if key in different:
            same.append((different[key], trial))
        else:
            different[key] = replace(trial, number=len(different) + 1)
    if not same:
        return tuple(trials), []
    first, second = same[0]
    more = f" (and so on, {len(same)} times)" if len(same) > 1 else ""
    message = (
        f"{counted(len(trials), 'combination')} give {counted(len(different), 'different spec')}, each "
        f"trained once: {values_label(second.values)} is the same as {values_label(first.values)}{more}"
    )
    return tuple(different.values()), [_at_sweep(tree).problem(message, path="sweep", severity="warning")]


def _checked(
    tree: SpecTree, monitor: str, points: Sequence[Point], known: Sequence[Problem]
) -> tuple[list[Trial], list[Problem]]:
    """The trials that are valid, and what is wrong or doubtful in any, each problem once."""
    trials: list[Trial] = []
    found: dict[object, tuple[Problem, list[int]]] = {}
    for number, point in enumerate(points, start=1):
        try:
            trials.append(_trial(tree, monitor, number, point))
            problems = trials[-1].loaded.warnings
        except SpecError as error:
            problems = error.problems
        for problem in problems:
            if problem not in known:
                # What is written once is one problem, wherever an alias brings it.
                place = (problem.message, problem.file, problem.line, problem.column)
                _, numbers = found.setdefault(place, (problem, []))
                numbers += [number] if number not in numbers[-1:] else []
    return trials, in_file_order(
        problem
        if problem.path in points[0] or len(numbers) == len(points)
        else _of_trials(tree, problem, points, numbers)
        for problem, numbers in found.values()
    )


def _of_trials(tree: SpecTree, problem: Problem, points: Sequence[Point], numbers: Sequence[int]) -> Problem:
    """The problem with the trials that have it."""
    values = {key: plain(node) for key, (_, node) in _nodes(tree, points[numbers[0] - 1]).items()}
    more = f", and {counted(len(numbers) - 1, 'other trial')}" if len(numbers) > 1 else ""
    return replace(problem, message=f"{problem.message} (with {values_label(values)}{more})")


def _compared(
    tree: SpecTree, monitor: str, points: Sequence[Point], trials: Sequence[Trial]
) -> list[Problem]:
    """The keys whose values change what the monitored column measures."""

    def changed(place: int, key: str) -> schema.ExperimentSpec | None:
        """The first trial with one value of another."""
        try:
            found = _trial(tree, monitor, 1, {**points[0], key: points[place][key]})
        except SpecError:
            return None
        return found.loaded.spec

    places = {key: place for key, (place, _) in _nodes(tree, points[0]).items()}
    return [
        places.get(found.key, _at_sweep(tree)).problem(
            found.message, path=found.key, severity="warning" if found.is_chance else "error"
        )
        for found in incomparable_trials(
            monitor, [t.loaded.spec for t in trials], [t.values for t in trials], changed
        )
    ]
