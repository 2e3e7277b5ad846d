// A form: one row of a table, changed by its buttons. What is typed stays until it is written or taken back.

import { plain } from "./format.js";
import { make } from "./make.js";
import { Panel } from "./panels.js";

export class FormPanel extends Panel {
  frame() {
    super.frame();
    if (this.told.problem) return;
    this.edited = new Map();
    this.inputs = new Map();
    this.form = make("form", "fields");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    for (const field of this.told.fields) this.form.append(this.field(field));
    this.buttons = make("div", "buttons");
    for (const action of this.told.actions) this.buttons.append(this.button(action));
    this.message = make("p", "message");
    this.message.setAttribute("role", "status");
    this.scroll = make("div", "scroll");
    this.scroll.append(this.form);
    this.nothing = make("p", "nothing", "no row");
    this.body.append(this.scroll, this.buttons, this.message, this.nothing);
  }

  field(field) {
    const label = make("label", "field");
    const name = make("span", "name", field.label);
    if (field.help) label.title = field.help;
    const input = field.choices.length ? make("select") : make("input");
    for (const [value, text] of field.choices) {
      const option = make("option", "", text);
      option.value = plain(value);
      input.append(option);
    }
    input.addEventListener("input", () => this.touched(field, input));
    this.inputs.set(field.column, input);
    label.append(name, input);
    return label;
  }

  touched(field, input) {
    const same = input.value === input.dataset.held;
    if (same) this.edited.delete(field.column);
    else this.edited.set(field.column, input.value);
    input.parentElement.classList.toggle("changed", !same);
    for (const [column, value] of Object.entries(field.fills[input.value] ?? {})) {
      const other = this.told.fields.find((one) => one.column === column);
      const box = this.inputs.get(column);
      if (!other || !box) continue;
      box.value = value === null ? "" : plain(value);
      this.touched(other, box);
    }
  }

  button(action) {
    const button = make("button", "", action.label);
    button.type = "button";
    button.disabled = true; // until there is a row
    button.addEventListener("click", () => this.write(action, button));
    return button;
  }

  async draw() {
    const rows = this.feed.rows;
    this.row = rows.select(this.told)[0] ?? null;
    this.empty(!this.row);
    for (const button of this.buttons.children) if (button !== this.busy) button.disabled = !this.row;
    if (!this.row) return;
    for (const field of this.told.fields) {
      const input = this.inputs.get(field.column);
      const held = this.row[rows.position(field.column)];
      input.dataset.held = held === null ? "" : plain(held);
      if (!this.edited.has(field.column)) {
        input.value = input.dataset.held;
        input.parentElement.classList.remove("changed");
      }
    }
  }

  // The rows that are written: as they stand, with what was changed, and what the button sets.
  wanted(action) {
    const other = action.view ? this.feedOf(action.view)?.rows : null;
    const rows = other ?? this.feed.rows;
    const found = other ? other.select(action.every ? {} : { limit: 1 }) : [this.row];
    if (!found.length) throw new Error("there is no such row");
    const now = Date.now();
    return found.map((row) => this.wantedRow(action, rows, row, now));
  }

  wantedRow(action, rows, row, now) {
    const wanted = {};
    rows.columns.forEach((column, at) => { wanted[column.name] = row[at]; });
    for (const [column, value] of this.edited) {
      if (!action.view || !(column in wanted)) wanted[column] = value === "" ? null : value;
    }
    for (const [column, value] of Object.entries(action.set)) {
      if (value === "$now") wanted[column] = new Date(now).toISOString();
      else if (value === "$sequence") wanted[column] = String(now * 1000);
      else if (typeof value === "string" && value.startsWith("$")) wanted[column] = this.page.parameters.value(value.slice(1));
      else wanted[column] = value;
    }
    const known = new Set(this.told.columns);
    return Object.fromEntries(Object.entries(wanted).filter(([column]) => known.has(column)));
  }

  async write(action, button) {
    if (!this.row || button.disabled) return;
    if (action.confirm && !window.confirm(action.confirm)) return;
    button.disabled = true;
    this.busy = button;
    try {
      if (action.view) await this.feedOf(action.view)?.fresh?.(this.page.wrote);
      const what = action.delete ? "delete" : "upsert";
      const answer = await fetch(`/v1/tables/${encodeURIComponent(this.told.table)}/${what}?on_reject=raise`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json" },
        body: JSON.stringify(this.wanted(action)),
      });
      const body = await answer.json().catch(() => null);
      if (!answer.ok) throw new Error(problemOf(body) ?? `the server answered ${answer.status}`);
      this.page.wrote = body.commit ?? this.page.wrote;
      this.tell(`${action.label}: written, commit ${body.commit ?? "unchanged"}`, "good");
      if (!action.keep) this.edited.clear();
      for (const [name, value] of Object.entries(action.choose)) this.page.parameters.choose(name, value);
      for (const feed of this.page.feeds.values()) feed.renew?.();
    } catch (error) {
      this.tell(String(error.message ?? error), "bad");
    }
    this.busy = null;
    button.disabled = !this.row;
  }

  tell(text, level) {
    this.message.textContent = text;
    this.message.className = `message ${level}`;
  }
}

function problemOf(body) {
  const error = body?.error;
  if (!error) return null;
  const first = error.rows?.[0];
  return first?.reason ? `${error.problem}: ${first.field ?? ""} ${first.reason}` : error.problem;
}
