"""How a problem looks on a terminal."""

from __future__ import annotations

from nnrun.errors import Problem, SpecError, printable


def test_place_message_line_and_caret() -> None:
    problem = Problem("epochs must be more", file="a.yaml", line=12, column=9, snippet="epochs: 0")
    assert problem.render() == (
        "a.yaml:12:9: error: epochs must be more\n   12 | epochs: 0\n      |         ^"
    )


def test_without_a_place() -> None:
    assert Problem("no layers").render() == "error: no layers"
    assert Problem("empty", file="a.yaml", severity="warning").render() == "a.yaml: warning: empty"


def test_an_override_has_no_line_number() -> None:
    problem = Problem("too few", file="--set", column=8, snippet="epochs=0")
    assert problem.render() == "--set: error: too few\n      | epochs=0\n      |        ^"


def test_nothing_commands_the_terminal() -> None:
    problem = Problem("found \x1b[31m", file="a\x07.yaml", line=1, column=4, snippet="\ta\x1b\x9bb")
    assert problem.render() == (
        "a\\x07.yaml:1:4: error: found \\x1b[31m\n    1 | \\ta\\x1b\\x9bb\n      |        ^"
    )


def test_the_caret_stands_under_wide_characters() -> None:
    line = Problem("x", file="a", line=1, column=4, snippet="名前: é").render().splitlines()
    assert line[2] == "      | " + " " * 5 + "^"


def test_a_long_line_is_clipped_around_the_place() -> None:
    snippet = "a" * 300 + "X" + "b" * 300
    _, line, caret = Problem("x", file="a", line=1, column=301, snippet=snippet).render().splitlines()
    assert len(line) < 140
    assert line[caret.index("^")] == "X"
    assert line.startswith("    1 | ...a")
    assert line.endswith("b...")


def test_a_spec_error_shows_all() -> None:
    assert str(SpecError([Problem("one"), Problem("two")])) == "error: one\nerror: two"


def test_printable() -> None:
    assert printable("a\tb\nc\u202ed\U000e0001é名") == "a\\tb\nc\\u202ed\\U000e0001é名"
