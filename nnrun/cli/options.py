"""Options that several commands share, declared once."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nnrun.api import DEFAULT_RUNS_DIR as DEFAULT_RUNS_DIR
from nnrun.api import is_spec_file
from nnrun.cli import completing
from nnrun.errors import UsageError
from nnrun.paths import user_path


def path(written: str | Path) -> Path:
    """The value of an option or argument that is a path: `~` is the home folder, and empty is an error."""
    try:
        return user_path(written, "The path")
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None  # which names the option


if TYPE_CHECKING:
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.launching.launcher import Workers
    from nnrun.experiment.running.job import Settings
    from nnrun.experiment.running.listener import Listener
    from nnrun.spec.reading.overrides import Override

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the spec; the value is read as YAML."),
]
SetPaths = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=PATH",
        help="Where a file of the run is now: dataset.csv.path=FILE. Its content must be the same.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Change the spec's seed.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Change the spec's number of epochs.")]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        help="End after this time: 90s, 10m, 2h; a bare number is seconds.",
        show_default=False,
    ),
]
RunsDir = Annotated[
    Path,
    typer.Option(
        "--runs-dir",
        envvar="NNRUN_RUNS_DIR",
        metavar="DIRECTORY",
        parser=path,
        help="Where runs are kept.",
        show_default=True,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="NNRUN_DATA_DIR",
        metavar="DIRECTORY",
        parser=path,
        help="Where files of data sets that have names, such as imdb, are looked for first.",
    ),
]


def _allow(modules: list[str] | None) -> list[str] | None:
    from nnrun.spec.allowed_modules import allow

    allow(modules or ())
    return modules


AllowCustom = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-custom",
        metavar="MODULE",
        callback=_allow,
        help="Allow this Python module, which the spec names, to run. Only for code that you trust.",
    ),
]


def _compute_with(threads: int | None) -> int | None:
    from nnrun.limits import ask_for

    ask_for(threads)
    return threads


Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        envvar="NNRUN_THREADS",
        callback=_compute_with,
        help="CPU threads. Default: one for small steps, else as many as this process may use.",
    ),
]


CompilePolicy = Literal["auto", "on", "off"]


Compile = Annotated[
    CompilePolicy,
    typer.Option("--compile", help="Compile training steps: where possible (auto), on, or off."),
]
AllowUnknown = Annotated[
    bool,
    typer.Option(
        "--allow-unknown",
        help="Use the test set even if most of its rows have a value that no training row has.",
    ),
]


WeightsName = Literal["last", "best"]


Weights = Annotated[
    WeightsName,
    typer.Option("--weights", help="Use the final weights (last) or those of the best epoch (best)."),
]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        metavar="LEVEL",
        help="Add an interval to each number, or a set of classes, for this share of new rows, such as 0.9: "
        "conformal prediction from the run's validation rows.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show only errors and results, no progress.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print more details.")]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke", help="Train two epochs on a few hundred generated rows, to check that the spec runs."
    ),
]

_SPEC = typer.Argument(
    metavar="SPEC", parser=path, help="The spec file.", show_default=False, autocompletion=completing.specs
)
Spec = Annotated[Path, _SPEC]
SpecOrNone = Annotated[Path | None, _SPEC]


def test_file(help_: str) -> Any:
    """The option `--test FILE`: a file of test rows."""
    return typer.Option("--test", metavar="FILE", parser=path, help=help_, show_default=False)


Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Resume an interrupted run: path, id, @last.",
        autocompletion=completing.runs,
    ),
]
AllowInexact = Annotated[
    bool,
    typer.Option(
        "--allow-inexact",
        help="With --resume: continue even if versions or the device differ; this is recorded.",
    ),
]
_RUN = "A path, an id or a prefix of one, or @last."
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help=_RUN, autocompletion=completing.runs)]
NamePattern = Annotated[
    str | None, typer.Option("--name", metavar="PATTERN", help="Only runs with this name: 'imdb*'.")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help=_RUN, autocompletion=completing.runs)]
_SPEC_OR_RUN = typer.Argument(
    metavar="SPEC|RUN",
    help="A spec file; or a run: path, id, prefix, @last.",
    show_default=False,
    autocompletion=completing.specs_and_runs,
)
SpecOrRun = Annotated[str, _SPEC_OR_RUN]
SpecOrRunOrNone = Annotated[str | None, _SPEC_OR_RUN]
_FIGURE_ENDINGS = (".png", ".svg")


def output_file(metavar: str, help_: str) -> Any:
    """The option `-o FILE`: the file to write."""
    return typer.Option("-o", "--output", metavar=metavar, parser=path, help=help_)


Figure = Annotated[Path | None, output_file("FILE", "Write one figure: .png or .svg.")]


def is_spec(text: str) -> bool:
    """Whether an argument that may name a spec or a run names a spec."""
    return is_spec_file(os.path.expanduser(text))


def required(spec: Path | None, what: str = "run") -> Path:
    """The spec that a command without --resume needs."""
    if spec is None:
        raise UsageError(f"A spec is missing. Name one, or a {what} to resume: --resume {what.upper()}.")
    return spec


def changes_of(set_: list[str] | None, *, seed: int | None, epochs: int | None) -> list[Override]:
    """What the command line changes in a spec."""
    from nnrun.spec.reading.overrides import Override, overrides_of

    options = {"seed": seed, "epochs": epochs}
    return [
        *overrides_of(set_ or ()),
        *(Override.of_value(key, value, f"--{key}") for key, value in options.items() if value is not None),
    ]


def time_limit(time: str | None) -> list[Override]:
    """What --time changes in the spec of a run."""
    from nnrun.spec.reading.overrides import Override

    return [] if time is None else [Override.of_value("time_limit", time, "--time")]


def outer_folds(k: int | None) -> list[Override]:
    """What --nested changes in the spec of a sweep."""
    from nnrun.spec.reading.overrides import Override

    return [] if k is None else [Override.of_value("nested.k", k, "--nested", prevails=True)]


NestedMembers = Annotated[
    Literal["folds"] | None,
    typer.Option(
        "--members",
        help="With --nested: score the average of each outer fold's inner networks; nothing is trained anew.",
    ),
]


def outer_members(
    members: str | None, k: int | None, spec: Path | None, changes: list[Override]
) -> list[Override]:
    """What --members changes in the spec of nested folds.

    Raises:
        UsageError: neither --nested nor the spec asks for outer folds.
    """
    from nnrun.spec.reading.load import load_spec
    from nnrun.spec.reading.overrides import Override

    if members is None:
        return []
    if k is None and spec is not None and load_spec(spec, changes).spec.nested is None:
        raise UsageError(
            f"--members {members} is for --nested K: it says what is scored on outer folds. Without them, "
            f"train first, and make the average by nnrun final RUN --members {members}."
        )
    return [Override.of_value("nested.members", members, "--members", prevails=True)]


LauncherOfWorkers = Literal["processes", "ray", "slurm"]


# --- groups of options -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resuming:
    """The options of commands that can resume a run."""

    resume: Resume = None
    allow_inexact: AllowInexact = False

    def __post_init__(self) -> None:
        if self.allow_inexact and self.resume is None:
            raise UsageError("--allow-inexact is for --resume, which continues a run; leave it out.")


@dataclass(frozen=True)
class Changes:
    """The options that change a spec, or its data."""

    set_: Set = None
    seed: Seed = None
    epochs: Epochs = None
    smoke: Smoke = False

    def overrides(self) -> list[Override]:
        """What they change in a spec."""
        return changes_of(self.set_, seed=self.seed, epochs=self.epochs)


@dataclass(frozen=True)
class Sharing:
    """The options of commands whose work several processes can share."""

    workers_: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="N", help="Have N processes train, here or on other machines."
        ),
    ] = None
    launcher: Annotated[
        LauncherOfWorkers | None,
        typer.Option("--launcher", help="Who starts the workers: this machine, Ray, or Slurm."),
    ] = None
    launcher_set: Annotated[
        list[str] | None,
        typer.Option(
            "--launcher-set",
            metavar="KEY=VALUE",
            help="An option of the launcher, for each worker: num_cpus=2, slurm_partition=gpu.",
        ),
    ] = None

    @property
    def is_given(self) -> bool:
        """Whether any of them was."""
        return any(value for value in (self.workers_, self.launcher, self.launcher_set))

    def workers(self) -> Workers | None:
        """The workers that were asked for; None where this process does the work."""
        from nnrun.experiment.launching.launcher import Workers

        if not self.is_given:
            return None
        if self.workers_ is None:
            option = "--launcher" if self.launcher else "--launcher-set"
            raise UsageError(f"{option} starts workers: say how many, such as --workers 4.")
        named = dict(_key_and_value(text) for text in self.launcher_set or ())
        return Workers(self.workers_, self.launcher or "processes", named)


def _key_and_value(text: str) -> tuple[str, Any]:
    """What `--launcher-set KEY=VALUE` says; the value is read as YAML."""
    from nnrun.errors import SpecError
    from nnrun.spec.reading.nodes import SourceText, plain
    from nnrun.spec.reading.yaml_reader import read_value

    key, equals, _ = text.partition("=")
    if not key.strip() or not equals:
        raise UsageError(f"--launcher-set {text}: write KEY=VALUE, such as num_cpus=2.")
    node, problems = read_value(SourceText("--launcher-set", text, numbered=False), len(key) + 1)
    if problems:
        raise SpecError(problems)
    return key.strip(), plain(node)


@dataclass(frozen=True)
class Training:
    """The options of every command that trains: on what, from where, to where, and what is shown."""

    device: Device = "auto"
    threads: Threads = None
    compile_: Compile = "auto"
    allow_custom: AllowCustom = None
    runs_dir: RunsDir = DEFAULT_RUNS_DIR
    data_dir: DataDir = None
    as_json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False

    def settings(self, command: str, **others: Any) -> Settings:
        """The settings of the run or sweep that a command makes."""
        from nnrun.experiment.running.job import Settings

        return Settings(command, self.runs_dir, self.data_dir, self.device, compile=self.compile_, **others)


@dataclass(frozen=True)
class Asking:
    """The options of every command that asks a run's networks: by which weights, where its data lie."""

    weights: Weights = "last"
    allow_unknown: AllowUnknown = False
    set_: SetPaths = None
    device: Device = "auto"
    threads: Threads = None
    allow_custom: AllowCustom = None
    runs_dir: RunsDir = DEFAULT_RUNS_DIR
    data_dir: DataDir = None
    as_json: Json = False
    quiet: Quiet = False

    def access(self, listener: Listener, member: str | None = None) -> Access:
        """How the run is opened."""
        from nnrun.experiment.finished.load_run import Access

        changes = self.set_ or ()
        return Access(member, self.weights, changes, self.data_dir, self.device, self.allow_unknown, listener)


def with_groups_expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command for Typer: each parameter that is a group of options becomes the options of the group."""
    # Not by `get_type_hints`: of a parameter with the default None, Python 3.10 makes another type there,
    # Optional[Annotated[...]], in which Typer does not find what is an argument.
    declared = list(inspect.signature(function, eval_str=True).parameters.values())
    groups: dict[str, Any] = {p.name: p.annotation for p in declared if is_dataclass(p.annotation)}
    parameters: list[inspect.Parameter] = []
    for parameter in declared:
        group = groups.get(parameter.name)
        members = (
            [parameter] if group is None else inspect.signature(group, eval_str=True).parameters.values()
        )
        parameters += [p.replace(kind=p.KEYWORD_ONLY) for p in members]

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        return function(**values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def check_figure(path: Path | None, option: str = "-o") -> None:
    """Refuse a figure of a kind that is not written."""
    if path is not None and path.suffix.lower() not in _FIGURE_ENDINGS:
        raise UsageError(f"{option} must name a .png or .svg file, but got {path}.")
