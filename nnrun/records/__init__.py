"""What a run leaves on disk. No other package knows a file name under runs/."""

from nnrun.atomic_files import locked
from nnrun.records.delete_run import delete_run, refuse_to_delete
from nnrun.records.history import HistoryWriter, history_columns, measures, parse_history
from nnrun.records.index import (
    LAST,
    STATUSES,
    find_run,
    find_runs,
    list_runs,
    run_ids,
    runs_of_sweep,
)
from nnrun.records.looks import Look, LookCount, looks_of_record
from nnrun.records.run_directory import (
    CALIBRATION,
    CARD,
    MOST_OUT_OF_FOLD,
    OUT_OF_FOLD,
    RunDirectory,
    create_run,
    refuse_unwritable,
)
from nnrun.records.run_record import (
    MEASURING_COMMANDS,
    MEMBER_TYPES,
    SHUFFLED,
    Member,
    MemberType,
    RunRecord,
    member_of_folder,
    member_type_of,
    now,
)
from nnrun.records.run_summary import BROKEN, RunSummary
from nnrun.records.sweep_directory import (
    FINISHED,
    OpenSweep,
    SweepDirectory,
    SweepRecord,
    TrialRecord,
    TrialStatus,
    find_sweep,
    list_sweeps,
    open_sweep,
)
from nnrun.records.test_set_uses import Looks, all_looks, look_at_test_set
from nnrun.records.weights import KeptWeights, WeightsChoice, WeightsEpoch, read_weights_file

__all__ = [
    "BROKEN",
    "CALIBRATION",
    "CARD",
    "FINISHED",
    "LAST",
    "MEASURING_COMMANDS",
    "MEMBER_TYPES",
    "MOST_OUT_OF_FOLD",
    "OUT_OF_FOLD",
    "SHUFFLED",
    "STATUSES",
    "HistoryWriter",
    "KeptWeights",
    "Look",
    "LookCount",
    "Looks",
    "Member",
    "MemberType",
    "OpenSweep",
    "RunDirectory",
    "RunRecord",
    "RunSummary",
    "SweepDirectory",
    "SweepRecord",
    "TrialRecord",
    "TrialStatus",
    "WeightsChoice",
    "WeightsEpoch",
    "all_looks",
    "create_run",
    "delete_run",
    "find_run",
    "find_runs",
    "find_sweep",
    "history_columns",
    "list_runs",
    "list_sweeps",
    "locked",
    "look_at_test_set",
    "looks_of_record",
    "measures",
    "member_of_folder",
    "member_type_of",
    "now",
    "open_sweep",
    "parse_history",
    "read_weights_file",
    "refuse_to_delete",
    "refuse_unwritable",
    "run_ids",
    "runs_of_sweep",
]
