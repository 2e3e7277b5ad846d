// Vega-Lite charts that move: rows are prepared as headrace/charts.py describes, specifications come from there.

import { EMPTY, dateText, clockText, minorUnits, plain, show, toNumber, toTime } from "./format.js";

let loading = null;

// The Vega bundle is large; it is fetched once, when the first chart of a page needs it.
export function vega() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/console/vega.js";
    script.onload = () => resolve(window.vegaEmbed);
    script.onerror = () => { loading = null; script.remove(); reject(new Error("the charts could not be loaded")); };
    document.head.append(script);
  });
  return loading;
}

const CELLS_MAX = 6000;
const AXIS_PX = 28; // of a heat table, above its strips

// Rows of a view, selected by the panel, in the shape that the panel's chart reads; `cut` says what is left out, if any is.
export function chartRows(panel, rows) {
  if (panel.type === "funnel") return funnelRows(panel, rows);
  if (panel.type === "heat") return heatRows(panel, rows);
  if (panel.type === "waterfall") return waterfallRows(panel, rows);
  return plotRows(panel, rows);
}

function axisValue(rows, name) {
  const at = rows.position(name);
  const kind = rows.columns[at].kind;
  if (kind === "time" || kind === "date") return (row) => toTime(row[at]);
  if (kind === "number") return (row) => toNumber(row[at]);
  return (row) => (row[at] === null ? EMPTY : plain(row[at]));
}

function atText(rows, name) {
  const at = rows.position(name);
  const kind = rows.columns[at].kind;
  if (kind === "time") return (row) => `${dateText(toTime(row[at]))} ${clockText(toTime(row[at]))} UTC`;
  return (row) => show(row[at], null, kind);
}

const reader = (rows, row) => (column) => row[rows.position(column)];

// A value in the unit of its axis: minor units of money are counted in whole ones, and a yen has none.
function scaled(value, format, read) {
  const unit = minorUnits(format, read);
  return { y: toNumber(value) / unit, unit };
}

function plotRows(panel, rows) {
  const x = axisValue(rows, panel.x);
  const at = atText(rows, panel.x);
  const series = panel.series ? rows.position(panel.series) : null;
  const found = [];
  for (const row of rows.select({ ...panel, order: panel.ranked ? panel.order : byTime(panel) })) {
    for (const name of panel.y) {
      const value = row[rows.position(name)];
      if (value === null && panel.type !== "line") continue;
      const s = series === null ? panel.labels?.[name] ?? name : row[series] === null ? EMPTY : plain(row[series]);
      const label = show(value, panel.format, "number", reader(rows, row));
      const { y, unit } = scaled(value, panel.format, reader(rows, row));
      found.push({ x: x(row), y: Number.isFinite(y) ? y : null, unit, s, label, at: at(row), row, name });
    }
    if (found.length > CELLS_MAX) {
      found.cut = `the first ${CELLS_MAX} points`;
      break;
    }
  }
  const few = panel.series ? largestSeries(found) : found;
  return panel.partial ? markNewest(few) : few;
}

const SERIES_MAX = 8;

// More lines than colours can be told apart by nobody: the largest stay.
function largestSeries(found) {
  const sums = new Map();
  for (const one of found) sums.set(one.s, (sums.get(one.s) ?? 0) + Math.abs(one.y ?? 0));
  if (sums.size <= SERIES_MAX) return found;
  const kept = new Set([...sums].sort((a, b) => b[1] - a[1]).slice(0, SERIES_MAX).map(([name]) => name));
  const few = found.filter((one) => kept.has(one.s));
  few.cut = `the largest ${SERIES_MAX} of ${sums.size}`;
  return few;
}

// The newest x is still filling: `last` for it, `tail` for it and the x before, between which the dashes run.
function markNewest(found) {
  const xs = [...new Set(found.map((one) => one.x))].sort((a, b) => a - b).slice(-2);
  for (const one of found) {
    one.last = one.x === xs.at(-1);
    one.tail = xs.includes(one.x);
  }
  return found;
}

const byTime = (panel) => (panel.order?.length ? panel.order : [{ column: panel.x, descending: false }]);

function heatRows(panel, rows) {
  const x = axisValue(rows, panel.x);
  const at = atText(rows, panel.x);
  const y = rows.position(panel.y);
  const v = rows.position(panel.value);
  const chosen = rows.select({ ...panel, order: panel.order?.length ? panel.order : [{ column: panel.y }, { column: panel.x }] });
  const found = [];
  for (const row of chosen.slice(0, CELLS_MAX)) {
    const number = toNumber(row[v]);
    if (!Number.isFinite(number)) continue;
    const label = show(row[v], panel.format, "number", reader(rows, row));
    found.push({ x: x(row), y: row[y] === null ? EMPTY : plain(row[y]), v: number, label, at: at(row), row });
  }
  if (chosen.length > CELLS_MAX) found.cut = `the first ${CELLS_MAX} of ${chosen.length} cells`;
  return found;
}

function funnelRows(panel, rows) {
  const chosen = rows.select(panel);
  const cells = panel.steps.length
    ? panel.steps.map((step) => [step.label, chosen[0]?.[rows.position(step.column)] ?? null, chosen[0], step.column])
    : chosen.map((row) => [plain(row[rows.position(panel.stage)]), row[rows.position(panel.value)], row]);
  const first = toNumber(cells[0]?.[1]);
  return cells.map(([stage, value, row, name]) => ({
    stage,
    row,
    name,
    v: Number.isFinite(toNumber(value)) ? toNumber(value) : 0,
    label: show(value, panel.format ?? { kind: "integer" }, "number", row ? reader(rows, row) : null),
    share: first > 0 && value !== null ? shareText(toNumber(value) / first) : EMPTY,
  }));
}

function waterfallRows(panel, rows) {
  const read = (row, name) => row[rows.position(name)];
  const chosen = rows.select(panel);
  const bars = panel.steps.length && chosen.length
    ? panel.steps.map((step) => [step.label, read(chosen[0], step.column), step.total, chosen[0], step.open])
    : panel.steps.length ? []
    : chosen.map((row) => [plain(read(row, panel.x)), read(row, panel.y), panel.total ? read(row, panel.total) === true : false, row]);
  if (bars.every(([, value]) => value === null)) return [];
  return bars.map(([x, value, total, row, open]) => {
    const read = reader(rows, row);
    const { y } = scaled(value, panel.format, read);
    const label = show(value, panel.format, "number", read);
    const short = panel.format?.kind === "money" ? show(y, { kind: "number", compact: Math.abs(y) >= 1000, digits: Math.abs(y) >= 1000 ? 1 : 0 }) : label;
    return { x, y: y || 0, total, label, short, row, open };
  });
}

const shareText = (share) => show(share, { kind: "percent", digits: share >= 0.0995 || share === 0 ? 0 : 1 });

export function curveRows(curve, rows) {
  const x = rows.position(curve.x);
  const y = rows.position(curve.y);
  return rows
    .select({ where: curve.where, window_ms: curve.window_ms, x: curve.x, order: [{ column: curve.x }] })
    .map((row) => ({ x: toTime(row[x]), y: toNumber(row[y]) }))
    .filter((one) => Number.isFinite(one.x) && Number.isFinite(one.y));
}

export class Chart {
  constructor(box, spec) {
    this.box = box;
    this.spec = spec;
    this.view = null;
    this.shown = null;
    this.opens = null; // what a click on a bar, point or cell does with it
    this.strip_px = 0; // what each strip is given at least; where they need more than there is, the box scrolls
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(box);
  }

  size() {
    const strips = this.strip_px && this.shown ? new Set(this.shown.map((one) => one.y)).size : 0;
    const least = strips * this.strip_px + AXIS_PX;
    const scrolls = strips > 0 && least > this.box.clientHeight;
    this.box.classList.toggle("scrolls", scrolls);
    if (this.strip_px) this.box.tabIndex = scrolls || this.opens ? 0 : -1;
    const most = strips ? 2 * least : Infinity; // nor do few strips fill a panel
    return { width: Math.max(20, this.box.clientWidth), height: Math.max(12, Math.min(this.box.clientHeight, most), strips ? least : 0) };
  }

  // Draw anew, as after a change of theme.
  async embed(theme) {
    const embed = await vega();
    const target = document.createElement("div");
    const spec = { ...fill(this.spec, theme.tokens), ...this.size(), config: theme.config };
    const made = await embed(target, spec, {
      ast: true, // expressions are interpreted: no eval, so the page needs no 'unsafe-eval'
      actions: false,
      renderer: "canvas",
      defaultStyle: false,
      tooltip: { disableDefaultStyle: true, theme: "custom" },
      logLevel: 1,
    });
    this.view?.finalize();
    this.view = made.view;
    if (this.opens) this.view.addEventListener("click", (event, item) => this.clicked(event, item));
    this.box.replaceChildren(target);
    if (this.shown) await this.draw(this.shown);
    this.resize();
  }

  async draw(values) {
    this.shown = values;
    if (!this.view) return;
    const rows = values.map(({ row, name, open, ...one }, i) => ({ ...one, i }));
    await this.view.data("rows", rows).resize().runAsync(); // labels of an axis grow with the values
    this.resize();
  }

  // A bar or cell is met or missed; of a line the nearest point is meant.
  clicked(event, item) {
    const one = this.shown?.[item?.datum?.i];
    const met = one && item.mark.marktype !== "line" && item.mark.marktype !== "area" ? one : this.nearest(event);
    if (met) this.opens(met, event);
  }

  nearest(event) {
    const [across, down] = [this.scaleOf("x"), this.scaleOf("y")];
    if (!across?.invert || !down || !this.shown) return null;
    const box = this.view.container().querySelector("canvas").getBoundingClientRect();
    const [left, top] = this.view.origin();
    const [x, y] = [event.clientX - box.left - left, event.clientY - box.top - top];
    const far = (one) => (one.y === null ? Infinity : Math.hypot(4 * (across(one.x) - x), down(one.y) - y));
    const best = this.shown.reduce((found, one) => (found && far(found) <= far(one) ? found : one), null);
    return best && far(best) < Infinity ? best : null;
  }

  scaleOf(name) {
    try {
      return this.view.scale(name);
    } catch {
      return null; // a chart without that axis
    }
  }

  resize() {
    if (!this.view) return;
    const { width, height } = this.size();
    if (this.view.width() === width && this.view.height() === height) return;
    this.view.width(width).height(height).runAsync();
  }
}

function fill(node, tokens) {
  if (Array.isArray(node)) return node.map((one) => fill(one, tokens));
  if (node && typeof node === "object") {
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, fill(value, tokens)]));
  }
  return typeof node === "string" && node.startsWith("$") ? tokens[node.slice(1)] ?? node : node;
}
