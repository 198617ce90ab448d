"""`nnrun serve` as a process: what it answers to HTTP, many clients at once, and how it stops."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nnrun
from nnrun.cli import main
from nnrun.experiment.serving import arrivals
from tests.support.commands import Command, start_nnrun
from tests.support.http_load import load_server, post
from tests.support.small_experiments import BINARY, write_small

pytest.importorskip("fastapi", reason="FastAPI comes with the extra `serve`")
pytest.importorskip("uvicorn", reason="uvicorn comes with the extra `serve`")

JSON = {"Content-Type": "application/json"}


@dataclass
class Server:
    process: Command | subprocess.Popen[str]
    host: str
    port: int

    def ask(
        self,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] = JSON,
        method: str | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of an answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        connection.request(method or ("GET" if body is None else "POST"), path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if found.get("content-type") == "application/json" and content:
            return answer.status, json.loads(content), found
        return answer.status, content.decode(), found

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        code = self.process.returncode
        assert code is not None
        return code, out, err


@contextmanager
def serving(run: str, folder: Path, *words: str) -> Iterator[Server]:
    process = start_nnrun("serve", run, "--port", "0", "--json", *words, cwd=folder)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("}"):
                break
        else:
            _, err = process.communicate()
            raise AssertionError(err)
        told = json.loads("".join(lines))
        assert told["url"] == f"http://{told['host']}:{told['port']}"
        yield Server(process, told["host"], told["port"])
    finally:
        process.kill()
        process.wait(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    nnrun.train(write_small(folder, BINARY), runs_dir=folder / "runs")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving("@last", folder, "-q") as found:
        yield found


def test_it_answers_rows(server: Server) -> None:
    status, answer, _ = server.ask("/predict", "[[1, 2, 3], [4, 5, 6]]")
    assert (status, [row["row"] for row in answer["predictions"]]) == (200, [0, 1])
    assert server.ask("/predict?probabilities=true", "[[1, 2, 3]]")[1]["predictions"][0][
        "probabilities"
    ].keys() == {
        "0",
        "1",
    }


AS_JSON = "rows are sent as JSON in UTF-8, with 'Content-Type: application/json'"
LATIN = "application/json; charset=latin-1"


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Content-Type": "text/csv"}, 415, f"Content-Type is 'text/csv'; {AS_JSON}"),
        ({}, 415, f"the request has no Content-Type; {AS_JSON}"),
        ({"Content-Type": LATIN}, 415, f"Content-Type is '{LATIN}'; {AS_JSON}"),
        ({"Content-Type": "Application/JSON; charset=UTF-8"}, 400, "the body is not JSON: Expecting value: "),
    ],
)
def test_other_content_is_refused(server: Server, headers: dict[str, str], status: int, said: str) -> None:
    answered, answer, _ = server.ask("/predict", "x", headers)
    assert answered == status
    assert answer["detail"].startswith(said)


def test_other_methods_and_routes_are_refused(server: Server) -> None:
    status, answer, headers = server.ask("/predict")
    assert (status, answer, headers["allow"]) == (
        405,
        {"detail": "GET /predict: rows are sent by POST"},
        "POST",
    )
    assert server.ask("/nothing")[0] == 404
    assert server.ask("/health", "{}")[0] == 405


def test_a_body_that_is_too_long_is_refused_before_it_is_read(server: Server) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(arrivals.MOST_BYTES + 1))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["detail"]) == (
        413,
        "the body is longer than 33,554,432 bytes: ask for fewer rows at a time",
    )
    connection.close()
    pieces = (b" " * (1 << 20) for _ in range(34))  # without a length, in chunks
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    connection.request("POST", "/predict", pieces, JSON, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_client_that_leaves_in_the_middle_harms_nobody(server: Server) -> None:
    for sent in (
        post("x", "/predict", b"[[1, 2, 3]]")[:-3],
        b"\x00\xff\r\n\r\n",
    ):
        with socket.create_connection((server.host, server.port), timeout=5) as connection:
            connection.sendall(sent)
    assert server.ask("/predict", "[[1, 2, 3]]")[0] == 200


def test_its_documents_say_what_it_takes(server: Server) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = server.ask("/schema")[1]
    assert schema["row"] == "a list of 3 numbers"
    assert schema["outputs"] == [
        {
            "name": "prediction",
            "kind": "binary",
            "classes": ["0", "1"],
            "targets": None,
            "threshold": 0.5,
            "probabilities": True,
        }
    ]
    described = server.ask("/openapi.json")[1]
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {"/predict", "/health", "/schema"}
    operation = described["paths"]["/predict"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    checked = {**body["schema"], "components": described["components"]}
    jsonschema.validate(body["example"], checked)
    for rows in ([schema["example"]] * 2, {"rows": [schema["example"]], "probabilities": True}):
        jsonschema.validate(rows, checked)
        found = server.ask("/predict", json.dumps(rows))[1]
        jsonschema.validate(found, {**answer, "components": described["components"]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([[1, 2]], checked)
    health = server.ask("/health")[1]
    assert (health["status"], health["run"]) == ("ok", schema["run"])


@pytest.mark.parametrize("path", ["/docs", "/"])
def test_its_page_fetches_nothing_from_elsewhere(server: Server, path: str) -> None:
    status, page, headers = server.ask(path)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert set(re.findall(r"(?:src|href|action)\s*=\s*[\"']?([^\s>\"']+)", page)) == {
        "openapi.json",
        "schema",
    }
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\s<'\"]+", page)) == {f"http://{server.host}:{server.port}/predict"}


def test_sixty_four_clients_get_their_answers_without_an_error(server: Server) -> None:
    rows = [[number, 2, 3] for number in range(64)]
    requests = [post(server.host, "/predict", json.dumps([row]).encode()) for row in rows]
    alone = server.ask("/predict", json.dumps(rows))[1]["predictions"]
    before = server.ask("/health")[1]
    load = asyncio.run(load_server(server.host, server.port, requests, clients=64, seconds=60, most=64 * 20))
    assert (load.answers, load.errors, load.refused) == ({200: 64 * 20}, [], 0)
    known = {json.dumps({**row, "row": 0}) for row in alone}
    last = [json.loads(body)["predictions"][0] for body in load.bodies.values()]
    assert {json.dumps(row) for row in last} <= known
    after = server.ask("/health")[1]
    assert after["requests"] - before["requests"] == 64 * 20
    assert after["batches"] - before["batches"] < 64 * 20 / 2  # they went through the network together


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_under_load_and_answers_what_came(folder: Path, number: int) -> None:
    with serving("@last", folder) as server:
        requests = [post(server.host, "/predict", b"[[1, 2, 3]]")]
        found: list[Any] = []

        def ask() -> None:
            found.append(asyncio.run(load_server(server.host, server.port, requests, clients=16, seconds=30)))

        clients = threading.Thread(target=ask)
        clients.start()
        while server.ask("/health")[1]["requests"] < 100:
            time.sleep(0.05)
        code, _, err = server.stop(number)
        clients.join(30)
        (load,) = found
    assert (code, load.errors) == (0, [])
    assert set(load.answers) == {200}
    assert load.closed == 16  # each connection was told that its last answer is the last
    assert err.splitlines()[-1].startswith("stopped; ")
    assert "Traceback" not in err


def test_a_half_sent_body_does_not_hold_up_the_end(folder: Path) -> None:
    with (
        serving("@last", folder) as server,
        socket.create_connection((server.host, server.port), timeout=20) as connection,
    ):
        connection.sendall(post(server.host, "/predict", b"[[1, 2, 3]]")[:-10])
        assert server.ask("/predict", "[[1, 2, 3]]")[0] == 200
        asked = time.monotonic()
        code, _, err = server.stop(signal.SIGINT)
        took = time.monotonic() - asked
        answer = connection.recv(4096)
    assert (code, err.splitlines()[-1]) == (0, "stopped; 1 request answered")
    assert took < 15  # it waits a second for the body; before, a minute
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert b"did not arrive within 1 s: 1 bytes of it came" in answer


def test_it_is_reached_from_this_machine_only_and_says_where_it_is(folder: Path) -> None:
    with serving("@last", folder) as server:
        assert server.host == "127.0.0.1"
        code, _, err = server.stop()
    assert code == 0
    assert err == (
        "weights: epoch 3, the last and the best by val_loss\n"
        f"http://127.0.0.1:{server.port}/docs shows what a row is\n"
        "stopped; 0 requests answered\n"
    )


def test_a_port_that_is_taken(folder: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", "@last", "--runs-dir", str(folder / "runs"), "--port", str(server.port), "-q"]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"error: nnrun cannot listen on port {server.port} of 127.0.0.1: Address already in use. Name "
        "another port, or --port 0 for one that is free.\n"
    )
    assert main([*words[:4], "--host", "no.such.host.invalid", "-q"]) == 2
    assert "--host no.such.host.invalid is no address of this machine" in capsys.readouterr().err
