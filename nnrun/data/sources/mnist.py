"""Handwritten digits (LeCun, Cortes and Burges), as Keras publishes them: one archive."""

from __future__ import annotations

from nnrun.data.archives.download import MNIST, fetch
from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import Dataset, Samples, SourceFile
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import generated
from nnrun.data.sources.image_arrays import checked_images
from nnrun.spec import schema

CLASS_NAMES = tuple("0123456789")


def load(spec: schema.Mnist, context: LoadContext) -> Dataset:
    """The digits as `keras.datasets.mnist.load_data` gives them: 60,000 and 10,000 images of 28 by 28 bytes.

    Raises:
        DataError: the file is missing or damaged, or does not hold such images.
    """
    facts = spec.facts
    if context.smoke:
        return generated("mnist", facts, class_names=CLASS_NAMES)
    path = fetch(MNIST, context.data_dir, context.on_message)
    with Archive(path) as archive:
        archive.require("x_train", "y_train", "x_test", "y_test")
        parts: list[Samples] = []
        for part in ("train", "test"):
            x, y = archive.numbers(f"x_{part}"), archive.numbers(f"y_{part}")
            parts.append(checked_images(x, y, (28, 28), 10, f"{path}: x_{part} and y_{part}"))
        source = SourceFile(
            path.name,
            archive.sha256,
            sum(map(len, parts)),
            str(path),
            "" if archive.sha256 == MNIST.digest else "not the published file",
        )
    return Dataset(
        name="mnist",
        train=parts[0],
        test=parts[1],
        sources=(source,),
        task="multiclass",
        classes=10,
        class_names=CLASS_NAMES,
    )
