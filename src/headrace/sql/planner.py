"""The way from text to plan, one step a line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import duckdb

from headrace.contracts.schema import Schema
from headrace.declarations import options_of
from headrace.errors import SqlError
from headrace.functions import PythonFunction
from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.query import bind_query
from headrace.sql.bind.recompute import recompute
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.check import bind_in_duckdb, check_relations, known_names, refuse_outside, relations_in
from headrace.sql.clock import spelled_out
from headrace.sql.deep import with_room
from headrace.sql.duck import Duck
from headrace.sql.errors import Text, raise_from_exception
from headrace.sql.expand import expand_windows
from headrace.sql.parse import parse_select
from headrace.sql.passes import optimise
from headrace.sql.passes.finish import event_time_columns, named, plain, shown_order, unique_key
from headrace.sql.plan import Node, ViewPlan
from headrace.sql.python_functions import calls_in, declare_functions, refuse_windows, written_out
from headrace.sql.ties import break_ties
from headrace.sql.tree import Tree, function_name, walk

PLANS_KEPT = 256
"""Plans that are remembered: an app that opens again, or a view that is asked about, is not planned twice."""


def plan_view(
    name: str,
    sql: str,
    catalog: Mapping[str, Schema],
    *,
    event_times: Mapping[str, str] | None = None,
    functions: Mapping[str, PythonFunction] | None = None,
) -> ViewPlan:
    """Return the plan of a view.

    Args:
        name: the view's name, for errors and the plan.
        sql: one SELECT in DuckDB's dialect, with TUMBLE, HOP and SESSION.
        catalog: lower-case relation name to schema: streams, tables, side tables, other views.
        event_times: lower-case stream name to its event-time column.
        functions: declared Python functions by lower-case name.

    Raises:
        SqlError: the text does not parse or bind; the message names line and column and underlines the place.
        UnsupportedSql: it cannot be kept fresh at all, such as a call of `random()`.
    """
    reads = _reads(sql)
    if reads is None or any(relation not in catalog for relation in reads):
        return with_room(lambda: _plan(name, sql, catalog, event_times or {}, functions or {}))
    known = tuple((relation, catalog[relation]) for relation in reads)
    times = tuple((at, (event_times or {})[at]) for at in reads if at in (event_times or {}))
    return _remembered(name, sql, known, times, tuple((functions or {}).values()))


def _reads(sql: str) -> tuple[str, ...] | None:
    try:
        return relations_of(sql)
    except SqlError:
        return None


@lru_cache(maxsize=PLANS_KEPT)
def _remembered(
    name: str,
    sql: str,
    known: tuple[tuple[str, Schema], ...],
    times: tuple[tuple[str, str], ...],
    functions: tuple[PythonFunction, ...],
) -> ViewPlan:
    """Plan a view whose relations are all known; a plan is immutable, and the same every time."""
    named = {function.name: function for function in functions}
    return with_room(lambda: _plan(name, sql, dict(known), dict(times), named))


def _plan(
    name: str,
    sql: str,
    catalog: Mapping[str, Schema],
    event_times: Mapping[str, str],
    functions: Mapping[str, PythonFunction],
) -> ViewPlan:
    text = Text(name, sql)
    options = options_of(sql, where=f"view {name!r}")
    duck = Duck()
    try:
        tree = parse_select(duck, text)
        relations = check_relations(text, tree, catalog)
        refuse_outside(text, tree, catalog)
        labels = {column.name.lower() for relation in relations for column in catalog[relation]}
        labels |= {str(part.get("alias") or "").lower() for part in walk(tree)}
        tree = spelled_out(duck, tree, frozenset(labels))
        for relation in relations:
            duck.declare(relation, catalog[relation])
        called = list(calls_in(tree, functions))
        if called:
            refuse_windows(text, called)
            declare_functions(duck, functions)
        expanded, windows = expand_windows(duck, text, tree, catalog)
        known = known_names(tree, [catalog[relation] for relation in relations], windows)
        if not any(functions[function_name(call)].is_aggregate for call in called):
            bind_in_duckdb(duck, text, windows, known)
        tree = _decided(duck, text, written_out(duck, expanded, functions) if called else expanded)
        reference = duck.text(tree)
        described = duck.labels(reference)
        if len({label.lower() for label, _ in described}) < len(described):
            described = duck.describe(reference)
            reference = f"SELECT * FROM ({reference})"
        work = Work(duck, text, catalog, bind_query, functions if called else None)
        answer, root = _planned(work, tree, described)
        return ViewPlan(
            name=name,
            sql=sql,
            reference_sql=reference,
            root=root,
            relations=relations,
            order=shown_order(answer, described),
            unique_key=unique_key(root),
            event_time_columns=event_time_columns(root, event_times),
            emit=options.emit,
            refresh=options.refresh,
        )
    finally:
        duck.close()


def _decided(duck: Duck, text: Text, tree: Tree) -> Tree:
    """Return the query with its open orders decided, after one more look by DuckDB."""
    try:
        duck.labels(duck.text(tree))
    except duckdb.Error as error:
        raise_from_exception(text, error)
    return break_ties(duck, tree)


def _planned(work: Work, tree: Tree, described: list[tuple[str, str]]) -> tuple[Bound, Node]:
    """Return the query bound and its plan; where the rules fail, DuckDB answers it as a whole."""
    if any(part.get("class") == "COLLATE" for part in walk(tree)):
        return _whole(work, tree, described, "COLLATE")
    try:
        answer = bind_query(work, tree, Env())
        if [col.sql_type for col in answer.columns] != [sql_type for _, sql_type in described]:
            return _whole(work, tree, described, "types that this planner does not follow")
        return answer, plain(work, optimise(work, named(answer, described)))
    except (NotPlanned, duckdb.Error) as why:
        reason = (
            why.reason if isinstance(why, NotPlanned) else "an expression that this planner cannot take apart"
        )
        return _whole(work, tree, described, reason)


def _whole(work: Work, tree: Tree, described: list[tuple[str, str]], reason: str) -> tuple[Bound, Node]:
    try:
        answer = recompute(work, Env(), tree, reason, whole=True)
    except NotPlanned as why:
        raise work.text.error(f"this query cannot be planned: {why.reason}") from why
    return answer, plain(work, optimise(work, named(answer, described)))


@lru_cache(maxsize=PLANS_KEPT)
def relations_of(sql: str) -> tuple[str, ...]:
    """Return the lower-case names of the relations that a query reads, without knowing a catalog.

    Raises:
        SqlError: the text does not parse.
    """

    def read() -> tuple[str, ...]:
        duck = Duck()
        try:
            tree = parse_select(duck, Text("query", sql))
        finally:
            duck.close()
        return tuple(dict.fromkeys(name.lower() for name, _ in relations_in(tree, frozenset())))

    return with_room(read)
