"""How a running app takes other definitions: views created and dropped, declarations applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from headrace.app import App
from headrace.change import Change
from headrace.declarations import StreamDecl
from headrace.definitions import Changeover, ChangePlan
from headrace.definitions.changeover import Definition
from headrace.errors import DeclarationError, UnknownName
from headrace.log.records import Declared
from headrace.points import reach
from headrace.reading import Reading
from headrace.redefine import OnBusy
from headrace.results import Version
from headrace.sql import plan_view
from headrace.sql.plan import ViewPlan


class Defining(Reading):
    """How definitions change."""

    def create_view(self, name: str, sql: str) -> None:
        """Add a view computed over all history; it stays with the data folder.

        Raises:
            DeclarationError: the name is taken.
            SqlError: the SQL does not plan.
        """
        if name.lower() in self._plans or name.lower() in self._bases:
            raise DeclarationError("the name is taken", where=name, hint="use replace_view, or another name")
        self._definitions.forget()
        with self._stepper.gate:
            self._add_view(name, sql)
            self._remember(name, sql)
            self._past.turn(self.version.number, self._described())

    def replace_view(self, name: str, sql: str) -> None:
        """Give a view a new definition over all history; readers see the old or the new, never a mixture."""
        old = self._plan_of(name)
        self._definitions.forget()
        if old.name not in self.app.view_decls and old.name not in self._created:
            raise DeclarationError("a table brings this view", where=name, hint="make another view over it")
        with self._stepper.gate:
            plan = self._planned(old.name, sql)
            self._past.settle([] if plan.schema.arrow == old.schema.arrow else [old.name])
            changes = self._engine.replace_view(plan, self._history)
            self._plans[old.name.lower()] = plan
            self._remember(old.name, sql)
            self._past.turn(self.version.number + 1, self._described())
            self._stepper.publish(changes)

    def drop_view(self, name: str) -> None:
        """Remove a view that `create_view` made.

        Raises:
            DeclarationError: other views read it, or the app declares it.
        """
        plan = self._plan_of(name)
        if plan.name not in self._created:
            raise DeclarationError(
                "the app declares this view", where=name, hint="remove it from the declarations"
            )
        self._definitions.forget()
        with self._stepper.gate:
            self._past.settle([plan.name])
            self._drop(plan.name)
            self._declare()
            self._past.turn(self.version.number + 1, self._described())

    def plan(self, app: App) -> ChangePlan:
        """Return what it would take to put an app's declarations in force: nothing is run.

        Raises:
            SqlError, UnsupportedSql, DeclarationError: the app's declarations are wrong in themselves.
        """
        self._check_open()
        return self._definitions.plan(self._definitions.definition(app))

    def apply(
        self, app: App, *, preview: bool = False, wait: bool = True, on_busy: OnBusy = "refuse",
        share: float = 0.5,
    ) -> Changeover:  # fmt: skip
        """Put an app's declarations in force while the present ones go on answering.

        The changed views, and those that read them, are built from history beside the running ones, brought
        to the same version, compared, and switched in one version. Readers see the old or the new, never a
        mixture; those who follow a view get the difference as changes. What was before stays beside, for
        `rollback`.

        Args:
            app: the wanted declarations.
            preview: stop before the switch: the new views are read as `<view>__new`, until `switch` or
                `cancel`.
            wait: return when it is switched (or ready); otherwise at once.
            on_busy: what becomes of a change that is on its way: `refuse` this one, `queue` behind it, or
                `replace` it.
            share: of one core, for the building; 0 to 1.

        Raises:
            SqlError, UnsupportedSql, DeclarationError: the declarations are wrong in themselves.
            ChangeFailed: it cannot be applied, or a view would have no answer; the old declarations stand.
        """
        self._check_open()
        if not 0 < share <= 1:
            raise DeclarationError(f"share is {share}", expected="more than 0, at most 1")
        change = self._definitions.apply(app, preview=preview, on_busy=on_busy, share=share)
        return change.wait(settled=not preview) if wait else change

    def rollback(self) -> Version:
        """Put the declarations before the last `apply` back in force, at once and in one version.

        Raises:
            ChangeFailed: there is none, or what was before it is no longer kept (after a restart).
        """
        self._check_open()
        return self._definitions.rollback()

    @property
    def change(self) -> Changeover | None:
        """The last change since the folder was opened: on its way, switched, or failed."""
        return self._definitions.change

    # --- what a change of definitions asks of the run -----------------------------------------------

    @property
    def _definition(self) -> Definition:
        """The declarations in force."""
        return Definition(self.app, dict(self._plans), dict(self._created))

    def _logged(self, relation: str, commit: int) -> Iterator[Change]:
        info = self._bases.get(relation.lower())
        return iter(()) if info is None else self._log.history(info.name, upto_commit=commit)

    def _install(
        self, definition: Definition, exchange: Callable[[], None], changes: Mapping[str, Change],
        restarted: Sequence[str],
    ) -> Version:  # fmt: skip
        """Put definitions in force; under the gate. Durable first, then exchanged, then seen."""
        facts = {**definition.app.fingerprint(), "created": dict(definition.created)}
        self._past.settle([name for name in restarted if name.lower() in self._plans])
        self._intake.heal()
        self._log.append(Declared(facts)).wait()
        reach("definitions declared")
        self._declare_relations(definition.app)
        self._intake.redeclare(definition.app.streams, definition.app.tables)
        exchange()
        reach("definitions exchanged")
        self.app, self._created = definition.app, dict(definition.created)
        self._plans = dict(definition.plans)
        self._past.turn(self.version.number + 1, self._described())
        anew = [self._plans[name] for name in restarted if name in self._plans]
        version = self._stepper.publish({**changes, **{p.name: Change.empty(p.schema.arrow) for p in anew}})
        reach("definitions shown")
        return version

    def _remember(self, name: str, sql: str) -> None:
        self._created[name] = sql
        self._declare()

    def _drop(self, name: str) -> None:
        self._engine.drop_view(name.lower())
        del self._plans[name.lower()]
        self._created.pop(name, None)

    def _plan_of(self, name: str) -> ViewPlan:
        plan = self._plans.get(name.lower())
        if plan is None:
            raise UnknownName.of("view", name, (plan.name for plan in self._plans.values()))
        return plan

    def _planned(self, name: str, sql: str) -> ViewPlan:
        catalog = {info.name.lower(): info.schema for info in self._bases.values()}
        catalog |= {key: plan.schema for key, plan in self._plans.items()}
        event_times = {
            name: decl.event_time
            for name, decl in self._decls.items()
            if isinstance(decl, StreamDecl) and decl.event_time
        }
        return plan_view(name, sql, catalog, event_times=event_times, functions=self.app.functions)

    def _add_view(self, name: str, sql: str) -> None:
        plan = self._planned(name, sql)
        self._engine.add_view(plan, self._history)
        self._plans[name.lower()] = plan
