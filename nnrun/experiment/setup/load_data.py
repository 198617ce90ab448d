"""The data of a spec: loaded, with what its validation needs, and with targets as its loss takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nnrun.data import Dataset, load_dataset
from nnrun.experiment.setup.targets import with_classes
from nnrun.spec import schema


def load_data(
    spec: schema.ExperimentSpec,
    *,
    data_dir: Path | None = None,
    smoke: bool = False,
    on_message: Callable[[str], None] = lambda text: None,
) -> Dataset:
    """Load the data of a spec.

    Args:
        spec: the experiment.
        data_dir: where data files are looked for first.
        smoke: a few hundred rows only.
        on_message: is told what takes long or went differently.

    Raises:
        DataError: the data are missing, damaged, or not what the spec says.
    """
    dataset = load_dataset(
        spec.dataset,
        data_dir=data_dir,
        smoke=smoke,
        split_columns=split_columns_of(spec.validation),
        on_message=on_message,
    )
    return with_classes(spec, dataset)


def split_columns_of(validation: schema.Component) -> tuple[str, ...]:
    """The columns that tell which rows validate. They are no inputs by default."""
    match validation:
        case schema.Holdout(column=str(column)) | schema.TimeSeries(column=str(column)):
            return (column,)
        case schema.KFold(group=str(group)):
            return (group,)
    return ()
