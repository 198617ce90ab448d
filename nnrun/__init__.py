"""nnrun: neural-network experiments from a YAML spec.

    import nnrun
    run = nnrun.train("specs/boston.yaml", overrides={"epochs": 20})
    run.history

See `nnrun.api` for all of it.
"""

from typing import TYPE_CHECKING, Any

from nnrun.api import (
    DEFAULT_RUNS_DIR,
    Run,
    Sweep,
    Tuned,
    card,
    check_data,
    curve,
    eject,
    evaluate,
    final,
    importance,
    kfold,
    load_run,
    lr,
    predict,
    publish,
    serve,
    sweep,
    train,
    tune,
)
from nnrun.version import __version__

if TYPE_CHECKING:
    from nnrun.estimators import Classifier, Regressor

__all__ = [
    "DEFAULT_RUNS_DIR",
    "Classifier",
    "Regressor",
    "Run",
    "Sweep",
    "Tuned",
    "__version__",
    "card",
    "check_data",
    "curve",
    "eject",
    "evaluate",
    "final",
    "importance",
    "kfold",
    "load_run",
    "lr",
    "predict",
    "publish",
    "serve",
    "sweep",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    """The estimators, which import scikit-learn, when they are asked for."""
    if name not in ("Classifier", "Regressor"):
        raise AttributeError(f"module 'nnrun' has no attribute {name!r}")
    from nnrun import estimators

    return getattr(estimators, name)
