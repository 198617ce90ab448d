"""Graphs of layers: what they are read as, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nnrun.errors import SpecError
from nnrun.spec.graph import Graph, graph_of
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.spec.reading.load import LoadedSpec, load_spec, load_spec_text

BASE = "optimizer: adam\ndataset: {npz: {path: small.npz}}\n"
LOSS = "loss: mse\n"
HOUSES = "optimizer: adam\ndataset: boston_housing\n"


def load(text: str) -> LoadedSpec:
    """Rows of houses have 13 numbers; the shape of an archive's only its file tells."""
    base = BASE if "inputs:" in text or "outputs:" in text else HOUSES
    if "dataset:" in text:
        base = base.splitlines(keepends=True)[0]
    return load_spec_text(base + text, file="g.yaml", base=Path("/nowhere"), default_name="g")


def problems(text: str) -> list[str]:
    """Each as `path: message`."""
    with pytest.raises(SpecError) as raised:
        load(text)
    return [f"{p.path}: {p.message}" for p in raised.value.problems if p.severity == "error"]


def sources(graph: Graph) -> dict[str, tuple[Any, ...]]:
    """Path → the paths, or inputs, that a node takes."""
    paths = [node.path for node in graph.nodes]
    return {
        node.path: tuple(paths[s] if isinstance(s, int) else s for s in node.sources) for node in graph.nodes
    }


# --- what is read ------------------------------------------------------------------------------------------


def test_a_list_is_the_graph_of_one_chain() -> None:
    graph = graph_of(load(LOSS + "layers: [{dense: 4}, {dropout: 0.5}, {dense: 1}]").spec)
    assert sources(graph) == {"0": (INPUT,), "1": ("0",), "2": ("1",)}
    assert graph.is_chain
    named = graph_of(load(LOSS + "layers: {only: [{dense: 4}, {dropout: 0.5}, {dense: 1}]}").spec)
    assert named.is_chain
    assert [node.weights_path for node in named.nodes] == ["only.0", "only.1", "only.2"]


def test_chains_are_read_in_the_order_in_which_they_depend_on_each_other() -> None:
    text = """
layers:
  out: [concatenate: [left, right], dense: 1]
  right: [from: stem, dense: 2]
  left: [from: stem, dense: 3]
  stem: [dense: 5]
"""
    graph = graph_of(load(LOSS + text).spec)
    assert sources(graph) == {
        "stem.0": (INPUT,),
        "right.1": ("stem.0",),
        "left.1": ("stem.0",),
        "out.0": ("left.1", "right.1"),
        "out.1": ("out.0",),
    }
    assert graph.nodes[graph.outputs[OUTPUT]].path == "out.1"


def test_attention_takes_a_query_a_value_and_a_key() -> None:
    text = """
layers:
  steps: [reshape: [13, 1]]
  query: [from: steps, dense: 4]
  found: [multi_head_attention: {of: [query, steps, steps], num_heads: 2, key_dim: 3}, flatten, dense: 1]
"""
    graph = graph_of(load(LOSS + text).spec)
    assert sources(graph)["found.0"] == ("query.1", "steps.0", "steps.0")


def test_residual_parallel_and_shared_layers_are_written_out() -> None:
    text = """
shared: {twice: [dense: 6, dense: 5]}
layers:
  - dense: 5
  - residual: [use: twice, {residual: [dense: 5]}]
  - parallel: {merge: add, branches: [[dense: 5], [use: twice], []]}
  - dense: 1
"""
    graph = graph_of(load(LOSS + text).spec)
    assert sources(graph) == {
        "0": (INPUT,),
        "1.0.0": ("0",),
        "1.0.1": ("1.0.0",),
        "1.1.0": ("1.0.1",),
        "1.1": ("1.0.1", "1.1.0"),
        "1": ("0", "1.1"),
        "2.0.0": ("1",),
        "2.1.0.0": ("1",),
        "2.1.0.1": ("2.1.0.0",),
        "2": ("2.0.0", "2.1.0.1", "1"),
        "3": ("2",),
    }
    names = {node.path: node.weights_path for node in graph.nodes}
    assert (names["1.0.1"], names["2.1.0.1"], names["2.0.0"]) == ("twice.1", "twice.1", "2.0.0")


def test_a_spec_of_a_graph_survives_being_written() -> None:
    from nnrun.spec.writing.dump import dump_spec

    text = """
inputs: {a: {}, b: {array: c, preprocessing: standardize}}
shared: {s: [dense: 3]}
layers:
  left: [from: a, use: s]
  right: [from: b, residual: [dense: 4]]
  both: [concatenate: [left, right], parallel: {branches: [[dense: 2], []]}]
  price: [from: both, dense: 1]
  dear: [from: both, dense: {units: 1, activation: sigmoid}]
outputs:
  price: {loss: mse, preprocessing: standardize, metrics: [mae]}
  dear: {loss: binary_crossentropy, loss_weight: 0.5}
total_loss: mean
"""
    spec = load(text).spec
    written = dump_spec(spec)
    assert set(yaml.safe_load(written)).isdisjoint({"loss", "metrics", "class_weight"})
    again = load_spec_text(written, file="g.yaml", base=Path("/nowhere"), default_name="g").spec
    assert again == spec


# --- what is wrong -----------------------------------------------------------------------------------------

WRONG = {
    "attention of one": (
        "layers: {a: [reshape: [-1, 1]], b: [attention: {of: [a]}, flatten, dense: 1]}",
        "layers.b[0].attention.of: attention takes a query, a value and maybe a key, and has 1; "
        "write of: [QUERY, VALUE], or of: [QUERY, VALUE, KEY]",
    ),
    "attention to others in the middle of a chain": (
        "layers: {a: [reshape: [-1, 1]], b: [from: a, attention: {of: [a, a]}, flatten, dense: 1]}",
        "layers.b[1].attention: attention says what a chain takes, so it is its first item; "
        "begin a chain of its own with it",
    ),
    "attention of rows with other features": (
        """
layers:
  a: [reshape: [13, 1]]
  b: [from: a, dense: 4]
  c: [attention: {of: [a, b]}, flatten, dense: 1]
""",
        "layers.c[0].attention: attention multiplies each query with each key, which need equally many "
        "features; a gives (13, 1), b gives (13, 4); make them alike with dense, or use multi_head_attention",
    ),
    "attention with a key of other steps than the value's": (
        """
layers:
  a: [reshape: [13, 1]]
  b: [from: a, cropping: 1]
  c: [multi_head_attention: {of: [a, a, b], num_heads: 2, key_dim: 3}, flatten, dense: 1]
""",
        "layers.c[0].multi_head_attention: multi_head_attention takes a key with as many steps as the value; "
        "a gives (13, 1), a gives (13, 1), b gives (11, 1)",
    ),
    "an unknown chain": (
        "layers: {a: [dense: 2], out: [from: aa, dense: 1]}",
        "layers.out[0].from: there is no chain 'aa'; did you mean 'a'?",
    ),
    "a chain that takes itself": (
        "layers: {a: [from: a, dense: 1]}",
        "layers.a[0]: the chain 'a' takes itself; a chain takes inputs, or chains that do not take it",
    ),
    "a circle": (
        "layers: {a: [from: b, dense: 2], b: [from: a, dense: 2], out: [from: b, dense: 1]}",
        "layers.a[0]: a cycle: 'a' takes 'b' takes 'a'; a chain takes inputs, or chains that do not take it",
    ),
    "two ends": (
        "layers: {a: [dense: 1], b: [dense: 1]}",
        "layers.b: nothing takes 'a' and 'b', and a network without `outputs` has one output, one chain that "
        "nothing takes; take the others in it, remove them, or name the outputs",
    ),
    "a merge of one": (
        "layers: {a: [dense: 2], out: [add: [a], dense: 1]}",
        "layers.out[0].add: add takes two or more, and has one; write add: [A, B], or from: A",
    ),
    "a merge of none": (
        "layers: {out: [concatenate, dense: 1]}",
        "layers.out[0].concatenate: concatenate takes two or more, and has nothing; write "
        "concatenate: [A, B], or from: A",
    ),
    "subtract of three": (
        "layers: {a: [dense: 2], b: [dense: 2], c: [dense: 2], out: [subtract: [a, b, c], dense: 1]}",
        "layers.out[0].subtract: subtract takes 2, and has 3",
    ),
    "shapes that do not add up": (
        "layers: {a: [dense: 2], b: [dense: 3], out: [add: [a, b], dense: 1]}",
        "layers.out[0].add: add takes rows of one shape; a gives (2), b gives (3); give the layers before it "
        "as many units or filters, or use concatenate",
    ),
    "a residual that changes the shape": (
        "layers: [{dense: 4}, {residual: [{dense: 5}]}, {dense: 1}]",
        "layers[1].residual: residual adds what comes in, (4), to what its layers give, (5); they must keep "
        "the shape: give the last of them as many units or filters, and padding: same",
    ),
    "branches of different shapes": (
        "layers: [{parallel: {merge: add, branches: [[{dense: 2}], [{dense: 3}]]}}, {dense: 1}]",
        "layers[0].parallel.merge: parallel: add takes rows of one shape; branch 0 gives (2), branch 1 gives "
        "(3); give the layers before it as many units or filters, or use concatenate",
    ),
    "a source in the middle": (
        "layers: {a: [dense: 2], out: [dense: 2, from: a, dense: 1]}",
        "layers.out[1].from: from says what a chain takes, so it is its first item; begin a chain of its own "
        "with it",
    ),
    "a source within residual": (
        "layers: {a: [dense: 2], out: [from: a, residual: [from: a, dense: 2], dense: 1]}",
        "layers.out[1].residual.layers[0].from: from cannot stand here: it takes what comes in; remove it",
    ),
    "an unknown shared chain": (
        "layers: [{use: twice}, {dense: 1}]",
        "layers[0].use: there is no shared chain 'twice'; there are no shared chains",
    ),
    "an input where a shared chain is used": (
        "inputs: {a: {}}\nlayers: {out: [from: a, use: a, dense: 1]}",
        "layers.out[1].use: 'a' is an input, and use takes a shared chain: take 'a' where a chain begins, as "
        "in from: a, or move it to `shared`",
    ),
    "a chain where a shared chain is used": (
        "layers: {a: [dense: 2], out: [from: a, use: a, dense: 1]}",
        "layers.out[1].use: 'a' is a chain of `layers`, and use takes a shared chain: take 'a' where a chain "
        "begins, as in from: a, or move it to `shared`",
    ),
    "a use without its chain": (
        "layers: [{use: {}}, {dense: 1}]",
        "layers[0].use.chain: layers[0].use needs chain, the name of a shared chain; write `use: NAME`",
    ),
    "a list of sources": (
        "inputs: {a: {}, b: {}}\nlayers: {out: [from: [a, b], dense: 1]}",
        "layers.out[0].from.source: layers.out[0].from.source must be the name of one input or chain, and "
        "several are merged, as in concatenate: [A, B]; found a list",
    ),
    "steps where a merge gives none": (
        "layers: {a: [dense: 2], out: [concatenate: [a, a], lstm: 4, dense: 1]}",
        "layers.out[1].lstm: lstm needs (steps, features) per row; concatenate gives (4); for rows of "
        "numbers put reshape before it, such as reshape: [-1, 1]",
    ),
    "steps where another chain gives none": (
        "layers: {a: [dense: 2], out: [from: a, lstm: 4, dense: 1]}",
        "layers.out[1].lstm: lstm needs (steps, features) per row; a gives (2); for rows of numbers put "
        "reshape before it, such as reshape: [-1, 1]",
    ),
    "a shared chain that nothing uses": (
        "shared: {s: [dense: 2]}\nlayers: [{dense: 1}]",
        "shared.s: nothing uses the shared chain 's'; remove it, or add use: s",
    ),
    "a shared chain that uses itself": (
        "shared: {s: [use: s]}\nlayers: [{use: s}, {dense: 1}]",
        "shared.s[0].use: the shared chain 's' uses itself, and would never end; remove it",
    ),
    "a shared chain with a source": (
        "shared: {s: [from: a, dense: 2]}\nlayers: {a: [dense: 2], out: [from: a, use: s, dense: 1]}",
        "shared.s[0].from: from cannot stand here: a shared chain takes what it is given where it is used; "
        "remove it",
    ),
    "use of two shapes": (
        "shared: {s: [dense: 2]}\n"
        "layers: {a: [dense: 3, use: s], b: [dense: 4, use: s], out: [add: [a, b], dense: 1]}",
        "layers.b[1].use: s takes (4) here and (3) where it is used first; the weights of a shared chain fit "
        "one shape: make both alike, or write a chain of its own",
    ),
    "a shared chain as a source": (
        "shared: {s: [dense: 2]}\nlayers: {a: [use: s], out: [add: [s, a], dense: 1]}",
        "layers.out[0].add: 's' is a shared chain, which is used within a chain: write use: s there",
    ),
    "one name for two things": (
        "shared: {a: [dense: 2]}\nlayers: {a: [use: a, dense: 1]}",
        "layers.a: 'a' is the name of a shared chain already; choose another one",
    ),
    "a name that is none": (
        "layers: {a.b: [dense: 1]}",
        "layers.a.b: 'a.b' is no name for a chain: names have the letters a to z and A to Z, digits, _ "
        "and -, and begin with a letter",
    ),
    "an axis that is not there": (
        "layers: {a: [dense: 2], b: [dense: 2], out: [concatenate: {of: [a, b], axis: 1}, dense: 1]}",
        "layers.out[0].concatenate.axis: concatenate: there is no axis 1; a gives (2), b gives (2), and axes "
        "are 0 to 0, or -1 for the last",
    ),
    "an output without dense": (
        "layers: {a: [dense: 2], b: [dense: 2], out: [add: [a, b]]}",
        "layers.out[0].add: the last layer is add: predictions come from dense; end the layers with a dense "
        "layer",
    ),
    "a list of layers without dashes": (
        "layers: {dense: 1}",
        "layers: layers must be a list of at least 1 entry; found a map with 'dense'; begin each entry with "
        "'- '",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_graph_is_told_at_its_place(case: str) -> None:
    text, expected = WRONG[case]
    assert expected in problems(LOSS + text)


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = """
layers:
  a: [from: nowhere, dense: 2]
  b: [add: [a], dense: {units: 2, activation: softmax}]
  c: [from: c, dense: 2]
  out: [from: b, residual: [dense: 3], dense: 1]
shared: {unused: [dense: 1]}
"""
    assert [problem.partition(":")[0] for problem in problems(LOSS + text)] == [
        "layers.a[0].from",
        "layers.b[0].add",
        "layers.c[0]",
        "shared.unused",
    ]


# --- inputs and outputs ------------------------------------------------------------------------------------

PORTS = """
layers:
  trunk: [dense: 4]
  price: [from: trunk, dense: 1]
  dear: [from: trunk, dense: {units: 1, activation: sigmoid}]
"""
BOTH = "outputs: {price: {loss: mse, loss_weight: 0.1}, dear: {loss: binary_crossentropy}}\n"

TABLE = """
dataset: {csv: {path: a.csv, group: g}}
inputs: {x: {columns: [a, b]}}
layers: {price: [from: x, dense: 1], dear: [from: x, dense: {units: 1, activation: sigmoid}]}
"""

WRONG_PORTS = {
    "a target among the columns of an input": (
        TABLE.replace("[a, b]", "[a, price]") + BOTH,
        "inputs.x.columns[1]: 'price' is the target of 'price', and the network would see the answer; remove "
        "it from the inputs",
    ),
    "a group among the columns of an input": (
        TABLE.replace("[a, b]", "[g, b]") + BOTH,
        "inputs.x.columns[0]: 'g' is the group, and it cannot be an input; remove it from the inputs",
    ),
    "a target that is the group": (
        TABLE.replace("group: g", "group: dear") + BOTH,
        "dataset.csv.group: 'dear' is the target of 'dear' already; name another column, or remove it",
    ),
    "a target of the table that no output has": (
        TABLE.replace("group: g", "target: [price, cost]") + BOTH,
        "dataset.csv.target: the spec has `outputs`, and none of them takes 'cost'; name it there, or "
        "remove it",
    ),
    "inputs of the table that no input takes": (
        TABLE.replace("group: g", "inputs: [a, c]") + BOTH,
        "dataset.csv.inputs: the spec has `inputs`, and none of them takes 'c'; name it there, or remove it",
    ),
    "stratified by no output": (
        PORTS + BOTH + "validation: {kfold: {k: 3, stratify: true}}",
        "validation.kfold.stratify: rows are stratified by the classes of one output: write stratify: dear",
    ),
    "stratified by an unknown output": (
        PORTS + BOTH + "validation: {holdout: {fraction: 0.2, stratify: deer}}",
        "validation.holdout.stratify: there is no output 'deer'; did you mean 'dear'?",
    ),
    "stratified by a number": (
        PORTS + BOTH + "validation: {kfold: {k: 3, stratify: price}}",
        "validation.kfold.stratify: only classes can be stratified, and the output 'price' is a number by "
        "its loss, mse; write stratify: dear",
    ),
    "stratified by a name without outputs": (
        "layers: [dense: 1]\nvalidation: {kfold: {k: 3, stratify: dear}}\n" + LOSS,
        "validation.kfold.stratify: 'dear' would be one of several `outputs`, and there are none; write true",
    ),
    "an input that nothing takes": (
        "inputs: {a: {}, b: {}}\nlayers: {out: [from: a, dense: 1]}\n" + LOSS,
        "inputs.b: nothing takes the input 'b'; take it, or remove it",
    ),
    "a list that does not say what it takes": (
        "inputs: {a: {}, b: {}}\nlayers: [dense: 1]\n" + LOSS,
        "layers[0]: the list does not say what it takes, and there are 2 inputs",
    ),
    "a parallel of one branch": (
        "layers: [parallel: {branches: [[dense: 1]]}, dense: 1]\n" + LOSS,
        "layers[0].parallel.branches: layers[0].parallel.branches must be a list of at least 2 entries",
    ),
    "a chain that does not say what it takes": (
        "inputs: {a: {}, b: {}}\nlayers: {c: [dense: 2], out: [concatenate: [a, b, c], dense: 1]}\n" + LOSS,
        "layers.c[0]: 'c' does not say what it takes, and there are 2 inputs; begin it with from: a, or a "
        "merge such as concatenate: [a, b]",
    ),
    "an output that is no chain": (
        PORTS + "outputs: {price: {loss: mse, loss_weight: 0.1}, deer: {loss: binary_crossentropy}}",
        "outputs.deer: there is no chain 'deer'; did you mean 'dear'?",
    ),
    "a chain that is no output": (
        PORTS + "outputs: {price: {loss: mse}}",
        "layers.dear: nothing takes 'dear', and it is no output; name it in `outputs`, or remove it",
    ),
    "an output without a loss": (
        PORTS + "outputs: {price: {metrics: [mae]}, dear: {loss: binary_crossentropy}}",
        "outputs.price.loss: outputs.price needs loss, one of",
    ),
    "a loss at the top": (
        PORTS + BOTH + LOSS,
        "loss: loss stands at the top, and the spec has `outputs`: write it into each, as in "
        "outputs.price.loss",
    ),
    "shared chains that double": (
        "shared:\n  s0: [dense: 4]\n"
        + "".join(f"  s{n}: [use: s{n - 1}, use: s{n - 1}]\n" for n in range(1, 30))
        + "layers: [use: s29, dense: 1]\n"
        + LOSS,
        "shared: written out, where each `use` stands for its shared chain, the network has more than 2,000 "
        "layers",
    ),
    "an output called as the column of rows": (
        PORTS.replace("price:", "row:") + BOTH.replace("price:", "row:"),
        "outputs.row: predictions of 'row' have a column 'row', and so has the number of a row",
    ),
    "outputs whose predictions share a column": (
        PORTS.replace("dear:", "price_target:") + BOTH.replace("dear:", "price_target:"),
        "outputs.price_target: predictions of 'price_target' have a column 'price_target', and so has the "
        "output 'price'",
    ),
    "an output called as a column of validation rows": (
        PORTS.replace("dear:", "val_price:") + BOTH.replace("dear:", "val_price:"),
        "outputs.val_price: 'val_price' begins with val_, as columns of validation rows do in the history",
    ),
    "metrics at the top": (
        PORTS + BOTH + "metrics: [mae]",
        "metrics: metrics stands at the top, and the spec has `outputs`: write it into each, as in "
        "outputs.price.metrics",
    ),
    "steps at the top": (
        "preprocessing: {inputs: standardize}\ninputs: {a: {}}\nlayers: {out: [from: a, dense: 1]}\n" + LOSS,
        "preprocessing.inputs: the inputs' steps stand at the top, and the spec has `inputs`: write them "
        "into each, as in inputs.a.preprocessing",
    ),
    "a softmax against a number": (
        PORTS.replace("dense: 1]", "dense: {units: 1, activation: softmax}]") + BOTH,
        "layers.price[1].dense.activation: softmax over 1 unit is always 1; use sigmoid for two classes, "
        "linear for a number",
    ),
    "a linear output of a cross-entropy": (
        PORTS.replace("activation: sigmoid", "activation: linear") + BOTH,
        "layers.dear[1].dense.activation: binary_crossentropy takes a probability, and linear does not give "
        "one; use activation: sigmoid",
    ),
    "accuracy of a number": (
        PORTS + BOTH.replace("loss_weight: 0.1", "loss_weight: 0.1, metrics: [accuracy]"),
        "outputs.price.metrics[0].accuracy: accuracy needs probabilities, and the last layer's activation is "
        "linear; use sigmoid or softmax there, or a metric such as mae",
    ),
    "no output counts": (
        PORTS
        + "outputs: {price: {loss: mse, loss_weight: 0}, dear: {loss: binary_crossentropy, loss_weight: 0}}",
        "outputs.price.loss_weight: loss_weight is 0 for every output, so that nothing would be trained; "
        "give one of them a weight above 0",
    ),
    "a column that is not there": (
        PORTS + BOTH + "early_stopping: {monitor: val_accuracy}",
        "early_stopping.monitor: no column is called 'val_accuracy'. This run has val_loss, val_price_loss, "
        "val_dear_loss, loss, price_loss and dear_loss",
    ),
}


@pytest.mark.parametrize("case", WRONG_PORTS)
def test_wrong_inputs_and_outputs_are_told_at_their_place(case: str) -> None:
    text, expected = WRONG_PORTS[case]
    found = problems(text + ("\nvalidation: {holdout: {first: 4}}" if "early" in text else ""))
    assert any(problem.startswith(expected) for problem in found), found


def test_rules_look_at_the_output_that_they_are_asked_about() -> None:
    """Where the first output ends otherwise than dense, the second one's layer is not taken for its own."""
    text = """
layers:
  first: [dense: 4, dropout: 0.5]
  second: [dense: 4, dense: {units: 3, activation: softmax}]
  read: [dense: 4, dense: {units: 3, activation: softmax}]
outputs:
  first: {loss: binary_crossentropy}
  second: {loss: categorical_crossentropy}
  read: {loss: ctc}
"""
    assert problems(text) == [
        "layers.first[1].dropout: the last layer is dropout: it would drop predictions; end the layers with "
        "a dense layer",
        "layers.read[1].dense.activation: ctc takes the values before any activation, and the last layer has "
        "softmax; leave it out",
    ]


def test_shapes_of_named_inputs_are_those_of_their_arrays(tmp_path: Path) -> None:
    tokens = np.empty(4, object)
    tokens[:] = [[1], [1, 2], [3], [4]]
    images = np.zeros((4, 8, 8), np.uint8)
    arrays = {"size": np.zeros((4, 3)), "one": np.zeros(4), "pixels": images, "words": tokens}
    np.savez(tmp_path / "data.npz", **{f"{name}_train": array for name, array in arrays.items()})
    text = f"""
optimizer: adam
dataset: {{npz: {{path: {tmp_path / "data.npz"}}}}}
inputs:
  size: {{}}
  one: {{preprocessing: multi_hot}}
  seen: {{array: pixels}}
  words: {{preprocessing: {{multi_hot: 5}}}}
layers:
  wide: [add: [size, words], dense: 4]
  seen_too: [from: seen, conv2d: {{filters: 4, kernel_size: 9}}, flatten]
  out: [concatenate: [wide, seen_too, one], dense: 1]
loss: mse
"""
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(SpecError) as raised:
        load_spec(tmp_path / "g.yaml")
    found = {problem.path: problem.message for problem in raised.value.problems}
    assert "size gives (3), words gives (5)" in found["layers.wide[0].add"]
    assert found["layers.seen_too[1].conv2d.kernel_size"].startswith(
        "conv2d with kernel_size 9 by 9 and padding valid needs at least as many places; seen gives (8, 8, 1)"
    )
    assert found["inputs.one.preprocessing[0].multi_hot"].startswith(
        "multi_hot is for lists of word indices, and data.npz"
    )
    assert len(found) == 3, found


def test_an_embedding_of_an_array_without_pad_is_told_what_it_lacks(tmp_path: Path) -> None:
    np.savez(tmp_path / "words.npz", words_train=np.ones((4, 6), int), y_train=np.ones(4))
    text = """
dataset: {npz: {path: words.npz}}
inputs: {words: {preprocessing: none}}
layers: {out: [from: words, embedding: {input_dim: 9, output_dim: 2}, lstm: 4, dense: 1]}
"""
    text += LOSS + "epochs: 1\nbatch_size: 4\n"

    def told(text: str) -> list[str]:
        path = tmp_path / "g.yaml"
        path.write_text(text)
        with pytest.raises(SpecError) as raised:
            load_spec(path)
        return [problem.message for problem in raised.value.problems]

    assert told(text) == [
        "embedding looks up word indices, and an array without pad is rows of numbers; if it holds word "
        "indices add inputs.words.preprocessing: pad, else remove embedding"
    ]
    assert told(text.replace("words.npz", "later.npz")) == [
        "embedding looks up word indices in rows of one length; add inputs.words.preprocessing: pad"
    ]
    (tmp_path / "g.yaml").write_text(text.replace("none", "{pad: 6}"))
    load_spec(tmp_path / "g.yaml")


def test_a_metric_that_ctc_does_not_have_is_told_once() -> None:
    found = problems(
        """
dataset: digit_lines
layers: [dense: 4]
loss: ctc
metrics: [mae]
"""
    )
    assert [problem for problem in found if problem.startswith("metrics")] == [
        "metrics[0].mae: mae does not measure lists of classes, which ctc reads; use character_error_rate"
    ]


def test_pad_and_masks_are_of_one_input() -> None:
    text = """
inputs: {a: {preprocessing: {pad: {value: 1}}}, b: {preprocessing: pad}}
layers:
  left: [from: a, embedding: 4, global_average_pooling]
  right: [from: b, embedding: {output_dim: 4, mask_zero: true}, global_average_pooling]
  out: [concatenate: [left, right], dense: 1]
loss: mse
"""
    assert load(text).spec.inputs.keys() == {"a", "b"}
    assert problems(text.replace("embedding: 4", "embedding: {output_dim: 4, mask_zero: true}")) == [
        "layers.left[1].embedding.mask_zero: mask_zero masks word index 0, and pad fills with 1; leave out "
        "pad's value, which is 0 then, or mask_zero"
    ]


def test_a_loss_that_may_drown_another_is_told() -> None:
    loaded = load(PORTS + BOTH.replace(", loss_weight: 0.1", ""))
    assert [(p.path, p.severity) for p in loaded.warnings] == [("outputs.price.loss", "warning")]
    assert load(PORTS + BOTH.replace("loss_weight: 0.1", "preprocessing: standardize")).warnings == ()
    # Errors in percent, or of logarithms, are of no unit.
    assert load(PORTS + BOTH.replace("loss: mse, loss_weight: 0.1", "loss: mape")).warnings == ()


def test_set_reaches_into_chains_and_outputs() -> None:
    text = BASE + PORTS + BOTH
    changes = ["layers.trunk[0].dense.units=7", "outputs.price.loss_weight=3", "layers.price[-1].dense=2"]
    spec = load_spec_text(text, file="g", base=Path("/"), default_name="g", overrides=changes).spec
    graph = graph_of(spec)
    assert [getattr(layer, "units", None) for layer in graph.layers] == [7, 2, 1]
    assert spec.outputs["price"].loss_weight == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "layers[0].dense.units=8",
            "layers is a map of chains with names (trunk, price and dear), not a list; say which by its "
            "name: layers.trunk[0].dense.units=8",
        ),
        ("outputs[0].loss_weight=2", "say which by its name: outputs.price.loss_weight=2"),
        ("layers.trnk[1].units=2", "layers has no chain 'trnk'; did you mean 'trunk'?"),
    ],
)
def test_set_tells_how_a_path_into_a_map_of_chains_is_written(change: str, said: str) -> None:
    text = BASE + PORTS + BOTH
    with pytest.raises(SpecError) as raised:
        load_spec_text(text, file="g", base=Path("/"), default_name="g", overrides=[change])
    assert said in raised.value.problems[0].message


def test_set_tells_that_a_list_has_no_names() -> None:
    text = HOUSES + LOSS + "layers: [dense: 4, dense: 1]"
    with pytest.raises(SpecError) as raised:
        load_spec_text(
            text, file="g", base=Path("/"), default_name="g", overrides=["layers.a[0].dense.units=2"]
        )
    said = "layers is a list, whose entries have no names; write layers[0].dense.units=2"
    assert raised.value.problems[0].message == said
