// One socket per view: a snapshot, then numbered changes. Reconnects by itself; all panels of a page share it.

import { Rows } from "./rows.js";

const EVERY_MS = 100; // the server gathers changes for so long: nobody reads faster
const SILENCE_MS = 6000; // no message at all for so long: the connection is dead, whatever the socket says
const BEHIND_MS = 3000; // answers older than this are behind
const STALE_MS = 15000; // and older than this, stale
const QUIET_MS = 5000; // no change for so long, with nothing waiting: quiet
const FRESH_ROWS_MAX = 10000; // a form shows one row of few
const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000];

export class Feed {
  constructor(view, columns, { max = 100000 } = {}) {
    this.view = view;
    this.rows = new Rows(columns, max);
    this.version = null;
    this.freshness_ms = null;
    this.watermark = null;
    this.error = null;
    this.loaded = false;
    this.connected = false;
    this.heard = 0;
    this.changed = 0;
    this.revision = 0;
    this.attempts = 0;
    this.listeners = new Set();
  }

  listen(listener) {
    this.listeners.add(listener);
    return this;
  }

  start() {
    this.connect();
    this.watch = setInterval(() => this.check(), 1000);
    return this;
  }

  stop() {
    this.stopped = true;
    clearInterval(this.watch);
    clearTimeout(this.retry);
    this.socket?.close();
  }

  connect() {
    if (this.stopped) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const path = `/v1/views/${encodeURIComponent(this.view)}/changes?every_ms=${EVERY_MS}`;
    const socket = new WebSocket(`${scheme}//${location.host}${path}`);
    this.socket = socket;
    this.opened = performance.now();
    socket.onmessage = (event) => this.socket === socket && this.take(event.data);
    socket.onclose = () => this.socket === socket && this.lost();
    socket.onerror = () => {};
  }

  // Read all rows now, of a version that holds a commit: what is about to be written must not be old. A socket gathers
  // changes for a moment, and a heartbeat may be ahead of them; so it is opened anew, and begins with a snapshot.
  async fresh(commit) {
    const old = this.socket;
    this.socket = null;
    clearTimeout(this.retry);
    old?.close();
    try {
      const address = `/v1/views/${encodeURIComponent(this.view)}?limit=${FRESH_ROWS_MAX}${commit ? `&after=${commit}` : ""}`;
      const answer = await fetch(address, { headers: { Accept: "application/json" }, cache: "no-store" });
      const body = await answer.json().catch(() => null);
      if (!answer.ok) throw new Error(body?.error?.problem ?? `the server answered ${answer.status}`);
      this.snapshot(body);
    } finally {
      if (!this.socket) this.connect();
    }
  }

  lost() {
    this.socket = null;
    this.connected = false;
    const wait = BACKOFF_MS[Math.min(this.attempts, BACKOFF_MS.length - 1)];
    this.attempts += 1;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), wait * (0.75 + Math.random() / 2));
    this.tell();
  }

  // Close a socket that has gone silent; the wall must not show an old number as a new one.
  check() {
    const since = performance.now() - Math.max(this.heard, this.opened ?? 0);
    if (this.socket && since > SILENCE_MS) {
      const socket = this.socket;
      this.lost();
      socket.close();
    }
    this.tell(false);
  }

  take(text) {
    let message;
    try { message = JSON.parse(text); } catch { return; }
    this.heard = performance.now();
    this.connected = true;
    this.attempts = 0;
    if (message.version !== undefined) this.version = Number(message.version);
    if (message.freshness_ms !== undefined) this.freshness_ms = Number(message.freshness_ms);
    if (message.watermark !== undefined) this.watermark = message.watermark;
    const kind = message.type;
    if (kind === "snapshot") this.snapshot(message);
    else if (kind === "change" && this.loaded) this.change(message);
    else if (kind === "error" || kind === "gone") this.error = message.error?.problem ?? "the view has no answer at present";
    this.tell(kind !== "heartbeat");
  }

  snapshot(message) {
    if (message.columns && !this.fits(message.columns)) return this.renew();
    this.error = null;
    this.rows.clear();
    for (const row of message.rows) this.rows.add(this.asArray(row), 1);
    this.truncated = Boolean(message.truncated) || this.rows.overflow;
    this.loaded = true;
    this.moved();
  }

  // Rows that go, first: a replaced row must not push the count over the bound in between.
  change(message) {
    this.error = null;
    for (const row of message.rows) if (Number(row._weight) < 0) this.rows.add(this.asArray(row), Number(row._weight));
    for (const row of message.rows) if (Number(row._weight) > 0) this.rows.add(this.asArray(row), Number(row._weight));
    this.truncated ||= this.rows.overflow;
    if (message.rows.length) this.moved();
  }

  fits(columns) {
    const own = this.rows.columns;
    return columns.length === own.length && columns.every((column, at) => column.name === own[at].name);
  }

  // The view has other columns than when the page was made: ask for the page again, but not over and over.
  renew() {
    const last = Number(sessionStorage.getItem("headrace-renewed") ?? 0);
    this.error = "the view has other columns now; load the page again";
    if (Date.now() - last < 10000) return;
    sessionStorage.setItem("headrace-renewed", String(Date.now()));
    location.reload();
  }

  asArray(row) {
    return this.rows.columns.map((column) => row[column.name] ?? null);
  }

  moved() {
    this.changed = performance.now();
    this.changedAt = Date.now();
    this.revision += 1;
  }

  // What a reader must know before he believes the number: loading, error, stale, behind, quiet or live.
  get state() {
    if (!this.loaded && !this.error) return this.attempts > 1 ? "stale" : "loading";
    if (!this.connected) return "stale";
    if (this.error) return "error";
    if (this.waiting_ms > STALE_MS) return "stale";
    if (this.waiting_ms > BEHIND_MS) return "behind";
    return performance.now() - this.changed > QUIET_MS ? "quiet" : "live";
  }

  // How long the oldest change that is not in the answer has waited by now; 0 when none does.
  get waiting_ms() {
    return this.freshness_ms > 0 ? this.freshness_ms + this.silence_ms : 0;
  }

  get age_ms() {
    return performance.now() - this.changed;
  }

  get silence_ms() {
    return performance.now() - this.heard;
  }

  tell(data = true) {
    for (const listener of this.listeners) listener(this, data);
  }
}
