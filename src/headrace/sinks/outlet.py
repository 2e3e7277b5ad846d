"""The sinks of a running app: one courier each, told of every version, exchanged with the app."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.change import Change
from headrace.declarations import SinkDecl
from headrace.errors import DeclarationError, UnknownName
from headrace.log.documents import place_file
from headrace.log.files import Files
from headrace.relations import KEPT_PREFIX
from headrace.results import SinkStatus, Version
from headrace.sinks.courier import Courier
from headrace.sinks.registry import kind_of

if TYPE_CHECKING:
    from headrace.runtime import Run

_HISTORY = "sinks.id"


class SinkOutlet:
    """Hands each version's changes on to the sinks that the app in force declares; returns at once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._app = run.app
        self._history = _history(run.path)
        self._lock = threading.Lock()
        self._couriers: dict[str, Courier] = {}
        self._detach = run.attach(self)
        self._follow()

    def publish(self, version: Version, changes: Mapping[str, Change]) -> None:
        """Tell the couriers of a version."""
        if self._run.app is not self._app:
            self._app = self._run.app
            self._follow()
        moved = {name.removeprefix(KEPT_PREFIX).lower() for name in changes}
        for courier in tuple(self._couriers.values()):
            courier.published(version.number, has_moved=courier.declared.view.lower() in moved)

    def _follow(self) -> None:
        """Have a courier for every sink that is declared, and for no other."""
        wanted = self._app.sinks
        with self._lock:
            for name in [
                name for name, known in self._couriers.items() if wanted.get(name) != known.declared
            ]:
                self._couriers.pop(name).end()
            for courier in self._couriers.values():
                courier.nudge()
            for name, declared in wanted.items():
                if name not in self._couriers:
                    self._couriers[name] = Courier(self._run, declared, kind_of(declared), self._history)
                    self._couriers[name].start()

    def status(self) -> tuple[SinkStatus, ...]:
        """Return where every sink stands."""
        return tuple(courier.status for courier in tuple(self._couriers.values()))

    def wait(self, version: int, timeout_s: float) -> bool:
        """Return whether all sinks hold a version, after waiting for at most so long in all."""
        until = time.monotonic() + timeout_s
        couriers = tuple(self._couriers.values())
        return all(courier.wait(version, max(0.0, until - time.monotonic())) for courier in couriers)

    def close(self) -> None:
        """Deliver what is left, where a sink can take it, and end."""
        self._detach()
        couriers = tuple(self._couriers.values())
        for courier in couriers:
            courier.end()
        for courier in couriers:
            courier.join()


def check_sink(run: Run, declared: SinkDecl) -> None:
    """Compare a sink with the view that it takes.

    Raises:
        UnknownName: there is no such view, kind or option.
        DeclarationError: the kind needs a key, and the view promises none.
    """
    kind = kind_of(declared)
    info = run.relation(declared.view)
    if info.is_logged:
        raise UnknownName(
            f"{info.name} is a stream, whose rows the log keeps", where=f"sink {declared.name!r}",
            expected="a view or a table", hint=f"declare a view: SELECT * FROM {info.name}",
        )  # fmt: skip
    if kind.needs_key and info.key is None:
        raise DeclarationError(
            f"no columns of {info.name} are known to identify a row, and {kind.scheme}:// writes by key",
            where=f"sink {declared.name!r}",
            expected="a view with GROUP BY, or a table with a key",
        )


def _history(path: Path | None) -> str:
    """Return the name of the versions of a data folder, which is made with the first sink and then stays."""
    if path is None:
        return uuid.uuid4().hex
    file, files = path / _HISTORY, Files()
    known = file.read_text().strip() if file.exists() else ""
    if known:
        return known
    name = uuid.uuid4().hex
    place_file(files, file, name.encode())
    return name


def open_sinks(run: Run) -> SinkOutlet:
    """Start what delivers to the sinks that an app declares.

    Raises:
        UnknownName, DeclarationError: as `check_sink`, unless the views are on their way.
    """
    is_changing = run.change is not None and run.change.is_open
    for declared in () if is_changing else run.app.sinks.values():
        check_sink(run, declared)
    return SinkOutlet(run)
