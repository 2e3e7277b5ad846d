"""IN, ANY, and the conditions of WHERE and HAVING that hold subqueries.

Where only TRUE counts, EXISTS and IN are semi joins, NOT EXISTS and NOT IN anti joins; NOT IN further asks
that no value inside is NULL and, unless the inside is empty, that the value outside is not.
"""

from __future__ import annotations

from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.env import Bound
from headrace.sql.bind.subqueries import (
    Spec,
    aggregated,
    attach,
    attached,
    crossed_one,
    has_pending,
    inside,
    joined,
    marked,
    row_parts,
)
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.passes.rebuild import other_join
from headrace.sql.plan import Node
from headrace.sql.tree import (
    FALSE,
    NULL,
    TRUE,
    Tree,
    bound,
    case_of,
    comparison,
    conjunction,
    conjuncts,
    disjunction,
    integer,
    operator,
    raw_cast,
    rewrite,
)

_LEAST = {"COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO"}
_GREATEST = {"COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO"}


def filtered_by(work: Work, node: Node, predicate: Tree) -> Node:
    """Return the rows for which a predicate is TRUE, subqueries in it included."""
    plain: list[Tree] = []
    others: list[Tree] = []
    for part in conjuncts(predicate):
        (others if has_pending(part) else plain).append(part)
    if plain:
        node = work.filter(node, conjunction(plain))
    names = node.schema.names
    for part in others:
        node = _conjunct(work, node, part)
    return node if node.schema.names == names else _only(work, node, names)


def _only(work: Work, node: Node, names: tuple[str, ...]) -> Node:
    return work.project(node, [(name, bound(name)) for name in names])


def _conjunct(work: Work, node: Node, part: Tree) -> Node:
    tree, negated = part, False
    while tree.get("type") == "OPERATOR_NOT":
        tree, negated = tree["children"][0], not negated
    if tree.get("class") == "PENDING" and tree["spec"].kind != "SCALAR":
        found = _match(work, node, tree, negated=negated)
        if found is not None:
            return found
    strict = _strict_scalars(part)
    for pending in strict:
        node, value = attached(work, node, pending, only_true=True)
        part = rewrite(part, lambda one, old=pending, new=value: new if one is old else None)  # type: ignore[misc]
    node, trees = attach(work, node, [part])
    return work.filter(node, trees[0])


def _strict_scalars(tree: Tree) -> list[Tree]:
    """Return the scalar subqueries of a comparison that is not TRUE where they are NULL."""
    if tree.get("class") != "COMPARISON" or "DISTINCT" in tree["type"]:
        return []
    found = []
    rest = [tree["left"], tree["right"]]
    while rest:
        part = rest.pop()
        if part.get("class") == "PENDING" and part["spec"].kind == "SCALAR":
            found.append(part)
        elif part.get("class") == "CAST" and not part["try_cast"]:
            rest.append(part["child"])
        elif part.get("is_operator") and part["function_name"] in ("+", "-", "*", "/"):
            rest += [item["expression"] for item in part["arguments"]]
    return found


def _match(work: Work, node: Node, pending: Tree, *, negated: bool) -> Node | None:
    """Return the rows of a semi or anti join; None where there must be a value."""
    spec: Spec = pending["spec"]
    if spec.kind == "NOT_EXISTS":
        negated = not negated
    if spec.kind == "ANY" and spec.comparison != "COMPARE_EQUAL":
        return None
    is_row = spec.kind == "ANY" and len(row_parts(pending["child"])) > 1
    if spec.kind == "ANY" and negated and spec.names and not is_row:
        return None
    if spec.kind != "ANY" and not spec.names:
        return None
    words = "ANTI JOIN" if negated else "SEMI JOIN"
    if spec.kind == "ANY":
        node, pending = _with_child(work, node, pending)
    opened = None if is_row and negated else _opened(work, pending)
    if opened is not None:
        rows, conditions = opened
        condition = work.expr(Schema.of([*node.schema, *rows.schema]), conjunction(conditions))
        return other_join(node, rows, words, condition)
    answer = inside(work, node, pending)
    if spec.kind != "ANY":
        if answer.is_always:
            return work.filter(node, TRUE if not negated else FALSE)
        return joined(work, node, pending, answer, [], words)
    if is_row and negated:
        maybe = [_maybe(tree) for tree in _equalities(pending, answer)]
        return joined(work, node, pending, answer, maybe, words)
    if negated:
        return _not_in(work, node, pending, answer)
    return joined(work, node, pending, answer, _equalities(pending, answer), words)


def _with_child(work: Work, node: Node, pending: Tree) -> tuple[Node, Tree]:
    """Return the node with the values on the left of IN, subqueries in them included."""
    if has_pending(pending["child"]):
        node, [child] = attach(work, node, [pending["child"]])
        pending = pending | {"child": child}
    return node, pending


def _equalities(pending: Tree, answer: Bound) -> list[Tree]:
    values = row_parts(pending["child"])
    if len(values) != len(answer.columns):
        raise NotPlanned("IN over rows of one column")
    pairs = zip(values, answer.columns, strict=True)
    return [comparison("COMPARE_EQUAL", value, bound(col.name)) for value, col in pairs]


def _maybe(equality: Tree) -> Tree:
    """Return whether two values are equal, or may be, as one of them is NULL."""
    nulls = [operator("OPERATOR_IS_NULL", [side]) for side in (equality["left"], equality["right"])]
    return disjunction([equality, *nulls])


def _opened(work: Work, pending: Tree) -> tuple[Node, list[Tree]] | None:
    """Return the rows inside and the conditions that tie them to the rows outside, for a plain SELECT."""
    from headrace.sql.bind.select import open_select  # the two modules call each other

    spec: Spec = pending["spec"]
    if not spec.names:
        return None
    opened = open_select(work, spec, wants_values=spec.kind == "ANY")
    if opened is None:
        return None
    rows, conditions, values = opened
    here = dict(zip(spec.names, pending["reads"], strict=True))
    if spec.kind == "ANY":
        wanted = row_parts(pending["child"])
        if len(wanted) != len(values):
            raise NotPlanned("IN over rows of one column")
        conditions = [*conditions, *(_eq(w, v) for w, v in zip(wanted, values, strict=True))]
    placed = [
        rewrite(tree, lambda part: here.get(part["name"]) if part.get("class") == "BOUND" else None)
        for tree in conditions
    ]
    return rows, placed


def _eq(left: Tree, right: Tree) -> Tree:
    return comparison("COMPARE_EQUAL", left, right)


def _not_in(work: Work, node: Node, pending: Tree, answer: Bound) -> Node:
    """NOT IN over an uncorrelated subquery: an anti join, and what NULLs on either side forbid."""
    value = row_parts(pending["child"])[0]
    left = joined(work, node, pending, answer, _equalities(pending, answer), "ANTI JOIN")
    facts, some, nulls = _facts(work, answer)
    node = crossed_one(left, facts.node)
    known = conjunction([operator("OPERATOR_IS_NOT_NULL", [value]), operator("OPERATOR_NOT", [bound(nulls)])])
    return work.filter(node, disjunction([operator("OPERATOR_NOT", [bound(some)]), known]))


def _facts(work: Work, answer: Bound, extremes: str | None = None) -> tuple[Bound, str, str]:
    """Return per key whether there are values, whether one of them is NULL, and their least and greatest.

    They are flags, so that a change inside reaches the rows outside only when one of them turns.
    """
    value = answer.columns[0].name
    rows, known = work.names.fresh("rows"), work.names.fresh("known")
    some, nulls = work.names.fresh("some"), work.names.fresh("nulls")
    calls: list[tuple[str, str, str | None]] = [(rows, "count_star", None), (known, "count", value)]
    ends = [work.names.fresh(name) for name in ("least", "greatest")] if extremes else []
    calls += [(name, func, value) for name, func in zip(ends, ("min", "max"), strict=False)]
    counted = aggregated(work, answer.node, answer.keys, calls)
    items = [(key, bound(key)) for key in answer.keys]
    items += [(some, comparison("COMPARE_GREATERTHAN", bound(rows), integer(0)))]
    items += [(nulls, comparison("COMPARE_LESSTHAN", bound(known), bound(rows)))]
    items += [(name, bound(name)) for name in ends]
    return replace(answer, node=work.project(counted, items), missing=()), some, nulls


def any_value(work: Work, node: Node, pending: Tree) -> tuple[Node, Tree]:
    """Return the node joined with what `x op ANY (…)` needs, and the expression for it."""
    child = pending["child"]
    if len(row_parts(child)) > 1:
        raise NotPlanned("IN over rows")
    name = work.names.fresh("value")
    node = work.extended(node, [(name, child)])
    pending = pending | {"child": bound(name)}
    answer = inside(work, node, pending)
    common = work.duck.comparison_type(node.schema[name].sql_type, answer.columns[0].sql_type)
    if common is None:
        raise NotPlanned("IN over types that have no common one")
    if pending["spec"].comparison == "COMPARE_EQUAL":
        node, test = _matched(work, node, pending, answer)
        node, facts = _join_facts(work, node, pending, _facts(work, answer))
    else:
        answer = _cast(work, answer, common)
        found = _facts(work, answer, "both")
        least, greatest = found[0].node.schema.names[-2:]
        node, facts = _join_facts(work, node, pending, found)
        test = _extreme_test(pending["spec"].comparison, raw_cast(bound(name), common), least, greatest)
    some, nulls = facts
    unknown = disjunction([operator("OPERATOR_IS_NULL", [bound(name)]), nulls])
    empty = operator("OPERATOR_NOT", [some])
    return node, case_of([(empty, FALSE), (test, TRUE), (unknown, raw_cast(NULL, "BOOLEAN"))], FALSE)


def _cast(work: Work, answer: Bound, common: str) -> Bound:
    value = answer.columns[0]
    if value.sql_type == common:
        return answer
    name = work.names.fresh(value.name)
    node = work.extended(answer.node, [(name, raw_cast(bound(value.name), common))])
    return replace(answer, node=node, columns=(replace(value, name=name, sql_type=common),))


def _matched(work: Work, node: Node, pending: Tree, answer: Bound) -> tuple[Node, Tree]:
    marks, mark = marked(work, answer, [answer.columns[0].name])
    node = joined(work, node, pending, marks, _equalities(pending, answer), "LEFT JOIN")
    return node, operator("OPERATOR_IS_NOT_NULL", [bound(mark)])


def _join_facts(
    work: Work, node: Node, pending: Tree, found: tuple[Bound, str, str]
) -> tuple[Node, tuple[Tree, Tree]]:
    """Join the facts; a row outside whose keys have none stands before an empty inside."""
    facts, some, nulls = found
    if not facts.keys:
        return crossed_one(node, facts.node), (bound(some), bound(nulls))
    keys = [work.names.fresh(key) for key in facts.keys]
    rest = facts.node.schema.names[len(keys) :]
    items = [(new, bound(old)) for new, old in zip(keys, facts.keys, strict=True)]
    own = replace(
        facts, node=work.project(facts.node, [*items, *((n, bound(n)) for n in rest)]), keys=tuple(keys)
    )
    node = joined(work, node, pending, own, [], "LEFT JOIN")
    return node, (operator("OPERATOR_IS_NOT_NULL", [bound(some)]), bound(nulls))


def _extreme_test(kind: str, value: Tree, least: str, greatest: str) -> Tree:
    if kind in _LEAST:
        return comparison(kind, value, bound(least))
    if kind in _GREATEST:
        return comparison(kind, value, bound(greatest))
    if kind == "COMPARE_NOTEQUAL":
        return disjunction([comparison(kind, value, bound(end)) for end in (least, greatest)])
    raise NotPlanned("a comparison with ANY")
