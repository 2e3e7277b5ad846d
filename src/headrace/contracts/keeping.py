"""How long the rows of a stream are kept, and what an append to it promises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from headrace.contracts.durations import Duration, duration
from headrace.errors import DeclarationError

Delivery = Literal["exactly_once", "at_least_once", "at_most_once"]
DELIVERIES: tuple[Delivery, ...] = ("exactly_once", "at_least_once", "at_most_once")
KEPT = "kept"
"""What a view says of its `history_from` that is content with the rows that are kept."""
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(kb|mb|gb|tb)", re.IGNORECASE)
_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a stream's rows are kept: at least.

    Attributes:
        text: as declared.
        age: rows that are older, by the append clock, may go.
        size_bytes: once the stream takes more, compressed on disk, its oldest rows may go.
    """

    text: str
    age: timedelta | None = None
    size_bytes: int | None = None


def retention_of(value: Duration | None, *, where: str) -> Retention | None:
    """Return the retention that `value` writes: `"90d"`, `"20GB"`, a `timedelta`; None: for ever.

    Raises:
        DeclarationError: it is neither an age nor a size, or nothing at all.
    """
    if value is None:
        return None
    where = f"{where}, retention"
    size = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if size is not None:
        count = int(float(size[1]) * _UNITS[size[2].lower()])
        if count <= 0:
            raise DeclarationError("a size of nothing", where=where, expected='such as "20GB"')
        return Retention(str(value).strip(), size_bytes=count)
    age = duration(value, where=where)
    if age <= timedelta(0):
        raise DeclarationError("an age of nothing", where=where, expected='such as "90d" or "20GB"')
    text = value.strip() if isinstance(value, str) else f"{age.total_seconds():g}s"
    return Retention(text, age=age)


def delivery_of(value: str, event_id: str | None, *, where: str) -> Delivery:
    """Return the delivery that `value` names.

    Raises:
        DeclarationError: there is none of that name, or it needs an event id and there is none.
    """
    found = next((known for known in DELIVERIES if known == value), None)
    if found is None:
        raise DeclarationError(f"delivery is {value!r}", where=where, expected=", ".join(DELIVERIES))
    if found == "at_least_once" and event_id is None:
        raise DeclarationError(
            "delivery is 'at_least_once' without event_id",
            where=where,
            expected="event_id=…, by which what comes again is known",
        )
    return found


def check_window(retention: Retention | None, window: timedelta, event_id: str | None, where: str) -> None:
    """Refuse a retention that is shorter than the time for which event ids are remembered.

    Raises:
        DeclarationError: it is.
    """
    if event_id is None or retention is None or retention.age is None or retention.age >= window:
        return
    raise DeclarationError(
        f"retention is {retention.text!r}, but event ids are remembered for {window}",
        where=where,
        expected="rows that are kept as long as their ids: after a restart, the ids are read from them",
        hint=f'event_id_window="{retention.text}", or a longer retention',
    )
