import json
import math
import os
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import DataError, LockedError, NnrunError, UsageError
from nnrun.records import Member, RunDirectory, RunRecord, create_run, run_directory
from nnrun.records.run_directory import slug
from nnrun.records.run_record import VERSION

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=timezone.utc)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path / "runs", "reuters", now=NOON)


def test_an_id_is_name_utc_time_and_four_hex_digits(run: RunDirectory) -> None:
    assert re.fullmatch(r"reuters-20260304T120000Z-[0-9a-f]{4}", run.id)
    assert run.path.is_dir()


def test_the_time_is_utc_wherever_the_clock_is(tmp_path: Path) -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert "-20260304T120000Z-" in create_run(tmp_path, "x", now=there).id


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: create_run(tmp_path, "x", now=NOON), range(200)))
    assert len({run.id for run in runs}) == 200


def test_a_taken_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(run_directory.secrets, "token_hex", lambda _: next(digits))
    first, second = (create_run(tmp_path, "x", now=NOON) for _ in range(2))
    assert (first.id[-4:], second.id[-4:]) == ("aaaa", "bbbb")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reuters", "reuters"),
        ("Réseau à 3 couches", "Reseau-a-3-couches"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("a/b\\c:d\0e", "a-b-c-d-e"),
        ("日本", "日本"),
        ("実験 1: 学習率", "実験-1-学習率"),
        ("Größe & Größe", "Grosse-Grosse"),
        ("опыт №1", "опыт-No1"),
        ("हिन्दी", "हिन्दी"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full-width"),
        ("🎉", "run"),
        ("🎉 party", "party"),
        ("a\u202eb", "a-b"),
        ("実" * 50, "実" * 20),
        ("", "run"),
        ("-rf", "rf"),
    ],
)
def test_slugs(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text())
def test_a_slug_is_a_safe_part_of_a_file_name(name: str) -> None:
    made = slug(name)
    assert 0 < len(made.encode()) <= 60
    assert all(c.isalnum() or c in "._-" or unicodedata.category(c).startswith("M") for c in made)
    assert made[0].isalnum() or made[0] == "_"
    assert made[-1] not in ".-"
    assert slug(made) == made


@given(st.text(st.sampled_from("abcXYZ019._-")))
def test_what_is_safe_in_a_name_stays(name: str) -> None:
    assert slug(name) in ("run", *(re.sub("-+", "-", name).strip("-.")[:n].rstrip("-.") for n in (60,)))


def test_a_file_in_the_way_of_the_runs_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError) as caught:
        create_run(tmp_path / "runs", "x")
    assert (
        str(caught.value)
        == f"Cannot make the folder {tmp_path / 'runs'}: a file of that name already exists."
    )


def test_specs_read_back_byte_for_byte(run: RunDirectory) -> None:
    text = "name: é\r\nseed: 0\n\n# end"
    run.write_spec(text)
    run.write_resolved(text * 2)
    assert run.read_spec() == text
    assert run.read_resolved() == text * 2


def test_a_missing_file_is_said_in_a_sentence(run: RunDirectory) -> None:
    with pytest.raises(DataError) as caught:
        run.read_resolved()
    assert str(caught.value) == f"{run.path} has no resolved.yaml."


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def without_nan(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return value


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_a_record_is_strict_json_and_reads_back(
    tmp_path_factory: pytest.TempPathFactory, record: dict[str, object]
) -> None:
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    run.write_record(RunRecord.read(record))
    assert run.read_record().to_json() == {"version": VERSION, **without_nan(record)}  # type: ignore[dict-item]
    text = (run.path / "run.json").read_text(encoding="utf-8")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    json.loads(text, parse_constant=refuse)


def test_a_record_takes_numpy_values_and_paths(run: RunDirectory) -> None:
    values = {"a": np.float32(0.5), "b": np.arange(2), "c": np.float64("nan"), "d": Path("x"), "e": (1,)}
    run.write_record(RunRecord(**values))
    found = run.read_record().to_json()
    assert found == {"version": VERSION, "a": 0.5, "b": [0, 1], "c": None, "d": "x", "e": [1]}


def test_a_failed_write_leaves_the_old_record_and_nothing_else(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write_record(RunRecord(id=run.id))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NnrunError) as caught:
        run.write_record(RunRecord(id="other"))
    assert str(caught.value) == f"Cannot write {run.path / 'run.json'}: No space left on device."
    assert run.read_record() == RunRecord(id=run.id)
    assert os.listdir(run.path) == ["run.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_said_in_a_sentence(run: RunDirectory, content: bytes) -> None:
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(DataError) as caught:
        run.read_record()
    assert str(caught.value).startswith(f"{run.path / 'run.json'} is damaged: ")


@pytest.mark.parametrize("member", [None, Member("fold", 0), Member("fold", 3), Member("seed", 7)], ids=str)
def test_weights_and_preprocessing_read_back(run: RunDirectory, member: Member | None) -> None:
    weights = {
        "0.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not in C order
        "0.bias": np.zeros(3, np.float32),
        "scale": np.float32(2.5).reshape(()),
    }
    run.write_weights(weights, member)
    run.write_preprocessing({"mean": [0.1, 1e-300]}, member)
    back = run.read_weights(member)
    assert back.keys() == weights.keys()
    for name, tensor in weights.items():
        np.testing.assert_array_equal(back[name], tensor)
        assert back[name].shape == tensor.shape
    assert run.read_preprocessing(member) == {"mean": [0.1, 1e-300]}
    assert run.members() == ([] if member is None else [member])


def test_weights_have_the_mode_of_the_other_files(run: RunDirectory) -> None:
    run.write_record(RunRecord())
    run.write_weights({"a": np.zeros(1)})
    modes = {path.name: path.stat().st_mode for path in run.path.iterdir()}
    assert modes["weights.safetensors"] == modes["run.json"]


def test_folds_are_in_numerical_order(run: RunDirectory) -> None:
    for fold in (10, 2, 0):
        run.write_preprocessing({}, Member("fold", fold))
    for other in ("fold-x", "fold-01", "seeds-1", "fold-1b"):
        (run.path / other).mkdir()
    assert run.members() == [Member("fold", fold) for fold in (0, 2, 10)]


def test_seeds_are_in_numerical_order(run: RunDirectory) -> None:
    for seed in (10, 9, 2**63 - 1):
        run.write_preprocessing({}, Member("seed", seed))
    assert run.members() == [Member("seed", seed) for seed in (9, 10, 2**63 - 1)]
    with pytest.raises(DataError) as caught:
        run.read_weights(Member("seed", 0))
    assert str(caught.value) == (
        f"{run.path} has no seed-0/weights.safetensors: it holds seed 9, seed 10, seed {2**63 - 1}."
    )


def test_missing_weights_say_why(run: RunDirectory) -> None:
    with pytest.raises(DataError) as caught:
        run.read_weights()
    assert str(caught.value) == (
        f"{run.path} has no weights.safetensors: the run ended before its network was saved."
    )
    run.write_checkpoint({"a": np.zeros(1)}, {})
    run.write_record(RunRecord(id=run.id, status="running"))
    with run.owned(), pytest.raises(DataError, match="training, and saves its networks when it ends"):
        run.read_weights()
    with pytest.raises(DataError, match=f"network was saved. It can go on: nnrun train --resume {run.path}"):
        run.read_weights()  # nobody is at work on it: it was killed
    with run.owned_for_a_look(), pytest.raises(DataError, match=r"network was saved\. It can go on"):
        run.read_weights()  # nor is who only looks
    run.write_weights({"a": np.zeros(1)}, Member("fold", 1))
    with pytest.raises(DataError) as caught:
        run.read_weights(Member("fold", 0))
    assert str(caught.value) == f"{run.path} has no fold-0/weights.safetensors: it holds fold 1."


def test_who_looks_leaves_a_killed_run_as_it_is_listed(run: RunDirectory) -> None:
    run.write_record(RunRecord(id=run.id, status="running", epochs_run=7))
    before = run.read_record()
    assert (before.status, before.epochs_run) == ("interrupted", 0)  # it has no history
    with run.owned_for_a_look():
        assert run.read_record().to_json() == before.to_json()
    assert run.read_written_record().to_json() == before.to_json()


def test_who_looks_finds_a_run_that_trains_as_it_is(run: RunDirectory) -> None:
    run.write_record(RunRecord(id=run.id, status="running"))
    with run.owned():
        with pytest.raises(LockedError), run.owned_for_a_look():
            pass
        assert run.read_record().status == "running"
    assert run.read_written_record().status == "running"


def test_damaged_weights_are_said_in_a_sentence(run: RunDirectory) -> None:
    (run.path / "weights.safetensors").write_bytes(b"\x10")
    with pytest.raises(DataError, match="is not a safetensors file, or it is damaged"):
        run.read_weights()


def test_the_folder_for_plots_is_made_on_demand(run: RunDirectory) -> None:
    assert not (run.path / "plots").exists()
    assert run.plots_dir() == run.plots_dir() == run.path / "plots"
    assert run.plots_dir().is_dir()
