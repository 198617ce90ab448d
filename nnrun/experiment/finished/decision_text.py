"""What a run's record tells of its calibrations and thresholds, for its closing screen and its page alike."""

from __future__ import annotations

from collections.abc import Mapping

from nnrun.records import RunRecord
from nnrun.records.run_record import DecisionRecord
from nnrun.spec import schema
from nnrun.spec.wording import listing, quoted, with_std


def given_decision(
    output: str | None, view: schema.ExperimentSpec, parent: str | None = None
) -> DecisionRecord:
    """What a run tells of a decision that it did not fit.

    Args:
        output: its name, where outputs have names.
        view: the spec with it, as the output sees it.
        parent: the id of the run that fitted it for other networks; None where the spec gives the values.
    """
    told = DecisionRecord(output=output, parent=parent)
    if (calibration := calibration_in_words(view)) is not None:
        told.method = calibration
    if view.threshold is not None and view.threshold.at is not None:
        told.threshold = view.threshold.at
    return told


def decisions_text(record: RunRecord) -> str:
    """All of a run's, and which of its scores they change; empty where it has none."""
    if not record.decisions:
        return ""
    sentences = [decision_text(told) for told in record.decisions]
    keys = {
        "the calibration": any(told.method is not None for told in record.decisions),
        "the threshold": any(told.threshold is not None for told in record.decisions),
    }
    if any(keys.values()):
        what = listing([key for key, there in keys.items() if there], "and")
        sentences.append(
            "Training and validation scores, and histories, are those of the network as trained"
            f"{', at a threshold of 0.5' if keys['the threshold'] else ''}; predictions, test scores and "
            f"exports use {what}."
        )
    return "\n".join(sentences)


def decision_text(told: DecisionRecord) -> str:
    """What was fitted for one output, on which rows, and what it is worth, as sentences."""
    of = "" if told.output is None else f"{quoted(told.output)}: "
    if told.reason is not None:
        return f"{of}{told.reason}"
    if told.rows is None:
        return f"{of}{_given(told)}"
    parts = [] if told.method is None else [f"calibration ({told.method})"]
    if told.threshold is not None:
        why = "given" if told.maximizes is None else f"maximizes {told.maximizes}"
        parts.append(f"threshold {told.threshold:.4g} ({why})")
    rows = f"{told.rows:,} {'out-of-fold' if told.out_of_fold else 'validation'} predictions"
    text = f"{of}{listing(parts, 'and').capitalize()}, fitted on {rows}. {_worth(told)}."
    return " ".join([text, *_of_no_use(told)])


def _of_no_use(told: DecisionRecord) -> list[str]:
    """A sentence for what is not better on rows that did not fit it."""
    sentences = []
    before, after = told.log_loss.get("before"), told.log_loss.get("after")
    if before is not None and after is not None and after >= before:
        sentences.append("The calibration does not lower the log loss on other rows: leave calibrate out.")
    before, after = told.score.get("before"), told.score.get("after")
    if before is not None and after is not None and after <= before and told.threshold != schema.HALF:
        sentences.append(
            f"The threshold does not raise {told.maximizes} on other rows: leave threshold out, for 0.5."
        )
    return sentences


def _worth(told: DecisionRecord) -> str:
    """`Each fold by what the other folds fit: log loss 0.6132 before, 0.4821 after; ...`."""
    scores = {"log loss": told.log_loss, "calibration error": told.calibration_error}
    bins = f" ({told.bins} bins of equal width)"
    parts = [f"{name} {_change(of)}{bins if name != 'log loss' else ''}" for name, of in scores.items() if of]
    if told.maximizes is not None:
        same = with_std(told.score.get("same_rows"))
        chose = f"{same} on the rows that chose the threshold, which is optimistic"
        parts.append(f"{told.maximizes} {_change(told.score)} ({chose})")
    return f"{_how(told)}: {'; '.join(parts)}"


def _given(told: DecisionRecord) -> str:
    """What another run fitted, or the spec gives."""
    parts = [] if told.method is None else [f"calibration ({told.method})"]
    parts += [] if told.threshold is None else [f"threshold ({told.threshold:.4g})"]
    text = listing(parts, "and").capitalize()
    if told.parent is None:
        return f"{text}: given by the spec."
    return f"{text}: taken from {told.parent}, which fitted on rows that its networks had not seen."


def _how(told: DecisionRecord) -> str:
    """How `after` was measured."""
    if told.parts is None:
        return "Too few rows to cross-fit"
    if told.out_of_fold:
        return "Each fold by what the other folds fit"
    return f"Cross-fitted, each of {told.parts} parts of the rows by what the others fit"


def _change(scores: Mapping[str, float | None]) -> str:
    """`0.6132 before, 0.4821 after`; the first alone where nothing could be cross-fitted."""
    before, after = scores.get("before"), scores.get("after")
    if after is None:
        return f"{with_std(before)} before"
    return f"{with_std(before)} before, {with_std(after)} after"


def decision_in_words(view: schema.ExperimentSpec) -> str:
    """`probabilities are calibrated (temperature 1.83); the second class is predicted above 0.312`."""
    parts = []
    if (calibration := calibration_in_words(view)) is not None:
        parts.append(f"probabilities are calibrated ({calibration})")
    if view.threshold is not None and view.threshold.at is not None:
        parts.append(f"the second class is predicted above {view.threshold.at:.4g}")
    return "; ".join(parts)


def calibration_in_words(view: schema.ExperimentSpec) -> str | None:
    """The calibration of an output; None where there is none whose parameters are known."""
    method = view.calibrate
    return None if method is None or not method.is_fitted else method_in_words(method)


def method_in_words(method: schema.CalibrationMethod) -> str:
    """`temperature 1.83`, `platt, slope 0.5, intercept -0.12`, `isotonic, 12 points`."""
    values = {name: getattr(method, name) for name in type(method).model_fields}
    numbers = {name: value for name, value in values.items() if isinstance(value, float)}
    points = [len(value) for value in values.values() if isinstance(value, list)]
    if points:
        return f"{method.kind}, {points[0]} points"
    if list(numbers) == [method.kind]:
        return f"{method.kind} {numbers[method.kind]:.4g}"
    return f"{method.kind}, {listing([f'{name} {value:.4g}' for name, value in numbers.items()], 'and')}"
