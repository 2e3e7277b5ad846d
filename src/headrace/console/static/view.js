// The page that every view and table has: its rows live, sorted and filtered at will, a chart, schema, SQL, EXPLAIN.

import { plain, show } from "./format.js";
import { Feed } from "./feed.js";
import { Page, told } from "./page.js";
import { TablePanel, buildPanel, make } from "./panels.js";
import { codeBlock, schemaBlock } from "./relation.js";
import { Sample } from "./sample.js";

const SHOWN_MAX = 500;
const page = new Page();
const grid = document.getElementById("grid");

// A table whose columns sort and whose rows are filtered by what stands in the box.
class Explorer extends TablePanel {
  heading(cell) {
    const th = super.heading(cell);
    const button = make("button", "sort", cell.title);
    button.type = "button";
    button.addEventListener("click", () => this.sortBy(cell.column));
    th.replaceChildren(button);
    th.dataset.column = cell.column;
    return th;
  }

  sortBy(column) {
    const first = this.order?.[0];
    this.order = first?.column !== column ? [{ column, descending: false }] : first.descending ? [] : [{ column, descending: true }];
    for (const th of this.headRow.children) {
      const sorted = this.order[0]?.column === th.dataset.column ? this.order[0] : null;
      if (sorted) th.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
    this.known = null;
    this.feed.orderBy?.(this.order);
    this.page.mark(this);
  }

  filterBy(text) {
    this.needle = text.trim().toLowerCase();
    this.known = null;
    this.page.mark(this);
  }

  chosen() {
    const rows = this.feed.rows;
    const found = rows.select({ order: this.order?.length ? this.order : told.order });
    const hits = this.needle ? found.filter((row) => this.matches(row)) : found;
    this.count.textContent = countText(hits.length, this.feed);
    return hits.slice(0, SHOWN_MAX);
  }

  matches(row) {
    return row.some((value) => value !== null && plain(value).toLowerCase().includes(this.needle));
  }
}

const integer = (value) => show(value, { kind: "integer" }, "number");

function countText(hits, feed) {
  const shown = hits > SHOWN_MAX ? `the first ${integer(SHOWN_MAX)} of ` : "";
  const large = feed.partial ? " (a large view: the first rows of this order, asked for every other second)" : "";
  return `${shown}${integer(hits)} ${hits === 1 ? "row" : "rows"}${large}`;
}

const large = (told.rows ?? 0) > told.rows_max;
const feed = large ? new Sample(told.name, told.columns, told.rows_max) : new Feed(told.name, told.columns);
page.feeds.set(told.name, feed);

const cells = told.columns.map((column) => ({
  column: column.name, title: column.name, format: column.format, bar: false, grow: false, levels: {}, thresholds: [], right: column.kind === "number",
}));
const time = told.columns.find((column) => column.kind === "time" || column.kind === "date");
told.order = time ? [{ column: time.name, descending: true }] : [];
const base = { title: "", help: "", w: 12, h: 6, view: told.name, views: [told.name], where: [], order: [], limit: null, window_ms: null, problem: null, thresholds: [] };
const explorer = new Explorer({ ...base, type: "table", title: "Rows", cells }, page.feeds, page);
const tools = make("div", "tools");
const filter = make("input");
filter.id = "filter";
filter.type = "search";
filter.placeholder = "Filter (/)";
filter.setAttribute("aria-label", "Filter rows");
filter.addEventListener("input", () => explorer.filterBy(filter.value));
explorer.count = make("span", "muted");
explorer.count.setAttribute("aria-live", "polite");
tools.append(filter, explorer.count);
explorer.body.prepend(tools);
explorer.root.classList.add("explorer");

const aside = make("div", "aside");
if (told.chart) {
  const chart = buildPanel({ ...told.chart, h: 3 }, page.feeds, page);
  chart.root.classList.add("auto");
  aside.append(chart.root);
  page.add(chart);
}
aside.append(schemaBlock(told));
if (told.sql) aside.append(codeBlock("SQL", told.sql));
if (told.explain) aside.append(codeBlock("Explain", told.explain));
grid.append(explorer.root, aside);
page.add(explorer);
await page.retheme();
feed.start();
document.body.dataset.ready = "yes";
