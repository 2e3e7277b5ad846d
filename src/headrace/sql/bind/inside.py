"""A SELECT that is a correlated subquery: where the outer columns stand among its own rows."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from headrace.contracts.schema import Schema
from headrace.sql.bind.aggregate import Grouping
from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.expressions import is_aggregate
from headrace.sql.bind.outer import Outer, crossed
from headrace.sql.bind.scope import Scope
from headrace.sql.bind.unnest import has_unnest
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.duck import quote
from headrace.sql.passes.rebuild import other_join
from headrace.sql.plan import Aggregate, Node
from headrace.sql.render import columns_of
from headrace.sql.tree import (
    NULL,
    TRUE,
    Tree,
    bound,
    case_of,
    comparison,
    conjunction,
    expressions,
    is_null,
    operator,
    raw_cast,
    rewrite,
    select_of,
    string,
    walk,
)


class Inside:
    """The keys of one SELECT, from FROM to its outputs; without a query around it, nothing.

    Args:
        work: the planning.
        env: what the SELECT sees.
        tree: the SELECT node.
    """

    def __init__(self, work: Work, env: Env, tree: Tree) -> None:
        self.work = work
        self.outer = env.outer
        self.tree = tree
        self.around: Outer | None = None
        self.keys: dict[str, Tree] = {}
        self.is_strict = False
        self._empty: dict[str, Tree] = {}

    # names

    def placed(self, tree: Tree) -> Tree:
        """Return an expression with outer columns replaced by where they stand here, once they do."""
        if not self.keys:
            return tree
        return rewrite(
            tree, lambda part: self.keys.get(part["name"]) if part.get("class") == "BOUND" else None
        )

    def place(self, node: Node, scope: Scope, conditions: list[Tree]) -> tuple[Node, list[Tree]]:
        """Decide where the outer columns stand; return the rows and the conditions of WHERE over them."""
        if self.outer is None or not self.outer.names:
            return node, conditions
        if scope.keys:
            self.keys = {name: bound(key) for name, key in zip(self.outer.names, scope.keys, strict=True)}
        else:
            found = None if self.outer.exact or self._needs_rows() else self._equated(node, conditions)
            if found is not None:
                self.keys, conditions, self.is_strict = *found, True
            else:
                node, self.keys = crossed(self.work, node, self.outer)
        return node, [self.placed(tree) for tree in conditions]

    def _equated(self, node: Node, conditions: list[Tree]) -> tuple[dict[str, Tree], list[Tree]] | None:
        """Find `inner = outer` for every outer column; None where one has none."""
        assert self.outer is not None
        here, rest, found = set(node.schema.names), list(conditions), dict[str, Tree]()
        for name in self.outer.names:
            for tree in rest:
                key = self._other_side(tree, name, here, node.schema)
                if key is not None:
                    found[name] = key
                    rest = [one for one in rest if one is not tree]
                    break
            else:
                return None
        return found, rest

    def _other_side(self, tree: Tree, name: str, here: set[str], schema: Schema) -> Tree | None:
        assert self.outer is not None
        if tree.get("type") != "COMPARE_EQUAL":
            return None
        for mine, other in ((tree["left"], tree["right"]), (tree["right"], tree["left"])):
            names = set(columns_of(mine))
            is_here = names and names <= here and not _has_subquery(mine)
            if other == bound(name) and is_here:
                own_type = self.work.expr(schema, mine).sql_type
                if own_type == self.outer.types[name] or self._reads(name) == 1:
                    common = self.work.duck.comparison_type(own_type, self.outer.types[name])
                    return mine if common == own_type else raw_cast(mine, common) if common else None
        return None

    def _reads(self, name: str) -> int:
        """Return how often the query may mean an outer column."""
        assert self.outer is not None
        count = 0
        for part in walk(self.tree):
            if part.get("class") == "COLUMN_REF":
                try:
                    tree = self.outer.lookup([str(word) for word in part["column_names"]])
                except NotPlanned:
                    return 2
                count += tree is not None and name in columns_of(tree)
        return count

    # groups

    def _is_global(self) -> bool:
        """Whether it groups all its rows into one."""
        if self.tree["aggregate_handling"] == "FORCE_AGGREGATES":
            return False
        if self.tree["group_sets"]:
            return bool(self.tree["group_sets"] == [[]])
        parts = [*self.tree["select_list"], *self.tree["modifiers"]]
        return bool(self.tree["having"]) or any(
            is_aggregate(one) for part in parts for one in expressions(part)
        )

    def _is_always(self) -> bool:
        """Whether there is a row for each key, also where nothing is read."""
        words = ("having", "qualify", "where_clause") if not self._is_global() else ("having", "qualify")
        if any(self.tree[word] for word in words) or self._is_cut():
            return False
        return self._is_global() or self.tree["from_table"]["type"] == "EMPTY"

    def _is_cut(self) -> bool:
        return any(modifier["type"] == "LIMIT_MODIFIER" for modifier in self.tree["modifiers"])

    def _needs_rows(self) -> bool:
        """Whether each outer value must have a row of its own inside."""
        assert self.outer is not None
        if len(self.tree["group_sets"]) > 1 and [] in self.tree["group_sets"]:
            raise NotPlanned("GROUPING SETS in a correlated subquery")
        is_more = self.outer.needs_domain or self.tree["having"] or self.tree["qualify"] or self._is_cut()
        return bool(self._is_global() and is_more)

    def grouped(self, grouping: Grouping, node: Node) -> Node:
        """Return the groups; where all rows are one group, a key without rows has one too."""
        self.keys = {name: grouping.replace(tree) for name, tree in self.keys.items()}
        node = grouping.apply(node)
        if not self.keys or not self._is_global():
            return node
        assert isinstance(node, Aggregate)
        self._empty = self._empty_values(node)
        return node if self.is_strict else self._with_empty_groups(node)

    def _empty_values(self, node: Aggregate) -> dict[str, Tree]:
        """Return what each aggregate answers over no rows."""
        columns = node.input.schema
        source = ", ".join(f"CAST(NULL AS {c.sql_type}) AS {quote(c.name)}" for c in columns) or "1"
        items = ", ".join(f"CAST(({call.sql}) AS VARCHAR)" for call in node.calls)
        row = self.work.duck.con.execute(f"SELECT {items} FROM (SELECT {source} WHERE false)").fetchall()[0]
        return {
            call.name: NULL if value is None else raw_cast(string(value), call.sql_type)
            for call, value in zip(node.calls, row, strict=True)
        }

    def _with_empty_groups(self, node: Aggregate) -> Node:
        """Return the groups beside the whole domain."""
        work, outer = self.work, self.outer
        assert outer is not None
        mark = work.names.fresh("mark")
        groups = work.extended(node, [(mark, TRUE)])
        columns = [work.names.fresh(name) for name in outer.names]
        pairs = zip(columns, outer.node.schema.names, strict=True)
        domain = work.project(outer.node, [(column, bound(own)) for column, own in pairs])
        keys = [str(tree["name"]) for tree in self.keys.values()]
        same = [
            comparison("COMPARE_NOT_DISTINCT_FROM", bound(column), bound(key))
            for column, key in zip(columns, keys, strict=True)
        ]
        schema = Schema.of([*domain.schema, *groups.schema])
        joined = other_join(domain, groups, "LEFT JOIN", work.expr(schema, conjunction(same)))
        items = [(key, bound(column)) for key, column in zip(keys, columns, strict=True)]
        for call in node.calls:
            empty, value = self._empty[call.name], bound(call.name)
            absent = operator("OPERATOR_IS_NULL", [bound(mark)])
            items.append((call.name, value if is_null(empty) else case_of([(absent, empty)], value)))
        return work.project(joined, items)

    # windows and outputs

    def partitioned(self, tree: Tree) -> Tree:
        """Return an expression whose window functions look at rows of one key only."""
        if not self.keys:
            return tree
        keys = list(self.keys.values())

        def change(part: Tree) -> Tree | None:
            if part.get("class") != "WINDOW":
                return None
            return part | {"partitions": [*part["partitions"], *keys]}

        return rewrite(tree, change)

    def told(self, answer: Bound, outputs: list[Tree]) -> Bound:
        """Return the answer with what is known of its rows and keys."""
        spreads = any(has_unnest(item) for item in self.tree["select_list"])
        is_single = answer.is_single or (not spreads and (self._is_global() or self._is_plain_row()))
        is_always = self._is_always() and not spreads
        answer = replace(answer, is_strict=self.is_strict, is_single=is_single, is_always=is_always)
        if spreads and self.is_strict and self._is_global():
            raise NotPlanned("UNNEST of an aggregate in a correlated subquery")
        if not (self.is_strict and self._is_global()):
            return answer
        return replace(answer, missing=tuple(self._missing(tree) for tree in outputs))

    def _is_plain_row(self) -> bool:
        return bool(self.tree["from_table"]["type"] == "EMPTY" and not self.tree["group_sets"])

    def _missing(self, tree: Tree) -> Tree:
        """Return an output for a key without rows, over outer columns."""
        assert self.outer is not None
        back = {str(key["name"]): bound(name) for name, key in self.keys.items()} | self._empty
        tree = rewrite(tree, lambda part: back.get(part["name"]) if part.get("class") == "BOUND" else None)
        names = columns_of(tree)
        if not set(names) <= set(self.outer.names):
            raise NotPlanned("a correlated subquery whose value over no rows depends on more")
        if names:
            return tree
        try:
            typed = self.work.expr(Schema.of([]), tree)
            found = self.work.duck.con.execute(f"SELECT CAST({typed.sql} AS VARCHAR)").fetchall()[0][0]
        except duckdb.Error:
            return tree
        return NULL if found is None else raw_cast(string(str(found)), typed.sql_type)


def _has_subquery(tree: Tree) -> bool:
    return any(part.get("class") == "PENDING" for part in walk(tree))


def own_labels(work: Work, scope: Scope, raws: list[Tree]) -> list[str]:
    """Return labels for outputs that DuckDB cannot be asked for, because they read the query around."""
    labels = {col.name: col.label for source in scope.sources for col in source.columns}
    found: list[str] = []
    for raw in raws:
        label = _label(work, raw, labels)
        number = 0
        while label.lower() in {one.lower() for one in found}:
            number += 1
            label = f"{_label(work, raw, labels)}_{number}"
        found.append(label)
    return found


def _label(work: Work, raw: Tree, labels: dict[str, str]) -> str:
    if raw.get("alias"):
        return str(raw["alias"])
    if raw.get("class") == "BOUND":
        return labels.get(str(raw["name"]), str(raw["name"]))
    if raw.get("class") == "COLUMN_REF":
        return str(raw["column_names"][-1])
    return work.duck.text(select_of([raw]))[len("SELECT ") :]
