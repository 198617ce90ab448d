"""A first spec for a folder of texts; and what to do with a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nnrun.data.sources.text_folder import files_of, folder_parts
from nnrun.errors import DataError, UsageError, printable
from nnrun.experiment.init.network_lines import network_lines
from nnrun.experiment.init.preprocessing import HEAD, TEXT_STEP
from nnrun.experiment.init.sizes import Sizes
from nnrun.experiment.init.table_spec import InitialSpec, class_lines
from nnrun.experiment.init.validation import usual_split
from nnrun.experiment.init.writing import dataset_lines, spec_text
from nnrun.spec.wording import counted, quoted

_IMAGES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_LOOKED_AT: Final = 2_000


def initial_spec_of_folder(path: Path, spec_path: Path) -> InitialSpec:
    """A spec for a folder of texts with a folder for each class.

    Raises:
        DataError: there is no such folder, or it does not hold two classes.
        UsageError: it holds images.
    """
    _refuse_images(path)
    parts = folder_parts(path)
    counts = {name: len(files) for name, files in files_of(parts.train).items()}
    rarest = min(counts, key=counts.__getitem__)
    if len(counts) < 2 or counts[rarest] < 2:
        raise DataError(
            f"{printable(str(parts.train))}: there must be at least two classes with at least two texts "
            f"each, but {quoted(rarest)} has {counted(counts[rarest], 'text')}"
            f"{' and is the only one' if len(counts) < 2 else ''}."
        )
    sizes = Sizes(sum(counts.values()), counts, texts=True, own_test=parts.test is not None)
    split = usual_split(sizes)
    text = spec_text(
        "The folder of a text",
        path.resolve().name,
        class_lines(sizes, "texts"),
        dataset_lines("text_folder", path, spec_path),
        split.test_lines(own="its folder test/ is the test set" if sizes.own_test else ""),
        [*HEAD, TEXT_STEP],
        network_lines(sizes),
        split.validation_lines(),
    )
    chosen = {
        "target": "the folder of each text",
        "task": f"classification, {len(counts):,} classes",
        "rows": f"{sizes.rows:,}",
        **split.said,
        "inputs": "the texts",
    }
    if sizes.own_test:
        chosen["test set"] = "the folder test/"
    return InitialSpec(text, chosen)


def _refuse_images(path: Path) -> None:
    for number, file in enumerate(path.rglob("*")):
        if file.suffix.lower() in _IMAGES:
            raise UsageError(
                f"{printable(str(path))} holds images ({printable(file.name)}). nnrun reads images from an "
                "npz file: load them as an array (rows, height, width[, channels]), save it with "
                "np.savez('images.npz', x_train=images, y_train=classes), and call `nnrun init images.npz`."
            )
        if number > _LOOKED_AT:
            return
