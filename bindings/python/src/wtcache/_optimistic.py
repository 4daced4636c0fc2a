"""Optimistic writes: the handle on one that is pending."""

from __future__ import annotations

from ctypes import byref, c_void_p
from typing import Any, Generic

from ._abi import ERR_PANIC, OK
from ._border import Border, K
from ._call import wait
from ._change import Change
from ._codec import V
from ._library import PendingHandle, lib


class Pending(Generic[K, V]):
    """An optimistic write: shown, and not settled yet, or how it ended. It may be used from any thread; dropped, the write goes on."""

    def __init__(self, handle: PendingHandle, border: Border, merge: Change | None = None) -> None:
        self.handle = handle
        self._border = border
        self._merge = merge

    def result(self, timeout: float | None = None) -> V | None:
        """Waits for the outcome, and returns or raises as `put` or `delete` would, whoever asks and how often.

        Raises `NotEndedError` after `timeout` seconds, and `CancelledError` if it was taken back. What a merge function raised is the
        `__cause__`; the write was not sent then.
        """
        entry, error = c_void_p(), c_void_p()

        def once(ms: int) -> int:
            status: int = lib.wtcache_pending_wait(self.handle, ms, byref(entry), byref(error))
            if status < 0:
                try:
                    raise self.failure(status, error)
                finally:
                    lib.wtcache_error_free(error)
            return status

        wait(timeout, once)
        value: V | None = self._border.take(entry)
        return value

    def failure(self, status: int, error: Any) -> Exception:
        """The exception that an error of this write stands for, which stays."""
        made = self._border.exception(error)
        if status == ERR_PANIC and self._merge is not None:
            made.__cause__ = self._merge.raised
        return made

    def done(self) -> bool:
        """Whether its outcome is there. Never waits."""
        return bool(lib.wtcache_pending_has_ended(self.handle))

    def cancel(self) -> bool:
        """Takes it back while it waits for its turn, as if it had never been. False: too late, it goes on as it would."""
        error = c_void_p()
        return self._border.check(lib.wtcache_pending_cancel(self.handle, byref(error)), error) == OK
