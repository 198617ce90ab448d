"""A first spec for a folder of texts or of images, with a folder for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from nnrun.data.files.images import holds_images, size_and_mode
from nnrun.data.sources.class_folders import FileKind, files_of, folder_parts
from nnrun.data.sources.image_folder import IMAGES
from nnrun.data.sources.text_folder import TEXTS
from nnrun.errors import DataError, printable
from nnrun.experiment.init.network_lines import network_lines
from nnrun.experiment.init.preprocessing import HEAD, TEXT_STEP
from nnrun.experiment.init.sizes import Sizes
from nnrun.experiment.init.table_spec import InitialSpec, class_lines
from nnrun.experiment.init.validation import usual_split
from nnrun.experiment.init.writing import dataset_lines, spec_text
from nnrun.spec.wording import counted, quoted

_SIZED: Final = 200  # images whose size is looked at
_FEWEST_PIXELS, _MOST_PIXELS = 8, 96  # of a side


@dataclass(frozen=True)
class _FolderLines:
    """What a first spec says of a folder: which files, the data set, preprocessing and layers."""

    kind: FileKind
    dataset: Sequence[str]
    preprocessing: Sequence[str]
    network: Callable[[Sizes], list[str]]


def initial_spec_of_folder(path: Path, spec_path: Path) -> InitialSpec:
    """A spec for a folder of texts, or of images (PNG, JPEG), with a folder for each class.

    Images get their median size, at most 96 pixels a side.

    Raises:
        DataError: there is no such folder, or it does not hold two classes.
    """
    lines = _folder_lines(path, spec_path)
    kind, what = lines.kind, lines.kind.what
    parts = folder_parts(path, kind)
    counts = {name: len(files) for name, files in files_of(parts.train, kind).items()}
    rarest = min(counts, key=counts.__getitem__)
    if len(counts) < 2 or counts[rarest] < 2:
        raise DataError(
            f"{printable(str(parts.train))}: there must be at least two classes with at least two {what} "
            f"each, but {quoted(rarest)} has {counted(counts[rarest], what[:-1])}"
            f"{' and is the only one' if len(counts) < 2 else ''}."
        )
    sizes = Sizes(sum(counts.values()), counts, texts=kind is TEXTS, own_test=parts.test is not None)
    split = usual_split(sizes)
    text = spec_text(
        f"The folder of {'a text' if kind is TEXTS else 'an image'}",
        path.resolve().name,
        class_lines(sizes, what),
        lines.dataset,
        split.test_lines(own="its folder test/ is the test set" if sizes.own_test else ""),
        lines.preprocessing,
        lines.network(sizes),
        split.validation_lines(),
    )
    chosen = {
        "target": f"the folder of each {what[:-1]}",
        "task": f"classification, {len(counts):,} classes",
        "rows": f"{sizes.rows:,}",
        **split.said,
        "inputs": f"the {what}",
    }
    if sizes.own_test:
        chosen["test set"] = "the folder test/"
    return InitialSpec(text, chosen)


def _folder_lines(path: Path, spec_path: Path) -> _FolderLines:
    if not holds_images(path):
        return _FolderLines(
            TEXTS,
            dataset_lines("text_folder", path, spec_path),
            [*HEAD, TEXT_STEP],
            network_lines,
        )
    parts = folder_parts(path, IMAGES)
    files = [file for of_class in files_of(parts.train, IMAGES).values() for file in of_class]
    every = max(1, len(files) // _SIZED)
    known = [found for file in files[::every] if (found := size_and_mode(file)) is not None]
    if not known:
        raise DataError(f"{printable(str(files[0]))} is no PNG or JPEG image, and no other file is.")
    height, width = (
        min(_MOST_PIXELS, max(_FEWEST_PIXELS, int(median(image[side] for image in known)))) for side in (0, 1)
    )
    grey = all(is_grey for _, _, is_grey in known)
    dataset = [
        *dataset_lines("image_folder", path, spec_path),
        f"    size: {[height, width]}  # to which every image is resized: height and width in pixels",
        *(["    mode: grayscale"] if grey else []),
    ]
    shape = (height, width, 1 if grey else 3)
    return _FolderLines(
        IMAGES,
        dataset,
        [HEAD[0], "  inputs: rescale  # bytes from 0 to 255 become 0 to 1"],
        lambda sizes: network_lines(sizes, shape, images=True),
    )
