"""Random nested queries over a grammar that covers every operator.

A query is built from relations whose columns and types DuckDB itself tells, so that the forms need no types
of their own: what DuckDB does not bind is drawn again, and after some tries becomes a plain projection.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .expressions import ORDERED, call, predicate, scalar
from .functions import AGGREGATES, SCALARS, called
from .kinds import family, literal
from .scope import NotBoundError, Relation, Types, pick

TRIES = 4
JOINS = ("JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN")
FRAMES = (
    "", "", "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    "ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING", "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", "GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW",
)  # fmt: skip
RANGES = (
    "RANGE BETWEEN 1 PRECEDING AND CURRENT ROW", "RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    "RANGE BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE CURRENT ROW",
)  # fmt: skip
NOWS = (
    "> now() - INTERVAL 5 MINUTE", "<= now()", "BETWEEN now() - INTERVAL 1 DAY AND now()",
    "< now() - INTERVAL 1 HOUR", ">= date_trunc('hour', now())",
)  # fmt: skip


class Grammar:
    """Makes queries over some relations.

    Args:
        rnd: the chance.
        types: DuckDB's opinion.
        relations: what FROM may name; views are added as they are made.
    """

    def __init__(self, rnd: Random, types: Types, relations: list[Relation]) -> None:
        self.rnd = rnd
        self.types = types
        self.relations = relations
        self._aliases = 0
        self.forms: list[Callable[[int], str]] = [
            self.plain, self.plain, self.group, self.group, self.group, self.join, self.join, self.join,
            self.total, self.distinct, self.distinct_on, self.top, self.over, self.over, self.ranked,
            self.set_op, self.set_op, self.window, self.window, self.exists, self.in_, self.scalar_subquery,
            self.grouping_sets, self.unnest, self.with_, self.recursive, self.asof, self.interval_join,
            self.lateral, self.chosen_row, self.pivot, self.python,
        ]  # fmt: skip

    def view(self, depth: int, *, nested: bool = False) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return a query that DuckDB binds, its columns named apart, and their types."""
        if not nested and self.rnd.random() < 0.04:
            return self._named(self.failing(depth))
        for _ in range(TRIES):
            try:
                return self._named(self.rnd.choice(self.forms)(depth))
            except NotBoundError:
                continue
        relation = self.rnd.choice(self.relations)
        return self._named(f"SELECT * FROM {relation.sql}")

    def _named(self, sql: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        columns = self.types.describe(sql)
        return sql, columns

    def source(self, depth: int) -> Relation:
        """Return something to read: a relation, a window over one, or a subquery."""
        self._aliases += 1
        alias = f"x{self._aliases}"
        if depth > 0 and self.rnd.random() < 0.55:
            sql, columns = self.view(depth - 1, nested=True)
            return Relation(f"({sql}) AS {alias}", alias, columns)
        relation = self.rnd.choice(self.relations)
        return Relation(f"{relation.sql} AS {alias}", alias, relation.columns, relation.time)

    def where(self, *sources: Relation) -> str:
        times = [name for source in sources for name in source.of("timestamp")]
        if times and self.rnd.random() < 0.1:
            return f" WHERE {pick(self.rnd, times)} {self.rnd.choice(NOWS)}"
        return f" WHERE {predicate(self.rnd, list(sources))}" if self.rnd.random() < 0.35 else ""

    def items(self, *sources: Relation, most: int = 4) -> str:
        """Return a select list with its labels."""
        if self.rnd.random() < 0.1:
            return "*" if len(sources) == 1 else f"{sources[0].alias}.*"
        made = [scalar(self.rnd, list(sources)) for _ in range(self.rnd.randint(1, most))]
        return ", ".join(f"{sql} AS p{at}" for at, sql in enumerate(made))

    def order(self, source: Relation) -> str:
        """Return an ORDER BY list over columns whose order is plain."""
        able = source.of(*ORDERED) or source.of()
        chosen = self.rnd.sample(able, self.rnd.randint(1, min(2, len(able))))
        ends = ("", " DESC", " ASC NULLS FIRST", " DESC NULLS FIRST", " NULLS LAST")
        return ", ".join(f"{name}{self.rnd.choice(ends)}" for name in chosen)

    # --- one source ---------------------------------------------------------------------------------

    def plain(self, depth: int) -> str:
        source = self.source(depth)
        return f"SELECT {self.items(source)} FROM {source.sql}{self.where(source)}"

    def failing(self, depth: int) -> str:
        """Something that is an error for some rows, over whole relations: what DuckDB meets is not open."""
        source = self.rnd.choice(self.relations)
        forms = {
            "text": ("CAST({x} AS INTEGER)",), "int": ("{x} + 1", "100 // {x}", "CAST({x} AS UTINYINT)"),
            "decimal": ("CAST({x} AS DECIMAL(4,1))",), "float": ("CAST({x} AS BIGINT)",),
        }  # fmt: skip
        able = source.of(*forms)
        if not able:
            return self.plain(depth)
        x = pick(self.rnd, able)
        made = self.rnd.choice(forms[family(source.kind(x))]).format(x=x)
        if self.rnd.random() < 0.3:
            return f"SELECT {pick(self.rnd, source.of())} AS g, max({made}) AS m FROM {source.sql} GROUP BY 1"
        return f"SELECT {', '.join(source.of())}, {made} AS f FROM {source.sql}"

    def distinct(self, depth: int) -> str:
        source = self.source(depth)
        return f"SELECT DISTINCT {self.items(source, most=2)} FROM {source.sql}{self.where(source)}"

    def distinct_on(self, depth: int) -> str:
        source = self.source(depth)
        key = pick(self.rnd, source.of())
        columns = ", ".join(source.of())
        return f"SELECT DISTINCT ON ({key}) {columns} FROM {source.sql} ORDER BY {key}, {self.order(source)}"

    def keys(self, source: Relation, most: int = 2) -> list[str]:
        return [scalar(self.rnd, [source], depth=1) for _ in range(self.rnd.randint(1, most))]

    def calls(self, source: Relation, most: int = 3) -> list[str]:
        return [call(self.rnd, source) for _ in range(self.rnd.randint(1, most))]

    def group(self, depth: int) -> str:
        source = self.source(depth)
        keys, calls = self.keys(source), self.calls(source)
        items = [f"{sql} AS g{at}" for at, sql in enumerate(keys)]
        items += [f"{sql} AS a{at}" for at, sql in enumerate(calls)]
        having = f" HAVING {self.rnd.choice(('count(*) > 1', 'count(*) <= 2', calls[0] + ' IS NOT NULL'))}"
        tail = having if self.rnd.random() < 0.2 else ""
        by = self.rnd.choice(("ALL", ", ".join(str(at + 1) for at in range(len(keys)))))
        return f"SELECT {', '.join(items)} FROM {source.sql}{self.where(source)} GROUP BY {by}{tail}"

    def total(self, depth: int) -> str:
        source = self.source(depth)
        items = ", ".join(f"{sql} AS a{at}" for at, sql in enumerate(self.calls(source)))
        return f"SELECT {items} FROM {source.sql}{self.where(source)}"

    def grouping_sets(self, depth: int) -> str:
        source = self.source(depth)
        one, other = pick(self.rnd, source.of()), pick(self.rnd, source.of())
        by = self.rnd.choice((
            f"ROLLUP ({one}, {other})", f"CUBE ({one}, {other})", f"GROUPING SETS (({one}), ({other}), ())",
            f"GROUPING SETS (({one}, {other}), ({one}))", f"{one}, ROLLUP ({other})",
        ))  # fmt: skip
        items = ", ".join(f"{sql} AS a{at}" for at, sql in enumerate(self.calls(source, 2)))
        mark = f", GROUPING({one}) AS mark" if self.rnd.random() < 0.4 else ""
        return f"SELECT {one} AS g0, {other} AS g1, {items}{mark} FROM {source.sql} GROUP BY {by}"

    def top(self, depth: int) -> str:
        source = self.source(depth)
        offset = f" OFFSET {self.rnd.randint(1, 2)}" if self.rnd.random() < 0.25 else ""
        order = f" ORDER BY {self.order(source)}" if self.rnd.random() < 0.85 else ""
        listed = ", ".join(source.of())
        limit = self.rnd.randint(1, 4)
        return f"SELECT {listed} FROM {source.sql}{self.where(source)}{order} LIMIT {limit}{offset}"

    def python(self, depth: int) -> str:
        """Python functions: of rows, in lists and conditions, or of groups."""
        source = self.source(depth)
        tests = predicate(self.rnd, [source])
        if self.rnd.random() < 0.5:
            calls = [called(self.rnd, source, AGGREGATES, tests) for _ in range(self.rnd.randint(1, 2))]
            items = ", ".join(f"{sql} AS a{at}" for at, sql in enumerate(calls))
            key = (
                called(self.rnd, source, SCALARS, tests)
                if self.rnd.random() < 0.3
                else pick(self.rnd, source.of())
            )
            return f"SELECT {key} AS g, {items} FROM {source.sql}{self.where(source)} GROUP BY 1"
        made = called(self.rnd, source, SCALARS, tests)
        where = f" WHERE {made} IS NOT NULL" if self.rnd.random() < 0.3 else self.where(source)
        return f"SELECT {', '.join(source.of())}, {made} AS f FROM {source.sql}{where}"

    def unnest(self, depth: int) -> str:
        source = self.source(depth)
        lists = source.of("list")
        made = pick(self.rnd, lists, f"[{pick(self.rnd, source.of())}]")
        if self.rnd.random() < 0.3:
            made = f"string_split({pick(self.rnd, source.of('text'), quoted('a,b'))}, 'b')"
        x = pick(self.rnd, source.of())
        if self.rnd.random() < 0.5:
            return f"SELECT {x} AS k, unnest({made}) AS u FROM {source.sql}{self.where(source)}"
        return f"SELECT {x} AS k, t.u FROM {source.sql}, UNNEST({made}) AS t(u)"

    def window(self, depth: int) -> str:
        bounded = ("window_start", "window_end")
        able = [
            relation
            for relation in self.relations
            if relation.of("timestamp") and not any(name in bounded for name, _ in relation.columns)
        ]
        able += [relation for relation in able if relation.time] * 2
        if not able:
            return self.group(depth)
        relation = self.rnd.choice(able)
        time = relation.time or pick(self.rnd, relation.of("timestamp")).rpartition(".")[2]
        size = self.rnd.choice(("INTERVAL 1 MINUTE", "'10m'", "INTERVAL '1 day'"))
        kind = self.rnd.choice(("TUMBLE", "TUMBLE", "HOP", "SESSION", "SESSION", "CUMULATE"))
        if kind == "CUMULATE":
            size = self.rnd.choice(("'30s', '1m'", "INTERVAL 1 MINUTE, INTERVAL 10 MINUTE"))
        if kind == "HOP":
            size = self.rnd.choice(("'30s', '1m'", "'1m', '90s'", "INTERVAL 1 MINUTE, INTERVAL 10 MINUTE"))
        if kind == "SESSION" and self.rnd.random() < 0.6:
            size = f"{size}, {pick(self.rnd, relation.of(*ORDERED)).rpartition('.')[2]}"
        text = f"{kind}({relation.sql}, {time}, {size})"
        bounds = (("window_start", "TIMESTAMP"), ("window_end", "TIMESTAMP"))
        source = Relation(f"{text} AS w", "w", (*relation.columns, *bounds))
        if self.rnd.random() < 0.2:
            return f"SELECT {self.items(source)}, window_start AS ws FROM {source.sql}"
        items = ", ".join(f"{sql} AS a{at}" for at, sql in enumerate(self.calls(source, 2)))
        key = f", {pick(self.rnd, source.of())} AS k" if self.rnd.random() < 0.4 else ""
        by = "window_start, window_end" + (", 3" if key else "")
        return f"SELECT window_start AS ws, window_end AS we{key}, {items} FROM {source.sql} GROUP BY {by}"

    def pivot(self, depth: int) -> str:
        source = self.source(depth)
        key, x, y = (pick(self.rnd, source.of()) for _ in range(3))
        if self.rnd.random() < 0.3:
            pairs = [pair for pair in self.pairs(source, source) if len(set(pair)) == 2]
            if pairs:
                a, b = self.rnd.choice(pairs)
                inner = f"(SELECT {key} AS k, {a} AS a, {b} AS b FROM {source.sql}) AS p"
                nulls = self.rnd.choice(("", "INCLUDE NULLS "))
                return f"SELECT k, n, v FROM {inner} UNPIVOT {nulls}(v FOR n IN (a, b))"
        values = {literal(self.rnd, source.kind(x)) for _ in range(2)} - {None}
        if not values or family(source.kind(x)) == "float":  # by their text: which zero a group has, is seen
            return self.group(depth)
        listed = ", ".join(f"{value} AS q{at}" for at, value in enumerate(sorted(map(str, values))))
        numbers = family(source.kind(y)) in ("int", "decimal")
        call_ = self.rnd.choice(
            ("count(y)", "max(k)", "count(*)", *(("sum(y)", "avg(y)") if numbers else ()))
        )
        inner = f"(SELECT {key} AS k, {x} AS x, {y} AS y FROM {source.sql}{self.where(source)}) AS p"
        return f"SELECT * FROM {inner} PIVOT ({call_} FOR x IN ({listed}) GROUP BY k)"

    # --- OVER ---------------------------------------------------------------------------------------

    def over(self, depth: int) -> str:
        source = self.source(depth)
        by = f"PARTITION BY {scalar(self.rnd, [source], 1)} " if self.rnd.random() < 0.7 else ""
        order = f"ORDER BY {self.order(source)}"
        x = pick(self.rnd, source.of())
        numbers = source.of("int", "decimal")
        framed = [
            "count(*)",
            *(f"{name}({x})" for name in ("count", "min", "max", "first_value", "last_value")),
        ]
        framed.append(f"nth_value({x}, 2)")
        framed += [f"sum({pick(self.rnd, numbers)})", f"avg({pick(self.rnd, numbers)})"] if numbers else []
        plain = ["row_number()", "rank()", "dense_rank()", "percent_rank()", "cume_dist()", "ntile(2)",
                 f"lag({x})", f"lead({x}, 2)", f"lag({x}, 1, {x})"]  # fmt: skip
        if self.rnd.random() < 0.45:
            window = f"{self.rnd.choice(plain)} OVER ({by}{order})"
        elif self.rnd.random() < 0.2:
            window = f"{self.rnd.choice(framed[:4])} OVER ({by})"
        elif numbers and self.rnd.random() < 0.2:
            number = f"({pick(self.rnd, numbers)} % 100)::BIGINT"  # no bound of a frame is beyond it
            near = f"ORDER BY {number}{self.rnd.choice(('', ' DESC', ' NULLS FIRST'))}"
            window = f"{self.rnd.choice(framed[:4])} OVER ({by}{near} {self.rnd.choice(RANGES)})"
        else:
            window = f"{self.rnd.choice(framed)} OVER ({by}{order} {self.rnd.choice(FRAMES)})"
        listed = ", ".join(source.of()) if self.rnd.random() < 0.6 else self.items(source, most=2)
        listed = listed if listed != "*" else ", ".join(source.of())
        return f"SELECT {listed}, {window} AS o FROM {source.sql}{self.where(source)}"

    def ranked(self, depth: int) -> str:
        source = self.source(depth)
        function = self.rnd.choice(("row_number", "rank", "dense_rank"))
        by = f"PARTITION BY {pick(self.rnd, source.of())} " if self.rnd.random() < 0.8 else ""
        over = f"{function}() OVER ({by}ORDER BY {self.order(source)})"
        bound = self.rnd.choice(("<= 2", "= 1", "< 3", "<= 1"))
        listed = ", ".join(source.of())
        if self.rnd.random() < 0.5:
            return f"SELECT {listed} FROM {source.sql} QUALIFY {over} {bound}"
        return f"SELECT * FROM (SELECT {listed}, {over} AS place FROM {source.sql}) WHERE place {bound}"

    def chosen_row(self, depth: int) -> str:
        source = self.source(depth)
        key, x = pick(self.rnd, source.of()), pick(self.rnd, source.of(*ORDERED))
        listed = ", ".join(source.of())
        return f"SELECT {listed} FROM {source.sql} QUALIFY {x} = max({x}) OVER (PARTITION BY {key})"

    # --- two sources --------------------------------------------------------------------------------

    def pairs(self, one: Relation, other: Relation) -> list[tuple[str, str]]:
        """Return columns that can be compared, of the same type or of two numbers."""
        return [
            (a, b)
            for a in one.of()
            for b in other.of()
            if one.kind(a) == other.kind(b)
            or {family(one.kind(a)), family(other.kind(b))} <= {"int", "decimal"}
        ]

    def condition(self, one: Relation, other: Relation) -> str:
        pairs = self.pairs(one, other)
        if not pairs:
            return "true" if self.rnd.random() < 0.5 else predicate(self.rnd, [one, other])
        a, b = self.rnd.choice(pairs)
        sign = self.rnd.choice(("=", "=", "=", "=", "IS NOT DISTINCT FROM", "<", ">="))
        made = f"{a} {sign} {b}"
        if self.rnd.random() < 0.25:
            made += f" AND {predicate(self.rnd, [one, other])}"
        if self.rnd.random() < 0.15:
            c, d = self.rnd.choice(pairs)
            made += f" AND {c} {self.rnd.choice(('=', '<', '<>'))} {d}"
        return made

    def join(self, depth: int) -> str:
        sources = [self.source(depth - 1) for _ in range(self.rnd.choice((2, 2, 2, 3)))]
        text, seen = sources[0].sql, [sources[0]]
        for right in sources[1:]:
            word = self.rnd.choice(JOINS)
            text += f" {word} {right.sql} ON {self.condition(self.rnd.choice(seen), right)}"
            if not word.startswith(("SEMI", "ANTI")):
                seen.append(right)
        if self.rnd.random() < 0.1 and len(sources) == 2:
            text = f"{sources[0].sql} CROSS JOIN {sources[1].sql}"
            seen = sources
        if self.rnd.random() < 0.3:
            items = ", ".join(f"{sql} AS a{at}" for at, sql in enumerate(self.calls(seen[-1])))
            return f"SELECT {scalar(self.rnd, seen)} AS g, {items} FROM {text}{self.where(*seen)} GROUP BY 1"
        return f"SELECT {self.items(*seen)} FROM {text}{self.where(*seen)}"

    def asof(self, depth: int) -> str:
        one, other = self.source(depth - 1), self.source(depth - 1)
        able = [
            (a, b)
            for a, b in self.pairs(one, other)
            if one.kind(a) == other.kind(b)
            and family(one.kind(a)) in ("int", "timestamp", "date", "tz", "text")
        ]
        if not able:
            return self.join(depth)
        a, b = self.rnd.choice(able)
        keys = [
            pair
            for pair in self.pairs(one, other)
            if pair != (a, b) and one.kind(pair[0]) == other.kind(pair[1])
        ]
        equal = f"{' = '.join(self.rnd.choice(keys))} AND " if keys and self.rnd.random() < 0.7 else ""
        word = self.rnd.choice(("ASOF JOIN", "ASOF LEFT JOIN"))
        sign = self.rnd.choice((">=", ">=", ">", "<=", "<"))
        items = ", ".join(f"{sql} AS p{at}" for at, sql in enumerate([*one.of()[:3], *other.of()[:3]]))
        return f"SELECT {items} FROM {one.sql} {word} {other.sql} ON {equal}{a} {sign} {b}"

    def interval_join(self, depth: int) -> str:
        one, other = self.source(depth - 1), self.source(depth - 1)
        left, right = one.of("timestamp"), other.of("timestamp")
        if not left or not right:
            return self.join(depth)
        a, b = pick(self.rnd, left), pick(self.rnd, right)
        word = self.rnd.choice(("JOIN", "LEFT JOIN"))
        span = self.rnd.choice(("INTERVAL 1 MINUTE", "INTERVAL 1 DAY", "INTERVAL 0 SECOND"))
        keys = self.pairs(one, other)
        equal = f" AND {' = '.join(self.rnd.choice(keys))}" if keys and self.rnd.random() < 0.7 else ""
        test = f"{a} BETWEEN {b} - {span} AND {b}{self.rnd.choice(('', f' + {span}'))}"
        return f"SELECT {self.items(one, other)} FROM {one.sql} {word} {other.sql} ON {test}{equal}"

    def exists(self, depth: int) -> str:
        one, other = self.source(depth), self.source(depth - 1)
        word = self.rnd.choice(("EXISTS", "NOT EXISTS"))
        test = f"{word} (SELECT 1 FROM {other.sql} WHERE {self.condition(one, other)})"
        more = (
            f" {self.rnd.choice(('AND', 'OR'))} {predicate(self.rnd, [one])}"
            if self.rnd.random() < 0.3
            else ""
        )
        return f"SELECT {self.items(one)} FROM {one.sql} WHERE {test}{more}"

    def in_(self, depth: int) -> str:
        one, other = self.source(depth), self.source(depth - 1)
        pairs = self.pairs(one, other)
        if not pairs:
            return self.exists(depth)
        a, b = self.rnd.choice(pairs)
        word = self.rnd.choice(("IN", "IN", "NOT IN", "= ANY", "> ALL"))
        where = self.rnd.choice(("", "", f" WHERE {predicate(self.rnd, [other])}"))
        test = f"{a} {word} (SELECT {b} FROM {other.sql}{where})"
        if self.rnd.random() < 0.2:
            return f"SELECT {self.items(one)}, {test} AS is_in FROM {one.sql}"
        return f"SELECT {self.items(one)} FROM {one.sql} WHERE {test}"

    def scalar_subquery(self, depth: int) -> str:
        one, other = self.source(depth), self.source(depth - 1)
        made = call(self.rnd, other)
        pairs = self.pairs(one, other)
        tied = f" WHERE {' = '.join(self.rnd.choice(pairs))}" if pairs and self.rnd.random() < 0.7 else ""
        sub = f"(SELECT {made} FROM {other.sql}{tied})"
        if self.rnd.random() < 0.3:
            sub = f"(SELECT count(*) FROM {other.sql}{tied})"
            return f"SELECT {self.items(one)} FROM {one.sql} WHERE {sub} {self.rnd.choice(('>', '=', '<'))} 1"
        return f"SELECT {', '.join(one.of())}, {sub} AS s FROM {one.sql}"

    def lateral(self, depth: int) -> str:
        one, other = self.source(depth - 1), self.source(depth - 1)
        pairs = self.pairs(one, other)
        tied = f" WHERE {' = '.join(self.rnd.choice(pairs))}" if pairs else ""
        word = self.rnd.choice((",", "LEFT JOIN"))
        end = " ON true" if word != "," else ""
        if self.rnd.random() < 0.5:
            sub = f"SELECT {pick(self.rnd, other.of())} AS u FROM {other.sql}{tied} ORDER BY u LIMIT 1"
        else:
            sub = f"SELECT {call(self.rnd, other)} AS u FROM {other.sql}{tied}"
        return f"SELECT {', '.join(one.of())}, l.u FROM {one.sql} {word} LATERAL ({sub}) AS l{end}"

    def set_op(self, depth: int) -> str:
        one, other = self.source(depth), self.source(depth)
        pairs = [pair for pair in self.pairs(one, other) if one.kind(pair[0]) == other.kind(pair[1])]
        if not pairs:
            return self.plain(depth)
        chosen = self.rnd.sample(pairs, min(len(pairs), self.rnd.randint(1, 2)))
        words = (
            "UNION ALL",
            "UNION",
            "INTERSECT",
            "INTERSECT ALL",
            "EXCEPT",
            "EXCEPT ALL",
            "UNION ALL BY NAME",
        )
        left = ", ".join(f"{a} AS u{at}" for at, (a, _) in enumerate(chosen))
        right = ", ".join(f"{b} AS u{at}" for at, (_, b) in enumerate(chosen))
        return (
            f"SELECT {left} FROM {one.sql}{self.where(one)} {self.rnd.choice(words)} "
            f"SELECT {right} FROM {other.sql}{self.where(other)}"
        )

    # --- WITH ---------------------------------------------------------------------------------------

    def with_(self, depth: int) -> str:
        inner, columns = self.view(max(depth - 1, 0), nested=True)
        if "WITH " in inner:
            return inner
        self._aliases += 1
        name = f"w{self._aliases}"
        one, other = Relation(f"{name} AS l", "l", columns), Relation(f"{name} AS r", "r", columns)
        if self.rnd.random() < 0.4:
            return f"WITH {name} AS ({inner}) SELECT {self.items(one)} FROM {one.sql}{self.where(one)}"
        text = f"{one.sql} {self.rnd.choice(JOINS[:6])} {other.sql} ON {self.condition(one, other)}"
        return f"WITH {name} AS ({inner}) SELECT {self.items(one, other)} FROM {text}"

    def recursive(self, depth: int) -> str:
        source = self.source(0)
        able = source.of("int", "text")
        if len(able) < 2:
            return self.plain(depth)
        a, b = self.rnd.sample(able, 2)
        word = self.rnd.choice(("UNION", "UNION ALL"))
        low = f"SELECT {a}::VARCHAR AS n, 0 AS d FROM {source.sql}"
        step = f"SELECT {b}::VARCHAR, d + 1 FROM steps JOIN {source.sql} ON n = {a}::VARCHAR WHERE d < 2"
        end = self.rnd.choice(
            ("SELECT n, d FROM steps", "SELECT n, count(*) AS c, max(d) AS d FROM steps GROUP BY n")
        )
        return f"WITH RECURSIVE steps(n, d) AS ({low} {word} {step}) {end}"


def quoted(text: str) -> str:
    """Return a text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"
