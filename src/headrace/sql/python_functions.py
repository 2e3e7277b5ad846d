"""Calls of Python functions in a view's SQL: how DuckDB types them, and how they become columns.

DuckDB itself never runs them while planning: it sees a macro of the same name and types. A call in a SELECT
or a WHERE becomes a column of a `PythonCall` node below. An aggregate function is a scalar function of a
list: `f(x, y)` stands for `f__rows(list(row(x, y)))`, so that FILTER, DISTINCT, ORDER BY and retractions mean
there what they mean in `list`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from headrace.functions import ROWS_SUFFIX, PythonFunction
from headrace.sql.duck import Duck, quote
from headrace.sql.errors import Text
from headrace.sql.tree import Tree, arguments, function_name, rewrite, walk

Functions = Mapping[str, PythonFunction]
"""Declared functions by lower-case name."""


def declare_functions(duck: Duck, functions: Functions) -> None:
    """Let DuckDB know names and types of the functions, for this planning."""
    for function in functions.values():
        names = [f"a{at}" for at in range(len(function.args))]
        casts = [f"CAST({name} AS {kind})" for name, kind in zip(names, function.args, strict=True)]
        tests = [f"{f'count({cast})' if function.is_aggregate else cast} IS NULL" for cast in casts]
        _macro(duck, function.name, names, tests, function.returns)
        if function.is_aggregate:
            test = f"CAST(a0 AS {rows_type(function)}) IS NULL"
            _macro(duck, function.name + ROWS_SUFFIX, ["a0"], [test], function.returns)


def _macro(duck: Duck, name: str, names: Sequence[str], tests: Sequence[str], returns: str) -> None:
    body = f"CASE WHEN {' AND '.join(tests)} THEN CAST(NULL AS {returns}) END"
    duck.define(f"CREATE OR REPLACE TEMP MACRO {quote(name)}({', '.join(names)}) AS {body}")


def rows_type(function: PythonFunction) -> str:
    """Return the SQL type of the rows that an aggregate function takes in."""
    if len(function.args) == 1:
        return f"{function.args[0]}[]"
    fields = ", ".join(f"a{at} {kind}" for at, kind in enumerate(function.args))
    return f"STRUCT({fields})[]"


def of_rows(function: PythonFunction) -> PythonFunction:
    """Return an aggregate function as the scalar function of a list of rows."""
    return replace(function, name=function.name + ROWS_SUFFIX, args=(rows_type(function),))


def known(functions: Functions, name: str) -> PythonFunction | None:
    """Return a declared function by its name; behind an aggregate's name, that of lists of rows."""
    found = functions.get(name.removesuffix(ROWS_SUFFIX))
    return of_rows(found) if found is not None and name.endswith(ROWS_SUFFIX) else found


def calls_in(tree: Tree, functions: Functions) -> Iterator[Tree]:
    """Yield every call of a declared function."""
    for part in walk(tree):
        if part.get("class") in ("FUNCTION", "WINDOW") and function_name(part) in functions:
            yield part


def refuse_windows(text: Text, called: Sequence[Tree]) -> None:
    """Refuse a Python function with OVER.

    Raises:
        UnsupportedSql: naming it, line and column.
    """
    for call in called:
        if call["class"] == "WINDOW":
            hint = "GROUP BY in a view of its own, and a join with it"
            raise text.unsupported(call, f"the Python function {function_name(call)}() has no OVER", hint)


def written_out(duck: Duck, tree: Tree, functions: Functions) -> Tree:
    """Return the query with aggregate functions as functions of lists."""

    def change(part: Tree) -> Tree | None:
        if part.get("class") != "FUNCTION" or part.get("is_operator"):
            return None
        function = functions.get(function_name(part))
        if function is None or not function.is_aggregate or len(arguments(part)) != len(function.args):
            return None
        args = [rewrite(arg, change) for arg in arguments(part)]
        holes = [f"__hole{at}" for at in range(len(args))]
        fields = ", ".join(f"a{at} := {hole}" for at, hole in enumerate(holes))
        row = holes[0] if len(holes) == 1 else f"struct_pack({fields})"
        listed = _filled(duck, f"list({row})", args)
        modifiers = {key: part[key] for key in ("distinct", "filter", "order_bys")}
        whole = _filled(duck, f"{function.name}{ROWS_SUFFIX}(__hole0)", [listed | modifiers])
        return whole | {"alias": part.get("alias", "")}

    return rewrite(tree, change)


def _filled(duck: Duck, template: str, args: Sequence[Tree]) -> Tree:
    """Return an expression, parsed by DuckDB, with trees in the place of `__hole0`, `__hole1`, …"""
    made = duck.parse(f"SELECT {template}")["statements"][0]["node"]["select_list"][0]

    def change(part: Tree) -> Tree | None:
        if part.get("class") != "COLUMN_REF" or not str(part["column_names"][0]).startswith("__hole"):
            return None
        return args[int(str(part["column_names"][0])[len("__hole") :])] | {"alias": part.get("alias", "")}

    return rewrite(made, change)
