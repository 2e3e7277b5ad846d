"""Python functions that random views call; none of them can fail, and equal arguments have equal answers."""

from __future__ import annotations

from random import Random

import pyarrow as pa
import pyarrow.compute as pc

import headrace as hr
from headrace.testing import Case

from .scope import Relation, pick

TWINS = {
    "my_spread": "max", "my_joined": "max", "my_pairs": "arg_max",
    "my_double": "abs", "my_word": "concat", "my_letters": "string_split",
}  # fmt: skip
"""DuckDB's own functions of the same types: what a text is typed with."""
SCALARS = (
    "my_double({n})", "my_double(my_double({n}))", "my_word({t}, {n}::VARCHAR)", "my_letters({t}, 'a')",
    "my_double({n}) + 1", "upper(my_word({t}, {t}))", "my_word('a', {t})",
)  # fmt: skip
AGGREGATES = (
    "my_spread({n})", "my_spread(DISTINCT {n})", "my_spread({n}) FILTER (WHERE {p})", "my_joined({t})",
    "my_joined({t} ORDER BY {t} DESC)", "my_joined(DISTINCT {t})", "my_pairs({t}, {n})",
    "my_joined({t} ORDER BY {n}, {t}) FILTER (WHERE {p})", "len(my_joined({t}))", "my_spread(my_double({n}))",
)  # fmt: skip


def double(x: pa.Array) -> pa.Array:
    """Twice a number, around the corner where it is too large."""
    return pc.multiply(x, 2)


def word(text: str | None, other: str | None) -> str:
    """Never NULL, whatever comes."""
    return f"{text}:{other}"


def letters(text: str | None, end: str | None) -> list[str] | None:
    """The letters up to one."""
    return None if text is None else list(text.partition(end or "z")[0])


def spread(rows: list[int | None]) -> int | None:
    """How far apart the ends are; NULL for no rows."""
    found = [row for row in rows if row is not None]
    return (max(found) - min(found)) % 1_000 if found else None


def joined(rows: list[str | None]) -> str:
    """All in their order, also NULL."""
    return "|".join("-" if row is None else row for row in rows)


def pairs(rows: list[tuple[str | None, int | None]]) -> str | None:
    """Pairs in their order; NULL for no rows."""
    return " ".join(f"{text}={number}" for text, number in rows) or None


def declare_called(app: hr.App, case: Case) -> None:
    """Declare the functions that a case calls; without any, DuckDB need not know them."""
    text = case.text()
    if "my_" not in text:
        return
    app.function("my_double", double, args=["BIGINT"], returns="BIGINT")
    app.function("my_word", word, args=["VARCHAR", "VARCHAR"], returns="VARCHAR", rowwise=True)
    app.function("my_letters", letters, args=["VARCHAR", "VARCHAR"], returns="VARCHAR[]", rowwise=True)
    app.aggregate_function("my_spread", spread, args=["BIGINT"], returns="BIGINT")
    app.aggregate_function("my_joined", joined, args=["VARCHAR"], returns="VARCHAR")
    app.aggregate_function("my_pairs", pairs, args=["VARCHAR", "BIGINT"], returns="VARCHAR")


def called(rnd: Random, source: Relation, forms: tuple[str, ...], condition: str) -> str:
    """Return a call with columns of a relation."""
    n = f"TRY_CAST({pick(rnd, source.of('int'))} AS BIGINT)"
    return rnd.choice(forms).format(n=n, t=pick(rnd, source.of("text"), "'ab'"), p=condition)
