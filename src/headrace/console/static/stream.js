// A stream: its columns, how fast rows come, and what was late or rejected of late.

import { EMPTY, plain, show } from "./format.js";
import { Page, told } from "./page.js";
import { make } from "./panels.js";
import { Poll, getJson } from "./poll.js";
import { block, plainTable, schemaBlock } from "./relation.js";

const page = new Page();
const grid = document.getElementById("grid");
let now = told;
let last = null;

function cellText(value, column) {
  if (value === null || value === undefined) return EMPTY;
  return column.kind === "text" ? plain(value) : show(value, column.format, column.kind);
}

function counters() {
  const box = make("div", "figures");
  const rates = perSecond();
  for (const [name, value] of Object.entries(now.counts)) {
    const pair = make("div");
    const extra = rates[name] ? ` +${show(rates[name], { kind: "number", digits: 0 }, "number")}/s` : "";
    pair.append(make("span", "figure", show(value, { kind: "integer" }, "number")), make("span", "muted", ` ${name}${extra}`));
    box.append(pair);
  }
  return block("Rows since the start", box);
}

function perSecond() {
  const at = performance.now();
  const rates = {};
  if (last) for (const [name, value] of Object.entries(now.counts)) rates[name] = Math.max(0, ((value - (last.counts[name] ?? 0)) * 1000) / (at - last.at));
  last = { at, counts: now.counts };
  return rates;
}

function side(one) {
  const rows = one.recent ?? [];
  const content = rows.length ? plainTable(one.columns, rows, cellText) : make("p", "muted", "none");
  const box = block(`${one.label}: ${show(one.rows, { kind: "integer" }, "number")}${rows.length ? `, the newest ${rows.length}` : ""}`, content);
  box.classList.add("side");
  return box;
}

function render() {
  grid.replaceChildren(counters(), ...now.sides.map(side), schemaBlock(now));
  const box = document.getElementById("overall");
  box.className = "state live";
  box.lastChild.textContent = "up to date";
  document.getElementById("version").textContent = `version ${now.version}`;
}

render();
new Poll(() => getJson(`/console/relations/${encodeURIComponent(told.name)}.json`), (answer, error) => {
  const box = document.getElementById("overall");
  if (error) {
    box.className = "state stale";
    box.lastChild.textContent = "no connection";
    return;
  }
  now = answer;
  render();
}).start();
document.body.dataset.ready = "yes";
page.overall();
