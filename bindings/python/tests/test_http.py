"""The cache over HTTP: against the sample origin, whose address is in WTCACHE_TEST_ORIGIN."""

import asyncio
import contextlib
import gzip
import http.server
import json
import os
import queue
import tempfile
import threading
import unittest
import urllib.request

import wtcache

ORIGIN = os.environ.get("WTCACHE_TEST_ORIGIN")
KEY = {"Authorization": "Bearer sample-key"}


def calls():
    request = urllib.request.Request(f"{ORIGIN}/_calls", headers=KEY)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["calls"]


@unittest.skipUnless(ORIGIN, "WTCACHE_TEST_ORIGIN names no origin")
class OverHttp(unittest.TestCase):
    def setUp(self):
        self.cache = wtcache.Cache.http(f"{ORIGIN}/items/{{id}}", headers=KEY, ttl=60, timeout=4)
        self.addCleanup(self.cache.close)

    def test_a_write_goes_through_and_is_read_from_here(self):
        confirmed = self.cache.put("py-1", json.dumps({"sku": "WB-100", "quantity": 5}).encode())
        self.assertEqual(json.loads(confirmed)["id"], "py-1")
        before = calls()
        self.assertEqual(self.cache["py-1"], confirmed)
        self.assertEqual(calls(), before)
        self.cache.delete("py-1")
        self.assertIsNone(self.cache.get("py-1"))

    def test_a_refusal_has_the_status_as_its_code(self):
        with self.assertRaises(wtcache.RejectedError) as raised:
            self.cache.put("py-2", json.dumps({"sku": "WB-100", "quantity": 2_000_000}).encode())
        self.assertEqual(raised.exception.code, 422)
        self.assertFalse(raised.exception.retryable)

    def test_an_unreachable_origin(self):
        with wtcache.Cache.http("http://127.0.0.1:1/{id}", timeout=2) as cache:
            with self.assertRaises(wtcache.SourceError) as raised:
                cache["k"]
            self.assertTrue(raised.exception.retryable)
            with self.assertRaises(wtcache.RejectedError):
                cache.put("k", b"{}")

    def test_what_is_wrong_is_named(self):
        with self.assertRaisesRegex(wtcache.ConfigError, "http.url"):
            wtcache.Cache.http("inventory")
        with self.assertRaisesRegex(wtcache.ConfigError, "http.colour: is no member"):
            wtcache.Cache.http(f"{ORIGIN}/items/{{id}}", colour="red")


class Wrapping(http.server.BaseHTTPRequestHandler):
    """An origin with one record, an array with it under `data`, which it was never seen to change."""

    MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Last-Modified", self.MODIFIED)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        since = self.headers["If-Modified-Since"]
        self.server.seen.append(("GET", self.path, since))
        if since == self.MODIFIED:
            self.answer(304, b"")
        elif self.path == "/items?all":
            self.answer(200, b'{"data": [{"id": "nut"}, {"id": "bolt"}]}')
        elif self.path == "/items?some":
            self.answer(200, b'{"data": [{"id": "washer"}, {}]}')
        elif self.path == "/items?id=eq.screw":
            self.answer(200, b'{"data": [{"n":  1}]}')
        else:
            self.answer(200, b'{"data": []}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(("POST", self.path, body))
        if b"refused" in body:
            self.answer(422, b"")
        elif b"lost" in body:
            self.answer(500, b"")
        else:
            self.answer(201, b"" if b"unnamed" in body else b'{"data": [{"id": "bolt"}]}')

    def do_PATCH(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.headers["Content-Type"], self.path, body))
        if b"refused" in body:
            self.answer(422, b"")
        elif b"lost" in body:
            self.answer(500, b"")
        else:
            self.answer(200, b'{"data": [{"n":  4}]}')

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(("PUT", self.path, body))
        self.answer(200, b'{"data": [{"n":  2}]}')

    def log_message(self, *_):
        pass


class OfAnotherShape(unittest.TestCase):
    def setUp(self):
        self.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Wrapping)
        self.origin.seen = []
        runs = threading.Thread(target=self.origin.serve_forever)
        runs.start()
        self.addCleanup(runs.join)
        self.addCleanup(self.origin.server_close)
        self.addCleanup(self.origin.shutdown)

    def open(self, ttl, **members):
        url = f"http://127.0.0.1:{self.origin.server_port}/items?id=eq.{{id}}"
        members = {"record_at": "/data", "record_in_array": True, "put_at": "/data", **members}
        cache = wtcache.Cache.http(url, ttl=ttl, timeout=4, options={"clean_start": True}, **members)
        self.addCleanup(cache.close)
        return cache

    def test_the_record_is_taken_from_where_it_is_and_put_where_it_belongs(self):
        cache = self.open(60)
        self.assertEqual(cache["screw"], b'{"n":  1}')
        self.assertIsNone(cache.get("nail"))
        self.assertEqual(cache.put("screw", b'{"n": 3}'), b'{"n":  2}')
        self.assertEqual(self.origin.seen[-1], ("PUT", "/items?id=eq.screw", b'{"data":{"n": 3}}'))
        self.assertEqual(cache["screw"], b'{"n":  2}')
        self.assertEqual(len(self.origin.seen), 3)

    def test_p9_a_record_is_kept_under_the_key_that_the_origin_gave_it(self):
        cache = self.open(60, create={"url": f"http://127.0.0.1:{self.origin.server_port}/items"})
        made = cache.create(b'{"n": 1}')
        self.assertEqual(made, wtcache.Created("bolt", b'{"id": "bolt"}', kept=True))
        self.assertEqual(self.origin.seen, [("POST", "/items", b'{"data":{"n": 1}}')])
        self.assertEqual(cache["bolt"], made.value)
        self.assertEqual(cache.create(b'"unnamed"'), wtcache.Created(None, None, kept=False))
        with self.assertRaises(wtcache.RejectedError) as refused:
            cache.create(b'"refused"')
        self.assertEqual(refused.exception.code, 422)
        with self.assertRaises(wtcache.InDoubtError) as lost:
            cache.create(b'"lost"', timeout=60)
        self.assertEqual((lost.exception.code, lost.exception.doubt), (500, None))
        self.assertEqual(len(self.origin.seen), 4)

    def test_a_patch_is_merged_by_the_origin_and_what_it_answers_is_kept(self):
        cache = self.open(60)
        self.assertEqual(cache.patch("screw", {"n": 4, "old": None}), b'{"n":  4}')
        sent = ("application/merge-patch+json", "/items?id=eq.screw", b'{"data":{"n": 4, "old": null}}')
        self.assertEqual(self.origin.seen, [sent])
        self.assertEqual(cache["screw"], b'{"n":  4}')
        self.assertEqual(cache.patch("screw", b'{"n":  4}', ttl=0), b'{"n":  4}')
        self.assertEqual(self.origin.seen[1][2], b'{"data":{"n":  4}}')
        self.assertEqual(cache["screw"], b'{"n":  1}')
        with self.assertRaises(wtcache.RejectedError) as refused:
            cache.patch("screw", {"refused": 1})
        self.assertEqual(refused.exception.code, 422)
        with self.assertRaises(wtcache.InDoubtError) as lost:
            cache.patch("screw", {"lost": 1}, timeout=60)
        self.assertEqual((lost.exception.code, lost.exception.doubt.key), (500, "screw"))
        seen = len(self.origin.seen)
        with self.assertRaisesRegex(wtcache.ArgumentError, "patch is no JSON"):
            cache.patch("nail", b"{")
        self.assertEqual(len(self.origin.seen), seen)
        with wtcache.Cache(wtcache.Source()) as own, self.assertRaisesRegex(wtcache.ArgumentError, "no HTTP origin"):
            own.patch("screw", {"n": 4})

    def test_what_the_origin_lists_is_kept(self):
        cache = self.open(60, list={"url": f"http://127.0.0.1:{self.origin.server_port}/items", "records_at": "/data"})
        listed = cache.list("all")
        self.assertEqual(list(listed.items()), [("nut", b'{"id": "nut"}'), ("bolt", b'{"id": "bolt"}')])
        self.assertTrue(listed.is_complete)
        self.assertEqual(cache["bolt"], b'{"id": "bolt"}')
        self.assertEqual(len(self.origin.seen), 1)
        some = cache.list("some", timeout=60)
        self.assertEqual((some, some.wrong, some.has_next_page), ({"washer": b'{"id": "washer"}'}, 1, False))
        self.assertFalse(some.is_complete)
        with self.assertRaisesRegex(wtcache.ArgumentError, "query: "):
            cache.list("a b")
        with wtcache.Cache(wtcache.Source()) as own, self.assertRaisesRegex(wtcache.ArgumentError, "no HTTP origin"):
            own.list()

    def test_creates_patches_and_lists_are_awaited(self):
        url = f"http://127.0.0.1:{self.origin.server_port}/items"
        cache = self.open(60, create={"url": url}, list={"url": url, "records_at": "/data"})

        async def run():
            made = await cache.aio.create(b'{"n": 1}')
            self.assertEqual(made, wtcache.Created("bolt", b'{"id": "bolt"}', kept=True))
            with self.assertRaises(wtcache.InDoubtError) as lost:
                await cache.aio.create(b'"lost"', timeout=60)
            self.assertEqual((lost.exception.code, lost.exception.doubt), (500, None))
            merged = await asyncio.gather(*[cache.aio.patch("screw", {"n": n}, timeout=60) for n in range(3)])
            self.assertEqual(merged, [b'{"n":  4}'] * 3)
            with self.assertRaisesRegex(wtcache.ArgumentError, "patch is no JSON"):
                await cache.aio.patch("nail", b"{")
            some = await cache.aio.list("some", timeout=60)
            self.assertEqual((some, some.wrong, some.has_next_page), ({"washer": b'{"id": "washer"}'}, 1, False))
            with self.assertRaisesRegex(wtcache.ArgumentError, "query: "):
                await cache.aio.list("a b")

        asyncio.run(run())
        sent = [body for _, path, body in self.origin.seen if path == "/items?id=eq.screw"]
        self.assertEqual(sent, [b'{"data":{"n": %d}}' % n for n in range(3)])
        seen = len(self.origin.seen)
        self.assertEqual([cache[key] for key in ["bolt", "screw", "washer"]], [b'{"id": "bolt"}', b'{"n":  4}', b'{"id": "washer"}'])
        self.assertEqual(len(self.origin.seen), seen)

    def test_what_was_long_unchanged_is_fresh_for_a_share_of_that(self):
        for share, asked in [(0.5, 1), (0, 2)]:
            self.origin.seen.clear()
            cache = self.open(0, freshness="origin", heuristic_share=share)
            self.assertEqual([cache["screw"] for _ in range(2)], [b'{"n":  1}'] * 2)
            self.assertEqual(len(self.origin.seen), asked, share)
        self.origin.seen.clear()
        cache = self.open(0, freshness="origin", heuristic_share=0.5, heuristic_longest_ms=0)
        self.assertEqual([cache["screw"] for _ in range(2)], [b'{"n":  1}'] * 2)
        self.assertEqual(len(self.origin.seen), 2)

    def test_a_record_without_an_etag_is_revalidated_by_its_date(self):
        for taken, since in [(True, Wrapping.MODIFIED), (False, None)]:
            cache = self.open(0, last_modified=taken)
            self.assertEqual([cache["screw"] for _ in range(2)], [b'{"n":  1}'] * 2)
            self.assertEqual(self.origin.seen[-1], ("GET", "/items?id=eq.screw", since))


class Refusing(http.server.BaseHTTPRequestHandler):
    """Another wrote its records, which it tells of most. Counts the connections that it has."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"" if self.path == "/items/bare" else b'{"n": 2}'
        self.send_response(412)
        if body:
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", '"r2"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class WrittenByOthers(unittest.TestCase):
    def setUp(self):
        self.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        self.origin.connections = 0
        runs = threading.Thread(target=self.origin.serve_forever)
        runs.start()
        self.addCleanup(runs.join)
        self.addCleanup(self.origin.server_close)
        self.addCleanup(self.origin.shutdown)

    def open(self, **members):
        cache = wtcache.Cache.http(f"http://127.0.0.1:{self.origin.server_port}/items/{{id}}", timeout=60, **members)
        self.addCleanup(cache.close)
        return cache

    def test_p2_a_conflict_has_the_record_that_the_origin_answers_with(self):
        cache = self.open()
        with self.assertRaises(wtcache.ConflictError) as raised:
            cache.put("screw", b'{"n": 1}')
        answer = wtcache.OriginAnswer(b'{"n": 2}', "application/json", b'"r2"', truncated=False)
        self.assertEqual((raised.exception.code, raised.exception.answer), (412, answer))
        with self.assertRaises(wtcache.ConflictError) as raised:
            cache.put("bare", b'{"n": 1}')
        self.assertEqual(raised.exception.answer, wtcache.OriginAnswer(b"", None, None, truncated=False))
        with wtcache.Cache.http("http://127.0.0.1:1/{id}", timeout=60) as nowhere, self.assertRaises(wtcache.RejectedError) as raised:
            nowhere.put("screw", b"1")
        self.assertIsNone(raised.exception.answer)

    def test_what_the_origin_was_asked_is_counted(self):
        cache = self.open(retries={"loads": 1, "base_ms": 0}, breaker={"calls": 2, "open_for_ms": 3_600_000})
        with self.assertRaises(wtcache.ConflictError):
            cache.put("screw", b"1")
        told = cache.origin()
        self.assertEqual((told["attempts"], told["outcomes"]["4xx"], told["connections_made"]), (1, 1, 1))
        self.assertEqual(told["breaker"], {"state": "closed", "openings": 0, "probes": 0, "refused": 0})
        self.assertEqual(told["attempt_seconds"]["count"], 1)
        # It knows no GET: 501.
        with self.assertRaises(wtcache.SourceError):
            cache["screw"]
        with self.assertRaises(wtcache.RejectedError):
            cache.put("screw", b"1")
        told = cache.origin()
        self.assertEqual((told["outcomes"]["5xx"], told["in_flight"], told["queued"]), (told["attempts"] - 1, 0, 0))
        self.assertEqual(told["breaker"], {"state": "open", "openings": 1, "probes": 0, "refused": 1})
        with wtcache.Cache(wtcache.Source()) as own, self.assertRaisesRegex(wtcache.ArgumentError, "no HTTP origin"):
            own.origin()

    def test_which_kept_connections_a_write_takes_is_said(self):
        for members, connections in [
            ({"max_idle_age_ms": 3_600_000, "write_max_idle_age_ms": 3_600_000}, 1),
            ({"max_idle_age_ms": 3_600_000, "write_max_idle_age_ms": 0}, 3),
            ({"max_idle_age_ms": 0, "write_max_idle_age_ms": 3_600_000}, 3),
        ]:
            self.origin.connections = 0
            cache = self.open(name_ttl_ms=0, **members)
            for _ in range(3):
                with self.assertRaises(wtcache.ConflictError):
                    cache.put("screw", b"1")
            self.assertEqual(self.origin.connections, connections, members)


class Telling(http.server.BaseHTTPRequestHandler):
    """Gives each record as it is at first, and tells of what changes: that is what the test puts into `events`."""

    def do_GET(self):
        self.send_response(200)
        if self.path == "/items/_changes":
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            while (event := self.server.events.get()) is not None:
                self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            # Until the other end leaves.
            self.server.left.put(self.rfile.read())
        elif self.path.startswith("/items/_poll"):
            self.end_headers()
            # Who asks for the first time is told where he is.
            event = self.server.events.get() if "since=" in self.path else None
            told = {"changes": [event] if event else [], "cursor": 1}
            with contextlib.suppress(ConnectionError):
                self.wfile.write(json.dumps(told).encode())
        else:
            self.send_header("ETag", '"r1"')
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"1")

    def log_message(self, *_):
        pass


class FollowingAFeed(unittest.TestCase):
    def setUp(self):
        self.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Telling)
        self.origin.events, self.origin.left = queue.Queue(), queue.Queue()
        runs = threading.Thread(target=self.origin.serve_forever)
        runs.start()
        self.addCleanup(runs.join)
        self.addCleanup(self.origin.server_close)
        self.addCleanup(self.origin.shutdown)
        self.addCleanup(self.origin.events.put, None)

    def test_i3_what_the_origin_tells_is_held_until_the_cache_is_closed(self):
        told = queue.Queue()
        cache = wtcache.Cache.http(
            f"http://127.0.0.1:{self.origin.server_port}/items/{{id}}",
            versions="number",
            subscribe={"url": "/items/_changes"},
            listener=told.put,
            options={"clean_start": True},
        )
        self.addCleanup(cache.close)
        # With the first that is told, all that was before is forgotten.
        self.origin.events.put({"op": "delete", "key": "first"})
        self.assertEqual(told.get(timeout=60).kind, wtcache.EventKind.INVALIDATED)
        self.assertEqual(cache["screw"], b"1")
        self.assertEqual(told.get(timeout=60).kind, wtcache.EventKind.RETAINED)
        self.origin.events.put({"op": "put", "key": "screw", "record": 2, "version": '"r2"'})
        pushed = told.get(timeout=60)
        self.assertEqual((pushed.kind, pushed.key, pushed.absent), (wtcache.EventKind.PUSHED, "screw", False))
        self.assertEqual(cache.peek("screw"), b"2")
        self.origin.events.put({"op": "delete", "key": "screw", "version": '"r3"'})
        pushed = told.get(timeout=60)
        self.assertEqual((pushed.kind, pushed.key, pushed.absent), (wtcache.EventKind.PUSHED, "screw", True))
        feed = cache.feed()
        self.assertEqual((feed["state"], feed["connections"], feed["gaps"], feed["last_error"]), ("live", 1, 1, None))
        self.origin.events.put(None)
        cache.close()
        self.assertEqual(self.origin.left.get(timeout=60), b"")
        self.assertEqual((cache.feed()["state"], cache.feed()["connections"]), ("stopped", 1))
        with wtcache.Cache(wtcache.Source()) as own:
            self.assertIsNone(own.feed())

    def test_i3_what_the_origin_tells_is_asked_for_again_and_again(self):
        told = queue.Queue()
        cache = wtcache.Cache.http(
            f"http://127.0.0.1:{self.origin.server_port}/items/{{id}}",
            subscribe={"url": "/items/_poll", "kind": "poll", "cursor": "since", "poll_every_ms": 10},
            listener=told.put,
        )
        self.addCleanup(cache.close)
        for key in ("screw", "nail"):
            self.origin.events.put({"op": "invalidate", "key": key})
            event = told.get(timeout=60)
            self.assertEqual((event.kind, event.key), (wtcache.EventKind.INVALIDATED, key))

    def test_what_is_wrong_is_named(self):
        with self.assertRaisesRegex(wtcache.ConfigError, "http.subscribe.url"):
            wtcache.Cache.http("http://127.0.0.1:1/{id}", subscribe={"url": "http://elsewhere/c"})


class Guarded(http.server.BaseHTTPRequestHandler):
    """Gives its one record compressed, to who has the token."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        seen = (self.headers["Authorization"], self.headers["X-Key"], self.headers["Accept-Encoding"])
        self.server.seen.append(seen)
        known = seen[0] == "Bearer new"
        body = gzip.compress(b'{"n": 1}') if known else b""
        self.send_response(200 if known else 401)
        if known:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class OnTheWay(unittest.TestCase):
    def setUp(self):
        self.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
        self.origin.seen = []
        runs = threading.Thread(target=self.origin.serve_forever)
        runs.start()
        self.addCleanup(runs.join)
        self.addCleanup(self.origin.server_close)
        self.addCleanup(self.origin.shutdown)

    def test_a_token_in_a_file_is_read_again_and_what_is_compressed_decoded(self):
        with tempfile.TemporaryDirectory() as folder:
            token = os.path.join(folder, "token")
            with open(token, "w", encoding="ascii") as file:
                file.write("old\n")
            # An origin on this machine is not reached through the environment's proxy.
            os.environ["http_proxy"] = "http://127.0.0.1:1"
            self.addCleanup(os.environ.pop, "http_proxy")
            cache = wtcache.Cache.http(
                f"http://127.0.0.1:{self.origin.server_port}/items/{{id}}",
                headers={"X-Key": {"environment": "http_proxy"}},
                auth={"bearer": {"file": token}},
                proxy="environment",
                compression=True,
            )
            self.addCleanup(cache.close)
            with self.assertRaises(wtcache.Error):
                cache["screw"]
            with open(token, "w", encoding="ascii") as file:
                file.write("new\n")
            self.assertEqual(cache["screw"], b'{"n": 1}')
        rest = ("http://127.0.0.1:1", "gzip, br")
        self.assertEqual(self.origin.seen, [(f"Bearer {t}", *rest) for t in ("old", "old", "new")])


if __name__ == "__main__":
    unittest.main()
