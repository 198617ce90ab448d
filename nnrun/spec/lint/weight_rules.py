"""Initializers, regularizers and constraints of layers that cannot be meant."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.reading.locate import Location
from nnrun.spec.schema import DatasetFacts


def regularizers_do_something(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """`l1_l2` is 0 and 0 unless it is told otherwise."""
    for location, layer in all_layers(spec):
        for name, regularizer in schema.regularizers(layer).items():
            if isinstance(regularizer, schema.L1L2) and regularizer.l1 == regularizer.l2 == 0:
                yield Finding(
                    (*location, layer.kind, name, "l1_l2"),
                    "l1 and l2 are both 0, so nothing is regularized; give one of them a value",
                    "warning",
                )


def constraints_fit_their_arrays(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A constraint's axes are those that Keras's array has."""
    for here, constraint, rank in _options(spec, "constraint"):
        if isinstance(constraint, schema.MinMaxNorm) and constraint.min_value > constraint.max_value:
            yield Finding(
                (*here, constraint.kind, "min_value"),
                f"min_value {constraint.min_value:g} is above max_value {constraint.max_value:g}; exchange "
                "them",
            )
        beyond = [axis for axis in getattr(constraint, "axis", ()) if axis >= rank]
        if beyond:
            last = "0 alone" if rank == 1 else f"0 to {rank - 1}"
            yield Finding(
                (*here, constraint.kind, "axis"),
                f"there is no axis {beyond[0]}: Keras's array has the axes {last}",
            )


def initializers_have_a_range(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A uniform distribution goes from the smaller to the larger number."""
    for here, initializer, _ in _options(spec, "initializer"):
        if isinstance(initializer, schema.RandomUniform) and initializer.minval > initializer.maxval:
            yield Finding(
                (*here, initializer.kind, "minval"),
                f"minval {initializer.minval:g} is above maxval {initializer.maxval:g}; exchange them",
            )


def _options(spec: schema.ExperimentSpec, name: str) -> Iterator[tuple[Location, schema.Component, int]]:
    """Where an option such as `kernel_constraint` stands, what it says, and how many axes its array has."""
    for location, layer in all_layers(spec):
        for array, rank in getattr(layer, "ranks", {}).items():
            option = getattr(layer, f"{array}_{name}", None)
            if option is not None:
                yield (*location, layer.kind, f"{array}_{name}"), option, rank


RULES: tuple[Rule, ...] = (
    regularizers_do_something,
    constraints_fit_their_arrays,
    initializers_have_a_range,
)
