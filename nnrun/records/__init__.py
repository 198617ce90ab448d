"""What a run leaves on disk. No other package knows a file name under runs/."""

from nnrun.records.history import HistoryWriter, history_columns, measures
from nnrun.records.index import BROKEN, LAST, STATUSES, RunSummary, delete_run, find_run, list_runs
from nnrun.records.ledger import Look, looks_of_record
from nnrun.records.looks import Looks, Numbered, all_looks, count_look
from nnrun.records.member import MEMBER_KINDS, Member, MemberKind, member_kind
from nnrun.records.run_directory import RunDirectory, create_run
from nnrun.records.weights import read_weights_file

__all__ = [
    "BROKEN",
    "LAST",
    "MEMBER_KINDS",
    "STATUSES",
    "HistoryWriter",
    "Look",
    "Looks",
    "Member",
    "MemberKind",
    "Numbered",
    "RunDirectory",
    "RunSummary",
    "all_looks",
    "count_look",
    "create_run",
    "delete_run",
    "find_run",
    "history_columns",
    "list_runs",
    "looks_of_record",
    "measures",
    "member_kind",
    "read_weights_file",
]
