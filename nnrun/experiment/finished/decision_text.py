"""What a run's record tells of its calibrations and thresholds, for its closing screen and its page alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from nnrun.records import RunRecord
from nnrun.records.run_record import DecisionRecord
from nnrun.spec import schema
from nnrun.spec.wording import listing, quoted, with_std


def given_decision(
    output: str | None,
    view: schema.ExperimentSpec,
    parent: str | None = None,
    open_: schema.ExperimentSpec | None = None,
) -> DecisionRecord:
    """What a run tells of a decision that it did not fit.

    Args:
        output: its name, where outputs have names.
        view: the spec with it, as the output sees it.
        parent: the id of the run that fitted it for other networks; None where the spec gives the values.
        open_: the spec that left to the parent what was fitted, as the output sees it.
    """
    told = DecisionRecord(output=output, parent=parent)
    if open_ is not None:
        told.given = given_keys(open_)
    if (calibration := calibration_in_words(view)) is not None:
        told.method = calibration
    if view.threshold is not None and view.threshold.at is not None:
        told.threshold = view.threshold.at
    return told


def given_keys(view: schema.ExperimentSpec) -> list[Literal["calibrate", "threshold"]]:
    """The keys whose values the spec gives."""
    found: list[Literal["calibrate", "threshold"]] = []
    if view.calibrate is not None and view.calibrate.is_fitted:
        found.append("calibrate")
    if view.threshold is not None and view.threshold.at is not None:
        found.append("threshold")
    return found


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
    fitted, given = _parts(told)
    rows = f"{told.rows:,} {'out-of-fold' if told.out_of_fold else 'validation'} predictions"
    by = "" if told.weights is None else f" by the weights of {told.weights}"
    text = f"{of}{_sentence(fitted)}, fitted on {rows}{by}. {_worth(told)}."
    if given:
        text += f" {_given_by_spec(given)}"
    return " ".join([text, *_of_no_use(told)])


def _parts(told: DecisionRecord) -> tuple[list[str], list[str]]:
    """What was fitted and what the spec gives, with their values."""
    fitted: list[str] = []
    given: list[str] = []
    if told.method is not None:
        own = given if "calibrate" in told.given else fitted
        own.append(f"calibration ({told.method})")
    if told.threshold is not None:
        # Records of earlier versions have no `given`; a threshold that was fitted maximizes something.
        is_given = "threshold" in told.given or (told.rows is not None and told.maximizes is None)
        why = "" if told.maximizes is None else f" (maximizes {told.maximizes})"
        (given if is_given else fitted).append(f"threshold {told.threshold:.4g}{why}")
    return fitted, given


def _of_no_use(told: DecisionRecord) -> list[str]:
    """A sentence for what is not better on rows that did not fit it."""
    sentences = []
    measures = {"log loss": told.log_loss, "calibration error": told.calibration_error}
    not_lower = [name for name, scores in measures.items() if _changed(scores, lambda b, a: a >= b)]
    lower = [name for name in measures if name not in not_lower]
    if not_lower:
        unless = f", unless the {lower[0]} counts for more" if lower else ""
        where = "these rows" if "calibrate" in told.given else "other rows"
        sentences.append(
            f"The calibration does not lower the {listing(not_lower, 'or')} on {where}: leave calibrate "
            f"out{unless}."
        )
    if _changed(told.score, lambda b, a: a <= b) and told.threshold != schema.HALF:
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
    fitted, given = _parts(told)
    if told.parent is None:
        return _given_by_spec([*fitted, *given])
    taken = (
        f"{_sentence(fitted)}: taken from {told.parent}, which fitted on rows that its networks had not seen."
    )
    return f"{taken} {_given_by_spec(given)}" if given else taken


def _given_by_spec(parts: Sequence[str]) -> str:
    return f"{_sentence(parts)}: given by the spec."


def _sentence(parts: Sequence[str]) -> str:
    """The beginning of a sentence."""
    text = listing(parts, "and")
    return f"{text[:1].upper()}{text[1:]}"


def _changed(scores: Mapping[str, float | None], so: Callable[[float, float], bool]) -> bool:
    """Whether a score was measured before and after, and changed in this way."""
    before, after = scores.get("before"), scores.get("after")
    return before is not None and after is not None and so(before, after)


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
