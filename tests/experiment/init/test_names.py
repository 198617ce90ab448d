"""What the names of columns tell."""

from __future__ import annotations

import pytest

from nnrun.experiment.init import names


@pytest.mark.parametrize(
    "name",
    [
        "customerID",
        "CUSTOMER_ID",
        "Customer Id",
        "ID#",
        "rownames",
        "Unnamed: 0",
        "pid",
        "studyid",
        "obs",
        "nr",
        "Customer Number",
        "__index_level_0__",
        "sample_code",
        "id",
        "index",
    ],
)
def test_names_of_rows(name: str) -> None:
    assert names.names_rows(name)


@pytest.mark.parametrize(
    "name", ["paid", "humid", "weight", "number", "no", "solid", "age", "covid", "valid", "y"]
)
def test_names_that_only_look_like_ids(name: str) -> None:
    assert not names.names_rows(name)


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("subject", True),
        ("user_id", True),
        ("nr", True),
        ("Patients", True),
        ("state", False),
        ("age", False),
    ],
)
def test_names_of_members(name: str, members: bool) -> None:
    assert names.names_members(name) is members
