"""Subqueries in expressions: each becomes columns joined to the rows around it.

While an expression is resolved, a subquery in it becomes a `PENDING` tree that knows its query and the outer
columns that it reads. Once the rows are there over which the expression is computed (after WHERE, or after
GROUP BY), `attach` joins them with the subquery's answer and puts an expression over the new columns in its
place:

    scalar        its value; an error where there are several rows
    EXISTS        whether a mark came along
    x IN (…)      TRUE where a mark came along with x, else NULL where x or a value is NULL, else FALSE
    x op ANY (…)  x compared with the least or greatest value

In WHERE and HAVING, where only TRUE counts, EXISTS and IN become semi and anti joins (`matches.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.expressions import Lookup, is_aggregate, resolve
from headrace.sql.bind.outer import Outer, domain_of, free_columns
from headrace.sql.bind.scope import Col
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.duck import column
from headrace.sql.passes.rebuild import other_join
from headrace.sql.plan import AggCall, Aggregate, Distinct, Join, Node
from headrace.sql.tree import (
    NULL,
    TRUE,
    Tree,
    arguments,
    bound,
    call_of,
    case_of,
    comparison,
    conjunction,
    function_name,
    integer,
    is_null,
    operator,
    raw_cast,
    rewrite,
    string,
    walk,
)

SEVERAL_ROWS = (
    "More than one row returned by a subquery used as an expression - "
    "scalar subqueries can only return a single row."
)


@dataclass(frozen=True, slots=True)
class Spec:
    """A subquery in an expression.

    Attributes:
        query: its query node.
        env: what it sees.
        around: the query around it.
        names: outer columns that it reads.
        kind: `SCALAR`, `EXISTS`, `NOT_EXISTS` or `ANY`.
        comparison: of ANY, such as `COMPARE_EQUAL`.
    """

    query: Tree
    env: Env
    around: Outer
    names: tuple[str, ...]
    kind: str
    comparison: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows around a subquery, before others were joined to them: they have the same outer values."""

    node: Node


class Subqueries:
    """Makes PENDING trees of the subqueries of one SELECT.

    Args:
        work: the planning.
        env: what the SELECT sees.
        around: the SELECT, as its subqueries see it.
    """

    def __init__(self, work: Work, env: Env, around: Outer) -> None:
        self.work = work
        self.env = env
        self.around = around

    def __call__(self, tree: Tree, lookup: Lookup) -> Tree:
        """Return a subquery, resolved as far as it can be before there are rows."""
        query, kind = tree["subquery"]["node"], str(tree["subquery_type"])
        if kind not in ("SCALAR", "EXISTS", "NOT_EXISTS", "ANY"):
            raise NotPlanned("a subquery in an expression")
        names = free_columns(self.work, self.env, query, self.around)
        spec = Spec(query, self.env, self.around, names, kind, str(tree.get("comparison_type") or ""))
        child = resolve(self.work, tree["child"], lookup, subqueries=self) if tree.get("child") else None
        return {
            "class": "PENDING", "type": kind, "spec": spec, "text": self.work.duck.text(query),
            "child": child, "reads": [bound(name) for name in names],
        }  # fmt: skip


def has_pending(tree: Tree) -> bool:
    """Whether an expression still holds a subquery."""
    return any(part.get("class") == "PENDING" for part in walk(tree))


def attach(work: Work, node: Node, trees: list[Tree]) -> tuple[Node, list[Tree]]:
    """Return the node with what the subqueries in some expressions answer, and the expressions over it."""
    known: dict[str, Tree] = {}
    base = node

    def change(part: Tree) -> Tree | None:
        nonlocal node
        if part.get("class") != "PENDING":
            return None
        if part["child"] is not None and has_pending(part["child"]):
            part = part | {"child": rewrite(part["child"], change)}
        text = work.render(part)
        if text not in known:
            node, known[text] = attached(work, node, part | {"base": Rows(base)})
        return known[text]

    done = [rewrite(tree, change) for tree in trees]
    return node, done


def attach_below(work: Work, node: Node, trees: list[Tree], whole: int) -> tuple[Node, list[Tree]]:
    """Attach what GROUP BY needs: the subqueries in the first `whole` trees, and those inside aggregates."""
    known: dict[str, Tree] = {}

    def change(part: Tree) -> Tree | None:
        nonlocal node
        if is_aggregate(part) and has_pending(part):
            node, [done] = attach(work, node, [part])
            return done
        if part.get("class") == "PENDING":
            return known.get(work.render(part))
        return None

    for tree in trees[:whole]:
        for part in walk(tree):
            if part.get("class") == "PENDING":
                text = work.render(part)
                node, [known[text]] = attach(work, node, [part])
    done = [rewrite(tree, change) for tree in trees]
    return node, done


def attached(work: Work, node: Node, pending: Tree, *, only_true: bool = False) -> tuple[Node, Tree]:
    """Return the node joined with one subquery's answer, and the expression that stands for it.

    Args:
        work: the planning.
        node: the rows around.
        pending: the subquery.
        only_true: a row whose scalar is NULL may be left out: it stands where only TRUE counts.
    """
    spec: Spec = pending["spec"]
    if spec.kind == "ANY":
        from headrace.sql.bind.matches import any_value  # the two modules call each other

        return any_value(work, node, pending)
    answer = inside(work, node, pending)
    if spec.kind == "SCALAR":
        return _scalar(work, node, pending, answer, only_true=only_true)
    return _exists(work, node, pending, answer)


def inside(work: Work, node: Node, pending: Tree) -> Bound:
    """Return a subquery's answer over the distinct values of the outer columns that it reads."""
    spec: Spec = pending["spec"]
    if not spec.names:
        return work.bind(spec.query, replace(spec.env, outer=None))
    base = pending["base"].node if "base" in pending else node
    if {str(tree["name"]) for tree in pending["reads"]} <= set(base.schema.names):
        node = base
    domain = domain_of(work, node, pending["reads"])
    outer = replace(spec.around, names=spec.names, node=domain, seen=set())
    return work.bind(spec.query, replace(spec.env, outer=outer))


def key_conditions(pending: Tree, answer: Bound) -> list[Tree]:
    """Return the conditions that join the outer rows with the keys of a subquery's answer."""
    kind = "COMPARE_EQUAL" if answer.is_strict else "COMPARE_NOT_DISTINCT_FROM"
    pairs = zip(pending["reads"], answer.keys, strict=True)
    return [comparison(kind, outer, bound(key)) for outer, key in pairs]


def joined(work: Work, node: Node, pending: Tree, answer: Bound, more: list[Tree], words: str) -> Node:
    """Return the outer rows joined with a subquery's answer by its keys and further conditions."""
    conditions = [*key_conditions(pending, answer), *more] or [TRUE]
    schema = Schema.of([*node.schema, *answer.node.schema])
    condition = work.expr(schema, conjunction(conditions))
    if words == "INNER JOIN":
        return Join(schema, (node, answer.node), (), condition)
    return other_join(node, answer.node, words, condition)


def crossed_one(node: Node, one: Node) -> Node:
    """Return the outer rows beside a single row."""
    return Join(Schema.of([*node.schema, *one.schema]), (node, one), ())


def aggregated(
    work: Work, node: Node, keys: tuple[str, ...], calls: list[tuple[str, str, str | None]]
) -> Aggregate:
    """Return groups by keys with some plain aggregates: (output name, function, column or None)."""
    trees = [call_of(func, [bound(arg)] if arg else []) for _, func, arg in calls]
    texts = [work.render(tree) for tree in trees]
    types = work.duck.types({c.name: c.sql_type for c in node.schema}, texts)
    made = tuple(
        AggCall(name, func, (arg,) if arg else (), distinct=False, filter=None, sql=text, sql_type=sql_type)
        for (name, func, arg), text, sql_type in zip(calls, texts, types, strict=True)
    )
    columns = [node.schema[key] for key in keys] + [column(call.name, call.sql_type) for call in made]
    return Aggregate(Schema.of(columns), node, keys, made)


def marked(work: Work, answer: Bound, kept: list[str]) -> tuple[Bound, str]:
    """Return the distinct keys and columns of an answer, with a column that is TRUE in every row."""
    mark = work.names.fresh("mark")
    named = [(name, bound(name)) for name in dict.fromkeys((*answer.keys, *kept))]
    rows = work.project(answer.node, named)
    node = work.extended(Distinct(rows.schema, rows), [(mark, TRUE)])
    return replace(answer, node=node), mark


def _scalar(work: Work, node: Node, pending: Tree, answer: Bound, *, only_true: bool) -> tuple[Node, Tree]:
    value = answer.columns[0]
    rows: str | None = None
    if not answer.is_single or (not answer.keys and not answer.is_always):
        answer, rows = _reduced(work, answer, value)
        value = answer.columns[0]
    if not answer.keys:
        node, tree = crossed_one(node, answer.node), bound(value.name)
    else:
        node, tree = _by_keys(work, node, pending, answer, only_true=only_true)
    if rows is not None:
        several = comparison("COMPARE_GREATERTHAN", bound(rows), integer(1))
        tree = case_of([(several, call_of("error", [string(SEVERAL_ROWS)]))], tree)
    return node, tree


def _reduced(work: Work, answer: Bound, value: Col) -> tuple[Bound, str | None]:
    """Return an answer as one row per key, with the number of its rows where that may be several."""
    name = work.names.fresh(value.name)
    calls: list[tuple[str, str, str | None]] = [(name, "min", value.name)]
    rows = None if answer.is_single else work.names.fresh("rows")
    if rows is not None:
        calls.append((rows, "count_star", None))
    node: Node = aggregated(work, answer.node, answer.keys, calls)
    if node.schema[name].sql_type != value.sql_type:
        cast = work.names.fresh(value.name)
        node = work.extended(node, [(cast, raw_cast(bound(name), value.sql_type))])
        name = cast
    reduced = replace(answer, node=node, columns=(Col(value.label, name, value.sql_type),), missing=())
    return reduced, rows


def _by_keys(work: Work, node: Node, pending: Tree, answer: Bound, *, only_true: bool) -> tuple[Node, Tree]:
    """Join a correlated scalar, one row per key at most; a row without any gets what an empty inside says."""
    value = bound(answer.columns[0].name)
    missing = answer.missing[0] if answer.missing else NULL
    if is_null(missing):
        return joined(work, node, pending, answer, [], "INNER JOIN" if only_true else "LEFT JOIN"), value
    spec: Spec = pending["spec"]
    here = dict(zip(spec.names, pending["reads"], strict=True))
    missing = rewrite(missing, lambda part: here.get(part["name"]) if part.get("class") == "BOUND" else None)
    mark = work.names.fresh("mark")
    answer = replace(answer, node=work.extended(answer.node, [(mark, TRUE)]))
    node = joined(work, node, pending, answer, [], "LEFT JOIN")
    return node, case_of([(operator("OPERATOR_IS_NULL", [bound(mark)]), missing)], value)


def _exists(work: Work, node: Node, pending: Tree, answer: Bound) -> tuple[Node, Tree]:
    positive = pending["spec"].kind == "EXISTS"
    if answer.is_always:
        return node, TRUE if positive else operator("OPERATOR_NOT", [TRUE])
    if answer.keys:
        answer, mark = marked(work, answer, [])
        kind = "OPERATOR_IS_NOT_NULL" if positive else "OPERATOR_IS_NULL"
        return joined(work, node, pending, answer, [], "LEFT JOIN"), operator(kind, [bound(mark)])
    rows, some = work.names.fresh("rows"), work.names.fresh("some")
    counted = aggregated(work, answer.node, (), [(rows, "count_star", None)])
    kind = "COMPARE_GREATERTHAN" if positive else "COMPARE_EQUAL"
    flag = work.project(counted, [(some, comparison(kind, bound(rows), integer(0)))])
    return crossed_one(node, flag), bound(some)


def row_parts(child: Tree) -> list[Tree]:
    """Return the values on the left of IN: those of a row, or the one."""
    if child.get("class") == "FUNCTION" and function_name(child) == "row":
        return arguments(child)
    return [child]
