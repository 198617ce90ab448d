"""What a comparison of runs comes to in sentences, for the screen and for JSON."""

from __future__ import annotations

from nnrun.experiment.evaluating.compare import (
    NO_PAIRS,
    SINGLE,
    TEST,
    ComparedPair,
    Comparison,
    ScoreComparison,
)
from nnrun.experiment.finished.run_scores import RunScores, Score
from nnrun.spec import schema
from nnrun.spec.score_columns import chooser
from nnrun.spec.wording import counted, listing, with_std
from nnrun.validation.paired import FEWEST_FOR_WILCOXON, two_digits, verdict
from nnrun.validation.power import FEWEST, MOST_PAIRS

_MOST_LISTED = 5
"""So many folds or seeds are listed by number."""


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence for each paired test, and where it was asked for the probability that the runs are equal."""
    texts = []
    for pair, score in _tested(comparison):
        assert score.test is not None
        labels = {"first": pair.first.label, "second": pair.second.label}
        holm_p = score.holm_p if len(comparison.pairs) > 1 else None
        mode = pair.mode(score.name)
        text = verdict(score.test, score.name, mode, **labels, kind=pair.kind, holm_p=holm_p)
        texts.append(text if score.equal is None else f"{text} {score.equal.text(**labels)}")
    return texts


def power_texts(comparison: Comparison) -> list[str]:
    """For each two runs: what difference so many folds or seeds would show, and how many it takes."""
    texts = [_power_text(pair) for pair in comparison.pairs]
    return [text for text in texts if text]


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know to read the numbers right, a sentence or two each."""
    return [
        *_signs(comparison),
        *_of_pairs(comparison),
        *_of_tests(comparison),
        *_of_choice(comparison),
        *_of_ensembles(comparison),
        *_of_decisions(comparison),
    ]


def _tested(comparison: Comparison) -> list[tuple[ComparedPair, ScoreComparison]]:
    return [(pair, score) for pair in comparison.pairs for score in pair.scores if score.test is not None]


# --- power -------------------------------------------------------------------------------------------------


def _power_text(pair: ComparedPair) -> str:
    tests = [(score, score.test) for score in pair.scores if score.test is not None]
    if not tests:
        return ""
    of_pair = f"{pair.second.label} - {pair.first.label}: "
    number = max(test.n for _, test in tests)
    if number < FEWEST:
        return (
            f"{of_pair}how many {pair.kind}s would show a difference cannot be said from two, which hardly "
            "tell how much differences vary."
        )
    known = [(score, score.power) for score, _ in tests if score.power is not None]
    if not known:
        return ""
    shown = [f"{two_digits(power.detectable)} {score.name}" for score, power in known]
    low, high = known[0][1].spread_range
    return (
        f"{of_pair}{number} {pair.kind}s would show a true difference of {listing(shown, 'and')} (80 % power "
        f"at p < 0.05). That follows from how much these {number} differences vary, which may truly be "
        f"{low:.1f} to {high:.1f} times as much.{_needed_text(pair)}"
    )


def _needed_text(pair: ComparedPair) -> str:
    """How many it takes for what counts as equal, or for what was observed and may be chance."""
    enough, never = [], []
    for score in pair.scores:
        if score.power is None or score.test is None:
            continue
        if score.equal is not None and score.equal.within:
            number, amount = score.power.pairs_for_equal, f"{score.equal.within:g} {score.name}"
        elif score.test.mean and (score.test.p or 0) >= 0.05:
            number = score.power.pairs_for_observed
            amount = f"the observed {two_digits(abs(score.test.mean))} {score.name}"
        else:
            continue
        if number is None:
            never.append(amount)
        else:
            enough.append(f"about {_number_text(pair, number)} for {amount}")
    texts = [f"It would take {listing(enough, 'and')}."] if enough else []
    if never:
        which = listing(never, "or")
        texts.append(
            f"No number of repeats would show {which}, for {pair.kind}s share training rows."
            if any(score.test is not None and score.test.corrected for score in pair.scores)
            else f"More than {MOST_PAIRS:,} {pair.kind}s would be needed for {which}."
        )
    return "".join(f" {text}" for text in texts)


def _number_text(pair: ComparedPair, number: int) -> str:
    """`60 seeds`, `70 folds (7 repeats)`."""
    validation, text = pair.first.scores.spec.validation, counted(number, pair.kind)
    if isinstance(validation, schema.KFold):
        return f"{text} ({counted(number // validation.k, 'repeat')})"
    return text


# --- notes -------------------------------------------------------------------------------------------------


def _signs(comparison: Comparison) -> list[str]:
    kinds = dict.fromkeys(
        run.scores.record.member_type
        for run in comparison.runs
        for s in run.all_scores().values()
        if s.std is not None
    )
    texts = []
    if kinds:
        over = " or ".join(f"{kind}s" for kind in kinds if kind)
        texts.append(f"± is the standard deviation over the {over}")
    if _tested(comparison):
        texts.append(
            f"{'in a difference it is' if texts else '± is'} the standard error of the mean difference"
        )
    return [f"{'; '.join(texts)}."] if texts else []


def _of_pairs(comparison: Comparison) -> list[str]:
    texts = []
    for pair in comparison.pairs:
        first, second = pair.first, pair.second
        by_reason: dict[str, list[str]] = {}
        for score in pair.scores:
            if score.not_comparable:
                by_reason.setdefault(score.not_comparable, []).append(score.name)
        if pair in comparison.against_first:
            of_pair = f"{second.label} is not directly comparable with {first.label}"
            texts += [f"* {of_pair} in {', '.join(names)}: {why}." for why, names in by_reason.items()]
        partial = _partial(pair, alone=len(comparison.pairs) == 1)
        texts += [partial] if partial else []
        if not pair.scores and first.all_scores() and second.all_scores():
            texts.append(f"{first.label} and {second.label} have no score in common.")
    texts += [
        f"{run.label} has no scores: {_why_none(run.scores)}."
        for run in comparison.runs
        if not run.all_scores()
    ]
    return texts


def _partial(pair: ComparedPair, *, alone: bool) -> str | None:
    """A note where differences are over fewer networks than a run's own scores.

    `alone`: the two are all that are compared, so that their columns are over the same networks, too.
    """
    some = [run for run in (pair.first, pair.second) if pair.partial(run)]
    if not some:
        return None
    kind, which = pair.kind, listing(map(str, pair.common), "and")
    over = f"the {len(pair.common)} {kind}s that both runs have"
    over += f" ({which})" if len(pair.common) <= _MOST_LISTED else ""
    if not alone:
        return f"{pair.second.label} - {pair.first.label} is over {over}."
    texts = [f"All validation scores are over {over}."]
    for run in some:
        scores = run.scores.validation_scores
        of_all = [f"{s.name} {_score_text(scores[s.name])}" for s in pair.scores if s.common]
        number = max(len(run.scores.validation[s.name]) for s in pair.scores if s.common)
        texts.append(f"Over all its {number} {kind}s {run.label} has {', '.join(of_all)}.")
    return " ".join(texts)


def _score_text(score: Score) -> str:
    return with_std(score.mean, score.std)


def _why_none(scores: RunScores) -> str:
    if scores.record.status == "running":
        return "it is still running"
    if isinstance(scores.spec.validation, schema.NoValidation):
        return "it was neither validated nor tested"
    if not scores.record.epochs_run:
        return "no epoch has ended"
    mean = f", the mean over its {scores.record.member_type}s," if len(scores.member_ids) > 1 else ""
    return f"{chooser(scores.spec)}{mean} was never a finite number, so there is no best epoch"


def _of_choice(comparison: Comparison) -> list[str]:
    """Which scores were used to choose on the rows that they are measured on."""
    choosing = [run for run in comparison.runs if _chose_on_its_rows(run.scores)]
    nested = [run.label for run in comparison.runs if run.scores.record.has_outer_scores]
    unseen = []
    if nested:
        of = f"The validation scores of {listing(nested, 'and')} are of outer folds, which no choice has seen"
        own = _chosen_epochs(comparison)
        unseen.append(f"{of}; how long to train was chosen within each: {own}." if own else f"{of}.")
    if not choosing:
        return unseen
    columns = dict.fromkeys(run.scores.record.chosen_by or str(chooser(run.scores.spec)) for run in choosing)
    epochs = {run.scores.record.epochs_run for run in choosing}
    rows = f"chosen by {listing(columns, 'or')} on the rows that score"
    if len(choosing) == len(comparison.runs):
        text = f"The best epoch of each run was {rows} it, so its validation scores are optimistic"
    elif len(choosing) == 1:
        text = f"The best epoch of {choosing[0].label} was {rows} it, so its validation scores are optimistic"
    else:
        which = listing([run.label for run in choosing], "and")
        text = f"The best epochs of {which} were {rows} them, so their validation scores are optimistic"
    texts = [f"{text}; the tests take them as they are." if _tested(comparison) else f"{text}."]
    if len(epochs) > 1:
        each = [f"{run.label} among {run.scores.record.epochs_run}" for run in choosing]
        texts.append(f"{listing(each, 'and')}: the more epochs, the more so.")
    trials = [run for run in comparison.runs if run.scores.record.sweep is not None]
    if trials:
        which, are = (
            listing([run.label for run in trials], "and"),
            "is a trial" if len(trials) == 1 else "are trials",
        )
        texts.append(
            f"{which} {are} of a sweep: the score that one was chosen by there is more optimistic still."
        )
    return [" ".join(texts), *unseen]


def _chosen_epochs(comparison: Comparison) -> str:
    """`A for 12, 9 and 12 epochs`, of each nested run."""
    each = []
    for run in comparison.runs:
        if (nested := run.scores.record.nested) is not None and run.scores.record.is_nested:
            epochs = [str(fold.epoch) for fold in nested.folds or ()]
            each.append(f"{run.label} for {listing(epochs, 'and')} epochs")
    return "; ".join(each)


def _chose_on_its_rows(scores: RunScores) -> bool:
    """Whether the validation rows chose the epoch that they score, among several; outer folds never do."""
    if scores.record.has_outer_scores:
        return False
    column = scores.record.chosen_by or chooser(scores.spec) or ""
    return bool(scores.validation) and column.startswith("val_") and scores.record.epochs_run > 1


def _of_tests(comparison: Comparison) -> list[str]:
    tests = [score.test for _, score in _tested(comparison) if score.test is not None]
    pairs = comparison.pairs
    texts = []
    if tests:
        texts.append(_chance_of_what(comparison))
    if any(test.wilcoxon_p is None and test.t_p is not None for test in tests):
        texts.append(
            f"Wilcoxon's test is left out where fewer than {FEWEST_FOR_WILCOXON} differences are not zero: "
            "it cannot reach p = 0.05."
        )
    if any(score.equal is not None for _, score in _tested(comparison)):
        texts.append(_of_probabilities(comparison))
    untested: dict[str, list[str]] = {}
    for pair in pairs:
        for reason in dict.fromkeys(score.no_test for score in pair.scores if score.no_test):
            untested.setdefault(reason, []).append(f"{pair.second.label} - {pair.first.label}")
    for reason, of in untested.items():
        # Where it is the same for all, which runs it is need not be said.
        which = "" if len(of) == len(pairs) else f" ({', '.join(of)})"
        texts.append(f"Not tested{which}: {reason}.")
    if any(score.no_test in (SINGLE, NO_PAIRS) for pair in pairs for score in pair.scores):
        texts.append(_how_to_test(comparison.runs[0].scores.spec.validation))
    if any(s.name.startswith(TEST) and s.difference is not None for pair in pairs for s in pair.scores):
        texts.append("Differences on the test set are not tested: a run keeps only the mean of its networks.")
    return texts + _of_many_tests(comparison)


def _of_probabilities(comparison: Comparison) -> str:
    """Which test the probabilities are of."""
    pair, score = next((pair, score) for pair, score in _tested(comparison) if score.equal is not None)
    assert score.test is not None
    overlap = score.test.overlap
    text = "P(...) are of the Bayesian correlated t-test (Corani & Benavoli 2015)"
    if len(comparison.pairs) > 1:
        text = f"P(better): that the first-named of two runs is the better. {text}"
    if overlap:
        rho = overlap / (1 + overlap)
        return f"{text}, its correlation the share of the rows that a {pair.kind} validates: {rho:.2g}."
    return f"{text} without a correlation, since all {pair.kind}s have the same rows."


def _how_to_test(validation: schema.Validation) -> str:
    if validation.has_folds:
        return "A test needs two folds or more of each run: nnrun kfold SPEC, without --fold."
    return "A test needs both runs to have the same seeds, two or more: nnrun train SPEC --seeds 10."


def _of_many_tests(comparison: Comparison) -> list[str]:
    """How p-values of several pairs of runs are corrected."""
    tests = sum(score.holm_p is not None for _, score in _tested(comparison))
    if len(comparison.pairs) == 1 or tests < 2:
        return []
    family = max(
        sum(s is not None and s.holm_p is not None for s in (pair.score(name) for pair in comparison.pairs))
        for name in comparison.score_names()
    )
    texts = [
        f"Holm p is corrected for the {family} pairs of runs (Holm 1979), score by score; it says what may "
        "be chance. Of several scores, one may look significant by chance alone."
    ]
    if any(score.power is not None for _, score in _tested(comparison)):
        kind = comparison.pairs[0].kind
        texts.append(
            f"Detectable: the true difference that so many {kind}s would show, uncorrected (80 % power at "
            "p < 0.05)."
        )
    return texts


def _chance_of_what(comparison: Comparison) -> str:
    tested = _tested(comparison)
    kind, tests = tested[0][0].kind, [score.test for _, score in tested if score.test is not None]
    if not any(test.corrected for test in tests):
        return (
            f"All {kind}s were validated on the same rows: the tests show chance in training, not how other "
            "rows would score."
        )
    wilcoxon = ", Wilcoxon's test is not" if any(test.wilcoxon_p is not None for test in tests) else ""
    shared = "Folds share training rows" if kind == "fold" else "The seeds' training rows overlap"
    return (
        f"{shared}, which makes a test optimistic (Bengio & Grandvalet 2004): the standard error and the "
        f"t-test are corrected for it (Nadeau & Bengio 2003){wilcoxon}."
    )


def _of_ensembles(comparison: Comparison) -> list[str]:
    """Which scores of an ensemble are those of its average, and which are not."""
    texts = []
    for run in comparison.runs:
        record = run.scores.record
        if record.ensemble is None:
            continue
        kind, validated = record.member_type, bool(run.scores.validation)
        text = f"{run.label} is the average of {len(run.scores.member_ids)} {kind}s' networks."
        if validated:
            text += f" Its validation scores are those of its single networks, {kind} by {kind}"
            linear = record.ensemble.linear_member
            text += " alone, without the linear models in them" if linear is not None and linear.model else ""
            text += "; its test scores are those of the average." if run.scores.test else "."
        texts.append(text)
    return texts


def _of_decisions(comparison: Comparison) -> list[str]:
    """Which scores of a run have its calibration and its threshold in them."""
    notes = []
    for run in comparison.runs:
        scores = run.scores
        if any(told.reason is None for told in scores.record.decisions):
            parts = ["its test scores are with them"] if scores.test else []
            parts += ["its validation scores are without"] if scores.validation else []
            notes.append(f"{run.label} has a calibration or a threshold of its own: {', '.join(parts)}.")
    return notes
