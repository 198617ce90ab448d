"""Finding, downloading and keeping; no test here reaches the network."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data.archives import download
from nnrun.data.archives.download import RemoteFile, cached_tokens, fetch, find, is_published
from nnrun.data.cache_entry import folder_beside, keep_entry
from nnrun.data.dataset import TokenRows
from nnrun.errors import DataError
from nnrun.paths import cache_dir

pytestmark = pytest.mark.faults

CONTENT = b"what Keras publishes"
REMOTE = RemoteFile("some.npz", "sha256", hashlib.sha256(CONTENT).hexdigest())
ROWS = TokenRows.from_lists([[1, 2, 3], [], [70_000]])


def put(folder: Path, content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REMOTE.name).write_bytes(content)
    return folder / REMOTE.name


def test_the_order_of_the_search(tmp_path: Path, empty_cache: Path) -> None:
    assert find(REMOTE, tmp_path / "mine") is None
    keras = put(Path(os.environ["HOME"]) / ".keras" / "datasets")
    assert find(REMOTE, tmp_path / "mine") == keras
    own = put(empty_cache)
    assert find(REMOTE, tmp_path / "mine") == own
    mine = put(tmp_path / "mine", b"my own version")
    assert find(REMOTE, tmp_path / "mine") == mine
    assert fetch(REMOTE, tmp_path / "mine") == mine
    assert not is_published(REMOTE, mine)
    assert is_published(REMOTE, own)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNRUN_CACHE_DIR", "~/elsewhere")
    assert cache_dir() == Path(os.environ["HOME"]) / "elsewhere"
    monkeypatch.delenv("NNRUN_CACHE_DIR")
    assert "nnrun" in str(cache_dir())


def test_without_network_the_message_says_all_that_is_needed(tmp_path: Path, empty_cache: Path) -> None:
    said: list[str] = []
    start = time.perf_counter()
    with pytest.raises(DataError) as error:
        fetch(REMOTE, tmp_path / "mine", said.append, base_url="https://127.0.0.1:9/", timeout=1)
    assert time.perf_counter() - start < 120  # it does not try for ever
    home = os.environ["HOME"]
    assert str(error.value) == (
        "some.npz is not on this machine, and the download failed: the server cannot be reached.\n"
        "  Get it from https://127.0.0.1:9/some.npz\n"
        f"  (SHA-256 {REMOTE.digest}) and put it in one of these folders:\n"
        f"    {tmp_path / 'mine'}\n    {empty_cache}\n    {home}/.keras/datasets\n"
        "  or name the folder that holds it with --data-dir."
    )
    assert said == ["downloading https://127.0.0.1:9/some.npz"]
    assert not list(empty_cache.iterdir())


def test_only_https_is_followed(empty_cache: Path) -> None:
    with pytest.raises(DataError, match="is not https"):
        fetch(REMOTE, None, base_url="http://127.0.0.1:9/")


class _Handler(http.server.BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        status, content = self.answers[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine. It has no certificate, so the rule for https is put aside."""
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(download, "REQUIRED_SCHEME", "http://")
    yield f"http://127.0.0.1:{httpd.server_port}/"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_a_download_is_checked_and_kept(server: str, empty_cache: Path) -> None:
    _Handler.answers = {"/some.npz": (200, CONTENT)}
    path = fetch(REMOTE, None, base_url=server)
    assert path == empty_cache / "some.npz"
    assert path.read_bytes() == CONTENT
    _Handler.answers = {}
    assert fetch(REMOTE, None, base_url=server) == path


def test_two_downloads_at_once_are_safe(server: str, empty_cache: Path) -> None:
    _Handler.answers = {"/some.npz": (200, CONTENT)}
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(REMOTE, None, base_url=server), range(8)))
    assert {p.read_bytes() for p in paths} == {CONTENT}
    assert sorted(p.name for p in empty_cache.iterdir()) == ["some.npz", "some.npz.downloaded"]


def test_a_download_that_was_damaged_since_is_fetched_again(server: str, empty_cache: Path) -> None:
    _Handler.answers = {"/some.npz": (200, CONTENT)}
    path = fetch(REMOTE, None, base_url=server)
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert find(REMOTE, None) is None
    said: list[str] = []
    assert fetch(REMOTE, None, said.append, base_url=server) == path
    assert path.read_bytes() == CONTENT
    assert said[0] == f"{path} cannot be used (it is damaged: its hash is no longer the published one)"


def test_a_file_in_the_cache_that_others_could_have_written_needs_the_published_hash(
    empty_cache: Path,
) -> None:
    path = put(empty_cache, b"anything")
    assert find(REMOTE, None) == path
    path.chmod(0o666)
    assert find(REMOTE, None) is None
    path.write_bytes(CONTENT)
    assert find(REMOTE, None) == path


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, b"<html>log in first"), "does not have the published hash, and was deleted"),
        ((404, b"not here"), "the download failed: the server answered 404"),
    ],
)
def test_a_wrong_download_leaves_nothing(
    server: str, empty_cache: Path, answer: tuple[int, bytes], reason: str
) -> None:
    _Handler.answers = {"/some.npz": answer}
    with pytest.raises(DataError, match=reason):
        fetch(REMOTE, None, base_url=server)
    assert not list(empty_cache.iterdir())


def test_a_cache_that_cannot_be_made_is_said(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    _Handler.answers = {"/some.npz": (200, CONTENT)}
    with pytest.raises(DataError, match="cannot be written"):
        fetch(REMOTE, None, base_url=server)


# --- parsed token rows -------------------------------------------------------------------------------------


def never() -> TokenRows:
    raise AssertionError("the source was read again")


def same(a: TokenRows, b: TokenRows) -> bool:
    return np.array_equal(a.indptr, b.indptr) and np.array_equal(a.tokens, b.tokens)


def test_token_rows_are_kept(empty_cache: Path) -> None:
    assert same(cached_tokens("aa", "x", lambda: ROWS), ROWS)
    again = cached_tokens("aa", "x", never)
    assert same(again, ROWS)
    assert (again.indptr.dtype, again.tokens.dtype) == (np.int64, np.int32)
    assert not list(empty_cache.rglob("*.partial"))


def test_another_file_or_array_has_its_own_entry(empty_cache: Path) -> None:
    other = TokenRows.from_lists([[9]])
    cached_tokens("aa", "x", lambda: ROWS)
    assert same(cached_tokens("ab", "x", lambda: other), other)
    assert same(cached_tokens("aa", "y", lambda: other), other)


@pytest.mark.parametrize("name", ["indptr.npy", "tokens.npy", "entry.json"])
def test_every_damage_is_noticed_and_repaired(empty_cache: Path, name: str) -> None:
    cached_tokens("aa", "x", lambda: ROWS)
    (entry,) = (empty_cache / "parsed").iterdir()
    whole = (entry / name).read_bytes()
    changed = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
    for damaged in (b"", b"junk", whole[:-3], whole[: len(whole) // 2], changed):
        (entry / name).write_bytes(damaged)
        said: list[str] = []
        assert same(cached_tokens("aa", "x", lambda: ROWS, said.append), ROWS)
        assert len(said) == 1
        assert "cannot be used" in said[0]
        assert same(cached_tokens("aa", "x", never), ROWS)


@pytest.mark.parametrize(
    "arrays",
    [
        {"indptr": np.array([0, 5]), "tokens": np.int32([1, 2])},
        {"indptr": np.array([0, 2, 1, 2]), "tokens": np.int32([1, 2])},
        {"indptr": np.array([0, 2]), "tokens": np.array([1, 2])},
        {"indptr": np.array([0, 2]), "tokens": np.int32([1, -2])},
        {"indptr": np.array([], np.int64), "tokens": np.int32([])},
        {"indptr": np.array([0, 2])},
        {"indptr": np.array([0, 1]), "tokens": np.array([[1]], object)},
    ],
)
def test_an_entry_that_does_not_fit_is_made_anew(empty_cache: Path, arrays: dict[str, np.ndarray]) -> None:
    cached_tokens("aa", "x", lambda: ROWS)
    (entry,) = (empty_cache / "parsed").iterdir()
    with folder_beside(entry) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        keep_entry(folder, entry, None)
    assert same(cached_tokens("aa", "x", lambda: ROWS), ROWS)
    assert same(cached_tokens("aa", "x", never), ROWS)


def test_without_a_writable_cache_all_works_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "file"))
    said: list[str] = []
    assert same(cached_tokens("aa", "x", lambda: ROWS, said.append), ROWS)
    assert len(said) == 1
    assert "cannot be written" in said[0]


def test_many_writers_at_once_leave_one_whole_entry(empty_cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cached_tokens("aa", "x", lambda: ROWS), range(32)))
    assert all(same(rows, ROWS) for rows in found)
    assert len(list((empty_cache / "parsed").iterdir())) == 1
