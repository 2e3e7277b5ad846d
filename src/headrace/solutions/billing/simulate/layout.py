"""The columns of every table, in the order in which the simulator writes its rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

TEXT, BIG, FLAG, DAY = pa.string(), pa.int64(), pa.bool_(), pa.date32()
TIME = pa.timestamp("us")
EXACT = pa.decimal128(24, 12)
MEASURED = pa.decimal128(24, 6)
PERCENT = pa.decimal128(7, 4)
RATE = pa.decimal128(18, 8)

VERSIONED: dict[str, Any] = {"valid_at": TIME, "seq": BIG}
OF_MERCHANT: dict[str, Any] = {"merchant_id": TEXT}

LAYOUT: dict[str, dict[str, Any]] = {
    "merchants": OF_MERCHANT
    | {
        "name": TEXT,
        "time_zone": TEXT,
        "reporting_currency": TEXT,
        "country": TEXT,
        "created_at": TIME,
    },
    "customers": OF_MERCHANT
    | {
        "customer_id": TEXT,
        "name": TEXT,
        "email": TEXT,
        "country": TEXT,
        "created_at": TIME,
        "dimensions": TEXT,
        "card_exp_month": BIG,
        "card_exp_year": BIG,
    }
    | VERSIONED,
    "products": OF_MERCHANT | {"product_id": TEXT, "name": TEXT},
    "prices": OF_MERCHANT
    | {
        "price_id": TEXT,
        "product_id": TEXT,
        "currency": TEXT,
        "scheme": TEXT,
        "tiers_mode": TEXT,
        "tiers": TEXT,
        "unit_amount": EXACT,
        "usage_type": TEXT,
        "meter": TEXT,
        "interval": TEXT,
        "interval_count": BIG,
    }
    | VERSIONED,
    "subscriptions": OF_MERCHANT
    | {
        "subscription_id": TEXT,
        "customer_id": TEXT,
        "status": TEXT,
        "currency": TEXT,
        "start_at": TIME,
        "trial_start": TIME,
        "trial_end": TIME,
        "current_period_start": TIME,
        "current_period_end": TIME,
        "cancel_at_period_end": FLAG,
        "cancel_at": TIME,
        "canceled_at": TIME,
        "ended_at": TIME,
        "pause_behavior": TEXT,
        "pause_resumes_at": TIME,
        "cancellation_reason": TEXT,
    }
    | VERSIONED,
    "subscription_items": OF_MERCHANT
    | {"item_id": TEXT, "subscription_id": TEXT, "price_id": TEXT, "quantity": BIG}
    | VERSIONED,
    "discounts": OF_MERCHANT
    | {
        "discount_id": TEXT,
        "customer_id": TEXT,
        "subscription_id": TEXT,
        "item_id": TEXT,
        "coupon_id": TEXT,
        "percent_off": PERCENT,
        "amount_off": BIG,
        "currency": TEXT,
        "duration": TEXT,
        "starts_at": TIME,
        "ends_at": TIME,
    }
    | VERSIONED,
    "coupons": OF_MERCHANT
    | {
        "coupon_id": TEXT,
        "name": TEXT,
        "percent_off": PERCENT,
        "amount_off": BIG,
        "currency": TEXT,
        "duration": TEXT,
        "duration_in_months": BIG,
    },
    "invoices": OF_MERCHANT
    | {
        "invoice_id": TEXT,
        "customer_id": TEXT,
        "subscription_id": TEXT,
        "status": TEXT,
        "currency": TEXT,
        "subtotal": BIG,
        "tax": BIG,
        "total": BIG,
        "amount_due": BIG,
        "amount_paid": BIG,
        "attempt_count": BIG,
        "billing_reason": TEXT,
        "created_at": TIME,
        "finalized_at": TIME,
        "paid_at": TIME,
        "seq": BIG,
    },
    "invoice_lines": OF_MERCHANT
    | {
        "line_id": TEXT,
        "invoice_id": TEXT,
        "item_id": TEXT,
        "price_id": TEXT,
        "quantity": BIG,
        "amount": BIG,
        "currency": TEXT,
        "proration": FLAG,
        "period_start": TIME,
        "period_end": TIME,
    },
    "payments": OF_MERCHANT
    | {
        "payment_id": TEXT,
        "customer_id": TEXT,
        "invoice_id": TEXT,
        "status": TEXT,
        "amount": BIG,
        "currency": TEXT,
        "failure_code": TEXT,
        "created_at": TIME,
    },
    "refunds": OF_MERCHANT
    | {
        "refund_id": TEXT,
        "payment_id": TEXT,
        "customer_id": TEXT,
        "status": TEXT,
        "amount": BIG,
        "currency": TEXT,
        "created_at": TIME,
    },
    "meter_events": {
        "event_id": TEXT,
        "merchant_id": TEXT,
        "customer_id": TEXT,
        "meter": TEXT,
        "value": MEASURED,
        "used_at": TIME,
    },
    "settings": OF_MERCHANT
    | {
        "scenario": TEXT,
        "preset": TEXT,
        "subtract_recurring_discounts": FLAG,
        "subtract_once_discounts": FLAG,
        "active_from": TEXT,
        "churn_at": TEXT,
        "count_past_due": FLAG,
        "reactivation_days": BIG,
        "refunds": TEXT,
        "churn_formula": TEXT,
        "reporting_currency": TEXT,
        "time_zone": TEXT,
    }
    | VERSIONED,
    "fx_rates": {"day": DAY, "currency": TEXT, "rate": RATE},
}
"""Arrow types by table and column. Times are microseconds in UTC, money is in minor units."""

KEYS: dict[str, dict[str, Any]] = {
    "customers": OF_MERCHANT | {"customer_id": TEXT} | VERSIONED,
    "subscription_items": OF_MERCHANT | {"item_id": TEXT} | VERSIONED,
}
"""What a deletion says, for the tables of which rows are deleted."""

Values = tuple[Any, ...]


class Rows:
    """Rows of all tables, collected as tuples in the order of their columns."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Values]] = {name: [] for name in LAYOUT}
        self.gone: dict[str, list[Values]] = {name: [] for name in KEYS}

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    def take(self) -> dict[str, pa.Table]:
        """Return the rows of every table that has any, and forget them."""
        taken = {name: to_arrow(LAYOUT[name], rows) for name, rows in self.rows.items() if rows}
        for rows in self.rows.values():
            rows.clear()
        return taken

    def take_gone(self) -> dict[str, pa.Table]:
        """Return what is to be deleted of every table, and forget it; it was written before."""
        taken = {name: to_arrow(KEYS[name], rows) for name, rows in self.gone.items() if rows}
        for rows in self.gone.values():
            rows.clear()
        return taken


def to_arrow(columns: dict[str, Any], rows: list[Values]) -> pa.Table:
    """Return tuples as an Arrow table with these columns."""
    parts = zip(*rows, strict=True) if rows else [()] * len(columns)
    arrays = [pa.array(part, kind) for part, kind in zip(parts, columns.values(), strict=True)]
    return pa.table(dict(zip(columns, arrays, strict=True)))
