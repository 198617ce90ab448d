"""The functions of a script for PyTorch whose network has outputs with names: losses, scores, `train_epoch`.

What a network gives, its targets and its losses are dictionaries by the names of the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.experiment.ejecting.lesson import Head, Lesson
from nnrun.experiment.ejecting.script_text import WIDTH, call_lines
from nnrun.experiment.ejecting.torch_code import loss_lines
from nnrun.experiment.ejecting.torch_metrics import metric_lines
from nnrun.experiment.scripting.network_script import identifier


def taken(lesson: Lesson, rows: str) -> str:
    """What a network is called with: some rows of each input."""
    return f"*(own[{rows}] for own in x.values())" if lesson.names_inputs else f"x[{rows}]"


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


def epoch_functions_by_output(lesson: Lesson, network: str) -> list[str]:
    """`train_epoch` and, where rows are measured that do not train, `evaluate`."""
    draws, lacks = "Dropout(" in network, any(head.present is not None for head in lesson.heads)
    scaled = ["scales"] if scales(lesson) else []
    arguments = ["network", "optimizer", "x", "y", "rows", "rate"]
    arguments += ["average"] if lesson.averages_steps else []
    arguments += ["place"] if draws else []
    given = ", ".join(["means", "z", "targets", *scaled])
    counted = "has_target(targets[name]).sum().item()"
    means = ["    means = {name: total / len(rows) for name, total in sums.items()}"]
    if lacks:
        means = [
            f"    counts = {{name: {counted} for name in y}}",
            "    means = {name: total / counts[name] for name, total in sums.items()}",
        ]
    train = [
        *call_lines("def train_epoch(", [*arguments, *scaled], "):"),
        '    """One pass over the rows, in this order: the losses and the scores, as they were met."""',
        "    network.train()",
        "    sums, outputs = dict.fromkeys(y, 0.0), []",
        "    for start in range(0, len(rows), BATCH_SIZE):",
        "        batch = rows[start : start + BATCH_SIZE]",
        *(["        Dropout.now = (*place, start)"] if draws else []),
        f"        z = dict(zip(y, network({taken(lesson, 'batch')})))",
        "        targets = {name: own[batch] for name, own in y.items()}",
        "        losses = losses_of(z, targets)",
        "        network.zero_grad()",
        "        total_of(losses).backward()",
        "        optimizer.step(rate)",
        *(["        average.update_parameters(network)"] if lesson.averages_steps else []),
        "        for name, loss in losses.items():",
        f"            sums[name] += loss.item() * {counted if lacks else 'len(batch)'}",
        "        outputs.append([own.detach() for own in z.values()])",
        "    z = dict(zip(y, map(torch.cat, zip(*outputs))))",
        "    targets = {name: own[rows] for name, own in y.items()}",
        *means,
        f"    return measures({given})",
    ]
    if not lesson.measured_rows:
        return ["\n".join(train)]
    evaluate = [
        "@torch.no_grad()",
        f"def evaluate({', '.join(['network', 'x', 'y', 'rows', *scaled])}):",
        '    """The losses and the scores of rows that the network does not train on."""',
        "    network.eval()",
        "    parts = torch.from_numpy(rows).split(1000)",
        f"    outputs = [network({taken(lesson, 'part')}) for part in parts]",
        "    z = dict(zip(y, map(torch.cat, zip(*outputs))))",
        "    targets = {name: own[rows] for name, own in y.items()}",
        "    means = {name: loss.item() for name, loss in losses_of(z, targets).items()}",
        f"    return measures({given})",
    ]
    return ["\n".join(train), "\n".join(evaluate)]
