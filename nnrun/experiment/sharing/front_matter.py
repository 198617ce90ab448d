"""The front matter of a model card: what the Hugging Face Hub reads of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from nnrun.data.new_rows.image_rows import mode_of
from nnrun.data.new_rows.named_columns import NamedColumnDecoder
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.experiment.predicting.predict import Predictor
from nnrun.experiment.sharing.card_scores import CardScore

_TAGS = ("nnrun", "pytorch", "safetensors")
_FENCE = "---\n"


def task_of(predictor: Predictor) -> str | None:
    """What the Hub calls the task (`pipeline_tag`); None where it has no word for it."""
    kinds = {decoder.kind for decoder in predictor.output_decoders.values()}
    decoder = predictor.decoder
    numbers = kinds == {"numbers"}
    if kinds - {"numbers", "binary", "class", "labels"} or (len(kinds) > 1 and "numbers" in kinds):
        return None
    match decoder:
        case NamedColumnDecoder() if not decoder.takes_lines:
            return "tabular-regression" if numbers else "tabular-classification"
        case PositionalDecoder() if len(decoder.row_shape) == 1:
            return "tabular-regression" if numbers else "tabular-classification"
        case PositionalDecoder() if mode_of(decoder.row_shape) is not None and not numbers:
            return "image-classification"
        case NamedColumnDecoder() | TokenDecoder() if not numbers:
            return "text-classification"
    return None


def front_matter(predictor: Predictor, scores: Sequence[CardScore], data: str, license_: str | None) -> str:
    """The front matter, with the lines around it.

    Args:
        predictor: the networks.
        scores: what they score.
        data: what the data set is called.
        license_: its identifier, as the Hub has them; None for none.
    """
    task = task_of(predictor)
    document: dict[str, Any] = {"library_name": "nnrun"}
    if license_ is not None:
        document["license"] = license_
    if task is not None:
        document["pipeline_tag"] = task
    document["tags"] = [*_TAGS, *([task] if task is not None else [])]
    names = list(dict.fromkeys(score.name for score in scores if not score.name.endswith("loss")))
    if names:
        document["metrics"] = names
    if scores:
        document["model-index"] = [
            {"name": predictor.spec.name, "results": _results(scores, task or "other", data)}
        ]
    return f"{_FENCE}{yaml.safe_dump(document, sort_keys=False, allow_unicode=True)}{_FENCE}"


def _results(scores: Sequence[CardScore], task: str, data: str) -> list[dict[str, Any]]:
    """A result for each of test and validation rows."""
    found = []
    for split in dict.fromkeys(score.split for score in scores):
        metrics = [_metric(score) for score in scores if score.split == split]
        dataset = {"name": data, "type": data, "split": split}
        found.append({"task": {"type": task}, "dataset": dataset, "metrics": metrics})
    return found


def _metric(score: CardScore) -> dict[str, Any]:
    about = {
        "std": score.std,
        "interval_95": None if score.interval is None else list(score.interval),
        "baseline": score.baseline,
        "linear_baseline": score.linear,
    }
    known = {name: value for name, value in about.items() if value is not None}
    notes = [f"{score.split} {score.name}"]
    if score.std is not None:
        notes.append("a mean over several networks")
    if score.caution:
        notes.append(score.caution)
    metric: dict[str, Any] = {"type": score.name, "value": score.value, "name": "; ".join(notes)}
    return {**metric, "args": known} if known else metric
