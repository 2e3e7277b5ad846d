// How values are shown. Decimals and long integers arrive as text and stay text: Intl formats the digits exactly.

const locale = navigator.language || "en";
const formats = new Map();

function intl(options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(locale, options));
  return formats.get(key);
}

const NUMERIC = /^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/;
export const isNumeric = (value) =>
  typeof value === "number" || (typeof value === "string" && NUMERIC.test(value));

export const toNumber = (value) => (value === null || value === undefined || value === "" ? NaN : Number(value));

// Milliseconds since 1970, UTC. A time without a zone is UTC, as everywhere in the platform.
export function toTime(value) {
  if (value === null || value === undefined) return NaN;
  if (typeof value === "number") return value;
  const text = String(value).trim().replace(" ", "T");
  if (/^\d{4}-\d\d-\d\d$/.test(text)) return Date.parse(text + "T00:00:00Z");
  return Date.parse(/(Z|[+-]\d\d(:?\d\d)?)$/.test(text) ? text : text + "Z");
}

const two = (number) => String(number).padStart(2, "0");

export function dateText(ms) {
  const at = new Date(ms);
  return `${String(at.getUTCFullYear()).padStart(4, "0")}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
}

export function clockText(ms) {
  const at = new Date(ms);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

function timeText(value, kind) {
  const ms = toTime(value);
  if (Number.isNaN(ms)) return String(value);
  if (kind === "date") return dateText(ms);
  if (kind === "time") return clockText(ms);
  return `${dateText(ms)} ${clockText(ms)}`;
}

// How long ago, or for how long: 40 ms, 1.2 s, 12 s, 3 min, 2 h 05.
export function spanText(ms) {
  if (!Number.isFinite(ms)) return "";
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 9950) return `${(ms / 1000).toFixed(1)} s`;
  if (size < 90000) return `${Math.round(ms / 1000)} s`;
  if (size < 5400000) return `${Math.round(ms / 60000)} min`;
  if (size < 172800000) return `${Math.floor(ms / 3600000)} h ${two(Math.round(ms / 60000) % 60)}`;
  return `${Math.round(ms / 86400000)} d`;
}

// The same in whole seconds, for what is counted while one looks at it.
export const wholeSpanText = (ms) => (ms < 90000 ? `${Math.round(ms / 1000)} s` : spanText(ms));

const UNIT_MS = { us: 0.001, ms: 1, s: 1000, min: 60000, h: 3600000 };
const BYTES = ["B", "kB", "MB", "GB", "TB", "PB"];

function bytesText(value, digits) {
  let number = toNumber(value);
  let step = 0;
  while (Math.abs(number) >= 1000 && step < BYTES.length - 1) { number /= 1000; step += 1; }
  const places = digits ?? (step === 0 || Math.abs(number) >= 100 ? 0 : 1);
  return `${intl({ maximumFractionDigits: places, minimumFractionDigits: places }).format(number)} ${BYTES[step]}`;
}

// Move the decimal point of an exact number in text: cents become pounds without passing through a float.
export function shifted(value, places) {
  const text = String(value);
  if (!/^[+-]?\d+(\.\d+)?$/.test(text)) return toNumber(value) / 10 ** places;
  const sign = text.startsWith("-") ? "-" : "";
  const [whole, part = ""] = text.replace(/^[+-]/, "").split(".");
  const digits = whole.padStart(places + 1, "0");
  const cut = digits.length - places;
  return `${sign}${digits.slice(0, cut)}.${digits.slice(cut)}${part}`.replace(/\.$/, "");
}

export function currencyDigits(currency) {
  return intl({ style: "currency", currency }).resolvedOptions().maximumFractionDigits;
}

function currencyOf(format, row) {
  const currency = format.currency ?? row?.(format.currency_column);
  return /^[A-Za-z]{3}$/.test(currency ?? "") ? currency : null;
}

// How many of what a column counts in are one of what is shown: 100 cents, 1000 fils, 1 yen.
export function minorUnits(format, row) {
  const currency = format?.kind === "money" && format.minor ? currencyOf(format, row) : null;
  return currency ? 10 ** currencyDigits(currency) : 1;
}

function moneyText(value, format, row) {
  const currency = currencyOf(format, row);
  if (!currency) return numberText(value, format);
  const exact = format.minor ? shifted(value, currencyDigits(currency)) : value;
  const short = format.compact && Math.abs(toNumber(exact)) < 1000; // nothing to shorten, and no half of the cents
  return intl({ style: "currency", currency, ...places(short ? { ...format, compact: false } : format) }).format(exact);
}

function places(format) {
  if (format.compact) return { notation: "compact", maximumFractionDigits: format.digits ?? 1 };
  if (format.digits === undefined) return {};
  return { minimumFractionDigits: format.digits, maximumFractionDigits: format.digits };
}

function numberText(value, format) {
  const options = { ...places(format) };
  if (format.kind === "integer" && !format.compact) options.maximumFractionDigits = 0;
  else if (format.digits === undefined && !format.compact) Object.assign(options, ownDigits(value));
  const text = intl(options).format(value);
  if (!format.unit) return text;
  return format.unit === "%" ? `${text}%` : `${text} ${format.unit}`;
}

// Without a wish, a decimal in text shows the digits that it has, a float at most six significant ones.
function ownDigits(value) {
  if (typeof value === "string" && /^[+-]?\d+(\.\d+)?$/.test(value)) {
    const digits = Math.min((value.split(".")[1] ?? "").length, 20);
    return { minimumFractionDigits: digits, maximumFractionDigits: digits };
  }
  return Number.isInteger(value) ? {} : { maximumSignificantDigits: 6 };
}

export const EMPTY = "–";

// The text of a value. `row(column)` reads another column of the same row (the currency, mostly).
export function show(value, format, kind = "text", row = null) {
  if (value === null || value === undefined) return EMPTY;
  const wanted = format ?? { kind: defaultKind(kind) };
  if (["time", "date", "datetime"].includes(wanted.kind)) return timeText(value, wanted.kind);
  if (wanted.kind === "text" || typeof value === "boolean") return plain(value);
  if (!isNumeric(value)) return plain(value);
  if (wanted.kind === "money") return moneyText(value, wanted, row);
  if (wanted.kind === "percent") {
    const digits = wanted.digits ?? 1;
    return intl({ style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  }
  if (wanted.kind === "bytes") return bytesText(value, wanted.digits);
  if (wanted.kind === "duration") return spanText(toNumber(value) * UNIT_MS[wanted.unit ?? "ms"]);
  return numberText(value, wanted);
}

function defaultKind(kind) {
  return { number: "number", time: "datetime", date: "date" }[kind] ?? "text";
}

export function plain(value) {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

const HOLDS = { ">=": (a, b) => a >= b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, "<": (a, b) => a < b };

// The level of a value: the last threshold that holds, or null.
export function levelOf(value, thresholds) {
  const number = toNumber(value);
  let level = null;
  for (const rule of thresholds ?? []) if (HOLDS[rule.operator](number, rule.value)) level = rule.level;
  return level;
}

export const LEVEL_SIGN = { good: "✓", warn: "!", bad: "▲" };
