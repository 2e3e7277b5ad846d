// What the pages of views, tables and streams have in common: schema, SQL, EXPLAIN.

import { make } from "./panels.js";

export function block(title, ...content) {
  const box = make("section", "panel list");
  const header = make("header");
  const heading = make("h2", "", title);
  header.append(heading);
  const body = make("div", "body");
  body.append(...content);
  box.append(header, body);
  return box;
}

export function schemaBlock(told) {
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const name of ["column", "type", ""]) {
    const th = make("th", "", name);
    th.scope = "col";
    head.append(th);
  }
  const body = table.createTBody();
  for (const column of told.details) {
    const row = body.insertRow();
    row.insertCell().textContent = column.name;
    row.insertCell().append(make("code", "", column.type));
    const notes = [];
    if (told.key.includes(column.name)) notes.push("key");
    if (!column.nullable) notes.push("not null");
    if (column.privacy) notes.push(`private: ${column.privacy}`);
    row.insertCell().append(make("span", "muted", notes.join(", ")));
  }
  const scroll = make("div", "scroll");
  scroll.append(table);
  return block(`Columns (${told.details.length})`, scroll);
}

export function codeBlock(title, text) {
  const pre = make("pre", "", text);
  pre.tabIndex = 0;
  return block(title, pre);
}

export function plainTable(columns, rows, cellText) {
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const th = make("th", "", column.name);
    th.scope = "col";
    head.append(th);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const column of columns) {
      const td = line.insertCell();
      const text = cellText(row[column.name], column);
      td.textContent = text;
      if (text.length > 30) td.title = text;
    }
  }
  const scroll = make("div", "scroll");
  scroll.append(table);
  return scroll;
}
