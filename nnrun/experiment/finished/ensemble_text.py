"""What the record of an ensemble (networks that, averaged, are one model) shows: a table and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nnrun.spec.wording import with_std

if TYPE_CHECKING:
    from nnrun.records import RunRecord
    from nnrun.records.run_record import EnsembleRecord, LinearMemberRecord


def ensemble_columns(
    record: RunRecord, ensemble: EnsembleRecord
) -> tuple[list[str], dict[str, Mapping[str, str]]]:
    """The measures, and heading → measure → text: of the model, and on the test set also of each member.

    Training scores are of the members: the average was never measured on rows that it is trained on.
    """
    names = list(ensemble.validation) or list(record.test)
    names = names or [name for name in record.last if not name.startswith("val_")]
    shared = (
        {}
        if ensemble.validation
        else {n: with_std(record.last.get(n), record.last_std.get(n)) for n in names}
    )
    linear = {} if record.linear_baseline is None else record.linear_baseline.scores
    alone = {} if ensemble.linear_member is None else ensemble.linear_member.networks_alone
    columns: dict[str, Mapping[str, str]] = {
        "training, each": shared,
        _validation_heading(record, ensemble): {n: with_std(ensemble.validation.get(n)) for n in names},
        "networks alone": {n: with_std(alone.get(n)) for n in names},
        _test_heading(record): {n: with_std(record.test.get(n)) for n in names},
        "test, each": {n: with_std(ensemble.test_mean.get(n), ensemble.test_std.get(n)) for n in names},
        "baseline": {n: with_std(record.baseline.get(n)) for n in names},
        "linear": {n: with_std(linear.get(n)) for n in names},
    }
    return names, {heading: cells for heading, cells in columns.items() if any(cells.values())}


def ensemble_heading(record: RunRecord) -> str:
    """`the average of 5 folds' networks`."""
    return f"the average of {len(record.member_ids)} {record.member_type}s' networks"


def scores_are_of_average(record: RunRecord) -> bool:
    """Whether all networks of an ensemble predicted each of the rows that its baseline is of.

    On the test set they did. Out of fold the scores are those of single networks, or of fewer.
    """
    ensemble = record.ensemble
    return ensemble is not None and (record.baseline_on != "validation" or ensemble.combination == "ensemble")


def _validation_heading(record: RunRecord, ensemble: EnsembleRecord) -> str:
    """`out of fold`; `as trained` where test scores are not, since these rows fitted the calibration."""
    heading = "validation" if ensemble.combination == "ensemble" else "out of fold"
    return f"{heading}, as trained" if _decided(record) else heading


def _test_heading(record: RunRecord) -> str:
    """`test`; with the epochs of the weights that were tested, where the run kept others; `calibrated`."""
    heading = f"test, {_decided(record)}" if _decided(record) else "test"
    other = {m.test_epoch for m in record.members if m.test_epoch not in (None, m.weights_epoch)}
    if not other:
        return heading
    return f"{heading}, epoch {other.pop()}" if len(other) == 1 else f"{heading}, best epochs"


def _decided(record: RunRecord) -> str:
    """How test scores differ from those of the networks as trained; empty where they do not."""
    if any(told.method is not None for told in record.decisions):
        return "calibrated"
    return "own threshold" if any(told.threshold is not None for told in record.decisions) else ""


def ensemble_members(record: RunRecord) -> list[list[str]]:
    """What each member alone scores on the test set: a row for each measure, headings first; or empty."""
    members, member_type = record.members, record.member_type
    if len(members) < 2 or not all(member.test for member in members):
        return []
    headings = [f"each {member_type}", *(str(member.id) for member in members)]
    return [
        headings,
        *([f"test_{name}", *(with_std(m.test.get(name)) for m in members)] for name in record.test),
    ]


def ensemble_text(record: RunRecord) -> str:
    """What the validation score of an ensemble is, and whether it is optimistic; before it what linear
    models count; empty where it has no score."""
    ensemble = record.ensemble
    if ensemble is None or not ensemble.validation:
        return ""
    rows = f"{ensemble.rows:,} rows" if ensemble.rows else "the rows"
    text = validation_text(
        str(ensemble.combination), record.member_type, rows, optimistic=ensemble.optimistic
    )
    linear = ensemble.linear_member
    return text if linear is None else f"{linear_member_text(linear)} {text}"


def linear_member_text(linear: LinearMemberRecord) -> str:
    """What the linear models count that are averaged into the networks, or why there are none: a sentence."""
    if linear.model is None:
        return f"No linear model is averaged into the networks: {linear.left_out}."
    low, high = min(linear.shares), max(linear.shares)
    counts = f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
    return (
        f"Each network is averaged with {linear.model} regression, which counts {counts} and the network the "
        "rest, by what the rows of the other folds say."
    )


def validation_text(combination: str, kind: str | None, rows: str, *, optimistic: bool) -> str:
    """What the scores of several networks on validation rows are, which did not all train on the same rows.

    Args:
        combination: how these rows were predicted, as `EnsembleRecord` has it.
        kind: what the networks are: `fold` or `seed`.
        rows: which these are: `404 rows`.
        optimistic: whether epochs were chosen on them.
    """
    if combination == "ensemble":
        text = f"Validation: the average, on {rows} that none of its networks trained on."
        caution = "The epochs of its networks were chosen on these rows, so the scores are optimistic."
    else:
        one = combination == "out_of_fold"
        by = f"the network of its own {kind}, which" if one else "the mean of the networks that"
        of = "one network" if one else "an average of fewer networks"
        text = (
            f"Out of fold: each of {rows} is predicted by {by} did not train on it. This is the quality of "
            f"{of}. The average of all is usually better: rows that none of them trained on would show it."
        )
        caution = f"Each {kind}'s epoch was chosen on the rows that score it, so these scores are optimistic."
    return f"{text} {caution}" if optimistic else text
