"""Continuous proof: customers drawn at random, their ledger computed from scratch and held against the views.

    python -m headrace.solutions.billing.prove http://127.0.0.1:8080

A round draws customers, reads all that is known of each at one version, computes its ledger under every
scenario of its merchant (`recompute.py`), and compares every movement; then it converts their merchants'
movements and balances into the reporting currency, and compares every row, FX included. What it finds is
written to the table `proofs`, whose sums are on the pages; a difference is also written out in words.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from threading import Event
from typing import Any, Protocol

import pyarrow as pa

import headrace as hr
from headrace.solutions.billing.models import Setting
from headrace.solutions.billing.recompute import Customer, Facts, Movement, Rates, Reported, reported

KNOWN = """
WITH own AS (
    SELECT * FROM subscriptions__history WHERE merchant_id = $merchant AND customer_id = $customer
),
lines AS (
    SELECT * FROM subscription_items__history
    WHERE merchant_id = $merchant AND subscription_id IN (SELECT subscription_id FROM own)
)
SELECT
    (SELECT list(own) FROM own) AS subscriptions,
    (SELECT list(lines) FROM lines) AS items,
    (SELECT list(p) FROM prices__history p
     WHERE p.merchant_id = $merchant AND p.price_id IN (SELECT price_id FROM lines)) AS prices,
    (SELECT list(d) FROM discounts d WHERE d.merchant_id = $merchant
     AND (d.customer_id = $customer OR d.subscription_id IN (SELECT subscription_id FROM own))) AS discounts,
    (SELECT list(c) FROM coupons c WHERE c.merchant_id = $merchant) AS coupons,
    (SELECT list(v) FROM invoices v
     WHERE v.merchant_id = $merchant AND v.subscription_id IN (SELECT subscription_id FROM own)) AS invoices,
    (SELECT list(s) FROM settings s WHERE s.merchant_id = $merchant AND s.scenario = $scenario) AS settings,
    (SELECT list({'happened_at': m.happened_at, 'currency': m.currency, 'type': m.type, 'amount': m.amount})
     FROM customer_movements m
     WHERE m.merchant_id = $merchant AND m.customer_id = $customer AND m.scenario = $scenario) AS movements
"""

WHOLE = "*"
"""What stands for the customer where the ledger of a whole merchant in its reporting currency was proved."""
REPORTED = """
WITH chosen AS (SELECT * FROM scenarios WHERE merchant_id = $merchant AND scenario = $scenario),
moved AS (
    SELECT time_bucket(INTERVAL 15 MINUTE, happened_at) AS happened_at, currency, type, sum(amount) AS amount
    FROM customer_movements WHERE merchant_id = $merchant AND scenario = $scenario GROUP BY 1, 2, 3
),
used AS (
    SELECT currency FROM moved UNION SELECT reporting_currency FROM chosen
)
SELECT
    (SELECT list(c) FROM chosen c) AS settings,
    (SELECT list(m) FROM moved m) AS moved,
    (SELECT list(f) FROM fx_rates f WHERE f.currency IN (SELECT currency FROM used)) AS rates,
    (SELECT list({'day': r.day, 'currency': r.currency, 'type': r.type, 'amount': r.amount})
     FROM mrr_reported r
     WHERE r.merchant_id = $merchant AND r.scenario = $scenario AND r.amount <> 0
         AND r.type NOT IN ('transfer in', 'transfer out')) AS reported
"""


class Asked(Protocol):
    """What a proof needs of a run, embedded or over HTTP."""

    def answer(self, sql: str, params: Any = (), /) -> Any:
        """Answer one SELECT with `table` and `version`."""

    def query(self, sql: str, params: Any = (), /) -> pa.Table:
        """Answer one SELECT."""

    def upsert(self, table: str, rows: Any, /) -> Any:
        """Write rows by key."""


@dataclass(frozen=True)
class Proof:
    """What came of one customer.

    Attributes:
        merchant_id: whose customer.
        customer_id: which.
        scenario: under which settings.
        version: what was read.
        movements: how many movements were computed from scratch.
        drift_minor: sum of all differences, without their signs, in minor units; 0 where both agree.
        missing: movements that the views lack.
        surplus: movements that only the views have.
    """

    merchant_id: str
    customer_id: str
    scenario: str
    version: int
    movements: int
    drift_minor: int
    missing: tuple[Movement | Reported, ...] = ()
    surplus: tuple[Movement | Reported, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether the views say the same."""
        return not self.missing and not self.surplus


def prove(run: Asked, merchant_id: str, customer_id: str, scenario: str = "live") -> Proof:
    """Compute one customer's ledger from scratch, and hold the views against it."""
    asked = {"merchant": merchant_id, "customer": customer_id, "scenario": scenario}
    answer = run.answer(KNOWN, asked)
    known = {name: value or [] for name, value in answer.table.to_pylist()[0].items()}
    settings = known["settings"][0] if known["settings"] else defaults()
    facts = Facts(
        settings,
        known["subscriptions"],
        known["items"],
        known["prices"],
        known["discounts"],
        known["invoices"], known["coupons"],
    )  # fmt: skip
    wanted = Counter(Customer(facts).movements())
    found = Counter(
        Movement(row["happened_at"], row["currency"], row["type"], int(row["amount"]))
        for row in known["movements"]
    )
    return _compared((merchant_id, customer_id, scenario), int(answer.version), wanted, found)


def prove_reported(run: Asked, merchant_id: str, scenario: str = "live") -> Proof:
    """Convert a merchant's movements and balances from scratch, and hold the reported ledger against it."""
    answer = run.answer(REPORTED, {"merchant": merchant_id, "scenario": scenario})
    known = {name: value or [] for name, value in answer.table.to_pylist()[0].items()}
    moved = [
        Movement(row["happened_at"], row["currency"], row["type"], int(row["amount"]))
        for row in known["moved"]
    ]
    found = Counter(
        Reported(row["day"], row["currency"], row["type"], int(row["amount"])) for row in known["reported"]
    )
    wanted: Counter[Reported] = Counter()
    for chosen in known["settings"]:
        place = (chosen["reporting_currency"], chosen["time_zone"], chosen["rate_rule"])
        wanted += Counter(reported(moved, Rates(known["rates"]), *place))
    return _compared((merchant_id, WHOLE, scenario), int(answer.version), wanted, found)


def _compared(whose: tuple[str, str, str], version: int, wanted: Counter[Any], found: Counter[Any]) -> Proof:
    missing, surplus = tuple((wanted - found).elements()), tuple((found - wanted).elements())
    drift = abs(sum(one.amount for one in missing) - sum(one.amount for one in surplus))
    spread = sum(abs(one.amount) for one in (*missing, *surplus))
    return Proof(*whose, version, sum(wanted.values()), max(drift, spread), missing, surplus)


def defaults() -> dict[str, Any]:
    """Return the settings of a merchant that has set nothing."""
    return {name: field.get_default() for name, field in Setting.model_fields.items()}


def round_of(run: Asked, rng: random.Random, customers: int = 20) -> list[Proof]:
    """Prove some customers drawn at random, and the reported ledgers of their merchants; write it down.

    Each is proved under every scenario of its merchant.
    """
    seed = rng.randrange(1 << 30)
    sample = f"USING SAMPLE reservoir({int(customers)} ROWS) REPEATABLE ({seed})"
    drawn = run.query(f"SELECT merchant_id, customer_id FROM customers {sample}").to_pylist()
    scenarios = run.query("SELECT merchant_id, scenario FROM scenarios").to_pylist()
    proofs = [
        prove(run, one["merchant_id"], one["customer_id"], each["scenario"])
        for one in drawn
        for each in scenarios
        if each["merchant_id"] == one["merchant_id"]
    ]
    merchants = {one["merchant_id"] for one in drawn}
    proofs += [
        prove_reported(run, each["merchant_id"], each["scenario"])
        for each in scenarios
        if each["merchant_id"] in merchants
    ]
    run.upsert("proofs", rows_of(proofs))
    return proofs


def rows_of(proofs: Sequence[Proof]) -> list[dict[str, Any]]:
    """Return proofs as rows of the table `proofs`, which holds the last one of each customer and scenario."""
    now = datetime.now(UTC)
    return [
        {
            "merchant_id": one.merchant_id, "customer_id": one.customer_id, "scenario": one.scenario,
            "proved_at": now, "version": one.version, "movements": one.movements,
            "drift_minor": one.drift_minor, "differences": len(one.missing) + len(one.surplus),
        }
        for one in proofs
    ]  # fmt: skip


def told(proof: Proof) -> str:
    """Return a difference in words."""
    who = f"{proof.merchant_id} {proof.customer_id}, scenario {proof.scenario}, version {proof.version}"
    sides = [*(("missing", one) for one in proof.missing), *(("surplus", one) for one in proof.surplus)]
    rows = [f"  {side} {_when(one)} {one.type} {one.amount} {one.currency}" for side, one in sides]
    return "\n".join([who, *rows])


def _when(one: Movement | Reported) -> datetime | date:
    return one.happened_at if isinstance(one, Movement) else one.day


@contextlib.contextmanager
def proving(address: str) -> Iterator[None]:
    """Let a process of its own prove rounds against a server as long as the block runs."""
    command = [sys.executable, "-m", "headrace.solutions.billing.prove", address]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def main(address: str, every_s: float = 10.0) -> None:
    """Prove a round again and again against a server, until interrupted."""
    rng = random.Random()
    pause = Event()
    with hr.connect(address) as remote, contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                proofs = round_of(remote, rng)
                drift = sum(one.drift_minor for one in proofs)
                sys.stdout.write(
                    f"{datetime.now(UTC):%H:%M:%S} {len(proofs)} ledgers from scratch, drift {drift}\n"
                )
                sys.stdout.writelines(told(one) + "\n" for one in proofs if not one.is_equal)
                sys.stdout.flush()
            except hr.HeadraceError as error:  # a server that is busy is asked again
                sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} no round: {error}\n")
            pause.wait(every_s)


def command_line() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m headrace.solutions.billing.prove",
        description="Compare ledgers of customers drawn at random with ones from scratch, until interrupted.",
    )
    parser.add_argument("address", help="the server, such as http://127.0.0.1:8080")
    main(parser.parse_args().address)


if __name__ == "__main__":
    command_line()
