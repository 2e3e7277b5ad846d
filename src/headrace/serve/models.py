"""The bodies of the API as models: what `/openapi.json` says, and what the tests hold every answer to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Stamped(_Model):
    """Version, watermark and freshness: on every answer that rests on data."""

    version: int = Field(description="The version that was read, or the newest one.")
    watermark: str | None = Field(description="Smallest watermark of the streams that it rests on, UTC.")
    freshness_ms: float = Field(
        description="Age of the oldest acknowledged commit that is not in the version."
    )
    refreshed: dict[str, int] | None = Field(
        default=None,
        description="Of which version each view is that refreshes apart; absent where there is none.",
    )
    history_from: str | None = Field(
        default=None,
        description="Rows that came before this time, UTC, may be missing: a stream's retention let them go.",
    )


class ErrorFacts(BaseModel):
    """What was wrong, where, what was expected and what to do."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="Stable; one for each kind of error.")
    problem: str
    where: str | None = None
    expected: str | None = None
    hint: str | None = None


class ErrorAnswer(_Model):
    """Every error has this body; version, watermark and freshness stand beside it where a run was reached."""

    error: ErrorFacts
    version: int | None = None
    watermark: str | None = None
    freshness_ms: float | None = None


class RowOutcome(_Model):
    """A row that was not accepted."""

    index: int = Field(description="Position in the request, from 0.")
    status: Literal["repeated", "late", "rejected"]
    field: str | None = None
    value: str | None = None
    reason: str | None = None


class Outcome(_Model):
    """What became of the rows of one call."""

    commit: int | None = Field(description="The commit that holds the rows; null where nothing was written.")
    accepted: int
    repeated: int
    late: int
    rejected: int
    replayed: bool = Field(description="The Idempotency-Key was known: this is the first answer again.")
    delivery: Literal["exactly_once", "at_least_once", "at_most_once"] = Field(
        description="What the stream promises; with at_most_once the rows need not be on disk yet."
    )
    rows: list[RowOutcome] = Field(description="Rows that were not accepted, at most 1,000.")
    rows_truncated: bool
    statuses: str | None = Field(
        default=None,
        description="With `?statuses=true`: base64, a byte a row: 0 accepted, 1 repeated, 2 late, 3 rejected",
    )


class CommitAnswer(Outcome, Stamped):
    """The answer to an append, upsert or delete; the rows are on disk."""


class TransactionAnswer(Stamped):
    """The answer to a transaction: one commit, one outcome for each change."""

    commit: int | None
    results: list[Outcome]


class AppendChange(_Model):
    """Rows for a stream."""

    append: str
    rows: list[dict[str, Any]] | dict[str, Any]


class UpsertChange(_Model):
    """Rows for a table."""

    upsert: str
    rows: list[dict[str, Any]] | dict[str, Any]


class DeleteChange(_Model):
    """Rows, or keys, to take out of a table."""

    delete: str
    rows: list[dict[str, Any]] | dict[str, Any]


class TransactionBody(_Model):
    """Several changes, one commit."""

    changes: list[AppendChange | UpsertChange | DeleteChange]


class ColumnFacts(_Model):
    """A column and its SQL type, in DuckDB's spelling."""

    name: str
    type: str


class Relation(_Model):
    """One readable name."""

    name: str
    kind: Literal["stream", "table", "view", "side"]
    columns: list[ColumnFacts]
    key: list[str] | None = Field(description="Columns that identify a row, where known; none: one row.")
    sql: str | None
    rows: int | None
    error: str | None = Field(description="Why a view has no answer at present.")


class RelationAnswer(Relation, Stamped):
    """One readable name, with the version."""


class RelationsAnswer(Stamped):
    """Every readable name."""

    views: list[Relation]


class RowsAnswer(Stamped):
    """Rows of a view, one page."""

    rows: list[dict[str, Any]]
    columns: list[ColumnFacts]
    view: str
    row_count: int = Field(description="Rows of the whole listing.")
    next: str | None = Field(description="Cursor of the next page, of the same version.")


class SqlBody(_Model):
    """One read-only statement."""

    sql: str
    params: list[Any] | dict[str, Any] = Field(default=[], description="Values for `?`, or for `$name`.")
    as_of: int | str | None = Field(default=None, description="A version or a time: everything as it was.")


class SqlAnswer(Stamped):
    """The rows of a statement."""

    rows: list[dict[str, Any]]
    columns: list[ColumnFacts]
    row_count: int


class DifferenceBody(_Model):
    """Two moments of a view."""

    view: str
    since: int | str = Field(description="The first moment: a version or a time.")
    until: int | str | None = Field(default=None, description="The second one; none: now.")
    causes: dict[str, list[str]] | None = Field(
        default=None, description="Streams and tables by the cause that all their changes have."
    )
    where: dict[str, str | int | bool | None] | None = Field(
        default=None, description="Values by column: only rows that have them are looked at."
    )


class MomentFacts(_Model):
    """A version."""

    version: int
    commit: int
    clock: str | None


class CauseFacts(_Model):
    """What one cause did."""

    cause: str
    rows_come: int
    rows_gone: int
    sums: dict[str, str | float]


class DifferenceAnswer(Stamped):
    """Why a view differs between two moments."""

    view: str
    columns: list[ColumnFacts]
    since: MomentFacts
    until: MomentFacts
    whole: CauseFacts
    totals: list[CauseFacts]
    inputs_cut: bool
    rows_played: int
    rows: list[dict[str, Any]]
    inputs: dict[str, list[dict[str, Any]]]
    text: str


class QueryParameterFacts(_Model):
    """One parameter of a named query."""

    name: str
    type: str
    is_required: bool
    default: str | None
    help: str
    choices: list[str] = Field(description="The values that it may have; empty: any of its type.")
    choices_of: str | None = Field(description="The named query whose first column holds (more) choices.")
    least: str | None
    most: str | None


class QueryPartFacts(_Model):
    """SQL that a named query names in braces."""

    name: str
    sql: str


class QueryFacts(_Model):
    """A named query."""

    name: str
    help: str
    parameters: list[QueryParameterFacts]
    sql: str
    parts: list[QueryPartFacts]


class QueriesAnswer(Stamped):
    """Every named query."""

    queries: list[QueryFacts]


class ChangesAnswer(Stamped):
    """Changes of a view after a version."""

    rows: list[dict[str, Any]] = Field(description="Rows with `_weight` and `_version`.")
    columns: list[ColumnFacts]
    view: str
    since: int | None
    upto: int = Field(description="Ask for what follows with `since` set to this.")


class ExplainAnswer(Stamped):
    """How a view is kept."""

    view: str
    text: str
    plan: Any


class StatusAnswer(Stamped):
    """Who serves, since when, how far and how busy."""

    app: str
    headrace: str
    uptime_s: float
    commit: int | None
    version_commit: int
    held: list[int]
    clock: str | None
    watermarks: dict[str, str | None]
    pending_commits: int
    viewers: dict[str, int]
    stats: dict[str, Any]


class HealthAnswer(_Model):
    """A probe's answer; `trouble` says why views stand still at present, if they do."""

    status: str
    trouble: str | None = None


class SnapshotMessage(Stamped):
    """The first message on a socket, and again after a gap: all rows."""

    type: Literal["snapshot"]
    view: str
    pending_commits: int
    key: list[str] | None
    columns: list[ColumnFacts]
    row_count: int
    truncated: bool = Field(description="The view has more rows than a snapshot may hold.")
    rows: list[dict[str, Any]] = []


class ChangeMessage(Stamped):
    """What came and went: each row carries `_weight`."""

    type: Literal["change"]
    view: str
    pending_commits: int
    commit: int = Field(description="The last commit that is in it.")
    first: int = Field(description="The first version that is added up in it.")
    previous: int = Field(description="Apply it if you are at this version or later, but before `version`.")
    rows: list[dict[str, Any]] = []


class HeartbeatMessage(Stamped):
    """A sign of life, once a second."""

    type: Literal["heartbeat"]
    view: str
    pending_commits: int


class ErrorMessage(Stamped):
    """Why the view has no answer at present."""

    type: Literal["error"]
    view: str
    pending_commits: int
    error: ErrorFacts


class ApplyBody(_Model):
    """How to put other definitions in force."""

    preview: bool = Field(default=False, description="Stop before the switch.")
    on_busy: Literal["refuse", "queue", "replace"] = Field(
        default="refuse", description="What becomes of a change that is on its way."
    )


class OneViewBody(_Model):
    """What becomes of one view."""

    action: Literal["create", "replace", "drop"]
    name: str
    sql: str | None = Field(default=None, description="Not for `drop`.")


class PlanAnswer(Stamped):
    """What a change would do."""

    plan: dict[str, Any]
    text: str = Field(description="The plan for people.")


class DefinitionsAnswer(Stamped):
    """The last change of definitions."""

    state: str = Field(description="`none`, `building`, `ready`, `switched`, `rolled back`, `undone`, …")
    resumed: bool = Field(description="A crash had interrupted it, and it went on.")
    progress: dict[str, Any] | None
    plan: dict[str, Any] | None
    difference: list[dict[str, Any]]
    text: str = Field(description="The difference for people.")


MODELS: tuple[type[BaseModel], ...] = (
    ErrorAnswer,
    CommitAnswer,
    TransactionBody,
    TransactionAnswer,
    RelationsAnswer,
    RelationAnswer,
    RowsAnswer,
    SqlBody,
    SqlAnswer,
    DifferenceBody,
    DifferenceAnswer,
    QueriesAnswer,
    ChangesAnswer,
    ExplainAnswer,
    StatusAnswer,
    HealthAnswer,
    SnapshotMessage,
    ChangeMessage,
    HeartbeatMessage,
    ErrorMessage,
    ApplyBody,
    OneViewBody,
    PlanAnswer,
    DefinitionsAnswer,
)
