"""The script that a person writes to plot the run in a folder: pandas reads, Matplotlib draws each measure.

python tests/benchmarks/peers/matplotlib_curves.py RUNS FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd


def main() -> None:
    (path,), folder = Path(sys.argv[1]).glob("*/history_mean.csv"), Path(sys.argv[2])
    history = pd.read_csv(path)
    folder.mkdir(exist_ok=True)
    measures = [name.removesuffix("_mean") for name in history if name.endswith("_mean")]
    for measure in measures:
        if f"val_{measure}_mean" not in history:
            continue
        figure, axes = plt.subplots(figsize=(8, 5))
        for name in (measure, f"val_{measure}"):
            mean, deviation = history[f"{name}_mean"], history[f"{name}_std"]
            axes.plot(history["epoch"], mean, label=name)
            axes.fill_between(history["epoch"], mean - deviation, mean + deviation, alpha=0.2)
        axes.set_xlabel("epoch")
        axes.set_ylabel(measure)
        axes.legend()
        figure.savefig(folder / f"{measure}.png", dpi=150)
        plt.close(figure)


if __name__ == "__main__":
    main()
