"""What a program says of entries: their weight, their tags, and their values in indexes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping
from ctypes import byref, c_uint64, c_void_p
from typing import Any, Union

from ._abi import ExtractCall, Release, WeighCall
from ._border import Border
from ._call import as_bytes
from ._library import Table, bytes_at, callback, lib

#: What says tags or values of a record: none, one or several of them.
Said = Union[str, bytes, Iterable[Union[str, bytes]], None]

#: The functions of open caches, with their borders.
extracts = Table()


def set_extracts(
    config: Any,
    border: Border,
    weigher: Callable[[Any, Any], int] | None,
    tags: Callable[[Any, Any], Said] | None,
    indexes: Mapping[str, Callable[[Any, Any], Said]] | None,
) -> list[int]:
    """Has a configuration ask these functions; the numbers that they are registered by. The library calls `release_extract` when it needs
    one no more."""
    error, numbers = c_void_p(), []

    def registered(what: str, function: Callable[..., Any]) -> int:
        if not callable(function):
            raise TypeError(f"{what} is a function, not {type(function).__name__}")
        number = extracts.add((border, function))
        numbers.append(number)
        return number

    if weigher is not None:
        given = (weigh_call, registered("a weigher", weigher), release_extract)
        border.check(lib.wtcache_config_set_weigher(config, *given, byref(error)), error)
    if tags is not None:
        given = (extract_call, registered("what finds tags", tags), release_extract)
        border.check(lib.wtcache_config_set_tags(config, *given, byref(error)), error)
    for name, function in (indexes or {}).items():
        raw = name.encode()
        given = (extract_call, registered("what finds values for an index", function), release_extract)
        border.check(lib.wtcache_config_add_index(config, raw, len(raw), *given, byref(error)), error)
    return numbers


# What the functions raise goes to `sys.unraisablehook`: that is what ctypes does with it. The library takes it that nothing was said.


@callback(WeighCall)
def weigh_call(number: int | None, key: int, key_len: int, value: int | None, value_len: int, weight: Any) -> None:
    known = extracts.get(number)
    if known is None:
        # The cache was closed.
        return
    border, function = known
    there = None if value is None else border.decoded(bytes_at(value, value_len))
    said = function(border.key_of(bytes_at(key, key_len)), there)
    if not isinstance(said, int) or isinstance(said, bool):
        raise TypeError(f"a weight is an int, not {type(said).__name__}")
    if said < 0:
        raise ValueError(f"a weight is not negative: {said}")
    # What is heavier than the library can tell is not kept, however much that is.
    ctypes.cast(weight, ctypes.POINTER(c_uint64))[0] = min(said, 2**64 - 2)


@callback(ExtractCall)
def extract_call(number: int | None, key: int, key_len: int, value: int, value_len: int, to: int) -> None:
    known = extracts.get(number)
    if known is None:
        return
    border, function = known
    said = function(border.key_of(bytes_at(key, key_len)), border.decoded(bytes_at(value, value_len)))
    error = c_void_p()
    for one in () if said is None else (said,) if isinstance(said, (str, bytes)) else said:
        raw = as_bytes(one)
        border.check(lib.wtcache_extract_add(to, raw, len(raw), byref(error)), error)
    border.check(lib.wtcache_extract_done(to, byref(error)), error)


@callback(Release)
def release_extract(number: int | None) -> None:
    extracts.drop(number)
