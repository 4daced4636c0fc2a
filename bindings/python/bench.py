"""A hit, beside other caches for Python: time of each over that of wtcache, in the same round.

    cargo xtask python-rivals [--quick]         # installs what it compares with, into an environment of its own

One thread, str keys, values of 256 bytes, all resident, read in a shuffled order. In a round each is read once, one after the other; what is
printed is the median of each, and the medians of its ratios to `get` and `[]` of wtcache with a lifetime, round by round. Time is what the
thread had of a processor, so that others on the machine count for little. The rivals hand out the object that was put in; wtcache makes
bytes of its record, and counts the hit. Rivals that are not installed are named, and left out.
"""

import functools
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
#: What the others are compared with.
OURS = ("wtcache get", "wtcache []")


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


def by_call(cached, keys):
    for key in keys:
        cached(key)


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
    yield OURS[0], by_get, mortal, 1
    yield OURS[1], by_index, mortal, 1
    yield "wtcache get, no lifetime", by_get, eternal, 1
    yield "wtcache [], no lifetime", by_index, eternal, 1
    yield "wtcache get, by ctypes", by_ctypes, mortal, 1


def builtin():
    """What is no cache, or has no end and no bound: how fast a look-up in Python can be."""
    plain = dict.fromkeys(KEYS, VALUE)
    remembers = functools.lru_cache(len(KEYS) * 2)(lambda key: VALUE)
    by_call(remembers, KEYS)
    yield "dict get", by_get, plain, 1
    yield "dict []", by_index, plain, 1
    yield "functools lru_cache", by_call, remembers, 1


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
    for rivals in (ours, moka, cachetools_, diskcache_, builtin):
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
            begun = time.thread_time_ns()
            read(cache, asked)
            took = (time.thread_time_ns() - begun) / len(asked)
            if turn:  # the first warms up
                times[name].append(took)
    print(f"CPython {sys.version.split()[0]}, {rounds} rounds: median, least and most; over {' and '.join(OURS)} in the same round")
    for name, taken in times.items():
        ratios = (statistics.median(other / own for other, own in zip(taken, times[our])) for our in OURS)
        median, low, high = statistics.median(taken), min(taken), max(taken)
        print(f"{name:30} {median:7.0f} ns ({low:.0f} to {high:.0f})".ljust(62), *(f"{ratio:7.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
