"""What a condition says before any row is read: from the parameters and constants in it alone.

A query that can be asked in several ways says so in conditions such as `$by IS NULL`, and reads for each way
what only that one needs. Where such a condition is not true, no row of its FROM is seen, and none need be
read. A condition is looked into where it is sure what DuckDB makes of it, with NULLs as SQL has them: texts,
integers and booleans that are compared with those of their own type, AND, OR, NOT, IN, IS NULL, coalesce.
Whatever else stands there may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any, Final

TEXTS: Final = frozenset({"TEXT", "VARCHAR", "STRING"})
_PLAIN = frozenset({str, int, bool, float, date, datetime})
"""Types of values that are never NULL, and stay so when they are cast."""


class Unsure(Enum):
    """What is no constant here.

    Attributes:
        ANYTHING: it may be any value, or NULL.
        VALUE: it may be any value, but is not NULL.
    """

    ANYTHING = "anything"
    VALUE = "value"


class Null(Enum):
    """NULL, by what it is a NULL of: DuckDB compares and picks values as of the type that all of them have.

    Attributes:
        PLAIN: of no type, as it is written or given.
        TEXT: of a text.
        TRUTH: of a boolean.
        OTHER: of anything else.
    """

    PLAIN = "plain"
    TEXT = "text"
    TRUTH = "truth"
    OTHER = "other"


Values = Mapping[str, Any]
Told = Callable[[Values], Any]
"""Takes values of parameters; returns a text, an integer, a boolean, a `Null`, or `Unsure`."""
_FAMILIES: Mapping[Any, Any] = {str: Null.TEXT, bool: Null.TRUTH, int: int}


def told(part: Mapping[str, Any] | None) -> Told | None:
    """Return what an expression of DuckDB's parse tree says; None: nothing, whatever the parameters are."""
    if not part:
        return None
    kind, group = part.get("type"), part.get("class")
    if group == "PARAMETER":
        return _parameter(str(part["identifier"]))
    if group == "CONSTANT":
        return _constant(part.get("literal") or {})
    if kind == "OPERATOR_CAST" and not part.get("try_cast"):
        return _cast(part)
    if kind in ("COMPARE_EQUAL", "COMPARE_NOTEQUAL"):
        return _compared(part, wants_equal=kind == "COMPARE_EQUAL")
    make = _OF_CHILDREN.get(str(kind))
    children = [told(child) for child in part.get("children") or ()]
    return None if make is None or not any(children) else make([one or _anything for one in children])


def is_true(condition: Told, values: Values) -> bool:
    """Whether a condition of a WHERE may let a row pass."""
    found = condition(values)
    return found is not False and not isinstance(found, Null)


def _anything(_: Values) -> Any:
    return Unsure.ANYTHING


def _are_alike(values: Sequence[Any]) -> bool:
    """Whether all are of one type, so that none is cast when they are put beside each other."""
    kinds = {one if isinstance(one, Null) else _FAMILIES.get(type(one), Null.OTHER) for one in values}
    return Null.OTHER not in kinds and len(kinds - {Null.PLAIN}) <= 1


def _parameter(name: str) -> Told:
    def given(values: Values) -> Any:
        found = values.get(name, Unsure.ANYTHING)
        if found is None:
            return Null.PLAIN
        if type(found) is str and not is_unicode(found):
            return Unsure.ANYTHING
        if type(found) in _FAMILIES:
            return found
        return Unsure.VALUE if type(found) in _PLAIN else Unsure.ANYTHING

    return given


def is_unicode(text: str) -> bool:
    """Whether a text is one for DuckDB: it takes none with half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _constant(literal: Mapping[str, Any]) -> Told | None:
    kind, text = literal.get("kind"), str(literal.get("text"))
    known: dict[Any, Any] = {"NULL_LITERAL": Null.PLAIN}
    if kind == "STRING":
        known[kind] = text
    elif kind == "INTEGER":
        known[kind] = int(text)
    elif kind == "BOOLEAN" and text in ("true", "false"):
        known[kind] = text == "true"
    return (lambda _: known[kind]) if kind in known else None


def _cast(part: Mapping[str, Any]) -> Told | None:
    inner, kind = told(part.get("child")), str((part.get("type_expr") or {}).get("type_name")).upper()
    if inner is None:
        return None
    family = Null.TEXT if kind in TEXTS else Null.TRUTH if kind in ("BOOLEAN", "BOOL") else Null.OTHER

    def cast(values: Values) -> Any:
        found = inner(values)
        if isinstance(found, Null):
            return family
        return found if _FAMILIES.get(type(found)) is family or isinstance(found, Unsure) else Unsure.VALUE

    return cast


def _equals(one: Any, other: Any) -> Any:
    """Return whether two values are equal, as SQL has it."""
    if isinstance(one, Null) or isinstance(other, Null):
        return Null.TRUTH
    return one == other if _are_alike((one, other)) else Unsure.ANYTHING


def _compared(part: Mapping[str, Any], *, wants_equal: bool) -> Told | None:
    left, right = told(part.get("left")), told(part.get("right"))
    if left is None and right is None:
        return None
    one, other = left or _anything, right or _anything

    def compared(values: Values) -> Any:
        found = _equals(one(values), other(values))
        return found == wants_equal if isinstance(found, bool) else found

    return compared


def _one_of(children: list[Told]) -> Told:
    def one_of(values: Values) -> Any:
        mine, *listed = [one(values) for one in children]
        if not _are_alike([mine, *listed]):
            return Unsure.ANYTHING
        return _any_of(_equals(mine, one) for one in listed)

    return one_of


def _any_of(found: Iterable[Any]) -> Any:
    """Return whether any of several is true."""
    so_far: Any = False
    for one in found:
        if one is True:
            return True
        if one is not False and so_far is not Unsure.ANYTHING:
            so_far = Null.TRUTH if isinstance(one, Null) else Unsure.ANYTHING
    return so_far


def _or(children: list[Told]) -> Told:
    return lambda values: _any_of(one(values) for one in children)


def _and(children: list[Told]) -> Told:
    return lambda values: _inverse(_any_of(_inverse(one(values)) for one in children))


def _not(children: list[Told]) -> Told:
    return lambda values: _inverse(children[0](values))


def _inverse(found: Any) -> Any:
    if isinstance(found, bool):
        return not found
    return Null.TRUTH if isinstance(found, Null) else Unsure.ANYTHING


def _is_null(children: list[Told]) -> Told:
    def is_null(values: Values) -> Any:
        found = children[0](values)
        return found if found is Unsure.ANYTHING else isinstance(found, Null)

    return is_null


def _is_not_null(children: list[Told]) -> Told:
    return _not([_is_null(children)])


def _first(children: list[Told]) -> Told:
    def first(values: Values) -> Any:
        found = [one(values) for one in children]
        if not _are_alike(found):
            return Unsure.ANYTHING
        nulls = [one for one in found if isinstance(one, Null)]
        there = (one for one in found if not isinstance(one, Null))
        return next(there, max(nulls, key=lambda null: null is not Null.PLAIN, default=Null.PLAIN))

    return first


_OF_CHILDREN: Mapping[str, Callable[[list[Told]], Told]] = {
    "COMPARE_IN": _one_of,
    "CONJUNCTION_OR": _or,
    "CONJUNCTION_AND": _and,
    "OPERATOR_NOT": _not,
    "OPERATOR_IS_NULL": _is_null,
    "OPERATOR_IS_NOT_NULL": _is_not_null,
    "OPERATOR_COALESCE": _first,
}
