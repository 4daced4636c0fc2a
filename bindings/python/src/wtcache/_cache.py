"""The cache, as a Python program has it."""

from __future__ import annotations

import builtins
import ctypes
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from ctypes import byref, c_int32, c_size_t, c_void_p
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from . import _abi, _ending, _errors as errors
from ._abi import CLOSE_IN_DOUBT, CLOSE_ROLLED_BACK, CLOSE_UNFINISHED, NOT_FOUND
from ._aio import Aio
from ._border import Border, Entry, K
from ._call import Wants, as_bytes, expectation, list_of, options_of_call, options_of_read, wait
from ._change import Change, changes, merge_call, release_change, update_call
from ._codec import Codec, V
from ._doubt import KeyInDoubt, Settlement
from ._extract import Said, extracts, set_extracts
from ._hits import Hits, accelerated
from ._library import CacheHandle, PendingHandle, PermitHandle, bytes_at, lib, milliseconds
from ._listener import Event, listen, listener_call, listeners, release_listener
from ._many import answers_of, found_in
from ._optimistic import Pending
from ._origin import Created, Listed, created_of, listed_of, patch_of
from ._permit import Permit
from ._source import Attached, Source, attach, sources
from ._transaction import Transaction

if TYPE_CHECKING:
    from typing_extensions import Unpack

D = TypeVar("D")


@dataclass(frozen=True)
class CloseReport(Generic[K]):
    """What closing a cache left unfinished, by key."""

    #: Keys with writes that were sent and had not ended.
    unfinished: list[K]
    #: Keys of which nobody knows whether their last writes were, or will be, applied.
    in_doubt: list[K]
    #: Keys of optimistic writes that were not sent: nobody will send them.
    rolled_back: list[K]


@dataclass(frozen=True)
class Forgotten:
    """What forgetting many keys came to."""

    #: How many resident entries went, remembered absences included.
    entries: int
    #: It had to look at entries that it did not mean, so that its cost grows with what is resident.
    scanned: bool


class Cache(Hits, Generic[K, V]):
    """A write-through cache over a source.

    It may be used from many threads at once. Use it with `with`, or call `close`. After a fork it is the parent's only: open a cache
    after the fork.

    `ttl`, `negative_ttl` (how long an absence is remembered) and `timeout` (of a call, the source's work included) are in seconds. What
    is None has the library's default: no end, 5 s, 5 s, and 64 MiB. Values are bytes, or with a `codec` what that makes of them; the
    source's values are bytes always. `listener` is told what happens to keys, by whichever thread made it happen.

    Three are asked of each record before it is kept, as `fn(key, value)`, by any thread, and must not call the cache. `weigher` gives what it
    weighs, in place of its bytes; its value is None for a remembered absence, and `capacity_bytes` is in its unit. `tags` gives its tags, beside
    those of the source; each of `indexes`, by name, the values that `find` finds it by. They give a str, bytes, several of them, or None.
    Where one raises, the record is not kept; what it raised goes to `sys.unraisablehook`.

    `options` are further members of the library's configuration, such as `{"key_index": True}`; docs/c.md and wtcache.h say what there is.
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
        listener: Callable[[Event[K]], object] | None = None,
        weigher: Callable[[K, Any], int] | None = None,
        tags: Callable[[K, Any], Said] | None = None,
        indexes: Mapping[str, Callable[[K, Any], Said]] | None = None,
        options: Mapping[str, Any] | None = None,
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
        listener: Callable[[Event[K]], object] | None = None,
        weigher: Callable[[K, Any], int] | None = None,
        tags: Callable[[K, Any], Said] | None = None,
        indexes: Mapping[str, Callable[[K, Any], Said]] | None = None,
        options: Mapping[str, Any] | None = None,
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
        listener: Callable[[Event[Any]], object] | None = None,
        weigher: Callable[[Any, Any], int] | None = None,
        tags: Callable[[Any, Any], Said] | None = None,
        indexes: Mapping[str, Callable[[Any, Any], Said]] | None = None,
        options: Mapping[str, Any] | None = None,
        key_type: Any = str,
        codec: Codec[Any] | None = None,
    ) -> None:
        if not isinstance(source, Source):
            raise TypeError(f"a source is a wtcache.Source, not {type(source).__name__}; over HTTP: Cache.http")
        members = {**(options or {}), **_options(ttl, negative_ttl, timeout, capacity_bytes)}
        self._open(members, source, listener, (weigher, tags, indexes), Border(key_type, codec))

    @classmethod
    def http(
        cls,
        url: str,
        *,
        headers: Mapping[str, str | Mapping[str, str]] | None = None,
        ttl: float | None = None,
        negative_ttl: float | None = None,
        timeout: float | None = None,
        capacity_bytes: int | None = None,
        listener: Callable[[Event[K]], object] | None = None,
        weigher: Callable[[K, Any], int] | None = None,
        tags: Callable[[K, Any], Said] | None = None,
        indexes: Mapping[str, Callable[[K, Any], Said]] | None = None,
        options: Mapping[str, Any] | None = None,
        key_type: type[K] = str,  # type: ignore[assignment]
        codec: Codec[Any] | None = None,
        **http: Any,
    ) -> Cache[K, Any]:
        """A cache over an HTTP origin, without Python code between.

        `url` has `{id}` once in its path or query, where the key goes. `http` are further members of `http` in the library's configuration, such
        as `settle_window_ms=2000` or `honours_preconditions=True`.
        """
        members = {**(options or {}), **_options(ttl, negative_ttl, timeout, capacity_bytes)}
        members["http"] = {**http, "url": url, "headers": dict(headers or {})}
        if "deadline_ms" in members:
            members["http"].setdefault("timeout_ms", members["deadline_ms"])
        cache = cls.__new__(cls)
        cache._open(members, None, listener, (weigher, tags, indexes), Border(key_type, codec))
        return cache

    def _open(
        self,
        members: dict[str, Any],
        source: Source[K] | None,
        listener: Callable[[Event[K]], object] | None,
        said: tuple[Any, Any, Any],
        border: Border,
    ) -> None:
        if border.key_type not in (str, bytes):
            raise TypeError("key_type is str or bytes")
        self._border = border
        self._source_number: int | None = None
        self._listener_number: int | None = None
        self._extract_numbers: list[int] = []
        handle, error = c_void_p(), c_void_p()
        config = lib.wtcache_config_new()
        try:
            text = json.dumps(members).encode()
            border.check(lib.wtcache_config_load_json(config, text, len(text), byref(error)), error)
            if listener is not None:
                self._listener_number = listen(border, listener)
                given = (listener_call, self._listener_number, release_listener)
                border.check(lib.wtcache_config_set_listener(config, *given, byref(error)), error)
            self._extract_numbers = set_extracts(config, border, *said)
            if source is None:
                border.check(lib.wtcache_open(config, byref(handle), byref(error)), error)
            else:
                self._source_number, described = attach(Attached(source, border.key_type))
                opened = lib.wtcache_open_with_source(config, byref(described), byref(handle), byref(error))
                border.check(opened, error)
        finally:
            lib.wtcache_config_free(config)
        # It goes when nobody can be in a call on it any more, not at close.
        self._handle = CacheHandle(handle.value or 0)
        _ending.close_at_exit(self)
        if border.codec is None:
            (self._bind_bytes if border.key_type is bytes else self._bind_str)(self._handle)

    def _check(self, status: int, error: c_void_p) -> int:
        return self._border.check(status, error, self._handle)

    def _read(self, key: K, call: Any) -> c_void_p | None:
        """The entry of a key, to be freed; None where the origin has none."""
        raw = self._border.key(key)
        entry, error = c_void_p(), c_void_p()
        status = lib.wtcache_get(self._handle, raw, len(raw), call, byref(entry), byref(error))
        return None if self._check(status, error) == NOT_FOUND else entry

    def __getitem__(self, key: K) -> V:
        """The record of `key`: from the cache, else from the origin. KeyError where the origin has none."""
        entry = self._read(key, None)
        if entry is None:
            raise KeyError(key)
        value: V = self._border.take(entry)
        return value

    @overload
    def get(
        self, key: K, default: None = None, *, timeout: float | None = None, confirmed: bool = False, **wants: Unpack[Wants]
    ) -> V | None: ...

    @overload
    def get(
        self, key: K, default: D, *, timeout: float | None = None, confirmed: bool = False, **wants: Unpack[Wants]
    ) -> V | D: ...

    def get(
        self, key: K, default: Any = None, *, timeout: float | None = None, confirmed: bool = False, **wants: Unpack[Wants]
    ) -> Any:
        """The record of `key`: from the cache, else from the origin; `default` where the origin has none.

        `confirmed`: what the origin confirmed, whatever optimistic writes are pending above it. A read may ask for more, times being in
        seconds: `max_age`, that the origin confirmed it no longer than so long before the call (0: it is asked in any case); `min_fresh`,
        that it may be served for so long yet; `max_stale` and `stale_if_error`, for how long after its end it is taken without waiting for
        the origin, or in place of an error (0: not at all; None: as its source or the cache says); `keep=False`, that what is loaded is
        not kept, nor what was here before.
        """
        entry = self._read(key, options_of_read(timeout, confirmed, **wants))
        return default if entry is None else self._border.take(entry)

    # What those of `Hits` hand over to, for they answer hits only.
    _item, _get = __getitem__, get

    def entry(
        self, key: K, *, timeout: float | None = None, confirmed: bool = False, **wants: Unpack[Wants]
    ) -> Entry[V] | None:
        """As `get`, with all that is known of the record: its version, whether it is pending, how long it may be served, how old it is."""
        entry = self._read(key, options_of_read(timeout, confirmed, **wants))
        try:
            return None if entry is None else self._border.entry(entry, self._handle)
        finally:
            lib.wtcache_entry_free(entry)

    def peek(self, key: K) -> V | None:
        """The record if it is here and may be served. Never waits, and never asks the source."""
        entry = self._peek(key)
        return None if entry is None else self._border.take(entry)

    def _peek(self, key: K) -> c_void_p | None:
        raw = self._border.key(key)
        entry, error = c_void_p(), c_void_p()
        status = lib.wtcache_peek(self._handle, raw, len(raw), byref(entry), byref(error))
        return None if self._check(status, error) == NOT_FOUND else entry

    def __contains__(self, key: K) -> bool:
        """Whether `peek` would give a record. That it does not says nothing about the origin."""
        entry = self._peek(key)
        lib.wtcache_entry_free(entry)
        return entry is not None

    def get_many(self, keys: Iterable[K], *, timeout: float | None = None, **wants: Unpack[Wants]) -> dict[K, V]:
        """The records of many keys, but for those that the origin does not have. What is here is taken in one step. It may ask for more,
        as `get`.

        Raises `ManyError` where some could not be read; it has the others.
        """
        distinct = list(dict.fromkeys(keys))
        wanted = list_of([self._border.key(key) for key in distinct])
        results, error = c_void_p(), c_void_p()
        call = options_of_read(timeout, **wants)
        status = lib.wtcache_get_many(self._handle, wanted, len(distinct), call, byref(results), byref(error))
        self._check(status, error)
        try:
            return answers_of(self._border, distinct, results, "read")
        finally:
            lib.wtcache_results_free(results)

    def find(self, index: str, value: str | bytes) -> dict[K, V]:
        """The records that are here, by key, that have `value` in the index of that name: see `indexes`.

        It is no list of what the origin has. What was never loaded, has expired or is in doubt is not there; optimistic writes are not
        seen. Never waits, and never asks the source. Raises `ArgumentError` where no index has that name.
        """
        name, raw = index.encode(), as_bytes(value)
        results, error = c_void_p(), c_void_p()
        status = lib.wtcache_find(self._handle, name, len(name), raw, len(raw), byref(results), None, byref(error))
        self._check(status, error)
        try:
            return found_in(self._border, results)
        finally:
            lib.wtcache_results_free(results)

    def list(self, query: str = "", *, timeout: float | None = None) -> Listed[K, V]:
        """The records of the HTTP origin's list for a query, as it stands in a URL, percent-encoded, which are kept as what loads bring; with
        `list={"url": …}`.

        They are all that the origin has for it only if `is_complete`. Those of a query that may ask for parts of records (`parts_by`, by default
        `select` and `fields`), and those that something moved meanwhile, are not kept. Raises `ArgumentError` where the cache has a source of the
        program's own or no `list`, and `SourceError` or another `Error` as `get`.
        """
        raw = query.encode()
        results, wrong, more, error = c_void_p(), c_size_t(), c_int32(), c_void_p()
        call = options_of_call(timeout, None)
        out = (byref(results), byref(wrong), byref(more), byref(error))
        self._check(lib.wtcache_list(self._handle, raw, len(raw), call, *out), error)
        try:
            return listed_of(self._border, results, wrong, more)
        finally:
            lib.wtcache_results_free(results)

    def put(
        self,
        key: K,
        value: V,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> V | None:
        """Writes to the origin, and keeps what it confirmed, which is returned; None: applied, and not seen.

        `ttl` is how many seconds it may be served where the source says nothing of that; 0: it is not kept. Raises `RejectedError` or
        another `Error`: it was not applied. `InDoubtError`: nobody can know.
        """
        raw, data = self._border.key(key), self._border.encoded(value)
        entry, error = c_void_p(), c_void_p()
        call = options_of_call(timeout, idempotency_key, ttl)
        status = lib.wtcache_put(self._handle, raw, len(raw), data, len(data), call, byref(entry), byref(error))
        self._check(status, error)
        return self._taken(entry)

    def create(
        self,
        value: V,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> Created[K, V]:
        """Has the origin make a record whose key it names itself, and keeps it under that key; over HTTP, with `create={"url": …}`.

        Options as of `put`. Raises `RejectedError` or another `Error`: it was not made. `InDoubtError`: nobody can know whether it was, and
        its `doubt` is None: no key is in doubt, since none is known.
        """
        data = self._border.encoded(value)
        created, error = c_void_p(), c_void_p()
        call = options_of_call(timeout, idempotency_key, ttl)
        self._check(lib.wtcache_create(self._handle, data, len(data), call, byref(created), byref(error)), error)
        try:
            return created_of(self._border, created)
        finally:
            lib.wtcache_created_free(created)

    def patch(
        self,
        key: K,
        patch: dict[str, Any] | bytes,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> V | None:
        """Sends a JSON merge patch (RFC 7396) to the HTTP origin, which merges it, and keeps the record that it answers with, which is returned;
        None: applied, and not seen. The record is not loaded for it.

        A dict is written as JSON; bytes are sent as they are, and must be JSON. The codec has no part in it. Options and what it raises are as of
        `put`; `ArgumentError` where the cache has a source of the program's own. What is in doubt can be settled or waited for, not sent again.
        """
        raw, data = self._border.key(key), patch_of(patch)
        entry, error = c_void_p(), c_void_p()
        call = options_of_call(timeout, idempotency_key, ttl)
        status = lib.wtcache_patch(self._handle, raw, len(raw), data, len(data), call, byref(entry), byref(error))
        self._check(status, error)
        return self._taken(entry)

    def _taken(self, entry: c_void_p) -> V | None:
        value: V | None = self._border.take(entry)
        return value

    def put_if(
        self,
        key: K,
        value: V,
        *,
        version: str | bytes | Iterable[str | bytes] | None = None,
        exists: bool = False,
        absent: bool = False,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> V | None:
        """As `put`, if what is expected holds of the existing record: it has one of these versions, it `exists`, or it is `absent`.

        That is checked in the write's turn, so that no other writer of this process comes between, and at an origin that honours
        preconditions. Raises `UnmetError` where it does not hold here, with the record that is there; `ConflictError`, which both are, where
        the origin found so.
        """
        expect = expectation(version, exists, absent)
        raw, data = self._border.key(key), self._border.encoded(value)
        entry, error = c_void_p(), c_void_p()
        call = options_of_call(timeout, idempotency_key, ttl)
        write = (self._handle, raw, len(raw), data, len(data), expect, call)
        self._check(lib.wtcache_put_if(*write, byref(entry), byref(error)), error)
        return self._taken(entry)

    def delete(self, key: K, *, timeout: float | None = None, idempotency_key: bytes | None = None) -> None:
        """Removes the record at the origin and here. What the origin does not have counts as removed. Raises as `put`."""
        raw, error = self._border.key(key), c_void_p()
        call = options_of_call(timeout, idempotency_key)
        self._check(lib.wtcache_delete(self._handle, raw, len(raw), call, byref(error)), error)

    def delete_if(
        self,
        key: K,
        *,
        version: str | bytes | Iterable[str | bytes] | None = None,
        exists: bool = False,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> None:
        """As `delete`, if what is expected holds of the existing record: see `put_if`."""
        expect = expectation(version, exists, False)
        raw, error = self._border.key(key), c_void_p()
        call = options_of_call(timeout, idempotency_key)
        self._check(lib.wtcache_delete_if(self._handle, raw, len(raw), expect, call, byref(error)), error)

    def update(
        self,
        key: K,
        function: Callable[[Any], Any],
        *,
        default: Any = None,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> V | None:
        """Reads the record, has `function` say what becomes of it, and writes that, all in one turn: between writers of this process no
        update is lost.

        `function` is given the value, or `default` where there is no record, and returns a value, `DELETE` or `KEEP`. It is called once at
        most, in this thread; what it raises is raised here, and nothing was sent. Returns what is there then, else raises as `put`.
        """
        change = Change(self._border, function, default)
        raw, entry, error = self._border.key(key), c_void_p(), c_void_p()
        call = options_of_call(timeout, idempotency_key, ttl)
        number = changes.add(change)
        try:
            asked = (self._handle, raw, len(raw), update_call, number, call)
            status = lib.wtcache_update(*asked, byref(entry), byref(error))
        finally:
            changes.drop(number)
        if change.raised is not None:
            lib.wtcache_error_free(error)
            raise change.raised
        self._check(status, error)
        return self._taken(entry)

    def put_many(self, values: Mapping[K, V], *, ttl: float | None = None, timeout: float | None = None) -> dict[K, V | None]:
        """Writes many records, one after the other, each as `put` does, and returns what each of those would. It is no transaction.

        Raises `ManyError` where some failed; it has the others.
        """
        keys = list(values)
        to = list_of([self._border.key(key) for key in keys])
        what = list_of([self._border.encoded(value) for value in values.values()])
        results, error = c_void_p(), c_void_p()
        call = options_of_call(timeout, ttl=ttl)
        status = lib.wtcache_put_many(self._handle, to, what, len(keys), call, byref(results), byref(error))
        self._check(status, error)
        try:
            return answers_of(self._border, keys, results, "written")
        finally:
            lib.wtcache_results_free(results)

    def prepare(
        self,
        key: K,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> Permit[K, V]:
        """Takes the turn of `key`, for a program that writes to the origin itself; the cache's source is not called for that.

            with cache.prepare("item-001") as permit:
                sent = permit.send()
                answer = ...                    # the program's own I/O
                sent.commit(answer)             # or reject, commit_unseen, commit_deleted, in_doubt

        Waits for the turn, which is held `timeout` seconds from now at most. `ttl` as of `put`. Raises as `put` does before it sends.
        """
        raw, call = self._border.key(key), options_of_call(timeout, idempotency_key, ttl)
        permit, error = c_void_p(), c_void_p()
        self._check(lib.wtcache_prepare(self._handle, raw, len(raw), call, byref(permit), byref(error)), error)
        return Permit(PermitHandle(permit.value or 0), self._handle, self._border)

    @overload
    def invalidate(self, key: K) -> None: ...

    @overload
    def invalidate(self, *, prefix: str | bytes) -> Forgotten: ...

    @overload
    def invalidate(self, *, pattern: str | bytes) -> Forgotten: ...

    @overload
    def invalidate(self, *, tag: str | bytes) -> Forgotten: ...

    def invalidate(
        self,
        key: K | None = None,
        *,
        prefix: str | bytes | None = None,
        pattern: str | bytes | None = None,
        tag: str | bytes | None = None,
    ) -> Forgotten | None:
        """Forgets what is held of `key`, or of all keys that begin with `prefix`, match `pattern`, or whose records have `tag`.

        The origin is not asked. In a pattern `*` is anything but a separator (`:`), a `*` at the end is the whole rest, and `\\*` is a star.
        With `options={"key_index": True}` a prefix costs what it matches; else all entries are looked at.
        """
        if (key is not None) + (prefix is not None) + (pattern is not None) + (tag is not None) != 1:
            raise TypeError("one thing is forgotten: a key, prefix=…, pattern=… or tag=…")
        error = c_void_p()
        if key is not None:
            raw = self._border.key(key)
            self._check(lib.wtcache_invalidate(self._handle, raw, len(raw), byref(error)), error)
            return None
        if prefix is not None:
            forget, text = lib.wtcache_invalidate_prefix, prefix
        elif pattern is not None:
            forget, text = lib.wtcache_invalidate_pattern, pattern
        else:
            forget, text = lib.wtcache_invalidate_tag, tag or b""
        raw, told = as_bytes(text), _abi.Forgotten(struct_size=ctypes.sizeof(_abi.Forgotten))
        self._check(forget(self._handle, raw, len(raw), byref(told), byref(error)), error)
        return Forgotten(told.entries, bool(told.scanned))

    def put_optimistic(
        self,
        key: K,
        value: V,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> Pending[K, V]:
        """Shows a value as the record of `key` at once, and writes it to the origin in the background.

        If the origin refuses it, it is as if it had never been. Never waits, and calls no source in this thread.
        An error, such as `OverloadedError`, says that it was not admitted. How it ends, `Pending.result` tells.
        """
        raw, data = self._border.key(key), self._border.encoded(value)
        call = options_of_call(timeout, idempotency_key, ttl)
        write = (self._handle, raw, len(raw), data, len(data), call)
        return self._pending(functools.partial(lib.wtcache_put_optimistic, *write))

    def delete_optimistic(
        self, key: K, *, timeout: float | None = None, idempotency_key: bytes | None = None
    ) -> Pending[K, V]:
        """Shows at once that there is no record of `key`, and deletes it in the background: as `put_optimistic`."""
        raw, call = self._border.key(key), options_of_call(timeout, idempotency_key)
        return self._pending(functools.partial(lib.wtcache_delete_optimistic, self._handle, raw, len(raw), call))

    def merge_optimistic(
        self,
        key: K,
        function: Callable[[Any], Any],
        *,
        default: Any = None,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> Pending[K, V]:
        """Shows at once what `function` makes of the record of `key`.

        What it makes of what the origin confirmed is written in the background. `function` is that of `update`, and has to be pure: it is called again whenever what is beneath it has changed, from any thread. Where
        it raises, it counts for nothing in a read, and its write is not sent. Otherwise as `put_optimistic`.
        """
        change = Change(self._border, function, default)
        raw, call = self._border.key(key), options_of_call(timeout, idempotency_key, ttl)
        merge = (merge_call, changes.add(change), release_change)
        begin = functools.partial(lib.wtcache_merge_optimistic, self._handle, raw, len(raw), *merge, call)
        return self._pending(begin, change)

    def _pending(self, begin: Callable[..., int], merge: Change | None = None) -> Pending[K, V]:
        pending, error = c_void_p(), c_void_p()
        self._check(begin(byref(pending), byref(error)), error)
        return Pending(PendingHandle(pending.value or 0), self._border, merge)

    def transaction(
        self, *, timeout: float | None = None, undo_timeout: float | None = None, optimistic: bool = False
    ) -> Transaction[K, V]:
        """A transaction, to be described in a `with` block and run at its end.

        It may take `timeout` seconds, and undoing `undo_timeout` more.
        """
        return Transaction(self._handle, self._border, timeout, undo_timeout, optimistic)

    def doubts(self, most: int = 1000) -> builtins.list[KeyInDoubt[K]]:
        """Keys of which nobody knows whether their last writes were, or will be, applied: `most` of them at most, in no order."""
        listed, error = c_void_p(), c_void_p()
        self._check(lib.wtcache_list_doubts(self._handle, most, byref(listed), byref(error)), error)
        try:
            told = []
            for index in range(lib.wtcache_doubt_list_count(listed)):
                one = _abi.KeyInDoubt(struct_size=ctypes.sizeof(_abi.KeyInDoubt))
                self._check(lib.wtcache_doubt_list_get(listed, index, byref(one), byref(error)), error)
                key = self._border.key_of(bytes_at(one.key, one.key_len))
                told.append(KeyInDoubt(key, one.since_ms / 1000, one.remaining_ms / 1000, one.unsettled))
            return told
        finally:
            lib.wtcache_doubt_list_free(listed)

    def settle(self, key: K, settlement: Settlement) -> bool:
        """Ends the doubt of `key`, on the word of a program that knows that none of its writes in doubt can land any more.

        False: it is not in doubt. A word that is not true makes the cache serve what is not so.
        """
        raw, error = self._border.key(key), c_void_p()
        word = Settlement(settlement).value
        status = lib.wtcache_settle(self._handle, raw, len(raw), word, byref(error))
        return self._check(status, error) != NOT_FOUND

    @functools.cached_property
    def aio(self) -> Aio[K, V]:
        """The same for `asyncio`: `await cache.aio.get(key)` and the like."""
        return Aio(self._handle, self._border)

    def stats(self) -> dict[str, int]:
        """What was counted since the cache was opened, and what it holds now."""
        text, size, error = c_void_p(), c_size_t(), c_void_p()
        self._check(lib.wtcache_get_stats_json(self._handle, byref(text), byref(size), byref(error)), error)
        try:
            counts: dict[str, int] = json.loads(bytes_at(text.value, size.value))
            return counts
        finally:
            lib.wtcache_string_free(text)

    def origin(self) -> dict[str, Any]:
        """What the HTTP origin was asked so far, and how it fared: attempts, retries, outcomes, connections, and where the breaker stands.

        The members are those of `wtcache_get_origin_json` in the library's header. Over a source of your own: `ArgumentError`.
        """
        text, size, error = c_void_p(), c_size_t(), c_void_p()
        self._check(lib.wtcache_get_origin_json(self._handle, byref(text), byref(size), byref(error)), error)
        try:
            told: dict[str, Any] = json.loads(bytes_at(text.value, size.value))
            return told
        finally:
            lib.wtcache_string_free(text)

    def feed(self) -> dict[str, Any] | None:
        """Where the feed that this cache follows stands, and what it did, with `subscribe={"url": …}`; else None.

        `state` is `"connecting"`, `"live"`, `"cut-off"` or, once the cache was closed, `"stopped"`; `state_for_ms`: for how long. `last_error` is
        why it was cut off last, or None; the rest are counts.
        """
        text, size, error = c_void_p(), c_size_t(), c_void_p()
        status = lib.wtcache_get_feed_json(self._handle, byref(text), byref(size), byref(error))
        self._check(status, error)
        if status == NOT_FOUND:
            return None
        try:
            told: dict[str, Any] = json.loads(bytes_at(text.value, size.value))
            return told
        finally:
            lib.wtcache_string_free(text)

    def drain(self, timeout: float | None = 5.0) -> None:
        """Waits until no write is out or pending: each that was sent has its outcome, or is in doubt.

        Raises `NotEndedError` after `timeout` seconds. Calls go on as before; who calls this sees to it that nobody writes meanwhile.
        """

        def once(ms: int) -> int:
            error = c_void_p()
            return self._check(lib.wtcache_drain(self._handle, ms, byref(error)), error)

        wait(timeout, once)

    def close(self, timeout: float = 5.0) -> CloseReport[K]:
        """Ends the cache: calls raise `ClosedError`, and writes that were sent get `timeout` seconds to end."""
        report, error = c_void_p(), c_void_p()
        self._check(lib.wtcache_close(self._handle, milliseconds(timeout, "timeout"), byref(report), byref(error)), error)
        # Nothing new asks the source or tells the listener, so that one which refers to this cache does not keep it alive.
        sources.forget(self._source_number)
        listeners.forget(self._listener_number)
        for number in self._extract_numbers:
            extracts.forget(number)
        try:
            kinds = (CLOSE_UNFINISHED, CLOSE_IN_DOUBT, CLOSE_ROLLED_BACK)
            return CloseReport(*(self._keys(report, kind) for kind in kinds))
        finally:
            lib.wtcache_close_report_free(report)

    def _keys(self, report: c_void_p, which: int) -> builtins.list[K]:
        keys: list[Any] = []
        for index in range(lib.wtcache_close_report_count(report, which)):
            size = c_size_t()
            key = bytes_at(lib.wtcache_close_report_key(report, which, index, byref(size)), size.value)
            keys.append(self._border.key_of(key))
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
