"""What `nnrun data` prints, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nnrun.cli.output import paragraph, shortened, table, text_width
from nnrun.errors import one_line, printable
from nnrun.spec.wording import counted, listing_of_some

_MOST_COLUMNS = 64
_MANY, _NAMED_OF_MANY = 4, 3  # columns of one warning
_MOST_VALUES = 8
_LONGEST_NAME, _LONGEST_VALUE = 28, 24
_LEAST_ROOM = 30  # for what a column holds
_FEWEST_LETTERS = 10


def overview_text(document: dict[str, Any]) -> str:
    """A data set: rows, files, classes, inputs."""
    rows = document["rows"]
    test = f"{rows['test']:,} test rows" if rows["test"] else "no test set"
    parts = [f"{document['name']}: {rows['train']:,} training rows, {test}"]
    for source in document["sources"]:
        where, note = source["path"] or source["name"], source["note"]
        parts[0] += _source(document["name"], where, source["sha256"], note)
    for name, of_input in _named(document, "inputs"):
        blocks = _overview_blocks(of_input, tests=bool(rows["test"]))
        parts += [f"input {name}\n{blocks[0]}", *blocks[1:]]
    for name, of_output in _named(document, "outputs"):
        blocks = _overview_blocks(of_output, tests=bool(rows["test"]))
        parts += [f"output {name}\n{blocks[0]}", *blocks[1:]]
    return "\n\n".join([*parts, *_overview_blocks(document, tests=bool(rows["test"]))])


def _named(document: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    """The named inputs or outputs of a document, and what it says of each; none where they have no names."""
    held = document.get(key)
    return [(printable(name), each) for name, each in held.items()] if isinstance(held, dict) else []


def _overview_blocks(document: Mapping[str, Any], *, tests: bool) -> list[str]:
    """What is said of the inputs and targets that stand beside each other in a document.

    Args:
        document: the whole, or what it says of one input or output.
        tests: whether there are test rows.
    """
    parts: list[str] = []
    if "tokens" in document:
        lengths, tokens = document["tokens_per_row"], document["tokens"]
        parts.append(
            f"{tokens['total']:,} training tokens, {tokens['different']:,} different, "
            f"the highest {tokens['highest']:,}\n"
            f"tokens per row: median {lengths['median']:g}, mean {lengths['mean']:.1f}, "
            f"from {lengths['min']:.0f} to {lengths['max']:.0f}"
        )
    if "classes" in document:
        lines = [["LABEL", "CLASS", "TRAIN", "TEST"]]
        for c in document["classes"]:
            lines.append([str(c["label"]), c["name"] or "", f"{c['train']:,}", f"{c['test']:,}"])
        if not tests:
            lines = [line[:3] for line in lines]
        if all(not line[1] for line in lines[1:]):
            lines = [[line[0], *line[2:]] for line in lines]
            parts.append(table(lines, right=(0, 1, 2)))
        else:
            parts.append(table(lines, right=(0, 2, 3)))
    if "columns" in document:
        parts.append(_columns_table(document["columns"]))
    if "image" in document:
        image = document["image"]
        size = " x ".join(map(str, image["shape"][:2]))
        channels = f", {image['shape'][2]} channels" if len(image["shape"]) > 2 else ""
        numbers = f"{image['min']:g} to {image['max']:g}, mean {image['mean']:.5g}"
        reshape = [*image["shape"], 1]
        advice = f"\nfor convolutions: reshape: {reshape}" if len(reshape) == 3 else ""
        parts.append(
            f"images of {size} pixels{channels}; values from {numbers}{advice}"
            f"\n\ntraining row 0:\n{picture(image['first'])}"
        )
    if "features" in document:
        parts.append(_statistics_table("COLUMN", document["features"]))
    if "target" in document:
        parts.append(_statistics_table("TARGET", document["target"]))
    if document.get("missing"):
        parts.append(f"{counted(document['missing'], 'training row')} without this target")
    return parts


def _source(shown: str, where: str, sha256: str, note: str = "") -> str:
    """Lines below a heading on where the data are from, without what the heading shows."""
    place = f"from {note}" if note and where == shown else f"{where} ({note})" if note else where
    return f"\nSHA-256 {sha256}" if place == shown else f"\n{place}\nSHA-256 {sha256}"


def _statistics_table(heading: str, columns: list[dict[str, Any]]) -> str:
    lines = [[heading, "MEAN", "STD", "MIN", "MAX"]]
    for column in columns[:_MOST_COLUMNS]:
        lines.append([column["name"], *(f"{column[key]:.5g}" for key in ("mean", "std", "min", "max"))])
    text = table(lines, right=(1, 2, 3, 4))
    hidden = len(columns) - _MOST_COLUMNS
    return f"{text}\n... and {hidden:,} more; --json shows all" if hidden > 0 else text


def row_text(document: dict[str, Any], *, integers: bool = False) -> str:
    """One row of a data set or a file: a token row as words, a table row by column.

    With `integers` the integers of a token row are shown below its words.
    """
    blocks = []
    if "outputs" in document:
        lines = [f"{name}: {_target_text(each)}" for name, each in _named(document, "outputs")]
        blocks.append("\n".join([f"{document['name']}, {document['split']} row {document['row']}", *lines]))
    elif "target" in document:
        where = f"{document['name']}, {document['split']} row {document['row']}"
        blocks.append(f"{where}: target {_target_text(document)}")
    else:
        line = f" (line {document['line']})" if "line" in document else ""
        blocks.append(f"{document['name']}, row {document['row']}{line}")
    if "inputs" in document:
        blocks += [f"input {name}\n{_row_body(each)}" for name, each in _named(document, "inputs")]
    else:
        blocks.append(_row_body(document))
    if integers and document.get("words"):
        blocks.append(_numbers(map(str, document["tokens"])))
    if "prepared" in document:
        blocks.append(_prepared_text(document["prepared"]))
    return "\n\n".join(blocks)


def _target_text(document: Mapping[str, Any]) -> str:
    if document["target"] is None:
        return "missing"
    return f"{document['target']} ({document['class']})" if "class" in document else f"{document['target']}"


def _row_body(document: Mapping[str, Any]) -> str:
    """What a row, or an input of it, holds."""
    if "tokens" in document:
        words = document.get("words") or [str(token) for token in document["tokens"]]
        return paragraph(" ".join(words), text_width())
    return picture(document["image"]) if "image" in document else _values(document["values"])


def _prepared_text(prepared: dict[str, Any]) -> str:
    """What the network gets: each number that is not 0 by its name or index where most are 0."""
    rows = f"{prepared['fitted_on']:,} training rows"
    where = f"the {rows} of {prepared['fitted_in']}" if prepared["fitted_in"] else f"the {rows}"
    head = "As the network gets it: "
    if "inputs" in prepared:
        text = textwrap.fill(f"{head}preprocessing fitted on {where}.", text_width())
        for name, each in _named(prepared, "inputs"):
            text += f"\n\ninput {name}: {_count_text(each)}\n{_prepared_body(each)}"
    else:
        head += f"{_count_text(prepared)}; preprocessing fitted on {where}."
        text = f"{textwrap.fill(head, text_width())}\n{_prepared_body(prepared)}"
    if "outputs" in prepared:
        lines = [f"{name}: {_prepared_target(target)}" for name, target in _named(prepared, "outputs")]
        return f"{text}\n\nIts targets\n" + "\n".join(lines)
    return f"{text}\n\nIts target: {_prepared_target(prepared['target'])}"


def _count_text(prepared: Mapping[str, Any]) -> str:
    not_0 = f", {len(prepared['values']):,} of them not 0" if prepared["sparse"] else ""
    return f"{prepared['features']:,} numbers{not_0}"


def _prepared_body(prepared: Mapping[str, Any]) -> str:
    values, names = prepared["values"], prepared["names"]
    if not prepared["sparse"] and names is None:
        return _numbers(f"{value:.6g}" for value in _flat(values))
    if names is None and all(value == 1 for value in values):
        return f"1 at the indices\n{_numbers(map(str, prepared['indices']))}"
    indices = prepared["indices"] if prepared["sparse"] else range(len(values))
    named = names or [str(i) for i in range(prepared["features"])]
    return _values({named[i]: float(f"{value:.6g}") for i, value in zip(indices, values, strict=True)})


def _prepared_target(target: Any) -> str:
    if target is None:
        return "missing"
    return _numbers(f"{value:.6g}" for value in (target if isinstance(target, list) else [target]))


def _flat(values: Any) -> Iterator[float]:
    """The numbers of nested lists, one after the other."""
    if isinstance(values, list):
        for value in values:
            yield from _flat(value)
    else:
        yield values


def _numbers(texts: Iterable[str]) -> str:
    """Numbers one after the other, as wide as the screen."""
    return paragraph(" ".join(texts), text_width())


def file_text(document: dict[str, Any]) -> str:
    """A file of rows: its columns, and warnings about them."""
    source, columns = document["source"], document["columns"]
    head = (
        f"{document['name']}: {counted(document['rows'], 'row')}, {counted(len(columns), 'column')}"
        f"{_source(document['name'], source['path'], source['sha256'])}"
    )
    parts = [head, _columns_table(columns)]
    if document["read_with"]:
        from nnrun.spec.writing.dump import flow  # pydantic: only where it is needed

        keys = flow(document["read_with"])
        parts.append(
            paragraph(
                f"Read with {keys}, guessed from the file's content; a spec must set this too, as "
                "`nnrun init` does.",
                text_width(),
            )
        )
    warnings = _warnings(columns)
    if warnings:
        parts.append("\n".join(paragraph(text, text_width()) for text in warnings))
    return "\n\n".join(parts)


def _warnings(columns: Sequence[dict[str, Any]]) -> list[str]:
    """What is doubtful about columns; what holds for many of them once, and no more than fit a screen."""
    names: dict[str, list[str]] = {}
    for column in columns:
        for text in column["warnings"]:
            names.setdefault(text, []).append(f"'{column['name']}'")
    found = []
    for text, of in names.items():
        if len(of) < _MANY:
            found += [f"warning: column {name} {text}" for name in of]
        else:
            some = listing_of_some(of, _NAMED_OF_MANY)
            found.append(f"warning: each of {len(of):,} columns ({some}) {text}")
    hidden = len(found) - _MOST_COLUMNS
    more = [f"... and {counted(hidden, 'more warning')}; --json shows all"] if hidden > 0 else []
    return [*found[:_MOST_COLUMNS], *more]


def _columns_table(columns: Sequence[dict[str, Any]]) -> str:
    """Name, type, why it has that type where that is known, missing values, and what it holds."""
    reasons = "why" in columns[0]
    text, room = _columns_in_rows(columns, with_reason=reasons)
    if reasons and room < _LEAST_ROOM:
        text, _ = _columns_in_rows(columns, with_reason=False)
    hidden = len(columns) - _MOST_COLUMNS
    text += f"\n... and {hidden:,} more; --json shows all" if hidden > 0 else ""
    return f"{text}\n\n{_reasons(columns)}" if reasons and room < _LEAST_ROOM else text


def _reasons(columns: Sequence[dict[str, Any]]) -> str:
    """Why columns have their types, those of one reason together."""
    names: dict[str, list[str]] = {}
    for column in columns[:_MOST_COLUMNS]:
        why = f"{column['type']} ({column['why']})"
        names.setdefault(why, []).append(shortened(one_line(column["name"]), _LONGEST_NAME))
    return "\n".join(paragraph(f"{', '.join(of)}: {why}", text_width()) for why, of in names.items())


def _columns_in_rows(columns: Sequence[dict[str, Any]], *, with_reason: bool) -> tuple[str, int]:
    """The table, and the width that it has for values."""
    rows = [["COLUMN", "TYPE", *(["WHY"] if with_reason else []), "MISSING", "VALUES"]]
    for column in columns[:_MOST_COLUMNS]:
        reason = [column["why"]] if with_reason else []
        name = shortened(column["name"], _LONGEST_NAME)
        rows.append([name, column["type"], *reason, f"{column['missing']:,}", ""])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    room = text_width() - sum(widths) - 2 * len(widths)
    for row, column in zip(rows[1:], columns, strict=False):
        row[-1] = shortened(_held(column), max(_FEWEST_LETTERS, room))
    return table(rows, right=(len(rows[0]) - 2,)), room


def _held(column: dict[str, Any]) -> str:
    from nnrun.data.value_names import shown_number

    if column["type"] == "number":
        if "min" not in column:
            return ""
        different = "" if column["distinct"] is None else f", {column['distinct']:,} different"
        low, high = shown_number(column["min"], ".5g"), shown_number(column["max"], ".5g")
        return f"{low} to {high}, mean {column['mean']:.5g}{different}"
    if column["type"] == "date" and "first" in column:
        return f"{column['first']} to {column['last']}, {column['distinct']:,} different"
    if column["type"] == "text":
        words = column["words"]
        return f"{words['min']:,} to {words['max']:,} words, mean {words['mean']:.0f}"
    values = [
        f"{shortened(v['value'], _LONGEST_VALUE)} {v['rows']:,}" for v in column["values"][:_MOST_VALUES]
    ]
    more = column["distinct"] - len(values)
    return ", ".join([*values, *([f"{more:,} more"] if more > 0 else [])])


def _values(values: dict[str, float | str | None]) -> str:
    """Numbers and names in a table, and below it what is too long for one; a single text as it is."""
    from nnrun.data.value_names import shown_number

    shown = {
        name: "-" if value is None else value if isinstance(value, str) else shown_number(value)
        for name, value in values.items()
    }
    width = text_width()
    if len(shown) == 1 and any(isinstance(value, str) for value in values.values()):
        return paragraph("".join(shown.values()), width)
    room = max(20, width - max(map(len, shown)) - 2)
    short = {name: text for name, text in shown.items() if len(text) <= room and "\n" not in text}
    right = () if any(isinstance(values[name], str) for name in short) else (1,)
    parts = [table([[name, text] for name, text in short.items()], right)] if short else []
    parts += [f"{name}:\n{paragraph(text, width)}" for name, text in shown.items() if name not in short]
    return "\n\n".join(parts)


_BRIGHTNESS = " .:-=+*#%@"
_MOST_PIXELS = 56  # of a picture in characters, across


def picture(image: Sequence[Sequence[Any]]) -> str:
    """An image as characters, the brightest as @; a character stands for two rows, as it is twice as high."""
    grey = [[sum(p) / len(p) if isinstance(p, list) else float(p) for p in row] for row in image]
    step = max(1, -(-len(grey[0]) // _MOST_PIXELS))
    low, high = min(map(min, grey)), max(map(max, grey))
    scale = (len(_BRIGHTNESS) - 1) / ((high - low) or 1.0)
    lines = []
    for top in range(0, len(grey), 2 * step):
        rows = grey[top : top + 2 * step]
        line = ""
        for left in range(0, len(grey[0]), step):
            cells = [value for row in rows for value in row[left : left + step]]
            line += _BRIGHTNESS[round((sum(cells) / len(cells) - low) * scale)]
        lines.append(line.rstrip())
    return "\n".join(lines)


def number(count: int | None) -> str:
    """A count; a dash where there is none."""
    return f"{count:,}" if count else "-"
