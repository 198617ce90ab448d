"""The training of a spec as a script for Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nnrun.experiment.ejecting.data_code import data_code
from nnrun.experiment.ejecting.keras_layers import layer_arrays, layer_text, options_text
from nnrun.experiment.ejecting.lesson import Array, Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.row_code import class_weights, fold_arrays, prepare_lines
from nnrun.experiment.ejecting.script_text import HISTORY, WEIGHTS, Script, assigned, head, join_parts
from nnrun.experiment.ejecting.torch_script import fit_arguments, main_lines
from nnrun.experiment.scripting.parts import collected
from nnrun.spec import schema

_PARTS = "nnrun.experiment.ejecting.torch_parts"

LOSSES: Mapping[type[schema.Component], str] = {
    schema.BinaryCrossentropy: "BinaryCrossentropy",
    schema.CategoricalCrossentropy: "CategoricalCrossentropy",
    schema.SparseCategoricalCrossentropy: "SparseCategoricalCrossentropy",
    schema.Mse: "MeanSquaredError",
    schema.Mae: "MeanAbsoluteError",
    schema.Huber: "Huber",
    schema.CategoricalHinge: "CategoricalHinge",
}
METRICS: Mapping[type[schema.Component], Callable[[Any], str]] = {
    schema.Accuracy: lambda spec: '"accuracy"',
    schema.MaeMetric: lambda spec: '"mae"',
    schema.MseMetric: lambda spec: '"mse"',
    schema.Rmse: lambda spec: 'keras.metrics.RootMeanSquaredError(name="rmse")',
}
OPTIMIZERS: Mapping[type[schema.Component], tuple[str, tuple[str, ...]]] = {
    schema.RmsProp: ("RMSprop", ("rho", "momentum", "epsilon", "centered", "weight_decay")),
    schema.Sgd: ("SGD", ("momentum", "nesterov", "weight_decay")),
    schema.Adam: ("Adam", ("beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay")),
    schema.AdamW: ("AdamW", ("weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad")),
    schema.Adagrad: ("Adagrad", ("initial_accumulator_value", "epsilon", "weight_decay")),
    schema.Nadam: ("Nadam", ("beta_1", "beta_2", "epsilon", "weight_decay")),
    schema.Adamax: ("Adamax", ("beta_1", "beta_2", "epsilon", "weight_decay")),
    schema.Adadelta: ("Adadelta", ("rho", "epsilon", "weight_decay")),
}

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
    network, spec = lesson.network, lesson.spec
    if any(node.sources not in ((i - 1,), ("(input)",)) for i, node in enumerate(network.nodes)):
        raise refuse(
            "a graph of layers with Keras", "It can write a list of layers; --to pytorch writes graphs."
        )
    data = data_code(lesson, keras=True)
    prepare = prepare_lines(lesson)
    arrays: dict[str, Array] = {**(data.arrays or {}), **fold_arrays(lesson)}
    model = _model_lines(lesson)
    count = 0
    for fold, weights in enumerate(lesson.first_weights()):
        own = [array for layer in network.layers for array in layer_arrays(layer, weights)]
        count = len(own)
        prefix = f"fold-{fold}/" if lesson.has_folds else ""
        arrays |= {f"{prefix}{place}": array for place, array in enumerate(own)}
    if spec.learning_rate_schedule:
        arrays["learning_rates"] = np.array(lesson.rates)
    body = [
        "\n".join(data.lines),
        "\n".join(prepare),
        "\n".join(model),
        "\n".join(_fit(lesson, count)),
        "\n".join(main_lines(lesson)),
        'if __name__ == "__main__":\n    main()',
    ]
    parts, imports = collected(["shuffled"] if spec.shuffle else [], (_PARTS,))
    parts = [part for part in parts if part != "SEED = 0"]
    imports = {line for line in imports if "torch" not in line}
    imports |= {"import csv", "import time", "import keras", "import numpy as np", "from keras import layers"}
    imports |= {"from pathlib import Path", *data.imports}
    constants = [f"SEED = {spec.seed}"] if parts else []
    constants += [f"EPOCHS = {spec.epochs}", f"BATCH_SIZE = {spec.batch_size}"]
    constants += [*assigned("COLUMNS", ",".join(lesson.columns)), *data.helpers]
    constants.append(f'HISTORY = Path(__file__).with_name("{name}{HISTORY}")')
    constants.append(f'FIRST = np.load(Path(__file__).with_name("{name}{WEIGHTS}"))')
    notes = _notes(lesson)
    docstring = head(lesson, name, "Keras", ("numpy", "keras", *data.needs), notes)
    return Script(join_parts(docstring, imports, constants, [*parts, *body]), arrays, notes)


def _notes(lesson: Lesson) -> tuple[str, ...]:
    """In what the history of the script differs."""
    kinds = {type(layer.spec) for layer in lesson.network.layers}
    notes = [_DROPS] if schema.Dropout in kinds else []
    if schema.Embedding in kinds and not isinstance(lesson.spec.optimizer, schema.Sgd):
        notes.append(_PLACES)
    return tuple(notes)


def _model_lines(lesson: Lesson) -> list[str]:
    """The function `build_model`."""
    spec, shape = lesson.spec, next(iter(lesson.network.inputs.values()))
    first = lesson.network.layers[0]
    if len(first.input_shape) == len(shape) + 1:
        shape = (*shape, 1)  # images of one channel may lack that axis
    texts = [layer_text(layer) for layer in lesson.network.layers]
    return [
        "def build_model():",
        "    model = keras.Sequential(",
        "        [",
        f"            keras.Input({tuple(shape)}),",
        *(f"            {text}," for text in texts),
        "        ]",
        "    )",
        "    model.compile(",
        f"        optimizer={_optimizer(spec)},",
        f"        loss={_loss(spec.own_loss)},",
        *([f"        metrics=[{', '.join(_metrics(lesson))}],"] if spec.metrics else []),
        "    )",
        "    return model",
    ]


def _optimizer(spec: schema.ExperimentSpec) -> str:
    own: Any = spec.optimizer
    if type(own) not in OPTIMIZERS:
        raise refuse(f"the optimizer {own.kind}", f"It can write {_names(OPTIMIZERS)}.")
    name, options = OPTIMIZERS[type(own)]
    said = [repr(own.learning_rate)]
    said += [text for text in [options_text(own, options)] if text]
    clip = spec.gradient_clip
    if clip is not None:
        said.append(
            f"global_clipnorm={clip.norm!r}" if clip.norm is not None else f"clipvalue={clip.value!r}"
        )
    return f"keras.optimizers.{name}({', '.join(said)})"


def _loss(loss: Any) -> str:
    if type(loss) not in LOSSES:
        raise refuse(f"the loss {loss.kind}", f"It can write {_names(LOSSES)}.")
    given = options_text(loss, list(type(loss).model_fields))
    if not given:
        return f'"{loss.kind}"'
    return f"keras.losses.{LOSSES[type(loss)]}({given})"


def _metrics(lesson: Lesson) -> list[str]:
    if lesson.targets.scale is not None:
        raise refuse(
            "metrics of scaled targets with Keras",
            "Leave out the step of targets or the metrics, or use --to pytorch.",
        )
    for metric in lesson.spec.metrics:
        if type(metric) not in METRICS:
            raise refuse(f"the metric {metric.kind} with Keras", f"It can write {_names(METRICS)}.")
        if isinstance(metric, schema.Accuracy) and metric != schema.Accuracy():
            raise refuse(f"options of the metric {metric.kind}")
    return [METRICS[type(metric)](metric) for metric in lesson.spec.metrics]


def _names(registry: Mapping[type[schema.Component], Any]) -> str:
    return ", ".join(sorted(kind.kind for kind in registry))


def _fit(lesson: Lesson, count: int) -> list[str]:
    """The function that trains one model."""
    spec, loops = lesson.spec, lesson.has_folds
    fold = "fold" if loops else "0"
    key = 'f"fold-{fold}/{i}"' if loops else "str(i)"
    weights = class_weights(lesson)
    scale = ", *_" if lesson.targets.scale is not None else ""
    first = next(iter(lesson.network.inputs.values()))
    lacks = len(lesson.network.layers[0].input_shape) == len(first) + 1
    lines = []
    if weights is not None:
        lines += ["labels = y[train]", f"class_weight = dict(enumerate({weights}))"]
    lines += [
        f"x, y{scale} = prepare(x, y, train)",
        *(["x = x[..., None]  # one channel"] if lacks else []),
        "model = build_model()",
        f"model.set_weights([FIRST[{key}] for i in range({count})])",
        "for epoch in range(1, EPOCHS + 1):",
        "    started = time.perf_counter()",
        f"    order = {f'shuffled(train, {fold}, epoch)' if spec.shuffle else 'train'}",
    ]
    if spec.learning_rate_schedule:
        lines.append('    model.optimizer.learning_rate = FIRST["learning_rates"][epoch - 1]')
    lines += [
        "    scores = model.fit(",
        "        x[order],",
        "        y[order],",
        "        batch_size=BATCH_SIZE,",
        "        shuffle=False,  # they are in order",
        "        verbose=0,",
    ]
    if weights is not None:
        lines.append("        class_weight=class_weight,")
    if lesson.validates:
        lines.append("        validation_data=(x[validation], y[validation]),")
        lines.append("        validation_batch_size=1000,")
    lines += [
        "    ).history",
        "    seconds = time.perf_counter() - started",
        '    row = {"fold": fold, "epoch": epoch}' if loops else '    row = {"epoch": epoch}',
        "    row |= {name: values[0] for name, values in scores.items()}",
        "    rate = float(model.optimizer.learning_rate)",
        '    row |= {"learning_rate": rate, "seconds": seconds}',
        '    history.writerow([row[name] for name in COLUMNS.split(",")])',
        '    print(*(f"{name} {value:.4g}" for name, value in row.items()))',
    ]
    arguments = ", ".join(fit_arguments(lesson))
    return [
        f"def fit({arguments}):",
        '    """Train a model, epoch by epoch."""',
        *(f"    {x}" for x in lines),
    ]
