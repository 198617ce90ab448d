"""Servers that send something else, send us elsewhere, or never end; downloads that are killed."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnrun.data.archives import download
from nnrun.data.archives.download import RemoteFile, fetch
from nnrun.errors import DataError

CONTENT = b"what Keras publishes " * 5000
REMOTE = RemoteFile("some.npz", "sha256", hashlib.sha256(CONTENT).hexdigest())


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the first part of the path."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        kind = self.path.split("/")[1]
        if kind.startswith("to-"):
            self.send_response(302)
            self.send_header(
                "Location",
                {
                    "to-http": "http://127.0.0.1:9/some.npz",
                    "to-file": "file:///etc/passwd",
                    "to-good": "/good/some.npz",
                    "to-itself": self.path,
                    "to-nowhere": "://",
                    "to-scheme-less": "//127.0.0.1:9/x",
                }[kind],
            )
            self.end_headers()
            return
        self.send_response(200)
        if kind == "short":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        try:
            if kind == "endless":
                while True:
                    self.wfile.write(b"x" * 65536)
            elif kind == "slow":
                self.wfile.write(CONTENT[:90_000])
                self.wfile.flush()
                time.sleep(30)
            else:
                self.wfile.write(
                    {
                        "good": CONTENT,
                        "page": b"<!DOCTYPE html><html>log in first",
                        "wrong": CONTENT[:-1] + b"!",
                        "short": CONTENT[:1000],
                        "nothing": b"",
                    }[kind]
                )
        except OSError:
            pass

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("a certificate for the test's server needs openssl")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server over https whose certificate is trusted."""
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    Handler.asked.clear()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "cert.pem"))
    monkeypatch.setenv("NO_PROXY", "*")
    yield f"https://127.0.0.1:{httpd.server_port}/"
    httpd.shutdown()
    httpd.server_close()


def refusal(url: str) -> str:
    with pytest.raises(DataError) as error:
        fetch(REMOTE, None, base_url=url, timeout=2)
    assert error.value.exit_code == 4
    assert REMOTE.digest in str(error.value)  # what is needed instead is said
    return str(error.value).split("\n")[0]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("page", "does not have the published hash, and was deleted"),
        ("wrong", "does not have the published hash, and was deleted"),
        ("nothing", "does not have the published hash, and was deleted"),
        ("short", "the download failed"),
        ("slow", "the download failed"),
        ("to-http", "redirects to an address that is not https; nothing was downloaded"),
        ("to-file", "redirects to an address that is not https; nothing was downloaded"),
        ("to-itself", "the download failed: TooManyRedirects"),
        ("to-scheme-less", "the download failed: the server cannot be reached"),
    ],
)
def test_what_is_not_the_file_is_refused(kind: str, said: str, server: str, empty_cache: Path) -> None:
    assert said in refusal(f"{server}{kind}/")
    assert not list(empty_cache.iterdir())


def test_a_redirect_within_https_is_followed(server: str, empty_cache: Path) -> None:
    assert fetch(REMOTE, None, base_url=f"{server}to-good/").read_bytes() == CONTENT
    assert Handler.asked == ["/to-good/some.npz", "/good/some.npz"]


def test_a_download_without_end_is_given_up(
    server: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD", 1_000_000)
    assert "stopped after 1,000,000 bytes" in refusal(f"{server}endless/")
    assert not list(empty_cache.iterdir())


def test_a_certificate_that_nobody_knows(
    server: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert "certificate could not be verified" in refusal(f"{server}good/")


def start_download(server: str, folder: Path) -> subprocess.Popen[bytes]:
    script = (
        "import sys; from nnrun.data.archives.download import RemoteFile, fetch\n"
        f"fetch(RemoteFile({REMOTE.name!r}, 'sha256', {REMOTE.digest!r}), None, base_url=sys.argv[1])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, server], env=os.environ | {"NNRUN_CACHE_DIR": str(folder)}
    )


def test_a_download_that_is_killed_leaves_nothing_that_is_taken_for_the_file(
    server: str, empty_cache: Path
) -> None:
    process = start_download(f"{server}slow/", empty_cache)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in empty_cache.glob("*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -9
    assert not (empty_cache / REMOTE.name).exists()
    assert len(list(empty_cache.iterdir())) == 1
    assert fetch(REMOTE, None, base_url=f"{server}good/").read_bytes() == CONTENT


def test_two_processes_download_at_once(server: str, empty_cache: Path) -> None:
    both = [start_download(f"{server}good/", empty_cache) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert (empty_cache / REMOTE.name).read_bytes() == CONTENT
    assert sorted(os.listdir(empty_cache)) == [REMOTE.name, f"{REMOTE.name}.downloaded"]


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>log in first", b"", b"PK\x03\x04 and no more", CONTENT]
)
def test_a_file_of_the_user_s_that_is_none(content: bytes, tmp_path: Path, empty_cache: Path) -> None:
    """An HTML page in place of imdb.npz, in the folder for data."""
    from nnrun.data import load_dataset
    from nnrun.spec import schema

    (tmp_path / "imdb.npz").write_bytes(content)
    with pytest.raises(DataError) as error:
        load_dataset(schema.Imdb(), data_dir=tmp_path, smoke=False, on_message=lambda text: None)
    assert str(tmp_path / "imdb.npz") in str(error.value)
