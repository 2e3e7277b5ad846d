"""How a merchant changes its definitions: look at a preview, put it in force in one step, go back.

Settings are rows of the table `settings`, one for each merchant and scenario. `live` is the one in force; a
preview is a row under another name, so both are computed from the same data at every moment, and readers can
compare them. What is done here are ordinary upserts: each is one commit, so a reader sees the numbers before
or after it, never a mixture, and the table's history says who set what and when.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

from headrace.solutions.billing.models import Setting
from headrace.solutions.billing.presets import PRESETS

LIVE = "live"
"""The scenario in force."""
PREVIEW = "preview"
"""What a preview is called where no name is given."""

_KEYS = ("merchant_id", "scenario", "valid_at", "seq", "changed_by", "note")


class Books(Protocol):
    """What settings are read from and written to: a run, or a client of a server."""

    def query(self, sql: str, params: Any = ()) -> Any:
        """Answer a SELECT."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Collect several changes into one commit."""


def current(books: Books, merchant_id: str, scenario: str = LIVE) -> dict[str, Any]:
    """Return the settings of a scenario by name; those of `live` are Stripe's where nothing was set.

    Raises:
        KeyError: there is no such scenario.
    """
    sql = "SELECT * FROM settings WHERE merchant_id = ? AND scenario = ?"
    rows = books.query(sql, (merchant_id, scenario)).to_pylist()
    if not rows and scenario != LIVE:
        raise KeyError(scenario)
    return _values(rows[0]) if rows else _defaults()


def preview(
    books: Books,
    merchant_id: str,
    *,
    by: str,
    scenario: str = PREVIEW,
    preset: str | None = None,
    note: str | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Lay changed settings beside the live ones, under a name of their own; nothing that is in force changes.

    Args:
        books: a run or client.
        merchant_id: whose.
        by: who does it.
        scenario: the preview's name.
        preset: begin with this preset's settings instead of the live ones.
        note: why.
        settings: what is to differ, by column.

    Returns:
        The preview's settings.

    Raises:
        ValueError: the name is `live`, or no such setting or preset exists.
    """
    if scenario == LIVE:
        raise ValueError("a preview needs a name other than 'live'")
    chosen = _with(current(books, merchant_id), preset, settings)
    with books.transaction() as changes:
        _put(changes, books, merchant_id, scenario, chosen, by, note)
    return chosen


def change(
    books: Books,
    merchant_id: str,
    *,
    by: str,
    preset: str | None = None,
    note: str | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Change the settings in force at once, without a preview; arguments and errors as for `preview`."""
    chosen = _with(current(books, merchant_id), preset, settings)
    with books.transaction() as changes:
        _put(changes, books, merchant_id, LIVE, chosen, by, note)
    return chosen


def apply(
    books: Books, merchant_id: str, *, by: str, scenario: str = PREVIEW, note: str | None = None
) -> dict[str, Any]:
    """Put a preview in force and take its own scenario away, in one commit.

    Raises:
        KeyError: there is no such scenario.
    """
    chosen = current(books, merchant_id, scenario)
    with books.transaction() as changes:
        _put(changes, books, merchant_id, LIVE, chosen, by, note)
        _take_away(changes, books, merchant_id, scenario)
    return chosen


def discard(books: Books, merchant_id: str, scenario: str = PREVIEW) -> None:
    """Take a scenario away that is not in force.

    Raises:
        ValueError: it is the live one.
        KeyError: there is no such scenario.
    """
    if scenario == LIVE:
        raise ValueError("the live settings can be changed, not taken away")
    current(books, merchant_id, scenario)
    with books.transaction() as changes:
        _take_away(changes, books, merchant_id, scenario)


def roll_back(books: Books, merchant_id: str, *, by: str, note: str | None = None) -> dict[str, Any]:
    """Put in force what was before the last change of the live settings. Twice is forth again."""
    sql = "SELECT * FROM settings__history WHERE merchant_id = ? AND scenario = ? ORDER BY seq DESC LIMIT 2"
    rows = books.query(sql, (merchant_id, LIVE)).to_pylist()
    chosen = _values(rows[1]) if len(rows) == 2 else _defaults()
    with books.transaction() as changes:
        _put(changes, books, merchant_id, LIVE, chosen, by, note or "rolled back")
    return chosen


def compare(books: Books, merchant_id: str, *, by: str) -> None:
    """Lay every preset beside the live settings, under the presets' names."""
    live = current(books, merchant_id)
    with books.transaction() as changes:
        for name in PRESETS:
            _put(changes, books, merchant_id, name, _with(live, name, {}), by, None)


def _defaults() -> dict[str, Any]:
    return {name: field.default for name, field in Setting.model_fields.items() if name not in _KEYS} | {
        "preset": "stripe"
    }


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in Setting.model_fields if name not in _KEYS}


def _with(base: Mapping[str, Any], preset: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(settings.keys() - base.keys())
    if unknown:
        raise ValueError(f"there is no setting {unknown[0]!r}; there are {', '.join(base)}")
    if preset is None:
        changed = any(base[name] != value for name, value in settings.items())
        return {**base, **settings, "preset": None if changed else base["preset"]}
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
    return {**base, **PRESETS[preset], **settings, "preset": None if settings else preset}


def _put(
    changes: Any,
    books: Books,
    merchant_id: str,
    scenario: str,
    chosen: Mapping[str, Any],
    by: str,
    note: str | None,
) -> None:
    at, seq = _now_after(books, merchant_id, scenario)
    key = {"merchant_id": merchant_id, "scenario": scenario, "valid_at": at, "seq": seq}
    changes.upsert("settings", [{**chosen, **key, "changed_by": by, "note": note}])


def _take_away(changes: Any, books: Books, merchant_id: str, scenario: str) -> None:
    at, seq = _now_after(books, merchant_id, scenario)
    key = {"merchant_id": merchant_id, "scenario": scenario, "valid_at": at, "seq": seq}
    changes.delete("settings", [key])


def _now_after(books: Books, merchant_id: str, scenario: str) -> tuple[datetime, int]:
    """The time, and a sequence number that is larger than any before."""
    at = datetime.now(UTC)
    sql = "SELECT max(seq) AS seq FROM settings__versions WHERE merchant_id = ? AND scenario = ?"
    last = books.query(sql, (merchant_id, scenario)).to_pylist()[0]["seq"] or 0
    return at, max(last + 1, int(at.timestamp() * 1_000_000))
