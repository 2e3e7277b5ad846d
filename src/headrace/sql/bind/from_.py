"""FROM: relations, subqueries, windows, joins."""

from __future__ import annotations

from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.env import Bound, Cte, Env
from headrace.sql.bind.expressions import resolve
from headrace.sql.bind.matches import filtered_by
from headrace.sql.bind.outer import domain_of, free_columns, outer_of
from headrace.sql.bind.pivot import bind_pivot
from headrace.sql.bind.recompute import outer_join, recompute
from headrace.sql.bind.recursive import bind_recursive
from headrace.sql.bind.scope import Col, Scope, same
from headrace.sql.bind.subqueries import Subqueries, attach, has_pending
from headrace.sql.bind.unnest import is_series, series
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.duck import column
from headrace.sql.plan import Constant, Hop, Join, Node, Scan, Session
from headrace.sql.render import columns_of
from headrace.sql.tree import (
    STAR,
    TRUE,
    Tree,
    bound,
    comparison,
    conjunction,
    conjuncts,
    is_true,
    rewrite,
    select_of,
    table,
    walk,
)
from headrace.sql.windows import HOP_KEY


def bind_from(work: Work, env: Env, tree: Tree) -> tuple[Node, Scope]:
    """Return the rows of a FROM clause, not yet filtered, and what its names mean."""
    kind = tree["type"]
    if kind == "EMPTY":
        return one_row(work), Scope()
    if kind == "JOIN":
        return _join(work, env, tree)
    answer = _series_inside(work, env, tree) or leaf(work, env, tree)
    return answer.node, Scope.single(
        _alias(tree), _renamed(answer.columns, tree.get("column_name_alias") or []), answer.keys
    )


def _series_inside(work: Work, env: Env, tree: Tree) -> Bound | None:
    """Return a table function over columns of the query around, over their distinct values."""
    if env.outer is None or not is_series(tree):
        return None
    outer = env.outer
    keys = {name: bound(work.names.fresh(name)) for name in outer.names}
    own = [bound(name) for name in outer.node.schema.names]
    items = [(str(key["name"]), tree) for key, tree in zip(keys.values(), own, strict=True)]

    def lookup(names: list[str]) -> Tree | None:
        found = outer.find(names)
        return None if found is None else rewrite(found, lambda part: keys.get(str(part.get("name"))))

    try:
        node, columns = series(work, work.project(outer.node, items), tree, lookup)
    except NotPlanned:
        return None
    return Bound(node, columns, keys=tuple(str(key["name"]) for key in keys.values()))


def one_row(work: Work) -> Node:
    """Return the one row that a SELECT without FROM is over."""
    name = work.names.fresh("one")
    return Constant(Schema.of([column(name, "BOOLEAN")]), "SELECT TRUE")


def leaf(work: Work, env: Env, tree: Tree) -> Bound:
    """Return one item of FROM, under its own labels."""
    if HOP_KEY in tree:
        return _hop(work, env, tree[HOP_KEY])
    if tree["type"] == "BASE_TABLE":
        return relation(work, env, str(tree["table_name"]))
    try:
        if tree["type"] == "SUBQUERY":
            return _subquery(work, env, tree["subquery"]["node"])
        if tree["type"] == "PIVOT":
            return _pivot(work, env, tree)
        return recompute(work, env, select_of([STAR], tree), _leaf_reason(tree))
    except NotPlanned as why:
        raise NotPlanned(_leaf_reason(tree)) from why


def _pivot(work: Work, env: Env, tree: Tree) -> Bound:
    try:
        return bind_pivot(work, env, tree, *bind_from(work, env, tree["source"]))
    except NotPlanned:
        return recompute(work, env, select_of([STAR], tree), _leaf_reason(tree))


def _subquery(work: Work, env: Env, query: Tree) -> Bound:
    """Return a subquery of FROM; only where it reads the query around it, it has keys."""
    if env.outer is None:
        return work.bind(query, env)
    try:
        return work.bind(query, replace(env, outer=None))
    except NotPlanned:
        return work.bind(query, env)


def _leaf_reason(tree: Tree) -> str:
    if tree["type"] == "TABLE_FUNCTION":
        return f"the table function {tree['function']['function_name']}"
    return {"EXPRESSION_LIST": "VALUES", "PIVOT": "PIVOT", "SUBQUERY": "LATERAL"}.get(
        tree["type"], str(tree["type"])
    )


def _alias(tree: Tree) -> str:
    if tree.get("alias"):
        return str(tree["alias"])
    if tree["type"] == "BASE_TABLE":
        return str(tree["table_name"])
    if tree["type"] == "TABLE_FUNCTION":
        return str(tree["function"]["function_name"])
    return "unnamed_subquery"


def _renamed(columns: tuple[Col, ...], labels: list[str]) -> tuple[Col, ...]:
    renamed = [Col(label, col.name, col.sql_type) for label, col in zip(labels, columns, strict=False)]
    return (*renamed, *columns[len(renamed) :])


def relation(work: Work, env: Env, name: str) -> Bound:
    """Return a common table expression or a relation of the catalog under its name."""
    cte = env.ctes.get(name.lower())
    if cte is not None:
        return _cte(work, env, cte)
    schema = work.catalog[name.lower()]
    columns = tuple(Col(c.name, work.names.fresh(c.name), c.sql_type) for c in schema)
    plan_schema = Schema.of(column(col.name, col.sql_type) for col in columns)
    return Bound(Scan(plan_schema, name.lower(), schema.names), columns)


def _cte(work: Work, env: Env, cte: Cte) -> Bound:
    """Return a common table expression; each reads the same plan, later ones under names of their own."""
    known = work.shared.get(id(cte.entry))
    if known is None:
        try:
            work.shared[id(cte.entry)] = answer = _bind_cte(work, cte)
        except NotPlanned:
            if env.outer is None or cte.outer is not env.outer:
                raise
            answer = _bind_cte(work, replace(cte, env=replace(cte.env, outer=env.outer)))
        return answer
    columns = tuple(Col(col.label, work.names.fresh(col.label), col.sql_type) for col in known.columns)
    items = [(col.name, bound(old.name)) for col, old in zip(columns, known.columns, strict=True)]
    return Bound(work.project(known.node, items), columns)


def _bind_cte(work: Work, cte: Cte) -> Bound:
    if cte.is_recursive:
        try:
            return bind_recursive(work, cte)
        except NotPlanned as why:
            return _recomputed_recursion(work, cte, why.reason)
    answer = work.bind(cte.query, cte.env)
    columns = _renamed(answer.columns, cte.entry["value"].get("aliases") or [])
    return Bound(answer.node, columns, keys=answer.keys)


def _recomputed_recursion(work: Work, cte: Cte, reason: str) -> Bound:
    whole = select_of([STAR], table(str(cte.entry["key"])))
    whole["cte_map"] = {"map": [cte.entry]}
    return recompute(work, cte.env, whole, reason)


def _hop(work: Work, env: Env, spec: Tree) -> Bound:
    source = relation(work, env, spec["relation"])
    time = next(col for col in source.columns if same(col.label, spec["time"]))
    bounds = [Col(label, work.names.fresh(label), spec["type"]) for label in ("window_start", "window_end")]
    extra = [column(col.name, col.sql_type) for col in bounds]
    schema = Schema.of([*source.node.schema, *extra])
    if "gap_us" in spec:
        keys = tuple(next(col.name for col in source.columns if same(col.label, key)) for key in spec["keys"])
        node: Node = Session(schema, source.node, time.name, keys, spec["gap_us"])
    else:
        is_cumulative = bool(spec["is_cumulative"])
        node = Hop(schema, source.node, time.name, spec["slide_us"], spec["size_us"], is_cumulative)
    return Bound(node, (*source.columns, *bounds))


def _join(work: Work, env: Env, tree: Tree) -> tuple[Node, Scope]:
    ref_type, join_type = tree["ref_type"], tree["join_type"]
    left, left_scope = bind_from(work, env, tree["left"])
    beside = _series_beside(work, tree, left, left_scope)
    if beside is not None:
        return beside
    try:
        right, right_scope = bind_from(work, env, tree["right"])
        tied: list[Tree] = []
    except NotPlanned:
        if tree["right"]["type"] != "SUBQUERY":
            raise
        right, right_scope, tied = _lateral(work, env, tree["right"], left, left_scope)
    shared = _shared_labels(tree, left_scope, right_scope)
    both = Scope(left_scope.sources + right_scope.sources, left_scope.star + right_scope.star)
    tied += [
        comparison("COMPARE_NOT_DISTINCT_FROM", bound(one), bound(other))
        for one, other in zip(left_scope.keys, right_scope.keys, strict=False)
    ]
    conditions = [_equality(left_scope, right_scope, label) for label in shared]
    if ref_type == "ASOF" and conditions:  # the last column of USING is the one that is looked up
        conditions[-1] = conditions[-1] | {"type": "COMPARE_GREATERTHANOREQUALTO"}
    if tree.get("condition"):
        around = outer_of(both, env, both.resolve)
        inner = Subqueries(work, env, around) if env.outer is None else None
        conditions += conjuncts(resolve(work, tree["condition"], both.resolve, subqueries=inner))
        if join_type != "INNER":
            left, right, conditions = _asked_before(work, join_type, left, right, conditions)
    conditions += tied
    if right_scope.keys and join_type not in ("INNER", "LEFT"):
        raise NotPlanned("an outer join in a correlated subquery")
    if left_scope.keys and join_type not in ("INNER", "LEFT", "SEMI", "ANTI"):
        raise NotPlanned("an outer join in a correlated subquery")
    if right_scope.keys and not left_scope.keys and join_type != "INNER":
        raise NotPlanned("an outer join in a correlated subquery")
    if ref_type in ("REGULAR", "NATURAL", "CROSS") and join_type == "INNER":
        schema = Schema.of([*left.schema, *right.schema])
        asked = [tree for tree in conditions if has_pending(tree)]
        plain = [tree for tree in conditions if not has_pending(tree)]
        residual = work.expr(schema, conjunction(plain)) if plain else None
        node: Node = Join(schema, (left, right), (), residual)
        if asked:
            node = filtered_by(work, node, conjunction(asked))
        return node, _merged(left_scope, right_scope, shared)
    return outer_join(work, tree, (left, left_scope), (right, right_scope), shared, conditions)


def _asked_before(
    work: Work, join_type: str, left: Node, right: Node, conditions: list[Tree]
) -> tuple[Node, Node, list[Tree]]:
    """Ask the subqueries in the condition of an outer join before it, on the side that they read."""
    done: list[Tree] = []
    for tree in conditions:
        names = set(columns_of(tree))
        if not has_pending(tree):
            done.append(tree)
        elif join_type in ("LEFT", "SEMI", "ANTI") and names <= set(right.schema.names):
            right = filtered_by(work, right, tree)
        elif join_type == "LEFT" and names <= set(left.schema.names):
            left, [value] = attach(work, left, [tree])
            done.append(value)
        else:
            raise NotPlanned(f"a subquery in the condition of a {join_type} JOIN")
    return left, right, done or [TRUE]


def _series_beside(work: Work, tree: Tree, left: Node, scope: Scope) -> tuple[Node, Scope] | None:
    """Return the left rows beside a table function over them; None where it is something else."""
    right = tree["right"]
    if not is_series(right) or tree["ref_type"] not in ("REGULAR", "CROSS") or tree["using_columns"]:
        return None
    refs = (part for part in walk(right["function"]) if part.get("class") == "COLUMN_REF")
    if not any(True for _ in refs) or tree["join_type"] not in ("INNER", "LEFT"):
        return None
    condition = tree.get("condition")
    keeps_empty = tree["join_type"] == "LEFT"
    if keeps_empty and (condition is None or not is_true(condition)):
        return None
    try:
        node, columns = series(work, left, right, scope.resolve, keeps_empty=keeps_empty)
    except NotPlanned:
        return None
    own = Scope.single(_alias(right), _renamed(columns, right.get("column_name_alias") or []))
    both = Scope(scope.sources + own.sources, scope.star + own.star, scope.keys)
    if condition and not keeps_empty:
        node = work.filter(node, resolve(work, condition, both.resolve))
    return node, both


def _lateral(work: Work, env: Env, tree: Tree, left: Node, scope: Scope) -> tuple[Node, Scope, list[Tree]]:
    """Return a subquery that reads its left neighbours, and the conditions that tie it to them."""
    if env.outer is not None:
        raise NotPlanned("LATERAL in a correlated subquery")
    query = tree["subquery"]["node"]
    around = outer_of(scope, env, scope.resolve)
    names = free_columns(work, env, query, around)
    if not names:
        raise NotPlanned("LATERAL")
    domain = domain_of(work, left, [bound(name) for name in names])
    outer = replace(around, names=names, node=domain, needs_domain=True)
    answer = work.bind(query, replace(env, outer=outer))
    columns = _renamed(answer.columns, tree.get("column_name_alias") or [])
    kind = "COMPARE_EQUAL" if answer.is_strict else "COMPARE_NOT_DISTINCT_FROM"
    pairs = zip(names, answer.keys, strict=True)
    tied = [comparison(kind, bound(name), bound(key)) for name, key in pairs]
    return answer.node, Scope.single(_alias(tree), columns), tied


def _shared_labels(tree: Tree, left: Scope, right: Scope) -> list[str]:
    if tree["ref_type"] == "NATURAL":
        there = {col.label.lower() for col in right.star}
        return [col.label for col in left.star if col.label.lower() in there]
    return [str(label) for label in tree["using_columns"]]


def _equality(left: Scope, right: Scope, label: str) -> Tree:
    one, other = left.find(label), right.find(label)
    if one is None or other is None:
        raise NotPlanned(f"USING ({label})")
    return comparison("COMPARE_EQUAL", bound(one.name), bound(other.name))


def _merged(left: Scope, right: Scope, shared: list[str]) -> Scope:
    hidden = {label.lower() for label in shared}
    rest = tuple(col for col in right.star if col.label.lower() not in hidden)
    return Scope(left.sources + right.sources, left.star + rest, left.keys or right.keys)
