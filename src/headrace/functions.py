"""Python functions that views may call: what they take and answer, and what identifies them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

import pyarrow as pa

from headrace.contracts.schema import Column, Schema
from headrace.contracts.types import scratch_query, sql_type
from headrace.errors import DeclarationError

Form = Literal["columnar", "rowwise", "aggregate"]
"""How a function is called: with one Arrow array per argument, with the values of one row, or with the rows
of one group.
"""
ROWS_SUFFIX = "__rows"
"""Behind the name of an aggregate function: the scalar function of the list of a group's rows."""


class WrongAnswer(Exception):  # noqa: N818 - told as the error of a view or a query
    """A function answered something that its declaration does not say."""


@dataclass(frozen=True, eq=False)
class PythonFunction:
    """A function declared with `App.function` or `App.aggregate_function`.

    Attributes:
        name: lower case, as SQL calls it.
        fn: the function; of an aggregate: of the list of a group's rows.
        args: SQL types of the arguments, DuckDB's spelling.
        returns: SQL type of the answer.
        form: how `fn` is called.
        version: whatever the declarer says; another version is another function.
        source: the text of the function, as far as Python knows it.
    """

    name: str
    fn: Callable[..., Any] = field(repr=False)
    args: tuple[str, ...]
    returns: str
    form: Form
    version: str
    source: str = field(repr=False, default="")

    @cached_property
    def fingerprint(self) -> str:
        """A digest of name, types, form, version and source: equal digests, the same function."""
        facts = (self.name, self.args, self.returns, self.form, self.version, self.source)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"<{self.name}({', '.join(self.args)}) → {self.returns}, {self.fingerprint[:12]}>"

    @property
    def called(self) -> str:
        """Its name as people write it."""
        return self.name.removesuffix(ROWS_SUFFIX)

    @property
    def is_aggregate(self) -> bool:
        """Whether it answers one value per group."""
        return self.form == "aggregate"

    @property
    def output(self) -> Column:
        """The column that it answers."""
        return Column(self.name, self.returns, sql_type(self.returns).arrow)

    @property
    def inputs(self) -> Schema:
        """Its arguments as columns."""
        return Schema.of(Column(f"a{at}", kind, sql_type(kind).arrow) for at, kind in enumerate(self.args))

    def facts(self) -> dict[str, Any]:
        """Return what the log keeps of it, as JSON values."""
        return {
            "args": list(self.args),
            "returns": self.returns,
            "form": self.form,
            "version": self.version,
            "source": self.source,
        }


def declare(
    name: str, fn: Callable[..., Any], args: Sequence[str], returns: str, version: str, form: Form
) -> PythonFunction:
    """Return a checked declaration.

    Raises:
        DeclarationError: a name that DuckDB uses itself, a type that it does not know, something that cannot
            be called.
    """
    where = f"function {name!r}"
    if not isinstance(name, str) or not name.isidentifier() or name.lower().endswith(ROWS_SUFFIX):
        raise DeclarationError(
            "a function's name is one plain word", where=where, expected="such as risk_score"
        )
    if _is_builtin(name.lower()):
        raise DeclarationError(
            "SQL has a function of that name already", where=where, hint=f"call it my_{name.lower()}"
        )
    if not callable(fn):
        raise DeclarationError(f"{fn!r} cannot be called", where=where, expected="a Python function")
    if isinstance(args, str) or not args:
        raise DeclarationError(
            "a function needs arguments", where=where, expected='a list of SQL types, such as ["BIGINT"]'
        )
    kinds = tuple(sql_type(kind).sql for kind in args)
    answer = sql_type(returns).sql
    return PythonFunction(name.lower(), fn, kinds, answer, form, str(version), _source(fn))


def recalled(name: str, facts: dict[str, Any]) -> PythonFunction:
    """Return a function that an older run declared; what it computed is not known any more."""

    def gone(*_: Any) -> Any:
        raise DeclarationError(f"the function {name!r} is declared otherwise now", where=f"function {name!r}")

    args = tuple(facts["args"])
    return PythonFunction(
        name, gone, args, facts["returns"], facts["form"], facts["version"], facts["source"]
    )


def folded(
    init: Callable[[], Any], update: Callable[..., Any], finish: Callable[[Any], Any] | None, width: int
) -> Callable[[list[Any]], Any]:
    """Return init, update and finish as one function of the rows of a group."""

    def over(rows: list[Any]) -> Any:
        state = init()
        for row in rows:
            state = update(state, row) if width == 1 else update(state, *row)
        return state if finish is None else finish(state)

    over.__headrace_parts__ = (init, update, finish)  # type: ignore[attr-defined]
    return over


def _source(fn: Callable[..., Any]) -> str:
    parts = getattr(fn, "__headrace_parts__", (fn,))
    return "\n".join(_text(part) for part in parts if part is not None)


def _text(fn: Callable[..., Any]) -> str:
    """Return the source of a function; where there is none, what its code does."""
    try:
        return inspect.getsource(fn)
    except (OSError, TypeError):
        code = getattr(fn, "__code__", None)
        if code is None:
            return f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', type(fn).__qualname__)}"
        return f"{code.co_code.hex()} {code.co_consts!r} {code.co_names!r}"


@lru_cache(maxsize=4096)
def _is_builtin(name: str) -> bool:
    found = scratch_query(f"SELECT 1 FROM duckdb_functions() WHERE lower(function_name) = '{name}' LIMIT 1")
    return bool(found.num_rows)


def call(function: PythonFunction, arguments: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    """Return the answers of a function for some rows, one each.

    Args:
        function: what to call.
        arguments: a column each, at least one.
        kind: the Arrow type of the answers.

    Raises:
        WrongAnswer: it answers something else.
        Exception: whatever the function raises.
    """
    if function.form == "columnar":
        return _checked(function, function.fn(*arguments), len(arguments[0]), kind)
    columns = [column.to_pylist() for column in arguments]
    if function.form == "aggregate":
        answers = [function.fn(_rows(items)) for items in columns[0]]
    else:
        answers = [function.fn(*values) for values in zip(*columns, strict=True)]
    return _checked(function, answers, len(arguments[0]), kind)


def _rows(items: list[object] | None) -> list[object]:
    """Return the rows of a group: values of a single argument, tuples of several."""
    return [
        tuple(item.values()) if isinstance(item, dict) and _is_row(item) else item for item in items or ()
    ]


def _is_row(item: dict[str, object]) -> bool:
    return list(item) == [f"a{at}" for at in range(len(item))] and len(item) > 1


def _checked(function: PythonFunction, answers: object, count: int, kind: pa.DataType) -> pa.Array:
    try:
        if isinstance(answers, pa.ChunkedArray):
            answers = answers.combine_chunks()
        array = answers if isinstance(answers, pa.Array) else pa.array(answers, kind)
        array = array if array.type == kind else array.cast(kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise WrongAnswer(f"the answer is no {function.returns}: {error}") from None
    if len(array) != count:
        raise WrongAnswer(f"{len(array)} answers for {count} rows")
    return array
