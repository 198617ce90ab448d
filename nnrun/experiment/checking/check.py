"""Data checked: those of a spec, of a file, or of a finished run with its out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nnrun.data.catalog import CATALOG, path_of
from nnrun.data.load_data import load_data
from nnrun.data.summaries.describe_file import kind_of_file
from nnrun.errors import UsageError
from nnrun.experiment.checking.column_findings import column_findings
from nnrun.experiment.checking.finding import Finding, by_severity
from nnrun.experiment.checking.identical_rows import identical_row_findings
from nnrun.experiment.checking.labels import HeldOut, check_labels
from nnrun.experiment.checking.model_findings import single_column_findings, test_set_findings
from nnrun.experiment.checking.quick_models import MOST_ROWS
from nnrun.experiment.checking.rows import CheckedRows, checked_rows
from nnrun.experiment.checking.split_findings import split_findings
from nnrun.experiment.init.initial_spec import Defaults, Wanted, initial_spec
from nnrun.experiment.setup.folds import folds_of
from nnrun.records import RunDirectory, SweepDirectory
from nnrun.spec import schema
from nnrun.spec.ports import Port
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.wording import listing, quoted

if TYPE_CHECKING:
    from nnrun.experiment.finished.load_run import Access

OnMessage = Callable[[str], None]
_NOTHING_SAID: Final = Wanted()
_SPEC_ENDINGS: Final = (".yaml", ".yml")


@dataclass(frozen=True, eq=False)
class CheckedData:
    """What was checked, and what was found.

    Attributes:
        name: of the data set.
        train_rows, test_rows: how many there are.
        splits: how often the training rows are split into rows that train and rows that validate.
        findings: the serious ones first.
        remarks: what was left out, or looked at in part, as sentences.
        doubted: target → the rows whose label is doubtful, also where that is no finding.
    """

    name: str
    train_rows: int
    test_rows: int
    splits: int
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    doubted: Mapping[str, tuple[dict[str, Any], ...]]

    def as_document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = {**vars(self), "remarks": list(self.remarks)}
        return {**plain, "findings": [finding.as_document() for finding in self.findings]}


def file_of(what: str, data_dir: Path | None) -> Path | None:
    """The file or folder of data that a person means; None where it is a spec, a run or a sweep.

    Raises:
        UsageError: it is the name of a data set.
    """
    if Path(what).suffix.lower() in _SPEC_ENDINGS:
        return None
    path = Path(path_of(what, data_dir)).expanduser()
    if kind_of_file(what) is not None or path.suffix.lower() == ".npz" or path.is_file():
        return path
    if path.is_dir() and not (RunDirectory(path).is_run() or SweepDirectory(path).is_sweep()):
        return path
    if what in CATALOG:
        raise UsageError(
            f"'{what}' is a data set; its split and its task are in a spec. Check a spec that names it."
        )
    return None


def check_spec(
    spec: schema.ExperimentSpec, data_dir: Path | None = None, on_message: OnMessage = lambda text: None
) -> CheckedData:
    """Check the data of a spec, split as it splits them.

    Raises:
        DataError: the data are missing or damaged, or training would refuse them.
    """
    dataset = load_data(spec, data_dir=data_dir, on_message=on_message)
    return _checked(checked_rows(spec, dataset, folds_of(spec, dataset, spec.seed), on_message))


def check_file(
    file: Path, wanted: Wanted = _NOTHING_SAID, on_message: OnMessage = lambda text: None
) -> CheckedData:
    """Check a file or folder by the spec that `nnrun init` would write for it, the columns that this leaves
    out as well.

    Raises:
        UsageError, DataError: as `init` raises them.
    """
    made = initial_spec(file, Path("check.yaml"), wanted, Defaults(), on_message)
    loaded = load_spec_text(made.text, file=str(file), base=Path.cwd(), default_name=file.stem)
    spec = loaded.spec
    dataset = load_data(spec, on_message=on_message)
    rows = checked_rows(spec, dataset, folds_of(spec, dataset, spec.seed), on_message)
    checked = _checked(rows, left_out_by_init=True)
    targets = [quoted(name) for name in getattr(spec.dataset, "target", ())]
    if wanted.targets or not targets:
        return checked
    by = f"by the target {listing(targets, 'and')}, which nnrun init would choose"
    said = f"The rows were checked {by}; --target names another."
    return replace(checked, remarks=(said, *checked.remarks))


def check_run(run: RunDirectory, access: Access) -> CheckedData:
    """Check the data of a finished run, its labels by its own out-of-fold predictions.

    Raises:
        UsageError: it is a smoke run.
        DataError: its files or data are missing, damaged or changed.
    """
    from nnrun.experiment.finished.load_run import load_run_spec
    from nnrun.experiment.predicting.predict_split import predict_split

    if run.read_record().smoke:
        raise UsageError(f"{run.id} is a smoke run, whose rows are generated. Check the spec or the file.")
    trained = load_run_spec(run, access.overrides, access.data_dir).spec
    if isinstance(trained.validation, schema.NoValidation):
        tell = access.listener.message
        tell(f"{run.id} was trained on all rows: its spec is checked, labels by a quick model")
        return check_spec(trained, access.data_dir, tell)
    predicted = predict_split(run, "validation", access)
    spec, dataset = predicted.opened.spec, predicted.opened.dataset
    rows = checked_rows(spec, dataset, folds_of(spec, dataset, spec.seed), access.listener.message)
    known: dict[Port, HeldOut] = {}
    for port, found in predicted.of_outputs.items():
        kind, outputs = predicted.output_decoders[port].kind, found.outputs
        if kind == "binary":
            outputs = np.hstack([1 - outputs, outputs])
        if predicted.output_decoders[port].has_probabilities or kind == "numbers":
            known[port] = HeldOut(found.rows, outputs, f"the networks of {run.id}")
    checked = _checked(rows, known)
    if ended := predicted.weights.ended_early:
        said = (
            f"{run.id} {ended}: its networks, by which the labels were judged, are not trained to their end."
        )
        return replace(checked, remarks=(said, *checked.remarks))
    return checked


def _checked(
    rows: CheckedRows, known: Mapping[Port, HeldOut] | None = None, *, left_out_by_init: bool = False
) -> CheckedData:
    remarks: list[str] = []
    doubted: dict[str, tuple[dict[str, Any], ...]] = {}
    found = [*identical_row_findings(rows), *split_findings(rows)]
    found += column_findings(rows, left_out_by_init=left_out_by_init)
    if rows.columns:
        found += single_column_findings(rows, found)
    else:
        remarks.append("These rows have no columns that could be looked at one by one.")
    found += test_set_findings(rows, remarks.append)
    if not rows.targets:
        remarks.append("No target is one class or one number a row, so labels were not looked at.")
    for target in rows.targets:
        if known is None or target.port in known:
            own = None if known is None else known[target.port]
            labels = check_labels(rows, target, remarks.append, own)
            found += labels.findings
            doubted[target.name] = labels.doubted
        else:
            remarks.append(f"Labels of {target.name}: not looked at, since the run gives no probabilities.")
    if len(rows) > MOST_ROWS:
        remarks.append(
            f"Models were fitted to samples of at most {MOST_ROWS:,} rows; identical rows, groups and "
            "columns are those of all."
        )
    return CheckedData(
        rows.name,
        rows.n_train,
        rows.n_test,
        len(rows.folds),
        tuple(by_severity(found)),
        tuple(remarks),
        doubted,
    )
