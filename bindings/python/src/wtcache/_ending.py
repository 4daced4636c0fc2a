"""The end of the interpreter: caches are closed before it, since their threads call into it."""

from __future__ import annotations

import atexit
import weakref
from typing import Any

#: How long the writes that were sent may take then, in seconds.
_PATIENCE = 5.0

_open: weakref.WeakSet[Any] = weakref.WeakSet()


def close_at_exit(cache: Any) -> None:
    _open.add(cache)


@atexit.register
def _close() -> None:
    for cache in list(_open):
        try:
            cache.close(_PATIENCE)
        except Exception:  # noqa: BLE001: a cache of before a fork, for one: there is nothing to close
            continue
