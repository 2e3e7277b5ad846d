// How a row of a table stands, found by its key, and what has changed between two looks at it.

import { plain } from "./format.js";

const FIRST = 10n ** 15n; // the place of a first row: below those that count microseconds since 1970

export const keyed = (key, row) => JSON.stringify((key ?? []).map((column) => row[column] ?? null));

// The row of the table that has this row's key; null: there is none.
export async function standing(told, row, commit) {
  if (!told.key?.every((column) => column in row)) return null;
  return (await ask(told.table, filter(told.key, row), commit)).rows[0] ?? null;
}

// The place after the newest that a row of this key has ever had.
export async function newest(told, column, row, commit) {
  if (!told.key) throw new Error(`${told.table} has no key: there is no next ${column}`);
  const found = await ask(told.versions, { ...filter(told.key, row), order: `-${column}`, columns: column }, commit);
  const last = found.rows[0]?.[column] ?? null;
  const next = last === null ? FIRST : BigInt(last) + 1n;
  return String(next > FIRST ? next : FIRST);
}

// A row as it stands, if it was written after another, as the column `at` says; null: it was before, or it says nothing.
export async function later(told, one, other, commit) {
  if (!told.at) return null;
  const [over, made] = await Promise.all([standing(told, one, commit), standing(told, other, commit)]);
  return over && made && Date.parse(over[told.at]) > Date.parse(made[told.at]) ? over : null;
}

// Columns of the table that two rows have different values in, in words; empty: none.
export function differences(told, before, after) {
  if (!before || !after) return before || after ? `a row has ${after ? "come" : "gone"}` : "";
  return told.columns
    .filter((column) => column in after && shown(before[column]) !== shown(after[column]))
    .map((column) => words(told, column, before[column], after[column]))
    .join("; ");
}

const shown = (value) => JSON.stringify(value ?? null);

function words(told, column, before, after) {
  const field = told.fields.find((one) => one.column === column);
  const text = (value) => {
    const choice = field?.choices.find(([one]) => plain(one) === plain(value ?? ""));
    return choice?.[1] ?? (value === null || value === undefined ? "empty" : plain(value));
  };
  return `${field?.label ?? column} is ${text(after)}, was ${text(before)}`;
}

function filter(key, row) {
  const given = key.map((column) => (row[column] === null ? [`${column}__null`, "true"] : [`${column}__eq`, plain(row[column])]));
  return Object.fromEntries(given);
}

async function ask(relation, given, commit) {
  const asked = new URLSearchParams({ ...given, limit: "1", ...(commit ? { after: commit } : {}) });
  const answer = await fetch(`/v1/views/${encodeURIComponent(relation)}?${asked}`, { headers: { Accept: "application/json" }, cache: "no-store" });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.error?.problem ?? `the server answered ${answer.status}`);
  return body;
}
