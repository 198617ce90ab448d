"""What must hold of a run's files, however its process ended."""

from __future__ import annotations

import json

from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec_text

_KNOWN = {
    *("spec.yaml", "resolved.yaml", "run.json", "history.csv", "history_mean.csv", "labels.json"),
    "importance.json",
    *(
        "vocabulary.json",
        "calibration.json",
        "oof.csv",
        "weights.safetensors",
        "weights-best.safetensors",
        "preprocessing.json",
        "report.html",
    ),
}


def check_files(run: RunDirectory) -> None:
    """Every file is whole or absent; what was left unfinished has a name that nobody takes for a result."""
    for path in run.path.rglob("*"):
        folder = path.relative_to(run.path).parts[0]
        if path.is_dir() or folder.startswith((".", "checkpoint-")):
            continue
        if path.name not in _KNOWN and path.suffix != ".png":
            assert path.name.startswith("."), path
        elif path.suffix == ".json":
            assert isinstance(json.loads(path.read_text(encoding="utf-8")), dict), path
        elif path.name == "resolved.yaml":
            load_spec_text(path.read_text(), file=str(path), base=run.path, default_name="x")
        elif path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
    for member in [None, *run.members()]:
        folder = run.path if member is None else run.path / member.folder
        if (folder / "weights.safetensors").exists():
            assert run.read_weights(member)
    if run.has_checkpoint():
        assert run.read_checkpoint(lambda found: found).document["epoch"] >= 0
    check_history(run)


def check_history(run: RunDirectory) -> None:
    """Whole rows alone; a last line without an end is no row, and is not read as one."""
    path = run.path / "history.csv"
    if not path.exists() or b"\n" not in path.read_bytes():
        return
    header, *lines = path.read_text().split("\n")[:-1]
    assert all(line.count(",") == header.count(",") for line in lines)
    table = run.read_history()
    assert len(table) == len(lines)
    assert not table.isna().any().any()
