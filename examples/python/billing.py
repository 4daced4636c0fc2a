"""A change of plan: the database is written and the bank is asked, in one transaction, in asyncio.

The first payment goes through. The second is refused, and what was done before it is undone.

    pip install ./bindings/python
    python examples/python/billing.py
"""

import asyncio

import wtcache


class Database(wtcache.Source):
    """Plans of organisations. A real one would pass ctx.idempotency_key and ctx.deadline on."""

    def __init__(self):
        self.plans = {"org:1": b"free"}
        self.writes = 0

    def get(self, key):
        return self.plans.get(key)

    def put(self, key, value, ctx):
        self.plans[key] = value
        self.writes += 1
        return wtcache.Record(value, version=str(self.writes).encode())


class Declined(Exception):
    """The bank said no: nothing was paid."""


class Bank:
    def __init__(self, limit):
        self.left = limit

    def charge(self, price):
        """A step. ctx.idempotency_key would go with the payment, so that it is made once."""

        def step(ctx):
            if price > self.left:
                raise Declined(f"{price} is more than {self.left}")
            self.left -= price
            return price

        return step

    def refund(self, ctx):
        self.left += ctx.returned


async def upgrade(cache, bank, plan, price):
    before = await cache.aio.get("org:1")
    try:
        async with cache.aio.transaction() as tx:
            tx.put("org:1", plan, ttl=600, undo=before)
            # Any other exception would say that nobody can know whether it was paid.
            tx.step(bank.charge(price), undo=bank.refund, rejects=(Declined,))
            tx.invalidate("org:1:*")
        print("paid", tx.result.steps[1].value)
    except wtcache.RejectedError as error:
        print(f"{tx.result.outcome.name.lower()}: {error.__cause__}")
    print("the plan is", (await cache.aio.get("org:1")).decode())


async def main():
    database, bank = Database(), Bank(limit=50)
    with wtcache.Cache(database, ttl=300) as cache:
        await upgrade(cache, bank, b"team", 30)
        await upgrade(cache, bank, b"enterprise", 90)
    print(f"the database was written {database.writes} times, the bank has {bank.left} left")


asyncio.run(main())
