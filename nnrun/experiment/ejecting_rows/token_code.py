"""The lines of a script that prepare rows of word indices: the registry of preprocessing steps of tokens.

A step has a line in `TOKEN_STEPS`; one without it is refused by name. Words and runs of words are counted by
scikit-learn's vectorizers, whose rules nnrun's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnrun.data.preprocess.fitted_step import FittedStep
from nnrun.data.preprocess.token_steps import FittedMultiHot, FittedPad
from nnrun.experiment.ejecting.lesson import Lesson
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.experiment.ejecting.script_text import call_lines
from nnrun.spec import schema

_MOST_BYTES = 2**31
"""Of rows that are written out in full; larger ones stay sparse."""


def is_sparse(lesson: Lesson) -> bool:
    """Whether the rows are so many numbers, most of them 0, that they stay sparse."""
    fitted = lesson.intake.first
    step = fitted.token_step if fitted.table is None else None
    if not isinstance(step, FittedMultiHot) or not _counts(step):
        return False
    return 4 * step.width * len(lesson.dataset.train) > _MOST_BYTES


def _counts(step: FittedMultiHot) -> bool:
    """Whether words are chosen or weighted, and not only marked."""
    return bool(step.ngrams) or step.weighting != "binary"


def _spec_of(lesson: Lesson) -> Any:
    """The spec's step multi_hot."""
    steps = [step for step in lesson.spec.preprocessing.inputs if isinstance(step, schema.MultiHot)]
    return steps[0]


def _vectorizer(spec: schema.MultiHot, step: FittedMultiHot) -> list[str]:
    """The statement that makes the vectorizer of scikit-learn that learns the columns."""
    if spec.num_words is not None:
        raise refuse("num_words of the step multi_hot", "It can write min_count.")
    options = [f"analyzer={'list' if spec.ngrams == 1 else f'lambda words: runs_of(words, {spec.ngrams})'}"]
    if not step.ngrams:
        options += [f"vocabulary=range({step.dimension})", "lowercase=False"]
    elif spec.min_count > 1:
        options.append(f"min_df={spec.min_count}")
    if step.weighting == "tf_idf":
        options += ["sublinear_tf=True"] if step.sublinear else []
        return call_lines("counts = TfidfVectorizer(", options, ")", indent=4)
    options += [] if step.weighting == "count" else ["binary=True"]
    return call_lines("counts = CountVectorizer(", options, ")", indent=4)


def _multi_hot(step: FittedMultiHot, lesson: Lesson) -> list[str]:
    if not _counts(step):
        return [
            f"rows = np.zeros((len(x), {step.dimension}), np.float32)",
            "for row, words in zip(rows, x):",
            "    row[words] = 1.0",
        ]
    spec = _spec_of(lesson)
    if spec.dimension is not None and step.ngrams:
        raise refuse("dimension of the step multi_hot with ngrams or min_count", "Leave it out.")
    lines = [
        *_vectorizer(spec, step),
        "counts.fit([x[row] for row in train])",
        "rows = counts.transform(x)",
    ]
    if step.weighting == "nb_ratio":
        lines += [
            "# How much larger a word's share is in class 1 than in class 0 (Wang and Manning 2012).",
            "held = [1 + rows[train][y[train] == k].sum(axis=0) for k in (0, 1)]",
            "zero, one = (np.asarray(each, float).ravel() for each in held)",
            "rows = rows.multiply(np.log(one / one.sum() / (zero / zero.sum()))).tocsr()",
        ]
    dense = "" if is_sparse(lesson) else ".toarray()"
    return [*lines, f"rows = rows{dense}.astype(np.float32)"]


def _pad(step: FittedPad, lesson: Lesson) -> list[str]:
    n = step.length
    kept = f"words[-{n}:]" if step.truncate == "pre" else f"words[:{n}]"
    filled = "row[-len(words) :]" if step.side == "pre" else "row[: len(words)]"
    made = f"np.zeros((len(x), {n}), np.int64)"
    return [
        f"rows = {made if step.value == 0 else f'np.full((len(x), {n}), {step.value})'}",
        "for row, words in zip(rows, x):",
        f"    words = {kept}",
        f"    {filled} = words",
    ]


TOKEN_STEPS: Mapping[type[FittedStep], Callable[[Any, Lesson], list[str]]] = {
    FittedMultiHot: _multi_hot,
    FittedPad: _pad,
}


def token_lines(lesson: Lesson) -> list[str]:
    """Lines that make `rows` of the token lists `x`.

    Raises:
        UsageError: the step cannot be written.
    """
    step = lesson.intake.first.token_step
    if step is None or type(step) not in TOKEN_STEPS:
        raise refuse(f"the step {step.spec.kind if step is not None else 'of tokens'}")
    return TOKEN_STEPS[type(step)](step, lesson)
