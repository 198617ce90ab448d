"""Loading: defaults that depend on other keys, paths, files that are no specs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.errors import Problem, SpecError, UsageError
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec, load_spec_text

BOSTON = """\
dataset: boston_housing
layers: [{dense: 1}]
loss: mse
"""


def load(text: str, base: Path = Path("/specs"), overrides: Any = ()) -> schema.ExperimentSpec:
    return load_spec_text(text, file="spec.yaml", base=base, default_name="spec", overrides=overrides).spec


def test_the_file_names_the_spec(tmp_path: Path) -> None:
    path = tmp_path / "boston.small.yaml"
    path.write_text(BOSTON)
    loaded = load_spec(path)
    assert loaded.spec.name == "boston.small"
    assert (loaded.source_text, loaded.path, loaded.warnings) == (BOSTON, path, ())


def test_overrides_do_not_change_the_source_text(tmp_path: Path) -> None:
    path = tmp_path / "boston.yaml"
    path.write_text(BOSTON)
    loaded = load_spec(str(path), ["epochs=7"])
    assert (loaded.spec.epochs, loaded.source_text) == (7, BOSTON)


@pytest.mark.parametrize(
    ("loss", "activation", "units", "targets"),
    [
        ("categorical_crossentropy", "softmax", 10, "one_hot"),
        ("sparse_categorical_crossentropy", "softmax", 10, "class_index"),
    ],
)
def test_targets_are_what_the_loss_needs(loss: str, activation: str, units: int, targets: str) -> None:
    spec = load(
        "dataset: {sklearn: digits}\n"
        f"layers: [{{dense: {{units: {units}, activation: {activation}}}}}]\nloss: {loss}\n"
    )
    assert spec.preprocessing.targets is not None
    assert spec.preprocessing.targets.kind == targets


def test_targets_of_numbers_stay_as_they_are() -> None:
    assert load(BOSTON).preprocessing.targets == schema.NoTargetStep()


def test_holdout_defaults_are_filled_in() -> None:
    assert load(BOSTON + "validation: holdout\n").validation == schema.Holdout(fraction=0.2)
    assert load(BOSTON + "validation: {holdout: {first: 5}}\n").validation == schema.Holdout(
        first=5, shuffle=False
    )


def test_paths_are_relative_to_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "init.safetensors").touch()
    (folder / "spec.yaml").write_text(
        "dataset: {npz: ../data.npz}\nlayers: [{dense: 1}]\nloss: mse\ninit_weights: init.safetensors\n"
    )
    monkeypatch.chdir(tmp_path)
    spec = load_spec(Path("specs/spec.yaml")).spec
    assert spec.dataset == schema.Npz(path=str(tmp_path / "data.npz"))
    assert spec.init_weights == str(folder / "init.safetensors")


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    spec = load("dataset: {npz: ~/data.npz}\nlayers: [{dense: 1}]\nloss: mse\n")
    assert spec.dataset == schema.Npz(path="/home/someone/data.npz")


# --- files that are no specs -------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_spec(path)
    return str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    for name in ("reuters.yaml", "imdb.yaml", "notes.txt"):
        (tmp_path / name).touch()
    assert refusal(tmp_path / "reuter.yaml") == (
        f"{tmp_path}/reuter.yaml: no such file; did you mean {tmp_path}/reuters.yaml?"
    )
    assert (
        refusal(tmp_path / "reuters")
        == f"{tmp_path}/reuters: no such file; did you mean {tmp_path}/reuters.yaml?"
    )
    assert (
        refusal(tmp_path / "zzz")
        == f"{tmp_path}/zzz: no such file (in {tmp_path}: imdb.yaml and reuters.yaml)"
    )
    (tmp_path / "pond fish.csv.gz").touch()
    fish = tmp_path / "pond fish"
    assert refusal(tmp_path / "pond fish.yaml") == (
        f"{fish}.yaml: no such file; `nnrun init '{fish}.csv.gz'` writes one for the rows beside it"
    )
    assert refusal(tmp_path / "pond fish.csv.gz") == (
        f"{fish}.csv.gz holds rows, and a spec is YAML; `nnrun init '{fish}.csv.gz'` writes one for it"
    )
    assert refusal(tmp_path / "no" / "spec.yaml") == (
        f"{tmp_path}/no/spec.yaml: no such file (there is no folder {tmp_path}/no)"
    )


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is a folder; name a spec file (there is no .yaml file in it)"
    for number in range(7):
        (tmp_path / f"spec{number}.yaml").touch()
    assert refusal(tmp_path) == (
        f"{tmp_path} is a folder; name a spec file "
        "(in it: spec0.yaml, spec1.yaml, spec2.yaml, spec3.yaml, spec4.yaml and 2 more)"
    )


def test_links(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(BOSTON)
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    (tmp_path / "broken.yaml").symlink_to("gone.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert load_spec(tmp_path / "link.yaml").spec.name == "link"
    assert (
        refusal(tmp_path / "broken.yaml")
        == f"{tmp_path}/broken.yaml is a link to gone.yaml, which does not exist"
    )
    assert refusal(tmp_path / "loop.yaml").startswith(f"{tmp_path}/loop.yaml cannot be read: ")


def test_not_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert refusal(tmp_path / "pipe.yaml") == (
        f"{tmp_path}/pipe.yaml is not a regular file; a spec is read from a file"
    )
    assert refusal(Path("/dev/zero")) == "/dev/zero is not a regular file; a spec is read from a file"


def test_a_name_that_no_file_can_have() -> None:
    assert "cannot be read" in refusal(Path("a\0b.yaml"))
    assert "cannot be read" in refusal(Path("a" * 5000))


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(SpecError, match="larger than 1 MiB"):
        load_spec(path)


# --- every problem -----------------------------------------------------------------------------------------


def test_problems_of_yaml_schema_and_overrides_come_together() -> None:
    with pytest.raises(SpecError) as caught:
        load(BOSTON + "epochs: 0\nepochs: 5\nlearning: 1\n", overrides=["batch_size=no", "x=1"])
    assert [(p.file, p.line, p.path) for p in caught.value.problems] == [
        ("spec.yaml", 4, "epochs"),
        ("spec.yaml", 5, ""),
        ("spec.yaml", 6, "learning"),
        ("--set", None, ""),
        ("--set", None, "batch_size"),
    ]


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["dense", "mse", "imdb", "x", "relu"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["dense", "units", "imdb", "inputs", "kfold", "k", "holdout", "l2", "x", "first"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*schema.ExperimentSpec.model_fields, "layer"]), JUNK, max_size=8))
def test_any_values_are_taken_or_explained(values: dict[str, Any]) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        load(BOSTON.replace("boston_housing", "imdb"), overrides=values)
    except SpecError as error:
        problems = error.problems
    screen = "\n".join(problem.render() for problem in problems).lower()
    assert not any(word in screen for word in ("pydantic", "discriminator", "extra inputs", "input should"))
    assert all(problem.message for problem in problems)
