"""Runs side by side: where their specs differ, what they scored, and whether that is more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nnrun.errors import UsageError
from nnrun.experiment.finished.run_scores import RunScores, Score, read_run_scores, score_of
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.comparing.comparable_scores import other_measure, other_rows, other_split
from nnrun.spec.comparing.spec_differences import SpecDifference, spec_differences
from nnrun.spec.linear_member import spec_before_linear_member
from nnrun.spec.score_columns import directions
from nnrun.spec.wording import letters, listing, nearest, quoted
from nnrun.validation.equivalence import Equivalence, equivalence
from nnrun.validation.paired import PairedTest, holm, paired_test
from nnrun.validation.power import Power, power_of
from nnrun.validation.summary import Mode, monitor_mode

SINGLE = "one network each cannot show how much varies by chance"
NO_PAIRS = "the runs have fewer than two seeds in common"
_IN_TIME = (
    "each fold of a time series trains on the validation rows of earlier folds, and no known test accounts "
    "for that"
)

_CHOSEN_IN_NESTED = ("epochs", "early_stopping", "time_limit")
"""What the spec of a nested run has by the choice within its outer folds, whatever it was written with."""

TEST = "test_"
"""What the name of a score on the test set begins with, as `val_` begins those of validation."""


@dataclass(frozen=True)
class EqualWithin:
    """Which differences of a score are practically none, in its own units.

    Attributes:
        metrics: of every metric of the validation rows; of the loss, where there is no metric.
        named: of single scores, by their names without `val_`; it goes before `metrics`.
    """

    metrics: float | None = None
    named: Mapping[str, float] = field(default_factory=dict)

    def of(self, spec: schema.ExperimentSpec, measure: str) -> float | None:
        """The difference that counts as none; None where nothing is said of this measure."""
        if measure in self.named:
            return self.named[measure]
        has_metrics = bool(spec.metrics) or any(port.metrics for port in spec.outputs.values())
        is_loss = measure == "loss" or measure in {f"{name}_loss" for name in spec.outputs}
        return None if is_loss and has_metrics else self.metrics


@dataclass(frozen=True)
class ScoreComparison:
    """A score of two runs.

    Attributes:
        name: `val_<measure>` or `test_<measure>`.
        difference: the second run's minus the first's; None where that would mean nothing.
        test: over the folds or seeds that both have, or None.
        not_comparable: why the two scores do not measure the same on the same rows, or None.
        no_test: why a validation score that is comparable was not tested, or None.
        common: the folds or seeds that the difference is over; empty where it is of the runs' means.
        holm_p: the test's p, corrected for the tests of this score between other runs.
        equal: how probable it is that one is better, where it was said what counts as equal.
        power: what difference the test would have shown; None where nothing is known of that.
    """

    name: str
    difference: float | None = None
    test: PairedTest | None = None
    not_comparable: str | None = None
    no_test: str | None = None
    common: tuple[int, ...] = ()
    holm_p: float | None = None
    equal: Equivalence | None = None
    power: Power | None = None


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A run among those that are compared.

    Attributes:
        label: `A`, `B`, ...
        scores: what it scored.
    """

    label: str
    scores: RunScores

    def all_scores(self) -> dict[str, Score]:
        """Name → score: validation at the best epoch, then test."""
        of_test = {f"{TEST}{name}": score for name, score in self.scores.test.items()}
        return {**self.scores.validation_scores, **of_test}


@dataclass(frozen=True, eq=False)
class ComparedPair:
    """Two of the runs, and each score that both have.

    Attributes:
        first, second: the runs; every difference is the second's score minus the first's.
        scores: validation before test.
        common: the folds or seeds that both have scores of.
    """

    first: ComparedRun
    second: ComparedRun
    scores: tuple[ScoreComparison, ...]
    common: tuple[int, ...]

    @property
    def kind(self) -> str:
        """What pairs of networks are: `fold` or `seed`; one network alone is that of its spec's seed."""
        return pair_kind(self.first.scores, self.second.scores)

    def mode(self, name: str) -> Mode:
        """Whether low values of a score are better, or high ones."""
        return monitor_mode(name.removeprefix(TEST), directions(self.first.scores.spec))

    def score(self, name: str) -> ScoreComparison | None:
        """How one score compares; None where one of the runs lacks it."""
        return next((score for score in self.scores if score.name == name), None)

    def partial(self, run: ComparedRun) -> bool:
        """Whether differences are over fewer networks than the scores of this run."""
        return any(
            0 < len(score.common) < len(run.scores.validation[score.name])
            for score in self.scores
            if score.difference is not None and score.name in run.scores.validation
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several runs, side by side.

    Attributes:
        runs: at least two.
        pairs: each two of them, those with the first run before the others.
        spec_differences: where the specs differ.
    """

    runs: tuple[ComparedRun, ...]
    pairs: tuple[ComparedPair, ...]
    spec_differences: tuple[SpecDifference, ...]

    @property
    def against_first(self) -> tuple[ComparedPair, ...]:
        """The pairs of the first run with each other one."""
        return self.pairs[: len(self.runs) - 1]

    def score_names(self) -> list[str]:
        """Every score that a run has, validation before test, each once."""
        names = dict.fromkeys(name for run in self.runs for name in run.all_scores())
        return sorted(names, key=lambda name: name.startswith(TEST))

    def shown_score(self, run: ComparedRun, name: str) -> Score | None:
        """A run's score; of two runs over the networks that both have, as their difference is."""
        pair = self.pairs[0]
        score = pair.score(name) if len(self.pairs) == 1 else None
        if score is not None and score.difference is not None and score.common:
            of_networks = run.scores.validation[name]
            return score_of([of_networks[number] for number in score.common])
        return run.all_scores().get(name)


def compare_runs(runs: Sequence[RunDirectory], equal: EqualWithin | None = None) -> Comparison:
    """Compare runs, each with each.

    Nothing is trained or measured, and no data are loaded: the runs' own files tell everything.

    Args:
        runs: at least two.
        equal: differences that are practically none, where that is asked for.

    Raises:
        DataError, SpecError: a file of a run is missing or damaged.
        UsageError: `equal` names a score that no run has.
    """
    compared = [ComparedRun(letters(place), read_run_scores(run)) for place, run in enumerate(runs)]
    if equal is not None:
        _refuse_unknown(equal, compared)
    pairs = [
        _pair(first, second, equal or EqualWithin())
        for place, first in enumerate(compared)
        for second in compared[place + 1 :]
    ]
    differences = spec_differences([_written(run.scores) for run in compared], align=True)
    return Comparison(tuple(compared), tuple(_corrected(pairs)), _without_choices(differences, compared))


def _written(scores: RunScores) -> schema.ExperimentSpec:
    """The spec as it was written: without the graph that a linear model in each network made of it."""
    ensemble = scores.record.ensemble
    linear = None if ensemble is None else ensemble.linear_member
    if linear is None or linear.model is None:
        return scores.spec
    return spec_before_linear_member(
        scores.spec, use_bias=linear.use_bias, lists_columns=linear.lists_columns
    )


def _without_choices(
    differences: Sequence[SpecDifference], runs: Sequence[ComparedRun]
) -> tuple[SpecDifference, ...]:
    """The differences without those that only nested runs have in how long they trained: that was chosen in
    each, and is no setting."""
    others = [place for place, run in enumerate(runs) if not run.scores.record.is_nested]

    def is_choice(found: SpecDifference) -> bool:
        key = found.path.partition(".")[0]
        return key in _CHOSEN_IN_NESTED and all(found.values[p] == found.values[others[0]] for p in others)

    return tuple(found for found in differences if len(others) == len(runs) or not is_choice(found))


def _refuse_unknown(equal: EqualWithin, runs: Sequence[ComparedRun]) -> None:
    known = dict.fromkeys(name.removeprefix("val_") for run in runs for name in run.scores.validation)
    for name in equal.named:
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean {near}?" if near else ""
            raise UsageError(
                f"--equal names {quoted(name)}, which these runs have no validation score of. They have "
                f"{listing(known, 'and') or 'none'}.{hint}"
            )


def _pair(first: ComparedRun, second: ComparedRun, equal: EqualWithin) -> ComparedPair:
    scores = [*_validation_scores(first.scores, second.scores), *_test_scores(first.scores, second.scores)]
    ids = [{id_ for of in run.scores.validation.values() for id_ in of} for run in (first, second)]
    pair = ComparedPair(first, second, tuple(scores), tuple(sorted(ids[0] & ids[1])))
    return replace(pair, scores=tuple(_with_probabilities(score, pair, equal) for score in scores))


def _with_probabilities(score: ScoreComparison, pair: ComparedPair, equal: EqualWithin) -> ScoreComparison:
    if score.test is None:
        return score
    spec = pair.first.scores.spec
    within = equal.of(spec, score.name.removeprefix("val_"))
    step = spec.validation.k if isinstance(spec.validation, schema.KFold) else 1
    return replace(
        score,
        equal=None if within is None else equivalence(score.test, within, pair.mode(score.name)),
        power=power_of(score.test, within or None, step=step),
    )


def _corrected(pairs: Sequence[ComparedPair]) -> list[ComparedPair]:
    """The pairs with Holm's p-values: for each score over all pairs of runs where it was tested."""
    corrected: dict[tuple[int, str], float] = {}
    for name in dict.fromkeys(score.name for pair in pairs for score in pair.scores):
        tests = [(place, score.test) for place, pair in enumerate(pairs) if (score := pair.score(name))]
        tested = [(place, test.p) for place, test in tests if test is not None and test.p is not None]
        for (place, _), p in zip(tested, holm([p for _, p in tested]), strict=True):
            corrected[place, name] = p
    return [
        replace(
            pair,
            scores=tuple(replace(s, holm_p=corrected.get((place, s.name))) for s in pair.scores),
        )
        for place, pair in enumerate(pairs)
    ]


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
    kind = pair_kind(first, second)
    if len(common) < 2:
        if a.keys() != b.keys() and _rows_of_their_own(first.spec.validation):
            return ScoreComparison(
                name,
                not_comparable=f"the runs have fewer than two {kind}s in common, and each {kind} has its "
                "own validation rows",
            )
        means = [run.validation_scores[name].mean for run in (first, second)]
        single = len(a) == len(b) == 1
        why = SINGLE if single else NO_PAIRS
        return ScoreComparison(name, _difference(*means), no_test=why)
    bad = [number for number in common if not (math.isfinite(a[number]) and math.isfinite(b[number]))]
    if bad:
        return ScoreComparison(name, no_test=f"{name} of {kind} {bad[0]} is not a finite number")
    if isinstance(first.spec.validation, schema.TimeSeries):
        gain = sum(b[n] - a[n] for n in common) / len(common)
        return ScoreComparison(name, gain, no_test=_IN_TIME, common=tuple(common))
    test = paired_test([a[n] for n in common], [b[n] for n in common], overlap=overlap(first))
    return ScoreComparison(name, test.mean, test, common=tuple(common))


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


def pair_kind(first: RunScores, second: RunScores) -> str:
    """What pairs of networks are. A run of one network is the run of its spec's seed."""
    return first.record.member_type or second.record.member_type or "seed"


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
