"""What a source needs besides its spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.data.dataset import Flags
from nnrun.spec.ports import Port
from nnrun.spec.wording import counted, listing, quoted


def lacking_targets(output: Port, names: Sequence[str], present: Flags) -> str:
    """A sentence on the rows that have no target for one of several outputs.

    Args:
        output: its name.
        names: of its columns or its array.
        present: (N,) which rows have a target.
    """
    lacking = int((~present).sum())
    lack = "lacks" if lacking == 1 else "lack"
    of = f"{counted(lacking, 'row')} of {len(present):,} {lack} its target"
    where = "" if list(names) == [output] else f" ({listing([quoted(name) for name in names], 'and')})"
    return (
        f"output {quoted(output)}: {of}{where}, and count{'s' if lacking == 1 else ''} for other outputs only"
    )


@dataclass(frozen=True)
class LoadContext:
    """Where to look, whether the real rows are wanted, and whom to tell.

    Attributes:
        data_dir: where files are looked for first, or None.
        smoke: a few hundred rows of the data set's shape instead of the data.
        split_columns: columns that the validation needs; no inputs unless the spec says so.
        inputs, outputs: where a spec names them, the array or the columns of each; else empty.
        on_message: called with what takes long or went differently.
        on_doubt: called with what is doubtful about columns; None: as `on_message`.
        text_targets: the outputs whose targets are texts that may be different in every row: no classes.
        token_inputs: the inputs whose rows are lists of word indices, also where they are of one length.
    """

    data_dir: Path | None = None
    smoke: bool = False
    on_message: Callable[[str], None] = lambda text: None
    split_columns: tuple[str, ...] = ()
    inputs: Mapping[Port, tuple[str, ...]] = field(default_factory=dict)
    outputs: Mapping[Port, tuple[str, ...]] = field(default_factory=dict)
    text_targets: tuple[Port, ...] = ()
    token_inputs: tuple[Port, ...] = ()
    on_doubt: Callable[[str], None] | None = None
