"""`nnrun check`: all problems in the specs and in small data files, without importing torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import completing
from nnrun.cli.options import Json, Set, path
from nnrun.cli.output import message, print_json
from nnrun.errors import DataError, Problem, SpecError, UsageError, printable
from nnrun.spec.wording import counted

if TYPE_CHECKING:
    from nnrun.spec.reading.load import LoadedSpec


@dataclass(frozen=True)
class Checked:
    """What checking one spec found.

    Attributes:
        file: the spec's.
        problems: errors and warnings.
        exit_code: 0 where no error is among the problems.
        note: why its data were not checked; None where they were, or where they are no file of the user's.
    """

    file: str
    problems: tuple[Problem, ...]
    exit_code: int = 0
    note: str | None = None

    def render(self) -> str:
        """The problems, and under them the verdict."""
        errors = sum(problem.severity == "error" for problem in self.problems)
        verdict = counted(errors, "error") if errors else "ok"
        if warnings := len(self.problems) - errors:
            verdict += f", {counted(warnings, 'warning')}"
        return "\n".join([*(p.render() for p in self.problems), f"{printable(self.file)}: {verdict}"])

    def as_json(self) -> dict[str, Any]:
        """The same as values."""
        problems = [asdict(problem) for problem in self.problems]
        for problem in problems:
            problem["snippet"] = problem["snippet"] and printable(problem["snippet"])
        return {"file": self.file, "ok": self.exit_code == 0, "problems": problems, "note": self.note}


def check_spec(spec: Path, overrides: Sequence[str]) -> Checked:
    """Check one spec; whatever is wrong with it, or with its file, is in the answer."""
    from nnrun.spec.sweep_plan import check_sweep

    try:
        loaded = check_sweep(spec, overrides)
        of_data, note = _checked_data(loaded)
        problems = (*loaded.warnings, *of_data)
        wrong = any(problem.severity == "error" for problem in problems)
        return Checked(str(spec), problems, DataError.exit_code if wrong else 0, note)
    except SpecError as error:
        return Checked(str(spec), error.problems, error.exit_code)
    except UsageError as error:
        return Checked(str(spec), (Problem(str(error)),), error.exit_code)


def _checked_data(loaded: LoadedSpec) -> tuple[tuple[Problem, ...], str | None]:
    """What the data say, where they are a file of the user's, and why they were not read."""
    if getattr(loaded.spec.dataset, "path", None) is None:
        return (), None
    from nnrun.experiment.setup.check_data import problems_of_data, why_not_read

    return problems_of_data(loaded), why_not_read(loaded.spec.dataset)


def check(
    specs: Annotated[
        list[Path],
        typer.Argument(
            metavar="SPEC...",
            parser=path,
            help="Spec files.",
            show_default=False,
            autocompletion=completing.specs,
        ),
    ],
    set_: Set = None,
    json: Json = False,
) -> int:
    """Show all problems in the specs, and what training would reject in your own data files.

    Nothing is trained or downloaded; a data file of more than 64 MiB is not read. Exit code 0: no errors
    (there may be warnings); 2: a file cannot be read; 3: a spec is invalid; 4: the data are missing, or do
    not match it. Published data sets need not be there.
    """
    results = [check_spec(path, set_ or ()) for path in specs]
    for result in results:
        if result.note is not None:
            message(f"note: {result.file}: {result.note}.")
    if json:
        print_json({"specs": [result.as_json() for result in results]})
    else:
        for result in results:
            print(result.render())
        if len(results) > 1:
            bad = sum(result.exit_code != 0 for result in results)
            print(f"{counted(len(results), 'spec')}: {len(results) - bad} ok, {bad} with errors")
    codes = {result.exit_code for result in results} - {0}
    return min(codes, default=0)  # a file that cannot be read (2) says more than a spec that is wrong (3)
