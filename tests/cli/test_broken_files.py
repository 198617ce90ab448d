"""Files that cannot be trained on: each is told with its place, exit code 4, and nothing is written."""

from __future__ import annotations

import errno
import gzip
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nnrun.cli import main
from tests.support.commands import nnrun_command

ROWS = [f"{2 * i},{i % 7 / 2},{'red' if i % 3 else 'blue'},{i % 2}" for i in range(40)]
HEADER = "a,b,colour,y"
Make = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Broken:
    """A data set of a spec, written by `make`. Its message stands under its name in broken_files.txt."""

    name: str
    make: Make


def csv(content: str | bytes, name: str = "data.csv", **keys: Any) -> Make:
    def make(folder: Path) -> dict[str, Any]:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
        return {"csv": {"path": name, "target": "y", **keys}}

    return make


def good(**keys: Any) -> Make:
    return csv("\n".join([HEADER, *ROWS]) + "\n", **keys)


def with_row(row: str, at: int = 5, **keys: Any) -> Make:
    """A good file with one row replaced: `at` counts rows from 0, so it is line `at + 2`."""
    rows = [*ROWS]
    rows[at] = row
    return csv("\n".join([HEADER, *rows]) + "\n", **keys)


def jsonl(*lines: str, **keys: Any) -> Make:
    def make(folder: Path) -> dict[str, Any]:
        (folder / "data.jsonl").write_text("\n".join(lines) + "\n")
        return {"jsonl": {"path": "data.jsonl", "target": "y", **keys}}

    return make


def texts(files: dict[str, bytes], **keys: Any) -> Make:
    def make(folder: Path) -> dict[str, Any]:
        (folder / "texts").mkdir()
        for name, content in files.items():
            (folder / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "texts" / name).write_bytes(content)
        return {"text_folder": {"path": "texts", **keys}}

    return make


def folder_for_a_file(folder: Path) -> dict[str, Any]:
    (folder / "data.csv").mkdir()
    return {"csv": {"path": "data.csv", "target": "y"}}


def symlink_loop(folder: Path) -> dict[str, Any]:
    (folder / "data.csv").symlink_to(folder / "data.csv")
    return {"csv": {"path": "data.csv", "target": "y"}}


def pipe(folder: Path) -> dict[str, Any]:
    os.mkfifo(folder / "data.csv")
    return {"csv": {"path": "data.csv", "target": "y"}}


def misspelt(folder: Path) -> dict[str, Any]:
    good()(folder)
    return {"csv": {"path": "dta.csv", "target": "y"}}


def no_parquet(folder: Path) -> dict[str, Any]:
    pytest.importorskip("pyarrow")
    (folder / "data.parquet").write_bytes(b"PAR1 and then nothing of the kind PAR2")
    return {"parquet": {"path": "data.parquet", "target": "y"}}


def nested_parquet(folder: Path) -> dict[str, Any]:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"a": [[1], [2]], "y": [0, 1]}), folder / "data.parquet")
    return {"parquet": {"path": "data.parquet", "target": "y"}}


def parquet_without_target(folder: Path) -> dict[str, Any]:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"a": [1.0, 2.0, 3.0], "y": [0, None, 1]})
    pyarrow.parquet.write_table(table, folder / "data.parquet")
    return {"parquet": {"path": "data.parquet", "target": "y"}}


def parquet_that_is_no_utf8(folder: Path) -> dict[str, Any]:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    texts = pyarrow.array([b"red", b"gr\xfcn", b"red"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"a": texts, "y": [0, 1, 0]}), folder / "data.parquet")
    return {"parquet": {"path": "data.parquet", "target": "y"}}


def parquet_of_another_type(folder: Path) -> dict[str, Any]:
    pytest.importorskip("pyarrow", "18")
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"a": pyarrow.array([b"0" * 16, b"1" * 16], pyarrow.uuid()), "y": [0, 1]})
    pyarrow.parquet.write_table(table, folder / "data.parquet")
    return {"parquet": {"path": "data.parquet", "target": "y"}}


def other_test_file(header: str, *rows: str) -> Make:
    def make(folder: Path) -> dict[str, Any]:
        (folder / "test.csv").write_text("\n".join([header, *rows]) + "\n")
        return good(test={"path": "test.csv"})(folder)

    return make


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


A_BOMB = gzipped(b"a,y\n" + b"1,0\n2,1\n" * (4 * 2**20))

# The class that only validation rows have is found when the rows are split.
UNSEEN_CLASS = csv("a,y\n" + "".join(f"{i},{'cat' if i % 2 else 'dog'}\n" for i in range(16)) + "7,eel\n" * 4)

BROKEN = [
    Broken("ragged_long", with_row("1,2,red,0,9")),
    Broken("ragged_short", with_row("1,2,red")),
    Broken("ragged_with_quotes", csv('a,y\n"x, y",1\n"z",0,1\n')),
    Broken("ragged_both_ways", csv("a,b,y\n1,2,3\n1,2,3,4\n1,2\n")),
    Broken("bom_utf16", csv("a,y\n1,0\n2,1\n".encode("utf-16"))),
    Broken("wrong_encoding", csv(b"a,colour,y\n1,red,0\n2,gr\xfcn,1\n")),
    Broken("wrong_encoding_header", csv("gr\xf6\xdfe,y\n1,0\n2,1\n".encode("latin-1"))),
    Broken("nul_byte", csv(b"a,colour,y\n1,red,0\n2,gr\0n,1\n")),
    Broken("duplicate_headers", csv("a,b,a,y\n1,2,3,0\n")),
    Broken("duplicate_headers_but_for_blanks", csv("a, a,y\n1,2,0\n")),
    Broken("no_header", csv("1,2,0\n2,3,1\n")),
    Broken("header_only", csv("a,b,y\n")),
    Broken("header_without_target", csv("a,b,why\n1,2,0\n2,3,1\n")),
    Broken("wrong_delimiter", good(delimiter=";")),
    Broken("unknown_input", good(inputs=["a", "color"])),
    Broken("unknown_group", good(group="patient")),
    Broken("unknown_type", good(types={"colr": "category"})),
    Broken("unknown_validation_column", good()),
    Broken("no_inputs_left", csv("y\n1\n0\n1\n")),
    Broken("constant_input", csv("a,b,y\n1,7,0\n2,7,1\n3,7,0\n")),
    Broken("constant_category", csv("a,b,y\n1,red,0\n2,red,1\n3,red,0\n")),
    Broken("input_without_values", csv("a,b,y\n1,,0\n2,,1\n3,,0\n")),
    Broken("constant_target", csv("a,y\n1,0\n2,0\n3,0\n")),
    Broken("single_class", csv("a,y\n1,cat\n2,cat\n3,cat\n")),
    Broken("infinity", with_row("inf,2,red,0")),
    Broken("number_too_large", with_row("1e400,2,red,0")),
    Broken("infinite_target", with_row("1,2,red,-inf")),
    Broken("missing_target", with_row("1,2,red,")),
    Broken("missing_targets", csv("a,y\n1,0\n2,\n3,NA\n4,1\n")),
    Broken("word_among_numbers", with_row("many,2,red,0")),
    Broken("word_among_targets", with_row("1,2,red,x")),
    Broken("types_say_number", good(types={"colour": "number"})),
    Broken("target_of_names", csv("a,y\n" + "".join(f"{i},name{i}\n" for i in range(30)))),
    Broken("several_targets_no_numbers", good(target=["y", "colour"])),
    Broken("negative_weight", with_row("1,-2,red,0", weight="b")),
    Broken("missing_weight", with_row("1,,red,0", weight="b")),
    Broken("weight_of_words", good(weight="colour")),
    Broken("weights_all_0", csv("a,w,y\n1,0,0\n2,0,1\n3,0,0\n", weight="w")),
    Broken("missing_group", with_row("1,2,,0", group="colour")),
    Broken("test_value_never", good(test={"column": "colour", "value": "blu"})),
    Broken("test_number_never", good(test={"column": "a", "value": 77})),
    Broken("test_value_always", csv("a,b,y\n1,7,0\n2,7,1\n", test={"column": "b", "value": 7})),
    Broken("test_fraction_everything", csv("a,y\n1,0\n2,1\n", test={"fraction": 0.9})),
    Broken("test_file_other_columns", other_test_file("a,colour,z", "1,red,0")),
    Broken("test_file_other_types", other_test_file(HEADER, "x,1,red,0")),
    Broken("drop_missing_everything", csv("a,b,y\n1,,0\n,2,1\n", drop_missing=True)),
    Broken("empty", csv("")),
    Broken("blank", csv("\n\n  \n")),
    Broken("quote_unclosed", csv('a,colour,y\n1,red,0\n2,"blue,1\n3,red,0\n')),
    Broken("quote_in_the_middle", csv('a,colour,y\n1,"red" one,0\n2,blue,1\n')),
    Broken("carriage_return_inside", csv("a,y\n1,0\n2\r3,1\n")),
    Broken("missing_file", misspelt),
    Broken("folder", folder_for_a_file),
    Broken("symlink_loop", symlink_loop),
    Broken("pipe", pipe),
    Broken("gzip_0_bytes", csv(b"", "data.csv.gz")),
    Broken("gzip_of_nothing", csv(gzipped(b""), "data.csv.gz")),
    Broken("gzip_truncated", csv(gzipped(os.urandom(9000).hex().encode())[:-900], "data.csv.gz")),
    Broken("gzip_damaged", csv(gzipped(b"a,y\n1,0\n2,1\n")[:-8] + b"damaged!", "data.csv.gz")),
    Broken("gzip_is_none", csv("a,y\n1,0\n2,1\n", "data.csv.gz")),
    Broken("gzip_without_ending", csv(gzipped(b"a,y\n1,0\n2,1\n"))),
    Broken("gzip_bomb", csv(A_BOMB, "data.csv.gz")),
    Broken("parquet_is_none", no_parquet),
    Broken("parquet_nested", nested_parquet),
    Broken("parquet_missing_target", parquet_without_target),
    Broken("parquet_no_utf8", parquet_that_is_no_utf8),
    Broken("parquet_of_another_type", parquet_of_another_type),
    Broken("jsonl_array", jsonl('{"a": 1, "y": 0}', "[1, 2]")),
    Broken("jsonl_nested", jsonl('{"a": 1, "y": 0}', '{"a": {"b": 1}, "y": 1}')),
    Broken("jsonl_other_keys", jsonl('{"a": 1, "y": 0}', '{"a": 1, "z": 1}')),
    Broken("jsonl_without_keys", jsonl("{}", "{}")),
    Broken("jsonl_key_twice", jsonl('{"a": 1, "y": 0}', '{"a": 1, "a": 2, "y": 1}')),
    Broken("jsonl_no_json", jsonl('{"a": 1, "y": 0}', "{'a': 1, 'y': 0}")),
    Broken("jsonl_blank", jsonl("", "")),
    Broken("jsonl_half_a_character", jsonl('{"a": "b", "y": 0}', r'{"a": "\ud83d", "y": 1}')),
    Broken("jsonl_half_a_character_in_a_key", jsonl('{"a": 1, "y": 0}', r'{"a\ude00": 1, "y": 1}')),
    Broken("jsonl_infinity", jsonl('{"a": 1, "y": 0}', '{"a": Infinity, "y": 1}')),
    Broken("texts_one_class", texts({"pos/1.txt": b"good", "neg/readme.md": b"x"})),
    Broken("texts_none", texts({"pos/1.md": b"good", "neg/1.md": b"bad"})),
    Broken("texts_no_utf8", texts({"pos/1.txt": b"good\ncaf\xe9", "neg/1.txt": b"bad"})),
    Broken(
        "texts_other_test_class",
        texts({f"{part}/{c}/1.txt": b"x y" for part, c in [("train", "a"), ("train", "b"), ("test", "c")]}),
    ),
    Broken("texts_missing", lambda folder: {"text_folder": "texts"}),
    Broken("line_too_long", csv(b"a,y\n1,0\n" + b"2" * (65 * 2**20))),
    Broken("header_too_long", csv(b"a" * (65 * 2**20))),
    Broken("unseen_class", UNSEEN_CLASS),
    Broken("texts_is_a_file", lambda folder: {"text_folder": "spec.json"}),
]
SPECS: dict[str, dict[str, Any]] = {
    "unknown_validation_column": {"validation": {"holdout": {"column": "colur", "value": "red"}}},
    "unseen_class": {
        "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
        "loss": "sparse_categorical_crossentropy",
        "validation": {"holdout": {"fraction": 0.2, "shuffle": False}},
    },
}
MESSAGES = Path(__file__).parent / "broken_files.txt"


def messages() -> dict[str, str]:
    """Name → message, as the file of messages has them."""
    if not MESSAGES.exists():
        return {}
    blocks = MESSAGES.read_text().strip().split("\n\n")
    return dict(block.split("\n", 1) for block in blocks)


@pytest.fixture(scope="module")
def expected() -> Iterator[dict[str, str]]:
    """The messages; with NNRUN_WRITE_SCREENS=1 they are written anew."""
    found = messages()
    yield found
    if os.environ.get("NNRUN_WRITE_SCREENS"):
        blocks = [f"{name}\n{found[name]}" for name in (broken.name for broken in BROKEN) if name in found]
        MESSAGES.write_text("\n\n".join(blocks) + "\n")


def refused(broken: Broken, folder: Path, *options: str) -> list[str]:
    """Write the file and its spec; the command that is to refuse them."""
    spec: dict[str, Any] = {
        "layers": [{"dense": 1}],
        "loss": "mse",
        "dataset": broken.make(folder),
        **SPECS.get(broken.name, {}),
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    return ["train", str(folder / "spec.json"), "--runs-dir", str(folder / "runs"), *options]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_file_is_refused(
    broken: Broken,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    expected: dict[str, str],
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nnrun.data.files.open_file._UNSUSPICIOUS", 2**20)
    code = main(refused(broken, tmp_path))
    out, err = capsys.readouterr()
    lines = err.replace(f"{tmp_path}/", "").strip().split("\n")
    said = "\n".join(line for line in lines if not line.startswith("reading "))  # how long it takes
    if os.environ.get("NNRUN_WRITE_SCREENS"):
        expected[broken.name] = said
    assert (code, out, said) == (4, "", expected[broken.name])
    assert not (tmp_path / "runs").exists()
    left = [path for path in empty_cache.rglob("*") if path.is_file()]
    assert {path.parent.name for path in left} <= {"compiled"}  # the parser of CSV


def test_every_message_belongs_to_a_file() -> None:
    assert list(messages()) == [broken.name for broken in BROKEN]


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = refused(BROKEN[0], tmp_path, "--json")
    done = nnrun_command(*command, cwd=tmp_path)
    assert done.returncode == 4
    document = json.loads(done.stdout)
    assert document["message"] == f"{tmp_path}/" + messages()[BROKEN[0].name].removeprefix("error: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_without_permission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = refused(BROKEN[0], tmp_path)
    (tmp_path / "data.csv").chmod(0)
    if os.geteuid() == 0:  # who may read everything
        real = Path.open

        def denied(path: Path, *args: Any, **options: Any) -> Any:
            if path.name == "data.csv":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *args, **options)

        monkeypatch.setattr(Path, "open", denied)
    assert main(command) == 4
    assert capsys.readouterr().err == f"error: {tmp_path}/data.csv cannot be read: Permission denied.\n"
