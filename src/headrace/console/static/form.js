// A form: one row of a table, changed by its buttons. What is typed stays until it is written or taken back.

import { plain } from "./format.js";
import { make } from "./make.js";
import { Panel } from "./panels.js";
import { differences, keyed, later, newest, standing } from "./standing.js";

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
    if (!this.edited.size || !this.base) this.base = this.named(this.row);
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

  named(row, rows = this.feed.rows) {
    return row && Object.fromEntries(rows.columns.map((column, at) => [column.name, row[at]]));
  }

  // What a button's rows are made from: those of its view, or the form's row.
  sources(action) {
    const other = action.view ? this.feedOf(action.view)?.rows : null;
    const found = other ? other.select(action.every ? {} : { limit: 1 }) : [this.row];
    return found.map((row) => this.named(row, other ?? this.feed.rows));
  }

  // The rows that are written: as they stand, with what was changed, and what the button sets.
  wanted(action, places = new Map()) {
    const found = this.sources(action);
    if (!found.length) throw new Error("there is no such row");
    const now = Date.now();
    return found.map((row) => this.wantedRow(action, row, now, places));
  }

  wantedRow(action, row, now, places) {
    const wanted = { ...row };
    for (const [column, value] of this.edited) {
      if (!action.view || !(column in wanted)) wanted[column] = value === "" ? null : value;
    }
    for (const [column, value] of Object.entries(action.set)) {
      if (value === "$now") wanted[column] = new Date(now).toISOString();
      else if (value === "$sequence") wanted[column] = String(now * 1000);
      else if (value === "$next") wanted[column] = null;
      else if (typeof value === "string" && value.startsWith("$")) wanted[column] = this.page.parameters.value(value.slice(1));
      else wanted[column] = value;
    }
    const next = nextOf(action);
    if (next) wanted[next] = places.get(keyed(this.told.key, wanted)) ?? null;
    const known = new Set(this.told.columns);
    return Object.fromEntries(Object.entries(wanted).filter(([column]) => known.has(column)));
  }

  // The rows to write, read again by now; with `unless_changed` only where they are as the reader has seen them.
  async checked(action) {
    const seen = { form: this.base, sources: action.view ? this.sources(action) : [] };
    const places = await this.places(action); // first: who writes after this takes the same place, and one is refused
    await this.reread(action);
    if (action.unless_changed) {
      const moved = await this.moved(action, seen);
      if (moved) throw new Error(`${action.label}: not written. ${moved}`);
    }
    return this.wanted(action, places);
  }

  async places(action) {
    const places = new Map();
    const next = nextOf(action);
    if (!next) return places;
    for (const row of this.wanted(action)) {
      places.set(keyed(this.told.key, row), await newest(this.told, next, row, this.page.wrote));
    }
    return places;
  }

  async reread(action) {
    const guarded = action.unless_changed ? [this.feed] : [];
    const feeds = new Set([...guarded, action.view && this.feedOf(action.view)].filter(Boolean));
    await Promise.all([...feeds].map((feed) => feed.fresh(this.page.wrote)));
    if (guarded.length) await this.draw();
  }

  // What somebody else has changed since the reader saw it, in words; null: nothing.
  async moved(action, seen) {
    const again = "Look at it again, then press again.";
    const row = this.named(this.row);
    const changed = differences(this.told, seen.form, row);
    this.base = row;
    if (changed) return `${changed}, changed ${await this.who(row)}. ${again}`;
    const sources = action.view ? this.sources(action) : [];
    for (let at = 0; at < Math.max(sources.length, seen.sources.length); at += 1) {
      const other = differences(this.told, seen.sources[at], sources[at]);
      if (other) return `What it writes is another by now: ${other}${sources[at] ? `, changed ${await this.who(sources[at])}` : ""}. ${again}`;
    }
    return this.overtaken(action, sources);
  }

  // Whether what is written over was changed after what is written was made, which cannot know of it.
  async overtaken(action, sources) {
    const { key } = this.told;
    const targets = this.wanted(action);
    for (const [at, source] of sources.entries()) {
      if (!key?.every((column) => column in source) || keyed(key, source) === keyed(key, targets[at])) continue;
      const over = await later(this.told, targets[at], source, this.page.wrote);
      if (over) {
        return `What it would replace was changed after what it writes was made, ${this.byWhom(over)}: that would be taken back. Make it again from what is there now.`;
      }
    }
    return null;
  }

  async who(row) {
    return this.byWhom(await standing(this.told, row, this.page.wrote));
  }

  byWhom(row) {
    const { by, at } = this.told;
    const whom = (by && row?.[by]) || "somebody else";
    return `by ${whom}${at && row?.[at] ? ` at ${String(row[at]).slice(0, 16).replace("T", " ")} UTC` : ""}`;
  }

  async write(action, button) {
    if (!this.row || button.disabled) return;
    if (action.confirm && !window.confirm(action.confirm)) return;
    button.disabled = true;
    this.busy = button;
    const seen = { form: this.base, sources: [] };
    try {
      const rows = await this.checked(action);
      const { answer, body } = await this.send(action, rows);
      if (!answer.ok && nextOf(action) && body?.error?.problem?.includes(TAKEN)) {
        await this.reread(action);
        const moved = action.unless_changed ? await this.moved(action, seen) : null;
        throw new Error(`${action.label}: not written. ${moved ?? "Somebody else wrote at the same moment. Look at it again, then press again."}`);
      }
      if (!answer.ok) throw new Error(problemOf(body) ?? `the server answered ${answer.status}`);
      this.page.wrote = body.commit ?? this.page.wrote;
      if (!action.keep) this.edited.clear();
      for (const [name, value] of Object.entries(action.choose)) this.page.parameters.choose(name, value);
      await this.settled();
      this.tell(`${action.label}: written, commit ${body.commit ?? "unchanged"}`, "good");
      for (const feed of this.page.feeds.values()) if (feed.query) feed.renew(); // what is followed comes by itself
    } catch (error) {
      this.tell(String(error.message ?? error), "bad");
    }
    this.busy = null;
    button.disabled = !this.row;
  }

  // What this page has written is no change by somebody else: it is shown before the next button is pressed.
  async settled() {
    for (const action of this.told.actions.filter((one) => one.unless_changed)) {
      try { await this.reread(action); } catch { /* it is written; the next answer shows it */ }
    }
    if (this.row && !differences(this.told, this.base, this.named(this.row))) this.base = this.named(this.row);
  }

  async send(action, rows) {
    const what = action.delete ? "delete" : "upsert";
    const answer = await fetch(`/v1/tables/${encodeURIComponent(this.told.table)}/${what}?on_reject=raise`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(rows),
    });
    return { answer, body: await answer.json().catch(() => null) };
  }

  tell(text, level) {
    this.message.textContent = text;
    this.message.className = `message ${level}`;
  }
}

const TAKEN = "has this sequence"; // in what the server says of a place that somebody else has taken

// The column whose value is the place after the newest of the row that is written.
const nextOf = (action) => Object.keys(action.set).find((column) => action.set[column] === "$next");

function problemOf(body) {
  const error = body?.error;
  if (!error) return null;
  const first = error.rows?.[0];
  return first?.reason ? `${error.problem}: ${first.field ?? ""} ${first.reason}` : error.problem;
}
