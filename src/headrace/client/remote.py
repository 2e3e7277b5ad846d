"""The methods of a run, over HTTP."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from types import TracebackType
from typing import Any
from urllib.parse import quote

import orjson
import pyarrow as pa

from headrace.change import VERSION
from headrace.client.transport import PATIENCE_S, Transport
from headrace.client.wire import (
    ARROW,
    JSON,
    answer_of,
    append_result,
    body_of,
    by_version,
    difference_of,
    freshness_of,
    json_of,
    json_rows,
    relation_of,
    table_of,
    version_of,
)
from headrace.contracts.jsontext import json_text
from headrace.errors import Busy, ChangeFailed, RowsRejected, UnknownName
from headrace.history.difference import Difference
from headrace.past import Moment, written
from headrace.relations import Answer, RelationInfo
from headrace.results import AppendResult, Freshness, Version

PAGE_ROWS = 200_000
POLL_S = 0.1
"""How often a view that is built is asked after."""
FOLLOW_WAIT_S = 20
Rows = Any
"""Dicts, models, or anything with `__arrow_c_stream__` (pyarrow, pandas, polars, duckdb)."""


def connect(url: str, token: str | None = None, *, patience_s: float = PATIENCE_S) -> RemoteRun:
    """Return a run that is served somewhere else; its methods are those of `App.open`'s run.

    Args:
        url: `http://host:port`, as `headrace run` prints it; a `?token=` in it counts.
        token: what the server wants, if anything.
        patience_s: how long the server may be gone or busy before an error is raised.

    Raises:
        ConnectError: it is no address, or nobody answers there.
        AccessDenied: the token is missing or wrong.
    """
    remote = RemoteRun(Transport(url, token, patience_s))
    try:
        remote.status()
    except BaseException:
        remote.close()
        raise
    return remote


@dataclass(frozen=True, slots=True)
class RemotePlan:
    """How a view is kept, as the server tells it: `str()` is the text, `as_dict()` the operators."""

    text: str
    plan: Any

    def __str__(self) -> str:
        return self.text

    def as_dict(self) -> Any:
        """Return the operators as plain data."""
        return self.plan


@dataclass(slots=True)
class RemoteTransaction:
    """Several changes that are sent together when the block ends, and become one commit.

    Attributes:
        results: the answers in the order of the calls, once the block has ended.
    """

    calls: list[tuple[str, str, list[str]]] = field(default_factory=list)
    results: tuple[AppendResult, ...] = ()

    def append(self, stream: str, rows: Rows) -> None:
        """Add rows to a stream."""
        self.calls.append(("append", stream, json_rows(rows)))

    def upsert(self, table: str, rows: Rows) -> None:
        """Insert or replace rows of a table by key; into a bag: add them."""
        self.calls.append(("upsert", table, json_rows(rows)))

    def delete(self, table: str, rows: Rows) -> None:
        """Delete rows of a table by key; from a bag by whole row, one copy each."""
        self.calls.append(("delete", table, json_rows(rows)))

    def body(self) -> bytes:
        """Return the request body."""
        parts = [
            f'{{"{verb}":{orjson.dumps(name).decode()},"rows":[{",".join(rows)}]}}'
            for verb, name, rows in self.calls
        ]
        return f'{{"changes":[{",".join(parts)}]}}'.encode()


class RemoteRun:
    """A run somewhere else. Thread-safe. Use as a context manager, or call `close`; the server goes on.

    A call that changes something carries an idempotency key of its own where none is given, so that it
    may be sent again after a lost connection without counting twice.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    # --- ways in ----------------------------------------------------------------------------------

    def append(
        self, stream: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Append rows to a stream; durable when it returns. Arguments and errors as of `Run.append`.

        Raises:
            ConnectError: the server cannot be reached; the call may be repeated with the same key.
        """
        return self._write(f"/v1/streams/{_step(stream)}", rows, on_reject, idempotency_key)

    def upsert(
        self, table: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Insert or replace rows by key (into a bag: add them); arguments and errors as for `append`."""
        return self._write(f"/v1/tables/{_step(table)}/upsert", rows, on_reject, idempotency_key)

    def delete(
        self, table: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Delete rows by key (from a bag: by whole row); arguments and errors as for `append`."""
        return self._write(f"/v1/tables/{_step(table)}/delete", rows, on_reject, idempotency_key)

    def _write(self, path: str, rows: Rows, on_reject: str, key: str | None) -> AppendResult:
        content, kind, count = body_of(rows)
        response = self._transport.send(
            "POST",
            path,
            params={"on_reject": on_reject, "statuses": "true"},
            content=content,
            headers={"Content-Type": kind, "Idempotency-Key": key or uuid.uuid4().hex},
        )
        return append_result(json_of(response), count)

    @contextmanager
    def transaction(
        self, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> Iterator[RemoteTransaction]:
        """Collect several changes and send them as one commit at the end of the block.

        Raises:
            RowsRejected: nothing was collected, or as for `append`.
        """
        transaction = RemoteTransaction()
        yield transaction
        if not transaction.calls:
            return
        response = self._transport.send(
            "POST",
            "/v1/transactions",
            params={"on_reject": on_reject, "statuses": "true"},
            content=transaction.body(),
            headers={"Content-Type": JSON, "Idempotency-Key": idempotency_key or uuid.uuid4().hex},
        )
        told = json_of(response)["results"]
        transaction.results = tuple(
            append_result(facts, len(rows))
            for facts, (_, _, rows) in zip(told, transaction.calls, strict=True)
        )

    def receive(
        self,
        source: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[AppendResult, ...]:
        """Give a declared source a delivery; arguments, answers and errors as of `Run.receive`."""
        response = self._transport.send(
            "POST",
            f"/v1/sources/{_step(source)}",
            params={**(params or {}), "statuses": "true"},
            content=body,
            headers={"Content-Type": "application/octet-stream", **(headers or {})},
        )
        counted = ("accepted", "repeated", "late", "rejected")
        told = json_of(response)["results"]
        return tuple(append_result(facts, sum(facts[name] for name in counted)) for facts in told)

    # --- versions ---------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return who serves, since when, how far and how busy."""
        return json_of(self._transport.send("GET", "/v1/status"))

    def advance(self) -> Version:
        """Return the version once everything committed before the call is in every view."""
        commit = int(self.status()["commit"] or 0)
        version = self.wait_for(commit, None)
        for held in self.status()["held"]:  # what is computed aside is in no version that is near
            version = self.wait_for(held, None) if held <= commit else version
        return version

    def wait_for(self, commit: int, timeout_s: float | None = 10.0) -> Version:
        """Block until `commit` is in a published version or the time is up; return the version then."""
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                wait_s = 10.0 if ends is None else max(0.0, min(10.0, ends - time.monotonic()))
                params = {"after": commit, "after_s": f"{wait_s:.3f}"}
                return version_of(self._transport.send("GET", "/v1/status", params=params))
            except Busy:
                if ends is not None and time.monotonic() >= ends:
                    return self.version

    @property
    def version(self) -> Version:
        """The published version."""
        return version_of(self._transport.send("GET", "/v1/status"))

    @property
    def freshness(self) -> Freshness:
        """How much is committed but not in the published version."""
        return freshness_of(self._transport.send("GET", "/v1/status"))

    # --- reading ----------------------------------------------------------------------------------

    def query(
        self, sql: str, params: Sequence[Any] | Mapping[str, Any] = (), *, as_of: Moment | None = None
    ) -> pa.Table:
        """Answer one SELECT over views, tables, streams and side tables, all at one version; see
        `Run.query`.
        """
        return self.answer(sql, params, as_of=as_of).table

    def answer(
        self, sql: str, params: Sequence[Any] | Mapping[str, Any] = (), *, as_of: Moment | None = None
    ) -> Answer:
        """Answer one SELECT, with version and freshness; arguments and errors as of `Run.answer`."""
        values = dict(params) if isinstance(params, Mapping) else list(params)
        try:
            asked: dict[str, Any] = {"sql": sql, "params": values}
            if as_of is not None:
                asked["as_of"] = written(as_of)
            content = json_text(asked).encode()
        except (TypeError, ValueError) as error:
            raise RowsRejected(f"a parameter cannot be sent: {error}") from None
        headers = {"Content-Type": JSON, "Accept": ARROW}
        response = self._transport.send("POST", "/v1/sql", content=content, headers=headers)
        table, schema = table_of(response)
        return answer_of(response, table, schema)

    def ask(
        self, name: str, params: Mapping[str, Any] | None = None, *, as_of: Moment | None = None
    ) -> Answer:
        """Answer a query that the server's app declares by name, as `Run.ask` does."""
        given = {key: str(value) for key, value in (params or {}).items() if value is not None}
        if as_of is not None:
            given["as_of"] = str(written(as_of))
        response = self._transport.send(
            "GET", f"/v1/queries/{_step(name)}", params=given, headers={"Accept": ARROW}
        )
        table, schema = table_of(response)
        return Answer(table, schema, version_of(response), freshness_of(response))

    def difference(
        self, view: str, since: Moment, until: Moment | None = None,
        causes: Mapping[str, Sequence[str] | str] | None = None, *, where: Mapping[str, Any] | None = None,
    ) -> Difference:  # fmt: skip
        """Return why a view differs between two moments; arguments and errors as of `Run.difference`."""
        named = {
            cause: [names] if isinstance(names, str) else list(names)
            for cause, names in (causes or {}).items()
        }
        body = {
            "view": view, "since": written(since), "until": None if until is None else written(until),
            "causes": named or None, "where": dict(where or {}) or None,
        }  # fmt: skip
        headers = {"Content-Type": JSON, "Accept": ARROW}
        content = orjson.dumps(body)
        return difference_of(
            self._transport.send("POST", "/v1/difference", content=content, headers=headers)
        )  # fmt: skip

    def read(self, view: str, *, as_of: Moment | None = None) -> Answer:
        """Return all rows of one view, table or side table, in the order that its SQL names, if any."""
        params: dict[str, Any] = {"limit": PAGE_ROWS}
        if as_of is not None:
            params["as_of"] = written(as_of)
        tables = []
        while True:
            response = self._transport.send(
                "GET", f"/v1/views/{_step(view)}", params=params, headers={"Accept": ARROW}
            )
            table, schema = table_of(response)
            tables.append(table)
            following = response.headers.get("Headrace-Next")
            if following is None:
                rows = pa.concat_tables(tables)
                return answer_of(response, rows, schema)
            params["cursor"] = following

    def snapshot(self, view: str, *, as_of: Moment | None = None) -> tuple[Version, pa.Table]:
        """Return the version and all rows of a view, table or side table."""
        answer = self.read(view, as_of=as_of)
        return answer.version, answer.table

    def changes(
        self, view: str, since: int | Version | None = None, *, follow: bool = False
    ) -> Iterator[pa.Table]:
        """Yield Arrow tables with the view's columns, `_weight` and `_version`; arguments as of
        `Run.changes`.
        """
        params: dict[str, Any] = {}
        seen = None if since is None else int(since)
        while True:
            if seen is not None:
                params["since"] = seen
            response = self._transport.send(
                "GET", f"/v1/views/{_step(view)}/changes", params=params, headers={"Accept": ARROW}
            )
            table, _ = table_of(response)
            parts = by_version(table, VERSION)
            yield from parts or ([table] if seen is None else [])
            seen = int(response.headers["Headrace-Upto"])
            if not follow:
                return
            params["wait_s"] = FOLLOW_WAIT_S

    def explain(self, view: str) -> RemotePlan:
        """Return the view's operators: rule, state, cost."""
        facts = json_of(self._transport.send("GET", f"/v1/views/{_step(view)}/explain"))
        return RemotePlan(str(facts["text"]), facts["plan"])

    def relations(self) -> list[RelationInfo]:
        """Return every readable name: streams, tables, side tables and views, with counts and errors."""
        return [relation_of(facts) for facts in json_of(self._transport.send("GET", "/v1/views"))["views"]]

    def relation(self, name: str) -> RelationInfo:
        """Return one readable name.

        Raises:
            UnknownName: with a *did you mean*.
        """
        if not name:
            raise UnknownName("the name is empty")
        return relation_of(json_of(self._transport.send("GET", f"/v1/views/{_step(name)}/schema")))

    # --- definitions ------------------------------------------------------------------------------

    def definitions(self) -> dict[str, Any]:
        """Return the last change of definitions: `state`, `progress`, `plan`, `difference`, `text`."""
        return json_of(self._transport.send("GET", "/v1/definitions"))

    def plan(self) -> dict[str, Any]:
        """Return what the files of the server's project would change: `plan` and `text`."""
        return json_of(self._transport.send("GET", "/v1/definitions/plan"))

    def apply(self, *, preview: bool = False, on_busy: str = "refuse") -> dict[str, Any]:
        """Start putting the files of the server's project in force; `definitions` tells how far it is.

        Raises:
            ChangeFailed: another change is on its way, or this one cannot be applied.
        """
        body = orjson.dumps({"preview": preview, "on_busy": on_busy})
        headers = {"Content-Type": JSON}
        return json_of(self._transport.send("POST", "/v1/definitions/apply", content=body, headers=headers))

    def cancel(self) -> dict[str, Any]:
        """Give up the change that is on its way."""
        return json_of(self._transport.send("POST", "/v1/definitions/cancel"))

    def rollback(self) -> dict[str, Any]:
        """Go back to the definitions before the last change: at once, or after a restart from history;
        `definitions` tells how far it is.
        """
        return json_of(self._transport.send("POST", "/v1/definitions/rollback"))

    def create_view(self, name: str, sql: str) -> None:
        """Add a view computed over all history, and wait for it; as `Run.create_view`."""
        self._one_view({"action": "create", "name": name, "sql": sql})

    def replace_view(self, name: str, sql: str) -> None:
        """Give a view a new definition over all history, and wait for it; as `Run.replace_view`."""
        self._one_view({"action": "replace", "name": name, "sql": sql})

    def drop_view(self, name: str) -> None:
        """Remove a view that `create_view` made."""
        self._one_view({"action": "drop", "name": name})

    def _one_view(self, wish: dict[str, str]) -> None:
        body, headers = orjson.dumps(wish), {"Content-Type": JSON}
        found = json_of(self._transport.send("POST", "/v1/definitions/views", content=body, headers=headers))
        pause = Event()
        while found["state"] in ("building", "ready"):
            pause.wait(POLL_S)
            found = self.definitions()
        if found["state"] == "failed":
            raise ChangeFailed(found["progress"]["error"], where=wish["name"], hint="the old views stand")

    # --- life -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections; the server goes on."""
        self._transport.close()

    def __enter__(self) -> RemoteRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _step(name: str) -> str:
    return quote(name, safe="")
