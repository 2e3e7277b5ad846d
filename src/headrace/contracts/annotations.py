"""What stands beside a type in a model: `hr.decimal`, `hr.pii`, `hr.event_time`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from headrace.contracts.durations import Duration, duration
from headrace.errors import DeclarationError


@dataclass(frozen=True, slots=True)
class DecimalDigits:
    """The digits of a DECIMAL column; made by `decimal`."""

    precision: int
    scale: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let the model itself refuse values with more digits, as the column does."""
        schema: dict[str, Any] = dict(handler(source))
        inner = schema
        while inner.get("type") in ("nullable", "default"):
            inner["schema"] = dict(inner["schema"])
            inner = inner["schema"]
        if inner.get("type") == "decimal":
            inner |= {"max_digits": self.precision, "decimal_places": self.scale}
        return schema


@dataclass(frozen=True, slots=True)
class Pii:
    """A column that holds personal data; made by `pii`."""

    tag: str


@dataclass(frozen=True, slots=True)
class EventTime:
    """The column of event time; made by `event_time`. None: the default of `App.stream`."""

    lateness: timedelta | None = None
    idle_after: timedelta | None = None
    max_ahead: timedelta | None = None


def decimal(precision: int, scale: int = 0) -> DecimalDigits:
    """Annotate a `Decimal` with its digits: `Annotated[Decimal, hr.decimal(18, 2)]` is DECIMAL(18,2).

    Args:
        precision: all digits, 1 to 38.
        scale: digits after the point, 0 to `precision`.

    Raises:
        DeclarationError: digits that no DECIMAL can have.
    """
    if not 1 <= precision <= 38 or not 0 <= scale <= precision:
        raise DeclarationError(
            f"decimal({precision}, {scale}) cannot be",
            expected="1 to 38 digits, of which 0 to all stand after the point",
        )
    return DecimalDigits(precision, scale)


def pii(tag: str) -> Pii:
    """Annotate a field as personal data: `Annotated[str, hr.pii("email")]`; the tag names the kind of data.

    Raises:
        DeclarationError: an empty tag.
    """
    if not isinstance(tag, str) or not tag.strip():
        raise DeclarationError(
            "pii() needs a tag", expected='the kind of personal data, such as hr.pii("email")'
        )
    return Pii(tag)


def event_time(
    lateness: Duration | None = None, *, idle_after: Duration | None = None, max_ahead: Duration | None = None
) -> EventTime:
    """Annotate the `datetime` that says when an event happened.

    Args:
        lateness: allowed disorder, such as `"10s"`; None: a row is never late.
        idle_after: silence after which the watermark moves on at the clock's pace (default 5 min).
        max_ahead: how far beyond the append clock a time may lie (default 1 h).

    Raises:
        DeclarationError: text that is not a duration.
    """

    def span(value: Duration | None, name: str) -> timedelta | None:
        return None if value is None else duration(value, where=f"event_time({name}=…)")

    return EventTime(span(lateness, "lateness"), span(idle_after, "idle_after"), span(max_ahead, "max_ahead"))
