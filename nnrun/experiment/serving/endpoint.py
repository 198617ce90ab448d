"""The route that predicts, as plain ASGI: what a framework adds would take longer than a small network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from nnrun.experiment.serving.answers import Answer, refusal_answer
from nnrun.experiment.serving.arrivals import MOST_BYTES, TOO_LONG, Arrivals, Receive
from nnrun.experiment.serving.batches import Batcher
from nnrun.experiment.serving.requests import Asked, Refused

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

_JSON = [(b"content-type", b"application/json")]


class PredictEndpoint:
    """Answers POST /predict.

    Args:
        batcher: answers requests.

    Attributes:
        arrivals: the bodies that are being received.
    """

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self.arrivals = Arrivals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            if scope["method"] != "POST":
                raise Refused(405, f"{scope['method']} /predict: rows are sent by POST")
            _refuse_headers(scope["headers"])
            body = await self.arrivals.body(receive)
            if body is None:
                return  # who asked has left
            answer = await self._batcher.ask(Asked(body, scope["query_string"]))
        except Refused as refusal:
            answer = refusal_answer(refusal)
        await _send(send, answer)


def _refuse_headers(headers: Headers) -> None:
    """Raise Refused where the headers say that the body is no JSON (415), or too long (413)."""
    kind, length = b"", 0
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"content-length":
            length = int(value)
    if kind != b"application/json":
        _refuse_other_kinds(kind)
    if length > MOST_BYTES:
        raise Refused(413, TOO_LONG)


def _refuse_other_kinds(kind: bytes) -> None:
    """Raise Refused unless a content type is JSON in UTF-8."""
    media, *parameters = (part.strip().lower() for part in kind.decode("latin-1").split(";"))
    charsets = {p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")}
    if media == "application/json" and charsets <= {"utf-8", "utf8", "us-ascii"}:
        return
    found = f"Content-Type is {kind.decode('latin-1')!r}" if kind else "the request has no Content-Type"
    raise Refused(415, f"{found}; rows are sent as JSON in UTF-8, with 'Content-Type: application/json'")


async def _send(send: Send, answer: Answer) -> None:
    headers = [*_JSON, (b"content-length", b"%d" % len(answer.body))]
    if answer.status == 405:
        headers.append((b"allow", b"POST"))
    elif answer.status == 503:
        headers.append((b"retry-after", b"1"))
    elif answer.status == 408:  # what is left of the body would be read as the next request
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
