"""Exported lists: what Stripe's list calls answer, in files, through the same mapping as the events.

An export tells how things stand when it is made. What an object dates itself (created, started, trialled,
ended) becomes versions at those times; the present state becomes a version at the time of the export. So
events from before the export fall between them, in whatever order both arrive.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.stripe.mapping import MAPPERS, map_object
from headrace.solutions.billing.stripe.occasion import exported
from headrace.solutions.billing.stripe.rows import Gathered, merchant_heard_of
from headrace.solutions.billing.stripe.source import changes, merchant_named, must_be_event

PARAMETERS = ("merchant", "exported_at")
TOLD = {*PARAMETERS, "file", "token"}
"""What stands in an address."""


def objects_of(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file: a list object, an array, one object, or one a line.

    Raises:
        BadRequest: it is none of these.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = [
            _line(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()
        ]
    if isinstance(found, dict):
        found = found["data"] if found.get("object") == "list" else [found]
    for entry in found if isinstance(found, list) else [found]:
        if isinstance(entry, dict) and entry.get("object") == "list":
            yield from (inner for inner in entry.get("data", ()) if isinstance(inner, dict))
        elif isinstance(entry, dict):
            yield entry
        else:
            raise BadRequest(f"{str(entry)[:60]!r} is none of Stripe's objects", expected="a list of objects")


def _line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise BadRequest(f"line {number} is not JSON: {error}", expected="one object a line") from None


def backfill(
    found: Sequence[dict[str, Any]], merchant_id: str, told_at: datetime
) -> tuple[list[hr.Put], dict[str, int]]:
    """Return the changes that exported objects (or events) mean, and how many were not known, by name.

    Raises:
        BadRequest: an object lacks what it cannot be without.
    """
    out, puts, unknown = Gathered(), list[hr.Put](), dict[str, int]()
    told = exported(merchant_id, told_at)
    out.upsert("merchants", merchant_heard_of(merchant_id))
    for entry in found:
        if entry.get("object") == "event":
            puts += changes(must_be_event(entry), merchant_id)
        elif not map_object(entry, told, out):
            name = str(entry.get("object"))
            unknown[name] = unknown.get(name, 0) + 1
    return [*out.puts(), *puts], unknown


def known_objects() -> list[str]:
    """Return the names of the objects that mean rows."""
    return sorted(MAPPERS)


def merchant_of(delivery: hr.Delivery) -> str:
    """Return whose a file is: `merchant` of the address, or `default`.

    Raises:
        BadRequest: the address says something else, which would be passed over.
    """
    for name in delivery.params.keys() - TOLD:
        near = get_close_matches(name, PARAMETERS, 1)
        raise BadRequest(
            f"there is no parameter {name!r}",
            expected=", ".join(PARAMETERS),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    return merchant_named(delivery.params.get("merchant"))


def exported_at(delivery: hr.Delivery) -> datetime:
    """Return when a file says how things stand: `exported_at` of the address, or when it came.

    Raises:
        BadRequest: it is no time.
    """
    text = delivery.params.get("exported_at")
    if not text:
        return delivery.received_at
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(
            f"{text[:60]!r} is no time", where="exported_at", expected="ISO 8601, such as 2026-06-01T09:00Z"
        ) from None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def receive(delivery: hr.Delivery) -> Sequence[hr.Put]:
    """Return what an exported file means: `POST /v1/sources/stripe_export`, or `headrace import --source`.

    Told in the address: `merchant`, and `exported_at` (ISO 8601; when it came, where it is not told).

    Raises:
        BadRequest: it is no export.
    """
    told_at, merchant_id = exported_at(delivery), merchant_of(delivery)
    try:
        try:
            text = delivery.body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadRequest(f"the file is not UTF-8: {error}") from None
        puts, _ = backfill(list(objects_of(text)), merchant_id, told_at)
    except BadRequest as error:
        error.where = ", ".join(filter(None, (delivery.params.get("file", "stripe_export"), error.where)))
        error.args = (error.render(),)
        raise
    return puts
