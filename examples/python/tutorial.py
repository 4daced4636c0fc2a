"""The tutorial in Python: an inventory behind HTTP, through the cache.

    cargo run --release -- demo &               # the sample origin, at 127.0.0.1:9925
    pip install ./bindings/python
    python3 examples/python/tutorial.py http://127.0.0.1:9925
"""

import json
import sys

import wtcache

ORIGIN = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:9925"


def main() -> None:
    headers = {"Authorization": "Bearer sample-key"}
    with wtcache.Cache.http(ORIGIN + "/items/{id}", headers=headers, ttl=300) as cache:
        # A write goes to the origin first; what it confirmed, with its id and revision, is kept.
        item = {"sku": "WB-100", "name": "Widget", "quantity": 5}
        print("put:", cache.put("item-001", json.dumps(item).encode()).decode())

        # It can be read at once: the origin is not asked.
        print("get:", cache["item-001"].decode())

        # What the origin refuses was not applied, and changes nothing here.
        try:
            cache.put("item-001", json.dumps({**item, "quantity": 2_000_000}).encode())
        except wtcache.RejectedError as error:
            print(f"refused, {error}")
        except wtcache.InDoubtError as error:
            print(f"nobody knows: {error}; ask again in {error.retry_after} s")

        cache.delete("item-001")
        print("deleted, then:", cache.get("item-001", "no such item"))
        print("hits {hits}, loads {loads}, writes {writes_applied}, refused {writes_rejected}".format(**cache.stats()))


if __name__ == "__main__":
    main()
