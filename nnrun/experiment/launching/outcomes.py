"""How shared work that failed is written down by a worker, and raised again by the owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrun.errors import DivergedError, NnrunError


def failed(error: NnrunError) -> dict[str, Any]:
    """What is kept of work that ended with an error."""
    return {"status": "diverged" if isinstance(error, DivergedError) else "failed", "error": str(error)}


def raise_failed(found: Mapping[str, Any]) -> None:
    """Raise what ended the work of which this was kept, unless it completed.

    Raises:
        DivergedError, NnrunError: with the words of the worker.
    """
    if found.get("status") != "completed":
        raised = DivergedError if found.get("status") == "diverged" else NnrunError
        raise raised(str(found.get("error")))
