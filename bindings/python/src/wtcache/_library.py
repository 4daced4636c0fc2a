"""The C library that is loaded: where it is, handles that free themselves, and what C holds of ours."""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._abi import ABI, OK, SIGNATURES, Release


def _where() -> Path:
    """The library of this package, or the one that WTCACHE_LIBRARY names; the system is never searched."""
    named = os.environ.get("WTCACHE_LIBRARY")
    path = Path(named).absolute() if named else Path(__file__).with_name("libwtcache.so")
    if not path.exists():
        raise ImportError(f"wtcache: there is no {path}; install the package, or name the library in WTCACHE_LIBRARY")
    return path


def _load() -> ctypes.CDLL:
    path = _where()
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if library.wtcache_check_abi(ABI, None) != OK:
        raise ImportError(f"wtcache: {path} has ABI {library.wtcache_abi_version()}, and this package wants {ABI}")
    return library


lib = _load()


class Handle(int):
    """An address that the library gave, which is freed with the last reference to this.

    Being an int, it is in no ring of garbage, whose members the collector ends in any order: who has it may use it.
    """

    __slots__ = ()
    _free: Any = None

    def __del__(self, is_finalizing: Any = sys.is_finalizing) -> None:
        # While the interpreter ends, sources may be half gone: the process takes the rest along.
        if self and not is_finalizing():
            self._free(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A copy would be freed once more, and in another process there is nothing at the address.
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")


class CacheHandle(Handle):
    __slots__ = ()
    _free = lib.wtcache_cache_free


class DoubtHandle(Handle):
    __slots__ = ()
    _free = lib.wtcache_doubt_free


class PendingHandle(Handle):
    __slots__ = ()
    _free = lib.wtcache_pending_free


class TransactionHandle(Handle):
    __slots__ = ()
    _free = lib.wtcache_transaction_free


class PermitHandle(Handle):
    __slots__ = ()
    _free = lib.wtcache_permit_free


class StartedHandle(Handle):
    __slots__ = ()
    _free = lib.wtcache_started_free


class QueueHandle(Handle):
    __slots__ = ()
    _free = lib.wtcache_queue_free


class CompletionHandle(Handle):
    __slots__ = ()
    _free = lib.wtcache_completion_free


#: Notified when a callback of the library's ends, or what it has of ours is released. Reentrant: a garbage collection may end a cache in
#: the middle of anything.
changed = threading.Condition(threading.RLock())
_under_way = 0


def callbacks_under_way() -> int:
    """How many callbacks the library is in now; to be asked with `changed` held."""
    return _under_way


def _in_the_child_of_a_fork() -> None:
    """Threads of the parent's that were in here are not there any more, and nothing of its caches is called."""
    global _under_way
    changed.__init__(threading.RLock())  # type: ignore[misc]  # in place, for it is known by name elsewhere
    _under_way = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_the_child_of_a_fork)


def callback(kind: Any) -> Callable[[Callable[..., None]], Any]:
    """Makes a function one that the library calls, of a kind in `_abi`. While it is under way it is counted: the interpreter's end waits for
    it."""

    def made(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def call(*arguments: Any) -> None:
            global _under_way
            with changed:
                _under_way += 1
            try:
                function(*arguments)
            finally:
                with changed:
                    _under_way -= 1
                    changed.notify_all()

        return kind(call)

    return made


class Table:
    """Python objects that C holds by number. Numbers begin at 1, for ctypes hands 0 over as None."""

    def __init__(self) -> None:
        self._objects: dict[int, Any] = {}
        self._lent: set[int] = set()
        self._numbers = itertools.count(1)

    def add(self, thing: Any) -> int:
        with changed:
            number = next(self._numbers)
            self._objects[number] = thing
            self._lent.add(number)
            return number

    def get(self, number: int | None) -> Any:
        with changed:
            return self._objects.get(number or 0)

    def forget(self, number: int | None) -> None:
        """The object goes, though the library has the number still."""
        with changed:
            forgotten = self._objects.pop(number or 0, None)
        # Whatever its end calls is called here, after the lock.
        del forgotten

    def drop(self, number: int | None) -> None:
        """The library has the number no more."""
        with changed:
            self._lent.discard(number or 0)
            changed.notify_all()
        self.forget(number)

    def give_up(self) -> None:
        """The library will give back nothing of what it has."""
        with changed:
            self._lent.clear()

    def lent(self) -> set[int]:
        """The numbers that the library has."""
        with changed:
            return set(self._lent)

    def __len__(self) -> int:
        with changed:
            return len(self._objects)


#: What sources raised, with the thread that it was raised in, for as long as an error of the library has it.
causes = Table()


@callback(Release)
def release_cause(number: int | None) -> None:
    """Called by the library, from any thread."""
    causes.drop(number)


def bytes_at(address: int | None, length: int) -> bytes:
    """A copy of what is there."""
    return ctypes.string_at(address, length) if address and length else b""


def milliseconds(seconds: float, name: str) -> int:
    """Seconds as whole milliseconds, rounded down."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {type(seconds).__name__}")
    if math.isnan(seconds) or not 0 <= seconds <= 1e9:
        raise ValueError(f"{name} is {seconds} s: not a time from now on")
    return int(seconds * 1000)
