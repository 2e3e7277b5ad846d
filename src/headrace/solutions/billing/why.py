"""Why a figure that was reported is another one today, cause by cause and to the cent.

    python -m headrace.solutions.billing.why http://127.0.0.1:8080 acct_1 2026-01-31 2026-02-01T09:00:00Z

MRR at the end of a day, as it was known at one moment and as it is known at another: what came in between is
sorted into late data, corrections, settings and exchange rates (`run.difference` does that for the ledger),
and each cause is given what the figure moved by when it was taken in after those before it. All amounts add
up to the whole difference. The movements that each cause brought or took away are told too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa

import headrace as hr

LATE, CORRECTION, NEW = "late data", "correction", "new data"
RATES, DEFINITION = "exchange rate", "definition"
CAUSES: Mapping[str, Sequence[str]] = {DEFINITION: ["settings", "merchants"], RATES: ["fx_rates"]}
"""Relations whose changes are a cause of their own."""
BALANCES = """
SELECT currency, CAST(sum(amount) AS BIGINT) AS amount FROM mrr_daily
WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $day GROUP BY currency
"""
RATES_THEN = "SELECT currency, rate, day_from, day_until, minor_digits FROM currency_rates"
RULE_THEN = """
SELECT reporting_currency, rate_rule FROM scenarios WHERE merchant_id = $merchant AND scenario = $scenario
"""
Balances = dict[str, int]


class Books(Protocol):
    """What is asked: a run, or a client of a server."""

    def query(self, sql: str, params: Any = (), *, as_of: Any = None) -> pa.Table:
        """Answer one SELECT, as of a moment."""

    def difference(
        self, view: str, since: Any, until: Any = None, causes: Any = None, *, where: Any = None
    ) -> Any:
        """Tell why a view differs between two moments."""


@dataclass(frozen=True)
class Moment:
    """What decides how balances become one figure: the rates known, the reporting currency, the rule.

    Attributes:
        rates: rows of `currency_rates`.
        currency: the reporting currency; None: the merchant was not known yet.
        rule: which day's rate counts: `day`, `previous_day` or `latest`.
    """

    rates: Sequence[Mapping[str, Any]]
    currency: str | None
    rule: str

    def figure(self, balances: Balances, day: date) -> int | None:
        """Return the sum of balances in the reporting currency; None where a rate is not known."""
        found = [self._converted(amount, one, day) for one, amount in balances.items() if amount]
        return None if None in found else sum(one for one in found if one is not None)

    def _converted(self, amount: int, currency: str, day: date) -> int | None:
        if currency == self.currency:
            return amount
        rate_day = {"day": day, "previous_day": day - timedelta(days=1)}.get(self.rule, date(9999, 12, 30))
        own, into = self._rate(currency, rate_day), self._rate(self.currency, rate_day)
        if own is None or into is None:
            return None
        size = (2 * abs(amount) * into + own) // (2 * own)
        return size if amount > 0 else -size

    def _rate(self, currency: str | None, day: date) -> int | None:
        for row in self.rates:
            if row["currency"] == currency and row["day_from"] <= day < row["day_until"]:
                return int(row["rate"]) * int(10 ** row["minor_digits"])
        return None


@dataclass(frozen=True)
class Why:
    """One figure at two moments, and what moved it.

    Attributes:
        merchant_id: whose.
        scenario: by which settings.
        day: the end of which day the figure is of.
        currency: the reporting currency at the second moment; amounts are its minor units.
        reported: the figure at the first moment.
        now: the figure at the second.
        moved: by how much each cause moved it, in the order in which they were taken in; the sum is now -
            reported.
        inputs: rows behind late data and corrections, by relation.
        movements: rows of `mrr_movements` of that merchant, scenario and of days up to `day` that came
            (`_weight` 1) or went (-1), each with its cause in `_cause`.
        before, after: what decided about figures at the two moments.
        balances: the customers' currencies at the first moment and what they summed up to.
    """

    merchant_id: str
    scenario: str
    day: date
    currency: str | None
    reported: int | None
    now: int | None
    moved: Mapping[str, int]
    inputs: Mapping[str, pa.Table]
    movements: Sequence[Mapping[str, Any]]
    before: Moment
    after: Moment
    balances: Balances

    def text(self) -> str:
        """Return it in words, a line per cause."""
        lines = [f"{self.merchant_id}, MRR at the end of {self.day}, in minor units of {self.currency}"]
        lines += [f"  {'reported':<14}{self.reported:>16,}"] if self.reported is not None else []
        lines += [f"  {cause:<14}{amount:>+16,}" for cause, amount in self.moved.items()]
        lines += [f"  {'now':<14}{self.now:>16,}"] if self.now is not None else []
        return "\n".join(lines)


def why(
    books: Books, merchant_id: str, day: date, since: Any, until: Any = None, scenario: str = "live"
) -> Why:
    """Tell why MRR at the end of a day is another one at `until` (None: now) than it was at `since`.

    Args:
        books: a run or a client.
        merchant_id: whose.
        day: of which day, in the merchant's time zone.
        since: version or time of the first report.
        until: version or time of the second.
        scenario: by which settings.

    Raises:
        VersionGone: the first moment is no longer kept.
        ValueError: a figure cannot be told because a rate is missing.
    """
    one = {
        "merchant_id": merchant_id,
        "scenario": scenario,
    }  # no scenario's ledger rests on another's settings
    found = books.difference("mrr_movements", since, until, CAUSES, where=one)
    asked = {"merchant": merchant_id, "scenario": scenario}
    before = moment(books, asked, found.since)
    after = moment(books, asked, found.until)
    first = balances = {
        row["currency"]: row["amount"]
        for row in books.query(BALANCES, {**asked, "day": day}, as_of=found.since.number).to_pylist()
    }
    reported = figure = before.figure(balances, day)
    if reported is None:
        raise ValueError(f"nothing was reported of {day} at {since}: an exchange rate was missing then")
    moved: dict[str, int] = {}
    parts = [total.cause for total in found.totals]
    settings = DEFINITION in parts
    movements = [
        row for row in found.table.to_pylist()
        if row["merchant_id"] == merchant_id and row["scenario"] == scenario and row["day"] <= day
    ]  # fmt: skip
    for cause in [one for one in parts if one != DEFINITION]:
        balances = added(balances, movements, cause)
        figure = note(moved, cause, figure, before.figure(balances, day))
    with_rates = Moment(after.rates, before.currency, before.rule)
    figure = note(moved, RATES, figure, with_rates.figure(balances, day))
    if settings:
        balances = added(balances, movements, DEFINITION)
    cause = NEW if before.currency is None else DEFINITION  # nothing was defined yet
    figure = note(moved, cause, figure, after.figure(balances, day))
    return Why(
        merchant_id, scenario, day, after.currency, reported, figure, moved, found.inputs, movements, before,
        after, first,
    )  # fmt: skip


def moment(books: Books, asked: Mapping[str, str], version: hr.Version) -> Moment:
    """Return what decided about figures at a version."""
    rates = books.query(RATES_THEN, as_of=version.number).to_pylist()
    rule = books.query(RULE_THEN, dict(asked), as_of=version.number).to_pylist()
    if not rule:
        return Moment(rates, None, "day")
    return Moment(rates, rule[0]["reporting_currency"], rule[0]["rate_rule"])


def added(balances: Balances, movements: Sequence[Mapping[str, Any]], cause: str) -> Balances:
    """Return balances with the movements that a cause brought or took away."""
    found = dict(balances)
    for row in movements:
        if row["_cause"] == cause:
            found[row["currency"]] = found.get(row["currency"], 0) + row["_weight"] * row["amount"]
    return found


def note(moved: dict[str, int], cause: str, before: int | None, after: int | None) -> int:
    """Write down what a cause moved, if anything, and return the figure after it."""
    if before is None or after is None:
        raise ValueError(f"the figure cannot be told after {cause}: an exchange rate is missing")
    if after != before:
        moved[cause] = moved.get(cause, 0) + after - before
    return after


def main(address: str, merchant_id: str, day: str, since: str) -> int:
    """Answer on the command line; 1 where there is no answer."""
    try:
        with hr.connect(address) as books:
            known = "SELECT 1 FROM merchants WHERE merchant_id = ?"
            if not books.query(known, [merchant_id]).num_rows:
                raise ValueError(f"there is no merchant {merchant_id!r}")
            answer = why(books, merchant_id, _asked_day(day), _asked_moment(since))
    except (hr.HeadraceError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(answer.text() + "\n")
    return 0


def _asked_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no day such as 2026-01-31") from None


def _asked_moment(text: str) -> datetime | int:
    try:
        return int(text) if text.isdecimal() else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no moment such as 2026-02-01T09:00:00Z, and no version") from None


def command_line() -> int:
    """Read the arguments and answer."""
    parser = argparse.ArgumentParser(
        prog="python -m headrace.solutions.billing.why",
        description="Tell why MRR at the end of a day is another figure now than was reported, to the cent.",
    )
    parser.add_argument("address", help="the server, such as http://127.0.0.1:8080")
    parser.add_argument("merchant")
    parser.add_argument("day", help="whose end the figure is of, such as 2026-01-31")
    parser.add_argument(
        "since", help="the moment of the report, such as 2026-02-01T09:00:00Z, or its version"
    )
    asked = parser.parse_args()
    return main(asked.address, asked.merchant, asked.day, asked.since)


if __name__ == "__main__":
    sys.exit(command_line())
