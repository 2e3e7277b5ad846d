"""Columns side by side against rows compared word by word: each value with each other of its kind, with
NULL, NaN and zeros of both signs among them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.engine.test_hashing import COLUMNS

from headrace.engine.columns import equal_rows, views
from headrace.engine.pairs import equal_pairs

ZEROS = (pa.float64(), [0.0, -0.0, float("nan"), None])
NOTHING = (pa.null(), [None, None])
KINDS = [(kind, held) for kind, held in [*COLUMNS, ZEROS, NOTHING] if not pa.types.is_dictionary(kind)]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("kind", "held"), KINDS, ids=[str(kind) for kind, _ in KINDS])
def test_pairs_are_equal_as_rows_are(kind: pa.DataType, held: list[object], exact: bool) -> None:
    array = pa.array(held, kind)
    one, other = (at.ravel() for at in np.meshgrid(np.arange(len(held)), np.arange(len(held))))
    columns = views([array], exact=exact)
    found = equal_pairs([array.take(pa.array(one))], [array.take(pa.array(other))], len(one), exact=exact)
    assert found.tolist() == equal_rows(columns, one, columns, other).tolist()
    assert found.sum() >= len(held)


def test_all_columns_count_and_none_is_no_difference() -> None:
    one, other = (
        [pa.array([1, 1, 2]), pa.array(["a", "b", None])],
        [pa.array([1, 1, 3]), pa.array(["a", "c", None])],
    )
    assert equal_pairs(one, other, 3, exact=True).tolist() == [True, False, False]
    assert equal_pairs([], [], 2, exact=True).tolist() == [True, True]
