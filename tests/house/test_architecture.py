"""The house rules that a machine can check: who imports whom, who knows which file, what starting costs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

import nnrun
from nnrun.limits import cxx_compiler
from nnrun.records import run_directory
from nnrun.spec import schema
from tests.support.small_experiments import write_small

PACKAGE = Path(nnrun.__file__).parent
HEAVY = ("torch", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "pydantic", "rich", "pooch")

HEAVY_OF_SPECS = {"numpy", "pydantic"}

BREAST_CANCER = str(PACKAGE.parent / "specs" / "breast_cancer.yaml")
SPECS = [str(PACKAGE.parent / "specs" / name) for name in ("imdb.yaml", "imdb_mse.yaml")]

# Modules that read pickle on purpose, each behind a check that lets nothing but arrays through.
PICKLE_ALLOWED = ("data/archives/token_pickle.py",)


def test_imports_point_one_way() -> None:
    pytest.importorskip("importlinter", reason="import-linter comes with the extra `dev`")
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def imported_by(statement: str) -> set[str]:
    """The heavy packages that a fresh Python holds after a statement."""
    code = (
        f"import sys\n{statement}\nprint(*(m for m in {(*HEAVY, 'matplotlib.pyplot')} if m in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import nnrun",
        "import nnrun.cli.app",
        "from nnrun.cli import main; main(['--help'])",
        "from nnrun.cli import main; main(['--version'])",
    ],
)
def test_starting_imports_nothing_heavy(statement: str) -> None:
    assert imported_by(statement) == set()


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        (
            "import nnrun.spec.reading.load",
            {"torch", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "rich"},
        ),
        ("import nnrun.records", set(HEAVY) - {"pydantic"}),
        ("import nnrun.validation.splits", {"torch", "pandas", "sklearn", "matplotlib"}),
        ("import nnrun.validation.summary", {"torch", "pandas", "sklearn", "matplotlib"}),
        ("import nnrun.validation.paired", {"torch", "pandas", "sklearn", "matplotlib"}),
        ("import nnrun.experiment.evaluating.compare", {"torch", "sklearn", "matplotlib"}),
        (
            "import nnrun.model.network, nnrun.training.loop, nnrun.training.problem",
            set(HEAVY) - HEAVY_OF_SPECS,
        ),
        ("import nnrun.experiment.running.train", set(HEAVY) - HEAVY_OF_SPECS),
        (f"from nnrun.cli import main; main(['show', {BREAST_CANCER!r}])", set(HEAVY) - HEAVY_OF_SPECS),
        ("import nnrun.figures.curve_figure", {"torch", "sklearn", "matplotlib.pyplot"}),
        # Typer itself imports pydantic, where it is installed, to read the arguments of a command.
        ("from nnrun.cli import main; main(['plot', '--help'])", set(HEAVY) - {"pydantic"}),
        ("from nnrun.cli import main; main(['ls', '--runs-dir', '/nowhere'])", set(HEAVY) - {"pydantic"}),
        (f"from nnrun.cli import main; main(['diff', *{SPECS}])", set(HEAVY) - {"pydantic"}),
    ],
)
def test_a_part_imports_only_what_it_needs(statement: str, forbidden: set[str]) -> None:
    assert imported_by(statement) & forbidden == set()


def test_drawing_curves_needs_nothing_that_reads_data() -> None:
    code = "import sys, nnrun.experiment.describing.learning_curves; print('nnrun.data' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


PYTORCH = {"torch"} if cxx_compiler() is not None and not any(Path("/dev").glob("nvidia*")) else set()
"""What commands that only predict do without, where C++ can be compiled and no GPU is there to be asked."""

NOT_TO_TRAIN = {"pandas", "sklearn", "scipy", "matplotlib", "rich", "pooch"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, set[str]]:
    """A folder with a run of one of scikit-learn's tables in it, and what its training imported."""
    runs = str(tmp_path_factory.mktemp("runs"))
    arguments = ["train", BREAST_CANCER, "-q", "--epochs", "1", "--runs-dir", runs]
    return runs, imported_by(f"from nnrun.cli import main; main({arguments!r})")


def test_training_imports_nothing_but_what_it_trains_with(trained: tuple[str, set[str]]) -> None:
    assert trained[1] & NOT_TO_TRAIN == set()


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["show"], set(HEAVY) - HEAVY_OF_SPECS),
        (["plot"], {"torch", "pandas", "scipy", "sklearn", "matplotlib.pyplot", "rich", "pooch"}),
        (["report"], {*PYTORCH, "pandas", "scipy", "sklearn", "matplotlib.pyplot", "rich", "pooch"}),
        (["evaluate", "--split", "validation"], NOT_TO_TRAIN - {"matplotlib"} | {"matplotlib.pyplot"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_about_a_run_imports_only_what_it_needs(
    trained: tuple[str, set[str]], arguments: list[str], forbidden: set[str]
) -> None:
    command = [arguments[0], "@last", *arguments[1:], "--runs-dir", trained[0]]
    code = f"from nnrun.cli import main; assert main({command!r}) == 0"
    assert imported_by(code) & forbidden == set()


@pytest.mark.skipif(cxx_compiler() is None, reason="needs a C++ compiler")
def test_a_chain_is_predicted_without_pytorch(tmp_path: Path) -> None:
    write_small(tmp_path)
    runs, rows = str(tmp_path / "runs"), tmp_path / "rows.csv"
    rows.write_text("1,2,3\n")
    train = ["train", str(tmp_path / "small.yaml"), "-q", "--runs-dir", runs]
    assert subprocess.run([sys.executable, "-m", "nnrun", *train], check=False).returncode == 0
    predict = ["predict", "@last", str(rows), "--device", "cpu", "--runs-dir", runs]
    code = f"from nnrun.cli import main; assert main({predict!r}) == 0"
    assert imported_by(code) & {"torch", "scipy", "sklearn", "matplotlib", "rich"} == set()


# --- what the source says --------------------------------------------------------------------------------


_LOOKED_AT = (ast.Constant, ast.Call, ast.Import, ast.ImportFrom)
Looked = TypeVar("Looked", ast.Constant, ast.Call, ast.Import, ast.ImportFrom)


@cache
def nodes(path: Path) -> tuple[ast.expr | ast.stmt, ...]:
    """What rules look at in a module, without its docstrings."""
    tree = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    docstrings = {id(node.value) for node in tree if isinstance(node, ast.Expr) and is_text(node.value)}
    return tuple(node for node in tree if isinstance(node, _LOOKED_AT) and id(node) not in docstrings)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def outside(kind: type[Looked], *folders: str) -> Iterator[tuple[str, Looked]]:
    """Each such node of each module that is in none of the folders, with the place where it stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(folders):
            yield from ((f"{name}:{node.lineno}", node) for node in nodes(path) if isinstance(node, kind))


FILE_NAMES = {
    value
    for name, value in vars(run_directory).items()
    if name.isupper() and isinstance(value, str) and Path(value).suffix
}


def test_the_file_names_of_a_run_are_known() -> None:
    assert {"run.json", "history.csv", "resolved.yaml", "weights.safetensors"} <= FILE_NAMES


def test_only_records_knows_a_file_name_under_runs() -> None:
    texts = [(place, node.value) for place, node in outside(ast.Constant, "records/")]
    assert [place for place, text in texts if any(name in str(text) for name in FILE_NAMES)] == []


def test_no_test_module_imports_another() -> None:
    """What several share lives in tests/support."""
    tests = Path(__file__).parents[1]
    found = []
    for path in tests.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [
                f"{path.relative_to(tests)}: {name}" for name in names if re.match(r"tests\..*\btest_", name)
            ]
    assert found == []


def test_paths_in_commands_are_quoted() -> None:
    """A command that a message names can be pasted, whatever the folder is called: `run.word`."""
    command = re.compile(r"nnrun [a-z]+(?: --[a-z]+)* \{[\w.]+\.path\}")
    assert [str(path) for path in PACKAGE.rglob("*.py") if command.search(path.read_text("utf-8"))] == []


def test_only_commands_print() -> None:
    calls = [(place, node.func) for place, node in outside(ast.Call, "cli/")]
    assert [
        place for place, function in calls if isinstance(function, ast.Name) and function.id == "print"
    ] == []


def spec_keys() -> set[str]:
    unions = (schema.Dataset, schema.Layer, schema.Loss, schema.Optimizer, schema.Metric, schema.Validation)
    classes: list[type[schema.Config]] = [schema.ExperimentSpec, schema.EarlyStopping]
    for union in unions:
        classes += schema.components(union).values()
    return {key for cls in classes for key in cls.model_fields}


def test_defaults_stand_in_the_schema_alone() -> None:
    """No `params.get("learning_rate", 0.001)` and no `getattr(spec, "epochs", 1)`."""
    keys = spec_keys()
    scattered = []
    for place, node in outside(ast.Call, "spec/"):
        if len(node.args) < 2:
            continue
        called = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
        key, default = (getattr(argument, "value", None) for argument in node.args[-2:])
        if called in ("get", "getattr") and key in keys and isinstance(default, (int, float)):
            scattered.append(f"{place}: {ast.unparse(node)}")
    assert scattered == []


def test_nothing_needs_pickle() -> None:
    pickles = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    found = []
    for place, imports in outside(ast.Import, *PICKLE_ALLOWED):
        if pickles & {alias.name for alias in imports.names}:
            found.append(place)
    for place, imported in outside(ast.ImportFrom, *PICKLE_ALLOWED):
        if imported.module in pickles:
            found.append(place)
    assert found == []
