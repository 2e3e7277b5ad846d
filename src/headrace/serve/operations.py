"""Every operation of the API: its route, its handler, and what `/openapi.json` says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.serve import (
    changes,
    definitions,
    health,
    ingest,
    models,
    past,
    queries,
    sources,
    sql,
    views,
)
from headrace.serve.answers import ARROW, CSV, FORMATS, JSON, NDJSON
from headrace.serve.filters import LIMIT_DEFAULT, OPERATORS

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Parameter:
    """One parameter in the address or a header."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    place: str = "query"


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        method: GET or POST.
        path: with `{name}` where a name stands.
        handler: answers it.
        summary: one line.
        about: more.
        answer: the model of its JSON answer, or None.
        formats: media types of the answer.
        body: media types of the request body, each with a schema and an example.
        parameters: query parameters and headers.
        errors: HTTP statuses of the errors that it is expected to answer.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    about: str = ""
    answer: type[BaseModel] | None = None
    formats: tuple[str, ...] = (JSON,)
    body: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """The operation id, such as `post_v1_sql`."""
        words = self.path.replace("{name}", "name").strip("/").replace("/", "_").replace(".", "_")
        return f"{self.method.lower()}_{words}"


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ROW = {"order_id": 1, "amount": "9.80", "placed_at": "2026-01-01T12:00:00Z"}
_ROWS_BODY: dict[str, dict[str, Any]] = {
    JSON: {
        "schema": {
            "oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}],
            "description": "One row, or an array of rows.",
        },
        "example": [_ROW],
    },
    NDJSON: {"schema": {"type": "string", "description": "One row a line."}},
    ARROW: _BINARY,
}
_TRANSACTION: dict[str, dict[str, Any]] = {
    JSON: {
        "schema": {"$ref": "#/components/schemas/TransactionBody"},
        "example": {
            "changes": [
                {"append": "orders", "rows": [_ROW]},
                {"upsert": "customers", "rows": [{"id": 7, "name": "Ada"}]},
            ]
        },
    }
}
_SQL: dict[str, dict[str, Any]] = {
    JSON: {
        "schema": {"$ref": "#/components/schemas/SqlBody"},
        "example": {"sql": "SELECT * FROM gmv WHERE orders > ?", "params": [10]},
    },
    "application/sql": {"schema": {"type": "string"}},
}
_DIFFERENCE: dict[str, dict[str, Any]] = {
    JSON: {
        "schema": {"$ref": "#/components/schemas/DifferenceBody"},
        "example": {
            "view": "gmv",
            "since": "2026-01-05T09:00:00Z",
            "causes": {"exchange rate": ["fx_rates"]},
        },
    }
}
_APPLY: dict[str, dict[str, Any]] = {
    JSON: {
        "schema": {"$ref": "#/components/schemas/ApplyBody"},
        "example": {"preview": True, "on_busy": "refuse"},
    }
}
_ONE_VIEW: dict[str, dict[str, Any]] = {
    JSON: {
        "schema": {"$ref": "#/components/schemas/OneViewBody"},
        "example": {"action": "create", "name": "big", "sql": "SELECT * FROM orders WHERE amount > 100"},
    }
}
_INTEGER = {"type": "integer", "minimum": 0}
_KEY = Parameter(
    "Idempotency-Key", "A repeat with the same key and content gets the first answer again.", place="header"
)
_ON_REJECT = Parameter(
    "on_reject",
    "`keep`: bad rows are put aside, the others go in. `raise`: one bad row refuses the whole call (422).",
    {"type": "string", "enum": ["keep", "raise"], "default": "keep"},
)
_STATUSES = Parameter("statuses", "Tell the outcome of every row, in base64.", {"type": "boolean"})
_AFTER = Parameter("after", "Wait until this commit is in the views.", _INTEGER)
_AFTER_S = Parameter("after_s", "How long to wait for it, at most; then 429.", {"type": "number"})
_FORMAT = Parameter(
    "format",
    "Instead of the Accept header. `spreadsheet` is CSV that a person opens: with a byte-order mark, and an "
    "apostrophe before text that would be a formula.",
    {"type": "string", "enum": list(FORMATS)},
)
_AS_OF = Parameter(
    "as_of",
    "Read it as it was: a version, or a time such as `2026-01-05T09:00:00Z`, which means the newest version "
    "that is not younger.",
)
_WRITE_ERRORS = (400, 404, 408, 409, 413, 415, 422, 429, 503)
_ALL_FORMATS = (JSON, NDJSON, ARROW, CSV)
_LISTING = (
    _AS_OF,
    Parameter(
        "column",
        "Any column: `?category=tea`, or with an operator: `?amount__gte=10`. Operators: "
        + ", ".join(OPERATORS)
        + ". `in` takes values separated by commas; `null` takes true or false.",
    ),
    Parameter(
        "order",
        "Columns separated by commas, `-` for descending; all other columns break ties. "
        "Without it: the view's own order, else all columns, but more than 100,000 rows are not sorted.",
    ),
    Parameter("columns", "Columns separated by commas; all, if not given."),
    Parameter("limit", "Rows of a page.", {"type": "integer", "minimum": 1, "default": LIMIT_DEFAULT}),
    Parameter("cursor", "`next` of the page before: all pages are of one version (410 when it is gone)."),
    _AFTER,
    _AFTER_S,
    _FORMAT,
)
_CHANGES = (
    Parameter("since", "Changes after this version; without it, all rows of the present version.", _INTEGER),
    Parameter("wait_s", "Long polling: wait so long for a version after `since`.", {"type": "number"}),
    Parameter(
        "every_ms",
        "Events and sockets: at most one change in so many milliseconds, added up.",
        {"type": "integer", "minimum": 0, "maximum": 60_000, "default": 0},
    ),
    Parameter("format", "`json` or `arrow`; `events` for server-sent events."),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/v1/streams/{name}",
        ingest.append,
        "Append rows to a stream",
        "The rows are on disk when the answer comes. Bodies may be gzipped.",
        models.CommitAnswer,
        body=_ROWS_BODY,
        parameters=(_KEY, _ON_REJECT, _STATUSES),
        errors=_WRITE_ERRORS,
    ),
    Operation(
        "POST",
        "/v1/tables/{name}/upsert",
        ingest.upsert,
        "Insert or replace rows of a table by key",
        "Within one call the last row of a key wins.",
        models.CommitAnswer,
        body=_ROWS_BODY,
        parameters=(_KEY, _ON_REJECT, _STATUSES),
        errors=_WRITE_ERRORS,
    ),
    Operation(
        "POST",
        "/v1/tables/{name}/delete",
        ingest.delete,
        "Delete rows of a table by key, from a bag by whole row",
        "",
        models.CommitAnswer,
        body=_ROWS_BODY,
        parameters=(_KEY, _ON_REJECT, _STATUSES),
        errors=_WRITE_ERRORS,
    ),
    Operation(
        "POST",
        "/v1/transactions",
        ingest.transact,
        "Several changes, one commit",
        "No reader ever sees a part of it.",
        models.TransactionAnswer,
        body=_TRANSACTION,
        parameters=(_KEY, _ON_REJECT, _STATUSES),
        errors=_WRITE_ERRORS,
    ),
    Operation(
        "POST",
        "/v1/sources/{name}",
        sources.deliver,
        "A delivery of another system, such as a webhook, in its own language",
        "Its changes are one commit, on disk when the answer comes.",
        models.TransactionAnswer,
        body={JSON: {"schema": {}}},
        parameters=(_STATUSES,),
        errors=_WRITE_ERRORS,
    ),
    Operation(
        "GET",
        "/v1/views",
        views.list_views,
        "Every readable name: streams, tables, side tables and views",
        "",
        models.RelationsAnswer,
        parameters=(Parameter("kind", "`stream`, `table`, `view` or `side`."),),
        errors=(429, 503),
    ),
    Operation(
        "GET",
        "/v1/views/{name}",
        views.read_view,
        "Rows of a view, table or stream, at one version",
        "Filters, order, pages. Decimals, and integers beyond 2^53, are strings in JSON.",
        models.RowsAnswer,
        formats=_ALL_FORMATS,
        parameters=_LISTING,
        errors=(400, 404, 406, 409, 410, 422, 429, 503),
    ),
    Operation(
        "GET",
        "/v1/views/{name}/schema",
        views.schema_of,
        "Columns of a view",
        "",
        models.RelationAnswer,
        errors=(404, 503),
    ),
    Operation(
        "GET",
        "/v1/views/{name}/explain",
        views.explain,
        "How a view is kept: operators, rules, state, cost",
        "",
        models.ExplainAnswer,
        errors=(404, 409, 429, 503),
    ),
    Operation(
        "GET",
        "/v1/views/{name}/changes",
        changes.read_changes,
        "What changed: in one answer, as server-sent events, or over WebSocket",
        "With `Accept: text/event-stream`, or as a WebSocket on the same path: first a SnapshotMessage, then "
        "ChangeMessages; a HeartbeatMessage every second. A reader that falls behind gets a new snapshot.",
        models.ChangesAnswer,
        formats=(JSON, ARROW, "text/event-stream"),
        parameters=_CHANGES,
        errors=(400, 404, 409, 410, 429, 503),
    ),
    Operation(
        "POST",
        "/v1/sql",
        sql.run_sql,
        "One read-only statement over all names, at one version",
        "",
        models.SqlAnswer,
        formats=_ALL_FORMATS,
        body=_SQL,
        parameters=(_AFTER, _AFTER_S, _FORMAT, _AS_OF),
        errors=(400, 404, 406, 408, 409, 410, 413, 415, 422, 429, 503),
    ),
    Operation(
        "POST",
        "/v1/difference",
        past.difference,
        "Why a view differs between two moments",
        "Late data, corrections, new data, causes that the caller names, time, definition: each with the "
        "rows that came and went, and by how much it moved the sum of each numeric column.",
        models.DifferenceAnswer,
        formats=(JSON, ARROW),
        body=_DIFFERENCE,
        errors=(400, 404, 406, 408, 409, 410, 413, 415, 422, 429, 503),
    ),
    Operation(
        "GET",
        "/v1/queries",
        queries.list_queries,
        "Every named query, with its parameters",
        "",
        models.QueriesAnswer,
    ),
    Operation(
        "GET",
        "/v1/queries/{name}",
        queries.ask,
        "The answer of a named query",
        "With the version in `ETag`: `If-None-Match` gives 304 where nothing has been published since.",
        models.SqlAnswer,
        formats=_ALL_FORMATS,
        parameters=(
            Parameter("parameter", "Any parameter of the query, by its name: `?merchant=m_1`."),
            _AFTER,
            _AFTER_S,
            _FORMAT,
            _AS_OF,
        ),
        errors=(400, 404, 406, 408, 409, 410, 429, 503),
    ),
    Operation(
        "GET",
        "/v1/definitions",
        definitions.show,
        "The last change of definitions: how far it is and what it does",
        "",
        models.DefinitionsAnswer,
        errors=(503,),
    ),
    Operation(
        "GET",
        "/v1/definitions/plan",
        definitions.plan,
        "What the project's files would change",
        "Nothing is run.",
        models.PlanAnswer,
        errors=(409, 422, 429, 503),
    ),
    Operation(
        "POST",
        "/v1/definitions/apply",
        definitions.apply,
        "Put the project's files in force, while the present definitions go on answering",
        "Answers at once; `GET /v1/definitions` tells how far it is. After a preview it switches.",
        models.DefinitionsAnswer,
        body=_APPLY,
        errors=(400, 409, 422, 429, 503),
    ),
    Operation(
        "POST",
        "/v1/definitions/views",
        definitions.views,
        "Create, replace or drop one view, beside those of the project's files",
        "Answers at once; `GET /v1/definitions` tells how far it is.",
        models.DefinitionsAnswer,
        body=_ONE_VIEW,
        errors=(400, 404, 409, 422, 429, 503),
    ),
    Operation(
        "POST",
        "/v1/definitions/cancel",
        definitions.cancel,
        "Give up the change that is on its way",
        "",
        models.DefinitionsAnswer,
        errors=(409, 429, 503),
    ),
    Operation(
        "POST",
        "/v1/definitions/rollback",
        definitions.rollback,
        "Back to the definitions before the last change, in one version",
        "At once, or built from history after a restart; `GET /v1/definitions` tells how far it is.",
        models.DefinitionsAnswer,
        errors=(409, 429, 503),
    ),
    Operation(
        "GET",
        "/v1/status",
        health.status,
        "The state of the server",
        "",
        models.StatusAnswer,
        parameters=(_AFTER, _AFTER_S),
        errors=(400, 429, 503),
    ),
    Operation(
        "GET", "/metrics", health.metrics, "Counters for Prometheus", formats=("text/plain",), errors=(503,)
    ),
    Operation("GET", "/healthz", health.healthz, "Whether the process lives", "", models.HealthAnswer),
    Operation("GET", "/readyz", health.readyz, "Whether it serves", "", models.HealthAnswer, errors=(503,)),
)
