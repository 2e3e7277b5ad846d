"""Every record comes back from its bytes as it went in, whatever the types, sizes and slices of its rows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from tests.log.samples import START, commit, rows, same

from headrace.change import Change
from headrace.errors import DeclarationError
from headrace.log import codec
from headrace.log.codec import Decoder, Encoder, from_us, to_us
from headrace.log.records import Commit, Declared, Record, Step

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)

COLUMNS = {
    "numbers": pa.array([1, None, -(2**63)]),
    "floats": pa.array([0.0, -0.0, float("nan")]),
    "words": pa.array(["", None, "żółć \U0001f600"]),
    "bytes": pa.array([b"", None, b"\x00\xff"]),
    "flags": pa.array([True, None, False]),
    "money": pa.array([Decimal("1.10"), None, Decimal("-99999999999999999999999999999999999.99")]),
    "moments": pa.array([0, None, -1], pa.timestamp("us")),
    "zoned": pa.array([0, None, -1], pa.timestamp("us", "UTC")),
    "days": pa.array([0, None, 20000], pa.date32()),
    "spans": pa.array([pa.MonthDayNano([1, 2, 3]), None, pa.MonthDayNano([-1, 0, 0])]),
    "lists": pa.array([[1, None], None, []], pa.list_(pa.int32())),
    "structs": pa.array([{"a": 1, "b": None}, None, {"a": None, "b": "x"}]),
    "maps": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "choices": pa.array(["red", None, "blue"]).dictionary_encode(),
    "nested": pa.array([[[1.5]], None, [[]]], pa.list_(pa.list_(pa.float32()))),
    "null": pa.nulls(3),
}


def back(record: Record) -> Record:
    encoded = Encoder().encode(record)
    return Decoder().decode(encoded.kind, encoded.payload)


def back_commit(record: Commit) -> Commit:
    answer = back(record)
    assert isinstance(answer, Commit)
    return answer


@pytest.mark.parametrize("column", COLUMNS)
def test_rows_that_are_not_copied_together_are_the_same_bytes(
    column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = pa.concat_arrays([COLUMNS[column]] * 50)
    record = Commit(
        1, START, {"t": Change.inserts(pa.RecordBatch.from_arrays([values[3:77]], names=[column]))}
    )
    copied = Encoder().encode(record).payload
    monkeypatch.setattr(codec, "UNCOPIED_FROM_BYTES", 0)
    assert Encoder().encode(record).payload == copied


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("copies", [1, 5000])
def test_rows_of_every_type_come_back(column: str, copies: int) -> None:
    values = pa.concat_arrays([COLUMNS[column]] * copies)
    change = Change.inserts(pa.RecordBatch.from_arrays([values], names=[column]))
    record = Commit(1, START, {"t": change})
    again = back_commit(record).changes["t"]
    assert again.rows.schema == change.rows.schema
    assert repr(again.rows.column(0).to_pylist()) == repr(values.to_pylist())
    assert np.array_equal(again.weights, change.weights)


@pytest.mark.parametrize("count", [0, 1, 7, 4096, 4097, 20_000])
def test_commits_of_every_size_come_back(count: int) -> None:
    record = commit(7, count)
    assert same(back_commit(record), record)


def test_a_slice_is_written_without_what_surrounds_it() -> None:
    whole = rows(0, 10_000)
    part = Change.inserts(whole.slice(5_000, 3))
    encoded = Encoder().encode(Commit(1, START, {"t": part}))
    assert len(encoded.payload) < 3_000
    assert back_commit(Commit(1, START, {"t": part})).changes["t"].rows.equals(part.rows)


def test_commits_that_might_not_fit_are_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Commit(1, START, {"t": Change.inserts(rows(0, 20_000))})
    plain = Encoder().encode(record)
    assert plain.size_bytes == len(plain.payload) > record.changes["t"].rows.nbytes
    monkeypatch.setattr(codec, "COMPRESS_FROM_BYTES", 32 * 1024)
    packed = Encoder().encode(record)
    assert packed.size_bytes < record.changes["t"].rows.nbytes / 2
    assert same(back_commit(record), record)


def test_several_relations_and_all_that_a_commit_carries_come_back() -> None:
    record = Commit(
        12,
        MOMENT,
        {"a": Change.inserts(rows(1, 3)), "b__rejected": Change.inserts(rows(9, 1)).negated()},
        {"a": MOMENT},
        idempotency_key="k\U0001f600",
        answer={"calls": [["a", 3, 0, []]], "content": "00"},
        source="file",
        position={"offset": 12, "path": ["x", None]},
    )
    assert same(back_commit(record), record)


def test_one_relation_is_read_without_the_others() -> None:
    record = Commit(1, START, {"a": Change.inserts(rows(1, 3)), "b": Change.inserts(rows(5, 2))})
    payload = Encoder().encode(record).payload
    decoder = Decoder()
    found = decoder.relation(payload, "b")
    assert found is not None
    assert found.rows.equals(record.changes["b"].rows)
    assert decoder.relation(payload, "c") is None


def test_a_change_of_schema_between_commits_is_followed() -> None:
    encoder, decoder = Encoder(), Decoder()
    for names in (["id"], ["id", "name"], ["id"]):
        record = Commit(1, START, {"t": Change.inserts(rows(1, 2).select(names))})
        encoded = encoder.encode(record)
        again = decoder.decode(encoded.kind, encoded.payload)
        assert isinstance(again, Commit)
        assert again.changes["t"].rows.schema.names == names


def test_steps_and_declarations_come_back() -> None:
    step = Step(3, 17, MOMENT, {"orders": MOMENT, "clicks": datetime(1, 1, 1, tzinfo=UTC)})
    declared = Declared({"streams": {"orders": ["id"]}, "none": None})
    assert back(step) == step
    assert back(declared) == declared


@pytest.mark.parametrize(
    "moment", [(1, 1, 1), (9999, 12, 31, 23, 59, 59, 999999), (1969, 12, 31, 23, 59, 59, 1)]
)
def test_moments_are_exact_to_the_microsecond(moment: tuple[int, int, int]) -> None:
    given = datetime(*moment, tzinfo=UTC)
    assert from_us(to_us(given)) == given
    assert to_us(given.replace(tzinfo=None)) == to_us(given)


def test_a_position_that_json_cannot_carry_is_refused() -> None:
    record = Commit(1, START, {}, source="s", position=object())
    with pytest.raises(DeclarationError, match="JSON"):
        Encoder().encode(record)
