"""Several inputs and outputs: which keys stand where, and which data sets have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nnrun.spec import schema
from nnrun.spec.lint.finding import Finding, Rule
from nnrun.spec.ports import array_of, columns_of, prediction_columns, target_of
from nnrun.spec.reading.grammar import Location
from nnrun.spec.schema import DatasetFacts
from nnrun.spec.score_columns import NOT_METRICS, trained_columns
from nnrun.spec.wording import listing, nearest, quoted

_OF_AN_OUTPUT = ("loss", "metrics", "class_weight", "calibrate", "threshold")


def keys_of_an_output_stand_there(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """With `outputs` each output has its own loss, metrics, class weights and target step."""
    if not spec.outputs:
        return
    first = next(iter(spec.outputs))
    for key in _OF_AN_OUTPUT:
        if getattr(spec, key):
            said = f"{key} stands at the top, and the spec has `outputs`: write it into each, as in "
            yield Finding((key,), f"{said}outputs.{first}.{key}")
    if spec.preprocessing.targets is not None:
        yield Finding(
            ("preprocessing", "targets"),
            f"the targets' step stands at the top, and the spec has `outputs`: write it into each, as in "
            f"outputs.{first}.preprocessing",
        )


def steps_of_an_input_stand_there(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """With `inputs` each input has its own steps."""
    if spec.inputs and spec.preprocessing.inputs:
        first = next(iter(spec.inputs))
        yield Finding(
            ("preprocessing", "inputs"),
            f"the inputs' steps stand at the top, and the spec has `inputs`: write them into each, as in "
            f"inputs.{first}.preprocessing",
        )


def data_have_named_parts(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Arrays of an npz have names, and columns of a table."""
    of_arrays = isinstance(spec.dataset, schema.WITH_ARRAYS)
    of_columns = isinstance(spec.dataset, schema.NamedColumns)
    for key in ("inputs", "outputs"):
        if getattr(spec, key) and not (of_arrays or of_columns):
            yield Finding(
                (key,),
                f"{key} takes arrays of an npz or columns of a table by their names, and the dataset is "
                f"{spec.dataset.kind}; remove the key, or write the data as one of these",
            )
    for name, port in spec.inputs.items():
        if port.columns is not None and of_arrays:
            said = f"columns are those of a table, and the dataset is {spec.dataset.kind}; name the array: "
            yield Finding(("inputs", name, "columns"), f"{said}`array: NAME`")
        if of_columns and not port.columns:
            said = f"an input of a table takes columns; write inputs.{name}.columns: [NAME, NAME]"
            yield Finding(("inputs", name), said)
    for name, output in spec.outputs.items():
        if output.target is not None and len(output.target) > 1 and of_arrays:
            said = f"an output of {spec.dataset.kind} is compared with one array; stack the columns into one"
            yield Finding(("outputs", name, "target"), said)


def arrays_are_known(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """The arrays of a data set that is made, not read, are known before."""
    dataset = spec.dataset
    if not isinstance(dataset, schema.DigitPairs):
        return
    images = [name for name, shape in dataset.arrays.items() if shape]
    numbers = [name for name, shape in dataset.arrays.items() if not shape]
    taken = [(("inputs", name), array_of(spec, name), images, "array") for name in spec.inputs]
    taken += [(("outputs", name), target_of(spec, name)[0], numbers, "target") for name in spec.outputs]
    for location, name, known, key in taken:
        if name not in known:
            said = f"{dataset.kind} has no {key} {quoted(name)}; write `{key}: {listing(known)}`"
            yield Finding(location, said)


def columns_stand_with_their_ports(written: schema.ExperimentSpec) -> Iterator[Finding]:
    """A table's own `target` and `inputs` name no column that none of the outputs and inputs has.

    `written` is the spec before these are filled in; a resolved one repeats the columns of all ports.
    """
    table = written.dataset
    if not isinstance(table, schema.NamedColumns):
        return
    of_ports = {
        "target": [name for port in written.outputs for name in target_of(written, port)],
        "inputs": [name for port in written.inputs for name in columns_of(written, port)],
    }
    for key, known in of_ports.items():
        given = getattr(table, key) if key in table.model_fields_set else None
        if extra := [str(name) for name in given or () if known and name not in known]:
            ports = "outputs" if key == "target" else "inputs"
            said = f"the spec has `{ports}`, and none of them takes {listing([quoted(n) for n in extra])}; "
            yield Finding(("dataset", table.kind, key), f"{said}name it there, or remove it")


def stratify_names_an_output(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """Rows are stratified by the classes of one of several outputs."""
    parts: list[tuple[Location, object]] = [(("validation", spec.validation.kind), spec.validation)]
    if isinstance(spec.dataset, schema.FILES):
        parts.append((("dataset", spec.dataset.kind, "test"), spec.dataset.test))
    if spec.nested is not None:
        parts.append((("nested",), spec.nested))
    classes = [name for name, port in spec.outputs.items() if isinstance(port.loss, schema.ClassLoss)]
    for place, part in parts:
        stratify = getattr(part, "stratify", False)
        if not stratify:
            continue
        if not spec.outputs:
            if isinstance(stratify, str):
                said = f"{quoted(stratify)} would be one of several `outputs`, and there are none; write true"
                yield Finding((*place, "stratify"), said)
            continue
        which = f"write stratify: {listing(classes)}" if classes else "no output has classes; remove it"
        if not isinstance(stratify, str):
            said = "rows are stratified by the classes of one output: "
        elif stratify not in spec.outputs:
            match = nearest(stratify, spec.outputs)
            said = f"there is no output {quoted(stratify)}"
            which = f"did you mean {quoted(match)}?" if match else which
            said += "; "
        elif stratify not in classes and not isinstance(spec.outputs[stratify].loss, schema.Custom):
            said = (
                f"only classes can be stratified, and the output {quoted(stratify)} is a number by its loss, "
            )
            said += f"{spec.outputs[stratify].loss.kind}; "
        else:
            continue
        yield Finding((*place, "stratify"), said + which)


def columns_have_names_of_their_own(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """No two columns of the history, or of predictions, may have one name.

    An output has `<output>_loss` and so on in the history, with `val_` before it for validation rows;
    predictions have `row`, of a table `file_row`, and of each output the columns of `prediction_columns`.
    """
    taken = [name for name in spec.outputs if name in NOT_METRICS]
    for name in taken:
        said = f"{quoted(name)} is the name of a column of the history; call the output otherwise"
        yield Finding(("outputs", name), f"{said} (taken are {listing(NOT_METRICS, 'and')})")
    owners = {"row": "the number of a row", "file_row": "its row of the file"}
    for name in spec.outputs:
        if name.startswith("val_"):
            said = f"{quoted(name)} begins with val_, as columns of validation rows do in the history; "
            yield Finding(("outputs", name), f"{said}call the output otherwise")
        for column in prediction_columns(name):
            if column in owners:
                said = f"predictions of {quoted(name)} have a column {quoted(column)}, and so has "
                yield Finding(("outputs", name), f"{said}{owners[column]}; call the output otherwise")
            owners[column] = f"the output {quoted(name)}"
    counts = Counter(trained_columns(spec))
    for column in [column for column, count in counts.items() if count > 1]:
        said = f"two columns of the history would be called {quoted(column)}; call an output otherwise"
        yield Finding(("outputs",), said)


def losses_count_alike(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A squared error of large numbers drowns a cross-entropy beside it."""
    classes = [name for name, port in spec.outputs.items() if isinstance(port.loss, schema.ClassLoss)]
    for name, port in spec.outputs.items():
        if not classes or not schema.in_own_units(port.loss):
            continue
        plain = port.preprocessing is None or isinstance(port.preprocessing, schema.NoTargetStep)
        if plain and port.loss_weight == 1.0:
            step = f"preprocessing: standardize into {quoted(name)}, or a loss_weight"
            yield Finding(
                ("outputs", name, "loss"),
                f"the {port.loss.kind} of {quoted(name)} is in the target's own units, and may drown the "
                f"loss of {quoted(classes[0])}: write "
                f"{step if schema.takes_standardized(port.loss) else f'a loss_weight into {quoted(name)}'}",
                "warning",
            )


def some_output_counts(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Iterator[Finding]:
    """A weight of 0 only watches an output; where all have it, every gradient is 0."""
    if spec.outputs and not any(port.loss_weight for port in spec.outputs.values()):
        first = next(iter(spec.outputs))
        yield Finding(
            ("outputs", first, "loss_weight"),
            "loss_weight is 0 for every output, so that nothing would be trained; "
            "give one of them a weight above 0",
        )


RULES: tuple[Rule, ...] = (
    keys_of_an_output_stand_there,
    steps_of_an_input_stand_there,
    data_have_named_parts,
    arrays_are_known,
    stratify_names_an_output,
    columns_have_names_of_their_own,
    losses_count_alike,
    some_output_counts,
)
