"""Reads the plain cases in `cases/*.toml` and turns them into rows of the tables; `cases/README.md` says how
to write one. Every case is a merchant of its own, so that all of them run side by side in one run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"
Rows = dict[str, list[dict[str, Any]]]


@dataclass
class Case:
    """One case: a merchant with its rows in the order in which they are told, and what must be seen."""

    name: str
    about: str
    given: Mapping[str, Any]
    expect: list[Mapping[str, Any]]
    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name


def read(path: Path) -> Iterator[Case]:
    """Return the cases of a file."""
    for told in tomllib.loads(path.read_text())["case"]:
        given = {name: value for name, value in told.items() if name not in ("name", "about", "expect")}
        case = Case(told["name"], told["about"], given, told["expect"])
        case.rows = list(_Teller(case).tell())
        yield case


def all_cases() -> list[Case]:
    """Return the cases of all files."""
    cases = [case for path in sorted(CASES.glob("*.toml")) for case in read(path)]
    assert len({case.name for case in cases}) == len(cases)
    return cases


class _Teller:
    """Spells the short words of a case out into rows."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.seq = count(1)
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.items: dict[str, dict[str, Any]] = {}

    def tell(self) -> Iterator[tuple[str, dict[str, Any]]]:
        given = dict(self.case.given)
        own = {"name": self.case.name, **given.pop("merchant", {})}
        yield "merchants", {"merchant_id": self.case.name, **own}
        for name, price in given.pop("prices", {}).items():
            yield self._price(name, price)
        for name, settings in given.pop("scenarios", {}).items():
            row = {"scenario": name, "valid_at": "2026-01-01", **settings}
            yield "settings", self._keyed("settings", row)
        for hold in given.pop("holds", []):
            yield from self._holds(hold)
        for turn in given.pop("turns", []):
            yield from self._turn(turn)
        for table, rows in given.items():
            for row in rows:
                for one in _times(row):
                    yield table.removeprefix("more_"), self._keyed(table, one)

    def _keyed(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        told = {"merchant_id": self.case.name, **row}
        if table == "fx_rates":
            return dict(row)
        if table == "discounts":
            told = {"valid_at": row["starts_at"], "currency": "usd", **told}
        if "valid_at" in told:
            told = {"seq": next(self.seq), **told}
        return told

    def _price(self, name: str, price: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        words = {
            "amount": "unit_amount",
            "per": "interval",
            "every": "interval_count",
            "product": "product_id",
        }
        row = {"price_id": name, "product_id": name, "currency": "usd", "valid_at": "2000-01-01"}
        row |= {words.get(key, key): value for key, value in price.items()}
        if "unit_amount" in row:
            row["unit_amount"] = str(row["unit_amount"])
        return "prices", self._keyed("prices", row)

    def _holds(self, told: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for one in _times(told):
            row = dict(one)
            name, since, until = row.pop("id"), row.pop("since"), row.pop("until", None)
            price, quantity, paid = row.pop("price"), row.pop("quantity", 1), row.pop("paid", since)
            currency = self.case.given.get("prices", {}).get(price, {}).get("currency", "usd")
            subscription = {"subscription_id": name, "customer_id": row.pop("customer", name)}
            subscription |= {"currency": currency, "status": row.pop("status", "active"), **row}
            self.subscriptions[name] = subscription
            yield "subscriptions", self._keyed("subscriptions", {**subscription, "valid_at": since})
            yield from self._item(name, {"item": name, "price": price, "quantity": quantity}, since)
            if paid:
                yield "invoices", self._paid(name, paid)
            if until is not None:
                yield from self._turn({"id": name, "at": until, "status": "canceled"})

    def _paid(self, name: str, paid_at: Any) -> dict[str, Any]:
        subscription = self.subscriptions[name]
        row = {
            "invoice_id": f"in-{name}-{paid_at}",
            "subscription_id": name,
            "status": "paid",
            "amount_paid": 1,
        }
        row |= {"customer_id": subscription["customer_id"], "currency": subscription["currency"]}
        return self._keyed("invoices", {**row, "created_at": paid_at, "paid_at": paid_at})

    def _turn(self, told: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for one in _times(told):
            row = dict(one)
            name, happened_at = row.pop("id"), row.pop("at")
            if paid := row.pop("paid", None):
                yield "invoices", self._paid(name, paid)
            if {"item", "price", "quantity"} & row.keys():
                yield from self._item(name, row, happened_at)
            elif row:
                self.subscriptions[name] |= row
                subscription = {**self.subscriptions[name], "valid_at": happened_at}
                yield "subscriptions", self._keyed("subscriptions", subscription)

    def _item(self, name: str, told: Mapping[str, Any], at: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        item = told.get("item", name)
        known = self.items.setdefault(item, {"item_id": item, "subscription_id": name, "quantity": 1})
        if told.get("removed"):
            row = {"item_id": item, "valid_at": at}
            yield "-subscription_items", self._keyed("subscription_items", row)
            return
        words = {"price": "price_id", "quantity": "quantity"}
        known |= {words[key]: value for key, value in told.items() if key in words}
        yield "subscription_items", self._keyed("subscription_items", {**known, "valid_at": at})


def _times(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row as often as its `times` says, with `{n}` in its texts."""
    told = dict(row)
    many = told.pop("times", None)
    if many is None:
        yield told
        return
    for n in range(many):
        yield {key: value.format(n=n) if isinstance(value, str) else value for key, value in told.items()}


def plain(value: Any) -> Any:
    """Return a value of an answer as the cases write it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value
