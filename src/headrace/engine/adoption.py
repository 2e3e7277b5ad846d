"""What a new circuit can take over from one that runs: operators that compute the same, with their state.

A changed definition often changes what stands on top: a HAVING, a column, a rounding. The group below it is
the same operator over the same input, and need not be fed the history again. Two operators are the same where
their signatures are (see `engine.sharing`): what they and all below them compute, by position, with types.
The new circuit gets copies of them; what stands above is fed what they have given out so far. That is known
where the running view shows it: at its root, and below columns that are only renamed or put in another order.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.change import Change
from headrace.engine.duck import quote
from headrace.engine.operators.project import ProjectOperator
from headrace.engine.operators.rename import RenameOperator
from headrace.engine.operators.scan import ScanOperator

if TYPE_CHECKING:
    from headrace.engine.circuit import Circuit


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is taken over.

    Attributes:
        at: number of the stage in the new circuit.
        pairs: numbers of it and of all below it, in the new circuit and in the running one.
        columns: its columns, by their positions in the running view.
        relations: that need not be read again.
        detail: for people.
    """

    at: int
    pairs: tuple[tuple[int, int], ...]
    columns: tuple[int, ...]
    relations: frozenset[str]
    detail: str


def adoption(new: Circuit, running: Circuit, changed: Collection[str]) -> Adoption | None:
    """Return what a circuit without state can take over; None: nothing.

    Args:
        new: the circuit.
        running: of a view that has an answer.
        changed: relations and views, in lower case, that are not what they were.
    """
    number, columns = running.root_number, tuple(range(len(running.root.schema)))
    while not isinstance(running.stages[number].operator, ScanOperator):
        at = new.same_as(running, number)
        if at is not None:
            return _taken(new, running, at, number, columns, changed)
        below = _shown_below(running, number, columns)
        if below is None:
            return None
        number, columns = running.stages[number].inputs[0], below
    return None


def _shown_below(running: Circuit, number: int, columns: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return where the columns of a stage's input are shown, where the stage only renames and sorts them."""
    operator = running.stages[number].operator
    if isinstance(operator, RenameOperator):
        return columns
    if not isinstance(operator, ProjectOperator) or operator.error is not None:
        return None
    source = running.stages[running.stages[number].inputs[0]].operator.schema.names
    shown = {expr.sql: columns[at] for at, expr in enumerate(operator.exprs)}
    found = [shown.get(quote(name)) for name in source]
    return None if None in found else tuple(place for place in found if place is not None)


def _taken(
    new: Circuit, running: Circuit, at: int, number: int, columns: tuple[int, ...], changed: Collection[str]
) -> Adoption | None:
    pairs: dict[int, int] = {}
    if not _paired(new, running, at, number, pairs):
        return None
    inner = pairs.keys() - {at}
    outside = (stage for place, stage in enumerate(new.stages) if place not in pairs)
    if any(inner & set(stage.inputs) for stage in outside):
        return None
    read = {new.stages[place].relation for place in pairs}
    still = {stage.relation for place, stage in enumerate(new.stages) if place not in pairs}
    relations = frozenset(name for name in read if name is not None)
    if relations & set(changed):
        return None
    operator = running.stages[number].operator
    return Adoption(
        at, tuple(pairs.items()), columns, relations - still, f"{operator.name} {operator.detail}"
    )


def _paired(new: Circuit, running: Circuit, at: int, number: int, pairs: dict[int, int]) -> bool:
    """Pair a stage and all below it with the running circuit's; False where they are built otherwise."""
    mine, theirs = new.stages[at], running.stages[number]
    if type(mine.operator) is not type(theirs.operator) or mine.relation != theirs.relation:
        return False
    if mine.operator.append_only != theirs.operator.append_only or len(mine.inputs) != len(theirs.inputs):
        return False
    if pairs.setdefault(at, number) != number:
        return False
    both = zip(mine.inputs, theirs.inputs, strict=True)
    return all(_paired(new, running, one, other, pairs) for one, other in both)


def content_of(found: Adoption, rows: pa.Table, schema: pa.Schema) -> Change:
    """Return what the operator has given out so far, from the rows of the running view."""
    table = pa.table([rows.column(at) for at in found.columns], schema=schema)
    batches = table.combine_chunks().to_batches()
    return Change.concat([Change.empty(schema), *(Change.inserts(batch) for batch in batches)])
