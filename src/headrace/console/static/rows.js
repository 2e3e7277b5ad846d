// The rows of one view, kept from changes with weights, and what a panel reads of them.

import { toNumber, toTime } from "./format.js";

export class Rows {
  // columns: [{name, kind}]; at most `max` different rows are held, more are dropped and `overflow` says so.
  constructor(columns, max = 100000) {
    this.columns = columns;
    this.index = new Map(columns.map((column, position) => [column.name.toLowerCase(), position]));
    this.max = max;
    this.held = new Map();
    this.overflow = false;
    this.inOrder = false; // they arrive in an order that somebody has asked for
  }

  position(name) {
    return this.index.get(String(name).toLowerCase());
  }

  clear() {
    this.held.clear();
    this.overflow = false;
  }

  // Add `weight` copies of a row, given as an array in the order of the columns.
  add(row, weight) {
    const key = JSON.stringify(row);
    const found = this.held.get(key);
    const total = (found?.weight ?? 0) + weight;
    if (total === 0) this.held.delete(key);
    else if (found) found.weight = total;
    else if (this.held.size < this.max || weight < 0) this.held.set(key, { row, weight: total });
    else this.overflow = true;
  }

  get size() {
    let total = 0;
    for (const entry of this.held.values()) total += Math.max(entry.weight, 0);
    return total;
  }

  // The rows that a panel shows: filtered, within its window, ordered, limited.
  select(panel) {
    return this.first(panel).rows;
  }

  // The same, with how many there were before the limit: `{rows, total}`.
  first({ where = [], order = [], limit = null, window_ms = null, x = null }) {
    let found = [];
    const tests = where.map((condition) => this.test(condition));
    for (const { row, weight } of this.held.values()) {
      if (tests.every((test) => test(row))) for (let copy = 0; copy < weight; copy += 1) found.push(row);
    }
    if (window_ms && x !== null) found = this.within(found, this.position(x), window_ms);
    const total = found.length;
    const end = limit ?? undefined;
    if (this.inOrder && !order.length) return { rows: found.slice(0, end), total };
    const compared = this.comparer(order);
    return { rows: limit && total > 4 * limit ? firstOf(found, compared, limit) : found.sort(compared).slice(0, end), total };
  }

  within(rows, at, window_ms) {
    let newest = -Infinity;
    for (const row of rows) newest = Math.max(newest, toTime(row[at]) || -Infinity);
    return rows.filter((row) => toTime(row[at]) > newest - window_ms);
  }

  test({ column, operator, value }) {
    const at = this.position(column);
    const kind = this.columns[at].kind;
    if (operator === "is null") return (row) => row[at] === null;
    if (operator === "is not null") return (row) => row[at] !== null;
    if (operator === "like") {
      const pattern = likePattern(String(value));
      return (row) => row[at] !== null && pattern.test(String(row[at]));
    }
    if (operator === "in") return (row) => value.some((one) => compare(row[at], one, kind) === 0);
    if (operator === "not in") return (row) => row[at] !== null && !value.some((one) => compare(row[at], one, kind) === 0);
    const holds = HOLDS[operator];
    return (row) => row[at] !== null && holds(compare(row[at], value, kind));
  }

  // By the wanted columns, ties by all columns in their order; NULL last.
  comparer(order) {
    const keys = order.map((one) => ({ at: this.position(one.column), sign: one.descending ? -1 : 1 }));
    for (let at = 0; at < this.columns.length; at += 1) keys.push({ at, sign: 1 });
    return (a, b) => {
      for (const { at, sign } of keys) {
        if (a[at] === b[at]) continue;
        if (a[at] === null) return 1;
        if (b[at] === null) return -1;
        const result = compare(a[at], b[at], this.columns[at].kind);
        if (result !== 0) return sign * result;
      }
      return 0;
    };
  }
}

// The first `limit` rows of an order, without sorting the rest.
function firstOf(rows, compared, limit) {
  const first = [];
  for (const row of rows) {
    if (first.length === limit && compared(row, first[limit - 1]) >= 0) continue;
    let low = 0;
    let high = first.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compared(row, first[middle]) < 0) high = middle;
      else low = middle + 1;
    }
    first.splice(low, 0, row);
    if (first.length > limit) first.pop();
  }
  return first;
}

const HOLDS = {
  "=": (sign) => sign === 0,
  "!=": (sign) => sign !== 0,
  "<": (sign) => sign < 0,
  "<=": (sign) => sign <= 0,
  ">": (sign) => sign > 0,
  ">=": (sign) => sign >= 0,
};

// -1, 0 or 1; numbers in text are compared exactly.
export function compare(a, b, kind) {
  if (a === b) return 0;
  if (kind === "number") {
    const left = toNumber(a);
    const right = toNumber(b);
    if (left !== right) return left < right ? -1 : 1;
    return typeof a === "string" && typeof b === "string" ? compareDigits(a, b) : 0;
  }
  if (kind === "time" || kind === "date") {
    const left = toTime(a);
    const right = toTime(b);
    if (left !== right) return left < right ? -1 : 1;
    return 0;
  }
  if (kind === "bool") return Number(a === true || a === "true") - Number(b === true || b === "true");
  const left = typeof a === "object" ? JSON.stringify(a) : String(a);
  const right = typeof b === "object" ? JSON.stringify(b) : String(b);
  return left < right ? -1 : left > right ? 1 : 0;
}

function compareDigits(a, b) {
  const scaled = (text) => text.split(".");
  const places = Math.max((scaled(a)[1] ?? "").length, (scaled(b)[1] ?? "").length);
  const whole = (text) => BigInt(scaled(text)[0] + (scaled(text)[1] ?? "").padEnd(places, "0"));
  if (!/^-?\d+(\.\d+)?$/.test(a) || !/^-?\d+(\.\d+)?$/.test(b)) return 0;
  const left = whole(a);
  const right = whole(b);
  return left < right ? -1 : left > right ? 1 : 0;
}

function likePattern(text) {
  const escaped = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/%/g, ".*").replace(/_/g, ".");
  return new RegExp(`^${escaped}$`, "s");
}
