"""The fast hit: a base class whose `get` and `[]` answer hits without ctypes, made by the library in this interpreter.

Only where that is known to work: CPython's main interpreter, with its global lock. Elsewhere the class is empty, and every read goes
by ctypes; what a read gives is the same.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import Structure, byref, c_size_t, c_void_p, py_object
from typing import TYPE_CHECKING, Any

from ._library import lib

#: What the library uses of Python's stable ABI.
_FUNCTIONS = (
    "Py_IncRef",
    "Py_DecRef",
    "PyBytes_AsStringAndSize",
    "PyBytes_FromStringAndSize",
    "PyDict_New",
    "PyDict_SetItem",
    "PyErr_Clear",
    "PyLong_AsVoidPtr",
    "PyObject_Call",
    "PyObject_GetAttrString",
    "PyObject_Type",
    "PyTuple_GetItem",
    "PyTuple_New",
    "PyTuple_SetItem",
    "PyTuple_Size",
    "PyType_FromSpec",
    "PyType_GetSlot",
    "PyUnicode_AsUTF8AndSize",
)


class PythonStruct(Structure):
    """`wtcache_python`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("object_size", c_size_t),
        *((name, c_void_p) for name in _FUNCTIONS),
    ]


def _has_global_lock() -> bool:
    # The letter of a build without it, also where it was turned on again: objects lie differently in memory there.
    return "t" not in getattr(sys, "abiflags", "")


def _is_main_interpreter() -> bool:
    current = ctypes.pythonapi.PyInterpreterState_Get
    current.restype, current.argtypes = c_void_p, []
    number = ctypes.pythonapi.PyInterpreterState_GetID
    number.restype, number.argtypes = ctypes.c_int64, [c_void_p]
    return bool(number(current()) == 0)


def _make() -> Any:
    """The class, or None where there is none."""
    if sys.implementation.name != "cpython" or not _has_global_lock():
        return None
    try:
        if not _is_main_interpreter():
            return None
        addresses = [ctypes.cast(getattr(ctypes.pythonapi, name), c_void_p) for name in _FUNCTIONS]
    except AttributeError:
        return None
    # The same library, called with the interpreter's lock held: what it calls there needs that.
    make = ctypes.PyDLL(lib._name).wtcache_python_hits
    make.restype, make.argtypes = py_object, [c_void_p]
    return make(byref(PythonStruct(ctypes.sizeof(PythonStruct), object.__basicsize__, *addresses)))


_made = _make()

#: Whether hits are answered without ctypes in this process.
accelerated: bool = _made is not None


class _Plain:
    """In the place of the one that the library makes."""

    def _bind_str(self, handle: int) -> None:
        pass

    def _bind_bytes(self, handle: int) -> None:
        pass


if TYPE_CHECKING:
    Hits = _Plain
else:
    Hits = _made if accelerated else _Plain
