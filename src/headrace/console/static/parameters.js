// What the reader chooses at the top of a page. The choice stands in the address, so that it can be sent to somebody.

import { dateText, plain } from "./format.js";
import { make } from "./make.js";

export class Parameters {
  constructor(declared) {
    this.declared = declared;
    this.listeners = [];
    this.chosen = new URLSearchParams(location.search);
    this.inputs = new Map();
    this.values = new Map();
    this.unsure = new Set(); // what stands in the address and is not known to be a moment yet
    this.awaited = new Map(); // until when a value may be chosen that is no choice yet
    for (const one of declared) {
      const first = one.choices[0]?.[0] ?? null;
      const given = one.is_date ? dayOf(one.default) : one.default;
      this.values.set(one.name, this.chosen.get(one.name) ?? given ?? first);
      if (one.is_moment && this.values.get(one.name)) this.unsure.add(one.name);
    }
  }

  value(name) {
    return this.values.get(name) ?? null;
  }

  // Whether everything that stands at the top of the page and is wanted has a value.
  known(names) {
    return !this.unsure.size && this.declared.every((one) => !names.includes(one.name) || this.values.get(one.name) !== null || !one.view);
  }

  listen(names, listener) {
    this.listeners.push({ names, listener });
  }

  set(name, value) {
    if (this.values.get(name) === value) return;
    this.values.set(name, value);
    const address = new URL(location.href);
    if (value === null || value === "") address.searchParams.delete(name);
    else address.searchParams.set(name, value);
    history.replaceState(null, "", address);
    for (const { names, listener } of this.listeners) if (names.includes(name)) listener();
  }

  // Choose what has just been written, and may not be among the choices yet.
  choose(name, value) {
    this.awaited.set(name, Date.now() + 10000);
    this.set(name, value);
    const input = this.inputs.get(name);
    if (input) input.value = value;
  }

  // `{name}` in an address: a column of the row, else a parameter of the page.
  fill(address, read = () => undefined) {
    const own = (name) => read(name) ?? this.value(name) ?? "";
    return address.replace(/\{([A-Za-z_]\w*)\}/g, (_, name) => encodeURIComponent(plain(own(name))));
  }

  show(box, feeds) {
    for (const one of this.declared) {
      const control = this.control(one, feeds.get(one.view));
      if (one.label === "=" && box.lastChild) pairOf(box.lastChild).append(control);
      else box.append(control);
    }
  }

  control(one, feed) {
    const label = make("label", "choice");
    label.append(make("span", "muted", one.label));
    const input = one.view || one.choices.length ? make("select") : make("input");
    input.name = one.name;
    if (one.is_date) input.type = "date";
    if (one.is_moment) {
      input.placeholder = one.name === "as_of" ? "now" : "version or time";
      input.title = "a version, or a time in UTC such as 2026-01-31T09:00Z";
    }
    this.inputs.set(one.name, input);
    if (one.choices.length) this.options(input, one, one.choices);
    else if (feed) feed.listen(() => feed.loaded && this.fromRows(input, one, feed.rows));
    else input.value = this.value(one.name) ?? "";
    if (one.is_moment) this.moment(one.name, label, input);
    else input.addEventListener("change", () => this.set(one.name, input.value));
    label.append(input);
    return label;
  }

  // A moment is taken over when the server knows it; else one message stands at the field, and the page as it was.
  moment(name, label, input) {
    const problem = make("span", "problem");
    problem.setAttribute("role", "alert");
    const take = async () => {
      const wanted = input.value.trim();
      const said = wanted ? await notAMoment(wanted) : null;
      if (wanted !== input.value.trim()) return;
      const shown = (!this.unsure.has(name) && this.value(name)) || (name === "as_of" ? "the present" : "nothing");
      problem.textContent = said ? `${said}; shown is ${shown}` : "";
      input.setAttribute("aria-invalid", said ? "true" : "false");
      if (said) label.append(problem);
      else problem.remove();
      const held = this.unsure.delete(name);
      if (!said) this.set(name, wanted);
      else if (held) this.set(name, null);
      if (held) for (const { listener } of this.listeners) listener();
    };
    input.addEventListener("change", take);
    if (this.unsure.has(name)) queueMicrotask(take);
  }

  fromRows(input, one, rows) {
    const value = rows.position(one.value);
    const text = rows.position(one.text);
    const found = [...rows.held.values()].map(({ row }) => [plain(row[value]), plain(row[text])]);
    this.options(input, one, found);
  }

  options(input, one, found) {
    const shown = JSON.stringify(found);
    if (input.dataset.shown !== shown) {
      input.replaceChildren(...found.map(([value, text]) => {
        const option = make("option", "", text);
        option.value = value;
        return option;
      }));
      input.dataset.shown = shown;
    }
    const now = this.value(one.name);
    const has = found.some(([value]) => value === now);
    if (has) input.value = now;
    else if (found.length && !((this.awaited.get(one.name) ?? 0) > Date.now())) {
      input.value = found[0][0];
      this.set(one.name, found[0][0]);
      if (now && now === this.chosen.get(one.name)) missing(input, `there is no ${now}; shown is ${found[0][1]}`);
      this.chosen.delete(one.name);
    }
  }
}

// `only product` and `= all` are one choice: they stay beside each other.
function pairOf(choice) {
  const pair = make("span", "pair");
  choice.replaceWith(pair);
  pair.append(choice);
  return pair;
}

// An address that asks for what is no choice (any more) must not pass for the one that is shown instead.
function missing(input, text) {
  const problem = make("span", "problem", text);
  problem.setAttribute("role", "alert");
  input.after(problem);
  input.addEventListener("change", () => problem.remove(), { once: true });
}

// Why a text is no moment that can be looked at; null where it is one.
async function notAMoment(text) {
  const body = JSON.stringify({ sql: "SELECT 1 AS one", as_of: text });
  const asked = fetch("/v1/sql", { method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body });
  const answer = await asked.catch(() => null);
  if (!answer || answer.ok) return null;
  const error = (await answer.json().catch(() => null))?.error;
  return error && /^(request$|version)/.test(error.code) ? [error.problem, error.expected].filter(Boolean).join(": ") : null;
}

// A date, `today`, or `today - 90d`, in UTC.
export function dayOf(text) {
  const found = /^today(?:\s*-\s*(\d+)d)?$/.exec(text ?? "");
  return found ? dateText(Date.now() - Number(found[1] ?? 0) * 86400000) : text;
}
