"""Real order lines (UCI Online Retail): one stream, and GMV and products over it.

The README of the solution says what is done with dirty lines. To feed the file, map its columns:

    headrace replay online_retail.csv.gz --stream order_lines --speed max --map "…"   (see `MAPPING`)
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import Field

import headrace as hr

MAPPING = {
    "invoice_no": "InvoiceNo",
    "stock_code": "StockCode",
    "invoiced_at": "InvoiceDate",
    "unit_price": "UnitPrice",
    "customer_id": r"regexp_replace(CustomerID, '\.0$', '')",
}
"""From the file's columns; those with the same name need no mention. Customers are written as `17850.0`."""


class OrderLine(hr.Event):
    """One line of an invoice. Numbers beginning with C are refunds, with another letter bookkeeping."""

    invoice_no: str
    stock_code: str
    description: str | None
    quantity: int
    invoiced_at: Annotated[datetime, hr.event_time()]
    unit_price: Annotated[Decimal, hr.decimal(12, 3), Field(ge=0)]
    customer_id: int | None
    country: str


app = hr.App("retail")
app.stream("order_lines", OrderLine)
app.views("views")
