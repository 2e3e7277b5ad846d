"""Random nested queries over the relations of `data.py`: joins, groups, ranks, unions, stars, nested."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.sql.data import CATALOG
from tests.sql.naive import quote

from headrace.contracts.schema import Schema
from headrace.sql import plan_view

INTEGERS = ("INTEGER", "BIGINT", "SMALLINT")
BASES = ("t", "u", "v", "e", "odd table", "bid")


@dataclass(frozen=True)
class Source:
    """Something in FROM: its text, its alias, its columns."""

    sql: str
    alias: str
    schema: Schema

    def of_type(self, *types: str) -> list[str]:
        return [f"{self.alias}.{quote(c.name)}" for c in self.schema if c.sql_type in types]

    @property
    def columns(self) -> list[str]:
        return [f"{self.alias}.{quote(c.name)}" for c in self.schema]


class Queries:
    """Makes queries from one source of chance.

    Args:
        rng: the chance.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._aliases = 0

    def query(self, depth: int) -> str:
        """Return a query with at most `depth` levels of nesting."""
        forms = [self.plain, self.plain, self.group, self.group, self.join, self.join, self.join_star]
        forms += [self.distinct, self.top, self.rank, self.union, self.with_, self.window, self.grouped_rank]
        return self.rng.choice(forms)(depth)

    def source(self, depth: int) -> Source:
        self._aliases += 1
        alias = self.rng.choice((f"x{self._aliases}", f'"X {self._aliases}"'))
        if depth > 0 and self.rng.random() < 0.7:
            sql = self.query(depth - 1)
            return Source(f"({sql}) AS {alias}", alias, plan_view("inner", sql, CATALOG).schema)
        name = self.rng.choice(BASES)
        if self.rng.random() < 0.15:
            schema = plan_view("inner", "FROM TUMBLE(t, ts, '10s')", CATALOG).schema
            return Source(f"TUMBLE(t, ts, '10s') AS {alias}", alias, schema)
        return Source(f"{quote(name)} AS {alias}", alias, CATALOG[name])

    # expressions

    def scalar(self, *sources: Source) -> str:
        source = self.rng.choice(sources)
        integers = source.of_type(*INTEGERS)
        texts = source.of_type("VARCHAR")
        choices = [self.rng.choice(source.columns)]
        if integers:
            one, other = self.rng.choice(integers), self.rng.choice(integers)
            choices += [f"{one} + 1", f"coalesce({one}, {other})", f"CASE WHEN {one} > 1 THEN {other} END"]
            choices += [f"{one} % 3", f"{one}::VARCHAR"]
        if texts:
            choices += [f"upper({self.rng.choice(texts)})", f"length({self.rng.choice(texts)})"]
        return self.rng.choice(choices)

    def predicate(self, *sources: Source) -> str:
        source = self.rng.choice(sources)
        integers = source.of_type(*INTEGERS)
        column = self.rng.choice(source.columns)
        choices = [f"{column} IS NOT NULL"]
        if integers:
            one, other = self.rng.choice(integers), self.rng.choice(integers)
            choices += [f"{one} > 0", f"{one} <= {other}", f"{one} IN (1, 2, 3)", f"NOT ({one} = 1)"]
            choices += [f"({one} = 1 OR {other} > 2)", f"{one} BETWEEN 0 AND 3"]
        return self.rng.choice(choices)

    def where(self, *sources: Source) -> str:
        count = self.rng.choice((0, 0, 1, 2))
        parts = [self.predicate(*sources) for _ in range(count)]
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def call(self, source: Source) -> str:
        integers = source.of_type(*INTEGERS)
        column = self.rng.choice(source.columns)
        choices = ["count(*)", f"count({column})", f"count(DISTINCT {column})"]
        if integers:
            one = self.rng.choice(integers)
            choices += [f"sum({one})", f"max({one} + 1)", f"min({one})", f"avg({one})", f"list({one})"]
            choices += [f"quantile_cont({one}, 0.75)", f"sum({one}) FILTER (WHERE {self.predicate(source)})"]
        return self.rng.choice(choices)

    def items(self, *sources: Source, most: int = 4) -> str:
        """Return a select list, some of it named, some not, some stars."""
        made = []
        for number in range(self.rng.randint(1, most)):
            if self.rng.random() < 0.15:
                made.append(f"{self.rng.choice(sources).alias}.*")
            else:
                label = self.rng.choice(("", f" AS p{number}", " AS a", f' AS "P {number}"'))
                made.append(self.scalar(*sources) + label)
        return ", ".join(made)

    # forms

    def plain(self, depth: int) -> str:
        source = self.source(depth)
        return f"SELECT {self.items(source)} FROM {source.sql}{self.where(source)}"

    def distinct(self, depth: int) -> str:
        source = self.source(depth)
        return f"SELECT DISTINCT {self.items(source, most=2)} FROM {source.sql}{self.where(source)}"

    def group(self, depth: int) -> str:
        source = self.source(depth)
        keys = [self.scalar(source) for _ in range(self.rng.randint(0, 2))]
        calls = [self.call(source) for _ in range(self.rng.randint(1, 3))]
        items = [f"{key} AS k{i}" for i, key in enumerate(keys)] + [
            f"{c} AS c{i}" for i, c in enumerate(calls)
        ]
        by = f" GROUP BY {self.rng.choice(('ALL', ', '.join(keys)))}" if keys else ""
        having = f" HAVING count(*) {self.rng.choice(('>', '<'))} 2" if self.rng.random() < 0.3 else ""
        return f"SELECT {', '.join(items)} FROM {source.sql}{self.where(source)}{by}{having}"

    def condition(self, left: Source, right: Source) -> str:
        parts: list[str] = []
        for types in (INTEGERS, ("VARCHAR",), ("TIMESTAMP",)):
            one, other = left.of_type(*types), right.of_type(*types)
            if one and other and (not parts or self.rng.random() < 0.3):
                parts.append(f"{self.rng.choice(one)} = {self.rng.choice(other)}")
        if self.rng.random() < 0.2:
            parts.append(self.predicate(left, right))
        return " AND ".join(parts) or "true"

    def joined(self, depth: int) -> tuple[str, list[Source]]:
        sources = [self.source(depth - 1) for _ in range(self.rng.choice((2, 2, 3)))]
        pairs = [(sources[self.rng.randrange(i)], sources[i]) for i in range(1, len(sources))]
        if self.rng.random() < 0.4:
            conditions = [self.condition(left, right) for left, right in pairs]
            return ", ".join(s.sql for s in sources) + " WHERE " + " AND ".join(conditions), sources
        text = sources[0].sql
        for left, right in pairs:
            word = self.rng.choice(("JOIN", "JOIN", "JOIN", "LEFT JOIN"))
            text += f" {word} {right.sql} ON {self.condition(left, right)}"
        return text, sources

    def join(self, depth: int) -> str:
        text, sources = self.joined(depth)
        return f"SELECT {self.items(*sources)} FROM {text}"

    def join_star(self, depth: int) -> str:
        text, _ = self.joined(depth)
        return f"SELECT * FROM {text}"

    def top(self, depth: int) -> str:
        source = self.source(depth)
        order = f"{self.scalar(source)} {self.rng.choice(('', 'DESC', 'NULLS FIRST'))}"
        tail = f" ORDER BY {order}" if self.rng.random() < 0.8 else ""
        offset = " OFFSET 1" if self.rng.random() < 0.3 else ""
        return f"SELECT {self.items(source)} FROM {source.sql}{tail} LIMIT {self.rng.randint(1, 5)}{offset}"

    def rank(self, depth: int) -> str:
        source = self.source(depth)
        function = self.rng.choice(("row_number", "rank", "dense_rank"))
        by = f"PARTITION BY {self.scalar(source)} " if self.rng.random() < 0.6 else ""
        over = f"{function}() OVER ({by}ORDER BY {self.scalar(source)} DESC)"
        bound = self.rng.choice(("<= 2", "= 1", "< 3"))
        if self.rng.random() < 0.5:
            return f"SELECT {self.items(source)} FROM {source.sql} QUALIFY {over} {bound}"
        inner = f"SELECT {source.alias}.*, {over} AS rn FROM {source.sql}{self.where(source)}"
        return f"SELECT * FROM ({inner}) WHERE rn {bound}"

    def grouped_rank(self, depth: int) -> str:
        source = self.source(depth)
        key, call = self.scalar(source), self.call(source)
        over = f"row_number() OVER (ORDER BY {call} DESC)"
        return f"SELECT {key} AS k, {call} AS c FROM {source.sql} GROUP BY k QUALIFY {over} <= 2"

    def window(self, depth: int) -> str:
        source = self.source(depth)
        function = self.rng.choice(("count(*)", f"lag({self.scalar(source)})", "row_number()"))
        over = f"{function} OVER (PARTITION BY {self.scalar(source)} ORDER BY {self.scalar(source)})"
        return f"SELECT {self.items(source)}, {over} AS w FROM {source.sql}{self.where(source)}"

    def union(self, depth: int) -> str:
        one, other = self.source(depth), self.source(depth)
        word = self.rng.choice(("UNION ALL", "UNION ALL", "UNION", "EXCEPT"))
        first = f"SELECT {self.scalar(one)} AS a, {self.scalar(one)} AS b FROM {one.sql}{self.where(one)}"
        second = f"SELECT {self.scalar(other)}, {self.scalar(other)} FROM {other.sql}{self.where(other)}"
        return f"{first} {word} {second}"

    def with_(self, depth: int) -> str:
        inner = self.query(depth - 1) if depth > 0 else self.plain(0)
        schema = plan_view("inner", inner, CATALOG).schema
        one, other = Source("w AS w1", "w1", schema), Source("w AS w2", "w2", schema)
        if self.rng.random() < 0.5 or "WITH w" in inner:
            return f"WITH w AS ({inner}) SELECT {self.items(one)} FROM {one.sql}{self.where(one)}"
        text = f"{one.sql} JOIN {other.sql} ON {self.condition(one, other)}"
        return f"WITH w AS ({inner}) SELECT {self.items(one, other)} FROM {text}"
