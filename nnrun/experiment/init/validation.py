"""How to validate and test: by what the columns say (a split, a time, a group), else by how many rows there
are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.files.read_table import ReadTable
from nnrun.data.inference.dates import iso_texts
from nnrun.data.table import CategoryColumn, Column, NumberColumn
from nnrun.experiment.init import names
from nnrun.experiment.init.leaks import codes_of
from nnrun.experiment.init.roles import Roles, SplitMark, rises_evenly
from nnrun.experiment.init.sizes import FOLDS, HELD_BACK, TEST_ROWS, Sizes
from nnrun.experiment.init.writing import comments, remarked
from nnrun.spec.wording import counted, quoted
from nnrun.spec.writing.dump import flow

_PARTS_OF_A_SERIES: Final = 4
FOR_FINAL: Final = "only for `nnrun final`, once everything is decided"


@dataclass(frozen=True)
class Split:
    """How the rows of a file are split.

    Attributes:
        test: the value of `dataset.test`, or None.
        why_test: the remark next to it, or why there is none.
        validation: the value of `validation`.
        why: the remark next to it.
        group: the value of `dataset.group`, or None.
        reserved: columns that this takes, which are not inputs.
        said: for a screen.
    """

    test: Mapping[str, Any] | None
    why_test: str
    validation: Mapping[str, Any]
    why: str
    group: str | None = None
    reserved: tuple[str, ...] = ()
    said: Mapping[str, str] = field(default_factory=dict)

    def stratified_by(self, output: str) -> Split:
        """The same, where there are several outputs and the classes of this one are spread evenly."""

        def named(keys: Mapping[str, Any]) -> dict[str, Any]:
            return {key: output if key == "stratify" else value for key, value in keys.items()}

        validation = {kind: named(keys) for kind, keys in self.validation.items()}
        return replace(self, test=None if self.test is None else named(self.test), validation=validation)

    def test_lines(self, own: str = "") -> list[str]:
        """The key `test` of the data set, or why there is none. `own` says where data have a test set."""
        if own:
            return [f"    # {own}: `nnrun final` uses it, and counts the uses"]
        if self.test is None:
            return comments(f"test: {self.why_test}", "    ")
        return remarked(f"    test: {flow(dict(self.test))}", self.why_test, "    ")

    def validation_lines(self) -> list[str]:
        """The key `validation`, its remark where none stands beside the group already."""
        return remarked(f"validation: {flow(dict(self.validation))}", "" if self.group else self.why, "")


def mark_to_use(roles: Roles) -> SplitMark | None:
    """The column whose marks of rows are followed: words before folds."""
    marks = [mark for mark in roles.splits.values() if mark.sure]
    told = [mark for mark in marks if mark.test is not None or mark.validation is not None]
    return next(iter(told or marks), None)


def series_column(file: ReadTable, roles: Roles, targets: Sequence[str]) -> str | None:
    """The column that orders the rows in time: dates, or a number called time or year that rises evenly."""
    for name in file.columns:
        able = name in roles.dates and name not in targets and not file.columns[name].missing
        if able and "birth" not in names.folded(name):
            return name
    for name, inferred in file.columns.items():
        if name not in targets and names.names_time(name) and rises_evenly(inferred):
            return name
    return None


def split_by_mark(mark: SplitMark, sizes: Sizes) -> Split:
    """As a column says."""
    test = None if mark.test is None else {"column": mark.name, "value": mark.test}
    marks = f"{quoted(mark.name)} marks these rows"
    if mark.folds is not None:
        validation: Mapping[str, Any] = {"kfold": {"k": mark.folds, "group": mark.name}}
        said = f"{mark.folds} folds, taken from {quoted(mark.name)}"
        why = f"{quoted(mark.name)} numbers the folds"
    elif mark.validation is not None:
        validation = {"holdout": {"column": mark.name, "value": mark.validation}}
        said = f"the rows with {quoted(str(mark.validation))} in {quoted(mark.name)}"
        why = marks
    else:
        usual = usual_split(sizes)
        validation, why, said = usual.validation, usual.why, usual.said["validation"]
    told = "none" if test is None else f"the rows with {quoted(str(mark.test))} in {quoted(mark.name)}"
    why_test = f"{marks}; {FOR_FINAL}" if test else _no_test(sizes)
    return Split(test, why_test, validation, why, None, (mark.name,), {"test set": told, "validation": said})


def split_by_time(name: str, file: ReadTable, target: str, sizes: Sizes) -> Split | None:
    """Later rows validate what was learned from earlier ones; None where the earliest lack some class."""
    k = min(_PARTS_OF_A_SERIES, max(2, sizes.rows // 5))
    ranks, present = time_ranks(file.columns[name].column), ~file.columns[target].column.missing
    if sizes.classes:
        labels, n_classes = codes_of(file.columns[target].column, present)
        first = labels[np.argsort(ranks[present], kind="stable")][: sizes.rows // (k + 1)]
        if len(np.unique(first)) < n_classes:
            return None
    validation = {"time_series": {"k": k, "column": name}}
    why = f"each fold validates on rows later than those it trains on, ordered by {quoted(name)}"
    test, why_test, told = None, _no_test(sizes), "none"
    if sizes.rows > TEST_ROWS and (np.diff(ranks[present]) >= 0).all():
        test, told = {"fraction": HELD_BACK, "shuffle": False}, "the last 20 %"
        why_test = f"the last rows, {FOR_FINAL}"
    said = {"test set": told, "validation": f"{k} folds in the order of {quoted(name)}"}
    return Split(test, why_test, validation, why, said=said)


def time_ranks(column: Column) -> npt.NDArray[np.int64]:
    """(N,) the place of each row's time among the different times."""
    if isinstance(column, NumberColumn):
        return np.asarray(np.unique(column.values, return_inverse=True)[1], np.int64)
    assert isinstance(column, CategoryColumn), "times are numbers or dates"
    places = np.unique(np.array(iso_texts(column.levels)), return_inverse=True)[1]
    return np.asarray(places[column.codes], np.int64)


def split_by_group(group: str, file: ReadTable, target: str, sizes: Sizes) -> Split | None:
    """Rows of one person or thing are on one side of every split; None where some class has too few of
    them."""
    n_groups = file.columns[group].distinct or 0
    k = min(FOLDS, n_groups)
    if sizes.classes:
        present = ~file.columns[target].column.missing
        groups, _ = codes_of(file.columns[group].column, present)
        labels, n_classes = codes_of(file.columns[target].column, present)
        fewest = min(len(np.unique(groups[labels == label])) for label in range(n_classes))
        k = min(k, fewest)
        if k < 2:
            return None
    stratify = {"stratify": True} if sizes.classes else {}
    validation = {"kfold": {"k": k, "shuffle": True, **stratify}}
    why = f"no {quoted(group)} is split between folds: the score is for ones that the network has not seen"
    test, why_test, told = None, _no_test(sizes), "none"
    if sizes.holds_back and not sizes.classes and n_groups >= 2 * FOLDS:
        test, why_test = {"fraction": HELD_BACK}, f"whole groups, {FOR_FINAL}"
        told = f"{HELD_BACK:.0%} of the groups"
    elif sizes.rows > TEST_ROWS:
        why_test = "none, since there are few groups and the folds use all of them"
    said = {"test set": told, "validation": f"{k} folds of whole groups by {quoted(group)}"}
    return Split(test, why_test, validation, why, group, said=said)


def usual_split(sizes: Sizes) -> Split:
    """Folds of a small file, one validation set of a large one; stratified where there are classes."""
    stratify = {"stratify": True} if sizes.classes else {}
    if sizes.own_test:
        test, why_test, told = None, "", "its own"
    elif sizes.holds_back:
        test, why_test = {"fraction": HELD_BACK, **stratify}, FOR_FINAL
        told = f"{sizes.rows - sizes.train_rows:,} rows"
    else:
        test, why_test, told = None, _no_test(sizes), "none"
    validation: Mapping[str, Any] = {"holdout": {"fraction": HELD_BACK, **stratify}}
    why, said = "", f"{HELD_BACK:.0%} of the training rows"
    if sizes.folds is not None:
        validation = {"kfold": {"k": sizes.folds, "shuffle": True, **stratify}}
        why, said = "each row is validated once", f"{sizes.folds} folds"
        if sizes.folds < sizes.wanted_folds:
            why += f" (in {sizes.wanted_folds} folds, the rarest class could not be in each of them)"
        if sizes.measured:
            why += (
                f"; `nnrun final @last --members folds`: the mean of the {sizes.folds} networks is the model"
            )
    return Split(test, why_test, validation, why, said={"test set": told, "validation": said})


def _no_test(sizes: Sizes) -> str:
    if sizes.rows <= TEST_ROWS:
        return f"none, since {counted(sizes.rows, 'row')} are few and the folds use all of them"
    if sizes.classes and sizes.rarest < 3:
        return f"none, since the rarest class has {counted(sizes.rarest, 'row')}"
    if sizes.classes and not sizes.holds_back:
        return f"none, since it could not hold all {len(sizes.classes):,} classes"
    return "none: hold some rows back with `test: {fraction: 0.2}` before the final run"
