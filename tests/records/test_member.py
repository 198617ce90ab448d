"""The names of a run's networks: a column of the history, and a folder that reads back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.records import MEMBER_TYPES, Member, MemberType, member_type_of
from nnrun.records.member import member_of_folder

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
