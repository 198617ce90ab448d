"""What `nnrun data check` finds where the truth is known, and what it says of clean tables.

    python tests/benchmarks/data_check.py [--seeds 3] [--first 100] [--only faults | labels | clean]

Prints for each planted fault in how many generated tables it was found; of wrong labels (5 % changed) in how
many tables with and without them they are a finding, with its precision and recall, for generated tables and
for those of scikit-learn; and every finding on clean tables, whose true duplicates and constant pixels are
found too. Takes about two minutes on one core. The thresholds were chosen on seeds 0 to 9.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from nnrun.experiment.checking.check import CheckedData, check_file, check_spec
from nnrun.spec.reading.load import load_spec, load_spec_text
from tests.support.faulty_tables import (
    FAULTS,
    Columns,
    clean,
    clusters,
    with_wrong_labels,
    write_fault,
    write_table,
)

BUNDLED = """\
dataset: {{sklearn: {name}}}
preprocessing: {{inputs: standardize}}
layers: [{layer}]
loss: {loss}
validation: {{kfold: {{k: 5, shuffle: true}}}}
"""

_MOST_DIGITS = 5  # seeds: each takes seconds


def checked(path: Path) -> CheckedData:
    """What is said of a spec or of a file."""
    return check_spec(load_spec(path).spec) if path.suffix == ".yaml" else check_file(path)


def bundled(name: str) -> CheckedData:
    """What is said of a table of scikit-learn."""
    classes = {"breast_cancer": 1, "digits": 10, "wine": 3, "iris": 3, "diabetes": 0}[name]
    layer = f"{{dense: {{units: {classes}, activation: {'sigmoid' if classes == 1 else 'softmax'}}}}}"
    losses = {0: "mse", 1: "binary_crossentropy"}
    text = BUNDLED.format(
        name=name,
        layer=layer if classes else "dense: 1",
        loss=losses.get(classes, "categorical_crossentropy"),
    )
    return check_spec(load_spec_text(text, file=name, base=Path.cwd(), default_name=name).spec)


def planted(folder: Path, seeds: range) -> None:
    """How many of the planted faults are found, and what else is."""
    for name, fault in FAULTS.items():
        found, others = 0, set()
        for seed in seeds:
            kinds = [finding.kind for finding in checked(write_fault(folder, name, seed)).findings]
            found += fault.kind in kinds
            others |= set(kinds) - {fault.kind}
        print(
            f"{name:<36} found in {found} of {len(seeds)}; else {', '.join(sorted(others)) or '-'}",
            flush=True,
        )


def of_sklearn(name: str) -> Columns:
    """A table of scikit-learn; each class is a letter."""
    from sklearn import datasets

    inputs, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    some = {f"x{i}": column for i, column in enumerate(inputs.T) if column.min() < column.max()}
    return {**some, "y": np.array(list(ascii_lowercase))[labels]}


def doubtful_rows(path: Path) -> set[int] | None:
    """The rows whose labels are called likely wrong; None without such a finding."""
    findings = [each for each in checked(path).findings if each.kind == "likely_wrong_labels"]
    return {label["row"] for label in findings[0].evidence["labels"]} if findings else None


def wrong_labels(folder: Path, seeds: range) -> None:
    """How many tables with changed labels, and how many without, have a finding; its precision and recall."""
    kinds: dict[str, Callable[..., Columns]] = {"clusters": clusters, "thresholds of a score": clean}
    for (name, make), classes in itertools.product(kinds.items(), (2, 3, 5)):
        tables = {seed: make(seed, classes=classes, rows=600) for seed in seeds}
        tell_labels(folder, f"{name}, {classes} classes", tables, tables, classes)
    for name, classes in {"breast_cancer": 2, "wine": 3, "digits": 10}.items():
        some = seeds[:_MOST_DIGITS] if name == "digits" else seeds
        tables = {seed: of_sklearn(name) for seed in some}
        tell_labels(folder, name, tables, {seeds[0]: of_sklearn(name)}, classes)


def tell_labels(
    folder: Path, name: str, tables: dict[int, Columns], right: dict[int, Columns], classes: int
) -> None:
    """Print what is found in tables whose labels are changed by their seed, and in those that are right."""
    stem = name.replace(" ", "_").replace(",", "")
    found_in_right = 0
    for seed, columns in right.items():
        path = write_table(folder, f"{stem}_{seed}_right", columns, classes=classes)
        found_in_right += doubtful_rows(path) is not None
    hits, named, changed, precisions = 0, 0, 0, list[float]()
    for seed, columns in tables.items():
        wrong = set(with_wrong_labels(columns, seed).tolist())
        rows = doubtful_rows(write_table(folder, f"{stem}_{seed}", columns, classes=classes))
        if rows is None:
            continue
        hits, named, changed = hits + len(rows & wrong), named + len(rows), changed + len(wrong)
        precisions.append(len(rows & wrong) / len(rows))
    told = "-"
    if named:
        told = f"precision {hits / named:.2f} (lowest {min(precisions):.2f}), recall {hits / changed:.2f}"
    found = f"found in {len(precisions)} of {len(tables)}: {told}"
    print(
        f"wrong labels, {name}: {found}; without any in {found_in_right} of {len(right)}",
        flush=True,
    )


def clean_tables(folder: Path, seeds: range) -> None:
    """Every finding on tables without a planted fault."""
    tables = {}
    for seed in seeds:
        for classes in (0, 2, 3):
            path = write_table(
                folder,
                f"clean_{classes}_{seed}",
                clean(100 + seed, classes=classes),
                classes=classes,
                more="\n    test: {fraction: 0.2}",
            )
            tables[path.stem] = checked(path)
    for name in ("iris", "wine", "breast_cancer", "digits", "diabetes"):
        tables[name] = bundled(name)
    for name, data in tables.items():
        print(f"{name:<16} {len(data.findings)} findings", flush=True)
        for finding in data.findings:
            print(f"    {finding.severity}: {finding.text}")
        for remark in data.remarks:
            print(f"    ({remark})")


def main() -> None:
    parser = argparse.ArgumentParser()
    parts = {"faults": planted, "labels": wrong_labels, "clean": clean_tables}
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", choices=parts)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, part in parts.items():
            if arguments.only in (None, name):
                part(Path(folder), range(arguments.first, arguments.first + arguments.seeds))


if __name__ == "__main__":
    main()
