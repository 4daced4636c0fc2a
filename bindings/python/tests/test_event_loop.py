"""The cache in asyncio: calls that complete in a queue which the event loop watches."""

import asyncio
import gc
import unittest
import weakref

from shelf import Gate, Shelf, raising

import wtcache


class EventLoop(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.shelf = Shelf()
        self.cache = wtcache.Cache(self.shelf, timeout=600, options={"clean_start": True})
        self.addCleanup(self.cache.close)

    async def entered(self, gate):
        """The loop goes on while somebody comes to the gate."""
        await asyncio.to_thread(gate.wait)

    async def test_a_miss_lets_the_loop_go_on_and_a_hit_does_not_wait_for_it(self):
        gate = self.shelf.does["k"] = Gate(lambda: b"1")
        self.addCleanup(gate.open)
        read = asyncio.ensure_future(self.cache.aio.get("k"))
        await self.entered(gate)
        self.assertFalse(read.done())
        gate.open()
        self.assertEqual(await read, b"1")
        hit = self.cache.aio.get("k")
        with self.assertRaises(StopIteration) as ended:
            hit.send(None)
        self.assertEqual(ended.exception.value, b"1")
        self.assertIsNone(await self.cache.aio.get("none"))
        self.assertEqual(await self.cache.aio.get("none", 7), 7)

    async def test_g2_many_tasks_make_one_load(self):
        gate = self.shelf.does["k"] = Gate(lambda: b"1")
        reads = [asyncio.ensure_future(self.cache.aio.get("k")) for _ in range(8)]
        await self.entered(gate)
        gate.open()
        self.assertEqual(await asyncio.gather(*reads), [b"1"] * 8)
        self.assertEqual(self.shelf.calls, [("get", "k")])

    async def test_g5_what_was_written_is_read(self):
        aio = self.cache.aio
        self.assertEqual(await aio.put("k", b"1", ttl=600), b"1")
        entry = await aio.entry("k")
        self.assertEqual((entry.value, entry.version), (b"1", b"v1"))
        self.assertTrue(590 < entry.remaining <= 600)
        self.assertEqual(await aio.put_if("k", b"2", version=b"v1"), b"2")
        with self.assertRaises(wtcache.UnmetError) as raised:
            await aio.put_if("k", b"3", absent=True)
        self.assertEqual(raised.exception.existing.value, b"2")
        with self.assertRaises(wtcache.UnmetError):
            await aio.delete_if("k", version=b"v1")
        await aio.delete_if("k", version=b"v2")
        await aio.put("k", b"4")
        await aio.delete("k")
        self.assertIsNone(await aio.entry("k"))

    async def test_p3_writes_of_one_key_go_out_in_the_order_in_which_they_were_made(self):
        await asyncio.gather(*(self.cache.aio.put("k", b"%d" % n) for n in range(50)))
        self.assertEqual(self.shelf.records["k"].value, b"49")
        self.assertEqual(await self.cache.aio.get("k"), b"49")

    async def test_g10_many_keys(self):
        self.shelf.records.update(a=b"1", b=b"2")
        self.assertEqual(await self.cache.aio.get_many(["a", "b", "none"]), {"a": b"1", "b": b"2"})
        self.shelf.does["c"] = raising(ConnectionError())
        with self.assertRaises(wtcache.ManyError) as raised:
            await self.cache.aio.get_many(["a", "c"])
        self.assertEqual((raised.exception.values, list(raised.exception.errors)), ({"a": b"1"}, ["c"]))

    async def test_errors_are_those_of_the_calls_that_wait(self):
        for error, kind, call in (
            (ConnectionError("x"), wtcache.SourceError, lambda: self.cache.aio.get("k")),
            (KeyboardInterrupt(), wtcache.SourceError, lambda: self.cache.aio.get("k")),
            (ConnectionError("x"), wtcache.InDoubtError, lambda: self.cache.aio.put("k", b"1")),
            (wtcache.RejectedError("no"), wtcache.RejectedError, lambda: self.cache.aio.delete("k")),
        ):
            self.shelf.does["k"] = raising(error)
            with self.assertRaises(kind) as raised:
                await call()
            self.assertIs(raised.exception.__cause__, error)
        with self.assertRaises(TypeError):
            await self.cache.aio.get(b"k")
        self.cache.close()
        with self.assertRaises(wtcache.ClosedError):
            await self.cache.aio.get("k")

    async def test_o1_confirmed_reads_and_the_end_of_what_is_pending(self):
        self.cache.put("k", b"old")
        gate = self.shelf.does["k"] = Gate()
        self.addCleanup(gate.open)
        pending = self.cache.put_optimistic("k", b"new")
        await self.entered(gate)
        self.assertEqual(await self.cache.aio.get("k"), b"new")
        self.assertEqual(await self.cache.aio.get("k", confirmed=True), b"old")
        ends = asyncio.ensure_future(self.cache.aio.result(pending))
        await asyncio.sleep(0)
        self.assertFalse(ends.done())
        gate.open()
        self.assertEqual(await ends, b"new")
        merge = self.cache.merge_optimistic("k", raising(ZeroDivisionError("x")))
        with self.assertRaises(wtcache.Error) as raised:
            await self.cache.aio.result(merge)
        self.assertIsInstance(raised.exception.__cause__, ZeroDivisionError)

    async def test_a_task_that_is_cancelled_takes_back_what_has_not_begun(self):
        gate = self.shelf.does["k"] = Gate()
        first = asyncio.ensure_future(self.cache.aio.put("k", b"1"))
        await self.entered(gate)
        second = asyncio.ensure_future(self.cache.aio.put("k", b"2"))
        await asyncio.sleep(0)
        second.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await second
        gate.open()
        self.assertEqual(await first, b"1")
        self.assertEqual(await self.cache.aio.get("k"), b"1")
        self.assertEqual(self.shelf.calls, [("put", "k")])

    async def test_t2_a_transaction_runs_at_the_end_of_its_block(self):
        async with self.cache.aio.transaction() as tx:
            tx.put("k", b"1", ttl=60)
            tx.step(lambda ctx: "receipt")
            self.assertEqual(self.shelf.calls, [])
        self.assertIs(tx.result.outcome, wtcache.Outcome.COMMITTED)
        self.assertEqual([step.value for step in tx.result.steps], [b"1", "receipt"])
        with self.assertRaises(wtcache.RejectedError):
            async with self.cache.aio.transaction() as tx:
                tx.put("k", b"2", undo=b"1")
                tx.step(raising(wtcache.RejectedError("no")))
        self.assertIs(tx.result.outcome, wtcache.Outcome.ROLLED_BACK)
        with self.assertRaises(ZeroDivisionError):
            async with self.cache.aio.transaction() as tx:
                tx.put("k", b"3")
                1 / 0
        self.assertIsNone(tx.result)
        self.assertEqual(await self.cache.aio.get("k"), b"1")


class Loops(unittest.TestCase):
    def test_each_loop_has_its_own_queue_which_goes_with_it(self):
        shelf = Shelf()
        with wtcache.Cache(shelf, timeout=600) as cache:
            loops = []
            for _ in range(3):

                async def read():
                    loops.append(weakref.ref(asyncio.get_running_loop()))
                    return await cache.aio.put("k", b"1")

                self.assertEqual(asyncio.run(read()), b"1")
            gc.collect()
            self.assertEqual([loop() for loop in loops], [None] * 3)

    def test_a_loop_that_was_closed_over_a_call_goes_once_another_one_comes(self):
        shelf = Shelf()
        gate = shelf.does["k"] = Gate()
        with wtcache.Cache(shelf, timeout=600) as cache:

            async def read():
                return await cache.aio.get("other")

            loop = asyncio.new_event_loop()
            left = loop.create_task(cache.aio.get("k"))
            loop.run_until_complete(asyncio.sleep(0))
            gate.wait()
            gone = weakref.ref(loop)
            left.cancel()
            loop.run_until_complete(asyncio.wait([left]))
            loop.close()
            del loop, left
            asyncio.run(read())
            gc.collect()
            self.assertIsNone(gone())
            gate.open()

    def test_a_cache_that_was_used_in_a_loop_goes_with_its_last_reference(self):
        async def use():
            cache = wtcache.Cache(Shelf())
            await cache.aio.put("k", b"1")
            return weakref.ref(cache)

        gone = asyncio.run(use())
        gc.collect()
        self.assertIsNone(gone())


if __name__ == "__main__":
    unittest.main()
