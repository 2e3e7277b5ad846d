"""How a merchant changes its definitions: look at a preview, put it in force in one step, go back.

Settings are rows of the table `settings`, one for each merchant and scenario. `live` is the one in force; a
preview is a row under another name, so both are computed from the same data at every moment, and readers can
compare them. What is done here are ordinary upserts: each is one commit, so a reader sees the numbers before
or after it, never a mixture, and the table's history says who set what and when.

    python -m headrace.solutions.billing.settings http://127.0.0.1:8080 acme preview churn_at=cancellation
    python -m headrace.solutions.billing.settings http://127.0.0.1:8080 acme apply --by Ada --note agreed
    python -m headrace.solutions.billing.settings http://127.0.0.1:8080 acme roll-back --by Ada
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

import headrace as hr
from headrace.solutions.billing.models import Setting
from headrace.solutions.billing.presets import PRESETS

LIVE = "live"
"""The scenario in force."""
PREVIEW = "preview"
"""What a preview is called where no name is given."""

TAKEN = "has this sequence"
"""In what a refusal says of a place that somebody else has taken."""
TRIES = 30
FIRST = 10**15
"""The place of a first change: below those of pages, which are microseconds since 1970."""
Done = TypeVar("Done")
_KEYS = ("merchant_id", "scenario", "valid_at", "seq", "changed_by", "note")


class Books(Protocol):
    """What settings are read from and written to: a run, or a client of a server."""

    def query(self, sql: str, params: Any = ()) -> Any:
        """Answer a SELECT."""

    def transaction(self, *, on_reject: str = "keep") -> AbstractContextManager[Any]:
        """Collect several changes into one commit; `raise`: of which nothing is kept if a row is refused."""

    def advance(self) -> Any:
        """Publish what has been committed, so that it is read."""


def current(books: Books, merchant_id: str, scenario: str = LIVE) -> dict[str, Any]:
    """Return the settings of a scenario by name; those of `live` are Stripe's where nothing was set.

    Raises:
        KeyError: there is no such scenario.
    """
    row = _row(books, merchant_id, scenario)
    if row is None and scenario != LIVE:
        raise KeyError(scenario)
    return _values(row) if row is not None else _defaults()


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
        ValueError: the name is `live`, or no such setting or preset exists, or a setting cannot be that.
    """
    if scenario == LIVE:
        raise ValueError("a preview needs a name other than 'live'")
    return _set(books, merchant_id, scenario, settings, by=by, preset=preset, note=note)


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
    return _set(books, merchant_id, LIVE, settings, by=by, preset=preset, note=note)


def _set(
    books: Books,
    merchant_id: str,
    scenario: str,
    settings: Mapping[str, Any],
    *,
    by: str,
    preset: str | None,
    note: str | None,
) -> dict[str, Any]:
    """Set a scenario to the settings in force but for some; return all of them."""

    def once() -> dict[str, Any]:
        place = _place(books, merchant_id, scenario)
        chosen = _with(current(books, merchant_id), preset, settings)
        with books.transaction(on_reject="raise") as changes:
            _put(changes, place, chosen, by, note)
        return chosen

    return _until_alone(books, once)


def apply(
    books: Books, merchant_id: str, *, by: str, scenario: str = PREVIEW, note: str | None = None
) -> dict[str, Any]:
    """Put a preview in force and take its own scenario away, in one commit.

    Raises:
        KeyError: there is no such scenario.
        ValueError: the settings in force were changed after the preview, which does not know of it.
    """
    places = [_place(books, merchant_id, one) for one in (LIVE, scenario)]
    chosen = current(books, merchant_id, scenario)
    live, beside = _row(books, merchant_id, LIVE), _row(books, merchant_id, scenario)
    if live and beside and live["valid_at"] > beside["valid_at"]:
        raise ValueError(
            f"the settings of {merchant_id} were changed after {scenario!r} was made, {_by(live)}: to put it "
            "in force would take that back; preview again"
        )
    try:
        with books.transaction(on_reject="raise") as changes:
            _put(changes, places[0], chosen, by, note)
            changes.delete("settings", [places[1]])
    except hr.RowsRejected as error:
        if TAKEN not in str(error):
            raise
        told = f"somebody changed the settings of {merchant_id} at the same moment: look, and do it again"
        raise ValueError(told) from None
    return chosen


def discard(books: Books, merchant_id: str, scenario: str = PREVIEW) -> None:
    """Take a scenario away that is not in force.

    Raises:
        ValueError: it is the live one.
        KeyError: there is no such scenario.
    """
    if scenario == LIVE:
        raise ValueError("the live settings can be changed, not taken away")

    def once() -> None:
        place = _place(books, merchant_id, scenario)
        current(books, merchant_id, scenario)
        with books.transaction(on_reject="raise") as changes:
            changes.delete("settings", [place])

    _until_alone(books, once)


def roll_back(books: Books, merchant_id: str, *, by: str, note: str | None = None) -> dict[str, Any]:
    """Put in force what was before the last change of the live settings. Twice is forth again.

    Raises:
        ValueError: they were never changed.
    """
    sql = "SELECT * FROM settings__history WHERE merchant_id = ? AND scenario = ? ORDER BY seq DESC LIMIT 2"

    def once() -> dict[str, Any]:
        place = _place(books, merchant_id, LIVE)
        rows = books.query(sql, (merchant_id, LIVE)).to_pylist()
        if not rows:
            raise ValueError(
                f"the settings of {merchant_id} were never changed: there is nothing to go back to"
            )
        chosen = _values(rows[1]) if len(rows) == 2 else _defaults()
        with books.transaction(on_reject="raise") as changes:
            _put(changes, place, chosen, by, note or "rolled back")
        return chosen

    return _until_alone(books, once)


def compare(books: Books, merchant_id: str, *, by: str) -> None:
    """Lay every preset beside the live settings, under the presets' names."""

    def once() -> None:
        places = {name: _place(books, merchant_id, name) for name in PRESETS}
        live = current(books, merchant_id)
        with books.transaction(on_reject="raise") as changes:
            for name, place in places.items():
                _put(changes, place, _with(live, name, {}), by, None)

    _until_alone(books, once)


def _until_alone(books: Books, once: Callable[[], Done]) -> Done:
    """Read and write again where somebody else has written in between: nobody's change is lost."""
    for _ in range(TRIES):
        try:
            return once()
        except hr.RowsRejected as error:
            if TAKEN not in str(error):
                raise
            books.advance()
    return once()


def _row(books: Books, merchant_id: str, scenario: str) -> dict[str, Any] | None:
    """Return how a scenario was last set; None: it never was, or has been taken away."""
    sql = "SELECT * FROM settings WHERE merchant_id = ? AND scenario = ?"
    rows: list[dict[str, Any]] = books.query(sql, (merchant_id, scenario)).to_pylist()
    return rows[0] if rows else None


def _by(row: Mapping[str, Any]) -> str:
    """Return who set something, and when."""
    return f"by {row['changed_by'] or 'nobody named'} at {row['valid_at']:%Y-%m-%d %H:%M}"


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
    settings = _read(settings)
    if preset is None:
        changed = any(base[name] != value for name, value in settings.items())
        return {**base, **settings, "preset": None if changed else base["preset"]}
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
    return {**base, **PRESETS[preset], **settings, "preset": None if settings else preset}


def _read(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as the table has them: `no` is False, `EUR` is eur.

    Raises:
        ValueError: one cannot be that.
    """
    given = dict(settings)
    if isinstance(given.get("reporting_currency"), str):
        given["reporting_currency"] = given["reporting_currency"].lower()
    try:
        found = Setting(merchant_id="", valid_at=datetime.now(UTC), seq=0, **given)
    except ValidationError as error:
        wrong = error.errors()[0]
        name, problem = str(wrong["loc"][0]), wrong["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name} cannot be {settings[name]!r}: {problem[:1].lower()}{problem[1:]}") from None
    return {name: getattr(found, name) for name in settings}


def _put(
    changes: Any, place: Mapping[str, Any], chosen: Mapping[str, Any], by: str, note: str | None
) -> None:
    changes.upsert("settings", [{**chosen, **place, "changed_by": by, "note": note}])


def _place(books: Books, merchant_id: str, scenario: str) -> dict[str, Any]:
    """Return where a change of a scenario stands: after the last one that is known.

    It is read before the settings themselves. Who changes them in between, or at the same moment, takes the
    same place, and one of the two is refused.
    """
    sql = "SELECT max(seq) AS seq FROM settings__versions WHERE merchant_id = ? AND scenario = ?"
    last = books.query(sql, (merchant_id, scenario)).to_pylist()[0]["seq"] or 0
    return {
        "merchant_id": merchant_id,
        "scenario": scenario,
        "valid_at": datetime.now(UTC),
        "seq": max(last + 1, FIRST),
    }


def main(arguments: Sequence[str]) -> int:
    """Do it from the command line, and tell the scenario's settings afterwards; 1 where it is refused."""
    asked = _parser().parse_intermixed_args(arguments)
    try:
        with hr.connect(asked.address) as books:
            known = "SELECT 1 FROM merchants WHERE merchant_id = ?"
            if not books.query(known, [asked.merchant]).num_rows:
                raise ValueError(f"there is no merchant {asked.merchant!r}")
            for name, value in _done(books, asked).items():
                sys.stdout.write(f"{name} = {'' if value is None else value}\n")
    except (hr.HeadraceError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyError as error:
        sys.stderr.write(f"{asked.merchant} has no scenario {error}: preview something first\n")
        return 1
    return 0


def _done(books: Any, asked: argparse.Namespace) -> dict[str, Any]:
    who, how = {"by": asked.by, "note": asked.note}, dict(_assigned(one) for one in asked.settings)
    for name in ("preset", "scenario", "by", "note"):
        if name in how:
            raise ValueError(f"{name} is no setting; write --{name} {how[name] or ''}".rstrip())
    match asked.what:
        case "show":
            return current(books, asked.merchant, asked.scenario or LIVE)
        case "preview":
            scenario = asked.scenario or PREVIEW
            there = None if scenario == LIVE else _row(books, asked.merchant, scenario)
            if there and there["changed_by"] != asked.by:
                told = f"{scenario!r}, made {_by(there)}, is no more: --scenario gives yours another name\n"
                sys.stderr.write(told)
            return preview(books, asked.merchant, scenario=scenario, preset=asked.preset, **who, **how)
        case "change":
            return change(books, asked.merchant, preset=asked.preset, **who, **how)
        case "apply":
            return apply(books, asked.merchant, scenario=asked.scenario or PREVIEW, **who)
        case "discard":
            discard(books, asked.merchant, asked.scenario or PREVIEW)
            return {}
        case _:
            return roll_back(books, asked.merchant, **who)


def _assigned(text: str) -> tuple[str, Any]:
    """Return a setting's name and value; nothing after the sign is NULL."""
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"{text!r} sets nothing; write NAME=VALUE, such as churn_at=cancellation")
    return name, value or None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m headrace.solutions.billing.settings", description=main.__doc__
    )
    parser.add_argument("address", help="the server, such as http://127.0.0.1:8080")
    parser.add_argument("merchant")
    parser.add_argument("what", choices=["show", "preview", "change", "apply", "discard", "roll-back"])
    parser.add_argument(
        "settings", nargs="*", metavar="NAME=VALUE", help="what is to differ from those in force"
    )
    parser.add_argument("--preset", help="begin with what a vendor means: " + ", ".join(PRESETS))
    parser.add_argument("--scenario", help="the preview's name; default: preview")
    parser.add_argument("--by", default="command line", help="who does it")
    parser.add_argument("--note", help="why")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
