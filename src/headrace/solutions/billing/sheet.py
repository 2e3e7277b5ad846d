"""Subscriptions as finance keeps them in a sheet: one line each, with an amount, a start, and perhaps an end.

`headrace import subscriptions.csv --source sheet --param merchant=acme` turns each line into a customer, a
product, a price, and a subscription with its past: trial, start, wish to leave, end.

| column | meaning |
|---|---|
| `customer` | who pays: an id or a name |
| `amount` | per interval and unit, in major units: `49.00` |
| `currency` | such as `EUR` |
| `start` | when it began |
| `interval`, `interval_count` | `day`, `week`, `month` (default), `quarter` or `year`, and how many of them |
| `quantity` | default 1 |
| `subscription` | its id; default: made of customer, product and start |
| `product` | what is paid for |
| `trial_end` | until when nothing is owed |
| `canceled` | when its end was asked for |
| `end` | when it ended |
| `country`, `customer_name` | of the customer |

Only the first four must be there. Days begin at midnight UTC. Numbers and days are taken as spreadsheets of
any country write them, as long as it is certain what they are (`spreadsheet.py`). Equal lines are one
subscription; lines that say different things of one are refused. What a later sheet says of a subscription
takes the place of what earlier ones said (`sheet_rows.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing import rates_sheet
from headrace.solutions.billing.currencies import DIGITS
from headrace.solutions.billing.models import COUNT_MAX, QUANTITY_MAX
from headrace.solutions.billing.sheet_rows import Said, SheetRows
from headrace.solutions.billing.spreadsheet import (
    TWO_WAYS,
    Line,
    Sheet,
    WrongCellError,
    amount_of,
    bare,
    currency_of,
    day_first,
    decimal_mark,
    interval_of,
    moment_of,
    price_of,
    read_sheet,
)
from headrace.solutions.billing.stripe.backfill import exported_at, merchant_of
from headrace.solutions.billing.stripe.rows import Row, merchant_heard_of

NEEDED = ("customer", "amount", "currency", "start")
DAYS = ("start", "trial_end", "canceled", "end")
NUMBERS = ("amount", "quantity")
OTHERS = (
    *("interval", "interval_count", "quantity", "subscription", "product"),
    *("country", "customer_name", "trial_end", "canceled", "end"),
)
MIDNIGHT = "T00:00:00"
WRONG_MAX = 50
"""How many wrong lines are told in full; of those beyond, their numbers."""


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
    """Return what a CSV of subscriptions, or of exchange rates, means.

    Told in the address: `merchant`, and `exported_at`, when the sheet was written (ISO 8601; when it came,
    where that is not told): of two sheets, the later one is right. A merchant of whom nothing else is known
    reports in the currency of most lines of the first sheet. Equal lines count once.

    Raises:
        BadRequest: a line lacks what it needs, or holds what cannot be; nothing of the file is taken.
    """
    merchant_id, told_at = merchant_of(delivery), exported_at(delivery)
    file = delivery.params.get("file", "sheet")
    try:
        sheet = read_sheet(delivery.body)
        of_rates = rates_sheet.is_of_rates(sheet)
        if not of_rates:
            _look_at_headings(sheet)
    except BadRequest as error:
        error.where = f"{file}, {error.where}"
        error.args = (error.render(),)
        raise
    if of_rates:
        return _rates(sheet, file)
    rows, wrong = SheetRows(merchant_id, told_at), list[Wrong]()
    reading = _Reading(sheet)
    for line in sheet.lines:
        try:
            rows.take(line.number, reading.read(line))
        except* WrongCellError as errors:
            wrong += (
                _wrong(sheet, line.number, e) for e in errors.exceptions if isinstance(e, WrongCellError)
            )
    wrong += (_wrong(sheet, number, error) for number, error in rows.contradictions())
    if wrong:
        raise _refusal(wrong, file)
    return rows.puts(_merchant(merchant_id, rows.currencies(), delivery.received_at))


def _rates(sheet: Sheet, file: str) -> Sequence[hr.Put]:
    """Return what a sheet of exchange rates means."""
    rates, wrong = rates_sheet.Rates(sheet), list[Wrong]()
    for line in sheet.lines:
        try:
            rates.take(line)
        except WrongCellError as error:
            wrong.append(_wrong(sheet, line.number, error))
    if wrong:
        raise _refusal(wrong, file)
    return rates.puts()


def _wrong(sheet: Sheet, number: int, error: WrongCellError) -> Wrong:
    return Wrong(number, sheet.place(error.column), str(error), error.hint)


def _refusal(wrong: Sequence[Wrong], file: str) -> BadRequest:
    """Return the error that names all that is wrong, from the top down."""
    wrong = sorted(wrong, key=lambda one: one.line)
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


def _look_at_headings(sheet: Sheet) -> None:
    """See that all columns are there, and none is misspelt: what it says would be passed over.

    Raises:
        BadRequest: one is missing or nearly named like one that is.
    """
    absent = [name for name in (*NEEDED, *OTHERS) if name not in sheet.headings]
    wrong = list[str]()
    meant = set[str]()
    for heading in sheet.headings:
        base = heading.removesuffix("_date").removesuffix("_at").removesuffix("_name").removesuffix("_id")
        near = get_close_matches(base, absent, 1, 0.8) if heading not in (*NEEDED, *OTHERS) else []
        if near:
            wrong.append(f"there is no column {heading!r} in a sheet; is it {near[0]!r}?")
            meant |= {*near}
    missing = [name for name in NEEDED if name in absent and name not in meant]
    if missing:
        named = ", ".join(filter(None, sheet.headings))
        wrong.append(f"the sheet has no column {' and no column '.join(missing)}; its headings are {named}")
    if wrong:
        raise BadRequest(
            "\n  ".join(wrong),
            where=f"line {sheet.head}",
            expected=", ".join(NEEDED),
            hint="the first line holds the headings: remove what stands above them, rename those that mean "
            "these, and give a column that is something else another word",
        )


class _Reading:
    """Reads cells as the whole of the sheet says that they are written."""

    def __init__(self, sheet: Sheet) -> None:
        self._wide = len(sheet.headings)
        self._mark = decimal_mark(bare(text) for name in NUMBERS for text in sheet.column(name))
        self._day_first = day_first(text for name in DAYS for text in sheet.column(name))

    def read(self, line: Line) -> Said:
        """Return what a line says.

        Raises:
            ExceptionGroup: of WrongCellError, one for each cell that cannot be read.
        """
        if line.spare:
            count = self._wide + len(line.spare)
            hint = "put quotes around a cell that has the mark between cells in it"
            raise WrongCellError("", f"{count} cells, but there are {self._wide} columns", hint)
        wrong, said = list[WrongCellError](), dict(line.cells)
        for name, text in line.cells.items():
            try:
                said[name] = self._cell(name, text, line.cells)
            except WrongCellError as error:
                wrong.append(error)
        try:
            unit, count = interval_of("interval", said.get("interval", ""), said.get("interval_count", ""))
        except WrongCellError as error:
            wrong.append(error)
        if wrong:
            raise ExceptionGroup("wrong cells", wrong)
        quantity = said.get("quantity") or "1"
        return said | {"interval": unit, "interval_count": str(count), "quantity": quantity}

    def _cell(self, name: str, text: str, cells: Said) -> str:
        if not text:
            if name in NEEDED:
                raise WrongCellError(name, f"{name} is empty", "fill it in, or remove the line")
            return text
        if name == "amount":
            currency = cells["currency"].lower()
            thirds = "." in text and DIGITS.get(currency) == 3
            amount = price_of(name, text, currency, self._mark or ("." if thirds else None))
            return f"{amount.normalize():f}"
        if name in DAYS:
            return (
                moment_of(name, text, self._day_first).replace(tzinfo=None).isoformat().removesuffix(MIDNIGHT)
            )
        if name == "currency":
            return currency_of(name, text)
        if name == "interval_count":
            return _whole(name, text, 1, COUNT_MAX, None)
        if name == "quantity":
            return _whole(name, text, 0, QUANTITY_MAX, self._mark)
        return text


def _whole(name: str, text: str, least: int, most: int, mark: str | None) -> str:
    """Return a whole number as it is spoken of; `1,000` and `2.00` are some, written as amounts are."""
    try:
        number = amount_of(name, text, mark)
    except WrongCellError:
        if TWO_WAYS.fullmatch(text):
            raise
        number = Decimal(-1)
    if number != int(number) or not least <= number <= most:
        problem = f"{text!r} is no whole number from {least} to {most:,}"
        raise WrongCellError(name, problem, "write it in digits alone")
    return str(int(number))


def _merchant(merchant_id: str, currencies: Iterable[str], received_at: datetime) -> Row:
    """Return the merchant as the first sheet makes it known; later ones have a smaller `seq`."""
    found = Counter(currencies).most_common(1)
    if not found:
        return merchant_heard_of(merchant_id)
    ((most, _),) = found
    seq = -int(received_at.timestamp() * 1_000_000)
    return merchant_heard_of(merchant_id) | {"seq": seq, "reporting_currency": most}
