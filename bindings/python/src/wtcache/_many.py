"""The answers of a call for many keys."""

from __future__ import annotations

from typing import Any

from . import _errors as errors
from ._abi import NOT_FOUND
from ._border import Border
from ._library import lib


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
