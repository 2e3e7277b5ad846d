// The answer of a named query, asked for with the page's parameters, again and again. Looks like a feed to a panel.

import { Feed } from "./feed.js";
import { Poll } from "./poll.js";

const EVERY_MS = 2000;
const ROWS_MAX = 20000;

export class Asked extends Feed {
  // names: the query's parameters that the page has; required: those without which there is nothing to ask;
  // fixed: those that the panel gives; parameters: what is chosen; live: asked again though nothing else was chosen.
  constructor(name, columns, { query, names, required, fixed }, parameters, live = true) {
    super(name, columns, { max: ROWS_MAX });
    this.query = query;
    this.fixed = fixed;
    this.required = required;
    this.rows.inOrder = true;
    this.names = names;
    this.parameters = parameters;
    this.live = live;
    this.tag = null;
    this.wanted = ["as_of", ...names, ...Object.values(fixed).filter((value) => value.startsWith("$")).map((value) => value.slice(1))];
    parameters.listen(this.wanted, () => this.renew());
  }

  start() {
    this.poll = new Poll(() => this.ask(), (answer, error) => this.answered(answer, error), EVERY_MS).start();
    this.poll.now();
    this.watch = setInterval(() => this.tell(false), 1000);
    return this;
  }

  stop() {
    clearInterval(this.watch);
  }

  // Whether a moment is asked for that has been: what came later does not wait, and what is shown is not old.
  get past() {
    return Boolean(this.parameters.value("as_of"));
  }

  address() {
    const given = new URLSearchParams();
    const give = (name, value) => {
      if (value !== null && value !== undefined && value !== "") given.set(name, value);
    };
    give("as_of", this.parameters.value("as_of")); // a page that has it shows everything as it was then
    for (const name of this.names) give(name, this.parameters.value(name));
    for (const [name, value] of Object.entries(this.fixed)) give(name, value.startsWith("$") ? this.parameters.value(value.slice(1)) : value);
    return `/v1/queries/${encodeURIComponent(this.query)}?${given}`;
  }

  async ask() {
    if (!this.parameters.known(this.wanted)) return { waiting: true };
    if (this.required.some((name) => !this.parameters.value(name))) return { rows: [], version: this.version, freshness_ms: 0 };
    const address = this.address();
    if (!this.live && this.tag && this.asked === address && this.loaded) return { kept: true };
    const headers = { Accept: "application/json" };
    if (this.tag && this.asked === address && this.loaded) headers["If-None-Match"] = this.tag;
    const answer = await fetch(address, { headers, cache: "no-store" });
    if (address !== this.address()) return { waiting: true, again: true };
    if (answer.status === 304 && (await answer.text()) === "") return { same: true, freshness_ms: answer.headers.get("Headrace-Freshness-Ms") };
    const body = await answer.json().catch(() => null);
    if (!answer.ok) throw new Error(body?.error?.problem ?? `the server answered ${answer.status}`);
    this.tag = answer.headers.get("ETag");
    this.asked = address;
    return body;
  }

  // Ask now, of a version that holds a commit, and take the answer in: what is about to be written must not be old.
  async fresh(commit) {
    const address = this.address();
    const answer = await fetch(`${address}${commit ? `&after=${commit}` : ""}`, { headers: { Accept: "application/json" }, cache: "no-store" });
    const body = await answer.json().catch(() => null);
    if (!answer.ok) throw new Error(body?.error?.problem ?? `the server answered ${answer.status}`);
    this.tag = null;
    this.asked = address;
    this.answered(body);
  }

  // Another choice, or rows written from this page: ask at once, and do not take the last answer for this one.
  renew() {
    this.tag = null;
    this.poll?.now();
  }

  answered(answer, error) {
    if (error) {
      this.attempts += 1;
      this.connected = !/fetch/i.test(error.message);
      if (this.connected) this.error = error.message;
      this.heard = performance.now();
      this.tell();
      return;
    }
    if (answer.waiting) {
      if (answer.again) this.poll.now();
      return;
    }
    this.connected = true;
    this.attempts = 0;
    this.heard = performance.now();
    if (answer.kept) return this.tell(false);
    this.freshness_ms = this.live && !this.past ? Number(answer.freshness_ms) : 0; // else nothing newer is waited for
    if (answer.same) return this.tell(false);
    this.version = answer.version === null ? null : Number(answer.version);
    const text = JSON.stringify(answer.rows);
    if (text !== this.text || !this.loaded || this.error) this.snapshot(answer);
    this.text = text;
    this.tell();
  }
}
