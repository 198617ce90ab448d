"""run.json as a typed record: what is known of a run, its fields in the order of the file.

A field that was never set is left out of the file, so a record holds only what has been found out so far.
A file may have been damaged, edited, or written by an older nnrun: `RunRecord.read` leaves out what is not of
a field's type, as if it had never been written, and so never fails on a JSON object.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)

from nnrun.atomic_files import plain

MemberType = Literal["fold", "seed"]
MEMBER_TYPES: tuple[MemberType, ...] = get_args(MemberType)

_FOLDER = re.compile(rf"({'|'.join(MEMBER_TYPES)})-(0|[1-9][0-9]*)")


@dataclass(frozen=True, order=True)
class Member:
    """`fold 2`, `seed 7`.

    Attributes:
        type: also the first column of the run's history.
        id: the fold's index, or the seed.
    """

    type: MemberType
    id: int

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    @property
    def folder(self) -> str:
        """The name of its folder in the run's."""
        return f"{self.type}-{self.id}"


def member_of_folder(name: str) -> Member | None:
    """The member whose folder has this name, or None."""
    match = _FOLDER.fullmatch(name)
    if match is None:
        return None
    return Member("fold" if match[1] == "fold" else "seed", int(match[2]))


def member_type_of(columns: Iterable[object]) -> MemberType | None:
    """What tells apart the networks of a history with these columns; None where there is one network."""
    names = set(columns)
    return next((member_type for member_type in MEMBER_TYPES if member_type in names), None)


VERSION = 2
"""Of the format of run.json. A file of a higher version is not read.

Version 1 had what `OF_NETWORK` names, and `test_members`, as maps from a fold or seed.
"""

OF_NETWORK = ("stopped_early", "weights_epoch", "weights_averaged", "best_weights_epoch", "test_epoch")
"""Fields of a record that has one network; of several each member has its own."""

SHUFFLED = "accuracy_shuffled"
"""The accuracy of labels against themselves in another order (the book's listing 3.21), in `baseline`."""

MEASURING_COMMANDS = frozenset({"curve", "lr"})
"""Commands that train networks only to measure a setting. `@last` is none of their runs, and `ls` lists them
where it is asked for them."""

RunStatus = Literal["running", "completed", "interrupted", "failed", "diverged"]

_SKIP_MALFORMED = "skip malformed fields"


def now() -> str:
    """The time, as records hold it: ISO 8601 in UTC, fine enough to tell which of two runs began first."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def _finite_scores(value: object) -> object:
    """The entries that are numbers; None for NaN and infinity, which JSON has no word for."""
    if not isinstance(value, Mapping):
        return value
    if all(type(of) is float and math.isfinite(of) for of in value.values()):
        return value  # as nnrun writes them: a list of runs asks for them a hundred thousand times
    numbers = {name: of for name, of in value.items() if of is None or _is_number(of)}
    return {name: None if of is None or not math.isfinite(of) else float(of) for name, of in numbers.items()}


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float)


def _with_members(found: Mapping[str, Any]) -> dict[str, Any]:
    """A file of any version as the present one has it."""
    maps = {n: found[n] for n in (*OF_NETWORK, "test_members") if isinstance(found.get(n), Mapping)}
    rest = {name: value for name, value in found.items() if name not in maps}
    kind = "fold" if found.get("folds") else "seed" if found.get("seeds") else None
    if not maps or kind is None:  # the only network had the id 0
        return rest | {name: epochs["0"] for name, epochs in maps.items() if "0" in epochs}
    listed = found.get("members")
    members = {
        member["member"]: dict(member)
        for member in (listed if isinstance(listed, list) else ())
        if isinstance(member, Mapping) and isinstance(member.get("member"), str)
    }
    for name, of_members in maps.items():
        for key, value in of_members.items():
            folder, field = (key, "test") if name == "test_members" else (f"{kind}-{key}", name)
            if member_of_folder(folder) is not None:
                members.setdefault(folder, {"member": folder})[field] = value
    return rest | {"members": list(members.values())}


Count = Annotated[int, Field(ge=0, lt=2**63)]
Scores = Annotated[Mapping[str, float | None], BeforeValidator(_finite_scores)]
"""Column of the history, or measure → value; None for one that is not finite."""
Pairs = Mapping[str, Annotated[list[float], Field(min_length=2, max_length=2)]]

T = TypeVar("T")


def _skip_malformed(value: Any, handler: Callable[[Any], T], info: ValidationInfo) -> T:
    """Where a file is read, leave out the fields of an object, or the items of a list, that are malformed."""
    try:
        return handler(value)
    except ValidationError as error:
        malformed = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
        if info.context == _SKIP_MALFORMED and isinstance(value, Mapping):
            return handler({name: of for name, of in value.items() if name not in malformed})
        if info.context == _SKIP_MALFORMED and isinstance(value, list):
            return handler([of for index, of in enumerate(value) if index not in malformed])
        raise


class _Record(BaseModel):
    """A JSON object of run.json. Keys of other versions are kept as they are."""

    model_config = ConfigDict(extra="allow", strict=True, defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
        return _skip_malformed(value, handler, info)

    def unset(self, *names: str) -> None:
        """Leave fields out of the file, as if they had never been set."""
        for name in names:
            setattr(self, name, type(self).model_fields[name].get_default(call_default_factory=True))
            self.model_fields_set.discard(name)


Item = TypeVar("Item", bound=_Record)
Records = Annotated[list[Item], WrapValidator(_skip_malformed)]


class RowCounts(_Record):
    """Rows of the first fold, and of each part the least and the most where folds differ.

    `inner`: those that decide about early stopping, where they are neither training nor validation rows.
    """

    train: Count = 0
    inner: Count = 0
    validation: Count = 0
    test: Count = 0
    ranges: dict[str, list[Count]] = {}


class DataRecord(_Record):
    """A file, or a bundled data set, that the rows came from."""

    name: str = ""
    sha256: str = ""
    rows: Count | None = None
    note: str = ""


class VectorsRecord(_Record):
    """A file of word vectors that an embedding started from.

    Attributes:
        name: of the file.
        sha256: of its bytes.
        weight: the name of the table in the weights file.
        words: how many words the network knows; of several networks the one that lacks the most vectors.
        found: how many of them have a vector in the file.
    """

    name: str
    sha256: str
    weight: str
    words: int
    found: int


class CodeRecord(_Record):
    """A module of the user's own code that the spec names."""

    objects: list[str] = []
    module: str
    file: str | None = None
    sha256: str | None = None


class TrialOfSweep(_Record):
    """Which trial of a sweep a run is: its number from 1, and key of the spec → value."""

    number: Count
    values: dict[str, Any] = {}


class ChosenFrom(_Record):
    """Why a final run trains for as long as it does.

    Attributes:
        parent: the id of the run whose validation chose.
        column: the validated column that chose.
        epoch: its best epoch, from 1.
        smoothed: whether the curve was smoothed first, as the mean over several networks is.
        smoothed_over: over about how many epochs; None where it was not.
    """

    parent: str
    column: str
    epoch: Count
    smoothed: bool = False
    smoothed_over: Count | None = None


class TestUse(_Record):
    """One use of a test set by a run.

    Attributes:
        command: `final`, `evaluate` or `predict`.
        at: when.
        data: the data set, as a spec names it.
        look: which look at this test set it was by experiments of the run's name, from 1.
        look_of_any: which it was by experiments of any name.
        sha256: of the files that the test rows come from, where these are not all that `data` of the run
            lists.
    """

    __test__ = False  # its name begins as pytest's classes do

    command: str = ""
    at: str = ""
    data: str | None = None
    look: Count | None = None
    look_of_any: Count | None = None
    sha256: list[str] | None = None


class MemberRecord(_Record):
    """A fold or a seed.

    Attributes:
        member: the name of its folder.
        best, last: its scores at the best epoch of all, and at its own last epoch.
        kept: the validation scores of the weights that it kept, where they are known.
        epochs: that were trained.
        stopped_early, stopped_by_time, weights_epoch, best_weights_epoch, test_epoch, weights_averaged: as
            `RunRecord` has them for one network.
        test: its scores on the test set.
    """

    member: str
    best: Scores = {}
    last: Scores = {}
    kept: Scores = {}
    epochs: Count | None = None
    stopped_early: Count | None = None
    stopped_by_time: Count | None = None
    weights_epoch: Count | None = None
    weights_averaged: bool = False
    best_weights_epoch: Count | None = None
    test: Scores = {}
    test_epoch: Count | None = None

    @property
    def id(self) -> int | None:
        """The fold's index, or the seed."""
        named = member_of_folder(self.member)
        return None if named is None else named.id


class LinearMemberRecord(_Record):
    """The linear model that is averaged into each network of an ensemble of folds.

    Attributes:
        model: which: `ridge` or `logistic`; None where there is none.
        shares: of each network what the linear model counts, from 0 to 1; the network counts the rest.
        left_out: why there is none.
        use_bias: whether the last layer of the networks had a bias, which it has with a linear model.
        lists_columns: whether the spec of the networks lists the columns, as that with linear models does.
        networks_alone: measure → what the networks score without it, on the same validation rows.
    """

    model: str | None = None
    shares: list[float] = []
    networks_alone: dict[str, float] = {}
    left_out: str | None = None
    use_bias: bool = True
    lists_columns: bool = True


class EnsembleRecord(_Record):
    """What is known of a run whose networks, averaged, are one model.

    The run's `test` is then what the averaged outputs score, and each member's `test` what it scores alone.

    Attributes:
        of: what its members are: `folds` of a k-fold run, or `seeds`.
        taken_over: whether its members were copied from its parent; else it trained them itself.
        weights: which of their weights were copied: those that training ended with (`last`), or only those of
            each member's best epoch (`best`).
        combination: how the validation rows were predicted: `out_of_fold`, each by the one network that did
            not train on it; `mean_out_of_fold`, each by the mean of those that did not; `ensemble`, by the
            mean of all, none of which trained on them. None where there are no such rows.
        rows: how many validation rows were predicted.
        validation: measure → score of these predictions, all rows together.
        validation_interval: its 95 % interval, from the scores of each fold by the same weights; only of
            measures whose score of all rows is the mean over folds, as accuracy is and AUC is not.
        optimistic: whether a member's epoch was chosen on validation rows that it is scored on here.
        test_mean, test_std: of the members' own scores on the test set.
        linear_member: the linear model in each of them; None where none was asked for.
    """

    of: Literal["folds", "seeds"] = "folds"
    taken_over: bool = False
    weights: Literal["last", "best"] = "last"
    combination: Literal["ensemble", "out_of_fold", "mean_out_of_fold", "one_network"] | None = None
    rows: Count | None = None
    validation: Scores = {}
    validation_interval: Pairs = {}
    optimistic: bool = False
    test_mean: Scores = {}
    test_std: Scores = {}
    linear_member: LinearMemberRecord | None = None


class LinearBaselineRecord(_Record):
    """A linear model on the rows that the network trains on, after preprocessing.

    Attributes:
        model: which, in words; None where there is none.
        scores: measure → its score, on the rows that `baseline_on` of the run names.
        left_out: why there is none.
        unscaled: whether a column of the inputs is far larger than 1 after preprocessing.
    """

    model: str | None = None
    scores: Scores = {}
    left_out: str | None = None
    unscaled: bool = False


class CoverageRecord(_Record):
    """How many test rows the intervals of a number, or the sets of classes, cover.

    Attributes:
        output: the output, of several numbers with the number's name; None where outputs have no names.
        level: the share that they were to cover.
        method: what they are, in the field's terms.
        weights: of which epochs the weights were.
        rows, covered: all of them, and those whose target is covered.
        low, high: the 95 % interval of the share that is covered (Clopper-Pearson).
        width: of intervals, on average, in the target's own units.
        classes: in a set, on average.
    """

    output: str | None = None
    level: float
    method: str = ""
    weights: str = ""
    rows: Count
    covered: Count
    low: float
    high: float
    width: float | None = None
    classes: float | None = None

    @property
    def share(self) -> float:
        """Of the rows that are covered."""
        return self.covered / max(1, self.rows)


class NestedFold(_Record):
    """An outer fold of nested cross-validation: what was chosen within it, and what that scores on its rows.

    Attributes:
        fold: its index, from 0.
        epoch: that was chosen, from 1.
        smoothed_over: over about how many epochs the mean curve of its inner folds was smoothed; None where
            there is one inner fold.
        inner: validated column → the mean over its inner folds at that epoch: chosen by, so optimistic.
        scores: validated column → what the chosen network scores on the rows of the outer fold.
        trial, values: of a sweep the trial that was chosen, and its values.
        run: the id of the run that trained the chosen network, where that is another one.
    """

    fold: Count
    epoch: Count
    smoothed_over: Count | None = None
    inner: Scores = {}
    scores: Scores = {}
    trial: Count | None = None
    values: dict[str, Any] = {}
    run: str | None = None


class NestedRecord(_Record):
    """What is known of nested cross-validation.

    The inner run trains the folds that `validation` makes within each outer fold, from whose history the
    epoch follows; the outer run trains on all training rows of each outer fold for so long.

    Attributes:
        part: which of the two the run is.
        k: how many outer folds there are.
        inner_folds: how many folds there are within each.
        only_fold: of an inner run that has only the inner folds of one outer fold, its index.
        members: what is averaged as the model that is scored, `folds`; None for one network that was trained
            anew. The inner run then has the scores: there is no outer run.
        without_linear_member: whether the members' scores leave out the linear models that the spec asks for.
        diverged: of the inner run of a trial the inner folds that diverged.
        chosen_by: the column that chose.
        folds: the outer folds, ascending; of an inner run none, but with `members`.
        inner, scores: column → the mean over the outer folds of theirs. `*_std` the standard deviation over
            them, `interval` the 95 % interval of the mean score.
    """

    part: Literal["inner", "outer"] = "outer"
    k: Count
    inner_folds: Count
    only_fold: Count | None = None
    members: Literal["folds"] | None = None
    without_linear_member: bool = False
    diverged: list[Count] = []
    chosen_by: str | None = None
    folds: Records[NestedFold] = []
    inner: Scores = {}
    inner_std: Scores = {}
    scores: Scores = {}
    scores_std: Scores = {}
    interval: Pairs = {}

    @property
    def is_inner(self) -> bool:
        """Whether the run trains the folds within outer folds, and not what was chosen there."""
        return self.part == "inner"


class NearPerfect(_Record):
    """A score that is close to perfect, and the column of a table that may explain it.

    Attributes:
        score, value: the score.
        column: the column that predicts the target best by itself.
        alone: the score of the column alone, on training rows.
    """

    score: str
    value: float
    column: str
    alone: float


class DecisionRecord(_Record):
    """How an output's probabilities were calibrated, or its threshold chosen, and what that was worth.

    `before` is the network as trained, at a threshold of 0.5. `after` is cross-fitted: each part of the rows
    by what the other parts fit. What is kept was fitted on all of them.

    Attributes:
        output: its name; None where outputs have none.
        reason: why nothing could be fitted, as a sentence; the rest is then left out.
        parent: the run that fitted it, where it was taken over; the scores are of its networks.
        given: the keys whose values the spec gives, where others were fitted.
        weights: of which epochs the networks were that it was fitted for: `epoch 20, the last`.
        rows: how many predictions of rows, each by a network that did not train on the row.
        out_of_fold: whether they are of several folds.
        parts: how many parts the rows were cross-fitted in; None where that was not possible.
        method: the calibration in words, `temperature 1.83`; None where there is none.
        log_loss, calibration_error: `before` and `after`; the error is the expected one (`bins` of equal
            width), None where there is no calibration.
        threshold: above which the second of two classes is predicted; None for 0.5.
        maximizes: the metric that it maximizes on these rows; None where it was given.
        score: of that metric `before`, `after`, and `same_rows`: what the kept threshold scores on the rows
            that chose it, which is optimistic.
    """

    output: str | None = None
    reason: str | None = None
    parent: str | None = None
    given: list[Literal["calibrate", "threshold"]] = []
    weights: str | None = None
    rows: Count | None = None
    out_of_fold: bool = False
    parts: Count | None = None
    method: str | None = None
    log_loss: Scores = {}
    calibration_error: Scores = {}
    bins: Count | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    maximizes: str | None = None
    score: Scores = {}


class DrownedLoss(_Record):
    """Two outputs whose weighted losses in the first epoch were so different that one hardly counts.

    Attributes:
        output, loss: the one that hardly counts, and its weighted training loss.
        by, by_loss: the one with the largest.
        loss_weight: of `by` that would make both alike.
        standardize: whether its target may be standardized instead, and is not.
    """

    output: str
    loss: float
    by: str
    by_loss: float
    loss_weight: float
    standardize: bool = False


class Resumption(_Record):
    """When a run was resumed, after which epoch, and the conditions (`then`, `now`) that had changed."""

    at: str | None = None
    after_epoch: Count = 0
    inexact: dict[str, dict[str, Any]] = {}


class RunRecord(_Record):
    """What run.json holds.

    Attributes:
        networks_at_once: networks that a training step updates: their number decides how sums are rounded.
        world_size: processes that trained it together, each its share of every batch: their number decides
            how sums are rounded; None for one.
        started, ended: ISO 8601, with the time zone.
        parent, reproduces, sweep: the ids of the run or sweep that this run comes from.
        folds, seeds: of the networks, ascending; None for a run of one network.
        ensemble: where the networks, averaged, are one model; else None.
        nested: of nested cross-validation; else None. `last` of its outer run are the scores of each fold at
            the epoch that was chosen within it, and no epoch is the best.
        linear_member: whether its spec asks for a linear model in each network of folds that are averaged.
        epochs, epochs_run: that were asked for, and that were trained.
        chosen_by: the column that chooses the best epoch; None where nothing is validated.
        parameters: of one network.
        directions: custom metric → whether it is better the higher it is.
        unknown: what the test rows hold that training never saw.
        baseline: measure → score of the best constant, on the rows that `baseline_on` names.
        time_limit: how long it was allowed to train; None for as long as it takes.
        stopped_early: the epoch at which early stopping ended the only network; `members` have their own.
        stopped_by_time: the same of the time limit.
        weights_epoch, best_weights_epoch, test_epoch: of the weights that it kept, of those of its best
            epoch, and of those that were tested.
        weights_averaged: whether the weights that it kept are the optimizer's moving averages.
        best, last: scores at the best and at the last epoch, of several networks their mean; `*_std` the
            deviation over them, `best_interval` the 95 % interval of the mean.
        kept: the validation scores of the weights that it kept, which predict: of several networks the mean,
            each at its own epoch, as oof.csv has their predictions; `kept_std` the deviation over them.
        smoothed_over: over about how many epochs the curve was smoothed before its best was found.
        not_trained: folds or seeds without an epoch in the history.
        not_better_than_baseline: measure → its value and the baseline's, of each that does not beat it.
        linear_baseline: what a linear model scores; None where none was asked for.
        not_better_than_linear: as `not_better_than_baseline`.
        advice: what to try where a baseline is not beaten.
        coverage: what intervals cover of the test rows, where `evaluate --interval` has measured it.
        decisions: of each output with `calibrate` or `threshold` what was fitted, or taken over.
        without_out_of_fold: why a run of folds or seeds keeps no oof.csv, as a sentence.
        of_each_rank: what several processes do not compute as one would, as a sentence for each.
        error: why the run did not complete, as a sentence.
    """

    version: Count = VERSION
    id: str | None = None
    name: str | None = None
    command: str | None = None
    status: RunStatus | None = None
    seed: Count | None = None
    device: str | None = None
    threads: Count | None = None
    deterministic: bool = False
    compiled: bool | None = None
    networks_at_once: Count | None = None
    world_size: Count | None = None
    started: str | None = None
    ended: str | None = None
    smoke: bool = False
    parent: str | None = None
    reproduces: str | None = None
    sweep: str | None = None
    trial: TrialOfSweep | None = None
    chosen_from: ChosenFrom | None = None
    folds: list[Count] | None = None
    seeds: list[Count] | None = None
    ensemble: EnsembleRecord | None = None
    nested: NestedRecord | None = None
    linear_member: bool = False
    epochs: Count | None = None
    epochs_run: Count = 0
    time_limit: str | None = None
    chosen_by: str | None = None
    rows: RowCounts = RowCounts()
    parameters: Count | None = None
    data: Records[DataRecord] = []
    versions: Mapping[str, str | None] = {}
    git_commit: str | None = None
    directions: dict[str, bool] = {}
    vectors: Records[VectorsRecord] = []
    custom: Records[CodeRecord] = []
    test_uses: Records[TestUse] = []
    unknown: list[dict[str, Any]] = []
    baseline: Scores = {}
    baseline_on: str | None = None
    stopped_early: Count | None = None
    stopped_by_time: Count | None = None
    weights_epoch: Count | None = None
    weights_averaged: bool = False
    best_weights_epoch: Count | None = None
    training_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    best_epoch: Count | None = None
    best: Scores = {}
    last: Scores = {}
    last_epoch: Count | None = None
    last_std: Scores = {}
    kept: Scores = {}
    kept_std: Scores = {}
    members: Records[MemberRecord] = []
    smoothed_over: Count | None = None
    verdict: str | None = None
    best_std: Scores = {}
    best_interval: Pairs = {}
    not_trained: list[Count] = []
    not_better_than_baseline: Pairs = {}
    linear_baseline: LinearBaselineRecord | None = None
    not_better_than_linear: Pairs = {}
    advice: str | None = None
    near_perfect: NearPerfect | None = None
    drowned: DrownedLoss | None = None
    decisions: Records[DecisionRecord] = []
    test: Scores = {}
    test_epoch: Count | None = None
    test_ensemble: Scores | None = None
    test_std: Scores = {}
    coverage: Records[CoverageRecord] = []
    resumed: Records[Resumption] = []
    without_out_of_fold: str | None = None
    of_each_rank: list[str] = []
    error: str | None = None
    _malformed: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> RunRecord:
        """The fields of a JSON object that are what nnrun writes there."""
        found = _with_members(found)
        record = cls.model_validate(found, context=_SKIP_MALFORMED)
        unread = found.keys() & cls.model_fields.keys() - record.model_fields_set
        record._malformed = {name: of for name, of in found.items() if name in unread}
        return record

    def to_json(self) -> dict[str, Any]:
        """The fields that were set, as run.json has them; what was malformed there stays as it was found."""
        found = self.model_dump(exclude_unset=True, exclude={"version"})
        document: dict[str, Any] = plain({"version": VERSION, **found})
        return {**document, **{name: of for name, of in self._malformed.items() if name not in found}}

    def take(self, other: RunRecord) -> None:
        """Set every field that `other` has set, member by member."""
        for name in (other.model_fields_set | set(other.model_extra or {})) - {"members"}:
            setattr(self, name, getattr(other, name))
        for member in other.members:
            if named := member_of_folder(member.member):
                self.tell(named, **{n: getattr(member, n) for n in member.model_fields_set - {"member"}})

    def network(self, member: Member | None) -> RunRecord | MemberRecord:
        """What is known of one network: this very record where it is the only one."""
        if member is None:
            return self
        known = (found for found in self.members if found.member == member.folder)
        return next(known, MemberRecord(member=member.folder))

    def tell(self, member: Member | None, **known: object) -> None:
        """Set fields of one network."""
        found = self.network(member)
        for name, value in known.items():
            setattr(found, name, value)
        if isinstance(found, MemberRecord) and found not in self.members:
            self.members = sorted([*self.members, found], key=lambda each: each.id or 0)

    @property
    def networks(self) -> Sequence[RunRecord | MemberRecord]:
        """What is known of each network."""
        return [self] if self.member_type is None else self.members

    @property
    def trained_elsewhere(self) -> bool:
        """Whether another run, its parent, trained its networks: epochs and verdict are those of that run."""
        return self.ensemble is not None and self.ensemble.taken_over

    @property
    def own_verdict(self) -> str | None:
        """The verdict, where it is of the run's own training."""
        return None if self.trained_elsewhere else self.verdict

    @property
    def stopped_by_time_at(self) -> int | None:
        """The last epoch after which the time limit ended a network; None where it ended none."""
        return max((of.stopped_by_time for of in self.networks if of.stopped_by_time), default=None)

    @property
    def listed_scores(self) -> Mapping[str, float | None]:
        """Column → value, as lists of runs show them: at the best epoch, or what outer folds score.

        Of an ensemble what its predictions of validation rows score.
        """
        if self.is_nested:
            return self.last
        if self.has_outer_scores and self.nested is not None:
            return self.nested.scores
        if self.ensemble is None:
            return self.best
        return {f"val_{name}": value for name, value in self.ensemble.validation.items()}

    @property
    def kept_apart(self) -> bool:
        """Whether several networks kept the weights of other epochs than the best of all.

        The scores `kept`, of which oof.csv has the predictions, then stand beside those of the one epoch.
        """
        if len(self.member_ids) < 2 or self.ensemble is not None or not (self.best and self.kept):
            return False
        return {member.weights_epoch for member in self.members} != {self.best_epoch}

    @property
    def is_optimistic(self) -> bool:
        """Whether rows that chose its epoch, or it among the trials of a sweep, measure its listed scores."""
        validated = [
            name for name, of in self.listed_scores.items() if of is not None and name.startswith("val_")
        ]
        if self.has_outer_scores or not validated:
            return False
        if self.ensemble is not None and self.ensemble.taken_over:
            return self.ensemble.optimistic
        of_epochs = self.chosen_by is None or self.chosen_by.startswith("val_")
        is_trial = self.sweep is not None and self.command not in MEASURING_COMMANDS
        return is_trial or (of_epochs and (self.epochs_run or 0) > 1)

    @property
    def is_inner(self) -> bool:
        """Whether its networks are those of the folds within outer folds, which only choose."""
        return self.nested is not None and self.nested.is_inner

    @property
    def has_outer_scores(self) -> bool:
        """Whether its scores are those of outer folds: of a nested run, or of inner folds as members."""
        return self.is_nested or (self.nested is not None and bool(self.nested.scores))

    @property
    def is_nested(self) -> bool:
        """Whether each network trained as long as was chosen within its outer fold, and is scored there."""
        return self.nested is not None and not self.nested.is_inner

    @property
    def malformed(self) -> Mapping[str, Any]:
        """Key → value of what the file holds that is not of its field's type."""
        return self._malformed

    @property
    def member_type(self) -> MemberType | None:
        """What tells the networks apart; None for a run of one network."""
        return "fold" if self.folds else "seed" if self.seeds else None

    @property
    def member_ids(self) -> list[int]:
        """The folds or seeds; empty for a run of one network."""
        return self.folds or self.seeds or []

    @property
    def training_command(self) -> str:
        """What trains the run's resolved spec, which does not say which fold or how many seeds it was."""
        return self._command_by("train")

    @property
    def command_again(self) -> str:
        """The same for the run as a whole: on generated rows, or with its use of the test set."""
        command = self._command_by("final" if self.command == "final" else "train")
        return f"{command} --smoke" if self.smoke else command

    def _command_by(self, whole: str) -> str:
        """`whole` names the command of a run that is not a single fold."""
        ids = self.member_ids
        if self.member_type == "seed":
            return f"nnrun {whole} --seeds {len(ids)}"
        return f"nnrun kfold --fold {ids[0]}" if len(ids) == 1 else f"nnrun {whole}"

    @property
    def named_members(self) -> list[Member | None]:
        """The networks by name, ascending; [None] for a run of one network."""
        member_type = self.member_type
        return [None] if member_type is None else [Member(member_type, n) for n in sorted(self.member_ids)]

    @property
    def data_hashes(self) -> dict[str, str]:
        """Name → SHA-256 of the data, and of the files of word vectors."""
        hashes = {data.name: data.sha256 for data in self.data}
        return hashes | {vectors.name: vectors.sha256 for vectors in self.vectors}

    @property
    def code_hashes(self) -> dict[str, str | None]:
        """Module → SHA-256 of the custom code."""
        return {code.module: code.sha256 for code in self.custom}
