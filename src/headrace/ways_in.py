"""The ways into a running app: append, upsert, delete, transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from headrace.contracts.validate import validate
from headrace.declarations import StreamDecl, TableDecl
from headrace.deliveries import Delivery
from headrace.errors import Busy, UnknownName, in_memory
from headrace.intake import Call
from headrace.parts import Parts
from headrace.relations import (
    Rows,
    deletion_schema,
)
from headrace.results import AppendResult
from headrace.transaction import Transaction

Kind = Literal["append", "upsert", "delete"]

PENDING_ROWS_MAX = 2_000_000
"""Durable rows that may wait for a step before appends are told to come back later."""


class WaysIn(Parts):
    """How rows come in."""

    def append(
        self, stream: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Append rows to a stream; durable when it returns.

        Args:
            stream: the stream's name.
            rows: dicts, models, or anything with `__arrow_c_stream__`.
            on_reject: `keep` puts bad rows aside in `<stream>__rejected`; `raise` refuses the whole call.
            idempotency_key: a key under which a repeat of this call gets this answer again.

        Raises:
            UnknownName: there is no such stream.
            RowsRejected: with `on_reject="raise"`, when any row breaks the contract.
            Busy: too much waits to be computed; nothing was taken in.
            IdempotencyConflict: the key was used with other content.
            StorageError: the log could not be written; nothing was taken in.
            OutOfMemory: there was no memory for it; nothing was taken in.
        """
        return self._submit_one("append", stream, rows, on_reject, idempotency_key)

    def upsert(
        self, table: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Insert or replace rows by key (into a bag: add them); arguments and errors as for `append`."""
        return self._submit_one("upsert", table, rows, on_reject, idempotency_key)

    def delete(
        self, table: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Delete rows by key (from a bag: by whole row); arguments and errors as for `append`."""
        return self._submit_one("delete", table, rows, on_reject, idempotency_key)

    @contextmanager
    def transaction(
        self,
        source: str | None = None,
        position: Any = None,
        *,
        on_reject: str = "keep",
        idempotency_key: str | None = None,
    ) -> Iterator[Transaction]:
        """Collect several changes, and a source's position, into one commit at the end of the block."""
        transaction = Transaction(self)
        yield transaction
        transaction.results = tuple(
            self._submit(transaction.calls, on_reject, idempotency_key, source=source, position=position)
        )

    def receive(
        self,
        source: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[AppendResult, ...]:
        """Give a declared source a delivery; what it means is one commit, durable when this returns.

        Args:
            source: as `app.source` declared it.
            body: what has come, as it was sent.
            headers: by lower-case name.
            params: as they would stand in the address.

        Returns:
            One answer for each change, in their order; none where the delivery means nothing.

        Raises:
            UnknownName: there is no such source.
            HeadraceError: what the source raises, and what appending raises.
        """
        found = self.app.sources.get(source)
        if found is None:
            raise UnknownName.of("source", source, self.app.sources)
        puts = found.receive(Delivery(body, datetime.now(UTC), headers or {}, params or {}))
        if not puts:
            return ()
        with self.transaction() as transaction:
            for put in puts:
                getattr(transaction, put.verb)(put.name, put.rows)
        return transaction.results

    def position(self, source: str) -> Any:
        """Return the last committed position of a source, or None."""
        return self._intake.position(source)

    def _submit_one(
        self, kind: Kind, relation: str, rows: Rows, on_reject: str, idempotency_key: str | None
    ) -> AppendResult:
        return self._submit([self._call(kind, relation, rows)], on_reject, idempotency_key)[0]

    def _call(self, kind: Kind, relation: str, rows: Rows) -> Call:
        with in_memory("no row was taken in"):
            return self._checked(kind, relation, rows)

    def _checked(self, kind: Kind, relation: str, rows: Rows) -> Call:
        decl = self._declared(kind, relation)
        if kind == "delete" and isinstance(decl, TableDecl) and decl.key is not None:
            return Call(kind, decl.name, validate(
                deletion_schema(decl, rows), rows, extra="ignore", renamed=decl.renamed
            ))  # fmt: skip
        return Call(kind, decl.name, validate(decl.schema, rows, model=decl.model, renamed=decl.renamed))

    def _declared(self, kind: str, relation: str) -> StreamDecl | TableDecl:
        wanted = StreamDecl if kind == "append" else TableDecl
        decl = self._decls.get(relation.lower())
        if isinstance(decl, wanted):
            return decl
        label = "stream" if kind == "append" else "table"
        if decl is not None:
            verb = "upsert" if kind == "append" else "append"
            raise UnknownName(f"{relation!r} is not a {label}", where=relation, hint=f"use {verb} for it")
        raise UnknownName.of(label, relation, (d.name for d in self._decls.values() if isinstance(d, wanted)))

    def begin_append(self, stream: str, rows: Rows) -> Callable[[], AppendResult]:
        """Decide about rows as `append` does, and return at once what waits until they are durable.

        Raises:
            UnknownName, Busy, StorageError: as `append` does; the answer may raise StorageError too.
        """
        call = self._call("append", stream, rows)
        self._check_room()
        with in_memory("no row was taken in"):
            finish = self._intake.begin([call])
        return lambda: finish()[0]

    def _submit(
        self, calls: Sequence[Call], on_reject: str, idempotency_key: str | None, **source: Any
    ) -> list[AppendResult]:
        self._check_room()
        with in_memory("no row was taken in"):
            return list(
                self._intake.submit(calls, on_reject=on_reject, idempotency_key=idempotency_key, **source)
            )

    def _check_room(self) -> None:
        self._check_open()
        if self._stepper.pending_rows > PENDING_ROWS_MAX:
            raise Busy(
                f"{self._stepper.pending_rows:,} rows wait to be computed",
                expected=f"at most {PENDING_ROWS_MAX:,}",
                hint="send again a little later, or call advance()",
            )
