"""The same as fuzz.py, with inputs that atheris makes, a fuzzer that watches which branches are taken.

    pip install atheris
    python tests/support/fuzz_atheris.py spec_bytes [-runs=100000] [-max_total_time=300] [CORPUS_FOLDER]

Started by hand; nothing else needs atheris. The first argument names what is read; those after it are
libFuzzer's. A fault ends it, and the input is kept in a file crash-... of the working folder. Without a
corpus folder it starts from sound inputs.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["nnrun"]):
    from nnrun.data import load_dataset
    from nnrun.data.archives.token_pickle import read_token_pickle
    from nnrun.data.new_rows.row_source import RowSource
    from nnrun.errors import NnrunError
    from nnrun.experiment.predicting.predict import predict_source
    from nnrun.records import read_weights_file
    from nnrun.spec import schema
    from nnrun.spec.reading.load import load_spec_text
    from nnrun.spec.reading.yaml_reader import decode
    from tests.support import fuzz


def spec_bytes(data: bytes, corpus: fuzz.Corpus) -> None:
    """A spec."""
    source = decode(data, "fuzz.yaml")
    load_spec_text(source.text, file="fuzz.yaml", base=corpus.folder, default_name="fuzz")


def archive(data: bytes, corpus: fuzz.Corpus) -> None:
    """A data set."""
    path = corpus.folder / "fuzz.npz"
    path.write_bytes(data)
    load_dataset(schema.Npz(path=str(path)), data_dir=None, smoke=False, on_message=lambda text: None)


def token_pickle(data: bytes, corpus: fuzz.Corpus) -> None:
    """The pickle within one."""
    read_token_pickle(data, rows=8, where="fuzz")


def rows_csv(data: bytes, corpus: fuzz.Corpus) -> None:
    """Rows of numbers to predict."""
    for _ in predict_source(corpus.table, RowSource("stdin", "csv", stream=io.BytesIO(data)), skip_bad=True):
        pass


def rows_jsonl(data: bytes, corpus: fuzz.Corpus) -> None:
    """Rows of words to predict."""
    source = RowSource("stdin", "jsonl", stream=io.BytesIO(data))
    for _ in predict_source(corpus.tokens, source, skip_bad=True):
        pass


def weights(data: bytes, corpus: fuzz.Corpus) -> None:
    """A weights file."""
    path = corpus.folder / "fuzz.safetensors"
    path.write_bytes(data)
    read_weights_file(path)


TARGETS: dict[str, Callable[[bytes, fuzz.Corpus], None]] = {
    f.__name__: f for f in (spec_bytes, archive, token_pickle, rows_csv, rows_jsonl, weights)
}


def sound_inputs(name: str, corpus: fuzz.Corpus) -> list[bytes]:
    """What the fuzzer begins with."""
    match name:
        case "spec_bytes":
            return [text.encode() for text in corpus.specs]
        case "archive":
            return [(corpus.folder / f"{kind}.npz").read_bytes() for kind in ("table", "tokens")]
        case "token_pickle":
            return corpus.pickles
        case "rows_csv":
            return [corpus.rows["csv"].encode()]
        case "rows_jsonl":
            return [corpus.token_rows["jsonl"].encode()]
        case _:
            return [corpus.weights]


def main() -> None:
    """The command."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"say what to read: {', '.join(TARGETS)}")
    name, rest = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NNRUN_CACHE_DIR"] = f"{folder}/cache"
        corpus = fuzz.Corpus(Path(folder))
        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        for number, data in enumerate(sound_inputs(name, corpus)):
            (seeds / str(number)).write_bytes(data)

        def read(data: bytes) -> None:
            with contextlib.suppress(NnrunError):
                TARGETS[name](data, corpus)

        corpora = [] if any(not argument.startswith("-") for argument in rest) else [str(seeds)]
        atheris.Setup([sys.argv[0], *rest, *corpora], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
