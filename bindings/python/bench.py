"""A hit, beside other caches for Python: time of each over that of wtcache, in the same run.

    cargo xtask python-rivals [--quick]         # installs what it compares with, into an environment of its own

One thread, str keys, values of 256 bytes, all resident, read in a shuffled order. Runs alternate; what is printed is the median of each, and
its ratio. The rivals hand out the object that was put in; wtcache makes bytes of its record. Rivals that are not installed are
named, and left out.
"""

import gc
import random
import statistics
import sys
import tempfile
import threading
import time

import wtcache

VALUE = bytes(256)
KEYS = [f"item-{number:05}" for number in range(10_000)]


class Inventory(wtcache.Source):
    # What is read within the first one is kept to its end only; it is over before the first run.
    settle_window = 0.001

    def get(self, key):
        return VALUE


def by_get(cache, keys):
    for key in keys:
        cache.get(key)


def by_index(cache, keys):
    for key in keys:
        cache[key]


def by_locked_index(cache, keys, lock=threading.Lock()):
    for key in keys:
        with lock:
            cache[key]


def by_ctypes(cache, keys):
    for key in keys:
        cache._get(key)


def ours():
    """wtcache: without lifetimes, with them, and as it is where it is not accelerated."""
    eternal, mortal = wtcache.Cache(Inventory()), wtcache.Cache(Inventory(), ttl=300.0)
    for cache in (eternal, mortal):
        for key in KEYS:
            cache[key]
    yield "wtcache get", by_get, eternal, 1
    yield "wtcache []", by_index, eternal, 1
    yield "wtcache get, ttl", by_get, mortal, 1
    yield "wtcache [], ttl", by_index, mortal, 1
    yield "wtcache get, by ctypes", by_ctypes, eternal, 1


def moka():
    import moka_py

    cache = moka_py.Moka(len(KEYS) * 2)
    for key in KEYS:
        cache.set(key, VALUE)
    yield "moka-py get", by_get, cache, 1


def cachetools_():
    import cachetools

    lru = cachetools.LRUCache(len(KEYS) * 2)
    ttl = cachetools.TTLCache(len(KEYS) * 2, 300.0)
    for cache in (lru, ttl):
        cache.update((key, VALUE) for key in KEYS)
    yield "cachetools LRU get", by_get, lru, 1
    yield "cachetools LRU []", by_index, lru, 1
    yield "cachetools TTL [], with a lock", by_locked_index, ttl, 1


def diskcache_():
    import diskcache

    cache = diskcache.Cache(tempfile.mkdtemp(prefix="wtcache-bench-"))
    for key in KEYS[:1000]:
        cache[key] = VALUE
    yield "diskcache []", by_index, cache, 10


def main() -> None:
    if not wtcache.accelerated:
        print("wtcache is not accelerated in this interpreter")
    rounds = 5 if "--quick" in sys.argv else 21
    yields = []
    for rivals in (ours, moka, cachetools_, diskcache_):
        try:
            yields.extend(rivals())
        except ImportError as error:
            print(f"SKIPPED: {error.name} is not installed")
    keys = {1: random.Random(1).sample(KEYS, len(KEYS)), 10: random.Random(1).sample(KEYS[:1000], 1000)}
    times = {name: [] for name, *_ in yields}
    gc.disable()
    for turn in range(rounds + 1):
        for name, read, cache, share in yields:
            asked = keys[share]
            begun = time.perf_counter_ns()
            read(cache, asked)
            took = (time.perf_counter_ns() - begun) / len(asked)
            if turn:  # the first warms up
                times[name].append(took)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"CPython {sys.version.split()[0]}, {rounds} runs of each, medians")
    for name, median in medians.items():
        low, high = min(times[name]), max(times[name])
        print(f"{name:32} {median:8.0f} ns  {median / medians['wtcache get']:6.2f} x get  ({low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main()
