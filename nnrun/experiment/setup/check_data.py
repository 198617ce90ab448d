"""What only a spec's own data can tell, said by `nnrun check`: what training would refuse, and what is
doubtful.

The steps are those of training itself, up to the first network: the data are read, the targets compared with
the loss, the rows split, the preprocessing of the first fold fitted. torch is not needed for any of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from nnrun.data import Dataset
from nnrun.data.dataset import output_data
from nnrun.data.files.open_file import does_not_exist
from nnrun.data.files.word_vectors import dimension_of, wrong_dimension
from nnrun.data.load_data import load_data
from nnrun.data.preprocess import fit_input
from nnrun.data.targets import (
    class_weights_of_rows,
    rare_class_warnings,
    refuse_unsuitable_fold,
    refuse_unsuitable_steps,
    target_steps,
)
from nnrun.errors import DataError, Problem
from nnrun.experiment.setup.folds import folds_of
from nnrun.spec import schema
from nnrun.spec.graph import all_layers, graph_of
from nnrun.spec.ports import Port, input_views, inputs_are_told, told_of_input
from nnrun.spec.reading.grammar import Location
from nnrun.spec.reading.load import LoadedSpec
from nnrun.spec.schema.layer_shapes import Shape
from nnrun.spec.shapes import trace

_MOST_BYTES: Final = 64 * 2**20
_BYTES_TO_FIT: Final = 8 * 2**20


def problems_of_data(loaded: LoadedSpec) -> tuple[Problem, ...]:
    """What training would refuse of the data and of files of word vectors, and what is doubtful about them.

    Data that `why_not_read` names are not looked at.
    """
    file = None if loaded.path is None else str(loaded.path)
    of_vectors = (Problem(said, file=file) for said in _problems_of_vectors(loaded.spec))
    return (*of_vectors, *_problems_of_rows(loaded, file))


def _problems_of_vectors(spec: schema.ExperimentSpec) -> Iterator[str]:
    """What the first lines of its files of word vectors tell."""
    for _, layer in all_layers(spec):
        if isinstance(layer, schema.Embedding) and layer.weights is not None:
            path = Path(layer.weights)
            try:
                if said := wrong_dimension(path, dimension_of(path), layer.output_dim):
                    yield said
            except DataError as error:
                yield str(error)


def _problems_of_rows(loaded: LoadedSpec, file: str | None) -> tuple[Problem, ...]:
    spec = loaded.spec
    if not isinstance(spec.dataset, schema.WithPath):
        return ()
    if missing := tuple(_missing_files(loaded)):
        return missing
    if why_not_read(spec.dataset) is not None:
        return ()
    told: list[str] = []
    try:
        dataset = load_data(spec, on_doubt=told.append)
        shapes = _try(spec, dataset, fit=_size(Path(spec.dataset.path).expanduser()) <= _BYTES_TO_FIT)
        misfits = _misfits(loaded, dataset, shapes)
    except DataError as error:
        if error.location is not None:
            return (loaded.problem_at(error.location, str(error)),)
        return (Problem(str(error), file=file),)
    doubts = (*told, *rare_class_warnings(spec, dataset))
    return (*misfits, *(Problem(doubt, file=file, severity="warning") for doubt in doubts))


def _missing_files(loaded: LoadedSpec) -> Iterator[Problem]:
    """The files and folders of rows that are not there, each at its line."""
    dataset = loaded.spec.dataset
    assert isinstance(dataset, schema.WithPath), "other data sets name no file"
    at: Location = ("dataset", dataset.kind)
    test = getattr(dataset, "test", None)
    named = {(*at, "path"): dataset.path, (*at, "test", "path"): None if test is None else test.path}
    for location, name in named.items():
        if name is not None and not os.path.exists(path := Path(name).expanduser()):
            yield loaded.problem_at(location, does_not_exist(path))


def why_not_read(dataset: schema.Component) -> str | None:
    """A sentence on a file of the user's that is not read by `problems_of_data`; None where it is, where it
    is missing, which is a problem, or for a published data set.
    """
    if not isinstance(dataset, schema.WithPath):
        return None
    path = Path(dataset.path).expanduser()
    if path.exists() and _size(path) > _MOST_BYTES:
        large = f"{dataset.path} is larger than {_MOST_BYTES // 2**20} MiB"
        return f"{large}, so only the spec was checked, not the data"
    return None


def _size(path: Path) -> int:
    """Bytes of a file, or of the texts in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*.txt") if file.is_file())
    size = path.stat().st_size
    return 10 * size if path.suffix == ".gz" else size


def _try(spec: schema.ExperimentSpec, dataset: Dataset, *, fit: bool) -> dict[Port, Shape]:
    """Go the way of training up to the first network.

    Returns:
        the shape of a row of each input whose preprocessing was fitted.

    Raises:
        DataError: training would refuse the data.
    """
    folds = folds_of(spec, dataset, spec.seed)
    outputs = output_data(spec, dataset)
    target_steps(outputs)
    class_weights_of_rows(outputs, np.arange(len(dataset.train)))
    for fold in folds:
        refuse_unsuitable_fold(outputs, fold.index, fold.train_rows, fold.validation_rows)
    some = np.arange(min(len(dataset.train), 100))
    shapes: dict[Port, Shape] = {}
    for port, view in input_views(spec).items():
        preprocessing, own = view.preprocessing, dataset.input(port)
        if fit and not any(isinstance(step, schema.Custom) for step in preprocessing.inputs):
            with told_of_input(port if inputs_are_told(spec) else None):
                fitted = fit_input(preprocessing, own, folds[0].train_rows)
                fitted.transform(own.train.take(some).inputs)
            shapes[port] = fitted.shape
    return shapes


def _misfits(loaded: LoadedSpec, dataset: Dataset, shapes: Mapping[Port, Shape]) -> list[Problem]:
    """The layers that cannot take what these rows give, each at its line.

    Raises:
        DataError: what the layers give does not suit the targets.
    """
    spec = loaded.spec
    graph = graph_of(spec)
    given, problems = trace(graph, shapes)
    known: dict[Port, list[int]] = {}
    for port, node in graph.outputs.items():
        shape = given[node] or (None,)
        sizes = [size for size in shape if size is not None]
        if len(sizes) == len(shape):
            known[port] = sizes
    refuse_unsuitable_steps(output_data(spec, dataset), known)
    return [loaded.problem_at(problem.location, problem.message) for problem in problems]
