"""What passes between a cache's types and the library's bytes: keys, values, entries, and errors as exceptions."""

from __future__ import annotations

import threading
from ctypes import byref, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import _errors as errors
from ._abi import ENDLESS, ERR_IN_DOUBT, ERR_SOURCE, OUTCOME_IN_DOUBT
from ._codec import Codec, V
from ._doubt import Doubt
from ._library import DoubtHandle, bytes_at, causes, lib

K = TypeVar("K", str, bytes)


@dataclass(frozen=True)
class Entry(Generic[V]):
    """A record as the cache has it."""

    value: V
    #: The origin's version (over HTTP the ETag), for `put_if`; None where it gave none.
    version: bytes | None
    #: Optimistic writes have a part in it: the origin has not confirmed it.
    pending: bool
    #: How long it may still be served, in seconds; None without end.
    remaining: float | None
    #: For how long it has been expired, in seconds: more than 0 only for what was served stale.
    stale: float
    #: How long ago the origin was asked that gave it, or confirmed it last, in seconds; of a pending one, how long ago it was written.
    age: float


class Border:
    """The types of one cache."""

    def __init__(self, key_type: type[Any], codec: Codec[Any] | None) -> None:
        self.key_type = key_type
        self.codec = codec

    def key(self, key: Any) -> bytes:
        if not isinstance(key, self.key_type):
            raise TypeError(f"the keys of this cache are {self.key_type.__name__}, not {type(key).__name__}")
        return key.encode("utf-8") if isinstance(key, str) else key

    def key_of(self, raw: bytes) -> Any:
        return raw if self.key_type is bytes else raw.decode("utf-8")

    def encoded(self, value: Any) -> bytes:
        data: Any = value if self.codec is None else self.codec.encode(value)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"a value is bytes, not {type(data).__name__}")
        return bytes(data)

    def decoded(self, data: bytes) -> Any:
        return data if self.codec is None else self.codec.decode(data)

    def value_of(self, entry: Any, absent: Any = None) -> Any:
        """The value of an entry, which stays; `absent` for none."""
        return self.decoded(raw_value(entry)) if entry else absent

    def take(self, entry: c_void_p, absent: Any = None) -> Any:
        """The same, and the entry is freed."""
        try:
            raw = raw_value(entry) if entry else None
        finally:
            lib.wtcache_entry_free(entry)
        # A codec of the program's comes last.
        return absent if raw is None else self.decoded(raw)

    def entry(self, entry: Any, cache: int) -> Entry[Any]:
        """All that is known of an entry, which stays."""
        size = c_size_t()
        at = lib.wtcache_entry_version(entry, byref(size))
        remaining = lib.wtcache_entry_remaining_ms(entry, cache)
        return Entry(
            self.decoded(raw_value(entry)),
            None if at is None else bytes_at(at, size.value),
            bool(lib.wtcache_entry_is_pending(entry)),
            None if remaining == ENDLESS else remaining / 1000,
            lib.wtcache_entry_stale_ms(entry, cache) / 1000,
            lib.wtcache_entry_age_ms(entry, cache) / 1000,
        )

    def exception(self, error: Any, cache: int = 0) -> errors.Error:
        """The exception that `error` stands for, which stays."""
        status = lib.wtcache_error_status(error)
        message = bytes_at(lib.wtcache_error_message(error), lib.wtcache_error_message_len(error))
        kind = errors.CLASSES.get(status, errors.Error)
        if status != ERR_IN_DOUBT and lib.wtcache_error_outcome(error) == OUTCOME_IN_DOUBT:
            kind = errors.InDoubtError
        made = kind(message.decode("utf-8", "replace"))
        made.status = status
        made.code = lib.wtcache_error_source_code(error) or None
        made.retryable = bool(lib.wtcache_error_retryable(error))
        after = lib.wtcache_error_retry_after_ms(error)
        made.retry_after = after / 1000 if after else None
        made.answer = answer_of(error)
        if isinstance(made, errors.InDoubtError):
            doubt = lib.wtcache_error_doubt(error)
            made.doubt = Doubt(DoubtHandle(doubt), self) if doubt else None
        if isinstance(made, errors.UnmetError):
            existing = lib.wtcache_error_existing(error)
            try:
                made.existing = self.entry(existing, cache) if existing else None
            finally:
                lib.wtcache_entry_free(existing)
        made.__cause__ = (causes.get(lib.wtcache_error_cause(error)) or (None, None))[0]
        return made

    def check(self, status: int, error: Any, cache: int = 0) -> int:
        """The status, if it is no error; else `error` is raised, and freed."""
        if status >= 0:
            return status
        try:
            _, thread = causes.get(lib.wtcache_error_cause(error)) or (None, None)
            made = self.exception(error, cache)
        finally:
            lib.wtcache_error_free(error)
        cause = made.__cause__
        if status == ERR_SOURCE and cause is not None and not isinstance(cause, Exception) and thread == threading.get_ident():
            # A KeyboardInterrupt or the like, which came while this thread was in the source: it is not ours to rename.
            raise cause
        raise made


def answer_of(error: Any) -> errors.OriginAnswer | None:
    """What the HTTP origin answered, as an error has it, which stays."""

    def part(get: Any) -> bytes | None:
        size = c_size_t()
        at = get(error, byref(size))
        return None if at is None else bytes_at(at, size.value)

    body = part(lib.wtcache_error_answer)
    if body is None:
        return None
    kind = part(lib.wtcache_error_answer_type)
    return errors.OriginAnswer(
        body,
        None if kind is None else kind.decode("latin-1"),
        part(lib.wtcache_error_answer_version),
        bool(lib.wtcache_error_answer_truncated(error)),
    )


#: Where all is bytes.
PLAIN: Border = Border(bytes, None)


def raw_value(entry: Any) -> bytes:
    """The bytes of an entry, which stays."""
    length = c_size_t()
    return bytes_at(lib.wtcache_entry_value(entry, byref(length)), length.value)
