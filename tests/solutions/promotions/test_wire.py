"""What travels: JSON and Arrow carry the same rows, broken rows travel as JSON, answers are read strictly."""

from __future__ import annotations

import io

import numpy as np
import orjson
import pyarrow as pa
import pytest
from tests.solutions.promotions.duck import COLUMNS
from tests.solutions.promotions.stub import checked

from headrace.solutions.promotions.dirt import BREAKS, Batch, Dirt, Intent
from headrace.solutions.promotions.generate import Generator, Tick
from headrace.solutions.promotions.wire import ARROW, JSON, pack, statuses

TICK = Tick(1_767_614_400_000_000, 1_000_000, 12.0, 600, 12)


@pytest.mark.parametrize("stream", COLUMNS)
def test_clean_rows_mean_the_same_in_json_and_arrow(stream: str) -> None:
    rows = Generator(1, 1_000, 100).tick(TICK)[stream]
    batch = Batch(stream, rows, np.zeros(rows.num_rows, dtype=np.uint8))
    (json,), (arrow,) = pack(batch, as_arrow=False), pack(batch, as_arrow=True)
    assert (json.content_type, arrow.content_type) == (JSON, ARROW)
    from_arrow = pa.ipc.open_stream(io.BytesIO(arrow.body)).read_all().to_pylist()
    assert [checked(stream, row) for row in orjson.loads(json.body)] == from_arrow


@pytest.mark.parametrize("stream", COLUMNS)
def test_every_way_to_break_a_row_breaks_it(stream: str) -> None:
    generator = Generator(1, 1_000, 100)
    rows = generator.tick(TICK)[stream]
    ways = len(BREAKS[stream])
    rows = rows.take(pa.array(np.arange(ways) % rows.num_rows))
    rows = rows.set_column(0, "event_id", pa.array(np.arange(ways)))
    (parcel,) = pack(Batch(stream, rows, np.full(ways, Intent.BROKEN, dtype=np.uint8)), as_arrow=True)
    assert parcel.content_type == JSON
    for row in orjson.loads(parcel.body):
        with pytest.raises((ValueError, KeyError, TypeError)):
            checked(stream, row)


def test_dirt_keeps_the_clean_rows_and_repeats_only_accepted_ones() -> None:
    generator = Generator(1, 1_000, 100)
    dirt = Dirt(1, repeated_share=0.2, broken_share=0.2)
    first = dirt.add("logs", generator.tick(TICK)["logs"], generator.fresh_ids)
    assert set(first.intents.tolist()) == {Intent.CLEAN, Intent.BROKEN}
    clean = first.part(first.intents == Intent.CLEAN)
    dirt.remember("logs", clean.rows)
    second = dirt.add("logs", generator.tick(TICK)["logs"], generator.fresh_ids)
    repeated = second.part(second.intents == Intent.REPEATED).rows.to_pylist()
    assert repeated
    assert all(row in clean.rows.to_pylist() for row in repeated)
    ids = second.part(second.intents != Intent.REPEATED).rows.column("event_id").to_pylist()
    assert len(ids) == len(set(ids))


def test_answers_list_what_was_not_accepted() -> None:
    listed = [{"index": 1, "status": "late"}, {"index": 3, "status": "rejected"}]
    answer = {"rows": listed, "accepted": 2, "repeated": 0, "late": 1, "rejected": 1}
    assert statuses(answer, 4).tolist() == [0, 2, 0, 3]
    with pytest.raises(ValueError, match="counts"):
        statuses(answer, 5)
    with pytest.raises(ValueError, match="counts"):
        statuses(answer | {"late": 2, "accepted": 1}, 4)
