"""What names mean: the columns that a FROM clause offers, and how DuckDB looks a name up among them."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.sql.bind.work import NotPlanned
from headrace.sql.tree import Tree, bound, string


@dataclass(frozen=True, slots=True)
class Col:
    """A visible column: its label in the query, its name in the plan, its type."""

    label: str
    name: str
    sql_type: str


@dataclass(frozen=True, slots=True)
class Source:
    """One item of FROM under its alias."""

    alias: str
    columns: tuple[Col, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """All items of a FROM clause.

    Attributes:
        sources: the items, for `t.a` and `t.*`.
        star: what `*` means; a column of USING stands there once.
        keys: where an item reads the query around: its columns for the outer ones, see `outer.py`.
    """

    sources: tuple[Source, ...] = ()
    star: tuple[Col, ...] = field(default_factory=tuple)
    keys: tuple[str, ...] = ()

    @classmethod
    def single(cls, alias: str, columns: tuple[Col, ...], keys: tuple[str, ...] = ()) -> Scope:
        """Return the scope of one item."""
        return cls((Source(alias, columns),), columns, keys)

    def labels(self) -> frozenset[str]:
        """Return every word by which one of the columns may be named, in lower case."""
        found = {col.label.lower() for col in self.star}
        for source in self.sources:
            found |= {source.alias.lower(), *(col.label.lower() for col in source.columns)}
        return frozenset(found)

    def find(self, label: str) -> Col | None:
        """Return the column that an unqualified label means, None where there is none."""
        found = [col for col in self.star if same(col.label, label)]
        if len(found) > 1:
            raise NotPlanned(f"the name {label!r}, which stands for several columns")
        return found[0] if found else None

    def source(self, alias: str) -> Source | None:
        """Return the item of that alias, None where there is none."""
        found = [source for source in self.sources if same(source.alias, alias)]
        if len(found) > 1:
            raise NotPlanned(f"the alias {alias!r}, which stands for several inputs")
        return found[0] if found else None

    def resolve(self, names: list[str]) -> Tree | None:
        """Return what a dotted name means, None where it is not in this scope."""
        for skip in range(max(0, len(names) - 2), -1, -1) if len(names) > 2 else (0,):
            found = self._qualified(names[skip:]) if skip == 0 or _is_catalog(names[:skip]) else None
            if found is not None:
                return found
        column = self.find(names[0])
        return _fields(bound(column.name), names[1:]) if column else None

    def _qualified(self, names: list[str]) -> Tree | None:
        if len(names) < 2:
            return None
        source = self.source(names[0])
        if source is None:
            return None
        found = [col for col in source.columns if same(col.label, names[1])]
        if len(found) > 1:
            raise NotPlanned(f"the name {names[1]!r}, which stands for several columns")
        return _fields(bound(found[0].name), names[2:]) if found else None


def same(one: str, other: str) -> bool:
    """Whether two identifiers are the same to DuckDB."""
    return one.lower() == other.lower()


def _is_catalog(names: list[str]) -> bool:
    return names[-1].lower() in ("main", "temp", "memory")


def _fields(tree: Tree, names: list[str]) -> Tree:
    for name in names:
        tree = {
            "class": "OPERATOR",
            "type": "STRUCT_EXTRACT",
            "alias": "",
            "query_location": 2**64 - 1,
            "query_location_length": 0,
            "children": [tree, string(name)],
        }
    return tree
