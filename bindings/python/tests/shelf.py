"""A source in memory for the tests, and what they need to order threads without sleeping."""

import gc
import threading

import wtcache
from wtcache import _library


class Shelf(wtcache.Source):
    """What is done about a key is what `does` says of it; versions are counted."""

    # Longer than any test: what is read within it is served no longer than to its end.
    settle_window = 600

    def __init__(self):
        self.records = {}
        self.calls = []
        self.does = {}
        self.lock = threading.Lock()
        self.number = 0

    def _do(self, what, key):
        with self.lock:
            self.calls.append((what, key))
        done = self.does.get((what, key), self.does.get(key))
        return done() if done is not None else None

    def get(self, key):
        done = self._do("get", key)
        return done if done is not None else self.records.get(key)

    def put(self, key, value, ctx):
        done = self._do("put", key)
        with self.lock:
            self.number += 1
            record = wtcache.Record(value, version=b"v%d" % self.number)
            self.records[key] = record
        return done if done is not None else record

    def delete(self, key, ctx):
        self._do("delete", key)
        self.records.pop(key, None)


class Gate:
    """A callable that waits until it is opened, and says when somebody is in it."""

    def __init__(self, then=None):
        self.then = then
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, *_):
        self.entered.set()
        assert self.opened.wait(30), "nobody opened the gate"
        return self.then() if self.then is not None else None

    def wait(self):
        assert self.entered.wait(30), "nobody came to the gate"

    def open(self):
        self.opened.set()


def raising(error):
    def raise_it(*_):
        raise error

    return raise_it


def held_of(table):
    """How many objects of a table there are, but for garbage of other tests that is not collected yet."""
    gc.collect()
    return len(table)


def all_released(table):
    """Whether the library gives back all that it has of a table; its threads may be a moment behind what they have told."""
    gc.collect()
    with _library.changed:
        return _library.changed.wait_for(lambda: not table.lent(), 30) and len(table) == 0
