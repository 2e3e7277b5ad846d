"""`headrace query`: SQL over views, tables and streams, one statement or a shell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.exits import FAILED, USAGE, calmly
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption, TokenOption, UrlOption
from headrace.cli.output import complain, note, say_csv, say_json, say_table
from headrace.cli.session import Asked, session
from headrace.cli.statements import split_statements
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_SHOWN_MAX = 1_000
"""Rows that a table on a terminal shows; `--json` and `--csv` write all."""


@calmly
def query(
    sql: Annotated[str | None, typer.Argument(help="The SQL, as with -c; `-` reads it from stdin.")] = None,
    command: Annotated[str | None, typer.Option("--command", "-c", help="Answer this SQL and end.")] = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write the rows as CSV with a header.")] = False,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Read everything as it was: a version or a time (UTC).")
    ] = None,
) -> None:
    """Ask SQL: one statement with -c, several from stdin, or a shell with history and completion."""
    if as_json and as_csv:
        note("--json and --csv exclude each other")
        raise typer.Exit(USAGE)
    text = command if command is not None else sql
    if text == "-" or (text is None and not sys.stdin.isatty()):
        text = sys.stdin.read()
    form = "json" if as_json else "csv" if as_csv else "table"
    if text is None and as_of is not None:
        note("--as-of wants a statement; in the shell, write FROM view AT (VERSION => n)")
        raise typer.Exit(USAGE)
    with session(project, data=data, url=url, token=token) as asked:
        if text is None:
            from headrace.cli.shell import Shell

            Shell(asked, form).loop()
        elif not answer_all(asked, text, form, as_of):
            raise typer.Exit(FAILED)


def answer_all(asked: Asked, text: str, form: str, as_of: str | None = None) -> bool:
    """Answer every statement of a text until one fails; return whether all went well."""
    statements = split_statements(text)
    if not statements:
        note("there is no SQL to answer")
    for statement in statements:
        try:
            show(asked.answer(statement, as_of=as_of), form)
        except HeadraceError as error:
            if len(statements) == 1:
                raise
            complain(error)
            return False
    return True


def show(answer: Any, form: str) -> None:
    """Write an answer's rows to stdout, and how fresh they are to stderr."""
    table: pa.Table = answer.table
    if form == "json":
        say_json(table.to_pylist())
    elif form == "csv":
        say_csv(table.column_names, (row for batch in table.to_batches() for row in rows_of(batch)))
    else:
        shown = table.slice(0, ROWS_SHOWN_MAX) if sys.stdout.isatty() else table
        rows = [row for batch in shown.to_batches() for row in rows_of(batch)]
        say_table(table.column_names, rows, [is_number(field.type) for field in table.schema])
        if shown.num_rows < table.num_rows:
            note(f"the first {shown.num_rows:,} rows are shown; --csv or --json writes all")
    note(footer(answer), style="dim")


def rows_of(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    """Return the rows of a batch as tuples, by position (column names may repeat)."""
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column is aligned to the right."""
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def footer(answer: Any) -> str:
    """Return the line under an answer: rows, version, freshness."""
    count = answer.table.num_rows
    freshness = answer.freshness
    age = "quiet" if freshness.quiet else f"{freshness.freshness_ms:,.0f} ms behind"
    return f"{count:,} {'row' if count == 1 else 'rows'} · version {answer.version.number} · {age}"
