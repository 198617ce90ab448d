"""The functions of a script that predict: from rows to outputs and decisions."""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.data.archives.token_pickle import MAX_TOKEN
from nnrun.data.vocabulary import UNKNOWN
from nnrun.experiment.predicting.output_decoder import OutputDecoder
from nnrun.experiment.scripting.layer_script import activated
from nnrun.experiment.scripting.script_model import Model, column_names
from nnrun.model.network import Network, network_of
from nnrun.spec import schema
from nnrun.spec.ports import Port, array_of, output_views, prediction_columns
from nnrun.training.metric_types import has_logits
from nnrun.validation.calibration import calibrator_of

_ROWS_AT_ONCE = 1024


def outputs_source(model: Model, units: Sequence[str] | None) -> str:
    """The function `outputs`. `units` are those of the only network; None where there are several."""
    network = network_of(model.spec, model.networks[0].fitted.inputs)
    if units is not None:
        lines = [
            "    x = [torch.from_numpy(part) for part in prepare(rows)]",
            "    with torch.inference_mode():",
            "        logits = NETWORK(*x)",
        ]
        for place, port in enumerate(model.decoders):
            lines.append(f"    y_{place} = {_activated(network, port, f'logits[{place}]')}")
            lines += [
                f"    {line}" for line in _calibrated(model, network, port, f"y_{place}", f"logits[{place}]")
            ]
            if units[place] != "None":
                lines.append(f"    y_{place} = ({units[place]})(y_{place})")
        returned = f"[{', '.join(f'y_{place}' for place in range(len(model.decoders)))}]"
    else:
        lines = [
            "    found = []",
            "    for prepare_rows, networks, units in MODELS:",
            "        x = [torch.from_numpy(part) for part in prepare_rows(rows)]",
            "        with torch.inference_mode():",
            "            logits = [network(*x) for network in networks]",
        ]
        for place, port in enumerate(model.decoders):
            lines.append(f"        given = [{_activated(network, port, f'own[{place}]')} for own in logits]")
            lines.append(f"        y_{place} = np.mean([units[{place}](y) for y in given], axis=0)")
            z = None if network.number_of_members > 1 else f"logits[0][{place}]"
            lines += [f"        {line}" for line in _calibrated(model, network, port, f"y_{place}", z)]
        lines.append(
            f"        found.append([{', '.join(f'y_{place}' for place in range(len(model.decoders)))}])"
        )
        returned = "[np.mean(each, axis=0) for each in zip(*found)]"
    head = [
        "def outputs(rows) -> list[np.ndarray]:",
        '    """What the model says before it decides: an array (N, ...) for each output."""',
        *(["    rows = table_rows(rows)"] if model.of_table else []),
    ]
    return "\n".join([*head, *lines, f"    return {returned}"])


def _activated(network: Network, port: Port, z: str) -> str:
    activation = network.output_layers[port].activation
    wide = f"{z}.double()" if has_logits(activation) else z
    return f"{activated(activation, wide)}.double().numpy()"


def _calibrated(model: Model, network: Network, port: Port, y: str, z: str | None) -> list[str]:
    """Lines that calibrate probabilities y; `z` are the logits, None where they follow from y."""
    calibrator = calibrator_of(output_views(model.spec)[port].calibrate)
    if calibrator is None:
        return []
    of_two = network.output_layers[port].activation == "sigmoid"
    logits = f"{z}.double().numpy()" if z is not None else f"np.log({y})"
    if z is None and of_two:
        logits += f" - np.log1p(-{y})"
    if calibrator.curve is not None:
        xs, ys = (list(values) for values in calibrator.curve)
        return [f"{y} = np.interp({logits}, {xs}, {ys})  # isotonic calibration"]
    scaled = f"z = {calibrator.slope} * ({logits}) + {calibrator.intercept}  # calibration"
    if of_two:
        return [scaled, f"{y} = 1 / (1 + np.exp(-z))"]
    powers = "np.exp(z - z.max(axis=-1, keepdims=True))"
    return [scaled, f"{y} = {powers} / {powers}.sum(axis=-1, keepdims=True)"]


def predict_source(model: Model) -> str:
    """The function `predict`."""
    lines = [
        "def predict(rows) -> list[dict]:",
        f'    """{_rows_text(model)} → a dictionary for each."""',
        *(f"    {line}" for line in _checked(model)),
        "    said = []",
        f"    for start in range(0, {_count(model)}, {_ROWS_AT_ONCE}):",
        "        try:",
        *_refused(model),
        f"            found = outputs({_some(model)})",
        "        except BadRow as error:",
        "            raise BadRow(start + error.row, error.reason) from None",
        "        columns = {}",
    ]
    for place, decoder in enumerate(model.decoders.values()):
        function, *arguments = _decision(decoder, f"found[{place}]")
        lines.append(f"        columns |= {function}(")
        lines += [*(f"            {argument}," for argument in arguments), "        )"]
    lines += [
        "        said += [dict(zip(columns, values)) for values in zip(*columns.values())]",
        "    return said",
    ]
    return "\n".join(lines)


def _checked(model: Model) -> list[str]:
    """Lines that check rows, but for what is told of the columns of a table."""
    inputs = model.networks[0].fitted.inputs
    if model.of_table:
        return ["rows = table_rows(rows)"]
    if not model.named:
        return [f"rows = {_checked_input(model, 'rows', next(iter(inputs)))}"]
    each = ", ".join(f"{port!r}: {_checked_input(model, f'rows[{port!r}]', port)}" for port in inputs)
    return [f"refuse_uneven(rows, {list(inputs)!r})", f"rows = {{{each}}}"]


def _checked_input(model: Model, rows: str, port: Port) -> str:
    """The expression that checks the rows of one input that is no table."""
    fitted, dataset = model.networks[0].fitted.inputs[port], model.spec.dataset
    if fitted.table is not None:
        shape = fitted.raw_shape or (len(fitted.table.columns),)
        names = _feature_names(model, port)
        return f"array_rows({rows}, {shape})" if names is None else f"array_rows({rows}, {shape}, {names})"
    first, end = 0, None
    if isinstance(dataset, (schema.Imdb, schema.Reuters)):
        first, end = dataset.skip_top, dataset.num_words
    return f"token_rows({rows}, {MAX_TOKEN}, first={first}, end={end}, unknown={UNKNOWN})"


def _feature_names(model: Model, port: Port) -> list[str] | None:
    """What the numbers of a row are called, as `nnrun predict` finds them by."""
    fitted, names = model.networks[0].fitted.inputs[port], model.feature_names
    return list(names) if names is not None and len(names) == fitted.n_features else None


def _refused(model: Model) -> list[str]:
    """A line that refuses rows of a table in which nothing is a column's value."""
    if not model.of_table:
        return []
    return [f"            refuse_rows_without({_some(model)}, {column_names(model)!r})"]


def _rows_text(model: Model) -> str:
    if model.of_table:
        return "A data frame, or rows as dictionaries by column: texts, numbers, None where one is missing"
    if model.named:
        return "A dictionary with the rows of each input"
    inputs = model.networks[0].fitted.input
    return "Rows as lists of tokens" if inputs.table is None else f"An array (N, *{inputs.raw_shape})"


def _count(model: Model) -> str:
    return "len(next(iter(rows.values())))" if model.named else "len(rows)"


def _some(model: Model) -> str:
    if model.named:
        return f"{{name: each[start : start + {_ROWS_AT_ONCE}] for name, each in rows.items()}}"
    return f"rows[start : start + {_ROWS_AT_ONCE}]"


def _decision(decoder: OutputDecoder, y: str) -> list[str]:
    """The function that makes columns of an output, and its arguments."""
    prediction = prediction_columns(decoder.port)[1]
    names, classes = repr(decoder.columns(probabilities=True)), repr(list(decoder.classes))
    if decoder.kind == "numbers":
        return ["number_columns", y, names]
    if decoder.kind in ("steps", "sequence"):
        function = "step_columns" if decoder.kind == "steps" else "sequence_columns"
        return [function, y, classes, repr(prediction)]
    scores = f"scores={decoder.of_scores}"
    if decoder.kind == "class":
        return ["class_columns", y, classes, names, scores]
    function = "binary_columns" if decoder.kind == "binary" else "label_columns"
    return [function, y, classes, names, f"threshold={decoder.threshold!r}", scores]


def main_source(model: Model) -> str:
    """The text that runs when the script is called."""
    lines = [
        'if __name__ == "__main__":',
        '    if sys.argv[1:] in (["-h"], ["--help"]):',
        "        print(__doc__.strip())",
        "        raise SystemExit",
        "    if len(sys.argv) != 2:",
        '        raise SystemExit(f"usage: python {sys.argv[0]} ROWS")',
        "    try:",
        f"        write_rows(predict({_read(model)}))",
        "    except (OSError, ValueError) as error:",
        '        what = getattr(error, "strerror", None) or error',
        '        raise SystemExit(f"{sys.argv[1]}: {what}") from None',
    ]
    return "\n".join(lines)


def _read(model: Model) -> str:
    """The expression that reads a file."""
    if model.of_table:
        dataset = model.spec.dataset
        arguments = ["sys.argv[1]", repr(column_names(model))]
        if model.file_columns is not None:
            arguments.append(f"names={list(model.file_columns)!r}")
        if isinstance(dataset, schema.Csv) and dataset.delimiter is not None:
            arguments.append(f"delimiter={dataset.delimiter!r}")
        if not isinstance(dataset, schema.Csv):  # its rows have types, and those of a CSV have none
            arguments.append("missing=CSV_MISSING")
        return f"read_table({', '.join(arguments)})"
    if model.named:
        arrays = {port: array_of(model.spec, port) for port in model.networks[0].fitted.inputs}
        return f"read_arrays(sys.argv[1], {arrays!r})"
    port, inputs = next(iter(model.networks[0].fitted.inputs.items()))
    if inputs.table is None:
        return "read_lists(sys.argv[1])"
    names = _feature_names(model, port)
    return "read_array(sys.argv[1])" if names is None else f"read_array(sys.argv[1], {names})"
