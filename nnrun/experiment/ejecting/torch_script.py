"""The training of a spec as a script for PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnrun.experiment.ejecting.lesson import Array, Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.script_text import (
    HISTORY,
    WEIGHTS,
    Script,
    assigned,
    head,
    join_parts,
    needed,
    needed_imports,
    notes_of,
)
from nnrun.experiment.ejecting.stopping_code import main_lines, stopping_constants
from nnrun.experiment.ejecting.torch_code import ensemble_code, loss_lines, network_code
from nnrun.experiment.ejecting.torch_epochs import epoch_functions
from nnrun.experiment.ejecting.torch_metrics import metric_lines
from nnrun.experiment.ejecting.torch_optimizers import optimizer_lines
from nnrun.experiment.ejecting.torch_outputs import output_functions
from nnrun.experiment.ejecting.torch_training import fit_function
from nnrun.experiment.ejecting_rows.data_code import data_code
from nnrun.experiment.ejecting_rows.row_code import fold_arrays, prepare_lines
from nnrun.experiment.scripting.network_script import NetworkScript
from nnrun.experiment.scripting.parts import collected, names_in

_PARTS = ("nnrun.experiment.ejecting.torch_parts", "nnrun.experiment.ejecting_rows.row_parts")
_LAYER_PARTS = ("nnrun.model.activations", "nnrun.experiment.scripting.layer_parts")

_IMPORTS = {
    "F": "from torch.nn import functional as F",
    "AveragedModel": "from torch.optim.swa_utils import AveragedModel",
}
"""What a script imports where it uses such a name."""
_SMALL = 50_000
"""Weights: a step of fewer takes longer on two threads than on one."""


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
    codes = [network_code(lesson, *own) for own in zip(lesson.networks, firsts, strict=True)]
    network = codes[0].source
    if any(code.source != network for code in codes):
        raise refuse("folds whose networks differ in more than the number of features")
    if lesson.names_outputs:
        functions, sklearn = output_functions(lesson)
    else:
        scores, sklearn = metric_lines(lesson.head)
        functions = ["\n".join(loss_lines(lesson.head)), "\n".join(scores)]
    embeds = "= Embedding(" in network
    body = [
        "\n".join(data.lines),
        "\n".join(prepare),
        network,
        *ensemble_code(lesson, network),
        *functions,
        "\n".join(optimizer_lines(lesson.spec, embeds=embeds)),
        *epoch_functions(lesson, network),
        "\n".join(fit_function(lesson, network)),
        "\n".join(main_lines(lesson)),
        'if __name__ == "__main__":\n    main()',
    ]
    body = [part for part in body if part]
    parts, imports = collected(names_in("\n\n\n".join(body)), (*_PARTS, *_LAYER_PARTS))
    parts = [part for part in parts if part != "SEED = 0"]
    imports |= {"import csv", "import time", "import numpy as np", "import torch", "from torch import nn"}
    imports |= set(data.imports) | {"from pathlib import Path"}
    used = names_in("\n\n\n".join([*parts, *body]))
    imports |= sklearn | needed_imports(used) | {line for needs, line in _IMPORTS.items() if needs in used}
    constants = [
        *([f"SEED = {lesson.spec.seed}"] if any("SEED" in part for part in parts) else []),
        *_constants(lesson, codes[0]),
        *data.helpers,
        f'HISTORY = Path(__file__).with_name("{name}{HISTORY}")',
        f'FIRST = np.load(Path(__file__).with_name("{name}{WEIGHTS}"))',
    ]
    needs, notes = ("numpy", "torch", *needed(imports)), notes_of(lesson)
    source = join_parts(head(lesson, name, "PyTorch", needs, notes), imports, constants, [*parts, *body])
    return Script(source, {**data.arrays, **_arrays(lesson, codes)}, notes)


def _arrays(lesson: Lesson, codes: Sequence[NetworkScript]) -> dict[str, Array]:
    """What the file beside the script holds, but for the rows: folds, first weights and learning rates."""
    arrays: dict[str, Array] = dict(fold_arrays(lesson))
    for fold, code in enumerate(codes):
        prefix = f"fold-{fold}/" if lesson.has_folds else ""
        for member, state in enumerate(code.states):
            own = f"{prefix}members.{member}." if len(code.states) > 1 else prefix
            arrays |= {f"{own}{key}": value for key, value in state.items()}
    if lesson.spec.learning_rate_schedule:
        arrays["learning_rates"] = np.array(lesson.rates)
    return arrays


def _constants(lesson: Lesson, code: NetworkScript) -> list[str]:
    """How long and by what rows a script trains."""
    lines = [f"EPOCHS = {lesson.spec.epochs}", f"BATCH_SIZE = {lesson.spec.batch_size}"]
    if not lesson.spec.learning_rate_schedule:
        lines.append(f"LEARNING_RATE = {lesson.spec.optimizer.learning_rate!r}")
    lines += stopping_constants(lesson)
    if sum(value.size for state in code.states for value in state.values()) < _SMALL:
        lines.append("torch.set_num_threads(1)  # so small a network is faster on one")
    return [*lines, *assigned("COLUMNS", ",".join(lesson.columns))]
