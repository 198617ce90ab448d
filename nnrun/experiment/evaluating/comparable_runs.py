"""Whether scores of two runs are measures of the same thing on the same rows, and where not, why."""

from __future__ import annotations

from nnrun.experiment.finished.run_scores import RunScores
from nnrun.spec import schema
from nnrun.spec.comparing.comparable_scores import other_rows, other_split


def other_data(first: RunScores, second: RunScores) -> str | None:
    """Why two runs do not have the same training and test rows; None where they do."""
    if first.record.smoke != second.record.smoke:
        return "one of the two is a smoke run, on a few rows"
    if [(d.sha256, d.rows) for d in first.record.data] != [(d.sha256, d.rows) for d in second.record.data]:
        return "they were trained on different data (the recorded hashes or numbers of rows differ)"
    return other_rows(first.spec, second.spec, same_files=True)


def other_validation_rows(first: RunScores, second: RunScores) -> str | None:
    """Why networks of the same number were not validated on the same rows; None where they were."""
    reason = other_data(first, second) or other_split(first.spec, second.spec)
    if reason is not None:
        return reason
    by_folds = first.spec.validation.has_folds
    if by_folds and first.spec.validation.drawn_by_seed and first.spec.seed != second.spec.seed:
        return "the seed draws the folds, and the seeds differ"
    return None


def overlap(run: RunScores) -> float:
    """Validation rows per training row where the networks' training rows overlap; 0 where they share all.

    Networks that share their validation rows differ only by chance in training, and are independent.
    """
    validation = run.spec.validation
    if isinstance(validation, schema.KFold):
        return 1 / (validation.k - 1)
    if isinstance(validation, schema.Holdout) and validation.drawn_by_seed:
        assert validation.fraction is not None, "a resolved spec has its fraction"
        return validation.fraction / (1 - validation.fraction)
    return 0.0
