"""The calibration and the threshold that a run fitted, and its spec with them filled in.

A spec that leaves them open (`calibrate: temperature`, `threshold: {maximize: f1}`) decides as it was
trained: no calibration, 0.5. A run's networks predict by its spec with what was fitted for these very
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nnrun.errors import DataError
from nnrun.experiment.finished.decision_text import decision_in_words
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.records import CALIBRATION, RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import OUTPUT, Port, output_views
from nnrun.spec.wording import quoted
from nnrun.validation.calibration import Decision

_FIXED = "calibrate", "threshold"


@dataclass(frozen=True)
class FittedDecisions:
    """What was fitted for certain weights.

    Attributes:
        epochs: folder of a fold or seed, empty for the only network → the epoch of its weights.
        outputs: of each output that leaves something open what was fitted.
    """

    epochs: Mapping[str, int]
    outputs: Mapping[Port, Decision]

    def to_json(self) -> dict[str, Any]:
        """As the run's file has it."""
        outputs = {
            port: {
                "calibrate": None if found.method is None else found.method.model_dump(),
                "threshold": found.threshold,
            }
            for port, found in self.outputs.items()
        }
        return {"epochs": dict(self.epochs), "outputs": outputs}

    @classmethod
    def from_json(cls, document: Any) -> FittedDecisions:
        """What `to_json` gave.

        Raises:
            ValueError: it is something else.
        """
        return _ADAPTER.validate_python(document).decisions()

    def are_of(self, used: UsedWeights) -> bool:
        """Whether they were fitted for the weights that are used."""
        return all(self.epochs.get(folder) == epoch for folder, epoch in epochs_of(used).items())


def epochs_of(used: UsedWeights) -> dict[str, int]:
    """The epoch of each network's weights, as `FittedDecisions` has them; 0 where it is not known."""
    folders = ["" if member is None else member.folder for member in used.members]
    return {folder: 0 if of is None else of.epoch for folder, of in zip(folders, used.epochs, strict=True)}


class _OutputDocument(schema.Config):
    calibrate: schema.Calibrate | None
    threshold: schema.Fraction | None


class _Document(schema.Config):
    epochs: dict[str, schema.Count]
    outputs: dict[Port, _OutputDocument]

    def decisions(self) -> FittedDecisions:
        outputs = {port: Decision(of.calibrate, of.threshold) for port, of in self.outputs.items()}
        return FittedDecisions(self.epochs, outputs)


_ADAPTER = TypeAdapter(_Document)


def open_outputs(spec: schema.ExperimentSpec) -> Mapping[Port, schema.ExperimentSpec]:
    """The outputs whose calibration or threshold is to be fitted, each with the spec as it sees it."""
    return {port: view for port, view in output_views(spec).items() if _is_open(view)}


def decided_outputs(spec: schema.ExperimentSpec) -> Mapping[Port, schema.ExperimentSpec]:
    """The outputs whose probabilities or classes are not those of the network as trained."""

    def decides(view: schema.ExperimentSpec) -> bool:
        calibrated = view.calibrate is not None and view.calibrate.is_fitted
        return calibrated or (view.threshold is not None and view.threshold.at is not None)

    return {port: view for port, view in output_views(spec).items() if decides(view)}


def _is_open(view: schema.ExperimentSpec) -> bool:
    calibrates = view.calibrate is not None and not view.calibrate.is_fitted
    return calibrates or (view.threshold is not None and view.threshold.at is None)


def with_decisions(spec: schema.ExperimentSpec, decisions: Mapping[Port, Decision]) -> schema.ExperimentSpec:
    """The spec with what was fitted in the place of what it leaves open; what it gives stays."""

    def changes(port: Port, view: schema.ExperimentSpec) -> dict[str, Any]:
        found = decisions.get(port)
        if found is None or not _is_open(view):
            return {}
        changed: dict[str, Any] = {}
        if type(found.method) is type(view.calibrate):
            changed["calibrate"] = found.method
        if view.threshold is not None and found.threshold is not None:
            changed["threshold"] = schema.Threshold(at=found.threshold)
        return changed

    each = {port: changes(port, view) for port, view in output_views(spec).items()}
    if not any(each.values()):
        return spec
    if not spec.outputs:
        return spec.model_copy(update=each[OUTPUT])
    outputs = {port: output.model_copy(update=each[port]) for port, output in spec.outputs.items()}
    return spec.model_copy(update={"outputs": outputs})


def as_trained(spec: schema.ExperimentSpec) -> schema.ExperimentSpec:
    """The spec without calibration and threshold, as its histories are."""
    none = dict.fromkeys(_FIXED)
    outputs = {port: output.model_copy(update=none) for port, output in spec.outputs.items()}
    return spec.model_copy(update={**none, "outputs": outputs})


def kept_decisions(run: RunDirectory) -> Sequence[FittedDecisions]:
    """All that a run fitted; those of the weights that training ended with come first. Empty for none.

    Raises:
        DataError: the file is damaged, or gone.
    """
    document = run.read_calibration()
    if document is None:
        record = run.read_record()
        if any(found.reason is None and found.parent is None for found in record.decisions):
            if record.status != "completed":
                raise DataError(
                    f"{run.path} was {record.status} before its {CALIBRATION} was written. Let it end: "
                    f"nnrun train --resume {run.word}"
                )
            raise DataError(
                f"{run.path} has lost its {CALIBRATION}, without which its probabilities and classes are "
                "not those of its record. Restore the file, or train again."
            )
        return ()
    try:
        return [FittedDecisions.from_json(each) for each in document["fitted"]]
    except (KeyError, TypeError, ValidationError) as error:
        raise DataError(f"The {CALIBRATION} of {run.path} is damaged. Restore it, or train again.") from error


def decided_spec(
    run: RunDirectory,
    spec: schema.ExperimentSpec,
    used: UsedWeights,
    on_message: Callable[[str], None],
) -> schema.ExperimentSpec:
    """A run's spec as its networks predict: with what was fitted for the weights that are used.

    Args:
        run: its folder.
        spec: its spec.
        used: the weights.
        on_message: is told what holds; also where nothing was fitted for these weights.

    Raises:
        DataError: what was fitted is damaged, or gone.
    """
    wanted = open_outputs(spec)
    if wanted:
        found = next((each for each in kept_decisions(run) if each.are_of(used)), None)
        spec = spec if found is None else with_decisions(spec, found.outputs)
        if open_outputs(spec):
            on_message(
                f"warning: {run.id} fitted no calibration and no threshold for these weights: training did "
                "not end, or they could not be fitted. Probabilities are the network's own, and the "
                "threshold is 0.5"
            )
    for port, view in decided_outputs(spec).items():
        of = f"{quoted(port)}: " if spec.outputs else ""
        on_message(f"{of}{decision_in_words(view)}")
    return spec
