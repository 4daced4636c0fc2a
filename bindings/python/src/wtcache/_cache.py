"""The cache, as a Python program has it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from ctypes import byref, c_char_p, c_size_t, c_void_p
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from ._codec import Codec, V
from ._hits import Hits, accelerated
from ._library import NOT_FOUND, Call, Handle, bytes_at, check, lib, milliseconds, take_value
from ._source import Attached, K, Source, attach, sources

D = TypeVar("D")

_UNFINISHED, _IN_DOUBT = 0, 1


@dataclass(frozen=True)
class CloseReport(Generic[K]):
    """What closing a cache left unfinished, by key."""

    #: Keys with writes that were sent and had not ended.
    unfinished: list[K]
    #: Keys of which nobody knows whether their last writes were, or will be, applied.
    in_doubt: list[K]


class Cache(Hits, Generic[K, V]):
    """A write-through cache over a source.

    It may be used from many threads at once. Use it with `with`, or call `close`. After a fork it is the parent's only: open a cache
    after the fork.

    `ttl`, `negative_ttl` (how long an absence is remembered) and `timeout` (of a call, the source's work included) are in seconds. What
    is None has the library's default: no end, 5 s, 5 s, and 64 MiB. Values are bytes, or with a `codec` what that makes of them; the
    source's values are bytes always.
    """

    @overload
    def __init__(
        self: Cache[K, bytes],
        source: Source[K],
        *,
        ttl: float | None = None,
        negative_ttl: float | None = None,
        timeout: float | None = None,
        capacity_bytes: int | None = None,
        key_type: type[K] = ...,
        codec: None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        source: Source[K],
        *,
        ttl: float | None = None,
        negative_ttl: float | None = None,
        timeout: float | None = None,
        capacity_bytes: int | None = None,
        key_type: type[K] = ...,
        codec: Codec[V],
    ) -> None: ...

    def __init__(
        self,
        source: Source[K],
        *,
        ttl: float | None = None,
        negative_ttl: float | None = None,
        timeout: float | None = None,
        capacity_bytes: int | None = None,
        key_type: Any = str,
        codec: Codec[Any] | None = None,
    ) -> None:
        if not isinstance(source, Source):
            raise TypeError(f"a source is a wtcache.Source, not {type(source).__name__}; over HTTP: Cache.http")
        self._open(_options(ttl, negative_ttl, timeout, capacity_bytes), source, key_type, codec)

    @classmethod
    def http(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ttl: float | None = None,
        negative_ttl: float | None = None,
        timeout: float | None = None,
        capacity_bytes: int | None = None,
        key_type: type[K] = str,  # type: ignore[assignment]
        codec: Codec[Any] | None = None,
        **http: Any,
    ) -> Cache[K, Any]:
        """A cache over an HTTP origin, without Python code between.

        `url` has `{id}` once in its path, where the key goes. `http` are further members of the library's configuration, such as
        `settle_window_ms=2000` or `honours_preconditions=True`.
        """
        options = _options(ttl, negative_ttl, timeout, capacity_bytes)
        options["http"] = {**http, "url": url, "headers": dict(headers or {})}
        if "deadline_ms" in options:
            options["http"].setdefault("timeout_ms", options["deadline_ms"])
        cache = cls.__new__(cls)
        cache._open(options, None, key_type, codec)
        return cache

    def _open(
        self, options: dict[str, Any], source: Source[K] | None, key_type: type[K], codec: Codec[Any] | None
    ) -> None:
        if key_type not in (str, bytes):
            raise TypeError("key_type is str or bytes")
        self._key_type = key_type
        self._codec = codec
        self._source_number: int | None = None
        handle, error = c_void_p(), c_void_p()
        config = lib.wtcache_config_new()
        try:
            text = json.dumps(options).encode()
            check(lib.wtcache_config_load_json(config, text, len(text), byref(error)), error)
            if source is None:
                check(lib.wtcache_open(config, byref(handle), byref(error)), error)
            else:
                self._source_number, described = attach(Attached(source, key_type))
                opened = lib.wtcache_open_with_source(config, byref(described), byref(handle), byref(error))
                check(opened, error)
        finally:
            lib.wtcache_config_free(config)
        # It goes when nobody can be in a call on it any more, not at close.
        self._handle = Handle(handle.value or 0)
        if codec is None:
            (self._bind_bytes if key_type is bytes else self._bind_str)(self._handle)

    def _key(self, key: K) -> bytes:
        if not isinstance(key, self._key_type):
            raise TypeError(f"the keys of this cache are {self._key_type.__name__}, not {type(key).__name__}")
        return key.encode("utf-8") if isinstance(key, str) else key

    def _decoded(self, value: bytes) -> Any:
        return value if self._codec is None else self._codec.decode(value)

    def _read(self, key: K, timeout: float | None) -> bytes | None:
        raw = self._key(key)
        entry, error = c_void_p(), c_void_p()
        status = lib.wtcache_get(self._handle, raw, len(raw), _call(timeout), byref(entry), byref(error))
        return None if check(status, error) == NOT_FOUND else take_value(entry)

    def __getitem__(self, key: K) -> V:
        """The record of `key`: from the cache, else from the origin. KeyError where the origin has none."""
        value = self._read(key, None)
        if value is None:
            raise KeyError(key)
        result: V = self._decoded(value)
        return result

    @overload
    def get(self, key: K, default: None = None, *, timeout: float | None = None) -> V | None: ...

    @overload
    def get(self, key: K, default: D, *, timeout: float | None = None) -> V | D: ...

    def get(self, key: K, default: Any = None, *, timeout: float | None = None) -> Any:
        """The record of `key`: from the cache, else from the origin; `default` where the origin has none."""
        value = self._read(key, timeout)
        return default if value is None else self._decoded(value)

    # What those of `Hits` hand over to, for they answer hits only.
    _item, _get = __getitem__, get

    def peek(self, key: K) -> V | None:
        """The record if it is here and may be served. Never waits, and never asks the source."""
        value = self._peek(key)
        return None if value is None else self._decoded(value)

    def _peek(self, key: K) -> bytes | None:
        raw = self._key(key)
        entry, error = c_void_p(), c_void_p()
        status = check(lib.wtcache_peek(self._handle, raw, len(raw), byref(entry), byref(error)), error)
        return None if status == NOT_FOUND else take_value(entry)

    def __contains__(self, key: K) -> bool:
        """Whether `peek` would give a record. That it does not says nothing about the origin."""
        return self._peek(key) is not None

    def put(
        self, key: K, value: V, *, timeout: float | None = None, idempotency_key: bytes | None = None
    ) -> V | None:
        """Writes to the origin, and keeps what it confirmed, which is returned; None: applied, and not seen.

        Raises `RejectedError` or another `Error`: it was not applied. `InDoubtError`: nobody can know.
        """
        data: Any = value if self._codec is None else self._codec.encode(value)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"a value is bytes, not {type(data).__name__}")
        raw, data = self._key(key), bytes(data)
        entry, error = c_void_p(), c_void_p()
        call = _call(timeout, idempotency_key)
        status = lib.wtcache_put(self._handle, raw, len(raw), data, len(data), call, byref(entry), byref(error))
        check(status, error)
        return self._decoded(take_value(entry)) if entry else None

    def delete(self, key: K, *, timeout: float | None = None, idempotency_key: bytes | None = None) -> None:
        """Removes the record at the origin and here. What the origin does not have counts as removed. Raises as `put`."""
        raw, error = self._key(key), c_void_p()
        check(lib.wtcache_delete(self._handle, raw, len(raw), _call(timeout, idempotency_key), byref(error)), error)

    def invalidate(self, key: K) -> None:
        """Forgets what is held of `key`; the origin is not asked."""
        raw, error = self._key(key), c_void_p()
        check(lib.wtcache_invalidate(self._handle, raw, len(raw), byref(error)), error)

    def stats(self) -> dict[str, int]:
        """What was counted since the cache was opened, and what it holds now."""
        text, size, error = c_void_p(), c_size_t(), c_void_p()
        check(lib.wtcache_get_stats_json(self._handle, byref(text), byref(size), byref(error)), error)
        try:
            counts: dict[str, int] = json.loads(bytes_at(text.value, size.value))
            return counts
        finally:
            lib.wtcache_string_free(text)

    def close(self, timeout: float = 5.0) -> CloseReport[K]:
        """Ends the cache: calls raise `ClosedError`, and writes that were sent get `timeout` seconds to end."""
        report, error = c_void_p(), c_void_p()
        check(lib.wtcache_close(self._handle, milliseconds(timeout, "timeout"), byref(report), byref(error)), error)
        # Nothing new asks the source, so that one which refers to this cache does not keep it alive.
        sources.drop(self._source_number)
        try:
            return CloseReport(self._keys(report, _UNFINISHED), self._keys(report, _IN_DOUBT))
        finally:
            lib.wtcache_close_report_free(report)

    def _keys(self, report: c_void_p, which: int) -> list[K]:
        keys: list[Any] = []
        for index in range(lib.wtcache_close_report_count(report, which)):
            size = c_size_t()
            key = bytes_at(lib.wtcache_close_report_key(report, which, index, byref(size)), size.value)
            keys.append(key if self._key_type is bytes else key.decode("utf-8"))
        return keys

    def __enter__(self) -> Cache[K, V]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


if accelerated:
    # Those of `Hits` take their places.
    del Cache.__getitem__, Cache.get


def _options(
    ttl: float | None, negative_ttl: float | None, timeout: float | None, capacity_bytes: int | None
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for member, name, seconds in (
        ("lifetime_ms", "ttl", ttl),
        ("negative_lifetime_ms", "negative_ttl", negative_ttl),
        ("deadline_ms", "timeout", timeout),
    ):
        if seconds is not None:
            options[member] = milliseconds(seconds, name)
    if capacity_bytes is not None:
        options["capacity_bytes"] = capacity_bytes
    return options


def _call(timeout: float | None, idempotency_key: bytes | None = None) -> Any:
    """The options of a call, or None for the cache's own."""
    if timeout is None and idempotency_key is None:
        return None
    call = Call(struct_size=ctypes.sizeof(Call))
    if timeout is not None:
        # Zero would be the cache's own; the shortest time there is comes closest to none.
        call.deadline_ms = max(1, milliseconds(timeout, "timeout"))
    if idempotency_key is not None:
        if len(idempotency_key) != 16:
            raise ValueError("an idempotency key has 16 bytes")
        call.idempotency_key = c_char_p(idempotency_key)
    return byref(call)
