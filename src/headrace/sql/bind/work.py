"""What every part of the binder needs: names, typed expressions, and nodes built from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from headrace.contracts.schema import Schema
from headrace.functions import PythonFunction
from headrace.sql.duck import Duck, column, quote
from headrace.sql.errors import Text
from headrace.sql.plan import KEY_COLUMN, Expr, Filter, Frame, Node, Project, Recompute
from headrace.sql.render import Renderer, columns_of
from headrace.sql.tree import STAR, Tree, bound, is_null, null, raw_cast, select_of, subquery

if TYPE_CHECKING:
    from headrace.sql.bind.env import Bound, Env


class NotPlanned(Exception):  # noqa: N818
    """A construct without an incremental rule; caught inside the binder, which then recomputes a larger part.

    Args:
        reason: names the construct, as EXPLAIN shows it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class TreeExpr(Expr):
    """An expression that still knows its tree, so that passes can rewrite it."""

    tree: Tree = field(compare=False, repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class WindowCall:
    """One window function: the output column, its SQL over the input's columns and what it reads."""

    name: str
    func: str
    sql: str
    sql_type: str
    partition: tuple[str, ...]
    order: tuple[tuple[str, bool, bool], ...]
    columns: tuple[str, ...]
    is_plain_rank: bool
    rank_keys: int
    args: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    filter: str | None = None
    frame: Frame | None = None
    full_order: tuple[tuple[str, bool, bool], ...] | None = None
    """`order` with the keys after it by which the call itself orders its frame."""
    ignore_nulls: bool = False
    near: Frame | None = None
    near_sql: str | None = None


@dataclass(frozen=True, slots=True)
class Window(Node):
    """The input's columns, then one for each window function; passes turn it into TopN or Recompute."""

    input: Node
    calls: tuple[WindowCall, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that this one reads."""
        return (self.input,)


@dataclass(frozen=True, slots=True)
class OtherJoin(Node):
    """A join that is not inner, such as LEFT or ANTI; it ends as Recompute of the join alone."""

    left: Node
    right: Node
    words: str
    condition: TreeExpr

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that this one reads."""
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class TreeRecompute(Recompute):
    """A Recompute that knows the lower-case column names its SQL mentions; None: it may read all columns."""

    mentioned: frozenset[str] | None = None


class Names:
    """Hands out column names that are unique in one plan, whatever their case."""

    def __init__(self) -> None:
        self._taken: set[str] = {KEY_COLUMN}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Forget afterwards the names that were handed out meanwhile."""
        before = set(self._taken)
        try:
            yield
        finally:
            self._taken = before

    def fresh(self, wanted: str) -> str:
        """Return the wanted name, or with a number behind it where it is taken."""
        name, number = wanted or "_", 0
        while name.lower() in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name.lower())
        return name


class Work:
    """The state of one planning.

    Args:
        duck: the scratch database, which knows the relations.
        text: the view's SQL, for errors.
        catalog: lower-case relation name to schema.
        bind: binds a query node; given here because the binder's parts call each other.
        functions: declared Python functions by lower-case name.
    """

    def __init__(
        self,
        duck: Duck,
        text: Text,
        catalog: Mapping[str, Schema],
        bind: Callable[[Work, Tree, Env], Bound],
        functions: Mapping[str, PythonFunction] | None = None,
    ) -> None:
        self.functions = dict(functions or {})
        self.duck = duck
        self.text = text
        self.catalog = catalog
        self.names = Names()
        self.render = Renderer(duck)
        self.shared: dict[int, Bound] = {}
        self.kept: list[Tree] = []  # what `shared` knows by its id must live as long
        self._bind = bind

    def bind(self, query: Tree, env: Env) -> Bound:
        """Return a query as a plan."""
        return self._bind(self, query, env)

    def describe(self, query: Tree, env: Env) -> list[tuple[str, str]]:
        """Return labels and types of a query's columns, as DuckDB has them.

        Raises:
            NotPlanned: it cannot stand alone, such as what follows LATERAL.
        """
        whole = query
        if env.ctes:
            whole = select_of([STAR], subquery(query))
            whole["cte_map"] = {"map": env.entries()}
        try:
            return self.duck.describe(self.duck.text(whole))
        except duckdb.Error as error:
            raise NotPlanned("a query that reads its neighbours") from error

    def exprs(self, schema: Schema, trees: Sequence[Tree]) -> tuple[TreeExpr, ...]:
        """Return resolved trees as expressions over the schema; DuckDB says their types."""
        types = {c.name: c.sql_type for c in schema}
        trees = [raw_cast(tree, "INTEGER") if is_null(tree) else tree for tree in trees]
        texts = [self.render(tree) for tree in trees]
        reads = [columns_of(tree) for tree in trees]
        asked = [i for i, tree in enumerate(trees) if tree.get("class") != "BOUND"]
        needed = {name: types[name] for i in asked for name in reads[i]}
        answers = dict(zip(asked, self.duck.types(needed, [texts[i] for i in asked]), strict=True))
        return tuple(
            TreeExpr(texts[i], reads[i], answers[i] if i in answers else types[tree["name"]], tree)
            for i, tree in enumerate(trees)
        )

    def expr(self, schema: Schema, tree: Tree) -> TreeExpr:
        """Return one resolved tree as an expression."""
        return self.exprs(schema, [tree])[0]

    def filter(self, node: Node, predicate: Tree) -> Node:
        """Return the rows of the node for which the resolved predicate is TRUE."""
        return Filter(node.schema, node, self.expr(node.schema, predicate))

    def project(self, node: Node, items: Sequence[tuple[str, Tree]]) -> Project:
        """Return the node's rows with one output column for each (name, resolved tree)."""
        exprs = self.exprs(node.schema, [tree for _, tree in items])
        columns = [column(name, expr.sql_type) for (name, _), expr in zip(items, exprs, strict=True)]
        return Project(Schema.of(columns), node, exprs)

    def extended(self, node: Node, extra: Sequence[tuple[str, Tree]]) -> Node:
        """Return the node with more columns behind its own; the node itself where there are none."""
        if not extra:
            return node
        kept = [(name, bound(name)) for name in node.schema.names]
        return self.project(node, [*kept, *extra])


def cast_expr(name: str | None, sql_type: str) -> TreeExpr:
    """Return a column (None: NULL) cast to a type."""
    source: Tree = bound(name) if name is not None else null()
    sql = f"CAST({quote(name) if name is not None else 'NULL'} AS {sql_type})"
    return TreeExpr(sql, (name,) if name is not None else (), sql_type, raw_cast(source, sql_type))


def reference(name: str, sql_type: str) -> TreeExpr:
    """Return the expression that is just a column."""
    return TreeExpr(quote(name), (name,), sql_type, bound(name))
