"""What is wrong with single values of a column, by position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """One value that its column cannot take.

    Attributes:
        reason: why, without the value.
        value: the value, as it came.
        path: where inside the field it stands, such as `[2].price`; empty: the field itself.
    """

    reason: str
    value: Any = None
    path: str = ""

    def inside(self, step: str) -> Fault:
        """Return the fault as seen from outside of a list (`[2]`) or struct (`.price`)."""
        return Fault(self.reason, self.value, step + self.path)


Faults = dict[int, Fault]
"""By position in the column; the first fault of a row counts."""


def shown(value: Any) -> str | None:
    """Return a value as a rejection shows it: short text, None for NULL."""
    from headrace.contracts.jsontext import row_text

    if value is None:
        return None
    if isinstance(value, str):
        text = value[: _SHOWN_MAX + 1].encode("utf-8", "backslashreplace").decode()
    else:
        text = row_text(value, 10_000).strip('"')
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
