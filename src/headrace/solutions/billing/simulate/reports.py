"""Every report from the books: the answers of the named queries, over the last year, month by month.

Money of several currencies is converted as documented: each day's balance and movements per currency at the
newest rate known on that day, rounded to minor units, half away from zero, then added. What a day's balance
differs from the day before beyond its movements is exchange.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from headrace.solutions.billing.simulate.books import Books
from headrace.solutions.billing.simulate.metrics import Reckoned, Row, usage_monthly
from headrace.solutions.billing.simulate.times import EPOCH_DAY
from headrace.solutions.billing.simulate.worth import Rules

DIGITS = {"usd": 2, "eur": 2, "gbp": 2, "jpy": 0, "kwd": 3}
"""Decimals of each currency's minor unit."""
DIMENSION = "size"
"""By which of the merchants' own dimensions the roll-forward is parted."""
KINDS = ("new", "reactivation", "expansion", "contraction", "churn")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """What is asked: a merchant's reports from the first day to the last."""

    of: Reckoned
    books: Books
    since: date
    until: date

    @property
    def asked(self) -> Row:
        """The parameters of the named query."""
        whose = {"merchant": self.of.merchant_id, "scenario": self.of.scenario}
        return whose | {"since": self.since, "until": self.until}

    def holds(self, day: date) -> bool:
        """Return whether a day lies inside."""
        return self.since <= day <= self.until

    def months(self) -> set[date]:
        """Return the first day of every month that has a day inside."""
        days = (self.until - self.since).days + 1
        return {(self.since + day * DAY).replace(day=1) for day in range(days)}


class Exchange:
    """Converts minor units into the reporting currency at the newest rate known on a day."""

    def __init__(self, books: Books, into: str) -> None:
        self._into = into
        self._days = {currency: sorted(rates) for currency, rates in books.rates.items()}
        self._rates = books.rates

    def convert(self, amount: int, currency: str, day: date) -> int:
        """Return the amount in the reporting currency, rounded half away from zero."""
        if currency == self._into or amount == 0:
            return amount
        up = Fraction(self._rate(self._into, day)) * 10 ** DIGITS[self._into]
        down = Fraction(self._rate(currency, day)) * 10 ** DIGITS[currency]
        size = int(abs(amount) * up / down + Fraction(1, 2))
        return size if amount > 0 else -size

    def days(self, currency: str) -> set[date]:
        """Return the days on which the rate between a currency and the reporting currency changed."""
        days = self._days.get(currency, []) + self._days.get(self._into, [])
        return {date.fromordinal(EPOCH_DAY + day) for day in days}

    def _rate(self, currency: str, day: date) -> Fraction:
        if currency == "usd":
            return Fraction(1)
        days = self._days[currency]
        known = bisect_right(days, day.toordinal() - EPOCH_DAY) - 1
        return Fraction(self._rates[currency][days[known]])


def ratio(above: int | Fraction, below: int | Fraction) -> float | None:
    """Return a share; nothing is a share of nothing."""
    return float(Fraction(above) / Fraction(below)) if below else None


def metrics(span: Span) -> Iterator[Row]:
    """MRR and how it came about, subscribers, churn and retention, per month."""
    exchange = Exchange(span.books, span.of.currency)
    moved: dict[date, Counter[tuple[str, str]]] = defaultdict(Counter)
    balance: Counter[str] = Counter()
    first = span.since - DAY
    for move in span.of.moves:
        day, currency = span.of.day(move.at_us), move.key[0]
        if day <= first:
            balance[currency] += move.amount
        elif day <= span.until:
            moved[day][currency, move.kind] += move.amount
    turned: dict[date, Counter[str]] = defaultdict(Counter)
    active = 0
    for turn in span.of.turns:
        day = span.of.day(turn.at_us)
        if day <= first:
            active += -1 if turn.kind == "churn" else 1
        elif day <= span.until:
            turned[day][turn.kind] += 1
    before = sum(exchange.convert(amount, currency, first) for currency, amount in balance.items())
    month = _Month(span.since, before, active)
    day = span.since
    while day <= span.until:
        if day.day == 1 and day > span.since:
            yield month.row(span.of.rules)
            month = _Month(day, month.mrr, month.active)
        for (currency, kind), amount in moved[day].items():
            balance[currency] += amount
            month.moved[kind] += exchange.convert(amount, currency, day)
        month.mrr = sum(exchange.convert(amount, currency, day) for currency, amount in balance.items())
        month.turned.update(turned[day])
        month.active += turned[day]["new"] + turned[day]["reactivation"] - turned[day]["churn"]
        day += DAY
    yield month.row(span.of.rules)


def mrr_reported(of: Reckoned, books: Books) -> Iterator[Row]:
    """The ledger in the reporting currency: movements of a day, currency and type, and what rates did."""
    exchange = Exchange(books, of.currency)
    sums: dict[str, dict[date, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for move in of.moves:
        sums[move.key[0]][of.day(move.at_us)][move.kind] += move.amount
    for currency, days in sums.items():
        balance = reported = 0
        changed = set() if currency == of.currency else exchange.days(currency)
        for day in sorted(days.keys() | changed):
            fx = 0
            for kind, amount in days.get(day, Counter()).items():
                balance += amount
                into = exchange.convert(amount, currency, day)
                fx -= into
                facts = {"day": day, "currency": currency, "reporting": of.currency, "type": kind}
                yield of.of_scenario | facts | {"amount": into, "own_amount": amount}
            fx += exchange.convert(balance, currency, day) - reported
            reported = exchange.convert(balance, currency, day)
            if fx:
                facts = {"day": day, "currency": currency, "reporting": of.currency, "type": "FX"}
                yield of.of_scenario | facts | {"amount": fx, "own_amount": 0}


def roll_forward(span: Span) -> Iterator[Row]:
    """The ledger in the reporting currency over the span, one for each size of customers: `DIMENSION`."""
    exchange = Exchange(span.books, span.of.currency)
    first = span.since - DAY
    sums: dict[tuple[str | None, str], dict[date, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for move in span.of.moves:
        day = span.of.day(move.at_us)
        if day <= span.until:
            value = span.of.customer(move.customer_id).dimensions.get(DIMENSION)
            kind = "start" if day < span.since else move.kind
            sums[value, move.key[0]][max(day, first)][kind] += move.amount
    for (value, currency), days in sums.items():
        balance = reported = 0
        facts = {"slice": value, "currency": currency, "reporting": span.of.currency}
        day = first
        while day <= span.until:
            for kind, amount in days.get(day, Counter()).items():
                balance += amount
                into = exchange.convert(amount, currency, day)
                reported += into
                yield facts | {"day": day, "type": kind, "amount": into, "own_amount": amount}
            fx = exchange.convert(balance, currency, day) - reported
            if fx:
                reported += fx
                yield facts | {"day": day, "type": "FX", "amount": fx, "own_amount": 0}
            day += DAY


class _Month:
    def __init__(self, period: date, mrr: int, active: int) -> None:
        self.period, self.start, self.mrr = period.replace(day=1), mrr, mrr
        self.begun, self.active = active, active
        self.moved: Counter[str] = Counter()
        self.turned: Counter[str] = Counter()

    def row(self, rules: Rules) -> Row:
        """Return the report of the month."""
        new, back, up, down, lost = (self.moved[kind] for kind in KINDS)
        arrived, returned, left = (self.turned[kind] for kind in ("new", "reactivation", "churn"))
        stripes, common = ratio(left, self.begun + arrived), ratio(left, self.begun)
        rate = stripes if rules.churn_formula == "stripe" else common
        arpu = ratio(self.mrr, self.active)
        return {
            "period": self.period,
            "start_mrr": self.start,
            "new_mrr": new,
            "reactivation_mrr": back,
            "expansion_mrr": up,
            "contraction_mrr": down,
            "churned_mrr": lost,
            "fx_mrr": self.mrr - self.start - sum(self.moved.values()),
            "mrr": self.mrr,
            "arr": 12 * self.mrr,
            "mrr_growth": self.mrr - self.start,
            "churned_revenue": -lost - down,
            "start_subscribers": self.begun,
            "new_subscribers": arrived,
            "reactivated_subscribers": returned,
            "churned_subscribers": left,
            "subscribers": self.active,
            "churn_rate": rate,
            "churn_rate_stripe": stripes,
            "churn_rate_common": common,
            "gross_mrr_churn": ratio(-lost - down, self.start),
            "net_mrr_churn": ratio(-lost - down - up - back, self.start),
            "nrr": ratio(self.start + lost + down + up, self.start),
            "grr": ratio(self.start + lost + down, self.start),
            "quick_ratio": ratio(new + up + back, -lost - down),
            "arpu": arpu,
            "ltv": arpu / rate if arpu is not None and rate else None,
        }


def trials(span: Span) -> Iterator[Row]:
    """Trials of every month: started, ended, converted, paused, and the rate of conversion."""
    months: dict[date, Counter[str]] = {first: Counter() for first in span.months()}
    for trial in span.of.book.trials:
        if span.holds(span.of.day(trial.started_us)):
            months[span.of.month(trial.started_us)]["started"] += 1
        if trial.ended_us is not None and span.holds(span.of.day(trial.ended_us)):
            months[span.of.month(trial.ended_us)].update(["ended", str(trial.outcome)])
    for month, counts in months.items():
        found = {name: counts[name] for name in ("started", "ended", "converted", "paused")}
        yield {"period": month, **found, "conversion_rate": ratio(counts["converted"], counts["ended"])}


def cohorts(span: Span) -> Iterator[Row]:
    """Of each month's first-time subscribers: how many are left after so many months, and of their MRR."""
    last = span.until.replace(day=1)
    size: Counter[date] = Counter()
    left: dict[date, Counter[date]] = defaultdict(Counter)
    for turn in span.of.turns:
        if span.of.day(turn.at_us) <= span.until:
            cohort, month = span.of.month(turn.first_us), span.of.month(turn.at_us)
            size[cohort] += turn.kind == "new" and month == cohort
            left[cohort][month] += -1 if turn.kind == "churn" else 1
    flows: dict[tuple[date, str], Counter[date]] = defaultdict(Counter)
    for move in span.of.moves:
        if span.of.day(move.at_us) <= span.until:
            flows[span.of.month(move.first_us), move.key[0]][span.of.month(move.at_us)] += move.amount
    for (cohort, currency), amounts in flows.items():
        mrr = subscribers = first = 0
        month, months = cohort, 0
        while month <= last and months <= 24:
            mrr += amounts[month]
            subscribers += left[cohort][month]
            first = mrr if months == 0 else first
            yield {
                "cohort_month": cohort,
                "months": months,
                "currency": currency,
                "cohort_size": size[cohort],
                "subscribers": subscribers,
                "subscriber_retention": ratio(subscribers, size[cohort]),
                "mrr": mrr,
                "revenue_retention": ratio(mrr, first),
            }
            month, months = (month + 31 * DAY).replace(day=1), months + 1


def payment_recovery(span: Span) -> Iterator[Row]:
    """Payments that failed and what became of them, per currency."""
    cash: dict[str, Counter[str]] = defaultdict(Counter)
    tries: dict[str, list[tuple[int, bool, int, str]]] = defaultdict(list)
    for made in span.of.book.payments:
        tries[made.invoice_id].append((made.at_us, made.succeeded, made.amount, made.currency))
        if span.holds(span.of.day(made.at_us)):
            kind = "paid" if made.succeeded else "failed"
            cash[made.currency].update({kind: 1, f"{kind}_amount": made.amount})
    for back in span.of.book.refunds:
        if span.holds(span.of.day(back.at_us)):
            cash[back.currency]["refunded_amount"] += back.amount
    for found in tries.values():
        failed = [at_us for at_us, succeeded, *_ in found if not succeeded]
        if failed and span.holds(span.of.day(min(failed))):
            counts = cash[found[0][3]]
            came = any(succeeded for _, succeeded, *_ in found)
            amount = max(amount for _, _, amount, _ in found)
            counts.update({"invoices": 1, "recovered": int(came), "recovered_amount": amount if came else 0})
    returned = int(span.of.rules.refunds == "subtract")
    for currency, counts in cash.items():
        yield {
            "currency": currency,
            "paid_payments": counts["paid"],
            "failed_payments": counts["failed"],
            "failed_rate": ratio(counts["failed"], counts["failed"] + counts["paid"]),
            "failed_amount_rate": ratio(
                counts["failed_amount"], counts["failed_amount"] + counts["paid_amount"]
            ),
            "failed_invoices": counts["invoices"],
            "recovered_invoices": counts["recovered"],
            "recovery_rate": ratio(counts["recovered"], counts["invoices"]),
            "recovered_amount": counts["recovered_amount"],
            "refunded_amount": counts["refunded_amount"],
            "net_revenue": counts["paid_amount"] - returned * counts["refunded_amount"],
        }


def revenue_at_risk(span: Span) -> Iterator[Row]:
    """Customers whose card expires next month, and the MRR that hangs on it."""
    following = (span.until.replace(day=1) + 31 * DAY).replace(day=1)
    held: Counter[tuple[str, str]] = Counter()
    for move in span.of.moves:
        if span.of.day(move.at_us) <= span.until:
            held[move.customer_id, move.key[0]] += move.amount
    for (customer_id, currency), mrr in held.items():
        known = span.of.book.customers.get(customer_id)
        if known and mrr > 0 and known.card == (following.month, following.year):
            yield {"customer_id": customer_id, "currency": currency, "mrr": mrr}


def involuntary_churn(span: Span) -> Iterator[Row]:
    """Customers and MRR lost because payments failed, beside all that was lost, per currency."""
    failed = {(turn.customer_id, turn.at_us) for turn in span.of.turns if turn.involuntary}
    lost: dict[str, Counter[str]] = defaultdict(Counter)
    who: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for move in span.of.moves:
        if move.kind == "churn" and span.holds(span.of.day(move.at_us)):
            for_want = (move.customer_id, move.at_us) in failed
            currency = move.key[0]
            lost[currency].update({"all": -move.amount, "failed": -move.amount * for_want})
            who[currency, False].add(move.customer_id)
            who[currency, True].update([move.customer_id] if for_want else [])
    for currency, sums in lost.items():
        yield {
            "currency": currency,
            "churned": len(who[currency, False]),
            "involuntary": len(who[currency, True]),
            "churned_mrr": sums["all"],
            "involuntary_mrr": sums["failed"],
        }


def usage_revenue(span: Span) -> Iterator[Row]:
    """Usage and what it is worth per month, meter, product and currency."""
    names = ("month", "meter", "product_id", "currency")
    sums: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in usage_monthly(span.of):
        if span.since.replace(day=1) <= row["month"] <= span.until:
            sums[tuple(row[name] for name in names)].append(row)
    for key, rows in sums.items():
        units, amount = sum(row["units"] for row in rows), sum(row["amount"] for row in rows)
        customers = len({row["customer_id"] for row in rows})
        found = {"units": units, "amount": amount, "customers": customers}
        yield dict(zip(names, key, strict=True)) | found


QUERIES: tuple[Callable[[Span], Iterator[Row]], ...] = (
    metrics,
    roll_forward,
    trials,
    cohorts,
    payment_recovery,
    revenue_at_risk,
    involuntary_churn,
    usage_revenue,
)
"""One function for each named query, of the same name."""
WHOSE = ("merchant", "scenario")
PARAMETERS = {"revenue_at_risk": (*WHOSE, "today"), "cohorts": (*WHOSE, "until")}
FIXED: dict[str, Row] = {"roll_forward": {"by": DIMENSION}}
"""What a query is asked with besides."""
"""What a query is asked with, where it is not the merchant and the first and last day."""


def asked(name: str, span: Span) -> Row:
    """Return the parameters of a named query."""
    given = span.asked | {"today": span.until}
    chosen = {parameter: given[parameter] for parameter in PARAMETERS.get(name, (*WHOSE, "since", "until"))}
    return chosen | FIXED.get(name, {})
