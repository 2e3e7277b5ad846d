// The panels of a page: a frame that tells version and freshness, and what is drawn inside.

import { Chart, chartRows, curveRows, vega } from "./chart.js";
import { EMPTY, LEVEL_SIGN, clockText, levelOf, plain, show, spanText, toNumber, wholeSpanText } from "./format.js";
import { make } from "./make.js";
import { words } from "./words.js";

const NAMES = { live: "live", quiet: "quiet", behind: "behind", stale: "stale", loading: "loading", error: "error" };

// The small line that says how far a number can be believed.
export function stateText(feed) {
  const state = feed.state;
  if (feed.past && (state === "live" || state === "quiet")) return "as known";
  if (state === "live") return feed.freshness_ms >= 1 ? spanText(feed.freshness_ms) : "now";
  if (state === "quiet") return `quiet ${wholeSpanText(feed.age_ms)}`;
  if (state === "behind") return `behind ${spanText(feed.waiting_ms)}`;
  if (state === "stale") return feed.loaded ? `stale ${wholeSpanText(feed.connected ? feed.waiting_ms : feed.silence_ms)}` : "no connection";
  return NAMES[state];
}

export class Panel {
  constructor(told, feeds, page) {
    this.told = told;
    this.page = page;
    this.feeds = (told.views ?? []).map((view) => feeds.get(view)).filter(Boolean);
    this.feed = told.view ? feeds.get(told.view) : null;
    this.feedOf = (view) => feeds.get(view);
    this.dirty = true;
    this.cost_ms = 4;
    this.pause_ms = { tile: 80, table: 150, text: 1000 }[told.type] ?? 250; // numbers move at once, charts four times a second
    this.drawn = 0;
    this.frame();
    for (const feed of new Set(this.feeds)) {
      feed.listen((_, data) => {
        this.showState();
        if (data) this.page.mark(this);
      });
    }
    this.showState();
  }

  frame() {
    const told = this.told;
    const root = make("section", `panel ${told.type}`);
    root.tabIndex = 0;
    root.style.setProperty("--w", told.w);
    root.style.setProperty("--h", told.h);
    root.dataset.wide = told.w > 3 ? "yes" : "no";
    root.dataset.whole = told.w >= this.page.columns ? "yes" : "no";
    const head = make("header");
    const title = make("h2", "", told.link ? null : told.title);
    if (told.link) {
      title.append(this.pointed(make("a", "", told.title), told.link));
    }
    title.id = `p${this.page.nextId()}`;
    root.setAttribute("aria-labelledby", title.id);
    this.newest = make("span", "newest");
    this.left = make("span", "left muted");
    head.append(title, this.newest, this.left);
    if (told.help || told.view) head.append(this.infoButton());
    if (told.export) head.append(this.pointed(make("a", "export", "CSV"), told.export));
    if (this.feed) {
      this.state = make("span", "state");
      this.stateWord = make("span", "word");
      this.stateVersion = make("span", "version");
      this.state.append(make("i"), this.stateWord, this.stateVersion);
      head.append(this.state);
    }
    this.body = make("div", "body");
    if (told.title || this.feed) root.append(head);
    root.append(this.body);
    this.root = root;
    if (told.problem) this.fail(told.problem);
  }

  // Where a link leads depends on what is chosen, and on the row that is shown, by then.
  pointed(link, address) {
    const point = () => { link.href = this.page.parameters ? this.page.parameters.fill(address, (name) => this.read(name)) : address; };
    for (const event of ["pointerenter", "pointerdown", "focus"]) link.addEventListener(event, point);
    point();
    return link;
  }

  // A column of the row that a panel of one row shows.
  read() {
    return undefined;
  }

  infoButton() {
    const button = make("button", "info", "i");
    button.type = "button";
    button.setAttribute("aria-label", `Definition of ${this.told.title}`);
    button.addEventListener("click", () => this.page.explain(this.told));
    return button;
  }

  fail(problem) {
    this.failed = problem;
    this.body.replaceChildren(make("p", "problem", problem));
  }

  showState() {
    if (!this.state) return;
    const feed = this.worst();
    const word = stateText(feed);
    const state = feed.state;
    if (this.root.dataset.state !== state) {
      this.root.dataset.state = state;
      this.state.className = `state ${state}`;
    }
    if (this.stateWord.textContent !== word) this.stateWord.textContent = word;
    const stamp = this.stampText();
    const version = feed.version === null ? "" : `v${feed.version}${stamp}${feed.truncated ? ", first rows only" : ""}`;
    if (this.stateVersion.textContent !== version) this.stateVersion.textContent = version;
    const since = feed.changedAt ? `; last change ${clockText(feed.changedAt)} UTC` : "";
    this.state.title = `${NAMES[state]}: version ${feed.version ?? "none"}, freshness ${Math.round(feed.freshness_ms ?? 0)} ms${since}`;
  }

  stampText() {
    if (!this.told.stamp || !this.feed?.loaded) return "";
    const rows = this.feed.rows;
    const first = rows.held.values().next().value?.row;
    const value = first?.[rows.position(this.told.stamp)];
    return value === null || value === undefined ? "" : ` · ${plain(value)}`;
  }

  // A panel over several views is as fresh as the least fresh of them.
  worst() {
    const rank = { error: 5, stale: 4, behind: 3, loading: 2, quiet: 1, live: 0 };
    const bad = this.feeds.filter((feed) => rank[feed.state] > 1).sort((a, b) => rank[b.state] - rank[a.state]);
    return bad[0] ?? this.feed;
  }

  get ready() {
    return !this.failed && this.feeds.length > 0 && this.feeds.every((feed) => feed.loaded);
  }

  async update() {
    const broken = this.feeds.find((feed) => feed.error);
    if (broken) {
      this.errorBox ??= make("p", "problem");
      this.errorBox.textContent = `${broken.view}: ${broken.error}`;
      if (!this.errorBox.isConnected) this.body.prepend(this.errorBox);
      return;
    }
    this.errorBox?.remove();
    if (!this.ready) return;
    await this.draw();
    this.root.classList.add("drawn");
  }

  empty(nothing) {
    this.root.classList.toggle("empty", nothing);
  }

  // What stands where nothing can be shown: the reason that a row names, or the panel's words.
  why() {
    const { told, feed } = this;
    const at = told.reason ? feed.rows.position(told.reason) : null;
    const row = at === null ? null : feed.rows.select(told).find((one) => one[at] !== null);
    return row ? plain(row[at]) : told.empty || "no rows";
  }

  async draw() {}

  async retheme() {}
}

class TilePanel extends Panel {
  frame() {
    super.frame();
    if (this.told.problem) return;
    this.number = make("div", "number");
    this.number.setAttribute("aria-hidden", "true");
    this.spoken = make("div", "spoken");
    this.spoken.setAttribute("aria-live", "polite");
    this.beneath = make("div", "beneath");
    this.body.append(this.number, this.beneath, this.spoken);
    if (this.told.curve) {
      this.root.classList.add("curved");
      this.curveBox = make("div", "curve");
      this.curveBox.setAttribute("aria-hidden", "true");
      this.body.append(this.curveBox);
      this.chart = new Chart(this.curveBox, this.told.curve.spec);
    }
    this.seen = [];
    new ResizeObserver(() => this.fit()).observe(this.body);
  }

  // As large as the box allows: a wall is read from across the room.
  fit() {
    const padding = Number.parseFloat(getComputedStyle(this.body).paddingBottom) || 0;
    const width = this.body.clientWidth - 20;
    const height = this.body.clientHeight - padding - 2 - this.beneath.offsetHeight;
    if (width <= 0 || height <= 0) return;
    this.number.style.fontSize = "40px";
    const natural = this.number.offsetWidth || 1;
    const size = Math.min((40 * width) / natural, height * (this.told.curve ? 0.56 : 0.8), 96);
    this.number.style.fontSize = `${Math.max(16, Math.floor(size))}px`;
  }

  async draw() {
    const { told, feed } = this;
    const rows = feed.rows;
    const row = rows.select(told)[0];
    const kind = rows.columns[rows.position(told.value)].kind;
    const cell = row ? (column) => row[rows.position(column)] : () => null;
    const value = cell(told.value);
    const text = show(value, told.format, kind, cell);
    const level = levelOf(value, told.thresholds);
    const length = this.number.textContent.length;
    const lines = this.beneath.offsetHeight;
    if (this.number.textContent !== text) this.number.textContent = text;
    this.number.title = value === null || value === undefined ? "no value" : plain(value);
    this.number.className = `number ${level ?? ""}`;
    this.drawBeneath(value, cell, level);
    if (length !== text.length || lines !== this.beneath.offsetHeight) this.fit();
    this.speak(text, level);
    if (this.chart) await this.chart.draw(curveRows(told.curve, this.feedOf(told.curve.view).rows));
  }

  read(name) {
    const at = this.feed.rows.position(name);
    const row = at !== undefined && this.feed.loaded ? this.feed.rows.select(this.told)[0] : null;
    return row?.[at] ?? undefined;
  }

  drawBeneath(value, cell, level) {
    const parts = [];
    if ((value === null || value === undefined) && (this.told.reason || this.told.empty)) {
      this.beneath.replaceChildren(make("span", "reason", this.why()));
      return;
    }
    if (level) parts.push(make("span", level, `${LEVEL_SIGN[level]} ${level}`));
    if (this.told.rate) parts.push(this.rateText(value, cell));
    if (this.told.compare) parts.push(this.changeText(value, cell));
    for (const fact of this.told.facts) parts.push(this.factText(fact, cell));
    this.beneath.replaceChildren(...parts.filter((part) => part.textContent));
  }

  factText(fact, cell) {
    const rows = this.feedOf(fact.view).rows;
    const first = fact.view === this.told.view ? null : rows.select({ limit: 1 })[0];
    const read = fact.view === this.told.view ? cell : (column) => (first ? first[rows.position(column)] : null);
    const kind = rows.columns[rows.position(fact.value)].kind;
    const pair = make("span", "fact");
    pair.append(make("b", "", show(read(fact.value), fact.format, kind, read)), ` ${fact.label}`);
    return pair;
  }

  // Growth as seen on this page over the last minute at most.
  rateText(value, cell) {
    const now = performance.now();
    const number = toNumber(value);
    if (!Number.isFinite(number)) return make("span");
    const last = this.seen.at(-1);
    if (!last || now - last.at > 250) this.seen.push({ at: now, number });
    while (this.seen.length > 2 && now - this.seen[0].at > 60000) this.seen.shift();
    const first = this.seen[0];
    if (now - first.at < 2000) return make("span", "muted", `… per ${this.told.rate}`);
    const per = { second: 1000, minute: 60000, hour: 3600000 }[this.told.rate];
    const rate = ((number - first.number) / (now - first.at)) * per;
    const format = rateFormat(this.told.format, rate);
    const sign = rate > 0 ? "+" : "";
    return make("span", "rate", `${sign}${show(rate, format, "number", cell)} per ${this.told.rate}`);
  }

  changeText(value, cell) {
    const now = toNumber(value);
    const then = toNumber(cell(this.told.compare));
    if (!Number.isFinite(now) || !Number.isFinite(then) || then === 0) return make("span");
    const share = (now - then) / Math.abs(then);
    const better = this.told.good && share !== 0 ? (share > 0) === (this.told.good === "more") : null;
    const sign = share > 0 ? "▲ +" : share < 0 ? "▼ " : "";
    const text = `${sign}${show(share, { kind: "percent", digits: 1 }, "number")}`;
    return make("span", better === null ? "delta" : better ? "delta good" : "delta bad", text);
  }

  // Read aloud at most every 20 seconds: a number that moves ten times a second would only be noise.
  speak(text, level) {
    const now = performance.now();
    if (this.spokenAt && now - this.spokenAt < 20000) return;
    this.spokenAt = now;
    this.spoken.textContent = `${this.told.title}: ${text}${level ? `, ${level}` : ""}`;
  }

  async retheme(theme) {
    await this.chart?.embed(theme);
  }
}

function rateFormat(format, rate) {
  const digits = Math.abs(rate) >= 100 ? 0 : 1;
  if (!format) return { kind: "number", digits };
  return ["money", "number", "integer"].includes(format.kind)
    ? { ...format, kind: format.kind === "integer" ? "number" : format.kind, digits }
    : format;
}

const STRIP_PX = 15; // less cannot be read; a wall is never scrolled, and has few strips

class ChartPanel extends Panel {
  frame() {
    super.frame();
    if (this.told.problem) return;
    this.box = make("div", "chart");
    this.box.setAttribute("role", "img");
    this.box.setAttribute("aria-label", this.told.title);
    this.nothing = make("p", "nothing", "no rows");
    this.body.append(this.box, this.nothing);
    this.chart = new Chart(this.box, this.told.spec);
    if (this.told.type === "heat" && !document.body.classList.contains("wall")) this.chart.strip_px = STRIP_PX;
    if (this.page.parameters && (this.told.open || this.told.steps?.some((step) => step.open))) {
      this.chart.opens = (one, event) => this.open(one, event);
      this.box.classList.add("opens");
      this.reach();
    }
  }

  // By keys: arrows go from mark to mark of those that lead somewhere, Enter follows; the mark is told in words.
  reach() {
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "application");
    this.box.setAttribute("aria-roledescription", "chart: arrows go from mark to mark, Enter opens");
    this.mark = make("p", "mark");
    this.mark.setAttribute("role", "status");
    this.body.append(this.mark);
    this.marked = null;
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    this.box.addEventListener("blur", () => this.point(null));
  }

  leading() {
    return (this.chart.shown ?? []).filter((one) => one.open ?? this.told.open);
  }

  point(at) {
    const one = at === null ? null : this.leading()[at];
    this.marked = one ? at : null;
    const where = one && [one.at ?? one.stage ?? one.x, one.s ?? (one.v === undefined ? null : one.y)];
    this.mark.textContent = one ? [...where, one.label].filter((part) => part !== undefined && part !== null && part !== "").join(" · ") : "";
  }

  pressed(event) {
    const last = this.leading().length - 1;
    const now = this.marked;
    if (last < 0) return;
    if (event.key === "Enter" && now !== null && now <= last) this.open(this.leading()[now], event);
    else if (event.key === "ArrowRight") this.point(now === null ? 0 : Math.min(now + 1, last));
    else if (event.key === "ArrowLeft") this.point(now === null ? last : Math.max(now - 1, 0));
    else if (event.key === "Home") this.point(0);
    else if (event.key === "End") this.point(last);
    else return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere arrows go from panel to panel
  }

  // To what the table's number leads to: `{column}` of the row that was met, `{series}` the column of its line.
  open(one, event) {
    const address = one.open ?? this.told.open;
    if (!address) return;
    const read = (name) => (name === "series" ? one.name : one.row?.[this.feed.rows.position(name)]);
    const where = this.page.parameters.fill(address, read);
    if (event.ctrlKey || event.metaKey) window.open(where, "_blank", "noopener");
    else location.assign(where);
  }

  async draw() {
    const values = chartRows(this.told, this.feed.rows);
    const nothing = values.every((one) => one.y === null);
    this.empty(nothing);
    if (nothing) this.nothing.textContent = this.why();
    const last = values.at(-1);
    const whole = this.told.partial ? values.findLast((one) => !one.last) ?? last : last;
    if (this.told.newest) this.newest.textContent = whole?.label ?? "";
    this.left.textContent = values.cut ?? "";
    this.box.setAttribute("aria-label", this.spoken(values));
    await this.chart.draw(values);
  }

  spoken(values) {
    const kind = { heat: "heat strips", funnel: "funnel" }[this.told.type] ?? `${this.told.type} chart`;
    if (!values.length) return `${this.told.title}, ${kind}, no rows`;
    if (this.told.type === "funnel") return `${this.told.title}: ${values.map((one) => `${one.stage} ${one.label}`).join(", ")}`;
    if (this.told.ranked || this.told.type === "waterfall") return `${this.told.title}: ${values.slice(0, 10).map((one) => `${one.x} ${one.label}`).join(", ")}`;
    return `${this.told.title}, ${kind}, newest ${values.at(-1).label} at ${values.at(-1).at}`;
  }

  async retheme(theme) {
    await this.chart?.embed(theme);
  }
}

const SHOWN_MAX = 200;

export class TablePanel extends Panel {
  frame() {
    super.frame();
    if (this.told.problem) return;
    this.scroll = make("div", "scroll");
    this.scroll.setAttribute("role", "region");
    this.scroll.setAttribute("aria-label", `Rows of ${this.told.title}`);
    this.scrolls();
    new ResizeObserver(() => this.scrolls()).observe(this.scroll);
    const table = make("table");
    this.headRow = make("tr");
    this.cells = this.told.cells;
    for (const cell of this.cells) this.headRow.append(this.heading(cell));
    const head = make("thead");
    head.append(this.headRow);
    this.tbody = make("tbody");
    table.append(head, this.tbody);
    this.cut = make("p", "cut muted");
    this.scroll.append(table, this.cut);
    this.nothing = make("p", "nothing", "no rows");
    this.body.append(this.scroll, this.nothing);
    this.known = null;
  }

  // With keys one gets into what has more than it shows, and not into what has not.
  scrolls() {
    const { scrollWidth, clientWidth, scrollHeight, clientHeight } = this.scroll;
    const wide = scrollWidth > clientWidth + 1;
    this.scroll.tabIndex = wide || scrollHeight > clientHeight + 1 ? 0 : -1;
    this.scroll.classList.toggle("wide", wide);
  }

  heading(cell) {
    const th = make("th", `${cell.right ? "right" : ""} ${cell.grow ? "grow" : ""}`, cell.title);
    th.scope = "col";
    return th;
  }

  // Where nobody says how many rows are wanted there is an end to them all the same, and it is told.
  chosen() {
    const { rows, total } = this.feed.rows.first({ ...this.told, limit: this.told.limit ?? SHOWN_MAX });
    const cut = this.told.limit === null && total > rows.length;
    const file = this.told.export ? "; the file has all" : "";
    this.cut.textContent = cut ? `the first ${SHOWN_MAX} of ${show(total, { kind: "integer" }, "number")} rows${file}` : "";
    return rows;
  }

  async draw() {
    const rows = this.feed.rows;
    const chosen = this.chosen();
    this.empty(chosen.length === 0);
    if (!chosen.length) this.nothing.textContent = this.why();
    const at = this.cells.map((cell) => rows.position(cell.column));
    const largest = this.cells.map((cell, n) => (cell.bar ? largestOf(cell, rows, chosen, at[n]) : null));
    this.cells.forEach((cell, n) => this.show(n, !cell.optional || chosen.some((row) => row[at[n]] !== null)));
    while (this.tbody.rows.length > chosen.length) this.tbody.deleteRow(-1);
    const seen = new Set();
    const fresh = [];
    chosen.forEach((row, number) => {
      const name = plain(row[at[0]]);
      seen.add(name);
      const line = this.rowAt(number);
      this.fillRow(line, row, { rows, at, largest });
      if (this.known && !this.known.has(name)) fresh.push(line);
    });
    this.known = seen;
    // When all is new, nothing is news.
    if (this.page.motion && fresh.length * 3 <= chosen.length) fresh.forEach(flash);
    this.scrolls();
  }

  // A column in which no row has a value may be left out.
  show(n, shown) {
    if (this.headRow.cells[n].hidden === !shown) return;
    for (const row of [this.headRow, ...this.tbody.rows]) row.cells[n].hidden = !shown;
  }

  rowAt(number) {
    const found = this.tbody.rows[number];
    if (found) return found;
    const row = this.tbody.insertRow();
    for (const cell of this.cells) {
      const td = row.insertCell();
      if (cell.right) td.className = "right";
      td.hidden = this.headRow.cells[td.cellIndex].hidden;
    }
    return row;
  }

  fillRow(line, row, { rows, at, largest }) {
    const read = (column) => row[rows.position(column)];
    this.cells.forEach((cell, n) => {
      const td = line.cells[n];
      const value = row[at[n]];
      const text = show(value, cell.format, rows.columns[at[n]].kind, read);
      const address = cell.link && value !== null && this.page.parameters ? this.page.parameters.fill(cell.link, read) : null;
      if (td.textContent !== text || (td.firstElementChild?.getAttribute("href") ?? null) !== address) {
        td.replaceChildren(address ? linked(address, text) : document.createTextNode(text));
        td.title = text.length > 24 ? text : "";
      }
      const level = cell.levels[plain(value)] ?? levelOf(value, cell.thresholds);
      const wanted = `${cell.right ? "right" : ""} ${cell.grow ? "grow" : ""} ${level ?? ""} ${cell.bar ? "share" : ""} ${value === null ? "null" : ""}`;
      if (td.dataset.look !== wanted) { td.className = wanted; td.dataset.look = wanted; }
      const most = largest[n]?.get(unitOf(cell, read)) ?? 0;
      if (most > 0) td.style.setProperty("--share", `${((Math.abs(toNumber(value)) || 0) / most) * 100}%`);
    });
  }
}

// Bars stand beside each other only where the numbers can: yen are not compared with pounds.
const unitOf = (cell, read) => (cell.format?.currency_column ? read(cell.format.currency_column) : null);

function largestOf(cell, rows, chosen, at) {
  const largest = new Map();
  for (const row of chosen) {
    const unit = unitOf(cell, (column) => row[rows.position(column)]);
    largest.set(unit, Math.max(largest.get(unit) ?? 0, Math.abs(toNumber(row[at])) || 0));
  }
  return largest;
}

function linked(address, text) {
  const link = make("a", "", text);
  link.href = address;
  return link;
}

// A row whose first column was not there before is marked for a moment.
function flash(line) {
  line.animate?.([{ backgroundColor: "var(--flash)" }, { backgroundColor: "transparent" }], { duration: 900, easing: "ease-out" });
}

class TextPanel extends Panel {
  frame() {
    super.frame();
    this.body.append(words(this.told.text));
  }
}

const KINDS = { tile: TilePanel, table: TablePanel, text: TextPanel };

// kinds: panels beyond those of this file.
export function buildPanel(told, feeds, page, kinds = {}) {
  return new (kinds[told.type] ?? KINDS[told.type] ?? ChartPanel)(told, feeds, page);
}

export { EMPTY, make, vega };
