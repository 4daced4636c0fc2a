"""A write-through cache: reads are local, writes go to the origin first, and an error always says what is true.

    >>> cache = wtcache.Cache.http("http://127.0.0.1:9925/items/{id}", ttl=300)
    >>> cache.put("item-001", b'{"sku": "WB-100", "quantity": 5}')
    >>> cache["item-001"]

A source of your own is a subclass of `Source`. Values are bytes, or what a `codec` makes of them; keys are str (UTF-8), or bytes with `key_type=bytes`.
"""

from ._cache import Cache, CloseReport
from ._codec import Codec, json_codec
from ._errors import (
    ClosedError,
    ConfigError,
    ConflictError,
    Error,
    InDoubtError,
    OverloadedError,
    ReentrantError,
    RejectedError,
    SourceError,
    TimeoutError,
)
from ._hits import accelerated
from ._source import Record, Source, WriteContext

__all__ = [
    "Cache",
    "CloseReport",
    "ClosedError",
    "Codec",
    "ConfigError",
    "ConflictError",
    "Error",
    "InDoubtError",
    "OverloadedError",
    "ReentrantError",
    "Record",
    "RejectedError",
    "Source",
    "SourceError",
    "TimeoutError",
    "WriteContext",
    "accelerated",
    "json_codec",
]
