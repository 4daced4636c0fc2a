"""What becomes of a record: the functions that updates and merges are given."""

from __future__ import annotations

import enum
from collections.abc import Callable
from ctypes import byref, c_void_p
from typing import Any

from ._abi import MergeCall, Release, UpdateCall
from ._border import Border, raw_value
from ._library import Table, bytes_at, callback, lib


class Verb(enum.Enum):
    """What a function says that gives no value; and how a step is undone."""

    #: The record goes.
    DELETE = "delete"
    #: Everything stays as it is.
    KEEP = "keep"
    #: Of a step: it leaves nothing that would have to be undone.
    NOTHING = "nothing"


DELETE, KEEP, NOTHING = Verb.DELETE, Verb.KEEP, Verb.NOTHING


class Change:
    """A function of the program's that says what becomes of a record."""

    def __init__(self, border: Border, function: Callable[[Any], Any], default: Any) -> None:
        if not callable(function):
            raise TypeError(f"what changes a record is a function, not {type(function).__name__}")
        self._border = border
        self._function = function
        self._default = default
        #: What the function raised last.
        self.raised: BaseException | None = None

    def say(self, value: bytes | None, change: int | None) -> None:
        """Asks the function, and tells the library. Saying nothing is what the library takes for a failure."""
        try:
            becomes = self._function(self._default if value is None else self._border.decoded(value))
            error = c_void_p()
            if becomes is KEEP:
                status = lib.wtcache_change_keep(change, byref(error))
            elif becomes is DELETE:
                status = lib.wtcache_change_delete(change, byref(error))
            else:
                data = self._border.encoded(becomes)
                status = lib.wtcache_change_put(change, data, len(data), byref(error))
            self._border.check(status, error)
        except BaseException as raised:  # noqa: BLE001: whoever asked for the change raises it
            self.raised = raised


#: The changes that are under way, or pending.
changes = Table()


@callback(UpdateCall)
def update_call(number: int | None, existing: int | None, change: int | None) -> None:
    changes.get(number).say(raw_value(existing) if existing else None, change)


@callback(MergeCall)
def merge_call(number: int | None, value: int | None, length: int, change: int | None) -> None:
    changes.get(number).say(None if value is None else bytes_at(value, length), change)


@callback(Release)
def release_change(number: int | None) -> None:
    changes.drop(number)
