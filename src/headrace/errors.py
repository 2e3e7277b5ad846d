"""Every error that Headrace raises on purpose, in one tree.

    HeadraceError
    ├── DeclarationError          an app, model, view or dashboard is declared wrongly
    │   └── ProjectError          a project folder cannot be loaded
    ├── RowsRejected              rows were refused and the caller asked for strictness
    ├── UnknownName               a stream, table, view, column or option that does not exist
    ├── SqlError                  SQL that does not parse or bind
    │   └── UnsupportedSql        SQL that cannot be kept fresh at all
    ├── ViewInError               a view that currently has no answer, and why
    ├── StepFailed                the step loop met a defect and stands still
    ├── VersionGone               a read below the kept versions
    ├── VersionAhead              a read above the newest version
    ├── QueryStopped              an ad-hoc query ran into a limit of time, memory or rows
    ├── BadRequest                a request whose parameters or body cannot be read
    │   ├── BodyTooLarge          a body beyond the limit, as sent or after decompression
    │   ├── BodyTooSlow           a body that did not arrive in time
    │   ├── UnsupportedBody       a Content-Type or Content-Encoding that is not taken
    │   └── NotAcceptable         no format that the caller accepts
    ├── Busy                      back-pressure: try again after `retry_after_s`
    ├── IdempotencyConflict       a key that was used before with other content
    ├── OutOfMemory               there was no memory left to do it
    ├── StorageError              the data folder cannot be used
    │   ├── FolderLocked          another process owns it
    │   ├── LogDamaged            a segment fails its checksum
    │   ├── FormatTooNew          written by a version of Headrace that this one cannot read
    │   └── DeclarationsChanged   the folder was written under other declarations
    ├── ChangeFailed              a change of definitions that cannot be made
    ├── Closed                    the run has been closed
    ├── AccessDenied              the request lacks a right
    └── ConnectError              the server cannot be reached or answered nonsense

Each carries a stable `code`, says where it happened, what was wrong, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any


class HeadraceError(Exception):
    """Base of all errors that Headrace raises on purpose.

    Args:
        problem: what was wrong, one sentence.
        where: the stream, view, file, line or setting it is about.
        expected: what would have been right.
        hint: what to do about it.
        details: machine-readable extras for HTTP answers and logs.
    """

    code = "error"
    http_status = 500

    def __init__(
        self,
        problem: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
        **details: Any,
    ) -> None:
        self.problem = problem
        self.where = where
        self.expected = expected
        self.hint = hint
        self.details = details
        super().__init__(self.render())

    def render(self) -> str:
        """Return the message as a person reads it, one fact a line."""
        head = f"{self.where}: {self.problem}" if self.where else self.problem
        lines = [head]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts for a JSON answer."""
        facts = {
            "code": self.code,
            "problem": self.problem,
            "where": self.where,
            "expected": self.expected,
            "hint": self.hint,
        }
        return {key: value for key, value in facts.items() if value is not None} | self.details


class DeclarationError(HeadraceError):
    """An app, model, view or dashboard is declared wrongly."""

    code = "declaration"
    http_status = 400


class ProjectError(DeclarationError):
    """A project folder cannot be loaded."""

    code = "project"


class RowsRejected(HeadraceError):
    """Rows were refused and the caller asked for strictness; nothing of the call was kept."""

    code = "rows.rejected"
    http_status = 422


class UnknownName(HeadraceError):
    """A stream, table, view, column or option that does not exist."""

    code = "unknown"
    http_status = 404

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownName:
        """Build the error with a *did you mean* from the names that exist."""
        names = sorted(known)
        close = get_close_matches(name, names, n=1, cutoff=0.6)
        listed = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
        return cls(
            f"there is no {kind} named {name!r}",
            expected=f"one of: {listed}" if names else f"a declared {kind} (none is declared)",
            hint=f"did you mean {close[0]!r}?" if close else None,
        )


class SqlError(HeadraceError):
    """SQL that does not parse or bind; `where` names view, line and column."""

    code = "sql"
    http_status = 400


class UnsupportedSql(SqlError):
    """SQL that cannot be kept fresh at all, such as a call of `random()`."""

    code = "sql.unsupported"


class ViewInError(HeadraceError):
    """A view that currently has no answer, because DuckDB would answer its SQL with an error."""

    code = "view.error"
    http_status = 409


class StepFailed(HeadraceError):
    """The step loop met a defect and stands still: appends stay durable, views do not move."""

    code = "step.failed"
    http_status = 503


class VersionGone(HeadraceError):
    """A read below the kept versions."""

    code = "version.gone"
    http_status = 410


class VersionAhead(HeadraceError):
    """A read above the newest version, or in the future."""

    code = "version.ahead"
    http_status = 400


class QueryStopped(HeadraceError):
    """An ad-hoc query ran into a limit of time, memory or rows."""

    code = "query.stopped"
    http_status = 422


class BadRequest(HeadraceError):
    """A request whose parameters or body cannot be read."""

    code = "request"
    http_status = 400


class BodyTooLarge(BadRequest):
    """A body beyond the limit, as sent or after decompression."""

    code = "request.too_large"
    http_status = 413


class BodyTooSlow(BadRequest):
    """A body that did not arrive in time."""

    code = "request.too_slow"
    http_status = 408


class UnsupportedBody(BadRequest):
    """A Content-Type or Content-Encoding that is not taken."""

    code = "request.type"
    http_status = 415


class NotAcceptable(BadRequest):
    """No format that the caller accepts."""

    code = "request.format"
    http_status = 406


class Busy(HeadraceError):
    """Back-pressure: nothing was taken in; try again after `retry_after_s` seconds."""

    code = "busy"
    http_status = 429

    def __init__(self, problem: str, *, retry_after_s: float = 1.0, **rest: Any) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(problem, retry_after_s=retry_after_s, **rest)


class IdempotencyConflict(HeadraceError):
    """An idempotency key that was used before with other content."""

    code = "idempotency.conflict"
    http_status = 409


class OutOfMemory(HeadraceError):
    """There was no memory left; what was asked for has not happened, and nothing else has suffered."""

    code = "memory"
    http_status = 503


@contextmanager
def in_memory(what: str) -> Iterator[None]:
    """Tell in plain words where memory ran out inside the block.

    Args:
        what: what has not happened then.

    Raises:
        OutOfMemory: instead of `MemoryError`.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(
            f"there is no memory left: {what}",
            hint="send less at once, or try again; HEADRACE_STATE_BYTES_MAX bounds the state in memory",
        ) from error


class StorageError(HeadraceError):
    """The data folder cannot be used."""

    code = "storage"
    http_status = 503


class FolderLocked(StorageError):
    """Another process owns the data folder."""

    code = "storage.locked"


class LogDamaged(StorageError):
    """A log segment fails its checksum in a place that is not a torn tail."""

    code = "storage.damaged"


class FormatTooNew(StorageError):
    """A file was written by a version of Headrace that this one cannot read."""

    code = "storage.format"


class DeclarationsChanged(StorageError):
    """The data folder was written under other declarations."""

    code = "storage.declarations"
    http_status = 409


class ChangeFailed(HeadraceError):
    """A change of definitions that cannot be made, or not now; the definitions in force go on."""

    code = "definitions.failed"
    http_status = 409


class Closed(HeadraceError):
    """The run has been closed."""

    code = "closed"
    http_status = 503


class AccessDenied(HeadraceError):
    """The request lacks a right."""

    code = "access"
    http_status = 403


class ConnectError(HeadraceError):
    """The server cannot be reached or answered something that is not Headrace's."""

    code = "connect"
    http_status = 502
