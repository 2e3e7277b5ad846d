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

Only the first four must be there. Days begin at midnight UTC. Numbers and days are taken as spreadsheets of
any country write them, as long as it is certain what they are (`spreadsheet.py`). Equal lines are one
subscription; lines that say different things of one are refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing import rates_sheet
from headrace.solutions.billing.spreadsheet import (
    Line,
    Sheet,
    WrongCellError,
    amount_of,
    currency_of,
    day_first,
    decimal_mark,
    moment_of,
    read_sheet,
)
from headrace.solutions.billing.stripe.occasion import version_of
from headrace.solutions.billing.stripe.rows import Gathered, Row, merchant_heard_of
from headrace.solutions.billing.stripe.subscription import past_of

NEEDED = ("customer", "amount", "currency", "start")
DAYS = ("start", "trial_end", "canceled", "end")
OTHERS = (
    *("interval", "interval_count", "quantity", "subscription", "product"),
    *("country", "customer_name", "trial_end", "canceled", "end"),
)
INTERVALS = ("day", "week", "month", "year")
WHOLE = (
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
    *("pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"),
)
DIGITS = {**dict.fromkeys(WHOLE, 0), **dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 3)}
"""Decimals of currencies that have not two."""
WRONG_MAX = 50
"""How many wrong lines are told in full; of those beyond, their numbers."""
Said = Mapping[str, str]
"""What a line says: numbers and days written in one way."""


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a line: in which column, and what to do about it."""

    line: int
    column: str
    problem: str
    hint: str

    def text(self) -> str:
        """Return it as a person reads it."""
        return f"{', '.join(filter(None, (f'line {self.line}', self.column)))}: {self.problem} ({self.hint})"


def receive(delivery: hr.Delivery) -> Sequence[hr.Put]:
    """Return what a CSV of subscriptions, or of exchange rates, means; `merchant` is told in the address.

    A merchant of whom nothing else is known reports in the currency of most lines of the first sheet. Equal
    lines count once.

    Raises:
        BadRequest: a line lacks what it needs, or holds what cannot be; nothing of the file is taken.
    """
    merchant_id = delivery.params.get("merchant") or "default"
    sheet, file = read_sheet(delivery.body), delivery.params.get("file", "sheet")
    if "customer" not in sheet.headings and set(rates_sheet.NEEDED) <= set(sheet.headings):
        return _rates(sheet, file)
    _look_at_headings(sheet.headings)
    out, wrong, people, lines = Gathered(), list[Wrong](), _People(), list[Said]()
    known: dict[tuple[str, ...], tuple[int, Said]] = {}
    reading = _Reading(sheet)
    for line in sheet.lines:
        try:
            said = reading.read(line)
            _take(merchant_id, said, out)
            _compare(*known.setdefault(_identity(said), (line.number, said)), said)
            people.take(line.number, said)
            lines.append(said)
        except* WrongCellError as errors:
            wrong += (_wrong(sheet, line, e) for e in errors.exceptions if isinstance(e, WrongCellError))
    if wrong:
        raise _refusal(wrong, file)
    for row in people.rows():
        out.upsert("customers", {"merchant_id": merchant_id} | row)
    out.upsert("merchants", _merchant(merchant_id, lines, delivery.received_at))
    return out.puts()


def _rates(sheet: Sheet, file: str) -> Sequence[hr.Put]:
    """Return what a sheet of exchange rates means."""
    rates, wrong = rates_sheet.Rates(sheet), list[Wrong]()
    for line in sheet.lines:
        try:
            rates.take(line)
        except WrongCellError as error:
            wrong.append(_wrong(sheet, line, error))
    if wrong:
        raise _refusal(wrong, file)
    return rates.puts()


def _wrong(sheet: Sheet, line: Line, error: WrongCellError) -> Wrong:
    return Wrong(line.number, sheet.place(error.column), str(error), error.hint)


def _refusal(wrong: Sequence[Wrong], file: str) -> BadRequest:
    """Return the error that names all that is wrong."""
    told = "\n".join(f"  {one.text()}" for one in wrong[:WRONG_MAX])
    beyond = sorted({one.line for one in wrong[WRONG_MAX:]})
    if beyond:
        told += f"\n  and more in line{'s' if len(beyond) > 1 else ''} {_spans(beyond)}"
    count = len({one.line for one in wrong})
    return BadRequest(
        f"{count:,} line{'s' if count > 1 else ''} cannot be taken:\n{told}",
        where=file,
        hint="mend them and send the whole file again: nothing of it was taken",
        wrong=[asdict(one) for one in wrong[:WRONG_MAX]],
    )


def _spans(numbers: Sequence[int]) -> str:
    """Return growing numbers as text, neighbours as spans.

    >>> _spans([3, 4, 5, 9])
    '3-5, 9'
    """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _look_at_headings(headings: Sequence[str]) -> None:
    """See that all columns are there, and none is misspelt: what it says would be passed over.

    Raises:
        BadRequest: one is missing or nearly named like one that is.
    """
    absent = [name for name in (*NEEDED, *OTHERS) if name not in headings]
    for heading in headings:
        base = heading.removesuffix("_date").removesuffix("_at").removesuffix("_name").removesuffix("_id")
        meant = get_close_matches(base, absent, 1, 0.8) if heading not in (*NEEDED, *OTHERS) else []
        if meant:
            raise BadRequest(
                f"there is no column {heading!r} in a sheet; is it {meant[0]!r}?",
                where="line 1",
                hint=f"head it {meant[0]!r}, or, if it is something else, with another word",
            )
    missing = [name for name in NEEDED if name in absent]
    if missing:
        raise BadRequest(
            f"the sheet has no column {' and no column '.join(missing)}; "
            f"its headings are {', '.join(filter(None, headings))}",
            where="line 1",
            expected=", ".join(NEEDED),
            hint="the first line holds the headings; rename those that mean the same",
        )


class _Reading:
    """Reads cells as the whole of the sheet says that they are written."""

    def __init__(self, sheet: Sheet) -> None:
        self._wide = len(sheet.headings)
        self._mark = decimal_mark(sheet.column("amount"))
        self._day_first = day_first(text for name in DAYS for text in sheet.column(name))

    def read(self, line: Line) -> Said:
        """Return what a line says.

        Raises:
            ExceptionGroup: of WrongCellError, one for each cell that cannot be read.
        """
        wrong, said = list[WrongCellError](), dict(line.cells)
        if line.spare:
            count = self._wide + len(line.spare)
            hint = "put quotes around a cell that has the mark between cells in it"
            raise WrongCellError("", f"{count} cells, but there are {self._wide} columns", hint)
        for name, text in line.cells.items():
            try:
                said[name] = self._cell(name, text, line.cells)
            except WrongCellError as error:
                wrong.append(error)
        if wrong:
            raise ExceptionGroup("wrong cells", wrong)
        return said

    def _cell(self, name: str, text: str, cells: Said) -> str:
        if not text:
            if name in NEEDED:
                raise WrongCellError(name, f"{name} is empty", "fill it in, or remove the line")
            return text
        if name == "amount":
            thirds = "." in text and DIGITS.get(cells.get("currency", "").lower()) == 3
            amount = amount_of(name, text, self._mark or ("." if thirds else None))
            return f"{amount.normalize():f}"
        if name in DAYS:
            return _day(text, moment_of(name, text, self._day_first))
        return CELLS[name](name, text) if name in CELLS else text


def _day(text: str, moment: datetime) -> str:
    """Return how a day is spoken of: as it was written, where that is ISO 8601; ids are made of it."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return moment.replace(tzinfo=None).isoformat().removesuffix("T00:00:00")
    return text


def _interval(name: str, text: str) -> str:
    if text.lower() not in INTERVALS:
        raise WrongCellError(name, f"{text!r} is no interval", f"there are {', '.join(INTERVALS)}")
    return text.lower()


def _whole(name: str, text: str, least: int) -> str:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise WrongCellError(name, f"{text!r} is no whole number from {least} on", "write it in digits alone")
    return str(int(text))


CELLS: Mapping[str, Callable[[str, str], str]] = {
    "interval": _interval,
    "currency": currency_of,
    "interval_count": lambda name, text: _whole(name, text, 1),
    "quantity": lambda name, text: _whole(name, text, 0),
}
"""How cells are read that are written alike everywhere."""


def _compare(number: int, first: Said, said: Said) -> None:
    """See that two lines say one thing of a subscription.

    Raises:
        WrongCellError: they do not.
    """
    column = next((name for name in said if said[name] != first[name]), None)
    if column is not None:
        raise WrongCellError(
            column,
            f"{said[column]!r}, but line {number} says {first[column]!r} of the same subscription",
            "if there are two, tell them apart in a column 'subscription'",
        )


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


def _merchant(merchant_id: str, lines: Sequence[Said], received_at: datetime) -> Row:
    """Return the merchant as the first sheet makes it known; later ones have a smaller `seq`."""
    if not lines:
        return merchant_heard_of(merchant_id)
    (most, _), *_ = Counter(line["currency"] for line in lines).most_common(1)
    seq = -int(received_at.timestamp() * 1_000_000)
    return merchant_heard_of(merchant_id) | {"seq": seq, "reporting_currency": most}


def _identity(line: Said) -> tuple[str, ...]:
    """Return what tells a subscription's stretch: its id, if it has one, and its start."""
    if line.get("subscription"):
        return (line["subscription"], line["start"])
    return ("", line["customer"], line.get("product") or "", line["start"])


def _take(merchant_id: str, line: Said, out: Gathered) -> None:
    of = {"merchant_id": merchant_id}
    began, currency = _moment(line["start"]), line["currency"]
    customer_id, product = line["customer"], line.get("product") or "subscription"
    subscription_id = line.get("subscription") or _id("sub", customer_id, product, line["start"])
    row = _subscription(line, subscription_id, customer_id, currency, began)
    price = _price(line, currency, product)
    out.upsert("products", of | {"product_id": product, "name": product})
    out.upsert("prices", of | price | version_of(datetime(2000, 1, 1, tzinfo=UTC)))
    for at, changed in past_of(row):
        out.upsert("subscriptions", of | row | changed | version_of(at))
    item = {"item_id": f"{subscription_id}/1", "subscription_id": subscription_id}
    owed = {"price_id": price["price_id"], "quantity": int(line.get("quantity") or 1)}
    out.upsert("subscription_items", of | item | owed | version_of(began))


def _price(line: Said, currency: str, product: str) -> Row:
    interval, count = line.get("interval") or "month", int(line.get("interval_count") or 1)
    amount = Decimal(line["amount"])
    return {
        "price_id": _id("price", product, currency, str(amount.normalize()), interval, str(count)),
        "product_id": product,
        "currency": currency,
        "unit_amount": amount.scaleb(DIGITS.get(currency, 2)),
        "interval": interval,
        "interval_count": count,
    }


def _subscription(line: Said, name: str, customer_id: str, currency: str, began: datetime) -> Row:
    trial_end, asked_at, ended_at = (
        _moment(line[column]) if line.get(column) else None for column in ("trial_end", "canceled", "end")
    )
    if ended_at and ended_at < began:
        raise WrongCellError(
            "end", f"it ends ({line['end']}) before it starts ({line['start']})", "look at both"
        )
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
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _id(kind: str, *parts: str) -> str:
    return f"{kind}_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
