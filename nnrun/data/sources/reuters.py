"""Newswires of 1986 in 46 topics: 8,982 to train on, the last 2,246 to test with."""

from __future__ import annotations

import numpy as np

from nnrun.data.archives.download import REUTERS
from nnrun.data.dataset import Dataset
from nnrun.data.sources.context import LoadContext
from nnrun.data.sources.generated_rows import generated
from nnrun.data.sources.keras_tokens import (
    SEED,
    numbered,
    read_published,
    shorter_than,
    shuffled,
    too_short,
    within_vocabulary,
)
from nnrun.data.vocabulary import TOPICS
from nnrun.spec import schema


def load(spec: schema.Reuters, context: LoadContext) -> Dataset:
    """The newswires as `keras.datasets.reuters.load_data` gives them."""
    if context.smoke:
        return generated("reuters", spec.facts, class_names=TOPICS)
    (wires,), source = read_published(REUTERS, (("x", "y"),), len(TOPICS), context)
    wires = shorter_than(numbered(shuffled(wires, np.random.RandomState(SEED))), spec.maxlen)
    first_test = int(len(wires) * (1 - spec.test_fraction))
    if not 0 < first_test < len(wires):
        raise too_short("reuters", spec.maxlen)
    (wires,) = within_vocabulary([wires], spec.num_words, spec.skip_top)
    return Dataset(
        name="reuters",
        train=wires.take(np.arange(first_test)),
        test=wires.take(np.arange(first_test, len(wires))),
        sources=(source,),
        task="multiclass",
        classes=len(TOPICS),
        class_names=TOPICS,
        num_words=spec.num_words,
    )
