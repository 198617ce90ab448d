"""Hypothesis strategies: any valid spec that the schema's types allow, without regard to its sense."""

from __future__ import annotations

from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st

from nnrun.spec import schema
from nnrun.spec.reading.grammar import ROOT, Choice, Form, Items, Keys, ListOrMap, Record, Scalar
from nnrun.spec.reading.nodes import FORBIDDEN

# What a list of values to try may hold: anything that YAML has a word for.
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text("ab: #[]"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ab[]:", max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = st.from_regex("[A-Za-z_][A-Za-z0-9_-]{0,5}", fullmatch=True)
TEXT = st.text(max_size=30).filter(lambda text: not FORBIDDEN.search(text))


def _scalar(form: Scalar) -> st.SearchStrategy[Any]:
    if form.kind == "enum":
        return st.sampled_from(form.choices)
    if form.kind in ("str", "source", "shared"):
        return TEXT
    if form.kind in ("column", "place", "arrays_or_place"):
        return st.integers(0, 10**9) | TEXT
    if form.kind == "value":
        return st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | TEXT
    if form.kind == "bool":
        return st.booleans()
    if form.kind == "duration":
        return st.integers(1, 10**6) | st.sampled_from(["90s", "10m", "2 h", "0.5"])
    if form.kind == "auto_or_switch":
        return st.booleans() | st.just("auto")
    if form.kind == "auto_or_amount":
        return st.floats(0, 1e9) | st.just("auto")
    if form.kind == "stratify":
        return st.booleans() | TEXT
    low = next((b.ge if isinstance(b, Ge) else b.gt for b in form.bounds if isinstance(b, (Ge, Gt))), None)
    high = next((b.lt if isinstance(b, Lt) else b.le for b in form.bounds if isinstance(b, (Lt, Le))), None)
    if form.kind == "int":
        return st.integers(low, (high or 10**9) - 1)
    return st.floats(
        low,
        high,
        exclude_min=any(isinstance(b, Gt) for b in form.bounds),
        exclude_max=any(isinstance(b, Lt) for b in form.bounds),
        allow_nan=False,
        allow_infinity=False,
    )


def values(form: Form) -> st.SearchStrategy[Any]:
    """Plain values that are valid at a place of a spec."""
    if isinstance(form, Scalar):
        strategy = _scalar(form)
    elif isinstance(form, Items):
        strategy = st.lists(values(form.item), min_size=form.least, max_size=form.most or 4)
    elif isinstance(form, Record):
        needed = [*form.required, *(["target"] if issubclass(form.model, schema.RowFile) else [])]
        required = {key: values(form.form(key)) for key in needed}  # without `outputs` a file needs a target
        optional = {key: values(form.form(key)) for key in form.fields if key not in required}
        strategy = st.fixed_dictionaries(required, optional=optional)
    elif isinstance(form, ListOrMap):
        strategy = values(form.items) | values(form.keys)
    elif isinstance(form, Keys):
        # Chains, inputs and outputs have names that a path can hold.
        names = NAMES if isinstance(form.value, (Items, Record)) else TEXT
        strategy = st.dictionaries(names, values(form.value), min_size=1, max_size=3)
        if form.word is not None:
            strategy |= st.just(form.word)
    else:
        # Layers may hold layers: those are made when they are drawn, and seldom.
        plain = [_component(kind, Record(cls)) for kind, cls in form.kinds if not _holds_layers(cls)]
        nested = [
            st.deferred(lambda kind=kind, cls=cls: _component(kind, Record(cls)))  # type: ignore[misc]
            for kind, cls in form.kinds
            if _holds_layers(cls)
        ]
        strategy = st.one_of(*plain, *nested)
        if form.or_values:
            strategy |= st.lists(ANYTHING, min_size=1, max_size=4)
    return st.none() | strategy if form.optional else strategy


def _component(kind: str, record: Record) -> st.SearchStrategy[Any]:
    as_map = values(record).map(lambda parameters: {kind: parameters})
    return as_map if record.required else st.just(kind) | as_map


def _holds_layers(cls: type[schema.Component]) -> bool:
    return cls in (schema.Residual, schema.Parallel)


SPECS = values(ROOT)


def every_choice(form: Form = ROOT, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Choice]]:
    """Every union of the grammar with the path to it; of layers within layers once."""
    if isinstance(form, ListOrMap):
        return every_choice(form.items, path)
    if isinstance(form, Items):
        return every_choice(form.item, path)
    if isinstance(form, Choice):
        kinds = [(kind, cls) for kind, cls in form.kinds if kind not in path]
        inner = [c for kind, cls in kinds for c in every_choice(Record(cls), (*path, kind))]
        return [(path, form), *inner]
    if isinstance(form, Keys):
        return every_choice(form.value, path)
    if isinstance(form, Record):
        return [c for key in form.fields for c in every_choice(form.form(key), (*path, key))]
    return []
