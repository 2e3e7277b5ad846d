"""From answers to results, and from rows to bodies."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from headrace.contracts.jsontext import json_text
from headrace.contracts.schema import Column, Schema
from headrace.contracts.types import sql_type
from headrace.errors import ConnectError, RowsRejected
from headrace.history.difference import Difference, from_arrow
from headrace.relations import Answer, RelationInfo
from headrace.results import AppendResult, Freshness, Rejection, RowStatus, Version

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"


def body_of(rows: Any) -> tuple[bytes, str, int]:
    """Return rows as a body, its content type, and their number.

    Raises:
        RowsRejected: `rows` cannot be sent.
    """
    if hasattr(rows, "__arrow_c_stream__"):
        table = pa.table(rows)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue(), ARROW, table.num_rows
    listed = json_rows(rows)
    return f"[{','.join(listed)}]".encode(), JSON, len(listed)


def json_rows(rows: Any) -> list[str]:
    """Return each row as JSON text.

    Raises:
        RowsRejected: a value has no JSON, or `rows` is no collection of rows.
    """
    if hasattr(rows, "__arrow_c_stream__"):
        rows = pa.table(rows).to_pylist()
    if isinstance(rows, Mapping | str | bytes) or not hasattr(rows, "__iter__"):
        raise RowsRejected(
            "the rows are not a collection of rows", expected="a list of dicts or models, or an Arrow table"
        )
    texts = []
    for index, row in enumerate(rows):
        try:
            texts.append(json_text(row))
        except (TypeError, ValueError) as error:
            raise RowsRejected(f"row {index} cannot be sent: {error}") from None
    return texts


def append_result(facts: Mapping[str, Any], rows: int) -> AppendResult:
    """Return the result that an answer tells about `rows` rows.

    Raises:
        ConnectError: it tells of other rows.
    """
    try:
        statuses = _statuses(facts, rows)
        rejections = tuple(
            Rejection(row["index"], row.get("field"), row.get("value"), row.get("reason") or "")
            for row in facts["rows"]
            if row["status"] == "rejected"
        )
        delivery = str(facts.get("delivery", "exactly_once"))
        return AppendResult(facts["commit"], statuses, rejections, bool(facts["replayed"]), delivery)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConnectError(f"the answer cannot be read: {error!r}") from error


def _statuses(facts: Mapping[str, Any], rows: int) -> npt.NDArray[np.uint8]:
    if facts.get("statuses") is not None:
        statuses = np.frombuffer(base64.b64decode(facts["statuses"]), dtype=np.uint8)
    else:
        statuses = np.zeros(rows, dtype=np.uint8)
        for row in facts["rows"]:
            statuses[row["index"]] = RowStatus[row["status"].upper()]
    if len(statuses) != rows:
        raise ValueError(f"{len(statuses)} outcomes for {rows} rows")
    return statuses


def version_of(response: httpx.Response) -> Version:
    """Return the version that an answer was read at."""
    headers = response.headers
    try:
        return Version(int(headers["Headrace-Version"]), int(headers["Headrace-Commit"]))
    except (KeyError, ValueError) as error:
        raise ConnectError("the answer names no version", where=str(response.request.url)) from error


def freshness_of(response: httpx.Response) -> Freshness:
    """Return how old an answer is."""
    headers = response.headers
    try:
        return Freshness(float(headers["Headrace-Freshness-Ms"]), int(headers["Headrace-Pending-Commits"]))
    except (KeyError, ValueError) as error:
        raise ConnectError("the answer tells no freshness", where=str(response.request.url)) from error


def answer_of(response: httpx.Response, table: pa.Table, schema: Schema) -> Answer:
    """Return rows with what the headers tell of them."""
    begun = response.headers.get("Headrace-History-From")
    return Answer(
        table, schema, version_of(response), freshness_of(response),
        history_from=None if begun is None else datetime.fromisoformat(begun),
    )  # fmt: skip


def difference_of(response: httpx.Response) -> Difference:
    """Return the difference of an Arrow answer.

    Raises:
        ConnectError: it is none.
    """
    try:
        return from_arrow(response.content)
    except (ValueError, KeyError, pa.ArrowException, OSError) as error:
        raise ConnectError(f"the answer cannot be read: {error!r}") from error


def table_of(response: httpx.Response) -> tuple[pa.Table, Schema]:
    """Return the rows of an Arrow answer and their SQL types.

    Raises:
        ConnectError: it is not Arrow.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(response.content)) as reader:
            table = reader.read_all()
    except (pa.ArrowException, OSError) as error:
        raise ConnectError(f"the answer is not Arrow: {error}", where=str(response.request.url)) from error
    columns = []
    for field in table.schema:
        named = (field.metadata or {}).get(b"sql_type", b"").decode()
        columns.append(Column(field.name, named or "VARCHAR", field.type))
    plain = pa.schema([pa.field(field.name, field.type) for field in table.schema])
    return table.cast(plain), Schema(tuple(columns))


def relation_of(facts: Mapping[str, Any]) -> RelationInfo:
    """Return one readable name from its JSON."""
    columns = [Column(one["name"], one["type"], sql_type(one["type"]).arrow) for one in facts["columns"]]
    key = facts.get("key")
    return RelationInfo(
        facts["name"],
        facts["kind"],
        Schema.of(columns),
        sql=facts.get("sql"),
        key=tuple(key) if key is not None else None,
        error=facts.get("error"),
        rows=facts.get("rows"),
    )


def by_version(table: pa.Table, column: str) -> Sequence[pa.Table]:
    """Return a table cut where the number in `column` changes."""
    if table.num_rows == 0:
        return []
    numbers = table.column(column).to_numpy()
    starts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(numbers)]
    return [table.slice(a, b - a) for a, b in pairwise(starts)]


def json_of(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        ConnectError: it is none.
    """
    try:
        value = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise ConnectError("the answer is not JSON", where=str(response.request.url)) from error
    if not isinstance(value, dict):
        raise ConnectError("the answer is not an object", where=str(response.request.url))
    return value
