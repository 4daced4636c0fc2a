"""A source in Python: the class to derive from, and what stands between it and the library's callbacks."""

from __future__ import annotations

import ctypes
import time
from ctypes import byref, c_void_p
from dataclasses import dataclass
from typing import Any, Generic

from . import _abi, _errors as errors
from ._abi import CONDITION_ABSENT, CONDITION_EXISTS, CONDITION_VERSION, VERDICT_REJECTED, Callback, Release
from ._border import PLAIN, K
from ._library import Table, bytes_at, callback, lib, milliseconds
from ._reply import Absent, Record, Unchanged, reply_absent, reply_failure, reply_record, reply_unchanged, verdict


class WriteContext:
    """What a source is told about a write. It is good for the call that it was handed to, in that call's thread."""

    def __init__(self, reply: int, request: Any) -> None:
        self._reply = reply
        #: `time.monotonic()` at which the write has to be over. After that nothing may be sent.
        self.deadline: float = time.monotonic() + request.remaining_ms / 1000
        #: 32 hexadecimal digits under which every send of this write is to go out.
        self.idempotency_key: str = request.idempotency_key.decode("ascii")
        #: The write is to be applied only if the origin has no such record. Set only where preconditions are honoured.
        self.if_absent: bool = request.condition == CONDITION_ABSENT
        #: It is to be applied only if the origin has a record. Set only where preconditions are honoured.
        self.if_exists: bool = request.condition == CONDITION_EXISTS
        #: It is to be applied only if the origin's record has this version. Set only where preconditions are honoured.
        self.if_version: bytes | None = None
        if request.condition == CONDITION_VERSION:
            self.if_version = bytes_at(request.condition_version, request.condition_version_len)

    def existing(self) -> bytes | None:
        """The existing record: the resident one, else asked of the source now. None where there is none."""
        entry, error = c_void_p(), c_void_p()
        PLAIN.check(lib.wtcache_reply_existing(self._reply, byref(entry), byref(error)), error)
        value: bytes | None = PLAIN.take(entry)
        return value


class Source(Generic[K]):
    """The adapter to your system. Derive from it; `get` is required.

    Its methods are called from the threads that use the cache, many at once; of one key at most one write is under way. They may
    read the cache; what would wait for itself raises `ReentrantError`.

    In `put` and `delete`, raise `RejectedError` (or a class named in `rejects`) only if nothing was applied and nothing will be; any
    other exception says that nobody can know, and the caller is told `InDoubtError`. In both the exception is the `__cause__`.
    """

    #: Seconds after its send that a write may still take effect at the origin.
    settle_window: float = 10.0
    #: The origin keeps exactly what it is sent: a `put` that returns None confirms what was sent.
    stores_verbatim: bool = False
    #: The origin checks the condition of a write in one step with applying it.
    honours_preconditions: bool = False
    #: The origin applies two sends with one idempotency key at most once, and answers both alike.
    honours_idempotency: bool = False
    #: The origin never gives a version twice to one key, also not after a delete.
    versions_never_reused: bool = False
    #: Exceptions besides `RejectedError` that say that nothing was applied.
    rejects: tuple[type[BaseException], ...] = ()

    def get(self, key: K) -> bytes | Record | Absent | None:
        """The origin's record of `key`; None, or an `Absent`, where it has none."""
        raise NotImplementedError

    def get_if_changed(self, key: K, version: bytes) -> bytes | Record | Unchanged | Absent | None:
        """As `get`, where a record of this version is here, which has expired or is not good enough for whoever asks: `Unchanged`, if it is the
        origin's still.

        A source that does not define it is asked by `get`.
        """
        raise NotImplementedError

    def put(self, key: K, value: bytes, ctx: WriteContext) -> bytes | Record | None:
        """Writes `value`, and returns the record as it now stands at the origin; None: applied, and not seen.

        A source that does not define it refuses to put.
        """
        raise NotImplementedError

    def delete(self, key: K, ctx: WriteContext) -> None:
        """Removes the record. What is not there counts as removed. A source that does not define it refuses to delete."""
        raise NotImplementedError


@dataclass(frozen=True)
class Attached:
    """A source with the type of its cache's keys."""

    source: Source[Any]
    key_type: type

    def key(self, request: Any) -> Any:
        key = bytes_at(request.key, request.key_len)
        return key if self.key_type is bytes else key.decode("utf-8")


#: The sources of open caches.
sources = Table()


def attach(attached: Attached) -> tuple[int, _abi.Source]:
    """Registers a source, and describes it to the library, which calls `_destroy` when it needs it no more."""
    source, base = attached.source, Source
    declared = _abi.Source(struct_size=ctypes.sizeof(_abi.Source))
    # A window shorter than a millisecond is one; zero would be the library's default.
    declared.settle_window_ms = max(1, milliseconds(source.settle_window, "settle_window"))
    declared.stores_verbatim = bool(source.stores_verbatim)
    declared.honours_preconditions = bool(source.honours_preconditions)
    declared.honours_idempotency = bool(source.honours_idempotency)
    declared.versions_never_reused = bool(source.versions_never_reused)
    declared.destroy = _destroy
    declared.get = _get
    if type(source).put is not base.put:
        declared.put = _put
    if type(source).delete is not base.delete:
        declared.remove = _remove
    number = sources.add(attached)
    declared.user_data = number
    return number, declared


# The trampolines belong to the module, so that they outlive every cache. Nothing may leave them: ctypes would print an
# exception and go on.


@callback(Release)
def _destroy(number: int | None) -> None:
    sources.drop(number)


@callback(Callback)
def _get(number: int | None, request: Any, reply: int | None) -> None:
    def answer(attached: Attached) -> None:
        asked, source = request.contents, attached.source
        key = attached.key(asked)
        offers = asked.version is not None and type(source).get_if_changed is not Source.get_if_changed
        found: Any = source.get_if_changed(key, bytes_at(asked.version, asked.version_len)) if offers else source.get(key)
        if found is None or isinstance(found, Absent):
            reply_absent(reply, found or Absent())
        elif offers and isinstance(found, Unchanged):
            reply_unchanged(reply, found)
        else:
            reply_record(reply, found)

    _answer(number, reply, answer)


@callback(Callback)
def _put(number: int | None, request: Any, reply: int | None) -> None:
    def answer(attached: Attached) -> None:
        asked = request.contents
        value = bytes_at(asked.value, asked.value_len)
        context = WriteContext(reply or 0, asked)
        confirmed = attached.source.put(attached.key(asked), value, context)
        if confirmed is not None:
            reply_record(reply, confirmed)
        elif attached.source.stores_verbatim:
            lib.wtcache_reply_stored(reply, None, None)
        else:
            lib.wtcache_reply_applied(reply, None)

    _answer(number, reply, answer)


@callback(Callback)
def _remove(number: int | None, request: Any, reply: int | None) -> None:
    def answer(attached: Attached) -> None:
        asked = request.contents
        attached.source.delete(attached.key(asked), WriteContext(reply or 0, asked))
        lib.wtcache_reply_applied(reply, None)

    _answer(number, reply, answer)


def _answer(number: int | None, reply: int | None, answer: Any) -> None:
    attached = sources.get(number)
    if attached is None:
        # The cache was closed between the call and this line: nothing was sent.
        reply_failure(reply, errors.ClosedError("the cache is closed"), VERDICT_REJECTED)
        return
    try:
        answer(attached)
    except BaseException as raised:  # noqa: BLE001: it goes to the caller as the cause
        reply_failure(reply, raised, verdict(raised, attached.source))
