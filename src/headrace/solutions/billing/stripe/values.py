"""Reading Stripe's values: expandable references, seconds, decimals, lists that may be cut."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from headrace.errors import BadRequest

Object = Mapping[str, Any]
EMPTY: Object = {}


def ident(value: Any) -> str | None:
    """Return the id of what may be an id, an expanded object, or nothing."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and value else None


def must(found: Object, name: str) -> Any:
    """Return a field that an object cannot be without.

    Raises:
        BadRequest: it is not there.
    """
    value = found.get(name)
    if value is None or value == "":
        kind = found.get("object", "object")
        raise BadRequest(f"a {kind} without {name}"[:200], where=str(found.get("id"))[:100], expected=name)
    return value


def inner(value: Any, *path: str) -> Any:
    """Return what lies at the end of a path of fields, or None where it breaks off."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def moment(value: Any) -> datetime | None:
    """Return seconds since the epoch as a time.

    Raises:
        BadRequest: they are no such number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{value!r:.100} is no time", expected="seconds since 1970")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise BadRequest(f"{value!r:.100} is no time", expected="seconds since 1970") from None


def exact(text: Any, whole: Any = None) -> Decimal | None:
    """Return an amount from its decimal text, or else from the whole number beside it.

    Raises:
        BadRequest: it is no number.
    """
    value = whole if text is None else text
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise BadRequest(f"{value!r:.100} is no amount", expected="a decimal number")
    return number


def listed(value: Any) -> list[Object]:
    """Return the objects of a list object, of a plain list, or of nothing; bare ids are left out."""
    found = value.get("data") if isinstance(value, Mapping) else value
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def is_whole(value: Any) -> bool:
    """Whether a list object holds all there is: Stripe cuts long ones."""
    return isinstance(value, Mapping) and isinstance(value.get("data"), list) and not value.get("has_more")


def currency(found: Object) -> str:
    """Return the currency of an object, in small letters."""
    return str(must(found, "currency")).lower()
