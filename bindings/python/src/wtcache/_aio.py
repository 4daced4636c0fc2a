"""For `asyncio`: calls that complete in a queue, whose descriptor the event loop watches."""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from collections.abc import Callable, Iterable
from ctypes import byref, c_int32, c_size_t, c_uint64, c_void_p
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ._abi import NOT_FOUND
from ._border import Border, Entry, K
from ._call import Wants, expectation, list_of, options_of_call, options_of_read
from ._codec import V
from ._library import CompletionHandle, QueueHandle, lib
from ._many import answers_of
from ._optimistic import Pending
from ._origin import Created, Listed, created_of, listed_of, patch_of
from ._transaction import Described

if TYPE_CHECKING:
    from typing_extensions import Unpack

D = TypeVar("D")

#: How many calls that are no hits are under way at once, of one cache in one loop; and how many may wait.
_THREADS, _MOST = 16, 65_536


class _Queue:
    """What completes in one event loop; used in that loop's thread only."""

    def __init__(self, border: Border) -> None:
        queue, error = c_void_p(), c_void_p()
        border.check(lib.wtcache_queue_new(_THREADS, _MOST, byref(queue), byref(error)), error)
        self.handle = QueueHandle(queue.value or 0)
        self._descriptor = lib.wtcache_queue_descriptor(self.handle)
        self._border = border
        self._futures: dict[int, asyncio.Future[CompletionHandle]] = {}
        # While nothing is under way, the loop does not know of the queue, and neither keeps the other.
        self._watched_by: asyncio.AbstractEventLoop | None = None

    async def call(self, begin: Callable[..., int]) -> CompletionHandle:
        """Makes a call, and awaits its end."""
        loop = asyncio.get_running_loop()
        number, error = c_uint64(), c_void_p()
        self._border.check(begin(byref(number), byref(error)), error)
        future: asyncio.Future[CompletionHandle] = loop.create_future()
        self._futures[number.value] = future
        # A hit is there at once.
        self._drain()
        if future.done():
            return future.result()
        if self._watched_by is None:
            self._watched_by = loop
            loop.add_reader(self._descriptor, self._drain)
        try:
            return await future
        except asyncio.CancelledError:
            # What has not begun is not done; what is under way goes on, and nobody is told.
            lib.wtcache_queue_cancel(self.handle, number, None)
            raise

    def _drain(self) -> None:
        while True:
            completion = c_void_p()
            if lib.wtcache_queue_next(self.handle, byref(completion), None) != 0:
                break
            done = CompletionHandle(completion.value or 0)
            future = self._futures.pop(lib.wtcache_completion_id(done), None)
            if future is not None and not future.done():
                future.set_result(done)
        if not self._futures and self._watched_by is not None:
            self._watched_by.remove_reader(self._descriptor)
            self._watched_by = None


class Aio(Generic[K, V]):
    """A cache in `asyncio`: what may wait is awaited.

    What never waits is the cache's own: `peek`, `invalidate`, `put_optimistic` and its like.

    Each event loop has a queue of its own with a few threads, which call a source in Python. A task that is cancelled takes its
    call back if that has not begun; else it goes on.
    """

    def __init__(self, cache: int, border: Border) -> None:
        self._cache = cache
        self._border = border
        self._queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def _queue(self) -> _Queue:
        loop = asyncio.get_running_loop()
        with self._lock:
            queue = self._queues.get(loop)
            if queue is None:
                # Of a loop that was closed, calls may never be told: they would keep it.
                for closed in [other for other in self._queues if other.is_closed()]:
                    del self._queues[closed]
                queue = self._queues[loop] = _Queue(self._border)
            return queue

    async def _call(self, function: Callable[..., int], *arguments: Any) -> CompletionHandle:
        """Makes a call of the cache, and raises what it ended with."""
        queue = self._queue()
        done = await queue.call(functools.partial(function, queue.handle, self._cache, *arguments, None))
        return self._checked(done)

    def _checked(self, done: CompletionHandle) -> CompletionHandle:
        if lib.wtcache_completion_status(done) < 0:
            raise self._border.exception(lib.wtcache_completion_error(done), self._cache)
        return done

    def _value(self, done: CompletionHandle, absent: Any = None) -> Any:
        return self._border.value_of(lib.wtcache_completion_entry(done), absent)

    @overload
    async def get(
        self, key: K, default: None = None, *, timeout: float | None = None, confirmed: bool = False, **wants: Unpack[Wants]
    ) -> V | None: ...

    @overload
    async def get(
        self, key: K, default: D, *, timeout: float | None = None, confirmed: bool = False, **wants: Unpack[Wants]
    ) -> V | D: ...

    async def get(
        self, key: K, default: Any = None, *, timeout: float | None = None, confirmed: bool = False, **wants: Unpack[Wants]
    ) -> Any:
        """As `Cache.get`. A hit does not wait for the loop."""
        return self._value(await self._read(key, options_of_read(timeout, confirmed, **wants)), default)

    async def _read(self, key: K, call: Any) -> CompletionHandle:
        raw = self._border.key(key)
        return await self._call(lib.wtcache_get_async, raw, len(raw), call)

    async def entry(
        self, key: K, *, timeout: float | None = None, confirmed: bool = False, **wants: Unpack[Wants]
    ) -> Entry[V] | None:
        """As `Cache.entry`."""
        done = await self._read(key, options_of_read(timeout, confirmed, **wants))
        if lib.wtcache_completion_status(done) == NOT_FOUND:
            return None
        return self._border.entry(lib.wtcache_completion_entry(done), self._cache)

    async def get_many(self, keys: Iterable[K], *, timeout: float | None = None, **wants: Unpack[Wants]) -> dict[K, V]:
        """As `Cache.get_many`."""
        distinct = list(dict.fromkeys(keys))
        wanted = list_of([self._border.key(key) for key in distinct])
        done = await self._call(lib.wtcache_get_many_async, wanted, len(distinct), options_of_read(timeout, **wants))
        return answers_of(self._border, distinct, lib.wtcache_completion_results(done), "read")

    async def put(
        self,
        key: K,
        value: V,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> V | None:
        """As `Cache.put`. Writes of one key that are made in one loop go out in the order in which they were made."""
        return await self._put(key, value, None, ttl, timeout, idempotency_key)

    async def put_if(
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
        """As `Cache.put_if`."""
        return await self._put(key, value, expectation(version, exists, absent), ttl, timeout, idempotency_key)

    async def _put(
        self, key: K, value: V, expect: Any, ttl: float | None, timeout: float | None, idempotency_key: bytes | None
    ) -> V | None:
        raw, data = self._border.key(key), self._border.encoded(value)
        call = options_of_call(timeout, idempotency_key, ttl)
        done = await self._call(lib.wtcache_put_async, raw, len(raw), data, len(data), expect, call)
        confirmed: V | None = self._value(done)
        return confirmed

    async def create(
        self,
        value: V,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> Created[K, V]:
        """As `Cache.create`."""
        data = self._border.encoded(value)
        done = await self._call(
            lib.wtcache_create_async, data, len(data), options_of_call(timeout, idempotency_key, ttl)
        )
        return created_of(self._border, lib.wtcache_completion_created(done))

    async def patch(
        self,
        key: K,
        patch: dict[str, Any] | bytes,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> V | None:
        """As `Cache.patch`; in its order among the other writes of the key."""
        raw, data = self._border.key(key), patch_of(patch)
        call = options_of_call(timeout, idempotency_key, ttl)
        done = await self._call(lib.wtcache_patch_async, raw, len(raw), data, len(data), call)
        merged: V | None = self._value(done)
        return merged

    async def list(self, query: str = "", *, timeout: float | None = None) -> Listed[K, V]:
        """As `Cache.list`."""
        raw = query.encode()
        done = await self._call(lib.wtcache_list_async, raw, len(raw), options_of_call(timeout, None))
        wrong, more = c_size_t(), c_int32()
        results = lib.wtcache_completion_listed(done, byref(wrong), byref(more))
        return listed_of(self._border, results, wrong, more)

    async def delete(self, key: K, *, timeout: float | None = None, idempotency_key: bytes | None = None) -> None:
        """As `Cache.delete`."""
        raw = self._border.key(key)
        await self._call(lib.wtcache_delete_async, raw, len(raw), None, options_of_call(timeout, idempotency_key))

    async def delete_if(
        self,
        key: K,
        *,
        version: str | bytes | Iterable[str | bytes] | None = None,
        exists: bool = False,
        timeout: float | None = None,
        idempotency_key: bytes | None = None,
    ) -> None:
        """As `Cache.delete_if`."""
        raw, expect = self._border.key(key), expectation(version, exists, False)
        await self._call(lib.wtcache_delete_async, raw, len(raw), expect, options_of_call(timeout, idempotency_key))

    async def result(self, pending: Pending[K, V]) -> V | None:
        """The outcome of an optimistic write, as `Pending.result`. Cancelling the task takes nothing back: `Pending.cancel` does."""
        queue = self._queue()
        done = await queue.call(functools.partial(lib.wtcache_pending_async, queue.handle, pending.handle, None))
        status = lib.wtcache_completion_status(done)
        if status < 0:
            raise pending.failure(status, lib.wtcache_completion_error(done))
        value: V | None = self._value(done)
        return value

    def transaction(
        self, *, timeout: float | None = None, undo_timeout: float | None = None
    ) -> AsyncTransaction[K, V]:
        """As `Cache.transaction`, for `async with`. Its steps are plain functions, called by a thread of the queue's."""
        return AsyncTransaction(self, self._cache, self._border, timeout, undo_timeout)


class AsyncTransaction(Described[K, V]):
    """A transaction that is run at the end of an `async with` block; otherwise as `Transaction`."""

    def __init__(
        self, aio: Aio[K, V], cache: int, border: Border, timeout: float | None, undo_timeout: float | None
    ) -> None:
        super().__init__(cache, border, timeout, undo_timeout)
        self._aio: Aio[Any, Any] = aio

    async def __aenter__(self) -> AsyncTransaction[K, V]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        handle = self._take()
        if kind is not None:
            return
        queue = self._aio._queue()
        done = await queue.call(functools.partial(lib.wtcache_transaction_async, queue.handle, handle, None))
        self._ended(lib.wtcache_completion_transacted(done))
        self._aio._checked(done)
