"""WITH RECURSIVE as a base and a step, the step a plan of its own over what came last and some parts."""

from __future__ import annotations

from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.env import Bound, Cte, Env
from headrace.sql.bind.scope import Col
from headrace.sql.bind.work import NotPlanned, Work, cast_expr, reference
from headrace.sql.duck import column, quote
from headrace.sql.passes.finish import plain
from headrace.sql.passes.rebuild import with_inputs
from headrace.sql.plan import (
    Distinct,
    Filter,
    Join,
    MatchJoin,
    Node,
    Project,
    Recursive,
    Scan,
    UnionAll,
    Unnest,
)
from headrace.sql.tree import STAR, Tree, select_of, table

LAST = "_last"
"""The relation name of the last round, in the step's plan."""


def bind_recursive(work: Work, cte: Cte) -> Bound:
    """Return a recursive common table expression.

    Raises:
        NotPlanned: its step does not use each row of the last round by itself; rounds cannot be added up.
    """
    query = cte.query
    if query["key_targets"]:
        raise NotPlanned("a recursive WITH USING KEY")
    whole = select_of([STAR], table(str(cte.entry["key"])))
    whole["cte_map"] = {"map": [cte.entry]}
    described = work.describe(whole, cte.env)
    base = work.bind(query["left"], cte.env)
    is_all = bool(query["union_all"])
    columns = tuple(Col(label, work.names.fresh(label), sql_type) for label, sql_type in described)
    schema = Schema.of(column(col.name, col.sql_type) for col in columns)
    step = _step(work, cte, query["right"], described, schema)
    if not _is_linear(step, is_all=is_all):
        raise NotPlanned("a recursive WITH whose step does not take the rows one by one")
    parts: list[Node] = []
    step = plain(work, _cut(step, parts))
    aliases = tuple(f"_part{at}" for at in range(len(parts)))
    node = Recursive(schema, _fitted(base, schema), tuple(parts), aliases, step, LAST, is_all)
    return Bound(node, columns)


def _step(work: Work, cte: Cte, query: Tree, described: list[tuple[str, str]], schema: Schema) -> Node:
    """Return the step, optimised, with the columns of the whole in order."""
    from headrace.sql.passes import optimise  # the two modules call each other

    entry = _stand_in(work, str(cte.entry["key"]), described)
    columns = tuple(Col(label, work.names.fresh(label), sql_type) for label, sql_type in described)
    last = Scan(Schema.of(column(col.name, col.sql_type) for col in columns), LAST, schema.names)
    work.shared[id(entry)] = Bound(last, columns)
    work.kept.append(entry)
    env = replace(cte.env, ctes=cte.env.ctes | {str(entry["key"]).lower(): Cte(entry, Env())})
    answer = work.bind(query, env)
    return optimise(work, _fitted(answer, schema))


def _stand_in(work: Work, name: str, described: list[tuple[str, str]]) -> Tree:
    """Return a WITH entry of those columns, for DuckDB's binder."""
    items = ", ".join(f"CAST(NULL AS {sql_type}) AS {quote(label)}" for label, sql_type in described)
    parsed = work.duck.parse(f"WITH {quote(name)} AS (SELECT {items}) SELECT 1")
    entry: Tree = parsed["statements"][0]["node"]["cte_map"]["map"][0]
    return entry


def _fitted(answer: Bound, schema: Schema) -> Node:
    """Return the rows of a query with the names and types of the whole."""
    if len(answer.columns) != len(schema.names):
        raise NotPlanned("a recursive WITH of uneven parts")
    exprs = tuple(
        reference(col.name, wanted.sql_type)
        if col.sql_type == wanted.sql_type
        else cast_expr(col.name, wanted.sql_type)
        for col, wanted in zip(answer.columns, schema, strict=True)
    )
    return Project(schema, answer.node, exprs)


def _reads_last(node: Node) -> bool:
    return any(isinstance(part, Scan) and part.relation == LAST for part in node.walk())


def _is_linear(node: Node, *, is_all: bool) -> bool:
    """Whether the step of a sum is the sum of the steps; without ALL it need only be so as sets."""
    readers = [child for child in node.inputs if _reads_last(child)]
    if isinstance(node, Scan):
        return node.relation == LAST
    if isinstance(node, Join | MatchJoin) and len(readers) != 1:
        return False
    if isinstance(node, MatchJoin):
        is_kept = node.kind == "inner" or (node.kind == "semi" and readers[0] is node.left)
        if not is_kept:
            return False
    elif not isinstance(node, Project | Filter | Unnest | UnionAll | Join) and (
        is_all or not isinstance(node, Distinct)
    ):
        return False
    return bool(readers) and all(_is_linear(child, is_all=is_all) for child in readers)


def _cut(node: Node, parts: list[Node]) -> Node:
    """Return the step with scans in place of whatever does not depend on the last round."""
    if not _reads_last(node):
        parts.append(node)
        return Scan(node.schema, f"_part{len(parts) - 1}", node.schema.names)
    if isinstance(node, Scan):
        return node
    return with_inputs(node, [_cut(child, parts) for child in node.inputs])
