"""How Python code answers the library, within a callback of its."""

from __future__ import annotations

import ctypes
import threading
from ctypes import byref, c_void_p
from dataclasses import dataclass
from typing import Any

from . import _abi, _errors as errors
from ._abi import ERR_ANSWERED, OK, VERDICT_CONFLICT, VERDICT_REJECTED, VERDICT_UNKNOWN
from ._border import PLAIN
from ._call import lifetime, list_of
from ._library import causes, lib, release_cause


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


def described(record: Record) -> _abi.Record:
    """What a record says, for the library. Raises TypeError for what is no record."""
    for name, part in (("value", record.value), ("version", record.version)):
        if not isinstance(part, bytes) and not (name == "version" and part is None):
            raise TypeError(f"the source returned a {name} of type {type(part).__name__}, not bytes")
    if isinstance(record.tags, (str, bytes)):
        raise TypeError("tags are a tuple of tags, not one")
    said = _abi.Record(struct_size=ctypes.sizeof(_abi.Record), lifetime_ms=lifetime(record.ttl))
    if record.version is not None:
        said.version, said.version_len = record.version, len(record.version)
    if record.tags:
        tags = [as_bytes(tag) for tag in record.tags]
        said.tags, said.tag_count = list_of(tags), len(tags)
    return said


def as_bytes(text: str | bytes) -> bytes:
    """A tag or the like."""
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"this is str or bytes, not {type(text).__name__}")
    return text.encode("utf-8") if isinstance(text, str) else text


def reply_record(reply: int | None, answer: bytes | Record) -> None:
    record = answer if isinstance(answer, Record) else Record(answer)
    said, error = described(record), c_void_p()
    status = lib.wtcache_reply_value(reply, record.value, len(record.value), byref(said), byref(error))
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
