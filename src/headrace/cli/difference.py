"""`headrace difference`: why a view is another one than it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from headrace.cli.exits import USAGE, calmly
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption, TokenOption, UrlOption
from headrace.cli.output import note, say_csv, say_json, say_table
from headrace.cli.query import is_number, rows_of
from headrace.cli.session import session

ROWS_SHOWN_MAX = 200
"""Rows that differ that a terminal shows; `--csv` and `--json` write all."""


@calmly
def difference(
    view: Annotated[str, typer.Argument(help="The view, or a table.")],
    since: Annotated[str, typer.Option("--since", help="The first moment: a version or a time (UTC).")],
    until: Annotated[str | None, typer.Option("--until", help="The second moment; now.")] = None,
    cause: Annotated[
        list[str] | None,
        typer.Option("--cause", help='A cause for whole relations, such as "exchange rate=fx_rates".'),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Only rows with this value, such as merchant_id=acme."),
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Show the rows that differ, too.")] = False,
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write the rows that differ as CSV.")] = False,
) -> None:
    """Tell why a view differs between two moments: late data, corrections, new data, definition."""
    if as_json and as_csv:
        note("--json and --csv exclude each other")
        raise typer.Exit(USAGE)
    causes = named(cause or [])
    only = dict(pair(text) for text in where or [])
    with session(project, data=data, url=url, token=token) as asked:
        found = asked.difference(view, since, until, causes, where=only)
    if as_json:
        say_json(found.as_dict())
    elif as_csv:
        table = found.table
        say_csv(table.column_names, (row for batch in table.to_batches() for row in rows_of(batch)))
    else:
        show(found, with_rows=rows)


def named(causes: Sequence[str]) -> dict[str, list[str]]:
    """Return relations by cause from `cause=relation,relation`."""
    found: dict[str, list[str]] = {}
    for text in causes:
        cause, separator, names = text.partition("=")
        if not separator or not cause.strip() or not names.strip():
            note(f"--cause {text!r} is not of the form cause=relation")
            raise typer.Exit(USAGE)
        found.setdefault(cause.strip(), []).extend(name.strip() for name in names.split(","))
    return found


def pair(text: str) -> tuple[str, str]:
    """Return column and value of `column=value`."""
    column, separator, value = text.partition("=")
    if not separator or not column.strip():
        note(f"--where {text!r} is not of the form column=value")
        raise typer.Exit(USAGE)
    return column.strip(), value


def show(found: Any, *, with_rows: bool) -> None:
    """Write the totals as a table, and the rows below it."""
    columns = [name for name, value in found.whole.sums.items() if moved(found, name) or value]
    lines = [
        (total.cause, total.rows_come, total.rows_gone, *(total.sums[name] for name in columns))
        for total in (*found.totals, found.whole)
    ]
    say_table(["cause", "come", "gone", *columns], lines, [False, True, True, *(True for _ in columns)])
    if with_rows:
        table = found.table.slice(0, ROWS_SHOWN_MAX)
        rows = [row for batch in table.to_batches() for row in rows_of(batch)]
        say_table(table.column_names, rows, [is_number(field.type) for field in table.schema])
    for name, table in found.inputs.items():
        note(f"{table.num_rows:,} rows of {name} came late or corrected what was there; --json tells them")
    note(f"version {found.since.number} to {found.until.number}", style="dim")


def moved(found: Any, column: str) -> bool:
    """Return whether any cause moved the sum of a column."""
    return any(total.sums[column] for total in found.totals)
