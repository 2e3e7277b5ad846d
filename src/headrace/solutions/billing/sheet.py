"""Subscriptions as finance keeps them in a sheet: one line each, with an amount, a start, and perhaps an end.

`headrace import subscriptions.csv --source sheet --param merchant=acme` turns each line into a customer, a
product, a price, and a subscription with its past: trial, start, wish to leave, end.

| column | meaning |
|---|---|
| `customer` | who pays: an id or a name |
| `amount` | per interval and unit, in major units: `49.00` |
| `currency` | such as `EUR` |
| `start` | when it began |
| `interval`, `interval_count` | `day`, `week`, `month` (default) or `year`, and how many of them |
| `quantity` | default 1 |
| `subscription` | its id; default: made of customer, product and start |
| `product` | what is paid for |
| `trial_end` | until when nothing is owed |
| `canceled` | when its end was asked for |
| `end` | when it ended |
| `country`, `customer_name` | of the customer |

Only the first four must be there. Times are ISO 8601, days begin at midnight UTC. Cells are parted by commas,
semicolons or tabs. Equal lines are one subscription; lines that say different things of one are refused.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import zip_longest

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.stripe.occasion import version_of
from headrace.solutions.billing.stripe.rows import Gathered, Row, merchant_heard_of
from headrace.solutions.billing.stripe.subscription import past_of

NEEDED = ("customer", "amount", "currency", "start")
INTERVALS = ("day", "week", "month", "year")
WHOLE = (
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
    *("pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"),
)
DIGITS = {**dict.fromkeys(WHOLE, 0), **dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 3)}
"""Decimals of currencies that have not two."""
WRONG_MAX = 10
"""How many wrong lines are told."""
Line = Mapping[str, str]


def receive(delivery: hr.Delivery) -> Sequence[hr.Put]:
    """Return what a CSV of subscriptions means; `merchant` is told in the address.

    A merchant of whom nothing else is known reports in the currency of most lines of the first sheet. Equal
    lines count once.

    Raises:
        BadRequest: a line lacks what it needs, or holds what cannot be; nothing of the file is taken.
    """
    merchant_id = delivery.params.get("merchant") or "default"
    out, wrong, lines = Gathered(), list[str](), _lines(delivery.body)
    people = _People()
    said: dict[tuple[str, ...], tuple[int, Line]] = {}
    for number, line in lines:
        try:
            _take(merchant_id, line, out)
            first, known = said.setdefault(_identity(line), (number, line))
            if known != line:
                raise ValueError(
                    f"line {first} says otherwise of the same subscription; "
                    "if there are two, tell them apart in a column 'subscription'"
                )
            people.take(number, line)
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
    if wrong:
        rest = f"; and {len(wrong) - WRONG_MAX} more" if len(wrong) > WRONG_MAX else ""
        problem = "; ".join(wrong[:WRONG_MAX]) + rest
        raise BadRequest(problem, where=delivery.params.get("file", "sheet"), hint="nothing of it was taken")
    for row in people.rows():
        out.upsert("customers", {"merchant_id": merchant_id} | row)
    out.upsert("merchants", _merchant(merchant_id, lines, delivery.received_at))
    return out.puts()


class _People:
    """The customers of a sheet: what its lines say of each, from the start of each line on.

    What a line leaves out is what another says; only at one start they must not say two things.
    """

    def __init__(self) -> None:
        self._said: dict[str, dict[datetime, dict[str, tuple[int, str]]]] = defaultdict(dict)

    def take(self, number: int, line: Line) -> None:
        """Take what a line says.

        Raises:
            ValueError: another says otherwise.
        """
        said = self._said[line["customer"]].setdefault(_moment(line["start"]), {})
        for name in ("customer_name", "country"):
            value = line.get(name)
            if value:
                first, known = said.setdefault(name, (number, value))
                if known != value:
                    raise ValueError(
                        f"line {first} says of customer {line['customer']} that {name} is {known}"
                    )

    def rows(self) -> Iterator[Row]:
        """Return a version of each customer for each start."""
        for customer_id, starts in self._said.items():
            known: dict[str, tuple[int, str]] = {}
            for began in sorted(starts, reverse=True):
                known = known | starts[began]
            for began in sorted(starts):
                known = known | starts[began]
                name, country = (known.get(one, (0, None))[1] for one in ("customer_name", "country"))
                row = {"customer_id": customer_id, "created_at": began, "name": name or customer_id}
                yield row | {"country": country} | version_of(began)


def _merchant(merchant_id: str, lines: Sequence[tuple[int, Line]], received_at: datetime) -> Row:
    """Return the merchant as the first sheet makes it known; later ones have a smaller `seq`."""
    if not lines:
        return merchant_heard_of(merchant_id)
    (most, _), *_ = Counter(line["currency"].lower() for _, line in lines).most_common(1)
    seq = -int(received_at.timestamp() * 1_000_000)
    return merchant_heard_of(merchant_id) | {"seq": seq, "reporting_currency": most}


def _lines(body: bytes) -> list[tuple[int, Line]]:
    """Return the lines that hold something, each with its number in the file."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"the sheet is not UTF-8: {error}", where="sheet", hint="save it as CSV UTF-8"
        ) from None
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise BadRequest(f"the sheet cannot be read: {error}", where=f"line {reader.line_num}") from None
    names = [name.lower() for name in rows[0][1]] if rows else []
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise BadRequest(
            f"the sheet has no column {' and no column '.join(missing)}",
            where="line 1",
            expected=", ".join(NEEDED),
        )
    filled = [(number, row) for number, row in rows[1:] if any(row)]
    for number, row in filled:
        if any(row[len(names) :]):
            raise BadRequest(
                f"line {number} has {len(row)} cells, but there are {len(names)} columns",
                where="sheet",
                hint="cells with a comma in them need quotes",
            )
    return [(number, dict(zip_longest(names, row[: len(names)], fillvalue=""))) for number, row in filled]


def _identity(line: Line) -> tuple[str, ...]:
    """Return what tells a subscription's stretch: its id, if it has one, and its start."""
    if line.get("subscription"):
        return (line["subscription"], line["start"])
    return ("", line["customer"], line.get("product") or "", line["start"])


def _take(merchant_id: str, line: Line, out: Gathered) -> None:
    for name in NEEDED:
        if not line.get(name):
            raise ValueError(f"{name} is empty")
    of = {"merchant_id": merchant_id}
    began, currency = _moment(line["start"]), _currency(line["currency"])
    customer_id, product = line["customer"], line.get("product") or "subscription"
    subscription_id = line.get("subscription") or _id("sub", customer_id, product, line["start"])
    price = _price(line, currency, product)
    out.upsert("products", of | {"product_id": product, "name": product})
    out.upsert("prices", of | price | version_of(datetime(2000, 1, 1, tzinfo=UTC)))
    row = _subscription(line, subscription_id, customer_id, currency, began)
    for at, changed in past_of(row):
        out.upsert("subscriptions", of | row | changed | version_of(at))
    quantity = _whole("quantity", line, least=0)
    item = {"item_id": f"{subscription_id}/1", "subscription_id": subscription_id}
    owed = {"price_id": price["price_id"], "quantity": quantity}
    out.upsert("subscription_items", of | item | owed | version_of(began))


def _price(line: Line, currency: str, product: str) -> Row:
    interval, count = (line.get("interval") or "month").lower(), _whole("interval_count", line, least=1)
    if interval not in INTERVALS:
        raise ValueError(f"{interval!r} is no interval; there are {', '.join(INTERVALS)}")
    amount = _amount(line["amount"])
    return {
        "price_id": _id("price", product, currency, str(amount.normalize()), interval, str(count)),
        "product_id": product,
        "currency": currency,
        "unit_amount": amount.scaleb(DIGITS.get(currency, 2)),
        "interval": interval,
        "interval_count": count,
    }


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        comma = "; cents stand behind a point, and nothing between thousands" if "," in text else ""
        raise ValueError(f"{text!r} is no amount such as 49.00{comma}")
    return amount


def _currency(text: str) -> str:
    if not (len(text) == 3 and text.isascii() and text.isalpha()):
        raise ValueError(f"{text!r} is no currency such as EUR")
    return text.lower()


def _whole(name: str, line: Line, *, least: int) -> int:
    text = line.get(name) or "1"
    if not text.lstrip("-").isdecimal() or int(text) < least:
        raise ValueError(f"{name} {text} is no whole number from {least} on")
    return int(text)


def _subscription(line: Line, name: str, customer_id: str, currency: str, began: datetime) -> Row:
    trial_end, asked_at, ended_at = (
        _moment(line[column]) if line.get(column) else None for column in ("trial_end", "canceled", "end")
    )
    if ended_at and ended_at < began:
        raise ValueError("it ends before it starts")
    return {
        "subscription_id": name,
        "customer_id": customer_id,
        "status": "canceled" if ended_at else "active",
        "currency": currency,
        "start_at": began,
        "trial_start": began if trial_end else None,
        "trial_end": trial_end,
        "cancel_at_period_end": bool(asked_at and not ended_at),
        "cancel_at": None,
        "canceled_at": asked_at or ended_at,
        "ended_at": ended_at,
    }


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time such as 2026-01-31 or 2026-01-31T12:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _id(kind: str, *parts: str) -> str:
    return f"{kind}_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
