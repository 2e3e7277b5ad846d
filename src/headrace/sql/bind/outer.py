"""The query around a subquery: what its names mean inside, and for which values the inside is asked.

A correlated subquery is bound once for all rows around it: over the *domain*, the distinct values of the
outer columns that it reads. Its answer carries these values as *keys*, on which the query around joins it.
(Neumann and Kemper, "Unnesting Arbitrary Queries", BTW 2015.) Where the WHERE inside says `inner = outer` for
every such column, the inner side stands for the outer one and no domain is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.expressions import Lookup
from headrace.sql.bind.scope import Scope
from headrace.sql.bind.work import Work
from headrace.sql.duck import column
from headrace.sql.plan import Distinct, Join, Node, Scan
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, bound, walk


@dataclass(frozen=True, slots=True)
class Outer:
    """What a subquery sees of the query around it.

    Attributes:
        lookup: names to trees over columns of the outer rows.
        labels: every word that may name one of its columns, in lower case.
        types: the outer columns that `lookup` may answer with, and their SQL types.
        names: those for whose values the subquery is asked.
        node: the distinct values, one column for each of `names`, in order.
        needs_domain: the answer must say something for each value, also where no row of the inside does.
        exact: the keys must be the outer values themselves, not what equals them.
        seen: outer columns that were read.
    """

    lookup: Lookup
    labels: frozenset[str]
    types: Mapping[str, str]
    names: tuple[str, ...]
    node: Node
    needs_domain: bool = False
    exact: bool = False
    seen: set[str] = field(default_factory=set)

    def find(self, names: list[str]) -> Tree | None:
        """Return what a dotted name means outside, over outer columns."""
        tree = self.lookup(names)
        if tree is not None:
            self.seen.update(columns_of(tree))
        return tree


def crossed(work: Work, node: Node, outer: Outer) -> tuple[Node, dict[str, Tree]]:
    """Return the rows once for each value of the domain, and where each outer column stands in them."""
    keys = {name: work.names.fresh(name) for name in outer.names}
    items = [(key, bound(own)) for key, own in zip(keys.values(), outer.node.schema.names, strict=True)]
    domain = work.project(outer.node, items)
    schema = Schema.of([*domain.schema, *node.schema])
    return Join(schema, (domain, node), ()), {name: bound(key) for name, key in keys.items()}


def with_domain(work: Work, answer: Bound, outer: Outer) -> Bound:
    """Return the answer of a query that reads nothing outside, with keys all the same."""
    node, keys = crossed(work, answer.node, outer)
    return replace(answer, node=node, keys=tuple(str(tree["name"]) for tree in keys.values()))


def domain_of(work: Work, node: Node, reads: list[Tree]) -> Node:
    """Return the distinct values of some columns of the outer rows."""
    values = work.project(node, [(work.names.fresh(str(tree["name"])), tree) for tree in reads])
    return Distinct(values.schema, values)


def outer_of(scope: Scope, env: Env, lookup: Lookup) -> Outer:
    """Return a query as its subqueries see it, for the question which of its columns they read."""
    types = scope_types(scope, env)
    labels = scope.labels() | (env.outer.labels if env.outer is not None else frozenset())
    nothing = Schema.of([])
    return Outer(lookup, labels, types, (), Scan(nothing, "_outer", ()))


def scope_types(scope: Scope, env: Env) -> dict[str, str]:
    """Return every column that a name may mean in a scope, with its type, those further out included."""
    types = dict(env.outer.types) if env.outer is not None else {}
    for source in scope.sources:
        types |= {col.name: col.sql_type for col in source.columns}
    return types | {col.name: col.sql_type for col in scope.star}


def free_columns(work: Work, env: Env, query: Tree, around: Outer) -> tuple[str, ...]:
    """Return the outer columns that a query reads: it is bound on trial, and the plan thrown away.

    Args:
        work: the planning.
        env: what the query sees, but for the query around it.
        query: its query node.
        around: the query around it; its domain is not looked at.
    """
    if not _may_read(query, around.labels):
        return ()
    schema = Schema.of(column(name, sql_type) for name, sql_type in around.types.items())
    trial = replace(around, names=schema.names, node=Scan(schema, "_outer", schema.names), seen=set())
    with _on_trial(work):
        work.bind(query, replace(env, outer=trial))
    return tuple(name for name in around.types if name in trial.seen)


def _may_read(query: Tree, labels: frozenset[str]) -> bool:
    refs = (part for part in walk(query) if part.get("class") == "COLUMN_REF")
    return any(str(name).lower() in labels for part in refs for name in part["column_names"])


@contextmanager
def _on_trial(work: Work) -> Iterator[None]:
    shared = dict(work.shared)
    try:
        with work.names.kept():
            yield
    finally:
        work.shared.clear()
        work.shared.update(shared)
