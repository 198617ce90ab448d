"""Requests to predict made into answers: the rows of several go through the networks together."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

import numpy as np

from nnrun.cells import json_text
from nnrun.data.new_rows.header import listed_names, say_unused
from nnrun.data.new_rows.input_batches import InputBatch
from nnrun.data.new_rows.row_source import Unreadable
from nnrun.errors import DataError, UsageError, printable
from nnrun.experiment.predicting.predict import Predictor, outputs_of, unknown_counts
from nnrun.experiment.predicting.predict_split import refuse_without_probabilities
from nnrun.experiment.predicting.prediction_table import JsonLines
from nnrun.experiment.serving.requests import (
    ROWS,
    Asked,
    Options,
    Question,
    Refused,
    read_request,
    refused,
)
from nnrun.spec.wording import nearest, quoted

_MOST_TOLD = 100  # bad rows that an answer lists
_LEVELS_KEPT = 16


class Answer(NamedTuple):
    """What a request is answered with: the status of HTTP, and JSON."""

    status: int
    body: bytes


@dataclass
class _Job:
    """One of the requests that are answered together.

    Attributes:
        place: among them.
        question: what it asks.
        messages: what a person should know of its rows.
        bad: its rows that cannot be predicted, each with the end of a sentence.
    """

    place: int
    question: Question
    messages: list[str]
    bad: dict[int, str]


class Answers:
    """Answers requests by a run's networks, as `nnrun predict` writes JSON lines.

    Args:
        predictor: the networks.
        usual: the options of a request that names none.

    Raises:
        UsageError: the run has no probabilities, and they are usual.
    """

    def __init__(self, predictor: Predictor, usual: Options) -> None:
        self._predictor, self.usual = predictor, usual
        keys = predictor.decoder.keys
        self._keys = None if keys is None else frozenset(keys)
        self.enveloped = keys is None or ROWS not in keys
        """Whether an object with the key `rows` is no row: no column is called so."""
        self._of_options: Callable[[Options], tuple[Predictor, JsonLines]] = lru_cache(_LEVELS_KEPT)(
            self._made
        )
        self._made(usual)

    def _made(self, options: Options) -> tuple[Predictor, JsonLines]:
        """The networks with the intervals that are asked for, and the lines that they answer with.

        Raises:
            UsageError: there are none.
        """
        predictor = self._predictor
        if options.probabilities:
            refuse_without_probabilities(predictor.run, predictor.output_decoders)
        if options.interval is None:
            predictor = replace(predictor, calibrated=None)
        elif predictor.calibrated is None:
            raise UsageError(
                f"interval {options.interval:g} is asked for, and this server was started without: `nnrun "
                f"serve {predictor.run.id} --interval {options.interval:g}` reads the run's data for it."
            )
        elif options.interval != predictor.calibrated.level:
            calibrated = predictor.calibrated.at(options.interval, predictor.run.id)
            predictor = replace(predictor, calibrated=calibrated)
        table = predictor.layout(probabilities=options.probabilities)
        table.refuse_one_name_twice()
        return predictor, JsonLines(table)

    def answer(self, asked: Sequence[Asked]) -> list[Answer]:
        """The answer to each of some requests."""
        answers: dict[int, Answer] = {}
        groups: dict[Options, list[_Job]] = {}
        for place, request in enumerate(asked):
            try:
                question = read_request(request, self.usual, enveloped=self.enveloped)
                self._of_options(question.options)
            except Refused as refusal:
                answers[place] = refusal_answer(refusal)
            except UsageError as error:
                answers[place] = refusal_answer(refused(error))
            else:
                groups.setdefault(question.options, []).append(_Job(place, question, [], {}))
        for options, jobs in groups.items():
            answers.update(self._answered(jobs, *self._of_options(options)))
        return [answers[place] for place in range(len(asked))]

    def _answered(self, jobs: Sequence[_Job], predictor: Predictor, lines: JsonLines) -> dict[int, Answer]:
        """The answers to requests with the same options, by their places."""
        fields = [found for job in jobs for found in self._fields(job)]
        owners = [(job, row) for job in jobs for row in range(len(job.question.rows))]
        inputs, wrong = predictor.decoder.built([None if isinstance(f, Unreadable) else f for f in fields])
        bad = {place: f.reason for place, f in enumerate(fields) if isinstance(f, Unreadable)}
        batch = InputBatch.of(inputs, 0, None, {**wrong, **bad})
        places, outputs, refused_rows = outputs_of(predictor, batch)
        for each in refused_rows:
            job, row = owners[each.row]
            job.bad[row] = each.reason
        predicted = {
            port: predictor.output_decoders[port].predictions(
                [owners[place][1] for place in places],
                found.mean,
                spread_NK=found.spread,
                region=found.region,
            )
            for port, found in outputs.items()
        }
        texts: dict[int, list[str]] = {job.place: [] for job in jobs}
        for place, line in zip(places, lines.lines(predicted).split("\n"), strict=False):
            texts[owners[place][0].place].append(line)
        self._tell_unknown(predictor, batch, owners)
        return {job.place: _answer_of(job, texts[job.place]) for job in jobs}

    def _fields(self, job: _Job) -> list[Any]:
        """What each row of a request holds, or why it cannot be read."""
        decoder, keys = self._predictor.decoder, self._keys
        found: list[Any] = []
        unused: dict[str, None] = {}

        def say(text: str) -> None:
            if not any(told.endswith(text) for told in job.messages):  # of the first row that it is true of
                job.messages.append(f"row {len(found)} {text}")

        for value in job.question.rows:
            if keys is not None and isinstance(value, dict) and value.keys() != keys:
                others = [key for key in value if key not in keys]
                misspelt = self._misspelt(others, [key for key in decoder.keys or () if key not in value])
                if misspelt is not None:
                    found.append(misspelt)
                    continue
                unused.update(dict.fromkeys(others))
            found.append(decoder.fields_of(value, say))
        say_unused(list(unused), "the rows", job.messages.append)
        return found

    def _misspelt(self, others: Sequence[str], lacking: Sequence[str]) -> Unreadable | None:
        """Why a row is refused that has keys which the network does not take, and lacks others."""
        if not others or not lacking:
            return None
        near = next((f" (did you mean {quoted(n)}?)" for key in others if (n := nearest(key, lacking))), "")
        return Unreadable(
            f"has {listed_names(list(map(quoted, others)))}, which the network does not take{near}, and "
            f"lacks {listed_names(list(map(quoted, lacking)))}. It takes: "
            f"{listed_names(list(self._predictor.decoder.keys or ()))}; null is a missing value"
        )

    def _tell_unknown(
        self, predictor: Predictor, batch: InputBatch, owners: Sequence[tuple[_Job, int]]
    ) -> None:
        """Tell each request what its rows hold that training never saw."""
        of_all = unknown_counts(predictor)
        of_all.add(predictor.by_input(batch.inputs))
        if not of_all.found:
            return
        rows_of: dict[int, list[int]] = {}
        jobs: dict[int, _Job] = {}
        for at, place in enumerate(batch.rows):
            job = owners[place][0]
            jobs[job.place] = job
            rows_of.setdefault(job.place, []).append(at)
        for number, job in jobs.items():
            rows = np.array(rows_of[number], np.int64)
            own = batch.inputs[rows] if isinstance(batch.inputs, np.ndarray) else batch.inputs.take(rows)
            unknown = unknown_counts(predictor)
            unknown.add(predictor.by_input(own))
            job.messages += map(str, unknown.found)


def _answer_of(job: _Job, lines: Sequence[str]) -> Answer:
    """The answer to a request whose rows were predicted: the predictions, or what is wrong with rows."""
    if job.bad:
        details = [_bad_row(row, reason) for row, reason in sorted(job.bad.items())[:_MOST_TOLD]]
        if len(job.bad) > _MOST_TOLD:
            more = f"{len(job.bad) - _MOST_TOLD:,} more rows cannot be predicted"
            details.append({"type": "more", "loc": ["body"], "msg": more})
        return refusal_answer(Refused(422, details))
    told = f', "messages": {json_text(job.messages)}' if job.messages else ""
    return Answer(200, f'{{"predictions": [{", ".join(lines)}]{told}}}'.encode())


def _bad_row(row: int, reason: str) -> dict[str, Any]:
    """What is wrong with a row, in the form that FastAPI gives what it refuses."""
    return {"type": "bad_row", "loc": ["body", row], "row": row, "msg": f"row {row} {reason}"}


def refusal_answer(refusal: Refused) -> Answer:
    """As JSON: `detail` is a sentence, or a list of what is wrong with each row."""
    detail = refusal.detail if isinstance(refusal.detail, list) else printable(refusal.detail)
    return Answer(refusal.status, json.dumps({"detail": detail}).encode())


def failed_answer(error: Exception) -> Answer:
    """A request that should have been answered."""
    said = str(error) if isinstance(error, DataError) else HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    return refusal_answer(Refused(500, said))
