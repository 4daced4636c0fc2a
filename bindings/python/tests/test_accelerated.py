"""The fast hit: that it is one, that it is a read as any, and where it is off."""

import gc
import os
import subprocess
import sys
import threading
import unittest
from unittest import mock

import wtcache
from wtcache import _cache, _hits, _library


class One(wtcache.Source):
    """Every key has a record: its own name."""

    settle_window = 600

    def __init__(self):
        self.loads = 0

    def get(self, key):
        self.loads += 1
        return key if isinstance(key, bytes) else key.encode("utf-8")

    def put(self, key, value, ctx):
        return value


def no_ctypes():
    """Whoever reads by ctypes fails."""
    return mock.patch.object(_cache.lib, "wtcache_get", side_effect=AssertionError("a read by ctypes"))


def ran(program, **environment):
    """A program in a process of its own; what it wrote to its standard output."""
    ended = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, timeout=120, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@unittest.skipUnless(wtcache.accelerated, "not accelerated here, on purpose or not")
class Hits(unittest.TestCase):
    def setUp(self):
        self.source = One()
        self.cache = wtcache.Cache(self.source, timeout=600)
        self.addCleanup(self.cache.close)

    def test_a_hit_does_without_ctypes_and_is_counted(self):
        self.cache["bolts"]
        with no_ctypes():
            self.assertEqual(self.cache["bolts"], b"bolts")
            self.assertEqual(self.cache.get("bolts"), b"bolts")
            self.assertEqual(self.cache.get("bolts", 7), b"bolts")
            with self.assertRaisesRegex(AssertionError, "by ctypes"):
                self.cache["nuts"]
        self.assertEqual(self.cache.stats()["hits"], 3)
        self.assertEqual(self.source.loads, 1)

    def test_keys_may_be_any_text_or_bytes(self):
        class Text(str):
            pass

        with wtcache.Cache(One(), key_type=bytes) as raw:
            for cache, keys in (
                (self.cache, ("", "schl\u00fcssel", "a\0b", "\U0001f511" * 100, Text("text"))),
                (raw, (b"", b"a\0b", bytes(range(256)))),
            ):
                for key in keys:
                    value = key if cache is raw else key.encode()
                    self.assertEqual(cache[key], value)
                    with no_ctypes():
                        self.assertEqual(cache[key], value)
                        self.assertEqual(cache.get(key), value)

    def test_other_types_and_texts_are_refused_as_by_any_read(self):
        self.cache["7"]
        for wrong in (7, None, b"7", ["7"]):
            for read in (self.cache.get, self.cache.__getitem__):
                with self.assertRaisesRegex(TypeError, "the keys of this cache are str"):
                    read(wrong)
        with self.assertRaises(UnicodeEncodeError):
            self.cache["\ud800"]
        for arguments, named in (((), {}), (("7", 1, 2), {}), (("7",), {"colour": 1})):
            with self.assertRaises(TypeError):
                self.cache.get(*arguments, **named)
        self.assertEqual(self.cache.get(key="7", timeout=1, default=2), b"7")

    def test_what_expired_was_forgotten_or_written_is_no_hit_of_before(self):
        self.cache["bolts"]
        self.cache.put("bolts", b"new")
        self.assertEqual(self.cache["bolts"], b"new")
        self.cache.invalidate("bolts")
        self.assertEqual((self.cache["bolts"], self.source.loads), (b"bolts", 2))
        self.cache.close()
        with self.assertRaises(wtcache.ClosedError):
            self.cache["bolts"]

    def test_a_class_derived_from_it_may_read_in_its_own_way(self):
        class Shouting(wtcache.Cache):
            def __getitem__(self, key):
                return super().__getitem__(key).upper()

        with Shouting(One()) as cache:
            self.assertEqual((cache["k"], cache["k"], cache.get("k")), (b"K", b"K", b"k"))

    def test_no_reference_is_lost_or_kept(self):
        key, default = "a key of its own".upper(), object()
        self.cache[key]
        # What other tests left behind does not count.
        gc.collect()
        counted = [sys.getrefcount(thing) for thing in (key, default, wtcache.Cache, self.cache)]
        for _ in range(100):
            self.cache[key]
            self.cache.get(key, default)
            self.cache.get(key, default, timeout=1)
            with self.assertRaises(TypeError):
                self.cache.get(key, colour=default)
            with self.assertRaises(TypeError):
                self.cache[default]
            wtcache.Cache(self.source).close()
        gc.collect()
        self.assertEqual([sys.getrefcount(thing) for thing in (key, default, wtcache.Cache, self.cache)], counted)

    def test_a_source_that_ends_with_its_cache_may_still_read_it(self):
        told = []

        class Last(One):
            def __del__(self):
                try:
                    self.cache["bolts"]
                except wtcache.ClosedError:
                    told.append("closed")

        source = Last()
        source.cache = wtcache.Cache(source)
        source.cache["bolts"]
        source.cache.close()
        del source
        gc.collect()
        self.assertEqual(told, ["closed"])

    def test_threads_hit_while_others_write_and_forget(self):
        keys = [f"item-{number}" for number in range(20)]
        wrong, done = [], threading.Event()

        def reads():
            while not done.is_set():
                for key in keys:
                    if self.cache[key] != key.encode():
                        wrong.append(key)

        readers = [threading.Thread(target=reads) for _ in range(3)]
        for reader in readers:
            reader.start()
        for _ in range(50):
            for key in keys:
                self.cache.put(key, key.encode())
                self.cache.invalidate(key)
        done.set()
        for reader in readers:
            reader.join(60)
            self.assertFalse(reader.is_alive())
        self.assertEqual(wrong, [])


class Off(unittest.TestCase):
    """In a process of its own each: what is made is made once."""

    READS = """
import wtcache
class One(wtcache.Source):
    def get(self, key): return b"1"
cache = wtcache.Cache(One())
print(wtcache.accelerated, cache["k"], cache["k"], cache.get("k"), cache.stats()["hits"])
"""
    PLAIN = "False b'1' b'1' b'1' 2"

    def test_without_the_global_lock(self):
        self.assertEqual(ran("import sys; sys.abiflags += 't'\n" + self.READS), self.PLAIN)

    def test_in_another_interpreter_than_cpython(self):
        self.assertEqual(ran("import sys; sys.implementation.name = 'other'\n" + self.READS), self.PLAIN)

    def test_where_a_function_is_missing(self):
        hide = """
import ctypes
class Without:
    def __getattr__(self, name):
        if name == "PyType_FromSpec": raise AttributeError(name)
        return getattr(real, name)
real, ctypes.pythonapi = ctypes.pythonapi, Without()
"""
        self.assertEqual(ran(hide + self.READS), self.PLAIN)

    def test_in_a_subinterpreter(self):
        program = f"""
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
try:
    number = interpreters.create(isolated=False)
except TypeError:
    number = interpreters.create("legacy")
interpreters.run_string(number, {self.READS!r})
"""
        self.assertEqual(ran(program), self.PLAIN)

    def test_else_it_is_on(self):
        expected = str(wtcache.accelerated)
        if sys.implementation.name == "cpython" and "t" not in sys.abiflags:
            expected = "True"
        self.assertEqual(ran(self.READS), f"{expected} b'1' b'1' b'1' 2")


class Described(unittest.TestCase):
    def test_the_library_refuses_what_is_incomplete(self):
        make = _library.lib.wtcache_python_hits
        for given in (None, _hits.PythonStruct(), _hits.PythonStruct(16), _hits.PythonStruct(_size(), 16)):
            self.assertFalse(make(given and _hits.byref(given)))


def _size():
    return _hits.ctypes.sizeof(_hits.PythonStruct)


if __name__ == "__main__":
    unittest.main()
