"""What goes out: version, watermark and freshness on every answer, rows in five formats, errors."""

from __future__ import annotations

import codecs
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
import pyarrow as pa
from pyarrow import csv
from starlette.responses import Response

from headrace.contracts.encode import ndjson, rows_json
from headrace.contracts.schema import Schema
from headrace.errors import Busy, HeadraceError, NotAcceptable, OutOfMemory
from headrace.results import Freshness, Version

logger = logging.getLogger("headrace")

JSON = "application/json"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv"
SPREADSHEET = "text/csv; for=spreadsheet"
"""CSV that is opened by a double click, not read by a program: see `_spreadsheet_body`."""
FORMATS = {
    "json": JSON,
    "ndjson": NDJSON,
    "arrow": ARROW,
    "csv": CSV,
    "spreadsheet": SPREADSHEET,
}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes a formula to begin with, wide forms too, as OWASP lists them."""
_ACCEPTED = {
    JSON: JSON,
    "application/*": JSON,
    "*/*": JSON,
    NDJSON: NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
    ARROW: ARROW,
    CSV: CSV,
    "text/*": CSV,
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """How fresh an answer is.

    Attributes:
        version: the version that was read, or the newest one.
        freshness: age of what is acknowledged but not in that version.
        watermark: the smallest watermark of the streams that it rests on; None where there is none.
        refreshed: of which version each view is that refreshes apart, among those it rests on.
        history_from: rows that came before it may be missing; None: none has gone.
    """

    version: Version
    freshness: Freshness
    watermark: datetime | None = None
    refreshed: Mapping[str, Version] = field(default_factory=dict)
    history_from: datetime | None = None

    def facts(self) -> dict[str, Any]:
        """Return version, watermark and freshness for a body."""
        facts: dict[str, Any] = {
            "version": self.version.number,
            "watermark": iso(self.watermark),
            "freshness_ms": round(self.freshness.freshness_ms, 3),
        }
        if self.refreshed:
            facts["refreshed"] = {name: version.number for name, version in self.refreshed.items()}
        if self.history_from is not None:
            facts["history_from"] = iso(self.history_from)
        return facts

    def headers(self) -> dict[str, str]:
        """Return the same for headers."""
        headers = {
            "Headrace-Version": str(self.version.number),
            "Headrace-Commit": str(self.version.commit),
            "Headrace-Freshness-Ms": f"{self.freshness.freshness_ms:.3f}",
            "Headrace-Pending-Commits": str(self.freshness.pending_commits),
            "Cache-Control": "no-store",
        }
        if self.watermark is not None:
            headers["Headrace-Watermark"] = str(iso(self.watermark))
        if self.history_from is not None:
            headers["Headrace-History-From"] = str(iso(self.history_from))
        return headers


@dataclass(frozen=True, slots=True)
class Page:
    """Rows on their way out.

    Attributes:
        table: the rows.
        schema: their columns.
        stamp: how fresh they are.
        extra: more members of the JSON body, such as `next`.
        headers: more headers.
    """

    table: pa.Table
    schema: Schema
    stamp: Stamp
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=256)
def iso(moment: datetime | None) -> str | None:
    """Return a moment as ISO text in UTC with a Z, or None."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


def json_response(body: Any, stamp: Stamp | None = None, status: int = 200) -> Response:
    """Return a JSON answer; the stamp's facts are added to the body and the headers."""
    content = {**body, **stamp.facts()} if stamp else body
    return Response(
        orjson.dumps(content, default=str),
        status,
        headers=stamp.headers() if stamp else None,
        media_type=JSON,
    )


def error_response(error: HeadraceError, stamp: Stamp | None = None, status: int | None = None) -> Response:
    """Return an error as `{"error": {code, problem, where, expected, hint, …}}`, with its HTTP status."""
    body: dict[str, Any] = {"error": error.as_dict()}
    content = orjson.dumps({**body, **stamp.facts()} if stamp else body, default=str)
    answer = Response(content, status or error.http_status, headers=stamp.headers() if stamp else None)
    answer.headers["Content-Type"] = JSON
    if isinstance(error, Busy):
        answer.headers["Retry-After"] = f"{max(error.retry_after_s, 0.05):g}"
    return answer


def unexpected(error: BaseException, what: str) -> HeadraceError:
    """Log an error that nobody foresaw and return one that tells a stranger nothing."""
    logger.error("%s failed", what, exc_info=error)
    if isinstance(error, MemoryError):
        return OutOfMemory("there is no memory left to answer", hint="try again a little later")
    return HeadraceError("the server failed to answer", hint="its log says more")


def wanted_format(accept: str, named: str | None = None) -> str:
    """Return the media type to answer in: the one named by `?format=`, else the best that Accept allows.

    Raises:
        NotAcceptable: none fits.
    """
    if named is not None:
        if named.lower() in FORMATS:
            return FORMATS[named.lower()]
        raise NotAcceptable(f"there is no format {named!r}", expected=f"one of: {', '.join(FORMATS)}")
    ranked = sorted(_weights(accept or "*/*"), key=lambda pair: -pair[0])
    for weight, kind in ranked:
        if weight > 0 and kind in _ACCEPTED:
            return _ACCEPTED[kind]
    raise NotAcceptable(
        f"cannot answer as {accept!r}"[:200], expected=f"one of: {', '.join((JSON, NDJSON, ARROW, CSV))}"
    )


def _weights(accept: str) -> list[tuple[float, str]]:
    found = []
    for part in accept.split(",")[:50]:
        kind, *params = (piece.strip().lower() for piece in part.split(";"))
        weight = next((param[2:] for param in params if param.startswith("q=")), "1")
        try:
            found.append((float(weight), kind))
        except ValueError:
            found.append((0.0, kind))
    return found


def rows_response(page: Page, kind: str) -> Response:
    """Return rows in the wanted format: facts stand in the body of JSON, and in the headers of all."""
    headers = {**page.stamp.headers(), **page.headers}
    if kind == JSON:
        return Response(_json_body(page), headers=headers, media_type=JSON)
    if kind == NDJSON:
        return Response(ndjson(page.table, page.schema), headers=headers, media_type=NDJSON)
    if kind == CSV:
        return Response(_csv_body(page), headers=headers, media_type="text/csv; charset=utf-8")
    if kind == SPREADSHEET:
        return Response(_spreadsheet_body(page), headers=headers, media_type="text/csv; charset=utf-8")
    return Response(arrow_bytes(page.table, page.schema), headers=headers, media_type=ARROW)


def _json_body(page: Page) -> bytes:
    facts = {**page.extra, **page.stamp.facts(), "columns": columns_of(page.schema)}
    return b'{"rows":' + rows_json(page.table, page.schema) + b"," + orjson.dumps(facts)[1:]


def columns_of(schema: Schema) -> list[dict[str, str]]:
    """Return names and SQL types for a body."""
    return [{"name": column.name, "type": column.sql_type} for column in schema]


def arrow_bytes(table: pa.Table, schema: Schema) -> bytes:
    """Return an Arrow IPC stream whose fields carry the SQL type as metadata `sql_type`."""
    fields = [
        kept.with_metadata({"sql_type": column.sql_type})
        for kept, column in zip(table.schema, schema, strict=True)
    ]
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema(fields)) as writer:
        for batch in table.to_batches():
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields)))
    return sink.getvalue()


def _csv_body(page: Page) -> bytes:
    """Return CSV with a header; nested values stand as JSON, numbers and times as text of their own."""
    return _written(page.schema.names, _csv_columns(page))


def _spreadsheet_body(page: Page) -> bytes:
    """Return CSV that a spreadsheet shows as it is.

    A byte-order mark says that it is UTF-8. Text that would be taken for a formula begins with an apostrophe:
    whoever named a customer is not to compute on the reader's machine. Numbers and times stay what they are.
    """
    columns = [
        column if _is_harmless(told.arrow) else [_no_formula(cell) for cell in column]
        for told, column in zip(page.schema, _csv_columns(page), strict=True)
    ]
    return codecs.BOM_UTF8 + _written([_no_formula(name) for name in page.schema.names], columns)


def _csv_columns(page: Page) -> list[list[str | None]]:
    rows = orjson.loads(rows_json(page.table, page.schema))
    return [[_csv_cell(row.get(name)) for row in rows] for name in page.schema.names]


def _written(names: Sequence[str | None], columns: Sequence[Sequence[str | None]]) -> bytes:
    table = pa.table([pa.array(column, pa.string()) for column in columns], names=list(names))
    sink = io.BytesIO()
    csv.write_csv(table, sink)
    return sink.getvalue()


def _is_harmless(kind: pa.DataType) -> bool:
    """Tell whether values of a type are numbers, days or times, of which none is a formula."""
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
        or types.is_date(kind)
        or types.is_timestamp(kind)
        or types.is_time(kind)
    )


def _no_formula(text: str | None) -> str | None:
    return f"'{text}" if text is not None and text.startswith(FORMULA_STARTS) else text


def _csv_cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode()
