"""Named queries: a SELECT with parameters, declared once, asked for by name from pages, HTTP and programs.

A query reads views at the moment it is asked; nothing of it is kept. It says in its own comments what it is
and what it wants to know:

    -- MRR at the end of each day, in one currency.
    -- $merchant TEXT: whose
    -- $since DATE = 2026-01-01: the first day
    SELECT day, mrr FROM mrr_per_day WHERE merchant_id = $merchant AND day >= $since ORDER BY day

A parameter without a default must be given. Values may come as text, as addresses carry them: each is cast to
the parameter's type. What they are held to stands behind the default, and is looked at before the SQL runs:

    -- $period TEXT = month IN (day, week, month): how long a row is
    -- $plan TEXT = NULL IN (none, {plan_choices}): `none`, or what the first column of that named query holds
    -- $rows INTEGER = 100 BETWEEN 1 AND 10000: how many

What SQL cannot tell, such as a difference between two moments, a Python function may answer under a name
(`python_query`), with the same comments and the same casts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from headrace.contracts.schema import Schema
from headrace.errors import BadRequest, DeclarationError
from headrace.query_parts import QueryParameter, QueryPart, filled, head_of

_CLOCKS = frozenset(
    (
        "now", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today",
        "get_current_time", "get_current_timestamp", "transaction_timestamp", "random", "uuid",
        "gen_random_uuid",
    )
)  # fmt: skip


CHOICES_TOLD = 40
"""So many choices a message names."""
PythonAnswer = Callable[[Any, Mapping[str, Any]], Any]
"""Takes the run and a value by parameter; returns a pyarrow.Table, or a list of dicts."""


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A declared query.

    Attributes:
        name: what it is asked for by.
        sql: the text as it was written.
        text: the same with its parts put in and every parameter cast to its type; of a Python query, one row
            of its parameters.
        parameters: what may be given.
        help: what it answers, from its first comments.
        path: its file, or None.
        is_timeless: it asks for no clock, so that its answer is the same at the same version.
        answer: the Python function that answers it; None: DuckDB does.
        columns: what a Python function answers with; None: what the SELECT does.
        parts: what it names in braces, itself or through others.
    """

    name: str
    sql: str
    text: str
    parameters: tuple[QueryParameter, ...]
    help: str = ""
    path: Path | None = None
    is_timeless: bool = True
    answer: PythonAnswer | None = None
    columns: Schema | None = None
    parts: tuple[QueryPart, ...] = ()

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for every parameter.

        Raises:
            BadRequest: one is missing, or unknown.
        """
        known = {one.name: one for one in self.parameters}
        unknown = [name for name in given if name not in known]
        if unknown:
            close = get_close_matches(unknown[0], list(known), n=1)
            raise BadRequest(
                f"the query {self.name!r} has no parameter {unknown[0]!r}"[:300],
                expected=f"of: {', '.join(known)}" if known else "none",
                hint=f"did you mean {close[0]!r}?" if close else None,
            )
        missing = [name for name, one in known.items() if one.is_required and given.get(name) is None]
        if missing:
            one = known[missing[0]]
            raise BadRequest(
                f"the query {self.name!r} wants ${one.name}",
                expected=f"{one.type}{': ' + one.help if one.help else ''}",
            )
        return {name: given.get(name, one.default) for name, one in known.items()}

    def unsure(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what must be looked at before the query is asked: not its own defaults, nor any text where
        every text will do.
        """
        return {
            one.name: values[one.name]
            for one in self.parameters
            if values[one.name] is not None
            and values[one.name] not in (one.default, *one.choices)
            and (one.type != "VARCHAR" or any(one.limits))
        }

    def cast_sql(self, names: Collection[str]) -> str:
        """Return a SELECT that tells of each parameter whether its value is of its type (`is`), within its
        bounds (`fits`), and what it is as text (`text`).
        """
        columns = []
        for number, one in enumerate(self.parameters):
            if one.name in names:
                value = f"TRY_CAST(${one.name} AS {one.type})"
                bounds = [f"CAST('{bound}' AS {one.type})" for bound in (one.least, one.most)]
                fits = "TRUE" if one.least is None else f"{value} BETWEEN {' AND '.join(bounds)}"
                columns.append(
                    f"{{'is': {value} IS NOT NULL, 'fits': {fits}, 'text': CAST({value} AS VARCHAR)}} "
                    f"AS p{number}"
                )
        return f"SELECT {', '.join(columns)}"

    def refuse(self, given: Mapping[str, Any], cast: Mapping[str, Any]) -> list[tuple[QueryParameter, str]]:
        """Refuse values that are not of their types, beyond their bounds, or no choice.

        Args:
            given: by parameter.
            cast: the row that `cast_sql` answers.

        Returns:
            What another named query knows the choices of, with its value.

        Raises:
            BadRequest: names parameter, value and choices.
        """
        left = []
        for number, one in enumerate(self.parameters):
            if one.name not in given:
                continue
            found = cast[f"p{number}"]
            if not found["is"]:
                raise self.refusal(one, given[one.name], f"a value of the type {one.type}")
            if not found["fits"]:
                raise self.refusal(one, given[one.name], f"{one.least} to {one.most}")
            if one.choices_of is not None and found["text"] not in one.choices:
                left.append((one, found["text"]))
            elif one.choices and found["text"] not in one.choices:
                raise self.refusal(one, given[one.name], choices=one.choices)
        return left

    def refusal(
        self, one: QueryParameter, value: Any, expected: str = "", choices: Sequence[str] = ()
    ) -> BadRequest:
        """Return the error for a value that a parameter cannot have."""
        close = get_close_matches(str(value), choices, n=1)
        more = f", … ({len(choices):,} in all)" if len(choices) > CHOICES_TOLD else ""
        return BadRequest(
            f"the query {self.name!r} cannot be asked with ${one.name} = {str(value)!r}"[:300],
            expected=expected or f"one of: {', '.join(choices[:CHOICES_TOLD])}{more}",
            hint=f"did you mean {close[0]!r}?" if close else None,
        )

    def unasked(self) -> dict[str, Any]:
        """Return the defaults, and NULL where there is none: what its columns are found out with."""
        return {one.name: one.default for one in self.parameters}


NO_PARTS: Mapping[str, QueryPart] = MappingProxyType({})


def named_query(
    name: str, sql: str, path: Path | None = None, parts: Mapping[str, QueryPart] = NO_PARTS
) -> NamedQuery:
    """Read a query with the comments that say what it wants, and put in the parts that it names.

    Raises:
        DeclarationError: a parameter is used and not described, or described wrongly, or there is no SELECT,
            or a part names itself.
        UnknownName: there is no part of a name that stands in braces.
    """
    where = str(path) if path else f"query {name!r}"
    if not isinstance(sql, str) or not sql.strip().strip(";"):
        raise DeclarationError("the query has no SQL", where=where, expected="a SELECT")
    described, words = head_of(sql, where)
    found = filled(sql, described, where, parts)
    return NamedQuery(
        name, sql, found.text, tuple(found.parameters.values()), " ".join(words), path,
        is_timeless=not found.words & _CLOCKS, parts=tuple(found.parts.values()),
    )  # fmt: skip


def python_query(name: str, answer: PythonAnswer, columns: Schema, wants: str) -> NamedQuery:
    """Declare a query that a Python function answers; `wants` are the comments that say what it wants.

    Raises:
        DeclarationError: the function cannot be called, or a parameter is described wrongly.
    """
    where = f"query {name!r}"
    if not callable(answer):
        raise DeclarationError(
            "the answer cannot be called", where=where, expected="a function of run and values"
        )
    described, words = head_of(wants, where)
    cast = [f"CAST(${one.name} AS {one.type}) AS {one.name}" for one in described.values()]
    text = f"SELECT {', '.join(cast) or '1 AS one'}"
    return NamedQuery(name, wants.strip(), text, tuple(described.values()), " ".join(words), answer=answer,
                      columns=columns)  # fmt: skip
