"""Where nnrun keeps what it would else fetch, parse or compile again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """nnrun's cache: NNRUN_CACHE_DIR, or the system's folder for caches."""
    chosen = os.environ.get("NNRUN_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("nnrun"))
