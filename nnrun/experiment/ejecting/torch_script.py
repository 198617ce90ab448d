"""The training of a spec as a script for PyTorch."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from nnrun.experiment.ejecting.data_code import data_code
from nnrun.experiment.ejecting.lesson import Array, Lesson
from nnrun.experiment.ejecting.row_code import (
    class_weights,
    fold_arrays,
    fold_lines,
    prepare_lines,
)
from nnrun.experiment.ejecting.script_text import HISTORY, WEIGHTS, Script, assigned, head, join_parts
from nnrun.experiment.ejecting.torch_code import (
    loss_lines,
    metric_lines,
    network_code,
    optimizer_lines,
)
from nnrun.experiment.scripting.parts import collected, names_in

_PARTS = "nnrun.experiment.ejecting.torch_parts"
_LAYER_PARTS = ("nnrun.model.activations", "nnrun.experiment.scripting.layer_parts")


def torch_script(lesson: Lesson, name: str) -> Script:
    """Write it.

    Args:
        lesson: what is trained.
        name: of the script, without its ending; the file beside it is called alike.

    Raises:
        UsageError: something cannot be written.
    """
    data = data_code(lesson, keras=False)
    prepare = prepare_lines(lesson)
    firsts = lesson.first_weights()
    codes = [network_code(lesson, weights) for weights in firsts]
    network = re.sub(
        r'^    """Of .*\n',
        '    """It gives the values before the last activation."""\n',
        codes[0].source,
        flags=re.M,
    )
    arrays: dict[str, Array] = {**(data.arrays or {}), **fold_arrays(lesson)}
    for fold, code in enumerate(codes):
        prefix = f"fold-{fold}/" if lesson.has_folds else ""
        arrays |= {f"{prefix}{key}": value for key, value in code.states[0].items()}
    if lesson.spec.learning_rate_schedule:
        arrays["learning_rates"] = np.array(lesson.rates)
    embeds = "= Embedding(" in network
    body = [
        "\n".join(data.lines),
        "\n".join(prepare),
        network,
        "\n".join(loss_lines(lesson)),
        "\n".join(metric_lines(lesson)),
        "\n".join(optimizer_lines(lesson.spec, embeds=embeds)),
        *_epochs(lesson, draws="= Dropout(" in network),
        "\n".join(_fit(lesson, network)),
        "\n".join(main_lines(lesson)),
        'if __name__ == "__main__":\n    main()',
    ]
    body = [part for part in body if part]
    parts, imports = collected(names_in("\n\n\n".join(body)), (_PARTS, *_LAYER_PARTS))
    parts = [part for part in parts if part != "SEED = 0"]
    imports |= {"import csv", "import time", "import numpy as np", "import torch", "from torch import nn"}
    imports |= set(data.imports) | {"from pathlib import Path"}
    text = "\n".join(body)
    if "F." in text:
        imports.add("from torch.nn import functional as F")
    constants = [f"SEED = {lesson.spec.seed}"] if any("SEED" in part for part in parts) else []
    constants += [f"EPOCHS = {lesson.spec.epochs}", f"BATCH_SIZE = {lesson.spec.batch_size}"]
    if not lesson.spec.learning_rate_schedule:
        constants.append(f"LEARNING_RATE = {lesson.spec.optimizer.learning_rate!r}")
    constants += assigned("COLUMNS", ",".join(lesson.columns))
    constants += list(data.helpers)
    constants.append(f'HISTORY = Path(__file__).with_name("{name}{HISTORY}")')
    constants.append(f'FIRST = np.load(Path(__file__).with_name("{name}{WEIGHTS}"))')
    needs = ("numpy", "torch", *data.needs)
    source = join_parts(head(lesson, name, "PyTorch", needs, ()), imports, constants, [*parts, *body])
    return Script(source, arrays)


def _epochs(lesson: Lesson, *, draws: bool) -> list[str]:
    """The functions `train_epoch` and `evaluate`."""
    spec = lesson.spec
    scores = bool(spec.metrics)
    scaled = ", *scale" if lesson.targets.scale is not None and scores else ""
    given = ", scale" if scaled else ""
    weighted = spec.class_weight is not None
    taken = "network, optimizer, x, y, rows, rate"
    taken += ", weight" if weighted else ""
    taken += ", place" if draws else ""
    train = [
        f"def train_epoch({taken}{given}):",
        '    """One pass over the rows, in this order: the mean loss, and the scores, as they were met."""',
        "    network.train()",
        "    total, outputs = 0.0, []" if scores else "    total = 0.0",
        "    for start in range(0, len(rows), BATCH_SIZE):",
        "        batch = rows[start : start + BATCH_SIZE]",
        *(["        Dropout.now = (*place, start)"] if draws else []),
        "        z = network(x[batch])",
        f"        loss = loss_of(z, y[batch]{', weight[batch]' if weighted else ''})",
        "        network.zero_grad()",
        "        loss.backward()",
        "        optimizer.step(rate)",
        "        total += loss.item() * len(batch)",
        *(["        outputs.append(z.detach())"] if scores else []),
        "    return ["
        + (
            "total / len(rows), *scores(torch.cat(outputs), y[rows]" + scaled + ")"
            if scores
            else "total / len(rows)"
        )
        + "]",
    ]
    if not lesson.validates:
        return ["\n".join(train)]
    evaluate = [
        "@torch.no_grad()",
        f"def evaluate(network, x, y, rows{given}):",
        '    """The loss and the scores of rows that the network does not train on."""',
        "    network.eval()",
        "    z = torch.cat([network(x[part]) for part in torch.from_numpy(rows).split(1000)])",
        "    return [loss_of(z, y[rows]).item()" + (f", *scores(z, y[rows]{scaled})" if scores else "") + "]",
    ]
    return ["\n".join(train), "\n".join(evaluate)]


def _fit(lesson: Lesson, network: str) -> list[str]:
    """The function that trains one network."""
    spec, loops = lesson.spec, lesson.has_folds
    fold = "fold" if loops else "0"
    draws, scaled = "= Dropout(" in network, lesson.targets.scale is not None
    rate = "rate" if spec.learning_rate_schedule else "LEARNING_RATE"
    prefix = 'f"fold-{fold}/{name}"' if loops else "name"
    scale = ["scale"] if scaled and spec.metrics else []
    lines = [
        f"x, y{', *scale' if scaled else ''} = prepare(x, y, train)",
        *(["scale = torch.tensor(np.array(scale), dtype=torch.float32)"] if scale else []),
        "x, y = torch.from_numpy(x), torch.from_numpy(y)",
        "network = Network()",
        "for name, values in network.state_dict().items():",
        f"    values.copy_(torch.from_numpy(FIRST[{prefix}]))",
        *_frozen(network),
        "optimizer = Optimizer(network)",
        "for epoch in range(1, EPOCHS + 1):",
        "    started = time.perf_counter()",
    ]
    lines = [*_weights(lesson), *lines]
    order = f"shuffled(train, {fold}, epoch)" if spec.shuffle else "train"
    lines.append(f"    order = {order}")
    if spec.learning_rate_schedule:
        lines.append('    rate = FIRST["learning_rates"][epoch - 1]')
    taken = ["network", "optimizer", "x", "y", "order", rate]
    taken += ["weight"] if spec.class_weight is not None else []
    taken += [f"({fold}, epoch)"] if draws else []
    lines += _call("    measured", "train_epoch", [*taken, *scale], 4)
    if lesson.validates:
        evaluated = ["network", "x", "y", "validation", *scale]
        lines.append(f"    measured += evaluate({', '.join(evaluated)})")
    row = [*(["fold"] if loops else []), "epoch", "*measured", rate, "seconds"]
    said = 'f"fold {fold} epoch {epoch}:"' if loops else 'f"epoch {epoch}:"'
    lines += [
        "    seconds = time.perf_counter() - started",
        f"    history.writerow([{', '.join(row)}])",
        f'    print({said}, *(f"{{value:.4f}}" for value in measured))',
    ]
    arguments = ", ".join(fit_arguments(lesson))
    return [
        f"def fit({arguments}):",
        '    """Train a network, epoch by epoch."""',
        *(f"    {x}" for x in lines),
    ]


def fit_arguments(lesson: Lesson) -> list[str]:
    """The arguments of `fit`."""
    fold = ["fold"] if lesson.has_folds else []
    validation = ["validation"] if lesson.validates else []
    return [*fold, "x", "y", "train", *validation, "history"]


def main_lines(lesson: Lesson) -> list[str]:
    """The function `main`, of either framework."""
    split, loops = fold_lines(lesson)
    indent = "    " if loops else ""
    return [
        "def main():",
        "    x, y = load()",
        '    with open(HISTORY, "w", newline="") as file:',
        "        history = csv.writer(file)",
        '        history.writerow(COLUMNS.split(","))',
        *(f"        {line}" for line in split),
        f"        {indent}fit({', '.join(fit_arguments(lesson))})",
    ]


def _call(target: str, function: str, arguments: Sequence[str], indent: int) -> list[str]:
    """An assignment of a call, in several lines where it is too long for one."""
    line = f"{target} = {function}({', '.join(arguments)})"
    if len(line) + indent <= 88:
        return [line]
    spaces = " " * (len(target) - len(target.lstrip()))
    body = f"{spaces}    {', '.join(arguments)}"
    if len(body) + indent <= 88:
        return [f"{target} = {function}(", body, f"{spaces})"]
    return [f"{target} = {function}(", *(f"{spaces}    {a}," for a in arguments), f"{spaces})"]


def _weights(lesson: Lesson) -> list[str]:
    expression = class_weights(lesson)
    if expression is None:
        return []
    return [
        "labels = y[train]",
        f"weight = {expression}",
        "weight = torch.from_numpy(weight[y].astype(np.float32))",
    ]


def _frozen(network: str) -> list[str]:
    if "nn.LSTM(" not in network and "nn.RNN(" not in network:
        return []
    return [
        "for layer in network.modules():",
        "    if isinstance(layer, (nn.LSTM, nn.RNN)):  # Keras has one bias, PyTorch two",
        "        for name, bias in layer.named_parameters():",
        '            bias.requires_grad = not name.startswith("bias_hh")',
    ]
