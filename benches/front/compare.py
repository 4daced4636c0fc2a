"""The REST front beside other HTTP caches, in one run on one machine: a record that all of them hold, asked for by wrk; and writes through to an
origin beside writes to that origin itself.

Usage: compare.py WTCACHE BARE_ORIGIN [--rounds N] [--seconds N] [--write FOLDER] [--harper FOLDER]

nginx, Varnish and Harper take part where they are installed (Harper: the folder into which npm installed `harperdb`), and are named where not. Everything
listens on 127.0.0.1 and is ended. Rounds take turns between the servers; figures are medians of the rounds, ratios those of the medians.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = 60
CROWDS = (16, 256)

SCHEMA = """type Item @table(expiration: 3600) @export {
  id: ID @primaryKey
  sku: String
  name: String
  quantity: Int
  warehouseId: String
}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def ask(url, method="GET", body=None):
    request = urllib.request.Request(url, method=method, data=body, headers={"Content-Type": "application/json"} if body else {})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()


class Server:
    """A process that serves the records of the origin at a URL."""

    def __init__(self, name, command, url, ready=None, environment=None, folder=None):
        self.name, self.url = name, url
        self.log = open(os.path.join(folder or tempfile.gettempdir(), f"{name}.log"), "w") if folder else subprocess.DEVNULL
        begun = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env={**os.environ, **(environment or {})}, start_new_session=True
        )
        while True:
            try:
                ask(ready or url)
                break
            except (OSError, urllib.error.URLError) as error:
                if self.process.poll() is not None or time.monotonic() - begun > PATIENCE:
                    self.end()
                    raise RuntimeError(f"{name} did not start: {error}") from None
                time.sleep(0.002)
        self.started = time.monotonic() - begun
        ask(url)

    def processes(self):
        """Its own, and all that came of it: they are of its session."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.getsid(int(pid)) == self.process.pid:
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def memory(self):
        """Resident MiB, what its processes share counted once."""
        total = 0
        for pid in self.processes():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += int(re.search(r"^Pss:\s+(\d+)", rollup.read(), re.M)[1])
            except OSError:
                pass
        return total / 1024

    def end(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


def wrk(url, connections, seconds, script=None):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    if script:
        command[1:1] = ["-s", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"{url}: {told}")
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    quantile = lambda share: (lambda at: float(at[1]) * units[at[2]])(re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)", told, re.M))
    return float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1]), quantile(50), quantile(99)


def wtcache(binary, origin, folder, name="wtcache"):
    config = os.path.join(folder, name)
    os.mkdir(config)
    write(os.path.join(config, "schema.graphql"), SCHEMA)
    write(os.path.join(config, "config.yaml"), f"tables:\n  Item:\n    clean_start: true\n    origin:\n      url: {origin}/items/{{id}}\n")
    port = free_port()
    at = f"http://127.0.0.1:{port}"
    return Server(name, [binary, "serve", "--config", config, "--listen", f"127.0.0.1:{port}", "--admin", "none"],
                  f"{at}/Item/item-001", f"{at}/-/healthz", folder=folder)


def nginx(origin, folder):
    port, prefix = free_port(), os.path.join(folder, "nginx")
    os.mkdir(prefix)
    # Started by root, its workers would be somebody who may not look into the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    conf = write(os.path.join(prefix, "nginx.conf"), f"""
{user} daemon off; pid {prefix}/pid; error_log {prefix}/error.log; worker_processes auto;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy; fastcgi_temp_path {prefix}/f;
  uwsgi_temp_path {prefix}/u; scgi_temp_path {prefix}/s; keepalive_requests 1000000000;
  proxy_cache_path {prefix}/cache keys_zone=records:10m max_size=64m;
  upstream origin {{ server {origin.removeprefix('http://')}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} reuseport backlog=1024;
    location /items/ {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache records; }}
  }}
}}
""")
    return Server("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-p", prefix, "-e", f"{prefix}/error.log", "-c", conf],
                  f"http://127.0.0.1:{port}/items/item-001", folder=folder)


def varnish(origin, folder):
    port, state = free_port(), os.path.join(folder, "varnish")
    command = [shutil.which("varnishd") or "/usr/sbin/varnishd", "-F", "-n", state, "-a", f"127.0.0.1:{port}", "-s", "malloc,64m",
               "-b", origin.removeprefix("http://"), "-j", "none"]
    return Server("varnish", command, f"http://127.0.0.1:{port}/items/item-001", folder=folder)


def harper(origin, folder, installed):
    root, app = os.path.join(folder, "harper"), os.path.join(folder, "harper-app")
    os.mkdir(app)
    write(os.path.join(app, "config.yaml"), "rest: true\ngraphqlSchema:\n  files: '*.graphql'\njsResource:\n  files: resources.js\n")
    write(os.path.join(app, "schema.graphql"), SCHEMA)
    write(os.path.join(app, "package.json"), '{"type": "module"}')
    write(os.path.join(app, "resources.js"), f"""
const {{ Item }} = databases.data;
class Origin extends Resource {{
  async get() {{ return (await fetch(`{origin}/items/${{this.getId()}}`)).json(); }}
}}
Item.sourcedFrom(Origin);
""")
    port = free_port()
    environment = {
        "ROOTPATH": root, "TC_AGREEMENT": "yes", "HDB_ADMIN_USERNAME": "admin", "HDB_ADMIN_PASSWORD": "password", "DEFAULTS_MODE": "dev",
        "OPERATIONSAPI_NETWORK_PORT": str(free_port()), "HTTP_PORT": str(port), "AUTHENTICATION_AUTHORIZELOCAL": "true", "THREADS_COUNT": "2",
        "LOGGING_LEVEL": "error", "REPLICATION_HOSTNAME": "localhost", "NODE_HOSTNAME": "localhost",
    }
    binary = os.path.join(installed, "node_modules/.bin/harperdb")
    return Server("harper", [binary, "run", app], f"http://127.0.0.1:{port}/Item/item-001", environment=environment, folder=folder)


def reads(servers, rounds, seconds):
    """Of each server and crowd: requests a second, p50 and p99 in ms, medians of the rounds."""
    measured = {}
    for crowd in CROWDS:
        for server in servers:
            wrk(server.url, crowd, 1)
        for _ in range(rounds):
            for server in servers:
                measured.setdefault((server.name, crowd), []).append(wrk(server.url, crowd, seconds))
    return {at: [statistics.median(column) for column in zip(*rows)] for at, rows in measured.items()}


def writes(binary, bare, folder, rounds, seconds):
    """At each delay of the origin: p50 in ms, sequential, and requests a second by 16, of the origin itself and through the front."""
    script = write(os.path.join(folder, "put.lua"), """
wrk.method = "PUT"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"sku":"WB-100","name":"Widget","quantity":5,"warehouseId":"east"}'
local n = 0
request = function()
  n = n + 1
  return wrk.format(nil, wrk.path .. (n % 1000))
end
""")
    told = {}
    for delay in (0, 5):
        origin = origin_of(bare, delay)
        front = wtcache(binary, origin.url, folder, f"wtcache-put-{delay}")
        try:
            at = {"origin": f"{origin.url}/items/item-", "through": front.url.removesuffix("item-001") + "item-"}
            rows = {name: [] for name in at}
            for _ in range(rounds):
                for name, url in at.items():
                    rows[name].append((wrk(url, 1, seconds, script)[1], wrk(url, 16, seconds, script)[0]))
            told[delay] = {name: [statistics.median(column) for column in zip(*all)] for name, all in rows.items()}
        finally:
            front.end()
            origin.end()
    return told


class origin_of:
    """The bare origin, started."""

    def __init__(self, binary, delay=0):
        self.process = subprocess.Popen([binary, "--delay", str(delay)], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def end(self):
        self.process.terminate()
        self.process.wait(10)


def table(rows):
    head, *rest = rows
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rest])


def plot(read, names):
    """Bars of requests a second, one group a crowd."""
    most = max(row[0] for row in read.values())
    height, parts, y = 26, [], 30
    for crowd in CROWDS:
        parts.append(f'<text x="10" y="{y + 4}" font-weight="600">{crowd} connections</text>')
        y += 18
        for name in names:
            rate = read[name, crowd][0]
            width = max(1, 480 * rate / most)
            colour = "#0a6b4f" if name == "wtcache" else "#8c959f"
            parts.append(f'<text x="10" y="{y + 13}">{name}</text><rect x="90" y="{y}" width="{width:.0f}" height="{height - 8}" fill="{colour}"/>')
            parts.append(f'<text x="{95 + width:.0f}" y="{y + 13}">{rate:,.0f}</text>')
            y += height
        y += 14
    title = '<text x="10" y="16">Requests a second of one cached record</text>'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 {y}" font-family="sans-serif" font-size="12" role="img">'
            f'<rect width="660" height="{y}" fill="#fff"/>{title}{"".join(parts)}</svg>\n')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("wtcache")
    parser.add_argument("origin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--write")
    parser.add_argument("--harper")
    asked = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("compare.py: there is no wrk")
    began = os.getloadavg()[0]
    skipped, servers = [], []
    with tempfile.TemporaryDirectory() as folder:
        origin = origin_of(asked.origin)
        try:
            others = [lambda: nginx(origin.url, folder), lambda: varnish(origin.url, folder)]
            if asked.harper:
                others.append(lambda: harper(origin.url, folder, asked.harper))
            else:
                skipped.append("harper: no --harper FOLDER")
            for start in [lambda: wtcache(asked.wtcache, origin.url, folder), *others]:
                try:
                    servers.append(start())
                except (OSError, RuntimeError) as error:
                    if not servers:
                        raise
                    skipped.append(str(error))
            read = reads(servers, asked.rounds, asked.seconds)
            held = {server.name: (server.memory(), server.started) for server in servers}
        finally:
            for server in servers:
                server.end()
            origin.end()
        written = writes(asked.wtcache, asked.origin, folder, asked.rounds, asked.seconds)
    names = [server.name for server in servers]
    lines = [["", *names]]
    for crowd in CROWDS:
        ours = read["wtcache", crowd]
        lines.append([f"requests a second, {crowd} connections"] + [f"{read[n, crowd][0]:,.0f} ({ours[0] / read[n, crowd][0]:.2f})" for n in names])
        for at, which in ((1, "p50"), (2, "p99")):
            lines.append([f"{which} in ms, {crowd} connections"] + [f"{read[n, crowd][at]:.2f}" for n in names])
    lines.append(["memory after that, MiB"] + [f"{held[n][0]:.1f}" for n in names])
    lines.append(["from start to first answer, ms"] + [f"{held[n][1] * 1e3:.0f}" for n in names])
    puts = [["PUT", "p50 of the origin, ms", "through wtcache", "ratio", "origin, 16 at once, a second", "through wtcache", "ratio"]]
    for delay, of in written.items():
        direct, through = of["origin"], of["through"]
        puts.append([f"origin of {delay} ms", f"{direct[0]:.2f}", f"{through[0]:.2f}", f"{through[0] / direct[0]:.2f}",
                     f"{direct[1]:,.0f}", f"{through[1]:,.0f}", f"{direct[1] / through[1]:.2f}"])
    text = f"""# The REST front beside other HTTP caches
<!-- Written by the command below. -->
`cargo xtask front-rivals --write`; {os.cpu_count()} processors, which the servers share with wrk; load average of the last minute at the start {began:.2f}. Medians of {asked.rounds}
rounds of {asked.seconds} s, in which the servers take turns. One record of some 250 bytes, which each of them holds; `wrk -t1`. In brackets: wtcache's rate over theirs.

![requests a second](front.svg)

{table(lines)}

Writes go through to the origin and back; `wrk -t1 -c1`, and `-c16`, over 1,000 keys:

{table(puts)}
"""
    for line in skipped:
        text += f"\nSKIPPED: {line}\n"
    print(text)
    if asked.write:
        write(os.path.join(asked.write, "front.md"), text)
        write(os.path.join(asked.write, "front.svg"), plot(read, names))


if __name__ == "__main__":
    main()
