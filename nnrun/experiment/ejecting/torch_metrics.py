"""What a script for PyTorch says of metrics: the registry of what each becomes.

A metric has a line in `METRICS`; one without it is refused by name. What PyTorch has no short expression for
is computed by scikit-learn, whose definitions nnrun's are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnrun.experiment.ejecting.lesson import Head
from nnrun.experiment.ejecting.refusals import can_write, refuse
from nnrun.experiment.ejecting.script_text import WIDTH, call_lines
from nnrun.experiment.scripting.layer_script import activated
from nnrun.spec import schema

Component = schema.Component
_SKLEARN = "sklearn.metrics"


def _class_of(head: Head) -> str:
    """The true class of each row."""
    return "y" if head.targets.kind == "class_index" else "y.argmax(1)"


def _decided(head: Head, spec: Any) -> tuple[str, str]:
    """True and predicted classes, or labels."""
    if head.decides_as == "softmax":
        return _class_of(head), "outputs.argmax(1)"
    _refuse_undecided(head, spec)
    has_threshold = isinstance(spec, schema.Precision | schema.Recall | schema.F1)
    cut = cut_of(head, spec.threshold if has_threshold else schema.HALF)
    if head.targets.n_outputs == 1:
        return "y > 0.5", f"outputs > {cut}"
    return "(y > 0.5).flatten()", f"(outputs > {cut}).flatten()"


def cut_of(head: Head, threshold: float) -> str:
    """The output above which a probability is above a threshold: those of losses of margins are scores."""
    of_scores = head.decides_as == "sigmoid" and head.activation != "sigmoid"
    return repr(math.log(threshold / (1 - threshold)) if of_scores else threshold)


def _refuse_undecided(head: Head, spec: Any) -> None:
    if head.decides_as not in ("softmax", "sigmoid"):
        raise refuse(f"the metric {spec.kind} of outputs with the activation {head.activation}")


def _accuracy(head: Head, spec: Any) -> str:
    if head.decides_as == "softmax":
        return f"(outputs.argmax(1) == {_class_of(head)}).float().mean().item()"
    _refuse_undecided(head, spec)
    return f"((outputs > {cut_of(head, 0.5)}) == (y > 0.5)).float().mean().item()"


def _top_k(head: Head, spec: Any) -> str:
    y = f"{_class_of(head)}[:, None]"
    return f"(outputs.topk({spec.k}).indices == {y}).any(1).float().mean().item()"


def _by_sklearn(function: str, options: str = "", macro: str = "") -> Callable[[Head, Any], str]:
    """A function of scikit-learn, of true and predicted classes; of several classes with other options."""

    def call(head: Head, spec: Any) -> str:
        of_several = macro if head.decides_as == "softmax" else ""
        return f"{function}({', '.join([*_decided(head, spec), *filter(None, (of_several, options))])})"

    return call


def _kappa(head: Head, spec: Any) -> str:
    weights = "" if spec.weights == "none" else f'weights="{spec.weights}"'
    return _by_sklearn("cohen_kappa_score", weights)(head, spec)


def _ranked(function: str) -> Callable[[Head, Any], str]:
    """A function of scikit-learn, of true labels and scores: before the activation, where none are tied."""

    def call(head: Head, spec: Any) -> str:
        if head.decides_as == "softmax":
            y = _class_of(head)
            return f"macro({function}, {y}, z.double().softmax(1))"
        _refuse_undecided(head, spec)
        z = "z" if head.activation != "linear" else "outputs"
        return f"{function}((y > 0.5).flatten(), {z}.flatten())"

    return call


def _log_loss(head: Head, spec: Any) -> str:
    if head.decides_as == "softmax":
        return f"F.cross_entropy(z.double(), {_class_of(head)}).item()"
    _refuse_undecided(head, spec)
    return "F.binary_cross_entropy_with_logits(z.double(), y.double()).item()"


def _brier(head: Head, spec: Any) -> str:
    if head.decides_as != "softmax":
        return "(outputs - y).square().mean().item()"
    y = f"F.one_hot(y, {head.targets.classes})" if head.targets.kind == "class_index" else "y"
    return f"(outputs - {y}).square().sum(1).mean().item()"


def _one_column(head: Head, spec: Any, expression: str) -> str:
    if head.targets.n_outputs != 1:
        raise refuse(f"the metric {spec.kind} of several numbers in a row")
    return expression


def _d2(head: Head, spec: Any) -> str:
    if spec.quantile != 0.5:
        raise refuse(f"the metric {spec.kind} of another quantile than the median")
    return _one_column(head, spec, "d2_absolute_error_score(y, outputs)")


METRICS: Mapping[type[Component], Callable[[Head, Any], str]] = {
    schema.Accuracy: _accuracy,
    schema.TopK: _top_k,
    schema.Precision: _by_sklearn("precision_score", "zero_division=0", 'average="macro"'),
    schema.Recall: _by_sklearn("recall_score", "zero_division=0", 'average="macro"'),
    schema.F1: _by_sklearn("f1_score", "zero_division=0", 'average="macro"'),
    schema.Auc: _ranked("roc_auc_score"),
    schema.AveragePrecision: _ranked("average_precision_score"),
    schema.BalancedAccuracy: _by_sklearn("balanced_accuracy_score"),
    schema.Mcc: _by_sklearn("matthews_corrcoef"),
    schema.CohenKappa: _kappa,
    schema.LogLoss: _log_loss,
    schema.Brier: _brier,
    schema.MaeMetric: lambda head, spec: "(outputs - y).abs().mean().item()",
    schema.MseMetric: lambda head, spec: "(outputs - y).square().mean().item()",
    schema.Rmse: lambda head, spec: "(outputs - y).square().mean().sqrt().item()",
    schema.R2: lambda head, spec: "r2_score(y, outputs)",
    schema.MapeMetric: lambda head, spec: (
        "100 * ((outputs - y).abs() / y.abs().clamp(min=1e-7)).mean().item()"
    ),
    schema.MsleMetric: lambda head, spec: (
        "(outputs.clamp(min=0).log1p() - y.clamp(min=0).log1p()).square().mean().item()"
    ),
    schema.MedianAe: lambda head, spec: "median_absolute_error(y, outputs)",
    schema.ExplainedVariance: lambda head, spec: "explained_variance_score(y, outputs)",
    schema.Pearson: lambda head, spec: _one_column(
        head, spec, "torch.corrcoef(torch.cat([outputs, y], 1).T)[0, 1].item()"
    ),
    schema.D2: _d2,
}
"""An expression of a float, of targets `y`, of `outputs`, and of `z`, the values before their activation."""


def metric_lines(head: Head, *, function: str = "scores") -> tuple[list[str], set[str]]:
    """A function that gives the scores of outputs, and the imports that it needs; nothing without metrics.

    Raises:
        UsageError: a metric cannot be written.
    """
    metrics = head.spec.metrics
    if not metrics:
        return [], set()
    made = []
    for metric in metrics:
        if type(metric) not in METRICS:
            raise refuse(f"the metric {metric.kind}", can_write(METRICS))
        made.append(METRICS[type(metric)](head, metric))
    linear = head.activation == "linear"
    takes = "outputs" if linear else "z"
    lines = [f"def {function}({takes}, y{', y_mean, y_std' if head.scales else ''}):"]
    if head.present is not None:
        lines += ["    rows = has_target(y)", f"    {takes}, y = {takes}[rows], y[rows]"]
    if linear:
        made = [text.replace("(z.", "(outputs.").replace("(z,", "(outputs,") for text in made]
    elif any("outputs" in text for text in made):
        lines.append(f"    outputs = {activated(head.activation, 'z')}")
    if head.scales:
        lines.append("    outputs, y = outputs * y_std + y_mean, y * y_std + y_mean")
    return [*lines, *call_lines("    return [", made, "]")], sklearn_imports(made)


def sklearn_imports(texts: Sequence[str]) -> set[str]:
    """The import of the functions of scikit-learn that are called."""
    from sklearn import metrics

    text = " ".join(texts)
    names = sorted(name for name in metrics.__all__ if re.search(rf"\b{name}\b", text))
    if not names:
        return set()
    line = f"from {_SKLEARN} import {', '.join(names)}"
    several = "\n".join([f"from {_SKLEARN} import (", *(f"    {name}," for name in names), ")"])
    return {line if len(line) <= WIDTH else several}
