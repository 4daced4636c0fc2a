"""The C library, as ctypes sees it: where it is, its functions, and how its errors become exceptions."""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, NoReturn

from . import _errors as errors

ABI = 1

OK = 0
NOT_FOUND = 1
ERR_SOURCE = -6
ERR_IN_DOUBT = -9
OUTCOME_IN_DOUBT = 1

_CLASSES: dict[int, type[errors.Error]] = {
    -2: errors.ConfigError,
    -4: errors.ClosedError,
    -5: errors.TimeoutError,
    ERR_SOURCE: errors.SourceError,
    -7: errors.RejectedError,
    -8: errors.ConflictError,
    ERR_IN_DOUBT: errors.InDoubtError,
    -10: errors.OverloadedError,
    -11: errors.OverloadedError,
    -12: errors.ReentrantError,
    -13: errors.OverloadedError,
}


class Request(Structure):
    """`wtcache_request`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("value", c_void_p),
        ("value_len", c_size_t),
        ("remaining_ms", c_uint64),
        ("version", c_void_p),
        ("version_len", c_size_t),
        ("idempotency_key", c_char_p),
        ("condition", c_int32),
        ("reserved", c_int32),
        ("condition_version", c_void_p),
        ("condition_version_len", c_size_t),
    ]


Callback = CFUNCTYPE(None, c_void_p, POINTER(Request), c_void_p)
Release = CFUNCTYPE(None, c_void_p)


class SourceStruct(Structure):
    """`wtcache_source`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("user_data", c_void_p),
        ("destroy", Release),
        ("get", Callback),
        ("put", Callback),
        ("remove", Callback),
        ("settle_window_ms", c_uint64),
        ("stores_verbatim", c_int32),
        ("honours_preconditions", c_int32),
        ("honours_idempotency", c_int32),
        ("versions_never_reused", c_int32),
    ]


class Call(Structure):
    """`wtcache_call`."""

    _fields_ = [("struct_size", c_size_t), ("deadline_ms", c_uint64), ("idempotency_key", c_char_p)]


class RecordStruct(Structure):
    """`wtcache_record`."""

    _fields_ = [("struct_size", c_size_t), ("version", c_char_p), ("version_len", c_size_t), ("lifetime_ms", c_int64)]


class Failure(Structure):
    """`wtcache_failure`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("verdict", c_int32),
        ("retryable", c_int32),
        ("code", c_int32),
        ("reserved", c_int32),
        ("retry_after_ms", c_uint64),
        ("message", c_char_p),
        ("message_len", c_size_t),
        ("cause", c_void_p),
        ("release_cause", Release),
    ]


def _where() -> Path:
    """The library of this package, or the one that WTCACHE_LIBRARY names; the system is never searched."""
    named = os.environ.get("WTCACHE_LIBRARY")
    path = Path(named).absolute() if named else Path(__file__).with_name("libwtcache.so")
    if not path.exists():
        raise ImportError(f"wtcache: there is no {path}; install the package, or name the library in WTCACHE_LIBRARY")
    return path


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "wtcache_abi_version": (c_uint32, []),
    "wtcache_check_abi": (c_int32, [c_uint32, c_void_p]),
    "wtcache_config_new": (c_void_p, []),
    "wtcache_config_load_json": (c_int32, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "wtcache_config_free": (None, [c_void_p]),
    "wtcache_open": (c_int32, [c_void_p, c_void_p, c_void_p]),
    "wtcache_open_with_source": (c_int32, [c_void_p, POINTER(SourceStruct), c_void_p, c_void_p]),
    "wtcache_cache_free": (None, [c_void_p]),
    "wtcache_close": (c_int32, [c_void_p, c_uint64, c_void_p, c_void_p]),
    "wtcache_close_report_count": (c_size_t, [c_void_p, c_int32]),
    "wtcache_close_report_key": (c_void_p, [c_void_p, c_int32, c_size_t, c_void_p]),
    "wtcache_close_report_free": (None, [c_void_p]),
    "wtcache_get": (c_int32, [c_void_p, c_char_p, c_size_t, c_void_p, c_void_p, c_void_p]),
    "wtcache_peek": (c_int32, [c_void_p, c_char_p, c_size_t, c_void_p, c_void_p]),
    "wtcache_put": (
        c_int32,
        [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p, c_void_p, c_void_p],
    ),
    "wtcache_delete": (c_int32, [c_void_p, c_char_p, c_size_t, c_void_p, c_void_p]),
    "wtcache_invalidate": (c_int32, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "wtcache_get_stats_json": (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p]),
    "wtcache_string_free": (None, [c_void_p]),
    "wtcache_entry_value": (c_void_p, [c_void_p, c_void_p]),
    "wtcache_entry_free": (None, [c_void_p]),
    "wtcache_error_outcome": (c_int32, [c_void_p]),
    "wtcache_error_message": (c_void_p, [c_void_p]),
    "wtcache_error_message_len": (c_size_t, [c_void_p]),
    "wtcache_error_retryable": (c_int32, [c_void_p]),
    "wtcache_error_retry_after_ms": (c_uint64, [c_void_p]),
    "wtcache_error_source_code": (c_int32, [c_void_p]),
    "wtcache_error_cause": (c_void_p, [c_void_p]),
    "wtcache_error_free": (None, [c_void_p]),
    "wtcache_reply_value": (c_int32, [c_void_p, c_char_p, c_size_t, POINTER(RecordStruct), c_void_p]),
    "wtcache_reply_absent": (c_int32, [c_void_p, c_void_p]),
    "wtcache_reply_applied": (c_int32, [c_void_p, c_void_p]),
    "wtcache_reply_stored": (c_int32, [c_void_p, c_void_p, c_void_p]),
    "wtcache_reply_error": (c_int32, [c_void_p, POINTER(Failure), c_void_p]),
    "wtcache_reply_existing": (c_int32, [c_void_p, c_void_p, c_void_p]),
}


def _load() -> ctypes.CDLL:
    path = _where()
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if library.wtcache_check_abi(ABI, None) != OK:
        raise ImportError(f"wtcache: {path} has ABI {library.wtcache_abi_version()}, and this package wants {ABI}")
    return library


lib = _load()


class Handle(int):
    """The address of a cache, which is freed with the last reference to this.

    Being an int, it is in no ring of garbage, whose members the collector ends in any order: who has it may use it.
    """

    __slots__ = ()

    def __del__(self, free: Any = lib.wtcache_cache_free, is_finalizing: Any = sys.is_finalizing) -> None:
        # While the interpreter ends, sources may be half gone: the process takes the rest along.
        if not is_finalizing():
            free(self)


class Table:
    """Python objects that C holds by number. Numbers begin at 1, for ctypes hands 0 over as None."""

    def __init__(self) -> None:
        # Reentrant: a garbage collection may end a cache in the middle of anything, this class included.
        self._lock = threading.RLock()
        self._objects: dict[int, Any] = {}
        self._numbers = itertools.count(1)

    def add(self, thing: Any) -> int:
        with self._lock:
            number = next(self._numbers)
            self._objects[number] = thing
            return number

    def get(self, number: int | None) -> Any:
        with self._lock:
            return self._objects.get(number or 0)

    def drop(self, number: int | None) -> None:
        with self._lock:
            dropped = self._objects.pop(number or 0, None)
        # Whatever its end calls is called here, after the lock.
        del dropped

    def __len__(self) -> int:
        with self._lock:
            return len(self._objects)


#: What sources raised, with the thread that it was raised in, for as long as an error of the library has it.
causes = Table()


@Release
def release_cause(number: int | None) -> None:
    """Called by the library, from any thread."""
    causes.drop(number)


def bytes_at(address: int | None, length: int) -> bytes:
    """A copy of what is there."""
    return ctypes.string_at(address, length) if address and length else b""


def raise_error(status: int, error: c_void_p) -> NoReturn:
    """Raises the exception that `error` stands for, and frees it."""
    try:
        size = lib.wtcache_error_message_len(error)
        message = bytes_at(lib.wtcache_error_message(error), size).decode("utf-8", "replace")
        cause, thread = causes.get(lib.wtcache_error_cause(error)) or (None, None)
        kind = _CLASSES.get(status, errors.Error)
        if lib.wtcache_error_outcome(error) == OUTCOME_IN_DOUBT:
            kind = errors.InDoubtError
        raised = kind(message)
        raised.status = status
        raised.code = lib.wtcache_error_source_code(error) or None
        raised.retryable = bool(lib.wtcache_error_retryable(error))
        after = lib.wtcache_error_retry_after_ms(error)
        raised.retry_after = after / 1000 if after else None
    finally:
        lib.wtcache_error_free(error)
    if status == ERR_SOURCE and cause is not None and not isinstance(cause, Exception) and thread == threading.get_ident():
        # A KeyboardInterrupt or the like, which came while this thread was in the source: it is not ours to rename.
        raise cause
    raise raised from cause


def check(status: int, error: c_void_p) -> int:
    """The status, if it is no error."""
    if status < 0:
        raise_error(status, error)
    return status


def take_value(entry: c_void_p) -> bytes:
    """The value of an entry, which is freed."""
    try:
        length = c_size_t()
        return bytes_at(lib.wtcache_entry_value(entry, byref(length)), length.value)
    finally:
        lib.wtcache_entry_free(entry)


def milliseconds(seconds: float, name: str) -> int:
    """Seconds as whole milliseconds, rounded down."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {type(seconds).__name__}")
    if not 0 <= seconds <= 1e9:
        raise ValueError(f"{name} is {seconds} s: not a time from now on")
    return int(seconds * 1000)
