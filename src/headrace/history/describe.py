"""What the past must know of a view, and a digest of everything that decides what it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from headrace.contracts.schema import Schema
from headrace.declarations import options_of
from headrace.definitions.compare import plan_fingerprint
from headrace.history.chapters import Described
from headrace.sql.plan import ViewPlan
from headrace.state.checkpoint import program


def described_views(
    plans: Mapping[str, ViewPlan], orders: Mapping[str, str | None], kept: timedelta
) -> list[Described]:
    """Return the views of an app.

    Args:
        plans: their plans by lower-case name.
        orders: the ORDER BY lists of their own SQL, by lower-case name.
        kept: how long the past of those is kept that do not say so.
    """
    digests: dict[str, str | None] = {}
    found = []
    for name, plan in plans.items():
        span = options_of(plan.sql).history
        found.append(
            Described(
                plan.name, plan.schema, _digest(name, plans, digests), _ms(kept if span is None else span),
                plan.unique_key, orders.get(name), plan.sql,
            )
        )  # fmt: skip
    return found


def described_table(name: str, schema: Schema, key: tuple[str, ...] | None, kept: timedelta) -> Described:
    """Return the kept rows of a table or side table under their name in the engine."""
    nullable = Schema(tuple(replace(column, nullable=True) for column in schema))
    shown = repr([(column.name, column.sql_type) for column in schema])
    digest = hashlib.sha256((program() + shown).encode()).hexdigest()
    return Described(name, nullable, digest, _ms(kept), key)


def _digest(name: str, plans: Mapping[str, ViewPlan], known: dict[str, str | None]) -> str | None:
    """Return a digest over a view, all views that it reads, and the program; None for what refreshes apart:
    when it was computed is not in the log.
    """
    if name not in known:
        plan = plans[name]
        read = [_digest(below.lower(), plans, known) for below in plan.relations if below.lower() in plans]
        if plan.refresh is not None or None in read:
            known[name] = None
        else:
            text = "".join([program(), plan_fingerprint(plan), *(digest or "" for digest in read)])
            known[name] = hashlib.sha256(text.encode()).hexdigest()
    return known[name]


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
