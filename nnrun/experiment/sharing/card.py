"""A run as a model card: what it predicts, how well, on what data, and where not to trust it; in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnrun.experiment.finished.decision_text import decisions_text
from nnrun.experiment.finished.ensemble_text import ensemble_text
from nnrun.experiment.finished.look_text import looks_text
from nnrun.experiment.finished.record_text import (
    SMOKE_TEXT,
    baseline_text,
    caution_text,
    coverage_text,
    procedure_text,
    rows_in_words,
)
from nnrun.experiment.predicting.predict import Predictor
from nnrun.experiment.serving.description import schema_document
from nnrun.experiment.serving.requests import NO_OPTIONS
from nnrun.experiment.serving.typical_row import typical_row
from nnrun.experiment.sharing.card_scores import CardScore, parent_scores, scores_of
from nnrun.experiment.sharing.front_matter import front_matter
from nnrun.records import LookCount, RunRecord
from nnrun.spec import schema
from nnrun.spec.ports import prediction_columns, target_of
from nnrun.spec.wording import counted, with_std

_MOST_COLUMNS = 50
_MOST_VALUES = 12
_LONG_EXAMPLE = 2000
_MOST_TARGETS = 3
_SOME_RUNS = Path("runs")
"""What the card calls the folder of the runs: where it lies on this machine tells a reader nothing."""


def card_text(predictor: Predictor, looks: LookCount | None, license_: str | None, spec_text: str) -> str:
    """The card.

    Args:
        predictor: the run's networks.
        looks: how often its test set was looked at; None for never.
        license_: an identifier; None where it is not known.
        spec_text: the spec with every default, as others may read it.
    """
    record = predictor.run.read_record()
    data = _data_name(predictor, record)
    scores = scores_of(predictor.run, record, predictor.spec, predictor.weights, looks)
    example = typical_row(predictor)
    document = schema_document(predictor, NO_OPTIONS, example)
    sections = {
        "How to use it": _use(predictor, example),
        "Inputs": _inputs(document),
        "Outputs": _outputs(document, _targets(predictor)),
        "Scores": _scores(record, predictor, scores),
        "The test set": _test_set(record, looks),
        "Data": _data(record, data),
        "Limits": _limits(record, document, scores),
        "How it was trained": _training(record, spec_text),
    }
    head = f"# {_plain(predictor.spec.name)}\n\n{_purpose(predictor, record, document, data)}\n"
    body = "".join(f"\n## {title}\n\n{text.strip()}\n" for title, text in sections.items() if text.strip())
    return front_matter(predictor, scores, data, license_) + f"\n{head}{body}"


def _data_name(predictor: Predictor, record: RunRecord) -> str:
    """What the data set is called: of a file its name."""
    dataset = predictor.spec.dataset
    path = getattr(dataset, "path", None)
    if isinstance(path, str):
        return Path(path).name
    return str(dataset.kind) if dataset.kind else record.data[0].name


def _purpose(predictor: Predictor, record: RunRecord, document: Mapping[str, Any], data: str) -> str:
    networks = len(predictor.networks)
    who = "A network" if networks == 1 else f"The average of {networks} {record.member_type}s' networks"
    parameters = record.parameters
    size = "" if parameters is None else f" of {parameters:,} parameters" + ("" if networks == 1 else " each")
    targets = _targets(predictor)
    what = " and ".join(_predicts(output, targets.get(output["name"], ())) for output in document["outputs"])
    described = _plain(predictor.spec.description.strip())
    text = f"{who}{size}, trained with nnrun on {_plain(data)}. It predicts {what} from {_from(document)}."
    smoke = f"\n\n**{SMOKE_TEXT}**" if record.smoke else ""
    return text + (f"\n\n{described}" if described else "") + smoke


def _from(document: Mapping[str, Any]) -> str:
    """What it predicts from."""
    columns = document["columns"]
    inputs = columns and "inputs' names" in document["row"]
    return counted(len(columns), "input" if inputs else "column") if columns else str(document["row"])


def _targets(predictor: Predictor) -> dict[str, list[str]]:
    """What an output is called in predictions → the columns of a table that it predicts."""
    spec = predictor.spec
    if not isinstance(spec.dataset, schema.NamedColumns):
        return {}
    found: dict[str, list[str]] = {}
    for port, decoder in predictor.output_decoders.items():
        columns = target_of(spec, port) if spec.outputs else spec.dataset.target
        if all(isinstance(name, str) for name in columns):
            found[prediction_columns(decoder.port)[1]] = [str(name) for name in columns]
    return found


def _is_code(text: str) -> bool:
    """Whether Markdown shows it between backticks as it is."""
    return text.isprintable() and "`" not in text


def _predicts(output: Mapping[str, Any], targets: Sequence[str]) -> str:
    own = f"`{output['name']}`"
    named = " and ".join(f"`{name}`" if _is_code(name) else _cell(name) for name in targets)
    name = f"{own}, " if named in ("", own) or len(targets) > _MOST_TARGETS else f"{named} (as {own}), "
    classes = output["classes"] or ()
    match output["kind"]:
        case "numbers":
            return name + ("a number" if output["targets"] is None else f"{len(output['targets'])} numbers")
        case "binary" | "class":
            return f"{name}one of {len(classes)} classes"
        case "labels":
            return f"{name}any of {len(classes)} labels"
        case "steps":
            return f"{name}a class for each step"
    return f"{name}a sequence of classes"


def _use(predictor: Predictor, example: Any) -> str:
    shown = repr(example)
    row = shown if len(shown) <= _LONG_EXAMPLE else "..."
    python = (
        "import nnrun\n\n"
        "# this folder; from the Hub that of huggingface_hub.snapshot_download\n"
        'run = nnrun.load_run("FOLDER")\n'
        f"print(nnrun.predict(run, [{row}]))"
    )
    custom = predictor.run.read_record().custom
    modules = ", ".join(f"`{code.module}`" for code in custom)
    needs = f"\n\nIt needs code that is not in this folder: {modules} (`--allow-custom`)." if custom else ""
    shell = "pip install 'nnrun[serve]'\nnnrun predict FOLDER rows.jsonl\nnnrun serve FOLDER"
    return (
        f"```\n{shell}\n```\n\n```python\n{python}\n```\n\n"
        "The row is an example: of each column by itself the middle of its numbers, or its most frequent "
        "value. It is no row of the data, and together the values may be rare. Weights are in "
        f"safetensors, preprocessing is JSON; nothing is unpickled.{needs}"
    )


def _inputs(document: Mapping[str, Any]) -> str:
    columns = document["columns"]
    lines = [f"A row is {document['row']}."]
    if columns:
        rows = [
            [
                _cell(column["name"]),
                _cell(column["type"]),
                _cell(column["typical"]),
                _cell(_some(column.get("known_values", ()))),
            ]
            for column in columns[:_MOST_COLUMNS]
        ]
        lines += ["", _table(["column", "type", "typical", "values in training"], rows)]
    if len(columns) > _MOST_COLUMNS:
        lines += ["", f"And {len(columns) - _MOST_COLUMNS} more columns."]
    return "\n".join(lines)


def _some(values: Sequence[Any]) -> str:
    more = f" and {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else ""
    return ", ".join(map(str, values[:_MOST_VALUES])) + more


def _outputs(document: Mapping[str, Any], targets: Mapping[str, Sequence[str]]) -> str:
    rows = [
        [
            _cell(output["name"]),
            _cell(_some(targets.get(output["name"], ()))),
            _cell(output["kind"]),
            _cell(_some(output["classes"] or output["targets"] or ())),
        ]
        for output in document["outputs"]
    ]
    headings = ["output", "target", "kind", "classes"]
    kept = [place for place, _ in enumerate(headings) if targets or place != 1]
    return _table([headings[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _scores(record: RunRecord, predictor: Predictor, scores: Sequence[CardScore]) -> str:
    before = parent_scores(predictor.run, record)
    of_parent = (
        f"{_plain(str(record.parent))}, from which it comes, scored on rows that its networks did not train "
        f"on:\n\n{_score_table(before)}"
        if before
        else ""
    )
    if not scores:
        none = SMOKE_TEXT if record.smoke else "None are known of these weights."
        return "\n\n".join([none, of_parent])
    notes = (
        f"Weights: {predictor.weights.text}.",
        _other_scores(record, predictor),
        "± is the standard deviation over the networks." if any(score.std for score in scores) else "",
        _intervals(scores),
        ensemble_text(record),
        procedure_text(record),
        baseline_text(record).replace("\n", " "),
        coverage_text(record.coverage),
        decisions_text(record),
    )
    parts = [_score_table(scores), *(_plain(note) for note in notes if note), of_parent]
    return "\n\n".join(part for part in parts if part)


def _other_scores(record: RunRecord, predictor: Predictor) -> str:
    """That nnrun's own screens have another score beside this one."""
    if not record.kept_apart or predictor.weights.which != "last":
        return ""
    kind = record.member_type
    return (
        f"Validation scores are means over the {kind}s, each at the epoch whose weights it kept (what "
        f"nnrun show calls 'kept weights'), and not those of epoch {record.best_epoch} for every {kind}."
    )


def _score_table(scores: Sequence[CardScore]) -> str:
    rows = [
        [
            _cell(score.name),
            score.split,
            with_std(score.value, score.std),
            "" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}",
            with_std(score.baseline),
            with_std(score.linear),
            score.caution,
        ]
        for score in scores
    ]
    headings = ["score", "rows", "value", "95 % interval", "constant", "linear model", ""]
    kept = [place for place, _ in enumerate(headings) if any(row[place] for row in rows)]
    return _table([headings[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _intervals(scores: Sequence[CardScore]) -> str:
    """What the intervals are."""
    of = {score.split for score in scores if score.interval is not None}
    said = []
    if "test" in of:
        said.append("that of a share of test rows is Clopper and Pearson's")
    if "validation" in of:
        said.append(
            "that of a validation score is Student's, from the scores of each network's kept weights, "
            "or of an accuracy Wilson's, of all rows together, where this is wider"
        )
    return f"Intervals: {'; '.join(said)}." if said else ""


def _test_set(record: RunRecord, looks: LookCount | None) -> str:
    if not record.test_uses:
        return "It was not looked at with this run."
    text = looks_text(record, None if record.smoke else looks, _SOME_RUNS)
    again = looks is not None and looks.by_any > 1
    more = " What was changed after a look may fit these rows better than new ones." if again else ""
    return _plain(text) + more


def _data(record: RunRecord, data: str) -> str:
    rows = [
        [_cell(of.name), "" if of.rows is None else f"{of.rows:,}", f"`{of.sha256}`", _cell(of.note)]
        for of in record.data
    ]
    used = rows_in_words(record.rows, ", ") if record.rows.train else ""
    tested = f"; {record.rows.test:,} test rows" if record.rows.test and record.test_uses else ""
    lines = [f"{_plain(data)}: {used}{tested}." if used else f"{_plain(data)}."]
    return "\n\n".join([*lines, _table(["file", "rows", "SHA-256", ""], rows) if rows else ""])


def _limits(record: RunRecord, document: Mapping[str, Any], scores: Sequence[CardScore]) -> str:
    """What a reader could take for more than it is."""
    found = [SMOKE_TEXT] if record.smoke else []
    if record.status != "completed":
        found.append(f"Training did not end: the run is {record.status}.")
    found += caution_text(record).splitlines()
    if record.own_verdict:
        found.append(record.own_verdict)
    told = [_plain(text) for text in found]
    for split in ("test", "validation"):
        whys = {score.caution for score in scores if score.split == split and score.caution}
        told += [f"The {split} scores are {why}. New rows may score worse." for why in sorted(whys)]
    if not any(score.split == "test" for score in scores):
        told.append("These weights were not measured on a test set.")
    if any(column.get("known_values") for column in document["columns"]):
        told.append(
            "A value that no training row had is taken as unknown, and predicted all the same; `nnrun "
            "predict` tells of it."
        )
    told.append(
        "It has seen rows like those of its data set only. Nothing here says how it does on others, or what "
        "happens if its predictions are acted upon."
    )
    return "\n".join(f"- {text}" for text in told)


def _training(record: RunRecord, spec_text: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items() if version)
    when = "" if record.started is None else f", on {record.started[:10]}"
    text = f"Seed {record.seed}, {counted(record.epochs_run, 'epoch')} on {record.device}{when}; {versions}."
    if record.parent:
        text += f" It comes from {record.parent}."
    return f"{_plain(text)}\n\n{_what_repeats_it(record)}\n\n```yaml\n{spec_text.rstrip()}\n```"


def _what_repeats_it(record: RunRecord) -> str:
    """What the spec below is, and which commands make the model of it once more."""
    ensemble = record.ensemble
    if (
        ensemble is not None
        and ensemble.linear_member is not None
        and ensemble.linear_member.model is not None
    ):
        return (
            "The spec of the whole model, every default filled in. Its networks and its linear models were "
            "fitted one after the other, to the same rows; `nnrun train` would train them together, which "
            "gives another model. What repeats it is the spec with `linear_member` that its networks were "
            f"trained by: `nnrun train`, then `nnrun final RUN --members {ensemble.of}`."
        )
    text = f"The spec, every default filled in: with the data, `{record.training_command}` repeats "
    if ensemble is None or not ensemble.taken_over:
        return f"{text}it."
    return f"{text}its networks, and `nnrun final RUN --members {ensemble.of}` makes them one model."


# --- Markdown ----------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """A text that Markdown shows as it is: names of columns and classes come from files."""
    return re.sub(r"([\\*_\[\]<>`#|])", r"\\\1", text)


def _cell(value: Any) -> str:
    text = " ".join(str(value).split())
    return _plain(text if len(text) <= 200 else f"{text[:199]}…")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
