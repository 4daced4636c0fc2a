"""Values that are no bytes: what makes bytes of them, and back."""

from __future__ import annotations

import json
from typing import Any, Protocol, TypeVar

V = TypeVar("V")


class Codec(Protocol[V]):
    """Between a program's values and the bytes that the origin has. Used from many threads at once."""

    def encode(self, value: V) -> bytes:
        """The bytes of a value. What it raises, `put` raises, and nothing was sent."""
        ...

    def decode(self, data: bytes) -> V:
        """The value of such bytes. What it raises, the read raises; a write whose confirmed record it refuses was applied."""
        ...


class _Json:
    def encode(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")

    def decode(self, data: bytes) -> Any:
        return json.loads(data)

    def __repr__(self) -> str:
        return "wtcache.json_codec"


#: Values as JSON, in UTF-8.
json_codec: Codec[Any] = _Json()
