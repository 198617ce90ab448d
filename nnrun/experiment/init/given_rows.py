"""A first spec for rows that a program gives with their target apart: somebody has chosen the columns.

It is the spec of `table_spec` without what guesses there: every column is an input, no row is held back, and
the folds are random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnrun.data.files.read_table import ReadTable
from nnrun.data.summaries.describe_columns import counts_of_values
from nnrun.data.summaries.describe_file import read_file
from nnrun.errors import DataError
from nnrun.experiment.init.network_lines import network_lines
from nnrun.experiment.init.preprocessing import lists_tags, preprocessing_lines
from nnrun.experiment.init.sizes import Sizes
from nnrun.experiment.init.target import TaskName
from nnrun.experiment.init.validation import usual_split
from nnrun.experiment.init.writing import spec_text
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import counted, listing, quoted

_FEWEST_ROWS = 4


@dataclass(frozen=True)
class GivenRows:
    """A first spec for given rows.

    Attributes:
        text: its YAML, without a data set.
        inputs: the columns to learn from: all but those of one value, from which nothing follows.
        types: of columns that are not what their values look like.
    """

    text: str
    inputs: tuple[str, ...]
    types: Mapping[str, ColumnType]


def spec_of_given_rows(
    path: Path,
    targets: Sequence[str],
    task: TaskName,
    *,
    besides: Sequence[str] = (),
    types: Mapping[str, ColumnType] | None = None,
) -> GivenRows:
    """A spec for a file of given rows.

    Args:
        path: of the file.
        targets: the columns to predict: a class or a number; or several numbers, or several labels (0, 1).
        task: which of them.
        besides: other columns that are no inputs, such as weights of rows.
        types: of columns, where somebody says them.

    Raises:
        DataError: there are too few rows, or no column has two values.
    """
    types = dict(types or {})
    one_of_classes = task == "classification" and len(targets) == 1
    types |= dict.fromkeys(targets, "category") if one_of_classes else {}
    file = read_file(path, lambda text: None, types)
    if file.n_rows < _FEWEST_ROWS:
        raise DataError(f"There {_are(file.n_rows)}; training and validation need {_FEWEST_ROWS} or more.")
    target = file.columns[targets[0]]
    names = tuple(
        name for name in file.columns if name not in (*targets, *besides) and not file.columns[name].constant
    )
    if not names:
        raise DataError("Each column of the inputs has the same value in every row: nothing can be learned.")
    types |= {name: "category" for name in names if file.columns[name].wrong is not None}
    tags = tuple(name for name in names if lists_tags(file.columns[name].column))
    types |= dict.fromkeys(tags, "text")
    texts = sum(file.columns[name].type == "text" for name in names)
    sizes = Sizes(
        file.n_rows,
        counts_of_values(target.column) if one_of_classes else {},
        texts=2 * texts >= len(names) and texts > 0,
        own_test=True,
        outputs=len(targets),
        labels=task == "classification" and not one_of_classes,
        columns=True,
    )
    return GivenRows(_text(file, names, targets, tags, sizes, task), names, types)


def _are(rows: int) -> str:
    return f"is {counted(rows, 'row')}" if rows == 1 else f"are {counted(rows, 'row')}"


def _text(
    file: ReadTable,
    names: Sequence[str],
    targets: Sequence[str],
    tags: Sequence[str],
    sizes: Sizes,
    task: TaskName,
) -> str:
    scaled = targets if task == "regression" else ()
    network, validation = network_lines(sizes), usual_split(sizes).validation_lines()
    if sizes.rarest < 2:
        network = [line for line in network if not line.startswith("early_stopping:")]
        why = "a class has a single row, which cannot be both trained on and validated"
        validation = [f"validation: none  # {why}"]
    return spec_text(
        listing([quoted(target) for target in targets[:8]], "and"),
        f"{counted(file.n_rows, 'row')} given in Python",
        preprocessing_lines(file, names, tags, scaled, sizes),
        network,
        validation,
    )
