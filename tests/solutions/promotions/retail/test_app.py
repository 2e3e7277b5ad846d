"""Real order lines, replayed: the views equal DuckDB's answers over the file, and no line is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from headrace.solutions.promotions.retail.app import MAPPING, app
from headrace.sources.files import FileSource
from headrace.sources.replay import Replayed, replay

FILE = "online_retail_2010-12_2011-08.csv.gz"
LINES = 320_705


class Replay:
    """The whole file in a run, and DuckDB with the file as it is."""

    def __init__(self, path: Path) -> None:
        self.run = app.open(None)
        self.done: Replayed = replay(self.run, "order_lines", FileSource(path, mapping=MAPPING))
        self.run.advance()
        self.duck = duckdb.connect()
        self.duck.execute(
            """
            CREATE TABLE lines AS
            SELECT InvoiceNo AS invoice, StockCode AS code, Quantity::INT AS units, CustomerID AS customer,
                InvoiceDate::TIMESTAMP AS moment, UnitPrice::DECIMAL(12,3) AS price,
                price >= 0 AS valid, InvoiceNo[1] = 'C' AS back, units > 0 AND InvoiceNo[1] <= '9' AS sold
            FROM read_csv(?, all_varchar = true, header = true)
            """,
            [str(path)],
        )

    def view(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.run.query(sql).to_pylist()]

    def direct(self, sql: str) -> list[tuple[Any, ...]]:
        table: Any = self.duck.sql(sql).to_arrow_table()
        return [tuple(row.values()) for row in table.to_pylist()]


@pytest.fixture(scope="module")
def replayed(shared_data: Path) -> Iterator[Replay]:
    whole = Replay(shared_data / FILE)
    yield whole
    whole.run.close()


def test_every_line_is_answered_for(replayed: Replay) -> None:
    negative = replayed.direct("SELECT count(*) FROM lines WHERE NOT valid")[0][0]
    done = replayed.done
    assert (done.rows, done.rejected, done.bad_lines, done.late, done.repeated) == (LINES, negative, 0, 0, 0)
    assert done.accepted == LINES - negative
    assert replayed.view("SELECT count(*) FROM order_lines__rejected") == [(negative,)]
    assert done.left_out == ()


def test_gmv(replayed: Replay) -> None:
    assert replayed.view("SELECT gross_gmv, refunds, net_gmv, lines, customers FROM gmv") == replayed.direct(
        """
        SELECT sum(units * price) FILTER (WHERE sold), -sum(units * price) FILTER (WHERE back),
            sum(units * price) FILTER (WHERE sold OR back), count(*), count(DISTINCT customer)
        FROM lines WHERE valid
        """
    )


def test_top_products(replayed: Replay) -> None:
    found = replayed.view("SELECT * FROM top_products ORDER BY net_sales DESC, stock_code")
    assert len(found) == 5
    assert found == replayed.direct(
        """
        SELECT code, sum(units), sum(units * price) FROM lines WHERE price > 0 AND (sold OR back)
        GROUP BY code ORDER BY 3 DESC, 1 LIMIT 5
        """
    )


def test_gmv_per_day(replayed: Replay) -> None:
    found = replayed.view("SELECT window_start, net_gmv, invoices FROM gmv_per_day ORDER BY 1")
    assert found == replayed.direct(
        """
        SELECT date_trunc('day', moment), sum(units * price), count(DISTINCT invoice)
        FROM lines WHERE valid AND (sold OR back) GROUP BY 1 ORDER BY 1
        """
    )
