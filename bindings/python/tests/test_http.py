"""The cache over HTTP: against the sample origin, whose address is in WTCACHE_TEST_ORIGIN."""

import json
import os
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


if __name__ == "__main__":
    unittest.main()
