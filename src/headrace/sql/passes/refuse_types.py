"""Types that do not survive the way between operators are refused, rather than answered wrongly."""

from __future__ import annotations

import re

from headrace.errors import UnsupportedSql
from headrace.sql.bind.work import Work
from headrace.sql.plan import Node

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_REFUSED = {
    "TIME WITH TIME ZONE": "Arrow carries no time zone with a time of day; use TIMESTAMP WITH TIME ZONE",
    "UNION": "rows cannot be told apart by it; use a STRUCT with one member per alternative",
    "BIGNUM": "use HUGEINT, DECIMAL(38,0) or VARCHAR",
    "GEOMETRY": "keep it as a BLOB (ST_AsWKB) or as coordinates",
    "VARIANT": "use JSON",
}
"""Types, and what to do instead."""


def refuse_types(work: Work, root: Node) -> Node:
    """Return the plan as it is.

    Raises:
        UnsupportedSql: a column in it has a type that Arrow does not carry as DuckDB means it.
    """
    for node in root.walk():
        for column in node.schema:
            plain = _QUOTED.sub("", column.sql_type)
            for name, hint in _REFUSED.items():
                if re.search(rf"\b{name}\b", plain):
                    raise work.text.error(
                        f"the column {column.name!r} has the type {name}, which rows here cannot hold",
                        kind=UnsupportedSql,
                        hint=hint,
                    )
    return root
