"""What a served run takes and gives, as documents: `/schema`, and the OpenAPI description of the routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnrun.data.new_rows.input_batches import RowDecoder
from nnrun.data.new_rows.named_columns import NamedColumnDecoder
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.several_inputs import SeveralInputsDecoder
from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.experiment.predicting.output_decoder import OutputDecoder, interval_columns, spread_column
from nnrun.experiment.predicting.predict import Predictor
from nnrun.experiment.serving.requests import ROWS, Options
from nnrun.spec.ports import prediction_columns

_MOST_VALUES = 100
"""Known values of a column, or classes, that are listed."""
_TYPES: Mapping[str, list[str]] = {
    "number": ["number", "string", "null"],  # a text that is a number is read as one
    "category": ["string", "number", "boolean", "null"],
    "date": ["string", "null"],
    "text": ["string", "null"],
}


def schema_document(predictor: Predictor, usual: Options, example: Any) -> dict[str, Any]:
    """What a run takes and gives: each column with its type and a typical value, each output's classes.

    Args:
        predictor: the networks.
        usual: the options of a request that names none.
        example: a row.
    """
    calibrated = predictor.calibrated
    return {
        "run": predictor.run.id,
        "name": predictor.spec.name,
        "networks": len(predictor.networks),
        "weights": predictor.weights.as_document(),
        "row": _row_in_words(predictor.decoder),
        "columns": _columns(predictor, example),
        "outputs": [_output(decoder) for decoder in predictor.output_decoders.values()],
        "options": {
            "probabilities": usual.probabilities,
            "interval": usual.interval,
            "spread": predictor.spread,
        },
        "interval": None if calibrated is None else calibrated.as_document(),
        "example": example,
    }


def _columns(predictor: Predictor, example: Any) -> list[dict[str, Any]]:
    """The columns of a table, or the inputs that are arrays or words."""
    decoder = predictor.decoder
    if isinstance(decoder, NamedColumnDecoder):
        known = _known_levels(predictor)
        return [
            {
                "name": column.name,
                "type": column.kind,
                **({"inputs": list(column.inputs)} if column.inputs else {}),
                "typical": example[column.name],
                **({"known_values": known[column.name][:_MOST_VALUES]} if column.name in known else {}),
            }
            for column in decoder.columns
        ]
    if isinstance(decoder, SeveralInputsDecoder):
        return [
            {"name": port, "type": _row_in_words(own), "typical": example[port]}
            for port, own in decoder.decoders.items()
        ]
    if isinstance(example, dict):
        return [{"name": name, "type": "number", "typical": value} for name, value in example.items()]
    return []


def _known_levels(predictor: Predictor) -> dict[str, Sequence[str]]:
    """The values of each column of categories that training rows had; others are told as unknown."""
    found: dict[str, Sequence[str]] = {}
    for inputs in predictor.networks[0].fitted.inputs.values():
        for column in () if inputs.table is None else inputs.table.columns:
            levels = next(
                (s.known_levels for s in column.steps if s.form == "category" and s.known_levels), ()
            )
            if levels:
                found.setdefault(column.name, list(levels))
    return found


def _output(decoder: OutputDecoder) -> dict[str, Any]:
    _, prediction, _ = prediction_columns(decoder.port)
    classes = [str(name) for name in decoder.classes]
    return {
        "name": prediction,
        "kind": decoder.kind,
        "classes": None if decoder.kind == "numbers" else classes[:_MOST_VALUES],
        "targets": classes if decoder.several_numbers else None,
        "threshold": decoder.threshold if decoder.kind in ("binary", "labels") else None,
        "probabilities": decoder.has_probabilities,
    }


def _row_in_words(decoder: RowDecoder) -> str:
    """What a row is."""
    match decoder:
        case NamedColumnDecoder():
            also = ", or the text alone" if decoder.takes_lines else ""
            return f"an object with the columns' names as keys{also}"
        case SeveralInputsDecoder():
            return "an object with the inputs' names as keys"
        case TokenDecoder():
            return "a text, or a list of tokens" if decoder.knows_words else "a list of tokens"
        case PositionalDecoder():
            shape = " by ".join(map(str, decoder.row_shape))
            numbers = f"a list of {shape} numbers"
            return (
                numbers
                if decoder.names is None
                else f"an object with the columns' names as keys, or {numbers}"
            )
    raise AssertionError(f"a decoder of rows that has no words: {decoder!r}")


# --- OpenAPI -----------------------------------------------------------------------------------------------


def row_schema(decoder: RowDecoder, example: Any) -> dict[str, Any]:
    """The JSON Schema of a row."""
    match decoder:
        case NamedColumnDecoder():
            properties = {column.name: {"type": _TYPES[column.kind]} for column in decoder.columns}
            row = {"type": "object", "properties": properties}
            found = {"anyOf": [row, {"type": "string"}]} if decoder.takes_lines else row
        case SeveralInputsDecoder():
            parts = {port: row_schema(own, example[port]) for port, own in decoder.decoders.items()}
            found = {"type": "object", "properties": parts, "required": list(parts)}
        case TokenDecoder():
            tokens = {"type": "array", "items": {"type": "integer", "minimum": 0}}
            found = {"anyOf": [{"type": "string"}, tokens]} if decoder.knows_words else tokens
        case PositionalDecoder():
            found = _array(decoder)
        case _:
            raise AssertionError(f"a decoder of rows that has no schema: {decoder!r}")
    return {**found, "examples": [example]}


def _array(decoder: PositionalDecoder) -> dict[str, Any]:
    number: dict[str, Any] = {"type": "number"}
    nested: dict[str, Any] = number
    for size in reversed(decoder.row_shape):
        nested = {"type": "array", "items": nested, "minItems": size, "maxItems": size}
    if decoder.names is None:
        return nested
    named = {
        "type": "object",
        "properties": dict.fromkeys(decoder.names, number),
        "required": list(decoder.names),
    }
    return {"anyOf": [named, nested]}


def prediction_schema(predictor: Predictor) -> dict[str, Any]:
    """The JSON Schema of the prediction of a row: the keys that `nnrun predict` writes as JSON lines."""
    properties: dict[str, Any] = {"row": {"type": "integer", "minimum": 0}}
    always = ["row"]
    for decoder in predictor.output_decoders.values():
        _, prediction, probability = prediction_columns(decoder.port)
        value = _value_schema(decoder)
        properties[prediction] = value
        always.append(prediction)
        if decoder.has_probabilities and decoder.kind != "labels":
            properties[probability] = {"type": "number", "minimum": 0, "maximum": 1}
            always.append(probability)
        for name, of in _on_demand(decoder, value, prediction, probability):
            properties[name] = of
    return {"type": "object", "properties": properties, "required": always}


def _value_schema(decoder: OutputDecoder) -> dict[str, Any]:
    number, of_class = {"type": "number"}, {"type": ["string", "integer"]}
    if decoder.kind == "numbers":
        return {"type": "array", "items": number} if decoder.several_numbers else number
    if decoder.kind in ("labels", "steps", "sequence"):
        return {"type": ["array", "string"] if decoder.kind == "sequence" else "array"}
    names = list(decoder.classes)
    return {"enum": names} if len(names) <= _MOST_VALUES else of_class


def _on_demand(
    decoder: OutputDecoder, value: Mapping[str, Any], prediction: str, probability: str
) -> list[tuple[str, dict[str, Any]]]:
    """The keys that are there where an option asks for them."""
    of_classes = {"type": "object", "additionalProperties": {"type": "number"}}
    found: list[tuple[str, dict[str, Any]]] = []
    for name in interval_columns(decoder.kind, [prediction]):
        found.append((name, dict(value) if decoder.kind == "numbers" else {"type": "array"}))
    if decoder.has_probabilities:
        named = [(name, {"type": "number"}) for name in decoder.class_columns[:_MOST_VALUES]]
        found += [("probabilities", of_classes)] if decoder.port is None else named
    spread_of = prediction if decoder.kind == "numbers" else probability
    return [
        *found,
        (spread_column(spread_of), dict(value) if decoder.kind == "numbers" else {"type": "number"}),
    ]


def openapi_paths(predictor: Predictor, usual: Options, example: Any, *, enveloped: bool) -> dict[str, Any]:
    """The route /predict and its schemas, in the form of OpenAPI 3.1: `paths` and `components`."""
    row = {"$ref": "#/components/schemas/Row"}
    rows = {"type": "array", "items": row, "minItems": 1}
    body: list[dict[str, Any]] = [row, rows]
    if enveloped:
        options = {
            "probabilities": {"type": "boolean", "default": usual.probabilities},
            "interval": {"type": ["number", "null"], "default": usual.interval},
        }
        properties = {ROWS: {"anyOf": [rows, row]}, **options}
        body.append({"type": "object", "properties": properties, "required": [ROWS]})
    answer = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
            "messages": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["predictions"],
    }
    operation = {
        "summary": "Predict rows",
        "description": f"Takes one row or a list of rows; a row is {_row_in_words(predictor.decoder)}. "
        "Answers each row as `nnrun predict --format jsonl` does; `messages` tells what is ignored or "
        "unknown.",
        "operationId": "predict",
        "parameters": [
            _parameter("probabilities", {"type": "boolean", "default": usual.probabilities}),
            _parameter("interval", {"type": ["number", "null"], "default": usual.interval}),
        ],
        "requestBody": {"required": True, "content": _json({"anyOf": body}, example)},
        "responses": {
            "200": {"description": "A prediction for each row.", "content": _json(answer)},
            **{status: _refusal(what) for status, what in _REFUSALS.items()},
        },
    }
    refused = {"type": "object", "properties": {"detail": {}}, "required": ["detail"]}
    return {
        "paths": {"/predict": {"post": operation}},
        "components": {
            "schemas": {
                "Row": row_schema(predictor.decoder, example),
                "Prediction": prediction_schema(predictor),
                "Refusal": refused,
            }
        },
    }


_REFUSALS = {
    "400": "The body is not JSON.",
    "408": "The body did not arrive in time.",
    "413": "The body is too long.",
    "415": "The Content-Type is not application/json.",
    "422": "Rows that cannot be predicted, each with what is wrong; or options that there are not.",
    "503": "Too many rows are waiting, or too many bytes arriving.",
}


def _refusal(what: str) -> dict[str, Any]:
    return {"description": what, "content": _json({"$ref": "#/components/schemas/Refusal"})}


def _json(schema: Mapping[str, Any], example: Any = None) -> dict[str, Any]:
    of_example = {} if example is None else {"example": example}
    return {"application/json": {"schema": schema, **of_example}}


def _parameter(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def title_of(predictor: Predictor) -> str:
    """What the service is called."""
    return f"nnrun: {predictor.spec.name}"
