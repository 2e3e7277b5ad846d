"""What the lines of a sheet become: customers, products, prices, and subscriptions with their past.

A line tells all of a subscription from its start on. So what a later sheet says of it takes the place of
what earlier ones said, its end and its trial included: the versions of a sheet are ordered by when it was
told, and among themselves by when they hold.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import headrace as hr
from headrace.solutions.billing.currencies import DIGITS
from headrace.solutions.billing.spreadsheet import WrongCellError
from headrace.solutions.billing.stripe.occasion import version_of
from headrace.solutions.billing.stripe.rows import Gathered, Row
from headrace.solutions.billing.stripe.subscription import past_of

UNIT_BELOW = Decimal(10) ** 12
"""Minor units that one unit may cost: what the column of prices holds."""
LINE_BELOW = Decimal(10) ** 14
"""Minor units that a line may amount to; sums of thousands of such lines still have room."""
LONG_AGO = version_of(datetime(2000, 1, 1, tzinfo=UTC))
APART = "if there are two, tell them apart in a column 'subscription'"
Said = Mapping[str, str]
"""What a line says: numbers and days written in one way."""


@dataclass(frozen=True)
class Stretch:
    """A subscription from a start on, as one line tells it.

    Attributes:
        number: of the line.
        said: what it says.
        row: of the subscription, as it stands at the end.
    """

    number: int
    said: Said
    row: Row


class SheetRows:
    """Gathers what the lines of a sheet mean.

    Args:
        merchant_id: whose they are.
        told_at: when the sheet was written; of two sheets, the later one is right.
    """

    def __init__(self, merchant_id: str, told_at: datetime) -> None:
        self._of = {"merchant_id": merchant_id}
        self._seq = int(told_at.timestamp() * 1_000_000)
        self._stretches: dict[str, list[Stretch]] = defaultdict(list)
        self._known: dict[tuple[str, str], Stretch] = {}
        self._people = _People()
        self._prices: dict[str, Row] = {}

    def take(self, number: int, said: Said) -> None:
        """Take a line in; one that is equal to another counts once.

        Raises:
            WrongCellError: it cannot be, or another line says otherwise of the same subscription or customer.
        """
        stretch = Stretch(number, said, _subscription(said))
        first = self._known.setdefault((stretch.row["subscription_id"], said["start"]), stretch)
        if first is not stretch:
            _compare(first, said)
            return
        price = _price(said)
        self._people.take(number, said)
        self._prices[price["price_id"]] = price
        self._stretches[stretch.row["subscription_id"]].append(stretch)

    def contradictions(self) -> Iterator[tuple[int, WrongCellError]]:
        """Yield the lines that cannot stand beside another one of the same subscription, and why."""
        for stretches in self._stretches.values():
            stretches.sort(key=lambda one: one.row["start_at"])
            for one, after in pairwise(stretches):
                wrong = _against(one, after)
                if wrong:
                    yield after.number, wrong

    def currencies(self) -> Iterator[str]:
        """Yield the currency of each subscription's stretch."""
        return (one.said["currency"] for stretches in self._stretches.values() for one in stretches)

    def puts(self, merchant: Row) -> Sequence[hr.Put]:
        """Return the changes that all of it means, the merchant among them."""
        out = Gathered()
        out.upsert("merchants", merchant)
        for product_id in dict.fromkeys(price["product_id"] for price in self._prices.values()):
            out.upsert("products", self._of | {"product_id": product_id, "name": product_id})
        for price in self._prices.values():
            out.upsert("prices", self._of | price | LONG_AGO)
        for customer_id, person in self._people.rows():
            self._versions(out, "customers", person, {"customer_id": customer_id})
        for subscription_id, stretches in self._stretches.items():
            past = (
                (at, stretch.row | changed) for stretch in stretches for at, changed in past_of(stretch.row)
            )
            self._versions(out, "subscriptions", past, {})
            key = {"item_id": f"{subscription_id}/1", "subscription_id": subscription_id}
            self._versions(out, "subscription_items", map(_item, stretches), key)
        return out.puts()

    def _versions(
        self, out: Gathered, table: str, versions: Iterable[tuple[datetime, Row]], key: Row
    ) -> None:
        """Put the versions of one row, which hold from their times on; of one time, the last counts."""
        for place, (at, row) in enumerate(sorted(versions, key=lambda version: version[0])):
            out.upsert(table, self._of | key | row | {"valid_at": at, "seq": self._seq + place})


class _People:
    """The customers of a sheet: what its lines say of each, from the start of each line on.

    What a line leaves out is what another says; only at one start they must not say two things.
    """

    def __init__(self) -> None:
        self._said: dict[str, dict[datetime, dict[str, tuple[int, str]]]] = defaultdict(dict)

    def take(self, number: int, line: Said) -> None:
        """Take what a line says.

        Raises:
            WrongCellError: another says otherwise.
        """
        said = self._said[line["customer"]].setdefault(_moment(line["start"]), {})
        for name in ("customer_name", "country"):
            value = line.get(name)
            if value:
                first, known = said.setdefault(name, (number, value))
                if known != value:
                    raise WrongCellError(
                        name,
                        f"{value!r}, but line {first} says {known!r} of customer {line['customer']} "
                        "from the same day on",
                        "let both say the same",
                    )

    def rows(self) -> Iterator[tuple[str, list[tuple[datetime, Row]]]]:
        """Yield each customer with a version for each start."""
        for customer_id, starts in self._said.items():
            known: dict[str, tuple[int, str]] = {}
            for began in sorted(starts, reverse=True):
                known = known | starts[began]
            versions: list[tuple[datetime, Row]] = []
            for began in sorted(starts):
                known = known | starts[began]
                name, country = (known.get(one, (0, None))[1] for one in ("customer_name", "country"))
                row = {"created_at": min(starts), "name": name or customer_id, "country": country}
                versions.append((began, row))
            yield customer_id, versions


def _compare(first: Stretch, said: Said) -> None:
    """See that two lines say one thing of a subscription.

    Raises:
        WrongCellError: they do not.
    """
    column = next((name for name in said if said[name] != first.said[name]), None)
    if column is not None:
        raise WrongCellError(
            column,
            f"{said[column]!r}, but line {first.number} says {first.said[column]!r} of the same subscription",
            APART,
        )


def _against(one: Stretch, after: Stretch) -> WrongCellError | None:
    """Return why a stretch cannot follow on another of the same subscription."""
    mine, whose = after.said["customer"], one.said["customer"]
    if mine != whose:
        told = f"{mine!r}, but line {one.number} says {whose!r} of the same subscription"
        return WrongCellError("customer", told, "each subscription needs an id of its own")
    ended_at = one.row["ended_at"]
    if ended_at and ended_at > after.row["start_at"]:
        told = (
            f"it starts ({after.said['start']}) before it ends ({one.said['end']}) as line {one.number} says"
        )
        return WrongCellError("start", told, APART)
    return None


def _subscription(line: Said) -> Row:
    """Return the row of a line's subscription as it stands at the end.

    Raises:
        WrongCellError: its days cannot be.
    """
    began = _moment(line["start"])
    trial_end, asked_at, ended_at = (
        _moment(line[column]) if line.get(column) else None for column in ("trial_end", "canceled", "end")
    )
    for column, at, what in (
        ("end", ended_at, "it ends"),
        ("trial_end", trial_end, "its trial ends"),
        ("canceled", asked_at, "its end was asked for"),
    ):
        if at and at < began:
            told = f"{what} ({line[column]}) before it starts ({line['start']})"
            raise WrongCellError(column, told, "look at both")
    return {
        "subscription_id": line.get("subscription") or _id("sub", *_names(line), line["start"]),
        "customer_id": line["customer"],
        "status": "canceled" if ended_at else "active",
        "currency": line["currency"],
        "start_at": began,
        "trial_start": began if trial_end else None,
        "trial_end": trial_end,
        "cancel_at_period_end": bool(asked_at and not ended_at),
        "cancel_at": None,
        "canceled_at": asked_at or ended_at,
        "ended_at": ended_at,
    }


def _price(line: Said) -> Row:
    """Return what a line's subscription costs.

    Raises:
        WrongCellError: more than there is room for, or in too small parts.
    """
    amount, currency = Decimal(line["amount"]), line["currency"]
    minor = amount.scaleb(DIGITS[currency])
    for size, below, what in (
        (minor, UNIT_BELOW, "an amount is"),
        (minor * int(line["quantity"]), LINE_BELOW, "amount and quantity come to"),
    ):
        if size >= below:
            most = f"{below.scaleb(-DIGITS[currency]):,f} {currency.upper()}"
            told = f"{line['quantity']} x {line['amount']} is more than there is room for"
            raise WrongCellError("amount", told, f"look at both; {what} less than {most}")
    if round(minor, 12) != minor:
        raise WrongCellError(
            "amount", f"{line['amount']} has more decimals than there is room for", "round it"
        )
    _, product = _names(line)
    interval, count = line["interval"], line["interval_count"]
    return {
        "price_id": _id("price", product, currency, str(amount.normalize()), interval, count),
        "product_id": product,
        "currency": currency,
        "unit_amount": minor,
        "interval": interval,
        "interval_count": int(count),
    }


def _item(stretch: Stretch) -> tuple[datetime, dict[str, Any]]:
    row = {"price_id": _price(stretch.said)["price_id"], "quantity": int(stretch.said["quantity"])}
    return stretch.row["start_at"], row


def _names(line: Said) -> tuple[str, str]:
    return line["customer"], line.get("product") or "subscription"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _id(kind: str, *parts: str) -> str:
    return f"{kind}_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
