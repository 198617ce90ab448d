"""Combinations that type-check and still cannot be meant.

Each rule is a function of the spec (defaults filled in) and of what is known of its data set, and yields
findings. A new rule goes into the module of its subject and into that module's `RULES`.
"""

from __future__ import annotations

from dataclasses import replace

from nnrun.spec.lint import (
    data_rules,
    decision_rules,
    ensemble_rules,
    layer_rules,
    nested_rules,
    network_rules,
    port_rules,
    step_rules,
    sweep_rules,
    training_rules,
)
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.ports import (
    Port,
    has_ports,
    input_names,
    location_of_input,
    location_of_output,
    output_names,
    view_of,
)
from nnrun.spec.schema import DatasetFacts, ExperimentSpec, NamedColumns
from nnrun.spec.shapes import facts_with_header

RULES: tuple[Rule, ...] = (
    *network_rules.RULES,
    *layer_rules.RULES,
    *ensemble_rules.RULES,
    *data_rules.RULES,
    *step_rules.RULES,
    *training_rules.RULES,
    *decision_rules.RULES,
    port_rules.stratify_names_an_output,
)


_OF_THE_WHOLE: tuple[Rule, ...] = (
    *port_rules.RULES,
    *ensemble_rules.RULES,
    network_rules.layers_fit_each_other,
    training_rules.early_stopping_watches_a_column,
    training_rules.schedule_watches_a_column,
)
"""Rules that look at all inputs and outputs at once; the others look at one of each."""


def lint(spec: ExperimentSpec, facts: DatasetFacts | None = None) -> list[Finding]:
    """Every finding of every rule; `facts` are what is known of the data, by default without loading them.

    Of several inputs and outputs each is looked at by itself.
    """
    facts = facts or facts_with_header(spec)
    found = [] if spec.sweep is None else [f for rule in sweep_rules.RULES for f in rule(spec, spec.sweep)]
    if spec.nested is not None:
        found += [finding for rule in nested_rules.RULES for finding in rule(spec, facts)]
    if not has_ports(spec):
        return [*found, *(finding for rule in RULES for finding in rule(spec, facts))]
    found += [finding for rule in _OF_THE_WHOLE for finding in rule(spec, facts)]
    if any(finding.severity == "error" for rule in port_rules.RULES for finding in rule(spec, facts)):
        return found
    (first_input, *more_inputs), outputs = input_names(spec), output_names(spec)
    pairs = [*((first_input, output) for output in outputs), *((name, outputs[0]) for name in more_inputs)]
    for one_input, one_output in pairs:
        view = view_of(spec, one_input, one_output)
        for finding in lint_view(view, _facts_of_view(view, facts, one_input)):
            place = location_of_input(spec, one_input, finding.location)
            found.append(replace(finding, location=location_of_output(spec, one_output, place)))
    return list(dict.fromkeys(found))


def _facts_of_view(view: ExperimentSpec, facts: DatasetFacts, one_input: Port) -> DatasetFacts:
    """The facts as one input and one output see them."""
    if isinstance(view.dataset, NamedColumns):  # of which the view has the columns of this output's target
        own = view.dataset.facts
        facts = replace(facts, task=own.task, classes=own.classes, numbers=own.numbers)
    return facts.of_input(one_input) if view.inputs else facts


def lint_view(view: ExperimentSpec, facts: DatasetFacts) -> list[Finding]:
    """What the rules say that look at one input and one output, of a view of these (`nnrun.spec.ports`).

    Locations are those of the view: `loss` where the spec has `outputs.NAME.loss`.
    """
    rules = (rule for rule in RULES if not has_ports(view) or rule not in _OF_THE_WHOLE)
    return [finding for rule in rules for finding in rule(view, facts)]


__all__ = ["Finding", "lint", "lint_view"]
