"""What a read asks of its record, and for how long a source says that one may be served."""

import time
import unittest

import wtcache

HOUR = 3600.0


class Teller(wtcache.Source):
    """An origin that says the same of every key: `says`, or raises it; by its version, `again` if that is something."""

    def __init__(self):
        self.says = b"v"
        self.again = None
        self.calls = []

    def get(self, key):
        self.calls.append("get")
        return self.tell(self.says)

    def get_if_changed(self, key, version):
        self.calls.append(version)
        return self.tell(self.says if self.again is None else self.again)

    def tell(self, what):
        if isinstance(what, Exception):
            raise what
        return what


class Base(unittest.TestCase):
    def setUp(self):
        self.teller = Teller()
        self.cache = wtcache.Cache(self.teller, timeout=600, negative_ttl=HOUR, options={"clean_start": True})
        self.addCleanup(self.cache.close)

    def reads(self, loads, **wants):
        """The value that is read, which brings the loads that there were to `loads`."""
        value = self.cache.get("k", **wants)
        self.assertEqual(len(self.teller.calls), loads)
        return value

    def fails(self, **wants):
        with self.assertRaises(wtcache.SourceError) as raised:
            self.cache.get("k", **wants)
        return raised.exception.__cause__


class Wants(Base):
    def test_f5_a_read_says_how_old_its_record_may_be(self):
        self.assertEqual(self.reads(1), b"v")
        self.reads(1, max_age=HOUR)
        self.reads(2, max_age=0)
        self.assertEqual(self.cache.get_many(["k"], max_age=0), {"k": b"v"})
        self.assertEqual(len(self.teller.calls), 3)
        end = time.monotonic() + 30
        while self.cache.entry("k").age < 0.005:
            self.assertLess(time.monotonic(), end, "it grows older")
        self.reads(4, max_age=0.002)
        self.assertEqual(self.cache.entry("k", max_age=0).value, b"v")
        self.assertEqual(len(self.teller.calls), 5)

    def test_f5_a_read_says_how_long_its_record_is_fresh(self):
        self.teller.says = wtcache.Record(b"v", ttl=HOUR)
        self.reads(1)
        self.reads(1, min_fresh=HOUR / 2)
        self.reads(2, min_fresh=HOUR * 2)

    def test_f5_what_a_read_loads_may_be_for_it_alone(self):
        self.assertEqual(self.reads(1, keep=False), b"v")
        self.assertNotIn("k", self.cache)
        self.reads(2, keep=True)
        self.reads(2, keep=False)

    def test_f2_a_read_says_how_stale_its_record_may_be(self):
        self.teller.says = wtcache.Record(b"v", version=b"r1", expired=True)
        self.reads(1)
        self.assertEqual(self.reads(1, max_stale=HOUR), b"v")
        self.assertGreater(self.cache.entry("k", max_stale=HOUR).stale, 0)
        self.reads(2, max_stale=0)
        self.assertEqual(self.teller.calls, ["get", b"r1"])
        self.teller.says = ConnectionError("no route")
        self.assertIs(self.fails(), self.teller.says)
        self.assertEqual(self.cache.get("k", stale_if_error=HOUR), b"v")
        self.fails(stale_if_error=0)

    def test_what_no_read_asks_is_refused(self):
        for wrong, error in (({"colour": 1}, TypeError), ({"max_age": -1}, ValueError), ({"max_stale": "1"}, TypeError)):
            for read in (self.cache.get, self.cache.entry, lambda key, **asked: self.cache.get_many([key], **asked)):
                with self.assertRaises(error):
                    read("k", **wrong)
        self.assertEqual(self.teller.calls, [])


class Said(Base):
    def test_f2_a_record_says_how_stale_it_may_be(self):
        self.teller.says = wtcache.Record(b"v", expired=True, stale_if_error=HOUR)
        self.reads(1)
        self.teller.says = ConnectionError("no route")
        self.assertEqual(self.cache["k"], b"v")
        self.fails(stale_if_error=0)
        self.teller.says = wtcache.Record(b"v", expired=True, stale_while_revalidate=HOUR)
        self.reads(4)
        self.assertGreater(self.cache.entry("k").stale, 0, "and it is refreshed in the background")

    def test_f2_what_a_record_forbids_no_read_allows(self):
        self.teller.says = wtcache.Record(b"v", version=b"r1", expired=True, stale_while_revalidate=0, stale_if_error=0)
        self.reads(1)
        self.reads(2, max_stale=HOUR)
        self.teller.says = ConnectionError("no route")
        self.fails(stale_if_error=HOUR)

    def test_f1_what_is_unchanged_lives_anew_or_as_before(self):
        self.teller.says = wtcache.Record(b"v", version=b"r1", ttl=HOUR)
        self.reads(1)
        for again, least, most in (
            (wtcache.Unchanged(age=HOUR / 4), HOUR / 2, HOUR * 3 / 4),
            (wtcache.Unchanged(age=0), HOUR / 2, HOUR * 3 / 4),
            (wtcache.Unchanged(ttl=HOUR / 4), 0, HOUR / 4),
        ):
            self.teller.again = again
            entry = self.cache.entry("k", max_age=0)
            self.assertEqual(entry.value, b"v")
            self.assertTrue(least < entry.remaining <= most, (again, entry))
        self.teller.again = wtcache.Unchanged()
        self.assertIsNone(self.cache.entry("k", max_age=0).remaining)
        self.assertEqual(self.teller.calls, ["get", b"r1", b"r1", b"r1", b"r1"])
        # With windows of its own.
        self.teller.again = wtcache.Unchanged(expired=True, stale_if_error=HOUR)
        self.reads(6, max_age=0)
        self.teller.again = ConnectionError("no route")
        self.assertEqual(self.reads(7), b"v")

    def test_a_source_that_knows_no_versions_is_asked_by_get(self):
        class Plain(wtcache.Source):
            loads = 0

            def get(self, key):
                self.loads += 1
                return wtcache.Record(b"%d" % self.loads, version=b"r1")

        with wtcache.Cache(Plain()) as cache:
            self.assertEqual((cache["k"], cache.get("k", max_age=0)), (b"1", b"2"))

    def test_f1_an_absence_holds_for_as_long_as_the_source_says(self):
        self.teller.says = wtcache.Absent(ttl=0)
        self.assertIsNone(self.reads(1))
        self.reads(2)
        self.teller.says = wtcache.Absent(ttl=HOUR / 2)
        self.assertEqual(self.cache.get("k", 7), 7)
        self.reads(3, min_fresh=HOUR / 4)
        self.reads(4, min_fresh=HOUR * 3 / 4)
        self.teller.says = wtcache.Absent()
        self.reads(5, max_age=0)
        self.reads(5, min_fresh=HOUR * 3 / 4)

    def test_answers_that_contradict_themselves_are_told(self):
        for says, error, words in (
            (wtcache.Record(b"v", ttl=1, expired=True), ValueError, "no ttl"),
            (wtcache.Record(b"v", ttl=0, stale_if_error=1), wtcache.ArgumentError, "record.if_error_ms contradicts"),
            (wtcache.Record(b"v", stale_while_revalidate=-1), ValueError, "stale_while_revalidate"),
            (wtcache.Absent(ttl="1"), TypeError, "ttl"),
            (wtcache.Unchanged(), TypeError, "Unchanged"),
        ):
            self.teller.says = says
            cause = self.fails()
            self.assertIsInstance(cause, error)
            self.assertIn(words, str(cause))
        self.teller.says = wtcache.Record(b"v", version=b"r1")
        self.cache["k"]
        for again, error in (
            (wtcache.Unchanged(ttl=1, age=1), ValueError),
            (wtcache.Unchanged(stale_if_error=1, age=1), wtcache.ArgumentError),
        ):
            self.teller.again = again
            self.assertIsInstance(self.fails(max_age=0), error)


class EventLoop(unittest.IsolatedAsyncioTestCase):
    async def test_f5_a_read_asks_for_more(self):
        teller = Teller()
        with wtcache.Cache(teller, timeout=600, options={"clean_start": True}) as cache:
            self.assertEqual(await cache.aio.get("k", keep=False), b"v")
            self.assertEqual(await cache.aio.get("k", min_fresh=HOUR), b"v")
            self.assertEqual(await cache.aio.get("k", max_age=HOUR), b"v")
            self.assertEqual(len(teller.calls), 2)
            self.assertEqual((await cache.aio.entry("k", max_age=0)).value, b"v")
            self.assertEqual(await cache.aio.get_many(["k"], max_age=0), {"k": b"v"})
            self.assertEqual(len(teller.calls), 4)


if __name__ == "__main__":
    unittest.main()
