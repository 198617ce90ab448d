"""What networks predict on average when every row has the same value in one column (Friedman 2001).

Each network is asked about rows that it did not see, as many times as there are values; the curve is the mean
over these rows and over the networks, its band the standard deviation over the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, Literal

import numpy as np

from nnrun.data import Samples
from nnrun.data.dataset import Array
from nnrun.data.inference.dates import iso_texts
from nnrun.data.labels import Labels
from nnrun.data.table import CategoryColumn, Column, NumberColumn, TextColumn
from nnrun.errors import DataError, UsageError
from nnrun.experiment.evaluating.exchanged_columns import InputColumn, PreparedRows
from nnrun.experiment.finished.load_run import TrainedNetwork
from nnrun.experiment.finished.saved_labels import load_labels
from nnrun.experiment.predicting.open_run import OpenRun
from nnrun.experiment.predicting.output_decoder import OutputDecoder, output_decoders
from nnrun.experiment.predicting.outputs import in_own_units, outputs_of_inputs
from nnrun.records.importance_record import CurveLine, DependenceCurve
from nnrun.spec.ports import Port
from nnrun.spec.random_streams import derive_seed
from nnrun.spec.wording import listing_of_some, nearest, quoted
from nnrun.validation.frozen_random import frozen_random

MOST_VALUES = 20
"""So many values of a column are tried: quantiles of numbers and dates, the most frequent categories."""

MOST_ROWS = 1000
"""Of so many rows, drawn at random, a network's mean is taken where it has more."""

_MOST_NAMES: Final = 12
_ENDS = (0.05, 0.95)


@dataclass(frozen=True, eq=False)
class PlannedCurve:
    """A curve that can be measured.

    Attributes:
        column: whose values are tried.
        kind: what these are.
        values: of the column, as a record has them.
        rows: for each value a training row that has it.
        decoders: what the outputs mean whose curves are asked for.
    """

    column: InputColumn
    kind: Literal["number", "category", "date"]
    values: Sequence[float | str]
    rows: Array
    decoders: dict[Port, OutputDecoder]


def plan_curves(
    opened: OpenRun, columns: Sequence[InputColumn], names: Sequence[str], ports: Sequence[Port]
) -> list[PlannedCurve]:
    """Find the columns, and the values that are tried.

    Args:
        opened: the run.
        columns: those that its networks take.
        names: of the columns that are asked for.
        ports: the outputs.

    Raises:
        UsageError: there is no such column, or it has no values to try one by one; or an output gives neither
            numbers nor a class.
    """
    if not names:
        return []
    labels = Labels.of(opened.dataset) if opened.spec.outputs else load_labels(opened.run)
    decoders = output_decoders(opened.spec, opened.networks[0].fitted, labels)
    decoders = {port: decoder for port, decoder in decoders.items() if port in ports}
    for decoder in decoders.values():
        if decoder.kind in ("steps", "sequence"):
            raise UsageError(
                f"--curve: {opened.run.id} predicts a sequence of classes for each row, which has no mean. "
                "Leave --curve out."
            )
    known = {column.name: column for column in columns}
    return [_planned(opened, known, name, decoders) for name in dict.fromkeys(names)]


def _planned(
    opened: OpenRun, known: dict[str, InputColumn], name: str, decoders: dict[Port, OutputDecoder]
) -> PlannedCurve:
    if name not in known:
        near = nearest(name, known)
        like = sorted(known, key=lambda other: -SequenceMatcher(None, name, other).ratio())
        shown = listing_of_some([quoted(other) for other in like], _MOST_NAMES)
        raise UsageError(
            f"--curve {quoted(name)}: the networks of {opened.run.id} take no such column."
            f"{f' Did you mean {quoted(near)}?' if near else ''} They take {shown}."
        )
    raw = known[name].raw(opened.dataset.train)
    if raw is None or isinstance(raw, TextColumn):
        what = "holds texts" if raw is not None else "has no single value in a row"
        raise UsageError(
            f"--curve {quoted(name)}: this column {what}, and a curve needs numbers, dates or categories."
        )
    rows = _rows_to_try(raw)
    if not len(rows):
        raise UsageError(f"--curve {quoted(name)}: the column has no value in any training row.")
    kind: Literal["number", "category", "date"] = "number"
    if isinstance(raw, CategoryColumn):
        kind = "date" if raw.dates else "category"
        return PlannedCurve(known[name], kind, [raw.levels[c] for c in raw.codes[rows]], rows, decoders)
    numbers = raw.values if isinstance(raw, NumberColumn) else raw
    return PlannedCurve(known[name], kind, numbers[rows].astype(np.float64).tolist(), rows, decoders)


def _rows_to_try(raw: Column | Array) -> Array:
    """A row for each value: quantiles of those that occur; or categories, the most frequent first."""
    if isinstance(raw, CategoryColumn) and not raw.dates:
        counts = np.bincount(raw.codes[raw.codes >= 0], minlength=len(raw.levels))
        frequent = np.argsort(-counts, kind="stable")[:MOST_VALUES]
        first: dict[int, int] = {}
        for row, code in enumerate(raw.codes.tolist()):
            first.setdefault(code, row)
        return np.array([first[code] for code in frequent.tolist() if counts[code]], np.int64)
    if isinstance(raw, CategoryColumn):
        order = np.argsort(np.array(iso_texts(raw.levels), object), kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        values = np.where(raw.codes < 0, np.nan, place[raw.codes].astype(np.float64))
    else:
        assert not isinstance(raw, TextColumn), "refused before"
        values = np.asarray(raw.values if isinstance(raw, NumberColumn) else raw, np.float64)
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return known
    ascending = known[np.argsort(values[known], kind="stable")]
    places = np.round(np.linspace(*_ENDS, MOST_VALUES) * (len(ascending) - 1)).astype(np.int64)
    chosen = ascending[places]
    return chosen[np.unique(values[chosen], return_index=True)[1]]


def measure_curves(
    opened: OpenRun, rows: Sequence[Samples], curves: Sequence[PlannedCurve], seed: int
) -> list[DependenceCurve]:
    """Ask each network about its own rows, with every value of every column.

    Args:
        opened: the run.
        rows: for each of its networks the rows that it is asked about.
        curves: what is asked.
        seed: of the rows that are drawn where there are many.
    """
    if not curves:
        return []
    rows = [
        _drawn(own, derive_seed(seed, replica=network.id, purpose="curves"))
        for network, own in zip(opened.networks, rows, strict=True)
    ]
    each = [_of_network(opened, net, own, curves) for net, own in zip(opened.networks, rows, strict=True)]
    return [
        _curve(opened, curve, port, decoder, np.stack([found[place][port] for found in each]), rows)
        for place, curve in enumerate(curves)
        for port, decoder in curve.decoders.items()
    ]


def _drawn(samples: Samples, seed: int) -> Samples:
    """No more than `MOST_ROWS` of some rows."""
    if len(samples) <= MOST_ROWS:
        return samples
    return samples.take(np.sort(frozen_random(seed).permutation(len(samples))[:MOST_ROWS]))


def _of_network(
    opened: OpenRun, network: TrainedNetwork, samples: Samples, curves: Sequence[PlannedCurve]
) -> list[dict[Port, Array]]:
    """For each curve what each output gives for each of V values, (V, K), the mean over the rows."""
    fitted, device = network.fitted, opened.device
    outputs = outputs_of_inputs(opened.spec, fitted, network.weights, device)
    prepared = PreparedRows.of(fitted.inputs, samples)
    found = []
    for curve in curves:
        values = PreparedRows.of(fitted.inputs, opened.dataset.train.take(curve.rows))
        means: dict[Port, list[Array]] = {port: [] for port in curve.decoders}
        for place in range(len(curve.rows)):
            at = np.full(len(samples), place)
            given = outputs(prepared.with_column(curve.column, values, at, device), len(samples))
            own = in_own_units(fitted, {port: of_output[0] for port, of_output in given.items()})
            for port, of_values in means.items():
                of_values.append(own[port].mean(axis=0))
                if not np.isfinite(of_values[-1]).all():
                    raise DataError(
                        f"--curve {quoted(curve.column.name)}: with {curve.values[place]} in every row some "
                        "predictions are not finite numbers. The network diverged, or such rows are far "
                        "outside of what it was trained on."
                    )
        found.append({port: np.stack(of_values) for port, of_values in means.items()})
    return found


def _curve(
    opened: OpenRun,
    curve: PlannedCurve,
    port: Port,
    decoder: OutputDecoder,
    means_MVK: Array,
    rows: Sequence[Samples],
) -> DependenceCurve:
    """Of M networks, V values and K outputs; of two classes the line is that of the second."""
    names: Sequence[Any] = decoder.classes
    if decoder.kind in ("binary", "class") and len(names) == 2:
        means_MVK, names = means_MVK[..., -1:], names[1:]
    several = len(opened.networks) > 1
    lines = [
        CurveLine(
            name="" if decoder.kind == "numbers" and len(names) == 1 else str(name),
            mean=means_MVK[..., k].mean(axis=0).tolist(),
            std=means_MVK[..., k].std(axis=0, ddof=1).tolist() if several else None,
        )
        for k, name in enumerate(names)
    ]
    predicted: Literal["probability", "score", "prediction"] = "prediction"
    if decoder.kind != "numbers":
        predicted = "score" if decoder.of_scores else "probability"
    return DependenceCurve(
        column=curve.column.name,
        output=decoder.port,
        kind=curve.kind,
        values=list(curve.values),
        predicted=predicted,
        rows=max(map(len, rows)),
        lines=lines,
    )
