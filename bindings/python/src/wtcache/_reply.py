"""How Python code answers the library, within a callback of its."""

from __future__ import annotations

import ctypes
import threading
from ctypes import byref, c_void_p
from dataclasses import dataclass
from typing import Any

from . import _abi, _errors as errors
from ._abi import (
    ERR_ANSWERED,
    LIFETIME_AS_BEFORE,
    LIFETIME_DEFAULT,
    LIFETIME_EXPIRED,
    OK,
    VERDICT_CONFLICT,
    VERDICT_REJECTED,
    VERDICT_UNKNOWN,
)
from ._border import PLAIN
from ._call import as_bytes, lifetime, list_of, window
from ._library import causes, lib, milliseconds, release_cause


@dataclass(frozen=True)
class Record:
    """A value as the origin gave it, with what it said about it."""

    value: bytes
    #: The origin's version (over HTTP the ETag).
    version: bytes | None = None
    #: How long it may be served, in seconds; None: as the cache is configured. 0: not kept.
    ttl: float | None = None
    #: By what it is forgotten together with others: `Cache.invalidate(tag=…)`.
    tags: tuple[str | bytes, ...] = ()
    #: For how many seconds after that it may be served while it is refreshed; None: as the cache is configured. 0: not at all.
    stale_while_revalidate: float | None = None
    #: The same: for how long it may be served in place of an error.
    stale_if_error: float | None = None
    #: In place of a `ttl`: it has expired from the start. It is kept only for its version, to be offered to the origin, or for one of these windows.
    expired: bool = False


@dataclass(frozen=True)
class Unchanged:
    """What `Source.get_if_changed` returns where the record of that version is still the origin's. It lives anew; its members are those of a `Record`."""

    ttl: float | None = None
    stale_while_revalidate: float | None = None
    stale_if_error: float | None = None
    expired: bool = False
    #: In place of all these: it lives as long as it was given last time, less so many seconds, which the origin's answer is old, with the windows
    #: that it was given. Where the cache's configuration said how long, it says so again.
    age: float | None = None


@dataclass(frozen=True)
class Absent:
    """What a source returns for None, to say how long it holds that the origin has no such record."""

    #: In seconds. It is remembered for no longer than the cache's `negative_ttl`, which is also what None stands for; 0: not at all.
    ttl: float | None = None


def described(record: Record) -> _abi.Record:
    """What a record says, for the library. Raises TypeError for what is no record."""
    for name, part in (("value", record.value), ("version", record.version)):
        if not isinstance(part, bytes) and not (name == "version" and part is None):
            raise TypeError(f"the source returned a {name} of type {type(part).__name__}, not bytes")
    if isinstance(record.tags, (str, bytes)):
        raise TypeError("tags are a tuple of tags, not one")
    said = _lives(record)
    if record.version is not None:
        said.version, said.version_len = record.version, len(record.version)
    if record.tags:
        tags = [as_bytes(tag) for tag in record.tags]
        said.tags, said.tag_count = list_of(tags), len(tags)
    return said


def _lives(record: Record | Unchanged) -> _abi.Record:
    """How long a record is served, for the library."""
    if record.expired and record.ttl is not None:
        raise ValueError("a record that has expired from the start has no ttl")
    return _abi.Record(
        struct_size=ctypes.sizeof(_abi.Record),
        lifetime_ms=LIFETIME_EXPIRED if record.expired else lifetime(record.ttl),
        while_revalidate_ms=window(record.stale_while_revalidate, "stale_while_revalidate"),
        if_error_ms=window(record.stale_if_error, "stale_if_error"),
    )


def reply_record(reply: int | None, answer: bytes | Record) -> None:
    record = answer if isinstance(answer, Record) else Record(answer)
    said = described(record)
    _reply(lib.wtcache_reply_value, reply, record.value, len(record.value), byref(said))


def reply_unchanged(reply: int | None, answer: Unchanged) -> None:
    said = _lives(answer)
    if answer.age is not None:
        if said.lifetime_ms != LIFETIME_DEFAULT:
            raise ValueError("what lives as before has no ttl")
        said.lifetime_ms, said.age_ms = LIFETIME_AS_BEFORE, milliseconds(answer.age, "age")
    _reply(lib.wtcache_reply_unchanged, reply, byref(said))


def reply_absent(reply: int | None, answer: Absent) -> None:
    _reply(lib.wtcache_reply_absent_for, reply, lifetime(answer.ttl))


def _reply(function: Any, *answer: Any) -> None:
    error = c_void_p()
    status = function(*answer, byref(error))
    # Answered: the deadline passed before. The caller was told, and what came of a write is in doubt.
    if status not in (OK, ERR_ANSWERED):
        PLAIN.check(status, error)
    lib.wtcache_error_free(error)


def verdict(raised: BaseException, of: Any) -> int:
    """What an exception of a write proves; the attribute `rejects` of `of` are classes that say that nothing was applied."""
    if isinstance(raised, errors.ConflictError):
        return VERDICT_CONFLICT
    try:
        return VERDICT_REJECTED if isinstance(raised, (errors.RejectedError, *of.rejects)) else VERDICT_UNKNOWN
    except BaseException:  # noqa: BLE001: `rejects` is no tuple of classes; then nothing is proved
        return VERDICT_UNKNOWN


def reply_failure(reply: int | None, raised: BaseException, proves: int) -> None:
    try:
        message = f"{type(raised).__name__}: {raised}".encode("utf-8", "replace")
    except BaseException:  # noqa: BLE001: an exception whose text cannot be had still is one
        message = type(raised).__name__.encode("utf-8", "replace")
    failure = _abi.Failure(struct_size=ctypes.sizeof(_abi.Failure), verdict=proves, message=message, message_len=len(message))
    failure.retryable = getattr(raised, "retryable", False) is True
    code: Any = getattr(raised, "code", None)
    failure.code = code if type(code) is int and -(2**31) <= code < 2**31 else 0
    failure.cause = causes.add((raised, threading.get_ident()))
    failure.release_cause = release_cause
    # Refused or not, the cause is released by the library.
    lib.wtcache_reply_error(reply, byref(failure), None)
