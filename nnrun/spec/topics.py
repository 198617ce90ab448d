"""The reference of the spec, key by key, as `nnrun help` shows it: all of it follows from the schema.

A *topic* is a place of the spec without the positions of lists: `loss`, `layers.lstm`, `layers.lstm.units`,
`validation.kfold`. A component that stands at several places is the same everywhere, and its topic is the
first; `layers.lstm` is the place of all layers, also of those in `shared`.
"""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic.fields import FieldInfo

from nnrun.errors import UsageError
from nnrun.spec import schema
from nnrun.spec.reading.grammar import ROOT, Choice, Form, Items, Keys, ListOrMap, Record, Scalar
from nnrun.spec.topic_examples import component_value, fragment, key_value
from nnrun.spec.wording import listing, listing_of_some, nearest, quoted
from nnrun.spec.writing.dump import flow_text

_MOST_NAMES: Final = 6
"""So many words that may stand under a key are listed beside it; its own topic has all."""


@dataclass(frozen=True)
class TopicKey:
    """A key of a component, or of a part of the spec.

    Attributes:
        name: the key.
        default: as a spec spells it; None where it must be given.
        allowed: what may stand there, in words.
    """

    name: str
    default: str | None
    allowed: str


@dataclass(frozen=True)
class Topic:
    """What the schema says of one place.

    Attributes:
        path: `layers.lstm`.
        text: what it is, as paragraphs.
        default: as a spec spells it; None of what must be given, and of components.
        allowed: what may stand there, in words; empty for a component.
        aliases: other names that are accepted.
        keys: of a component or a part its parameters.
        components: of a choice their names, and the first sentence of each.
        example: a part of a spec in YAML.
    """

    path: str
    text: str
    default: str | None
    allowed: str
    aliases: tuple[str, ...]
    keys: tuple[TopicKey, ...]
    components: dict[str, str]
    example: str

    def as_document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**vars(self), "keys": [vars(key) for key in self.keys]}


@dataclass(frozen=True)
class _Place:
    """A place of the grammar: a component, or a key of the part or component `owner`."""

    path: tuple[str, ...]
    form: Form
    owner: Record | None = None
    component: type[schema.Component] | None = None


def topic_names() -> list[str]:
    """The path of every topic, those of keys of components left out."""
    return [".".join(place.path) for place in _places()]


def overview() -> dict[str, str]:
    """Key at the top of a spec → what it is for, in a sentence."""
    return {key: info.description or "" for key, info in ROOT.fields.items()}


def find_topics(name: str) -> list[Topic]:
    """The topics that a name means: a path, or the last part of one.

    Raises:
        UsageError: there is none.
    """
    parts = tuple(part for part in re.split(r"[.\[\]]+", name.strip()) if part and not part.isdigit())
    found = _walk(parts) if parts else None
    if found is not None:
        return [_topic(found)]
    named = [place for place in _places() if len(parts) == 1 and place.path[-1] == _canonical(parts[0])]
    if named:
        return [_topic(place) for place in named]
    raise UsageError(_unknown(name, parts))


def _canonical(part: str) -> str:
    return str(schema.component_name(part))


def _unknown(name: str, parts: tuple[str, ...]) -> str:
    known_to = parts
    while known_to and _walk(known_to) is None:
        known_to = known_to[:-1]
    place = _walk(known_to) if known_to else None
    if place is not None:
        names = list(_below(place))
        what = f"{'.'.join(place.path)} has no {quoted(parts[len(known_to)])}"
        allowed = f" It has {listing(names, 'and')}." if names else " Nothing stands below it."
    elif owned := _owners(parts):
        return owned
    else:
        names = sorted({*(path.split(".")[-1] for path in topic_names()), *ROOT.fields})
        what, allowed = f"There is no topic {quoted(name)}", " `nnrun help` lists the keys of a spec."
    near = nearest(parts[len(known_to)] if len(parts) > len(known_to) else name, names)
    return f"{what}.{f' Did you mean {near}?' if near else ''}{allowed}"


_MOST_OWNERS: Final = 6


def _owners(parts: tuple[str, ...]) -> str:
    """Whose key, or value of whose key, a word is: of components, whose keys are no topics of one word.

    `weighting is a key of multi_hot and text: nnrun help preprocessing.inputs.multi_hot.weighting`; empty
    where it is neither.
    """
    if len(parts) != 1:
        return ""
    (word,) = parts
    of_key: dict[str, str] = {}  # owner → the path of its key
    of_value: dict[str, str] = {}  # key → the same, of the first owner
    for place in _places():
        for below in [place, *(_below(place).values() if place.component is not None else ())]:
            path, form = below.path, _content(below.form)
            if below.owner is None:
                continue
            if path[-1] == word:
                of_key.setdefault(path[-2], ".".join(path))
            if isinstance(form, Scalar) and word in form.choices:
                of_value.setdefault(path[-1], ".".join(path))
    found, what = (of_key, "key") if of_key else (of_value, "value")
    if not found:
        return ""
    owners = list(found)
    shown = listing_of_some(owners, _MOST_OWNERS)
    return f"{word} is a {what} of {shown}: nnrun help {found[owners[0]]}."


def _walk(parts: tuple[str, ...]) -> _Place | None:
    """The place of a path from the top of a spec; None where there is none."""
    place = _Place((), ROOT)
    for part in parts:
        below = _below(place)
        found = below.get(part) or below.get(_canonical(part))
        if found is None:
            form = _content(place.form)
            if not (isinstance(form, Keys) and form.named):
                return None
            found = _Place(place.path, form.value)  # a name of the user's own
        place = found
    return place if place.path else None


def _content(form: Form) -> Form:
    """What a list has, or a list that may also be a map."""
    while isinstance(form, Items | ListOrMap):
        form = form.item if isinstance(form, Items) else form.items
    return form


def _below(place: _Place) -> dict[str, _Place]:
    """Name → the places that stand directly below one."""
    form = _content(place.form)
    if isinstance(form, Keys):
        form = _content(form.value)
    if isinstance(form, Record):
        return {key: _Place((*place.path, key), form.form(key), form) for key in form.fields}
    if isinstance(form, Choice):
        return {
            name: _Place((*place.path, name), Record(component), None, component)
            for name, component in form.components.items()
        }
    return {}


@cache
def _places() -> tuple[_Place, ...]:
    """The keys of the spec and of its parts, and every component once, those nearest to the top first."""
    found: list[_Place] = []
    seen: set[type[schema.Config]] = set()
    waiting = deque([_Place((), ROOT)])
    while waiting:
        place = waiting.popleft()
        for below in sorted(_below(place).values(), key=_is_late):
            model = below.form.model if isinstance(below.form, Record) else None
            if model in seen and place.path:
                continue
            if model is not None:
                seen.add(model)
            if below.component is not None or place.component is None:
                found.append(below)
            waiting.append(below)
    return tuple(found)


def _is_late(place: _Place) -> bool:
    """Whether what stands below has a better place elsewhere, where a person would look first."""
    return place.path == ("shared",) or (place.path[0] == "dataset" and place.path[-1] != "csv")


def places_of_keys() -> Iterator[str]:
    """The path of every key of every component."""
    for place in _places():
        if place.component is not None:
            yield from (".".join(below.path) for below in _below(place).values())


def _topic(place: _Place) -> Topic:
    form = _content(place.form)
    record = form if isinstance(form, Record) else None
    info = place.owner.fields[place.path[-1]] if place.owner is not None else None
    return Topic(
        path=".".join(place.path),
        text=_text(place, record),
        default=None if info is None else _default(info),
        allowed="" if place.component is not None else place.form.describe(),
        aliases=_aliases(place, form),
        keys=tuple(_keys(record)) if record is not None else (),
        components=_components(form),
        example=_example(place),
    )


def _text(place: _Place, record: Record | None) -> str:
    """What the docstring of a component or part says; of another key what its owner's says of it."""
    if place.owner is not None:
        described = place.owner.fields[place.path[-1]].description
        own = [described] if described else []
        own += _paragraphs_about(place.owner, place.path[-1])
        return "\n\n".join([*own, *([_doc(record.model)] if record is not None else [])])
    return "" if record is None else _doc(record.model)


def _doc(model: type[schema.Config]) -> str:
    return inspect.getdoc(model) or ""


def _paragraphs_about(owner: Record, key: str) -> list[str]:
    """The paragraphs of a docstring that name a key."""
    return [part for part in _doc(owner.model).split("\n\n") if re.search(rf"`{key}\b", part)]


def _default(info: FieldInfo) -> str | None:
    if info.is_required():
        return None
    value = info.get_default(call_default_factory=True)
    return "none" if value is None else flow_text(value)


def _aliases(place: _Place, form: Form) -> tuple[str, ...]:
    if place.component is None:
        return ()
    return tuple(alias for alias, name in schema.ALIASES.items() if name == place.component.kind)


def _keys(record: Record) -> Iterator[TopicKey]:
    for key, info in record.fields.items():
        form = record.form(key)
        names = _names(form)
        allowed = f"{', '.join(names[:_MOST_NAMES])}, ..." if len(names) > _MOST_NAMES else form.describe()
        yield TopicKey(key, _default(info), allowed)


def _names(form: Form) -> Sequence[str]:
    """The words that a form is one of; none of other forms."""
    if isinstance(form, Scalar):
        return form.choices
    return list(form.components) if isinstance(form, Choice) else ()


def _components(form: Form) -> dict[str, str]:
    if isinstance(form, Keys):
        form = _content(form.value)
    if not isinstance(form, Choice):
        return {}
    return {name: _first_sentence(_doc(cls)) for name, cls in form.components.items()}


def _first_sentence(text: str) -> str:
    words = " ".join(text.split("\n\n")[0].split())
    sentence = re.match(r".*?(?<!et al)[.](?=\s|$)", words)
    return sentence[0] if sentence else words


def _example(place: _Place) -> str:
    if place.component is not None:
        return fragment(place.path[:-1], component_value(place.component))
    assert place.owner is not None, "only components have no owner"
    return fragment(place.path, key_value(place.owner, place.path[-1]))
