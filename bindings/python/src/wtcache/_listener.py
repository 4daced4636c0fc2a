"""What happens to keys, told to a function of the program's."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from ._abi import ListenerCall, Release
from ._border import Border, K
from ._library import Table, bytes_at, callback


class EventKind(enum.Enum):
    """What happened."""

    #: Something that this package does not know yet.
    OTHER = 0
    #: What a load brought is resident now.
    RETAINED = 1
    #: The origin applied a put.
    PUT = 2
    #: The origin applied a delete.
    DELETED = 3
    #: An optimistic write was admitted. It ends with PUT, DELETED, ROLLED_BACK or IN_DOUBT.
    PENDING = 4
    #: An optimistic write left without having been applied.
    ROLLED_BACK = 5
    #: The origin refused a write, which proved out of date what was held.
    REFUSED_STALE = 6
    #: The key was invalidated, alone or with others.
    INVALIDATED = 7
    #: What was resident went, since a reader was given a later answer that is not kept.
    DROPPED = 8
    #: What was resident went for room.
    EVICTED = 9
    #: What is resident has expired; noticed by the next call of the key that is more than a hit.
    EXPIRED = 10
    #: A record is too heavy to be resident.
    TOO_HEAVY = 11
    #: Nobody can know whether a write was applied.
    IN_DOUBT = 12
    #: The key is in doubt no more.
    SETTLED = 13
    #: The auditor finds that what is resident has differed from the origin's record for longer than `differs` seconds.
    DIFFERS = 14
    #: What the origin told of its own accord is resident now, and is newer than what was.
    PUSHED = 15

    @classmethod
    def _missing_(cls, value: object) -> EventKind:
        return cls.OTHER


@dataclass(frozen=True)
class Event(Generic[K]):
    """What happened to a key."""

    kind: EventKind
    key: K
    #: Grows along the events of one key: of two, the one with the larger number is the later.
    sequence: int
    #: Of RETAINED and PUSHED: it is the absence of a record.
    absent: bool = False
    #: Of PUT and DELETED: what was confirmed is resident now.
    kept: bool = False
    #: Of DIFFERS: for how many seconds.
    differs: float = 0.0


#: The listeners of open caches, with their borders.
listeners = Table()


def listen(border: Border, listener: Callable[[Event[Any]], object]) -> int:
    """Registers a listener; the number is for the library, which calls `release_listener` when it needs it no more."""
    if not callable(listener):
        raise TypeError(f"a listener is a function, not {type(listener).__name__}")
    return listeners.add((border, listener))


@callback(ListenerCall)
def listener_call(number: int | None, told: Any) -> None:
    known = listeners.get(number)
    if known is None:
        # The cache was closed.
        return
    border, listener = known
    event = told.contents
    key = border.key_of(bytes_at(event.key, event.key_len))
    kind, differs = EventKind(event.kind), event.differs_ms / 1000
    # What it raises goes to `sys.unraisablehook`: that is what ctypes does with it.
    listener(Event(kind, key, event.sequence, bool(event.absent), bool(event.kept), differs))


@callback(Release)
def release_listener(number: int | None) -> None:
    listeners.drop(number)
