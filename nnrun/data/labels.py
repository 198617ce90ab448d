"""What a data set calls its classes and columns: kept with a run, so that predictions can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from nnrun.data.dataset import Dataset
from nnrun.errors import DataError
from nnrun.spec.ports import Port
from nnrun.spec.schema import Task

_JSON_VERSION = 1


@dataclass(frozen=True)
class Labels:
    """The names of a data set; None where it has none.

    Attributes:
        task: what the targets are, or None where only the spec's loss can tell.
        class_names: in the order of the labels.
        feature_names: of the columns of a table.
        target_names: of the target columns, where there are several.
        file_columns: of a file without a header, all its columns.
        of_outputs: where outputs have names, the names of the targets of each; `task`, `class_names` and
            `target_names` are those of the first.
    """

    task: Task | None = None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    target_names: tuple[str, ...] | None = None
    file_columns: tuple[str, ...] | None = None
    of_outputs: Mapping[Port, Labels] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> Labels:
        """The names of a loaded data set."""
        return cls(
            dataset.task,
            dataset.class_names,
            dataset.feature_names,
            _target_names(dataset),
            dataset.file_columns,
            {port: cls._of_targets(dataset.output(port)) for port in dataset.targets_of},
        )

    @classmethod
    def _of_targets(cls, dataset: Dataset) -> Labels:
        """The names of the targets alone, of a data set as one of several outputs sees it."""
        return cls(dataset.task, dataset.class_names, target_names=_target_names(dataset))

    def output(self, port: Port) -> Labels:
        """The names of a named output's targets; none where none were kept."""
        return self.of_outputs.get(port, Labels())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        further = {"target_names": self.target_names, "file_columns": self.file_columns}
        outputs = {port: own.to_json() for port, own in self.of_outputs.items()}
        return {
            "version": _JSON_VERSION,
            "task": self.task,
            "class_names": None if self.class_names is None else list(self.class_names),
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            **{key: list(names) for key, names in further.items() if names is not None},
            **({"outputs": outputs} if outputs else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Labels:
        """What `to_json` wrote.

        Raises:
            DataError: the document is something else.
        """
        task = document.get("task")
        if document.get("version") != _JSON_VERSION or task not in (None, *get_args(Task)):
            raise DataError(f"The labels' JSON is damaged, or not of version {_JSON_VERSION}.")
        keys = ("class_names", "feature_names", "target_names", "file_columns")
        of_classes, of_features, of_targets, of_file = (_names(document.get(key)) for key in keys)
        outputs = document.get("outputs", {})
        if not isinstance(outputs, dict) or not all(isinstance(own, dict) for own in outputs.values()):
            raise DataError("The labels' JSON is damaged: outputs must be a map from names to their labels.")
        own = {port: cls.from_json(labels) for port, labels in outputs.items()}
        return cls(task, of_classes, of_features, of_targets, of_file, own)


def _target_names(dataset: Dataset) -> tuple[str, ...] | None:
    """The names of the target columns, where there are several."""
    return dataset.target_names if dataset.train.targets.ndim == 2 else None


def _names(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise DataError("The labels' JSON is damaged: names must be a list of texts.")
    return tuple(value)
