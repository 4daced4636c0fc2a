"""What a call is made with: its options, lists, what a write expects; and waiting for what goes on in the background."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable
from ctypes import byref, c_char_p
from typing import Any, TypedDict

from . import _errors as errors
from ._abi import (
    CALL_ANEW,
    CALL_NOT_KEPT,
    EXPECT_ABSENT,
    EXPECT_EXISTS,
    EXPECT_VERSION,
    LIFETIME_DEFAULT,
    LIFETIME_NOT_KEPT,
    MODE_CONFIRMED,
    PENDING,
    WINDOW_NONE,
    Bytes,
    Call,
    Expect,
)
from ._library import milliseconds


def lifetime(ttl: float | None) -> int:
    """A `ttl` as the library has it: None is the default, 0 is not kept."""
    if ttl is None:
        return LIFETIME_DEFAULT
    return milliseconds(ttl, "ttl") or LIFETIME_NOT_KEPT


def window(seconds: float | None, name: str) -> int:
    """A window as the library has it: None is the default, 0 is none."""
    if seconds is None:
        return 0
    return milliseconds(seconds, name) or WINDOW_NONE


class Wants(TypedDict, total=False):
    """What a read may ask for beyond that its record be fresh; times are in seconds."""

    #: The origin confirmed the record no longer than so long before the call, else it is asked; 0: it is asked in any case.
    max_age: float | None
    #: The record may be served for so long yet, or it is loaded.
    min_fresh: float | None
    #: For how long after its end a record is taken without waiting for the origin; 0: not at all. None: as its source or the cache says.
    max_stale: float | None
    #: The same, in place of an error; also of one that is too old for `max_age` or `min_fresh`.
    stale_if_error: float | None
    #: False: what is loaded is not kept, nor is what was here before.
    keep: bool


def options_of_read(
    timeout: float | None = None,
    confirmed: bool = False,
    *,
    max_age: float | None = None,
    min_fresh: float | None = None,
    max_stale: float | None = None,
    stale_if_error: float | None = None,
    keep: bool = True,
) -> Any:
    """The options of a read, or None for the cache's own."""
    call = Call(mode=MODE_CONFIRMED if confirmed else 0, flags=0 if keep else CALL_NOT_KEPT)
    if max_age is not None:
        call.max_age_ms = milliseconds(max_age, "max_age")
        call.flags |= 0 if call.max_age_ms else CALL_ANEW
    if min_fresh is not None:
        call.min_fresh_ms = milliseconds(min_fresh, "min_fresh")
    call.max_stale_ms = window(max_stale, "max_stale")
    call.stale_if_error_ms = window(stale_if_error, "stale_if_error")
    if timeout is not None:
        call.deadline_ms = deadline(timeout)
    if not any(bytes(call)):
        return None
    call.struct_size = ctypes.sizeof(Call)
    return byref(call)


def deadline(timeout: float) -> int:
    """Zero would be the cache's own; the shortest time there is comes closest to none."""
    return max(1, milliseconds(timeout, "timeout"))


def options_of_call(
    timeout: float | None = None, idempotency_key: bytes | None = None, ttl: float | None = None
) -> Any:
    """The options of a call that is no read, or None for the cache's own."""
    if timeout is None and idempotency_key is None and ttl is None:
        return None
    call = Call(struct_size=ctypes.sizeof(Call), lifetime_ms=lifetime(ttl))
    if timeout is not None:
        call.deadline_ms = deadline(timeout)
    if idempotency_key is not None:
        if len(idempotency_key) != 16:
            raise ValueError("an idempotency key has 16 bytes")
        call.idempotency_key = c_char_p(idempotency_key)
    return byref(call)


def list_of(parts: Iterable[bytes]) -> Any:
    """Bytes in a list, which keeps them."""
    made = [Bytes(part, len(part)) for part in parts]
    return (Bytes * len(made))(*made)


def as_bytes(text: str | bytes) -> bytes:
    """A version, a tag or the like."""
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"this is str or bytes, not {type(text).__name__}")
    return text.encode("utf-8") if isinstance(text, str) else text


def expectation(version: str | bytes | Iterable[str | bytes] | None, exists: bool | None, absent: bool) -> Any:
    """What a write expects: one of the three."""
    if (version is not None) + (exists is not None and exists) + absent != 1:
        raise TypeError("a write expects one thing: version=…, exists=True or absent=True")
    expect = Expect(struct_size=ctypes.sizeof(Expect), kind=EXPECT_ABSENT if absent else EXPECT_EXISTS)
    if version is not None:
        versions = [as_bytes(one) for one in ([version] if isinstance(version, (str, bytes)) else version)]
        expect.kind = EXPECT_VERSION
        expect.versions, expect.version_count = list_of(versions), len(versions)
    return byref(expect)


#: How long a wait keeps the thread from what else is for it, such as an interrupt.
_SLICE = 0.1


def wait(timeout: float | None, once: Callable[[int], int]) -> None:
    """Waits with `once`, which takes milliseconds and gives a status, until that is not PENDING."""
    until = None if timeout is None else time.monotonic() + milliseconds(timeout, "timeout") / 1000
    while True:
        left = _SLICE if until is None else min(_SLICE, until - time.monotonic())
        if once(max(0, int(left * 1000))) != PENDING:
            return
        if until is not None and time.monotonic() >= until:
            raise errors.NotEndedError(f"it has not ended within {timeout} s; it goes on")
