"""The end of the interpreter, while threads of the library's are in it."""

import os
import subprocess
import sys
import unittest

SOURCE = """
import asyncio, threading, wtcache
entered = threading.Event()
class Slow(wtcache.Source):
    # Ends after the program has: the main thread counts as ended once the interpreter begins to end.
    def _lasts(self, what):
        entered.set()
        threading.main_thread().join()
        # Longer than what is waited for besides callbacks.
        for _ in range(300):
            threading.Event().wait(0.001)
        print(what, flush=True)
    def get(self, key):
        self._lasts("read")
        return b"1"
    def put(self, key, value, ctx):
        self._lasts("written")
        return value
cache = wtcache.Cache(Slow())
"""


class Ending(unittest.TestCase):
    def ends(self, program):
        ended = subprocess.run([sys.executable, "-W", "ignore", "-c", SOURCE + program], timeout=60, capture_output=True)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        return ended.stdout

    def test_b4_writes_run_to_their_end(self):
        program = """
cache.put_optimistic('k', b'1')
assert entered.wait(30)
cache.put_optimistic('k', b'2')
"""
        self.assertEqual(self.ends(program), b"written\nwritten\n", "what is pending, too")

    def test_it_waits_for_a_read_that_nobody_waits_for(self):
        program = """
async def leave():
    task = asyncio.ensure_future(cache.aio.get("k"))
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
asyncio.run(leave())
"""
        self.assertEqual(self.ends(program), b"read\n")

    def test_what_the_program_keeps_does_not_hold_it_up(self):
        program = """
class Fails(wtcache.Source):
    def get(self, key): raise ValueError(key)
    def put(self, key, value, ctx): raise wtcache.RejectedError("no")
other = wtcache.Cache(Fails(), listener=lambda event: None)
kept = [other.merge_optimistic("k", lambda there: b"1") for _ in range(3)]
with other.transaction(optimistic=True) as tx:
    tx.step(lambda ctx: None)
tx.wait()
from wtcache import _ending
_ending._PATIENCE = 1e9
"""
        self.assertEqual(self.ends(program), b"")

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_the_child_of_a_fork_does_not_wait_for_the_parents_callbacks(self):
        program = """
import os, sys
cache.put_optimistic('k', b'1'); assert entered.wait(30)
from wtcache import _ending
child = os.fork()
if child == 0:
    _ending._PATIENCE = _ending._PATIENCE_FOR_RELEASES = 1e9
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
"""
        self.assertEqual(self.ends(program), b"written\n")


if __name__ == "__main__":
    unittest.main()
