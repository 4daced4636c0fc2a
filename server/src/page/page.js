"use strict";
// What this page shows is read from metrics, doubts and records, once a second. It keeps two minutes of it, and nothing longer than it is open.

const EVERY = 1000;
const KEPT = 120;
const $ = (id) => document.getElementById(id);
const samples = [];
let paused = false;
let shown = null;

/** An element with text, attributes, and children. */
function make(name, text, attributes = {}, ...children) {
  const element = document.createElement(name);
  if (text !== null && text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const row = (head, ...cells) => make("tr", null, {}, make("th", head, { scope: "row" }), ...cells.map((cell) => (cell instanceof Node ? cell : make("td", cell))));

/** The samples of a text in Prometheus' format: name, labels, value. */
function parse(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const at = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (line.startsWith("#") || !at) continue;
    const labels = {};
    for (const [, name, value] of (at[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value;
    found.push({ name: at[1], labels, value: Number(at[3]) });
  }
  return found;
}

/** The sum of a metric over the tables that are looked at. */
function sum(sample, name, labels = {}) {
  const table = $("table").value;
  let total = 0;
  for (const one of sample.of.get(name) || []) {
    if (table && one.labels.table !== table) continue;
    if (Object.entries(labels).every(([key, value]) => one.labels[key] === value)) total += one.value;
  }
  return total;
}

const count = (sample, name) => sum(sample, `wtcache_${name}_total`);
const hitsOf = (sample) => count(sample, "hits") + count(sample, "absent_hits") + count(sample, "stale");
const missesOf = (sample) => count(sample, "loads") + count(sample, "joined");
const writesOf = (sample) => ["applied", "rejected", "unknown", "not_sent"].reduce((all, end) => all + count(sample, `writes_${end}`), 0);

/** The sample of so many seconds ago, or the first. */
function ago(seconds) {
  const last = samples[samples.length - 1];
  return samples.find((sample) => last.at - sample.at <= seconds * 1000 + EVERY / 2) || last;
}

const perSecond = (now, then, read) => (now.at > then.at ? ((read(now) - read(then)) * 1000) / (now.at - then.at) : 0);

const number = (n) => n.toLocaleString("en", { maximumFractionDigits: n < 1 ? 2 : n < 10 ? 1 : 0 });
const percent = (part, all) => (all > 0 ? `${((100 * part) / all).toFixed(1)} %` : "–");

function time(milliseconds) {
  const units = [["d", 86400000], ["h", 3600000], ["min", 60000], ["s", 1000]];
  const [unit, length] = units.find(([, length]) => milliseconds >= length) || ["ms", 1];
  return `${number(milliseconds / length)} ${unit}`;
}

function cards(now) {
  const then = ago(10);
  const [hits, misses] = [hitsOf(now) - hitsOf(then), missesOf(now) - missesOf(then)];
  const gauge = (name) => sum(now, `wtcache_${name}`);
  const told = [
    ["Hit ratio", percent(hits, hits + misses), `since the start ${percent(hitsOf(now), hitsOf(now) + missesOf(now))}`],
    ["Reads a second", number(perSecond(now, then, (s) => hitsOf(s) + missesOf(s))), "of the last 10 s"],
    ["Loads a second", number(perSecond(now, then, (s) => count(s, "loads"))), "of the last 10 s"],
    ["Writes a second", number(perSecond(now, then, writesOf)), "of the last 10 s"],
    ["Entries", number(gauge("entries")), `weight ${number(gauge("weight"))}`],
    ["Evicted a second", number(perSecond(now, then, (s) => count(s, "evicted"))), "for room"],
    ["In doubt", number(gauge("in_doubt")), "keys"],
    ["Pending", number(gauge("pending")), "writes shown before they are confirmed"],
  ];
  $("cards").replaceChildren(...told.map(([name, value, more]) => make("div", null, {}, make("dt", name), make("dd", value, {}, make("small", more)))));
}

function chart() {
  const rates = (read) => samples.slice(1).map((sample, at) => Math.max(0, perSecond(sample, samples[at], read)));
  const [hits, loads] = [rates(hitsOf), rates((sample) => count(sample, "loads"))];
  const most = Math.max(1, ...hits, ...loads);
  const line = (values) => values.map((value, at) => `${at ? "L" : "M"}${(600 - ((values.length - 1 - at) * 600) / KEPT).toFixed(1)} ${(116 - (112 * value) / most).toFixed(1)}`).join("");
  const path = (values, kind) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
    element.setAttribute("class", kind);
    element.setAttribute("d", line(values));
    return element;
  };
  $("chart").replaceChildren(path(hits, "hit"), path(loads, "load"));
  $("chart-text").textContent = hits.length ? `Now ${number(hits[hits.length - 1])} and ${number(loads[loads.length - 1])}; the top is ${number(most)}.` : "";
}

/** The bound below which that share of the requests between two samples fell, in words. */
function quantile(now, then, labels, share, name = "wtcache_request_duration_seconds_bucket") {
  const read = (sample) => {
    const ends = new Map();
    for (const each of labels) {
      for (const one of sample ? sample.of.get(name) || [] : []) {
        if ($("table").value && one.labels.table !== $("table").value) continue;
        if (Object.entries(each).every(([key, value]) => one.labels[key] === value)) ends.set(one.labels.le, (ends.get(one.labels.le) || 0) + one.value);
      }
    }
    return ends;
  };
  const [late, early] = [read(now), read(then)];
  const all = (late.get("+Inf") || 0) - (early.get("+Inf") || 0);
  if (!all) return [0, "–"];
  for (const [end, value] of late) {
    if (value - (early.get(end) || 0) >= all * share) return [all, end === "+Inf" ? "over 10 s" : time(Number(end) * 1000)];
  }
  return [all, "–"];
}

function latency(now) {
  const then = ago(60);
  const kinds = [
    ["hits", [{ cache: "hit" }]],
    ["loads", [{ cache: "load" }]],
    ["writes", ["PUT", "PATCH", "DELETE", "POST"].map((method) => ({ method }))],
  ];
  $("latency").replaceChildren(...kinds.map(([name, labels]) => {
    const cells = [then, null].flatMap((from) => {
      const [all, half] = quantile(now, from, labels, 0.5);
      return [number(all), half, quantile(now, from, labels, 0.99)[1]];
    });
    return row(name, ...cells);
  }));
}

const OUTCOMES = [
  ["writes_applied", "applied", "the origin has it"],
  ["writes_rejected", "rejected", "the origin, or its adapter, refused: nothing has changed"],
  ["writes_unknown", "unknown", "nobody can know yet: the key is in doubt"],
  ["writes_not_sent", "not sent", "the write never left: no turn in time, a full queue"],
  ["loads", "loads", "asked of the origin"],
  ["loads_failed", "loads failed", "no answer, or none that could be used"],
  ["stale", "stale", "answered with what had expired, as configured"],
  ["refreshes", "refreshes", "asked for again in the background"],
];

function outcomes(now) {
  const then = ago(60);
  $("outcomes").replaceChildren(...OUTCOMES.map(([name, words, meaning]) => {
    const [all, lately] = [count(now, name), count(now, name) - count(then, name)];
    const bad = lately > 0 && ["writes_unknown", "loads_failed"].includes(name);
    return row(words, make("td", number(lately), bad ? { class: "bad" } : {}), number(all), meaning);
  }));
}

const FAILURES = ["5xx", "broken", "timed_out", "unreachable"];

/** Of each table whose origin is known: how that fares. */
function origins(now) {
  const then = ago(60);
  const tables = (now.of.get("wtcache_origin_attempts_total") || []).map((one) => one.labels.table);
  const shown = tables.filter((table) => !$("table").value || table === $("table").value);
  $("origins").hidden = shown.length === 0;
  $("origins").tBodies[0].replaceChildren(...shown.map((table) => {
    const of = (sample, name, labels) => sum(sample, `wtcache_origin_${name}`, { table, ...labels });
    const lately = (name, labels) => of(now, name, labels) - of(then, name, labels);
    const has = (now.of.get("wtcache_origin_breaker_open") || []).some((one) => one.labels.table === table);
    const open = has && of(now, "breaker_open") > 0;
    const failed = FAILURES.reduce((all, outcome) => all + lately("outcomes_total", { outcome }), 0);
    const half = quantile(now, then, [{ table }], 0.5, "wtcache_origin_attempt_duration_seconds_bucket")[1];
    return row(
      table,
      make("td", has ? (open ? "open: it is left alone" : "closed") : "none", open ? { class: "bad" } : {}),
      half,
      make("td", number(failed), failed ? { class: "bad" } : {}),
      ...[lately("retries_total"), of(now, "in_flight"), of(now, "queued"), of(now, "connections")].map(number),
    );
  }));
}

function doubts(all) {
  $("doubts").hidden = all.length === 0;
  $("no-doubts").hidden = all.length > 0;
  $("doubts").tBodies[0].replaceChildren(...all.map((doubt) => row(doubt.table, recordButton(doubt.table, doubt.key), time(doubt.for_ms), time(doubt.settles_in_ms), number(doubt.unsettled))));
}

function state(text, bad) {
  // Told aloud when it changes, and not each second.
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").classList.toggle("bad", Boolean(bad));
}

/** Asks, and gives the answer or the reason why there is none. */
async function ask(path, options) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.detail || `${path}: ${answer.status}`);
}

async function look() {
  try {
    const [metrics, told] = await Promise.all([ask("metrics").then((a) => a.text()), ask("doubts").then((a) => a.json())]);
    const of = new Map();
    for (const one of parse(metrics)) of.set(one.name, [...(of.get(one.name) || []), one]);
    samples.push({ at: performance.now(), of });
    if (samples.length > KEPT + 1) samples.shift();
    tables([...new Set((of.get("wtcache_hits_total") || []).map((one) => one.labels.table))]);
    const ready = (await fetch("readyz", { cache: "no-store" })).ok;
    state(ready ? `ready; ${number(sum({ of }, "wtcache_connections"))} connections` : "ending: it takes no new connections", !ready);
    doubts(told.doubts);
    draw();
  } catch (error) {
    state(`no answer: ${error.message}`, true);
  }
}

function draw() {
  if (!samples.length) return;
  const now = samples[samples.length - 1];
  cards(now);
  chart();
  latency(now);
  outcomes(now);
  origins(now);
}

function tables(names) {
  for (const [select, first] of [[$("table"), [""]], [$("find-table"), []]]) {
    const wanted = [...first, ...names];
    if ([...select.options].map((option) => option.value).join() === wanted.join()) continue;
    const chosen = select.value;
    select.replaceChildren(...wanted.map((name) => make("option", name || "all", { value: name })));
    if (wanted.includes(chosen)) select.value = chosen;
  }
}

const expiry = (record) => {
  if (record.fresh_for_ms === null) return "never";
  return record.fresh_for_ms > 0 ? `in ${time(record.fresh_for_ms)}` : `${time(record.stale_for_ms)} ago`;
};

const confirmed = (record) => `${time(record.confirmed_ms_ago)} ago`;

function recordButton(table, key) {
  const button = make("button", key, { type: "button" });
  button.addEventListener("click", () => {
    const to = `#${new URLSearchParams({ table, key })}`;
    if (location.hash === to) show(table, key);
    else location.hash = to;
  });
  return make("td", null, {}, button);
}

async function list(table, prefix) {
  try {
    const told = await (await ask(`records?${new URLSearchParams({ table, prefix })}`)).json();
    $("records").hidden = told.records.length === 0;
    $("records").tBodies[0].replaceChildren(...told.records.map((record) => {
      const cells = make("tr", null, {}, recordButton(table, record.key));
      cells.append(...[number(record.bytes), confirmed(record), expiry(record), record.etag].map((cell) => make("td", cell)));
      return cells;
    }));
    const what = told.records.length === 1 ? "1 record" : `${told.records.length} records`;
    $("found").textContent = told.records.length ? `${what} resident${told.more ? ", and more" : ""}.` : "Nothing that begins so is resident.";
  } catch (error) {
    $("found").textContent = error.message;
  }
}

async function show(table, key) {
  shown = { table, key };
  $("record").hidden = false;
  $("record-title").textContent = `${table} ${key}`;
  $("done").textContent = "";
  try {
    const record = await (await ask(`records?${new URLSearchParams({ table, key })}`)).json();
    const life = [];
    if (record.resident) {
      life.push(["state", record.stale_for_ms > 0 ? "expired" : "fresh"]);
      life.push(["loaded or written", confirmed(record)], ["expires", expiry(record)], ["version", record.etag], ["bytes", number(record.bytes)]);
    } else {
      life.push(["state", "not resident: the next read asks the origin"]);
    }
    if (record.in_doubt) life.push(["in doubt", `for ${time(record.in_doubt.for_ms)}, settles in ${time(record.in_doubt.settles_in_ms)}`]);
    $("life").replaceChildren(...life.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
    $("value").hidden = !record.resident;
    $("value").textContent = record.record || "";
  } catch (error) {
    $("life").replaceChildren();
    $("value").hidden = true;
    $("done").textContent = error.message;
  }
  $("record-title").focus();
}

async function invalidate() {
  const { table, key } = shown;
  try {
    const body = JSON.stringify({ table, key });
    const told = await (await ask("invalidate", { method: "POST", body, headers: { "Content-Type": "application/json" } })).json();
    await show(table, key);
    $("done").textContent = told.forgotten ? "Forgotten here: the next read asks the origin." : "There was nothing to forget.";
  } catch (error) {
    $("done").textContent = error.message;
  }
}

/** What the address asks for after its #: `table=T&key=K`, or `table=T&prefix=P`. */
async function follow() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (!asked.has("table")) return;
  $("find-table").value = asked.get("table");
  if (asked.has("key")) return show(asked.get("table"), asked.get("key"));
  $("find-prefix").value = asked.get("prefix") || "";
  return list(asked.get("table"), $("find-prefix").value);
}

$("table").addEventListener("change", draw);
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
});
$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  list($("find-table").value, $("find-prefix").value);
});
$("invalidate").addEventListener("click", invalidate);
$("again").addEventListener("click", () => show(shown.table, shown.key));
addEventListener("hashchange", follow);

(async () => {
  await look();
  await follow();
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY));
    if (!paused && !document.hidden) await look();
  }
})();
