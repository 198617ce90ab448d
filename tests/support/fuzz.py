"""A fuzzer over everything that reads a file: specs, archives, pickles, rows to predict, records, weights.

    python tests/support/fuzz.py --inputs 100000 [--seed N] [--only NAME]

Each input is made from a sound one by some random changes, and read. It may be accepted, or refused with one
of nnrun's own errors, whose text a terminal can show. Anything else, a second too long or a gigabyte too much
is a fault: it is told with the number that makes it again (`--only NAME --first NUMBER --inputs 1`).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import io
import json
import os
import pickle
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nnrun.cli.closing import closing_text
from nnrun.data import load_dataset
from nnrun.data.archives.token_pickle import read_token_pickle
from nnrun.data.new_rows.row_source import RowSource, source_of
from nnrun.errors import NnrunError
from nnrun.experiment.finished.load_run import Access, selection_of
from nnrun.experiment.predicting.predict import Predictor, load_predictor, predict_source
from nnrun.experiment.predicting.prediction_table import PredictionTable
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory, all_looks, list_runs, read_weights_file
from nnrun.records.weights import write_weights_file
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.reading.yaml_reader import decode
from nnrun.spec.sweep_plan import load_sweep
from nnrun.spec.writing.dump import dump_spec

SPECS = Path(__file__).parents[2] / "specs"
MOST_SECONDS = 30
MOST_BYTES = 2**30
"""That reading an input may take beyond what the process had."""

_TEXTS = [
    *("null", "true", "no", "~", "1e999", "-1", "0", "9" * 400, ".nan", "-.inf", "0x", "1_000"),
    *("''", '"', "'", "&a ", "*a", "<<: ", "!!python/object/apply:os.system ", "!!binary "),
    *("? ", "- ", ": ", "{", "}", "[", "]", "|\n", ">-\n", "%YAML 1.1\n", "---\n", "...\n", "#"),
    *("\t", "\r", "\x00", "\x1b[2J", "\x85", "\u2028", "\ufeff", "\u202e", "../../x", "/dev/zero"),
    *("dense", "imdb", "kfold", "holdout", "units", "[" * 60, "{a: " * 60, "=1+1", "NaN", "Infinity"),
    *('{"a":1}', '"\\ud800"', ",", ";", "\n", "\r\n", '""', "1,2,3", "[1,2,3]"),
]
_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 3, 0.5, -0.0, 1e-300, 1e300, 2**31, 2**63, 10**30),
    *(float("nan"), float("inf"), "", "relu", "softmax", "mse", "adam", "imdb", "no", "../x", "a" * 2000),
    *("\u202e", "1e-3", "@", [], {}, [[]], [1, 2], [None], {"a": 1}, {"": ""}, ["accuracy"] * 40),
    *({"dense": 3}, {"dense": {"units": 0}}, {"kfold": {"k": 10**9}}, {"npz": "x"}, {"dropout": 1.0}),
    *({"holdout": {"first": 10**12}}, {"holdout": {"fraction": 1.5}}),
]
_BYTES = [b"\x00", b"\xff", b"\x80", b"\x7f", b"\n", b"]", b"(", b".", b"0", b"}"]


def changed_text(rng: random.Random, text: str) -> str:
    """A text after a few changes."""
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at, length = rng.randrange(len(text) + 1), rng.choice((1, 1, 2, 5, 20))
        match rng.randrange(6):
            case 0:
                text = text[:at] + text[at + length :]
            case 1:
                text = text[:at] + rng.choice(_TEXTS) + text[at:]
            case 2:
                text = text[:at] + rng.choice(_TEXTS) + text[at + length :]
            case 3:
                text = text[:at] + text[at : at + length] * rng.choice((2, 3, 50)) + text[at + length :]
            case 4:
                text = (
                    text[:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + text[at + 1 :]
                )
            case _:
                lines = text.split("\n")
                rng.shuffle(lines)
                text = "\n".join(lines)
    return text


def changed_bytes(rng: random.Random, content: bytes) -> bytes:
    """Bytes after a few changes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 50))
        match rng.randrange(6):
            case 0:
                del data[at : at + length]
            case 1:
                data[at:at] = rng.choice(_BYTES) * length
            case 2:
                data[at : at + length] = rng.randbytes(length)
            case 3:
                data[at:at] = data[at : at + length] * rng.choice((2, 20))
            case 4 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case _:
                del data[at:]
    return bytes(data)


def changed_value(rng: random.Random, value: Any) -> Any:
    """A tree of lists and maps after a change somewhere in it."""
    if rng.random() < 0.15 or not isinstance(value, (dict, list)) or not value:
        return rng.choice(_VALUES)
    if isinstance(value, dict):
        key = rng.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        match rng.randrange(8):
            case 0:
                return rest
            case 1:
                return {**value, rng.choice([str(v)[:40] for v in _VALUES]): rng.choice(_VALUES)}
            case 2:
                return {**rest, changed_text(rng, str(key)): value[key]}
            case _:
                return {**value, key: changed_value(rng, value[key])}
    place = rng.randrange(len(value))
    match rng.randrange(6):
        case 0:
            return value[:place] + value[place + 1 :]
        case 1:
            return value[:place] + [value[place]] * rng.choice((2, 3, 60)) + value[place:]
        case 2:
            return [*value, rng.choice(_VALUES)]
        case _:
            return [*value[:place], changed_value(rng, value[place]), *value[place + 1 :]]


# --- what is read ------------------------------------------------------------------------------------------


class Corpus:
    """Sound inputs, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.specs = [path.read_text() for path in sorted(SPECS.glob("*.yaml"))]
        self.values = [yaml.safe_load(text) for text in self.specs]
        rng = np.random.RandomState(0)
        lists = np.empty(8, object)
        lists[:] = [[1, 2, 300], [4], [256], [5, 6], [], [7] * 20, [8, 9], [10]]
        y = np.arange(8) % 2
        self.arrays: list[dict[str, np.ndarray]] = [
            {
                "x_train": rng.normal(size=(8, 3)),
                "y_train": y,
                "x_test": rng.normal(size=(4, 3)),
                "y_test": y[:4],
            },
            {"x_train": lists, "y_train": y},
            {"x_train": rng.normal(size=(8, 2, 2)), "y_train": np.array(["spam", "ham"])[y]},
        ]
        self.pickles = [pickle.dumps(lists, protocol) for protocol in (2, 3, 4, 5)]
        self.table = self._predictor("table", self.arrays[0], "standardize")
        self.tokens = self._predictor("tokens", self.arrays[1], "multi_hot")
        numbers: list[list[float]] = [[0.5, 1.25, -3.0], [1e3, 2, 3], [0, 0, 0]]
        self.rows = {
            "csv": "a,b,c\n" + "\n".join(",".join(map(str, row)) for row in numbers) + '\n"1","2","3"\n',
            "tsv": "\n".join("\t".join(map(str, row)) for row in numbers) + "\n",
            "jsonl": "\n".join(json.dumps(row) for row in numbers) + '\n{"a": 1, "b": 2, "c": 3}\n',
            "txt": "1 2 3\na wonderful film\n",
        }
        self.token_rows = {
            "jsonl": '[1, 2, 3]\n[4]\n{"text": "a film"}\n"a film"\n',
            "csv": "text\na wonderful film\n",
            "txt": "a wonderful film\n",
        }
        run = self.table.run
        self.record, self.history = run.read_record().to_json(), (run.path / "history.csv").read_text()
        write_weights_file(folder / "w.safetensors", {"0.weight": np.ones((2, 3), np.float32)})
        self.weights = (folder / "w.safetensors").read_bytes()

    def _predictor(self, name: str, arrays: dict[str, np.ndarray], inputs: str) -> Predictor:
        np.savez(self.folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        spec = {
            "dataset": {"npz": str(self.folder / f"{name}.npz")},
            "preprocessing": {"inputs": inputs if inputs != "multi_hot" else {"multi_hot": 301}},
            "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
            "loss": "binary_crossentropy",
            "epochs": 1,
        }
        loaded = load_spec_text(json.dumps(spec), file=name, base=self.folder, default_name=name)
        run = run_experiment(loaded, Settings("train", self.folder / f"{name}-runs", device="cpu"))
        return load_predictor(run, Access(device="cpu"))


def spec_text(rng: random.Random, corpus: Corpus) -> None:
    """A spec's text, changed."""
    text = changed_text(rng, rng.choice(corpus.specs))
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        data = changed_bytes(rng, data)
    source = decode(data, "fuzz.yaml")
    load_spec_text(source.text, file="fuzz.yaml", base=corpus.folder, default_name="fuzz")


def spec_tree(rng: random.Random, corpus: Corpus) -> None:
    """A spec's values, changed; what is valid can be written and reads the same again."""
    value = changed_value(rng, rng.choice(corpus.values))
    if rng.random() < 0.4:
        value = changed_value(rng, value)
    overrides = [changed_text(rng, "layers[0].dense.units=32")] if rng.random() < 0.1 else []
    kept = {"base": corpus.folder, "default_name": "fuzz"}
    loaded = load_spec_text(json.dumps(value), file="fuzz.yaml", overrides=overrides, **kept)  # type: ignore[arg-type]
    text = dump_spec(loaded.spec)
    again = load_spec_text(text, file="again.yaml", **kept)  # type: ignore[arg-type]
    if dump_spec(again.spec) != text:
        raise AssertionError("what was written reads otherwise")


def sweep_spec(rng: random.Random, corpus: Corpus) -> None:
    """A file with a sweep in it, changed, and all trials that it would give."""
    texts = [text for text in corpus.specs if "\nsweep:" in text]
    path = corpus.folder / "sweep.yaml"
    path.write_bytes(changed_text(rng, rng.choice(texts)).encode("utf-8", "surrogatepass"))
    load_sweep(path, [], [], {})


def archive(rng: random.Random, corpus: Corpus) -> None:
    """An archive whose bytes, or whose members' bytes with their checksums made anew, are changed."""
    path = corpus.folder / "fuzz.npz"
    arrays = rng.choice(corpus.arrays)
    members = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        members[name] = buffer.getvalue()
    whole = rng.random() < 0.3
    if not whole:
        for name in rng.sample(list(members), rng.choice((1, 1, 2))):
            content = members[name]
            cut = rng.random() < 0.5  # the header alone, or all of it
            members[name] = (
                changed_bytes(rng, content[:128]) + content[128:] if cut else changed_bytes(rng, content)
            )
    with zipfile.ZipFile(path, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    if whole:
        path.write_bytes(changed_bytes(rng, path.read_bytes()))
    load_dataset(schema.Npz(path=str(path)), data_dir=None, smoke=False, on_message=lambda text: None)


def token_pickle(rng: random.Random, corpus: Corpus) -> None:
    """A pickle, changed."""
    read_token_pickle(changed_bytes(rng, rng.choice(corpus.pickles)), rows=8, where="fuzz")


def rows(rng: random.Random, corpus: Corpus) -> None:
    """Rows to predict, changed: of numbers or of words, packed or not, with and without --skip-bad."""
    predictor, texts = rng.choice(((corpus.table, corpus.rows), (corpus.tokens, corpus.token_rows)))
    kind = rng.choice(list(texts))
    data = changed_text(rng, texts[kind]).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        data = changed_bytes(rng, data)
    match rng.randrange(4):
        case 0:
            path = corpus.folder / f"fuzz.{kind}.gz"
            packed = gzip.compress(data, 1)
            path.write_bytes(changed_bytes(rng, packed) if rng.random() < 0.5 else packed)
            source = source_of(path)
        case 1 if kind == "jsonl":
            path = corpus.folder / "rows.npz"
            np.savez(path, x=np.random.RandomState(rng.randrange(1000)).normal(size=(2, rng.choice((1, 3)))))
            path.write_bytes(changed_bytes(rng, path.read_bytes()))
            source = source_of(path)
        case _:
            source = RowSource("stdin", kind, stream=io.BytesIO(data))  # type: ignore[arg-type]
    found = predict_source(predictor, source, skip_bad=rng.random() < 0.5)
    table = csv.writer(io.StringIO())
    for block in found:
        table.writerows(PredictionTable(predictor.output_decoders, probabilities=True).rows(block))


def record(rng: random.Random, corpus: Corpus) -> None:
    """A run's record and history, changed, as a list and a closing screen show them."""
    runs = corpus.folder / "records"
    run = RunDirectory(runs / "fuzz-20260101T000000Z-0000")
    run.path.mkdir(parents=True, exist_ok=True)
    text = json.dumps(changed_value(rng, corpus.record))
    text = changed_text(rng, text) if rng.random() < 0.3 else text
    (run.path / "run.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    (run.path / "history.csv").write_bytes(changed_text(rng, corpus.history).encode("utf-8", "surrogatepass"))
    (runs / ".test-uses.jsonl").write_bytes(
        changed_text(rng, '{"data": "x", "sha256": ["a"]}\n').encode("utf-8", "replace")
    )
    summaries = list_runs(runs)
    all_looks(runs, summaries)
    with contextlib.suppress(NnrunError):
        run.read_history()
    if summaries[0].status != "broken":
        found = run.read_record()
        closing_text(run, found)
        selection_of(found)
        assert isinstance(found.data_hashes, dict)
        assert isinstance(found.named_members, list)


def weights(rng: random.Random, corpus: Corpus) -> None:
    """A weights file, changed in its header or anywhere."""
    content = corpus.weights
    length = struct.unpack("<Q", content[:8])[0]
    if rng.random() < 0.6:
        header = changed_text(rng, content[8 : 8 + length].decode()).encode("utf-8", "surrogatepass")
        content = struct.pack("<Q", len(header)) + header + content[8 + length :]
    else:
        content = changed_bytes(rng, content)
    path = corpus.folder / "fuzz.safetensors"
    path.write_bytes(content)
    read_weights_file(path)


TARGETS: dict[str, tuple[Callable[[random.Random, Corpus], None], int]] = {
    "spec_text": (spec_text, 24),
    "spec_tree": (spec_tree, 22),
    "sweep_spec": (sweep_spec, 4),
    "archive": (archive, 12),
    "token_pickle": (token_pickle, 10),
    "rows": (rows, 18),
    "record": (record, 5),
    "weights": (weights, 5),
}
"""What is read, and its share of a hundred inputs."""


# --- the fuzzer --------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What came of some inputs.

    Attributes:
        accepted, refused: how many.
        kinds: the refusals by their class.
        faults: number of the input → what happened.
    """

    accepted: int = 0
    refused: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """No input may take much longer, or much more memory, than any does."""

    def too_long(number: int, frame: object) -> None:
        raise TimeoutError(f"took more than {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    limits = None
    with contextlib.suppress(ImportError, OSError):
        import resource

        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, limits[1]))
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        if limits is not None:
            resource.setrlimit(resource.RLIMIT_AS, limits)


def fuzz(name: str, inputs: int, corpus: Corpus, *, seed: int = 0, first: int = 0) -> Report:
    """Read so many inputs of one kind."""
    target, _ = TARGETS[name]
    report = Report()
    with limited(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(first, first + inputs):
            signal.alarm(MOST_SECONDS)
            try:
                target(random.Random(f"{seed} {name} {number}"), corpus)
            except NnrunError as error:
                report.refused += 1
                report.kinds[type(error).__name__] += 1
                text = str(error)
                if not text or not all(letter.isprintable() or letter == "\n" for letter in text):
                    report.faults[number] = f"a message that is empty or no text for a terminal: {text!r}"
            except Exception:  # noqa: BLE001 - that is what is looked for
                report.faults[number] = traceback.format_exc()
            else:
                report.accepted += 1
            finally:
                signal.alarm(0)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", choices=list(TARGETS))
    asked = parser.parse_args(arguments)
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NNRUN_CACHE_DIR"] = f"{folder}/cache"
        corpus = Corpus(Path(folder))
        for name, (_, share) in TARGETS.items():
            if asked.only not in (None, name):
                continue
            inputs = asked.inputs if asked.only else max(1, asked.inputs * share // 100)
            began = time.perf_counter()
            report = fuzz(name, inputs, corpus, seed=asked.seed, first=asked.first)
            seconds = time.perf_counter() - began
            print(
                f"{name}: {inputs:,} inputs in {seconds:.0f} s, {report.accepted:,} accepted, "
                f"{report.refused:,} refused {dict(report.kinds)}, {len(report.faults)} faults",
                flush=True,
            )
            for number, fault in list(report.faults.items())[:3]:
                print(f"--- {name} {number}\n{fault}")
            faults += len(report.faults)
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
