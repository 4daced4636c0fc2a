"""Many keys in one call, forgetting many, and how long records are served."""

import unittest

from shelf import Shelf, raising

import wtcache


class Many(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600)
        self.addCleanup(self.cache.close)

    def test_g10_many_keys_are_read_in_one_call_and_absent_ones_left_out(self):
        self.shelf.records.update(a=b"1", b=b"2")
        self.cache["a"]
        self.shelf.calls.clear()
        self.assertEqual(self.cache.get_many(["b", "a", "none", "a"]), {"b": b"2", "a": b"1"})
        self.assertEqual(sorted(self.shelf.calls), [("get", "b"), ("get", "none")])
        self.assertEqual(self.cache.get_many([]), {})

    def test_g10_keys_that_fail_are_told_with_those_that_did_not(self):
        error = ConnectionError("no route")
        self.shelf.records["a"] = b"1"
        self.shelf.does["b"] = raising(error)
        with self.assertRaises(wtcache.ManyError) as raised:
            self.cache.get_many(["a", "b"])
        self.assertEqual(raised.exception.values, {"a": b"1"})
        self.assertEqual(list(raised.exception.errors), ["b"])
        failed = raised.exception.errors["b"]
        self.assertIsInstance(failed, wtcache.SourceError)
        self.assertIs(failed.__cause__, error)
        self.assertIs(raised.exception.__cause__, failed)

    def test_g10_put_many_writes_in_order_each_for_itself(self):
        self.shelf.does["b"] = raising(wtcache.RejectedError("no"))
        with self.assertRaises(wtcache.ManyError) as raised:
            self.cache.put_many({"c": b"3", "b": b"2", "a": b"1"})
        self.assertEqual(self.shelf.calls, [("put", "c"), ("put", "b"), ("put", "a")])
        self.assertEqual(raised.exception.values, {"c": b"3", "a": b"1"})
        self.assertIs(type(raised.exception.errors["b"]), wtcache.RejectedError)
        del self.shelf.does["b"]
        self.assertEqual(self.cache.put_many({"a": b"4", "b": b"5"}), {"a": b"4", "b": b"5"})
        self.assertEqual(self.cache.peek("b"), b"5")

    def test_many_keys_are_of_the_caches_type_and_values_of_its_codec(self):
        with wtcache.Cache(Shelf(), key_type=bytes, codec=wtcache.json_codec) as cache:
            self.assertEqual(cache.put_many({b"a": [1], b"b": None}), {b"a": [1], b"b": None})
            self.assertEqual(cache.get_many([b"a", b"b", b"c"]), {b"a": [1], b"b": None})
            with self.assertRaises(TypeError):
                cache.get_many(["a"])


class Forgetting(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600)
        self.addCleanup(self.cache.close)
        self.cache.put_many({"org:1": b"1", "org:1:users": b"2", "org:2:users": b"3", "item:1": b"4"})

    def here(self):
        return [key for key in ("org:1", "org:1:users", "org:2:users", "item:1") if key in self.cache]

    def test_i1_all_keys_with_a_prefix_are_forgotten(self):
        self.assertEqual(self.cache.invalidate(prefix="org:1"), wtcache.Forgotten(2, True))
        self.assertEqual(self.here(), ["org:2:users", "item:1"])

    def test_i2_with_a_key_index_nothing_else_is_looked_at(self):
        with wtcache.Cache(Shelf(), options={"key_index": True}) as cache:
            cache.put("org:1", b"1")
            self.assertEqual(cache.invalidate(prefix="org:"), wtcache.Forgotten(1, False))

    def test_i1_all_keys_that_match_a_pattern_are_forgotten(self):
        self.assertEqual(self.cache.invalidate(pattern="org:*:users").entries, 2)
        self.assertEqual(self.here(), ["org:1", "item:1"])
        with self.assertRaises(ValueError) as raised:
            self.cache.invalidate(pattern="org\\:")
        self.assertIsInstance(raised.exception, wtcache.ArgumentError)

    def test_i1_all_records_with_a_tag_are_forgotten(self):
        self.shelf.does["org:1"] = lambda: wtcache.Record(b"x", tags=("plan", b"team"))
        self.shelf.does["item:1"] = lambda: wtcache.Record(b"x", tags=("team",))
        self.cache.put_many({"org:1": b"x", "item:1": b"x"})
        self.assertEqual(self.cache.invalidate(tag="plan").entries, 1)
        self.assertEqual(self.here(), ["org:1:users", "org:2:users", "item:1"])
        self.assertEqual(self.cache.invalidate(tag="team").entries, 1)

    def test_one_thing_is_forgotten_at_a_time(self):
        for wrong in ({}, {"prefix": "a", "tag": "b"}, {"pattern": 7}):
            with self.assertRaises(TypeError):
                self.cache.invalidate(**wrong)
        self.assertEqual(len(self.here()), 4)

    def test_wrong_tags_are_told(self):
        for tags in ("plan", (7,)):
            self.shelf.does["k"] = lambda tags=tags: wtcache.Record(b"x", tags=tags)
            with self.assertRaises(wtcache.SourceError) as raised:
                self.cache["k"]
            self.assertIsInstance(raised.exception.__cause__, TypeError)


class Lifetimes(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600, options={"clean_start": True})
        self.addCleanup(self.cache.close)

    def test_f1_a_write_says_how_long_its_record_is_served(self):
        self.cache.put("kept", b"1", ttl=600)
        self.assertTrue(590 < self.cache.entry("kept").remaining <= 600)
        self.cache.put("endless", b"1")
        self.assertIsNone(self.cache.entry("endless").remaining)
        self.assertEqual(self.cache.put("gone", b"1", ttl=0), b"1")
        self.assertNotIn("gone", self.cache)
        self.cache.put_many({"many": b"1"}, ttl=600)
        self.cache.update("updated", lambda _: b"1", ttl=600)
        for key in ("many", "updated"):
            self.assertTrue(590 < self.cache.entry(key).remaining <= 600, key)

    def test_f1_what_the_source_says_goes_first(self):
        self.shelf.does["k"] = lambda: wtcache.Record(b"1", ttl=100)
        self.cache.put("k", b"1", ttl=600)
        self.assertTrue(90 < self.cache.entry("k").remaining <= 100)

    def test_an_entry_is_all_that_is_known(self):
        self.cache.put("k", b"1")
        entry = self.cache.entry("k")
        self.assertEqual(entry, wtcache.Entry(b"1", b"v1", False, None, 0.0, entry.age))
        self.assertTrue(0 < entry.age < 600)
        self.assertIsNone(self.cache.entry("none"))


if __name__ == "__main__":
    unittest.main()
