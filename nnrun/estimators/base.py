"""What a classifier and a regressor have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from nnrun.errors import DataError, UsageError
from nnrun.estimators.rows import checked_weights, joined, validated_inputs
from nnrun.estimators.trained import TrainedRun, Training
from nnrun.experiment.init.target import TaskName
from nnrun.experiment.setup.given_data import DeclaredData, declared_data
from nnrun.spec.allowed_modules import allowing
from nnrun.spec.reading.overrides import Override, Overrides, overrides_of
from nnrun.spec.reading.sources import SpecSource

if TYPE_CHECKING:
    import pandas as pd

    from nnrun.estimators.rows import Array
    from nnrun.experiment.predicting.output_decoder import OutputDecoder, Predictions
    from nnrun.experiment.predicting.predict import Predictor
    from nnrun.spec.ports import Port


class Network(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A spec that is trained on X and y. What its parameters mean stands with the two that are used."""

    trained_: TrainedRun

    def __init__(
        self,
        spec: SpecSource | None = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
        set: Overrides | None = None,
        device: str = "auto",
        runs_dir: str | Path | None = None,
        allow_custom: Sequence[str] = (),
        verbose: bool = False,
    ) -> None:
        self.spec = spec
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed
        self.set = set
        self.device = device
        self.runs_dir = runs_dir
        self.allow_custom = allow_custom
        self.verbose = verbose

    def __init_subclass__(cls, **options: Any) -> None:
        """Give it an `__init__` of its own, since Python's messages call one by the class that defines it."""
        super().__init_subclass__(**options)
        made: Any = cls.__init__
        if "__init__" not in vars(cls) and isinstance(made, FunctionType):
            own = FunctionType(made.__code__, made.__globals__, made.__name__, made.__defaults__)
            own.__kwdefaults__, own.__annotations__ = made.__kwdefaults__, made.__annotations__
            own.__module__, own.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
            type.__setattr__(cls, "__init__", own)

    @property
    def history_(self) -> pd.DataFrame:
        """One row per epoch (per fold), with the columns of history.csv."""
        check_is_fitted(self)
        return self.trained_.history.copy()

    @property
    def spec_(self) -> str:
        """The spec that was trained, every default filled in, as YAML."""
        check_is_fitted(self)
        return self.trained_.spec

    def _inputs_to_fit(self, x: Any, y: Array) -> pd.DataFrame | Array:
        """X, as many rows as y has; its columns are noted."""
        inputs = validated_inputs(self, x, reset=True)
        check_consistent_length(inputs, y)
        self._columns = () if isinstance(inputs, np.ndarray) else tuple(inputs.columns)
        return inputs

    def _fit(
        self, inputs: pd.DataFrame | Array, y: Array, sample_weight: Any, task: TaskName, *, classes: bool
    ) -> None:
        weights = checked_weights(sample_weight, len(inputs))
        changes = self._changes()
        declared = DeclaredData() if self.spec is None else declared_data(self.spec, changes)
        if declared.wants_arrays and not isinstance(inputs, np.ndarray):
            try:
                inputs = inputs.to_numpy(np.float64)
            except ValueError as error:
                raise ValueError(
                    f"The spec's dataset is npz, and X holds what is no number: {error}"
                ) from None
        table = joined(inputs, y, weights, classes=classes, names=declared.targets or None)
        if declared.has_outputs:
            table.roles.pop("target", None)
        training = Training(
            type(self).__name__.lower(),
            self.spec,
            changes,
            self.device,
            self.runs_dir,
            self.allow_custom,
            self.verbose,
        )
        self.trained_ = training.of(table, task)

    def _changes(self) -> list[Override]:
        """The overrides; those that have a parameter of their own are called by it."""
        own = {"epochs": self.epochs, "batch_size": self.batch_size, "seed": self.seed}
        named = [Override.of_value(name, value, name) for name, value in own.items() if value is not None]
        return [*overrides_of(self.set or {}, "set"), *named]

    def _predictions(self, x: Any) -> dict[Port, tuple[OutputDecoder, list[Predictions]]]:
        """Each output's decoder, and what it predicts block by block.

        Raises:
            NotFittedError: it is not fitted.
            ValueError: X is not like the X that it was fitted to.
        """
        from nnrun.experiment.predicting.predict import predict_blocks

        check_is_fitted(self)
        inputs, predictor = validated_inputs(self, x, reset=False), self._predictor()
        if not isinstance(inputs, np.ndarray):
            # Names were compared where both had some; without, columns stand in the order of before.
            named = inputs.set_axis(list(self._columns), axis=1)
            inputs = named.to_numpy(np.float64) if self._takes_arrays else named
        try:
            with allowing(self.allow_custom):
                blocks = predict_blocks(predictor, inputs, stacklevel=4)
        except DataError as error:
            raise ValueError(str(error)) from error
        return {
            port: (decoder, [block[port] for block in blocks])
            for port, decoder in predictor.output_decoders.items()
        }

    @property
    def _takes_arrays(self) -> bool:
        """Whether the network takes arrays, and no table with named columns."""
        return not any(fitted.of_table for fitted in self._predictor().networks[0].fitted.inputs.values())

    def _predictor(self) -> Predictor:
        with allowing(self.allow_custom):
            return self.trained_.predictor()

    def _only_decoder(self) -> OutputDecoder:
        """That of the only output.

        Raises:
            UsageError: there are several.
        """
        decoders = list(self._predictor().output_decoders.values())
        if len(decoders) > 1:
            raise UsageError(f"A {type(self).__name__} has one output, and the spec has {len(decoders)}.")
        return decoders[0]
