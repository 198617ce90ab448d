"""A run's card, in its own folder or in one with all that predicting needs: a repository of the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nnrun.errors import UsageError, printable
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, Access
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.setup.data_location import text_without_folders, without_folders
from nnrun.experiment.sharing.card import card_text
from nnrun.records import CARD, RunDirectory, all_looks
from nnrun.spec.reading.load import read_kept_spec
from nnrun.spec.wording import listing_of_some
from nnrun.spec.writing.dump import dump_spec

_MOST_SHOWN = 3


@dataclass(frozen=True)
class Shared:
    """What was written.

    Attributes:
        card: the card's file.
        folder: that with the card and the model.
    """

    card: Path
    folder: Path


def share_run(
    run: RunDirectory,
    folder: Path | None = None,
    access: Access = DEFAULT_ACCESS,
    *,
    license_: str | None = None,
    overwrite: bool = False,
) -> Shared:
    """Write the card, and where a folder is named, the model beside it.

    Args:
        run: the run.
        folder: a folder, made where it is missing; None for the run's own.
        access: how the run is opened; of the weights that it names the card tells the scores.
        license_: the identifier of a license.
        overwrite: whether a card of another text, perhaps one that a person has changed, is replaced.

    Raises:
        UsageError: the folder holds another run, files that are none of this run, or another card.
        DataError: the run has no weights, or its files are damaged.
    """
    predictor = load_predictor(run, access)
    record = run.read_record()
    looks = all_looks(run.runs_dir).of_record(record) if record.test_uses and not record.smoke else None
    own = read_kept_spec(run.read_resolved(), file=f"the spec of {run.id}")
    spec_text = dump_spec(without_folders(own))
    text = card_text(predictor, looks, license_, spec_text)
    target = run if folder is None or folder.resolve() == run.path.resolve() else RunDirectory(folder)
    _refuse(target, run, text, overwrite)
    if target is run:
        return Shared(run.write_card(text), run.path)
    members = run.members() if access.member is None else [n.member for n in predictor.networks]
    with _all_or_nothing(target.path):
        run.copy_model(
            target.path, text_without_folders(run.read_spec(), own), spec_text, list(members) or [None]
        )
        return Shared(target.write_card(text), target.path)


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[None]:
    """Delete what was added to a folder, and the folder if it is new, where not all could be written.

    A part of a model would be no run, and the same command would refuse to write beside it.
    """
    there = {folder, *folder.rglob("*")} if folder.is_dir() else set()
    try:
        yield
    except BaseException:
        for path in sorted({folder, *folder.rglob("*")} - there, reverse=True):  # what is within comes first
            with suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        raise


def _refuse(target: RunDirectory, run: RunDirectory, text: str, overwrite: bool) -> None:
    """Raise UsageError where what lies there would be lost, or mixed up with this run."""
    if target.path.exists() and not target.path.is_dir():
        raise UsageError(f"--to {target.path} is a file; name a folder.")
    if target.is_run() and target is not run:
        there = target.read_written_record().id
        if there != run.read_written_record().id:
            raise UsageError(f"--to {target.path} holds another run, {there}; name another folder.")
    if target is not run and not target.is_run() and (files := _files_of_others(target.path)):
        held = listing_of_some([printable(name) for name in files], _MOST_SHOWN)
        raise UsageError(
            f"--to {target.path} holds {held}, and is no folder that nnrun card "
            "made of this run: its files would be replaced, or mixed up with the model's. Name a new folder, "
            "or an empty one."
        )
    kept = target.read_card()
    if kept is not None and kept != text and not overwrite:
        raise UsageError(
            f"{target.path} has a {CARD} with another text, which a person may have written. --overwrite "
            "replaces it; or move it away."
        )


def _files_of_others(folder: Path) -> list[str]:
    """The files in a folder but for those of a new repository: hidden ones, a license, and a card."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not name.startswith(".") and name not in (CARD, "LICENSE")]
