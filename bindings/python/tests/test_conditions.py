"""Writes that expect something, updates in one turn, and writes in doubt."""

import threading
import unittest

from shelf import Shelf, raising

import wtcache


class OnACondition(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600)
        self.addCleanup(self.cache.close)

    def test_p6_a_write_is_sent_only_for_the_version_that_it_expects(self):
        self.cache.put("k", b"1")
        version = self.cache.entry("k").version
        self.assertEqual(self.cache.put_if("k", b"2", version=version), b"2")
        self.shelf.calls.clear()
        with self.assertRaises(wtcache.ConflictError) as raised:
            self.cache.put_if("k", b"3", version=version)
        self.assertIsInstance(raised.exception, wtcache.UnmetError)
        self.assertEqual((raised.exception.existing.value, raised.exception.existing.version), (b"2", b"v2"))
        self.assertEqual(self.shelf.calls, [])
        self.assertEqual(self.cache.put_if("k", b"3", version=[version, "v2"]), b"3")
        self.assertEqual(self.cache.put_if("k", b"3", version="v3"), b"3")
        with self.assertRaisesRegex(TypeError, "str or bytes, not int"):
            self.cache.put_if("k", b"4", version=[4])
        with self.assertRaises(wtcache.UnmetError):
            self.cache.delete_if("k", version=b"v2")
        self.cache.delete_if("k", version=b"v4")
        self.assertEqual(self.shelf.records, {})

    def test_p6_absent_and_exists(self):
        for write in (lambda: self.cache.put_if("k", b"1", exists=True), lambda: self.cache.delete_if("k", exists=True)):
            with self.assertRaises(wtcache.UnmetError) as raised:
                write()
            self.assertIsNone(raised.exception.existing)
        self.assertEqual(self.cache.put_if("k", b"1", absent=True), b"1")
        with self.assertRaises(wtcache.UnmetError):
            self.cache.put_if("k", b"2", absent=True)
        self.assertEqual(self.cache.put_if("k", b"2", exists=True, ttl=0), b"2")
        self.assertNotIn("k", self.cache)

    def test_p6_the_condition_goes_to_an_origin_that_honours_it(self):
        seen = []

        class Honours(Shelf):
            honours_preconditions = True

            def put(self, key, value, ctx):
                seen.append((ctx.if_absent, ctx.if_exists, ctx.if_version))
                return super().put(key, value, ctx)

        with wtcache.Cache(Honours()) as cache:
            cache.put_if("k", b"1", absent=True)
            cache.put_if("k", b"2", version=b"v1")
            cache.put_if("k", b"3", exists=True)
        self.assertEqual(seen, [(True, False, None), (False, False, b"v1"), (False, True, None)])

    def test_a_write_expects_one_thing(self):
        for wrong in ({}, {"exists": True, "absent": True}, {"version": b"v", "exists": True}):
            with self.assertRaises(TypeError):
                self.cache.put_if("k", b"1", **wrong)
        self.assertEqual(self.shelf.calls, [])


class Updates(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600, codec=wtcache.json_codec)
        self.addCleanup(self.cache.close)

    def test_p6_no_update_between_threads_is_lost(self):
        def add():
            for _ in range(50):
                self.cache.update("k", lambda n: n + 1, default=0, timeout=600)

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.cache["k"], 200)

    def test_p6_a_record_may_go_or_stay(self):
        self.assertEqual(self.cache.update("k", lambda _: [1]), [1])
        self.shelf.calls.clear()
        self.assertEqual(self.cache.update("k", lambda _: wtcache.KEEP), [1])
        self.assertEqual(self.shelf.calls, [])
        self.assertIsNone(self.cache.update("k", lambda _: wtcache.DELETE))
        self.assertEqual(self.shelf.calls, [("delete", "k")])
        self.assertIsNone(self.cache.update("none", lambda there: wtcache.KEEP))

    def test_p6_what_the_function_raises_is_raised_and_nothing_is_sent(self):
        self.cache.put("k", 1)
        self.shelf.calls.clear()
        for error in (ZeroDivisionError("x"), KeyboardInterrupt()):
            with self.assertRaises(type(error)) as raised:
                self.cache.update("k", raising(error))
            self.assertIs(raised.exception, error)
        with self.assertRaises(TypeError):
            self.cache.update("k", lambda _: object())
        with self.assertRaises(TypeError):
            self.cache.update("k", 7)
        self.assertEqual((self.shelf.calls, self.cache.peek("k")), ([], 1))

    def test_a1_an_update_that_is_refused_says_so(self):
        self.shelf.does[("put", "k")] = raising(wtcache.RejectedError("no"))
        with self.assertRaises(wtcache.RejectedError):
            self.cache.update("k", lambda _: 1)


class InDoubt(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600, codec=wtcache.json_codec)
        self.addCleanup(self.cache.close)

    def doubt(self, key="k", value=1):
        self.shelf.does[("put", key)] = raising(ConnectionError("broke"))
        with self.assertRaises(wtcache.InDoubtError) as raised:
            self.cache.put(key, value)
        del self.shelf.does[("put", key)]
        return raised.exception.doubt

    def test_d1_the_error_has_the_handle_on_the_write(self):
        doubt = self.doubt()
        self.assertEqual((doubt.key, doubt.outcome), ("k", None))
        self.assertEqual(len(bytes.fromhex(doubt.idempotency_key)), 16)
        self.assertTrue(590 < doubt.remaining <= 600)
        with self.assertRaises(wtcache.NotEndedError) as raised:
            doubt.wait(0)
        self.assertIsInstance(raised.exception, TimeoutError)
        self.assertIn("'k': not settled", repr(doubt))

    def test_d3_a_program_that_knows_ends_the_doubt(self):
        doubt = self.doubt()
        waits = threading.Thread(target=doubt.wait)
        waits.start()
        self.assertTrue(doubt.settle(wtcache.Settlement.APPLIED))
        waits.join(30)
        self.assertFalse(waits.is_alive())
        self.assertIs(doubt.wait(0), wtcache.Settlement.APPLIED)
        self.assertEqual(doubt.remaining, 0)
        with self.assertRaises(ValueError):
            doubt.settle(7)

    def test_d3_one_of_two_settled_leaves_the_key_in_doubt(self):
        first, second = self.doubt(), self.doubt()
        self.assertFalse(first.settle(wtcache.Settlement.NOT_APPLIED))
        self.assertTrue(second.settle(wtcache.Settlement.OVER))
        self.assertIs(first.outcome, wtcache.Settlement.NOT_APPLIED)

    def test_d3_the_doubt_of_a_key_is_listed_and_ended(self):
        self.doubt("a"), self.doubt("b")
        listed = {told.key: told for told in self.cache.doubts()}
        self.assertEqual(sorted(listed), ["a", "b"])
        self.assertEqual(listed["a"].unsettled, 1)
        self.assertTrue(0 <= listed["a"].since < 10 and 590 < listed["a"].remaining <= 600)
        self.assertEqual(len(self.cache.doubts(most=1)), 1)
        self.assertTrue(self.cache.settle("a", wtcache.Settlement.NOT_APPLIED))
        self.assertFalse(self.cache.settle("a", wtcache.Settlement.NOT_APPLIED))
        self.assertEqual([told.key for told in self.cache.doubts()], ["b"])

    def test_d3_the_very_same_write_is_sent_again(self):
        sent = []

        class Honours(Shelf):
            honours_idempotency = True

            def put(self, key, value, ctx):
                sent.append((value, ctx.idempotency_key))
                if len(sent) == 1:
                    raise ConnectionError("broke")
                return super().put(key, value, ctx)

        with wtcache.Cache(Honours(), codec=wtcache.json_codec) as cache:
            with self.assertRaises(wtcache.InDoubtError) as raised:
                cache.put("k", [1])
            doubt = raised.exception.doubt
            self.assertEqual(doubt.replay(), [1])
            self.assertEqual(sent, [(b"[1]", doubt.idempotency_key)] * 2)
            self.assertIs(doubt.outcome, wtcache.Settlement.APPLIED)
            self.assertEqual(cache.doubts(), [])

    def test_d3_after_close_nothing_is_sent_again(self):
        doubt = self.doubt()
        self.cache.close()
        self.shelf.calls.clear()
        with self.assertRaises(wtcache.InDoubtError):
            doubt.replay()
        self.assertEqual(self.shelf.calls, [])


if __name__ == "__main__":
    unittest.main()
