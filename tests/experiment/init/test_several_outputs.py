"""Names of outputs for columns of any name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.experiment.init.several_outputs import output_names
from nnrun.spec.ports import prediction_columns


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (["species", "body_mass_g"], ["species", "body_mass_g"]),
        (["body mass (g)", "2nd"], ["body_mass_g", "output_2nd"]),
        (["loss", "trunk", "row"], ["output_loss", "output_trunk", "output_row"]),
        (["val_a", "größe", "??"], ["output_val_a", "gr_e", "output"]),
        (["a b", "a-b", "a.b"], ["a_b", "a-b", "a_b_2"]),
        (["a", "a_target"], ["a", "a_target_2"]),
    ],
)
def test_names(targets: list[str], names: list[str]) -> None:
    assert output_names(targets) == dict(zip(targets, names, strict=True))


@given(st.lists(st.text(max_size=6), min_size=1, max_size=8, unique=True))
def test_no_two_outputs_have_a_column_of_one_name(targets: list[str]) -> None:
    names = list(output_names(targets).values())
    columns = [column for name in names for column in prediction_columns(name)]
    assert len(set(columns)) == len(columns) == 3 * len(targets)
