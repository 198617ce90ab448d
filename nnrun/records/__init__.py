"""What a run leaves on disk. No other package knows a file name under runs/."""

from nnrun.records.history import HistoryWriter, history_columns, is_finite, measures, parse_history
from nnrun.records.index import (
    BROKEN,
    LAST,
    STATUSES,
    RunSummary,
    delete_run,
    find_run,
    find_runs,
    list_runs,
    recorded_directions,
    refuse_to_delete,
    runs_of_sweep,
)
from nnrun.records.lock import locked
from nnrun.records.member import (
    MEMBER_KINDS,
    Member,
    MemberKind,
    member_kind,
    member_of_folder,
    members_of_record,
)
from nnrun.records.run_directory import RunDirectory, create_run, refuse_unwritable
from nnrun.records.scores import SHUFFLED
from nnrun.records.sweep_directory import (
    OpenSweep,
    SweepDirectory,
    find_sweep,
    list_sweeps,
    open_sweep,
)
from nnrun.records.sweep_record import FINISHED, SweepRecord, TrialRecord, TrialStatus
from nnrun.records.test_set_ledger import Look, looks_of_record
from nnrun.records.test_set_looks import Looks, Numbered, all_looks, count_look
from nnrun.records.weights import KeptWeights, WeightsChoice, WeightsEpoch, read_weights_file

__all__ = [
    "BROKEN",
    "FINISHED",
    "LAST",
    "MEMBER_KINDS",
    "SHUFFLED",
    "STATUSES",
    "HistoryWriter",
    "KeptWeights",
    "Look",
    "Looks",
    "Member",
    "MemberKind",
    "Numbered",
    "OpenSweep",
    "RunDirectory",
    "RunSummary",
    "SweepDirectory",
    "SweepRecord",
    "TrialRecord",
    "TrialStatus",
    "WeightsChoice",
    "WeightsEpoch",
    "all_looks",
    "count_look",
    "create_run",
    "delete_run",
    "find_run",
    "find_runs",
    "find_sweep",
    "history_columns",
    "is_finite",
    "list_runs",
    "list_sweeps",
    "locked",
    "looks_of_record",
    "measures",
    "member_kind",
    "member_of_folder",
    "members_of_record",
    "open_sweep",
    "parse_history",
    "read_weights_file",
    "recorded_directions",
    "refuse_to_delete",
    "refuse_unwritable",
    "runs_of_sweep",
]
