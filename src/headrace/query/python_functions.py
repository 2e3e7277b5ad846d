"""Python functions in ad-hoc SQL: scalar ones as DuckDB's own user-defined functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from headrace.contracts.types import sql_type
from headrace.functions import PythonFunction, WrongAnswer, call
from headrace.sql.python_functions import of_rows


class Registered:
    """The functions that a connection knows.

    Args:
        functions: answers those declared at present, by lower-case name.
    """

    def __init__(self, functions: Callable[[], Mapping[str, PythonFunction]]) -> None:
        self._functions = functions
        self._known: dict[str, str] = {}

    @property
    def is_empty(self) -> bool:
        """Whether the connection knows none."""
        return not self._known

    def refresh(self, con: duckdb.DuckDBPyConnection) -> None:
        """Bring the connection up to date; of aggregate functions it knows the name, to refuse them, and the
        functions of lists of rows that stand for them in a view's reference SQL.
        """
        declared = self._functions()
        by_rows = (of_rows(function) for function in declared.values() if function.is_aggregate)
        wanted = {**declared, **{function.name: function for function in by_rows}}
        for name, fingerprint in list(self._known.items()):
            if name not in wanted or wanted[name].fingerprint != fingerprint:
                con.remove_function(name)
                del self._known[name]
        for name, function in wanted.items():
            if name not in self._known:
                con.create_function(
                    name,
                    _over_chunks(function, refused=function.is_aggregate and name in declared),
                    list(function.args),
                    function.returns,
                    type=PythonUDFType.ARROW,
                    null_handling=FunctionNullHandling.SPECIAL,
                )
                self._known[name] = function.fingerprint


def _over_chunks(function: PythonFunction, *, refused: bool) -> Callable[..., pa.Array]:
    kinds = [sql_type(kind).arrow for kind in function.args]
    answer = sql_type(function.returns).arrow

    def over(*columns: pa.ChunkedArray) -> pa.Array:
        if refused:
            raise WrongAnswer(f"{function.name}() is an aggregate Python function, which only views can call")
        whole = [column.combine_chunks() for column in columns]
        cast = [one if one.type == kind else one.cast(kind) for one, kind in zip(whole, kinds, strict=True)]
        return call(function, cast, answer)

    named = [Parameter(f"a{at}", Parameter.POSITIONAL_ONLY) for at in range(len(kinds))]
    over.__signature__ = Signature(named)  # type: ignore[attr-defined]
    return over
