"""Combinations that type-check and still cannot be meant.

Each rule is a function of the spec (defaults filled in) and of what is known of its data set, and yields
findings. A new rule goes into the module of its subject and into that module's `RULES`.
"""

from __future__ import annotations

from nnrun.spec.lint import (
    data_rules,
    mask_rules,
    network_rules,
    sequence_rules,
    step_rules,
    sweep_rules,
    training_rules,
    weight_rules,
)
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.npz_header import facts_with_header
from nnrun.spec.schema import DatasetFacts, ExperimentSpec

RULES: tuple[Rule, ...] = (
    *network_rules.RULES,
    *weight_rules.RULES,
    *mask_rules.RULES,
    *sequence_rules.RULES,
    *data_rules.RULES,
    *step_rules.RULES,
    *training_rules.RULES,
    *sweep_rules.RULES,
)


def lint(spec: ExperimentSpec, facts: DatasetFacts | None = None) -> list[Finding]:
    """Every finding of every rule; `facts` are what is known of the data, by default without loading them."""
    facts = facts or facts_with_header(spec.dataset)
    return [finding for rule in RULES for finding in rule(spec, facts)]


__all__ = ["Finding", "lint"]
