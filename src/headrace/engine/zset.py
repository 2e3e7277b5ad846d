"""Consolidation: a change in which every row stands once, with a weight that is not zero."""

from __future__ import annotations

import numpy as np

from headrace.change import Change
from headrace.engine.columns import I64, U64, Bools, View, equal_rows, nonzero, take, views
from headrace.engine.hashing import hash_views


def group_rows(columns: tuple[View, ...], hashes: U64) -> tuple[I64, I64]:
    """Return a group number per row and one row of each group; rows are grouped by equality, not by
    hash.
    """
    count = len(hashes)
    order = np.argsort(hashes)
    ordered = hashes[order]
    starts = np.ones(count, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    if not starts.all():
        _split_collisions(columns, order, starts)
    numbers = np.empty(count, dtype=np.int64)
    numbers[order] = np.cumsum(starts) - 1
    return numbers, order[starts]


def _split_collisions(columns: tuple[View, ...], order: I64, starts: Bools) -> None:
    """Mark more starts where neighbours share a hash but not a value, sorting such stretches by value in
    `order`.
    """
    inner = nonzero(~starts)
    good = equal_rows(columns, order[inner], columns, order[inner - 1])
    if good.all():
        return
    edges = np.append(nonzero(starts), len(order))
    bad = np.unique(np.searchsorted(edges, inner[~good], side="right") - 1)
    for first, last in zip(edges[bad], edges[bad + 1], strict=True):
        _split_stretch(columns, order, starts, int(first), int(last))


def _split_stretch(columns: tuple[View, ...], order: I64, starts: Bools, first: int, last: int) -> None:
    rest = order[first:last].copy()
    at = first
    while len(rest):
        same = equal_rows(columns, rest, columns, np.full(len(rest), rest[0]))
        group = rest[same]
        order[at : at + len(group)] = group
        starts[at : at + len(group)] = False
        starts[at] = True
        at += len(group)
        rest = rest[~same]


def consolidate(change: Change) -> Change:
    """Return the same change with identical rows added up and rows of weight zero dropped.

    Rows are identical when all their bits are, except that NaN equals NaN. The answer carries no ids: a row
    that goes under one id and comes under another has cancelled; it carries hashes where they were needed.
    """
    if change.hashes is not None:  # nobody else works them out
        return change
    count = len(change)
    change = Change(change.rows, change.weights)
    if count == 0:
        return change
    if change.rows.num_columns == 0 or count == 1:
        weight = int(change.weights.sum())
        kept = change.take(np.zeros(1 if weight else 0, dtype=np.int64))
        return Change(kept.rows, np.full(len(kept), weight, dtype=np.int64))
    columns = views(change.rows.columns, exact=True)
    hashes = hash_views(columns, count)
    change = Change(change.rows, change.weights, None, hashes)
    numbers, firsts = group_rows(columns, hashes)
    if len(firsts) == count:
        return change if change.weights.all() else change.filter(change.weights != 0)
    sums = np.zeros(len(firsts), dtype=np.int64)
    np.add.at(sums, numbers, change.weights)
    alive = nonzero(sums)
    rows = np.sort(firsts[alive])
    return Change(take(change.rows, rows), sums[numbers[rows]], None, hashes[rows])


def settle(change: Change) -> Change:
    """Return a change without rows that go and come back under the same id; without ids, `consolidate`."""
    if change.ids is None:
        return consolidate(change)
    order = np.argsort(change.ids, kind="stable")
    ids, weights = change.ids[order], change.weights[order]
    pairs = nonzero((ids[1:] == ids[:-1]) & (weights[1:] == -weights[:-1]))
    if len(pairs) == 0:
        return change
    columns = views(change.rows.columns, exact=True)
    one, other = order[pairs], order[pairs + 1]
    same = equal_rows(columns, one, columns, other)
    keep = np.ones(len(change), dtype=np.bool_)
    keep[one[same]] = False
    keep[other[same]] = False
    return change.filter(keep)
