// A view too large to hold: its first rows in the wanted order, asked for over HTTP. Looks like a feed to a panel.

import { Feed } from "./feed.js";
import { Poll, getJson } from "./poll.js";

export class Sample extends Feed {
  constructor(view, columns, limit) {
    super(view, columns, { max: limit });
    this.limit = limit;
    this.order = [];
    this.partial = true;
  }

  start() {
    this.poll = new Poll(() => getJson(this.address()), (answer, error) => this.answered(answer, error)).start();
    this.poll.now();
    this.watch = setInterval(() => this.tell(false), 1000);
    return this;
  }

  address() {
    const asked = new URLSearchParams({ limit: String(this.limit) });
    if (this.order.length) asked.set("order", this.order.map((one) => `${one.descending ? "-" : ""}${one.column}`).join(","));
    return `/v1/views/${encodeURIComponent(this.view)}?${asked}`;
  }

  orderBy(order) {
    this.order = order;
    this.poll?.now();
  }

  answered(answer, error) {
    if (error) {
      this.connected = false;
      this.attempts += 1;
      this.tell();
      return;
    }
    this.connected = true;
    this.attempts = 0;
    this.heard = performance.now();
    const moved = this.version !== Number(answer.version);
    this.version = Number(answer.version);
    this.freshness_ms = Number(answer.freshness_ms);
    if (moved || !this.loaded || this.shownOrder !== this.order) this.snapshot(answer);
    this.shownOrder = this.order;
    this.tell();
  }
}
