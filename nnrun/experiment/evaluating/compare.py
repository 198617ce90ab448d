"""Runs side by side: where their specs differ, what they scored, and whether that is more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnrun.experiment.finished.run_scores import RunScores, Score, read_run_scores
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.comparing.comparable_scores import other_measure, other_rows, other_split
from nnrun.spec.comparing.spec_differences import SpecDifference, spec_differences
from nnrun.spec.score_columns import chooser, directions
from nnrun.spec.wording import letters
from nnrun.validation.paired import FEWEST_FOR_WILCOXON, PairedTest, paired_test, verdict
from nnrun.validation.summary import monitor_mode

_SINGLE = "one network each cannot show how much varies by chance"
_NO_PAIRS = "the runs have fewer than two seeds in common"
_IN_TIME = (
    "each fold of a time series trains on the validation rows of earlier folds, and no known test accounts "
    "for that"
)

TEST = "test_"
"""What the name of a score on the test set begins with, as `val_` begins those of validation."""


@dataclass(frozen=True)
class ScoreComparison:
    """A score of one run against the first run's.

    Attributes:
        name: `val_<measure>` or `test_<measure>`.
        difference: this run's minus the first's; None where that would mean nothing.
        test: over the folds or seeds that both have, or None.
        not_comparable: why the two scores do not measure the same on the same rows, or None.
        no_test: why a validation score that is comparable was not tested, or None.
    """

    name: str
    difference: float | None = None
    test: PairedTest | None = None
    not_comparable: str | None = None
    no_test: str | None = None


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A run among those that are compared.

    Attributes:
        label: `A`, `B`, ...
        scores: what it scored.
        against_first: how each score that the first run has as well stands to it; empty for the first run.
        common: the folds or seeds that it has in common with the first run.
    """

    label: str
    scores: RunScores
    against_first: tuple[ScoreComparison, ...] = ()
    common: tuple[int, ...] = ()

    def all_scores(self) -> dict[str, Score]:
        """Name → score: validation at the best epoch, then test."""
        of_test = {f"{TEST}{name}": score for name, score in self.scores.test.items()}
        return {**self.scores.validation_scores, **of_test}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several runs, side by side.

    Attributes:
        runs: the first is what the others are compared with.
        spec_differences: where the specs differ.
    """

    runs: tuple[ComparedRun, ...]
    spec_differences: tuple[SpecDifference, ...]

    def score_names(self) -> list[str]:
        """Every score that a run has, validation before test, each once."""
        names = dict.fromkeys(name for run in self.runs for name in run.all_scores())
        return sorted(names, key=lambda name: name.startswith(TEST))

    def verdicts(self) -> list[str]:
        """A sentence for each paired test."""
        first = self.runs[0]
        return [
            verdict(
                score.test,
                score.name,
                monitor_mode(score.name.removeprefix(TEST), directions(first.scores.spec)),
                first=first.label,
                second=run.label,
                kind=_kind(first.scores, run.scores),
            )
            for run in self.runs[1:]
            for score in run.against_first
            if score.test is not None
        ]

    def notes(self) -> list[str]:
        """What a reader must know to read the numbers right, a sentence or two each."""
        return [
            *_signs(self),
            *_of_pairs(self),
            *_of_tests(self),
            *_of_ensembles(self),
            *_of_decisions(self),
        ]


def compare_runs(runs: Sequence[RunDirectory]) -> Comparison:
    """Compare runs with the first of them.

    Nothing is trained or measured, and no data are loaded: the runs' own files tell everything.

    Raises:
        DataError, SpecError: a file of a run is missing or damaged.
    """
    every = [read_run_scores(run) for run in runs]
    first = every[0]
    compared = [ComparedRun(letters(0), first)]
    for place, scores in enumerate(every[1:], start=1):
        common = tuple(sorted(set(first.member_ids) & set(scores.member_ids)))
        pairs = [*_validation_scores(first, scores), *_test_scores(first, scores)]
        compared.append(ComparedRun(letters(place), scores, tuple(pairs), common))
    return Comparison(tuple(compared), tuple(spec_differences([scores.spec for scores in every], align=True)))


def _validation_scores(first: RunScores, second: RunScores) -> list[ScoreComparison]:
    other_rows = other_validation_rows(first, second)
    return [
        _validation_score(first, second, name, other_rows)
        for name in first.validation
        if name in second.validation
    ]


def _validation_score(
    first: RunScores, second: RunScores, name: str, other_rows: str | None
) -> ScoreComparison:
    reason = other_rows or other_measure(first.spec, second.spec, name.removeprefix("val_"))
    if reason is not None:
        return ScoreComparison(name, not_comparable=reason)
    a, b = first.validation[name], second.validation[name]
    common = sorted(a.keys() & b.keys())
    kind = _kind(first, second)
    if len(common) < 2:
        if a.keys() != b.keys() and _rows_of_their_own(first.spec.validation):
            return ScoreComparison(
                name,
                not_comparable=f"the runs have fewer than two {kind}s in common, and each {kind} has its "
                "own validation rows",
            )
        means = [run.validation_scores[name].mean for run in (first, second)]
        single = len(a) == len(b) == 1
        why = _SINGLE if single else _NO_PAIRS
        return ScoreComparison(name, _difference(*means), no_test=why)
    bad = [number for number in common if not (math.isfinite(a[number]) and math.isfinite(b[number]))]
    if bad:
        return ScoreComparison(name, no_test=f"{name} of {kind} {bad[0]} is not a finite number")
    if isinstance(first.spec.validation, schema.TimeSeries):
        gain = sum(b[n] - a[n] for n in common) / len(common)
        return ScoreComparison(name, gain, no_test=_IN_TIME)
    test = paired_test([a[n] for n in common], [b[n] for n in common], overlap=overlap(first))
    return ScoreComparison(name, test.mean, test)


def _test_scores(first: RunScores, second: RunScores) -> list[ScoreComparison]:
    reason = other_data(first, second)
    compared = []
    for measure, score in first.test.items():
        if measure not in second.test:
            continue
        why_not = reason or other_measure(first.spec, second.spec, measure)
        difference = None if why_not else _difference(score.mean, second.test[measure].mean)
        compared.append(ScoreComparison(f"{TEST}{measure}", difference, not_comparable=why_not))
    return compared


def _difference(first: float, second: float) -> float | None:
    return second - first if math.isfinite(first) and math.isfinite(second) else None


def _rows_of_their_own(validation: schema.Validation) -> bool:
    """Whether the networks of one run are validated on different rows."""
    return validation.has_folds or validation.drawn_by_seed


def _kind(first: RunScores, second: RunScores) -> str:
    """What pairs of networks are. A run of one network is the run of its spec's seed."""
    return first.record.member_type or second.record.member_type or "seed"


# --- notes -------------------------------------------------------------------------------------------------


def _signs(comparison: Comparison) -> list[str]:
    kinds = dict.fromkeys(
        run.scores.record.member_type
        for run in comparison.runs
        for s in run.all_scores().values()
        if s.std is not None
    )
    texts = []
    if kinds:
        over = " or ".join(f"{kind}s" for kind in kinds if kind)
        texts.append(f"± is the standard deviation over the {over}")
    if any(score.test for run in comparison.runs for score in run.against_first):
        texts.append(
            f"{'in a difference it is' if texts else '± is'} the standard error of the mean difference"
        )
    return [f"{'; '.join(texts)}."] if texts else []


def _of_pairs(comparison: Comparison) -> list[str]:
    first, *others = comparison.runs
    notes = []
    for run in others:
        by_reason: dict[str, list[str]] = {}
        for score in run.against_first:
            if score.not_comparable:
                by_reason.setdefault(score.not_comparable, []).append(score.name)
        pair = f"{run.label} is not directly comparable with {first.label}"
        notes += [f"* {pair} in {', '.join(names)}: {reason}." for reason, names in by_reason.items()]
        partial = _partial(first, run)
        if partial:
            notes.append(partial)
        if not run.against_first and first.all_scores() and run.all_scores():
            notes.append(f"{first.label} and {run.label} have no score in common.")
    notes += [
        f"{run.label} has no scores: {_why_none(run.scores)}."
        for run in comparison.runs
        if not run.all_scores()
    ]
    return notes


def _of_ensembles(comparison: Comparison) -> list[str]:
    """Which scores of an ensemble are those of its average, and which are not."""
    notes = []
    for run in comparison.runs:
        record = run.scores.record
        if record.ensemble is None:
            continue
        kind, validated = record.member_type, bool(run.scores.validation)
        text = f"{run.label} is the average of {len(run.scores.member_ids)} {kind}s' networks."
        if validated:
            text += f" Its validation scores are those of its single networks, {kind} by {kind}"
            text += "; its test scores are those of the average." if run.scores.test else "."
        notes.append(text)
    return notes


def _of_decisions(comparison: Comparison) -> list[str]:
    """Which scores of a run have its calibration and its threshold in them."""
    notes = []
    for run in comparison.runs:
        scores = run.scores
        if any(told.reason is None for told in scores.record.decisions):
            parts = ["its test scores are with its calibration or threshold"] if scores.test else []
            parts += ["its validation scores are without"] if scores.validation else []
            notes.append(f"{run.label} is calibrated or has a threshold of its own: {', '.join(parts)}.")
    return notes


def _partial(first: ComparedRun, run: ComparedRun) -> str | None:
    """A note where a difference is of fewer networks than the scores next to it."""
    tested = any(score.test for score in run.against_first)
    if not tested or len(run.common) == len(first.scores.member_ids) == len(run.scores.member_ids):
        return None
    kind = _kind(first.scores, run.scores)
    return f"{run.label} - {first.label} is over the {len(run.common)} {kind}s that both runs have."


def _why_none(scores: RunScores) -> str:
    if scores.record.status == "running":
        return "it is still running"
    if isinstance(scores.spec.validation, schema.NoValidation):
        return "it was neither validated nor tested"
    if not scores.record.epochs_run:
        return "no epoch has ended"
    mean = f", the mean over its {scores.record.member_type}s," if len(scores.member_ids) > 1 else ""
    return f"{chooser(scores.spec)}{mean} was never a finite number, so there is no best epoch"


def _of_tests(comparison: Comparison) -> list[str]:
    first, *others = comparison.runs
    tests = [s.test for run in others for s in run.against_first if s.test is not None]
    notes = []
    if tests:
        notes.append(_chance_of_what(first.scores, others, tests))
    if any(test.wilcoxon_p is None and test.t_p is not None for test in tests):
        notes.append(
            f"Wilcoxon's test is left out where fewer than {FEWEST_FOR_WILCOXON} differences are not zero: "
            "it cannot reach p = 0.05."
        )
    untested: dict[str, list[str]] = {}
    for run in others:
        for reason in dict.fromkeys(score.no_test for score in run.against_first if score.no_test):
            untested.setdefault(reason, []).append(f"{run.label} - {first.label}")
    for reason, pairs in untested.items():
        # Where it is the same for all, which runs it is need not be said.
        which = "" if len(pairs) == len(others) else f" ({', '.join(pairs)})"
        notes.append(f"Not tested{which}: {reason}.")
    if any(score.no_test in (_SINGLE, _NO_PAIRS) for run in others for score in run.against_first):
        notes.append(_how_to_test(first.scores.spec.validation))
    if any(s.name.startswith(TEST) and s.difference is not None for run in others for s in run.against_first):
        notes.append("Differences on the test set are not tested: a run keeps only the mean of its networks.")
    if len(others) > 1 and len(tests) > 1:
        notes.append(
            f"These are {len(tests)} tests: among many tests, a few look significant by chance alone."
        )
    return notes


def _how_to_test(validation: schema.Validation) -> str:
    if validation.has_folds:
        return "A test needs two folds or more of each run: nnrun kfold SPEC, without --fold."
    return "A test needs both runs to have the same seeds, two or more: nnrun train SPEC --seeds 10."


def _chance_of_what(first: RunScores, others: Sequence[ComparedRun], tests: Sequence[PairedTest]) -> str:
    kind = next(_kind(first, run.scores) for run in others if any(s.test for s in run.against_first))
    if not any(test.corrected for test in tests):
        return (
            f"All {kind}s were validated on the same rows: the tests show chance in training, not how other "
            "rows would score."
        )
    wilcoxon = ", Wilcoxon's test is not" if any(test.wilcoxon_p is not None for test in tests) else ""
    shared = "Folds share training rows" if kind == "fold" else "The seeds' training rows overlap"
    return (
        f"{shared}, which makes a test optimistic (Bengio & Grandvalet 2004): the standard error and the "
        f"t-test are corrected for it (Nadeau & Bengio 2003){wilcoxon}."
    )


def other_data(first: RunScores, second: RunScores) -> str | None:
    """Why two runs do not have the same training and test rows; None where they do."""
    if first.record.smoke != second.record.smoke:
        return "one of the two is a smoke run, on a few rows"
    if [(d.sha256, d.rows) for d in first.record.data] != [(d.sha256, d.rows) for d in second.record.data]:
        return "they were trained on different data (the recorded hashes or numbers of rows differ)"
    return other_rows(first.spec, second.spec, same_files=True)


def other_validation_rows(first: RunScores, second: RunScores) -> str | None:
    """Why networks of the same number were not validated on the same rows; None where they were."""
    reason = other_data(first, second) or other_split(first.spec, second.spec)
    if reason is not None:
        return reason
    by_folds = first.spec.validation.has_folds
    if by_folds and first.spec.validation.drawn_by_seed and first.spec.seed != second.spec.seed:
        return "the seed draws the folds, and the seeds differ"
    return None


def overlap(run: RunScores) -> float:
    """Validation rows per training row where the networks' training rows overlap; 0 where they share all.

    Networks that share their validation rows differ only by chance in training, and are independent.
    """
    validation = run.spec.validation
    if isinstance(validation, schema.KFold):
        return 1 / (validation.k - 1)
    if isinstance(validation, schema.Holdout) and validation.drawn_by_seed:
        assert validation.fraction is not None, "a resolved spec has its fraction"
        return validation.fraction / (1 - validation.fraction)
    return 0.0
