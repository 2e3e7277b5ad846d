"""The queries, one SQL file each."""

from __future__ import annotations

from importlib.resources import files

QUERIES = tuple(f"q{n}" for n in range(1, 23))


def query(name: str) -> str:
    """Return the SQL of a query, such as `q4`."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
