"""The YAML reader: YAML 1.2's core schema, no surprises, and no text that breaks it."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nnrun.errors import SpecError
from nnrun.spec.reading import yaml_reader
from nnrun.spec.reading.nodes import MapNode, ScalarNode, SourceText, plain
from nnrun.spec.reading.yaml_reader import MAX_BYTES, decode, read_value, read_yaml

pytestmark = pytest.mark.faults


def read(text: str) -> dict[str, object]:
    node, problems = read_yaml(SourceText("spec.yaml", text))
    assert problems == []
    return plain(node)


def refusal(data: str | bytes) -> str:
    with pytest.raises(SpecError) as caught:
        read_yaml(decode(data if isinstance(data, bytes) else data.encode(), "spec.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5e+2", -150.0),
        ("012.5", 12.5),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        # Text, whatever YAML 1.1 makes of it.
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("012", "012"),
        ("-012", "-012"),
        ("0b11", "0b11"),
        ("0O17", "0O17"),
        ("nULL", "nULL"),
        ("tRUE", "tRUE"),
        (".", "."),
        ("+", "+"),
        ("1e", "1e"),
        ("1e5.5", "1e5.5"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
        ("|\n  5\n", "5\n"),
    ],
)
def test_scalars(written: str, value: object) -> None:
    found = read(f"key: {written}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_nan() -> None:
    found = read("key: .nan")["key"]
    assert isinstance(found, float)
    assert math.isnan(found)


def test_places_count_from_one() -> None:
    node, _ = read_yaml(SourceText("spec.yaml", "a: 1\nb:\n  - {c: two}\n"))
    inner = node.entries["b"].value.items[0]  # type: ignore[union-attr]
    assert isinstance(inner, MapNode)
    key, value = inner.entries["c"].key_place, inner.entries["c"].value.place
    assert (key.line, key.column, value.line, value.column) == (3, 6, 3, 9)
    assert value.snippet == "  - {c: two}"


def test_byte_order_mark_and_line_ends() -> None:
    source = decode(b"\xef\xbb\xbfa: 1\r\nb: 2\rc: 3\n", "spec.yaml")
    node, _ = read_yaml(source)
    assert plain(node) == {"a": 1, "b": 2, "c": 3}
    assert [entry.key_place.line for entry in node.entries.values()] == [1, 2, 3]
    assert [entry.key_place.column for entry in node.entries.values()] == [1, 1, 1]


def test_aliases_are_followed() -> None:
    assert read("a: &x {b: [1]}\nc: *x\n") == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_a_value_in_an_override_knows_its_column() -> None:
    source = SourceText("--set", "layers[0]={dense: 5}", numbered=False)
    node, _ = read_value(source, 10)
    assert isinstance(node, MapNode)
    value = node.entries["dense"].value
    assert isinstance(value, ScalarNode)
    assert (value.value, value.place.column) == (5, 19)


def test_not_utf8() -> None:
    assert refusal(b"name: caf\xe9\n") == (
        "spec.yaml:1:10: error: byte 0xe9 at position 9 is not UTF-8; save the file as UTF-8\n"
        "    1 | name: caf\N{REPLACEMENT CHARACTER}\n"
        "      |          ^"
    )


@pytest.mark.parametrize("character", ["\x1b", "\x00", "\x7f", "\x9b", "\u2028", "\ufeff", "\x85"])
def test_control_characters_never_reach_the_terminal(character: str) -> None:
    screen = refusal(f"epochs: 5\nname: a{character}[31mb\n")
    assert f"spec.yaml:2:8: error: U+{ord(character):04X} is a control character" in screen
    assert character not in screen


def test_larger_than_a_mebibyte() -> None:
    screen = refusal(b"#" * (MAX_BYTES + 1))
    assert screen == "spec.yaml: error: the file is larger than 1 MiB; a spec is a page of text"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "a: " + "{b: " * 100_000,
        "- " * 100_000,
        "? " * 50_000,
        "a: &a [" + "&b [" * 5_000,
        "".join(f"{'  ' * depth}a:\n" for depth in range(300)),
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    start = time.perf_counter()
    assert "more than 50 lists and maps inside each other" in refusal(text)
    assert time.perf_counter() - start < 60  # it does not hang


def test_aliases_cannot_multiply_without_bound() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=False)
    )
    assert "more than 10,000 values" in refusal(bomb)


def test_aliases_cannot_nest_without_bound() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))
    assert "more than 50 lists and maps inside each other" in refusal(chain)


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"', f"%YAML {'9' * 5000}.1\n---\na: 1"])
def test_what_the_parser_itself_cannot_take(text: str) -> None:
    assert refusal(text).startswith("spec.yaml: error: this is not YAML: an escape or a version number")


# fmt: off
YAML_PIECES = st.sampled_from([
    "a", "b: ", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "&x ",
    "*x", "'", "\"", ">",
    "? ", "!", "!!int ", "#", "---\n", "...\n", "%YAML 1.1\n", "<<: ", "\t", "5", "1e999", "\r", "\u0085",
    "@",
])
# fmt: on


@settings(deadline=None)
@given(st.text() | st.lists(YAML_PIECES, max_size=40).map("".join))
@example("[" * 2000)
@example("a: *a")
@example("&a [*a]")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        node, problems = read_yaml(decode(text.encode("utf-8", "surrogatepass"), "spec.yaml"))
    except SpecError as error:
        problems = list(error.problems)
        assert problems
    else:
        plain(node)
    for problem in problems:
        screen = problem.render()
        assert all(character.isprintable() or character == "\n" for character in screen)
        assert problem.line is None or problem.snippet is not None


SPEC = (Path(__file__).parents[3] / "specs" / "reuters.yaml").read_text(encoding="utf-8")


@settings(max_examples=400)
@given(st.lists(YAML_PIECES | st.sampled_from(SPEC.splitlines(keepends=True)), max_size=15).map("".join))
@example(SPEC)
@example("{a: , b: 1}")
@example("a: 'b\n  c'\nd: \"e\"\n")
def test_libyaml_and_pyyaml_say_the_same(text: str) -> None:
    """Each value and its place, and each message: with either parser, whichever is taken."""

    def said() -> object:
        try:
            return read_yaml(SourceText("spec.yaml", text))
        except SpecError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        found = said()
        patch.setattr(yaml_reader, "_C_LOADER", None)
        assert found == said()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(SpecError):
        read_yaml(decode(data, "spec.yaml"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("abc xyz:#-[]{}'\"\n", max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abc: ", min_size=1), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_what_pyyaml_writes_reads_back(value: object) -> None:
    assert read(yaml.safe_dump({"key": value})) == {"key": value}


@pytest.mark.parametrize(
    "text",
    [
        "epochs: 2\t\n",
        "epochs: 2\t# two\n",
        "epochs:\t2\n",
        "epochs: 2\n\t\n",
        "epochs: 2\n \t # note\n",
        "epochs: \t 2\n",
        "\t\nepochs: 2\n",
    ],
)
def test_tabs_separate(text: str) -> None:
    root, problems = read_yaml(SourceText("spec.yaml", text))
    assert (plain(root), problems) == ({"epochs": 2}, [])


def test_tabs_in_flow_and_quotes() -> None:
    text = "layers: [\t{dense:\t4},\t1\t]\nname: 'a\tb'\n-x: |\n  a\tb\n"
    root, problems = read_yaml(SourceText("spec.yaml", text))
    assert (plain(root), problems) == ({"layers": [{"dense": 4}, 1], "name": "a\tb", "-x": "a\tb\n"}, [])


@pytest.mark.parametrize("text", ["a:\n\tb: 1\n", "a: b\tc\n"])
def test_tabs_that_indent_or_stand_in_a_value_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="a tab; YAML indents with spaces, and a value that holds a tab"):
        read_yaml(SourceText("spec.yaml", text))


def test_keys_that_are_numbers_or_truth_values_have_their_names() -> None:
    root, problems = read_yaml(SourceText("spec.yaml", "class_weight: {0: 5, 1.5: 1, true: 2, -1: 3}\n"))
    assert (plain(root), problems) == ({"class_weight": {"0": 5, "1.5": 1, "true": 2, "-1": 3}}, [])
    _, problems = read_yaml(SourceText("spec.yaml", "class_weight: {0: 5, '0': 1}\n"))
    assert "occurs twice" in problems[0].message
