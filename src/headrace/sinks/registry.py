"""The kinds of sinks by URL scheme; built-in ones register here as third parties would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import unquote, urlsplit

from headrace.declarations import SinkDecl
from headrace.errors import DeclarationError, UnknownName
from headrace.sinks.shipment import Position, Shipment

Guarantee = Literal["exactly once", "idempotent", "at least once"]
"""`exactly once`: the position is stored in the transaction that stores the rows. `idempotent`: rows are
written and deleted by key, so that a repeat changes nothing. `at least once`: its version tells a repeat.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """What a sink is opened with.

    Attributes:
        name: of the sink, unique in its app; the position is kept under it.
        view: what it takes.
        url: as declared.
        options: as declared.
        folder: what relative paths start from.
    """

    name: str
    view: str
    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def path(self) -> Path:
        """The file or folder in the URL: `kind:///relative`, `kind:////absolute`."""
        text = unquote(urlsplit(self.url).path)
        if len(text) < 2:
            raise DeclarationError(
                "the URL names no file",
                where=f"sink {self.name!r}",
                expected="kind:///relative or kind:////absolute",
            )
        return self.folder / text[1:]


class Sink(Protocol):
    """Something that can be brought to a version of a view; one thread at a time calls it.

    Whatever it raises means that the shipment may or may not have been taken: it is closed, opened again
    after a pause, asked for its position, and given what it lacks.
    """

    def position(self) -> Position | None:
        """Return how far it is; None: it holds nothing, or cannot tell."""

    def write(self, shipment: Shipment) -> None:
        """Take rows and position; when it returns, both are there to stay."""

    def close(self) -> None:
        """Give back what it holds open; nothing may be lost by it."""


@dataclass(frozen=True, slots=True)
class SinkKind:
    """A registered kind of sink.

    Attributes:
        scheme: of its URLs, lower case.
        guarantee: what a crash at any moment leaves of a version.
        help: one line for the documentation.
        open: connects; called again after every failure.
        options: what `app.sink` takes for it: name and one line.
        needs_key: it takes only views whose rows are identified by a key.
    """

    scheme: str
    guarantee: Guarantee
    help: str
    open: Callable[[Target], Sink]
    options: Mapping[str, str] = field(default_factory=dict)
    needs_key: bool = False


_KINDS: dict[str, SinkKind] = {}


def register_sink(kind: SinkKind) -> None:
    """Make a kind of sink known.

    Raises:
        DeclarationError: the scheme is taken.
    """
    if kind.scheme in _KINDS:
        raise DeclarationError(f"sinks of {kind.scheme}:// are registered already", where="register_sink")
    _KINDS[kind.scheme] = kind


def sink_kinds() -> dict[str, SinkKind]:
    """Return all registered kinds by scheme."""
    from headrace.sinks import duck, ndjson, parquet, sqlite  # noqa: F401 - they register themselves

    return dict(_KINDS)


def kind_of(declared: SinkDecl) -> SinkKind:
    """Return the kind of a declared sink.

    Raises:
        UnknownName: no kind has that scheme, or the kind has no such option.
    """
    where = f"sink {declared.name!r}"
    known = sink_kinds()
    scheme = urlsplit(declared.url).scheme.lower()
    if scheme not in known:
        raise UnknownName(
            f"no sink is registered for {scheme or declared.url!r}", where=where,
            expected=f"a URL that begins with one of: {', '.join(f'{name}://' for name in sorted(known))}",
        )  # fmt: skip
    kind = known[scheme]
    for option in declared.options:
        if option not in kind.options:
            raise UnknownName.of(f"option of {scheme}:// sinks", option, kind.options)
    return kind


def shown_url(url: str) -> str:
    """Return a URL without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":…@", 1)
