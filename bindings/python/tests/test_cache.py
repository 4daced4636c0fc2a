"""The cache over a source in Python: reads, writes, what is raised, and what is left behind."""

import builtins
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import unittest
import weakref

from shelf import held_of

import wtcache
from wtcache import _library, _source


class Shelf(wtcache.Source):
    """A source in memory; what is done about a key is what `does` says of it."""

    settle_window = 600

    def __init__(self):
        self.records = {}
        self.calls = []
        self.does = {}

    def _do(self, what, key):
        self.calls.append((what, key))
        if key in self.does:
            return self.does[key]()
        return None

    def get(self, key):
        done = self._do("get", key)
        return done if done is not None else self.records.get(key)

    def put(self, key, value, ctx):
        done = self._do("put", key)
        self.records[key] = value
        return done if done is not None else value

    def delete(self, key, ctx):
        self._do("delete", key)
        self.records.pop(key, None)


class ReadOnly(wtcache.Source):
    def get(self, key):
        return b"fixed"


def raising(error):
    def raise_it():
        raise error

    return raise_it


class Reads(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600)
        self.addCleanup(self.cache.close)

    def test_a_value_is_loaded_once(self):
        self.shelf.records["bolts"] = b"7"
        self.assertEqual(self.cache["bolts"], b"7")
        self.assertEqual(self.cache.get("bolts"), b"7")
        self.assertEqual(self.shelf.calls, [("get", "bolts")])

    def test_an_absent_record_is_a_key_error_or_the_default(self):
        with self.assertRaises(KeyError) as raised:
            self.cache["none"]
        self.assertEqual(raised.exception.args, ("none",))
        self.assertIsNone(self.cache.get("none"))
        self.assertEqual(self.cache.get("none", 3), 3)
        self.assertEqual(len(self.shelf.calls), 1, "the absence is remembered")

    def test_in_is_peek_and_asks_nobody(self):
        self.shelf.records["bolts"] = b"7"
        self.assertNotIn("bolts", self.cache)
        self.cache["bolts"]
        self.assertIn("bolts", self.cache)
        self.assertEqual(self.cache.peek("bolts"), b"7")
        self.assertEqual(len(self.shelf.calls), 1)

    def test_invalidate_forgets_here_only(self):
        self.shelf.records["bolts"] = b"7"
        self.cache["bolts"]
        self.cache.invalidate("bolts")
        self.assertNotIn("bolts", self.cache)
        self.assertEqual(self.cache["bolts"], b"7")

    def test_values_may_be_empty_or_hold_any_byte(self):
        for value in (b"", b"a\0b", bytes(range(256))):
            self.assertEqual(self.cache.put("k", value), value)
            self.assertEqual(self.cache["k"], value)

    def test_a_record_says_how_long_it_is_kept(self):
        self.shelf.does["short"] = lambda: wtcache.Record(b"x", version=b'"r1"', ttl=0.0001)
        self.shelf.does["long"] = lambda: wtcache.Record(b"x", ttl=60)
        for key, calls in (("short", 2), ("long", 1)):
            self.shelf.calls.clear()
            self.cache[key]
            self.cache[key]
            self.assertEqual(len(self.shelf.calls), calls, key)

    def test_what_the_source_raised_is_the_cause(self):
        error = ConnectionError("no route")
        self.shelf.does["bolts"] = raising(error)
        with self.assertRaises(wtcache.SourceError) as raised:
            self.cache["bolts"]
        self.assertIs(raised.exception.__cause__, error)
        self.assertIn("ConnectionError: no route", str(raised.exception))
        self.assertIsInstance(raised.exception, wtcache.Error)

    def test_an_interrupt_in_the_source_reaches_the_reader_as_it_is(self):
        self.shelf.does["bolts"] = raising(KeyboardInterrupt())
        with self.assertRaises(KeyboardInterrupt):
            self.cache["bolts"]

    def test_a_wrong_type_from_the_source_is_told(self):
        self.shelf.does["bolts"] = lambda: "text"
        with self.assertRaises(wtcache.SourceError) as raised:
            self.cache["bolts"]
        self.assertIsInstance(raised.exception.__cause__, TypeError)

    def test_causes_do_not_pile_up(self):
        before = held_of(_library.causes)
        self.shelf.does["bolts"] = raising(ValueError("x"))
        for _ in range(50):
            with self.assertRaises(wtcache.SourceError):
                self.cache["bolts"]
        self.assertLessEqual(len(_library.causes), before)

    def test_a_deadline_is_a_timeout_of_both_kinds(self):
        entered, leave = threading.Event(), threading.Event()

        def wait():
            entered.set()
            leave.wait(30)
            return b"late"

        self.shelf.does["slow"] = wait
        leader = threading.Thread(target=lambda: self.cache.get("slow"))
        leader.start()
        self.assertTrue(entered.wait(30))
        with self.assertRaises(wtcache.TimeoutError) as raised:
            self.cache.get("slow", timeout=0.01)
        self.assertIsInstance(raised.exception, builtins.TimeoutError)
        self.assertTrue(raised.exception.retryable)
        leave.set()
        leader.join(30)
        self.assertEqual(self.cache.peek("slow"), b"late")


class Writes(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600)
        self.addCleanup(self.cache.close)

    def test_what_is_confirmed_can_be_read_at_once(self):
        self.shelf.does["bolts"] = lambda: wtcache.Record(b"7 and an id", version=b"r1")
        self.assertEqual(self.cache.put("bolts", b"7"), b"7 and an id")
        self.assertEqual(self.cache["bolts"], b"7 and an id")
        self.assertEqual(self.shelf.calls, [("put", "bolts")])

    def test_applied_and_unseen_asks_at_the_next_read(self):
        class Unseen(Shelf):
            def put(self, key, value, ctx):
                self.records[key] = b"as it is there"

        shelf = Unseen()
        with wtcache.Cache(shelf) as cache:
            self.assertIsNone(cache.put("bolts", b"7"))
            self.assertNotIn("bolts", cache)
            self.assertEqual(cache["bolts"], b"as it is there")

        class Verbatim(Unseen):
            stores_verbatim = True

        with wtcache.Cache(Verbatim()) as cache:
            self.assertEqual(cache.put("bolts", b"7"), b"7")

    def test_delete_removes_there_and_here(self):
        self.cache.put("bolts", b"7")
        self.cache.delete("bolts")
        self.assertEqual(self.shelf.records, {})
        self.assertIsNone(self.cache.get("bolts"))

    def test_rejected_means_not_applied(self):
        class TooMany(Exception):
            pass

        self.shelf.rejects = (TooMany,)
        self.cache.put("bolts", b"7")
        for error in (wtcache.RejectedError("no"), TooMany("no")):
            self.shelf.does["bolts"] = raising(error)
            with self.assertRaises(wtcache.RejectedError) as raised:
                self.cache.put("bolts", b"8")
            self.assertIs(raised.exception.__cause__, error)
            self.assertNotIsInstance(raised.exception, wtcache.ConflictError)
            self.assertEqual(self.cache.peek("bolts"), b"7", "nothing changed here")

    def test_a_conflict_drops_what_is_here(self):
        self.cache.put("bolts", b"7")
        self.shelf.does["bolts"] = raising(wtcache.ConflictError("changed"))
        with self.assertRaises(wtcache.ConflictError):
            self.cache.delete("bolts")
        self.assertNotIn("bolts", self.cache)

    def test_any_other_exception_leaves_the_write_in_doubt(self):
        self.cache.put("bolts", b"7")
        for error in (ConnectionError("broke"), KeyboardInterrupt()):
            self.shelf.does["bolts"] = raising(error)
            with self.assertRaises(wtcache.InDoubtError) as raised:
                self.cache.put("bolts", b"8")
            self.assertIs(raised.exception.__cause__, error)
            self.assertTrue(590 < raised.exception.retry_after <= 600, "the settle window of the source")
            self.assertNotIn("bolts", self.cache)

    def test_a_put_that_returns_no_bytes_is_in_doubt(self):
        self.shelf.does["bolts"] = lambda: 8
        with self.assertRaises(wtcache.InDoubtError) as raised:
            self.cache.put("bolts", b"8")
        self.assertIsInstance(raised.exception.__cause__, TypeError)

    def test_a_source_without_put_refuses(self):
        with wtcache.Cache(ReadOnly()) as cache:
            for write in (lambda: cache.put("k", b"v"), lambda: cache.delete("k")):
                with self.assertRaises(wtcache.RejectedError):
                    write()
            self.assertEqual(cache["k"], b"fixed")

    def test_the_context_knows_the_write(self):
        seen = []

        class Looks(Shelf):
            def put(self, key, value, ctx):
                seen.append((ctx.existing(), ctx.idempotency_key, ctx.deadline - time.monotonic(), ctx.if_version))
                try:
                    cache.put(key, b"again")
                except wtcache.ReentrantError:
                    seen.append("reentrant")
                return super().put(key, value, ctx)

        shelf = Looks()
        shelf.records["bolts"] = b"old"
        with wtcache.Cache(shelf, timeout=600) as cache:
            cache.put("bolts", b"new", idempotency_key=bytes(range(16)))
            cache.put("none", b"new")
        (existing, key, left, version), again, (none, _, _, _), _ = seen
        self.assertEqual((existing, none, again, version), (b"old", None, "reentrant", None))
        self.assertEqual(key, bytes(range(16)).hex())
        self.assertTrue(590 < left <= 600, left)

    def test_only_bytes_are_values(self):
        for wrong in ("text", 7, None):
            with self.assertRaises(TypeError):
                self.cache.put("k", wrong)
        self.assertEqual(self.cache.put("k", bytearray(b"v")), b"v")
        with self.assertRaises(ValueError):
            self.cache.put("k", b"v", idempotency_key=b"short")


class Keys(unittest.TestCase):
    def test_a_cache_has_one_type_of_key(self):
        for kind, right, wrong in ((str, "schl\u00fcssel", b"k"), (bytes, b"\xff\0k", "k")):
            shelf = Shelf()
            with wtcache.Cache(shelf, key_type=kind) as cache:
                cache.put(right, b"v")
                self.assertEqual(shelf.calls, [("put", right)])
                self.assertIn(right, cache)
                for call in (cache.get, cache.peek, cache.delete, cache.invalidate, lambda k: cache.put(k, b"v")):
                    with self.assertRaises(TypeError):
                        call(wrong)
        with self.assertRaises(TypeError):
            wtcache.Cache(Shelf(), key_type=int)

    def test_a_key_may_be_too_long(self):
        with wtcache.Cache(Shelf()) as cache:
            with self.assertRaisesRegex(wtcache.Error, "longer than the cache takes"):
                cache.get("k" * 1025)


class Codecs(unittest.TestCase):
    def test_values_are_what_the_codec_makes_of_the_origins_bytes(self):
        shelf = Shelf()
        with wtcache.Cache(shelf, codec=wtcache.json_codec) as cache:
            item = {"name": "schl\u00fcssel", "sizes": [1, 2.5, None]}
            self.assertEqual(cache.put("k", item), item)
            self.assertEqual(shelf.records["k"], '{"name":"schl\u00fcssel","sizes":[1,2.5,null]}'.encode())
            for value in (cache["k"], cache.get("k"), cache.peek("k")):
                self.assertEqual(value, item)
            self.assertEqual(cache.stats()["hits"], 3)
            self.assertIn("k", cache)

    def test_null_is_a_value_and_no_absence(self):
        with wtcache.Cache(Shelf(), codec=wtcache.json_codec) as cache:
            cache.put("k", None)
            self.assertIsNone(cache["k"])
            self.assertIsNone(cache.get("k", 7))
            self.assertIn("k", cache)
            self.assertEqual(cache.get("none", 7), 7)

    def test_what_cannot_be_encoded_is_not_sent(self):
        shelf = Shelf()
        with wtcache.Cache(shelf, codec=wtcache.json_codec) as cache:
            for wrong, error in ((object(), TypeError), (float("nan"), ValueError)):
                with self.assertRaises(error):
                    cache.put("k", wrong)
        self.assertEqual(shelf.calls, [])

    def test_bytes_that_are_no_such_value_are_an_error_of_the_read(self):
        shelf = Shelf()
        shelf.records["k"] = b"{"
        with wtcache.Cache(shelf, codec=wtcache.json_codec) as cache:
            with self.assertRaises(ValueError):
                cache["k"]


class Life(unittest.TestCase):
    def test_after_close_calls_say_so_and_values_stay(self):
        cache = wtcache.Cache(Shelf())
        value = cache.put("bolts", b"7")
        report = cache.close()
        self.assertEqual((report.unfinished, report.in_doubt), ([], []))
        for call in (lambda: cache["bolts"], lambda: cache.put("bolts", b"8"), lambda: cache.delete("bolts")):
            with self.assertRaises(wtcache.ClosedError):
                call()
        self.assertNotIn("bolts", cache)
        self.assertEqual(value, b"7")
        cache.close()

    def test_close_reports_doubts_by_key(self):
        shelf = Shelf()
        shelf.settle_window = 60
        shelf.does["bolts"] = raising(ConnectionError())
        cache = wtcache.Cache(shelf)
        with self.assertRaises(wtcache.InDoubtError):
            cache.put("bolts", b"7")
        self.assertEqual(cache.close().in_doubt, ["bolts"])

    def test_a_source_goes_with_its_cache(self):
        before = held_of(_source.sources)
        shelf = Shelf()
        gone = weakref.ref(shelf)
        cache = wtcache.Cache(shelf)
        self.assertEqual(len(_source.sources), before + 1)
        del shelf, cache
        gc.collect()
        self.assertEqual(len(_source.sources), before)
        self.assertIsNone(gone())

    def test_closing_breaks_the_ring_of_a_source_that_has_its_cache(self):
        before = held_of(_source.sources)
        shelf = Shelf()
        shelf.cache = wtcache.Cache(shelf)
        gone = weakref.ref(shelf)
        shelf.cache.close()
        del shelf
        gc.collect()
        self.assertIsNone(gone())
        self.assertEqual(len(_source.sources), before)

    def test_a_source_is_given_back_if_opening_fails(self):
        before = held_of(_source.sources)
        with self.assertRaisesRegex(wtcache.ConfigError, "capacity_bytes"):
            wtcache.Cache(Shelf(), capacity_bytes=0)
        with self.assertRaises(ValueError):
            wtcache.Cache(Shelf(), ttl=-1)
        with self.assertRaises(TypeError):
            wtcache.Cache(object())
        self.assertEqual(len(_source.sources), before)

    def test_many_threads_make_one_load(self):
        shelf, entered, leave = Shelf(), threading.Event(), threading.Event()

        def wait():
            entered.set()
            leave.wait(30)
            return b"x"

        shelf.does["slow"] = wait
        with wtcache.Cache(shelf, timeout=600) as cache:
            read = []
            threads = [threading.Thread(target=lambda: read.append(cache["slow"])) for _ in range(8)]
            for thread in threads:
                thread.start()
            self.assertTrue(entered.wait(30))
            leave.set()
            for thread in threads:
                thread.join(30)
            self.assertEqual((read, len(shelf.calls)), ([b"x"] * 8, 1))

    def test_what_the_library_has_given_is_neither_copied_nor_pickled(self):
        shelf = Shelf()
        shelf.does["doubt"] = raising(ConnectionError())
        with wtcache.Cache(shelf) as cache:
            with self.assertRaises(wtcache.InDoubtError) as raised:
                cache.put("doubt", b"1")
            things = (cache, cache.put_optimistic("k", b"1"), raised.exception.doubt, cache.prepare("other"))
            for thing in things:
                with self.assertRaisesRegex(TypeError, "cannot pickle"):
                    pickle.dumps(thing)
                with self.assertRaisesRegex(TypeError, "cannot pickle"):
                    copy.deepcopy(thing)

    def test_stats_count(self):
        with wtcache.Cache(Shelf()) as cache:
            cache.put("k", b"v")
            cache["k"]
            counted = cache.stats()
            self.assertEqual((counted["hits"], counted["writes_applied"], counted["entries"]), (1, 1, 1))

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_in_the_child_of_a_fork_the_error_names_the_remedy(self):
        program = """if True:
            import os, sys, wtcache
            class One(wtcache.Source):
                def get(self, key): return b"1"
            cache = wtcache.Cache(One())
            cache["k"]
            child = os.fork()
            if child == 0:
                try:
                    cache["k"]
                except wtcache.Error as error:
                    fine = "open one after the fork" in str(error)
                fine = fine and wtcache.Cache(One())["k"] == b"1"
                del cache
                os._exit(0 if fine else 3)
            _, status = os.waitpid(child, 0)
            sys.exit(os.waitstatus_to_exitcode(status) or cache["k"] != b"1")
        """
        self.assertEqual(subprocess.run([sys.executable, "-c", program], timeout=60).returncode, 0)

    def test_the_interpreter_ends_in_peace_with_caches_open(self):
        program = """if True:
            import threading, wtcache
            class One(wtcache.Source):
                def get(self, key): return b"1"
            cache = wtcache.Cache(One())
            cache["k"]
            threading.Thread(target=lambda: [cache["k"] for _ in range(1000)]).start()
        """
        ended = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))


class Loading(unittest.TestCase):
    def import_with(self, **environment):
        environment = {**os.environ, **environment}
        return subprocess.run([sys.executable, "-c", "import wtcache"], env=environment, capture_output=True, timeout=60)

    def test_the_library_is_the_one_that_is_named_and_no_other(self):
        ended = self.import_with(WTCACHE_LIBRARY="libc.so.6")
        self.assertIn(b"ImportError: wtcache: there is no", ended.stderr)

    def test_a_library_of_another_abi_is_not_loaded(self):
        program = "import wtcache._library as l; l.ABI += 1; l._load()"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
        self.assertIn(b"has ABI 1, and this package wants 2", ended.stderr)


if __name__ == "__main__":
    unittest.main()
