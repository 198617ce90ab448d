"""How the tests share the CPUs; the real files, where they are, and a cache that is nobody's."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from nnrun.data.files import read_table
from nnrun.limits import usable_cpus
from nnrun.native import library
from tests.support import commands

# OpenMP's threads spin while they wait for each other, which takes the CPU from other tests: beside them, a
# training of 2 s of processor time took 25 s. Threads that sleep compute the same numbers. The variable is
# read when torch is imported, here and in the processes that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# MKL adds in another order where memory lies otherwise. Values that Keras computed are compared after many
# steps, and one of attention's differed by 0.3 % for that on an AMD CPU.
os.environ.setdefault("MKL_CBWR", "AUTO")

# Time says nothing about a law, and these machines are shared. Examples are the same in every run, so that
# a failure is a change's own; `HYPOTHESIS_PROFILE=search pytest -k ...` draws many others.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _PATIENT, derandomize=True)
settings.register_profile("search", _PATIENT, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A shell that starts the tests in the background has them ignore Ctrl-C, `nohup` the end of a terminal, and
# all that they start inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Messages are as wide as they are, however wide the terminal of the person who runs the tests. readline,
# which debuggers import, sets the variable for processes that are started, unseen by `os.environ`.
os.environ.pop("COLUMNS", None)
with contextlib.suppress(ImportError):
    import readline  # noqa: F401
os.unsetenv("COLUMNS")

# A run waits some twenty times until a disk has its files, which is as long as all that it computes. No test
# sees what that is good for: files that outlast a loss of power. When it is asked for is tested by functions
# that take this one's place; commands in processes of their own wait.
os.fsync = os.fstat  # type: ignore[assignment]

_REPOSITORY = Path(__file__).parents[1]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`pytest` alone takes all CPUs. Where tests are named, starting workers costs more than it saves."""
    asked = any(argument.startswith(("-n", "--numprocesses")) for argument in config.invocation_params.args)
    alone = config.args_source is not pytest.Config.ArgsSource.ARGS
    return usable_cpus() if asked or alone else 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-skipped",
        metavar="FILE",
        type=Path,
        help="write the ids of skipped tests and files, one a line: `pytest @FILE` runs these alone",
    )


def pytest_configure(config: pytest.Config) -> None:
    if _ample(_IN_MEMORY) and config.option.basetemp is None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_IN_MEMORY))
    file: Path | None = config.getoption("--write-skipped")
    if file is not None and "PYTEST_XDIST_WORKER" not in os.environ:  # workers tell this process
        config.pluginmanager.register(_Skipped(file))


_IN_MEMORY = Path("/dev/shm")
"""A file system in memory, on Linux. Tests write 100,000 small files, and would wait for a disk."""

_NEEDED_BYTES = 4 << 30


def _ample(folder: Path) -> bool:
    """Whether a folder in memory can be written and has room, and the memory to be had is twice that."""
    try:
        room = shutil.disk_usage(folder).free
        found = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return False
    available = 1024 * int(found[1]) if found else 0
    return os.access(folder, os.W_OK) and room > _NEEDED_BYTES and available > 2 * _NEEDED_BYTES


class _Skipped:
    """Keeps what is skipped in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ids: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._ids.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._ids.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._file.write_text("".join(f"{each}\n" for each in self._ids), encoding="utf-8")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected, a million objects, stays: nothing looks through it for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)  # after each 700 objects it takes a twentieth of the time


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a folder whose name begins with a text.

    `tmp_path_factory` counts in all names that it has given before, which takes 9 ms after 5,000 tests.
    """
    root = tmp_path_factory.mktemp("tests")
    numbers = itertools.count()

    def make(name: str) -> Path:
        folder = root / f"{name}{next(numbers)}"
        folder.mkdir(mode=0o700)
        return folder

    return make


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes which tests fail: what they wrote stays."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def tmp_path(new_folder: Callable[[str], Path], request: pytest.FixtureRequest) -> Generator[Path]:
    """The test's own folder, as pytest's; deleted at once where the test passes, since it may take memory."""
    folder = new_folder(re.sub(r"\W", "_", request.node.name)[:30])
    yield folder
    if not request.node.stash.get(_FAILED, False):
        if any(folder.glob("*.py")):  # a next test's module of the same name is another one
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", None)).startswith(f"{folder}{os.sep}"):
                    del sys.modules[name]
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests of this process.

    The compiled C++ code, whose names have a hash of all that decides it, it shares with other processes, and
    with later runs where pytest has chosen the folder for them: it takes 16 s of processor time. With
    the commands that CI runs, where it names their folder.
    """
    folder = tmp_path_factory.mktemp("cache")
    base = tmp_path_factory.getbasetemp()
    own = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    shared = (own.parent if own.parent.name.startswith("pytest-of-") else own) / "compiled"
    shared = Path(os.environ.get("PYTEST_NNRUN_COMPILED", shared))
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "compiled").symlink_to(shared)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _environment_of_commands() -> None:
    commands.ENVIRONMENT.update(os.environ)


@pytest.fixture(autouse=True)
def _same_environment() -> Generator[None]:
    """What a test changes is taken back: commands are forked only where the environment is alike."""
    before = dict(os.environ)
    yield
    for name in before.keys() - os.environ.keys():
        os.environ[name] = before[name]
    for name in {name for name, _ in os.environ.items() ^ before.items()}:
        if not name.startswith(("PYTEST_", "KMP_")):  # of an import, which is not repeated
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]


@pytest.fixture(autouse=True)
def _apart(
    _same_environment: None,
    session_cache: Path,
    new_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No test sees or changes the caches of the person who runs it."""
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(session_cache))
    monkeypatch.setenv("HOME", str(new_folder("home")))
    # What a screen shows must not depend on how long the first test that needs the compiler waits for it, or
    # how long a small file is read while others take the CPUs.
    monkeypatch.setattr(library, "_SECONDS_IN_SILENCE", 600)
    monkeypatch.setattr(read_table, "_SECONDS_BETWEEN_MESSAGES", 600)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "empty-cache"
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data files; skips the test where it is not there."""
    folder = Path(os.environ.get("NNRUN_DATA_DIR") or _REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"there are no data in {folder}; set NNRUN_DATA_DIR to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of the histories that Keras computed; skips the test where it is not there."""
    folder = _REPOSITORY.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip(f"there are no reference histories in {folder}")
    return folder


@pytest.fixture(scope="session")
def reference_graphs_dir() -> Path:
    """The folder of Keras's histories of graphs, sequences and images; skips the test where it is missing."""
    folder = _REPOSITORY.parent / "shared" / "reference-graphs"
    if not folder.is_dir():
        pytest.skip(f"there are no reference histories in {folder}")
    return folder


@pytest.fixture(scope="session")
def specs_dir() -> Path:
    """The project's own specs."""
    return _REPOSITORY / "specs"


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """The path of a real data file; skips the test where it is not there."""
    folder = Path(os.environ.get("NNRUN_DATA_DIR") or _REPOSITORY.parent / "shared" / "data")

    def path_of(name: str) -> Path:
        if not (folder / name).is_file():
            pytest.skip(f"{name} is not in {folder}; set NNRUN_DATA_DIR to the folder that holds it")
        return folder / name

    return path_of


@pytest.fixture
def keras_folder(tmp_path: Path) -> Path:
    """Small files in the layout of Keras's."""
    folder = tmp_path / "keras"
    folder.mkdir()
    rng = np.random.RandomState(1)

    def lists(rows: int) -> np.ndarray:
        made = np.empty(rows, object)
        made[:] = [rng.randint(1, 400, rng.randint(1, 30)).tolist() for _ in range(rows)]
        return made

    np.savez_compressed(
        folder / "imdb.npz",
        x_train=lists(40),
        y_train=np.arange(40) % 2,
        x_test=lists(30),
        y_test=np.arange(30) % 2,
    )
    np.savez_compressed(folder / "reuters.npz", x=lists(100), y=np.arange(100) % 46)
    (folder / "reuters_word_index.json").write_text('{"the": 1, "of": 2, "to": 3}')
    return folder
