"""Writes a small world as CSV files, one for each table, which `headrace import FOLDER` reads back.

python -m headrace.solutions.billing.simulate.sample FOLDER
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import typer

from headrace.solutions.billing.simulate.history import make_world

UNTIL = datetime(2026, 7, 1, tzinfo=UTC)


def write_sample(folder: Path, merchants: int = 3, customers: int = 12, seed: int = 1) -> int:
    """Write the tables of a world as CSV into a folder; return how many rows.

    What was deleted is left out: a file says what there is.
    """
    world = make_world(seed, merchants, customers, 2.0, UNTIL)
    gone = {row[1] for rows in world.rows.gone.values() for row in rows}
    for rows in world.rows.rows.values():
        rows[:] = [row for row in rows if row[1] not in gone]
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, table in world.rows.take().items():
        plain = [_text(column) for column in table.columns]
        csv.write_csv(pa.table(plain, names=table.column_names), str(folder / f"{name}.csv"))
        count += table.num_rows
    return count


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as CSV has it: times in ISO 8601 with a Z."""
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
    return column.cast(pa.string()) if pa.types.is_decimal(column.type) else column


def command(
    folder: Annotated[Path, typer.Argument(help="Where to write.")],
    merchants: Annotated[int, typer.Option(min=1)] = 3,
    customers: Annotated[int, typer.Option(min=1)] = 12,
    seed: int = 1,
) -> None:
    """Write a small world as CSV files."""
    typer.echo(f"{write_sample(folder, merchants, customers, seed):,} rows")


if __name__ == "__main__":
    typer.run(command)
