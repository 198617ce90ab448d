"""The functions of a script for PyTorch that go through rows: `train_epoch` and `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.experiment.ejecting.lesson import Lesson
from nnrun.experiment.ejecting.script_text import call_lines
from nnrun.experiment.ejecting.torch_outputs import scales


def epoch_functions(lesson: Lesson, network: str) -> list[str]:
    """`train_epoch` and, where rows are measured that do not train, `evaluate`.

    Args:
        lesson: what is trained.
        network: the text of the class `Network`.
    """
    train, evaluate = _by_output(lesson, network) if lesson.names_outputs else _of_output(lesson, network)
    return ["\n".join(lines) for lines in ((train, evaluate) if lesson.measured_rows else (train,))]


def _of_output(lesson: Lesson, network: str) -> tuple[list[str], list[str]]:
    """Where a network has one output, whose name is none."""
    spec, head = lesson.spec, lesson.head
    scores, several = bool(head.spec.metrics), lesson.network.number_of_members > 1
    scale = ["scale"] if head.scales else []
    scaled = ", *scale" if head.scales else ""
    given_rows = f"y[batch]{', weight[batch]' if spec.class_weight is not None else ''}"
    loss, kept, of_part = f"loss_of(z, {given_rows})", "z.detach()", f"network({_taken(lesson, 'part')})"
    if several:
        loss = f"sum(loss_of(own, {given_rows}) for own in z) / len(z)"
        kept, of_part = f"mean_of({kept})", f"mean_of({of_part})"
    result = ["total / len(rows)", *([f"*scores(torch.cat(outputs), y[rows]{scaled})"] if scores else [])]
    train = _train_epoch(
        lesson,
        network,
        scale,
        says="the mean loss, and the scores",
        before="total, outputs = 0.0, []" if scores else "total = 0.0",
        losses=[f"z = network({_taken(lesson, 'batch')})", f"loss = {loss}"],
        total="loss",
        kept=["total += loss.item() * len(batch)", *([f"outputs.append({kept})"] if scores else [])],
        result=call_lines("    return [", result, "]"),
    )
    measured = f", *scores(z, y[rows]{scaled})" if scores else ""
    evaluate = _evaluate(
        scale,
        says="The loss and the scores",
        result=[
            f"    z = torch.cat([{of_part} for part in parts])",
            f"    return [loss_of(z, y[rows]).item(){measured}]",
        ],
    )
    return train, evaluate


def _by_output(lesson: Lesson, network: str) -> tuple[list[str], list[str]]:
    """Where outputs have names: what a network gives is a dictionary by these, as `measures` takes it."""
    lacks = any(head.present is not None for head in lesson.heads)
    scale = ["scales"] if scales(lesson) else []
    counted = "has_target(targets[name]).sum().item()"
    means = ["    means = {name: total / len(rows) for name, total in sums.items()}"]
    if lacks:
        means = [
            f"    counts = {{name: {counted} for name in y}}",
            "    means = {name: total / counts[name] for name, total in sums.items()}",
        ]
    joined = [
        "    z = dict(zip(y, map(torch.cat, zip(*outputs))))",
        "    targets = {name: own[rows] for name, own in y.items()}",
    ]
    measured = f"    return measures({', '.join(['means', 'z', 'targets', *scale])})"
    train = _train_epoch(
        lesson,
        network,
        scale,
        says="the losses and the scores",
        before="sums, outputs = dict.fromkeys(y, 0.0), []",
        losses=[
            f"z = dict(zip(y, network({_taken(lesson, 'batch')})))",
            "targets = {name: own[batch] for name, own in y.items()}",
            "losses = losses_of(z, targets)",
        ],
        total="total_of(losses)",
        kept=[
            "for name, loss in losses.items():",
            f"    sums[name] += loss.item() * {counted if lacks else 'len(batch)'}",
            "outputs.append([own.detach() for own in z.values()])",
        ],
        result=[*joined, *means, measured],
    )
    evaluate = _evaluate(
        scale,
        says="The losses and the scores",
        result=[
            f"    outputs = [network({_taken(lesson, 'part')}) for part in parts]",
            *joined,
            "    means = {name: loss.item() for name, loss in losses_of(z, targets).items()}",
            measured,
        ],
    )
    return train, evaluate


def _taken(lesson: Lesson, rows: str) -> str:
    """What a network is called with: some rows of each input."""
    return f"*(own[{rows}] for own in x.values())" if lesson.names_inputs else f"x[{rows}]"


def _train_epoch(
    lesson: Lesson,
    network: str,
    scale: Sequence[str],
    *,
    says: str,
    before: str,
    losses: Sequence[str],
    total: str,
    kept: Sequence[str],
    result: Sequence[str],
) -> list[str]:
    """The function that makes a step with each batch.

    Args:
        lesson: what is trained.
        network: the text of the class `Network`.
        scale: the argument by which scores are those of the targets' own units, if there is one.
        says: what it gives, in words.
        before: the line before the first batch.
        losses: lines that compute the losses of a batch.
        total: what is made small, of these.
        kept: lines that keep of a batch what is measured.
        result: the lines behind the last batch.
    """
    draws = "Dropout(" in network
    arguments = ["network", "optimizer", "x", "y", "rows", "rate"]
    arguments += ["average"] if lesson.averages_steps else []
    arguments += ["weight"] if lesson.spec.class_weight is not None else []
    arguments += ["place"] if draws else []
    step = [
        "batch = rows[start : start + BATCH_SIZE]",
        *(["Dropout.now = (*place, start)"] if draws else []),
        *losses,
        "network.zero_grad()",
        f"{total}.backward()",
        "optimizer.step(rate)",
        *(["average.update_parameters(network)"] if lesson.averages_steps else []),
        *kept,
    ]
    return [
        *call_lines("def train_epoch(", [*arguments, *scale], "):"),
        f'    """One pass over the rows, in this order: {says}, as they were met."""',
        "    network.train()",
        f"    {before}",
        "    for start in range(0, len(rows), BATCH_SIZE):",
        *(f"        {line}" for line in step),
        *result,
    ]


def _evaluate(scale: Sequence[str], *, says: str, result: Sequence[str]) -> list[str]:
    """The function that measures rows, a thousand at once."""
    return [
        "@torch.no_grad()",
        f"def evaluate({', '.join(['network', 'x', 'y', 'rows', *scale])}):",
        f'    """{says} of rows that the network does not train on."""',
        "    network.eval()",
        "    parts = torch.from_numpy(rows).split(1000)",
        *result,
    ]
