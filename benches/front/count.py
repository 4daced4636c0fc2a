"""What one request costs the REST front: instructions by function, allocations and calls of the system, per request.

Usage: count.py WTCACHE BARE_ORIGIN [--put] [--requests N] [--functions N] [--exclusive] [--keep FILE]

Needs valgrind and strace, and a WTCACHE that was built with CARGO_PROFILE_RELEASE_DEBUG=line-tables-only. One connection that is kept sends one request
after another: `GET` of a record that is held, or with --put a `PUT` that the origin answers at once. What is counted begins after some of them.
callgrind runs one thread at a time and plays no vDSO, so that its clock costs calls of the system that are none otherwise.
"""

import argparse
import collections
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import compare

HEAD = "Host: 127.0.0.1\r\n"
BODY = '{"sku":"WB-100","name":"Widget","quantity":5,"warehouseId":"east"}'
WARM = 200
ALLOCATE = re.compile(r"^(malloc|calloc|realloc|posix_memalign|aligned_alloc|memalign)$")


class Client:
    """One connection that is kept."""

    def __init__(self, port, put):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.put = put
        self.sent = 0

    def ask(self, requests):
        for _ in range(requests):
            self.sent += 1
            if self.put:
                head = f"PUT /Item/item-{self.sent % 1000} HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\n"
                self.socket.sendall(f"{head}Content-Length: {len(BODY)}\r\n\r\n{BODY}".encode())
            else:
                self.socket.sendall(f"GET /Item/item-001 HTTP/1.1\r\n{HEAD}\r\n".encode())
            self.answer()

    def answer(self):
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.more()
        head, body = got.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(re.search(rb"content-length: (\d+)", head, re.I)[1])
        while len(body) < length:
            body += self.more()
        self.head = head

    def more(self):
        more = self.socket.recv(65536)
        assert more, "the connection was closed"
        return more


class Wrapped(compare.Server):
    """A front behind a tool, and the id of its own process."""

    def pid(self):
        for pid in self.processes():
            with open(f"/proc/{pid}/cmdline") as line:
                if "serve" in line.read().split("\0"):
                    return pid
        raise RuntimeError("the front is gone")


def front(binary, origin, folder, tool):
    config = os.path.join(folder, "front")
    os.makedirs(config, exist_ok=True)
    compare.write(os.path.join(config, "schema.graphql"), compare.SCHEMA)
    compare.write(os.path.join(config, "config.yaml"),
                  f"tables:\n  Item:\n    clean_start: true\n    origin:\n      url: {origin}/items/{{id}}\n")
    port = compare.free_port()
    at = f"http://127.0.0.1:{port}"
    command = [*tool, binary, "serve", "--config", config, "--listen", f"127.0.0.1:{port}", "--admin", "none"]
    return port, Wrapped("front", command, f"{at}/Item/item-001", f"{at}/-/healthz", folder=folder)


def dump(server):
    subprocess.run(["callgrind_control", "-d", str(server.pid())], stdout=subprocess.DEVNULL, check=True)


def instructions(binary, origin, folder, asked):
    out = os.path.join(folder, "callgrind")
    port, server = front(binary, origin, folder, ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"])
    try:
        client = Client(port, asked.put)
        client.ask(WARM)
        dump(server)
        client.ask(asked.requests)
        dump(server)
    finally:
        server.end()
    print(client.head.decode(), end="\n\n")
    dumped = f"{out}.2"
    if asked.keep:
        shutil.copy(dumped, asked.keep)
    with open(dumped) as file:
        text = file.read()
    total = int(re.search(r"^(?:summary|totals): (\d+)", text, re.M)[1])
    print(f"instructions a request: {total / asked.requests:,.0f}")
    names, calls, called = {}, collections.Counter(), None
    for line in text.splitlines():
        if found := re.match(r"c?fn=(\(\d+\))(?: (.*))?", line):
            if found[2]:
                names[found[1]] = found[2]
            called = found[1]
        elif found := re.match(r"calls=(\d+)", line):
            calls[called] += int(found[1])
    for number, count in calls.items():
        if ALLOCATE.match(names[number]):
            print(f"{names[number]} a request: {count / asked.requests:.2f}")
    annotate = ["callgrind_annotate", "--threshold=100", f"--inclusive={'no' if asked.exclusive else 'yes'}", dumped]
    told = subprocess.run(annotate, capture_output=True, text=True, check=True).stdout
    shown = 0
    for line in told.splitlines():
        if found := re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+(.*)", line):
            count = int(found[1].replace(",", "")) / asked.requests
            name = re.sub(r" \[.*\]$", "", found[2])
            if shown < asked.functions and count >= 1:
                print(f"{count:10,.0f}  {name[:200]}")
                shown += 1


def system_calls(binary, origin, folder, asked):
    port, server = front(binary, origin, folder, [])
    out = os.path.join(folder, "strace")
    try:
        client = Client(port, asked.put)
        client.ask(WARM)
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out, "-p", str(server.process.pid)], stderr=subprocess.PIPE, text=True)
        while "attached" not in tracer.stderr.readline():
            pass
        time.sleep(0.3)
        client.ask(asked.requests)
        tracer.send_signal(2)
        tracer.wait(10)
    finally:
        server.end()
    with open(out) as file:
        for line in file:
            columns = line.split()
            if len(columns) >= 5 and columns[3].isdigit() and columns[-1] != "total":
                print(f"{int(columns[3]) / asked.requests:8.2f}  {columns[-1]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("wtcache")
    parser.add_argument("origin")
    parser.add_argument("--put", action="store_true")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--functions", type=int, default=60)
    parser.add_argument("--exclusive", action="store_true")
    parser.add_argument("--keep")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        origin = compare.origin_of(asked.origin)
        try:
            instructions(asked.wtcache, origin.url, folder, asked)
            print("\nsystem calls a request:")
            system_calls(asked.wtcache, origin.url, folder, asked)
        finally:
            origin.end()


if __name__ == "__main__":
    sys.exit(main())
