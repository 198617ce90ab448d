"""Runs side by side: which scores are compared, over which networks, and what is said of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nnrun.experiment.evaluating.compare import Comparison, ScoreComparison, compare_runs
from nnrun.records import RunDirectory
from tests.support.runs_on_disk import make_run, scored_run, scores_of

LOW = (0.70, 0.72, 0.71, 0.74, 0.73, 0.70, 0.72)
HIGH = (0.75, 0.78, 0.75, 0.77, 0.80, 0.74, 0.79)
FOLDS: dict[str, Any] = {"kind": "fold", "spec": {"validation": {"kfold": 4}}}
FRACTION = {"validation": {"holdout": {"fraction": 0.2}}}


def by_name(comparison: Comparison, place: int = 1) -> dict[str, ScoreComparison]:
    return {score.name: score for score in comparison.runs[place].against_first}


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
    assert comparison.verdicts() == [
        f"B is better than A by 0.0514 ± 0.0059 {name} over 7 seeds; unlikely to be chance "
        "(paired t p < 0.001, Wilcoxon p = 0.016)."
        for name in ("val_loss", "val_accuracy")
    ]
    assert comparison.notes() == [
        "± is the standard deviation over the seeds; in a difference it is the standard error of the mean "
        "difference.",
        "All seeds were validated on the same rows: the tests show chance in training, not how other rows "
        "would score.",
    ]
    assert comparison.spec_differences == ()


def test_seeds_that_both_have_are_paired_by_number(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    second = scored_run(tmp_path, "b", scores_of(*HIGH, first=4))
    comparison, score = compared(first, second)
    assert comparison.runs[1].common == (4, 5, 6)
    assert score.test is not None
    assert score.test.n == 3
    assert score.test.t_p == pytest.approx(stats.ttest_rel(HIGH[:3], LOW[4:]).pvalue)
    assert "B - A is over the 3 seeds that both runs have." in comparison.notes()
    assert any("fewer than 6 differences" in note for note in comparison.notes())


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
    assert "(corrected paired t p = " in comparison.verdicts()[0]
    shared = "Folds share training rows" if kind == "fold" else "The seeds' training rows overlap"
    assert comparison.notes()[1] == (
        f"{shared}, which makes a test optimistic (Bengio & Grandvalet 2004): the standard error and the "
        "t-test are corrected for it (Nadeau & Bengio 2003)."
    )


def test_one_network_each_is_compared_and_not_tested(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(0.7), kind=None)
    second = scored_run(tmp_path, "b", scores_of(0.8), kind=None)
    comparison, score = compared(first, second)
    assert score.difference == pytest.approx(0.1)
    assert score.test is None
    assert comparison.verdicts() == []
    assert comparison.notes() == [
        "Not tested: one network each cannot show how much varies by chance.",
        "A test needs both runs to have the same seeds, two or more: nnrun train SPEC --seeds 10.",
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
    assert comparison.notes()[1:] == [
        "Not tested: the runs have fewer than two seeds in common.",
        "A test needs both runs to have the same seeds, two or more: nnrun train SPEC --seeds 10.",
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
    assert comparison.notes()[-1] == (
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
    assert comparison.notes()[1:3] == [
        "* B is not directly comparable with A in val_loss, val_accuracy: validation.holdout.first differs.",
        "* C is not directly comparable with A in val_loss: the losses are different ones.",
    ]


def test_a_score_that_is_no_number_is_not_tested(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    second = scored_run(tmp_path, "b", scores_of(*HIGH[:2], math.nan))
    comparison, score = compared(first, second)
    assert (score.difference, score.test) == (None, None)
    assert score.no_test == "val_accuracy of seed 2 is not a finite number"
    assert "Not tested: val_accuracy of seed 2 is not a finite number." in comparison.notes()
    assert not any("A test needs" in note for note in comparison.notes())


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
    assert untested in comparison.notes()
    assert scores["val_accuracy"].difference is None  # other validation rows do not concern the test set
    assert [run.scores.tested_epochs for run in comparison.runs] == [(2, 3), (9,)]
    assert comparison.score_names() == ["val_loss", "val_accuracy", "test_loss", "test_accuracy"]
    smoke = scored_run(tmp_path, "c", scores_of(0.8), kind=None, smoke=True, **tested)
    assert all(score.not_comparable for score in by_name(compare_runs([first, smoke])).values())


def test_many_tests_are_called_many(tmp_path: Path) -> None:
    runs = [scored_run(tmp_path, name, scores_of(*LOW)) for name in "abc"]
    comparison = compare_runs(runs)
    assert comparison.verdicts()[0] == "A and B have the same val_loss on each of 7 seeds."
    assert comparison.verdicts()[2] == "A and C have the same val_loss on each of 7 seeds."
    assert comparison.notes()[-1] == (
        "These are 4 tests: among many tests, a few look significant by chance alone."
    )
    assert compare_runs(runs[:2]).notes()[-1] != comparison.notes()[-1]


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
        notes = compare_runs([first, running, failed, diverged, whole]).notes()
    assert notes[1:] == [
        "B has no scores: it is still running.",
        "C has no scores: no epoch has ended.",
        "D has no scores: val_loss was never a finite number, so there is no best epoch.",
        "E has no scores: it was neither validated nor tested.",
    ]


def test_runs_with_no_score_in_common_say_so(tmp_path: Path) -> None:
    first = scored_run(tmp_path, "a", scores_of(*LOW))
    final = make_run(tmp_path, "b", test={"loss": 0.3})
    final.write_resolved(first.read_resolved())
    assert "A and B have no score in common." in compare_runs([first, final]).notes()
