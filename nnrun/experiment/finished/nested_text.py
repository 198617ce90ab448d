"""What the record of nested cross-validation shows: a table, a row for each outer fold, sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nnrun.spec.score_columns import INNER
from nnrun.spec.wording import counted, listing, with_std
from nnrun.spec.writing.value_labels import key_labels, value_label

if TYPE_CHECKING:
    from nnrun.records import RunRecord
    from nnrun.records.run_record import NestedRecord

INNER_PART_TEXT = (
    "These are the inner folds of nested cross-validation: they choose within each outer fold. What they "
    "chose is trained and scored in the run that comes from this one."
)


_ON_ALL_ROWS = (
    "For the model itself, choose once more on all rows, by the same command without --nested, and then type "
    "nnrun final RUN."
)
_AVERAGE = (
    "For the model itself, repeat the command without --nested and --members, on all rows, and then type "
    "nnrun final RUN --members folds."
)
_AVERAGE_OF_BEST = (
    "For the model itself, train the best of all trials, which stands below, by nnrun kfold, and then type "
    "nnrun final RUN --members folds."
)
_OF_ALL_TRIALS = "For the model itself, take the best of all trials, which stands below."


def nested_heading(nested: NestedRecord) -> str:
    """`5 outer folds, each scored at the epoch chosen within it (mean ± std over outer folds)`."""
    several = " (mean ± std over outer folds)" if len(nested.folds) > 1 else ""
    which = (
        counted(len(nested.folds), "outer fold")
        if len(nested.folds) == nested.k
        else f"outer fold {listing([str(fold.fold) for fold in nested.folds], 'and')} of {nested.k}"
    )
    if nested.members is not None:
        of = " of the trial chosen within it" if _is_swept(nested) else ""
        return f"{which}, each scored by the average of its {nested.inner_folds} inner networks{of}{several}"
    what = "epoch" if nested.folds and nested.folds[0].trial is None else "trial and epoch"
    return f"{which}, each scored with the {what} chosen within it{several}"


def nested_columns(
    nested: NestedRecord, record: RunRecord | None = None
) -> tuple[list[str], dict[str, Mapping[str, str]]]:
    """The measures, and heading → measure → text.

    Args:
        nested: what is known.
        record: of the outer run, where one run has all outer folds: it knows training scores and baselines.
    """
    names = [name.removeprefix("val_") for name in nested.inner]
    columns: dict[str, Mapping[str, str]] = {
        "outer": {
            n: with_std(nested.scores.get(f"val_{n}"), nested.scores_std.get(f"val_{n}")) for n in names
        },
        "inner" if _is_chosen_elsewhere(nested) else "inner, chosen on": {
            n: with_std(nested.inner.get(f"val_{n}"), nested.inner_std.get(f"val_{n}")) for n in names
        },
    }
    if record is not None:
        training = {n: with_std(record.last.get(n), record.last_std.get(n)) for n in names}
        columns = {"training": training, **columns}
        columns["baseline"] = {n: with_std(record.baseline.get(n)) for n in names}
    return names, {heading: cells for heading, cells in columns.items() if any(cells.values())}


def nested_rows(nested: NestedRecord) -> list[list[str]]:
    """What was chosen within each outer fold and how it scores: a row for each, headings first."""
    rows = [["outer fold", *(str(fold.fold) for fold in nested.folds)]]
    if any(fold.trial is not None for fold in nested.folds):
        rows.append(["trial", *(str(fold.trial) for fold in nested.folds)])
        keys = list(nested.folds[0].values)
        labels = key_labels(keys)
        rows += [[labels[key], *(value_label(fold.values.get(key)) for fold in nested.folds)] for key in keys]
    if nested.members is None:  # else all were trained to their end
        rows.append(["epoch", *(str(fold.epoch) for fold in nested.folds)])
    if nested.chosen_by in nested.inner:
        chosen_by = str(nested.chosen_by)
        rows.append([f"inner {chosen_by}", *(with_std(fold.inner.get(chosen_by)) for fold in nested.folds)])
    if all(fold.scores for fold in nested.folds):
        names = nested.folds[0].scores if nested.folds else ()
        rows += [[name, *(with_std(fold.scores.get(name)) for fold in nested.folds)] for name in names]
    return rows


def _is_chosen_elsewhere(nested: NestedRecord) -> bool:
    """Whether inner rows of the training rows chose, and not the validation rows of the inner folds."""
    return nested.chosen_by is not None and nested.chosen_by.startswith(INNER)


def nested_text(nested: NestedRecord, *, has_best: bool = False) -> str:
    """Of what the scores of the outer folds are, and of what those of the inner ones.

    Args:
        nested: what is known.
        has_best: whether a sweep tells its best trial on all rows as well.
    """
    swept = _is_swept(nested)
    what = "the trial and its epoch" if swept else "the epoch"
    how = f"{nested.inner_folds} inner folds" if nested.inner_folds > 1 else "an inner holdout"
    inner = "the score of what was chosen, on the rows that chose it: optimistic, although its networks "
    if _is_chosen_elsewhere(nested):
        inner = "the score of what was chosen, on rows that had no say in it; its networks "
    if nested.members is not None:
        return _text_of_members(nested, how, swept=swept, has_best=has_best)
    return (
        "Outer: rows that no choice has seen. Their score is that of the procedure, not of one network: "
        f"choose {what} by {nested.chosen_by} of {how}, then train on all rows that there are. "
        f"Inner: {inner}"
        f"trained on fewer rows. {_OF_ALL_TRIALS if has_best else _ON_ALL_ROWS}"
    )


def _text_of_members(nested: NestedRecord, how: str, *, swept: bool, has_best: bool) -> str:
    choose = f"choose the trial by {nested.chosen_by} of {how}, then " if swept else ""
    inner = "optimistic, for they chose it" if not _is_chosen_elsewhere(nested) else "which had no say in it"
    without = ""
    if nested.without_linear_member:
        without = "These scores leave out the linear models that linear_member averages into the networks. "
    return (
        "Outer: rows that no network and no choice has seen. Their score is that of the procedure: "
        f"{choose}average the networks of {how}, with the weights that each kept. "
        f"{without}Inner: what each network scores on its own validation rows at the best epoch, {inner}. "
        f"{_AVERAGE_OF_BEST if has_best else _AVERAGE}"
    )


def _is_swept(nested: NestedRecord) -> bool:
    return any(fold.trial is not None for fold in nested.folds)


def choices_text(nested: NestedRecord, tried: str) -> str:
    """How often which values were chosen; empty where nothing is swept. `tried`: of how many trials."""
    folds = [fold for fold in nested.folds if fold.trial is not None]
    if not folds:
        return ""
    keys = list(folds[0].values)
    labels = key_labels(keys)
    told = [f"{labels[key]} {_counts([value_label(fold.values.get(key)) for fold in folds])}" for key in keys]
    return f"Chosen of {tried}: {'; '.join(told)}."


def _counts(values: Sequence[str]) -> str:
    """`32 in 4 folds, 64 in 1`: the most frequent first."""
    (first, times), *rest = Counter(values).most_common()
    others = [f"{value} in {number}" for value, number in rest]
    return ", ".join([f"{first} in {counted(times, 'fold')}", *others])


def by_rows_text(interval: tuple[float, float] | Sequence[float], std: float | None, n: int) -> str:
    """Where an interval is wider than Student's over n folds, of whom it is: of all rows together."""
    from nnrun.validation.summary import interval_of_mean  # it brings NumPy

    if std is None or n < 2:
        return ""
    low, high = interval_of_mean(0.0, std, n)
    wider = interval[1] - interval[0] > (high - low) * (1 + 1e-9)
    return " (Wilson's, of all rows together: wider than that over folds)" if wider else ""


def nested_interval_text(nested: NestedRecord) -> str:
    """The confidence intervals of the means over outer folds."""
    stds, n = nested.scores_std, len(nested.folds)
    shown = [
        f"{name} {low:.4g} to {high:.4g}{by_rows_text((low, high), stds.get(name), n)}"
        for name, (low, high) in nested.interval.items()
    ]
    return f"95 % interval of the mean over outer folds: {', '.join(shown)}." if shown else ""
