"""Intervals of predicted numbers and sets of predicted classes: conformal prediction of a run's networks.

How wrong they are is measured on the rows that they did not train on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnrun.data.dataset import Array, Flags
from nnrun.errors import UsageError
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.open_run import OpenRun, open_run
from nnrun.experiment.predicting.out_of_fold import OutOfFold, predict_out_of_fold, refuse_unfinished
from nnrun.experiment.predicting.output_decoder import OutputDecoder
from nnrun.experiment.running.listener import SILENT
from nnrun.records import MemberType, RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port, output_views
from nnrun.spec.wording import listing, quoted
from nnrun.validation.conformal import (
    Places,
    adaptive_scores,
    class_sets,
    cv_plus_guarantee,
    intervals,
    rank_of,
    rows_needed,
)

_REFUSED = {
    "labels": "labels, each with a probability of its own",
    "steps": "a class for each step",
    "sequence": "sequences of classes",
}


@dataclass(frozen=True, eq=False)
class Calibration:
    """How wrong the networks of a run are by one output, on n rows that they did not train on.

    Attributes:
        decoder: what the output means.
        level: the share of rows to cover.
        scores: (n, K) the absolute residual of each number, in the target's own units; for classes (n, 1) the
            score of the true class, see `adaptive_scores`.
        group: (n,) the group of networks that predicted the row.
        networks: (G, M) which of the M networks each group has: on average they predict its rows.
    """

    decoder: OutputDecoder
    level: float
    scores: Array
    group: Places
    networks: Flags

    def regions(self, outputs_MNK: Array) -> Array:
        """Of N rows the lower ends of the numbers' intervals and the upper ends, (N, 2 K); or (N, C) which
        classes their sets contain.

        Args:
            outputs_MNK: what each network gives for them, numbers in the target's own units.
        """
        means_GNK = np.stack([_both(outputs_MNK[own].mean(axis=0), self.decoder) for own in self.networks])
        if self.decoder.kind != "numbers":
            return class_sets(means_GNK, self.scores[:, 0], self.group, self.level)
        return np.concatenate(intervals(means_GNK, self.scores, self.group, self.level), axis=1)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A run's calibration.

    Attributes:
        level: the share of rows to cover.
        of_outputs: of each output that predicts numbers or classes.
        rows: how many rows it comes from, of the output with the fewest.
        folds: how many networks were validated on rows of their own; 1 where all were on the same rows.
        kind: what these networks are; None for a run of one.
        repeated: whether some rows were validated more than once, by networks of several splits.
        in_time: whether the rows are in the order of time, so that later ones may be different.
        chosen: what these rows decided of the networks, as ends of a sentence: their errors are too small.
        left_out: the outputs without an interval.
    """

    level: float
    of_outputs: Mapping[Port, Calibration]
    rows: int
    folds: int
    kind: MemberType | None
    repeated: bool
    in_time: bool
    chosen: tuple[str, ...]
    left_out: tuple[Port, ...] = ()

    def at(self, level: float, run_id: str) -> Calibrated:
        """The same for another share of rows.

        Raises:
            UsageError: it is no such share, or these rows are too few for it.
        """
        refuse_level(level)
        if rank_of(level, self.rows) > self.rows:
            raise UsageError(
                f"--interval {level:g} needs {rows_needed(level):,} validation rows or more, and "
                f"{run_id} has {self.rows:,}. Ask for a lower level, or validate more rows (k-fold validates "
                "all)."
            )
        of_outputs = {port: replace(own, level=level) for port, own in self.of_outputs.items()}
        return replace(self, level=level, of_outputs=of_outputs)

    @property
    def method(self) -> str:
        """What the intervals are, in the field's terms."""
        kinds = {calibration.decoder.kind == "numbers" for calibration in self.of_outputs.values()}
        by = "split conformal prediction" if self.folds == 1 else "CV+"
        names = {True: "intervals", False: "adaptive prediction sets (APS without random numbers)"}
        return f"{' and '.join(names[numbers] for numbers in sorted(kinds, reverse=True))} by {by}"

    @property
    def _proven(self) -> str:
        """What theorem 4 of Barber et al. guarantees of CV+ with folds of equal size."""
        share = cv_plus_guarantee(self.level, self.rows, self.folds)
        return f"{100 * share:.1f} %"

    def as_document(self) -> dict[str, Any]:
        """As `--json` has it."""
        return {
            "level": self.level,
            "method": self.method,
            "rows": self.rows,
            "left_out": list(self.left_out),
            "optimistic": bool(self.chosen),
            "text": ". ".join(self.sentences),
        }

    @property
    def sentences(self) -> list[str]:
        """What is promised, and on what condition."""
        percent = f"{100 * self.level:g} %"
        rows = f"{self.rows:,} validation rows"
        if self.folds > 1:
            rows += f" of {self.folds} {self.kind}s"
        if self.in_time or self.repeated:
            why = "these rows are in the order of time" if self.in_time else "folds were drawn more than once"
            promise = f"about {percent} of new rows are covered, though nothing is proven, since {why}"
        elif self.chosen:
            promise = f"about {percent} of new rows are covered, if they are like these (exchangeable)"
        elif self.folds == 1:
            promise = f"at least {percent} of new rows are covered, if they are like these (exchangeable)"
        else:
            promise = (
                f"about {percent} of new rows are covered in practice, and at least {self._proven} by proof, "
                "if they are like these (exchangeable)"
            )
        found = [f"{self.method}, from {rows}: {promise}"]
        if self.chosen:
            found.append(
                f"these rows also {listing(self.chosen, 'and')}, so their errors are somewhat too small: "
                "nothing is proven, and fewer new rows may be covered"
            )
        if self.left_out:
            found.append(f"without an interval: {listing([quoted(port) for port in self.left_out], 'and')}")
        return found


def refuse_level(level: float) -> None:
    """Raise UsageError unless it is a share of rows, of half of them or more.

    Below that, the ends of CV+'s intervals, which are quantiles of different numbers, may change places.
    """
    if not 0.5 <= level < 1:
        instead = f", such as {level / 100:g}" if 1 < level < 100 else ", such as 0.9"
        raise UsageError(
            f"--interval {level:g}: it is the share of rows to cover, from 0.5 and below 1{instead}."
        )


def refuse_rows_of_calibration(split: str) -> None:
    """Raise UsageError unless these rows of a data set are its test rows."""
    if split != "test":
        why = "trained the networks" if split == "train" else "are those that the intervals come from"
        raise UsageError(
            f"--interval is for new rows and for --split test: {split} rows {why}, so the share of them that "
            "is covered would say nothing."
        )


def calibrate_run(run: RunDirectory, access: Access, level: float) -> Calibrated:
    """`calibrate` of a run that is not open yet, whose listener is told."""
    refuse_level(level)
    # What is to be known of the run itself is told by who predicts with it.
    made = calibrate(open_run(run, replace(access, listener=SILENT)), level)
    for sentence in made.sentences:
        access.listener.message(sentence)
    return made


def calibrate(opened: OpenRun, level: float, *, tell: bool = False) -> Calibrated:
    """Measure a run's networks on the rows that they did not train on.

    Args:
        opened: the run.
        level: the share of rows to cover.
        tell: whether its listener is told what is promised.

    Raises:
        UsageError: there are no such rows, or too few for this level; or nothing that has an interval.
        DataError: outputs are not finite numbers.
    """
    refuse_level(level)
    if isinstance(opened.spec.validation, schema.NoValidation):
        raise UsageError(_of_all_rows(opened, level))
    refuse_unfinished(opened.run)
    found = predict_out_of_fold(opened)
    suitable = {port: decoder for port, decoder in found.decoders.items() if _has_interval(decoder)}
    if not suitable:
        what = listing(list(dict.fromkeys(map(_refused, found.decoders.values()))), "and")
        raise UsageError(
            f"--interval is for single numbers and for classes by their probabilities; {opened.run.id} "
            f"predicts {what}."
        )
    of_outputs = {port: _calibration(found, port, level) for port in suitable}
    networks = next(iter(of_outputs.values())).networks
    made = Calibrated(
        level,
        of_outputs,
        min(len(each.scores) for each in of_outputs.values()),
        1 if len(networks) == 1 else len(opened.networks),
        opened.member_type,
        len(networks) > 1 and (opened.member_type == "seed" or bool((networks.sum(axis=1) > 1).any())),
        isinstance(opened.spec.validation, schema.TimeSeries),
        _chosen_by_rows(found),
        tuple(port for port in found.decoders if port not in suitable),
    ).at(level, opened.run.id)
    for sentence in made.sentences if tell else ():
        opened.access.listener.message(sentence)
    return made


def _calibration(found: OutOfFold, port: Port, level: float) -> Calibration:
    """That of one output, from the rows that have its target."""
    decoder, present = found.decoders[port], found.present.get(port)
    kept = slice(None) if present is None else present
    rows, starts = np.unique(found.rows[kept], return_index=True)
    ids = [0 if network.member is None else network.member.id for network in found.opened.networks]
    place = np.searchsorted(ids, found.members[kept])
    asked = np.zeros((len(rows), len(ids)), bool)
    asked[np.searchsorted(rows, found.rows[kept]), place] = True
    networks, group = np.unique(asked, axis=0, return_inverse=True)
    sums = np.add.reduceat(found.outputs[port][kept], starts, axis=0)
    means = _both(sums / asked.sum(axis=1, keepdims=True), decoder)
    targets = found.targets[port][kept][starts]
    if decoder.kind == "numbers":
        scores = np.abs(targets.reshape(len(rows), -1).astype(np.float64) - means)
    else:
        true = decoder.class_numbers(targets)
        scores = np.take_along_axis(adaptive_scores(means), true[:, None], axis=1)
    return Calibration(decoder, level, scores, group.reshape(-1), networks)


def _both(outputs_NK: Array, decoder: OutputDecoder) -> Array:
    """The probability of each class, where only that of the second is given."""
    return np.concatenate([1 - outputs_NK, outputs_NK], axis=1) if decoder.kind == "binary" else outputs_NK


def _of_all_rows(opened: OpenRun, level: float) -> str:
    """Why a run that was trained on all training rows has no intervals, and which run has."""
    text = (
        f"--interval: {opened.run.id} was trained on all training rows, and nothing says how wrong it is on "
        "others: the errors of folds are those of other networks. "
    )
    parent = opened.run.read_record().parent
    if parent is None:
        return f"{text}Train the spec with k-fold (nnrun kfold SPEC), and ask that run."
    validated = opened.run.sibling(parent).word
    return (
        f"{text}Ask the run that was validated (nnrun predict {validated} INPUT --interval {level:g}); or, "
        f"if that is of folds, make these the model (nnrun final {validated} --members folds)."
    )


def _chosen_by_rows(found: OutOfFold) -> tuple[str, ...]:
    """What the rows that intervals come from decided of the networks."""
    decided = []
    if found.chosen_on_these_rows:
        decided.append("chose the epochs of the weights (early_stopping: {on: inner} leaves that to others)")
    views, told = output_views(found.opened.spec), found.opened.run.read_record().decisions
    fitted_here = any(of.rows and of.method is not None and "calibrate" not in of.given for of in told)
    if fitted_here and any(
        view.calibrate is not None and view.calibrate.is_fitted for view in views.values()
    ):
        decided.append("fitted the calibration of the probabilities")
    return tuple(decided)


def _has_interval(decoder: OutputDecoder) -> bool:
    if decoder.kind == "numbers":
        return not decoder.of_one
    return decoder.kind in ("binary", "class") and decoder.has_probabilities


def _refused(decoder: OutputDecoder) -> str:
    """What an output without an interval predicts."""
    if decoder.of_one:
        return f"quantiles ({', '.join(map(str, decoder.classes))}), which are intervals already"
    return _REFUSED.get(decoder.kind, "classes by scores, which are no probabilities")
