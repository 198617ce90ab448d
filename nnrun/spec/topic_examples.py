"""Examples of the keys and components of a spec, as parts of a spec that a person can paste.

They follow from the schema: what must be given has a typical value. Where that would be no good example, the
schema names one: `example` of a component's class, or pydantic's `Field(examples=[...])` of a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nnrun.spec import schema
from nnrun.spec.reading.grammar import ROOT, Choice, Form, Items, Keys, ListOrMap, Record, Scalar
from nnrun.spec.writing.dump import block_text, dump_value

_SINGLE: Final[dict[str, Any]] = {
    "int": 64,
    "float": 0.5,
    "bool": True,
    "str": "FILE",
    "column": "age",
    "place": 0,
    "arrays_or_place": "bias",
    "value": 1,
    "source": "title",
    "shared": "encoder",
    "duration": "10m",
    "stratify": True,
    "auto_or_switch": True,
    "auto_or_amount": 0.5,
}
"""A typical value of each kind of single value."""

_NAMES: Final = {
    "inputs": "title",
    "outputs": "priority",
    "shared": "encoder",
    "uniform": "layers[1].dropout.rate",
    "log_uniform": "optimizer.rmsprop.learning_rate",
    "int_uniform": "layers[0].dense.units",
}
"""What examples call the user's own inputs, outputs and shared chains; and the keys that are swept."""

_BESIDE: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("EarlyStopping", "fraction"): {"on": "inner"},
    ("Holdout", "column"): {"value": "test"},
    ("Holdout", "value"): {"column": "part"},
    ("Impute", "value"): {"strategy": "constant"},
    ("Isotonic", "logits"): {"probabilities": [0.1, 0.9]},
    ("Isotonic", "probabilities"): {"logits": [-2.0, 2.0]},
    ("MultiHot", "sublinear"): {"weighting": "tf_idf"},
    ("NamedOutput", "preprocessing"): {"target": "price", "loss": "mse"},
    ("OptimizerComponent", "ema_overwrite_frequency"): {"use_ema": True},
    ("OptimizerComponent", "exclude_from_weight_decay"): {"weight_decay": 0.004},
    ("Platt", "intercept"): {"slope": 0.8},
    ("Platt", "slope"): {"intercept": 0.1},
    ("Sgd", "nesterov"): {"momentum": 0.9},
    ("Sweep", "trials"): {
        "method": "random",
        "over": {"optimizer.rmsprop.learning_rate": {"log_uniform": [1e-4, 1e-2]}},
    },
    ("Sweep", "method"): {
        "trials": 8,
        "over": {"optimizer.rmsprop.learning_rate": {"log_uniform": [1e-4, 1e-2]}},
    },
    ("Sweep", "uniform"): {"method": "random", "trials": 8},
    ("Sweep", "log_uniform"): {"method": "random", "trials": 8},
    ("Sweep", "int_uniform"): {"method": "random", "trials": 8},
    ("TestRows", "shuffle"): {"fraction": 0.2},
    ("TestRows", "stratify"): {"fraction": 0.2},
    ("TestRows", "seed"): {"fraction": 0.2},
    ("TestRows", "column"): {"value": "test"},
    ("TestRows", "value"): {"column": "part"},
    ("Text", "sublinear"): {"weighting": "tf_idf"},
}
"""Class of the schema and key, or component below it → what must stand beside it."""

_OF_PUBLISHED: Final[Mapping[tuple[str, str], Any]] = {
    ("Penguins", "target"): "species",
    ("Penguins", "inputs"): ["bill_length_mm", "sex"],
    ("Penguins", "group"): "island",
    ("Penguins", "weight"): "body_mass_g",
    ("Penguins", "types"): {"flipper_length_mm": "category"},
    ("Titanic", "target"): "Survived",
    ("Titanic", "inputs"): ["Age", "Sex"],
    ("Titanic", "group"): "Ticket",
    ("Titanic", "weight"): "Fare",
    ("Titanic", "types"): {"Pclass": "category"},
}
"""Values of keys that name columns, of tables whose columns are known."""

_FOLLOWED: Final[Mapping[str, Sequence[Any]]] = {"tokens": [{"pad": 100}]}
"""Step → those that must follow it."""


def component_value(component: type[schema.Component]) -> Any:
    """A component as a spec may have it: its name alone, or with what it must be given."""
    if component.example is not None:
        return {component.kind: component.example}
    record = Record(component)
    given = {key: key_value(record, key) for key in record.required}
    if not given:
        return component.kind
    bare = component.bare
    return {component.kind: given[bare] if bare is not None and list(given) == [bare] else given}


def key_value(owner: Record, key: str) -> Any:
    """A value of a key, not its default where there is another one that is plain."""
    info, form, name = owner.fields[key], owner.form(key), owner.model.__name__
    if (name, key) in _OF_PUBLISHED:
        return _OF_PUBLISHED[name, key]
    if info.examples:
        return info.examples[0]
    example = getattr(owner.model, "example", None)
    if isinstance(example, dict) and key in example:
        return example[key]
    if example is not None and not isinstance(example, dict) and key == owner.model.bare:
        return example
    if info.is_required():
        return _typical(form)
    default = dump_value(info.get_default(call_default_factory=True))
    if isinstance(form, Scalar) and form.kind == "bool":
        return not default
    if isinstance(form, Scalar) and form.kind == "enum":
        return next((choice for choice in form.choices if choice != default), default)
    if isinstance(form, Choice) and not isinstance(form, Scalar) and default is not None:
        others = [cls for name, cls in form.kinds if name not in (default, "custom", "none")]
        return next((component_value(cls) for cls in others if not Record(cls).required), default)
    return _typical(form) if default in (None, "", [], {}) else default


def _typical(form: Form) -> Any:
    if isinstance(form, Scalar):
        return form.choices[0] if form.kind == "enum" else _SINGLE[form.kind]
    if isinstance(form, Items):
        one = _typical(form.item)
        return one if form.one_is_enough else [one] * max(1, form.least)
    if isinstance(form, ListOrMap):
        return _typical(form.items)
    if isinstance(form, Choice):
        return component_value(form.kinds[0][1])
    if isinstance(form, Keys):
        return form.word if form.word is not None else {"name": _typical(form.value)}
    return {key: _typical(form.form(key)) for key in form.required}


def fragment(path: Sequence[str], value: Any) -> str:
    """The YAML of a spec's part that has `value` at a path, and what must stand beside it."""
    return block_text(_nested(ROOT, path, value, ""))


def _nested(form: Form, path: Sequence[str], value: Any, key: str) -> Any:
    if isinstance(form, ListOrMap):
        form = form.items
    if isinstance(form, Items) and (path or not isinstance(value, list)):
        item = _nested(form.item, path, value, key)
        (name,) = (
            item if isinstance(item, dict) and len(item) == 1 else (item if isinstance(item, str) else "",)
        )
        return [item, *_FOLLOWED.get(name, ())]
    if not path and isinstance(form, Keys) and isinstance(form.value, Choice):  # a component of `sweep.over`
        (name,) = value if isinstance(value, dict) else (value,)
        return {_NAMES[name]: value} if name in _NAMES else value
    if not path:
        return value
    if isinstance(form, Keys):
        name = path[0] if path[0] in _NAMES else key
        return {_NAMES.get(name, "name"): _nested(form.value, path, value, key)}
    first, *rest = path
    if isinstance(form, Choice):
        return {first: _nested(Record(form.components[first]), rest, value, first)}
    assert isinstance(form, Record), "a single value has nothing below it"
    below = [*path, *(value if isinstance(value, dict) and len(value) == 1 else ())]
    return {**_beside(form, below), first: _nested(form.form(first), rest, value, first)}


def _beside(record: Record, path: Sequence[str]) -> dict[str, Any]:
    """What stands beside the first key of a path, in a part of a spec or among a component's parameters."""
    if record is ROOT:
        return {}
    example = getattr(record.model, "example", None)
    if not isinstance(example, dict):
        example = {key: key_value(record, key) for key in record.required}
    for cls in record.model.__mro__:
        for key in path:
            example = {**example, **_BESIDE.get((cls.__name__, key), {})}
    return {key: value for key, value in example.items() if key != path[0]}
