"""What happens to keys, told to a function."""

import gc
import sys
import threading
import unittest
import weakref
from unittest import mock

from shelf import Shelf, held_of, raising

import wtcache
from wtcache import Event, EventKind, _listener


class Listening(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.told = []

    def open(self, **more):
        cache = wtcache.Cache(self.shelf, listener=self.told.append, options={"clean_start": True}, **more)
        self.addCleanup(cache.close)
        return cache

    def kinds(self):
        return [event.kind for event in self.told]

    def test_b5_events_of_a_key_are_told_in_their_order(self):
        cache = self.open()
        cache.get("k")
        cache.put("k", b"1")
        cache.invalidate("k")
        cache.delete("k")
        self.assertEqual(self.kinds(), [EventKind.RETAINED, EventKind.PUT, EventKind.INVALIDATED, EventKind.DELETED])
        self.assertEqual([event.key for event in self.told], ["k"] * 4)
        numbers = [event.sequence for event in self.told]
        self.assertEqual(numbers, sorted(set(numbers)))
        retained, put, *_ = self.told
        self.assertEqual(retained, Event(EventKind.RETAINED, "k", numbers[0], absent=True))
        self.assertEqual(put, Event(EventKind.PUT, "k", numbers[1], kept=True))

    def test_d1_a_doubt_and_its_end_are_told(self):
        cache = self.open(key_type=bytes)
        self.shelf.does[b"k"] = raising(ConnectionError("x"))
        with self.assertRaises(wtcache.InDoubtError):
            cache.put(b"k", b"1")
        cache.settle(b"k", wtcache.Settlement.OVER)
        self.assertEqual([(event.kind, event.key) for event in self.told], [(EventKind.IN_DOUBT, b"k"), (EventKind.SETTLED, b"k")])

    def test_o2_a_pending_write_is_told_and_how_it_ends(self):
        rolled_back = threading.Event()

        def hear(event):
            self.told.append(event)
            if event.kind is EventKind.ROLLED_BACK:
                rolled_back.set()

        self.shelf.does["k"] = raising(wtcache.RejectedError("no"))
        with wtcache.Cache(self.shelf, timeout=600, listener=hear) as cache:
            with self.assertRaises(wtcache.RejectedError):
                cache.put_optimistic("k", b"1").result(timeout=30)
            # Who waits for a write is woken before the listener is told of its end.
            self.assertTrue(rolled_back.wait(30))
        self.assertEqual(sorted(kind.name for kind in self.kinds()), ["PENDING", "ROLLED_BACK"])

    def test_b5_what_a_listener_raises_goes_to_the_unraisable_hook(self):
        error = ZeroDivisionError("x")
        with wtcache.Cache(self.shelf, listener=raising(error)) as cache:
            with mock.patch.object(sys, "unraisablehook") as hook:
                self.assertEqual(cache.put("k", b"1"), b"1")
            self.assertIs(hook.call_args.args[0].exc_value, error)

    def test_a_listener_goes_with_its_cache_or_its_close(self):
        class Hears:
            def __call__(self, event):
                pass

        before = held_of(_listener.listeners)
        for close in (False, True):
            hears = Hears()
            hears.cache = cache = wtcache.Cache(self.shelf, listener=hears)
            gone = weakref.ref(hears)
            if close:
                cache.close()
            else:
                hears.cache = None
            del hears, cache
            gc.collect()
            self.assertIsNone(gone())
            self.assertEqual(len(_listener.listeners), before)

    def test_a_listener_is_given_back_if_opening_fails(self):
        before = held_of(_listener.listeners)
        for wrong in ({"listener": 7}, {"listener": print, "options": {"colour": "red"}}):
            with self.assertRaises((TypeError, wtcache.ConfigError)):
                wtcache.Cache(self.shelf, **wrong)
        self.shelf.settle_window = -1
        with self.assertRaises(ValueError):
            wtcache.Cache(self.shelf, listener=print)
        self.assertEqual(len(_listener.listeners), before)

    def test_an_event_of_a_later_library_is_another_one(self):
        self.assertIs(EventKind(999), EventKind.OTHER)


if __name__ == "__main__":
    unittest.main()
