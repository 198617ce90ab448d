import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnrun
from nnrun.cli import main
from nnrun.errors import AmbiguousRunError, UsageError
from nnrun.records import (
    Member,
    RunDirectory,
    delete_run,
    find_run,
    find_run_or_sweep,
    find_runs,
    find_runs_and_sweeps,
    list_runs,
    refuse_to_delete,
)
from tests.support.runs_on_disk import records_read, write_record
from tests.support.small_experiments import write_small

pytestmark = pytest.mark.faults


def make(runs_dir: Path, id_: str, **record: Any) -> RunDirectory:
    (runs_dir / id_).mkdir(parents=True)
    run = RunDirectory(runs_dir / id_)
    write_record(run, {"id": id_, "status": "completed", **record})
    return run


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    runs = tmp_path / "runs"
    make(runs, "reuters-20260101T000000Z-aaaa", started="2026-01-01T00:00:00Z", ended="2026-01-01T00:01:30Z")
    make(runs, "reuters-20260102T000000Z-bbbb", started="2026-01-02T00:00:00+00:00")
    make(runs, "boston-20260103T000000Z-cccc", started="2025-12-31T00:00:00Z")
    return runs


def test_a_run_is_found_by_id_prefix_path_and_last(runs_dir: Path) -> None:
    id_ = "reuters-20260102T000000Z-bbbb"
    for reference in (id_, "reuters-20260102", str(runs_dir / id_), f"{runs_dir / id_}/", "@last"):
        assert find_run(reference, runs_dir).path.resolve() == (runs_dir / id_).resolve()


def test_last_reads_no_more_records_than_it_must(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 29):
        make(runs_dir, f"old-202501{day:02}T000000Z-dddd", started=f"2025-01-{day:02}T00:00:00Z")
    read = records_read(monkeypatch)
    assert find_run("@last", runs_dir).id == "reuters-20260102T000000Z-bbbb"
    # The first says that it began before the second did; the third cannot have begun later.
    assert read == ["boston-20260103T000000Z-cccc", "reuters-20260102T000000Z-bbbb"]


def test_the_last_run_may_have_begun_a_little_after_its_id_or_have_another_name(runs_dir: Path) -> None:
    make(runs_dir, "late-20260102T000000Z-0000", started="2026-01-02T00:00:00.500Z")
    assert find_run("@last", runs_dir).id == "late-20260102T000000Z-0000"
    make(runs_dir, "renamed", started="2026-01-02T00:00:01Z")
    assert find_run("@last", runs_dir).id == "renamed"
    broken = runs_dir / "broken-20260104T000000Z-0000"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    assert find_run("@last", runs_dir).id == "renamed"


def test_a_relative_path_is_found(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs_dir / "boston-20260103T000000Z-cccc")
    assert find_run(".", runs_dir).id == "boston-20260103T000000Z-cccc"


def test_an_id_wins_over_prefixes(runs_dir: Path) -> None:
    make(runs_dir, "reuters")
    assert find_run("reuters", runs_dir).id == "reuters"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "reut",
            "'reut' matches 2 runs; name one:\n"
            "  reuters-20260102T000000Z-bbbb\n"
            "  reuters-20260101T000000Z-aaaa",
        ),
        ("bosten", "No run 'bosten' in RUNS. The closest:\n  boston-20260103T000000Z-cccc"),
        ("xyz", "No run 'xyz' in RUNS. `nnrun ls` lists all 3."),
        ("", "No run '' in RUNS. `nnrun ls` lists all 3."),
        ("no/such", "no/such is not a run: there is no such folder."),
        ("RUNS/..", "RUNS/.. is not a run: that folder has no run.json."),
    ],
)
def test_what_is_not_found_is_said(runs_dir: Path, reference: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_run(reference.replace("RUNS", str(runs_dir)), runs_dir)
    assert str(caught.value) == message.replace("RUNS", str(runs_dir))


@pytest.mark.parametrize("reference", ["reuters", "reuters-"])
def test_a_name_means_its_newest_run(runs_dir: Path, reference: str) -> None:
    """Also where other names begin with it; what is deleted must be named whole."""
    make(runs_dir, "reuters_bottleneck-20270101T000000Z-dddd")
    assert find_run(reference, runs_dir).id == "reuters-20260102T000000Z-bbbb"
    with pytest.raises(AmbiguousRunError) as caught:
        find_run(reference, runs_dir, newest=False)
    assert {"reuters-20260102T000000Z-bbbb", "reuters-20260101T000000Z-aaaa"} <= set(caught.value.matches)


def test_without_runs(tmp_path: Path) -> None:
    nowhere = tmp_path / "runs"
    assert list_runs(nowhere) == []
    for reference, message in (("@last", "@last: there are"), ("x", "No run 'x': there are")):
        with pytest.raises(UsageError) as caught:
            find_run(reference, nowhere)
        assert str(caught.value) == f"{message} no runs in {nowhere} yet."


def test_runs_are_listed_newest_first(runs_dir: Path) -> None:
    make(runs_dir, "timeless-b")
    make(runs_dir, "timeless-a")
    assert [run.id[:16] for run in list_runs(runs_dir)] == [
        "reuters-20260102",
        "reuters-20260101",
        "boston-20260103T",
        "timeless-b",
        "timeless-a",
    ]


def test_a_summary_has_what_the_record_has(runs_dir: Path) -> None:
    make(
        runs_dir,
        "x",
        name="x",
        command="train",
        device="cpu",
        started="2030-01-01T00:00:00+02:00",
        ended="2029-12-31T22:00:12.5Z",
        epochs_run=20,
        best_epoch=9,
        best={"val_loss": 0.9, "val_accuracy": None},
        test={"loss": 1, "uses": "two"},
    )
    run = list_runs(runs_dir)[0]
    assert (run.name, run.command, run.device) == ("x", "train", "cpu")
    assert (run.epochs, run.best_epoch) == (20, 9)
    assert run.seconds == 12.5
    assert run.best == {"val_loss": 0.9}
    assert run.test == {"loss": 1.0}
    assert run.problem is None


def test_a_broken_run_hides_no_other(runs_dir: Path) -> None:
    (runs_dir / "broken-one").mkdir()
    (runs_dir / "broken-one" / "run.json").write_text("{")
    (runs_dir / "empty-20260101T000000Z-dddd").mkdir()
    (runs_dir / "strange").mkdir()
    (runs_dir / "strange" / "run.json").write_text('{"status": ["completed"]}')
    (runs_dir / "notes").mkdir()
    (runs_dir / "README.md").write_text("")
    summaries = list_runs(runs_dir)
    assert len(summaries) == 6
    broken = {run.id: run.problem for run in summaries if run.status == "broken"}
    assert broken == {
        "broken-one": f"{runs_dir}/broken-one/run.json is damaged: it is not valid JSON "
        "(Expecting property name enclosed in double quotes: line 1 column 2 (char 1)).",
        "empty-20260101T000000Z-dddd": f"{runs_dir}/empty-20260101T000000Z-dddd has no run.json.",
        "strange": f"{runs_dir}/strange/run.json says status ['completed'], which is not one of "
        "running, completed, interrupted, failed, diverged.",
    }
    assert find_run("@last", runs_dir).id == "reuters-20260102T000000Z-bbbb"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.just("9999-12-31T23:59:59-12:00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "id",
    "name",
    "command",
    "status",
    "device",
    "started",
    "ended",
    "epochs_run",
    "best_epoch",
    "best",
    "test",
    "data",
]


@given(st.dictionaries(st.sampled_from([*KEYS, "best", "test"]), anything))
def test_a_record_may_hold_anything(tmp_path_factory: pytest.TempPathFactory, record: dict[str, Any]) -> None:
    runs_dir = tmp_path_factory.mktemp("runs")
    (runs_dir / "x").mkdir()
    (runs_dir / "x" / "run.json").write_text(json.dumps(record))  # with NaN, as others may write it
    make(runs_dir, "y", started="2026-01-01T00:00:00Z")
    summaries = {run.id: run for run in list_runs(runs_dir)}
    assert summaries.keys() == {"x", "y"}
    assert summaries["x"].seconds is None or isinstance(summaries["x"].seconds, float)


def test_runs_are_found_in_the_order_of_their_names_each_once(runs_dir: Path) -> None:
    ids = [run.id for run in list_runs(runs_dir)]
    last, middle = ids[0], ids[1]
    spelled = [middle, "@last", str((runs_dir / middle).resolve()), last, middle]
    assert [run.id for run in find_runs(spelled, runs_dir)] == [middle, last]
    with pytest.raises(UsageError):
        find_runs([last, "typo"], runs_dir)


def test_what_would_be_deleted_is_not_refused_and_stays(runs_dir: Path) -> None:
    run = find_run("boston", runs_dir)
    refuse_to_delete(run, runs_dir)
    assert run.is_run()


def test_a_run_is_deleted_whole(runs_dir: Path) -> None:
    run = find_run("boston", runs_dir)
    run.write_preprocessing({}, Member("fold", 0))
    delete_run(run, runs_dir)
    assert sorted(path.name[:16] for path in runs_dir.iterdir()) == ["reuters-20260101", "reuters-20260102"]


def test_what_a_link_in_a_run_points_to_is_left_alone(runs_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("")
    run = find_run("boston", runs_dir)
    (run.path / "link").symlink_to(tmp_path / "precious")
    delete_run(run, runs_dir)
    assert (tmp_path / "precious" / "file").exists()


def test_what_is_not_beyond_doubt_a_run_is_not_deleted(runs_dir: Path, tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", "run")
    (runs_dir / "folder").mkdir()
    renamed = make(runs_dir, "renamed")
    write_record(renamed, {"id": "original"})
    damaged = make(runs_dir, "damaged")
    (damaged.path / "run.json").write_text("{")
    (runs_dir / "link").symlink_to(elsewhere.path)
    linked_record = runs_dir / "linked-record"
    linked_record.mkdir()
    (linked_record / "run.json").symlink_to(elsewhere.path / "run.json")
    cases = {
        elsewhere.path: "it is not directly under",
        runs_dir / "folder": "it has no run.json",
        runs_dir / "gone": "there is no such folder",
        renamed.path: "its run.json says id 'original'",
        damaged.path: "its record cannot be read",
        runs_dir / "link": "it is a link",
        linked_record: "it has no run.json",
        runs_dir: "it is not directly under",
    }
    for path, reason in cases.items():
        for refuse in (delete_run, refuse_to_delete):
            with pytest.raises(UsageError) as caught:
                refuse(RunDirectory(path), runs_dir)
            assert str(caught.value).startswith(f"{path} was not deleted: {reason}"), path
    assert elsewhere.is_run()
    assert renamed.is_run()


def test_what_a_run_killed_before_its_record_left_is_deleted(runs_dir: Path) -> None:
    id_ = "boston-20260101T000000Z-abcd"
    for names in ([], ["spec.yaml", "resolved.yaml"], ["spec.yaml", ".resolved.yaml.0123abcd-77.beef.tmp"]):
        run = RunDirectory(runs_dir / id_)
        run.path.mkdir()
        for name in names:
            (run.path / name).write_text("")
        delete_run(find_run(id_, runs_dir), runs_dir)
        assert not run.path.exists()
    for folder, file in ((id_, "notes.txt"), (id_, ".hidden"), ("boston", "spec.yaml")):
        other = RunDirectory(runs_dir / folder)
        other.path.mkdir(exist_ok=True)
        (other.path / file).write_text("")
        with pytest.raises(UsageError, match=r"was not deleted: it has no run\.json"):
            delete_run(other, runs_dir)


def test_the_name_of_a_sweep_s_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It means the sweep where that can be shown, and its best trial where a run is needed; both is told."""
    monkeypatch.chdir(tmp_path)
    spec = write_small(tmp_path, epochs=1)
    sweep = nnrun.sweep(spec, over={"optimizer": [{"sgd": 1e-9}, {"sgd": 1e-2}, {"sgd": 2e-9}]})
    best, found = sweep.best, RunDirectory(sweep.path)
    assert best is not None
    assert find_run_or_sweep("small", Path("runs")).path == Path("runs") / sweep.id
    assert main(["show", "small"]) == 0
    assert capsys.readouterr().err == f"small is the sweep {found.id}\n"
    assert main(["evaluate", "small", "--split", "validation", "-q"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{best.id} on ")
    taken = f"small is the sweep {found.id}: {best.id}, trial 2, the best by val_loss, is taken"
    assert taken in shown.err.splitlines()
    with pytest.warns(UserWarning, match=re.escape(taken)):
        assert nnrun.load_run("small").id == best.id
    with pytest.raises(AmbiguousRunError):  # what is deleted must be named whole
        find_runs_and_sweeps(["small"], Path("runs"))
    told: list[str] = []
    last = find_run("@last", Path("runs"), tell=told.append)
    assert last.id == sweep.record.trials[-1].run
    assert told == [
        f"@last: {last.id}, a trial of the sweep {found.id}, is taken, since it began last. The best is "
        f"{best.id}, trial 2, the best by val_loss."
    ]
    assert main(["rm", last.id, sweep.record.trials[0].run or "", "--yes"]) == 0
    told.clear()
    assert find_run("@last", Path("runs"), tell=told.append).id == best.id
    own = nnrun.train(spec)
    assert find_run("@last", Path("runs"), tell=told.append).id == own.id
    assert told == []
    assert find_run("small", Path("runs"), tell=told.append).id == own.id
    assert told == [f"small: {own.id}, the newest of 2 runs of this name, is taken"]


def test_the_best_trial_s_run_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name means the best trial whose run is there; where the best is deleted or shown, that is told."""
    monkeypatch.chdir(tmp_path)
    rates = [{"sgd": 1e-2}, {"sgd": 5e-3}, {"sgd": 1e-9}]  # the newest is the worst
    sweep = nnrun.sweep(write_small(tmp_path, epochs=1), over={"optimizer": rates})
    first, second, worst = (trial.run for trial in sweep.record.ranked())
    assert first is not None
    assert [trial.number for trial in sweep.record.ranked()] == [1, 2, 3]
    assert main(["rm", f"runs/{first}", "--yes"]) == 0
    told = capsys.readouterr().err
    assert told == (
        f"{first} is trial 1, the best by val_loss, of the sweep {sweep.id}. Its spec stays in "
        f"{Path('runs', sweep.id, 'best.yaml')}.\n"
    )
    taken = (
        f"small is the sweep {sweep.id}: {second}, trial 2, the best by val_loss whose run is there (that of "
        "trial 1, the best, is gone), is taken"
    )
    told_of_name: list[str] = []
    assert find_run("small", Path("runs"), tell=told_of_name.append).id == second
    assert main(["rm", f"runs/{worst}", "--yes"]) == 0  # a single run is left, which is still not the best
    assert capsys.readouterr().err == ""
    assert find_run("small", Path("runs"), tell=told_of_name.append).id == second
    assert told_of_name == [taken, taken]
    assert main(["show", sweep.id]) == 0
    shown = capsys.readouterr().out
    assert f"{first} (gone)" in shown
    assert f"{worst} (gone)" in shown
    assert f"{second} (gone)" not in shown
    assert f"nnrun final runs/{first}" not in shown
    assert main(["show", sweep.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs_gone"] == [first, worst]
    assert main(["report", sweep.id]) == 0
    assert f"{first} (gone)" in Path(capsys.readouterr().out.strip()).read_text("utf-8")


def test_what_is_deleted_with_its_sweep_is_not_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = nnrun.sweep(write_small(tmp_path, epochs=1), over={"optimizer.sgd.learning_rate": [1e-2, 1e-9]})
    assert main(["rm", sweep.id, "--trials", "--yes"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("method", ["grid", "tpe"])
def test_the_name_of_a_sweep_that_scored_outer_folds(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of its runs is the model: where a run is needed it is said how the model is made."""
    if method == "tpe":
        pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    spec = write_small(tmp_path, epochs=1)
    over = ["--over", "optimizer.sgd.learning_rate=1e-9,1e-2", "--method", method, "--nested", "2"]
    trials = ["--trials", "2"] if method == "tpe" else []
    assert main(["sweep", str(spec), *over, *trials, "-q"]) == 0
    (sweep,) = Path("runs").glob("*sweep*")
    capsys.readouterr()
    for command in ("show", "report"):
        assert main([command, "small"]) == 0
        assert capsys.readouterr().err == f"small is the sweep {sweep.name}\n"
    assert main(["diff", "small", str(spec)]) == 2
    assert f"{sweep.name} is a sweep, which has many specs." in capsys.readouterr().err
    again = f"choose once more on all rows, without outer folds: nnrun sweep {sweep / 'resolved.yaml'}"
    model = f"{again} --set nested=null, and then nnrun final with the run of its best trial"
    record = json.loads((sweep / "sweep.json").read_text("utf-8"))
    if method == "grid":
        best = next(trial["run"] for trial in record["trials"] if trial["number"] == record["best"])
        model = f"nnrun final {Path('runs', best)} (trial {record['best']}, the best of all by val_loss)"
    said = (
        f"small is the sweep {sweep.name}, which scored outer folds: none of its runs is the model. For the "
        f"model, {model}. Or name a run by its id; `nnrun show {Path('runs', sweep.name)}` lists them."
    )
    for of_run in (["evaluate", "small"], ["final", "small"], ["predict", "small", "small.npz"]):
        assert main(of_run) == 2
        assert " ".join(capsys.readouterr().err.split()) == f"error: {said}"
    with pytest.raises(UsageError, match="which scored outer folds"):
        nnrun.load_run("small")
    told: list[str] = []
    last = find_run("@last", Path("runs"), tell=told.append)
    assert told == [
        f"@last: {last.id} is taken, since it began last. It is of the sweep {sweep.name}, which scored "
        f"outer folds: none of its runs is the model. For the model, {model}."
    ]
    if method == "grid":  # it is the model, and what the name means from then on
        assert main(["final", str(Path("runs", best)), "-q"]) == 0
        (made,) = [run.id for run in list_runs(Path("runs")) if run.command == "final"]
        assert find_run("small", Path("runs")).id == made
        assert main(["rm", f"runs/{made}", f"runs/{best}", "--yes"]) == 0
        capsys.readouterr()
        assert main(["evaluate", "small"]) == 2
        assert f"nnrun train {sweep / 'best.yaml'} (trial" in " ".join(capsys.readouterr().err.split())


def test_the_name_of_a_sweep_that_averaged_inner_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = write_small(tmp_path, epochs=1, validation={"kfold": {"k": 2}})
    over = ["--over", "optimizer.sgd.learning_rate=1e-9,1e-2", "--nested", "2", "--members", "folds"]
    assert main(["sweep", str(spec), *over, "-q"]) == 0
    (sweep,) = Path("runs").glob("*sweep*")
    capsys.readouterr()
    assert main(["final", "small", "--members", "folds"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"For the model, nnrun kfold {sweep / 'best.yaml'} (trial 2, the best of all by val_loss), and "
        in said
    )
    assert "and then nnrun final with that run and --members folds." in said
    assert main(["kfold", str(sweep / "best.yaml"), "-q"]) == 0
    assert main(["final", "small", "--members", "folds", "-q"]) == 0


def test_a_name_does_not_mean_a_reproduction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    original = nnrun.train(write_small(tmp_path, epochs=1))
    assert main(["reproduce", "small"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "small", "-q"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{original.id} on ")
    assert shown.err.splitlines()[0] == f"small: {original.id} is taken; reproductions are passed over"
    again = nnrun.train("small.yaml")
    told: list[str] = []
    assert find_run("small", Path("runs"), tell=told.append).id == again.id
    assert told == [f"small: {again.id}, the newest of 2 runs of this name, is taken"]
    told.clear()
    assert main(["reproduce", "small"]) == 0  # of the newest
    assert main(["rm", f"runs/{original.id}", f"runs/{again.id}", "--yes"]) == 0
    copies = list_runs(Path("runs"))
    assert find_run("small", Path("runs"), tell=told.append).id == copies[0].id  # there is no other
    assert told == [f"small: {copies[0].id}, the newest of 2 runs of this name, is taken"]


def test_a_report_says_once_which_run_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = write_small(tmp_path, epochs=1)
    runs = [nnrun.train(spec), nnrun.train(spec)]
    assert main(["report", "small", "-q"]) == 0
    assert capsys.readouterr().err == (f"small: {runs[1].id}, the newest of 2 runs of this name, is taken\n")
