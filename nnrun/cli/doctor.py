"""`nnrun doctor`."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.output import hanging, print_result, terminal_width, wrapped
from nnrun.version import __version__

_PACKAGES = ("torch", "numpy", "pandas", "scipy", "scikit-learn", "pydantic", "safetensors", "matplotlib")
_DATA_FILES = (
    "imdb.npz",
    "imdb_word_index.json",
    "mnist.npz",
    "reuters.npz",
    "reuters_word_index.json",
)

_NO_COMPILER = (
    "no C++ compiler found: training works, but its steps are not compiled (install g++ or clang++)"
)


def doctor(
    verify_resume: Annotated[
        bool,
        typer.Option("--verify-resume", help="Also test whether resuming a run is exact on --device."),
    ] = False,
    device: options.Device = "auto",
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> int:
    """Check what nnrun needs: versions, devices, compiler, data files, a folder for runs."""
    report = examine(runs_dir, data_dir)
    if verify_resume:
        report["resume"] = _resume_facts(device)
        if not report["resume"]["exact"]:
            report["problems"].append(f"Runs on {report['resume']['device']} are not resumed exactly.")
    print_result(as_json, lambda: report, lambda: render(report))
    return 1 if report["problems"] else 0


def examine(runs_dir: Path, data_dir: Path | None) -> dict[str, Any]:
    """What was found, and under `problems` a sentence for each thing that keeps nnrun from working."""
    from nnrun.data.archives.download import search_folders
    from nnrun.limits import cxx_compiler

    versions = {"nnrun": __version__, "python": platform.python_version(), **_package_versions()}
    problems = [f"{name} is not installed." for name in _PACKAGES if versions[name] is None]
    devices, threads, problem = _torch_facts()
    problems += [problem] if problem else []
    obstacle = _why_not_writable(runs_dir)
    problems += [obstacle] if obstacle else []
    return {
        "versions": versions,
        "platform": platform.platform(),
        "executable": sys.executable,
        "devices": devices,
        "threads": threads,
        "cpus": os.cpu_count(),
        "compiler": cxx_compiler(),
        "runs_dir": {"path": str(runs_dir), "writable": obstacle is None},
        "data": [{"path": str(folder), "files": _data_files(folder)} for folder in search_folders(data_dir)],
        "problems": problems,
    }


def render(report: dict[str, Any]) -> str:
    """The report as lines of `what  finding`."""
    versions = report["versions"]
    lines = [(name, version or "not installed") for name, version in versions.items()]
    lines += [("platform", report["platform"]), ("executable", report["executable"])]
    lines += [("device", device) for device in report["devices"]]
    if report["threads"] is not None:
        lines.append(("threads", f"{report['threads']} of {report['cpus']} CPUs"))
    compiler = (
        f"{report['compiler']} (C++, for compiled training steps)" if report["compiler"] else _NO_COMPILER
    )
    lines.append(("compiler", compiler))
    runs_dir = report["runs_dir"]
    lines.append(("runs", f"{runs_dir['path']} ({'writable' if runs_dir['writable'] else 'not writable'})"))
    for folder in report["data"]:
        lines.append(("data", f"{folder['path']}: {', '.join(folder['files']) or 'no known data file'}"))
    if "resume" in report:
        lines.append(("resume", report["resume"]["finding"]))
    width = max(len(name) for name, _ in lines)
    closing = report["problems"] or ["Everything that nnrun needs is installed."]
    text = "\n".join(f"{name:<{width}}  {finding}" for name, finding in lines)
    findings = hanging(text, width + 2, terminal_width())
    sentences = wrapped("\n".join(closing), terminal_width())
    return f"{findings}\n\n{sentences}"


def _resume_facts(device: str) -> dict[str, Any]:
    from nnrun.experiment.running.reproduce import EPOCHS, STOPPED_AFTER, verify_resume

    found = verify_resume(device)
    what = f"{EPOCHS} epochs, stopped after {STOPPED_AFTER}, on {found.device}"
    if found.exact:
        finding = f"exact: {what}: history and weights are identical to those of an uninterrupted run"
    else:
        parts = [
            name
            for name, part in (("history", found.history), ("weights", found.weights))
            if not part.identical
        ]
        finding = f"not exact: {what}: {' and '.join(parts)} differ from those of an uninterrupted run"
    return {"device": found.device, "exact": found.exact, "finding": finding}


def _package_versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _torch_facts() -> tuple[list[str], int | None, str | None]:
    """Devices, CPU threads, and what is wrong with torch, if it cannot be imported."""
    from nnrun.lazy_torch import import_torch, torch

    try:
        import_torch()
    except (ImportError, OSError) as error:  # OSError: one of its libraries does not load
        return [], None, f"torch cannot be imported: {error}"
    cuda = [
        f"cuda:{i} ({torch.cuda.get_device_name(i)})"
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    return ["cpu", *cuda], torch.get_num_threads(), None


def _data_files(folder: Path) -> list[str]:
    """The published files in a folder; of a table that is another one than the published, that it is."""
    from nnrun.data.archives.download import PUBLISHED_TABLES, is_published

    found = [name for name in _DATA_FILES if (folder / name).is_file()]
    for table in PUBLISHED_TABLES.values():
        for path in table.places(folder):
            if path.is_file():
                note = "" if is_published(table, path) else " (not the published one: a table of your own)"
                found.append(f"{path.relative_to(folder)}{note}")
    return found


def _why_not_writable(runs_dir: Path) -> str | None:
    """Looks only: a folder that does not exist yet is made by the first run."""
    place = runs_dir.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return f"Runs cannot be stored in {runs_dir}: {place} is a file."
    if not os.access(place, os.W_OK | os.X_OK):
        return f"Runs cannot be stored in {runs_dir}: {place} is not writable."
    return None
