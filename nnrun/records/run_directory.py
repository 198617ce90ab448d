"""One run's folder: every file in it is read and written here, and named nowhere else.

    runs/<name>-<UTC time>-<4 hex>/
        spec.yaml  resolved.yaml  run.json  history.csv  history_mean.csv
        labels.json  vocabulary.json  oof.csv
        importance.json                                 (what `nnrun importance` last found)
        weights.safetensors  preprocessing.json         (or fold-0/ ..., seed-0/ ... with those of each)
        weights-best.safetensors                        (where the best epoch is another one)
        calibration.json                                (where `calibrate` or `threshold` was fitted)
        plots/  report.html  README.md                  (the model card, which `nnrun card` writes)
        work/                                           (while workers train its folds: see claims.py)
        checkpoint-000012/                              (see nnrun/records/weights.py)

Files appear whole or not at all, except the history, which grows by whole lines.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shlex
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nnrun.atomic_files import (
    is_held,
    is_unfinished,
    locked,
    make_folder,
    read_json_object,
    read_text,
    refuse_newer,
    remove_abandoned,
    replace_file,
    write_text,
)
from nnrun.errors import DataError, NnrunError, UsageError
from nnrun.records.files_size import measure
from nnrun.records.history import HistoryWriter, epochs_begun, read_csv, to_csv
from nnrun.records.run_record import VERSION, Member, RunRecord, member_of_folder
from nnrun.records.weights import (
    Arrays,
    Checkpoint,
    KeptWeights,
    WeightsChoice,
    WeightsEpoch,
    has_checkpoint,
    read_checkpoint,
    read_kept_weights,
    remove_checkpoints,
    remove_unfinished,
    write_checkpoint,
    write_weights_file,
)
from nnrun.records.work_starts import starts

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from nnrun.history_table import HistoryTable
    from nnrun.records.importance_record import ImportanceRecord

T = TypeVar("T")

RECORD = "run.json"
CALIBRATION = "calibration.json"
CARD = "README.md"
OUT_OF_FOLD = "oof.csv"
MOST_OUT_OF_FOLD = 20_000_000
"""Outputs of all networks together, beyond which a run keeps no out-of-fold predictions: 200 MB of text."""
KILLED = "its process ended without recording why: it was killed, the machine stopped, or the disk was full"
RUN_ID = re.compile(r".+-\d{8}T\d{6}Z-[0-9a-f]{4}")
"""What the ids that `create_run` makes look like."""

_SPEC = "spec.yaml"
_RESOLVED = "resolved.yaml"
_HISTORY = "history.csv"
_HISTORY_MEAN = "history_mean.csv"
_WEIGHTS = "weights.safetensors"
_BEST_WEIGHTS = "weights-best.safetensors"
_PREPROCESSING = "preprocessing.json"
_LABELS = "labels.json"
_VOCABULARY = "vocabulary.json"
_IMPORTANCE = "importance.json"
_PLOTS = "plots"
_REPORT = "report.html"

_DERIVED = (
    *("best_epoch", "best", "best_std", "best_interval", "chosen_by", "verdict"),
    *("last", "last_epoch", "last_std", "kept", "kept_std", "training_seconds"),
)
"""What a record says about its whole history."""

_LONGEST_SLUG = 60


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk.

    Attributes:
        path: the run's folder.
    """

    path: Path

    @property
    def id(self) -> str:
        """The run's id: the name of its folder."""
        return self.path.name or self.path.resolve().name

    @property
    def runs_dir(self) -> Path:
        """The folder that it is in, next to other runs."""
        return self.path.parent if self.path.name else self.path.resolve().parent

    @property
    def word(self) -> str:
        """Its path as it is typed: a command finds an id in one folder of runs only."""
        return shlex.quote(str(self.path))

    def sibling(self, id_: str | None) -> RunDirectory:
        """Another run in the same folder, such as the one that it came from."""
        return RunDirectory(self.runs_dir / str(id_))

    def is_run(self) -> bool:
        """Whether the folder holds the record of a run."""
        return os.path.isfile(self.path / RECORD)  # False as well for what can be no path

    def has_specs_alone(self) -> bool:
        """Whether it is the folder of a run that was killed before it had a record, so that it holds nothing.

        What is written of a run before its record are its specs, and hidden files that they are renamed from.
        """
        try:
            found = {entry.name for entry in os.scandir(self.path) if not is_unfinished(entry.name)}
        except OSError:
            return False
        return RUN_ID.fullmatch(self.id) is not None and found <= {_SPEC, _RESOLVED}

    def size(self) -> int:
        """The bytes of all its files; of those that come or go meanwhile as many as are found."""
        return measure(os.fspath(self.path)).bytes

    # --- who is at work on it ---

    def owned(self) -> AbstractContextManager[None]:
        """Hold the run: no other process writes into it meanwhile, and its record may say `running`.

        Raises:
            LockedError: another process is working on it.
        """
        return locked(self.path, f"another process is working on {self.id}. Wait until it ends, or stop it.")

    @contextmanager
    def owned_for_a_look(self) -> Iterator[None]:
        """Hold the run, to count a use of the test set in its record.

        A record that says `running` although nobody held the run is of a killed one, and from now on says
        so: while this process holds it, nobody could tell.

        Raises:
            LockedError: another process is working on it.
        """
        killed = self.is_owned() is False
        with self.owned():
            record = self.read_written_record()
            if killed and record.status == "running":
                self.write_record(self._counted(self._killed(record)))
            yield

    def is_owned(self) -> bool | None:
        """Whether some process is working on it; None where that cannot be known."""
        return is_held(self.path)

    # --- the spec ---

    def write_spec(self, text: str) -> None:
        """Keep the spec as it was written."""
        write_text(self.path / _SPEC, text)

    def read_spec(self) -> str:
        """The spec as it was written."""
        return read_text(self.path / _SPEC)

    @property
    def resolved_spec(self) -> Path:
        """The file of the spec with every default filled in, which repeats the run."""
        return self.path / _RESOLVED

    def write_resolved(self, text: str) -> None:
        """Keep the spec with every default filled in."""
        write_text(self.path / _RESOLVED, text)

    @property
    def resolved_path(self) -> Path:
        """The file of the spec with every default filled in."""
        return self.path / _RESOLVED

    def read_resolved(self) -> str:
        """The spec with every default filled in: it repeats the run."""
        return read_text(self.path / _RESOLVED)

    def refuse_if_gone(self) -> None:
        """Raise NnrunError where somebody deleted or moved the run's files while it trained.

        Whatever is written next makes its folder again, and would pass for the whole run.
        """
        if not os.path.isfile(self.path / _RESOLVED):
            raise NnrunError(
                f"The files of {self.path} were deleted or moved during training: {_RESOLVED} is gone. "
                "Put them back and resume the run, or start a new one."
            )

    # --- the record ---

    def write_record(self, record: RunRecord) -> None:
        """Replace run.json. Whoever reads it meanwhile finds the old one or the new one, never a part.

        NaN and infinities become null: JSON has no word for them.
        """
        text = json.dumps(record.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        write_text(self.path / RECORD, text + "\n")

    def read_record(self) -> RunRecord:
        """What run.json holds, without the fields that are malformed.

        While a run is running, its history has more epochs than its record: they are counted, and what
        the record derived from fewer is left out. A run that says `running` while no process is working on
        it was killed: it is given as `interrupted`.
        """
        return self.brought_up_to_date(self.read_written_record())

    def read_written_record(self) -> RunRecord:
        """What run.json holds, whether or not a run that is `running` has gone on or was killed since."""
        record = RunRecord.read(read_json_object(self.path / RECORD))
        refuse_newer(self.path / RECORD, record.version, VERSION)
        return record

    def brought_up_to_date(self, record: RunRecord) -> RunRecord:
        """The record that was written, as `read_record` gives it."""
        if record.status != "running":
            return record
        if self.is_owned() is False:
            record = self.read_written_record()  # it may have ended between the two looks
            if record.status != "running":
                return record
            self._killed(record)
        return self._counted(record)

    def _killed(self, record: RunRecord) -> RunRecord:
        record.status, record.error = "interrupted", KILLED
        return record

    def _counted(self, record: RunRecord) -> RunRecord:
        """With the epochs of the history, and without what was derived from fewer."""
        epochs = epochs_begun(self.path / _HISTORY)
        if epochs != record.epochs_run:
            record.unset(*_DERIVED)
        record.epochs_run = epochs
        return record

    # --- the history ---

    def history_writer(self, columns: Sequence[str], resumed: str | None = None) -> HistoryWriter:
        """Start the history, or continue it. A run has one, so a second start is an error.

        `resumed` is the history up to the epoch that training resumes from: rows of later epochs stay in
        the file until they have been computed again.
        """
        return HistoryWriter(self.path / _HISTORY, columns, resumed=resumed)

    def read_history_table(self) -> HistoryTable:
        """The rows that are complete, with the columns of the file."""
        return read_csv(self.path / _HISTORY)

    def read_history(self) -> pd.DataFrame:
        """The same as a data frame."""
        return self.read_history_table().frame()

    def history_text(self) -> str:
        """The history as the file has it."""
        return read_text(self.path / _HISTORY)

    def remove_history(self) -> None:
        """Keep the history no longer: one of the whole run is about to be written."""
        (self.path / _HISTORY).unlink(missing_ok=True)

    def write_history_mean(self, table: HistoryTable) -> None:
        """Keep the mean and standard deviation over the folds or seeds."""
        write_text(self.path / _HISTORY_MEAN, to_csv(table))

    def read_history_mean(self) -> pd.DataFrame:
        """The mean and standard deviation over the folds or seeds."""
        path = self.path / _HISTORY_MEAN
        if not path.exists() and not self.members():
            raise DataError(f"{self.path} has no {_HISTORY_MEAN}: it holds one network, not several.")
        return read_csv(path).frame()

    # --- the network ---

    def write_weights(
        self,
        tensors: Mapping[str, np.ndarray[Any, Any]],
        member: Member | None = None,
        epoch: WeightsEpoch | None = None,
        which: WeightsChoice = "last",
    ) -> None:
        """Keep weights of the run's network, or of one fold's or seed's: those that it ended with.

        In addition those of its best epoch (`which`), where it is another one.
        """
        name = _BEST_WEIGHTS if which == "best" else _WEIGHTS
        write_weights_file(self._of_member(name, member), tensors, epoch)

    def remove_best_weights(self, member: Member | None) -> None:
        """Keep the best weights no longer: the network ended with them, and an earlier ending kept others."""
        self._of_member(_BEST_WEIGHTS, member).unlink(missing_ok=True)

    def read_weights(self, member: Member | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The weights that the run's network, or one fold's or seed's, ended with."""
        return self.read_kept_weights(member).arrays

    def read_kept_weights(self, member: Member | None = None, which: WeightsChoice = "last") -> KeptWeights:
        """Weights of the run's network, or of one fold's or seed's, and their epoch.

        The best are those that it ended with where there are no others; their epoch says whether they are.
        """
        if which == "best":
            best = self._of_member(_BEST_WEIGHTS, member)
            if best.is_file():
                return read_kept_weights(best)
        path = self._of_member(_WEIGHTS, member)
        if not path.is_file():
            raise DataError(
                f"{self.path} has no {path.relative_to(self.path)}: {self._why_no_weights(member)}"
            )
        return read_kept_weights(path)

    def has_weights(self, member: Member | None = None) -> bool:
        """Whether weights of the run's network, or of one fold's or seed's, are kept."""
        return self._of_member(_WEIGHTS, member).is_file()

    def take_networks(
        self, other: RunDirectory, members: Sequence[Member], which: WeightsChoice = "last"
    ) -> None:
        """Copy the networks of another run, and what belongs to them, so that this one needs it no longer.

        That is each member's weights and preprocessing, their history, the names of classes and words, and
        the spec as it was written.

        Args:
            other: the run that has them.
            members: which networks.
            which: with `best` only the weights of the best epochs are taken, as the weights of this run; else
                those that training ended with, and beside them those of the best epochs.
        """
        copied = {name: name for name in (_SPEC, _HISTORY, _HISTORY_MEAN, _LABELS, _VOCABULARY, CALIBRATION)}
        for member in members:
            own = [f"{member.folder}/{name}" for name in (_WEIGHTS, _BEST_WEIGHTS, _PREPROCESSING)]
            copied |= dict(zip(own, own, strict=True))
            last, best, _ = own
            if which == "best":
                del copied[best]
                copied[last] = best if (other.path / best).is_file() else last  # training ended at its best
        for name, taken in copied.items():
            source = other.path / taken
            if source.is_file():
                replace_file(self.path / name, partial(shutil.copyfile, source))

    def take_member(self, part: RunDirectory, member: Member) -> None:
        """Copy the weights of one fold or seed of another run, which trained a part of this one."""
        for name in (_WEIGHTS, _BEST_WEIGHTS):
            source = part.path / member.folder / name
            if source.is_file():
                replace_file(self.path / member.folder / name, partial(shutil.copyfile, source))

    def copy_model(
        self, folder: Path, spec: str, resolved: str, members: Sequence[Member | None]
    ) -> RunDirectory:
        """Copy what predicting needs, and what the record says, into another folder, which is then a run.

        Left out are rows of the data (the out-of-fold predictions), checkpoints, figures and reports, and the
        folders in which code of a person's own lay.

        Args:
            folder: made where it is missing.
            spec, resolved: its spec as written and with every default, in place of this run's.
            members: whose networks are copied.
        """
        make_folder(folder)
        copied = [_HISTORY, _HISTORY_MEAN, _LABELS, _VOCABULARY, CALIBRATION, _IMPORTANCE]
        for member in members:
            names = (_WEIGHTS, _BEST_WEIGHTS, _PREPROCESSING)
            copied += [name if member is None else f"{member.folder}/{name}" for name in names]
        for name in copied:
            source = self.path / name
            if source.is_file():
                replace_file(folder / name, partial(shutil.copyfile, source))
        made = RunDirectory(folder)
        self._write_shared(made, spec, resolved)
        return made

    def copy_texts(self, folder: Path, spec: str, resolved: str) -> list[Path]:
        """Copy the files that tell of the run and hold no weights: its spec, record and histories.

        Args:
            folder: made where it is missing.
            spec, resolved: as for `copy_model`.
        """
        make_folder(folder)
        for name in (_HISTORY, _HISTORY_MEAN, _IMPORTANCE):
            if (self.path / name).is_file():
                shutil.copyfile(self.path / name, folder / name)
        self._write_shared(RunDirectory(folder), spec, resolved)
        return RunDirectory(folder).text_files()

    def _write_shared(self, made: RunDirectory, spec: str, resolved: str) -> None:
        """The spec, and the record without the folders of this machine."""
        made.write_spec(spec)
        made.write_resolved(resolved)
        record = self.read_written_record()
        for code in record.custom:
            code.file = None if code.file is None else Path(code.file).name
        made.write_record(record)

    def read_card(self) -> str | None:
        """The model card; None where there is none."""
        path = self.path / CARD
        return read_text(path) if path.is_file() else None

    def write_card(self, text: str) -> Path:
        """Keep the model card, which a site of models shows, and give back its path."""
        write_text(self.path / CARD, text)
        return self.path / CARD

    def write_preprocessing(self, state: Mapping[str, Any], member: Member | None = None) -> None:
        """Keep what preprocessing learned from the training rows of the run, or of one fold or seed."""
        self._write_json(_PREPROCESSING, state, member)

    def read_preprocessing(self, member: Member | None = None) -> dict[str, Any]:
        """What preprocessing learned from the training rows of the run, or of one fold or seed."""
        return read_json_object(self._of_member(_PREPROCESSING, member))

    def write_calibration(self, document: Mapping[str, Any]) -> None:
        """Keep the calibrations and thresholds that were fitted when training ended."""
        self._write_json(CALIBRATION, document)

    def read_calibration(self) -> dict[str, Any] | None:
        """The calibrations and thresholds that were fitted; None where there are none."""
        return self._read_json(CALIBRATION)

    # --- the state that training goes on from ---

    def write_checkpoint(self, arrays: Arrays, document: Mapping[str, Any]) -> None:
        """Keep the state at an epoch's end; the one before it goes once this one reads back."""
        write_checkpoint(self.path, arrays, document)

    def read_checkpoint(self, interpret: Callable[[Checkpoint], T]) -> T:
        """The newest state that is whole, as `interpret` understands it; it raises DataError for none.

        What a killed process left unfinished is removed.
        """
        remove_unfinished(self.path)
        for folder, _, _ in os.walk(self.path):
            remove_abandoned(Path(folder))
        try:
            return read_checkpoint(self.path, interpret)
        except DataError as error:
            raise DataError(f"{error} From the start: {self.command_again()}") from error

    def command_again(self, record: RunRecord | None = None) -> str:
        """The command that trains once more, from the start, what this run trained or was to train.

        Args:
            record: its record; None where that is to be read.
        """
        if record is None:
            record = RunRecord(id=self.id)
            with contextlib.suppress(DataError):  # one that cannot be read says nothing more
                record = self.read_record()
        return f"{record.command_again} {shlex.quote(str(self.resolved_spec))}"

    def can_go_on(self, record: RunRecord) -> bool:
        """Whether a run with this record, which is not running now, was interrupted and can be resumed."""
        kept = self.has_checkpoint() or bool(starts(self.path))  # or parts, which have checkpoints
        return record.status in ("interrupted", "failed") and kept

    def remove_checkpoints(self) -> None:
        """Remove the state of a run that has ended and cannot be extended."""
        remove_checkpoints(self.path)

    def has_checkpoint(self) -> bool:
        """Whether there is a state to resume from; whether it is intact is not checked."""
        return has_checkpoint(self.path)

    # --- what predictions are called ---

    def write_labels(self, document: Mapping[str, Any]) -> None:
        """Keep the names of the classes and features."""
        self._write_json(_LABELS, document)

    def read_labels(self) -> dict[str, Any] | None:
        """The names of the classes and features; None in a run of an older nnrun."""
        return self._read_json(_LABELS)

    def write_vocabulary(self, document: Mapping[str, Any]) -> None:
        """Keep the tokens of the words that the network can see."""
        self._write_json(_VOCABULARY, document)

    def read_vocabulary(self) -> dict[str, Any] | None:
        """The tokens of the words; None where the data set has no words, or they were not at hand."""
        return self._read_json(_VOCABULARY)

    # --- what its columns matter ---

    def write_importance(self, record: ImportanceRecord) -> None:
        """Keep what was found of the input columns, in place of what was found before."""
        self._write_json(_IMPORTANCE, record.model_dump())

    def read_importance(self) -> ImportanceRecord | None:
        """What was found of the input columns; None where nobody asked.

        Raises:
            DataError: the file is damaged, or of a newer nnrun.
        """
        document = self._read_json(_IMPORTANCE)
        if document is None:
            return None
        from nnrun.records.importance_record import VERSION as KNOWN
        from nnrun.records.importance_record import ImportanceRecord

        version = document.get("version")
        refuse_newer(self.path / _IMPORTANCE, version if type(version) is int else KNOWN, KNOWN)
        try:
            return ImportanceRecord.model_validate(document)
        except ValueError:
            raise DataError(
                f"{self.path / _IMPORTANCE} is damaged. `nnrun importance {self.word}` writes it again."
            ) from None

    def remove_importance(self) -> None:
        """Keep it no longer: the run has other weights than those that were asked."""
        (self.path / _IMPORTANCE).unlink(missing_ok=True)

    # --- out-of-fold predictions ---

    def write_out_of_fold(self, write: Callable[[Path], object]) -> None:
        """Keep predictions of the rows that folds or seeds were validated on; `write` is given a path."""
        replace_file(self.path / OUT_OF_FOLD, write)

    def remove_out_of_fold(self) -> None:
        """Keep them no longer: the run has other weights than those that made them."""
        (self.path / OUT_OF_FOLD).unlink(missing_ok=True)

    def members(self) -> list[Member]:
        """The folds or seeds that have a folder here, ascending. Empty for a run of one network."""
        if not self.path.is_dir():
            return []
        found = (member_of_folder(entry.name) for entry in self.path.iterdir() if entry.is_dir())
        return sorted(member for member in found if member)

    # --- the rest ---

    def text_files(self) -> list[Path]:
        """The files that tell of the run and hold no weights: its spec, record and histories."""
        names = (RECORD, _SPEC, _RESOLVED, _HISTORY, _HISTORY_MEAN, _IMPORTANCE)
        return [self.path / name for name in names if (self.path / name).is_file()]

    def figures(self) -> list[Path]:
        """The figures that have been drawn of it."""
        return sorted((self.path / _PLOTS).glob("*.png"))

    def plots_dir(self) -> Path:
        """The folder for figures, made when it is first asked for."""
        folder = self.path / _PLOTS
        make_folder(folder)
        return folder

    def figure(self, name: str) -> Path:
        """The file of a figure, in the folder for figures."""
        return self.plots_dir() / f"{name}.png"

    def write_report(self, text: str) -> Path:
        """Keep the page that tells all of the run; its path."""
        path = self.path / _REPORT
        write_text(path, text)
        return path

    def _write_json(self, name: str, document: Mapping[str, Any], member: Member | None = None) -> None:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        write_text(self._of_member(name, member), text + "\n")

    def _read_json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        return read_json_object(path) if path.exists() else None

    def _of_member(self, name: str, member: Member | None) -> Path:
        return self.path / name if member is None else self.path / member.folder / name

    def _why_no_weights(self, member: Member | None) -> str:
        record = RunRecord(id=self.id)
        with contextlib.suppress(DataError):  # one that cannot be read says nothing more
            record = self.read_record()
        if record.status == "running":
            return "the run is still training, and saves its networks when it ends."
        members = self.members()
        if members and member not in members:
            return f"it holds {', '.join(map(str, members))}."
        resume = f" It can go on: nnrun train --resume {self.word}." if self.can_go_on(record) else ""
        return f"the run ended before its network was saved.{resume}"


def create_run(runs_dir: Path, name: str, *, now: datetime | None = None) -> RunDirectory:
    """Make the folder of a new run. Two runs never share one, whoever else makes runs at the same moment.

    Args:
        runs_dir: where runs are kept; made where it is missing.
        name: the experiment's name, in any script; the folder's name keeps what is safe in a file name.
        now: the time that the id tells; default: the present.
    """
    make_folder(runs_dir)
    for _ in range(1000):
        path = runs_dir / new_id(name, now=now)
        try:
            os.mkdir(path)  # fails where the folder exists: that is what makes it ours alone
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"Cannot make a run in {runs_dir}: {error.strerror}.") from error
        return RunDirectory(path)
    raise NnrunError(f"Cannot make a run in {runs_dir}: too many runs start with {path.name[:-5]}.")


def refuse_unwritable(runs_dir: Path) -> None:
    """Raise UsageError where no run can be made in a folder. Nothing is made, not even the folder itself."""
    folder = runs_dir
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        file = "a file of that name already exists" if folder == runs_dir else f"{folder} is a file"
        raise UsageError(f"Cannot make the folder {runs_dir}: {file}.")
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
        reason = os.strerror(errno.EROFS if read_only else errno.EACCES)
        raise UsageError(
            f"Cannot make a run in {runs_dir}: {folder} may not be written ({reason}). Name another folder "
            "with --runs-dir."
        )


def new_id(name: str, suffix: str = "", *, now: datetime | None = None) -> str:
    """An id as folders have it: name, UTC time and four digits at random. It may be taken."""
    moment = (now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    return f"{slug(name)}{suffix}-{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def slug(name: str) -> str:
    """A name as a part of a file name, at most 60 bytes long: what file systems and shells take of it.

    Letters and digits of any script, `.`, `_` and `-` stay. Marks on Latin letters go (`é` is `e`), other
    scripts keep theirs; all else becomes a hyphen. There is no leading dot or hyphen, and no name is empty.
    """
    safe = re.sub("-{2,}", "-", _plain_letters(name)).strip("-.")
    safe = safe.encode()[:_LONGEST_SLUG].decode(errors="ignore")  # file systems count bytes
    return safe.rstrip("-.") or "run"


def _plain_letters(name: str) -> str:
    """Compatible letters in their plain form, a hyphen for each sign that is none."""
    letters: list[str] = []
    for letter in unicodedata.normalize("NFKD", "".join(_SPELLED.get(c, c) for c in name)):
        if unicodedata.category(letter).startswith("M"):
            if letters and letters[-1].isalnum() and letters[-1].isascii():
                continue  # a mark on a Latin letter
            if not letters or letters[-1] == "-":
                continue  # a mark on nothing
            letters.append(letter)
        else:
            letters.append(letter if letter.isalnum() or letter in "._" else "-")
    return unicodedata.normalize("NFC", "".join(letters))


# Latin letters that have no decomposition.
_SPELLED = {"ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
