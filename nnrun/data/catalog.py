"""The data sets that have a name, and where their files are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnrun.data.archives.download import fetch, find, is_published
from nnrun.data.files.images import holds_images
from nnrun.data.files.open_file import refuse_workbook
from nnrun.data.sources import SOURCES, NamedSet, load_dataset
from nnrun.data.summaries.describe_file import ENDINGS
from nnrun.data.vocabulary import read_word_index, token_words
from nnrun.errors import UsageError
from nnrun.paths import cache_dir
from nnrun.spec import schema
from nnrun.spec.wording import listing, nearest, quoted


@dataclass(frozen=True)
class FetchedFile:
    """A file that is on this machine now.

    Attributes:
        name: the file's name.
        path: where it is.
        published: whether it is the published file, bit for bit.
        downloaded: whether it was not here before.
    """

    name: str
    path: Path
    published: bool
    downloaded: bool


_SHOWN_PIXELS = 32  # of a side, to which the images of a folder are resized where no spec says it

CATALOG: Mapping[str, NamedSet] = {named.name: named for source in SOURCES.values() for named in source.named}


def path_of(name: str, data_dir: Path | None) -> str:
    """The path in `data_dir` of a file or folder that is not here and is there; else the name as it is."""
    here = Path(name).expanduser()
    if data_dir is None or here.exists() or str(schema.component_name(name)) in CATALOG:
        return name
    there = data_dir / here
    return str(there) if there.exists() else name


def entry_for(name: str) -> NamedSet:
    """The data set of this name, or the archive (.npz) or folder of texts or images at this path.

    Raises:
        UsageError: there is no such data set; says which one was probably meant.
    """
    if name.lower().endswith(".npz"):
        path = str(Path(name).expanduser().absolute())
        return NamedSet(name, schema.Npz(path=path), "a NumPy archive")
    refuse_workbook(Path(name).expanduser())
    known = CATALOG.get(str(schema.component_name(name)))
    if known is None and Path(name).expanduser().is_dir():
        path = str(Path(name).expanduser().absolute())
        if holds_images(Path(path)):
            return NamedSet(name, schema.ImageFolder(path=path, size=[_SHOWN_PIXELS]), "a folder of images")
        return NamedSet(name, schema.TextFolder(path=path), "a folder of texts")
    if known is None:
        match = nearest(name, CATALOG)
        hint = f" Did you mean {match}?" if match else ""
        raise UsageError(
            f"There is no data set {quoted(name)}.{hint} Known: {listing(CATALOG)}; or the path of a file "
            f"that ends in .npz, {', '.join(ENDINGS)}, or of a folder of texts or images."
        )
    return known


def is_at_hand(dataset: schema.Component, data_dir: Path | None) -> bool:
    """Whether a data set can be loaded without a download."""
    if isinstance(dataset, schema.WithPath):
        return os.path.exists(dataset.path)
    entry = CATALOG.get(dataset.kind)
    return entry is None or all(find(remote, data_dir) is not None for remote in entry.archives)


def fetch_entry(
    entry: NamedSet, data_dir: Path | None, on_message: Callable[[str], None] = lambda text: None
) -> tuple[FetchedFile, ...]:
    """Bring all files of a data set to this machine, read them once, and so make the next start fast.

    Raises:
        DataError: a file cannot be had, or is damaged.
    """
    fetched = []
    for remote in (*entry.archives, *([] if entry.words is None else [entry.words])):
        was_here = find(remote, data_dir) is not None
        path = fetch(remote, data_dir, on_message)
        if remote is entry.words:
            read_word_index(path)
        fetched.append(FetchedFile(remote.name, path, is_published(remote, path), not was_here))
    load_dataset(entry.dataset, data_dir=data_dir, on_message=on_message)
    return tuple(fetched)


def token_words_of(
    dataset: schema.Component, data_dir: Path | None, on_message: Callable[[str], None] = lambda text: None
) -> dict[int, str] | None:
    """Token → word; None where the data set has no words, or they are not on this machine, which is reported.

    Raises:
        DataError: the word index is damaged.
    """
    entry = CATALOG.get(dataset.kind)
    if entry is None or entry.words is None:
        return None
    path = find(entry.words, data_dir)
    if path is None:
        on_message(
            f"{entry.words.name} is not on this machine, so tokens are shown. `nnrun data fetch "
            f"{entry.name}` downloads it; or put it in {cache_dir()}."
        )
        return None
    return token_words(read_word_index(path))
