"""What a type checker makes of a program that uses the package: read by mypy in ffi/tests/python.rs, and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wtcache

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Inventory(wtcache.Source[str]):
    def get(self, key: str) -> wtcache.Record | None:
        return wtcache.Record(b"1", ttl=60, tags=("inventory", key))

    def get_if_changed(self, key: str, version: bytes) -> wtcache.Record | wtcache.Unchanged | wtcache.Absent:
        return wtcache.Unchanged(age=1.5) if version else wtcache.Absent(ttl=60)

    def put(self, key: str, value: bytes, ctx: wtcache.WriteContext) -> bytes:
        return ctx.existing() or value


class Prices(wtcache.Source[bytes]):
    def get(self, key: bytes) -> bytes | None:
        return key


class Cents:
    def encode(self, value: int) -> bytes:
        return b"%d" % value

    def decode(self, data: bytes) -> int:
        return int(data)


def reads_and_writes() -> None:
    with wtcache.Cache(Inventory(), ttl=300.0, capacity_bytes=64 << 20) as cache:
        assert_type(cache, wtcache.Cache[str, bytes])
        assert_type(cache["k"], bytes)
        assert_type(cache.get("k"), "bytes | None")
        assert_type(cache.get("k", 7), "bytes | int")
        assert_type(cache.get("k", max_age=0, keep=False), "bytes | None")
        assert_type(cache.get("k", 7, timeout=1, min_fresh=1.5), "bytes | int")
        assert_type(cache.entry("k", max_stale=60), "wtcache.Entry[bytes] | None")
        assert_type(cache.get_many(["k"], stale_if_error=60), dict[str, bytes])
        assert_type(cache.put("k", b"1"), "bytes | None")
        assert_type(cache.find("owner", "ann"), dict[str, bytes])
        assert_type(cache.invalidate("k"), None)
        assert_type(cache.invalidate(prefix="k"), wtcache.Forgotten)
        assert_type(cache.put_optimistic("k", b"1").result(timeout=5), "bytes | None")
        with cache.prepare("k") as permit:
            assert_type(permit.existing(), "wtcache.Entry[bytes] | None")
            sent = permit.send()
            assert_type(sent.commit(b"1"), "bytes | None")
            assert_type(sent.in_doubt(), wtcache.Doubt[str, bytes])
        with cache.transaction() as tx:
            tx.put("k", b"1", ttl=600, undo=wtcache.DELETE)
            tx.step(lambda ctx: ctx.wrote("k", b"1"), undo=wtcache.NOTHING, writes=["k"])
        assert_type(tx.result, "wtcache.Transacted | None")
    prices = wtcache.Cache(Prices(), key_type=bytes, codec=Cents())
    assert_type(prices, wtcache.Cache[bytes, int])
    assert_type(prices[b"k"], int)
    assert_type(prices.put_if(b"k", 7, version=b"v1"), "int | None")
    assert_type(prices.create(7), wtcache.Created[bytes, int])
    assert_type(prices.list("cents=7"), wtcache.Listed[bytes, int])
    assert_type(prices.patch(b"k", {"cents": 7}), "int | None")
    assert_type(wtcache.Cache(Inventory(), codec=wtcache.json_codec)["k"], Any)
    assert_type(wtcache.Cache.http("http://127.0.0.1:1/{id}", headers={}, ttl=300.0)["k"], Any)


async def awaits(cache: wtcache.Cache[str, bytes]) -> None:
    assert_type(await cache.aio.get("k", max_age=0), "bytes | None")
    async with cache.aio.transaction() as tx:
        tx.delete("k")


def is_wrong(cache: wtcache.Cache[str, bytes]) -> None:
    cache.put("k", "text")
