"""The two phases of a write as calls of their own, for a program that does its own I/O."""

from __future__ import annotations

import ctypes
import threading
import time
from ctypes import byref, c_void_p
from types import TracebackType
from typing import Any, Generic

from . import _abi, _errors as errors
from ._abi import ERR_IN_DOUBT
from ._border import Border, Entry, K
from ._codec import V
from ._doubt import Doubt
from ._library import CacheHandle, DoubtHandle, PermitHandle, lib
from ._reply import Record, described


class _Held:
    """The library's permit, which knows how far it is, and takes one call at a time."""

    def __init__(self, handle: PermitHandle, cache: CacheHandle, border: Border) -> None:
        self.handle = handle
        self.cache = cache
        self.border = border
        self._busy = threading.Lock()

    def call(self, function: Any, *arguments: Any) -> int:
        # Waiting for the other call could be waiting for oneself: a source that is asked for what exists may come by here.
        if not self._busy.acquire(blocking=False):
            raise errors.ReentrantError("the permit is in another call")
        try:
            error = c_void_p()
            return self.border.check(function(self.handle, *arguments, byref(error)), error, self.cache)
        finally:
            self._busy.release()

    def fits(self, function: Any, *arguments: Any) -> bool:
        """Makes a call; False where it is not one for how far the permit is."""
        try:
            self.call(function, *arguments)
        except errors.StateError:
            return False
        return True

    def in_doubt(self) -> Doubt[Any, Any] | None:
        """Ends it in doubt; None where it was not sent, or has ended."""
        message, doubt = b"the program does not know", c_void_p()
        failure = _abi.Failure(struct_size=ctypes.sizeof(_abi.Failure), message=message, message_len=len(message))
        if not self.fits(lib.wtcache_permit_in_doubt, byref(failure), byref(doubt)):
            return None
        return Doubt(DoubtHandle(doubt.value or 0), self.border)


class Permit(Generic[K, V]):
    """A key's turn, held by a program that writes to the origin itself: see `Cache.prepare`.

    Use it in a `with` block. Until the block's end, or the `deadline`, no other write of the key goes out. Before `send` the end of the block
    gives the turn back, and nothing has happened. After it, the block says with what `send` returned how the write ended. Where it does not,
    nobody knows: its end raises `InDoubtError`, with the exception that left the block as the `__cause__`. (One that is no
    `Exception`, such as `KeyboardInterrupt`, leaves it as it is, and the key is in doubt all the same.)

    A permit is for one thread at a time. A call out of its order raises `StateError`, and one within another `ReentrantError`; neither does
    anything.
    """

    def __init__(self, handle: PermitHandle, cache: CacheHandle, border: Border) -> None:
        self._held = _Held(handle, cache, border)
        #: `time.monotonic()` at which the permit ends by itself: not sent, it is aborted; sent, the key is in doubt.
        self.deadline: float = time.monotonic() + lib.wtcache_permit_remaining_ms(handle) / 1000
        #: 32 hexadecimal digits under which every send of the write should go out.
        self.idempotency_key: str = lib.wtcache_permit_idempotency_key(handle).decode("ascii")

    def existing(self) -> Entry[V] | None:
        """Before the send: the existing record, the resident one, else asked of the source now. None where there is none."""
        entry = c_void_p()
        self._held.call(lib.wtcache_permit_existing, byref(entry))
        try:
            return self._held.border.entry(entry, self._held.cache) if entry else None
        finally:
            lib.wtcache_entry_free(entry)

    def abort(self) -> None:
        """Gives the turn back before the send. Nothing has happened."""
        self._held.call(lib.wtcache_permit_abort)

    def send(self) -> Sent[K, V]:
        """Says that the write leaves now; to be called before its first byte does.

        Raises `TimeoutError` or `ClosedError`: nothing may be sent, and nothing has happened.
        """
        self._held.call(lib.wtcache_permit_send)
        return Sent(self._held)

    def __enter__(self) -> Permit[K, V]:
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        if self._held.fits(lib.wtcache_permit_abort):
            return
        doubt = self._held.in_doubt()
        if doubt is None or not (raised is None or isinstance(raised, Exception)):
            return
        error = errors.InDoubtError("the write was sent, and nobody said how it ended")
        error.status, error.doubt, error.retry_after = ERR_IN_DOUBT, doubt, doubt.remaining
        raise error from raised


class Sent(Generic[K, V]):
    """A write that may have left. It ends once, by one of its methods; at the permit's deadline the key is in doubt, and what is said later
    counts as the late answer."""

    def __init__(self, held: _Held) -> None:
        self._held = held

    def commit(self, value: V | Record) -> V | None:
        """The origin applied a put, and this is the record as it now stands there: a value, or a `Record`. Reads are given it from now on.

        Returns it as `Cache.put` would.
        """
        border, entry = self._held.border, c_void_p()
        record = value if isinstance(value, Record) else Record(border.encoded(value))
        said = (record.value, len(record.value), byref(described(record)))
        self._held.call(lib.wtcache_permit_commit, *said, byref(entry))
        confirmed: V | None = border.take(entry)
        return confirmed

    def commit_unseen(self) -> None:
        """The origin applied a put, and its record is not known: the next read asks for it."""
        self._held.call(lib.wtcache_permit_commit_unseen)

    def commit_deleted(self) -> None:
        """The origin applied a delete."""
        self._held.call(lib.wtcache_permit_commit_deleted)

    def reject(self, *, stale_base: bool = False) -> None:
        """The origin certainly did not apply the write, and never will.

        `stale_base`: its refusal proves that what is cached is not the origin's record any more.
        """
        self._held.call(lib.wtcache_permit_reject, int(bool(stale_base)))

    def in_doubt(self) -> Doubt[K, V]:
        """Nobody can know whether the origin applied the write.

        Only the program can send it again, and says with the handle's `settle` what came of it.
        """
        doubt = self._held.in_doubt()
        if doubt is None:
            raise errors.StateError("the write has ended")
        return doubt
