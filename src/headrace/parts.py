"""What the parts of a running app share: its pieces by name, and whether it is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.app import App
from headrace.change import Change
from headrace.declarations import DEFAULT_HISTORY, StreamDecl, TableDecl
from headrace.engine.engine import Engine
from headrace.errors import Closed
from headrace.feed import Feed
from headrace.history.chapters import Described
from headrace.history.describe import described_table, described_views
from headrace.intake import Intake
from headrace.log.log import Log
from headrace.past import Past
from headrace.query import Reader
from headrace.relations import KEPT_PREFIX, RelationInfo, order_sql
from headrace.results import Version
from headrace.sql.plan import ViewPlan
from headrace.stepper import Stepper

if TYPE_CHECKING:
    from headrace.redefine import Redefinition


class Parts:
    """The pieces that `headrace.runtime.Run` puts together; its parts, one to a module, read them here.

    Attributes:
        app: the declarations in force.
    """

    app: App
    _clock: Callable[[], datetime]
    _closed: bool
    _decls: dict[str, StreamDecl | TableDecl]
    _bases: dict[str, RelationInfo]
    _plans: dict[str, ViewPlan]
    _created: dict[str, str]
    _definitions: Redefinition
    _engine: Engine
    _feed: Feed
    _intake: Intake
    _log: Log
    _past: Past
    _reader: Reader
    _stepper: Stepper

    @property
    def version(self) -> Version:
        """The published version."""
        return self._stepper.version

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the run is closed", where=self.app.name, hint="open the app again")

    def _declare(self) -> None:
        """Record the declarations in force in the log."""
        raise NotImplementedError

    def _described(self) -> list[Described]:
        """Return what the past must know of every view, table and side table."""
        orders = {name: order_sql(plan) or None for name, plan in self._plans.items()}
        found = described_views(self._plans, orders, DEFAULT_HISTORY)
        for name, info in self._bases.items():
            if KEPT_PREFIX + name in self._engine:
                found.append(described_table(KEPT_PREFIX + name, info.schema, info.key, DEFAULT_HISTORY))
        return found

    def _declare_relations(self, app: App) -> None:
        """Make an app's streams and tables known to engine and readers."""
        raise NotImplementedError

    def _history(self, relation: str) -> Iterator[Change]:
        """Yield what the engine has been fed of a relation so far."""
        raise NotImplementedError
