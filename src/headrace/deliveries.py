"""Ways in that speak somebody else's language: a delivery comes, changes go on.

A source is a function from one delivery, as it came over HTTP, to the changes that it means. It knows neither
the run nor the server, so it is tested by calling it. An app declares it by name: `app.source("stripe", …)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from headrace.errors import DeclarationError

Verb = Literal["append", "upsert", "delete"]
_VERBS = ("append", "upsert", "delete")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What has come from outside for a source.

    Attributes:
        body: the bytes as they were sent, unpacked; signatures are made over these.
        received_at: when, aware, in UTC.
        headers: by lower-case name.
        params: of the address, by name.
    """

    body: bytes
    received_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Put:
    """One change that a delivery means.

    Attributes:
        verb: `append` to a stream, `upsert` into a table, `delete` from a table.
        name: of the stream or table.
        rows: as the method of a run of that name takes them.
    """

    verb: Verb
    name: str
    rows: Sequence[Any]

    def __post_init__(self) -> None:
        if self.verb not in _VERBS:
            raise DeclarationError(f"{self.verb!r} is no change", where="hr.Put", expected=", ".join(_VERBS))


Receive = Callable[[Delivery], Sequence[Put]]
"""Turns a delivery into changes, or raises a HeadraceError, which is answered with its HTTP status."""


@dataclass(frozen=True, slots=True)
class SourceDecl:
    """A declared source.

    Attributes:
        name: as in `POST /v1/sources/{name}`.
        receive: what a delivery means.
        signed: `receive` itself checks who sends, so that the server asks for no token.
    """

    name: str
    receive: Receive
    signed: bool = False
