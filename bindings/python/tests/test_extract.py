"""Weights, tags and values in indexes, which functions say of records."""

import gc
import sys
import threading
import unittest
import weakref
from unittest import mock

from shelf import Gate, Shelf, held_of

import wtcache
from wtcache import _extract


def words(key, value):
    return value.split()


class Extracting(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()

    def open(self, **more):
        cache = wtcache.Cache(self.shelf, **more)
        self.addCleanup(cache.close)
        return cache

    def test_records_are_found_by_their_values_in_an_index(self):
        cache = self.open(indexes={"word": words, "key": lambda key, value: key, "none": lambda key, value: None})
        for key, value in {"a": b"red big", "b": b"red small", "c": b""}.items():
            cache.put(key, value)
        self.assertEqual(cache.find("word", "red"), {"a": b"red big", "b": b"red small"})
        self.assertEqual(cache.find("word", b"small"), {"b": b"red small"})
        self.assertEqual(cache.find("key", "c"), {"c": b""})
        self.assertEqual((cache.find("word", ""), cache.find("none", "a"), cache.find("word", "a")), ({}, {}, {}))
        cache.put("a", b"blue")
        cache.invalidate("b")
        self.assertEqual((cache.find("word", "red"), cache.find("word", "blue")), ({}, {"a": b"blue"}))
        with self.assertRaisesRegex(wtcache.ArgumentError, "colour"):
            cache.find("colour", "red")

    def test_functions_see_the_types_of_the_cache(self):
        seen = []

        def owner(key, value):
            seen.append((key, value))
            return value["owner"]

        cache = self.open(key_type=bytes, codec=wtcache.json_codec, indexes={"owner": owner})
        cache.put(b"k", {"owner": "ann"})
        self.assertEqual(seen, [(b"k", {"owner": "ann"})])
        self.assertEqual(cache.find("owner", "ann"), {b"k": {"owner": "ann"}})

    def test_e1_entries_weigh_what_the_weigher_says(self):
        seen = []

        def weigh(key, value):
            seen.append((key, value))
            return 1 if value is None else len(value)

        cache = self.open(weigher=weigh, capacity_bytes=10, options={"shards": 1})
        for key in "abc":
            cache.put(key, b"1234")
        self.assertEqual((cache.stats()["entries"], cache.stats()["weight_bytes"]), (2, 8))
        cache.invalidate(prefix="")
        cache.get("none")
        self.assertEqual((seen[-1], cache.stats()["weight_bytes"]), (("none", None), 1))

    def test_records_are_forgotten_by_the_tags_that_are_found(self):
        cache = self.open(tags=words)
        cache.put("a", b"red big")
        cache.put("b", b"red small")
        self.assertEqual(cache.invalidate(tag="big").entries, 1)
        self.assertEqual((cache.peek("a"), cache.peek("b")), (None, b"red small"))
        self.assertEqual(cache.invalidate(tag="red").entries, 1)

    def test_a_record_of_which_nothing_could_be_said_is_not_kept(self):
        wrong = {
            "weigher": [lambda key, value: 1 / 0, lambda key, value: "7", lambda key, value: -1, lambda key, value: True],
            "tags": [lambda key, value: 1 / 0, lambda key, value: ["red", 7]],
            "indexes": [{"word": lambda key, value: 1 / 0}, {"word": lambda key, value: 7}],
        }
        for name, functions in wrong.items():
            for function in functions:
                with self.subTest(name), wtcache.Cache(self.shelf, **{name: function}) as cache:
                    with mock.patch.object(sys, "unraisablehook") as hook:
                        self.assertEqual(cache.put("k", b"1"), b"1")
                    self.assertIsInstance(hook.call_args.args[0].exc_value, (ZeroDivisionError, TypeError, ValueError))
                    self.assertNotIn("k", cache)
                    self.assertEqual(cache.stats()["extracts_failed"], 1)
        cache = self.open(weigher=lambda key, value: 2**70)
        cache.put("k", b"1")
        self.assertNotIn("k", cache)
        self.assertEqual(cache.stats()["extracts_failed"], 0)

    def test_p8_hits_are_served_while_a_function_runs(self):
        gate = Gate()
        cache = self.open(
            indexes={"word": lambda key, value: gate() if key == "slow" else words(key, value)}, options={"shards": 1}
        )
        cache.put("k", b"red")
        writer = threading.Thread(target=cache.put, args=("slow", b"v"))
        writer.start()
        gate.wait()
        # In this thread the interpreter is held: a lock that the other one had would never be given back.
        self.assertEqual((cache["k"], cache.get("k"), cache.find("word", "red")), (b"red", b"red", {"k": b"red"}))
        gate.open()
        writer.join()
        self.assertIn("slow", cache)

    def test_functions_go_with_their_cache_or_its_close(self):
        class Says:
            def __call__(self, key, value):
                return None

        before = held_of(_extract.extracts)
        for close in (False, True):
            says = Says()
            says.cache = cache = wtcache.Cache(self.shelf, weigher=says, tags=says, indexes={"a": says, "b": says})
            gone = weakref.ref(says)
            self.assertEqual(len(_extract.extracts), before + 4)
            if close:
                cache.close()
            else:
                says.cache = None
            del says, cache
            gc.collect()
            self.assertIsNone(gone())
            self.assertEqual(len(_extract.extracts), before)

    def test_functions_are_given_back_if_opening_fails(self):
        before = held_of(_extract.extracts)
        for wrong in ({"weigher": 7}, {"tags": "red"}, {"indexes": {"a": words, "b": 7}}):
            with self.assertRaises(TypeError):
                wtcache.Cache(self.shelf, **wrong)
        with self.assertRaises(wtcache.ConfigError):
            wtcache.Cache(self.shelf, tags=words, indexes={"a": words}, options={"jitter": 7.0})
        self.assertEqual(len(_extract.extracts), before)


if __name__ == "__main__":
    unittest.main()
