"""What a run's record says of its scores: for its closing screen and for its page alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from nnrun.experiment.finished.advice import are_level, are_noise
from nnrun.experiment.finished.ensemble_text import (
    ensemble_columns,
    ensemble_heading,
    ensemble_members,
    scores_are_of_average,
)
from nnrun.experiment.finished.nested_text import (
    INNER_PART_TEXT,
    by_rows_text,
    nested_columns,
    nested_heading,
    nested_interval_text,
    nested_rows,
    nested_text,
)
from nnrun.experiment.finished.used_weights import recorded_weights
from nnrun.records import OUT_OF_FOLD, SHUFFLED, RunRecord, measures
from nnrun.records.run_record import CoverageRecord, DrownedLoss, LinearBaselineRecord, NearPerfect, RowCounts
from nnrun.spec import schema
from nnrun.spec.ports import loss_weights
from nnrun.spec.score_columns import INNER
from nnrun.spec.wording import listing, quoted, with_std

SMOKE_TEXT: Final = "This was a smoke run: its numbers are meaningless."


def rows_in_words(rows: RowCounts, between: str, training: str = "training rows") -> str:
    """`75 to 225 training rows, 74 or 75 validation rows`: the range where folds differ.

    Inner rows, which decide when training stops, stand between the two.

    Args:
        rows: what a record has of them; there are training rows.
        between: what stands between the two.
        training: what training rows are called where validation rows follow.
    """
    parts = {"train": rows.train, "inner": rows.inner, "validation": rows.validation}
    numbers = {part: range_in_words(rows.ranges.get(part) or [n]) for part, n in parts.items() if n}
    if list(numbers) == ["train"]:
        return f"{numbers['train']} training rows"
    words = {"train": training, "inner": "inner rows", "validation": "validation rows"}
    *others, last = [f"{text} {words[part]}" for part, text in numbers.items()]
    return f"{', '.join(others)}{between}{last}"


def range_in_words(numbers: Sequence[int]) -> str:
    """`712 or 713` of two neighbours, `75 to 225` of others, `75` of one."""
    joint = " or " if len(numbers) == 2 and numbers[1] - numbers[0] == 1 else " to "
    return joint.join(f"{number:,}" for number in numbers)


def taken_over_headline(record: RunRecord) -> str:
    """`one model, the average of 5 folds' networks; 404 training rows each`: no epochs, for none trained."""
    done = "" if record.status == "completed" else f"{record.status}; "
    rows = f"; {rows_in_words(record.rows, ', ')} each" if record.rows.train else ""
    return f"{done}one model, {ensemble_heading(record)}{rows}"


@dataclass(frozen=True)
class ScoreTable:
    """Loss and metrics, as far as the record has them.

    Attributes:
        heading: of which epoch, and what the deviations are over.
        names: the measures, a row each.
        columns: heading (`training`, `validation`, `kept weights`, `test`, `baseline`, `linear`) → measure →
            text; none is all empty.
    """

    heading: str
    names: Sequence[str]
    columns: Mapping[str, Mapping[str, str]]

    def rows(self, label: Callable[[str], str] = lambda name: name) -> list[list[str]]:
        """The headings, then a row for each measure, its name as `label` has it."""
        body = [[label(name), *(cells[name] for cells in self.columns.values())] for name in self.names]
        return [["", *self.columns], *body]


def best_epoch_text(record: RunRecord) -> str:
    """`best epoch 53 by val_mae, smoothed over 16 epochs`: which, of what, and how it was found."""
    by, over = record.chosen_by, record.smoothed_over
    text = f"best epoch {record.best_epoch}" + (f" by {by}" if by else "")
    if over is None:
        return text
    return text + (f", smoothed over {over} epochs" if over > 1 else ", smoothed")


def chosen_on(record: RunRecord) -> str:
    """`chosen on these validation rows`, which are scored too; or on inner rows, which are not."""
    if not (record.chosen_by or "").startswith(INNER):
        return "chosen on these validation rows"
    return "chosen on inner rows" + (", not on these validation rows" if record.rows.validation else "")


KEPT: Final = "kept weights"
"""The heading of what the kept weights of several networks score, each at its own epoch."""


def score_table(record: RunRecord, *, last_epoch: bool = False) -> ScoreTable | None:
    """The scores at the best epoch, else at the last; None where there are none.

    Args:
        record: the run's record.
        last_epoch: at the last in any case.
    """
    if record.has_outer_scores and record.nested is not None:
        of = record if record.is_nested else None  # the networks of inner folds trained on other rows
        names, columns = nested_columns(record.nested, of)
        return ScoreTable(nested_heading(record.nested), names, columns) if names else None
    if record.ensemble is not None:
        names, columns = ensemble_columns(record, record.ensemble)
        heading = ensemble_heading(record)
        if any("each" in column for column in columns):
            heading += f"; each: mean ± std over these {record.member_type}s"
        return ScoreTable(heading, names, columns) if names else None
    at_best = bool(record.best) and not (last_epoch and record.last)
    scores, std = (record.best, record.best_std) if at_best else (record.last, record.last_std)
    names = [name for name in measures(scores) if name in scores] or list(record.test)
    if not names:
        return None
    of_inner = record.rows.inner > 0
    columns = {
        "training": {name: with_std(scores.get(name), std.get(name)) for name in names},
        "inner": {n: with_std(scores.get(INNER + n), std.get(INNER + n)) if of_inner else "" for n in names},
        "validation": {name: with_std(scores.get(f"val_{name}"), std.get(f"val_{name}")) for name in names},
        KEPT: {n: _kept(record, f"val_{n}") if at_best and record.kept_apart else "" for n in names},
        "test": {name: with_std(record.test.get(name), record.test_std.get(name)) for name in names},
        "baseline": {name: with_std(record.baseline.get(name)) for name in names},
        "linear": {name: with_std(linear_scores(record).get(name)) for name in names},
    }
    # The test was of these weights, best epoch or not.
    measured = record.test_epoch or record.weights_epoch  # of several networks each has its own
    last = record.epochs_run if record.last_epoch is None else record.last_epoch
    shown_epoch = record.best_epoch if at_best else last
    if measured not in (None, shown_epoch):
        columns = {f"test, epoch {measured}" if h == "test" else h: c for h, c in columns.items()}
    shown = {heading: cells for heading, cells in columns.items() if any(cells.values())}
    heading = f"{best_epoch_text(record)}, {chosen_on(record)}" if at_best else f"epoch {shown_epoch}"
    heading += ", the last" if last_epoch and not at_best else ""
    heading += f" (mean ± std over {_trained_of_all(record)})" if std else ""
    return ScoreTable(heading, names, shown)


def kept_text(record: RunRecord) -> str:
    """What the columns `validation` and `kept weights` are of; empty where there is one of them only."""
    if not record.kept_apart:
        return ""
    kind, used = record.member_type, recorded_weights(record)
    assert used is not None, "what they score is recorded"
    whose = (
        f"of epoch {used.epoch}, which" if used.epoch is not None else f"of each {kind}'s own epoch, which"
    )
    text = (
        f"{quoted('validation')} is of epoch {record.best_epoch} for every {kind}; {quoted(KEPT)} is "
        f"{whose} was kept and predicts"
    )
    if record.status == "completed" and record.sweep is None and record.without_out_of_fold is None:
        before = ", before calibration and threshold" if record.decisions else ""
        as_sklearn = " as scikit-learn's cross_val_score does" if kind == "fold" else ""
        text += f": the mean over {OUT_OF_FOLD}, each {kind} scored by itself{as_sklearn}{before}"
    text += "."
    if used.chosen_apart:
        chosen = f"Each {kind}'s epoch was chosen on the very rows that score it"
        text += f" {chosen}, so {quoted(KEPT)} is optimistic."
    return text


def _kept(record: RunRecord, column: str) -> str:
    return with_std(record.kept.get(column), record.kept_std.get(column))


def _trained_of_all(record: RunRecord) -> str:
    """`folds`, or `4 of 5 folds` where some were not trained."""
    ids, missing = record.member_ids, _not_trained(record)
    left = f"{len(ids) - len(missing)} of {len(ids)} " if missing else ""
    return f"{left}{record.member_type}s"


def _not_trained(record: RunRecord) -> list[int]:
    return [member_id for member_id in record.member_ids if member_id in record.not_trained]


def unfinished_text(record: RunRecord) -> str:
    """Which folds or seeds of a run that ended early were not trained, or were cut off before the others."""
    member_type, ids = record.member_type, record.member_ids
    if member_type is None:
        return ""
    missing, sentences = _not_trained(record), []
    trained = [member_id for member_id in ids if member_id not in missing]
    if missing and trained:
        were = "was" if len(missing) == 1 else "were"
        left = f"{len(trained)} of {len(ids)} {member_type}s"
        left = left if len(trained) > 1 else f"{member_type} {trained[0]} only"
        sentences.append(f"{_named(member_type, missing)} {were} not trained: the scores are of {left}.")
    for epochs, behind in _behind(record).items():
        sentences.append(f"{_named(member_type, behind)} reached epoch {epochs} only.")
    return "\n".join(sentences)


def time_limit_text(record: RunRecord) -> str:
    """That a time limit ended training, after which epochs; empty where it did not."""
    if record.stopped_by_time_at is None:
        return ""
    ended: dict[int, list[int]] = {}
    for member in record.members:
        if member.stopped_by_time and member.id is not None:
            ended.setdefault(member.stopped_by_time, []).append(member.id)
    where = f"after epoch {record.stopped_by_time_at} of {record.epochs}"
    if record.member_type is not None and (
        len(ended) > 1 or sum(map(len, ended.values())) < len(record.members)
    ):
        kind = record.member_type
        where = ", ".join(
            f"{kind}{'s' if len(ids) > 1 else ''} {listing([str(n) for n in ids], 'and')} after epoch {epoch}"
            for epoch, ids in ended.items()
        )
    return (
        f"The time limit of {record.time_limit} ended training {where}. How far it comes depends on the "
        "machine and on what else it does."
    )


def _behind(record: RunRecord) -> dict[int, list[int]]:
    """The epoch at which folds or seeds were cut off before the others ended → their ids."""
    behind: dict[int, list[int]] = {}
    for member in record.members if record.status != "completed" else ():
        epochs, member_id = member.epochs, member.id
        if epochs is None or member_id is None or member.stopped_early:
            continue
        if epochs < record.epochs_run:
            behind.setdefault(epochs, []).append(member_id)
    return behind


def _named(member_type: str, ids: Sequence[int]) -> str:
    """`Fold 2`, `Folds 1, 2 and 3`."""
    return f"{member_type.capitalize()}{'s' if len(ids) > 1 else ''} {listing([str(n) for n in ids], 'and')}"


def member_rows(record: RunRecord, *, last_epoch: bool = False) -> list[list[str]]:
    """What each fold or seed scored where `score_table` has their mean: a row for each measure.

    Empty for one network. The first row are headings: the ids of the folds or seeds.
    """
    if record.has_outer_scores and record.nested is not None:
        return nested_rows(record.nested)
    if record.ensemble is not None:
        return ensemble_members(record)
    ids, scores = _scores_of_members(record, last_epoch=last_epoch)
    rows = [[f"each {record.member_type}", *ids]]
    rows += [[name, *(with_std(of) for of in values)] for name, values in scores.items()]
    return rows if scores else []


def spread_rows(record: RunRecord) -> list[list[str]]:
    """Between which values the scores of many folds or seeds lie, where `member_rows` has each of them.

    Empty of nested and averaged networks, and where a score is missing.
    """
    if (record.has_outer_scores and record.nested is not None) or record.ensemble is not None:
        return []
    ids, scores = _scores_of_members(record)
    rows = [[f"{len(ids)} {record.member_type}s", "lowest", "median", "highest"]]
    for name, values in scores.items():
        known = [(value, id_) for value, id_ in zip(values, ids, strict=True) if value is not None]
        if len(known) < len(ids) or not all(math.isfinite(value) for value, _ in known):
            return []
        ordered = sorted(value for value, _ in known)
        ends = {}
        for end in (ordered[0], ordered[-1]):
            at = [id_ for value, id_ in known if value == end]
            ends[end] = with_std(end) + (f" ({record.member_type} {at[0]})" if len(at) == 1 else "")
        rows.append([name, ends[ordered[0]], with_std(median(ordered)), ends[ordered[-1]]])
    return rows if scores else []


def _scores_of_members(
    record: RunRecord, *, last_epoch: bool = False
) -> tuple[list[str], dict[str, list[float | None]]]:
    """The ids of folds or seeds, and measure → the score of each; none where there are not several."""
    members, member_type = record.members, record.member_type
    if len(members) < 2 or member_type is None:
        return [], {}
    at_best = bool(record.best) and not last_epoch
    scores = [member.best if at_best else member.last for member in members]
    # None while only their weights are known.
    names = [name for name in scores[0] if name.startswith("val_")] or list(scores[0])
    ids = [member.member.removeprefix(f"{member_type}-") for member in members]
    return ids, {name: [of.get(name) for of in scores] for name in names}


def interval_text(record: RunRecord) -> str:
    """The confidence intervals of the means over folds or seeds."""
    if record.has_outer_scores and record.nested is not None:
        return nested_interval_text(record.nested)
    if record.ensemble is not None:
        return ""  # its score is one, of all rows
    shown = [
        f"{name} {low:.4g} to {high:.4g}"
        + by_rows_text((low, high), record.best_std.get(name), len(record.members))
        for name, (low, high) in record.best_interval.items()
        if name.startswith("val_")
    ]
    at = f" at epoch {record.best_epoch}" if record.kept_apart else ""
    return f"95 % interval of the mean{at}: {', '.join(shown)}." if shown else ""


def coverage_text(coverage: Sequence[CoverageRecord]) -> str:
    """What intervals and sets cover of the test rows, a line for each output."""
    lines = []
    for found in coverage:
        of, what = "" if found.output is None else f"{found.output}: ", "sets of classes"
        size = "" if found.classes is None else f", {found.classes:.2f} classes on average"
        if found.width is not None:
            what, size = "intervals", f", {found.width:.4g} wide on average"
        text = (
            f"{of}{100 * found.level:g} % {what} cover {found.covered:,} of {found.rows:,} test rows: "
            f"{100 * found.share:.1f} % (95 % interval {100 * found.low:.1f} to {100 * found.high:.1f} %, "
            f"Clopper-Pearson){size}."
        )
        if found.high < found.level:
            text += " That is less than promised: these rows are not like those that the intervals come from."
        lines.append(text)
    return "\n".join(lines)


def procedure_text(record: RunRecord) -> str:
    """Of what the scores of a run of nested cross-validation are; empty for any other run."""
    if record.nested is None:
        return ""
    return nested_text(record.nested) if record.has_outer_scores else INNER_PART_TEXT


def baseline_text(record: RunRecord) -> str:
    """What the baseline is, in words."""
    if record.has_outer_scores and not record.is_nested:
        return ""  # it is of the inner folds' rows, and stands beside no score of theirs
    if not record.baseline and record.baseline_on is not None:
        return "No baseline: a constant prediction cannot be scored for sequences of classes."
    if not record.baseline:
        return ""
    rows = "outer" if record.is_nested else record.baseline_on
    text = f"Baseline: the best constant for each score, on the {rows} rows"
    shuffled = record.baseline.get(SHUFFLED)
    if shuffled is not None:
        text += f"; shuffled labels would score {shuffled:.2f}"
    below = [n for n, value in record.baseline.items() if f"_{n}".endswith("_r2") and (value or 0) < -5e-5]
    if below:  # one expects 0, which the mean of the very rows would score
        text += (
            f". {listing(below, 'and')} is below 0: the constant is the training rows' mean, not these rows'"
        )
    linear = linear_text(record.linear_baseline)
    return f"{text}.\n{linear}" if linear else f"{text}."


def linear_scores(record: RunRecord) -> Mapping[str, float | None]:
    """Measure → score of the linear model; empty where there is none."""
    return {} if record.linear_baseline is None else record.linear_baseline.scores


def linear_text(found: LinearBaselineRecord | None) -> str:
    """What the linear model is, or why there is none; empty where none was asked for."""
    if found is None:
        return ""
    if found.left_out is not None:
        return f"No linear model beside it: {found.left_out}."
    return f"Linear: {found.model}, fitted to the same rows."


def caution_text(record: RunRecord) -> str:
    """What to know before the scores, as sentences; empty where there is nothing."""
    several, averaged = len(record.member_ids) > 1, scores_are_of_average(record)
    epoch = record.best_epoch if record.kept_apart else None
    sentences = (
        no_better_text(record.not_better_than_baseline, several=several, averaged=averaged, epoch=epoch),
        no_better_than_linear_text(
            record.linear_baseline,
            record.not_better_than_linear,
            record.not_better_than_baseline,
            several=several,
            averaged=averaged,
            epoch=epoch,
            noise=are_noise(record, record.not_better_than_linear),
            loss=_own_loss(record),
        ),
        record.advice or "",
        near_perfect_text(record.near_perfect),
        drowned_text(record.drowned),
    )
    return "\n".join(text for text in sentences if text)


def _own_loss(record: RunRecord) -> float | None:
    """The loss on the rows that the baselines are of."""
    if record.baseline_on == "test":
        return record.test.get("loss")
    if record.baseline_on != "validation":
        return None
    own = record.ensemble.validation.get("loss") if record.ensemble is not None else None
    return (record.best or record.last).get("val_loss") if record.ensemble is None else own


def no_better_text(
    worse: Mapping[str, Sequence[float]],
    *,
    several: bool,
    averaged: bool = False,
    than: str = "the best constant",
    short: str = "baseline",
    epoch: int | None = None,
) -> str:
    """That a baseline does as well; empty where the networks beat it.

    Args:
        worse: measure → its value, and the baseline's.
        several: whether values are means over networks.
        averaged: whether they are of one model, the average of several networks; out of fold they are not.
        than: what the baseline is.
        short: the same in a word, as it heads a column of scores.
        epoch: of which the values are, where scores of others stand beside them.
    """
    if not worse:
        return ""
    who = "On average the networks do" if several else "The network does"
    who = "The average of the networks does" if averaged else who
    pairs = [f"{name} {with_std(value)} ({short} {with_std(best)})" for name, (value, best) in worse.items()]
    at = "" if epoch is None else f" at epoch {epoch}"
    return f"{who} not beat {than}{at}: {', '.join(pairs)}."


def no_better_than_linear_text(
    linear: LinearBaselineRecord | None,
    worse: Mapping[str, Sequence[float]],
    told: Mapping[str, object],
    *,
    several: bool,
    averaged: bool,
    noise: bool = False,
    epoch: int | None = None,
    loss: float | None = None,
) -> str:
    """That a linear model does as well; without the scores `told` before, which a constant reaches.

    With `noise`, that the difference is one that other folds or seeds could turn around. Of scores that are
    the same, that these are level, and which has the lower `loss`, that of the networks.
    """
    if linear is None or linear.model is None:
        return ""
    left = {name: both for name, both in worse.items() if name not in told}
    text = no_better_text(
        left, several=several, averaged=averaged, than=linear.model, short="linear", epoch=epoch
    )
    if left and are_level(worse):
        text = text.replace("does not beat", "is level with").replace("do not beat", "are level with")
        other = linear.scores.get("loss")
        if loss is None or other is None or loss >= other:
            return text
        return f"{text.rstrip('.')}; in loss it is better, {with_std(loss)} (linear {with_std(other)})."
    return f"{text.rstrip('.')}; by less than one standard error of the mean." if text and noise else text


def near_perfect_text(found: NearPerfect | None) -> str:
    """That a score is close to perfect, and which column to look at."""
    if found is None:
        return ""
    return (
        f"{found.score} {with_std(found.value)} is close to perfect. The input that predicts the target best "
        f"by itself is {quoted(found.column)} ({found.score} {with_std(found.alone)} alone): if it is a copy "
        "of the target, leave it out."
    )


_DROWNS: Final = 100


def drowned_loss(spec: schema.ExperimentSpec, rows: Iterable[Mapping[str, float]]) -> DrownedLoss | None:
    """The smallest and the largest weighted loss, where the one is more than 100 times the other; else None.

    A loss that is negative, zero or not finite is not compared, nor one with a weight of 0, which only
    watches.

    Args:
        spec: of several outputs.
        rows: of each network the columns of one epoch.
    """
    rows = list(rows)
    sizes = {
        name: weight * sum(row[f"{name}_loss"] for row in rows) / len(rows)
        for name, weight in loss_weights(spec).items()
        if spec.outputs and rows
    }
    sizes = {name: size for name, size in sizes.items() if size > 0 and math.isfinite(size)}
    if not sizes:
        return None
    small, large = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[large] <= _DROWNS * sizes[small]:
        return None
    output = spec.outputs[large]
    plain = output.preprocessing is None or isinstance(output.preprocessing, schema.NoTargetStep)
    return DrownedLoss(
        output=small,
        loss=sizes[small],
        by=large,
        by_loss=sizes[large],
        loss_weight=output.loss_weight * sizes[small] / sizes[large],
        standardize=plain and schema.takes_standardized(output.loss),
    )


def drowned_text(found: DrownedLoss | None) -> str:
    """What was found, the rule, and what to write; empty where no loss is drowned."""
    if found is None:
        return ""
    step = "preprocessing: standardize, or " if found.standardize else ""
    return (
        f"In the first epoch the weighted loss of {quoted(found.by)} was {found.by_loss:.4g}, that of "
        f"{quoted(found.output)} {found.loss:.4g}: one that is more than {_DROWNS} times another drowns it, "
        f"and {quoted(found.output)} is hardly learned. Write {step}loss_weight: {found.loss_weight:.1g} "
        f"into the output {quoted(found.by)}."
    )
