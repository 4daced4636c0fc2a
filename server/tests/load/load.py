"""`wtcache serve` under load, and what becomes of it when something is killed: ten thousand connections; the origin killed and started again; the front
killed and started again.

Usage: load.py WTCACHE [--rounds N] [--clean-start]

Real processes over real sockets on 127.0.0.1, ended at the end. A line for each thing that holds; the first that does not ends it with status 1. With
`--clean-start` the front is told, falsely, that no write of its killed predecessor can be under way: then the last part has to fail.
"""

import argparse
import http.client
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 20
KEYS = [f"item-{n}" for n in range(12)]
# Writes may still take effect so long after they were sent; the origin delays some by less than that.
WINDOW, DELAY_MS, SLACK = 3.0, 1500, 1.0
CONNECTIONS = 10_000

SCHEMA = "type Item @table(expiration: 3600) @export { id: ID @primaryKey quantity: Int }\n"


def holds(words, so):
    if not so:
        raise SystemExit(f"load: not so: {words}")
    print(f"load: {words}", flush=True)


def free_port():
    """None that a connection may take for its own while what listens there is away."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def ask(port, method, path, body=None, timeout=PATIENCE):
    """The status and the body, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Client:
    """A connection that is kept, and made anew where it broke."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def ask(self, method, path, body=None):
        try:
            self.connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            raise ConnectionError(error) from None


def until(script, words, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        told = script()
        if told:
            return told
        time.sleep(0.02)
    raise SystemExit(f"load: not so within {patience} s: {words}")


class Process:
    def __init__(self, command, port, path):
        self.command, self.port, self.path = command, port, path
        self.start()

    def start(self):
        files = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=files)
        until(self.answers, f"{self.command} answers")

    def answers(self):
        if self.process.poll() is not None:
            raise SystemExit(f"load: {self.command} ended with {self.process.returncode}")
        try:
            return ask(self.port, "GET", self.path)[0] in (200, 404)
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)

    def mebibytes(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup") as rollup:
            return int(re.search(r"^Pss:\s+(\d+)", rollup.read(), re.M)[1]) / 1024


def start(wtcache, folder, clean_start):
    origin_port, port = free_port(), free_port()
    origin = Process([wtcache, "origin", "--port", str(origin_port), "--db", os.path.join(folder, "origin.db")], origin_port, "/items/none")
    for name, text in (("schema.graphql", SCHEMA), ("config.yaml", f"""
listen: 127.0.0.1:{port}
admin: none
limits: {{ connections: {CONNECTIONS}, keep_alive: 5m }}
tables:
  Item:
    clean_start: {str(clean_start).lower()}
    origin:
      url: http://127.0.0.1:{origin_port}/items/{{id}}
      settle_window: {WINDOW:.0f}s
      timeout: 2s
      breaker: {{ open_for: 200ms }}
""")):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    return origin, Process([wtcache, "serve", "--config", folder], port, "/-/readyz")


def quantity(told):
    return json.loads(told).get("quantity", 0)


class Load:
    """Writers, each with keys of its own, whose values only grow; and readers. What they are answered is counted."""

    def __init__(self, port, first):
        self.port, self.stop, self.lock = port, threading.Event(), threading.Lock()
        self.acknowledged, self.counts, self.faults = dict(first), {}, []
        self.threads = [threading.Thread(target=self.writes, args=(KEYS[n::4],), daemon=True) for n in range(4)]
        self.threads += [threading.Thread(target=self.reads, daemon=True) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def writes(self, keys):
        client = Client(self.port)
        dice, value = random.Random(keys[0]), {key: self.acknowledged.get(key, 0) for key in keys}
        while not self.stop.is_set():
            key = dice.choice(keys)
            value[key] += 1
            try:
                status, told = client.ask("PUT", f"/Item/{key}", json.dumps({"quantity": value[key]}))
            except OSError:
                self.count("PUT, no answer")
                time.sleep(0.01)
                continue
            self.count(f"PUT {status}")
            if status == 200:
                self.acknowledged[key] = value[key]

    def reads(self):
        client = Client(self.port)
        dice = random.Random()
        while not self.stop.is_set():
            key = dice.choice(KEYS)
            before = self.acknowledged.get(key, 0)
            try:
                status, told = client.ask("GET", f"/Item/{key}")
            except OSError:
                self.count("GET, no answer")
                time.sleep(0.01)
                continue
            self.count(f"GET {status}")
            if status == 200 and quantity(told) < before:
                self.faults.append(f"{key}: {quantity(told)} after {before} was acknowledged")

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        return ", ".join(f"{what}: {n}" for what, n in sorted(self.counts.items()))


def connections(front):
    """So many at once, a request on each of some: what it takes, and what the next one is told."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 2 * CONNECTIONS:
        print(f"load: SKIPPED: {CONNECTIONS} connections: the limit of files is {hard}")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before, held = front.mebibytes(), []
    request = b"GET /Item/item-0 HTTP/1.1\r\nHost: f\r\n\r\n"
    try:
        for _ in range(CONNECTIONS):
            held.append(socket.create_connection(("127.0.0.1", front.port), PATIENCE))
        for connection in held:
            connection.sendall(request)
        answers = [connection.recv(4096) for connection in held]
        good = sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        after = front.mebibytes()
        holds(f"{good} of {CONNECTIONS} connections at once are answered; {after:.0f} MiB with them, {before:.0f} MiB before", good == CONNECTIONS)
        holds("that is less than 20 KiB a connection", (after - before) * 1024 / CONNECTIONS < 20)
        one_more = socket.create_connection(("127.0.0.1", front.port), PATIENCE)
        one_more.sendall(request)
        holds("one more is told to come again", one_more.recv(4096).startswith(b"HTTP/1.1 503 "))
    finally:
        for connection in held:
            connection.close()
    until(lambda: ask(front.port, "GET", "/Item/item-0")[0] == 200, "there is room again")


def truth(origin):
    return {key: quantity(ask(origin.port, "GET", f"/items/{key}")[1]) for key in KEYS}


def at_rest(origin, front, words):
    """Once nothing is in flight or in doubt, what is read is what the origin has."""
    time.sleep(WINDOW)
    at_origin = truth(origin)
    read = {key: quantity(ask(front.port, "GET", f"/Item/{key}")[1]) for key in KEYS}
    holds(words, read == at_origin)
    return at_origin


def origin_killed(origin, front, seconds):
    load = Load(front.port, truth(origin))
    time.sleep(seconds)
    origin.kill()
    time.sleep(seconds)
    out = dict(load.counts)
    origin.start()
    until(lambda: ask(front.port, "PUT", "/Item/other", '{"quantity":1}')[0] == 200, "writes go through again")
    time.sleep(seconds)
    told = load.end()
    print(f"load: the origin was killed and started again: {told}")
    holds("records were read while it was gone", load.counts.get("GET 200", 0) > 0 and out.get("GET 200", 0) > 0)
    holds("no read gave less than was acknowledged before it", not load.faults or print(load.faults[:5]))
    at_origin = at_rest(origin, front, "at rest every record is the origin's")
    holds("what was acknowledged is there", all(at_origin[key] >= value for key, value in load.acknowledged.items()))


def delay_some(origin, key):
    fault = {"method": "PUT", "id": key, "kind": "delay-before-apply", "delay_ms": DELAY_MS}
    status, told = ask(origin.port, "POST", "/_faults", json.dumps(fault))
    if status >= 300:
        raise SystemExit(f"load: the origin takes no fault: {status} {told}")


def front_killed(origin, front, round):
    """Writes of the old process land after the new one has begun to serve; how long what it serves is older than what the origin has."""
    load = Load(front.port, truth(origin))
    time.sleep(1)
    for key in KEYS[::3]:
        delay_some(origin, key)
    time.sleep(0.5)
    front.kill()
    told = load.end()
    front.start()
    begun, seen, worst, strays = time.monotonic(), {key: {} for key in KEYS}, 0.0, 0
    first = None
    while time.monotonic() - begun < 2 * WINDOW + SLACK:
        now, at_origin = time.monotonic(), truth(origin)
        first = first or at_origin
        for key, value in at_origin.items():
            seen[key].setdefault(value, now)
        for key in KEYS:
            read = quantity(ask(front.port, "GET", f"/Item/{key}")[1])
            newer = [since for value, since in seen[key].items() if value > read]
            if newer:
                worst = max(worst, time.monotonic() - min(newer))
        time.sleep(0.05)
    strays = sum(first[key] != value for key, value in at_origin.items())
    print(f"load: the front was killed, {round}: {told}; {strays} writes landed after its successor began; the longest that it was behind: {worst:.2f} s")
    holds(f"nothing was stale for longer than the settle window of {WINDOW:.0f} s", worst <= WINDOW + SLACK)
    at_rest(origin, front, "at rest every record is the origin's")
    return strays


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("wtcache")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clean-start", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        origin, front = start(asked.wtcache, folder, asked.clean_start)
        try:
            for key in KEYS:
                ask(front.port, "PUT", f"/Item/{key}", '{"quantity":0}')
            connections(front)
            origin_killed(origin, front, 2)
            strays = sum(front_killed(origin, front, round) for round in range(1, asked.rounds + 1))
            holds(f"{strays} writes landed late, or the last part has shown nothing", strays > 0)
        finally:
            front.end()
            origin.end()


if __name__ == "__main__":
    main()
