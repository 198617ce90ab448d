"""Every kind of data set that a spec may name has its loader, and none is imported too soon."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from nnrun.data.sources import SOURCES, NamedSet, load_dataset
from nnrun.spec import schema

KINDS = schema.components(schema.Dataset)
NAMED = [named for source in SOURCES.values() for named in source.named]


def test_every_kind_has_a_loader() -> None:
    assert set(SOURCES) == set(KINDS.values()), "a kind of data set needs its line in data.sources.SOURCES"
    for source in SOURCES.values():
        assert callable(import_module(f"nnrun.data.sources.{source.module}").load)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_reads_a_path_or_has_sets_with_a_name(kind: str) -> None:
    cls = KINDS[kind]
    assert issubclass(cls, schema.DataSource)
    assert ("path" in cls.model_fields) != bool(SOURCES[cls].named), (
        "what a spec gives no path for is a NamedSet of its line in data.sources.SOURCES, for `nnrun data`"
    )


@pytest.mark.parametrize("named", NAMED, ids=lambda named: named.name)
def test_a_named_set_says_what_it_holds_and_is_tried_without_its_data(named: NamedSet) -> None:
    facts = named.facts
    task = "of sequences" if named.name == "digit_lines" else facts.task
    assert None not in (facts.inputs, task, facts.train_rows, facts.test_rows), (
        f"{type(named.dataset).__name__}.facts leaves these out, and `nnrun check` and `data ls` need them"
    )
    tried = load_dataset(named.dataset, data_dir=Path("/nowhere"), smoke=True)
    assert tried.smoke, "with context.smoke, load gives rows of data.sources.generated_rows.generated"
    assert (tried.task, tried.classes, tried.test is None) == (
        facts.task,
        facts.classes,
        facts.test_rows == 0,
    )


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, nnrun.data, nnrun.cli.data, nnrun.data.catalog; from nnrun.spec import schema;"
        "nnrun.data.load_dataset(schema.BostonHousing());"
        "heavy = {'torch', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'requests', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
