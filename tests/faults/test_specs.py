"""Specs that are made to harm, from the command line: exit code 3, a sentence with a place, nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.support.provoke import Server
from tests.support.small_experiments import write_small

MEBIBYTE = 2**20


def laughs(levels: int) -> str:
    """Each line stands for nine of the one before."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


HOSTILE: dict[str, str | bytes] = {
    "a billion laughs": laughs(10),
    "a map of laughs": laughs(8).replace("[lol", "{x: lol, y: [lol").replace("lol]", "lol]}"),
    "a list in itself": "layers: &a [*a]\n",
    "a merge of itself": "a: &a {<<: *a}\n",
    "deep lists": "layers: " + "[" * 200_000,
    "deep maps": "layers: " + "{a: " * 100_000,
    "deep indentation": "".join(f"{' ' * i}a:\n" for i in range(900)),
    "many keys": "\n".join(f"k{i}: {i}" for i in range(60_000)),
    "many anchors": "\n".join(f"k{i}: &a{i} 1" for i in range(50_000)),
    "a tag that calls": "name: !!python/object/apply:os.system ['touch it-ran']\n",
    "a tag that makes": "name: !!python/object/new:os.system [touch it-ran]\n",
    "a tag that imports": "name: !!python/module:it_ran\n",
    "a tag that names": "name: !!python/name:os.system\n",
    "a tag of one's own": "name: !run 'touch it-ran'\n",
    "binary": "name: !!binary aGVsbG8=\n",
    "surrogates": 'name: "\\ud800"\n',
    "a surrogate as bytes": b"name: \xed\xa0\x80\n",
    "an escape": "name: \x1b[2J\x1b]0;owned\x07\n",
    "an escape in YAML's own": 'name: "\\x1b[2J"\n',
    "a NUL": "name: a\x00b\n",
    "a bidirectional override": "layers: \u202e[\n",
    "latin-1": b"name: caf\xe9\n",
    "utf-16": "name: x\n".encode("utf-16"),
    "a giant number": "epochs: " + "9" * 100_000 + "\n",
    "a giant exponent": "epochs: 1e999999999\n",
    "a giant key": "k" * 900_000 + ": 1\n",
    "two megabytes": "#" * (2 * MEBIBYTE),
    "a web page": "<!DOCTYPE html><html></html>\n",
    "nothing": "",
    "two documents": "---\nname: a\n---\nname: b\n",
    "a key twice": "epochs: 1\nepochs: 2\n",
    "a giant network": json.dumps(
        {"layers": [{"dense": {"units": 10**12}}], "loss": "mse", "dataset": "imdb"}
    ),
    "many layers": json.dumps({"layers": [{"dense": 1}] * 30_000, "loss": "mse", "dataset": "imdb"}),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("command", ["check", "train"])
def test_specs_that_are_made_to_harm(kind: str, command: str, warm: Server, tmp_path: Path) -> None:
    """In seconds, in 400 MiB more than Python takes; nothing runs, nothing is written."""
    content = HOSTILE[kind]
    path = tmp_path / "fuzz.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    began = time.monotonic()
    outcome = warm.run([command, "fuzz.yaml"], cwd=tmp_path, limits={"RLIMIT_AS": 400 * MEBIBYTE})
    assert time.monotonic() - began < 30
    said = outcome.out + outcome.err
    assert outcome.code == 3, said[-2000:]
    assert "fuzz.yaml" in said
    assert "error: " in said
    assert "Traceback" not in said
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert os.listdir(tmp_path) == ["fuzz.yaml"]


@pytest.mark.parametrize(
    "change",
    [
        "layers[0].dense.units=!!python/object/apply:os.system ['touch it-ran']",
        "name=" + "[" * 5000,
        "a" * 10_000 + "=1",
        "layers[99999999999999999999].dense.units=1",
        "layers[-99].dense.units=1",
        "__class__.__init__=1",
        "layers.0.__class__=1",
        "=",
        "epochs=\x1b[2J",
        "name=\ud800",
    ],
)
def test_overrides_that_are_made_to_harm(change: str, warm: Server, tmp_path: Path) -> None:
    write_small(tmp_path)
    before = sorted(os.listdir(tmp_path))
    outcome = warm.run(["train", "small.yaml", "--set", change], cwd=tmp_path)
    said = outcome.out + outcome.err
    assert outcome.code == 3, said
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert "Traceback" not in said
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("what", ["folder", "pipe", "loop", "device", "nothing"])
def test_what_is_no_file_of_a_spec(what: str, warm: Server, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "loop":
        path.symlink_to(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    outcome = warm.run(["train", "x.yaml"], cwd=tmp_path)
    assert outcome.code == 2
    assert outcome.err.startswith("error: x.yaml")
    assert outcome.err.count("\n") == 1
