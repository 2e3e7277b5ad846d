"""How a running app takes other definitions: views created and dropped, declarations applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from headrace.app import App
from headrace.change import Change
from headrace.contracts.names import check_name
from headrace.definitions import Changeover, ChangePlan
from headrace.definitions.changeover import BEFORE, Definition
from headrace.errors import DeclarationError, UnknownName
from headrace.evolving import facts_of
from headrace.log.records import Declared
from headrace.points import reach
from headrace.reading import Reading
from headrace.redefine import OnBusy
from headrace.relations import KEPT_PREFIX
from headrace.results import Version
from headrace.sql.plan import ViewPlan


class Defining(Reading):
    """How definitions change."""

    def create_view(self, name: str, sql: str, *, wait: bool = True) -> None:
        """Add a view computed over all history, beside what runs; it stays with the data folder.

        With `wait=False` it returns at once, here and in the two below; `run.change` says how far it is.

        Raises:
            DeclarationError: the name is taken.
            SqlError: the SQL does not plan.
            ChangeFailed: another change is on its way, or the view would have no answer.
        """
        self._check_open()
        if name.lower() in self._plans or name.lower() in self._bases:
            raise DeclarationError("the name is taken", where=name, hint="use replace_view, or another name")
        check_name("view", name, ())
        self._definitions.redefine({**self._created, name: sql}, wait=wait)

    def replace_view(self, name: str, sql: str, *, wait: bool = True) -> None:
        """Give a view a new definition over all history; readers see the old or the new, never a mixture.

        A view that the app declares keeps it until the app's declarations are applied again.

        Raises:
            UnknownName: there is no such view.
            SqlError: the SQL does not plan, or a view that reads this one no longer does.
            ChangeFailed: another change is on its way, or a view would have no answer.
        """
        self._check_open()
        old = self._plan_of(name)
        if old.name not in self.app.view_decls and old.name not in self._created:
            raise DeclarationError("a table brings this view", where=name, hint="make another view over it")
        self._definitions.redefine({**self._created, old.name: sql}, wait=wait)

    def drop_view(self, name: str, *, wait: bool = True) -> None:
        """Remove a view that `create_view` made.

        Raises:
            DeclarationError: other views read it, or the app declares it.
        """
        self._check_open()
        plan = self._plan_of(name)
        if plan.name not in self._created or plan.name in self.app.view_decls:
            raise DeclarationError(
                "the app declares this view", where=name, hint="remove it from the declarations"
            )
        readers = [other.name for other in self._plans.values() if plan.name.lower() in other.relations]
        if readers:
            raise DeclarationError(
                f"it is read by {', '.join(readers)}", where=name, hint=f"drop or change {readers[0]} first"
            )
        kept = {key: sql for key, sql in self._created.items() if key != plan.name}
        self._definitions.redefine(kept, wait=wait)

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
        self._past.flush()  # so that little is left to be written at the switch
        self._check_open()
        change = self._definitions.apply(app, preview=preview, on_busy=on_busy, share=share)
        return change.wait(settled=not preview) if wait else change

    def rollback(self, *, wait: bool = True) -> Version:
        """Put the declarations before the last change back in force, in one version.

        What was before goes on beside until the next change, so that this is instant. After a restart it is
        built from history again, as `apply` does; `run.change.progress` says how far it is.

        Args:
            wait: return when they are in force; otherwise at once, with the version of now.

        Raises:
            ChangeFailed: there is nothing to go back to.
        """
        self._check_open()
        change = self._definitions.rollback()
        return change.wait(settled=True).version or self.version if wait else self.version

    @property
    def change(self) -> Changeover | None:
        """The last change since the folder was opened: on its way, switched, or failed."""
        return self._definitions.change

    @property
    def undone(self) -> str | None:
        """What was begun before this opening, was interrupted and is undone, in words; None: nothing was."""
        return self._definitions.undone

    # --- what a change of definitions asks of the run -----------------------------------------------

    @property
    def _definition(self) -> Definition:
        """The declarations in force."""
        lineages = facts_of(self._definitions.lineages)
        return Definition(self.app, dict(self._plans), dict(self._created), lineages)

    def _logged(self, relation: str, commit: int) -> Iterator[Change]:
        info, held = self._bases.get(relation.lower()), self._definitions.held
        if info is None:
            return iter(())
        return self._log.history(info.name, upto_commit=commit, without=held)

    def _install(
        self, definition: Definition, exchange: Callable[[], None], changes: Mapping[str, Change],
        restarted: Sequence[str], *, undoes: bool,
    ) -> Version:  # fmt: skip
        """Put definitions in force; under the gate. Durable first, then exchanged, then seen."""
        before = None if undoes else self._definition.facts()
        facts = {**definition.facts(), BEFORE: before}
        kept = [name for name in restarted if name.startswith(KEPT_PREFIX)]
        self._past.settle([*kept, *(name for name in restarted if name.lower() in self._plans)])
        self._intake.heal()
        self._log.append(Declared(facts)).wait()
        self._definitions.before = before
        reach("definitions declared")
        evolving = self._definitions.evolving
        converted = None if evolving is None else evolving.converted
        self._intake.redeclare(definition.app.streams, definition.app.tables, converted)
        self._declare_relations(definition.app)
        with self._stepper.shown:
            if evolving is not None and evolving.bases:
                evolving.install(self._bases, self._engine, self._log)
                self._definitions.lineages = evolving.lineages
            exchange()
            reach("definitions exchanged")
            self.app, self._created = definition.app, dict(definition.created)
            self._plans = dict(definition.plans)
            self._past.turn(self.version.number + 1, self._described())
            anew = [self._plans[name] for name in restarted if name in self._plans]
            empty = {name: Change.empty(self._engine.store(name).schema.arrow) for name in kept}
            empty |= {plan.name: Change.empty(plan.schema.arrow) for plan in anew}
            version = self._stepper.publish({**changes, **empty})
        reach("definitions shown")
        return version

    def _plan_of(self, name: str) -> ViewPlan:
        plan = self._plans.get(name.lower())
        if plan is None:
            raise UnknownName.of("view", name, (plan.name for plan in self._plans.values()))
        return plan
