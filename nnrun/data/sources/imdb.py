"""Film reviews: 25,000 to train on and 25,000 to test with, half of them positive."""

from __future__ import annotations

import numpy as np

from nnrun.data.archives.download import IMDB
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
from nnrun.data.vocabulary import SENTIMENTS
from nnrun.spec import schema


def load(spec: schema.Imdb, context: LoadContext) -> Dataset:
    """The reviews as `keras.datasets.imdb.load_data` gives them."""
    if context.smoke:
        return generated("imdb", spec.facts, class_names=SENTIMENTS)
    parts, source = read_published(IMDB, (("x_train", "y_train"), ("x_test", "y_test")), 2, context)
    rng = np.random.RandomState(SEED)
    parts = [shorter_than(numbered(shuffled(part, rng)), spec.maxlen) for part in parts]
    if not all(len(part) for part in parts):
        raise too_short("imdb", spec.maxlen)
    train, test = within_vocabulary(parts, spec.num_words, spec.skip_top)
    return Dataset(
        name="imdb",
        train=train,
        test=test,
        sources=(source,),
        task="binary",
        classes=2,
        class_names=SENTIMENTS,
        num_words=spec.num_words,
    )
