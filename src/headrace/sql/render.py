"""Scalar expressions as SQL text: every identifier quoted, operators in parentheses, nothing qualified."""

from __future__ import annotations

from collections.abc import Callable

from headrace.sql.duck import Duck, quote
from headrace.sql.functions import LAMBDA_FUNCTIONS
from headrace.sql.tree import (
    Tree,
    arguments,
    column_ref,
    function_name,
    is_descending,
    is_nulls_first,
    rewrite,
    select_of,
    walk,
)

COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}

_LIKES = {"~~": "LIKE", "!~~": "NOT LIKE", "~~*": "ILIKE", "!~~*": "NOT ILIKE"}
_PREFIX = frozenset({"-", "~", "+"})
_INFIX = frozenset(
    {
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "**",
        "^",
        "||",
        "<<",
        ">>",
        "&",
        "|",
        "->>",
        "->",
        "^@",
        "&&",
        "@>",
        "<@",
    }
)


class Renderer:
    """Writes expressions; what is rare is printed by DuckDB itself.

    Args:
        duck: the scratch database.
    """

    def __init__(self, duck: Duck) -> None:
        self.duck = duck
        self._by_class: dict[str, Callable[[Tree], str | None]] = {
            "BOUND": lambda tree: quote(tree["name"]),
            "COLUMN_REF": _column_ref,
            "CONSTANT": _constant,
            "COMPARISON": self._comparison,
            "CONJUNCTION": self._conjunction,
            "OPERATOR": self._operator,
            "CASE": self._case,
            "CAST": self._cast,
            "RAW_CAST": lambda tree: f"CAST({self(tree['child'])} AS {tree['sql_type']})",
            "PENDING": self._pending,
            "BETWEEN": self._between,
            "FUNCTION": self._function,
            "LAMBDA": self._lambda,
            "COLLATE": lambda tree: f"({self(tree['child'])} COLLATE {tree['collation']})",
        }

    def __call__(self, tree: Tree) -> str:
        """Return the SQL of a scalar expression, an aggregate call or a lambda."""
        write = self._by_class.get(tree["class"])
        text = write(tree) if write else None
        return text if text is not None else self.by_duckdb(tree)

    def by_duckdb(self, tree: Tree) -> str:
        """Return the expression as DuckDB prints it."""
        plain = rewrite(tree, self._for_duckdb)
        return self.duck.text(select_of([plain | {"alias": ""}]))[len("SELECT ") :]

    def _for_duckdb(self, part: Tree) -> Tree | None:
        if part.get("class") == "BOUND":
            return column_ref(part["name"])
        if part.get("class") == "RAW_CAST":
            parsed = self.duck.parse(f"SELECT CAST(NULL AS {part['sql_type']})")
            made: Tree = parsed["statements"][0]["node"]["select_list"][0]
            return made | {"child": rewrite(part["child"], self._for_duckdb)}
        return None

    def order(self, item: Tree) -> str:
        """Return one item of an ORDER BY."""
        direction = "DESC" if is_descending(item) else "ASC"
        nulls = "FIRST" if is_nulls_first(item) else "LAST"
        return f"{self(item['expression'])} {direction} NULLS {nulls}"

    def _list(self, trees: list[Tree]) -> str:
        return ", ".join(self(tree) for tree in trees)

    def _comparison(self, tree: Tree) -> str | None:
        sign = COMPARISONS.get(tree["type"])
        return f"({self(tree['left'])} {sign} {self(tree['right'])})" if sign else None

    def _conjunction(self, tree: Tree) -> str:
        word = " AND " if tree["type"] == "CONJUNCTION_AND" else " OR "
        return "(" + word.join(self(child) for child in tree["children"]) + ")"

    def _operator(self, tree: Tree) -> str | None:
        kind, parts = tree["type"], tree["children"]
        if kind == "OPERATOR_NOT":
            return f"(NOT {self(parts[0])})"
        if kind == "OPERATOR_IS_NULL":
            return f"({self(parts[0])} IS NULL)"
        if kind == "OPERATOR_IS_NOT_NULL":
            return f"({self(parts[0])} IS NOT NULL)"
        if kind in ("COMPARE_IN", "COMPARE_NOT_IN"):
            word = "IN" if kind == "COMPARE_IN" else "NOT IN"
            return f"({self(parts[0])} {word} ({self._list(parts[1:])}))"
        if kind == "OPERATOR_COALESCE":
            return f"COALESCE({self._list(parts)})"
        if kind == "ARRAY_EXTRACT":
            return f"{self(parts[0])}[{self(parts[1])}]"
        return None

    def _case(self, tree: Tree) -> str:
        checks = "".join(
            f" WHEN {self(check['when_expr'])} THEN {self(check['then_expr'])}"
            for check in tree["case_checks"]
        )
        return f"CASE{checks} ELSE {self(tree['else_expr'])} END"

    def _cast(self, tree: Tree) -> str:
        word = "TRY_CAST" if tree["try_cast"] else "CAST"
        return f"{word}({self(tree['child'])} AS {self._type(tree)})"

    def _type(self, tree: Tree) -> str:
        kind = tree["type_expr"]
        simple = kind.get("class") == "TYPE" and not kind.get("children") and not kind.get("schema")
        if simple and str(kind["type_name"]).replace("_", "a").isalnum():
            return str(kind["type_name"]).upper()
        null = {
            "class": "CONSTANT",
            "type": "VALUE_CONSTANT",
            "alias": "",
            "literal": {"kind": "NULL_LITERAL"},
        }
        printed = self.by_duckdb(tree | {"child": null, "try_cast": False})
        return printed[len("CAST(NULL AS ") : -1]

    def _pending(self, tree: Tree) -> str:
        """Name a subquery that is not attached yet; equal ones have equal names."""
        child = f"{self(tree['child'])} {tree['spec'].comparison} " if tree["child"] is not None else ""
        return f"{child}{tree['type']} ({tree['text']}) [{self._list(tree['reads'])}]"

    def _between(self, tree: Tree) -> str:
        return f"({self(tree['input'])} BETWEEN {self(tree['lower'])} AND {self(tree['upper'])})"

    def _function(self, tree: Tree) -> str | None:
        name, args = function_name(tree), arguments(tree)
        if tree.get("is_operator"):
            return self._infix(name, args)
        if name == "count_star" and not args:
            return "count(*)" + self._filter(tree)
        if tree["order_bys"]["orders"] and _is_within_group(name, args):
            order = ", ".join(self.order(item) for item in tree["order_bys"]["orders"])
            function = {"quantile_cont": "percentile_cont", "quantile_disc": "percentile_disc"}.get(
                name, name
            )
            return f"{function}({self._list(args)}) WITHIN GROUP (ORDER BY {order})" + self._filter(tree)
        return f"{_function_path(tree)}({self._inside(name, tree)})" + self._filter(tree)

    def _infix(self, name: str, args: list[Tree]) -> str | None:
        if len(args) == 1 and name in _PREFIX:
            return f"({name}{self(args[0])})"
        if len(args) == 2 and (name in _INFIX or name in _LIKES):
            return f"({self(args[0])} {_LIKES.get(name, name)} {self(args[1])})"
        return None

    def _inside(self, name: str, tree: Tree) -> str:
        parts = []
        for item in tree["arguments"]:
            value = item["expression"]
            is_lambda = value.get("class") == "LAMBDA" and name in LAMBDA_FUNCTIONS
            text = self.by_lambda(value) if is_lambda else self(value)
            parts.append(f"{quote(item['name'])} := {text}" if item.get("name") else text)
        inside = ("DISTINCT " if tree.get("distinct") else "") + ", ".join(parts)
        orders = tree["order_bys"]["orders"]
        return inside + (" ORDER BY " + ", ".join(self.order(item) for item in orders) if orders else "")

    def _filter(self, tree: Tree) -> str:
        return f" FILTER (WHERE {self(tree['filter'])})" if tree.get("filter") else ""

    def by_lambda(self, tree: Tree) -> str:
        """Return a lambda."""
        names = lambda_parameters(tree)
        return f"lambda {', '.join(quote(name) for name in names)}: {self(tree['expr'])}"

    def _lambda(self, tree: Tree) -> str | None:
        if tree.get("syntax_type") == "LAMBDA_KEYWORD":
            return self.by_lambda(tree)
        return f"({self(tree['lhs'])} -> {self(tree['expr'])})"


def lambda_parameters(tree: Tree) -> list[str]:
    """Return the names of a lambda's parameters."""
    lhs = tree["lhs"]
    references = [lhs] if lhs["class"] == "COLUMN_REF" else arguments(lhs)
    return [str(reference["column_names"][-1]) for reference in references]


def columns_of(tree: Tree) -> tuple[str, ...]:
    """Return the plan columns that a resolved expression reads, in order of appearance."""
    return tuple(dict.fromkeys(str(part["name"]) for part in walk(tree) if part.get("class") == "BOUND"))


def _is_within_group(name: str, args: list[Tree]) -> bool:
    return (name == "mode" and not args) or (name in ("quantile_cont", "quantile_disc") and len(args) == 1)


def _function_path(tree: Tree) -> str:
    path = (tree.get("qualified_name") or {}).get("path") or [tree["function_name"]]
    return ".".join(_plain_or_quoted(str(part)) for part in path)


def _plain_or_quoted(name: str) -> str:
    lower = name.lower()
    if lower.replace("_", "a").isalnum() and lower.isascii() and not lower[0].isdigit() and lower != "row":
        return lower
    return quote(name)


def _column_ref(tree: Tree) -> str:
    return ".".join(quote(str(name)) for name in tree["column_names"])


def _constant(tree: Tree) -> str | None:
    literal = tree.get("literal")
    if not literal:
        return None
    kind, text = literal["kind"], str(literal.get("text", ""))
    if kind in ("INTEGER", "NUMERIC"):
        return f"({text})" if text.startswith("-") else text
    if kind == "STRING":
        return "'" + text.replace("'", "''") + "'"
    return {"BOOLEAN": text.upper(), "NULL_LITERAL": "NULL"}.get(kind)
