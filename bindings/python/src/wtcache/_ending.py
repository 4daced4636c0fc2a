"""The end of the interpreter: threads of the library's must be out of it by then, for one that comes back would end the process."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Any

from ._change import changes
from ._extract import extracts
from ._library import callbacks_under_way, causes, changed
from ._listener import listeners
from ._source import sources
from ._transaction import steps

#: How long writes may take to end, in seconds. Callbacks that are under way then are waited for as the interpreter waits for its own threads:
#: they have a deadline, and keep it or not.
_PATIENCE = 5.0
#: How long the library may take to give back what it has of ours. What handles in the program keep is not given back.
_PATIENCE_FOR_RELEASES = 0.1

_TABLES = (sources, listeners, extracts, changes, steps, causes)

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
        except Exception:  # noqa: BLE001: the others are to be closed, too
            continue
    kept = {
        sources: {cache._source_number for cache in caches},
        listeners: {cache._listener_number for cache in caches},
        extracts: {number for cache in caches for number in cache._extract_numbers},
    }

    def released() -> bool:
        return all(table.lent() <= kept.get(table, set()) for table in _TABLES) and not callbacks_under_way()

    with changed:
        changed.wait_for(lambda: not callbacks_under_way())
        changed.wait_for(released, _PATIENCE_FOR_RELEASES)


def _in_the_child_of_a_fork() -> None:
    """The caches are the parent's."""
    _open.clear()
    for table in _TABLES:
        table.give_up()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_the_child_of_a_fork)
