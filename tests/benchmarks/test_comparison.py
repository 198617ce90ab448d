import importlib
import json
import sys
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.comparison import Line, Row, Sitting, line_of, measure
from tests.benchmarks.fold_arrays import write_folds
from tests.benchmarks.generated import write_images
from tests.benchmarks.peers import torch_fit
from tests.benchmarks.printing import cells, markdown
from tests.benchmarks.programs import CPU_SECONDS, MEGABYTES, ROOT, Program, run
from tests.benchmarks.table import ROWS
from tests.benchmarks.training_rows import shipped, write_spec

EPOCH = Line("work", "epoch", "s/epoch", "≤ 0.5")


def says(system: str, code: str, *needs: str) -> Program:
    return Program(system, [sys.executable, "-c", code], needs=needs)


def test_the_ratio_is_the_median_over_pairs_to_the_peer_with_the_smallest_median() -> None:
    values = {
        "nnrun": [{"epoch": 1.0}, {"epoch": 3.0}, {"epoch": 2.0}],
        "slow": [{"epoch": 9.0}, {"epoch": 9.0}, {"epoch": 1.0}],
        "fast": [{"epoch": 2.0}, {"epoch": 4.0}, {"epoch": 5.0}],
    }
    shown = line_of(EPOCH, "nnrun", values)
    assert (shown.ours, dict(shown.theirs)) == (2.0, {"fast": 4.0, "slow": 9.0})
    assert list(shown.theirs) == ["fast", "slow"]
    assert (shown.ratio, shown.least, shown.most) == (0.5, 0.4, 0.75)
    assert cells(shown) == (
        "work", "2 s/epoch", "fast 4 s/epoch", "0.50 (0.40 to 0.75)", "slow 9", "≤ 0.5"
    )  # fmt: skip


def test_without_a_peer_there_is_no_ratio() -> None:
    shown = line_of(Line("ls", CPU_SECONDS, "s"), "nnrun", {"nnrun": [{CPU_SECONDS: 0.0123}]})
    assert markdown([shown]).splitlines()[-1] == "| ls | 0.0123 s |  |  |  |  |"


def test_a_process_tells_its_seconds_memory_and_the_numbers_of_its_last_line(tmp_path: Path) -> None:
    code = 'x = bytearray(80_000_000); print("epoch 1"); print(\'{"epoch": 0.5, "name": "x"}\')'
    taken = run(says("a", code), tmp_path)
    assert taken.keys() == {"epoch", CPU_SECONDS, MEGABYTES}
    assert taken["epoch"] == 0.5
    assert taken[MEGABYTES] > 76


def test_a_peer_that_is_missing_or_fails_is_left_out_with_a_note(tmp_path: Path) -> None:
    answer = "print('{\"epoch\": 2}')"
    peers = [
        says("absent", answer, "no_such_module"),
        says("broken", "raise SystemExit('no')"),
        says("b", answer),
    ]
    outcome = measure(
        Row([EPOCH], says("nnrun", answer), peers), Sitting(tmp_path, sys.executable, "cpu", None), 2
    )
    assert [dict(shown.theirs) for shown in outcome.shown] == [{"b": 2.0}]
    assert outcome.notes == [
        "absent: no_such_module not installed (pip install -e '.[bench]')",
        "broken ended with 1:\nno",
    ]
    assert not outcome.failed


def test_where_nnrun_fails_nothing_is_shown(tmp_path: Path) -> None:
    row = Row([EPOCH], says("nnrun", "raise SystemExit('no')"))
    outcome = measure(row, Sitting(tmp_path, sys.executable, "cpu", None), 1)
    assert (outcome.shown, outcome.notes, outcome.failed) == ([], ["nnrun ended with 1:\nno"], True)


def test_every_row_names_programs_that_exist(tmp_path: Path) -> None:
    for name, make in ROWS.items():
        row = make(Sitting(tmp_path, sys.executable, "cpu", None))
        assert row.lines, name
        for program in (row.nnrun, *row.peers, *row.before, *row.before_each):
            assert program.command[0] == sys.executable
            script = program.command[1]
            assert script == "-m" or Path(script).is_file(), (name, script)


def test_a_peer_that_is_far_behind_is_run_once(tmp_path: Path) -> None:
    def count(system: str, epoch: float) -> Program:
        return says(
            system, f"print('.', file=open(r'{tmp_path / system}', 'a')); print('{{\"epoch\": {epoch}}}')"
        )

    peers = [count("near", 2.9), count("best", 2.0), count("far", 3.1)]
    outcome = measure(
        Row([EPOCH], count("nnrun", 1.0), peers), Sitting(tmp_path, sys.executable, "cpu", None), 2
    )
    (shown,) = outcome.shown
    assert dict(shown.theirs) == {"best": 2.0, "near": 2.9, "far": 3.1}
    runs = {name: len((tmp_path / name).read_text().split()) for name in ("nnrun", "near", "best", "far")}
    assert runs == {"nnrun": 2, "near": 2, "best": 2, "far": 1}


def test_the_specs_that_are_changed_are_read_as_nnrun_reads_them() -> None:
    assert shipped("imdb_embedding")["optimizer"] == {"adam": 0.005}


def test_arrays_for_the_peers_are_what_nnrun_trains_on(tmp_path: Path) -> None:
    write_folds(ROOT / "specs" / "breast_cancer.yaml", ["batch_size=8"], tmp_path, None)
    x_train, y_train = np.load(tmp_path / "x_train_4.npy"), np.load(tmp_path / "y_train_4.npy")
    assert (x_train.shape, y_train.shape) == ((456, 30), (456, 1))
    np.testing.assert_allclose(x_train.mean(0), 0, atol=1e-5)
    work = json.loads((tmp_path / "work.json").read_text())
    assert [layer["units"] for layer in work["layers"]] == [16, 16, 1]
    assert (work["batch_size"], work["folds"], work["optimizer"]["kind"]) == (8, 5, "rmsprop")


IMAGES = shipped("mnist_conv") | {
    "preprocessing": {"inputs": "none"},
    "validation": {"holdout": {"first": 10}},
}


def test_the_loop_in_pytorch_trains_images(tmp_path: Path) -> None:
    write_images(tmp_path / "images.npz", 30)
    spec = write_spec(tmp_path, IMAGES | {"dataset": {"npz": str(tmp_path / "images.npz")}})
    write_folds(spec, [], tmp_path, None)
    work = json.loads((tmp_path / "work.json").read_text())
    assert len(torch_fit.train(work, tmp_path, 0, epochs=1, clock=time.process_time)) == 1
    network = torch_fit.build(work, (28, 28, 1), 0)
    weights = [tuple(p.shape) for p in network.parameters() if p.ndim > 1]
    assert weights == [(32, 1, 3, 3), (64, 32, 3, 3), (64, 64, 3, 3), (64, 576), (10, 64)]


def test_reading_is_timed_by_names_that_exist() -> None:
    """What the script takes from nnrun's inside may move."""
    assert importlib.import_module("tests.benchmarks.time_reading").seconds() > 0
