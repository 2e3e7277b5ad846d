// What every page has: the bar with clock and state, theme, keys, help, and the beat that draws.

import { clockText } from "./format.js";
import { make } from "./make.js";
import { words } from "./words.js";

export const told = JSON.parse(document.getElementById("told").textContent);

const KEYS = [
  ["j  k  ← ↑ ↓ →", "go from panel to panel"],
  ["Enter", "maximise the panel, and back"],
  ["i", "definition of what the panel shows"],
  ["t", "light or dark"],
  ["/", "filter (on a view's page)"],
  ["h", "to the first page"],
  ["?", "this help"],
  ["Esc", "close"],
];

export class Page {
  constructor() {
    this.panels = [];
    this.marked = new Set();
    this.ids = 0;
    this.feeds = new Map();
    this.columns = told.columns ?? 12;
    this.motion = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", () => this.retheme());
    this.applyChoice(this.stored());
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("visibilitychange", () => this.beat());
    document.getElementById("theme").addEventListener("click", () => this.toggleTheme());
    document.getElementById("help").addEventListener("click", () => this.help());
    this.clock = document.getElementById("clock");
    this.tick();
    window.headracePage = this; // for the curious, and for tests
  }

  nextId() {
    this.ids += 1;
    return this.ids;
  }

  tick() {
    const now = Date.now();
    this.clock.textContent = `${clockText(now)} UTC`;
    this.overall();
    setTimeout(() => this.tick(), 1000 - (now % 1000));
  }

  // The whole page in one word, for the bar and for the tab.
  overall() {
    const box = document.getElementById("overall");
    const feeds = [...this.feeds.values()];
    if (!box || !feeds.length) return;
    const states = feeds.map((feed) => feed.state);
    const order = ["error", "stale", "behind", "loading", "live", "quiet"];
    const state = order.find((one) => states.includes(one));
    const version = Math.max(...feeds.map((feed) => feed.version ?? 0));
    const lost = states.filter((one) => one === state).length;
    const many = ["error", "stale", "behind"].includes(state) && feeds.length > 1 ? ` ${lost} of ${feeds.length}` : "";
    box.className = `state ${state}`;
    box.lastChild.textContent = `${state}${many}`;
    document.getElementById("version").textContent = version ? `version ${version}` : "";
    document.body.dataset.state = state;
  }

  // --- theme ---------------------------------------------------------------------------------------

  stored() {
    try { return localStorage.getItem("headrace-theme"); } catch { return null; }
  }

  applyChoice(name) {
    if (name === "light" || name === "dark") document.documentElement.dataset.theme = name;
  }

  get theme() {
    const name = document.documentElement.dataset.theme ?? (this.dark.matches ? "dark" : "light");
    return told.themes[name];
  }

  toggleTheme() {
    const next = this.theme.name === "dark" ? "light" : "dark";
    try { localStorage.setItem("headrace-theme", next); } catch { /* a page without storage still has both */ }
    this.applyChoice(next);
    this.retheme();
  }

  async retheme() {
    for (const panel of this.panels) {
      try { await panel.retheme(this.theme); } catch (error) { panel.fail(String(error.message ?? error)); }
    }
  }

  // --- drawing -------------------------------------------------------------------------------------

  add(panel) {
    this.panels.push(panel);
    this.mark(panel);
  }

  mark(panel) {
    this.marked.add(panel);
    this.beat();
  }

  // At most once a frame, and never while the last drawing goes on; a panel that is dear is drawn less often.
  beat() {
    if (this.waiting || this.drawing || document.hidden || !this.marked.size) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.drawMarked();
    });
  }

  async drawMarked() {
    this.drawing = true;
    const now = performance.now();
    let next = Infinity;
    for (const panel of [...this.marked]) {
      const due = panel.drawn + Math.min(2000, Math.max(panel.pause_ms, panel.cost_ms * 12));
      if (due > now) { next = Math.min(next, due - now); continue; }
      this.marked.delete(panel);
      await this.drawOne(panel);
    }
    this.drawing = false;
    if (this.marked.size) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.beat(), Number.isFinite(next) ? next : 0);
    }
  }

  async drawOne(panel) {
    const began = performance.now();
    try {
      await panel.update();
    } catch (error) {
      panel.fail(String(error.message ?? error));
    }
    panel.drawn = performance.now();
    panel.cost_ms = 0.7 * panel.cost_ms + 0.3 * (panel.drawn - began);
  }

  // --- keys ----------------------------------------------------------------------------------------

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "Escape") return this.escape(event.target, typing);
    if (typing || document.querySelector("dialog[open]")) return;
    const action = this.action(event);
    if (action) {
      event.preventDefault();
      action();
    }
  }

  action(event) {
    const panel = this.panels.find((one) => one.root === document.activeElement);
    const inside = document.activeElement?.closest?.("button, a, .scroll:focus, summary");
    const moves = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1 };
    if (event.key.startsWith("Arrow") && document.activeElement?.closest?.(".scroll, .scrolls")) return null; // it scrolls
    if (event.key === "?") return () => this.help();
    if (event.key === "t") return () => this.toggleTheme();
    if (event.key === "h") return () => { location.href = "/"; };
    if (event.key === "/" && document.getElementById("filter")) return () => document.getElementById("filter").focus();
    if (!this.panels.length) return null;
    if (event.key in moves) return () => this.move(panel, moves[event.key]);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!panel && !document.body.classList.contains("wall")) return null;
      return () => this.moveVertically(panel, event.key === "ArrowDown" ? 1 : -1);
    }
    if (event.key === "Enter" && panel && !inside) return () => this.maximise(panel);
    if (event.key === "i" && panel) return () => this.explain(panel.told);
    return null;
  }

  escape(target, typing) {
    if (typing) target.blur();
    const large = this.panels.find((panel) => panel.root.classList.contains("max"));
    if (large) this.maximise(large);
  }

  move(panel, by) {
    const at = panel ? this.panels.indexOf(panel) : by > 0 ? -1 : 0;
    this.focus(this.panels[(at + by + this.panels.length) % this.panels.length]);
  }

  moveVertically(panel, by) {
    if (!panel) return this.move(null, by);
    const from = panel.root.getBoundingClientRect();
    const middle = from.left + from.width / 2;
    const below = this.panels
      .map((one) => ({ one, box: one.root.getBoundingClientRect() }))
      .filter(({ box }) => (by > 0 ? box.top >= from.bottom - 1 : box.bottom <= from.top + 1))
      .map(({ one, box }) => ({ one, far: Math.abs(by > 0 ? box.top - from.bottom : from.top - box.bottom) * 3 + Math.abs(box.left + box.width / 2 - middle) }))
      .sort((a, b) => a.far - b.far);
    if (below.length) this.focus(below[0].one);
  }

  focus(panel) {
    const large = this.panels.find((one) => one.root.classList.contains("max"));
    if (large && large !== panel) {
      this.maximise(large);
      this.maximise(panel);
    }
    panel.root.focus();
    panel.root.scrollIntoView({ block: "nearest" });
  }

  maximise(panel) {
    const on = panel.root.classList.toggle("max");
    document.body.classList.toggle("has-max", on);
    panel.root.focus();
  }

  // --- dialogs -------------------------------------------------------------------------------------

  help() {
    const list = make("dl", "keys");
    for (const [keys, meaning] of KEYS) {
      const dt = make("dt");
      for (const key of keys.split(/\s+/)) dt.append(make("kbd", "", key), " ");
      list.append(dt, make("dd", "", meaning));
    }
    const states = make("p", "muted");
    states.textContent =
      "live: changes arrive. quiet: connected, nothing waits, nothing new. behind: changes wait to be computed. " +
      "stale: no connection, or far behind; what is shown is old. Times are UTC.";
    this.dialog("Keys", list, states);
  }

  explain(panel) {
    const parts = [];
    if (panel.help) parts.push(words(panel.help));
    if (panel.view) {
      const line = make("p", "muted", "From ");
      panel.views.forEach((view, at) => {
        const link = make("a", "", view);
        const feed = this.feeds.get(view);
        link.href = feed?.address ? feed.address() : `/views/${encodeURIComponent(view)}`;
        line.append(at ? ", " : "", link);
        if (feed?.address) line.append(" (", file(feed), ")");
      });
      parts.push(line);
      const shown = this.panels.find((one) => one.told === panel);
      if (shown?.feed?.loaded) parts.push(make("p", "muted", `Version ${shown.feed.version}${shown.stampText()}`));
      for (const name of new Set(panel.views.map((view) => this.feeds.get(view)?.query).filter(Boolean))) parts.push(howComputed(name));
    }
    if (parts.length) this.dialog(panel.title, ...parts);
  }

  dialog(title, ...parts) {
    const dialog = make("dialog");
    const close = make("button", "close", "Close");
    close.type = "button";
    close.addEventListener("click", () => dialog.close());
    const heading = make("h2", "", title);
    heading.id = `p${this.nextId()}`;
    dialog.setAttribute("aria-labelledby", heading.id);
    dialog.append(heading, ...parts, close);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
    dialog.showModal();
  }
}

function file(feed) {
  const link = make("a", "", "CSV");
  link.href = `${feed.address()}&format=spreadsheet`;
  return link;
}

// The SQL of a named query, with what it says of itself; fetched when somebody wants to see it.
function howComputed(name) {
  const box = make("details");
  box.append(make("summary", "", `How ${name} is computed`));
  const code = make("pre", "", "loading");
  box.append(code);
  box.addEventListener("toggle", async () => {
    const answer = await fetch("/v1/queries", { headers: { Accept: "application/json" } });
    const body = await answer.json().catch(() => null);
    const query = body?.queries?.find((one) => one.name === name);
    const parts = (query?.parts ?? []).map((one) => `\n\n-- {${one.name}}\n${one.sql.trim()}`);
    code.textContent = query ? [query.sql.trim(), ...parts].join("") : `the server answered ${answer.status}`;
  }, { once: true });
  return box;
}
