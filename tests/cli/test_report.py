"""The page: whole, fetching nothing, and the same each time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nnrun.cli import main
from tests.support.small_experiments import write_small

Capture = pytest.CaptureFixture[str]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "rect", "circle", "line"}


class Outline(HTMLParser):
    """The tags that are open, what is fetched, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run, and one of three folds, under `runs`."""
    monkeypatch.chdir(tmp_path)
    spec = str(write_small(tmp_path))
    assert main(["train", spec, "-q"]) == 0
    assert main(["kfold", spec, "--k", "3", "-q", "--set", "name=<b>folds & co</b>"]) == 0
    return tmp_path


def page_of(*arguments: str, capsys: Capture) -> str:
    capsys.readouterr()
    assert main(["report", *arguments]) == 0
    return Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8")


def outline(page: str) -> Outline:
    made = Outline()
    made.feed(page)
    made.close()
    assert made.open == []
    return made


def test_one_run(folder: Path, capsys: Capture) -> None:
    page = page_of("small", capsys=capsys)
    found = outline(page)
    (run,) = (folder / "runs").glob("small-*")
    assert (run / "report.html").read_text(encoding="utf-8") == page
    text = " ".join(found.text)
    record = json.loads((run / "run.json").read_text())
    for told in (
        run.name,
        record["verdict"],
        f"{record['best']['val_mae']:.4f}",
        f"{record['baseline']['mae']:.4f}",
        record["data"][0]["sha256"],
        record["versions"]["torch"],
        f"nnrun reproduce runs/{run.name}",
        (run / "resolved.yaml").read_text().splitlines()[-1],
    ):
        assert told in text, told
    assert page.count("<svg") == 4  # loss, mae, residuals, network


def test_no_folder_of_this_machine_is_told(folder: Path, capsys: Capture) -> None:
    (run,) = (folder / "runs").glob("small-*")
    page = page_of(str(run), capsys=capsys)  # an absolute path
    assert "small.npz" in page
    assert str(folder) not in page
    assert f"nnrun reproduce runs/{run.name}" in page


def test_nothing_is_fetched(folder: Path, capsys: Capture) -> None:
    found = outline(page_of("@last", "small", capsys=capsys))
    assert found.links
    assert all(link.startswith(("#", "data:")) for link in found.links)


def test_no_name_becomes_markup(folder: Path, capsys: Capture) -> None:
    page = page_of("@last", capsys=capsys)
    assert "<b>" not in page
    assert "&lt;b&gt;folds &amp; co&lt;/b&gt;" in page


def test_several_runs_stand_side_by_side(folder: Path, capsys: Capture) -> None:
    page = page_of("small", "@last", "-o", "both.html", capsys=capsys)
    found = outline(page)
    assert Path("both.html").read_text(encoding="utf-8") == page
    assert found.text.count("Side by side") == 1
    assert page.count("<svg") == 1 + 2 * 4 + 1
    # What is named within one figure is not taken for what another names.
    names = [re.findall(r'clipPath id="([^"]+)"', svg) for svg in page.split("<svg")[1:]]
    assert len({name for of_figure in names for name in of_figure}) == sum(map(len, names)) > 0


def test_runs_may_be_a_pattern_and_each_is_shown_once(folder: Path, capsys: Capture) -> None:
    (run,) = (folder / "runs").glob("small-*")
    assert page_of("*", "-o", "a.html", capsys=capsys).count("Side by side") == 1
    once = page_of("small", "-o", "b.html", capsys=capsys)
    assert page_of("sm*", f"{run}/", f"runs/{run.name}", "-o", "c.html", capsys=capsys) == once


def test_the_same_run_gives_the_same_page(folder: Path, capsys: Capture) -> None:
    assert page_of("small", capsys=capsys) == page_of("small", "-o", "again.html", capsys=capsys)


def test_json(folder: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["report", "small", "-o", "one.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": "one.html"}


def test_another_ending_is_refused(folder: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["report", "small", "-o", "one.pdf"]) == 2
    assert capsys.readouterr().err == "error: -o must name a .html file, but got one.pdf.\n"


def test_a_run_without_an_epoch_has_a_page(folder: Path, capsys: Capture) -> None:
    (run,) = (folder / "runs").glob("small-*")
    (run / "history.csv").write_text("epoch,loss,seconds\n")
    assert "has no epochs yet" in page_of("small", capsys=capsys)


def test_curves_of_nothing_finite_are_a_sentence(folder: Path, capsys: Capture) -> None:
    (run,) = (folder / "runs").glob("small-*")
    header, *_ = (run / "history.csv").read_text().splitlines()
    (run / "history.csv").write_text(f"{header}\n1{',nan' * header.count(',')}\n")
    page = page_of("small", capsys=capsys)
    assert "There is no finite value to draw: loss, mae." in page
    assert 'aria-label="Training' not in page


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_a_browser_shows_it_without_complaint(folder: Path, scheme: int, capsys: Capture) -> None:
    """The page forbids itself to fetch anything, so that an attempt would be an error on the console."""
    page_of("small", "@last", "-o", "both.html", capsys=capsys)
    assert CHROMIUM is not None
    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    result = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            *quiet.split(),
            "--disable-component-update",
            f"--user-data-dir={folder / 'browser'}",
            f"--blink-settings=preferredColorScheme={scheme}",
            "--enable-logging=stderr",
            f"--screenshot={folder / 'page.png'}",
            (folder / "both.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0
    assert [line for line in result.stderr.splitlines() if "CONSOLE" in line] == []
    assert (folder / "page.png").stat().st_size > 10_000


def test_what_columns_matter_is_a_section_once_it_is_known(folder: Path, capsys: Capture) -> None:
    assert "Importance of columns" not in page_of("@last", capsys=capsys)
    assert main(["importance", "@last", "-q", "--no-figures", "--curve", "1"]) == 0
    page = page_of("@last", capsys=capsys)
    outline = Outline()
    outline.feed(page)
    text = " ".join(outline.text)
    assert "3 folds, each on its own 16 validation rows; 5 permutations of each column" in text
    assert "No column matters more than noise" in text  # after three epochs
    assert "With all columns as they are, mae is" in text
    assert "Partial dependence" in text
    assert page.count('aria-label="Importance of columns"') == 1
    run = next(path for path in Path("runs").iterdir() if path.name.startswith("b-folds"))
    (run / "importance.json").write_text("{}")
    assert "importance.json is damaged" in page_of("@last", capsys=capsys)
