"""Rows of the comparison that take whole processes: small trainings, the commands about runs, predictions."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.comparison import Line, Row, RowMaker, Sitting
from tests.benchmarks.programs import CPU_SECONDS, ROOT, Program, nnrun, python
from tests.benchmarks.training_rows import arrays, write_spec

BREAST_CANCER = ROOT / "specs" / "breast_cancer.yaml"
SWEEP_EPOCHS = 10
RUNS = 10_000
COLUMNS = 20


def sweep(sitting: Sitting) -> Row:
    """24 trials on scikit-learn's digits; `peers/sklearn_grid.py` tries the same networks."""
    folder = sitting.folder / "sweep"
    last = {"dense": {"units": 10, "activation": "softmax"}}
    hidden = {units: {"dense": {"units": units, "activation": "relu"}} for units in (32, 64, 128)}
    stacks = [[layer, last] for layer in hidden.values()] + [[h, h, last] for h in hidden.values()]
    spec = {
        "name": "sweep",
        "dataset": {"sklearn": "digits"},
        "preprocessing": {"inputs": "standardize", "targets": "one_hot"},
        "layers": stacks[0],
        "loss": "categorical_crossentropy",
        "optimizer": {"adam": {"learning_rate": 1e-3}},
        "metrics": ["accuracy"],
        "epochs": SWEEP_EPOCHS,
        "batch_size": 32,
        "validation": {"holdout": {"fraction": 0.2, "stratify": True}},
        "sweep": {
            "monitor": "val_accuracy",
            "over": {"layers": stacks, "optimizer.adam.learning_rate": [5e-4, 1e-3, 2e-3, 4e-3]},
        },
    }
    path = write_spec(folder, spec)
    command = nnrun("sweep", path, "--new", "--quiet", "--runs-dir", folder / "runs")
    grid = python("peers/sklearn_grid.py", "--epochs", str(SWEEP_EPOCHS))
    lines = [Line("sweep of 24 small trials, whole process", CPU_SECONDS, "s", "≤ 0.4")]
    return Row(lines, Program("nnrun", command), [Program("scikit-learn's GridSearchCV", grid)], warm=True)


def breast_cancer(sitting: Sitting) -> Row:
    folder = sitting.folder / "breast_cancer"
    command = nnrun("train", BREAST_CANCER, "--quiet", "--runs-dir", folder / "runs")
    loop = python("peers/torch_fit.py", folder, "--epochs", "40", "--folds", "5")
    peers = [Program("scikit-learn", python("peers/sklearn_folds.py")), Program("PyTorch", loop)]
    lines = [Line("train specs/breast_cancer.yaml, whole process", CPU_SECONDS, "s", "≤ 1.3 s, then ≤ 0.5 s")]
    before = [arrays(BREAST_CANCER, folder, sitting)]
    return Row(lines, Program("nnrun", command), peers, before=before, warm=True)


def _one_run(sitting: Sitting, folder: Path) -> tuple[Path, list[Program]]:
    """A folder with one finished run in it."""
    runs = folder / "runs"
    command = nnrun("train", BREAST_CANCER, "--quiet", "--runs-dir", runs)
    return runs, [Program("a run", command)]


def show(sitting: Sitting) -> Row:
    line = Line("show SPEC, whole process", CPU_SECONDS, "s", "≤ 0.5 s")
    return Row([line], Program("nnrun", nnrun("show", BREAST_CANCER)), warm=True)


def plot(sitting: Sitting) -> Row:
    folder = sitting.folder / "plot"
    runs, before = _one_run(sitting, folder)
    line = Line("plot @last, whole process", CPU_SECONDS, "s", "≤ 0.9 s")
    program = Program("nnrun", nnrun("plot", "@last", "--runs-dir", runs))
    by_hand = Program("pandas and Matplotlib", python("peers/matplotlib_curves.py", runs, folder / "figures"))
    return Row([line], program, [by_hand], before=before, warm=True)


def report(sitting: Sitting) -> Row:
    runs, before = _one_run(sitting, sitting.folder / "report")
    line = Line("report @last, whole process", CPU_SECONDS, "s", "≤ 1.5 s")
    program = Program("nnrun", nnrun("report", "@last", "--quiet", "--runs-dir", runs))
    return Row([line], program, before=before, warm=True)


def _many_runs(sitting: Sitting) -> tuple[Path, Path, list[Program]]:
    """The folder of one run, that of 10,000 copies, and what makes them unless they are there."""
    runs, before = _one_run(sitting, sitting.folder / "one_run")
    many = sitting.folder / "many_runs"
    copies = Program("copies", python("generated.py", "copies", many, runs, str(sitting.size(RUNS))))
    return runs, many, [] if many.exists() else [*before, copies]


def ls(sitting: Sitting) -> Row:
    _, many, before = _many_runs(sitting)
    line = Line(f"ls of {RUNS:,} runs, whole process", CPU_SECONDS, "s", "≤ 0.4 s")
    reading = Program("reading their JSON", python("peers/read_records.py", many))
    return Row([line], Program("nnrun", nnrun("ls", "--runs-dir", many)), [reading], before=before, warm=True)


def last_of_many(sitting: Sitting) -> Row:
    one, many, before = _many_runs(sitting)
    line = Line(f"show @last of {RUNS:,} runs against that of 1 run", CPU_SECONDS, "s", "1")
    of_many = Program("nnrun", nnrun("show", "@last", "--runs-dir", many))
    of_one = Program("nnrun, 1 run", nnrun("show", "@last", "--runs-dir", one))
    return Row([line], of_many, [of_one], before=before, warm=True)


def _predict(sitting: Sitting, rows: int, reach: str) -> Row:
    """A network of 64-64-1 for 20 columns predicts the rows of a CSV file."""
    folder = sitting.folder / f"predict_{rows}"
    table, weights, new = folder / "table.csv", folder / "weights.pt", folder / "new.csv"
    hidden = {"dense": {"units": 64, "activation": "relu"}}
    spec = {
        "name": "predict",
        "dataset": {"csv": {"path": str(table), "target": "answer"}},
        "preprocessing": {"inputs": "standardize"},
        "layers": [hidden, hidden, {"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "metrics": ["accuracy"],
        "epochs": 2,
        "batch_size": 128,
        "validation": {"holdout": {"fraction": 0.2}},
    }
    path, runs = write_spec(folder, spec), folder / "runs"
    before = [
        Program("a table", python("generated.py", "csv", table, "2000", str(COLUMNS), "0")),
        Program("rows", python("generated.py", "new-rows", new, str(sitting.size(rows)), str(COLUMNS))),
        Program("weights", python("peers/torch_predict.py", "--make", weights, str(COLUMNS))),
        Program("a run", nnrun("train", path, "--quiet", "--runs-dir", runs)),
    ]
    command = nnrun("predict", "@last", new, "-o", folder / "ours.csv", "--runs-dir", runs)
    script = python("peers/torch_predict.py", weights, new, folder / "theirs.csv")
    work = f"predict {rows:,} row{'s' if rows > 1 else ''}, whole process"
    lines = [Line(work, CPU_SECONDS, "s", reach)]
    return Row(
        lines, Program("nnrun", command), [Program("PyTorch and pandas", script)], before=before, warm=True
    )


def predict_one(sitting: Sitting) -> Row:
    return _predict(sitting, 1, "≤ 0.5 s")


def predict_many(sitting: Sitting) -> Row:
    return _predict(sitting, 100_000, "≤ 1.2 s")


ROWS: dict[str, RowMaker] = {
    "sweep": sweep,
    "breast_cancer": breast_cancer,
    "show": show,
    "plot": plot,
    "report": report,
    "ls": ls,
    "last_of_many": last_of_many,
    "predict_one": predict_one,
    "predict_many": predict_many,
}
