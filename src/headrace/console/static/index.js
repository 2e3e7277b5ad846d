// The first page: dashboards, views with rows, inputs with what was late or rejected.

import { show, spanText } from "./format.js";
import { Page, told } from "./page.js";
import { make } from "./panels.js";
import { Poll, getJson } from "./poll.js";
import { words } from "./words.js";

const page = new Page();
const grid = document.getElementById("grid");
let overview = told.overview;
const counts = new Map();

function link(kind, name) {
  const anchor = make("a", "", name);
  anchor.href = `/${kind}/${encodeURIComponent(name)}`;
  return anchor;
}

function section(title, ...content) {
  const box = make("section", "panel list");
  const header = make("header");
  header.append(make("h2", "", title));
  const body = make("div", "body");
  body.append(...content);
  box.append(header, body);
  return box;
}

function table(heads, lines) {
  const element = make("table");
  const head = element.createTHead().insertRow();
  for (const [name, right] of heads) {
    const th = make("th", right ? "right" : "", name);
    th.scope = "col";
    head.append(th);
  }
  const body = element.createTBody();
  for (const line of lines) {
    const row = body.insertRow();
    line.forEach((value, at) => {
      const td = row.insertCell();
      if (heads[at][1]) td.className = "right";
      if (value instanceof Node) td.append(value);
      else td.textContent = value;
    });
  }
  const scroll = make("div", "scroll");
  scroll.append(element);
  return scroll;
}

const count = (value) => show(value, { kind: "integer" }, "number");

// Rows per second since the answer before.
function rate(name, rows) {
  const now = performance.now();
  const last = counts.get(name);
  if (rows === null || rows === undefined) return "";
  if (!last || now - last.at > 800) counts.set(name, { at: now, rows, text: last ? perSecond(rows - last.rows, now - last.at) : "" });
  return counts.get(name).text;
}

const perSecond = (rows, ms) => (rows > 0 ? `+${show((rows * 1000) / ms, { kind: "number", digits: 0 }, "number")}/s` : "");

function dashboards() {
  if (!overview.dashboards.length) return [];
  const cards = make("div", "cards");
  for (const one of overview.dashboards) {
    const card = make("a", "card");
    card.href = `/dashboards/${encodeURIComponent(one.name)}`;
    card.append(make("strong", "", one.title));
    if (one.description) {
      const text = make("span", "muted");
      text.textContent = plainWords(one.description);
      card.append(text);
    }
    cards.append(card);
  }
  return [section("Dashboards", cards)];
}

function plainWords(text) {
  const box = make("div");
  box.append(words(text));
  return box.textContent;
}

function views() {
  const lines = overview.views.map((view) => [
    link("views", view.name),
    count(view.rows),
    view.columns,
    view.error ? make("span", "bad", `in error: ${view.error}`) : make("span", "muted", "up to date"),
  ]);
  const heads = [["view"], ["rows", true], ["columns", true], ["state"]];
  return section(`Views (${overview.views.length})`, lines.length ? table(heads, lines) : make("p", "muted", "No view is declared."));
}

function warned(value, kind) {
  const text = value === null ? "" : count(value);
  return value ? make("span", kind, text) : make("span", "muted", text);
}

function inputs() {
  const lines = overview.inputs.map((one) => [
    link(one.kind === "stream" ? "streams" : "tables", one.name),
    one.kind,
    one.rows === null ? "" : count(one.rows),
    one.accepted === null ? "" : count(one.accepted),
    rate(one.name, one.accepted),
    warned(one.late, "warn"),
    warned(one.rejected, "bad"),
  ]);
  const heads = [["stream or table"], ["kind"], ["rows", true], ["since the start", true], ["now", true], ["late", true], ["rejected", true]];
  return section(`Streams and tables (${overview.inputs.length})`, lines.length ? table(heads, lines) : make("p", "muted", "Nothing is declared."));
}

function render() {
  const focused = document.activeElement?.getAttribute?.("href");
  grid.replaceChildren(...dashboards(), views(), inputs());
  if (focused) grid.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  const waiting = overview.pending_commits ? `behind ${spanText(overview.freshness_ms)}` : "up to date";
  state(overview.trouble || overview.freshness_ms > 3000 ? "behind" : "live", overview.trouble || waiting);
  document.getElementById("version").textContent = `version ${overview.version}`;
}

function state(kind, text) {
  const box = document.getElementById("overall");
  box.className = `state ${kind}`;
  box.lastChild.textContent = text;
  document.body.dataset.state = kind;
}

render();
new Poll(() => getJson("/console/overview.json"), (answer, error) => {
  if (error) return state("stale", "no connection");
  overview = answer;
  render();
}).start();
document.body.dataset.ready = "yes";
