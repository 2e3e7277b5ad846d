"""Streams and tables whose columns change: what a run prepares beside its life, and exchanges in one step.

What the log holds stays as it is. From the switch on it is read in the new columns, the intake decides by
what it knows of rows in the new columns, and what is kept for readers is in the new columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.app import App
from headrace.change import Change
from headrace.contracts.encode import to_json_rows
from headrace.contracts.lineage import NO_FITTING, Fitting, Lineage
from headrace.contracts.models import row_shape
from headrace.contracts.schema import Schema
from headrace.contracts.validate import validate
from headrace.declarations import StreamDecl, TableDecl
from headrace.definitions.changeover import LINEAGE
from headrace.definitions.compare import ChangePlan
from headrace.definitions.evolution import Given
from headrace.engine.engine import Engine
from headrace.intake import Intake, side_schemas
from headrace.intake.intake import Converted
from headrace.relations import RelationInfo, kept_plan, watched
from headrace.sql.plan import ViewPlan

if TYPE_CHECKING:
    from headrace.log.log import Log

Decl = StreamDecl | TableDecl


def lineages_in(facts: Mapping[str, Any] | None) -> dict[str, Lineage]:
    """Return where the columns of relations come from, as the log's declarations say."""
    kept = (facts or {}).get(LINEAGE, {})
    return {name: Lineage.of_facts(told) for name, told in kept.items()}


def facts_of(lineages: Mapping[str, Lineage]) -> dict[str, Any]:
    """Return what a record of declarations keeps of it."""
    return {name: lineages[name].facts() for name in sorted(lineages)}


def given(app: App, lineages: Mapping[str, Lineage]) -> Given:
    """Return what an app's own declarations say about how columns come about."""
    decls = _decls(app)
    return Given(
        lineages, {decl.name: _renames(decl) for decl in decls}, {decl.name: _fills(decl) for decl in decls}
    )


def _decls(app: App) -> list[Decl]:
    return [*app.streams.values(), *app.tables.values()]


def _renames(decl: Decl) -> dict[str, str]:
    members = row_shape(decl.model).members if decl.model is not None else ()
    return {alias: member.name for member in members for alias in member.aliases} | dict(decl.renamed)


def _fills(decl: Decl) -> dict[str, Any]:
    """Return the defaults of a model's fields as JSON, where they are values of their column."""
    found: dict[str, Any] = {}
    members = row_shape(decl.model).members if decl.model is not None else ()
    for member in members:
        if member.default is None or member.name not in decl.schema:
            continue
        schema = Schema.of([decl.schema[member.name]])
        checked = validate(schema, [{member.name: member.default()}])
        if checked.batch.num_rows:
            found[member.name] = to_json_rows(pa.Table.from_batches([checked.batch]), schema)[0][member.name]
    return found


def fitting_of(app: App, lineages: Mapping[str, Lineage]) -> Fitting:
    """Return how rows of any age are read in the columns that an app declares."""
    schemas: dict[str, Schema] = {}
    known: dict[str, Lineage] = {}
    for decl in _decls(app):
        if decl.name not in lineages:
            continue
        sides = {name: schema for name, schema in side_schemas(decl).items() if name != decl.rejected_name}
        for name, schema in {decl.name: decl.schema, **sides}.items():
            schemas[name], known[name] = schema, lineages[decl.name]
    return Fitting(schemas, known) if known else NO_FITTING


class Evolving:
    """The change of columns that comes with one change of definitions.

    Args:
        app: the wanted declarations.
        plan: of the change.
        lineages: in force.
        bases: the wanted streams, tables and side tables, by lower-case name.
    """

    def __init__(
        self, app: App, plan: ChangePlan, lineages: Mapping[str, Lineage], bases: Mapping[str, RelationInfo]
    ) -> None:
        self._app = app
        self.lineages = {**lineages, **plan.lineages}
        self.fitting = fitting_of(app, self.lineages)
        self._moved = {name for name in plan.lineages if name in (*app.streams, *app.tables)}
        decls = [decl for decl in _decls(app) if decl.name in self._moved]
        names = [
            name.lower()
            for decl in decls
            for name in (decl.name, *side_schemas(decl))
            if name != decl.rejected_name
        ]
        self.bases = {name: bases[name] for name in names}
        self.converted: Converted | None = None

    def facts(self) -> dict[str, Any]:
        """Return what the log keeps of where columns come from."""
        return facts_of(self.lineages)

    @property
    def kept(self) -> tuple[ViewPlan, ...]:
        """The plans of what is kept of the changed relations for readers."""
        return tuple(kept_plan(info) for info in self.bases.values() if not info.is_logged)

    def fit(self, relation: str, change: Change) -> Change:
        """Return a change of a base relation, by lower-case name, in the new columns."""
        info = self.bases.get(relation)
        return change if info is None else self.fitting(info.name, change)

    def prepare(self, intake: Intake) -> None:
        """Read the log once for what the intake must know of rows in the new columns."""
        if not self._moved:
            return
        streams = {name: decl for name, decl in self._app.streams.items() if name in self._moved}
        tables = {name: decl for name, decl in self._app.tables.items() if name in self._moved}
        self.converted = intake.convert(streams, tables, self.fitting)

    def install(self, bases: dict[str, RelationInfo], engine: Engine, log: Log) -> None:
        """Put the new columns in force, when they are in the log and the intake decides by them."""
        log.fitting, self.converted = self.fitting, None
        for name, info in self.bases.items():
            bases[name] = info
            decl = next((one for at, one in self._app.streams.items() if at.lower() == name), None)
            engine.alter_relation(name, info.schema, event_time=watched(decl))
