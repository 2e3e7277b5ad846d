// Asking again and again, gently: never two requests at a time, not while the page is hidden, slower when it fails.

export class Poll {
  // ask(): a promise; every_ms between the end of one answer and the next question.
  constructor(ask, take, every_ms = 2000) {
    this.ask = ask;
    this.take = take;
    this.every_ms = every_ms;
    this.failures = 0;
    this.heard = performance.now();
  }

  start() {
    document.addEventListener("visibilitychange", () => document.hidden || this.now());
    this.timer = setTimeout(() => this.now(), this.every_ms);
    return this;
  }

  async now() {
    clearTimeout(this.timer);
    if (this.asking) { this.again = true; return; }
    this.asking = true;
    try {
      this.take(await this.ask(), null);
      this.failures = 0;
      this.heard = performance.now();
    } catch (error) {
      this.failures += 1;
      this.take(null, error);
    }
    this.asking = false;
    if (this.again) { this.again = false; this.now(); return; }
    if (document.hidden) return;
    this.timer = setTimeout(() => this.now(), this.every_ms * Math.min(2 ** this.failures, 8));
  }
}

export async function getJson(address) {
  const answer = await fetch(address, { headers: { Accept: "application/json" }, cache: "no-store" });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.error?.problem ?? `the server answered ${answer.status}`);
  return body;
}
