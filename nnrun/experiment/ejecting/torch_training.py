"""The function `fit` of a script for PyTorch."""

from __future__ import annotations

import re

from nnrun.experiment.ejecting.lesson import Lesson
from nnrun.experiment.ejecting.script_text import call_lines
from nnrun.experiment.ejecting.stopping_code import decay_line, fit_arguments, restoring_lines, stopping_lines
from nnrun.experiment.ejecting.torch_outputs import scales
from nnrun.experiment.ejecting_rows.row_code import class_weights
from nnrun.experiment.ejecting_rows.token_code import is_sparse


def fit_function(lesson: Lesson, network: str) -> list[str]:
    """The function that trains one network."""
    spec, loops = lesson.spec, lesson.has_folds
    fold = "fold" if loops else "0"
    rate = "rate" if spec.learning_rate_schedule else "LEARNING_RATE"
    prefix = 'f"fold-{fold}/{name}"' if loops else "name"
    scale = ["scales" if lesson.names_outputs else "scale"] if scales(lesson) else []
    measured = "average" if lesson.average is not None else "network"
    made = f"{'Ensemble' if lesson.network.number_of_members > 1 else 'Network'}({_features(lesson)})"
    lines = [
        *_weights(lesson),
        *_prepared(lesson),
        f"network = {made}",
        "for name, values in network.state_dict().items():",
        f"    values.copy_(torch.from_numpy(FIRST[{prefix}]))",
        *_frozen(network),
        "optimizer = Optimizer(network)",
        *_average(lesson),
    ]
    before, after = stopping_lines(lesson, kept=f"copy.deepcopy({measured}.state_dict())")
    lines += [*before, "for epoch in range(1, EPOCHS + 1):", "    started = time.perf_counter()"]
    order = f"shuffled(train, {fold}, epoch)" if spec.shuffle else "train"
    lines.append(f"    order = {order}")
    if spec.learning_rate_schedule:
        lines.append('    rate = FIRST["learning_rates"][epoch - 1]')
    arguments = ["network", "optimizer", "x", "y", "order", rate]
    arguments += ["average"] if lesson.averages_steps else []
    arguments += ["weight"] if spec.class_weight is not None else []
    arguments += [f"({fold}, epoch)"] if "Dropout(" in network else []
    lines += call_lines("    measured = train_epoch(", [*arguments, *scale], ")", indent=4)
    if lesson.averages_epochs:
        lines += [
            "    if epoch >= AVERAGED_FROM:",
            "        average.update_parameters(network)",
            "    validated = average if epoch >= AVERAGED_FROM else network",
        ]
        measured = "validated"
    for rows in lesson.measured_rows:
        lines.append(f"    measured += evaluate({', '.join([measured, 'x', 'y', rows, *scale])})")
    row = [*(["fold"] if loops else []), "epoch", "*measured", rate, "seconds"]
    said = 'f"fold {fold} epoch {epoch}:"' if loops else 'f"epoch {epoch}:"'
    lines += [
        "    seconds = time.perf_counter() - started",
        f"    history.writerow([{', '.join(row)}])",
        f'    print({said}, *(f"{{value:.4f}}" for value in measured))',
        *after,
    ]
    restored = "average" if lesson.average is not None else "network"
    lines += restoring_lines(lesson, f"{restored}.load_state_dict(best_weights)")
    return [
        f"def fit({', '.join(fit_arguments(lesson))}):",
        '    """Train a network, epoch by epoch."""',
        *(f"    {x}" for x in lines),
    ]


def _prepared(lesson: Lesson) -> list[str]:
    """Lines that prepare rows and targets, as tensors."""
    scaled = any(head.targets.scale is not None for head in lesson.heads)
    given, used = ", *scale", ["scale = torch.tensor(np.array(scale), dtype=torch.float32)"]
    if lesson.names_outputs:
        given = ", scales"
        used = ["scales = {name: torch.tensor(np.array(own)) for name, own in scales.items()}"]
    measured = scales(lesson)
    lines = [f"x, y{given if measured else ', *_' if scaled else ''} = prepare(x, y, train)"]
    lines += used if measured else []
    if not lesson.names_inputs and not lesson.names_outputs:
        rows = "SparseRows(x)" if is_sparse(lesson) else "torch.from_numpy(x)"
        return [*lines, f"x, y = {rows}, torch.from_numpy(y)"]
    for name, by_name in (("x", lesson.names_inputs), ("y", lesson.names_outputs)):
        by = f"{{name: torch.from_numpy(own) for name, own in {name}.items()}}"
        lines.append(f"{name} = {by if by_name else f'torch.from_numpy({name})'}")
    return lines


def _features(lesson: Lesson) -> str:
    """What the network is made with: the numbers of features in which folds differ."""
    return ", ".join(intake.argument for intake in lesson.varying)


def _average(lesson: Lesson) -> list[str]:
    """The average of the weights, which validates."""
    if lesson.averages_steps:
        return [
            decay_line(lesson),
            "average = AveragedModel(network, avg_fn=moving_average(decay), use_buffers=True)",
            "average.update_parameters(network)  # it begins as the first weights",
        ]
    return ["average = AveragedModel(network, use_buffers=True)"] if lesson.averages_epochs else []


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
    if not re.search(r"nn\.(LSTM|RNN)\(", network):
        return []
    return [
        "for layer in network.modules():",
        "    if isinstance(layer, (nn.LSTM, nn.RNN)):  # Keras has one bias, PyTorch two",
        "        for name, bias in layer.named_parameters():",
        '            bias.requires_grad = not name.startswith("bias_hh")',
    ]
