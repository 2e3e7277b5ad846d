"""The app that is killed over and over: every kind of relation, and views of every kind of state."""

from __future__ import annotations

from collections.abc import Mapping

import headrace as hr

COLUMNS = {
    "events": "id BIGINT, w BIGINT, call BIGINT, shop TEXT, amount BIGINT, placed TIMESTAMP",
    "stock": "item TEXT, w BIGINT, call BIGINT, shop TEXT, quantity BIGINT",
    "tags": "w BIGINT, shop TEXT, tag TEXT",
}
"""A stream with ids and lateness, a table by key, a bag; every row says which writer wrote it."""
GROSS = "SELECT shop, sum(amount) AS amount, count(*) AS n FROM events WHERE amount > 0 GROUP BY shop"
NET = "SELECT shop, sum(amount) AS amount, count(*) AS n FROM events GROUP BY shop"
OTHERS = {
    "best": "SELECT shop, amount FROM turnover ORDER BY amount DESC LIMIT 3",
    "carried": "SELECT tag, count(*) AS n, sum(quantity) AS quantity FROM tags JOIN stock USING (shop) "
    "GROUP BY tag",
    "unsold": "SELECT item FROM stock LEFT JOIN events USING (shop) WHERE events.id IS NULL",
    "per_second": "SELECT window_start, window_end, count(DISTINCT shop) AS shops, median(amount) AS middle "
    "FROM TUMBLE(events, placed, INTERVAL 1 SECOND) GROUP BY window_start, window_end",
    "recent": "SELECT id, amount FROM events WHERE placed > now() - INTERVAL 2 SECOND",
    "ranked": "SELECT id, row_number() OVER (PARTITION BY shop ORDER BY amount, id) AS place FROM events",
}
FINAL = (
    "SELECT window_start, window_end, sum(amount) AS amount "
    "FROM TUMBLE(events, placed, INTERVAL 1 SECOND) GROUP BY window_start, window_end"
)
"""What `billed` shows of it: only windows that the watermark has passed."""
EXTRA = "SELECT shop, max(quantity) AS most FROM stock GROUP BY shop"
"""A view that is created and dropped while the app runs."""
BASES = (*COLUMNS, "events__late", "stock__rejected")


def shop(turnover: str) -> hr.App:
    """Return the app, with one of the two definitions of `turnover`."""
    app = hr.App("shop")
    app.stream("events", COLUMNS["events"], event_id="id", event_time="placed", lateness="1s")
    app.table("stock", COLUMNS["stock"], key="item")
    app.table("tags", COLUMNS["tags"], key=None)
    app.view("turnover", turnover)
    for name, sql in OTHERS.items():
        app.view(name, sql)
    app.view("billed", FINAL, emit="final")
    return app


def views(turnover: str, created: Mapping[str, str]) -> dict[str, str]:
    """Return the SQL of every view, inputs first."""
    return {"turnover": turnover, **OTHERS, "billed": FINAL, **created}
