"""`nnrun compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.diff import check_format, differences_table, print_csv, print_differences
from nnrun.cli.output import in_blocks, message, paragraph, print_json, terminal_width
from nnrun.errors import UsageError, printable
from nnrun.spec.wording import with_std

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nnrun.experiment.evaluating.compare import ComparedRun, Comparison, ScoreComparison
    from nnrun.records import RunDirectory


def compare(
    runs: options.Runs,
    spec_only: Annotated[
        bool, typer.Option("--spec-only", help="Show only how the specs differ (as nnrun diff).")
    ] = False,
    output: options.Figure = None,
    no_figure: Annotated[bool, typer.Option("--no-figure", help="Draw nothing.")] = False,
    as_csv: options.Csv = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """Compare runs: how their specs differ, their scores, and whether differences may be chance."""
    check_format(as_json=as_json, as_csv=as_csv)
    if output is not None and (no_figure or spec_only):
        raise UsageError(
            f"-o asks for a figure and {'--no-figure' if no_figure else '--spec-only'} for none."
        )
    options.check_figure(output)

    from nnrun.records import find_runs

    found = find_runs(runs, runs_dir)
    if len(found) < 2:
        raise UsageError(f"compare needs at least two runs, but got only {found[0].id}.")
    if spec_only:
        from nnrun.experiment.finished.run_scores import read_run_spec

        print_differences(
            _names(found), [read_run_spec(run) for run in found], as_json=as_json, as_csv=as_csv
        )
        return

    from nnrun.experiment.evaluating.compare import compare_runs

    comparison = compare_runs(found)
    names = _names(found)
    figure = None if no_figure else _draw(comparison, names, output)
    if as_json:
        print_json(_document(comparison, figure))
    elif as_csv:
        print_csv(_csv(comparison, names))
        if figure is not None:
            message(f"Figure  {figure}")
    else:
        print(printable(_text(comparison, names, figure)))


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """The ids; paths where two runs of different folders have the same."""
    ids = [run.id for run in runs]
    return ids if len(set(ids)) == len(ids) else [str(run.path) for run in runs]


def _draw(comparison: Comparison, names: Sequence[str], output: Path | None) -> Path | None:
    """Write the figure of the runs that have epochs; None where there is none."""
    pairs = zip(comparison.runs, names, strict=True)
    drawn = [(run, f"{run.label}  {name}") for run, name in pairs if run.scores.record.epochs_run]
    if not drawn:
        message("No figure: none of these runs has finished an epoch.")
        return None

    from nnrun.experiment.describing.learning_curves import make_panels, write_figure

    panels = make_panels(
        [run.scores.run for run, _ in drawn],
        labels=[label for _, label in drawn],
    )
    left_out = panels.left_out_text([run.label for run, _ in drawn])
    if left_out:
        message(printable(left_out if panels.curves else f"No figure: {left_out[:1].lower()}{left_out[1:]}"))
    if not panels.curves:
        return None
    return write_figure(panels, output or comparison.runs[0].scores.run.figure("compare"))


# --- text --------------------------------------------------------------------------------------------------


def _text(comparison: Comparison, names: Sequence[str], figure: Path | None) -> str:
    width = terminal_width()
    labels = [run.label for run in comparison.runs]
    longest = max(map(len, names))
    pairs = zip(comparison.runs, names, strict=True)
    blocks = [
        "\n".join(f"{run.label}  {name:<{longest}}  {_about(run)}".rstrip() for run, name in pairs),
        differences_table(labels, comparison.spec_differences, width),
    ]
    if comparison.score_names():
        blocks.append(in_blocks(_score_table(comparison), width))
    for sentences in (comparison.verdicts(), comparison.notes()):
        blocks.append("\n".join(paragraph(sentence, width) for sentence in sentences))
    blocks.append(f"Figure  {figure}" if figure is not None else "")
    return "\n\n".join(block for block in blocks if block)


def _about(run: ComparedRun) -> str:
    """`train, 10 seeds`."""
    record, ids = run.scores.record, run.scores.member_ids
    parts = [record.command] if record.command else []
    if record.member_type is not None:
        several = f"{len(ids)} {record.member_type}s"
        parts.append(f"{record.member_type} {ids[0]}" if len(ids) == 1 else several)
    parts += ["smoke run"] if record.smoke else []
    parts += [record.status or ""] if record.status != "completed" else []
    return ", ".join(parts)


def _score_table(comparison: Comparison) -> list[list[str]]:
    """Rows of scores: a column for each run, then one for the difference of each to the first."""
    first, *others = comparison.runs
    differences = [f"{run.label} - {first.label}" for run in others]
    rows = [["", *(run.label for run in comparison.runs), *differences]]
    tested = False
    for name in comparison.score_names():
        of_test = name.startswith("test_")
        facts = _TEST_FACTS if of_test else _VALIDATION_FACTS
        if of_test != tested or len(rows) == 1:
            tested = of_test
            for fact, text_of in facts.items():
                rows.append([fact, *map(text_of, comparison.runs), *([""] * len(others))])
        cells = [_difference(_found(run, name)) for run in others]
        rows.append([name, *(_score_cell(run, name) for run in comparison.runs), *cells])
    return rows


def _best_epoch(run: ComparedRun) -> str:
    return str(run.scores.record.best_epoch or "")


def _tested_epoch(run: ComparedRun) -> str:
    epochs = run.scores.tested_epochs
    return "" if not epochs else str(epochs[0]) if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"


def _test_uses(run: ComparedRun) -> str:
    return str(len(run.scores.record.test_uses) or "")


_VALIDATION_FACTS = {"best_epoch": _best_epoch}
_TEST_FACTS = {"tested_epoch": _tested_epoch, "test_uses": _test_uses}


def _score_cell(run: ComparedRun, name: str) -> str:
    score = run.all_scores().get(name)
    if score is None:
        return ""
    against = _found(run, name)
    mark = "*" if against is not None and against.not_comparable else ""
    return f"{mark}{with_std(score.mean, score.std)}"


def _difference(score: ScoreComparison | None) -> str:
    from nnrun.validation.paired import with_error

    if score is None or score.difference is None:
        return ""
    error = score.test.standard_error if score.test is not None else None
    return with_error(score.difference, error or None, sign=True)


def _found(run: ComparedRun, name: str) -> ScoreComparison | None:
    return next((score for score in run.against_first if score.name == name), None)


# --- CSV and JSON ------------------------------------------------------------------------------------------


def _csv(comparison: Comparison, names: Sequence[str]) -> list[list[Any]]:
    """The tables as one: what a row is about, its name, then a column for each run."""
    runs = comparison.runs
    rows: list[list[Any]] = [["what", "name", *names]]
    rows += [["spec", d.path, *d.texts] for d in comparison.spec_differences]
    facts = [
        ["run", fact, *map(text_of, runs)] for fact, text_of in (_VALIDATION_FACTS | _TEST_FACTS).items()
    ]
    rows += [fact for fact in facts if any(fact[2:])]
    for name in comparison.score_names():
        scores = [run.all_scores().get(name) for run in runs]
        found = [_found(run, name) for run in runs]
        tests = [None if score is None else score.test for score in found]
        columns = {
            "score": _each(scores, "mean"),
            "std": _each(scores, "std"),
            "difference": _each(found, "difference"),
            "standard_error": _each(tests, "standard_error"),
            "pairs": _each(tests, "n"),
            "t_p": _each(tests, "t_p"),
            "wilcoxon_p": _each(tests, "wilcoxon_p"),
        }
        rows += [
            [what, name, *values] for what, values in columns.items() if any(v is not None for v in values)
        ]
    return rows


def _each(things: Sequence[object | None], name: str) -> list[Any]:
    """An attribute of each, None for None."""
    return [None if thing is None else getattr(thing, name) for thing in things]


def _document(comparison: Comparison, figure: Path | None) -> dict[str, Any]:
    return {
        "runs": [_run_document(run) for run in comparison.runs],
        "spec_differences": [{"path": d.path, "values": d.plain} for d in comparison.spec_differences],
        "verdicts": comparison.verdicts(),
        "notes": comparison.notes(),
        "figure": None if figure is None else str(figure),
    }


def _run_document(run: ComparedRun) -> dict[str, Any]:
    scores, record = run.scores, run.scores.record
    return {
        "label": run.label,
        "id": scores.run.id,
        "path": str(scores.run.path),
        "command": record.command or "",
        "status": record.status or "",
        "smoke": record.smoke,
        "kind": record.member_type,
        "numbers": scores.member_ids,
        "best_epoch": record.best_epoch or None,
        "tested_epochs": scores.tested_epochs,
        "test_uses": len(record.test_uses),
        "scores": {name: vars(score) for name, score in run.all_scores().items()},
        "against_first": [
            {
                "name": score.name,
                "difference": score.difference,
                "not_comparable": score.not_comparable,
                "no_test": score.no_test,
                "test": None if score.test is None else vars(score.test),
            }
            for score in run.against_first
        ],
    }
