"""The catalogue of faults: `pytest -m faults` runs all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.provoke import Server, build_shim, server

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here belongs to the catalogue."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A warm process whose children's system calls can be spoiled."""
    with server(build_shim(tmp_path_factory.mktemp("shim"))) as running:
        yield running


@pytest.fixture(scope="session")
def warm() -> Iterator[Server]:
    """A warm process."""
    with server() as running:
        yield running
