"""`nnrun export --format script`: a Python file that needs no nnrun and says what `nnrun predict` says."""

from __future__ import annotations

import csv
import io
import math
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import nnrun
from nnrun.cli import main
from nnrun.data.preprocess.registry import STEPS
from nnrun.errors import DataError
from nnrun.experiment.scripting.layer_script import ACTIVATION_SCRIPTS, activated
from nnrun.experiment.scripting.layer_scripts import LAYER_SCRIPTS
from nnrun.experiment.scripting.merge_scripts import MERGE_SCRIPTS
from nnrun.experiment.scripting.network_script import network_script
from nnrun.experiment.scripting.parts import collected, names_in
from nnrun.experiment.scripting.step_scripts import NUMBER_STEPS, OTHER_STEPS
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.layers import LAYERS
from nnrun.model.layers.merging import MERGES
from nnrun.model.network import Network, RowShape, build_network
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import INPUT, OUTPUT
from tests.support.commands import run_script
from tests.support.layer_cases import CASES as LAYER_CASES
from tests.support.layer_cases import between, inputs, lively
from tests.support.odd_tables import CASES, odd_rows, spec_of, training_rows, write_rows
from tests.support.small_experiments import BINARY, REGRESSION, growing_tokens, numbers, write_small
from tests.support.two_ports import GRAPH
from tests.support.two_ports import arrays as graph_arrays

Capture = pytest.CaptureFixture[str]
PROBABILITIES = ["--probabilities"]
HEAD = """\
from __future__ import annotations
import torch
from torch import Tensor, nn
from torch.nn import functional as F
"""


# --- the registries ----------------------------------------------------------------------------------------


NOT_WRITTEN: frozenset[type[Any] | str] = frozenset()
"""Steps, layers, merges and activations that are refused by name."""


def test_every_part_of_the_registries_is_written() -> None:
    """A new step, layer, merge or activation has its line, or stands in `NOT_WRITTEN`."""
    pairs: list[tuple[set[Any], Any]] = [
        ({*NUMBER_STEPS, *OTHER_STEPS}, STEPS),
        (set(LAYER_SCRIPTS), LAYERS),
        (set(MERGE_SCRIPTS), MERGES),
        (set(ACTIVATION_SCRIPTS), ACTIVATIONS),
    ]
    for known, registry in pairs:
        assert known <= set(registry)
        assert set(registry) - known <= NOT_WRITTEN
    named = {kind for steps, _ in CASES.values() for step in steps for kind in step}
    assert named >= {cls.spec.kind for cls in (*NUMBER_STEPS, *OTHER_STEPS)}, (
        "and a case in tests/support/odd_tables.py"
    )


def test_what_has_no_line_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    write_rows(tmp_path / "rows.csv", training_rows())
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(spec_of("hashes")))
    trained(tmp_path, monkeypatch, "train odd.yaml")
    capsys.readouterr()
    with monkeypatch.context() as patched:
        others = {cls: made for cls, made in OTHER_STEPS.items() if cls.kind != "hashing"}
        patched.setattr("nnrun.experiment.scripting.table_script.OTHER_STEPS", others)
        assert main(["export", "@last", "-o", "model.py"]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "cannot write the preprocessing step hashing of column 'color'. To export" in said
    assert isinstance(LAYER_SCRIPTS, dict)
    monkeypatch.delitem(LAYER_SCRIPTS, schema.Dense)
    assert main(["export", "@last", "-o", "model.py"]) == 2
    assert "cannot write the layer dense (layer 0)." in capsys.readouterr().err


def written(network: Network, weights: Any) -> Any:
    """The module of a network, of the text alone."""
    script = network_script(network, weights)
    parts, imports = collected(names_in(script.source))
    space: dict[str, Any] = {"__name__": "script"}
    exec(HEAD + "\n".join([*sorted(imports), *parts, script.source]), space)
    module = space["Network"]()
    (state,) = script.states
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return module.eval()


def check_network(network: Network, x: torch.Tensor) -> None:
    parameters = {name: value[:1] for name, value in lively(network).items()}
    expected = network.forward(parameters, {INPUT: x[None]})[OUTPUT][0]
    with torch.inference_mode():
        (found,) = written(network, network.unstack(parameters, 0))(x)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in LAYER_CASES if not case.startswith("custom")])
def test_each_layer(case: str) -> None:
    network, x = between(case)
    check_network(network, x[1])


@pytest.mark.parametrize(
    "layers",
    [
        """[{masking: 0}, {lstm: {units: 3, return_sequences: true, bidirectional: true}},
            {gru: {units: 3, reset_after: false}}, {dense: 2}]""",
        """[{masking: 0}, {gru: {units: 3, return_sequences: true, go_backwards: true}},
            {lstm: {units: 3, activation: relu, bidirectional: true, go_backwards: true}}, {dense: 2}]""",
        """[{masking: 0}, {simple_rnn: {units: 3, return_sequences: true}}, {dropout: 0.5},
            global_average_pooling, {dense: {units: 2, activation: softmax}}]""",
        """[{masking: 0}, {attention: {use_scale: true}}, {multi_head_attention: {num_heads: 2, key_dim: 3}},
            global_average_pooling, {dense: 2}]""",
        """[{masking: 0}, {residual: [{dense: 3}]},
            {parallel: {merge: concatenate, branches: [[{dense: 2}], [{dense: 3}]]}},
            global_average_pooling, {dense: 2}]""",
        """[{conv1d_transpose: {filters: 2, kernel_size: 2, strides: 3, padding: same}}, flatten,
            {dense: 2}]""",
        """[{conv1d_transpose: {filters: 2, kernel_size: 2, strides: 3, activation: tanh}}, flatten,
            {dense: 2}]""",
        """[{reshape: [5, 3, 1]}, {up_sampling: {size: 2, interpolation: bilinear}},
            {average_pooling: {pool_size: 3, strides: 2, padding: same}},
            {max_pooling: {pool_size: 3, strides: 2, padding: same}},
            {separable_conv2d: {filters: 2, kernel_size: 3, padding: same, strides: 2}}, flatten,
            {dense: 2}]""",
        """[{reshape: [5, 3, 1]},
            {conv2d: {filters: 2, kernel_size: [3, 2], padding: same, dilation_rate: 2}},
            {depthwise_conv2d: {kernel_size: 2, padding: same}}, flatten, {dense: 2}]""",
    ],
)
def test_masks_and_windows(layers: str) -> None:
    document = {"dataset": "imdb", "layers": yaml.safe_load(layers), "loss": "mse"}
    spec = schema.ExperimentSpec.model_validate(document)
    x = inputs(6, 5, 3)
    x[0, 2:], x[1, :2], x[2], x[3, 1] = 0, 0, 0, 0
    check_network(build_network(graph_of(spec), {INPUT: RowShape((5, 3))}), x)


@pytest.mark.parametrize("name", ACTIVATION_SCRIPTS)
def test_each_activation(name: str) -> None:
    source = f"def given(x):\n    return {activated(name, 'x')}"
    parts, imports = collected(names_in(source))
    space: dict[str, Any] = {"__name__": "script"}
    exec(HEAD + "\n".join([*sorted(imports), *parts, source]), space)
    x = 4 * inputs(7, 6)
    torch.testing.assert_close(space["given"](x), ACTIVATIONS[name](x), rtol=1e-6, atol=1e-6)


# --- whole models ------------------------------------------------------------------------------------------


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, *commands: str) -> None:
    monkeypatch.chdir(folder)
    for command in commands:
        assert main([*command.split(), "-q"]) == 0


def predicted(path: str, capsys: Capture, *options: str) -> list[dict[str, str]]:
    capsys.readouterr()
    main(["predict", "@last", path, "-q", *options])
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def check_same(found: list[dict[str, Any]], own: list[dict[str, str]]) -> None:
    assert len(found) == len(own)
    for mine, theirs in zip(found, own, strict=True):
        assert list(mine) == [name for name in theirs if name != "row"]
        for name, value in mine.items():
            if isinstance(value, float) and not math.isnan(value):
                assert value == pytest.approx(float(theirs[name]), rel=1e-6, abs=1e-6)
            else:
                assert str(value) == theirs[name]


@pytest.mark.parametrize("case", CASES)
def test_row_by_row(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_rows(tmp_path / "rows.csv", training_rows())
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(spec_of(case)))
    trained(tmp_path, monkeypatch, "train odd.yaml")
    assert main(["export", "@last", "-o", "model.py"]) == 0
    rows = odd_rows()
    write_rows(tmp_path / "odd.csv", rows)
    own = {int(row["row"]): row for row in predicted("odd.csv", capsys, *PROBABILITIES, "--skip-bad")}
    assert len(own) > len(rows) / 4
    script = runpy.run_path("model.py")
    for number, row in enumerate(rows):
        if number in own:
            check_same(script["predict"]([row]), [own[number]])
        else:
            with pytest.raises(ValueError, match="row 0 "):
                script["predict"]([row])
    check_same(script["predict"]([rows[number] for number in own]), list(own.values()))


def test_a_data_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps, numbers, truth values, categories and dates, as `nnrun.predict` takes them."""
    days = pd.date_range("2024-01-29", periods=40, freq="13D")
    frame = pd.DataFrame(
        {
            "size": [float(i % 7) if i % 5 else np.nan for i in range(40)],
            "count": [i % 3 for i in range(40)],
            "flag": [i % 4 == 0 for i in range(40)],
            "color": pd.Categorical([None if i % 6 == 0 else "rgb"[i % 3] for i in range(40)]),
            "day": days,
            "y": [i % 2 for i in range(40)],
        }
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    steps = "[{datetime: {columns: [day]}}, impute, standardize, one_hot]"
    (tmp_path / "frame.yaml").write_text(
        "dataset: {csv: {path: rows.csv, target: y}}\nepochs: 1\nloss: binary_crossentropy\n"
        f"preprocessing: {{inputs: {steps}}}\nlayers: [{{dense: {{units: 1, activation: sigmoid}}}}]\n"
    )
    trained(tmp_path, monkeypatch, "train frame.yaml")
    assert main(["export", "@last", "-o", "model.py"]) == 0
    script = runpy.run_path("model.py")
    (run,) = Path("runs").glob("frame-*")
    for given in (frame, frame.drop(columns="y").iloc[::-1], frame[:0]):
        own = nnrun.predict(run, given, probabilities=True) if len(given) else pd.DataFrame()
        found = script["predict"](given)
        assert len(found) == len(own)
        if len(found):
            of_script = pd.DataFrame(found)[list(own.columns.drop("row", errors="ignore"))]
            pd.testing.assert_frame_equal(
                of_script, own.reset_index()[of_script.columns], check_dtype=False, rtol=1e-5
            )


def test_it_runs_without_nnrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_rows(tmp_path / "rows.csv", training_rows())
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(spec_of("categories")))
    trained(tmp_path, monkeypatch, "train odd.yaml")
    capsys.readouterr()
    assert main(["export", "@last", "-o", "model.py"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "what was learned is in model.npz, which stays beside it" in said
    assert "python model.py ROWS.csv" in said
    alone = "import sys, runpy; sys.modules['nnrun'] = None; sys.argv = ['model.py', 'rows.csv']; "
    alone += "runpy.run_path('model.py', run_name='__main__'); "
    alone += "assert not {m for m in sys.modules if m.partition('.')[0] in ('pandas', 'sklearn', 'scipy')}"
    made = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    asked = run_script("model.py", "-h", cwd=tmp_path)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "python model.py ROWS  " in asked.stdout
    for arguments, message in (
        ("", "usage: python model.py ROWS"),
        ("bad.csv", "bad.csv: row 1 has 'x' in"),
        ("gone.csv", "gone.csv: No such file or directory"),
    ):
        (tmp_path / "bad.csv").write_text("color,full,flag,size,code\n,,,,3\n,,,x,3\n")
        wrong = run_script("model.py", *arguments.split(), cwd=tmp_path)
        assert (wrong.returncode, wrong.stdout, wrong.stderr.startswith(message)) == (1, "", True)
    found = list(csv.DictReader(io.StringIO(made.stdout)))
    own = predicted("rows.csv", capsys, *PROBABILITIES)
    for mine, theirs in zip(found, own, strict=True):
        assert (mine["row"], mine["prediction"]) == (theirs["row"], theirs["prediction"])
        assert float(mine["probability_1"]) == pytest.approx(float(theirs["probability_1"]), abs=1e-6)


NO_NUMBERS: list[Any] = [True, False, [3], {}, 10**400, float("inf")]
NO_TEXTS: list[Any] = [[3], {}, float("inf"), "\ud800"]
NO_ROWS: list[Any] = [{}, {"other": 3}, "red", None]


@pytest.mark.parametrize(
    "row",
    [*NO_ROWS, *({"size": field} for field in NO_NUMBERS), *({"color": field} for field in NO_TEXTS)],
    ids=ascii,
)
def test_what_predict_refuses(row: Any, odd_model: tuple[Path, Any]) -> None:
    folder, script = odd_model
    with pytest.raises(script["BadRow"], match="row 1 "):
        script["predict"]([{"size": 3, "color": "red"}, row])
    with pytest.raises(DataError, match="row 1 "):
        nnrun.predict(nnrun.load_run("@last", runs_dir=folder / "runs"), [{"size": 3, "color": "red"}, row])


@pytest.fixture(scope="module")
def odd_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with a run of a table, and its script."""
    folder = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        write_rows(folder / "rows.csv", training_rows())
        (folder / "odd.yaml").write_text(yaml.safe_dump(spec_of("categories")))
        trained(folder, patch, "train odd.yaml")
        assert main(["export", "@last", "-o", "model.py"]) == 0
        return folder, runpy.run_path("model.py")


def check_arrays(rows: Any, capsys: Capture, *options: str) -> None:
    assert main(["export", "@last", "-o", "model.py"]) == 0
    np.savez("rows.npz", x=rows)
    check_same(runpy.run_path("model.py")["predict"](rows), predicted("rows.npz", capsys, *options))


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocessing": {"inputs": [{"standardize": [2, 0]}, {"min_max": [1]}], "targets": "standardize"}},
        {"preprocessing": {"inputs": [{"piecewise_linear": {"bins": 4, "keep": True}}, "quantile"]}},
        {"preprocessing": {"inputs": ["robust", "piecewise_linear"], "targets": "log1p"}},
        {"preprocessing": {"inputs": [{"one_hot": [1]}, "standardize"], "targets": {"quantile": {}}}},
        {"preprocessing": {"inputs": "none"}, "layers": [{"dense": 1}]},
        {
            "ensemble": {"members": 3, "kind": "batch"},
            "preprocessing": {"inputs": "standardize", "targets": "log1p"},
        },
    ],
)
def test_numbers(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    arrays = {name: np.abs(values) for name, values in numbers().items()}
    write_small(tmp_path, REGRESSION, arrays, **changes)
    trained(tmp_path, monkeypatch, "train small.yaml")
    check_arrays(arrays["x_test"], capsys)


@pytest.mark.parametrize(
    "changes",
    [
        {"calibrate": "platt", "threshold": {"maximize": "f1"}},
        {"calibrate": "isotonic"},
        {"calibrate": "temperature", "ensemble": {"members": 2, "kind": "independent"}},
        {
            "calibrate": "temperature",
            "layers": [{"dense": {"units": 2, "activation": "softmax"}}],
            "loss": "categorical_crossentropy",
        },
    ],
)
def test_decisions(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    arrays = {name: (a > 6).astype(int) if name[0] == "y" else a for name, a in numbers().items()}
    write_small(tmp_path, BINARY, arrays, **changes)
    trained(tmp_path, monkeypatch, "train small.yaml")
    check_arrays(arrays["x_test"], capsys, *PROBABILITIES)


def test_folds_are_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_small(tmp_path, REGRESSION, preprocessing={"inputs": "standardize", "targets": "standardize"})
    trained(tmp_path, monkeypatch, "kfold small.yaml --k 3", "final @last --members folds")
    check_arrays(numbers()["x_test"], capsys)


def test_lists_of_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    layers = [{"dense": {"units": 1, "activation": "sigmoid"}}]
    inputs_ = [{"multi_hot": {"weighting": "tf_idf", "ngrams": 2}}]
    write_small(tmp_path, BINARY, growing_tokens(), preprocessing={"inputs": inputs_}, layers=layers)
    trained(tmp_path, monkeypatch, "train small.yaml")
    assert main(["export", "@last", "-o", "model.py"]) == 0
    rows = [[1, 5, 5, 2], [7, 7, 2, 999], [3]]
    Path("rows.jsonl").write_text("".join(f"{row}\n" for row in rows))
    check_same(runpy.run_path("model.py")["predict"](rows), predicted("rows.jsonl", capsys, *PROBABILITIES))


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    (tmp_path / "mine.py").write_text(
        "class Twice:\n    def fit(self, x):\n        return []\n\n"
        "    def transform(self, x, state):\n        return 2 * x\n"
    )
    write_small(tmp_path, REGRESSION, preprocessing={"inputs": [{"custom": "mine:Twice"}]})
    trained(tmp_path, monkeypatch, "train small.yaml --allow-custom mine")
    capsys.readouterr()
    assert main(["export", "@last", "-o", "model.py", "--allow-custom", "mine"]) == 2
    assert "cannot write the preprocessing step mine:Twice" in " ".join(capsys.readouterr().err.split())
    assert main(["export", "@last", "-o", "model.txt", "--format", "script", "--allow-custom", "mine"]) == 2
    assert "the name of a script must end in .py" in capsys.readouterr().err
    assert not Path("model.py").exists()
    assert not Path("model.npz").exists()


def test_files_of_a_person_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    data = numbers()
    np.savez(tmp_path / "numbers.npz", **data)  # type: ignore[arg-type]
    write_small(tmp_path, REGRESSION, dataset={"npz": {"path": "numbers.npz"}})
    trained(tmp_path, monkeypatch, "train small.yaml")
    before = Path("numbers.npz").read_bytes()
    capsys.readouterr()
    assert main(["export", "@last", "-o", "numbers.py"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("error: numbers.npz exists, and nnrun did not write it")
    assert "Name another script with -o" in said
    assert Path("numbers.npz").read_bytes() == before
    assert not Path("numbers.py").exists()
    for _ in range(2):  # its own file it replaces
        assert main(["export", "@last", "-o", "my model.py"]) == 0
        assert "python 'my model.py' ROWS.csv" in capsys.readouterr().out
    assert runpy.run_path("my model.py")["predict"](data["x_test"])


@pytest.mark.parametrize("name", ["class", "torch", "numpy", "csv", "sys", "typing_extensions"])
def test_names_that_imports_need(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    write_small(tmp_path, REGRESSION)
    trained(tmp_path, monkeypatch, "train small.yaml --smoke")
    capsys.readouterr()
    assert main(["export", "@last", "-o", f"{name}.py"]) == 2
    what = "a keyword of Python" if name == "class" else "the name of a module"
    assert f"{name}.py: {name} is {what}" in " ".join(capsys.readouterr().err.split())
    assert not Path(f"{name}.py").exists()
    assert not Path(f"{name}.npz").exists()


def test_named_inputs_and_outputs_of_a_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    parts = {part: graph_arrays(rows, rows) for part, rows in (("train", 48), ("test", 20))}
    arrays = {f"{name}_{part}": a for part, named in parts.items() for name, a in named.items()}
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "graph.yaml").write_text(GRAPH)
    trained(tmp_path, monkeypatch, "train graph.yaml")
    assert main(["export", "@last", "-o", "model.py", "--member", "fold-1"]) == 0
    test = parts["test"]
    rows = {"size": test["size"], "pic-ture": test["pixels"], "words": test["words"].tolist()}
    found = runpy.run_path("model.py")["predict"](rows)
    check_same(found, predicted("data.npz", capsys, *PROBABILITIES, "--member", "fold-1"))


def test_columns_that_inputs_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    rows = [{k: row[k] for k in ("color", "flag", "size", "y")} for row in training_rows()]
    rows = [{**row, "height": f"{len(row['color']) * 100}"} for row in rows if row["size"]]
    write_rows(tmp_path / "rows.csv", rows)
    (tmp_path / "two.yaml").write_text(TWO_INPUTS)
    trained(tmp_path, monkeypatch, "train two.yaml")
    assert main(["export", "@last", "-o", "model.py"]) == 0
    check_same(runpy.run_path("model.py")["predict"](rows), predicted("rows.csv", capsys, *PROBABILITIES))


TWO_INPUTS = """
dataset: {csv: {path: rows.csv, types: {y: category}}}
inputs:
  numbers: {columns: [size], preprocessing: standardize}
  words: {columns: [color, flag, size], preprocessing: [{one_hot: [color, flag]}, {standardize: [size]}]}
layers:
  trunk: [concatenate: [numbers, words], dense: {units: 16, activation: relu}]
  grade: [from: trunk, dense: {units: 1, activation: sigmoid}]
  tall: [from: trunk, dense: 1]
outputs:
  grade: {target: y, loss: binary_crossentropy}
  tall: {target: height, loss: mse, preprocessing: log1p}
epochs: 2
validation: {holdout: {fraction: 0.25}}
"""


def test_a_file_without_a_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    rows = training_rows()
    lines = [f"{row['full']};{row['size'].replace('.', ',') or 'NA'};{row['y']}" for row in rows]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    spec = spec_of("categories")
    dataset = {"path": "rows.csv", "header": False, "target": "c2", "decimal": ","}
    steps = [{"one_hot": ["c0"]}, {"impute": {"columns": ["c1"]}}, {"standardize": ["c1"]}]
    spec |= {"dataset": {"csv": dataset}, "preprocessing": {"inputs": steps}}
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(spec))
    trained(tmp_path, monkeypatch, "train odd.yaml")
    assert main(["export", "@last", "-o", "model.py"]) == 0
    own = predicted("rows.csv", capsys, *PROBABILITIES)
    made = run_script("model.py", "rows.csv", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    found = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(io.StringIO(made.stdout))]
    assert len(found) == len(own) == len(rows)
    for mine, theirs in zip(found, own, strict=True):
        assert mine == pytest.approx({name: float(value) for name, value in theirs.items()}, abs=1e-6)
