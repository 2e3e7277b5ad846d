"""The passes that make a bound plan cheap, in the order in which they run; one file each."""

from __future__ import annotations

from collections.abc import Callable

from headrace.sql.bind.work import Work
from headrace.sql.passes.drop_noops import drop_noops
from headrace.sql.passes.enum_order import enum_order
from headrace.sql.passes.flatten_joins import flatten_joins
from headrace.sql.passes.join_keys import join_keys
from headrace.sql.passes.merge_projects import merge_projects
from headrace.sql.passes.now_filters import now_filters
from headrace.sql.passes.null_safe import null_safe
from headrace.sql.passes.prune_columns import prune_columns
from headrace.sql.passes.push_filters import push_filters
from headrace.sql.passes.python_calls import python_calls
from headrace.sql.passes.rank_windows import rank_windows
from headrace.sql.passes.refuse_types import refuse_types
from headrace.sql.plan import Node

Pass = Callable[[Work, Node], Node]

PASSES: tuple[Pass, ...] = (
    python_calls,
    drop_noops,
    push_filters,
    flatten_joins,
    push_filters,
    null_safe,
    join_keys,
    rank_windows,
    enum_order,
    merge_projects,
    prune_columns,
    merge_projects,
    drop_noops,
    now_filters,
    refuse_types,
)


def optimise(work: Work, root: Node) -> Node:
    """Run all passes over a plan; names and types of the root stay as they are."""
    for run in PASSES:
        root = run(work, root)
    return root
