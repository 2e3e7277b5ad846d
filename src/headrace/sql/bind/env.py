"""Common table expressions in sight, and what binding a query answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.sql.bind.scope import Col
from headrace.sql.bind.work import NotPlanned
from headrace.sql.plan import Node, OrderKey
from headrace.sql.tree import Tree


@dataclass(frozen=True, slots=True)
class Bound:
    """A query as a plan.

    Attributes:
        node: its rows.
        columns: its visible columns in order; the node may have no others.
        order: its ORDER BY, as far as output columns tell it.
    """

    node: Node
    columns: tuple[Col, ...]
    order: tuple[OrderKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Cte:
    """A common table expression and what was in sight where it stands."""

    entry: Tree
    env: Env

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
    """The common table expressions in sight, by lower-case name."""

    ctes: dict[str, Cte] = field(default_factory=dict)

    def inside(self, query: Tree) -> Env:
        """Return what is in sight inside a query that may bring a WITH of its own."""
        entries = (query.get("cte_map") or {}).get("map") or []
        env = self
        for entry in entries:
            if str(entry["key"]).lower() in env.ctes:
                raise NotPlanned(f"a WITH that hides another {entry['key']!r}")
            env = Env(env.ctes | {str(entry["key"]).lower(): Cte(entry, env)})
        return env

    def entries(self) -> list[Tree]:
        """Return the expressions in order of their definition, as a WITH clause holds them."""
        return [cte.entry for cte in self.ctes.values()]
