"""A write-through cache: reads are local, writes go to the origin first, and an error always says what is true.

    >>> cache = wtcache.Cache.http("http://127.0.0.1:9925/items/{id}", ttl=300)
    >>> cache.put("item-001", b'{"sku": "WB-100", "quantity": 5}')
    >>> cache["item-001"]

A source of your own is a subclass of `Source`. Values are bytes, or what a `codec` makes of them; keys are str (UTF-8), or bytes with `key_type=bytes`.
"""

from ._aio import Aio, AsyncTransaction
from ._border import Entry
from ._cache import Cache, CloseReport, Forgotten
from ._call import Wants
from ._change import DELETE, KEEP, NOTHING
from ._codec import Codec, json_codec
from ._doubt import Doubt, KeyInDoubt, Settlement
from ._errors import (
    ArgumentError,
    CancelledError,
    ClosedError,
    ConfigError,
    ConflictError,
    Error,
    InDoubtError,
    ManyError,
    NotEndedError,
    OriginAnswer,
    OverloadedError,
    PartialError,
    ReentrantError,
    RejectedError,
    SourceError,
    StateError,
    TimeoutError,
    UnmetError,
)
from ._hits import accelerated
from ._listener import Event, EventKind
from ._optimistic import Pending
from ._origin import Created, Listed
from ._permit import Permit, Sent
from ._reply import Absent, Record, Unchanged
from ._source import Source, WriteContext
from ._transaction import Outcome, StepContext, StepOutcome, StepResult, Transacted, Transaction

__all__ = [
    "DELETE",
    "KEEP",
    "NOTHING",
    "Absent",
    "Aio",
    "ArgumentError",
    "AsyncTransaction",
    "Cache",
    "CancelledError",
    "CloseReport",
    "ClosedError",
    "Codec",
    "ConfigError",
    "ConflictError",
    "Created",
    "Listed",
    "Doubt",
    "Entry",
    "Error",
    "Event",
    "EventKind",
    "Forgotten",
    "InDoubtError",
    "KeyInDoubt",
    "ManyError",
    "NotEndedError",
    "OriginAnswer",
    "Outcome",
    "OverloadedError",
    "PartialError",
    "Pending",
    "Permit",
    "ReentrantError",
    "Record",
    "RejectedError",
    "Sent",
    "Settlement",
    "Source",
    "SourceError",
    "StateError",
    "StepContext",
    "StepOutcome",
    "StepResult",
    "TimeoutError",
    "Transacted",
    "Transaction",
    "Unchanged",
    "UnmetError",
    "Wants",
    "WriteContext",
    "accelerated",
    "json_codec",
]
