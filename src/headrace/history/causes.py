"""Why a view differs between two moments: the input between them, sorted into causes.

- *late data*: rows whose event time lies at or before the first moment, rows that came too late for their
  stream, and versions of a table's row that hold from then or before;
- *correction*: updates and deletions of what was there at the first moment;
- *new data*: everything that came in besides;
- a cause that the caller names, for all changes of the relations that he names with it.

A row that came and went between the two moments has changed nothing and has no cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import Change
from headrace.engine.columns import views
from headrace.engine.hashing import hash_columns, hash_views
from headrace.engine.zset import consolidate, group_rows

LATE, CORRECTION, NEW = "late data", "correction", "new data"
TIME, DEFINITION, OTHER = "time", "definition", "other"
KNOWN = (LATE, CORRECTION, NEW)
LISTED = (LATE, CORRECTION)
"""Causes whose input rows are listed."""
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Relation:
    """What the sorting must know of a stream or table.

    Attributes:
        name: lower case.
        time: the column that says when a row happened or holds from; None: nobody knows.
        key: columns under which a row is updated; None: rows come and go as they are.
        is_late: whether its rows are those that came too late.
        versions: whether a row is one version among those of its key, which all stay.
    """

    name: str
    time: str | None = None
    key: tuple[str, ...] | None = None
    is_late: bool = False
    versions: bool = False


@dataclass(frozen=True, slots=True)
class Sorted:
    """The changes of one relation between two moments.

    Attributes:
        net: per cause, what it has changed in the end.
        listed: per cause whose rows are listed, all its rows as they came, and the commit of each.
    """

    net: dict[str, Change]
    listed: dict[str, tuple[Change, npt.NDArray[np.int64]]]


def sort(
    relation: Relation,
    parts: Sequence[tuple[int, Change]],
    since: datetime,
    known: Iterator[Change],
    named: str | None = None,
) -> Sorted:
    """Sort what one relation took between two moments.

    Args:
        relation: the relation.
        parts: its changes, each with its commit; at least one.
        since: the first moment.
        known: its rows at the first moment; read only where versions must be told apart.
        named: the cause that the caller gives to all of it, or None.
    """
    raw = Change.concat([change for _, change in parts])
    commits = np.repeat(
        np.array([commit for commit, _ in parts], dtype=np.int64),
        np.array([len(change) for _, change in parts], dtype=np.int64),
    )
    net = consolidate(raw)
    if named is not None:
        return Sorted({named: net} if len(net) else {}, {})
    by_net, by_raw = _causes(relation, net, raw, since, known)
    codes = {cause: code for code, cause in enumerate(KNOWN)}
    nets = {cause: net.filter(by_net == code) for cause, code in codes.items()}
    listed = {}
    for cause in LISTED:
        chosen = by_raw == codes[cause]
        if chosen.any():
            listed[cause] = (raw.filter(chosen), commits[chosen])
    return Sorted({cause: change for cause, change in nets.items() if len(change)}, listed)


Codes = npt.NDArray[np.int64]


def _causes(
    relation: Relation, net: Change, raw: Change, since: datetime, known: Iterator[Change]
) -> tuple[Codes, Codes]:
    """Return the cause of every row of the net change and of the raw one; −1: none."""
    late, correction, new = (KNOWN.index(cause) for cause in (LATE, CORRECTION, NEW))
    if relation.is_late:
        return np.full(len(net), late), np.full(len(raw), late)
    if relation.key is None or relation.versions:
        both = []
        for change in (net, raw):
            code = np.where(_at_or_before(relation, change, since), late, new)
            code[change.weights < 0] = correction
            both.append(code)
        if relation.versions:
            seen = _seen_before(relation, raw, since, known)
            both[1][seen & (both[1] == late)] = correction
            both[0][_in(net, raw, seen) & (both[0] == late)] = correction
        return both[0], both[1]
    return _by_key(relation, net, raw, since)


def _by_key(relation: Relation, net: Change, raw: Change, since: datetime) -> tuple[Codes, Codes]:
    """Causes of rows that are updated by key: all rows of one key have one cause."""
    late, correction, new = (KNOWN.index(cause) for cause in (LATE, CORRECTION, NEW))
    assert relation.key is not None
    count = len(net)
    keys = [
        pa.concat_arrays([net.rows.column(name), raw.rows.column(name)])
        for name in (_column(net, name) for name in relation.key)
    ]
    columns = views(keys, exact=False)
    numbers, firsts = group_rows(columns, hash_views(columns, count + len(raw)))
    groups = len(firsts)
    gone, come = np.zeros(groups, dtype=np.bool_), np.zeros(groups, dtype=np.bool_)
    gone[numbers[:count][net.weights < 0]] = True
    come[numbers[:count][net.weights > 0]] = True
    codes = np.full(groups, new, dtype=np.int64)
    codes[gone] = correction
    if relation.time is not None:
        before = _at_or_before(relation, net, since)
        of_net = numbers[:count]
        passed = np.zeros(groups, dtype=np.bool_)
        passed[of_net[before & (net.weights > 0)]] = True
        codes[come & ~passed] = new
        codes[come & passed] = late
        codes[_same_time(relation, net, of_net, groups) & passed] = correction
    codes[~(gone | come)] = -1
    return codes[numbers[:count]], codes[numbers[count:]]


def _same_time(relation: Relation, net: Change, numbers: Codes, groups: int) -> Mask:
    """Return for each key whether its row went and came with the same time."""
    assert relation.time is not None
    times = pc.cast(net.rows.column(_column(net, relation.time)), pa.int64(), safe=False)
    times_us = times.fill_null(0).to_numpy(zero_copy_only=False)
    old, new = np.full(groups, -1, dtype=np.int64), np.full(groups, -2, dtype=np.int64)
    old[numbers[net.weights < 0]] = times_us[net.weights < 0]
    new[numbers[net.weights > 0]] = times_us[net.weights > 0]
    same: Mask = old == new
    return same


def _column(change: Change, name: str) -> str:
    names: list[str] = change.schema.names
    return next(known for known in names if known.lower() == name.lower())


def _at_or_before(relation: Relation, change: Change, since: datetime) -> Mask:
    """Return which rows happened, or hold from, the first moment or before."""
    if relation.time is None:
        return np.zeros(len(change), dtype=np.bool_)
    column = change.rows.column(_column(change, relation.time))
    moment = since.astimezone(UTC)
    if column.type.tz is None:
        moment = moment.replace(tzinfo=None)
    limit = pa.scalar(moment, type=pa.timestamp("us", tz=column.type.tz))
    found = pc.less_equal(column, limit)
    return np.asarray(found.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _identity(relation: Relation, change: Change) -> npt.NDArray[np.uint64]:
    assert relation.key is not None
    assert relation.time is not None
    names = [_column(change, name) for name in (*relation.key, relation.time)]
    return hash_columns([change.rows.column(name) for name in names], len(change))


def _seen_before(relation: Relation, raw: Change, since: datetime, known: Iterator[Change]) -> Mask:
    """Return which rows say again what held from a time: a version of the same key and time was there."""
    wanted = _identity(relation, raw)
    seen = np.zeros(len(raw), dtype=np.bool_)
    if not _at_or_before(relation, raw, since).any():
        return seen
    for change in known:
        seen |= np.isin(wanted, _identity(relation, change))
    return seen


def _in(net: Change, raw: Change, chosen: Mask) -> Mask:
    """Return which rows of the net change are among chosen rows of the raw one."""
    if not chosen.any():
        return np.zeros(len(net), dtype=np.bool_)
    rows = raw.filter(chosen)
    mine = hash_views(views(net.rows.columns, exact=True), len(net))
    return np.isin(mine, hash_views(views(rows.rows.columns, exact=True), len(rows)))


def named_causes(causes: Mapping[str, Sequence[str] | str] | None) -> dict[str, str]:
    """Return the cause that a caller gives to relations, by lower-case name of the relation."""
    found: dict[str, str] = {}
    for cause, names in (causes or {}).items():
        for name in [names] if isinstance(names, str) else names:
            found[name.lower()] = cause
    return found
