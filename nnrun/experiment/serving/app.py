"""The routes of the service: FastAPI's for all but `/predict`, which is a plain ASGI application."""

from __future__ import annotations

import json
from typing import Any

from nnrun.experiment.predicting.predict import Predictor
from nnrun.experiment.serving.answers import Answers
from nnrun.experiment.serving.arrivals import Receive
from nnrun.experiment.serving.batches import Batcher
from nnrun.experiment.serving.description import openapi_paths, schema_document, title_of
from nnrun.experiment.serving.endpoint import PredictEndpoint, Scope, Send
from nnrun.version import __version__


class Service:
    """The service as an ASGI application.

    Args:
        predictor: the networks.
        answers: answers requests by them.
        batcher: has `answers` answer several at a time.
        example: a row.
        url: where it is reached, for the page.
    """

    def __init__(
        self, predictor: Predictor, answers: Answers, batcher: Batcher, example: Any, url: str
    ) -> None:
        self._leaving = False
        self._predict = PredictEndpoint(batcher)
        self._others = _routes(predictor, answers, batcher, example, url)

    def leave(self, seconds: float) -> None:
        """Close each connection with its next answer; bodies have so many seconds to arrive."""
        self._leaving = True
        self._predict.arrivals.leave(seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        send = _closing(send) if self._leaving else send
        if scope["type"] == "http" and scope["path"] == "/predict":
            await self._predict(scope, receive, send)
        else:
            await self._others(scope, receive, send)


def _closing(send: Send) -> Send:
    """Have the answer say that it is the connection's last."""

    async def closing(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return closing


def _routes(predictor: Predictor, answers: Answers, batcher: Batcher, example: Any, url: str) -> Any:
    """All routes but `/predict`. Their pages fetch nothing from elsewhere, as FastAPI's own page would."""
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    schema = schema_document(predictor, answers.usual, example)
    title = title_of(predictor)
    app = FastAPI(
        title=title,
        version=__version__,
        description=f"Predictions of {predictor.run.id}.",
        docs_url=None,
        redoc_url=None,
    )
    page = _page(schema, title, example, url, answers.enveloped)

    @app.get("/health", summary="Whether it answers")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "run": predictor.run.id,
            "requests": batcher.requests,
            "batches": batcher.batches,
        }

    @app.get("/schema", summary="What a row is, and what is answered")
    async def schema_route() -> dict[str, Any]:
        return schema

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    @app.get("/", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> str:
        return page

    generated = app.openapi()
    own = openapi_paths(predictor, answers.usual, example, enveloped=answers.enveloped)
    schemas = {**generated.get("components", {}).get("schemas", {}), **own["components"]["schemas"]}
    app.openapi_schema = {
        **generated,
        "paths": {**own["paths"], **generated["paths"]},
        "components": {"schemas": schemas},
    }
    return app


def _page(schema: dict[str, Any], title: str, example: Any, url: str, enveloped: bool) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("nnrun.experiment.serving", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("docs.html.j2").render(
        schema=schema,
        title=title,
        url=url,
        enveloped=enveloped,
        example=json.dumps(example, indent=2, ensure_ascii=False),
        shell=json.dumps(example).replace("'", r"\u0027"),
    )
