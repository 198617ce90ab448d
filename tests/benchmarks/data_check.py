"""What `nnrun data check` finds where the truth is known, and what it says of clean tables.

    python tests/benchmarks/data_check.py [--seeds 3] [--only faults | labels | clean]

Prints for each planted fault in how many generated tables it was found; the precision and recall of wrong
labels (5 % changed); and every finding on clean tables, generated ones and those that come with scikit-learn,
whose true duplicates and constant pixels are found too. Takes about two minutes on one core.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from nnrun.experiment.checking.check import CheckedData, check_file, check_spec
from nnrun.spec.reading.load import load_spec, load_spec_text
from tests.support.faulty_tables import FAULTS, clean, clusters, with_wrong_labels, write_fault, write_table

BUNDLED = """\
dataset: {{sklearn: {name}}}
preprocessing: {{inputs: standardize}}
layers: [{layer}]
loss: {loss}
validation: {{kfold: {{k: 5, shuffle: true}}}}
"""


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


def planted(folder: Path, seeds: int) -> None:
    """How many of the planted faults are found, and what else is."""
    for name, fault in FAULTS.items():
        found, others = 0, set()
        for seed in range(seeds):
            kinds = [finding.kind for finding in checked(write_fault(folder, name, seed)).findings]
            found += fault.kind in kinds
            others |= set(kinds) - {fault.kind}
        print(f"{name:<36} found in {found} of {seeds}; else {', '.join(sorted(others)) or '-'}", flush=True)


def wrong_labels(folder: Path, seeds: int) -> None:
    """Precision and recall of changed labels, over the tables where they are a finding."""
    kinds = {"clusters": clusters, "thresholds of a score": clean}
    for (name, make), classes in itertools.product(kinds.items(), (2, 3, 5)):
        right, said, changed, found = 0, 0, 0, 0
        for seed in range(seeds):
            columns = make(seed, classes=classes, rows=600)
            wrong = set(with_wrong_labels(columns, seed).tolist())
            path = write_table(folder, f"{name[:4]}_{classes}_{seed}", columns, classes=classes)
            findings = [each for each in checked(path).findings if each.kind == "likely_wrong_labels"]
            for finding in findings:
                rows = {label["row"] for label in finding.evidence["labels"]}
                right, said, changed = right + len(rows & wrong), said + len(rows), changed + len(wrong)
            found += len(findings)
        told = f"precision {right / said:.2f}, recall {right / changed:.2f}" if said else "-"
        print(f"wrong labels, {name}, {classes} classes: found in {found} of {seeds}: {told}", flush=True)


def clean_tables(folder: Path, seeds: int) -> None:
    """Every finding on tables without a planted fault."""
    tables = {}
    for seed in range(seeds):
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
    parser.add_argument("--only", choices=parts)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, part in parts.items():
            if arguments.only in (None, name):
                part(Path(folder), arguments.seeds)


if __name__ == "__main__":
    main()
