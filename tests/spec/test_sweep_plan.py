"""The trials of a sweep: which there are, and that each is checked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import SpecError, UsageError
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec
from nnrun.spec.sweep_plan import SweepPlan, check_sweep, load_sweep

DIGITS: dict[str, Any] = {
    "dataset": {"sklearn": "digits"},
    "preprocessing": {"targets": "one_hot"},
    "layers": [
        {"dense": {"units": 16, "activation": "relu"}},
        {"dense": {"units": 10, "activation": "softmax"}},
    ],
    "loss": "categorical_crossentropy",
    "metrics": ["accuracy"],
    "validation": "holdout",
}
UNITS, RATE = "layers[0].dense.units", "optimizer.rmsprop.learning_rate"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


def write(folder: Path, sweep: dict[str, Any] | None = None, **changes: Any) -> Path:
    path = folder / "digits.yaml"
    spec = DIGITS | ({} if sweep is None else {"sweep": sweep}) | changes
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in spec.items()))
    return path


def plan(folder: Path, sweep: dict[str, Any] | None = None, **changes: Any) -> SweepPlan:
    return load_sweep(write(folder, sweep, **changes))


def test_a_grid_tries_every_combination_and_the_last_key_fastest(folder: Path) -> None:
    over = {UNITS: [16, 32], "loss": ["categorical_crossentropy", "mse"]}
    sweep = plan(folder, {"over": over, "monitor": "val_accuracy"})
    assert sweep.total == 4
    assert [(trial.number, *trial.values.values()) for trial in sweep.trials] == [
        (1, 16, "categorical_crossentropy"),
        (2, 16, "mse"),
        (3, 32, "categorical_crossentropy"),
        (4, 32, "mse"),
    ]
    for trial in sweep.trials:
        spec = trial.loaded.spec
        assert isinstance(spec.layers[0], schema.Dense)
        assert (spec.layers[0].units, spec.loss.kind) == tuple(trial.values.values())
        assert spec.sweep is None


def test_a_shuffled_grid_begins_with_its_first_trial_and_tries_all(folder: Path) -> None:
    over = {UNITS: [16, 32, 64], "batch_size": [8, 16, 32]}

    def order(**sweep: Any) -> list[tuple[Any, ...]]:
        return [tuple(trial.values.values()) for trial in plan(folder, {"over": over, **sweep}).trials]

    written, shuffled = order(), order(shuffle=True)
    assert shuffled[0] == written[0]
    assert shuffled != written
    assert sorted(shuffled) == sorted(written)
    assert order(shuffle=True) == shuffled
    assert order(shuffle=True, seed=1) != shuffled


def test_what_is_drawn_at_random_is_not_shuffled(folder: Path) -> None:
    with pytest.raises(SpecError, match="shuffle is for the order of a grid, and random has its own"):
        plan(folder, {"over": {UNITS: [16, 32]}, "method": "random", "trials": 2, "shuffle": True})


def test_a_trial_is_the_spec_with_its_values_set(folder: Path) -> None:
    """And nothing else: what `--set` gives."""
    sweep = plan(folder, {"over": {UNITS: [16, 32], "optimizer": ["sgd", {"adam": {"beta_1": 0.5}}]}})
    path = write(folder)
    for trial in sweep.trials:
        assert trial.loaded.spec == load_spec(path, trial.values).spec


def test_a_value_may_be_anything(folder: Path) -> None:
    layers = [DIGITS["layers"], DIGITS["layers"][1:]]
    sweep = plan(folder, {"over": {"layers": layers, "early_stopping": [None, {"patience": 2}]}})
    assert [len(trial.loaded.spec.layers) for trial in sweep.trials] == [2, 2, 1, 1]
    assert [trial.loaded.spec.early_stopping for trial in sweep.trials[:2]] == [
        None,
        schema.EarlyStopping(patience=2),
    ]
    assert sweep.trials[3].values == {"layers": layers[1], "early_stopping": {"patience": 2}}


RANGES = {
    RATE: {"log_uniform": [1e-4, 1e-2]},
    "optimizer.rmsprop.rho": {"uniform": [0.5, 0.9]},
    "epochs": {"int_uniform": [2, 4]},
    UNITS: [16, 32],
}


@given(seed=st.integers(0, 2**63 - 1), trials=st.integers(1, 12))
def test_what_is_drawn_lies_in_its_range(folder: Path, seed: int, trials: int) -> None:
    sweep = plan(folder, {"method": "random", "trials": trials, "over": RANGES, "seed": seed})
    assert [trial.number for trial in sweep.trials] == list(range(1, trials + 1))
    for trial in sweep.trials:
        rate, rho, epochs, units = trial.values.values()
        assert 1e-4 <= rate <= 1e-2
        assert 0.5 <= rho <= 0.9
        assert epochs in (2, 3, 4)
        assert isinstance(epochs, int)
        assert units in (16, 32)


@given(seed=st.integers(0, 2**63 - 1))
def test_nothing_is_drawn_twice_while_there_are_others(folder: Path, seed: int) -> None:
    over = {"epochs": {"int_uniform": [1, 3]}, UNITS: [16, 32]}
    sweep = plan(folder, {"method": "random", "trials": 6, "over": over, "seed": seed})
    assert {tuple(trial.values.values()) for trial in sweep.trials} == {
        (e, u) for e in (1, 2, 3) for u in (16, 32)
    }


def test_more_trials_go_on_where_fewer_end(folder: Path) -> None:
    few, many = (plan(folder, {"method": "random", "trials": trials, "over": RANGES}) for trials in (3, 9))
    assert [trial.values for trial in few.trials] == [trial.values for trial in many.trials[:3]]


def test_draws_follow_the_seed_of_the_sweep_and_else_of_the_spec(folder: Path) -> None:
    def drawn(of_sweep: int | None, **changes: Any) -> list[dict[str, Any]]:
        sweep = {"method": "random", "trials": 3, "over": RANGES, "seed": of_sweep}
        return [dict(trial.values) for trial in plan(folder, sweep, **changes).trials]

    assert drawn(None, seed=5) == drawn(5, seed=0) == drawn(5, seed=9)
    assert drawn(None, seed=5) != drawn(None, seed=6)


def test_log_uniform_draws_each_order_of_magnitude_as_often(folder: Path) -> None:
    sweep = {"method": "random", "trials": 400, "over": {RATE: {"log_uniform": [1e-4, 1e-2]}}}
    rates = [trial.values[RATE] for trial in plan(folder, sweep).trials]
    below = sum(rate < 1e-3 for rate in rates)
    assert abs(below - 200) < 4 * math.sqrt(400 / 4)


def test_over_adds_to_the_section_and_replaces(folder: Path) -> None:
    path = write(folder, {"over": {UNITS: [16, 32], "loss": ["mse", "categorical_crossentropy"]}})
    sweep = load_sweep(path, over=["loss=mse", "epochs=1,2"])
    assert [tuple(trial.values.values()) for trial in sweep.trials] == [
        (16, "mse", 1),
        (16, "mse", 2),
        (32, "mse", 1),
        (32, "mse", 2),
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (f"{UNITS}=16,32", [16, 32]),
        (f" {UNITS} = 16 , 32 ", [16, 32]),
        ("loss=mse", ["mse"]),
        ("optimizer=sgd,{adam: 1e-3}", ["sgd", {"adam": 1e-3}]),
        ("layers=[{dense: {units: 10, activation: softmax}}]", [[DIGITS["layers"][1]]]),
    ],
)
def test_over_without_a_section(folder: Path, text: str, values: list[Any]) -> None:
    sweep = load_sweep(write(folder), over=[text])
    assert [value for trial in sweep.trials for value in trial.values.values()] == values


def test_a_range_on_the_command_line(folder: Path) -> None:
    changes: dict[str, str | int] = {"method": "random", "trials": 3}
    sweep = load_sweep(write(folder), (), [f"{RATE}={{log_uniform: [1e-4, 1e-2]}}"], changes)
    assert len({trial.values[RATE] for trial in sweep.trials}) == 3


def test_what_is_compared(folder: Path) -> None:
    over = {"over": {UNITS: [16, 32]}}
    assert plan(folder, over).monitor == "val_loss"
    watching = {"early_stopping": {"monitor": "val_accuracy"}}
    assert plan(folder, over, **watching).monitor == "val_accuracy"
    assert plan(folder, over | {"monitor": "val_accuracy"}).monitor == "val_accuracy"


def test_of_tpe_every_value_and_both_ends_are_checked(folder: Path) -> None:
    sweep = {"method": "tpe", "trials": 20, "over": RANGES}
    assert (plan(folder, sweep).total, plan(folder, sweep).trials) == (20, ())
    trial = plan(folder, sweep).trial(3, {RATE: 0.005, "optimizer.rmsprop.rho": 0.6, "epochs": 2, UNITS: 1})
    assert (trial.number, trial.values[UNITS], trial.loaded.spec.epochs) == (3, 32, 2)
    with pytest.raises(SpecError) as caught:
        plan(folder, {**sweep, "over": {**RANGES, "optimizer.rmsprop.rho": {"uniform": [0.5, 1.0]}}})
    assert [problem.message for problem in caught.value.problems] == [
        "optimizer.rmsprop.rho must be a number, 0 or more and below 1; found the number 1.0"
    ]


def test_warnings_of_trials_are_found_once(folder: Path) -> None:
    path = write(folder, {"over": {UNITS: [4, 32], "epochs": [1, 2, 3]}})
    assert [(problem.path, problem.severity) for problem in check_sweep(path).warnings] == [
        (UNITS, "warning")
    ]
    assert check_sweep(write(folder)).warnings == ()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("loss", "this is KEY=VALUE,VALUE, such as layers[0].dense.units=16,32,64"),
        ("=1,2", "this is KEY=VALUE,VALUE, such as layers[0].dense.units=16,32,64"),
        ("loss=", "this is KEY=VALUE,VALUE, such as layers[0].dense.units=16,32,64"),
        ("loss=mse,{", "a value is missing here"),
        ("layer=1,2", "unknown key 'layer'; did you mean 'layers'?"),
    ],
)
def test_a_wrong_over_is_said(folder: Path, over: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(write(folder), over=[over])
    (problem,) = caught.value.problems
    assert (problem.message, problem.file, problem.snippet) == (message, "--over", over)


def test_without_anything_to_try(folder: Path) -> None:
    path = write(folder)
    for changes in (None, {"method": "random"}):
        with pytest.raises(UsageError) as caught:
            load_sweep(path, changes=changes)
        assert str(caught.value) == (
            f"{path} has no sweep section. Say what to try: --over layers[0].dense.units=16,32,64, or "
            "`sweep: {over: {KEY: [VALUES]}}` in the spec."
        )


# --- what ranks the trials ---------------------------------------------------------------------------------

ONE_HOT, SPARSE = "categorical_crossentropy", "sparse_categorical_crossentropy"
REGRESSION: dict[str, Any] = {
    "dataset": {"sklearn": "diabetes"},
    "preprocessing": {"inputs": "standardize"},
    "layers": [{"dense": {"units": 8, "activation": "relu"}}, {"dense": 1}],
    "loss": "mse",
    "metrics": ["mae", "r2"],
}
LAST = "layers[1].dense"
METHODS: list[dict[str, Any]] = [{}, {"method": "random", "trials": 2}, {"method": "tpe", "trials": 2}]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"loss": ["mse", "mae"]}, "the losses are different ones"),
        ({"loss": ["huber", {"huber": 2.0}]}, "the losses are different ones"),
        (
            {"preprocessing.targets": ["none", "standardize"]},
            "only one of the two standardizes the targets, so that the units of the loss differ",
        ),
        (
            {f"{LAST}.kernel_regularizer": [{"l2": 0.1}, {"l2": 1.0}]},
            "the loss includes the regularizers' penalty, and the regularizers differ",
        ),
        (
            {f"{LAST}.kernel_regularizer": [None, {"l1": 0.1}]},
            "the loss includes the regularizers' penalty, and the regularizers differ",
        ),
    ],
)
def test_what_changes_the_loss_is_ranked_by_a_metric(
    folder: Path, over: dict[str, Any], reason: str, method: dict[str, Any]
) -> None:
    spec = REGRESSION | {"dataset": {"sklearn": {"name": "diabetes"}}}
    with pytest.raises(SpecError) as caught:
        plan(folder, {"over": over, **method}, **spec)
    (problem,) = caught.value.problems
    (key,) = over
    assert (problem.path, problem.line) == (key, 7)
    assert problem.message.startswith("val_loss cannot rank trials with " + key)
    assert f": {reason}. val_mae means the same in all trials (so does val_r2); compare by it: " in (
        problem.message
    )
    assert problem.message.endswith("--monitor val_mae, or `sweep: {monitor: val_mae}`")
    assert plan(folder, {"over": over, "monitor": "val_mae", **method}, **spec).monitor == "val_mae"
    assert load_sweep(write(folder, {"over": over, **method}, **spec), (), (), {"monitor": "val_r2"})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "validation",
    [
        [{"holdout": {"fraction": 0.25}}, {"holdout": {"fraction": 0.5}}],
        [{"kfold": {"k": 3}}, {"kfold": {"k": 4}}],
        ["holdout", "kfold"],
    ],
)
def test_nothing_ranks_trials_on_other_validation_rows(
    folder: Path, validation: list[Any], method: dict[str, Any]
) -> None:
    for monitor in ("val_loss", "val_mae"):
        with pytest.raises(SpecError) as caught:
            plan(folder, {"over": {"validation": validation}, "monitor": monitor, **method}, **REGRESSION)
        (problem,) = caught.value.problems
        assert problem.message.endswith(
            "differs, so they are not validated on the same rows. No score compares them: leave this key out "
            "of the sweep"
        )


@pytest.mark.parametrize(
    ("over", "changes"),
    [
        ({"loss": [ONE_HOT, SPARSE]}, {"preprocessing": {}}),
        ({"class_weight": [None, {"3": 2.0}]}, {}),
        ({"epochs": [1, 2], "optimizer": ["sgd", "adam"], "batch_size": [8, 16]}, {}),
        ({"layers[0].dense.units": [16, 32], "early_stopping": [None, {"patience": 2}]}, {}),
        ({"layers": [DIGITS["layers"], DIGITS["layers"][1:]]}, {}),
        ({"preprocessing.inputs": ["standardize", "min_max"]}, {}),
    ],
)
def test_what_leaves_the_loss_as_it_is(folder: Path, over: dict[str, Any], changes: dict[str, Any]) -> None:
    assert plan(folder, {"over": over}, **changes).warnings == ()


def test_each_key_that_is_to_blame_is_named_once(folder: Path) -> None:
    over = {
        "epochs": [1, 2],
        "loss": ["mse", "mae", "huber"],
        "preprocessing.targets": ["none", "standardize"],
    }
    with pytest.raises(SpecError) as caught:
        plan(folder, {"over": over}, **REGRESSION)
    assert [problem.path for problem in caught.value.problems] == ["loss", "preprocessing.targets"]
    with pytest.raises(SpecError) as caught:
        check_sweep(write(folder, {"over": over}, **REGRESSION))
    assert len(caught.value.problems) == 2


def test_without_a_metric_one_is_proposed(folder: Path) -> None:
    for spec, metric, losses in (
        (REGRESSION, "mae", ["mse", "mae"]),
        (DIGITS, "accuracy", [ONE_HOT, "mse"]),
    ):
        path = write(folder, {"over": {"loss": losses}}, **(spec | {"metrics": []}))
        with pytest.raises(SpecError) as caught:
            load_sweep(path)
        (problem,) = caught.value.problems
        assert f"add a metric, such as `metrics: [{metric}]`, and compare by it: --monitor val_{metric}," in (
            problem.message
        )
        load_sweep(path, {"metrics": [metric]}, (), {"monitor": f"val_{metric}"})


def test_a_metric_of_other_parameters_ranks_nothing(folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        plan(folder, {"over": {"metrics[0].top_k.k": [1, 3]}, "monitor": "val_top_k"}, metrics=["top_k"])
    assert "the metric's parameters differ. val_loss means the same in all trials;" in str(caught.value)


def test_seeds_that_draw_the_rows_are_warned_of(folder: Path) -> None:
    over = {"over": {"seed": [0, 1]}}
    (warning,) = plan(folder, over).warnings
    assert (warning.path, warning.severity) == ("seed", "warning")
    assert warning.message.startswith("the seed draws the validation rows, so trials with different seeds")
    assert plan(folder, over, validation={"holdout": {"first": 300}}).warnings == ()


def test_of_tpe_a_trial_that_does_not_compare_is_refused(folder: Path) -> None:
    """Each value alone keeps the loss as it is; together they do not."""
    layers = [
        [{"dense": {"units": 4, "activation": "relu"}}, {"dense": 1}],
        [{"dense": {"units": 4, "activation": "relu", "kernel_regularizer": "l2"}}, {"dense": 1}],
    ]
    over = {"layers": layers, "epochs": [1, 2]}
    sweep = plan(folder, {"over": over, "method": "tpe", "trials": 3, "monitor": "val_mae"}, **REGRESSION)
    assert sweep.trial(1, {"layers": 1, "epochs": 0}).loaded.spec.epochs == 1
    with pytest.raises(SpecError, match="cannot be compared with that of other trials"):
        replace(sweep, monitor="val_loss").trial(1, {"layers": 1, "epochs": 0})


# --- keys that overlap -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        (("optimizer", ["adam", "sgd"]), ("optimizer.adam.learning_rate", [0.1, 0.01])),
        (("layers[-1].dense.units", [10]), ("layers[1].dense.units", [10])),
        (("layers", [DIGITS["layers"]]), ("layers[0].dense.units", [2, 64])),
        (("loss", ["mse"]), ("loss.mean_squared_error", [{}])),
        (("metrics", [["accuracy"]]), ("metrics[0].acc", [{}])),
    ],
)
def test_swept_keys_that_overlap_are_refused_in_any_order(
    folder: Path, keys: tuple[tuple[str, list[Any]], ...]
) -> None:
    for pair in (keys, keys[::-1]):
        over = dict(pair)
        for method in METHODS:
            with pytest.raises(SpecError) as caught:
                plan(folder, {"over": over, **method})
            problem = caught.value.problems[0]
            assert problem.path == pair[1][0]
            assert "swept" in problem.message
            assert pair[0][0] in problem.message
        texts = [f"{key}={json.dumps(values)[1:-1]}" for key, values in pair]
        with pytest.raises(SpecError, match="swept"):
            load_sweep(write(folder), over=texts)
        with pytest.raises(SpecError, match="swept"):
            load_sweep(write(folder), over=over)


def test_the_same_key_swept_twice_is_refused(folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(write(folder), over=["epochs=1,2", "epochs=3,4"])
    assert [problem.message for problem in caught.value.problems] == [
        "epochs is swept twice: --over epochs=1,2 is here as well"
    ]


def test_over_replaces_a_key_of_the_section_in_any_spelling(folder: Path) -> None:
    path = write(folder, {"over": {"layers[-2].dense.units": [16, 32]}})
    assert [dict(t.values) for t in load_sweep(path, over=[f"{UNITS}=8"]).trials] == [{UNITS: 8}]


@pytest.mark.parametrize("override", ["epochs=5", "optimizer.adam.learning_rate=0.1"])
def test_an_override_that_no_trial_would_have_is_refused(folder: Path, override: str) -> None:
    over = {"epochs": [1, 2], "optimizer": ["adam", "sgd"]}
    for read in (load_sweep, check_sweep):
        with pytest.raises(SpecError, match="no trial would have this value, since the sweep varies"):
            read(write(folder, {"over": over}, optimizer="adam"), [override])


def test_an_override_that_trials_vary_a_part_of_is_their_base(folder: Path) -> None:
    path = write(folder, {"over": {"optimizer.adam.learning_rate": [0.1, 0.2]}})
    for trial in load_sweep(path, ["optimizer={adam: {beta_1: 0.5}}"]).trials:
        optimizer = trial.loaded.spec.optimizer
        assert isinstance(optimizer, schema.Adam)
        assert (optimizer.beta_1, optimizer.learning_rate in (0.1, 0.2)) == (0.5, True)


def test_what_an_option_says_is_not_said_by_an_override_too(folder: Path) -> None:
    path = write(folder, {"over": {"epochs": [1, 2]}})
    for key, value in (("method", "grid"), ("monitor", "val_loss")):
        with pytest.raises(UsageError, match=f"--{key} and the override of sweep.{key} set the same value"):
            load_sweep(path, [f"sweep.{key}={value}"], (), {key: value})


def test_trials_of_one_spec_are_one_trial_whichever_keys_make_it(folder: Path) -> None:
    over = {
        "optimizer": ["rmsprop", {"rmsprop": {"learning_rate": 0.001}}],
        "learning_rate_schedule": [[], {"step": 5}],
    }
    sweep = plan(folder, {"over": over})
    assert [(trial.number, *trial.values.values()) for trial in sweep.trials] == [
        (1, "rmsprop", []),
        (2, "rmsprop", {"step": 5}),
    ]
    assert sweep.total == 2
    (warning,) = sweep.warnings
    assert warning.message == (
        "4 combinations give 2 different specs, each trained once: optimizer {rmsprop: {learning_rate: "
        "0.001}}, learning_rate_schedule [] is the same as optimizer rmsprop, learning_rate_schedule "
        "[] (and so on, 2 times)"
    )
    drawn = plan(folder, {"over": over, "method": "random", "trials": 4})
    assert len({trial.loaded.spec.model_dump_json() for trial in drawn.trials}) == drawn.total == 2
