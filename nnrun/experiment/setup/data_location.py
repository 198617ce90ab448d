"""Where the files of a run's spec lie now: a project may have been moved since, or a table renamed.

A run keeps absolute paths and, of its data, the SHA-256. A file that is not where it was is looked for below
`--data-dir`, the folders that the run lies in, and the current folder, under the end of its path: of
`/old/project/data/t.csv` as `project/data/t.csv`, `data/t.csv` and `t.csv`. Where several are found, or the
one at the old place has changed, the content decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnrun.data import SourceFile
from nnrun.data.files.open_file import sha256_of
from nnrun.errors import DataError, UsageError
from nnrun.paths import is_given_table, path_from_here
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.comparing.spec_differences import spec_differences
from nnrun.spec.graph import vector_files, with_vector_files
from nnrun.spec.reading.nodes import spell_path
from nnrun.spec.wording import listing
from nnrun.spec.writing.dump import dump_spec

WHERE_TO_LOOK = "Say where it is now: --data-dir FOLDER, or --set"


def located(
    spec: schema.ExperimentSpec, run: RunDirectory, recorded: Mapping[str, str], data_dir: Path | None
) -> schema.ExperimentSpec:
    """The spec with the paths at which its files lie now; a path stays where nothing better is found.

    Args:
        spec: a run's.
        run: the run.
        recorded: name → SHA-256 of its files.
        data_dir: where data files are looked for first.
    """
    given = [data_dir.expanduser().absolute()] if data_dir else []
    folders = [*given, *run.path.absolute().parents, Path.cwd()]
    there = {path: _present(path, folders, recorded) for _, path in paths_of(spec)}
    return _with_paths(spec, there)


def located_text(
    text: str,
    spec: schema.ExperimentSpec,
    run: RunDirectory,
    recorded: Mapping[str, str],
    data_dir: Path | None,
) -> str:
    """`text`, a run's resolved spec, with the paths of `located`; as it is where all are as they were."""
    now = located(spec, run, recorded, data_dir)
    return text if now == spec else dump_spec(now)


def paths_of(spec: schema.ExperimentSpec) -> Iterator[tuple[str, str]]:
    """Key, as `--set` spells it, and path of every file or folder that a spec names."""
    dataset = spec.dataset
    if isinstance(dataset, schema.WithPath):
        yield f"dataset.{dataset.kind}.path", dataset.path
        test = getattr(dataset, "test", None)
        if test is not None and test.path is not None:
            yield f"dataset.{dataset.kind}.test.path", test.path
    if spec.init_weights is not None:
        yield "init_weights", spec.init_weights
    for place, path in vector_files(spec).items():
        yield spell_path(place), path


def with_paths_of(spec: schema.ExperimentSpec, other: schema.ExperimentSpec) -> schema.ExperimentSpec:
    """The spec with another's paths to data, where both have one, and to weights of the same name."""
    others = dict(paths_of(other))
    alike = [
        (path, others[key])
        for key, path in paths_of(spec)
        if key in others and (_is_of_data(key) or _name(path) == _name(others[key]))
    ]
    return _with_paths(spec, dict(alike))


def without_folders(spec: schema.ExperimentSpec) -> schema.ExperimentSpec:
    """The spec with the names of its files alone: to others the folders of this machine say nothing."""
    return _with_paths(spec, {path: _name(path) for _, path in paths_of(spec)})


def text_without_folders(text: str, spec: schema.ExperimentSpec) -> str:
    """A spec as a person wrote it, with the names of its files alone where it has absolute paths.

    Args:
        text: the spec as it was written.
        spec: what was read from it.
    """
    for _, path in paths_of(spec):
        text = text.replace(path, _name(path))
    return text


def seen_from_here(spec: schema.ExperimentSpec) -> schema.ExperimentSpec:
    """The spec with paths from the current folder to what lies in it, else with the names of files alone."""
    return _with_paths(spec, {path: path_from_here(path) for _, path in paths_of(spec)})


def without_first_weights(spec: schema.ExperimentSpec) -> schema.ExperimentSpec:
    """The spec of a run that has begun: what its networks started from may be gone, and is not needed."""
    return with_vector_files(spec, lambda place, path: None).model_copy(update={"init_weights": None})


def refuse_more_than_paths(own: schema.ExperimentSpec, wanted: schema.ExperimentSpec, run: str) -> None:
    """Raise UsageError where overrides change anything of a run's spec but where its files lie."""
    changed = with_paths_of(wanted, own).model_copy(update={"init_weights": own.init_weights})
    differences = spec_differences([own, changed])
    if differences:
        keys = listing([f"{key}=..." for key, _ in paths_of(own)], "or")
        what = (
            f"only the location of its files may be changed here ({keys})"
            if keys
            else "nothing may be changed"
        )
        raise UsageError(
            f"{run} was trained with a different {differences[0].path}: {differences[0].texts[0]}, not "
            f"{differences[0].texts[1]}; {what}."
        )


def refuse_lost_files(spec: schema.ExperimentSpec, run: str) -> None:
    """Raise DataError where a file of a run's data is neither where it was nor anywhere near."""
    for key, path in paths_of(spec):
        if _is_of_data(key) and not os.path.exists(path):
            given = (
                "A Python program gave these rows, which were kept there. " if is_given_table(path) else ""
            )
            raise DataError(
                f"The data of {run} were not found: {path} does not exist, and there is no "
                f"{os.path.basename(path)} next to the run or in the current folder. {given}"
                f"{WHERE_TO_LOOK} {key}=PATH."
            )


def changed_sources(
    sources: Sequence[SourceFile], recorded: Mapping[str, str], *, another_test_file: bool = False
) -> list[tuple[SourceFile, str, str]]:
    """The sources of other content than a run recorded, each with the name and the SHA-256 of before.

    A file may have another name, as long as its content is the same.

    Args:
        sources: those of the data that were loaded; that of the training rows comes first.
        recorded: name → SHA-256, in the same order.
        another_test_file: whether a test file of another name may be another one.
    """
    present = {source.name for source in sources}
    same = {source.sha256 for source in sources} & set(recorded.values())
    lost = [name for name, sha256 in recorded.items() if name not in present and sha256 not in same]
    found = []
    for place, source in enumerate(sources):
        if source.name in recorded:
            name = source.name
        elif source.sha256 in recorded.values() or not lost or (place > 0 and another_test_file):
            continue
        else:
            name = lost.pop(0)
        if recorded[name] != source.sha256:
            found.append((source, name, recorded[name]))
    return found


def _present(path: str, folders: Sequence[Path], recorded: Mapping[str, str]) -> str:
    """Where a file lies now: the first place of those that hold its content, else the first that exists."""
    places = list(_places(path, folders))
    wanted = recorded.get(os.path.basename(path))
    if len(places) > 1 and wanted is not None and os.path.isfile(places[0]):
        for place in places:
            if os.path.isfile(place) and sha256_of(Path(place)) == wanted:
                return place
    return places[0] if places else path


def _places(path: str, folders: Sequence[Path]) -> Iterator[str]:
    """Where something may lie that lay at `path` once: there, then below folders, longest ends first."""
    seen = set()
    written = Path(path)
    parts = written.parts[1:] if written.is_absolute() else written.parts
    ends = [os.path.join(*parts[first:]) for first in range(len(parts))]
    for place in (path, *(os.path.join(folder, end) for folder in folders for end in ends)):
        if os.path.exists(place) and (real := os.path.realpath(place)) not in seen:
            seen.add(real)
            yield place


def _is_of_data(key: str) -> bool:
    """Whether a key of `paths_of` names rows; else it names what networks start from."""
    return key.startswith("dataset.")


def _name(path: str) -> str:
    return os.path.basename(path)


def _with_paths(spec: schema.ExperimentSpec, there: Mapping[str, str]) -> schema.ExperimentSpec:
    changes: dict[str, Any] = {}
    dataset = spec.dataset
    if isinstance(dataset, schema.WithPath):
        within: dict[str, Any] = {"path": there.get(dataset.path, dataset.path)}
        test = getattr(dataset, "test", None)
        if test is not None and test.path is not None:
            within["test"] = test.model_copy(update={"path": there.get(test.path, test.path)})
        changes["dataset"] = dataset.model_copy(update=within)
    if spec.init_weights is not None:
        changes["init_weights"] = there.get(spec.init_weights, spec.init_weights)
    spec = with_vector_files(spec, lambda _, path: there.get(path, path))
    return spec.model_copy(update=changes) if changes else spec
