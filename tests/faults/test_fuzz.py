"""Some thousands of inputs for everything that reads a file; NNRUN_FUZZ=100000 reads as many as that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fuzz import TARGETS, Corpus, fuzz

INPUTS = int(os.environ.get("NNRUN_FUZZ", "2000"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNRUN_CACHE_DIR", str(tmp_path_factory.mktemp("fuzz-cache")))
        yield Corpus(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_read_is_accepted_or_refused(name: str, corpus: Corpus) -> None:
    """With a sentence, in bounded time and memory, and never with a traceback."""
    inputs = max(1, INPUTS * TARGETS[name][1] // 100)
    report = fuzz(name, inputs, corpus)
    assert report.accepted + report.refused + len(report.faults) >= inputs
    number, fault = next(iter(report.faults.items()), (0, ""))
    assert not report.faults, f"{name} {number} of {len(report.faults)} faults: {fault}"
    assert report.accepted, "what is always refused tests nothing behind the first check"
    assert name == "record" or report.refused


def test_the_folder_of_the_fuzzer_holds_what_it_wrote(corpus: Corpus, tmp_path: Path) -> None:
    """Whatever was read, nothing else was written, and no code was run."""
    before = set(os.listdir(tmp_path))
    names = {path.name for path in corpus.folder.iterdir()}
    assert names <= {
        *("fuzz.npz", "rows.npz", "fuzz.safetensors", "w.safetensors", "sweep.yaml", "records"),
        *("table.npz", "tokens.npz", "table-runs", "tokens-runs"),
        *(f"fuzz.{kind}.gz" for kind in ("csv", "tsv", "jsonl", "txt")),
    }
    assert set(os.listdir(tmp_path)) == before


def test_a_fault_would_be_found(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer itself: an exception of another kind, and a message that commands a terminal, are faults."""
    from nnrun.errors import DataError

    def broken(rng: object, corpus: object) -> None:
        raise KeyError("x")

    def rude(rng: object, corpus: object) -> None:
        raise DataError("\x1b[2J")

    for target in (broken, rude):
        monkeypatch.setitem(TARGETS, "weights", (target, 1))
        assert len(fuzz("weights", 3, corpus).faults) == 3
