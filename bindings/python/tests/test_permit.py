"""The two phases of a write by hand: a turn that the program holds while it does its own I/O."""

import gc
import os
import subprocess
import sys
import threading
import time
import unittest

from shelf import Gate, Shelf, raising

import wtcache


class Permits(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600, options={"clean_start": True})
        self.addCleanup(self.cache.close)
        self.cache.put("k", b"old")
        self.shelf.calls.clear()

    def in_doubt(self):
        return [told.key for told in self.cache.doubts()]

    def test_p7_a_write_goes_the_whole_way_and_the_source_is_not_called(self):
        with self.cache.prepare("k", timeout=600, idempotency_key=bytes(range(16))) as permit:
            self.assertEqual(permit.idempotency_key, bytes(range(16)).hex())
            self.assertTrue(590 < permit.deadline - time.monotonic() <= 600)
            self.assertEqual((permit.existing().value, permit.existing().version), (b"old", b"v1"))
            with self.assertRaises(wtcache.TimeoutError):
                self.cache.put("k", b"another", timeout=0.01)
            sent = permit.send()
            self.assertEqual(self.cache["k"], b"old", "what is shown while it is out")
            self.assertEqual(sent.commit(b"new"), b"new")
        self.assertEqual(self.cache["k"], b"new")
        self.assertEqual((self.shelf.calls, self.in_doubt()), ([], []))
        self.assertEqual(self.cache.put("k", b"next"), b"next", "the turn was passed on")

    def test_p1_a_commit_says_what_is_known_of_the_record(self):
        with self.cache.prepare("k", ttl=600) as permit:
            permit.send().commit(wtcache.Record(b"new", version=b"w1", tags=("plan",)))
        entry = self.cache.entry("k")
        self.assertEqual((entry.value, entry.version), (b"new", b"w1"))
        self.assertTrue(590 < entry.remaining <= 600, "the ttl of the permit")
        with self.cache.prepare("k", ttl=600) as permit:
            permit.send().commit(wtcache.Record(b"new", ttl=100, tags=("plan",)))
        self.assertTrue(90 < self.cache.entry("k").remaining <= 100, "that of the record goes first")
        self.assertEqual(self.cache.invalidate(tag="plan").entries, 1)

    def test_p1_applied_and_not_seen_asks_at_the_next_read(self):
        with wtcache.Cache(self.shelf, options={"clean_start": True, "absent_after_delete": True}) as cache:
            with cache.prepare("k") as permit:
                permit.send().commit_unseen()
            self.assertNotIn("k", cache)
            self.assertEqual((cache["k"], self.shelf.calls), (b"old", [("get", "k")]))

    def test_p4_a_delete_is_applied_by_the_program(self):
        with wtcache.Cache(self.shelf, options={"clean_start": True, "absent_after_delete": True}) as cache:
            cache["k"]
            self.shelf.calls.clear()
            with cache.prepare("k") as permit:
                permit.send().commit_deleted()
            self.assertEqual((cache.get("k"), self.shelf.calls), (None, []))

    def test_p2_a_refusal_leaves_what_is_here_unless_it_proves_it_out_of_date(self):
        for stale, here in ((False, b"old"), (True, None)):
            with self.cache.prepare("k") as permit:
                permit.send().reject(stale_base=stale)
            self.assertEqual((self.cache.peek("k"), self.in_doubt()), (here, []))

    def test_d1_a_write_in_doubt_is_settled_by_its_handle(self):
        with self.cache.prepare("k") as permit:
            doubt = permit.send().in_doubt()
        self.assertEqual((doubt.key, doubt.idempotency_key, doubt.outcome), ("k", permit.idempotency_key, None))
        self.assertEqual(self.in_doubt(), ["k"])
        with self.assertRaisesRegex(wtcache.InDoubtError, "the program sent"):
            doubt.replay()
        self.assertTrue(doubt.settle(wtcache.Settlement.APPLIED))
        self.assertEqual(self.in_doubt(), [])

    def test_p7_what_was_not_sent_is_given_back_at_the_end_of_the_block(self):
        error = ZeroDivisionError("x")
        for leave in (lambda permit: None, raising(error), wtcache.Permit.abort):
            try:
                with self.cache.prepare("k", timeout=600) as permit:
                    leave(permit)
            except ZeroDivisionError as raised:
                self.assertIs(raised, error)
            with self.assertRaises(wtcache.StateError):
                permit.send()
            self.assertEqual((self.cache.peek("k"), self.in_doubt()), (b"old", []))
            self.cache.prepare("k", timeout=30).abort()

    def test_a3_a_block_that_does_not_say_how_the_write_ended_raises_that_it_is_in_doubt(self):
        error = ConnectionError("broke")
        for leave, cause in ((lambda: None, None), (raising(error), error)):
            with self.assertRaises(wtcache.InDoubtError) as raised:
                with self.cache.prepare("k") as permit:
                    permit.send()
                    leave()
            self.assertIs(raised.exception.__cause__, cause)
            self.assertTrue(590 < raised.exception.retry_after <= 600)
            self.assertEqual((raised.exception.status, self.in_doubt()), (-9, ["k"]))
            self.assertTrue(raised.exception.doubt.settle(wtcache.Settlement.NOT_APPLIED))

    def test_a3_an_exception_after_the_end_of_the_write_is_the_programs(self):
        error = ConnectionError("broke")
        with self.assertRaises(ConnectionError) as raised:
            with self.cache.prepare("k") as permit:
                permit.send().commit(b"new")
                raise error
        self.assertIs(raised.exception, error)
        self.assertEqual((self.cache.peek("k"), self.in_doubt()), (b"new", []))

    def test_an_interrupt_leaves_the_block_as_it_is_and_the_key_in_doubt(self):
        with self.assertRaises(KeyboardInterrupt):
            with self.cache.prepare("k") as permit:
                permit.send()
                raise KeyboardInterrupt
        self.assertEqual(self.in_doubt(), ["k"])

    def test_p7_dropped_it_is_aborted_and_dropped_after_the_send_in_doubt(self):
        self.cache.prepare("k", timeout=600)
        gc.collect()
        self.cache.prepare("k", timeout=30).abort()
        self.cache.prepare("k").send()
        gc.collect()
        self.assertEqual(self.in_doubt(), ["k"])

    def test_a_call_out_of_its_order_is_refused_and_does_nothing(self):
        with self.cache.prepare("k") as permit:
            sent = permit.send()
            for wrong in (permit.send, permit.abort, permit.existing):
                with self.assertRaises(wtcache.StateError):
                    wrong()
            for wrong in (7, "text", None, wtcache.Record("text")):
                with self.assertRaises(TypeError):
                    sent.commit(wrong)
            sent.commit(b"new")
            for late in (lambda: sent.commit(b"x"), sent.commit_unseen, sent.commit_deleted, sent.reject, sent.in_doubt):
                with self.assertRaises(wtcache.StateError):
                    late()
        self.assertEqual((self.cache.peek("k"), self.in_doubt()), (b"new", []))

    def test_p5_a_permit_is_in_one_call_at_a_time(self):
        gate = self.shelf.does[("get", "none")] = Gate()
        self.addCleanup(gate.open)
        permit, read = self.cache.prepare("none"), []
        thread = threading.Thread(target=lambda: read.append(permit.existing()))
        thread.start()
        gate.wait()
        for call in (permit.abort, permit.send, permit.existing):
            with self.assertRaises(wtcache.ReentrantError):
                call()
        gate.open()
        thread.join(30)
        self.assertEqual(read, [None])
        permit.send().commit(b"new")
        self.assertEqual(self.cache.peek("none"), b"new")

    def test_p7_the_turn_is_waited_for_and_held_to_the_deadline(self):
        with self.cache.prepare("k", timeout=600):
            with self.assertRaises(wtcache.TimeoutError):
                self.cache.prepare("k", timeout=0.01)
        held = self.cache.prepare("k", timeout=0.2)
        with self.cache.prepare("k", timeout=600):
            with self.assertRaises(wtcache.TimeoutError):
                held.send()

    def test_d3_what_is_said_after_the_deadline_is_the_late_answer(self):
        sent = self.cache.prepare("k", timeout=0.5).send()
        # Whoever comes next to the key finds that its time is over.
        self.cache.prepare("k", timeout=600).abort()
        self.assertEqual(self.in_doubt(), ["k"])
        sent.commit(b"new")
        self.assertEqual((self.cache.peek("k"), self.in_doubt()), (None, []))

    def test_b4_a_cache_that_is_closed_sends_nothing(self):
        with self.cache.prepare("k") as permit:
            self.cache.close()
            with self.assertRaises(wtcache.ClosedError):
                permit.send()
        with self.assertRaises(wtcache.ClosedError):
            self.cache.prepare("k")

    def test_b4_what_is_out_is_waited_for_by_close(self):
        permit = self.cache.prepare("k")
        sent, reports = permit.send(), []
        self.assertEqual(self.cache.stats()["writes_open"], 1)
        thread = threading.Thread(target=lambda: reports.append(self.cache.close(30)))
        thread.start()
        sent.commit(b"new")
        thread.join(60)
        self.assertEqual((reports[0].unfinished, reports[0].in_doubt), ([], []))

    def test_a_permit_keeps_its_cache_open(self):
        cache = wtcache.Cache(self.shelf)
        permit = cache.prepare("k")
        del cache
        gc.collect()
        self.assertEqual(permit.send().commit(b"new"), b"new")

    def test_keys_and_values_are_those_of_the_cache(self):
        with wtcache.Cache(Shelf(), key_type=bytes, codec=wtcache.json_codec, options={"clean_start": True}) as cache:
            with self.assertRaises(TypeError):
                cache.prepare("k")
            with cache.prepare(b"k") as permit:
                self.assertIsNone(permit.existing())
                self.assertEqual(permit.send().commit([1]), [1])
            with cache.prepare(b"k") as permit:
                self.assertEqual(permit.existing().value, [1])
                self.assertEqual(permit.send().commit(wtcache.Record(b"[2]")), [2])
            with self.assertRaises(wtcache.InDoubtError) as raised:
                with cache.prepare(b"k") as permit:
                    permit.send().commit(object())
            self.assertIsInstance(raised.exception.__cause__, TypeError)

    def test_what_the_source_raises_is_the_cause_and_the_turn_is_held_on(self):
        error = ConnectionError("no route")
        self.shelf.does[("get", "none")] = raising(error)
        with self.cache.prepare("none") as permit:
            with self.assertRaises(wtcache.SourceError) as raised:
                permit.existing()
            self.assertIs(raised.exception.__cause__, error)
            permit.send().commit(b"new")
        self.assertEqual(self.cache.peek("none"), b"new")

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_the_child_of_a_fork_has_no_permit(self):
        program = """if True:
            import os, sys, wtcache
            class One(wtcache.Source):
                def get(self, key): return b"1"
            cache = wtcache.Cache(One())
            permit = cache.prepare("k")
            child = os.fork()
            if child == 0:
                try:
                    permit.send()
                except wtcache.Error as error:
                    os._exit(0 if "open one after the fork" in str(error) else 3)
                os._exit(4)
            _, status = os.waitpid(child, 0)
            sys.exit(os.waitstatus_to_exitcode(status) or permit.send().commit(b"2") != b"2")
        """
        self.assertEqual(subprocess.run([sys.executable, "-c", program], timeout=60).returncode, 0)

    def test_the_interpreter_ends_in_peace_over_a_permit(self):
        program = """if True:
            import wtcache
            class One(wtcache.Source):
                def get(self, key): return b"1"
            cache = wtcache.Cache(One())
            permit, sent = cache.prepare("a"), cache.prepare("b").send()
            from wtcache import _ending
            _ending._PATIENCE = 0.01
        """
        ended = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))


if __name__ == "__main__":
    unittest.main()
