"""Random apps, rows and views.

Small domains, so that keys meet, groups grow and shrink and duplicates are common; corner values of every
type are among them. Views are nested on each other. One seed gives one case.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

Row = dict[str, Any]

NUMBERS = ("SMALLINT", "INTEGER", "BIGINT", "DECIMAL(12,2)", "DOUBLE")
TYPES = (*NUMBERS, "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP")
EPOCH = datetime(2026, 1, 1)  # noqa: DTZ001 - TIMESTAMP columns are naive UTC

VALUES: dict[str, list[Any]] = {
    "SMALLINT": [0, 1, 2, 3, -1, 32767, -32768],
    "INTEGER": [0, 1, 2, 3, -1, 1000, 2**31 - 1],
    "BIGINT": [0, 1, 2, 3, 7, -5, 2**40],
    "DECIMAL(12,2)": [
        Decimal("0.00"),
        Decimal("1.10"),
        Decimal("-1.10"),
        Decimal("99.99"),
        Decimal("12345678.90"),
    ],
    "DOUBLE": [0.0, -0.0, 0.5, 1.25, -3.0, 1e10, float("inf")],
    "VARCHAR": ["", "a", "b", "A", "ab", "Zürich", "日本", "o'clock", 'q"q', "%_", " a"],
    "BOOLEAN": [True, False],
    "DATE": [date(2026, 1, 1), date(2026, 1, 2), date(1969, 12, 31), date(2024, 2, 29)],
    "TIMESTAMP": [
        EPOCH,
        EPOCH + timedelta(seconds=59),
        EPOCH + timedelta(minutes=1),
        EPOCH - timedelta(days=1),
    ],
}


@dataclass(frozen=True)
class Relation:
    """Something that a view can read: its name and its columns with their types."""

    name: str
    columns: tuple[tuple[str, str], ...]

    def of_type(self, *types: str) -> list[str]:
        return [name for name, kind in self.columns if kind in types]


class Maker:
    """Makes relations, rows and SQL from one source of chance."""

    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd

    def relation(self, name: str) -> Relation:
        count = self.rnd.randint(2, 5)
        columns = [("k", self.rnd.choice(("BIGINT", "INTEGER", "VARCHAR")))]
        columns += [(f"c{i}", self.rnd.choice(TYPES)) for i in range(count)]
        return Relation(name, tuple(columns))

    def value(self, kind: str) -> Any:
        if self.rnd.random() < 0.12:
            return None
        return self.rnd.choice(VALUES[kind])

    def row(self, relation: Relation, *, key: bool) -> Row:
        row = {name: self.value(kind) for name, kind in relation.columns}
        if key and row["k"] is None:
            row["k"] = VALUES[dict(relation.columns)["k"]][1]
        return row

    def rows(self, relation: Relation, *, key: bool, most: int = 8) -> list[Row]:
        return [self.row(relation, key=key) for _ in range(self.rnd.randint(1, most))]

    def literal(self, kind: str) -> str:
        value = self.rnd.choice([v for v in VALUES[kind] if v != float("inf")])
        if kind == "VARCHAR":
            return "'" + str(value).replace("'", "''") + "'"
        if kind == "BOOLEAN":
            return str(value).upper()
        if kind in ("DATE", "TIMESTAMP"):
            return f"{kind} '{value}'"
        return f"CAST({value!r} AS {kind})" if kind == "DOUBLE" else str(value)

    def scalar(self, columns: list[tuple[str, str]], depth: int = 0) -> tuple[str, str]:
        """Return the SQL of an expression and its type family (a name of `TYPES`)."""
        name, kind = self.rnd.choice(columns)
        if depth > 1 or self.rnd.random() < 0.4:
            return name, kind
        pick = self.rnd.randrange(9)
        if pick == 0 and kind in ("SMALLINT", "INTEGER", "BIGINT"):
            return f"(CAST({name} AS HUGEINT) + {self.rnd.randint(-3, 3)})::BIGINT", "BIGINT"
        if pick == 1 and kind == "DOUBLE":
            return f"({name} * 0.5::DOUBLE)", "DOUBLE"
        if pick == 2 and kind == "VARCHAR":
            function = self.rnd.choice(("upper", "lower", "length", "trim", "reverse"))
            return f"{function}({name})", "BIGINT" if function == "length" else "VARCHAR"
        if pick == 3:
            return f"coalesce({name}, {self.literal(kind)})", kind
        if pick == 4:
            return (
                f"CASE WHEN {self.predicate(columns, depth + 1)} THEN {name} ELSE {self.literal(kind)} END",
                kind,
            )
        if pick == 5 and kind == "TIMESTAMP":
            return f"date_trunc('minute', {name})", "TIMESTAMP"
        if pick == 6 and kind == "DATE":
            return f"year({name})", "BIGINT"
        if pick == 7:
            return f"({self.predicate(columns, depth + 1)})", "BOOLEAN"
        if pick == 8 and kind == "DECIMAL(12,2)":
            return f"CAST({name} AS DOUBLE)", "DOUBLE"
        return name, kind

    def predicate(self, columns: list[tuple[str, str]], depth: int = 0) -> str:
        name, kind = self.rnd.choice(columns)
        pick = self.rnd.randrange(7)
        if pick == 0:
            return f"{name} IS {self.rnd.choice(('', 'NOT '))}NULL"
        if pick == 1 and kind == "BOOLEAN":
            return name
        if pick == 2 and kind == "VARCHAR":
            return f"{name} LIKE {self.rnd.choice(('%a%', 'a%', '_', '%'))!r}"
        if pick == 3:
            return f"{name} IN ({self.literal(kind)}, {self.literal(kind)})"
        if pick == 4 and depth < 2:
            word = self.rnd.choice(("AND", "OR"))
            return f"({self.predicate(columns, depth + 1)} {word} {self.predicate(columns, depth + 1)})"
        if pick == 5 and depth < 2:
            return f"NOT ({self.predicate(columns, depth + 1)})"
        return f"{name} {self.rnd.choice(('=', '<>', '<', '<=', '>', '>='))} {self.literal(kind)}"

    def view(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return the SQL of a view and its columns' names and type families."""
        shapes = [self.projection, self.grouping, self.joining] * 2
        shapes += [self.grouping, self.total, self.distinct, self.top, self.ranked, self.union]
        shapes += [self.windowed, self.odd]
        return self.rnd.choice(shapes)(relations)

    def where(self, columns: list[tuple[str, str]]) -> str:
        return f" WHERE {self.predicate(columns)}" if self.rnd.random() < 0.4 else ""

    def projection(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        relation = self.rnd.choice(relations)
        columns = list(relation.columns)
        made = [self.scalar(columns) for _ in range(self.rnd.randint(1, 4))]
        names = [(f"p{i}", kind) for i, (_, kind) in enumerate(made)]
        listed = ", ".join(f"{sql} AS {name}" for (sql, _), (name, _) in zip(made, names, strict=True))
        return f"SELECT {listed} FROM {relation.name}{self.where(columns)}", tuple(names)

    def call(self, columns: list[tuple[str, str]]) -> tuple[str, str]:
        name, kind = self.rnd.choice(columns)
        condition = f" FILTER (WHERE {self.predicate(columns)})" if self.rnd.random() < 0.25 else ""
        pick = self.rnd.choice(("count_star", "count", "distinct", "min", "max", "sum", "avg", "quantile"))
        if pick == "count_star":
            return f"count(*){condition}", "BIGINT"
        if pick == "count":
            return f"count({name}){condition}", "BIGINT"
        if pick == "distinct":
            return f"count(DISTINCT {name}){condition}", "BIGINT"
        if pick in ("min", "max") and kind != "BOOLEAN":
            return f"{pick}({name}){condition}", kind
        if kind in ("SMALLINT", "INTEGER", "BIGINT") and pick == "sum":
            return f"sum({name}){condition}::BIGINT", "BIGINT"
        if kind == "DECIMAL(12,2)" and pick == "sum":
            return f"sum({name}){condition}::DECIMAL(18,2)", "DECIMAL(12,2)"
        if kind in ("SMALLINT", "INTEGER", "BIGINT", "DECIMAL(12,2)") and pick == "avg":
            return f"avg({name}){condition}", "DOUBLE"
        if kind in ("SMALLINT", "INTEGER", "BIGINT") and pick == "quantile":
            return f"quantile_cont({name}, 0.75){condition}", "DOUBLE"
        return f"count({name}){condition}", "BIGINT"

    def calls(self, columns: list[tuple[str, str]], most: int = 3) -> list[tuple[str, str]]:
        return [self.call(columns) for _ in range(self.rnd.randint(1, most))]

    def grouping(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        relation = self.rnd.choice(relations)
        columns = list(relation.columns)
        keys = [self.scalar(columns, depth=1) for _ in range(self.rnd.randint(1, 2))]
        calls = self.calls(columns)
        names = [(f"g{i}", kind) for i, (_, kind) in enumerate(keys)]
        names += [(f"a{i}", kind) for i, (_, kind) in enumerate(calls)]
        made = [sql for sql, _ in keys + calls]
        listed = ", ".join(f"{sql} AS {name}" for sql, (name, _) in zip(made, names, strict=True))
        having = f" HAVING count(*) {self.rnd.choice(('>', '<=', '='))} {self.rnd.randint(1, 3)}"
        tail = having if self.rnd.random() < 0.25 else ""
        positions = ", ".join(str(i + 1) for i in range(len(keys)))
        return (
            f"SELECT {listed} FROM {relation.name}{self.where(columns)} GROUP BY {positions}{tail}",
            tuple(names),
        )

    def total(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        relation = self.rnd.choice(relations)
        columns = list(relation.columns)
        calls = self.calls(columns)
        names = tuple((f"a{i}", kind) for i, (_, kind) in enumerate(calls))
        listed = ", ".join(f"{sql} AS {name}" for (sql, _), (name, _) in zip(calls, names, strict=True))
        return f"SELECT {listed} FROM {relation.name}{self.where(columns)}", names

    def distinct(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        relation = self.rnd.choice(relations)
        chosen = self.rnd.sample(list(relation.columns), self.rnd.randint(1, min(2, len(relation.columns))))
        names = tuple((f"d{i}", kind) for i, (_, kind) in enumerate(chosen))
        listed = ", ".join(f"{name} AS {alias}" for (name, _), (alias, _) in zip(chosen, names, strict=True))
        return f"SELECT DISTINCT {listed} FROM {relation.name}{self.where(list(relation.columns))}", names

    def joining(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        sides = [self.rnd.choice(relations) for _ in range(self.rnd.choice((2, 2, 3)))]
        conditions: list[str] = []
        for i, side in enumerate(sides[1:], start=1):
            other = self.rnd.randrange(i)
            pairs = [
                (a, b) for a, x in sides[other].columns for b, y in side.columns if x == y and x != "BOOLEAN"
            ]
            if not pairs:
                return self.projection(relations)
            a, b = self.rnd.choice(pairs)
            conditions.append(f"t{other}.{a} = t{i}.{b}")
        every = [(f"t{i}.{name}", kind) for i, side in enumerate(sides) for name, kind in side.columns]
        chosen = self.rnd.sample(every, min(len(every), self.rnd.randint(2, 4)))
        names = tuple((f"j{i}", kind) for i, (_, kind) in enumerate(chosen))
        listed = ", ".join(f"{name} AS {alias}" for (name, _), (alias, _) in zip(chosen, names, strict=True))
        sources = ", ".join(f"{side.name} t{i}" for i, side in enumerate(sides))
        if self.rnd.random() < 0.3:
            conditions.append(self.predicate(every))
        return f"SELECT {listed} FROM {sources} WHERE {' AND '.join(conditions)}", names

    def order(self, columns: list[tuple[str, str]]) -> str:
        chosen = self.rnd.sample(columns, self.rnd.randint(1, min(2, len(columns))))
        return ", ".join(
            f"{name}{self.rnd.choice(('', ' DESC', ' ASC NULLS FIRST', ' DESC NULLS FIRST'))}"
            for name, _ in chosen
        )

    def top(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        relation = self.rnd.choice(relations)
        offset = f" OFFSET {self.rnd.randint(1, 2)}" if self.rnd.random() < 0.25 else ""
        listed = ", ".join(name for name, _ in relation.columns)
        order = self.order(list(relation.columns))
        limit = self.rnd.randint(1, 4)
        return (
            f"SELECT {listed} FROM {relation.name} ORDER BY {order} LIMIT {limit}{offset}",
            relation.columns,
        )

    def ranked(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        relation = self.rnd.choice(relations)
        function = self.rnd.choice(("row_number", "rank", "dense_rank"))
        partition = self.rnd.choice(relation.columns)[0]
        listed = ", ".join(name for name, _ in relation.columns)
        over = f"{function}() OVER (PARTITION BY {partition} ORDER BY {self.order(list(relation.columns))})"
        kept = self.rnd.randint(1, 3)
        sql = f"SELECT {listed}, {over} AS place FROM {relation.name} QUALIFY place <= {kept}"
        return sql, (*relation.columns, ("place", "BIGINT"))

    def union(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        one, other = self.rnd.choice(relations), self.rnd.choice(relations)
        pairs = [(a, b, x) for a, x in one.columns for b, y in other.columns if x == y]
        if not pairs:
            return self.projection(relations)
        chosen = self.rnd.sample(pairs, min(2, len(pairs)))
        names = tuple((f"u{i}", kind) for i, (_, _, kind) in enumerate(chosen))
        left = ", ".join(f"{a} AS {name}" for (a, _, _), (name, _) in zip(chosen, names, strict=True))
        right = ", ".join(b for _, b, _ in chosen)
        return f"SELECT {left} FROM {one.name} UNION ALL SELECT {right} FROM {other.name}", names

    def windowed(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        able = [relation for relation in relations if relation.of_type("TIMESTAMP")]
        if not able:
            return self.grouping(relations)
        relation = self.rnd.choice(able)
        time = self.rnd.choice(relation.of_type("TIMESTAMP"))
        columns = list(relation.columns)
        call, kind = self.call(columns)
        source = self.rnd.choice(
            (
                f"TUMBLE({relation.name}, {time}, INTERVAL '1 minute')",
                f"HOP({relation.name}, {time}, INTERVAL '30 seconds', INTERVAL '1 minute')",
            )
        )
        bounds = "window_start AS w0, window_end AS w1"
        sql = f"SELECT {bounds}, {call} AS a0 FROM {source} GROUP BY window_start, window_end"
        return sql, (("w0", "TIMESTAMP"), ("w1", "TIMESTAMP"), ("a0", kind))

    def odd(self, relations: list[Relation]) -> tuple[str, tuple[tuple[str, str], ...]]:
        """SQL without an incremental rule yet: it must be right all the same."""
        one, other = self.rnd.choice(relations), self.rnd.choice(relations)
        pairs = [(a, b, x) for a, x in one.columns for b, y in other.columns if x == y]
        if not pairs:
            return self.projection(relations)
        a, b, kind = self.rnd.choice(pairs)
        pick = self.rnd.randrange(5)
        if pick == 0:
            sql = (
                f"SELECT l.{a} AS o0, r.{b} AS o1 FROM {one.name} l LEFT JOIN {other.name} r ON l.{a} = r.{b}"
            )
            return sql, (("o0", kind), ("o1", kind))
        if pick == 1:
            exists = f"EXISTS (SELECT 1 FROM {other.name} x WHERE x.{b} = y.{a})"
            return f"SELECT {a} AS o0 FROM {one.name} y WHERE {exists}", (("o0", kind),)
        if pick == 2:
            word = self.rnd.choice(("INTERSECT", "EXCEPT", "EXCEPT ALL", "UNION"))
            return f"SELECT {a} AS o0 FROM {one.name} {word} SELECT {b} FROM {other.name}", (("o0", kind),)
        if pick == 3:
            over = f"count(*) OVER (PARTITION BY {a})"
            return f"SELECT {a} AS o0, {over} AS o1 FROM {one.name}", (("o0", kind), ("o1", "BIGINT"))
        sql = f"SELECT {a} AS o0 FROM {one.name} WHERE {a} IN (SELECT {b} FROM {other.name})"
        return sql, (("o0", kind),)
