"""The inputs of a first spec; and that any names survive the way into YAML and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.experiment.init.input_columns import choose_inputs
from nnrun.experiment.init.names import marks_split
from nnrun.experiment.init.table_spec import Request, initial_spec_of_file
from nnrun.experiment.init.target import TaskName, default_task
from nnrun.experiment.setup.check_data import problems_of_data
from nnrun.spec import schema
from nnrun.spec.ports import target_of
from nnrun.spec.reading.load import load_spec
from nnrun.spec.writing.dump import flow_text
from tests.support.tables_of_columns import CLASSES, NAMES, NUMBERS, OTHERS, table


def test_the_inputs(tmp_path: Path) -> None:
    rows = {
        "id": range(30),
        "name": NAMES,
        "same": ["s"] * 30,
        "nearly_empty": [5, *[""] * 29],
        "day": [f"2026-01-{i + 1:02d}" for i in range(30)],
        "kept": NUMBERS,
        "again": [value.upper() for value in CLASSES],
        "y": CLASSES,
    }
    inputs = choose_inputs(table(tmp_path, rows), {"y": "classification"})
    assert inputs.names == ("day", "kept")
    assert set(inputs.left_out) == {"id", "name", "same", "nearly_empty"}
    assert set(inputs.giveaways) == {"again"}


def test_a_category_that_may_have_been_meant_as_numbers_is_told(tmp_path: Path) -> None:
    """It would be trained on as one category a number, which nobody wants."""
    columns = {name: [*["tbd", "none", "?!"], *[0.25 + i for i in range(27)]] for name in ("size", "weight")}
    table(tmp_path, {**columns, "grade": ["a1", "b2", "c3"] * 10, "y": NUMBERS})
    found = initial_spec_of_file(Request(tmp_path / "t.csv", ("y",), "regression", tmp_path / "s.yaml"))
    said, spec = found.chosen, " ".join(found.text.replace("# ", "").split())
    holds = "'size' holds numbers in 27 of 30 values, and also '?!', 'none' and 'tbd': correct those"
    assert said["numbers?"].startswith(holds)
    assert said["numbers?"].endswith("; likewise 'weight'")
    assert f"read as a category: {holds}" in spec
    assert "read as a category: 'weight'" in spec
    assert "read as a category: 'grade'" not in spec


@pytest.mark.parametrize("columns", [{"again": OTHERS}, {"id": range(30)}])
def test_the_last_input_stays(columns: dict[str, Sequence[object]], tmp_path: Path) -> None:
    """A giveaway is told all the same."""
    inputs = choose_inputs(table(tmp_path, {**columns, "y": OTHERS}), {"y": "classification"})
    assert inputs.names == tuple(columns)
    assert inputs.kept_giveaways is ("again" in columns)


# --- names and paths ---------------------------------------------------------------------------------------

PRINTABLE = st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters='"')
COLUMN_NAMES = st.lists(
    st.text(PRINTABLE, min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda s: s and not is_number(s) and not marks_split(s)),  # which is no input
    min_size=3,
    max_size=3,
    unique=True,
)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@settings(max_examples=50)  # each is three specs
@given(names=COLUMN_NAMES)
def test_any_names_come_back_from_the_spec(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        here = Path(folder)
        file = table(here, dict(zip(names, (NUMBERS, OTHERS, [1, -1, 3] * 10), strict=True)))
        for target in names:
            task = default_task(file.columns[target], file.n_rows, target)
            spec_path = here / "s.yaml"
            request = Request(here / "t.csv", (target,), task, spec_path)
            spec_path.write_text(initial_spec_of_file(request).text, encoding="utf-8")
            loaded = load_spec(spec_path)
            assert loaded.warnings == ()
            dataset = loaded.spec.dataset
            assert isinstance(dataset, schema.Csv)
            assert dataset.target == [target]
            assert dataset.inputs == [name for name in names if name != target]
            assert dataset.path == str(here / "t.csv")


@settings(max_examples=50)
@given(names=COLUMN_NAMES)
def test_any_two_of_them_are_outputs(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        here, targets = Path(folder), tuple(names[:2])
        table(here, dict(zip(names, (NUMBERS, OTHERS, [1, -1, 3] * 10), strict=True)))
        spec_path = here / "s.yaml"
        tasks: dict[str, TaskName] = {targets[0]: "regression", targets[1]: "classification"}
        request = Request(here / "t.csv", targets, "regression", spec_path, tasks=tasks)
        spec_path.write_text(initial_spec_of_file(request).text, encoding="utf-8")
        loaded = load_spec(spec_path)
        assert loaded.warnings == ()
        assert [target_of(loaded.spec, output) for output in loaded.spec.outputs] == [[t] for t in targets]
        assert isinstance(loaded.spec.dataset, schema.Csv)
        assert loaded.spec.dataset.inputs == names[2:]


@pytest.mark.parametrize("place", ["s.yaml", "below/s.yaml", "below/further/s.yaml"])
def test_the_path_is_relative_to_the_spec(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a folder on the way is a link."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "further").mkdir()
    os.symlink(tmp_path / "real" / "deep", tmp_path / "below")
    table(tmp_path, {"a": NUMBERS, "y": OTHERS})
    monkeypatch.chdir(tmp_path)
    spec_path = Path(place)
    spec_path.write_text(
        initial_spec_of_file(Request(Path("t.csv"), ("y",), "classification", spec_path)).text
    )
    loaded = load_spec(spec_path).spec.dataset
    assert isinstance(loaded, schema.Csv)
    assert os.path.samefile(loaded.path, "t.csv")
    assert str(tmp_path) not in spec_path.read_text()


# --- what the lines of the spec say ------------------------------------------------------------------------


def spec_of(folder: Path, columns: dict[str, Sequence[object]], *targets: str, task: TaskName) -> str:
    file = table(folder, columns)
    return initial_spec_of_file(Request(folder / "t.csv", targets, task, folder / "s.yaml"), file).text


MANY = [i * 1.7 % 13 for i in range(60)]
FINE = [(i * 37 % 61) / 7 for i in range(60)]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            {"part": ["train"] * 40 + ["valid"] * 10 + ["test"] * 10, "a": MANY, "y": FINE},
            "validation: {holdout: {column: part, value: valid}}",
        ),
        (
            {"fold": [i % 4 for i in range(60)], "a": MANY, "y": FINE},
            "validation: {kfold: {k: 4, group: fold}}",
        ),
        ({"subject": [i // 4 for i in range(60)], "a": MANY, "y": FINE}, "    group: subject"),
        (
            {"day": [f"{i % 28 + 1}.{i // 28 + 1}.2026" for i in range(60)], "a": MANY, "y": FINE},
            "validation: {time_series: {k: 4, column: day}}",
        ),
        (
            {"year": range(1960, 2020), "a": MANY, "y": FINE},
            "validation: {time_series: {k: 4, column: year}}",
        ),
        ({"a": MANY, "b": FINE, "y": [2.0**v for v in MANY]}, "  targets: [log1p, standardize]"),
        ({"a": MANY, "b": FINE, "y": FINE[::-1]}, "  targets: standardize"),
        ({"tags": ["red|blue", "red", "green|blue"] * 20, "a": MANY, "y": FINE}, "    types: {tags: text}"),
        (
            {"a": MANY, "y": ["", *FINE[1:]]},
            "    drop_missing_target: true  # 1 row of 60 without a target is",
        ),
    ],
)
def test_what_the_columns_decide(columns: dict[str, Sequence[object]], line: str, tmp_path: Path) -> None:
    text = spec_of(tmp_path, columns, "y", task="regression")
    assert line in text
    (tmp_path / "s.yaml").write_text(text)
    loaded = load_spec(tmp_path / "s.yaml")
    assert loaded.warnings == ()
    assert problems_of_data(loaded) == ()
    marks = {"part", "fold", "subject"} & columns.keys()
    assert isinstance(loaded.spec.dataset, schema.Csv)
    assert not marks & set(loaded.spec.dataset.inputs or ())


def test_a_rare_class_has_metrics_and_a_proposal_of_weights(tmp_path: Path) -> None:
    text = spec_of(tmp_path, {"a": MANY, "y": ["no"] * 55 + ["yes"] * 5}, "y", task="classification")
    assert "\nclass_weight" not in text
    assert "`class_weight: balanced` would" in text
    assert "\nmetrics: [accuracy, f1, average_precision]\n" in text


def test_several_labels(tmp_path: Path) -> None:
    columns = {"a": MANY, "rude": [i % 2 for i in range(60)], "kind": [int(i % 3 == 0) for i in range(60)]}
    text = spec_of(tmp_path, columns, "rude", "kind", task="regression")
    assert "    target: [rude, kind]" in text
    assert "  - dense: {units: 2, activation: sigmoid}" in text
    (tmp_path / "s.yaml").write_text(text)
    assert problems_of_data(load_spec(tmp_path / "s.yaml")) == ()


def several(
    folder: Path, columns: dict[str, Sequence[object]], *targets: str, **tasks: TaskName
) -> schema.ExperimentSpec:
    """The spec of several targets, once `check` has found nothing in it."""
    table(folder, columns)
    request = Request(folder / "t.csv", targets, "regression", folder / "s.yaml", tasks=tasks)
    (folder / "s.yaml").write_text(initial_spec_of_file(request).text)
    loaded = load_spec(folder / "s.yaml")
    assert loaded.warnings == ()
    assert problems_of_data(loaded) == ()
    return loaded.spec


KINDS = ["cat", "dog", "emu"] * 20


def test_several_targets_have_the_loss_layer_metrics_and_steps_of_their_kind(tmp_path: Path) -> None:
    columns = {"a": MANY, "kind": KINDS, "size": FINE, "cost": [2.0**v for v in MANY], "dear": [0, 1] * 30}
    columns |= {"b": FINE[::-1]}
    tasks: dict[str, TaskName] = {"kind": "classification", "dear": "classification"}
    spec = several(tmp_path, columns, "kind", "size", "cost", "dear", **tasks)
    assert isinstance(spec.layers, Mapping)
    found = {
        name: (
            output.loss.kind,
            flow_text(output.preprocessing),
            [metric.kind for metric in output.metrics],
            [flow_text(layer) for layer in spec.layers[name][1:]],
        )
        for name, output in spec.outputs.items()
    }
    assert found == {
        "kind": (
            "categorical_crossentropy",
            "one_hot",
            ["accuracy"],
            ["{dropout: 0.3}", "{dense: {units: 3, activation: softmax}}"],
        ),
        "size": ("mse", "standardize", ["mae", "r2"], ["{dense: 1}"]),
        "cost": ("mse", "{log1p: {standardize: true}}", ["mae", "r2"], ["{dense: 1}"]),
        "dear": (
            "binary_crossentropy",
            "none",
            ["accuracy"],
            ["{dropout: 0.3}", "{dense: {units: 1, activation: sigmoid}}"],
        ),
    }
    assert [layer.kind for layer in spec.layers["trunk"]] == ["dense", "dense"]
    assert isinstance(spec.validation, schema.KFold)
    assert spec.validation.stratify == "kind"


def test_outputs_of_classes_alone_have_dropout_in_the_trunk(tmp_path: Path) -> None:
    columns = {"a": MANY, "b": FINE, "kind": KINDS, "way": ["in", "out"] * 30}
    spec = several(tmp_path, columns, "kind", "way", kind="classification", way="classification")
    assert isinstance(spec.layers, Mapping)
    assert [layer.kind for layer in spec.layers["trunk"]] == ["dense", "dropout"] * 2
    assert [layer.kind for layer in spec.layers["way"]] == ["from", "dense"]


def test_numbers_that_are_classes_are_read_as_such(tmp_path: Path) -> None:
    columns = {"a": MANY, "b": FINE, "grade": [3, 4, 7] * 20, "size": FINE[::-1]}
    spec = several(tmp_path, columns, "grade", "size", grade="classification")
    assert isinstance(spec.dataset, schema.Csv)
    assert spec.dataset.types == {"grade": "category"}
    assert spec.outputs["grade"].loss.kind == "categorical_crossentropy"


def test_rows_without_any_target_are_left_out_and_others_counted(tmp_path: Path) -> None:
    kinds, sizes = ["", "", *KINDS[2:]], ["", 1.5, "", *FINE[3:]]
    columns = {"a": MANY, "b": FINE[::-1], "kind": kinds, "size": sizes}
    spec = several(tmp_path, columns, "kind", "size", kind="classification")
    assert isinstance(spec.dataset, schema.Csv)
    assert spec.dataset.drop_missing_target
    text = (tmp_path / "s.yaml").read_text()
    assert "    drop_missing_target: true  # 1 row of 60 without any target is left out\n" in text
    assert "# 'kind': 58 rows in 3 classes." in text
    assert text.count("#   1 row lacks it and counts for the other outputs only.\n") == 2
    # Rows that lack the class cannot be stratified by it.
    assert isinstance(spec.validation, schema.KFold)
    assert spec.validation.stratify is False


def test_what_tells_one_of_several_targets_is_told_of_it(tmp_path: Path) -> None:
    columns = {"a": MANY, "size": FINE, "kind": KINDS, "animal": [kind.upper() for kind in KINDS]}
    several(tmp_path, columns, "size", "kind", kind="classification")
    assert "! 'animal' GIVES 'kind' AWAY" in (tmp_path / "s.yaml").read_text()


def test_one_text_among_others_leaves_the_network_of_a_table(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    words = [" ".join(rng.choice(["so", "many", "words", "in", "a", "row"], 6)) for _ in range(60)]
    columns = {"a": MANY, "b": FINE, "c": MANY[::-1], "note": words, "y": FINE[::-1]}
    text = spec_of(tmp_path, columns, "y", task="regression")
    assert text.count("  - dense: {units: 16, activation: relu}") == 2
    assert "num_words: 1000" in text
    assert "optimizer: adam\n" in text


def long_table(rows: int) -> dict[str, Sequence[object]]:
    """A number, a category and a target that follows from both."""
    rng = np.random.RandomState(0)
    a = rng.normal(size=rows).round(3)
    kind = rng.choice(["oak", "elm", "ash"], rows)
    return {"a": a.tolist(), "kind": kind.tolist(), "y": (a + (kind == "oak")).round(3).tolist()}


def test_a_table_of_300_rows_has_the_measured_network_and_training(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(spec_of(tmp_path, long_table(300), "y", task="regression"))
    loaded = load_spec(tmp_path / "s.yaml")
    assert (loaded.warnings, problems_of_data(loaded)) == ((), ())
    spec = loaded.spec
    assert flow_text(spec.preprocessing) == (
        "{inputs: [{impute: {strategy: median, indicator: true}}, {piecewise_linear: {keep: true}}, "
        "quantile, {one_hot: {min_count: 5, rare: true}}], targets: standardize}"
    )
    assert isinstance(spec.layers, list)
    assert [flow_text(layer) for layer in spec.layers] == [
        "{dense: {units: 128, activation: relu}}",
        "{dense: {units: 128, activation: relu}}",
        "{dense: 1}",
    ]
    assert isinstance(spec.optimizer, schema.AdamW)
    assert spec.optimizer.exclude_from_weight_decay == ["bias"]
    assert isinstance(spec.weight_averaging, schema.Ema)
    assert spec.early_stopping is not None
    assert (spec.early_stopping.on, spec.early_stopping.fraction) == ("inner", 0.15)
    assert spec.early_stopping.start_from_epoch == 3
    assert isinstance(spec.validation, schema.KFold)
    assert spec.validation.k == 10
    assert spec.linear_member


def test_below_300_rows_it_has_a_small_network(tmp_path: Path) -> None:
    text = spec_of(tmp_path, long_table(299), "y", task="regression")
    assert "    - standardize  # numbers" in text
    assert "units: 16" in text
    assert "optimizer: adam\n" in text


@pytest.mark.parametrize(("zeros", "step"), [(0, "[log1p, standardize]"), (5, "standardize")])
def test_counts_of_events_are_not_on_a_logarithmic_scale(zeros: int, step: str, tmp_path: Path) -> None:
    amounts = [0.0] * zeros + [round(2.0**v + 1, 3) for v in MANY[zeros:]]
    text = spec_of(tmp_path, {"a": MANY, "b": FINE, "y": amounts}, "y", task="regression")
    assert f"\n  targets: {step}  #" in text
