"""The page of `wtcache demo` in a headless Chromium, driven through its pipe: what it shows, what its buttons do, and pictures of it.

Usage: page.py WTCACHE CHROMIUM FOLDER

Starts the demo on free ports and the browser, ends both, and leaves the pictures in FOLDER. A line for each thing that holds; the first that does not
ends it with status 1. Needs nothing but Python's standard library.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = 20


class Browser:
    """A page in Chromium, by the DevTools protocol over two pipes."""

    def __init__(self, chromium, profile):
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()

        def pipes():
            # The protocol's: commands come by 3, answers go by 4. First out of the way, then to their places.
            incoming, outgoing = os.dup(to_read), os.dup(to_write)
            os.dup2(incoming, 3)
            os.dup2(outgoing, 4)

        self.process = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={profile}", "--window-size=1280,1600", "about:blank"],
            preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.events, self.buffer, self.last, self.session = [], b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def next(self):
        while b"\0" not in self.buffer:
            more = os.read(self.read, 1 << 16)
            if not more:
                raise SystemExit("the browser has ended")
            self.buffer += more
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def run(self, script):
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise SystemExit(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def until(self, script, words):
        """Waits until a script says something that is true: what it says. A barrier over a page that draws once a second."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            told = self.run(script)
            if told:
                return told
            time.sleep(0.05)
        raise SystemExit(f"not so within {PATIENCE} s: {words}\n{self.run('document.body.innerText')}")

    def picture(self, path):
        import base64

        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


def holds(words, so):
    if not so:
        raise SystemExit(f"page: not so: {words}")
    print(f"page: {words}")


def ask(url, method="GET", body=None, headers=None):
    request = urllib.request.Request(url, method=method, data=body.encode() if body else None, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def check(browser, front, origin, demo, folder):
    records = f"{front}/InventoryItem"
    for n in range(1, 31):
        body = json.dumps({"sku": f"WB-{n}", "name": f"Widget {n}", "quantity": n, "warehouseId": "east"})
        holds_quietly(ask(f"{records}/item-{n:03}", "PUT", body)[0] == 200)
    fault = json.dumps({"method": "PUT", "kind": "reset-after-apply"})
    ask(f"{origin}/_faults", "POST", fault, {"Authorization": "Bearer sample-key"})
    holds("a write ends in doubt", ask(f"{records}/item-030", "PUT", '{"sku":"WB-30","quantity":7}')[0] == 502)
    for n in list(range(1, 29)) * 8 + [901, 902]:
        ask(f"{records}/item-{n:03}")

    browser.call("Page.navigate", url=f"{front}/-/")
    browser.until("document.getElementById('state')?.textContent.startsWith('ready')", "it says that the server is ready")
    holds("it says that the server is ready", True)
    text = lambda id: browser.run(f"document.getElementById({json.dumps(id)}).innerText")
    browser.until("document.querySelectorAll('#cards div').length === 8", "eight figures")
    ratio = float(re.search(r"since the start ([\d.]+) %", text("cards"))[1])
    holds(f"the hit ratio since the start is that of the requests made ({ratio} %)", abs(ratio - 100 * 224 / 226) < 0.2)
    row = lambda of: re.split(r"\t", next(line for line in text("outcomes").splitlines() if line.startswith(of + "\t")))
    holds("outcomes since the start: 30 applied, 1 unknown", (row("applied")[2], row("unknown")[2]) == ("30", "1"))
    latency = {line.split("\t")[0]: line.split("\t")[4] for line in text("latency").splitlines()}
    holds(f"latencies of 224 hits, 2 loads, 31 writes: {latency}", latency == {"hits": "224", "loads": "2", "writes": "31"})
    browser.until("!document.getElementById('origins').hidden", "the origin is shown")
    origin_row = browser.run("[...document.querySelectorAll('#origins tbody tr')].map((r) => r.innerText).find((r) => r.startsWith('InventoryItem'))")
    holds(f"how the origin fares is told: {origin_row.split()}", origin_row.split()[:2] == ["InventoryItem", "closed"])
    browser.until("document.querySelector('#doubts tbody')?.innerText.includes('item-030')", "the key in doubt is listed")
    holds("the key in doubt is listed", True)

    # New requests show while one looks on.
    for _ in range(40):
        ask(f"{records}/item-001")
    browser.until("Number(document.querySelectorAll('#cards dd')[1].firstChild.data) > 0", "reads a second move")
    holds("reads a second move", True)

    browser.run("document.getElementById('find-prefix').value = 'item-00'; document.querySelector('#find button').click()")
    browser.until("document.querySelectorAll('#records tbody tr').length === 9", "nine records begin so")
    holds("nine records begin so", text("found") == "9 records resident.")
    browser.run("[...document.querySelectorAll('#records button')].find((b) => b.textContent === 'item-005').click()")
    browser.until("document.getElementById('value').textContent.includes('Widget 5')", "a record is shown")
    life = text("life")
    holds(f"a record's life is told: {' '.join(life.split())}", "fresh" in life and "expires" in life and "version" in life)
    holds("the address leads there again", browser.run("location.hash") == "#table=InventoryItem&key=item-005")
    browser.picture(os.path.join(folder, "page.png"))

    browser.run("document.getElementById('invalidate').click()")
    browser.until("document.getElementById('done').textContent.startsWith('Forgotten')", "the button forgets the record")
    told = json.loads(ask(f"{front}/-/records?table=InventoryItem&key=item-005")[1])
    holds("the button forgets the record", told["resident"] is False and "not resident" in text("life"))

    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")]
    controls = [(role, name) for role, name in roles if role in ("button", "textbox", "combobox", "link", "image")]
    unnamed = [role for role, name in controls if not name.strip()]
    holds(f"each of {len(controls)} controls and pictures has a name to be read out", len(controls) > 15 and not unnamed)
    headings = [name for role, name in roles if role == "heading"]
    holds(f"headings: {', '.join(headings)}", len(headings) >= 7)
    browser.run("document.getElementById('find-prefix').focus()")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
    holds("the keyboard goes on to the next control", browser.run("document.activeElement.textContent") == "List")

    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.picture(os.path.join(folder, "page-dark.png"))
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    wide = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    holds("it is no wider than a phone", wide <= 0)
    browser.picture(os.path.join(folder, "page-phone.png"))

    asked = [event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
    elsewhere = {url for url in asked if not url.startswith((front, "data:", "about:"))}
    holds(f"{len(asked)} requests, all of them to this server", asked and not elsewhere)
    faults = [event for event in browser.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    holds("no error in the browser's log", not faults or print(faults))

    demo.send_signal(signal.SIGTERM)
    demo.wait(PATIENCE)
    browser.until("document.getElementById('state').textContent.startsWith('no answer')", "it says that the server is gone")
    holds("it says that the server is gone", True)


def holds_quietly(so):
    if not so:
        raise SystemExit("page: a write of the set-up was not applied")


def main():
    wtcache, chromium, folder = sys.argv[1:]
    demo = subprocess.Popen([wtcache, "demo", "--port", "0", "--origin-port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        urls = []
        while len(urls) < 2:
            line = demo.stdout.readline()
            if not line:
                raise SystemExit("the demo has ended")
            for url in re.findall(r"http://127\.0\.0\.1:\d+", line):
                if url not in urls:
                    urls.append(url)
        # What it prints later is not read by anyone, but has to go somewhere.
        os.set_blocking(demo.stdout.fileno(), False)
        front, origin = (urls[0], urls[1]) if ask(f"{urls[0]}/-/healthz")[0] == 200 else (urls[1], urls[0])
        with tempfile.TemporaryDirectory() as profile:
            browser = Browser(chromium, profile)
            try:
                check(browser, front, origin, demo, folder)
            finally:
                browser.end()
    finally:
        if demo.poll() is None:
            demo.terminate()
            demo.wait(PATIENCE)


if __name__ == "__main__":
    main()
