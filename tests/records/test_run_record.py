"""run.json as a typed record: what is sound is read, whatever else the file holds, and written as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import DataError
from nnrun.records import MEMBER_TYPES, Member, MemberType, RunDirectory, RunRecord, member_type_of
from nnrun.records.run_record import OF_NETWORK, VERSION, MemberRecord, member_of_folder
from tests.support.runs_on_disk import write_record

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*RunRecord.model_fields]), ANYTHING))
def test_any_json_object_is_read_and_no_key_is_lost(found: dict[str, Any]) -> None:
    record = RunRecord.read(json.loads(json.dumps(found)))
    written = record.to_json()
    assert {"version", *found} - set(written) <= {*OF_NETWORK, "test_members"}, "these moved to the members"
    json.dumps(written, allow_nan=False) if not record.malformed else None
    assert isinstance(record.epochs_run, int)
    assert all(isinstance(network.weights_epoch, int | None) for network in record.networks)
    assert isinstance(record.named_members, list)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        (
            "best",
            {"loss": 1, "mae": None, "r2": float("nan"), "uses": "two"},
            {"loss": 1.0, "mae": None, "r2": None},
        ),
        ("best", [1], {}),
        ("epochs_run", 2.5, 0),
        ("epochs_run", True, 0),
        ("epochs_run", -1, 0),
        ("best_epoch", 10**400, None),
        ("training_seconds", float("inf"), None),
        ("status", "done", None),
        ("smoke", "yes", False),
        ("folds", [0, "1"], None),
        ("weights_epoch", 7, 7),
        ("weights_epoch", {"x": 7}, None),
        ("stopped_early", {"0": 4}, 4),
        ("best_interval", {"val_loss": [1.0]}, {}),
        ("not_better_than_baseline", {"loss": [1, 2.0]}, {"loss": [1.0, 2.0]}),
        ("near_perfect", {"score": "r2", "value": 1.0}, None),
        ("members", [{"best": {}}], []),
        ("members", [{"member": "fold-1", "best": 3}], [MemberRecord(member="fold-1")]),
        ("data", [3], []),
    ],
)
def test_what_is_not_of_its_type_is_as_if_never_written(name: str, value: object, read: object) -> None:
    record = RunRecord.read({"id": "a", name: value})
    assert getattr(record, name) == read
    assert record.id == "a"


def test_what_was_never_set_is_not_written_and_null_is() -> None:
    record = RunRecord(id="a", ended=None, best={"loss": 0.5})
    assert record.to_json() == {"version": VERSION, "id": "a", "ended": None, "best": {"loss": 0.5}}
    record.unset("best")
    assert (record.best, record.to_json()) == ({}, {"version": VERSION, "id": "a", "ended": None})
    record.take(RunRecord(best_epoch=None, chosen_by="val_loss"))
    assert list(record.to_json()) == ["version", "id", "ended", "chosen_by", "best_epoch"]


def test_the_networks_of_a_run() -> None:
    folds, seeds, alone = RunRecord(folds=[2, 0]), RunRecord(folds=None, seeds=[7]), RunRecord()
    assert (folds.member_type, folds.member_ids) == ("fold", [2, 0])
    assert folds.named_members == [Member("fold", 0), Member("fold", 2)]
    assert (seeds.member_type, seeds.named_members) == ("seed", [Member("seed", 7)])
    assert (alone.member_type, alone.member_ids, alone.named_members) == (None, [], [None])


def test_what_is_known_of_each_network() -> None:
    alone = RunRecord(weights_epoch=5)
    alone.tell(None, stopped_early=7)
    assert (alone.networks, alone.network(None)) == ([alone], alone)
    assert alone.to_json() == {"version": VERSION, "weights_epoch": 5, "stopped_early": 7}
    several = RunRecord(folds=[0, 1])
    assert several.network(Member("fold", 1)).weights_epoch is None
    several.tell(Member("fold", 1), weights_epoch=6)
    several.tell(Member("fold", 0), weights_epoch=5)
    several.take(RunRecord(members=[MemberRecord(member="fold-0", last={"loss": 0.5})], best_epoch=3))
    assert several.to_json()["members"] == [
        {"member": "fold-0", "last": {"loss": 0.5}, "weights_epoch": 5},
        {"member": "fold-1", "weights_epoch": 6},
    ]


@pytest.mark.parametrize("kind", MEMBER_TYPES)
def test_a_file_of_version_1_has_maps_from_a_fold_or_seed(kind: MemberType) -> None:
    record = RunRecord.read(
        {
            "version": 1,
            f"{kind}s": [2, 3],
            "stopped_early": {"3": 9},
            "weights_epoch": {"2": 7, "3": None, "x": 1},
            "members": [{"member": f"{kind}-2", "epochs": 8}],
            "test_members": {f"{kind}-3": {"loss": 0.5}},
        }
    )
    assert record.to_json() == {
        "version": VERSION,
        f"{kind}s": [2, 3],
        "members": [
            {"member": f"{kind}-2", "epochs": 8, "weights_epoch": 7},
            {"member": f"{kind}-3", "stopped_early": 9, "weights_epoch": None, "test": {"loss": 0.5}},
        ],
    }


def test_a_newer_format_is_told_of(tmp_path: Path) -> None:
    write_record(RunDirectory(tmp_path), {"version": VERSION + 1, "id": "a", "status": "completed"})
    with pytest.raises(DataError) as caught:
        RunDirectory(tmp_path).read_record()
    assert str(caught.value) == (
        f"{tmp_path / 'run.json'} was written by a newer nnrun: its format has version 3, and this nnrun "
        "reads version 2."
    )


members = st.builds(Member, st.sampled_from(MEMBER_TYPES), st.integers(0, 2**63 - 1))


@pytest.mark.parametrize(
    ("member", "text", "folder"),
    [(Member("fold", 2), "fold 2", "fold-2"), (Member("seed", 7), "seed 7", "seed-7")],
)
def test_what_it_is_called(member: Member, text: str, folder: str) -> None:
    assert (str(member), member.folder) == (text, folder)


@given(members)
def test_a_folder_tells_whose_it_is(member: Member) -> None:
    assert member_of_folder(member.folder) == member


@given(st.text() | st.from_regex(r"(fold|seed)s?[-_ ]?\d*[a-z]?", fullmatch=True))
def test_a_folder_of_another_name_is_nobody_s(name: str) -> None:
    """Where a name is taken for a member's, it is the very name that the member gives its folder."""
    found = member_of_folder(name)
    assert found is None or found.folder == name


@pytest.mark.parametrize(
    "name", ["plots", "seed", "seed-", "seed--1", "seed-01", "seed-1 ", "Seed-1", "seeds-1", "seed-1\u0663"]
)
def test_names_that_only_look_like_a_member_s(name: str) -> None:
    assert member_of_folder(name) is None


@given(st.lists(members, max_size=9))
def test_members_are_in_the_order_of_their_numbers(found: list[Member]) -> None:
    assert sorted(found) == sorted(found, key=lambda member: (member.type, member.id))


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (["fold", "epoch", "loss"], "fold"),
        (["seed", "epoch", "loss"], "seed"),
        (["epoch", "loss", "seconds"], None),
        (["epoch", "loss_mean", "loss_std"], None),
    ],
)
def test_a_history_tells_what_its_networks_are(columns: list[str], kind: MemberType | None) -> None:
    assert member_type_of(columns) == kind
