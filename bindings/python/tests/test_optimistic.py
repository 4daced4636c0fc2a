"""Optimistic writes: shown at once, written in the background."""

import unittest

from shelf import Gate, Shelf, all_released, raising

import wtcache
from wtcache import _change


class Optimistic(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600, options={"clean_start": True})
        self.addCleanup(self.cache.close)

    def test_o1_a_value_is_shown_at_once_and_confirmed_later(self):
        gate = self.shelf.does["k"] = Gate()
        self.shelf.records["k"] = b"old"
        self.addCleanup(gate.open)
        pending = self.cache.put_optimistic("k", b"new")
        gate.wait()
        self.assertEqual(self.cache["k"], b"new")
        self.assertTrue(self.cache.entry("k").pending)
        self.assertFalse(pending.done())
        with self.assertRaises(wtcache.NotEndedError):
            pending.result(timeout=0)
        gate.open()
        self.assertEqual(pending.result(timeout=30), b"new")
        self.assertEqual(pending.result(), b"new", "whoever asks and how often")
        self.assertTrue(pending.done())
        entry = self.cache.entry("k")
        self.assertEqual(entry, wtcache.Entry(b"new", b"v1", False, None, 0.0, entry.age))

    def test_o1_confirmed_reads_see_below_what_is_pending(self):
        self.cache.put("k", b"old")
        gate = self.shelf.does[("put", "k")] = Gate()
        self.addCleanup(gate.open)
        self.cache.put_optimistic("k", b"new")
        gate.wait()
        self.assertEqual(self.cache.get("k"), b"new")
        self.assertEqual(self.cache.get("k", confirmed=True), b"old")
        self.assertEqual(self.cache.entry("k", confirmed=True).value, b"old")

    def test_o2_what_is_refused_is_as_if_it_had_never_been(self):
        self.cache.put("k", b"old")
        error = wtcache.RejectedError("no")
        self.shelf.does["k"] = raising(error)
        with self.assertRaises(wtcache.RejectedError) as raised:
            self.cache.put_optimistic("k", b"new").result(timeout=30)
        self.assertIs(raised.exception.__cause__, error)
        self.assertEqual(self.cache.peek("k"), b"old")

    def test_o1_a_delete_is_shown_at_once(self):
        self.cache.put("k", b"old")
        gate = self.shelf.does[("delete", "k")] = Gate()
        self.addCleanup(gate.open)
        pending = self.cache.delete_optimistic("k")
        self.assertIsNone(self.cache.get("k"))
        gate.open()
        self.assertIsNone(pending.result(timeout=30))
        self.assertEqual(self.shelf.records, {})

    def test_a_cache_is_drained_once_no_write_is_out_or_pending(self):
        self.cache.drain(timeout=0)
        gate = self.shelf.does["k"] = Gate()
        self.addCleanup(gate.open)
        pending = self.cache.put_optimistic("k", b"1")
        gate.wait()
        with self.assertRaises(wtcache.NotEndedError):
            self.cache.drain(timeout=0.01)
        gate.open()
        self.cache.drain(timeout=None)
        self.assertTrue(pending.done())
        # Calls go on.
        self.assertEqual(self.cache.put("k", b"2"), b"2")

    def test_o2_a_write_is_taken_back_while_it_waits_for_its_turn(self):
        gate = self.shelf.does["k"] = Gate()
        self.addCleanup(gate.open)
        first = self.cache.put_optimistic("k", b"1")
        gate.wait()
        second = self.cache.put_optimistic("k", b"2")
        self.assertTrue(second.cancel())
        self.assertFalse(first.cancel())
        self.assertEqual(self.cache["k"], b"1")
        gate.open()
        self.assertEqual(first.result(timeout=30), b"1")
        with self.assertRaises(wtcache.CancelledError):
            second.result(timeout=30)
        self.assertEqual(self.shelf.calls, [("put", "k")])

    def test_o5_a_merge_is_made_of_what_is_there(self):
        with wtcache.Cache(self.shelf, codec=wtcache.json_codec) as cache:
            gate = self.shelf.does[("put", "k")] = Gate()
            self.addCleanup(gate.open)
            pending = [cache.merge_optimistic("k", lambda n: n + 1, default=0) for _ in range(3)]
            gate.open()
            self.assertEqual([one.result(timeout=30) for one in pending], [1, 2, 3])
            self.assertEqual(cache["k"], 3)
        pending.clear()
        self.assertTrue(all_released(_change.changes))

    def test_o5_a_merge_is_a_function(self):
        with self.assertRaises(TypeError):
            self.cache.merge_optimistic("k", 7)
        self.assertIsNone(self.cache.get("k"))

    def test_o5_a_merge_that_raises_is_not_sent_and_its_exception_is_the_cause(self):
        self.cache.put("k", b"old")
        self.shelf.calls.clear()
        error = ZeroDivisionError("x")
        pending = self.cache.merge_optimistic("k", raising(error))
        with self.assertRaises(wtcache.Error) as raised:
            pending.result(timeout=30)
        self.assertNotIsInstance(raised.exception, wtcache.InDoubtError)
        self.assertIs(raised.exception.__cause__, error)
        self.assertEqual((self.shelf.calls, self.cache["k"]), ([], b"old"))

    def test_b4_closing_tells_what_was_rolled_back(self):
        gate = self.shelf.does["k"] = Gate()
        self.cache.put_optimistic("k", b"1")
        gate.wait()
        second = self.cache.put_optimistic("k", b"2")
        report = self.cache.close(timeout=0)
        gate.open()
        self.assertEqual((report.unfinished, report.rolled_back), (["k"], ["k"]))
        with self.assertRaises(wtcache.ClosedError):
            second.result(timeout=30)


if __name__ == "__main__":
    unittest.main()
