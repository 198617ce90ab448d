"""Labels that are likely wrong, by out-of-fold probabilities; numbers that are far from what is predicted.

Letters in names: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.table import CategoryColumn
from nnrun.experiment.checking.finding import Finding
from nnrun.experiment.checking.label_noise import doubts_of
from nnrun.experiment.checking.quick_models import (
    MOST_ROWS,
    best_numbers,
    best_probabilities,
    features_of,
    sample_of,
)
from nnrun.experiment.checking.rows import CheckedRows, CheckedTarget
from nnrun.spec.wording import counted, quoted

_SHOWN: Final = 20
_FEWEST_OF_A_CLASS: Final = 5
_FEWEST_ROWS: Final = 50
_NAMED: Final = 5
_FAR: Final = 10.0  # robust standard deviations
_MOST_FAR: Final = 0.02  # of the values: more are a long tail of the target, no slips


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What models that did not train on them say of some training rows.

    Attributes:
        rows: (n,) numbers of the rows.
        outputs: (n, K) probabilities of the classes, or (n, 1) numbers.
        by: who says so, as the end of `by ...`.
    """

    rows: npt.NDArray[np.int64]
    outputs: npt.NDArray[np.float64]
    by: str


@dataclass(frozen=True, eq=False)
class CheckedLabels:
    """What was found of one target.

    Attributes:
        findings: at most one.
        doubted: each doubted row as a document, the most doubtful first, also where that is no finding.
    """

    findings: tuple[Finding, ...] = ()
    doubted: tuple[dict[str, Any], ...] = ()


def check_labels(
    rows: CheckedRows, target: CheckedTarget, say: Callable[[str], None], known: HeldOut | None = None
) -> CheckedLabels:
    """Labels that are likely wrong; of numbers those that are far from what is predicted.

    Args:
        rows: the rows; only training rows are looked at.
        target: one of their targets.
        say: is told what was left out, where a sample was taken, and what is doubtful and no finding.
        known: what a finished run says; by default a quick model is asked.
    """
    found = _quick(rows, target, say) if known is None else known
    if found is None:
        return CheckedLabels()
    if target.classes:
        return _wrong_labels(rows, target, found, say)
    return _far_numbers(rows, target, found, say)


def _quick(rows: CheckedRows, target: CheckedTarget, say: Callable[[str], None]) -> HeldOut | None:
    known = np.flatnonzero(target.present[: rows.n_train])
    if len(known) > MOST_ROWS:
        say(
            f"Labels: of {len(known):,} training rows {MOST_ROWS:,} were drawn for the quick model; those "
            "of a finished k-fold run cover all: `nnrun data check RUN`."
        )
        known = sample_of(known)
    if target.classes:
        counts = np.bincount(target.labels[known])
        enough = counts[target.labels[known]] >= _FEWEST_OF_A_CLASS
        if not enough.all():
            few = int(((counts > 0) & (counts < _FEWEST_OF_A_CLASS)).sum())
            say(
                f"Labels: {counted(int((~enough).sum()), 'row')} of {few:,} "
                f"{'class' if few == 1 else 'classes'} with fewer than {_FEWEST_OF_A_CLASS} rows were left "
                "out."
            )
        known = known[enough]
        if len(np.unique(target.labels[known])) < 2:
            return None
    if len(known) < _FEWEST_ROWS:
        say(
            f"Labels: not looked at, since {counted(len(known), 'row')} are too few; {_FEWEST_ROWS} are "
            "needed."
        )
        return None
    features = features_of(rows.inputs, known)
    if not features.shape[1]:
        return None
    if target.classes:
        classes, labels = np.unique(target.labels[known], return_inverse=True)
        probabilities = np.zeros((len(known), len(_names(target))))
        probabilities[:, classes], by = best_probabilities(features, labels.reshape(-1))
        return HeldOut(known, probabilities, by)
    numbers, by = best_numbers(features, target.numbers[known])
    return HeldOut(known, numbers[:, None], by)


def _wrong_labels(
    rows: CheckedRows, target: CheckedTarget, found: HeldOut, say: Callable[[str], None]
) -> CheckedLabels:
    labels, n = target.labels[found.rows], len(found.rows)
    if len(np.unique(labels)) < 2:
        return CheckedLabels()
    doubts = doubts_of(labels, found.outputs)
    if not len(doubts.all):
        return CheckedLabels()
    each = _doubted(rows, target, found, labels, doubts.all)
    if doubts.why_not:
        some = ", ".join(str(one["place"]) for one in each[:_NAMED]) + (", ..." if len(each) > _NAMED else "")
        say(
            f"Labels of {quoted(target.name)}: {len(each):,} of {n:,} {'is' if len(each) == 1 else 'are'} "
            f"doubtful ({some}) by {found.by}, but most of them may be right: {doubts.why_not}."
        )
        return CheckedLabels((), each)
    clear = _doubted(rows, target, found, labels, doubts.clear)
    left = len(each) - len(clear)
    more = f" {left:,} more are doubtful, where it is less sure; --json lists them." if left else ""
    finding = Finding(
        "likely_wrong_labels",
        "warning",
        f"{len(clear):,} of {n:,} labels of {quoted(target.name)} ({len(clear) / n:.1%}) are likely wrong, "
        f"by confident learning on the out-of-fold probabilities of {found.by}. Of the rows that it is "
        f"surest of, {doubts.noise:.1%} have another label; where classes only overlap, hardly any "
        f"would.{more}",
        "Look at these rows, the least probable label first, and correct those that are wrong. Right labels "
        "of unusual rows are among them.",
        _lines(clear, _wrong_line),
        {
            "target": target.name,
            "rows": n,
            "method": "confident_learning",
            "by": found.by,
            "noise": doubts.noise,
            "accuracy": float((found.outputs.argmax(axis=1) == labels).mean()),
            "labels": clear,
        },
    )
    return CheckedLabels((finding,), each)


def _doubted(
    rows: CheckedRows,
    target: CheckedTarget,
    found: HeldOut,
    labels: npt.NDArray[np.int64],
    wrong: npt.NDArray[np.int64],
) -> tuple[dict[str, Any], ...]:
    """The doubtful rows, each with its label and the one that is suggested."""
    names, each = _names(target), []
    for place in wrong.tolist():
        row, of_classes = int(found.rows[place]), found.outputs[place]
        given, suggested = int(labels[place]), int(of_classes.argmax())
        each.append(
            {
                **rows.row_document(row),
                "place": rows.place(row),
                "given": names[given],
                "probability_of_given": float(of_classes[given]),
                "suggested": names[suggested],
                "probability": float(of_classes[suggested]),
            }
        )
    return tuple(each)


def _wrong_line(one: dict[str, Any]) -> str:
    return (
        f"{one['place']}: {quoted(one['given'])} ({one['probability_of_given']:.2f}), more likely "
        f"{quoted(one['suggested'])} ({one['probability']:.2f})"
    )


def _far_numbers(
    rows: CheckedRows, target: CheckedTarget, found: HeldOut, say: Callable[[str], None]
) -> CheckedLabels:
    truth, said = target.numbers[found.rows], found.outputs[:, 0]
    left = truth - said
    middle = float(np.median(left))
    spread = 1.4826 * float(np.median(np.abs(left - middle)))
    far = (left - middle) / spread if spread else np.zeros(len(left))
    places = np.flatnonzero(np.abs(far) > _FAR)
    places = places[np.argsort(-np.abs(far[places]), kind="stable")]
    if not len(places):
        return CheckedLabels()
    if len(places) > _MOST_FAR * len(truth):
        say(
            f"{quoted(target.name)}: {len(places):,} of {counted(len(truth), 'value')} lie more than "
            f"{_FAR:.0f} robust standard deviations from what {found.by} predicts. So many are no slips: the "
            "target has long tails (`preprocessing: {targets: log1p}` shortens them where it is positive)."
        )
        return CheckedLabels()
    each = tuple(
        {
            **rows.row_document(int(found.rows[place])),
            "place": rows.place(int(found.rows[place])),
            "given": float(truth[place]),
            "predicted": float(said[place]),
            "deviations": float(far[place]),
        }
        for place in places.tolist()
    )
    lie = "lies" if len(each) == 1 else "lie"
    finding = Finding(
        "far_from_predicted",
        "note",
        f"{len(each):,} of {counted(len(truth), 'value')} of {quoted(target.name)} {lie} more than "
        f"{_FAR:.0f} robust standard deviations ({spread:.5g} each) from the out-of-fold prediction of "
        f"{found.by}.",
        "Look at these rows for slips of the pen and of units. They may be right; then `loss: huber` or "
        "`mae` gives them less weight.",
        _lines(each, _far_line),
        {"target": target.name, "rows": len(truth), "by": found.by, "deviation": spread, "values": each},
    )
    return CheckedLabels((finding,), each)


def _far_line(one: dict[str, Any]) -> str:
    return (
        f"{one['place']}: {one['given']:.5g}, predicted {one['predicted']:.5g} "
        f"({one['deviations']:+.4g} deviations)"
    )


def _lines(each: Sequence[dict[str, Any]], line: Callable[[dict[str, Any]], str]) -> tuple[str, ...]:
    """The first rows, one a line, and how many are left."""
    left = [f"... and {len(each) - _SHOWN:,} more; --json lists all"] if len(each) > _SHOWN else []
    return (*map(line, each[:_SHOWN]), *left)


def _names(target: CheckedTarget) -> tuple[str, ...]:
    assert isinstance(target.column, CategoryColumn), "classes have names"
    return target.column.levels
