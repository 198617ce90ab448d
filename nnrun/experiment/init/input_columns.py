"""Which columns of a file to learn from: all but those that say nothing, or that are the target itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from nnrun.data.files.read_table import ReadTable
from nnrun.data.inference.column_types import ColumnInference
from nnrun.errors import DataError
from nnrun.experiment.init import names
from nnrun.experiment.init.leaks import copies_among, leak_of
from nnrun.experiment.init.roles import Roles, roles_of
from nnrun.experiment.init.target import TaskName
from nnrun.spec.wording import counted, quoted

_NEARLY_EMPTY: Final = 0.95
_FEWEST_VALUES: Final = 4
_MIXED: Final = ("mixed", "spelling")


@dataclass(frozen=True)
class Inputs:
    """What was decided about the columns other than the target.

    Attributes:
        names: to learn from, in the file's order.
        left_out: column → why, as the end of a sentence that begins with it.
        giveaways: column → how it tells the target: copies of it.
        suspects: column → how it tells the target, where that may be a good measurement: they are inputs.
        copies: column → an input that it says the same as.
        mixed: input that is read as a category → what tells that it may have been meant as numbers, as the
            end of a sentence that begins with it.
        kept_giveaways: the giveaways are among `names` after all, since nothing else was left.
        tells: giveaway or suspect → the target that it tells.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str]
    giveaways: Mapping[str, str]
    suspects: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    mixed: Mapping[str, str] = field(default_factory=dict)
    kept_giveaways: bool = False
    tells: Mapping[str, str] = field(default_factory=dict)


def choose_inputs(
    file: ReadTable,
    targets: Mapping[str, TaskName],
    roles: Roles | None = None,
    reserved: Sequence[str] = (),
) -> Inputs:
    """The columns to learn from.

    Left out are columns of one value, numbers with texts among them, columns that count or name the rows,
    ids of persons and things, marks of test rows, texts that nearly all differ, and columns that are nearly
    empty; and copies of the target, which are mostly the target under another name.

    Args:
        file: with the columns.
        targets: what is predicted, as classes or as numbers.
        roles: of the columns, if they are known.
        reserved: columns that the test set or the validation takes.

    Raises:
        DataError: no column is left.
    """
    roles = roles_of(file) if roles is None else roles
    others = {
        name: inferred
        for name, inferred in file.columns.items()
        if name not in targets and name not in reserved
    }
    group = group_of(file, roles, tuple(targets))
    left_out: dict[str, str] = {}
    giveaways: dict[str, str] = {}
    suspects: dict[str, str] = {}
    tells: dict[str, str] = {}
    for name, inferred in others.items():
        why = _why_useless(name, inferred, file.n_rows, roles, group)
        if why is not None:
            left_out[name] = why
            continue
        for target, task in targets.items():
            leak = leak_of(inferred.column, file.columns[target].column, task == "classification")
            if leak is not None and not (name in roles.times and not leak.copy):
                into = giveaways if leak.copy and not names.names_time(name) else suspects
                into.setdefault(name, leak.how)
                tells.setdefault(name, target)
    kept = tuple(name for name in others if name not in left_out and name not in giveaways)
    if kept:
        mixed = {name: why for name in kept if (why := _mixed(others[name]))}
        return Inputs(kept, left_out, giveaways, suspects, copies_among(file, kept), mixed, tells=tells)
    if giveaways:
        return Inputs(tuple(giveaways), left_out, giveaways, suspects, kept_giveaways=True, tells=tells)
    counting = [name for name in left_out if name in roles.rows | roles.members and name != group]
    if counting:
        rest = {name: why for name, why in left_out.items() if name not in counting}
        return Inputs(tuple(counting), rest, {})
    told = "; ".join(f"{quoted(name)} {why}" for name, why in list(left_out.items())[:4])
    raise DataError(
        f"{file.name}: no column is left to learn {quoted(next(iter(targets)))} from"
        f"{': ' + told if told else ', which is its only column'}."
    )


def group_of(file: ReadTable, roles: Roles, targets: Sequence[str]) -> str | None:
    """The id whose rows belong together: of several the one with the most values, which is the finest."""
    able = [name for name in roles.members if name not in targets]
    return max(able, key=lambda name: (file.columns[name].distinct or 0, name), default=None)


def _mixed(inferred: ColumnInference) -> str | None:
    """What tells that a category may have been meant as numbers."""
    return next((warning.text for warning in inferred.warnings if warning.kind in _MIXED), None)


def _why_useless(
    name: str, inferred: ColumnInference, n_rows: int, roles: Roles, group: str | None
) -> str | None:
    if inferred.constant:
        return next(warning.text for warning in inferred.warnings if warning.kind == "constant")
    if inferred.wrong is not None:
        wrong = inferred.wrong
        return (
            f"has numbers in {wrong.numbers:,} of {wrong.of:,} values, but {quoted(wrong.value)} is not "
            "one; correct the file, or declare it a category in `types`"
        )
    if inferred.infinite is not None:
        texts = ", ".join(inferred.infinite.texts)
        return (
            f"holds an infinite number in {counted(inferred.infinite.rows, 'row')}; to keep it, treat that "
            f"as missing (`missing: [{texts}]`)"
        )
    if name in roles.rows:
        return "numbers or names the rows, and carries no information about them"
    if name in roles.splits:
        return "marks parts of the rows (training, test, folds)"
    if name in roles.members:
        same = "" if name == group else f", like {quoted(str(group))}"
        return f"is an id with {inferred.distinct:,} values, each in several rows{same}"
    if (no_dates := next((w.text for w in inferred.warnings if w.kind == "dates"), None)) is not None:
        return no_dates
    present = n_rows - inferred.missing
    if inferred.missing > _NEARLY_EMPTY * n_rows or (inferred.missing and present < _FEWEST_VALUES):
        return f"has a value in only {counted(present, 'row')}"
    if any(warning.kind == "names" for warning in inferred.warnings):
        return f"has {inferred.distinct:,} different values in {present:,} rows, too many to learn from"
    return None
