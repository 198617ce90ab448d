"""The script that one writes to predict the rows of a CSV file: pandas reads and writes, PyTorch computes.

    python tests/benchmarks/peers/torch_predict.py WEIGHTS ROWS.csv OUTPUT.csv
    python tests/benchmarks/peers/torch_predict.py --make WEIGHTS COLUMNS

`--make` writes new weights of 64-64-1 for so many columns, with the means and deviations of the rows.
"""

from __future__ import annotations

import sys

import torch
from torch import nn


def network(columns: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(columns, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def main() -> None:
    if sys.argv[1] == "--make":
        columns = int(sys.argv[3])
        scale = {"mean": torch.zeros(columns), "deviation": torch.ones(columns)}
        torch.save({"network": network(columns).state_dict(), **scale}, sys.argv[2])
        return
    import pandas as pd

    weights, rows, output = sys.argv[1:]
    torch.set_num_threads(1)
    saved = torch.load(weights, weights_only=True)
    x = torch.from_numpy(pd.read_csv(rows).to_numpy("float32"))
    model = network(x.shape[1])
    model.load_state_dict(saved["network"])
    with torch.inference_mode():
        predicted = model((x - saved["mean"]) / saved["deviation"])
    frame = pd.DataFrame({"row": range(len(x)), "prediction": predicted[:, 0].numpy()})
    frame.to_csv(output, index=False)


if __name__ == "__main__":
    main()
