"""Calls of Python functions become columns of a node of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from headrace.contracts.schema import Schema
from headrace.errors import UnsupportedSql
from headrace.functions import ROWS_SUFFIX
from headrace.sql.bind.work import TreeExpr, Work, reference
from headrace.sql.duck import column
from headrace.sql.passes.rebuild import bottom_up, tree_of
from headrace.sql.plan import Expr, Filter, FunctionCall, Join, Node, Project, PythonCall
from headrace.sql.python_functions import Functions, calls_in, of_rows
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, arguments, bound, function_name, raw_cast, rewrite


def python_calls(work: Work, root: Node) -> Node:
    """Return the plan with every call of a declared function as a column of a node of its own.

    Raises:
        UnsupportedSql: one stands where rows cannot be computed one by one, such as in a join's condition.
    """
    functions = {name: of_rows(f) if f.is_aggregate else f for name, f in work.functions.items()}
    functions = {function.name: function for function in functions.values()}
    if not functions:
        return root
    root = bottom_up(root, lambda node: _extracted(work, node, functions))
    _refuse_the_rest(work, root, functions)
    return root


def _extracted(work: Work, node: Node, functions: Functions) -> Node:
    if isinstance(node, Project):
        source, exprs = _columns(work, node.input, node.exprs, functions)
        return node if source is node.input else replace(node, input=source, exprs=exprs)
    if isinstance(node, Join) and node.residual is not None:
        if not any(True for _ in calls_in(tree_of(node.residual), functions)):
            return node
        node = Filter(node.schema, replace(node, residual=None), node.residual)
    if isinstance(node, Filter):
        source, exprs = _columns(work, node.input, [node.predicate], functions)
        if source is node.input:
            return node
        kept = tuple(reference(c.name, c.sql_type) for c in node.schema)
        return Project(node.schema, Filter(source.schema, source, exprs[0]), kept)
    return node


def _columns(
    work: Work, source: Node, exprs: Sequence[Expr], functions: Functions
) -> tuple[Node, tuple[Expr, ...]]:
    """Return the node with a column per call, innermost calls first, and the expressions over it."""
    trees = [tree_of(expr) for expr in exprs]
    while True:
        found = {
            work.render(call): call
            for tree in trees
            for call in calls_in(tree, functions)
            if not any(call is not inner for inner in calls_in(call, functions))
        }
        if not found:
            break
        source, names = _called(work, source, found, functions)
        trees = [rewrite(tree, partial(_as_column, work, names, functions)) for tree in trees]
    made = zip(exprs, trees, strict=True)
    return source, tuple(TreeExpr(work.render(t), columns_of(t), e.sql_type, t) for e, t in made)


def _as_column(work: Work, names: Mapping[str, str], functions: Functions, part: Tree) -> Tree | None:
    if part.get("class") != "FUNCTION" or function_name(part) not in functions:
        return None
    name = names.get(work.render(part))
    return None if name is None else bound(name)


def _called(
    work: Work, source: Node, found: Mapping[str, Tree], functions: Functions
) -> tuple[Node, dict[str, str]]:
    extra: dict[str, tuple[str, Tree]] = {}
    calls, names = [], {}
    for text, call in found.items():
        function = functions[function_name(call)]
        args = []
        for arg, kind in zip(arguments(call), function.args, strict=True):
            cast = raw_cast(arg, kind)
            name, _ = extra.setdefault(work.render(cast), (work.names.fresh(f"{function.name}_arg"), cast))
            args.append(name)
        names[text] = work.names.fresh(function.name)
        calls.append(FunctionCall(names[text], function, tuple(args)))
    below = work.extended(source, list(extra.values()))
    answers = [column(call.name, call.function.returns) for call in calls]
    return PythonCall(Schema((*below.schema.columns, *answers)), below, tuple(calls)), names


def _refuse_the_rest(work: Work, root: Node, functions: Functions) -> None:
    words = re.compile(r"\b(" + "|".join(map(re.escape, functions)) + r")\b\"?\(", re.IGNORECASE)
    for node in root.walk():
        found = None if isinstance(node, PythonCall) else words.search(_shown(node))
        if found:
            name = found[1].removesuffix(ROWS_SUFFIX)
            raise work.text.error(
                f"the Python function {name}() stands where this planner cannot compute it row by row",
                kind=UnsupportedSql,
                hint=f"compute {name}(…) AS a column in a view of its own, and use that column here",
            )


def _shown(node: Node) -> str:
    """Return the SQL that a node evaluates; projections and filters have no calls left."""
    if isinstance(node, Project | Filter):
        return ""
    parts = [
        *getattr(node, "calls", ()),
        getattr(node, "residual", None),
        getattr(node, "condition", None),
        node,
    ]
    return " ".join(str(getattr(part, "sql", "")) for part in parts)
