"""What the HTTP origin does beside reads and writes of a key: it makes records, merges patches and lists."""

from __future__ import annotations

import json
from ctypes import byref, c_int32, c_size_t
from dataclasses import dataclass
from typing import Any, Generic

from ._border import Border, K
from ._codec import V
from ._library import bytes_at, lib
from ._many import found_in


@dataclass(frozen=True)
class Created(Generic[K, V]):
    """A record that the origin made."""

    #: The key that it gave it; None: it was made, and its key could not be told from the answer.
    key: K | None
    #: What it confirmed; None where that was not seen.
    value: V | None
    #: It is here. Else the next read of the key asks the origin.
    kept: bool


class Listed(dict[K, V]):
    """The records of an origin's list, by key, in its order."""

    #: How many members of the answer are not among them: they are no record, tell no key, or are there more than once.
    wrong: int = 0
    #: The answer is one page of several, and not the last.
    has_next_page: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether it is all that the origin has for the query."""
        return self.wrong == 0 and not self.has_next_page


def created_of(border: Border, created: Any) -> Created[Any, Any]:
    """What came of a create; the handle stays."""
    size = c_size_t()
    raw = lib.wtcache_created_key(created, byref(size))
    key = None if raw is None else border.key_of(bytes_at(raw, size.value))
    taken = border.value_of(lib.wtcache_created_entry(created))
    return Created(key, taken, bool(lib.wtcache_created_is_kept(created)))


def listed_of(border: Border, results: Any, wrong: c_size_t, more: c_int32) -> Listed[Any, Any]:
    """What was listed; the results stay."""
    listed: Listed[Any, Any] = Listed(found_in(border, results))
    listed.wrong, listed.has_next_page = wrong.value, more.value != 0
    return listed


def patch_of(patch: dict[str, Any] | bytes) -> bytes:
    """A patch, as it is sent."""
    return patch if isinstance(patch, bytes) else json.dumps(patch).encode()
