"""Common table expressions in sight, and what binding a query answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headrace.sql.bind.scope import Col
from headrace.sql.bind.work import NotPlanned
from headrace.sql.plan import Node, OrderKey
from headrace.sql.tree import Tree

if TYPE_CHECKING:
    from headrace.sql.bind.outer import Outer


@dataclass(frozen=True, slots=True)
class Bound:
    """A query as a plan.

    Attributes:
        node: its rows.
        columns: its visible columns in order; the node may have no others.
        order: its ORDER BY, as far as output columns tell it.
        keys: of a subquery bound inside another: its column for each outer column, see `outer.py`.
        is_strict: the keys equal the outer columns by `=`; else they are the outer values, NULL included.
        is_single: there is one row for each key, or none.
        is_always: there is a row for each key, also where the inside reads none; with strict keys such a row
            is not in the node, and `missing` says what it holds.
        missing: per column its value in a row that is not in the node, over outer columns; () means NULLs.
    """

    node: Node
    columns: tuple[Col, ...]
    order: tuple[OrderKey, ...] = ()
    keys: tuple[str, ...] = ()
    is_strict: bool = False
    is_single: bool = False
    is_always: bool = False
    missing: tuple[Tree, ...] = ()


@dataclass(frozen=True, slots=True)
class Cte:
    """A common table expression and what was in sight where it stands."""

    entry: Tree
    env: Env
    outer: Outer | None = None

    @property
    def query(self) -> Tree:
        """Its query node."""
        value: Tree = self.entry["value"]["query_node"]
        return value

    @property
    def is_recursive(self) -> bool:
        """Whether it reads itself."""
        return bool(self.query["type"] == "RECURSIVE_CTE_NODE")


@dataclass(frozen=True, slots=True)
class Env:
    """What is in sight: common table expressions by lower-case name, and the query around a subquery."""

    ctes: dict[str, Cte] = field(default_factory=dict)
    outer: Outer | None = None

    def inside(self, query: Tree) -> Env:
        """Return what is in sight inside a query that may bring a WITH of its own."""
        entries = (query.get("cte_map") or {}).get("map") or []
        env = self
        for entry in entries:
            if str(entry["key"]).lower() in env.ctes:
                raise NotPlanned(f"a WITH that hides another {entry['key']!r}")
            env = replace(
                env,
                ctes=env.ctes | {str(entry["key"]).lower(): Cte(entry, replace(env, outer=None), env.outer)},
            )
        return env

    def entries(self) -> list[Tree]:
        """Return the expressions in order of their definition, as a WITH clause holds them."""
        return [cte.entry for cte in self.ctes.values()]
