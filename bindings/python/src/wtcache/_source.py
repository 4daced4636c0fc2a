"""A source in Python: the class to derive from, and what stands between it and the library's callbacks."""

from __future__ import annotations

import ctypes
import threading
import time
from ctypes import byref, c_void_p
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import _errors as errors
from ._library import (
    NOT_FOUND,
    OK,
    Callback,
    Failure,
    RecordStruct,
    Release,
    SourceStruct,
    Table,
    bytes_at,
    causes,
    check,
    lib,
    milliseconds,
    release_cause,
    take_value,
)

K = TypeVar("K", str, bytes)

_UNKNOWN, _REJECTED, _CONFLICT = 0, 1, 2
_CONDITION_ABSENT, _CONDITION_VERSION = 1, 2
_NOT_KEPT = -1


@dataclass(frozen=True)
class Record:
    """A value as the origin gave it, with what it said about it."""

    value: bytes
    #: The origin's version (over HTTP the ETag).
    version: bytes | None = None
    #: How long it may be served, in seconds; None: as the cache is configured. 0: not kept.
    ttl: float | None = None


class WriteContext:
    """What a source is told about a write. It is good for the call that it was handed to, in that call's thread."""

    def __init__(self, reply: int, request: Any) -> None:
        self._reply = reply
        #: `time.monotonic()` at which the write has to be over. After that nothing may be sent.
        self.deadline: float = time.monotonic() + request.remaining_ms / 1000
        #: 32 hexadecimal digits under which every send of this write is to go out.
        self.idempotency_key: str = request.idempotency_key.decode("ascii")
        #: The write is to be applied only if the origin has no such record. Set only where preconditions are honoured.
        self.if_absent: bool = request.condition == _CONDITION_ABSENT
        #: It is to be applied only if the origin's record has this version. Set only where preconditions are honoured.
        self.if_version: bytes | None = None
        if request.condition == _CONDITION_VERSION:
            self.if_version = bytes_at(request.condition_version, request.condition_version_len)

    def existing(self) -> bytes | None:
        """The existing record: the resident one, else asked of the source now. None where there is none."""
        entry, error = c_void_p(), c_void_p()
        status = check(lib.wtcache_reply_existing(self._reply, byref(entry), byref(error)), error)
        return None if status == NOT_FOUND else take_value(entry)


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

    def get(self, key: K) -> bytes | Record | None:
        """The origin's record of `key`; None where it has none."""
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

    def key(self, request: Any) -> str | bytes:
        key = bytes_at(request.key, request.key_len)
        return key if self.key_type is bytes else key.decode("utf-8")


#: The sources of open caches.
sources = Table()


def attach(attached: Attached) -> tuple[int, SourceStruct]:
    """Registers a source, and describes it to the library, which calls `_destroy` when it needs it no more."""
    source, base = attached.source, Source
    declared = SourceStruct(struct_size=ctypes.sizeof(SourceStruct))
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


@Release
def _destroy(number: int | None) -> None:
    sources.drop(number)


@Callback
def _get(number: int | None, request: Any, reply: int | None) -> None:
    def answer(attached: Attached) -> None:
        found = attached.source.get(attached.key(request.contents))  # type: ignore[arg-type]
        if found is None:
            lib.wtcache_reply_absent(reply, None)
        else:
            _reply_record(reply, found)

    _answer(number, reply, answer)


@Callback
def _put(number: int | None, request: Any, reply: int | None) -> None:
    def answer(attached: Attached) -> None:
        asked = request.contents
        value = bytes_at(asked.value, asked.value_len)
        context = WriteContext(reply or 0, asked)
        confirmed = attached.source.put(attached.key(asked), value, context)  # type: ignore[arg-type]
        if confirmed is not None:
            _reply_record(reply, confirmed)
        elif attached.source.stores_verbatim:
            lib.wtcache_reply_stored(reply, None, None)
        else:
            lib.wtcache_reply_applied(reply, None)

    _answer(number, reply, answer)


@Callback
def _remove(number: int | None, request: Any, reply: int | None) -> None:
    def answer(attached: Attached) -> None:
        asked = request.contents
        attached.source.delete(attached.key(asked), WriteContext(reply or 0, asked))  # type: ignore[arg-type]
        lib.wtcache_reply_applied(reply, None)

    _answer(number, reply, answer)


def _answer(number: int | None, reply: int | None, answer: Any) -> None:
    attached = sources.get(number)
    if attached is None:
        # The cache was closed between the call and this line: nothing was sent.
        _reply_failure(reply, errors.ClosedError("the cache is closed"), _REJECTED)
        return
    try:
        answer(attached)
    except BaseException as raised:  # noqa: BLE001: it goes to the caller as the cause
        _reply_failure(reply, raised, _verdict(raised, attached.source))


def _verdict(raised: BaseException, source: Source[Any]) -> int:
    if isinstance(raised, errors.ConflictError):
        return _CONFLICT
    try:
        rejects = (errors.RejectedError, *source.rejects)
        return _REJECTED if isinstance(raised, rejects) else _UNKNOWN
    except BaseException:  # noqa: BLE001: `rejects` is no tuple of classes; then nothing is proved
        return _UNKNOWN


def _reply_record(reply: int | None, answer: bytes | Record) -> None:
    record = answer if isinstance(answer, Record) else Record(answer)
    for name, part in (("value", record.value), ("version", record.version)):
        if not isinstance(part, bytes) and not (name == "version" and part is None):
            raise TypeError(f"the source returned a {name} of type {type(part).__name__}, not bytes")
    said = RecordStruct(struct_size=ctypes.sizeof(RecordStruct))
    if record.version is not None:
        said.version, said.version_len = record.version, len(record.version)
    if record.ttl is not None:
        said.lifetime_ms = milliseconds(record.ttl, "ttl") or _NOT_KEPT
    error = c_void_p()
    status = lib.wtcache_reply_value(reply, record.value, len(record.value), byref(said), byref(error))
    if status != OK and status != _ANSWERED:
        check(status, error)
    lib.wtcache_error_free(error)


#: The deadline passed before: the caller was told, and what came of a write is in doubt.
_ANSWERED = -15


def _reply_failure(reply: int | None, raised: BaseException, verdict: int) -> None:
    try:
        message = f"{type(raised).__name__}: {raised}".encode("utf-8", "replace")
    except BaseException:  # noqa: BLE001: an exception whose text cannot be had still is one
        message = type(raised).__name__.encode("utf-8", "replace")
    failure = Failure(struct_size=ctypes.sizeof(Failure), verdict=verdict, message=message, message_len=len(message))
    failure.retryable = bool(getattr(raised, "retryable", False) is True)
    failure.cause = causes.add((raised, threading.get_ident()))
    failure.release_cause = release_cause
    # Refused or not, the cause is released by the library.
    lib.wtcache_reply_error(reply, byref(failure), None)
