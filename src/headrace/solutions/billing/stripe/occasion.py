"""When and about whom something was told, and in which order it stands among what else was told.

`Event.created` has whole seconds, and Stripe promises no order of delivery. So the sequence of a version is
made of the event alone: its second, then what kind of event it is (created, updated, deleted), then how far
the object has come (an invoice: draft, open, paid; a subscription: incomplete, trialing, active, past due,
…), then the event's id. Two deliveries of one event have one sequence, and whatever the order of arrival,
the same one is last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.solutions.billing.stripe.values import EMPTY, Object

SECOND = 1_000_000
PROGRESS = {
    "subscription": (
        *("incomplete", "trialing", "active", "past_due", "paused"),
        *("unpaid", "incomplete_expired", "canceled"),
    ),
    "invoice": ("draft", "open", "uncollectible", "paid", "void"),
    "refund": ("requires_action", "pending", "succeeded", "failed", "canceled"),
}
"""How far an object has come, by its status."""
EXPORTED = "exported"
BY_THE_WAY = 900_000
"""Sequences of the second before an object's own, for what other events tell of it by the way."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What stands around an object.

    Attributes:
        merchant_id: whose it is.
        told_at: when the event happened, or the list was exported.
        seq: of what it says.
        kind: the event's type, such as `invoice.paid`, or `exported`.
        before: the fields that the event changed, with what they were.
    """

    merchant_id: str
    told_at: datetime
    seq: int
    kind: str
    before: Mapping[str, Any]

    @property
    def of_merchant(self) -> dict[str, Any]:
        """The column that every row has."""
        return {"merchant_id": self.merchant_id}

    def version(self, valid_at: datetime | None = None, earlier: int = 0) -> dict[str, Any]:
        """Return the columns that order versions: from when it holds, and its sequence (or one before it)."""
        return {"valid_at": valid_at or self.told_at, "seq": self.seq - earlier}

    def first(self, since: datetime | None, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same for a row told by the way: it was so from the beginning, unless more is known.

        Told again, it is the same version, which changes nothing; other content is another version. What an
        event of its own says comes after all of these.
        """
        if since is None:
            return self.version()
        found = version_of(since)
        return found | {"seq": found["seq"] - 1 - _number(repr(row), BY_THE_WAY)}


def version_of(since: datetime) -> dict[str, Any]:
    """Return the columns that order versions for one that dates itself."""
    return {"valid_at": since, "seq": int(since.timestamp()) * SECOND}


def exported(merchant_id: str, at: datetime) -> Occasion:
    """Return the occasion of an export."""
    return Occasion(merchant_id, at, int(at.timestamp()) * SECOND, EXPORTED, EMPTY)


def sequence(event: Object, found: Object) -> int:
    """Return the sequence of what an event says about its object; see the module."""
    kind = str(event.get("type", ""))
    rank = 9 if kind.endswith(".deleted") else 0 if kind.endswith(".created") else 5
    steps = PROGRESS.get(str(found.get("object")), ())
    status = found.get("status")
    progress = steps.index(status) if status in steps else 0
    tie = _number(str(event.get("id")), 9_999)
    return int(event["created"]) * SECOND + rank * 100_000 + progress * 10_000 + tie + 1


def _number(text: str, below: int) -> int:
    """Return a number that a text always has."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") % below


def before(event: Object) -> Object:
    """Return the previous attributes of an event."""
    found = event["data"].get("previous_attributes") if isinstance(event.get("data"), Mapping) else None
    return found if isinstance(found, Mapping) else EMPTY
