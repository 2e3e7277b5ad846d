"""Map events of Stripe again that could not be read when they came, or meant no rows then: after an upgrade.

    python -m headrace.solutions.billing.stripe.again http://127.0.0.1:8080

What an event says has its place in the history by its own time and sequence, so it does not matter that it is
mapped late, or twice. What became of it is written to the table `stripe_mappings`; the event itself stays as
it came.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

import headrace as hr
from headrace.solutions.billing.stripe.source import EVENTS, changes

AT_ONCE = 500
"""Events in one commit."""
WAITING = """
SELECT events.event_id, events.merchant_id, events.payload
FROM stripe_events AS events
LEFT JOIN stripe_mappings AS mappings
    ON mappings.merchant_id = events.merchant_id AND mappings.event_id = events.event_id
WHERE events.outcome <> 'mapped' AND coalesce(mappings.outcome, '') <> 'mapped' AND events.event_id > $after
ORDER BY events.event_id
LIMIT $rows
"""


class Books(Protocol):
    """What events are read from and rows are written to: a run, or a client of a server."""

    def query(self, sql: str, params: Any = ()) -> Any:
        """Answer a SELECT."""

    def transaction(self, *, on_reject: Any = "keep") -> AbstractContextManager[Any]:
        """Collect several changes into one commit."""


def map_again(books: Books) -> dict[str, int]:
    """Map what is not mapped yet; return how many events are mapped, unknown and unread now.

    Args:
        books: a run or a client.

    Raises:
        RowsRejected: rows that an event means were not taken; the commits before stand.
    """
    outcomes: Counter[str] = Counter()
    after = ""
    while rows := books.query(WAITING, {"after": after, "rows": AT_ONCE}).to_pylist():
        with books.transaction(on_reject="raise") as commit:
            for row in rows:
                outcomes[_again(commit, row)] += 1
        after = rows[-1]["event_id"]
    return dict(outcomes)


def _again(commit: Any, row: Mapping[str, Any]) -> str:
    """Map one event; return what became of it."""
    payload = row["payload"]
    event = json.loads(payload) if isinstance(payload, str) else payload
    outcome = {"outcome": "unread", "problem": None}
    for put in changes(event, row["merchant_id"]):
        if put.name == EVENTS:
            outcome = {name: put.rows[0][name] for name in ("outcome", "problem")}
        else:
            getattr(commit, put.verb)(put.name, put.rows)
    key = {name: row[name] for name in ("merchant_id", "event_id")}
    commit.upsert("stripe_mappings", [{**key, **outcome, "mapped_at": datetime.now(UTC)}])
    return str(outcome["outcome"])


def main(address: str) -> int:
    """Do so on a server; 1 where it did not end well."""
    try:
        with hr.connect(address) as books:
            found = map_again(books)
    except hr.HeadraceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(found.items()))
    sys.stdout.write(f"events: {told or 'all are mapped'}\n")
    return 0


def command_line() -> int:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m headrace.solutions.billing.stripe.again",
        description="Map again what is not mapped yet of Stripe's events, after an upgrade.",
    )
    parser.add_argument("address", help="the server, such as http://127.0.0.1:8080")
    return main(parser.parse_args().address)


if __name__ == "__main__":
    sys.exit(command_line())
