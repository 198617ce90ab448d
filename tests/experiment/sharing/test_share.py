"""A run's card, and the folder that others can use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import nnrun
from nnrun.cli import main
from nnrun.errors import NnrunError, UsageError
from nnrun.records import RunDirectory
from nnrun.records.run_record import CodeRecord
from tests.support.linear_member_specs import spec_over
from tests.support.served_runs import CASES, of_table, people, small, trained
from tests.support.small_experiments import BINARY, KFOLD, check_screen, write_small


def parts_of(card: Path) -> tuple[dict[str, Any], str]:
    """The front matter and the text."""
    text = card.read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    found = yaml.safe_load(front)
    assert isinstance(found, dict)
    return found, body


@pytest.mark.parametrize("name", CASES)
def test_a_shared_folder_predicts_what_the_run_does(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    run, rows = trained(case.spec(tmp_path), tmp_path), case.rows()
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = [str(tmp_path / "rows.jsonl"), "-q", "-o"]
    assert main(["predict", str(run.path), *words, str(tmp_path / "before.csv")]) == 0
    card = nnrun.card(run.path, tmp_path / "hub", license="mit")
    (tmp_path / "runs").rename(tmp_path / "elsewhere")  # nothing of it is needed
    for file in [*tmp_path.glob("*.npz"), *tmp_path.glob("p*.csv")]:
        file.unlink()  # nor the data
    shared = nnrun.load_run(tmp_path / "hub")
    assert (shared.path / "README.md") == card
    assert main(["predict", str(shared.path), *words, str(tmp_path / "after.csv")]) == 0
    assert (tmp_path / "after.csv").read_bytes() == (tmp_path / "before.csv").read_bytes()
    for file in shared.path.rglob("*"):
        if file.is_file():
            assert str(tmp_path).encode() not in file.read_bytes(), file
            assert file.suffix in (".md", ".json", ".yaml", ".csv", ".safetensors")
    assert not list(shared.path.rglob("oof.csv"))


@pytest.mark.parametrize("name", CASES)
def test_the_hub_reads_the_front_matter(name: str, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    run = trained(CASES[name].spec(tmp_path), tmp_path)
    text = nnrun.card(run.path, license="apache-2.0").read_text()
    card = hub.ModelCard(text)
    assert (card.data.library_name, card.data.license) == ("nnrun", "apache-2.0")
    assert {"nnrun", "safetensors"} <= set(card.data.tags)
    results = card.data.eval_results
    assert results
    for result in results:
        assert isinstance(result, hub.EvalResult)
        assert isinstance(result.metric_value, float)
        assert result.dataset_split in ("test", "validation")
        assert result.metric_name.startswith(f"{result.dataset_split} {result.metric_type}")
        assert result.task_type in (card.data.pipeline_tag, "other")
    again = hub.ModelCard(f"---\n{card.data.to_yaml()}\n---\n").data.eval_results
    assert [r.metric_value for r in again] == [r.metric_value for r in results]


TASKS = {
    "numbers": "tabular-regression",
    "yes_or_no": "tabular-classification",
    "table": "tabular-classification",
    "tokens": "text-classification",
    "images": "image-classification",
    "arrays_of_ports": None,
}


@pytest.mark.parametrize(("name", "task"), TASKS.items())
def test_its_task_is_that_of_the_hub(name: str, task: str | None, tmp_path: Path) -> None:
    run = trained(CASES[name].spec(tmp_path), tmp_path)
    front, _ = parts_of(nnrun.card(run.path))
    assert front.get("pipeline_tag") == task
    assert "license" not in front


def metrics_of(front: dict[str, Any], split: str) -> dict[str, dict[str, Any]]:
    (index,) = front["model-index"]
    (result,) = (of for of in index["results"] if of["dataset"]["split"] == split)
    return {metric["type"]: metric for metric in result["metrics"]}


def test_scores_of_a_final_run_have_intervals_and_baselines(tmp_path: Path) -> None:
    folds = nnrun.train(write_small(tmp_path, BINARY, validation=KFOLD), runs_dir=tmp_path / "runs")
    final = nnrun.final(folds, runs_dir=tmp_path / "runs")
    record = final.record
    front, body = parts_of(nnrun.card(final))
    accuracy = metrics_of(front, "test")["accuracy"]
    assert accuracy["value"] == record["test"]["accuracy"]
    assert accuracy["args"]["baseline"] == record["baseline"]["accuracy"]
    assert accuracy["args"]["linear_baseline"] == record["linear_baseline"]["scores"]["accuracy"]
    low, high = accuracy["args"]["interval_95"]
    assert 0 <= low < accuracy["value"] <= high <= 1
    assert accuracy["name"] == "test accuracy"
    assert "This is the 1st look at the small test set by experiments named 'small' (in runs/)." in body
    # What chose its epoch is told, and is not among its own results.
    assert f"{final.record['parent']}, from which it comes" in body.replace("\\", "")
    assert "| optimistic: these rows chose the epoch |" in body
    assert len(front["model-index"][0]["results"]) == 1
    for source in record["data"]:
        assert f"`{source['sha256']}`" in body

    nnrun.evaluate(final)
    front, body = parts_of(nnrun.card(final, overwrite=True))
    why = "perhaps optimistic: this test set was looked at 2 times"
    assert metrics_of(front, "test")["accuracy"]["name"] == f"test accuracy; {why}"
    assert f"- The test scores are {why}. New rows may score worse." in body


def test_scores_of_folds_are_means_with_their_interval(tmp_path: Path) -> None:
    folds = nnrun.train(write_small(tmp_path, validation=KFOLD), runs_dir=tmp_path / "runs")
    front, body = parts_of(nnrun.card(folds))
    found = metrics_of(front, "validation")["mae"]
    record = folds.record
    assert (found["value"], found["args"]["std"]) == (
        record["best"]["val_mae"],
        record["best_std"]["val_mae"],
    )
    assert found["args"]["interval_95"] == record["best_interval"]["val_mae"]
    assert found["name"] == (
        "validation mae; a mean over several networks; optimistic: these rows chose the epoch"
    )
    assert "- These weights were not measured on a test set." in body


def test_scores_are_those_of_the_weights_that_are_used(tmp_path: Path) -> None:
    changes = {"epochs": 12, "optimizer": {"rmsprop": 1.0}}
    run = nnrun.train(write_small(tmp_path, **changes), runs_dir=tmp_path / "runs")
    record = run.record
    assert record["best_epoch"] < 12
    last = metrics_of(parts_of(nnrun.card(run))[0], "validation")["mae"]
    best = metrics_of(parts_of(nnrun.card(run, weights="best", overwrite=True))[0], "validation")["mae"]
    assert (last["value"], last["name"]) == (record["last"]["val_mae"], "validation mae")
    assert (best["value"], best["name"]) == (
        record["best"]["val_mae"],
        "validation mae; optimistic: these rows chose the epoch",
    )


def test_scores_of_a_smoke_run_are_not_told(tmp_path: Path) -> None:
    run = nnrun.train(write_small(tmp_path), smoke=True, runs_dir=tmp_path / "runs")
    front, body = parts_of(nnrun.card(run))
    assert "model-index" not in front
    assert "## Scores\n\nThis was a smoke run: its numbers are meaningless.\n" in body


def test_code_of_a_persons_own_is_named_without_its_folder(tmp_path: Path) -> None:
    run = nnrun.train(write_small(tmp_path), runs_dir=tmp_path / "runs")
    directory = RunDirectory(run.path)
    record = directory.read_record()
    record.custom = [CodeRecord(module="mine", file=str(tmp_path / "mine.py"), sha256="0" * 64)]
    directory.write_record(record)
    _, body = parts_of(nnrun.card(run, tmp_path / "hub"))
    assert "It needs code that is not in this folder: `mine` (`--allow-custom`)." in body
    assert nnrun.load_run(tmp_path / "hub").record["custom"][0]["file"] == "mine.py"
    assert run.record["custom"][0]["file"] == str(tmp_path / "mine.py")
    before, after = (nnrun.load_run(path).record for path in (run.path, tmp_path / "hub"))
    assert {k: v for k, v in before.items() if k != "custom"} == {
        k: v for k, v in after.items() if k != "custom"
    }


def test_what_lies_there_is_not_lost(tmp_path: Path) -> None:
    run = nnrun.train(write_small(tmp_path), runs_dir=tmp_path / "runs")
    other = nnrun.train(write_small(tmp_path), runs_dir=tmp_path / "runs")
    card = nnrun.card(run, tmp_path / "hub")
    text = card.read_text()
    assert nnrun.card(run, tmp_path / "hub").read_text() == text
    with pytest.raises(UsageError, match="holds another run"):
        nnrun.card(other, tmp_path / "hub")
    card.write_text(f"{text}\nWhat a person adds.\n")
    with pytest.raises(UsageError, match=r"has a README\.md with another text"):
        nnrun.card(run, tmp_path / "hub")
    assert nnrun.card(run, tmp_path / "hub", overwrite=True).read_text() == text
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        nnrun.card(run, tmp_path / "file")
    (tmp_path / "clone" / ".git").mkdir(parents=True)  # an empty repository of the Hub
    nnrun.card(run, tmp_path / "clone")
    # The card of a run that was shared already is written from the folder alone.
    assert nnrun.card(tmp_path / "clone", overwrite=True).parent == tmp_path / "clone"


@pytest.mark.parametrize("there", [False, True])
def test_where_not_all_can_be_written_nothing_stays(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the same command goes through as soon as the disk has room again."""
    run = nnrun.train(write_small(tmp_path, validation=KFOLD), runs_dir=tmp_path / "runs")
    hub = tmp_path / "hub"
    if there:
        hub.mkdir()
        (hub / "LICENSE").write_text("MIT")
    before = sorted(tmp_path.rglob("*"))

    def full(self: RunDirectory, text: str) -> Path:
        assert (self.path / "fold-2" / "weights.safetensors").is_file()
        raise NnrunError(f"Cannot write {self.path}: No space left on device.")

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "write_card", full)
        with pytest.raises(NnrunError, match="No space left"):
            nnrun.card(run, hub)
    assert sorted(tmp_path.rglob("*")) == before
    nnrun.card(run, hub)
    assert nnrun.load_run(hub).path == hub


def test_names_of_columns_and_classes_are_no_markdown(tmp_path: Path) -> None:
    spec = of_table(tmp_path)
    table = people().rename(columns={"sex": "se|x <b>"})
    table["se|x <b>"] = table["se|x <b>"].replace({"male": "*m*\n| a"})
    table.to_csv(tmp_path / "people.csv", index=False)
    _, body = parts_of(nnrun.card(trained(spec, tmp_path).path))
    assert "| se\\|x \\<b\\> | category | \\*m\\* \\| a | \\*m\\* \\| a, female |" in body


def test_the_target_of_a_table_is_named(tmp_path: Path) -> None:
    _, body = parts_of(nnrun.card(trained(of_table(tmp_path), tmp_path).path))
    assert "It predicts `survived` (as `prediction`), " in body
    assert "| output | target | kind | classes |" in body
    assert "| prediction | survived | " in body


def test_a_run_without_weights_has_no_card(tmp_path: Path) -> None:
    run = trained(small(tmp_path), tmp_path)
    (run.path / "weights.safetensors").unlink()
    with pytest.raises(nnrun.errors.DataError):
        nnrun.card(run.path)
    assert RunDirectory(run.path).read_card() is None


def test_the_screen_and_the_whole_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path, BINARY, description="Whether a number is above 3.")
    nnrun.final(nnrun.train("small.yaml"))
    assert main(["card", "@last", "--to", "hub"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "hub/README.md\n"
    assert printed.err.splitlines()[-1] == (
        "the card names no license, without which others may not use the model: --license ID"
    )
    assert main(["card", "@last", "--to", "hub", "--license", "mit", "--json", "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out) == {"card": "hub/README.md", "folder": "hub"}
    text = Path("hub/README.md").read_text()
    record = nnrun.load_run("hub").record
    names = {source["sha256"]: "<SHA-256>" for source in record["data"]}
    names |= {f"{name} {version}": f"{name} <VERSION>" for name, version in record["versions"].items()}
    names[record["started"][:10]] = "<DAY>"

    class Printed:
        out, err = text, ""

    check_screen("card", Printed, names)


def test_intervals_are_of_the_weights_that_each_fold_kept(tmp_path: Path) -> None:
    stopping = {"early_stopping": {"patience": 1, "restore_best": True}, "epochs": 8}
    spec = write_small(tmp_path, BINARY, validation=KFOLD, optimizer={"rmsprop": 0.3}, **stopping)
    folds = nnrun.train(spec, runs_dir=tmp_path / "runs")
    history, members = folds.history, folds.record["members"]
    assert len({member["weights_epoch"] for member in members}) > 1
    own = [
        history[(history["fold"] == place) & (history["epoch"] == member["weights_epoch"])].iloc[0]
        for place, member in enumerate(members)
    ]
    values = [float(row["val_accuracy"]) for row in own]
    found = metrics_of(parts_of(nnrun.card(folds))[0], "validation")["accuracy"]
    assert found["value"] == pytest.approx(sum(values) / len(values))
    assert found["args"]["interval_95"][0] <= found["value"] <= found["args"]["interval_95"][1]

    final = nnrun.final(folds, members="folds", runs_dir=tmp_path / "runs")
    recorded = final.record["ensemble"]["validation_interval"]
    averaged = metrics_of(parts_of(nnrun.card(final))[0], "validation")
    assert {name for name, of in averaged.items() if "interval_95" in of.get("args", {})} == set(recorded)
    low, high = averaged["loss"]["args"]["interval_95"]
    losses = [float(row["val_loss"]) for row in own]
    assert low <= averaged["loss"]["value"] <= high
    assert averaged["loss"]["value"] == pytest.approx(sum(losses) / len(losses), rel=0.05)


def test_the_card_names_what_makes_the_model_once_more(tmp_path: Path) -> None:
    spec = write_small(tmp_path, BINARY, validation=KFOLD)
    runs = {"runs_dir": tmp_path / "runs"}
    folds = nnrun.train(spec, **runs)
    seeds = nnrun.train(write_small(tmp_path, BINARY), seeds=2, **runs)
    one = nnrun.kfold(spec, fold=1, **runs)
    averaged = nnrun.final(folds, members="folds", **runs)
    texts = [parts_of(nnrun.card(run))[1] for run in (folds, seeds, one, averaged)]
    commands = ["train", "train --seeds 2", "kfold --fold 1", "train"]
    for text, command in zip(texts, commands, strict=True):
        assert f"`nnrun {command}` repeats " in text
    assert "`nnrun train` repeats its networks, and `nnrun final RUN --members folds` makes" in texts[-1]


def test_no_training_repeats_a_model_with_linear_models_in_it(tmp_path: Path) -> None:
    folds = nnrun.train(spec_over(tmp_path, "binary"), runs_dir=tmp_path / "runs")
    text = parts_of(nnrun.card(nnrun.final(folds, members="folds", runs_dir=tmp_path / "runs")))[1]
    assert "blend:" in text  # the spec of networks and linear models together
    assert "`nnrun train` would train them together, which gives another model" in text
    assert "`nnrun train` repeats" not in text


def test_a_folder_with_files_of_a_person_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nnrun.train(write_small(tmp_path, BINARY), runs_dir=tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    for name in ("spec.yaml", "history.csv"):
        (own / name).write_text("mine")
    for folder in ("own", ".", "runs"):
        before = sorted(tmp_path.rglob("*"))
        assert main(["card", "@last", "--to", folder, "--overwrite", "-q"]) == 2
        assert sorted(tmp_path.rglob("*")) == before
        said = " ".join(capsys.readouterr().err.split())
        assert "is no folder that nnrun card made of this run" in said
        assert "Name a new folder, or an empty one." in said
    assert [(own / name).read_text() for name in ("spec.yaml", "history.csv")] == ["mine"] * 2
    repository = tmp_path / "hub"  # as a site of models makes it
    repository.mkdir()
    (repository / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (repository / "README.md").write_text("---\nlicense: mit\n---\n")
    assert main(["card", "@last", "--to", "hub", "-q"]) == 2
    assert "--overwrite replaces it" in " ".join(capsys.readouterr().err.split())
    assert main(["card", "@last", "--to", "hub", "--overwrite", "-q"]) == 0
    assert main(["card", "@last", "--to", "hub", "-q"]) == 0  # again, into its own folder
    assert nnrun.load_run(repository).path == repository
