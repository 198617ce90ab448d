"""What scripts of both frameworks share: the arguments of `fit`, averaging, early stopping, and `main`."""

from __future__ import annotations

from nnrun.experiment.ejecting.lesson import Lesson
from nnrun.experiment.ejecting_rows.row_code import fold_lines
from nnrun.spec import schema
from nnrun.spec.score_columns import directions
from nnrun.validation.summary import monitor_mode


def fit_arguments(lesson: Lesson) -> list[str]:
    """The arguments of `fit`."""
    fold = ["fold"] if lesson.has_folds else []
    return [*fold, "x", "y", "train", *lesson.measured_rows, "history"]


def decay_line(lesson: Lesson) -> str:
    """The line that says how slowly the average of the weights follows every step, where it does."""
    averaging = lesson.spec.weight_averaging
    assert isinstance(averaging, schema.Ema), "no other average follows every step"
    decay, longest = averaging.decay, "max(50, 2 * math.ceil(len(train) / BATCH_SIZE))"
    return f"decay = {f'1 - 1 / {longest}' if decay is None else repr(decay)}"


def stopping_lines(
    lesson: Lesson, *, kept: str, value: str = "measured[{place}]", says: bool = True
) -> tuple[list[str], list[str]]:
    """Lines before the loop of epochs, and those at the end of an epoch; nothing without early stopping.

    Args:
        lesson: what is trained.
        kept: an expression of the weights that are kept of the best epoch.
        value: an expression of the monitored score, with its `name` and its `place` among the measured ones.
        says: add a comment that has the name.
    """
    stopping = lesson.spec.early_stopping
    if stopping is None:
        return [], []
    name = stopping.monitor
    first = 2 if lesson.has_folds else 1
    maximize = monitor_mode(name, directions(lesson.spec)) == "max"
    sign, worst = (">", "-np.inf") if maximize else ("<", "np.inf")
    by = f" {'+' if maximize else '-'} {stopping.min_delta!r}" if stopping.min_delta else ""
    place = lesson.columns.index(name) - first
    after = [
        f"    monitored = {value.format(name=name, place=place)}{f'  # {name}' if says else ''}",
        f"    if monitored {sign} best{by}:",
        "        best, waited = monitored, 0",
        *([f"        best_weights = {kept}"] if stopping.restore_best else []),
        "    else:",
        "        waited += 1",
        "    if waited >= PATIENCE:",
        "        break",
    ]
    if stopping.start_from_epoch:
        start = f"    if epoch > {stopping.start_from_epoch}:  # the first ones do not count"
        after = [start, *(f"    {line}" for line in after)]
    late = stopping.restore_best and stopping.start_from_epoch  # training may end before any epoch counts
    return [f"best, waited{', best_weights' if late else ''} = {worst}, 0{', None' if late else ''}"], after


def restoring_lines(lesson: Lesson, line: str) -> list[str]:
    """Lines behind the loop that give a network the weights of the best epoch, by this line."""
    stopping = lesson.spec.early_stopping
    if stopping is None or not stopping.restore_best:
        return []
    if not stopping.start_from_epoch:
        return [line]
    return ["if best_weights is not None:", f"    {line}"]


def stopping_constants(lesson: Lesson) -> list[str]:
    """The constants of averaging and of early stopping."""
    average, stopping = lesson.average, lesson.spec.early_stopping
    first = None if average is None else average.first_epoch
    averaged = [] if first is None else [f"AVERAGED_FROM = {first}"]
    return averaged + ([] if stopping is None else [f"PATIENCE = {max(stopping.patience, 1)}"])


def main_lines(lesson: Lesson) -> list[str]:
    """The function `main`, of either framework."""
    split, loops = fold_lines(lesson)
    indent = "    " if loops else ""
    return [
        "def main():",
        "    x, y = load()",
        '    with open(HISTORY, "w", newline="") as file:',
        "        history = csv.writer(file)",
        '        history.writerow(COLUMNS.split(","))',
        *(f"        {line}" for line in split),
        f"        {indent}fit({', '.join(fit_arguments(lesson))})",
    ]
