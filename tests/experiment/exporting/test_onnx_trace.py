"""Operators of PyTorch as ONNX's: what they compute, and what is left to PyTorch's own exporter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nnrun.cli import main
from nnrun.experiment.exporting import onnx_file
from nnrun.experiment.exporting.onnx_operators import RULES
from nnrun.experiment.exporting.onnx_trace import NotLoweredError
from nnrun.model.activations import ACTIVATIONS
from nnrun.output_transforms.calibrator import Calibrator
from nnrun.output_transforms.target_scale import QuantileCurve, TargetScale
from tests.support.odd_tables import spec_of, training_rows, write_rows
from tests.support.onnx_columns import asked, predicted, trained
from tests.support.onnx_files import written
from tests.support.small_experiments import write_small

Capture = pytest.CaptureFixture[str]
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX comes with the extra `onnx`")

CURVE = QuantileCurve((0.0, 2.0, 5.0), (-1.0, 0.0, 1.0))
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{f"activation {name}": function for name, function in ACTIVATIONS.items()},
    "a line": lambda x: Calibrator(1.5, 0.2).logits(x),
    "steps": lambda x: Calibrator(curve=((-2.0, -1.0, 0.5, 3.0), (0.1, 0.2, 0.6, 0.9))).logits(x),
    "logarithms": lambda x: TargetScale((1.0,) * 6, (2.0,) * 6, True).invert(x),
    "curves": lambda x: TargetScale((0.0,) * 6, (1.0,) * 6, False, (CURVE,) * 6).invert(x),
    "booleans": lambda x: ((x > 0) & ~(x < 1) | (x == 2)).any(1, keepdim=True).to(torch.int64),
    "whole numbers": lambda x: (x.round().long() + 1) / 2,
    "a larger type": lambda x: x.double() + torch.ones(6, dtype=torch.float32),
    "parts": lambda x: torch.cat([x[:, 1:3], x[:, -1:], x.chunk(2, 1)[1]], 1),
    "the last row": lambda x: x - x[-1],
    "all rows but the first": lambda x: x[1:],
    "rows above one another": lambda x: x.reshape(-1, 2),
    "rows and copies": lambda x: x[None].expand(3, -1, -1).flatten(0, 1),
    "zeros for each row": lambda x: x.new_zeros(len(x), 2) + x[:, :2],
    "transposed": lambda x: x.T @ x,
    "sorted": lambda x: x.sort(-1, descending=True).values.cumsum(-1),
    "the largest": lambda x: x.max(1).values * x.argmax(1),
    "decomposed": lambda x: torch.nn.functional.group_norm(x, 2),
}


class Module(torch.nn.Module):
    """A function of one input."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Its only output."""
        return {"y": self._function(rows["x"])}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_numbers(name: str) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (7, 6)).astype(np.float32))
    x[0, :3] = torch.tensor([40.0, -40.0, 0.0])
    session = onnxruntime.InferenceSession(written(Module(FUNCTIONS[name]), {"x": x}))
    for count in (2, 7):
        expected = FUNCTIONS[name](x[:count]).numpy()
        (found,) = session.run(None, {"x": x[:count].numpy()})
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


NOT_WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "a constant for each row": lambda x: x + torch.arange(len(x))[:, None],
    "half of the rows": lambda x: x[: len(x) // 2],
    "each row": lambda x: torch.stack(list(x.unbind(0))[:2]),
    "in place": lambda x: x.add_(1),
    "no operator": lambda x: torch.linalg.svdvals(x),
    "a branch": lambda x: x if x.sum() > 0 else -x,
}


@pytest.mark.parametrize("name", NOT_WRITTEN)
def test_what_is_left_to_pytorch(name: str) -> None:
    with pytest.raises(NotLoweredError):
        written(Module(NOT_WRITTEN[name]), {"x": torch.zeros(7, 6)})


def test_values_are_written_once() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(written(Module(lambda x: (x + 1) * (x + 1)), {"x": torch.zeros(7, 6)}))
    assert [node.op_type for node in model.graph.node] == ["Add", "Mul", "Identity"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_pytorch_writes_what_has_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    pytest.importorskip("onnxscript", reason="ONNX comes with the extra `onnx`")
    write_rows(tmp_path / "rows.csv", training_rows())
    spec: dict[str, Any] = spec_of("embedded") | {
        "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}]
    }
    spec["preprocessing"] = {"inputs": [{"ordinal": ["color", "full", "flag", "code"]}]}
    spec["preprocessing"]["inputs"].insert(0, {"impute": {"columns": ["color"], "strategy": "most_frequent"}})
    trained(tmp_path, spec, monkeypatch)
    less = {operator: rule for operator, rule in RULES.items() if operator is not torch.ops.aten.sigmoid}
    monkeypatch.setattr(onnx_file, "RULES", less)
    assert main(["export", "@last", "-o", "odd.onnx"]) == 0
    own = predicted(tmp_path / "rows.csv", capsys)
    found = asked(tmp_path / "odd.onnx", training_rows())[:, 0]
    np.testing.assert_allclose(found, list(own.values()), atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_pytorch_writes_a_custom_layer_that_has_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="ONNX comes with the extra `onnx`")
    monkeypatch.chdir(tmp_path)
    layers = [{"custom": {"object": "torch.nn:Softsign"}}, {"dense": 1}]
    write_small(tmp_path, layers=layers)
    assert main(["train", "small.yaml", "-q", "--allow-custom", "torch.nn"]) == 0
    asked_of_pytorch, by_pytorch = [], torch.onnx.export

    def export(*given: Any, **options: Any) -> Any:
        asked_of_pytorch.append(given)
        return by_pytorch(*given, **options)

    monkeypatch.setattr(torch.onnx, "export", export)
    export_command = ["export", "@last", "-o", "m.onnx", "--allow-custom", "torch.nn"]
    assert main(export_command) == 0
    assert asked_of_pytorch == []
    less = {operator: rule for operator, rule in RULES.items() if operator is not torch.ops.aten.abs}
    monkeypatch.setattr(onnx_file, "RULES", less)
    assert main(export_command) == 0
    assert len(asked_of_pytorch) == 1
