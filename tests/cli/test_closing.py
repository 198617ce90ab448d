"""The closing screen of a run, from its record only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.cli.closing import closing_text
from nnrun.records import LookCount, RunDirectory, RunRecord

RUN = RunDirectory(Path("runs/small-20260101T000000Z-aaaa"))
RECORD: dict[str, Any] = {
    "name": "small",
    "command": "train",
    "status": "completed",
    "device": "cpu",
    "epochs_run": 20,
    "folds": None,
    "smoke": False,
    "rows": {"train": 7982, "validation": 1000, "test": 2246},
    "training_seconds": 12.3456,
    "best_epoch": 9,
    "best": {"loss": 0.3, "accuracy": 0.95, "val_loss": 0.90125, "val_accuracy": 0.801},
    "last": {"loss": 0.1, "accuracy": 0.99, "val_loss": 1.2, "val_accuracy": 0.79},
    "verdict": "val_loss was best at epoch 9.",
    "baseline": {"loss": 2.4, "accuracy": 0.3521, "accuracy_shuffled": 0.1877},
    "baseline_on": "validation",
    "test_uses": [],
}
FILES = """\
Files  runs/small-20260101T000000Z-aaaa
Next   nnrun plot runs/small-20260101T000000Z-aaaa"""
NEXT = f"{FILES}\n       nnrun final runs/small-20260101T000000Z-aaaa"


def closing(**changes: Any) -> list[str]:
    """The blocks of the screen."""
    return closing_text(RUN, RunRecord.read(RECORD | changes)).split("\n\n")


def test_a_narrow_terminal_wraps_sentences_and_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    headline, scores, remarks, files = closing()
    assert headline.splitlines() == [
        "small: trained, 20 epochs on cpu in 12.3 s; 7,982",
        "training rows, 1,000 validation rows",
    ]
    assert max(map(len, [*scores.splitlines(), *remarks.splitlines()])) <= 50
    assert files == NEXT


def test_a_narrow_terminal_wraps_the_heading_of_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    std = {"best_std": {"loss": 0.9926, "val_loss": 3.9328}, "chosen_by": "val_loss", "smoothed_over": 16}
    scores = closing(folds=[0, 1, 2, 3], not_trained=[2], **std)[1]
    assert scores.splitlines()[:2] == [
        "best epoch 9 by val_loss, smoothed over 16 epochs, chosen on these validation",
        "rows (mean ± std over 3 of 4 folds)",
    ]


def test_a_smoke_run_gives_no_advice() -> None:
    screen = "\n".join(closing(smoke=True, verdict=None))
    assert "This was a smoke run: its numbers are meaningless." in screen
    assert "nnrun final" not in screen


def test_the_whole_screen() -> None:
    assert (
        "\n\n".join(closing())
        == f"""\
small: trained, 20 epochs on cpu in 12.3 s; 7,982 training rows, 1,000 validation rows

best epoch 9, chosen on these validation rows
            training  validation  baseline
  loss        0.3000      0.9012    2.4000
  accuracy    0.9500      0.8010    0.3521

val_loss was best at epoch 9.
Baseline: the best constant for each score, on the validation rows; shuffled labels would score 0.19.

{NEXT}"""
    )


def test_the_whole_screen_of_folds() -> None:
    changes: dict[str, Any] = {
        "command": "kfold",
        "folds": [0, 1],
        "best": {"loss": 8.9, "val_loss": 12.382},
        "best_std": {"loss": 0.9926, "val_loss": 3.9328},
        "best_interval": {"loss": [7.9, 9.9], "val_loss": [8.4495, 16.3145]},
        "baseline": {"loss": 85.58356},
        "test": {"loss": 22.6},
        "test_std": {"loss": 1.5},
        "test_uses": [{"command": "evaluate"}, {"command": "evaluate"}],
    }
    assert (
        "\n\n".join(closing(**changes))
        == f"""\
small: trained, 20 epochs on cpu in 12.3 s; 7,982 training rows, 1,000 validation rows in each of 2 folds

best epoch 9, chosen on these validation rows (mean ± std over folds)
               training        validation              test  baseline
  loss  8.9000 ± 0.9926  12.3820 ± 3.9328  22.6000 ± 1.5000   85.5836

val_loss was best at epoch 9.
95 % interval of the mean: val_loss 8.45 to 16.31.
Baseline: the best constant for each score, on the validation rows.
This run has looked at the test set twice.

{NEXT}"""
    )


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        (
            {"status": "running", "training_seconds": None},
            "small: still training, 20 epochs on cpu; 7,982 training rows, 1,000 validation rows",
        ),
        (
            {"status": "interrupted", "epochs_run": 1},
            "small: interrupted, 1 epoch on cpu in 12.3 s; 7,982 training rows, 1,000 validation rows",
        ),
        (
            {"status": "diverged", "rows": {"train": 48, "validation": 0, "test": 0}},
            "small: diverged, 20 epochs on cpu in 12.3 s; 48 training rows",
        ),
        ({"status": "failed", "rows": {}}, "small: failed, 20 epochs on cpu in 12.3 s"),
        (
            {"stopped_early": {"0": 12}, "rows": {}},
            "small: trained, 20 epochs on cpu in 12.3 s\nStopped early at epoch 12.",
        ),
        (
            {"stopped_early": {"0": 12, "2": 15}, "folds": [0, 1, 2], "rows": {}},
            "small: trained, 20 epochs on cpu in 12.3 s\n"
            "Stopped early: fold 0 at epoch 12, fold 2 at epoch 15.",
        ),
        (
            {"seeds": [7, 8, 9]},
            "small: trained, 20 epochs on cpu in 12.3 s; 7,982 training rows, 1,000 validation rows; "
            "3 seeds from 7",
        ),
        (
            {"seeds": [7]},
            "small: trained, 20 epochs on cpu in 12.3 s; 7,982 training rows, 1,000 validation rows; "
            "seed 7 only",
        ),
        (
            {"stopped_early": {"8": 12}, "seeds": [7, 8], "rows": {}},
            "small: trained, 20 epochs on cpu in 12.3 s\nStopped early: seed 8 at epoch 12.",
        ),
        (
            {"smoke": True, "rows": {}},
            "small: trained, 20 epochs on cpu in 12.3 s\nThis was a smoke run: its numbers are meaningless.",
        ),
    ],
)
def test_the_headline(changes: dict[str, Any], headline: str) -> None:
    assert closing(**changes)[0] == headline


def test_several_networks_without_a_best_epoch_show_the_last_that_all_reached() -> None:
    changes = {
        "seeds": [0, 1],
        "best_epoch": None,
        "best": {},
        "last": {"loss": 0.1},
        "last_std": {"loss": 0.02},
        "last_epoch": 17,
        "baseline": {},
    }
    assert closing(**changes)[1] == (
        "epoch 17 (mean ± std over seeds)\n               training\n  loss  0.1000 ± 0.0200"
    )


def test_a_final_run_shows_its_last_epoch_and_the_test_scores() -> None:
    final = {
        "command": "final",
        "best_epoch": None,
        "best": {},
        "last": {"loss": 0.1, "accuracy": 0.99},
        "test": {"loss": 0.99, "accuracy": 0.78},
        "baseline_on": "test",
        "verdict": None,
        "test_uses": [{"command": "final"}],
        "rows": {"train": 8982, "validation": 0, "test": 2246},
    }
    assert closing(**final)[1:] == [
        "epoch 20\n"
        "            training    test  baseline\n"
        "  loss        0.1000  0.9900    2.4000\n"
        "  accuracy    0.9900  0.7800    0.3521",
        "Baseline: the best constant for each score, on the test rows; shuffled labels would score 0.19.\n"
        "This run has looked at the test set once.",
        FILES,
    ]


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            {"column": "val_mae", "smoothed": True},
            "Trained for 20 epochs, where the smoothed mean val_mae of small-1 was lowest.",
        ),
        (
            {"column": "val_accuracy", "smoothed": False},
            "Trained for 20 epochs, where val_accuracy of small-1 was highest.",
        ),
        ({"column": "val_loss", "epoch": 40}, ""),  # interrupted before, or a smoke run of two epochs
        (None, ""),
    ],
)
def test_a_final_run_says_why_it_trained_so_long(chosen: dict[str, Any] | None, sentence: str) -> None:
    chosen_from = None if chosen is None else {"parent": "small-1", "epoch": 20, "smoothed": False} | chosen
    blocks = closing(chosen_from=chosen_from, verdict=None, baseline={}, baseline_on=None, test_uses=[use()])
    assert blocks[2] == "\n".join(filter(None, [sentence, "This run has looked at the test set once."]))


def use(look: int | None = None) -> dict[str, Any]:
    """One look at the test set, as a record has it."""
    number = {"look": look, "look_of_any": look} if look else {}
    return {"command": "evaluate", "at": "noon", "data": "reuters"} | number


WHOSE = "by experiments named 'small' (in runs/)."


@pytest.mark.parametrize(
    ("uses", "looks", "sentence"),
    [
        ([use(1)], None, f"This is the 1st look at the reuters test set {WHOSE}"),
        ([use(12)], 12, f"This is the 12th look at the reuters test set {WHOSE}"),
        (
            [use(3)],
            5,
            f"This run has looked at the reuters test set once, as the 3rd of 5 looks {WHOSE}",
        ),
        (
            [use(3), use(4)],
            None,
            f"This run has looked at the reuters test set twice, the last time as the 4th look {WHOSE}",
        ),
        (
            [use(3), use(21)],
            21,
            "This run has looked at the reuters test set twice, "
            f"the last time as the 21st of 21 looks {WHOSE}",
        ),
        # A record from before looks were numbered, or of a smoke run.
        ([use()], None, "This run has looked at the test set once."),
        (
            [use()],
            2,
            "This run has looked at the test set once. "
            "Experiments named 'small' have looked at it twice (in runs/).",
        ),
    ],
)
def test_looks_at_the_test_set_are_counted(
    uses: list[dict[str, Any]], looks: int | None, sentence: str
) -> None:
    text = closing_text(
        RUN,
        RunRecord.read(RECORD | {"verdict": None, "baseline": {}, "baseline_on": None, "test_uses": uses}),
        None if looks is None else LookCount(looks, looks),
    )
    assert text.split("\n\n")[2] == sentence


@pytest.mark.parametrize(
    ("status", "remark"),
    [("completed", ["The data set has no test set, so nothing was tested."]), ("interrupted", [])],
)
def test_a_final_run_that_tested_nothing(status: str, remark: list[str]) -> None:
    changes = {
        "command": "final",
        "status": status,
        "verdict": None,
        "baseline": {},
        "baseline_on": None,
        "best_epoch": None,
    }
    assert closing(**changes)[2:-1] == remark


def test_a_run_that_did_not_complete_is_not_the_ground_of_a_final_one() -> None:
    assert closing(status="interrupted")[-1] == FILES
    assert closing(best_epoch=None)[-1] == FILES


def test_a_measure_that_was_no_number_is_left_empty() -> None:
    """JSON has null for it."""
    blocks = closing(
        best={"loss": 0.3, "auc": None, "val_loss": 0.9, "val_auc": None}, baseline={}, baseline_on=None
    )
    heading = "best epoch 9, chosen on these validation rows"
    assert blocks[1] == f"{heading}\n        training  validation\n  loss    0.3000      0.9000\n  auc"


def test_a_run_without_an_epoch_says_so_and_no_more() -> None:
    record = {"name": "small", "command": "train", "status": "interrupted", "epochs_run": 0, "device": "cpu"}
    record |= {"baseline": {"loss": 2.4}, "baseline_on": "training"}  # known before the first epoch
    files = FILES.replace("nnrun plot", "nnrun show")  # there is nothing to draw
    assert closing_text(RUN, RunRecord.read(record)) == f"small: interrupted, 0 epochs on cpu\n\n{files}"


def test_a_record_cannot_disturb_the_terminal() -> None:
    text = closing_text(RUN, RunRecord.read(RECORD | {"name": "\x1b[2Jsmall\x07", "verdict": "a\tb"}))
    assert text.startswith("\\x1b[2Jsmall\\x07: trained, ")
    assert "a\\tb" in text


def test_a_run_without_a_baseline_says_why() -> None:
    """Of `loss: ctc`, and of outputs with masked steps: there are rows to score a constant on, and none."""
    shown = "\n".join(closing(baseline={}))
    assert "No baseline: a constant prediction cannot be scored for sequences of classes." in shown
