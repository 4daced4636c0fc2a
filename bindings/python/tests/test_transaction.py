"""Transactions: described in a block, run at its end."""

import unittest

from shelf import Gate, Shelf, all_released, raising

import wtcache
from wtcache import Outcome, StepOutcome, _transaction


class Declined(Exception):
    """Nothing was paid."""


class Transactions(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600, options={"clean_start": True, "absent_after_delete": True})
        self.addCleanup(self.cache.close)
        self.cache.put_many({"org:1": b"free", "org:1:users": b"3", "user:7:orgs": b"1", "item:1": b"x"})
        self.shelf.calls.clear()
        self.log = []

    def does(self, what, returned=None):
        return lambda ctx: self.log.append(what) or returned

    def test_t2_its_steps_run_at_the_end_of_the_block_in_order(self):
        with self.cache.transaction() as tx:
            tx.put("org:1", b"team", ttl=600)
            tx.step(self.does("charged", "receipt 1"), undo=self.does("refunded"))
            tx.invalidate("org:1:*", "user:*:orgs")
            self.assertEqual((self.shelf.calls, self.log, tx.result), ([], [], None))
        self.assertEqual((self.shelf.calls, self.log), ([("put", "org:1")], ["charged"]))
        self.assertIs(tx.result.outcome, Outcome.COMMITTED)
        self.assertEqual([step.value for step in tx.result.steps], [b"team", "receipt 1"])
        self.assertEqual([step.outcome for step in tx.result.steps], [StepOutcome.APPLIED] * 2)
        entry = self.cache.entry("org:1")
        self.assertEqual(entry.value, b"team")
        self.assertTrue(590 < entry.remaining <= 600, "the ttl of the put")
        here = [key for key in ("org:1:users", "user:7:orgs", "item:1") if key in self.cache]
        self.assertEqual(here, ["item:1"])

    def test_f1_what_the_source_says_of_a_put_goes_first(self):
        self.shelf.does["org:1"] = lambda: wtcache.Record(b"team", ttl=100)
        with self.cache.transaction() as tx:
            tx.put("org:1", b"team", ttl=600)
        self.assertTrue(90 < self.cache.entry("org:1").remaining <= 100)

    def test_an_exception_in_the_block_runs_nothing(self):
        with self.assertRaises(ZeroDivisionError):
            with self.cache.transaction() as tx:
                tx.put("org:1", b"team")
                tx.step(self.does("charged"))
                1 / 0
        self.assertEqual((self.shelf.calls, self.log, tx.result), ([], [], None))
        self.assertEqual(self.cache["org:1"], b"free")
        self.assertTrue(all_released(_transaction.steps))

    def test_t2_a_refused_step_undoes_those_before_it_and_is_raised(self):
        declined = Declined("the card was declined")
        with self.assertRaises(wtcache.RejectedError) as raised:
            with self.cache.transaction() as tx:
                tx.put("org:1", b"team", undo=b"free")
                tx.step(self.does("noted", 7), undo=lambda ctx: self.log.append(("unnoted", ctx.returned)))
                tx.step(raising(declined), rejects=(Declined,))
                tx.step(self.does("thanked"))
                tx.invalidate(prefix="org:1:")
        self.assertIs(raised.exception.__cause__, declined)
        self.assertIs(tx.result.outcome, Outcome.ROLLED_BACK)
        outcomes = [step.outcome.name for step in tx.result.steps]
        self.assertEqual(outcomes, ["APPLIED", "APPLIED", "REJECTED", "NOT_RUN"])
        self.assertEqual([step.undo.name for step in tx.result.steps], ["APPLIED", "APPLIED", "NOT_RUN", "NOT_RUN"])
        self.assertIs(tx.result.steps[2].error.__cause__, declined)
        self.assertEqual(self.log, ["noted", ("unnoted", 7)])
        self.assertEqual(self.shelf.records["org:1"].value, b"free")
        self.assertEqual(self.cache["org:1"], b"free")

    def test_t2_what_cannot_be_undone_is_a_partial_error(self):
        refuses = raising(wtcache.RejectedError("no"))
        with self.assertRaises(wtcache.PartialError):
            with self.cache.transaction() as tx:
                tx.put("org:1", b"team")
                tx.step(refuses)
        self.assertIs(tx.result.outcome, Outcome.PARTIAL)
        with self.assertRaises(wtcache.PartialError):
            with self.cache.transaction() as tx:
                tx.put("org:1", b"team", undo=refuses)
                tx.step(refuses)
        self.assertIs(tx.result.steps[0].undo, StepOutcome.REJECTED)
        self.assertIsInstance(tx.result.steps[0].undo_error, wtcache.RejectedError)
        self.assertEqual(self.cache["org:1"], b"team")

    def test_t2_a_step_may_be_undone_by_a_delete_or_have_nothing_to_undo(self):
        with self.assertRaises(wtcache.RejectedError):
            with self.cache.transaction() as tx:
                tx.put("org:2", b"team", undo=wtcache.DELETE)
                tx.step(self.does("told"), undo=wtcache.NOTHING)
                tx.delete("item:1", undo=b"x")
                tx.step(raising(wtcache.RejectedError("no")))
        self.assertIs(tx.result.outcome, Outcome.ROLLED_BACK)
        self.assertNotIn("org:2", self.shelf.records)
        self.assertEqual(self.cache["item:1"], b"x")

    def test_d1_a_step_that_nobody_knows_of_leaves_its_keys_in_doubt(self):
        broke = ConnectionError("broke")
        with self.assertRaises(wtcache.InDoubtError) as raised:
            with self.cache.transaction() as tx:
                tx.step(self.does("noted"), undo=self.does("unnoted"), undo_if_unknown=True)
                tx.step(raising(broke), writes=["org:1"])
        self.assertIs(raised.exception.__cause__, broke)
        self.assertIs(tx.result.outcome, Outcome.IN_DOUBT)
        self.assertEqual(self.log, ["noted", "unnoted"])
        (doubt,) = tx.result.doubts
        self.assertEqual(doubt.key, "org:1")
        self.assertTrue(doubt.settle(wtcache.Settlement.NOT_APPLIED))

    def test_t2_a_function_tells_what_it_wrote(self):
        def writes(ctx):
            ctx.wrote("org:1", wtcache.Record(b"team", version=b"w1"))
            ctx.wrote("org:2", b"new")
            ctx.wrote_as_shown("org:3")
            ctx.deleted("item:1")
            self.log.append((len(bytes.fromhex(ctx.idempotency_key)), ctx.returned))

        with self.cache.transaction() as tx:
            tx.update("org:3", b"shown", ttl=60)
            tx.step(writes, writes=["org:1", "org:2", "org:3", "item:1"])
        self.assertEqual(self.log, [(16, None)])
        self.assertEqual(self.cache.entry("org:1").version, b"w1")
        self.assertEqual((self.cache.peek("org:2"), self.cache.peek("org:3")), (b"new", b"shown"))
        self.assertIsNone(self.cache.get("item:1"), "known to be absent, though the shelf has it")
        self.assertEqual(self.shelf.calls, [])

    def test_t1_updates_are_kept_once_the_steps_were_applied(self):
        with self.cache.transaction() as tx:
            tx.update("org:1", b"team")
            tx.remove("item:1")
            tx.step(self.does("charged"))
        self.assertEqual(self.cache.peek("org:1"), b"team")
        self.assertIsNone(self.cache.get("item:1"), "known to be absent, though the shelf has it")
        self.assertEqual(self.shelf.calls, [])

    def test_t4_tags_and_prefixes_are_forgotten_too(self):
        self.shelf.does["item:1"] = lambda: wtcache.Record(b"x", tags=("team",))
        self.cache.put("item:1", b"x")
        with self.cache.transaction() as tx:
            tx.step(self.does("charged"))
            tx.invalidate(prefix="org:1", tag="team")
        self.assertEqual([key for key in ("org:1", "item:1", "user:7:orgs") if key in self.cache], ["user:7:orgs"])

    def test_an_optimistic_one_is_shown_at_once_and_runs_in_the_background(self):
        gate = Gate()
        self.addCleanup(gate.open)
        with self.cache.transaction(optimistic=True) as tx:
            tx.put("org:1", b"team", undo=b"free")
            tx.step(gate)
        self.assertTrue(self.cache.entry("org:1").pending)
        self.assertEqual(self.cache["org:1"], b"team")
        self.assertEqual((tx.done(), tx.result), (False, None))
        with self.assertRaises(wtcache.NotEndedError):
            tx.wait(timeout=0)
        gate.open()
        self.assertIs(tx.wait(timeout=30).outcome, Outcome.COMMITTED)
        self.assertIs(tx.result.outcome, Outcome.COMMITTED)
        self.assertFalse(self.cache.entry("org:1").pending)

    def test_o2_an_optimistic_one_that_is_refused_leaves_as_it_came(self):
        declined = Declined("no")
        with self.cache.transaction(optimistic=True) as tx:
            tx.put("org:1", b"team", undo=b"free")
            tx.step(raising(declined), rejects=(Declined,))
        with self.assertRaises(wtcache.RejectedError) as raised:
            tx.wait(timeout=30)
        self.assertIs(raised.exception.__cause__, declined)
        self.assertIs(tx.result.outcome, Outcome.ROLLED_BACK)
        self.assertEqual(self.cache["org:1"], b"free")

    def test_the_result_of_an_optimistic_one_raises_nothing(self):
        with self.cache.transaction(optimistic=True) as tx:
            tx.step(raising(wtcache.RejectedError("no")))
        with self.assertRaises(wtcache.RejectedError):
            tx.wait(timeout=30)
        tx._result = None
        self.assertIs(tx.result.outcome, Outcome.ROLLED_BACK)

    def test_it_is_described_in_its_block_and_run_once(self):
        with self.cache.transaction() as tx:
            tx.step(self.does("charged"))
        for late in (lambda: tx.put("a", b"1"), lambda: tx.step(print), lambda: tx.update("a", b"1"), tx.__enter__().wait):
            with self.assertRaises(wtcache.StateError):
                late()
        with self.assertRaises(wtcache.StateError):
            with tx:
                pass
        self.assertEqual(self.log, ["charged"])

    def test_what_makes_no_sense_is_told_where_it_is_said(self):
        with self.cache.transaction() as tx:
            for wrong in (lambda: tx.step(7), lambda: tx.step(print, undo=b"x"), tx.invalidate, lambda: tx.put("a", 7)):
                with self.assertRaises(TypeError):
                    wrong()
            with self.assertRaises(wtcache.ArgumentError):
                tx.invalidate("org\\:")
            with self.assertRaises(TypeError):
                tx.put(b"k", b"1")
        self.assertIs(tx.result.outcome, Outcome.COMMITTED)
        self.assertTrue(all_released(_transaction.steps))

    def test_steps_go_with_their_transaction(self):
        for optimistic in (False, True):
            with self.cache.transaction(optimistic=optimistic) as tx:
                tx.step(self.does("charged"), undo=self.does("refunded"), timeout=5)
            if optimistic:
                tx.wait(timeout=30)
            self.assertTrue(all_released(_transaction.steps))

    def test_t2_time_is_bounded_by_the_timeout(self):
        with self.assertRaises(ValueError):
            self.cache.transaction(timeout=-1)
        left = []
        with self.assertRaises(wtcache.TimeoutError):
            with self.cache.transaction(timeout=0, undo_timeout=1) as tx:
                tx.step(left.append)
        self.assertEqual(left, [])
        self.assertIs(tx.result.outcome, Outcome.ROLLED_BACK)


if __name__ == "__main__":
    unittest.main()
