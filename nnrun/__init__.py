"""nnrun: neural-network experiments from a YAML spec.

    import nnrun
    run = nnrun.train("specs/boston.yaml", overrides={"epochs": 20})
    run.history

See `nnrun.api` for all of it.
"""

from nnrun.api import (
    DEFAULT_RUNS_DIR,
    Run,
    Sweep,
    Tuned,
    check_data,
    curve,
    evaluate,
    final,
    importance,
    kfold,
    load_run,
    lr,
    predict,
    serve,
    sweep,
    train,
    tune,
)
from nnrun.version import __version__

__all__ = [
    "DEFAULT_RUNS_DIR",
    "Run",
    "Sweep",
    "Tuned",
    "__version__",
    "check_data",
    "curve",
    "evaluate",
    "final",
    "importance",
    "kfold",
    "load_run",
    "lr",
    "predict",
    "serve",
    "sweep",
    "train",
    "tune",
]
