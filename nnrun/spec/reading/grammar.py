"""What the schema's types allow at each place of a spec, as a small tree that messages and tools can ask.

Pydantic decides what is valid. This tree says the same things in words: for the message of an error, for the
path of an override, for the JSON Schema.

The schema sees one form of everything; the source may say `dense: 64` or `optimizer: rmsprop`. A *location*
is the schema's: `("layers", 0, "dense", "units")`, with the names of components in it, as pydantic has it.
`locate` finds where in the source it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from nnrun.errors import Problem
from nnrun.spec import duration, schema
from nnrun.spec.reading.nodes import ListNode, MapNode, Node, Place, ScalarNode, spell_path
from nnrun.spec.wording import counted, listing


class ScalarWords(NamedTuple):
    """What a kind of single value is called: in messages, in JSON Schema, and one of them as an example."""

    words: str
    json_types: str | list[str]
    example: str


SCALARS = {
    "int": ScalarWords("a whole number", "integer", "64"),
    "float": ScalarWords("a number", "number", "0.5"),
    "bool": ScalarWords("true or false", "boolean", "true"),
    "str": ScalarWords("text", "string", "FILE"),
    "column": ScalarWords("a column's name, or its position from 0", ["integer", "string"], "NAME"),
    "place": ScalarWords("a layer's place, or a chain's name", ["integer", "string"], "words.2"),
    "arrays_or_place": ScalarWords(
        f"{', '.join(schema.EXCLUDED_ARRAYS)}, a layer's place, or a chain's name",
        ["integer", "string"],
        "bias",
    ),
    "value": ScalarWords("a number, a text, true or false", ["number", "string", "boolean"], "1"),
    "source": ScalarWords(
        "the name of one input or chain, and several are merged, as in concatenate: [A, B]", "string", "NAME"
    ),
    "shared": ScalarWords("the name of a shared chain", "string", "NAME"),
    "duration": ScalarWords(duration.WORDS, ["number", "string"], "10m"),
    "stratify": ScalarWords("true, false or the name of an output", ["boolean", "string"], "true"),
    "auto_or_switch": ScalarWords("auto, true or false", ["boolean", "string"], "auto"),
    "auto_or_amount": ScalarWords("auto, or a number, 0 or more", ["number", "string"], "auto"),
}
"""Kind of a single value, by its type's name or by the mark of an annotation in the schema → its words."""


class BoundWords(NamedTuple):
    """The attribute that holds a bound, what it is in messages, and its keyword of JSON Schema."""

    attribute: str
    words: str
    keyword: str


BOUNDS: dict[type, BoundWords] = {
    Gt: BoundWords("gt", "above {}", "exclusiveMinimum"),
    Ge: BoundWords("ge", "{} or more", "minimum"),
    Lt: BoundWords("lt", "below {}", "exclusiveMaximum"),
    Le: BoundWords("le", "at most {}", "maximum"),
}


@dataclass(frozen=True)
class Scalar:
    """A single value: `kind` is a key of `SCALARS`, or `enum`, which is one of the words `choices`.

    `bounds` are annotated-types constraints.
    """

    kind: str
    bounds: tuple[Any, ...] = ()
    choices: tuple[str, ...] = ()
    optional: bool = False

    def describe(self) -> str:
        """What is allowed, as it follows on 'must be'."""
        if self.kind == "enum":
            return listing(
                [word if word.replace("_", "").isalnum() else f"'{word}'" for word in self.choices]
            )
        words = SCALARS[self.kind].words
        limits = [said.words.format("2**63" if limit == 2**63 else limit) for said, limit in self.limits]
        return f"{words}, {' and '.join(limits)}" if limits else words

    @property
    def limits(self) -> list[tuple[BoundWords, Any]]:
        """What each bound is called, and its number."""
        said = [(BOUNDS[type(bound)], bound) for bound in self.bounds]
        return [(words, getattr(bound, words.attribute)) for words, bound in said]


@dataclass(frozen=True)
class Items:
    """A list of `item`, `least` to `most`. `one_is_enough`: a single item stands for a list of one."""

    item: Form
    least: int = 0
    most: int | None = None
    one_is_enough: bool = False
    optional: bool = False

    def describe(self) -> str:
        """What is allowed, as it follows on 'must be'."""
        if isinstance(self.item, Scalar) and self.one_is_enough:
            size = "" if self.most is None else f" up to {self.most}"
            return f"{self.item.describe()}, or a list of{size} such"
        if isinstance(self.item, Scalar):
            least = f" of at least {self.least}" if self.least else ""
            size = f"a list{least}" if self.most is None else f"a list of {self.most}"
            return f"{size}, each entry {self.item.describe()}"
        return f"a list of at least {counted(self.least, 'entry')}" if self.least else "a list"


@dataclass(frozen=True)
class Record:
    """A map with fixed keys: a component's parameters, or a part of the spec."""

    model: type[schema.Config]
    optional: bool = False

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        """Its keys, in schema order."""
        return self.model.model_fields

    def form(self, key: str) -> Form:
        """What is allowed under `key`."""
        return _record_forms(self.model)[key]

    @property
    def required(self) -> tuple[str, ...]:
        """The keys without a default."""
        return tuple(key for key, info in self.fields.items() if info.is_required())

    def describe(self) -> str:
        """What is allowed, as it follows on 'must be'."""
        if not self.fields:
            return "an empty map"
        bare = self.model.bare
        single = "" if bare is None else f"{self.form(bare).describe()}, or "
        return f"{single}a map of {listing(self.fields, 'and')}"


@dataclass(frozen=True)
class Choice:
    """One of several components, each by its name; or a list of any values, where `or_values`.

    `or_steps`: a list of one component is accepted too, and this list of several that make one.
    """

    kinds: tuple[tuple[str, type[schema.Component]], ...]
    optional: bool = False
    or_values: bool = False
    or_steps: tuple[str, ...] = ()

    @property
    def components(self) -> dict[str, type[schema.Component]]:
        """Canonical name → class."""
        return dict(self.kinds)

    @property
    def aliases(self) -> dict[str, str]:
        """Other spellings that are accepted here → canonical name."""
        names = self.components
        return {alias: name for alias, name in schema.ALIASES.items() if name in names and alias not in names}

    def describe(self) -> str:
        """What is allowed, as it follows on 'must be'."""
        return listing(["a list of values", *self.components] if self.or_values else self.components)


@dataclass(frozen=True)
class Keys:
    """A map whose keys are the user's own, each with a `value`; or, where there is one, the word `word`."""

    value: Form
    optional: bool = False
    word: str | None = None

    @property
    def named(self) -> bool:
        """Whether a path leads on through its keys: names, such as those of chains."""
        return self.word is None and not isinstance(self.value, Choice)

    def describe(self) -> str:
        """What is allowed, as it follows on 'must be'."""
        if self.word is not None:
            return f"{self.word}, or a map from classes to their weights"
        if isinstance(self.value, Scalar):
            return f"a map from names to {self.value.describe()}"
        if isinstance(self.value, Items):
            return f"a map from names to lists, each {self.value.describe()}"
        if isinstance(self.value, Record):
            return f"a map from names to maps of {listing(self.value.fields, 'and')}"
        return "a map from keys of the spec, spelled as for --set, to the values to try"


@dataclass(frozen=True)
class ListOrMap:
    """A list, or a map from names to such lists."""

    items: Items
    keys: Keys
    optional: bool = False

    def of(self, is_map: bool) -> Items | Keys:
        """The form of a value that is a map, or is none."""
        return self.keys if is_map else self.items

    def describe(self) -> str:
        """What is allowed, as it follows on 'must be'."""
        return f"{self.items.describe()}, or a map from names to such lists"


Form = Scalar | Items | Record | Choice | Keys | ListOrMap

ROOT = Record(schema.ExperimentSpec)


@cache
def _record_forms(model: type[schema.Config]) -> dict[str, Form]:
    forms = {key: _form(info.annotation, tuple(info.metadata)) for key, info in model.model_fields.items()}
    if model is schema.Preprocessing:
        targets = forms["targets"]
        assert isinstance(targets, Choice)
        forms["targets"] = replace(targets, or_steps=tuple(schema.TARGET_STEPS))
    if model is schema.ExperimentSpec:
        loss = forms["loss"]
        assert isinstance(loss, Choice)
        forms["loss"] = replace(loss, optional=False)  # it stands in each of `outputs`, or here
    return forms


def _form(annotation: Any, metadata: tuple[Any, ...] = (), optional: bool = False) -> Form:
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        for entry in more:
            metadata += tuple(entry.metadata) if isinstance(entry, FieldInfo) else (entry,)
    origin, arguments = get_origin(annotation), get_args(annotation)
    kind = next((entry for entry in metadata if isinstance(entry, str) and entry in SCALARS), None)
    if kind is not None:
        return Scalar(kind, optional=optional)
    if origin is Literal:
        return Scalar("enum", choices=arguments, optional=optional)
    if origin is list:
        least = max((bound.min_length for bound in metadata if isinstance(bound, MinLen)), default=0)
        most = max((bound.max_length for bound in metadata if isinstance(bound, MaxLen)), default=None)
        one_is_enough = any(mark in metadata for mark in schema.ONE_IS_ENOUGH_MARKS)
        return Items(_form(arguments[0]), least, most, one_is_enough, optional=optional)
    if origin is dict:
        return Keys(_form(arguments[1]), optional)
    if type(None) in arguments:
        (wanted,) = (argument for argument in arguments if argument is not type(None))
        return _form(wanted, metadata, optional=True)
    if arguments:
        members = [get_args(m)[0] if get_origin(m) is Annotated else m for m in arguments]
        if [get_origin(member) for member in members] == [list, dict]:
            items, keys = (_form(argument) for argument in arguments)
            assert isinstance(items, Items)
            assert isinstance(keys, Keys)
            return ListOrMap(items, keys)
        if get_origin(members[0]) is Literal:  # a word, or a map
            (word,), map_form = get_args(members[0]), _form(members[1])
            assert isinstance(map_form, Keys)
            return replace(map_form, optional=optional, word=word)
        classes = [member for member in members if get_origin(member) is not list]
        or_values = len(classes) < len(members)
        return Choice(tuple((cls.kind, cls) for cls in classes), optional, or_values)
    if issubclass(annotation, schema.Config):
        return Record(annotation, optional)
    bounds = tuple(entry for entry in metadata if type(entry) in BOUNDS)
    return Scalar(annotation.__name__, bounds, optional=optional)


Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Spot:
    """Where a location is written.

    Attributes:
        form: what is allowed there; None where the schema knows no such key.
        node: what is written there; None where nothing is, and a default holds.
        key_place: the key it stands under, or the nearest that is written.
    """

    form: Form | None
    node: Node | None
    key_place: Place

    @property
    def place(self) -> Place:
        """The value where one is written, else the nearest key."""
        return self.key_place if self.node is None or _is_unwritten(self.node) else self.node.place


def locate(root: MapNode, location: Location) -> Spot:
    """Find where `location` is written in a spec's source."""
    spot = Spot(ROOT, root, root.place)
    for part in location:
        spot = _step(spot, part)
    return spot


def _step(spot: Spot, part: str | int) -> Spot:
    form, node = spot.form, spot.node
    if isinstance(form, ListOrMap):
        form = form.of(isinstance(part, str))
    if isinstance(form, Items) and isinstance(part, int):
        if isinstance(node, ListNode) and 0 <= part < len(node.items):
            return Spot(form.item, node.items[part], node.items[part].place)
        return Spot(form.item, node if form.one_is_enough else None, spot.key_place)
    if isinstance(form, Choice) and isinstance(part, str):
        component = form.components.get(part)
        inner = Record(component) if component else None
        if isinstance(node, MapNode) and len(node.entries) == 1:
            (entry,) = node.entries.values()
            return Spot(inner, entry.value, entry.key_place)
        return Spot(inner, None, node.place if node else spot.key_place)
    if isinstance(form, Keys) and isinstance(node, MapNode) and part in node.entries:
        entry = node.entries[str(part)]
        return Spot(form.value, entry.value, entry.key_place)
    if isinstance(form, Record) and isinstance(part, str):
        inner_form = form.form(part) if part in form.fields else None
        if isinstance(node, MapNode):
            if part in node.entries:
                entry = node.entries[part]
                return Spot(inner_form, entry.value, entry.key_place)
        elif part == form.model.bare:
            return Spot(inner_form, node, spot.key_place)
        return Spot(inner_form, None, spot.key_place)
    return Spot(None, node, spot.key_place)


def empty_values(root: MapNode) -> list[Problem]:
    """A problem for each key that could be null and has nothing written behind it.

    What YAML reads there is a null, which would switch the part off without a word. Where null is no value,
    the key is wrong anyway.
    """
    return list(_empty(ROOT, root, ()))


def _empty(form: Form, node: Node | None, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if isinstance(form, ListOrMap):
        form = form.of(isinstance(node, MapNode))
    if isinstance(form, Choice) and isinstance(node, MapNode) and len(node.entries) == 1:
        ((name, entry),) = node.entries.items()
        component = form.components.get(str(schema.component_name(name)))
        if component is not None:
            yield from _empty(Record(component), entry.value, (*path, name))
    elif isinstance(form, Items) and isinstance(node, ListNode):
        for place, item in enumerate(node.items):
            yield from _empty(form.item, item, (*path, place))
    elif isinstance(form, Keys) and isinstance(node, MapNode):
        for key, entry in node.entries.items():
            yield from _empty(form.value, entry.value, (*path, key))
    elif isinstance(form, Record) and isinstance(node, MapNode):
        for key, entry in node.entries.items():
            if key not in form.fields:
                continue
            inner, below = form.form(key), (*path, key)
            nullable = key in form.model.switchable or (isinstance(inner, Items) and inner.one_is_enough)
            may_be_null = getattr(inner, "optional", False) or nullable
            if may_be_null and _is_unwritten(entry.value):
                spelled = spell_path(below)
                message = f"{spelled} has no value; write one, or `{key}: null` for none"
                yield entry.key_place.problem(message, path=spelled)
            else:
                yield from _empty(inner, entry.value, below)


def _is_unwritten(node: Node) -> bool:
    """Whether nothing stands in the source, which YAML reads as a null."""
    return isinstance(node, ScalarNode) and not node.written and not node.quoted
