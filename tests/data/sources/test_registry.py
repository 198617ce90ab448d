"""Every kind of data set that a spec may name has its loader, and none is imported too soon."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

from nnrun.data.sources import LOADERS
from nnrun.spec import schema


def test_every_kind_has_a_loader() -> None:
    assert set(LOADERS) == set(schema.components(schema.Dataset))
    for module in LOADERS.values():
        assert callable(import_module(f"nnrun.data.sources.{module}").load)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, nnrun.data, nnrun.cli.data, nnrun.data.catalog; from nnrun.spec import schema;"
        "nnrun.data.load_dataset(schema.BostonHousing());"
        "heavy = {'torch', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'requests', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
