"""The training of a spec as a script for Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nnrun.experiment.ejecting.keras_compile import AUC_NOTE, PYTORCH
from nnrun.experiment.ejecting.keras_model import (
    history_name,
    lacks_channel,
    model_arrays,
    model_function,
    model_takes,
    weights_lines,
)
from nnrun.experiment.ejecting.lesson import Array, Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.script_text import (
    HISTORY,
    WEIGHTS,
    Script,
    assigned,
    call_lines,
    head,
    join_parts,
    needed,
    needed_imports,
    notes_of,
)
from nnrun.experiment.ejecting.stopping_code import (
    decay_line,
    fit_arguments,
    main_lines,
    restoring_lines,
    stopping_constants,
    stopping_lines,
)
from nnrun.experiment.ejecting_rows.data_code import data_code
from nnrun.experiment.ejecting_rows.row_code import class_weights, fold_arrays, prepare_lines
from nnrun.experiment.ejecting_rows.token_code import is_sparse
from nnrun.experiment.scripting.parts import collected, names_in
from nnrun.spec import schema

_PARTS = ("nnrun.experiment.ejecting.torch_parts", "nnrun.experiment.ejecting_rows.row_parts")

_PARTS_OF_KERAS = {
    "MovingAverage": '''\
class MovingAverage(keras.callbacks.Callback):
    """An average of the weights: first it follows fast, then by 1 - decay of the way."""

    def __init__(self, decay, model):
        super().__init__()
        self.decay, self.steps, self.weights = decay, 0, model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        slow = min(self.decay, (1 + self.steps) / (10 + self.steps))
        pairs = zip(self.weights, self.model.get_weights())
        self.weights = [mean + (1 - slow) * (w - mean) for mean, w in pairs]''',
    "evaluate": '''\
def evaluate(model, x, y):
    """The loss and the scores of rows that the model does not train on."""
    return model.evaluate(x, y, batch_size=1000, verbose=0, return_dict=True)''',
}
"""Texts, since nnrun imports no Keras."""

_DROPS = (
    "Keras draws what dropout leaves out by a generator of its own: the history differs from nnrun's "
    "as that of another seed does. (The script for PyTorch draws nnrun's numbers.)"
)
_PLACES = (
    "Of the gradient of an embedding Keras adds the squares of each place where a word stands on TensorFlow, "
    "as nnrun does; on PyTorch and JAX it squares the sum, and the history differs in its first digits."
)


def keras_script(lesson: Lesson, name: str) -> Script:
    """Write it.

    Args:
        lesson: what is trained.
        name: of the script, without its ending; the file beside it is called alike.

    Raises:
        UsageError: something cannot be written.
    """
    spec = lesson.spec
    if is_sparse(lesson):
        rows, width = len(lesson.dataset.train), lesson.intake.first.shape[0]
        raise refuse(
            f"{rows:,} rows of {width:,} numbers, nearly all 0, with Keras",
            "Use --to pytorch, or a num_words of the data set.",
        )
    if any(head.present is not None for head in lesson.heads):
        raise refuse("rows without the target of an output, with Keras", PYTORCH)
    if spec.ensemble is not None:
        raise refuse("the key ensemble with Keras", "Use --to pytorch, or train its members one by one.")
    data = data_code(lesson, keras=True)
    prepare = prepare_lines(lesson)
    arrays: dict[str, Array] = {**data.arrays, **fold_arrays(lesson)}
    model, own = model_function(lesson), {}
    for fold, pair in enumerate(zip(lesson.networks, lesson.first_weights(), strict=True)):
        own = model_arrays(*pair)
        prefix = f"fold-{fold}/" if lesson.has_folds else ""
        arrays |= {f"{prefix}{name}": array for name, array in own.items()}
    if spec.learning_rate_schedule:
        arrays["learning_rates"] = np.array(lesson.rates)
    body = [
        "\n".join(data.lines),
        "\n".join(prepare),
        "\n".join(model),
        "\n".join(_fit(lesson, model, own)),
        "\n".join(main_lines(lesson)),
        'if __name__ == "__main__":\n    main()',
    ]
    body = [part for part in body if part]
    used = names_in("\n\n\n".join(body))
    parts, imports = collected(used, _PARTS)
    parts = [part for part in parts if part != "SEED = 0"]
    draws = any("SEED" in part for part in parts)
    parts += [text for name, text in _PARTS_OF_KERAS.items() if name in used]
    imports = {line for line in imports if "torch" not in line}
    imports |= {"import csv", "import time", "import keras", "import numpy as np", "from keras import layers"}
    imports |= {"from pathlib import Path", *data.imports, *needed_imports(used)}
    constants = [f"SEED = {spec.seed}"] if draws else []
    constants += [f"EPOCHS = {spec.epochs}", f"BATCH_SIZE = {spec.batch_size}"]
    constants += stopping_constants(lesson)
    constants += [*assigned("COLUMNS", ",".join(lesson.columns)), *data.helpers]
    constants.append(f'HISTORY = Path(__file__).with_name("{name}{HISTORY}")')
    constants.append(f'FIRST = np.load(Path(__file__).with_name("{name}{WEIGHTS}"))')
    notes = (*notes_of(lesson), *_notes(lesson))
    docstring = head(lesson, name, "Keras", ("numpy", "keras", *needed(imports)), notes)
    return Script(join_parts(docstring, imports, constants, [*parts, *body]), arrays, notes)


def _notes(lesson: Lesson) -> tuple[str, ...]:
    """In what the history of the script differs."""
    kinds = {type(layer.spec) for layer in lesson.network.layers}
    notes = [_DROPS] if schema.Dropout in kinds else []
    if schema.Embedding in kinds and not isinstance(lesson.spec.optimizer, schema.Sgd):
        notes.append(_PLACES)
    if any(isinstance(metric, schema.Auc) for head in lesson.heads for metric in head.spec.metrics):
        notes.append(AUC_NOTE)
    return tuple(notes)


def _fit(lesson: Lesson, model: Sequence[str], arrays: Mapping[str, Array]) -> list[str]:
    """The function that trains one model."""
    spec, loops = lesson.spec, lesson.has_folds
    fold = "fold" if loops else "0"
    weights = class_weights(lesson)
    scaled = ""
    if any(head.targets.scale is not None for head in lesson.heads):
        scaled = next((end for name, end in _SCALES.items() if name in model[0]), ", *_")
    lines = []
    if weights is not None:
        lines += ["labels = y[train]", f"class_weight = dict(enumerate({weights}))"]
    lines += [
        f"x, y{scaled} = prepare(x, y, train)",
        *(["x = x[..., None]  # one channel"] if lacks_channel(lesson) else []),
        f"model = build_model({model_takes(lesson, model)})",
        *weights_lines(lesson, arrays),
        *_average(lesson),
    ]
    stopping = spec.early_stopping
    monitored = "" if stopping is None else history_name(lesson, stopping.monitor)
    before, after = stopping_lines(
        lesson, kept=_WEIGHTS_OF[lesson.averages_steps], value=f'row["{monitored}"]', says=False
    )
    lines += [
        *before,
        "for epoch in range(1, EPOCHS + 1):",
        "    started = time.perf_counter()",
        f"    order = {f'shuffled(train, {fold}, epoch)' if spec.shuffle else 'train'}",
    ]
    if spec.learning_rate_schedule:
        lines.append('    model.optimizer.learning_rate = FIRST["learning_rates"][epoch - 1]')
    apart = lesson.has_inner_rows or lesson.average is not None
    lines += [
        *_fit_call(lesson, weighted=weights is not None, validates=lesson.validates and not apart),
        *([] if apart else _SECONDS),
        '    row = {"fold": fold, "epoch": epoch}' if loops else '    row = {"epoch": epoch}',
        "    row |= {name: values[0] for name, values in scores.items()}",
        *(_measured_apart(lesson) if apart else []),
        "    rate = float(model.optimizer.learning_rate)",
        '    row |= {"learning_rate": rate, "seconds": seconds}',
        *_written(lesson),
        '    print(*(f"{name} {value:.4g}" for name, value in row.items()))',
        *after,
    ]
    lines += restoring_lines(lesson, "model.set_weights(best_weights)")
    arguments = ", ".join(fit_arguments(lesson))
    return [
        f"def fit({arguments}):",
        '    """Train a model, epoch by epoch."""',
        *(f"    {x}" for x in lines),
    ]


def _fit_call(lesson: Lesson, *, weighted: bool, validates: bool) -> list[str]:
    """The call of Keras that trains one epoch.

    Args:
        lesson: what is trained.
        weighted: whether classes have weights.
        validates: whether Keras measures the validation rows.
    """
    lines = [
        "    scores = model.fit(",
        f"        {_at(lesson.names_inputs, 'x', 'order')},",
        f"        {_at(lesson.names_outputs, 'y', 'order')},",
        "        batch_size=BATCH_SIZE,",
        "        shuffle=False,  # they are in order",
        "        verbose=0,",
    ]
    if weighted:
        lines.append("        class_weight=class_weight,")
    if lesson.averages_steps:
        lines.append("        callbacks=[average],")
    if validates:
        lines += call_lines("        validation_data=(", _pair(lesson, "validation"), "),", indent=4)
        lines.append("        validation_batch_size=1000,")
    return [*lines, "    ).history"]


def _at(named: bool, values: str, rows: str) -> str:
    """Some rows of the inputs or of the targets."""
    return f"{{name: own[{rows}] for name, own in {values}.items()}}" if named else f"{values}[{rows}]"


def _pair(lesson: Lesson, rows: str) -> list[str]:
    """Some rows, and their targets."""
    return [_at(lesson.names_inputs, "x", rows), _at(lesson.names_outputs, "y", rows)]


_SCALES = {"scales": ", scales", "y_std": ", _, y_std"}
"""What `prepare` gives besides rows and targets, by what `build_model` takes of it."""


def _written(lesson: Lesson) -> list[str]:
    """Lines that write the row of an epoch."""
    if all(history_name(lesson, column) == column for column in lesson.columns):
        return ['    history.writerow([row[name] for name in COLUMNS.split(",")])']
    without = f'name.replace("{lesson.head.name}_", "", 1)'
    return [
        "    # Keras leaves out the name of an only output.",
        f'    names = [{without} for name in COLUMNS.split(",")]',
        "    history.writerow([row[name] for name in names])",
    ]


_SECONDS = ["    seconds = time.perf_counter() - started"]
_WEIGHTS_OF = {True: "average.weights", False: "model.get_weights()"}


def _average(lesson: Lesson) -> list[str]:
    """The average of the weights, which validates."""
    return [decay_line(lesson), "average = MovingAverage(decay, model)"] if lesson.averages_steps else []


def _measured_apart(lesson: Lesson) -> list[str]:
    """Lines that measure inner and validation rows after `fit`, by the averaged weights if there are any."""
    prefixes = {"inner": "inner", "validation": "val"}
    lines = []
    if lesson.averages_epochs:
        lines += [
            "    trained = model.get_weights()",
            "    if epoch <= AVERAGED_FROM:",
            "        mean = trained",
            "    else:",
            "        count = epoch - AVERAGED_FROM + 1",
            "        mean = [m + (w - m) / count for m, w in zip(mean, trained)]",
            "    model.set_weights(mean)",
        ]
    if lesson.averages_steps:
        lines += ["    trained = model.get_weights()", "    model.set_weights(average.weights)"]
    for rows in lesson.measured_rows:
        lines += [
            *call_lines("    scores = evaluate(", ["model", *_pair(lesson, rows)], ")", indent=4),
            f'    row |= {{f"{prefixes[rows]}_{{name}}": value for name, value in scores.items()}}',
        ]
    if lesson.average is not None:
        lines.append("    model.set_weights(trained)")
    return [*lines, *_SECONDS]
