"""The functions of a script for PyTorch whose network has outputs with names: their losses and scores.

What a network gives, its targets and its losses are dictionaries by the names of the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.experiment.ejecting.lesson import Head, Lesson
from nnrun.experiment.ejecting.script_text import WIDTH, call_lines
from nnrun.experiment.ejecting.torch_code import loss_lines
from nnrun.experiment.ejecting.torch_metrics import metric_lines
from nnrun.experiment.scripting.network_script import identifier


def scales(lesson: Lesson) -> bool:
    """Whether the scores of an output are those of its targets' own units."""
    return any(head.scales for head in lesson.heads)


def output_functions(lesson: Lesson) -> tuple[list[str], set[str]]:
    """The loss and the scores of each output, and what joins them; with the imports that they need.

    Raises:
        UsageError: a loss or a metric cannot be written.
    """
    functions, imports = [], set()
    losses, terms, measured = [], [], ["total_of(losses)"]
    for head in lesson.heads:
        name = head.name
        functions.append("\n".join(loss_lines(head, function=_loss(head))))
        scores, own = metric_lines(head, function=_scores(head))
        losses.append(f'"{name}": {_loss(head)}(z["{name}"], y["{name}"])')
        terms.append(f'{f"{head.weight!r} * " if head.weight != 1 else ""}losses["{name}"]')
        measured.append(f'losses["{name}"]')
        if scores:
            functions.append("\n".join(scores))
            imports |= own
            scale = f', *scales["{name}"]' if head.scales else ""
            measured.append(f'*{_scores(head)}(z["{name}"], y["{name}"]{scale})')
    scaled = ", scales" if scales(lesson) else ""
    joined = [
        [
            "def losses_of(z, y):",
            '    """The loss of each output."""',
            *call_lines("    return {", losses, "}"),
        ],
        [
            "def total_of(losses):",
            '    """What the optimizer makes small."""',
            *_sum(terms),
        ],
        [
            f"def measures(losses, z, y{scaled}):",
            '    """The total loss; then of each output the loss and the scores."""',
            *call_lines("    return [", measured, "]"),
        ],
    ]
    return [*functions, *("\n".join(lines) for lines in joined)], imports


def _sum(terms: Sequence[str]) -> list[str]:
    """A sum, as ruff formats it."""
    line = f"    return {' + '.join(terms)}"
    if len(line) <= WIDTH:
        return [line]
    first, *others = terms
    return ["    return (", f"        {first}", *(f"        + {term}" for term in others), "    )"]


def _loss(head: Head) -> str:
    return f"{identifier(head.name)}_loss"


def _scores(head: Head) -> str:
    return f"{identifier(head.name)}_scores"
