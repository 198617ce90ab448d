"""A linear model averaged into each network of folds, by `final --members folds`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

import nnrun
from nnrun.cli import main
from nnrun.errors import UsageError
from nnrun.experiment.evaluating.compare import compare_runs
from nnrun.experiment.evaluating.compare_text import notes
from nnrun.experiment.evaluating.error_analysis import Residuals
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, load_networks
from nnrun.experiment.predicting.open_run import open_run
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.running import linear_member
from nnrun.experiment.running.ensemble import final_of_members
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.linear_member import SHARES
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.serving.answers import Answers
from nnrun.experiment.serving.description import schema_document
from nnrun.experiment.serving.requests import Asked, Options
from nnrun.experiment.serving.typical_row import typical_row
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.linear_member import linear_steps
from nnrun.spec.reading.load import load_spec
from tests.support.linear_member_specs import HIDDEN, LAST, NUMBERS, ROWS, TEST_ROWS, spec_over, table
from tests.support.small_experiments import record_of

DEEP: list[Any] = [
    {"dense": {"units": 8, "use_bias": False}},
    "batch_normalization",
    {"activation": "relu"},
    {"residual": [{"dense": {"units": 8, "activation": "tanh"}}]},
    {"dropout": 0.2},
]


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(command="kfold", runs_dir=folder / "runs", **changes)


def of_folds(folder: Path, target: str = "number", **changes: Any) -> tuple[RunDirectory, RunDirectory]:
    """A k-fold run, and its networks with linear models in them."""
    parent = run_experiment(load_spec(spec_over(folder, target, **changes)), settings(folder))
    return parent, final_of_members(parent, settings(folder), "folds")


def predicted(run: RunDirectory, rows: pd.DataFrame, **options: Any) -> np.ndarray:
    """(N, K) probabilities, or numbers (N, 1)."""
    found = nnrun.predict(run.path, rows[NUMBERS], **options)
    columns = [name for name in found if str(name).startswith("probability_")] or ["prediction"]
    return found[columns].to_numpy(float)


def by_scikit_learn(target: str, known: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """What the linear model of standardized numbers predicts, likewise."""
    scaler = StandardScaler().fit(known[NUMBERS])
    x, new = scaler.transform(known[NUMBERS]), scaler.transform(rows[NUMBERS])
    if target != "number":
        return np.asarray(LogisticRegression(max_iter=1000, tol=1e-8).fit(x, known["y"]).predict_proba(new))
    mean, std = known["y"].mean(), known["y"].std(ddof=0)
    return np.asarray(Ridge().fit(x, (known["y"] - mean) / std).predict(new) * std + mean)[:, None]


def between(target: str, network: np.ndarray, linear: np.ndarray, share: float) -> np.ndarray:
    """Their mean before the last activation."""
    if target == "number":
        return (1 - share) * network + share * linear
    powers = network ** (1 - share) * linear**share
    return np.asarray(powers / powers.sum(1, keepdims=True))


@pytest.mark.parametrize("hidden", [HIDDEN, DEEP], ids=["dense", "deep"])
@pytest.mark.parametrize("target", LAST)
def test_each_network_is_averaged_with_the_linear_model_of_its_own_training_rows(
    target: str, hidden: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_member, "SHARES", np.array([0.3]))
    parent, made = of_folds(tmp_path, target, layers=[*hidden, LAST[target]])
    assert record_of(made.path)["ensemble"]["linear_member"]["shares"] == [0.3] * 3
    known, new = table(target, ROWS, 0), table(target, TEST_ROWS, 1)
    opened, each = open_run(parent, DEFAULT_ACCESS), []
    for network in opened.networks:
        fold = opened.fold_of(network)
        own = f"fold-{fold.index}"
        rows = known.iloc[fold.train_rows]
        expected = between(
            target, predicted(parent, new, member=own), by_scikit_learn(target, rows, new), 0.3
        )
        assert predicted(made, new, member=own) == pytest.approx(expected, abs=2e-4)
        each.append(expected)
    assert predicted(made, new) == pytest.approx(np.mean(each, axis=0), abs=2e-4)


def test_what_the_networks_score_without_it_stands_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, made = of_folds(tmp_path, metrics=["mae"])
    ensemble, oof = record_of(made.path)["ensemble"], pd.read_csv(parent.path / "oof.csv")
    alone = ensemble["linear_member"]["networks_alone"]
    assert alone["mae"] == pytest.approx((oof["prediction"] - oof["target"]).abs().mean(), rel=1e-5)
    assert alone["mae"] != pytest.approx(ensemble["validation"]["mae"], rel=1e-3)
    capsys.readouterr()
    main(["show", str(made.path)])
    shown = capsys.readouterr().out
    assert re.search(r"out of fold +networks alone +test +test, each", shown)
    assert re.search(rf"mae +{ensemble['validation']['mae']:.4f} +{alone['mae']:.4f} ", shown)


def test_inner_rows_are_rows_that_the_linear_model_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_member, "SHARES", np.array([1.0]))
    stopping = {"on": "inner", "fraction": 0.2, "patience": 2}
    parent, made = of_folds(tmp_path, early_stopping=stopping)
    known, new = table("number", ROWS, 0), table("number", TEST_ROWS, 1)
    opened = open_run(parent, DEFAULT_ACCESS)
    for network in opened.networks:
        fold = opened.fold_of(network)
        assert len(fold.inner_rows)
        rows = known.iloc[np.union1d(fold.train_rows, fold.inner_rows)]
        expected = by_scikit_learn("number", rows, new)
        assert predicted(made, new, member=f"fold-{fold.index}") == pytest.approx(expected, rel=1e-4)


def test_what_follows_in_a_straight_line_is_left_to_the_linear_model(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path)
    known = record_of(made.path)["ensemble"]["linear_member"]
    assert known["model"] == "ridge"
    assert min(known["shares"]) > 0.8
    new = table("number", TEST_ROWS, 1)
    errors = [abs(predicted(run, new)[:, 0] - new["y"]).mean() for run in (made, parent)]
    assert errors[0] < errors[1]


def test_where_no_line_says_anything_the_network_is_as_it_was(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    a, b = rng.choice([-1.0, 1.0], (2, 160))
    path = spec_over(
        tmp_path,
        "binary",
        epochs=150,
        layers=[{"dense": {"units": 16, "activation": "tanh"}}, LAST["binary"]],
    )
    for name, rows in (("rows", slice(120)), ("later", slice(120, None))):
        frame = pd.DataFrame({"a": a, "b": b, "y": np.where(a * b > 0, "yes", "no")})[rows]
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    changes = {"preprocessing.inputs": "standardize", "optimizer": {"adam": 0.05}}
    parent = run_experiment(load_spec(path, overrides=changes), settings(tmp_path))
    made = final_of_members(parent, settings(tmp_path), "folds")
    assert max(record_of(made.path)["ensemble"]["linear_member"]["shares"]) <= 0.05
    assert record_of(made.path)["test"]["loss"] < 0.1


def member(rows: Any, losses: Any, weights: Any = None) -> Any:
    """What a fold's rows lose by each share."""
    rows, losses = np.asarray(rows), np.asarray(losses, float)
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, float)
    return linear_member._Member(None, None, None, rows, losses, weights)  # type: ignore[arg-type]


def at(share: float, n: int) -> np.ndarray:
    """(W, n) losses that are lowest at a share, the same for each row."""
    return np.repeat(((SHARES - share) ** 2)[:, None], n, axis=1)


def test_a_folds_own_rows_choose_nothing_of_its_share() -> None:
    members = [
        member(range(5), at(0.9, 5)),
        member(range(5, 10), at(0.2, 5)),
        member(range(10, 15), at(0.2, 5)),
    ]
    assert linear_member._share(members, members[0]) == 0.2
    assert 0.55 <= linear_member._share(members, members[1]) < 0.9  # the mean, or more by what is not sure
    repeated = [*members, member(range(5), at(0.9, 5))]  # another repeat has the same rows
    assert linear_member._share(repeated, members[0]) == 0.2


def test_rows_count_by_their_weights_and_of_equals_the_linear_model_counts_more() -> None:
    first = member(range(4), at(0.5, 4))
    weighed = member(range(4, 8), np.concatenate([at(0.0, 2), at(1.0, 2)], 1), [0, 0, 1, 1])
    assert linear_member._share([first, weighed], first) == 1.0
    noisy = np.random.RandomState(0).normal(size=(1, 50)) * SHARES[:, None]
    noisy -= noisy.mean(1, keepdims=True)
    assert linear_member._share([first, member(range(4, 54), noisy)], first) == 1.0


def test_the_spec_of_the_new_run_declares_what_is_computed(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path)
    spec = load_spec(made.path / "resolved.yaml").spec
    assert not spec.linear_member
    assert [step.kind for step in spec.inputs["linear"].preprocessing] == ["standardize"]
    assert [step.kind for step in spec.inputs["network"].preprocessing] == ["piecewise_linear", "quantile"]
    (network, *_), _ = load_networks(made)
    record = made.read_record()
    assert record.parameters == sum(value.size for value in network.weights.values())
    assert record.ensemble is not None
    assert not record.ensemble.optimistic
    said = notes(compare_runs([parent, made]))
    assert any("alone, without the linear models in them" in text for text in said)


def test_a_row_that_both_inputs_take_is_told_once(tmp_path: Path) -> None:
    _, made = of_folds(tmp_path)
    found = evaluate_run(made, split="validation").analysis
    assert isinstance(found, Residuals)
    assert found.worst
    assert all(re.fullmatch(r"a \S+, b \S+", error.text) for error in found.worst)


def test_the_names_of_the_made_inputs_are_told_to_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table("number", ROWS, 0).assign(c=["x", "y", "z"] * (ROWS // 3))
    steps = [{"piecewise_linear": {"bins": 4}}, "one_hot"]
    path = spec_over(tmp_path, "number", preprocessing={"inputs": steps, "targets": "standardize"})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    table("number", TEST_ROWS, 1).assign(c="x").to_csv(tmp_path / "later.csv", index=False)
    parent = run_experiment(load_spec(path), settings(tmp_path))
    made = final_of_members(parent, settings(tmp_path), "folds")
    (tmp_path / "bad.csv").write_text("a,b,c\n1,2,x\noops,2,q\n1,2,w\n")
    (tmp_path / "missing.csv").write_text("b\n2\n")
    said = ""
    for name, *options in (("bad",), ("bad", "--skip-bad"), ("missing",)):
        main(["predict", str(made.path), str(tmp_path / f"{name}.csv"), *options])
        said += "".join(capsys.readouterr())
    assert "has 'oops' in column 'a', which is not" in said
    assert "bad.csv: column 'c': 1 of 2 rows have a value that no training row has, such as 'w'" in said
    assert "lacks 2 columns that the network takes: a, c. " in said

    usual = Options()
    predictor = load_predictor(made)
    document = schema_document(predictor, usual, typical_row(predictor))
    assert [column["name"] for column in document["columns"]] == ["a", "b", "c"]
    assert not any("inputs" in column for column in document["columns"])
    rows = [{"a": 1, "b": 2, "c": value} for value in ("q", "w", "x")]
    (answer,) = Answers(predictor, usual).answer([Asked(json.dumps([*rows, {"a": 1, "b": 2}]).encode())])
    messages = json.loads(answer.body)["messages"]
    assert len(messages) == len(set(messages)) == 3
    assert "network" not in said.replace("the network takes", "") + "".join(messages)


@pytest.mark.parametrize("use_bias", [False, True])
def test_the_graph_is_no_difference_from_the_spec_that_was_written(use_bias: bool, tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path, layers=[*DEEP, {"dense": {"units": 1, "use_bias": use_bias}}])
    assert compare_runs([parent, made]).spec_differences == ()
    other = run_experiment(load_spec(spec_over(tmp_path, "number", batch_size=8)), settings(tmp_path))
    assert "batch_size" in [found.path for found in compare_runs([other, made]).spec_differences]


def test_where_it_has_no_effect_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec_over(tmp_path, "number")
    runs = ["--runs-dir", str(tmp_path / "runs")]

    def said(*words: str) -> str:
        assert main([*words]) == 0
        return " ".join("".join(capsys.readouterr()).split())

    found = said("kfold", str(path), *runs)
    assert "no effect" not in found
    assert re.search(r"nnrun final \S+ --members folds", found)
    assert "no effect on one network" in said("final", "@last", *runs)
    holdout = ("--set", "validation={holdout: {fraction: 0.3}}")
    assert "no effect without folds" in said("train", str(path), *holdout, *runs)
    outer = said("kfold", str(path), "--nested", "2", "--members", "folds", *runs)
    assert "These scores leave out the linear models" in outer
    script = tmp_path / "script.py"
    steps = ("--set", "preprocessing.inputs=standardize")
    assert "leaves linear_member out" in said(
        "eject", str(path), "--to", "pytorch", "-o", str(script), *steps
    )
    assert "leaves linear_member out" in script.read_text()


def test_linear_steps_standardize_what_is_not_linear_in_a_number() -> None:
    steps = [schema.Impute(), schema.PiecewiseLinear(keep=True), schema.QuantileTransform(), schema.OneHot()]
    assert linear_steps(steps) == [schema.Impute(), schema.Standardize(), schema.OneHot()]
    own = [schema.PiecewiseLinear(columns=["a"]), schema.Robust(columns=["b"])]
    assert linear_steps(own) == [schema.Standardize(columns=["a"]), schema.Robust(columns=["b"])]


def test_what_has_no_linear_model_is_averaged_without_one_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = load_spec(spec_over(tmp_path, "number", validation={"holdout": {"fraction": 0.3}}))
    parent = run_experiment(seeds, settings(tmp_path, selection=Selection(seeds=2)))
    made = final_of_members(parent, settings(tmp_path), "seeds")
    assert "seeds have no other folds" in record_of(made.path)["ensemble"]["linear_member"]["left_out"]
    monkeypatch.setattr("nnrun.experiment.setup.linear_baseline._MOST_NUMBERS", 10)
    folds, made = of_folds(tmp_path)
    assert "are too many" in record_of(made.path)["ensemble"]["linear_member"]["left_out"]
    new = table("number", TEST_ROWS, 1)
    assert predicted(made, new) == pytest.approx(predicted(folds, new))


def test_it_is_told_and_not_trained_again(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path)
    with pytest.raises(UsageError, match=f"nnrun reproduce {parent.path}, and make it again"):
        reproduce_run(made, runs_dir=tmp_path / "again")
