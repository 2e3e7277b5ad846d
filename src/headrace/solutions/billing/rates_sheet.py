"""Exchange rates as a sheet: from which day on how many units of a currency one US dollar buys.

| column | meaning |
|---|---|
| `day` | from when on |
| `currency` | such as `EUR` |
| `rate` | units for one US dollar: `0.92` |

`headrace import fx_rates.csv --source sheet` takes it as a spreadsheet of any country saves it, whole or not
at all.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.spreadsheet import (
    Line,
    Sheet,
    WrongCellError,
    amount_of,
    currency_of,
    day_first,
    decimal_mark,
    moment_of,
)

NEEDED = ("day", "currency", "rate")
BASE = "usd"
LARGEST = Decimal(10) ** 10


def is_of_rates(sheet: Sheet) -> bool:
    """Whether a sheet is one of rates, and of nothing else.

    Raises:
        BadRequest: it is, but a column is missing.
    """
    headings = sheet.headings
    if "rate" not in headings or "customer" in headings:
        return False
    missing = [name for name in NEEDED if name not in headings]
    if missing:
        raise BadRequest(
            f"the sheet of rates has no column {' and no column '.join(missing)}; "
            f"its headings are {', '.join(filter(None, headings))}",
            where=f"line {sheet.head}",
            expected=", ".join(NEEDED),
            hint="rename those that mean the same",
        )
    return True


class Rates:
    """Reads the lines of a sheet of rates."""

    def __init__(self, sheet: Sheet) -> None:
        self._mark = decimal_mark(sheet.column("rate"))
        self._day_first = day_first(sheet.column("day"))
        self._said: dict[tuple[date, str], tuple[int, Decimal]] = {}

    def take(self, line: Line) -> None:
        """Take what a line says.

        Raises:
            WrongCellError: a cell cannot be read, or another line says otherwise.
        """
        for name in NEEDED:
            if not line.cells[name]:
                raise WrongCellError(name, f"{name} is empty", "fill it in, or remove the line")
        day = moment_of("day", line.cells["day"], self._day_first).date()
        currency = currency_of("currency", line.cells["currency"])
        text = line.cells["rate"]
        try:
            rate = amount_of("rate", text, self._mark or ("." if "." in text else None))
        except WrongCellError as error:
            raise WrongCellError(
                "rate", str(error).replace("amount such as 49.00", "rate"), error.hint
            ) from None
        if currency == BASE and rate != 1:
            hint = "rates are how many units one US dollar buys: turn them round"
            raise WrongCellError("rate", f"{text!r} is no rate of the US dollar to itself", hint)
        if not 0 < rate < LARGEST or round(rate, 8) != rate:
            hint = "it is more than nothing and has at most ten digits before the point and eight behind it"
            raise WrongCellError("rate", f"{text!r} is no rate", hint)
        first, known = self._said.setdefault((day, currency), (line.number, rate))
        if known != rate:
            told = f"{text!r}, but line {first} says {known} of the same day and currency"
            raise WrongCellError("rate", told, "keep the one that is right")

    def puts(self) -> list[hr.Put]:
        """Return the rows that were read."""
        rows = [{"day": day, "currency": of, "rate": rate} for (day, of), (_, rate) in self._said.items()]
        return [hr.Put("upsert", "fx_rates", rows)]
