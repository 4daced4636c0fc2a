"""The end of the interpreter: threads of the library's must be out of it by then, for one that comes back would end the process."""

from __future__ import annotations

import atexit
import weakref
from typing import Any

from ._change import changes
from ._library import callbacks_under_way, causes, changed
from ._listener import listeners
from ._source import sources
from ._transaction import steps

#: How long the writes that were sent, and then all callbacks, may take, in seconds.
_PATIENCE = 5.0
#: How long the library may take to give back what it has of ours. What handles in the program keep is not given back.
_PATIENCE_FOR_RELEASES = 0.1

_open: weakref.WeakSet[Any] = weakref.WeakSet()


def close_at_exit(cache: Any) -> None:
    """Has a cache closed before the interpreter ends, unless it is gone by then."""
    _open.add(cache)


@atexit.register
def _end() -> None:
    caches = list(_open)
    for cache in caches:
        try:
            cache.close(_PATIENCE)
        except Exception:  # noqa: BLE001: a cache of before a fork, for one: there is nothing to close
            continue
    kept = {sources: {cache._source_number for cache in caches}, listeners: {cache._listener_number for cache in caches}}

    def released() -> bool:
        tables = (sources, listeners, changes, steps, causes)
        return all(table.lent() <= kept.get(table, set()) for table in tables) and not callbacks_under_way()

    with changed:
        changed.wait_for(lambda: not callbacks_under_way(), _PATIENCE)
        changed.wait_for(released, _PATIENCE_FOR_RELEASES)
