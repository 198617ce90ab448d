"""The layers of a spec as a directed acyclic graph: what each takes, in an order in which it can be computed.

A single list of layers is the graph of one chain. `use`, `residual` and `parallel` are written out: what they
contain are nodes like any other, so that everything else knows layers and merges only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nnrun.spec import schema
from nnrun.spec.ports import OUTPUT, Port, input_names
from nnrun.spec.reading.grammar import Location
from nnrun.spec.wording import listing, nearest, quoted

Source = int | Port
"""What a node takes: what the node at this place gives, or the input of this name."""


@dataclass(frozen=True)
class GraphProblem:
    """Something in the layers that cannot be meant.

    Attributes:
        location: where it stands in the spec.
        message: what was found, what the rule is, what to do.
        layer: where the layer stands that cannot take what it is given; empty for other problems.
    """

    location: Location
    message: str
    layer: Location = ()


@dataclass(frozen=True)
class GraphNode:
    """A layer or a merge.

    Attributes:
        path: where it stands, `words.2`, or `2` in a single list; within `residual` and `parallel` the
            positions go on. Random numbers are derived from it.
        weights_path: what its weights are named by: of a layer of a shared chain its place there.
        location: where it stands in the spec.
        layer: what the spec says of it.
        sources: what it takes; None for what could not be found, which is a problem.
        names: for each source the name of the input or chain that it comes from; empty for the layer before.
    """

    path: str
    weights_path: str
    location: Location
    layer: schema.Component
    sources: tuple[Source | None, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class SharedUse:
    """A place where a shared chain is used.

    Attributes:
        name: the chain's.
        location: of `use` in the spec.
        source: what it takes there.
        nodes: the nodes that stand for it.
    """

    name: str
    location: Location
    source: Source | None
    nodes: range


@dataclass(frozen=True)
class Graph:
    """The nodes, each behind all that it takes.

    Attributes:
        inputs: the names of the inputs.
        nodes: layers and merges.
        outputs: output → the node that gives it; what could not be found is left out.
        uses: the places where shared chains are used.
    """

    inputs: tuple[Port, ...]
    nodes: tuple[GraphNode, ...]
    outputs: Mapping[Port, int]
    uses: tuple[SharedUse, ...] = ()

    @property
    def is_chain(self) -> bool:
        """Whether each node takes what the one before it gives, as in a list of layers."""
        if len(self.inputs) > 1 or len(self.outputs) > 1 or self.uses:
            return False
        sources: list[tuple[Source | None, ...]] = [
            (self.inputs[0],),
            *((i,) for i in range(len(self.nodes))),
        ]
        return all(node.sources == source for node, source in zip(self.nodes, sources, strict=False))

    @cached_property
    def takers(self) -> Mapping[Source, tuple[int, ...]]:
        """For each input and node the nodes that take what it gives."""
        found: dict[Source, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for source in node.sources:
                if source is not None:
                    found.setdefault(source, []).append(index)
        return {source: tuple(indices) for source, indices in found.items()}

    @cached_property
    def layers(self) -> tuple[schema.Component, ...]:
        """What the spec says of each node."""
        return tuple(node.layer for node in self.nodes)

    def takes_steps(self, port: Port) -> bool:
        """Whether a layer goes along the steps of an input's rows, (steps, features), before one flattens."""
        waiting, seen = list(self.takers.get(port, ())), set[int]()
        while waiting:
            index = waiting.pop()
            layer = self.nodes[index].layer
            if getattr(layer, "of_steps", False):
                return True
            if index not in seen and not (
                getattr(layer, "of_images", False) or getattr(layer, "flattens", False)
            ):
                waiting += self.takers.get(index, ())
            seen.add(index)
        return False

    @property
    def first_output(self) -> schema.Component:
        """The layer that gives the first output, or the only one."""
        return self.nodes[next(iter(self.outputs.values()))].layer

    def before(self, index: int) -> schema.Component | None:
        """The layer before a node that takes one thing; None where that is an input, or several."""
        sources = self.nodes[index].sources
        (source,) = sources if len(sources) == 1 else (None,)
        return self.nodes[source].layer if isinstance(source, int) else None


def graph_of(spec: schema.ExperimentSpec) -> Graph:
    """The graph of a spec whose layers have been checked."""
    return read_graph(spec)[0]


def read_graph(spec: schema.ExperimentSpec) -> tuple[Graph, list[GraphProblem]]:
    """The graph of a spec, as far as it can be read, and every problem in it, in no order."""
    global _last_read
    known, graph, problems = _last_read
    if known is not spec:
        reader = _Reader(spec)
        graph, problems = reader.graph(), tuple(reader.problems)
        _last_read = (spec, graph, problems)  # in one assignment: other threads read it too
    return graph, list(problems)


_last_read: tuple[schema.ExperimentSpec | None, Graph, tuple[GraphProblem, ...]] = (
    None,
    Graph((), (), {}),
    (),
)
"""The rules of `nnrun.spec.lint` ask one after the other for the graph of the same spec, which is frozen."""


def all_layers(spec: schema.ExperimentSpec) -> Iterator[tuple[Location, schema.Component]]:
    """Every layer of a spec with its place, those of shared chains and within other items too, once each."""
    for name, chain in spec.shared.items():
        yield from _within(chain, ("shared", name))
    if isinstance(spec.layers, Mapping):
        for name, chain in spec.layers.items():
            yield from _within(chain, ("layers", name))
    else:
        yield from _within(spec.layers, ("layers",))


def _within(
    chain: Sequence[schema.Component], location: Location
) -> Iterator[tuple[Location, schema.Component]]:
    for position, item in enumerate(chain):
        here = (*location, position)
        if isinstance(item, schema.Residual):
            yield from _within(item.layers, (*here, item.kind, "layers"))
        elif isinstance(item, schema.Parallel):
            for place, branch in enumerate(item.branches):
                yield from _within(branch, (*here, item.kind, "branches", place))
        elif not isinstance(item, (schema.From, schema.Merge, schema.Use)):
            yield here, item


def with_layers(
    spec: schema.ExperimentSpec, change: Callable[[Location, schema.Component], schema.Component]
) -> schema.ExperimentSpec:
    """The spec with each layer of `all_layers` in the form that `change` gives it."""

    def changed(chain: Sequence[schema.Component], location: Location) -> list[schema.Component]:
        found: list[schema.Component] = []
        for position, item in enumerate(chain):
            here = (*location, position)
            if isinstance(item, schema.Residual):
                layers = changed(item.layers, (*here, item.kind, "layers"))
                found.append(item.model_copy(update={"layers": layers}))
            elif isinstance(item, schema.Parallel):
                branches = [
                    changed(branch, (*here, item.kind, "branches", place))
                    for place, branch in enumerate(item.branches)
                ]
                found.append(item.model_copy(update={"branches": branches}))
            elif isinstance(item, (schema.From, schema.Merge, schema.Use)):
                found.append(item)
            else:
                found.append(change(here, item))
        return found

    shared = {name: changed(chain, ("shared", name)) for name, chain in spec.shared.items()}
    layers: Any
    if isinstance(spec.layers, Mapping):
        layers = {name: changed(chain, ("layers", name)) for name, chain in spec.layers.items()}
    else:
        layers = changed(spec.layers, ("layers",))
    return spec.model_copy(update={"shared": shared, "layers": layers})


def vector_files(spec: schema.ExperimentSpec) -> dict[Location, str]:
    """The files of word vectors that embeddings start from, by the place of the key."""
    return {
        (*location, layer.kind, "weights"): layer.weights
        for location, layer in all_layers(spec)
        if isinstance(layer, schema.Embedding) and layer.weights is not None
    }


def with_vector_files(
    spec: schema.ExperimentSpec, path_of: Callable[[Location, str], str | None]
) -> schema.ExperimentSpec:
    """The spec with other paths of its files of word vectors; the very same spec where there are none.

    Args:
        spec: the experiment.
        path_of: from the place of the key and the path to the new path, or None for no file.
    """
    if not vector_files(spec):
        return spec

    def change(location: Location, layer: schema.Component) -> schema.Component:
        if not isinstance(layer, schema.Embedding) or layer.weights is None:
            return layer
        path = path_of((*location, layer.kind, "weights"), layer.weights)
        return layer.model_copy(update={"weights": path})

    return with_layers(spec, change)


_MOST_NODES = 2_000
"""Behind so many no shared chain is written out: chains of which each uses another twice double each time."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass
class _Value:
    """What a place in a chain gives: a source, if it is known, and the name it has there."""

    source: Source | None
    name: str = ""


@dataclass
class _Reader:
    """Reads the chains of a spec in the order in which they depend on each other."""

    spec: schema.ExperimentSpec
    problems: list[GraphProblem] = field(default_factory=list)
    nodes: list[GraphNode] = field(default_factory=list)
    uses: list[SharedUse] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    endless: bool = False
    ends: dict[str, _Value] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    @cached_property
    def inputs(self) -> tuple[Port, ...]:
        return input_names(self.spec)

    @cached_property
    def chains(self) -> Mapping[str, Sequence[schema.Component]]:
        """The chains by name; a single list has none."""
        return self.spec.layers if isinstance(self.spec.layers, Mapping) else {"": self.spec.layers}

    @cached_property
    def named_inputs(self) -> tuple[str, ...]:
        """Inputs that a chain may name."""
        return tuple(self.spec.inputs)

    def graph(self) -> Graph:
        self._check_names()
        for name in self._in_order():
            self._read(name)
        if self.endless:
            self._say(
                ("shared",),
                f"written out, where each `use` stands for its shared chain, the network has more than "
                f"{_MOST_NODES:,} layers; a network has fewer",
            )
        unused = [name for name in self.spec.shared if name not in self.used]
        for name in unused:
            self._say(
                ("shared", name),
                f"nothing uses the shared chain {quoted(name)}; remove it, or add use: {name}",
            )
        outputs = {} if self.endless else self._outputs()
        return Graph(self.inputs, tuple(self.nodes), outputs, tuple(self.uses))

    def _say(self, location: Location, message: str) -> None:
        self.problems.append(GraphProblem(location, message))

    # --- names ---------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        """Inputs, shared chains and chains share one name space."""
        seen: dict[str, str] = {}
        chains = self.spec.layers if isinstance(self.spec.layers, Mapping) else ()
        named = {"input": self.named_inputs, "shared chain": self.spec.shared, "chain": chains}
        keys = {"input": "inputs", "shared chain": "shared", "chain": "layers"}
        for kind, names in named.items():
            for name in names:
                location = (keys[kind], name)
                if not _NAME.fullmatch(name):
                    self._say(
                        location,
                        f"{quoted(name)} is no name for {_a(kind)}: names have the letters a to z and "
                        "A to Z, digits, _ and -, and begin with a letter",
                    )
                if name in seen:
                    self._say(
                        location,
                        f"{quoted(name)} is the name of {_a(seen[name])} already; choose another one",
                    )
                seen.setdefault(name, kind)

    def _unknown(self, name: str, location: Location, what: str) -> None:
        allowed = [*self.named_inputs, *self.chains] if what != "shared chain" else list(self.spec.shared)
        if what != "shared chain" and name in self.spec.shared:
            self._say(
                location,
                f"{quoted(name)} is a shared chain, which is used within a chain: write use: {name} there",
            )
            return
        if what == "shared chain" and (name in self.named_inputs or name in self.chains):
            kind = "an input" if name in self.named_inputs else "a chain of `layers`"
            self._say(
                location,
                f"{quoted(name)} is {kind}, and use takes a shared chain: take {quoted(name)} where a chain "
                f"begins, as in from: {name}, or move it to `shared`",
            )
            return
        match = nearest(name, allowed)
        hint = f"; did you mean {quoted(match)}?" if match else ""
        if not match and any(allowed):
            hint = f"; there {'is' if len(allowed) == 1 else 'are'} {listing(map(quoted, allowed), 'and')}"
        elif not match:
            hint = "; there are no shared chains" if what == "shared chain" else "; there is none"
        self._say(location, f"there is no {what} {quoted(name)}{hint}")

    # --- order ---------------------------------------------------------------------------------------------

    def _sources_of(self, name: str) -> tuple[str, ...]:
        """The names that a chain's first item takes."""
        first = self.chains[name][0]
        if isinstance(first, schema.From):
            return (first.source,)
        return tuple(first.of) if isinstance(first, (schema.Merge, schema.AttentionComponent)) else ()

    def _in_order(self) -> list[str]:
        """The chains, each behind those that it takes; a circle is a problem, and broken open."""
        waiting = {name: {s for s in self._sources_of(name) if s in self.chains} for name in self.chains}
        order: list[str] = []
        while waiting:
            ready = [name for name, missing in waiting.items() if not missing]
            if not ready:
                circle = self._circle(waiting)
                first = circle[0]
                steps = " takes ".join(map(quoted, [*circle, first]))
                message = (
                    f"a cycle: {steps}" if len(circle) > 1 else f"the chain {quoted(first)} takes itself"
                )
                self._say(
                    ("layers", first, 0), f"{message}; a chain takes inputs, or chains that do not take it"
                )
                self.ends[first] = _Value(None, first)
                ready = [first]
            for name in ready:
                del waiting[name]
                order.append(name)
            for missing in waiting.values():
                missing.difference_update(ready)
        return order

    @staticmethod
    def _circle(waiting: Mapping[str, set[str]]) -> list[str]:
        """Names of which each takes the next, and the last the first."""
        for start in waiting:
            path = [start]
            while path[-1] in waiting and (found := next(iter(sorted(waiting[path[-1]])), None)) is not None:
                if found in path:
                    circle = path[path.index(found) :]
                    first = next(name for name in waiting if name in circle)
                    at = circle.index(first)
                    return circle[at:] + circle[:at]
                path.append(found)
        raise AssertionError("what waits for nothing is ready")

    # --- chains --------------------------------------------------------------------------------------------

    def _read(self, name: str) -> None:
        location: Location = ("layers", name) if name else ("layers",)
        chain = self.chains[name]
        value, begun = self._begin(name, chain, location)
        if name in self.ends:  # it was broken out of a circle: what it takes is unknown
            value = _Value(None, name)
        prefix = f"{name}." if name else ""
        value = self._items(chain, begun, value, prefix, prefix, location, ())
        self.ends[name] = _Value(value.source, name)

    def _begin(self, name: str, chain: Sequence[schema.Component], location: Location) -> tuple[_Value, int]:
        """What a chain takes, and how many of its items say so."""
        first, here = chain[0], (*location, 0, chain[0].kind)
        if isinstance(first, schema.From):
            return self._named(first.source, here), 1
        if isinstance(first, schema.Merge):
            values = [self._named(source, here) for source in first.of]
            self._check_count(first, len(values), here)
            path = f"{name}.0" if name else "0"
            return self._add(path, path, (*location, 0), first, values), 1
        if isinstance(first, schema.AttentionComponent) and first.of:
            values = [self._named(source, here) for source in first.of]
            if len(values) not in (2, 3):
                self._say(
                    (*here, "of"),
                    f"{first.kind} takes a query, a value and maybe a key, and has {len(values)}; write of: "
                    "[QUERY, VALUE], or of: [QUERY, VALUE, KEY]",
                )
            path = f"{name}.0" if name else "0"
            return self._add(path, path, (*location, 0), first, values), 1
        if len(self.inputs) > 1:
            self._say(
                (*location, 0),
                f"{quoted(name) if name else 'the list'} does not say what it takes, and there are "
                f"{len(self.inputs)} inputs; begin it with from: {self.inputs[0]}, or a merge such as "
                f"concatenate: [{', '.join(self.inputs)}]",
            )
            return _Value(None), 0
        self.taken.add(self.inputs[0])
        return _Value(self.inputs[0]), 0

    def _check_count(self, merge: schema.Merge, number: int, here: Location) -> None:
        if number < 2:
            found = "nothing" if not number else "one"
            self._say(
                here,
                f"{merge.kind} takes two or more, and has {found}; write {merge.kind}: [A, B], or from: A",
            )
        elif merge.most is not None and number > merge.most:
            self._say(here, f"{merge.kind} takes {merge.most}, and has {number}")

    def _named(self, name: str, location: Location) -> _Value:
        """What an input or a chain gives."""
        if name in self.named_inputs:
            self.taken.add(name)
            return _Value(name, name)
        if name in self.chains and name:
            self.taken.add(name)
            return self.ends.get(name, _Value(None, name))
        self._unknown(name, location, "input or chain" if self.named_inputs else "chain")
        return _Value(None, name)

    def _items(
        self,
        chain: Sequence[schema.Component],
        begin: int,
        value: _Value,
        path: str,
        weights_path: str,
        location: Location,
        within: tuple[str, ...],
    ) -> _Value:
        """Read the items of a chain, or of a part of one, from `begin` on; gives what the last gives.

        Args:
            chain: the items.
            begin: how many are behind us.
            value: what the first takes.
            path, weights_path: what the positions are put behind.
            location: of the list.
            within: the shared chains that are being read, the innermost last.
        """
        for position in range(begin, len(chain)):
            item, here = chain[position], (*location, position)
            own, of_weights = f"{path}{position}", f"{weights_path}{position}"
            if isinstance(item, schema.Use):
                value = self._use(item, value, own, here, within)
            elif isinstance(item, schema.Residual):
                inside = (*here, item.kind, "layers")
                given = self._items(item.layers, 0, value, f"{own}.", f"{of_weights}.", inside, within)
                value = self._add(own, of_weights, here, item, [value, given])
            elif isinstance(item, schema.Parallel):
                value = self._parallel(item, value, own, of_weights, here, within)
            elif isinstance(item, (schema.From, schema.Merge)) or getattr(item, "of", None):
                self._misplaced(item, here, within)
            else:
                value = self._add(own, of_weights, here, item, [value])
        return value

    def _misplaced(self, item: schema.Component, here: Location, within: tuple[str, ...]) -> None:
        if within or len(here) > 3:
            why = (
                "a shared chain takes what it is given where it is used"
                if within
                else "it takes what comes in"
            )
            self._say((*here, item.kind), f"{item.kind} cannot stand here: {why}; remove it")
            return
        self._say(
            (*here, item.kind),
            f"{item.kind} says what a chain takes, so it is its first item; begin a chain of its own with it",
        )

    def _parallel(
        self,
        item: schema.Parallel,
        value: _Value,
        path: str,
        weights_path: str,
        here: Location,
        within: tuple[str, ...],
    ) -> _Value:
        if item.merge.of:
            self._say(
                (*here, item.kind, "merge", item.merge.kind, "of"),
                f"parallel merges its branches, so {item.merge.kind} names nothing here; remove `of`",
            )
        given = []
        for place, branch in enumerate(item.branches):
            inside = (*here, item.kind, "branches", place)
            begin = f"{path}.{place}.", f"{weights_path}.{place}."
            found = self._items(branch, 0, value, *begin, inside, within)
            given.append(_Value(found.source, f"branch {place}"))
        self._check_count(item.merge, len(given), (*here, item.kind, "merge"))
        return self._add(path, weights_path, here, item, given)

    def _use(
        self, item: schema.Use, value: _Value, path: str, here: Location, within: tuple[str, ...]
    ) -> _Value:
        name = item.chain
        if name not in self.spec.shared:
            self._unknown(name, (*here, item.kind), "shared chain")
            return _Value(None)
        if name in within:
            self._say(
                (*here, item.kind),
                f"the shared chain {quoted(name)} uses itself, and would never end; remove it",
            )
            return _Value(None)
        if len(self.nodes) >= _MOST_NODES:
            self.endless = True
            return value
        first, known, begin = name not in self.used, len(self.problems), len(self.nodes)
        place = len(self.uses)
        chain, location = self.spec.shared[name], ("shared", name)
        given = self._items(chain, 0, value, f"{path}.", f"{name}.", location, (*within, name))
        self.used.add(name)
        self.uses.insert(place, SharedUse(name, here, value.source, range(begin, len(self.nodes))))
        if not first:  # what is wrong within it was said where it was used first
            del self.problems[known:]
        return given

    def _add(
        self,
        path: str,
        weights_path: str,
        location: Location,
        layer: schema.Component,
        values: Sequence[_Value],
    ) -> _Value:
        self.nodes.append(
            GraphNode(
                path,
                weights_path,
                location,
                layer,
                tuple(value.source for value in values),
                tuple(value.name for value in values),
            )
        )
        return _Value(len(self.nodes) - 1)

    # --- outputs -------------------------------------------------------------------------------------------

    def _outputs(self) -> dict[Port, int]:
        """The chains that `outputs` names; without it the one chain that no other takes."""
        untaken = [name for name in self.chains if name not in self.taken]
        for name in self.named_inputs:
            if name not in self.taken:
                self._say(("inputs", name), f"nothing takes the input {quoted(name)}; take it, or remove it")
        if self.spec.outputs:
            return self._named_outputs(untaken)
        if len(untaken) > 1:
            self._say(
                ("layers", untaken[-1]),
                f"nothing takes {listing(map(quoted, untaken), 'and')}, and a network without `outputs` has "
                "one output, one chain that nothing takes; take the others in it, remove them, or name the "
                "outputs",
            )
        end = self.ends[untaken[-1]].source if untaken else None
        return {OUTPUT: end} if isinstance(end, int) else {}

    def _named_outputs(self, untaken: Sequence[str]) -> dict[Port, int]:
        found: dict[Port, int] = {}
        for name in self.spec.outputs:
            if not name or name not in self.chains:
                match = nearest(name, [chain for chain in self.chains if chain])
                hint = f"did you mean {quoted(match)}?" if match else "an output is a chain by its name"
                self._say(("outputs", name), f"there is no chain {quoted(name)}; {hint}")
                continue
            end = self.ends[name].source
            if isinstance(end, int):
                found[name] = end
            elif end is not None:
                self._say(
                    ("layers", name), f"{quoted(name)} is an output and has no layer; end it with dense"
                )
        for name in untaken:
            if name and name not in self.spec.outputs:
                self._say(
                    ("layers", name),
                    f"nothing takes {quoted(name)}, and it is no output; name it in `outputs`, or remove it",
                )
        return found


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def num_outputs(spec: schema.ExperimentSpec) -> int:
    """K, the units of the layer that gives the first output, or the only one."""
    last = graph_of(spec).first_output
    assert isinstance(last, schema.Dense), "lint lets only a dense layer end the stack"
    return last.units
