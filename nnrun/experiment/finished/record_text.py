"""What a run's record says of its scores: for its closing screen and for its page alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnrun.records import SHUFFLED, members_of_record
from nnrun.spec.wording import listing, quoted, with_std


def rows_in_words(rows: Mapping[str, Any], between: str, training: str = "training rows") -> str:
    """`75 to 225 training rows, 74 or 75 validation rows`: the range where folds differ.

    Args:
        rows: what a record has of them; there are training rows.
        between: what stands between the two.
        training: what training rows are called where validation rows follow.
    """
    ranges = rows.get("ranges") or {}
    texts = {
        part: range_in_words(ranges.get(part) or [rows[part]])
        for part in ("train", "validation")
        if rows.get(part)
    }
    if "validation" not in texts:
        return f"{texts['train']} training rows"
    return f"{texts['train']} {training}{between}{texts['validation']} validation rows"


def range_in_words(numbers: Sequence[int]) -> str:
    """`712 or 713` of two neighbours, `75 to 225` of others, `75` of one."""
    joint = " or " if len(numbers) == 2 and numbers[1] - numbers[0] == 1 else " to "
    return joint.join(f"{number:,}" for number in numbers)


@dataclass(frozen=True)
class ScoreTable:
    """Loss and metrics, as far as the record has them.

    Attributes:
        heading: of which epoch, and over what the deviations are.
        names: the measures, a row each.
        columns: heading (`training`, `validation`, `test`, `baseline`) → measure → text; none is all empty.
    """

    heading: str
    names: Sequence[str]
    columns: Mapping[str, Mapping[str, str]]

    def rows(self, label: Callable[[str], str] = lambda name: name) -> list[list[str]]:
        """The headings, then a row for each measure, its name as `label` has it."""
        body = [[label(name), *(cells[name] for cells in self.columns.values())] for name in self.names]
        return [["", *self.columns], *body]


def best_epoch_text(record: Mapping[str, Any]) -> str:
    """`best epoch 53 by val_mae, smoothed over 16 epochs`: which, of what, and how it was found."""
    by, over = record.get("chosen_by"), record.get("smoothed_over")
    text = f"best epoch {record.get('best_epoch')}" + (f" by {by}" if by else "")
    if not isinstance(over, int):
        return text
    return text + (f", smoothed over {over} epochs" if over > 1 else ", smoothed")


def score_table(record: Mapping[str, Any], *, last_epoch: bool = False) -> ScoreTable | None:
    """The scores at the best epoch, else at the last; None where there are none.

    Args:
        record: the run's record.
        last_epoch: at the last in any case.
    """
    best, last, test = record.get("best") or {}, record.get("last") or {}, record.get("test") or {}
    best = {} if last_epoch and last else best
    scores, std = best or last, record.get("best_std" if best else "last_std") or {}
    names = [name for name in scores if not name.startswith("val_")] or list(test)
    if not names:
        return None
    test_std, baseline = record.get("test_std") or {}, record.get("baseline") or {}
    columns: dict[str, Mapping[str, str]] = {
        "training": {name: with_std(scores.get(name), std.get(name)) for name in names},
        "validation": {name: with_std(scores.get(f"val_{name}"), std.get(f"val_{name}")) for name in names},
        "test": {name: with_std(test.get(name), test_std.get(name)) for name in names},
        "baseline": {name: with_std(baseline.get(name)) for name in names},
    }
    # The test was of these weights, best epoch or not.
    measured = record.get("test_epoch") or record.get("weights_epoch")
    shown_epoch = record.get("best_epoch") if best else record.get("last_epoch", record.get("epochs_run"))
    if isinstance(measured, int) and measured != shown_epoch:
        columns = {f"test, epoch {measured}" if h == "test" else h: c for h, c in columns.items()}
    shown = {heading: cells for heading, cells in columns.items() if any(cells.values())}
    heading = (
        f"{best_epoch_text(record)}, chosen on these validation rows" if best else f"epoch {shown_epoch}"
    )
    heading += ", the last" if last_epoch and not best else ""
    heading += f" (mean ± std over {_trained_of_all(record)})" if std else ""
    return ScoreTable(heading, names, shown)


def _trained_of_all(record: Mapping[str, Any]) -> str:
    """`folds`, or `4 of 5 folds` where some were not trained."""
    kind, numbers = members_of_record(record)
    missing = _not_trained(record)
    return f"{len(numbers) - len(missing)} of {len(numbers)} {kind}s" if missing else f"{kind}s"


def _not_trained(record: Mapping[str, Any]) -> list[int]:
    missing = set(record.get("not_trained") or [])
    return [number for number in members_of_record(record)[1] if number in missing]


def unfinished_text(record: Mapping[str, Any]) -> str:
    """Which folds or seeds of a run that ended early were not trained, or were cut off before the others."""
    kind, numbers = members_of_record(record)
    if kind is None:
        return ""
    missing, sentences = _not_trained(record), []
    trained = [number for number in numbers if number not in missing]
    if missing and trained:
        were = "was" if len(missing) == 1 else "were"
        left = (
            f"{len(trained)} of {len(numbers)} {kind}s" if len(trained) > 1 else f"{kind} {trained[0]} only"
        )
        sentences.append(f"{_named(kind, missing)} {were} not trained: the scores are of {left}.")
    for epochs, behind in _behind(record, kind).items():
        sentences.append(f"{_named(kind, behind)} reached epoch {epochs} only.")
    return "\n".join(sentences)


def _behind(record: Mapping[str, Any], kind: str) -> dict[int, list[int]]:
    """The epoch at which folds or seeds were cut off before the others ended → their numbers."""
    if record.get("status") == "completed":
        return {}
    stopped = {str(number) for number in record.get("stopped_early") or {}}
    behind: dict[int, list[int]] = {}
    for member in record.get("members") or []:
        number, epochs = str(member.get("member")).removeprefix(f"{kind}-"), member.get("epochs")
        if isinstance(epochs, int) and epochs < (record.get("epochs_run") or 0) and number not in stopped:
            behind.setdefault(epochs, []).append(int(number))
    return behind


def _named(kind: str, numbers: Sequence[int]) -> str:
    """`Fold 2`, `Folds 1, 2 and 3`."""
    return f"{kind.capitalize()}{'s' if len(numbers) > 1 else ''} {listing([str(n) for n in numbers], 'and')}"


def member_rows(record: Mapping[str, Any], *, last_epoch: bool = False) -> list[list[str]]:
    """What each fold or seed scored where `score_table` has their mean: a row for each measure.

    Empty for one network. The first row are headings: the numbers of the folds or seeds.
    """
    members, kind = record.get("members") or [], members_of_record(record)[0]
    if len(members) < 2 or kind is None:
        return []
    part = "best" if record.get("best") and not last_epoch else "last"
    scores = {str(m.get("member")).removeprefix(f"{kind}-"): m.get(part) or {} for m in members}
    names = list(next(iter(scores.values())))
    names = [name for name in names if name.startswith("val_")] or names
    rows = [[f"each {kind}", *scores]]
    return rows + [[name, *(with_std(of.get(name)) for of in scores.values())] for name in names]


def interval_text(record: Mapping[str, Any]) -> str:
    """The confidence intervals of the means over folds or seeds."""
    intervals = record.get("best_interval") or {}
    shown = [
        f"{name} {low:.4g} to {high:.4g}"
        for name, (low, high) in intervals.items()
        if name.startswith("val_")
    ]
    return f"95 % interval of the mean: {', '.join(shown)}." if shown else ""


def baseline_text(record: Mapping[str, Any]) -> str:
    """What the baseline is, in words."""
    baseline = record.get("baseline") or {}
    if not baseline:
        return ""
    text = f"Baseline: the best constant for each score, on the {record.get('baseline_on')} rows"
    shuffled = baseline.get(SHUFFLED)
    return f"{text}; shuffled labels would score {shuffled:.2f}." if shuffled is not None else f"{text}."


def caution_text(record: Mapping[str, Any]) -> str:
    """What to know before the scores, as sentences; empty where there is nothing."""
    several = len(members_of_record(record)[1]) > 1
    sentences = (
        no_better_text(record.get("not_better_than_baseline") or {}, several=several),
        near_perfect_text(record.get("near_perfect")),
    )
    return "\n".join(text for text in sentences if text)


def no_better_text(worse: Mapping[str, Sequence[float]], *, several: bool) -> str:
    """That a constant does as well; empty where the networks beat it."""
    if not worse:
        return ""
    who = "On average the networks do" if several else "The network does"
    pairs = [f"{name} {with_std(value)} (baseline {with_std(best)})" for name, (value, best) in worse.items()]
    return f"{who} not beat the best constant: {', '.join(pairs)}."


def near_perfect_text(found: Mapping[str, Any] | None) -> str:
    """That a score is close to perfect, and which column to look at."""
    if not found:
        return ""
    name, column = found["score"], quoted(str(found.get("column")))
    return (
        f"{name} {with_std(found['value'])} is close to perfect. The input that predicts the target best by "
        f"itself is {column} ({name} {with_std(found.get('alone'))} alone): if it is a copy of the target, "
        "leave it out."
    )
