import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import DataError
from nnrun.records import RunDirectory, create_run, history_columns, measures
from tests.support.history_tables import history_table

COLUMNS = history_columns(["mae"], validated=True, member_type="fold")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path / "runs", "boston")


def row(**values: float | None) -> dict[str, float | None]:
    return {**dict.fromkeys(COLUMNS, 0.5), "fold": 0, "epoch": 1, **values}


def test_columns() -> None:
    assert history_columns(["accuracy"], validated=True) == [
        "epoch",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "seconds",
    ]
    assert history_columns([], validated=False, member_type="fold") == [
        "fold",
        "epoch",
        "loss",
        "learning_rate",
        "seconds",
    ]


def test_a_run_of_several_seeds_has_their_column_first() -> None:
    assert history_columns(["mae"], validated=True, member_type="seed") == ["seed", *COLUMNS[1:]]


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5))
def test_seeds_read_back_as_they_are(tmp_path_factory: pytest.TempPathFactory, seeds: list[int]) -> None:
    """No float holds the larger ones, so that as floats different seeds would become one."""
    run = create_run(tmp_path_factory.mktemp("runs"), "x")
    with run.history_writer(["seed", "epoch"]) as history:
        for seed in seeds:
            history.append({"seed": seed, "epoch": 1})
    assert run.read_history()["seed"].tolist() == seeds


def test_measures_are_the_loss_and_the_metrics() -> None:
    assert measures(COLUMNS) == measures(["seed", *COLUMNS[1:]]) == ["loss", "mae"]
    assert measures(["epoch", "loss_mean", "loss_std", "val_loss_mean", "seconds_mean"]) == ["loss"]


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_floats_read_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    run = create_run(tmp_path_factory.mktemp("runs"), "x")
    with run.history_writer(["epoch", "loss"]) as history:
        for epoch, value in enumerate(values, start=1):
            history.append({"epoch": epoch, "loss": value})
    frame = run.read_history()
    assert frame["epoch"].tolist() == list(range(1, len(values) + 1))
    # NaN has many bit patterns and text only one.
    expected = np.array([math.nan if math.isnan(value) else value for value in values])
    assert frame["loss"].to_numpy(dtype=float).tobytes() == expected.tobytes()


def test_numpy_scalars_are_written_as_plain_numbers(run: RunDirectory) -> None:
    with run.history_writer(["epoch", "loss"]) as history:
        history.append({"epoch": np.int64(1), "loss": np.float32(0.1)})  # type: ignore[dict-item]
    assert (run.path / "history.csv").read_text() == "epoch,loss\n1,0.10000000149011612\n"


def test_a_missing_value_is_empty_and_a_nan_is_nan(run: RunDirectory) -> None:
    with run.history_writer(["epoch", "loss", "val_loss"]) as history:
        history.append({"epoch": 1, "loss": math.nan, "val_loss": None})
        history.append({"epoch": 2, "loss": math.inf})
    assert (run.path / "history.csv").read_text() == "epoch,loss,val_loss\n1,nan,\n2,inf,\n"
    frame = run.read_history()
    assert frame["loss"].tolist()[1] == math.inf
    assert frame["loss"].isna().tolist() == [True, False]
    assert frame["val_loss"].isna().all()


def test_each_row_is_on_disk_when_append_returns(run: RunDirectory) -> None:
    with run.history_writer(COLUMNS) as history:
        for epoch in (1, 2, 3):
            history.append(row(epoch=epoch))
            assert run.read_history()["epoch"].tolist() == list(range(1, epoch + 1))


def test_rows_survive_an_interruption(run: RunDirectory) -> None:
    def interrupted() -> None:
        with run.history_writer(COLUMNS) as history:
            history.append(row())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(run.read_history()) == 1


@given(cut=st.integers(min_value=0))
def test_a_history_cut_anywhere_gives_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    run = create_run(tmp_path_factory.mktemp("runs"), "x")
    with run.history_writer(COLUMNS) as history:
        for epoch in range(1, 6):
            history.append(row(epoch=epoch))
    path = run.path / "history.csv"
    text = path.read_text()
    header = text.index("\n") + 1
    cut = header + cut % (len(text) - header + 1)
    path.write_text(text[:cut])
    whole = text[:cut].count("\n") - 1
    assert run.read_history()["epoch"].tolist() == list(range(1, whole + 1))


def test_an_unknown_column_is_a_mistake_of_the_caller(run: RunDirectory) -> None:
    with run.history_writer(COLUMNS) as history, pytest.raises(ValueError, match="val_accuracy"):
        history.append(row(val_accuracy=1.0))


def test_a_history_without_epochs_has_columns_and_no_rows(run: RunDirectory) -> None:
    run.history_writer(COLUMNS).close()
    frame = run.read_history()
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 0


def test_no_history_is_said_in_a_sentence(run: RunDirectory) -> None:
    with pytest.raises(DataError) as caught:
        run.read_history()
    assert str(caught.value) == f"{run.path} has no history.csv: no epoch of this run has ended."


DAMAGED = [
    b"",
    b"hello\n",
    b"epoch,epoch\n",
    b"epoch,loss\n1,2,3\n",
    b"epoch,loss\n1\n",
    b"epoch,loss\n1,red\n",
    b"\xff\xfe\n",
    b"\0\0\n\0",
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_history_is_said_in_a_sentence(run: RunDirectory, content: bytes) -> None:
    (run.path / "history.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        run.read_history()
    assert "history.csv" in str(caught.value)


def test_a_damaged_line_is_named(run: RunDirectory) -> None:
    (run.path / "history.csv").write_text("epoch,loss\n1,0.5\n2,red\n")
    with pytest.raises(DataError) as caught:
        run.read_history()
    assert str(caught.value) == (
        f"{run.path / 'history.csv'}, line 3: every field must be a number, "
        "but could not convert string to float: 'red'."
    )


def test_a_run_has_one_history(run: RunDirectory) -> None:
    run.history_writer(COLUMNS).close()
    with pytest.raises(Exception, match=r"Cannot write .*history\.csv: File exists"):
        run.history_writer(COLUMNS)


def test_the_mean_reads_back_bit_for_bit(run: RunDirectory) -> None:
    frame = pd.DataFrame({"epoch": [1, 2], "loss_mean": [1 / 3, 0.1], "loss_std": [math.nan, 1e-300]})
    run.write_history_mean(history_table(frame))
    pd.testing.assert_frame_equal(run.read_history_mean(), frame, check_exact=True)
