"""Writes in doubt: the handle on one, and what may be known of it."""

from __future__ import annotations

import enum
from ctypes import byref, c_size_t, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._abi import OK
from ._call import options_of_call, wait
from ._library import DoubtHandle, bytes_at, lib

if TYPE_CHECKING:
    from ._border import Border

K = TypeVar("K", str, bytes)
V = TypeVar("V")


class Settlement(enum.Enum):
    """What became of a write that was in doubt."""

    #: It was applied, and nothing of it is under way any more.
    APPLIED = 1
    #: It was not applied, and never will be.
    NOT_APPLIED = 2
    #: Nothing of it is under way any more. Whether it was applied is not known: a read shows what is there.
    OVER = 3


@dataclass(frozen=True)
class KeyInDoubt(Generic[K]):
    """A key in doubt as it stood when it was listed; times in seconds."""

    key: K
    #: For how long it had been in doubt.
    since: float
    #: When the doubt ends by itself, unless another write of the key ends in doubt.
    remaining: float
    #: How many sends may still land.
    unsettled: int


class Doubt(Generic[K, V]):
    """A write in doubt. It may be used from any thread; dropped, the doubt goes on."""

    def __init__(self, handle: DoubtHandle, border: Border) -> None:
        self._handle = handle
        self._border = border

    @property
    def key(self) -> K:
        """The key of the write."""
        size = c_size_t()
        key: K = self._border.key_of(bytes_at(lib.wtcache_doubt_key(self._handle, byref(size)), size.value))
        return key

    @property
    def idempotency_key(self) -> str:
        """The 32 hexadecimal digits under which every send of it goes out."""
        text: bytes = lib.wtcache_doubt_idempotency_key(self._handle) or b""
        return text.decode("ascii")

    @property
    def remaining(self) -> float:
        """In how many seconds the doubt of the key ends by itself; 0 where it has ended."""
        return float(lib.wtcache_doubt_remaining_ms(self._handle)) / 1000

    @property
    def outcome(self) -> Settlement | None:
        """What became of it; None while it may still be under way. Never waits."""
        settlement = lib.wtcache_doubt_outcome(self._handle)
        return Settlement(settlement) if settlement else None

    def wait(self, timeout: float | None = None) -> Settlement | None:
        """Waits until the doubt of the key has ended, and gives the outcome. Raises `NotEndedError` after `timeout` seconds."""

        def once(ms: int) -> int:
            error = c_void_p()
            return self._border.check(lib.wtcache_doubt_wait(self._handle, ms, byref(error)), error)

        wait(timeout, once)
        return self.outcome

    def replay(self, *, timeout: float | None = None) -> V | None:
        """Sends the very same write again, with its idempotency key and its condition; returns as `put`.

        Where the source declares `honours_idempotency`, the answer settles the doubt. Elsewhere it is one more send, which may be
        applied on top of the first and on what was written since, and the doubt goes on. `RejectedError`: it was not applied, and will not
        be. `InDoubtError`: it is in doubt as before.
        """
        entry, error = c_void_p(), c_void_p()
        call = options_of_call(timeout)
        self._border.check(lib.wtcache_doubt_replay(self._handle, call, byref(entry), byref(error)), error)
        value: V | None = self._border.take(entry)
        return value

    def settle(self, settlement: Settlement) -> bool:
        """Says what became of this write, on the word of a program that knows; a word that is not true makes the cache serve what is not so.

        Gives whether the key is in doubt no more: False where other writes of it still are.
        """
        error = c_void_p()
        status = lib.wtcache_doubt_settle(self._handle, Settlement(settlement).value, byref(error))
        return self._border.check(status, error) == OK

    def __repr__(self) -> str:
        return f"<wtcache.Doubt of {self.key!r}: {self.outcome.name if self.outcome else 'not settled'}>"
