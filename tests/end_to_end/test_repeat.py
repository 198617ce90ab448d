"""The same command twice, and a fold alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import nnrun

LAYERS = [
    {"dense": {"units": 16, "activation": "relu"}},
    {"dropout": 0.2},
    {"dense": {"units": 3, "activation": "softmax"}},
]
WINE = {
    "dataset": {"sklearn": "wine"},
    "preprocessing": {"inputs": "standardize"},
    "layers": LAYERS,
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
    "epochs": 4,
    "batch_size": 16,
}
TOKENS = {
    "dataset": {"npz": "tokens.npz"},
    "preprocessing": {"inputs": {"multi_hot": 400}},
    "layers": [
        {"dense": {"units": 8, "activation": "relu"}},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ],
    "loss": "binary_crossentropy",
    "epochs": 4,
    "batch_size": 16,
}


def write(folder: Path, spec: dict[str, object], **changes: object) -> Path:
    rng = np.random.default_rng(0)
    lists = np.empty(90, object)
    lists[:] = [rng.integers(0, 400, rng.integers(1, 30)).tolist() for _ in range(90)]
    np.savez(folder / "tokens.npz", x_train=lists, y_train=np.arange(90) % 2)
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({**spec, **changes}))
    return path


def lines_without_seconds(run: nnrun.Run) -> list[str]:
    lines = (run.path / "history.csv").read_text().splitlines()
    assert lines[0].endswith(",seconds")
    return [line.rsplit(",", 1)[0] for line in lines]


@pytest.mark.parametrize("spec", [WINE, TOKENS], ids=["dense", "sparse"])
@pytest.mark.parametrize("validation", [{"kfold": {"k": 3, "shuffle": True}}, {"holdout": {"fraction": 0.3}}])
def test_the_same_spec_gives_the_same_bytes(
    spec: dict[str, object], validation: dict[str, object], tmp_path: Path
) -> None:
    path = write(tmp_path, spec, validation=validation)
    one, two = (nnrun.train(path, runs_dir=tmp_path / "runs") for _ in range(2))
    assert one.path != two.path
    assert lines_without_seconds(one) == lines_without_seconds(two)
    fold = 0 if "kfold" in validation else None
    for name, value in one.weights(fold=fold).items():
        assert value.tobytes() == two.weights(fold=fold)[name].tobytes()


@pytest.mark.parametrize("spec", [WINE, TOKENS], ids=["dense", "sparse"])
def test_a_fold_alone_is_the_fold_of_the_whole(spec: dict[str, object], tmp_path: Path) -> None:
    path = write(tmp_path, spec)
    whole = nnrun.kfold(path, k=4, runs_dir=tmp_path / "runs").history
    alone = nnrun.kfold(path, k=4, fold=2, runs_dir=tmp_path / "runs")
    of_whole = whole[whole["fold"] == 2].reset_index(drop=True).drop(columns="seconds")
    of_alone = alone.history.drop(columns="seconds")
    pd.testing.assert_frame_equal(of_alone, of_whole, rtol=1e-5)
    assert (alone.path / "fold-2" / "weights.safetensors").is_file()
    assert not (alone.path / "fold-0").exists()


HOLDOUTS = [{"holdout": {"first": 20}}, {"holdout": {"fraction": 0.3, "shuffle": True}}]
DROPPED = {
    "layers": [
        {"dropout": 0.1},
        {"dense": {"units": 8, "activation": "relu"}},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ]
}


@pytest.mark.parametrize("validation", HOLDOUTS, ids=["first", "drawn"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("spec", [WINE, TOKENS, TOKENS | DROPPED], ids=["dense", "sparse", "sparse dropout"])
def test_each_seed_is_the_run_with_that_seed_alone(
    spec: dict[str, object], shuffle: bool, validation: dict[str, object], tmp_path: Path
) -> None:
    """Dropout, and a split that follows the seed; what the seeds share, and what not, must not be seen."""
    path = write(tmp_path, spec, validation=validation, shuffle=shuffle, seed=3)
    together = nnrun.train(path, seeds=3, runs_dir=tmp_path / "runs")
    losses = set()
    for seed in (3, 4, 5):
        alone = nnrun.train(path, overrides={"seed": seed}, runs_dir=tmp_path / "runs")
        mine = together.history[together.history["seed"] == seed].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            mine.drop(columns=["seed", "seconds"]), alone.history.drop(columns="seconds"), rtol=1e-5, atol=0
        )
        weights = together.weights(seed=seed)
        for name, value in alone.weights().items():
            np.testing.assert_allclose(weights[name], value, rtol=1e-4, atol=1e-6)
        states = [run / "preprocessing.json" for run in (together.path / f"seed-{seed}", alone.path)]
        assert states[0].read_bytes() == states[1].read_bytes()
        losses.add(mine["val_loss"].iloc[-1])
    assert len(losses) == 3


@pytest.mark.parametrize("validation", HOLDOUTS, ids=["first", "drawn"])
@pytest.mark.parametrize("spec", [WINE, TOKENS], ids=["dense", "sparse"])
def test_the_same_seeds_give_the_same_bytes(
    spec: dict[str, object], validation: dict[str, object], tmp_path: Path
) -> None:
    path = write(tmp_path, spec, validation=validation)
    one, two = (nnrun.train(path, seeds=3, runs_dir=tmp_path / "runs") for _ in range(2))
    assert lines_without_seconds(one) == lines_without_seconds(two)
    seconds = ["seconds_mean", "seconds_std"]
    pd.testing.assert_frame_equal(
        one.history_mean.drop(columns=seconds), two.history_mean.drop(columns=seconds), check_exact=True
    )
    for seed in range(3):
        for name in ("weights.safetensors", "preprocessing.json"):
            files = [run.path / f"seed-{seed}" / name for run in (one, two)]
            assert files[0].read_bytes() == files[1].read_bytes()


def test_a_seed_does_not_know_how_many_train_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path, WINE, validation=HOLDOUTS[1])
    two, five = (nnrun.train(path, seeds=n, runs_dir=tmp_path / "runs").history for n in (2, 5))
    shared = five[five["seed"] < 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        two.drop(columns="seconds"), shared.drop(columns="seconds"), rtol=1e-5, atol=0
    )


def test_the_resolved_spec_repeats_the_run(tmp_path: Path) -> None:
    path = write(tmp_path, WINE, validation={"kfold": {"k": 3}}, seed=5)
    run = nnrun.train(path, overrides={"optimizer.rmsprop.learning_rate": 0.01}, runs_dir=tmp_path / "runs")
    again = nnrun.train(run.path / "resolved.yaml", runs_dir=tmp_path / "runs")
    assert lines_without_seconds(again) == lines_without_seconds(run)
    assert (again.path / "resolved.yaml").read_text() == (run.path / "resolved.yaml").read_text()


def test_validation_never_changes_training(tmp_path: Path) -> None:
    """The same rows train with and without others beside them that validate."""
    rng = np.random.default_rng(3)
    x_NF, y_N = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
    layers = [{"dense": {"units": 4, "activation": "relu"}}, {"dense": {"units": 1, "activation": "sigmoid"}}]
    common = {"layers": layers, "loss": "binary_crossentropy", "epochs": 3, "batch_size": 8}
    runs = []
    for name, first, validation in (("with", 0, {"holdout": {"first": 20}}), ("without", 20, "none")):
        np.savez(tmp_path / f"{name}.npz", x_train=x_NF[first:], y_train=y_N[first:])
        path = tmp_path / f"{name}.yaml"
        spec = {**common, "dataset": {"npz": f"{name}.npz"}, "validation": validation, "shuffle": False}
        path.write_text(yaml.safe_dump(spec))
        runs.append(nnrun.train(path, runs_dir=tmp_path / "runs"))
    with_validation, without = (run.weights() for run in runs)
    assert {k: v.tobytes() for k, v in with_validation.items()} == {
        k: v.tobytes() for k, v in without.items()
    }


def test_preprocessing_is_blind_to_validation_rows(tmp_path: Path) -> None:
    """Other values in the rows of a fold leave what its preprocessing learned as it is, bit for bit."""
    rng = np.random.default_rng(4)
    x_NF = rng.normal(size=(40, 3))
    spec = {
        "dataset": {"npz": "table.npz"},
        "preprocessing": {"inputs": "standardize", "targets": "standardize"},
        "layers": [{"dense": 1}],
        "loss": "mse",
        "batch_size": 8,
        "validation": {"kfold": {"k": 4}},
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))

    def states(x: np.ndarray, y: np.ndarray) -> list[bytes]:
        np.savez(tmp_path / "table.npz", x_train=x, y_train=y)
        run = nnrun.train(path, runs_dir=tmp_path / "runs")
        return [(run.path / f"fold-{i}" / "preprocessing.json").read_bytes() for i in range(4)]

    y_N = rng.normal(size=40)
    before = states(x_NF, y_N)
    for fold in range(4):
        x_changed, y_changed = x_NF.copy(), y_N.copy()
        x_changed[fold * 10 : fold * 10 + 10] *= 1e6
        y_changed[fold * 10 : fold * 10 + 10] += 1e6
        after = states(x_changed, y_changed)
        assert after[fold] == before[fold]
        assert all(after[other] != before[other] for other in range(4) if other != fold)
