"""The answers of a call for many keys."""

from __future__ import annotations

from ctypes import byref, c_size_t
from typing import Any

from . import _errors as errors
from ._abi import NOT_FOUND
from ._border import Border
from ._library import bytes_at, lib


def answers_of(border: Border, keys: list[Any], results: Any, done: str) -> dict[Any, Any]:
    """By key; the results stay. What is absent is left out. Raises `ManyError` where some failed: they were not `done`."""
    values: dict[Any, Any] = {}
    failed: dict[Any, errors.Error] = {}
    for index, key in enumerate(keys):
        status = lib.wtcache_results_status(results, index)
        if status < 0:
            failed[key] = border.exception(lib.wtcache_results_error(results, index))
        elif status != NOT_FOUND:
            values[key] = border.value_of(lib.wtcache_results_entry(results, index))
    if failed:
        first = next(iter(failed.values()))
        raise errors.ManyError(f"{len(failed)} of {len(keys)} keys were not {done}: {first}", values, failed) from first
    return values


def found_in(border: Border, results: Any) -> dict[Any, Any]:
    """What was found, by key; the results stay."""
    values: dict[Any, Any] = {}
    for index in range(lib.wtcache_results_count(results)):
        entry, size = lib.wtcache_results_entry(results, index), c_size_t()
        key = border.key_of(bytes_at(lib.wtcache_entry_key(entry, byref(size)), size.value))
        values[key] = border.value_of(entry)
    return values
