"""The inputs and outputs of a network ("ports"), and a spec as one of several sees it.

A spec without `inputs` has one input, one without `outputs` one output. Of several, most rules and most code
are about one at a time: they get a *view*, a spec of which this input or output is the first, and whose keys
at the top are those of the input or output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from nnrun.errors import DataError
from nnrun.spec.wording import quoted

if TYPE_CHECKING:
    from nnrun.spec.reading.grammar import Location
    from nnrun.spec.schema import ExperimentSpec

Port = str

# The only input and the only output of a spec that names none: no name of a spec is written like this.
INPUT: Port = "(input)"
OUTPUT: Port = "(output)"
INPUT_ARRAY, OUTPUT_ARRAY = "x", "y"  # what holds them in an npz


def input_names(spec: ExperimentSpec) -> tuple[Port, ...]:
    """The names of the inputs."""
    return tuple(spec.inputs) or (INPUT,)


def output_names(spec: ExperimentSpec) -> tuple[Port, ...]:
    """The names of the outputs."""
    return tuple(spec.outputs) or (OUTPUT,)


def has_ports(spec: ExperimentSpec) -> bool:
    """Whether a spec names its inputs or outputs."""
    return bool(spec.inputs or spec.outputs)


def named(ports: Iterable[Port]) -> bool:
    """Whether these inputs, or these outputs, have names; the only one of a spec that names none has none."""
    return list(ports) not in ([INPUT], [OUTPUT])


def input_views(spec: ExperimentSpec) -> Mapping[Port, ExperimentSpec]:
    """For each input the spec as it sees it."""
    if not spec.inputs:
        return {INPUT: spec}
    views = {}
    for name, port in spec.inputs.items():
        preprocessing = spec.preprocessing.model_copy(update={"inputs": port.preprocessing})
        inputs = _first(spec.inputs, name)
        views[name] = spec.model_copy(update={"inputs": inputs, "preprocessing": preprocessing})
    return views


def output_views(spec: ExperimentSpec) -> Mapping[Port, ExperimentSpec]:
    """For each output the spec as it sees it."""
    if not spec.outputs:
        return {OUTPUT: spec}
    views = {}
    for name, port in spec.outputs.items():
        changes: dict[str, Any] = {
            "outputs": _first(spec.outputs, name),
            "loss": port.loss,
            "metrics": port.metrics,
            "class_weight": port.class_weight,
            "calibrate": port.calibrate,
            "threshold": port.threshold,
            "preprocessing": spec.preprocessing.model_copy(update={"targets": port.preprocessing}),
        }
        if "target" in type(spec.dataset).model_fields:
            changes["dataset"] = spec.dataset.model_copy(update={"target": target_of(spec, name)})
        views[name] = spec.model_copy(update=changes)
    return views


def view_of(spec: ExperimentSpec, input_name: Port, output_name: Port) -> ExperimentSpec:
    """The spec as one of its inputs and one of its outputs see it."""
    return output_views(input_views(spec)[input_name])[output_name]


def target_of(spec: ExperimentSpec, output: Port) -> list[str]:
    """The columns of a table, or the array, that an output is compared with."""
    named = spec.outputs[output].target
    return [str(name) for name in named] if named else [output]


def inputs_are_told(spec: ExperimentSpec) -> bool:
    """Whether messages say of which input a column or a row is."""
    return bool(spec.inputs) and names_of_inputs_tell(port.columns for port in spec.inputs.values())


def names_of_inputs_tell(columns: Iterable[Iterable[str | int] | None]) -> bool:
    """Whether the name of an input says more than that of a column.

    It does not where several inputs all take the same columns of the table: then each is every column's.

    Args:
        columns: of each named input those that it takes; None of one that takes an array.
    """
    each = [None if names is None else frozenset(names) for names in columns]
    return len(each) < 2 or None in each or len(set(each)) > 1


def columns_of(spec: ExperimentSpec, port: Port) -> list[str]:
    """The columns of a table that an input takes."""
    return [str(name) for name in spec.inputs[port].columns or ()]


def array_of(spec: ExperimentSpec, port: Port) -> str:
    """The array of an npz that an input is."""
    return spec.inputs[port].array or port if spec.inputs else INPUT_ARRAY


def token_inputs(spec: ExperimentSpec) -> frozenset[Port]:
    """The inputs whose first step takes lists of word indices."""
    views = input_views(spec)
    first = {port: next(iter(view.preprocessing.inputs), None) for port, view in views.items()}
    return frozenset(port for port, step in first.items() if getattr(step, "takes", ()) == ("tokens",))


def prediction_columns(output: Port | None) -> tuple[str, str, str]:
    """The columns of an output's predictions: the true target, what is predicted, of classes how probable.

    `output` is its name; None where outputs have none.
    """
    if output is None:
        return "target", "prediction", "probability"
    return f"{output}_target", output, f"{output}_probability"


def told_of(spec: ExperimentSpec, output: Port) -> AbstractContextManager[None]:
    """Errors of the data that are raised within say of which output they are, where outputs have names."""
    return _told_of("output", output if spec.outputs else None, partial(location_of_output, spec))


def told_of_input(name: Port | None) -> AbstractContextManager[None]:
    """Errors of the data that are raised within say of which input they are; None for one without a name."""
    return _told_of("input", name, lambda _, location: location)


@contextmanager
def _told_of(what: str, name: Port | None, written: Callable[[Port, Location], Location]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        if name is None:
            raise
        location = None if error.location is None else written(name, error.location)
        raise DataError(f"The {what} {quoted(name)}: {error}", location) from error


def loss_weights(spec: ExperimentSpec) -> Mapping[Port, float]:
    """What the loss of each output counts in the total."""
    if not spec.outputs:
        return {OUTPUT: 1.0}
    share = 1 / len(spec.outputs) if spec.total_loss == "mean" else 1.0
    return {name: port.loss_weight * share for name, port in spec.outputs.items()}


def location_of_input(spec: ExperimentSpec, name: Port, location: Location) -> Location:
    """Where a place of an input's view is written in the spec."""
    if spec.inputs and location[:2] == ("preprocessing", "inputs"):
        return ("inputs", name, "preprocessing", *location[2:])
    return location


def location_of_output(spec: ExperimentSpec, name: Port, location: Location) -> Location:
    """Where a place of an output's view is written in the spec."""
    if not spec.outputs:
        return location
    if location[:1] in (("loss",), ("metrics",), ("class_weight",), ("calibrate",), ("threshold",)):
        return ("outputs", name, *location)
    if location[:2] == ("preprocessing", "targets"):
        return ("outputs", name, "preprocessing", *location[2:])
    if location[:1] == ("dataset",) and location[2:3] == ("target",):
        return ("outputs", name, "target", *location[3:])
    return location


def _first(ports: Mapping[Port, Any], name: Port) -> dict[Port, Any]:
    return {name: ports[name], **ports}
