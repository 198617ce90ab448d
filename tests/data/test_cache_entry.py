"""Entries of the cache: whole or absent, verified, and never replaced while they are sound."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from nnrun.data.cache_entry import folder_beside, keep_entry, load_entry, remove_unused


def keep(entry: Path, text: str, document: Any) -> None:
    with folder_beside(entry) as folder:
        (folder / "file").write_text(text)
        keep_entry(folder, entry, document)


def load(entry: Path, said: list[str]) -> Any:
    return load_entry(
        entry, lambda document: [document, (entry / "file").read_text()], said.append, "reading again"
    )


def test_what_was_kept_is_there_and_nothing_else(empty_cache: Path) -> None:
    entry, said = empty_cache / "some" / "entry", list[str]()
    assert load(entry, said) is None
    keep(entry, "first", {"a": 1})
    assert load(entry, said) == [{"a": 1}, "first"]
    assert [path.name for path in entry.parent.iterdir()] == ["entry"]
    assert said == []


def test_the_first_writer_wins(empty_cache: Path) -> None:
    entry = empty_cache / "some" / "entry"
    keep(entry, "first", 1)
    keep(entry, "second", 2)
    assert load(entry, []) == [1, "first"]
    assert [path.name for path in entry.parent.iterdir()] == ["entry"]


def test_a_damaged_entry_is_told_and_removed(empty_cache: Path) -> None:
    entry, said = empty_cache / "some" / "entry", list[str]()
    keep(entry, "first", 1)
    (entry / "file").write_text("other")
    assert load(entry, said) is None
    assert said == [f"{entry} cannot be used (the checksum of file does not match); reading again"]
    assert not entry.exists()
    keep(entry, "second", 2)
    assert load(entry, said) == [2, "second"]


def test_what_was_not_loaded_for_a_month_is_removed(empty_cache: Path) -> None:
    old, used, new = (empty_cache / "some" / name for name in ("old", "used", "new"))
    for entry in (old, used, new):
        keep(entry, "text", 1)
    for entry in (old, used):
        os.utime(entry / "entry.json", (time.time() - 31 * 86400,) * 2)
    assert load(used, []) == [1, "text"]
    remove_unused(empty_cache / "some")
    assert sorted(entry.name for entry in (empty_cache / "some").iterdir()) == ["new", "used"]
