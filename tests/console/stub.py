"""A server whose every state a test can set: the views' protocol without an engine behind it.

The console is tried on it where the real server would have to be broken on cue: silent connections, views in
error, answers that fall behind, hostile rows. `tests/console/test_browser.py` uses the real one.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from headrace.console import attach
from headrace.contracts.schema import Column, Schema
from headrace.dashboards import Dashboard
from headrace.results import Freshness, Version

ARROW = {
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "TIMESTAMP": pa.timestamp("us"),
    "BOOLEAN": pa.bool_(),
    "DECIMAL(18,2)": pa.decimal128(18, 2),
    "INTEGER[]": pa.list_(pa.int32()),
}


def schema(text: str) -> Schema:
    """A schema from `name TYPE, name TYPE`; types hold no comma except `DECIMAL(18,2)`."""
    columns = []
    for part in text.replace("(18,2)", "(18;2)").split(","):
        name, kind = part.strip().rsplit(" ", 1)
        kind = kind.replace(";", ",")
        columns.append(Column(name, kind, ARROW[kind]))
    return Schema.of(columns)


@dataclass
class View:
    """A view of the stub: its kind, its columns and its rows as the wire has them."""

    columns: Schema
    rows: list[list[Any]] = field(default_factory=list)
    kind: str = "view"
    error: str | None = None


@dataclass(frozen=True)
class Info:
    """What `Run.relations` tells."""

    name: str
    kind: str
    schema: Schema
    sql: str | None
    key: tuple[str, ...] | None
    error: str | None
    rows: int | None


class Stub:
    """The part of a run that the pages read, and the sockets that they open."""

    def __init__(self, views: dict[str, View], dashboards: Sequence[Dashboard] = (), port: int = 0) -> None:
        self.views = views
        self.number = 1
        self.freshness_ms = 0.0
        self.silent = False
        self.trouble = None
        self.app = type("App", (), {"name": "shop", "named_queries": {}})()
        self.sockets: dict[str, list[asyncio.Queue[str]]] = {}
        self.server_app = FastAPI()
        self.server_app.websocket("/v1/views/{name}/changes")(self._socket)
        attach(self.server_app, cast(Any, self), dashboards)
        self.port = port

    # --- the run ----------------------------------------------------------------------------------

    @property
    def version(self) -> Version:
        return Version(self.number)

    @property
    def freshness(self) -> Freshness:
        return Freshness(self.freshness_ms, 1 if self.freshness_ms else 0)

    def relations(self) -> list[Info]:
        return [
            Info(name, view.kind, view.columns, f"SELECT * FROM {name}", None, view.error, len(view.rows))
            for name, view in self.views.items()
        ]

    def explain(self, name: str) -> str:
        return f"scan {name}\n  linear, 0 rows of state"

    def stats(self) -> dict[str, Any]:
        return {"intake": {}}

    def query(self, sql: str) -> pa.Table:
        view = next(view for name, view in self.views.items() if f'"{name}"' in sql)
        return pa.Table.from_pylist([self._named(view, row) for row in view.rows], schema=view.columns.arrow)

    # --- the wire ---------------------------------------------------------------------------------

    def _head(self, kind: str) -> dict[str, Any]:
        return {"type": kind, "version": self.number, "freshness_ms": self.freshness_ms, "watermark": None}

    async def _socket(self, socket: WebSocket, name: str) -> None:
        await socket.accept()
        view = self.views[name]
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.sockets.setdefault(name, []).append(queue)
        if view.error:
            queue.put_nowait(json.dumps(self._head("error") | {"error": {"problem": view.error}}))
        else:
            rows = [self._named(view, row) for row in view.rows]
            columns = [{"name": one.name, "type": one.sql_type} for one in view.columns]
            queue.put_nowait(json.dumps(self._head("snapshot") | {"columns": columns, "rows": rows}))
        try:
            while True:
                try:
                    message = await asyncio.wait_for(queue.get(), 0.5)
                except TimeoutError:
                    message = json.dumps(self._head("heartbeat"))
                if not self.silent:
                    await socket.send_text(message)
        except (WebSocketDisconnect, RuntimeError, OSError, asyncio.CancelledError):
            return
        finally:
            self.sockets[name].remove(queue)

    @staticmethod
    def _named(view: View, row: list[Any], weight: int | None = None) -> dict[str, Any]:
        named = dict(zip(view.columns.names, row, strict=True))
        return named if weight is None else named | {"_weight": weight}

    def change(self, name: str, gone: list[list[Any]], come: list[list[Any]]) -> None:
        """Publish one version in which rows of a view go and come."""
        view = self.views[name]
        for row in gone:
            view.rows.remove(row)
        view.rows.extend(come)
        self.number += 1
        rows = [self._named(view, row, -1) for row in gone] + [self._named(view, row, 1) for row in come]
        message = json.dumps(self._head("change") | {"rows": rows})
        for queue in list(self.sockets.get(name, ())):
            self.loop.call_soon_threadsafe(queue.put_nowait, message)

    def replace(self, name: str, rows: list[list[Any]]) -> None:
        """Publish the change that leads to exactly these rows."""
        old = self.views[name].rows
        self.change(name, [row for row in old if row not in rows], [row for row in rows if row not in old])

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> Stub:
        config = uvicorn.Config(
            self.server_app, port=self.port, log_level="error", ws="websockets-sansio", lifespan="off"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.ready = threading.Event()
        self.thread.start()
        self.ready.wait(20)
        return self

    def _run(self) -> None:
        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            serving = asyncio.create_task(self.server.serve())
            while not self.server.started and not serving.done():
                await asyncio.sleep(0.01)
            self.port = self.server.servers[0].sockets[0].getsockname()[1]
            self.ready.set()
            await serving

        asyncio.run(main())

    def stop(self) -> None:
        self.server.should_exit = True
        self.server.force_exit = True
        self.thread.join(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Stub:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
