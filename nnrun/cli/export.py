"""`nnrun export`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import typer

from nnrun.cli import options
from nnrun.cli.output import hanging, message, print_result, terminal_width
from nnrun.errors import UsageError, printable

if TYPE_CHECKING:
    from nnrun.experiment.exporting.export import Exported, ExportedInput, ExportedOutput


_BY_COLUMNS = (
    'columns by name, with their preprocessing; a missing value is NaN or "", or what the run\'s CSV has for '
    "one; a row that predict refuses gives NaN"
)
ExportFormat = Literal["safetensors", "pt2", "onnx", "script"]
_ENDINGS = {"py": "script"}
_Port = TypeVar("_Port")


def export(
    run: options.Run,
    output: Annotated[
        Path,
        options.output_file("FILE", "The file to write: .safetensors, .pt2, .onnx, .py (a script)."),
    ],
    format_: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Default: by the file's ending. onnx needs the extra nnrun[onnx]."),
    ] = None,
    member: Annotated[
        str | None,
        typer.Option("--member", metavar="NAME", help="Which of several networks to export: fold-2, seed-7."),
    ] = None,
    weights: options.Weights = "last",
    float64: Annotated[
        bool, typer.Option("--float64", help="Export a program that takes float64 tables, not float32.")
    ] = False,
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Export a run's network for other programs, and check the file.

    Weights, a PyTorch program, ONNX, or a script: one Python file that needs PyTorch and NumPy only.
    """
    ending = output.suffix.lower().removeprefix(".")
    chosen = format_ or _ENDINGS.get(ending, ending)
    if chosen not in get_args(ExportFormat):
        raise UsageError(
            f"-o {output}: the name must end in .safetensors, .pt2 or .onnx, or in .py for a script; or give "
            "--format."
        )
    if chosen == "script" and ending != "py":
        raise UsageError(f"-o {output}: the name of a script must end in .py.")
    if output.exists() and not output.is_file():
        raise UsageError(f"-o {output} is not a regular file.")

    from nnrun.cli.running import listener_for
    from nnrun.experiment.exporting.export import export_run
    from nnrun.experiment.finished.load_run import Access
    from nnrun.records import find_run

    access = Access(member, weights, data_dir=data_dir, listener=listener_for(quiet=False, verbose=False))
    exported = export_run(
        find_run(run, runs_dir, tell=message),
        output,
        chosen,  # type: ignore[arg-type]  # one of the names, as was just looked at
        access,
        float64=float64,
    )
    print_result(as_json, lambda: _document(exported), lambda: _text(exported))


def _document(exported: Exported) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": str(exported.path),
        "format": exported.format,
        "run": exported.run.id,
        "member": exported.member,
        **({"members": list(exported.averaged)} if exported.averaged else {}),
        "weights": exported.weights.as_document(),
    }
    if exported.beside is not None:
        document["beside"] = str(exported.beside)
    takes = {name: vars(each) for name, each in exported.inputs.items()}
    gives = {name: _given(each) for name, each in exported.outputs.items()}
    document |= {"takes": takes} if exported.named_inputs else next(iter(takes.values()))
    document |= {"gives": gives} if exported.named_outputs else next(iter(gives.values()))
    return document | {
        "rows": exported.rows,
        "rows_from": exported.rows_from,
        **({"rows_unanswered": exported.unanswered} if exported.unanswered else {}),
        "difference": exported.difference,
        **({} if exported.intervals is None else {"intervals": exported.intervals.as_document()}),
        "bytes": exported.path.stat().st_size,
    }


def _given(output: ExportedOutput) -> dict[str, Any]:
    meaning: dict[str, Any] = {"kind": output.meaning.kind, "classes": list(output.meaning.classes)}
    if output.calibration is not None:
        meaning["calibration"] = output.calibration
    if output.meaning.has_own_threshold:
        meaning["threshold"] = output.meaning.threshold
    return {"outputs": output.outputs, "meaning": meaning}


def _text(exported: Exported) -> str:
    of_member = f", {exported.member}," if exported.member is not None else ""
    if exported.averaged:
        of_member = f", the average of {len(exported.averaged)} networks,"
    lines = [f"{exported.run.id}{of_member} in {exported.path}", f"weights  {exported.weights.text}"]
    if exported.weights.others:
        lines.append(f"         {exported.weights.others}")
    if exported.format == "safetensors":
        each = " of each" if exported.averaged else ""
        lines.append(
            f"holds    the weights{each}; as metadata the spec, the preprocessing{each} and the class names"
        )
    elif exported.beside is not None:
        lines.append(
            f"holds    rows, preprocessing, network and decisions as Python code; what was learned is in "
            f"{exported.beside}, which stays beside it"
        )
        stem = exported.path.stem
        imported = f"; or from {stem} import predict" if stem.isidentifier() else ""
        lines.append(f"use      python {shlex.quote(str(exported.path))} ROWS.csv{imported}")
    else:
        lines += _each("takes", exported.inputs, _input, named=exported.named_inputs)
        if any(taken.rows_of == "column" for taken in exported.inputs.values()):
            lines.append(f"{'':<9}{_BY_COLUMNS}")
        lines += _each("gives", exported.outputs, _output, named=exported.named_outputs)
    lines += _intervals(exported)
    lines.append(f"checked  {_checked(exported)}")
    return hanging("\n".join(lines), len("weights  "), terminal_width())


def _checked(exported: Exported) -> str:
    """What was compared, and what was not."""
    kind, unanswered = exported.rows_from, exported.unanswered
    why = "a text in them is one for which the file gives NaN, not knowing what predict says of it"
    if unanswered and not exported.rows:
        return (
            f"read again, but no prediction was compared: of all {unanswered:,} {kind} rows that were tried, "
            f"{why}"
        )
    said = (
        f"read again, on {exported.rows:,} {kind} rows: predictions differ from the run's by at most "
        f"{exported.difference:.3g}"
    )
    return f"{said}; {unanswered:,} more left out: {why}" if unanswered else said


def _each(does: str, ports: Mapping[str, _Port], text: Callable[[_Port], str], *, named: bool) -> list[str]:
    """A line for each input or output, with its name where the spec gave it one."""
    texts = [f"{printable(name)} {text(port)}" if named else text(port) for name, port in ports.items()]
    return [f"{does if i == 0 else '':<9}{line}" for i, line in enumerate(texts)]


def _intervals(exported: Exported) -> list[str]:
    """What intervals take beside the file, or what gives them."""
    from nnrun.experiment.exporting.file_intervals import LEVEL

    found = exported.intervals
    if found is None:
        return []
    percent, lines = f"{100 * LEVEL:g} %", []
    others = "other levels: `intervals` of the metadata"
    for name, widths in found.half_widths.items():
        of = f"{printable(name)} " if exported.named_outputs else ""
        shown = ", ".join(f"{width:.5g}" for width in widths[LEVEL])
        lines.append(f"{of}± {shown} covers {percent}; {others}")
    for name, reach in found.reaches.items():
        of = f" of {printable(name)}" if exported.named_outputs else ""
        which = f"whose more probable ones have at most {reach[LEVEL]:.5g} together"
        lines.append(f"the classes{of} {which} cover {percent}; {others}")
    lines.append(found.text)
    return [f"{'interval' if i == 0 else '':<9}{line}" for i, line in enumerate(lines)]


def _input(taken: ExportedInput) -> str:
    shape = f"(N, {', '.join(map(str, taken.row_shape))}) {taken.dtype}"
    if taken.rows_of == "column":
        return f"{shape}"
    if taken.rows_of in ("multi_hot", "pad"):
        rows = {"multi_hot": "multi-hot rows", "pad": "padded rows of tokens"}[taken.rows_of]
        return f"{shape}: {rows}; tokenizing texts and making such rows is not included"
    if taken.rows_of == "prepared":
        return (
            f"{shape}: prepared rows; some columns are not numeric, so the preprocessing, which the run's "
            "folder has, is not included"
        )
    if taken.columns:
        names = printable(", ".join(taken.columns))
        return f"{shape}: {names}, NaN where one is missing; their preprocessing is included"
    what = "raw features" if len(taken.row_shape) == 1 else "raw rows"
    return f"{shape}: {what}; their preprocessing is included"


def _output(given: ExportedOutput) -> str:
    shape, last = f"(N, {given.outputs}) float32", given.meaning.classes[-1]
    what = "score" if given.meaning.of_scores else "probability"
    if given.calibration is not None:
        what = f"calibrated {what}"
    above = f"; predicted above {given.meaning.threshold:.4g}" if given.meaning.has_own_threshold else ""
    if given.meaning.of_one:
        return f"{shape}: {', '.join(map(str, given.meaning.classes))} in the target's own units"
    return {
        "binary": f"{shape}: the {what} of {last if isinstance(last, str) else f'class {last}'}{above}",
        "class": f"{shape}: the {what} of each class",
        "labels": f"{shape}: the {what} of each label",
        "numbers": f"{shape}: in the target's own units",
        "steps": f"(N, steps, {given.outputs}) float32: the {what} of each class in each step",
        "sequence": f"(N, steps, {given.outputs}) float32: scores of each class, which ctc decodes",
    }[given.meaning.kind]
