"""`nnrun compare`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.diff import check_format, differences_table, print_csv, print_differences
from nnrun.cli.output import in_blocks, message, paragraph, print_json, terminal_width
from nnrun.errors import UsageError, printable
from nnrun.spec.wording import listing, quoted, with_std

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nnrun.experiment.evaluating.compare import (
        ComparedPair,
        ComparedRun,
        Comparison,
        EqualWithin,
        ScoreComparison,
    )
    from nnrun.records import RunDirectory


def compare(
    runs: options.Runs,
    spec_only: Annotated[
        bool, typer.Option("--spec-only", help="Show only how the specs differ (as nnrun diff).")
    ] = False,
    equal: Annotated[
        list[str] | None,
        typer.Option(
            "--equal",
            metavar="[SCORE=]D",
            help="Differences up to D, in the score's units, are none: P(better), P(equal), P(worse).",
        ),
    ] = None,
    output: options.Figure = None,
    no_figure: Annotated[bool, typer.Option("--no-figure", help="Draw nothing.")] = False,
    as_csv: options.Csv = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """Compare runs: how their specs differ, their scores, and whether differences may be chance.

    --equal 0.005 is for every metric (the loss where there is none), --equal mae=0.1 for one score.
    """
    check_format(as_json=as_json, as_csv=as_csv)
    if output is not None and (no_figure or spec_only):
        option = "--no-figure" if no_figure else "--spec-only"
        raise UsageError(f"-o asks for a figure and {option} for none.")
    options.check_figure(output)
    if equal and spec_only:
        raise UsageError("--equal asks about scores, --spec-only for none.")
    within = _equal_within(equal or [])

    from nnrun.records import find_runs

    found = find_runs(runs, runs_dir, tell=message)
    if len(found) < 2:
        raise UsageError(f"compare needs at least two runs, but got only {found[0].id}{_same_run(runs)}.")
    if spec_only:
        from nnrun.experiment.finished.run_scores import read_run_spec

        print_differences(
            _names(found), [read_run_spec(run) for run in found], as_json=as_json, as_csv=as_csv
        )
        return

    from nnrun.experiment.evaluating.compare import compare_runs

    comparison = compare_runs(found, within)
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


def _same_run(names: Sequence[str]) -> str:
    """Why names that were typed are those of one run; empty where only one was."""
    if len(names) < 2:
        return ""
    named = list(dict.fromkeys(map(quoted, names)))
    said = "is named more than once" if len(named) == 1 else "are the same run"
    return f": {listing(named, 'and')} {said}"


def _equal_within(texts: Sequence[str]) -> EqualWithin | None:
    """What `--equal` says: `0.005`, `mae=0.1`, or several of them."""
    from nnrun.experiment.evaluating.compare import EqualWithin

    if not texts:
        return None
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        name = name.strip().removeprefix("val_")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (0 <= value < math.inf):
            raise UsageError(
                "--equal takes a number from 0, in the score's units, or SCORE=NUMBER, but got "
                f"{quoted(text)}."
            )
        if name in found:
            raise UsageError(
                f"--equal is given twice {f'for {quoted(name)}' if name else 'without a score'}."
            )
        found[name] = value
    return EqualWithin(found.pop("", None), found)


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
    from nnrun.experiment.evaluating.compare_text import notes, power_texts, verdicts

    width = terminal_width()
    labels = [run.label for run in comparison.runs]
    longest = max(map(len, names))
    named = zip(comparison.runs, names, strict=True)
    blocks = [
        "\n".join(f"{run.label}  {name:<{longest}}  {_about(run)}".rstrip() for run, name in named),
        differences_table(labels, comparison.spec_differences, width),
    ]
    if comparison.score_names():
        blocks.append(in_blocks(_score_table(comparison), width))
    sentences = [notes(comparison)]
    if len(comparison.pairs) == 1:
        sentences = [verdicts(comparison), power_texts(comparison), *sentences]
    elif len(pairs := _pair_table(comparison)) > 1:
        blocks.append(in_blocks(pairs, width))
    for of_one_block in sentences:
        blocks.append("\n".join(paragraph(sentence, width) for sentence in of_one_block))
    blocks.append(f"Figure  {figure}" if figure is not None else "")
    return "\n\n".join(block for block in blocks if block)


def _about(run: ComparedRun) -> str:
    """`train, 10 seeds`."""
    record, ids = run.scores.record, run.scores.member_ids
    parts = [record.command] if record.command else []
    if record.member_type is not None:
        scored = max(map(len, run.scores.validation.values()), default=len(ids))
        several = f"{f'{scored} of ' if scored < len(ids) else ''}{len(ids)} {record.member_type}s"
        parts.append(f"{record.member_type} {ids[0]}" if len(ids) == 1 else several)
    parts += ["smoke run"] if record.smoke else []
    parts += [record.status or ""] if record.status != "completed" else []
    return ", ".join(parts)


def _score_table(comparison: Comparison) -> list[list[str]]:
    """Rows of scores: a column for each run, then of two runs their difference."""
    (pair, *others), runs = comparison.pairs, comparison.runs
    differences = [] if others else [_pair_label(pair)]
    rows = [["", *(run.label for run in runs), *differences]]
    tested = False
    for name in comparison.score_names():
        of_test = name.startswith("test_")
        facts = _TEST_FACTS if of_test else _VALIDATION_FACTS
        if of_test != tested or len(rows) == 1:
            tested = of_test
            for fact, text_of in facts.items():
                rows.append([fact, *map(text_of, runs), *("" for _ in differences)])
        cells = [_difference(pair.score(name)) for _ in differences]
        rows.append([name, *(_score_cell(comparison, run, name) for run in runs), *cells])
    return rows


def _pair_label(pair: ComparedPair) -> str:
    return f"{pair.second.label} - {pair.first.label}"


def _pair_table(comparison: Comparison) -> list[list[str]]:
    """A row for each score of each two runs that can be compared; columns that have no entry are left out."""
    from nnrun.validation.paired import chance, p_text, two_digits

    rows, longest = [], max(map(len, comparison.score_names()), default=0)
    for name in comparison.score_names():
        for pair in comparison.pairs:
            score = pair.score(name)
            if score is None or score.difference is None:
                continue
            test, equal, power = score.test, score.equal, score.power
            rows.append(
                {
                    "": f"{name:<{longest}}  {_pair_label(pair)}",
                    "difference": _difference(score),
                    f"{pair.kind}s": "" if test is None else str(test.n),
                    "p": "" if test is None else p_text(test.p).removeprefix("p ").removeprefix("= "),
                    "Holm p": p_text(score.holm_p).removeprefix("p ").removeprefix("= "),
                    "P(better)": "" if equal is None else f"{equal.second_better:.3f}",
                    "P(equal)": "" if equal is None else f"{equal.equal:.3f}",
                    "P(worse)": "" if equal is None else f"{equal.first_better:.3f}",
                    "detectable": "" if power is None else two_digits(power.detectable),
                    "verdict": "" if score.holm_p is None else chance(score.holm_p),
                }
            )
    headings = dict.fromkeys(h for row in rows for h in row)
    used = [heading for heading in headings if any(row.get(heading) for row in rows)]
    return [used, *([row.get(heading, "") for heading in used] for row in rows)]


def _best_epoch(run: ComparedRun) -> str:
    return str(run.scores.record.best_epoch or "")


def _tested_epoch(run: ComparedRun) -> str:
    epochs = run.scores.tested_epochs
    return "" if not epochs else str(epochs[0]) if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"


def _test_uses(run: ComparedRun) -> str:
    return str(len(run.scores.record.test_uses) or "")


_VALIDATION_FACTS = {"best_epoch": _best_epoch}
_TEST_FACTS = {"tested_epoch": _tested_epoch, "test_uses": _test_uses}


def _score_cell(comparison: Comparison, run: ComparedRun, name: str) -> str:
    score = comparison.shown_score(run, name)
    if score is None:
        return ""
    against = _against_first(comparison, run, name)
    mark = "*" if against is not None and against.not_comparable else ""
    return f"{mark}{with_std(score.mean, score.std)}"


def _difference(score: ScoreComparison | None) -> str:
    from nnrun.validation.paired import with_error

    if score is None or score.difference is None:
        return ""
    error = score.test.standard_error if score.test is not None else None
    return with_error(score.difference, error or None, sign=True)


def _against_first(comparison: Comparison, run: ComparedRun, name: str) -> ScoreComparison | None:
    """How a run's score stands to the first run's; None for the first run itself."""
    return next((pair.score(name) for pair in comparison.against_first if pair.second is run), None)


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
        shown = [run.all_scores().get(name) for run in runs]
        columns = {"score": _each(shown, "mean"), "std": _each(shown, "std")}
        for base, run in zip(names, runs, strict=True):
            by_second = {id(p.second): p.score(name) for p in comparison.pairs if p.first is run}
            found = [by_second.get(id(other)) for other in runs]
            of_base = "" if run is runs[0] else f" from {base}"
            columns |= {f"{what}{of_base}": values for what, values in _pair_columns(found).items()}
        rows += [
            [what, name, *values] for what, values in columns.items() if any(v is not None for v in values)
        ]
    return rows


def _pair_columns(scores: Sequence[ScoreComparison | None]) -> dict[str, list[Any]]:
    """What was found of a score of some runs against another one's."""
    tests, equal, power = (_each(scores, name) for name in ("test", "equal", "power"))
    return {
        "difference": _each(scores, "difference"),
        "standard_error": _each(tests, "standard_error"),
        "pairs": _each(tests, "n"),
        "t_p": _each(tests, "t_p"),
        "wilcoxon_p": _each(tests, "wilcoxon_p"),
        "holm_p": _each(scores, "holm_p"),
        "p_better": _each(equal, "second_better"),
        "p_equal": _each(equal, "equal"),
        "p_worse": _each(equal, "first_better"),
        "detectable": _each(power, "detectable"),
    }


def _each(things: Sequence[object | None], name: str) -> list[Any]:
    """An attribute of each, None for None."""
    return [None if thing is None else getattr(thing, name) for thing in things]


def _document(comparison: Comparison, figure: Path | None) -> dict[str, Any]:
    from nnrun.experiment.evaluating.compare_text import notes, power_texts, verdicts

    return {
        "runs": [_run_document(comparison, run) for run in comparison.runs],
        "pairs": [
            {
                "first": pair.first.label,
                "second": pair.second.label,
                "scores": [_score_document(score) for score in pair.scores],
            }
            for pair in comparison.pairs
        ],
        "spec_differences": [{"path": d.path, "values": d.plain} for d in comparison.spec_differences],
        "verdicts": verdicts(comparison),
        "power": power_texts(comparison),
        "notes": notes(comparison),
        "figure": None if figure is None else str(figure),
    }


def _run_document(comparison: Comparison, run: ComparedRun) -> dict[str, Any]:
    scores, record = run.scores, run.scores.record
    of_first = next((pair.scores for pair in comparison.against_first if pair.second is run), ())
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
        "against_first": [_score_document(score) for score in of_first],
    }


def _score_document(score: ScoreComparison) -> dict[str, Any]:
    parts = {
        name: None if part is None else vars(part)
        for name, part in (("test", score.test), ("equal", score.equal), ("power", score.power))
    }
    return {
        "name": score.name,
        "difference": score.difference,
        "not_comparable": score.not_comparable,
        "no_test": score.no_test,
        "common": score.common,
        **parts,
        "holm_p": score.holm_p,
    }
