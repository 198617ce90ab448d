"""Runs side by side: which scores are compared, over which networks, and what is said of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nnrun.errors import UsageError
from nnrun.experiment.evaluating.compare import Comparison, EqualWithin, ScoreComparison, compare_runs
from nnrun.experiment.evaluating.compare_text import notes, power_texts, verdicts
from nnrun.records import RunDirectory
from tests.support.runs_on_disk import make_run, scored_run, scores_of

LOW = (0.70, 0.72, 0.71, 0.74, 0.73, 0.70, 0.72)
HIGH = (0.75, 0.78, 0.75, 0.77, 0.80, 0.74, 0.79)
FOLDS: dict[str, Any] = {"kind": "fold", "spec": {"validation": {"kfold": 4}}}
CHOSEN = (
    "The best epoch of each run was chosen by val_loss on the rows that score it, so its validation scores "
    "are optimistic"
)
FRACTION = {"validation": {"holdout": {"fraction": 0.2}}}


def by_name(comparison: Comparison, place: int = 1) -> dict[str, ScoreComparison]:
    return {score.name: score for score in comparison.against_first[place - 1].scores}


def compared(*runs: RunDirectory) -> tuple[Comparison, ScoreComparison]:
    """The comparison, and of the second run its accuracy."""
    comparison = compare_runs(runs)
    return comparison, by_name(comparison)["val_accuracy"]


def test_the_same_seeds_are_paired(tmp_path: Path) -> None:
    comparison, score = compared(
        scored_run(tmp_path, "a", scores_of(*LOW)), scored_run(tmp_path, "b", scores_of(*HIGH))
    )
    assert score.test is not None
    assert score.test.t_p == pytest.approx(stats.ttest_rel(HIGH, LOW).pvalue)
    assert score.difference == pytest.approx(np.mean(HIGH) - np.mean(LOW))
    assert not score.test.corrected
    assert verdicts(comparison) == [
        f"B is better than A by 0.0514 ± 0.0059 {name} over 7 seeds; unlikely to be chance "
        "(paired t p < 0.001, Wilcoxon p = 0.016)."
        for name in ("val_loss", "val_accuracy")
    ]
    assert notes(comparison) == [
        "± is the standard deviation over the seeds; in a difference it is the standard error of the mean "
        "difference.",
        "All seeds were validated on the same rows: the tests show chance in training, not how other rows "
        "would score.",
        f"{CHOSEN}; the tests take them as they are.",
    ]
    assert comparison.spec_differences == ()


def test_seeds_that_both_have_are_paired_by_number(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    second = scored_run(tmp_path, "b", scores_of(*HIGH, first=4))
    comparison, score = compared(first, second)
    assert comparison.pairs[0].common == (4, 5, 6)
    assert score.test is not None
    assert score.test.n == 3
    assert score.test.t_p == pytest.approx(stats.ttest_rel(HIGH[:3], LOW[4:]).pvalue)
    assert any(
        note.startswith(
            "All validation scores are over the 3 seeds that both runs have (4, 5 and 6). Over all its 7"
        )
        for note in notes(comparison)
    )
    assert any("fewer than 6 differences" in note for note in notes(comparison))


@pytest.mark.parametrize("kind", ["fold", "seed"])
def test_networks_that_share_training_rows_get_the_corrected_variance(tmp_path: Path, kind: Any) -> None:
    spec = FOLDS["spec"] if kind == "fold" else FRACTION
    ratio = 1 / 3 if kind == "fold" else 0.2 / 0.8
    first, second = LOW[:4], HIGH[:4]
    comparison, score = compared(
        scored_run(tmp_path, "a", scores_of(*first), kind=kind, spec=spec),
        scored_run(tmp_path, "b", scores_of(*second), kind=kind, spec=spec),
    )
    error = np.std(np.subtract(second, first), ddof=1) * math.sqrt(1 / 4 + ratio)
    assert score.test is not None
    assert score.test.corrected
    assert score.test.standard_error == pytest.approx(error)
    assert "(corrected paired t p = " in verdicts(comparison)[0]
    shared = "Folds share training rows" if kind == "fold" else "The seeds' training rows overlap"
    assert notes(comparison)[1] == (
        f"{shared}, which makes a test optimistic (Bengio & Grandvalet 2004): the standard error and the "
        "t-test are corrected for it (Nadeau & Bengio 2003)."
    )


def test_one_network_each_is_compared_and_not_tested(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(0.7), kind=None)
    second = scored_run(tmp_path, "b", scores_of(0.8), kind=None)
    comparison, score = compared(first, second)
    assert score.difference == pytest.approx(0.1)
    assert score.test is None
    assert verdicts(comparison) == []
    assert notes(comparison) == [
        "Not tested: one network each cannot show how much varies by chance.",
        "A test needs both runs to have the same seeds, two or more: nnrun train SPEC --seeds 10.",
        f"{CHOSEN}.",
    ]


def test_one_network_is_the_run_of_its_seed(tmp_path: Path) -> None:
    """Rows that the seed draws are the same for a run of this seed, alone or among others."""
    several = scored_run(tmp_path, "a", scores_of(*LOW, first=3), spec=FRACTION)
    alone = scored_run(tmp_path, "b", scores_of(0.8), kind=None, spec={**FRACTION, "seed": 3})
    other = scored_run(tmp_path, "c", scores_of(0.8), kind=None, spec={**FRACTION, "seed": 3})
    assert compared(alone, other)[1].difference == 0
    _, score = compared(several, alone)
    assert (
        score.not_comparable
        == "the runs have fewer than two seeds in common, and each seed has its own validation rows"
    )


def test_other_seeds_on_the_same_rows_are_compared_and_not_tested(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    second = scored_run(tmp_path, "b", scores_of(*HIGH, first=50))
    comparison, score = compared(first, second)
    assert score.difference == pytest.approx(np.mean(HIGH) - np.mean(LOW))
    assert score.no_test == "the runs have fewer than two seeds in common"
    assert notes(comparison)[1:] == [
        "Not tested: the runs have fewer than two seeds in common.",
        "A test needs both runs to have the same seeds, two or more: nnrun train SPEC --seeds 10.",
        f"{CHOSEN}.",
    ]


def test_other_folds_are_not_comparable(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(0.7, first=1), **FOLDS)
    second = scored_run(tmp_path, "b", scores_of(0.7, first=2), **FOLDS)
    _, score = compared(first, second)
    assert score.difference is None
    assert (
        score.not_comparable == "the runs have fewer than two folds in common, and each fold has its own "
        "validation rows"
    )


def test_the_same_fold_alone_is_compared(tmp_path: Path) -> None:
    runs = [scored_run(tmp_path, name, scores_of(0.7, first=1), **FOLDS) for name in "ab"]
    comparison, score = compared(*runs)
    assert score.difference == 0
    assert notes(comparison)[-2] == (
        "A test needs two folds or more of each run: nnrun kfold SPEC, without --fold."
    )


def test_scores_of_other_rows_are_marked_once_for_each_reason(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    rows = scored_run(tmp_path, "b", scores_of(*LOW), spec={"validation": {"holdout": {"first": 50}}})
    loss = scored_run(tmp_path, "c", scores_of(*LOW), spec={"loss": "mse"})
    comparison = compare_runs([first, rows, loss])
    assert [score.difference for score in by_name(comparison, 1).values()] == [None, None]
    assert by_name(comparison, 2)["val_loss"].difference is None
    assert by_name(comparison, 2)["val_accuracy"].test is not None
    assert notes(comparison)[1:3] == [
        "* B is not directly comparable with A in val_loss, val_accuracy: validation.holdout.first differs.",
        "* C is not directly comparable with A in val_loss: the losses are different ones.",
    ]


def test_a_score_that_is_no_number_is_not_tested(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    second = scored_run(tmp_path, "b", scores_of(*HIGH[:2], math.nan))
    comparison, score = compared(first, second)
    assert (score.difference, score.test) == (None, None)
    assert score.no_test == "val_accuracy of seed 2 is not a finite number"
    assert "Not tested: val_accuracy of seed 2 is not a finite number." in notes(comparison)
    assert not any("A test needs" in note for note in notes(comparison))


def test_test_scores_are_compared_on_the_same_test_rows(tmp_path: Path) -> None:
    used: dict[str, Any] = {"test_uses": [{}], "weights_epoch": {"0": 3, "1": 2}}
    tested: dict[str, Any] = {"test": {"loss": 0.5, "accuracy": 0.7}, "test_std": {"loss": 0.1}, **used}
    first = scored_run(tmp_path, "a", scores_of(*LOW[:2]), **tested)
    final = scored_run(
        tmp_path,
        "b",
        scores_of(0.8),
        kind=None,
        spec={"validation": {"holdout": {"first": 7}}},
        test={"loss": 0.4, "accuracy": 0.8},
        test_uses=[{}, {}],
        weights_epoch=9,
    )
    comparison = compare_runs([first, final])
    scores = by_name(comparison)
    assert scores["test_accuracy"].difference == pytest.approx(0.1)
    untested = "Differences on the test set are not tested: a run keeps only the mean of its networks."
    assert untested in notes(comparison)
    assert scores["val_accuracy"].difference is None  # other validation rows do not concern the test set
    assert [run.scores.tested_epochs for run in comparison.runs] == [(2, 3), (9,)]
    assert comparison.score_names() == ["val_loss", "val_accuracy", "test_loss", "test_accuracy"]
    smoke = scored_run(tmp_path, "c", scores_of(0.8), kind=None, smoke=True, **tested)
    assert all(score.not_comparable for score in by_name(compare_runs([first, smoke])).values())


def test_of_several_runs_each_two_are_tested_and_corrected_for_one_another(tmp_path: Path) -> None:
    third = [value + (-0.02 if i % 2 else 0.021) for i, value in enumerate(LOW)]
    runs = [scored_run(tmp_path, n, scores_of(*v)) for n, v in (("a", LOW), ("b", HIGH), ("c", third))]
    comparison = compare_runs(runs)
    assert [(pair.first.label, pair.second.label) for pair in comparison.pairs] == [
        ("A", "B"),
        ("A", "C"),
        ("B", "C"),
    ]
    scores = [pair.score("val_accuracy") for pair in comparison.pairs]
    p = [score.test.p for score in scores if score and score.test and score.test.p is not None]
    order = np.argsort(p)
    expected = np.maximum.accumulate(np.minimum(1, np.sort(p) * [3, 2, 1]))[np.argsort(order)]
    assert [score.holm_p for score in scores if score] == pytest.approx(expected.tolist())
    assert verdicts(comparison)[1] == (
        "B is better than A by 0.0514 ± 0.0059 val_accuracy over 7 seeds; unlikely to be chance (paired t "
        "p < 0.001, Wilcoxon p = 0.016, with Holm's correction p < 0.001)."
    )
    assert any(text.startswith("Holm p is corrected for the 3 pairs of runs") for text in notes(comparison))
    assert not any("Holm" in text for text in notes(compare_runs(runs[:2])))


def test_what_is_the_same_has_no_p_to_correct(tmp_path: Path) -> None:
    runs = [scored_run(tmp_path, name, scores_of(*LOW)) for name in "abc"]
    comparison = compare_runs(runs)
    assert verdicts(comparison)[0] == "A and B have the same val_loss on each of 7 seeds."
    assert verdicts(comparison)[5] == "B and C have the same val_accuracy on each of 7 seeds."
    assert [score.holm_p for pair in comparison.pairs for score in pair.scores] == [None] * 6
    assert power_texts(comparison) == []


def test_how_probable_it_is_that_one_is_better(tmp_path: Path) -> None:
    """Of accuracies the higher is better, of losses the lower; the loss has units of its own."""
    pair = [scored_run(tmp_path, name, scores_of(*v[:4]), **FOLDS) for name, v in (("a", LOW), ("b", HIGH))]
    scores = by_name(compare_runs(pair, EqualWithin(0.01)))
    assert scores["val_loss"].equal is None
    equal = scores["val_accuracy"].equal
    differences = np.subtract(HIGH[:4], LOW[:4])
    error = differences.std(ddof=1) * math.sqrt(1 / 4 + 1 / 3)
    posterior = stats.t(3, differences.mean(), error)
    assert equal is not None
    assert (equal.first_better, equal.second_better) == pytest.approx(
        (posterior.cdf(-0.01), posterior.sf(0.01))
    )
    comparison = compare_runs(pair, EqualWithin(None, {"loss": 0.01}))
    loss = by_name(comparison)["val_loss"].equal
    assert loss is not None
    assert (loss.first_better, loss.second_better) == pytest.approx((equal.first_better, equal.second_better))
    assert verdicts(comparison)[0].endswith(
        f"P(B better) {loss.second_better:.3f}, P(equal within 0.01) {loss.equal:.3f}, "
        f"P(A better) {loss.first_better:.3f}."
    )
    assert (
        "P(...) are of the Bayesian correlated t-test (Corani & Benavoli 2015), its correlation the share of "
        "the rows that a fold validates: 0.25."
    ) in notes(comparison)


def test_seeds_on_the_same_rows_have_no_correlation_and_the_loss_is_asked_for_without_metrics(
    tmp_path: Path,
) -> None:
    spec = {"metrics": []}
    made = [
        scored_run(tmp_path, name, {i: {"val_loss": v} for i, v in enumerate(values)}, spec=spec)
        for name, values in (("a", LOW), ("b", HIGH))
    ]
    comparison = compare_runs(made, EqualWithin(0.01))
    equal = by_name(comparison)["val_loss"].equal
    assert equal is not None
    differences = np.subtract(HIGH, LOW)
    posterior = stats.t(6, differences.mean(), stats.sem(differences))
    assert equal.first_better == pytest.approx(posterior.sf(0.01))
    assert any(
        "without a correlation, since all seeds have the same rows" in text for text in notes(comparison)
    )


def test_what_counts_as_equal_must_be_a_score_of_the_runs(tmp_path: Path) -> None:
    made = [scored_run(tmp_path, name, scores_of(*LOW)) for name in "ab"]
    with pytest.raises(UsageError) as caught:
        compare_runs(made, EqualWithin(None, {"acuracy": 0.1}))
    assert str(caught.value) == (
        "--equal names 'acuracy', which these runs have no validation score of. They have loss and accuracy. "
        "Did you mean accuracy?"
    )


def test_the_power_of_seeds(tmp_path: Path) -> None:
    noisy = [value + (-0.02 if i % 2 else 0.021) for i, value in enumerate(LOW)]
    made = [scored_run(tmp_path, n, scores_of(*v)) for n, v in (("a", LOW), ("b", noisy))]
    comparison = compare_runs(made)
    power = by_name(comparison)["val_accuracy"].power
    assert power is not None
    assert power_texts(comparison) == [
        "B - A: 7 seeds would show a true difference of 0.028 val_loss and 0.028 val_accuracy (80 % power at "
        "p < 0.05). That follows from how much these 7 differences vary, which may truly be 0.6 to 2.2 times "
        f"as much. It would take about {power.pairs_for_observed} seeds for the observed 0.0034 val_loss and "
        f"about {power.pairs_for_observed} seeds for the observed 0.0034 val_accuracy."
    ]
    asked = power_texts(compare_runs(made, EqualWithin(0.0001, {"loss": 0.03})))[0]
    assert asked.endswith(
        "It would take about 7 seeds for 0.03 val_loss. More than 10,000 seeds would be needed for 0.0001 "
        "val_accuracy."
    )


def test_the_power_of_folds_that_share_training_rows(tmp_path: Path) -> None:
    noisy = [LOW[0] + 0.03, LOW[1] - 0.01, LOW[2] + 0.02, LOW[3] - 0.03]
    made = [scored_run(tmp_path, n, scores_of(*v), **FOLDS) for n, v in (("a", LOW[:4]), ("b", tuple(noisy)))]
    (text,) = power_texts(compare_runs(made, EqualWithin(0.06)))
    assert text.endswith(
        " It would take about 12 folds (3 repeats) for 0.06 val_accuracy. No number of repeats would show "
        "the observed 0.0025 val_loss, for folds share training rows."
    )


def test_two_pairs_tell_nothing_of_power(tmp_path: Path) -> None:
    made = [scored_run(tmp_path, n, scores_of(*v[:2])) for n, v in (("a", LOW), ("b", HIGH))]
    assert power_texts(compare_runs(made)) == [
        "B - A: how many seeds would show a difference cannot be said from two, which hardly tell how much "
        "differences vary."
    ]


def test_scores_beside_a_difference_are_over_the_same_folds(tmp_path: Path) -> None:
    """Of an interrupted run, whose record names all folds, only some have scores."""
    whole = scored_run(tmp_path, "a", scores_of(*LOW[:4]), **FOLDS)
    some = scored_run(tmp_path, "b", scores_of(*HIGH[:3]), **FOLDS, status="interrupted")
    record = some.read_record()
    record.folds = [0, 1, 2, 3]
    some.write_record(record)
    comparison = compare_runs([whole, some])
    assert by_name(comparison)["val_accuracy"].common == (0, 1, 2)
    shown = [comparison.shown_score(run, "val_accuracy") for run in comparison.runs]
    assert [score.mean for score in shown if score] == pytest.approx([np.mean(LOW[:3]), np.mean(HIGH[:3])])
    assert by_name(comparison)["val_accuracy"].difference == pytest.approx(
        np.mean(HIGH[:3]) - np.mean(LOW[:3])
    )
    assert (
        "All validation scores are over the 3 folds that both runs have (0, 1 and 2). Over all its 4 folds A "
        "has val_loss 0.2825 ± 0.0171, val_accuracy 0.7175 ± 0.0171."
    ) in notes(comparison)
    three = compare_runs([whole, some, whole])
    assert three.shown_score(three.runs[0], "val_accuracy") == whole_score(three)
    assert "B - A is over the 3 folds that both runs have (0, 1 and 2)." in notes(three)


def whole_score(comparison: Comparison) -> Any:
    return comparison.runs[0].scores.validation_scores["val_accuracy"]


def test_more_epochs_to_choose_from_and_sweeps_are_said(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    second = scored_run(tmp_path, "b", scores_of(*HIGH), epochs_run=30, sweep="s")
    assert notes(compare_runs([first, second]))[-1] == (
        f"{CHOSEN}; the tests take them as they are. A among 3 and B among 30: the more epochs, the more so. "
        "B is a trial of a sweep: the score that one was chosen by there is more optimistic still."
    )
    inner = {"early_stopping": {"on": "inner", "monitor": "inner_loss", "patience": 2}}
    honest = [scored_run(tmp_path, name, scores_of(*LOW), spec=inner) for name in "cd"]
    assert not any("optimistic" in text for text in notes(compare_runs(honest)))


def test_a_run_without_scores_says_why(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    running = make_run(tmp_path, "b", status="running")
    running.write_resolved(first.read_resolved())
    failed = make_run(tmp_path, "c", status="failed")
    failed.write_resolved(first.read_resolved())
    diverged = make_run(tmp_path, "d", status="diverged", epochs_run=2, best_epoch=None)
    diverged.write_resolved(first.read_resolved())
    whole = make_run(tmp_path, "e", epochs_run=2)
    whole.write_resolved(
        scored_run(tmp_path, "f", scores_of(0.5), spec={"validation": "none"}).read_resolved()
    )
    with running.owned():
        texts = notes(compare_runs([first, running, failed, diverged, whole]))
    assert texts[1:5] == [
        "B has no scores: it is still running.",
        "C has no scores: no epoch has ended.",
        "D has no scores: val_loss was never a finite number, so there is no best epoch.",
        "E has no scores: it was neither validated nor tested.",
    ]


def test_runs_with_no_score_in_common_say_so(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    final = make_run(tmp_path, "b", test={"loss": 0.3})
    final.write_resolved(first.read_resolved())
    assert "A and B have no score in common." in notes(compare_runs([first, final]))
