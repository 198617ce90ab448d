"""Predictions of a run's networks for rows of its own data set: training, validation or test rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from nnrun.data import Samples
from nnrun.data.dataset import Array, Flags
from nnrun.data.labels import Labels
from nnrun.errors import DataError, UsageError
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, Access, TrainedNetwork
from nnrun.experiment.finished.saved_labels import load_labels
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.open_run import OpenRun, open_run
from nnrun.experiment.predicting.output_decoder import (
    OutputDecoder,
    Predictions,
    make_output_decoder,
    plain_floats,
)
from nnrun.experiment.predicting.outputs import Combined, combination_text, combine
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port, output_names, prediction_columns
from nnrun.spec.wording import listing, quoted

if TYPE_CHECKING:
    import pandas as pd

Split = Literal["train", "validation", "test"]

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """Predictions of a data set's own rows.

    Attributes:
        opened: the run, its networks and its data set.
        output_decoder: what their outputs mean.
        split: which rows.
        combined: one output for each row.
        targets: of these rows.
        present: (M,) which of these rows have a target; None where all have.
        look: which look at this test set it was by experiments of this name; None for other rows and for a
            smoke run.
    """

    opened: OpenRun
    output_decoder: OutputDecoder
    split: Split
    combined: Combined
    targets: Array
    look: int | None
    present: Flags | None = None

    @property
    def run(self) -> RunDirectory:
        """The run's folder."""
        return self.opened.run

    @property
    def networks(self) -> tuple[TrainedNetwork, ...]:
        """Those that predict."""
        return self.opened.networks

    @property
    def weights(self) -> UsedWeights:
        """Of which epochs they are."""
        return self.opened.weights

    def blocks(self) -> Iterator[Predictions]:
        """The predictions, some thousand rows at a time, with the true targets beside them."""
        rows, outputs = self.combined.rows, self.combined.outputs
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            yield self.output_decoder.predictions(rows[part].tolist(), outputs[part], self.targets[part])

    def table(self) -> pd.DataFrame:
        """All of them: `target`, `prediction` and, for classes, probabilities; the index is the row."""
        import pandas as pd

        probabilities = self.output_decoder.kind != "numbers"
        rows = [r for b in self.blocks() for r in self.output_decoder.table(b, probabilities=probabilities)]
        columns = self.output_decoder.columns(probabilities=probabilities, targets=True)
        return pd.DataFrame(rows, columns=columns).set_index("row")


@dataclass(frozen=True, eq=False)
class NamedPredictions:
    """Predictions of several outputs for the same rows.

    Attributes:
        outputs: those of each output, by its name.
    """

    outputs: Mapping[Port, SplitPredictions]

    @property
    def first(self) -> SplitPredictions:
        """Those of the first output, which tell of the run, the rows and the test set."""
        return next(iter(self.outputs.values()))

    def table(self, *, probabilities: bool = True) -> pd.DataFrame:
        """One row for each row, and of each output its columns; the index is the row.

        `<output>_target` (None or NaN where a row lacks it), `<output>` (what is predicted) and, for classes,
        `<output>_probability`, with `probabilities` also `<output>_<class>`.
        """
        import pandas as pd

        columns: list[tuple[str, list[Any]]] = []
        for port, found in self.outputs.items():
            decoder, blocks = found.output_decoder, list(found.blocks())
            of_target, of_prediction, of_probability = prediction_columns(port)
            true = [each for block in blocks for each in block.true or ()]
            if found.present is not None:
                true = [each if there else None for each, there in zip(true, found.present, strict=True)]
            columns.append((of_target, true))
            columns.append((of_prediction, [each for block in blocks for each in block.predicted]))
            chances = [block.probability for block in blocks if block.probability is not None]
            if chances:
                column = np.concatenate(chances)[:, None]
                columns.append((of_probability, [each for (each,) in plain_floats(column)]))
            shares = [block.probabilities for block in blocks if block.probabilities is not None]
            if shares and probabilities:
                rows = [row for of in shares for row in plain_floats(of)]
                for place, name in enumerate(decoder.classes):
                    columns.append((f"{port}_{name}", [row[place] for row in rows]))
        _refuse_one_name_twice([name for name, _ in columns])
        return pd.DataFrame(dict(columns), index=pd.Index(self.first.combined.rows, name="row"))


def _refuse_one_name_twice(columns: Sequence[str]) -> None:
    """Raise UsageError where two columns have one name, as of a class called `target`."""
    for column, count in Counter(columns).items():
        if count > 1:
            raise UsageError(
                f"Two columns of the predictions would be called {quoted(column)}, one of them the "
                "probability of a class. Leave the classes' probabilities out (--probabilities, or "
                "probabilities=False in Python), or train again with another name for the output."
            )


def predict_split(
    run: RunDirectory,
    split: Split,
    access: Access = DEFAULT_ACCESS,
    *,
    probabilities: bool = False,
) -> SplitPredictions | NamedPredictions:
    """Predict rows of a run's own data set. A use of the test set is counted before its rows are predicted.

    Of several folds each validation row is predicted by the network that did not train on it.

    Args:
        run: the run.
        split: which rows.
        access: how it is opened. Its listener hears which weights are used, which networks predict each row.
        probabilities: refuse networks that have none, before the test set is looked at.

    Raises:
        UsageError: there are no such rows, or several networks were trained on different ones.
        DataError: the run's files or data are missing, damaged or changed.
        LockedError: another process writes into the run's record.
    """
    if split not in get_args(Split):
        raise UsageError(f"split is {split!r}; it must be train, validation or test.")
    listener = access.listener
    with run.owned() if split == "test" else nullcontext():
        opened = open_run(run, access)
        samples, rows = _rows_of(opened, split)
        networks = opened.networks
        views = {port: opened.of_output(port) for port in output_names(opened.spec)}
        decoders = {}
        for port, view in views.items():
            names = Labels.of(view.dataset) if opened.spec.outputs else load_labels(run)
            decoders[port] = make_output_decoder(view.spec, view.networks[0].fitted, names)
        if probabilities and all(decoder.kind == "numbers" for decoder in decoders.values()):
            refuse_without_probabilities(run, next(iter(decoders.values())))
        listener.message(opened.weights.sentence)
        look = None
        if split == "test":
            _, look = opened.count_look("predict")
    found = {}
    for port, view in views.items():
        asked = zip(view.networks, rows, strict=True)
        combined = combine([(of, view.outputs(network, samples.take(of))) for network, of in asked])
        _refuse_what_is_not_finite(split, combined)
        own = samples.output(port)
        present = None if own.present is None else own.present[combined.rows]
        targets = own.targets[combined.rows]
        found[port] = SplitPredictions(view, decoders[port], split, combined, targets, look, present)
    if len(networks) > 1:
        kind = None if networks[0].member is None else networks[0].member.type
        how = next(iter(found.values())).combined.how
        listener.message(f"each row is predicted {combination_text(how, len(networks), kind)}")
    return NamedPredictions(found) if opened.spec.outputs else next(iter(found.values()))


def refuse_without_probabilities(run: RunDirectory, output_decoder: OutputDecoder) -> None:
    """Raise UsageError where a run's networks predict numbers."""
    if output_decoder.kind == "numbers":
        raise UsageError(f"--probabilities: {run.id} predicts numbers, which have no probabilities.")


def _rows_of(opened: OpenRun, split: Split) -> tuple[Samples, list[Array]]:
    """The samples, and for each network the numbers of the rows that it is asked about."""
    run, dataset, networks = opened.run, opened.dataset, opened.networks
    if split == "test":
        if dataset.test is None:
            raise UsageError(f"--split test: {dataset.name} has no test set.")
        return dataset.test, [np.arange(len(dataset.test))] * len(networks)
    folds = [opened.fold_of(network) for network in networks]
    if split == "validation":
        if isinstance(opened.spec.validation, schema.NoValidation):
            raise UsageError(
                f"--split validation: {run.id} was trained on all training rows and has no validation rows. "
                "Use --split train."
            )
        return dataset.train, [fold.validation_rows for fold in folds]
    rows = [np.sort(fold.train_rows) for fold in folds]
    if any(not np.array_equal(own, rows[0]) for own in rows[1:]):
        members = [network.member for network in networks if network.member is not None]
        names = listing([member.folder for member in members])
        raise UsageError(
            f"--split train: the {members[0].type}s of {run.id} were trained on different rows. "
            f"Name one with --member ({names}); or use --split validation, where each row is predicted by "
            "networks that did not train on it."
        )
    return dataset.train, rows


def _refuse_what_is_not_finite(split: Split, combined: Combined) -> None:
    bad = np.flatnonzero(~np.isfinite(combined.outputs).all(axis=1))
    if len(bad):
        raise DataError(
            f"The outputs for {len(bad):,} of {len(combined.rows):,} {split} rows are not finite numbers "
            f"(the first: row {combined.rows[bad[0]]}). They are far outside of what the network was trained "
            "on, or it diverged."
        )
