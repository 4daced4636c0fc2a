"""The end of the interpreter, while threads of the library's are in it."""

import os
import subprocess
import sys
import unittest

SOURCE = """
import atexit
# Registered first, it runs last: after what waits.
atexit.register(print, "over", flush=True)
import asyncio, threading, wtcache
from wtcache import _ending
# However busy the machine is, what is to be waited for is; and nothing besides.
_ending._PATIENCE, _ending._PATIENCE_FOR_RELEASES = 60, 0
entered, ending = threading.Event(), threading.Event()
atexit.register(ending.set)
class Slow(wtcache.Source):
    # Ends after the program has.
    def _lasts(self, what):
        entered.set()
        ending.wait()
        # What does not wait for this comes before it.
        for _ in range(50):
            threading.Event().wait(0.001)
        print(what, flush=True)
    def get(self, key):
        self._lasts("read")
        return b"1"
    def put(self, key, value, ctx):
        self._lasts("written")
        return value
cache = wtcache.Cache(Slow(), timeout=600)
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
        self.assertEqual(self.ends(program), b"written\nwritten\nover\n", "what is pending, too")

    def test_it_waits_for_a_read_that_nobody_waits_for_however_long_it_takes(self):
        program = """
_ending._PATIENCE = 0
async def leave():
    task = asyncio.ensure_future(cache.aio.get("k"))
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
asyncio.run(leave())
"""
        self.assertEqual(self.ends(program), b"read\nover\n")

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
_ending._PATIENCE = 1e9
"""
        self.assertEqual(self.ends(program), b"over\n")

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_the_child_of_a_fork_does_not_wait_for_the_parents_callbacks(self):
        program = """
import os, sys
cache.put_optimistic('k', b'1')
assert entered.wait(30)
child = os.fork()
if child == 0:
    _ending._PATIENCE = _ending._PATIENCE_FOR_RELEASES = 1e9
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
"""
        self.assertEqual(self.ends(program), b"over\nwritten\nover\n")


if __name__ == "__main__":
    unittest.main()
