"""Files are read whole: each row once, each bad line once with its number, whatever the format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from headrace.errors import DeclarationError, HeadraceError, SqlError, StorageError, UnknownName
from headrace.sources.files import read_file
from headrace.sources.registry import (
    BadLines,
    Chunk,
    Format,
    ReadOptions,
    format_of,
    formats,
    register_format,
)


def rows_and_bad(chunks: Iterator[Chunk]) -> tuple[list[dict[str, Any]], list[int]]:
    rows: list[dict[str, Any]] = []
    bad: list[int] = []
    for chunk in chunks:
        if isinstance(chunk, BadLines):
            bad += [line.line for line in chunk.lines]
        else:
            rows += chunk if isinstance(chunk, list) else chunk.to_pylist()
    return rows, bad


def written(path: Path, data: bytes | str) -> Path:
    raw = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


CSV = 'id,name,price\n1,"Tea, green",2.50\n2,,x\n3,"two\nlines",\n4,short\n5,much,too,long\n6,é,0\n'


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV"])
def test_csv_keeps_every_value_as_text_and_every_bad_line(tmp_path: Path, name: str) -> None:
    rows, bad = rows_and_bad(read_file(written(tmp_path / name, CSV)))
    assert rows == [
        {"id": "1", "name": "Tea, green", "price": "2.50"},
        {"id": "2", "name": None, "price": "x"},
        {"id": "3", "name": "two\nlines", "price": None},
        {"id": "6", "name": "é", "price": "0"},
    ]
    assert bad == [5, 6]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a;b\n1;2\n", {}),
        ("a|b\n1|2\n", {"delimiter": "|"}),
        ("1,2\n", {"header": False}),
    ],
)
def test_csv_dialects(tmp_path: Path, text: str, options: dict[str, Any]) -> None:
    rows, bad = rows_and_bad(read_file(written(tmp_path / "a.csv", text), options=ReadOptions(**options)))
    assert [list(row.values()) for row in rows] == [["1", "2"]]
    assert bad == []


def test_csv_of_another_encoding(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "name,price\nCafé,1\n".encode("latin-1"))
    rows, bad = rows_and_bad(read_file(path, options=ReadOptions(encoding="latin-1")))
    assert (rows, bad) == ([{"name": "Café", "price": "1"}], [])
    rows, bad = rows_and_bad(read_file(path))
    assert (rows, bad) == ([], [2])


def test_tsv(tmp_path: Path) -> None:
    rows, _ = rows_and_bad(read_file(written(tmp_path / "a.tsv.gz", 'a\tb\n1,5\t"x\ty"\n')))
    assert rows == [{"a": "1,5", "b": "x\ty"}]


@pytest.mark.parametrize("text", ["", "a,b\n"])
def test_a_csv_without_rows_gives_none(tmp_path: Path, text: str) -> None:
    assert rows_and_bad(read_file(written(tmp_path / "a.csv", text))) == ([], [])


def test_many_rows_come_in_order_and_in_pieces(tmp_path: Path) -> None:
    text = "n\n" + "".join(f"{n}\n" for n in range(25_000))
    chunks = list(read_file(written(tmp_path / "a.csv", text), options=ReadOptions(batch_rows=10_000)))
    assert [row["n"] for row in rows_and_bad(iter(chunks))[0]] == [str(n) for n in range(25_000)]
    assert max(len(chunk) for chunk in chunks) <= 10_240


@pytest.mark.parametrize("name", ["a.ndjson", "a.jsonl.gz"])
def test_ndjson_keeps_types_and_nesting(tmp_path: Path, name: str) -> None:
    text = '{"a": 1, "b": {"c": [1.5, null]}}\n\nnot json\n[1]\n{"b": "x"}\n{"a": 9007199254740993}'
    rows, bad = rows_and_bad(read_file(written(tmp_path / name, text)))
    assert rows == [{"a": 1, "b": {"c": [1.5, None]}}, {"b": "x"}, {"a": 2**53 + 1}]
    assert bad == [3, 4]


def test_ndjson_with_names_mapped_keeps_types(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ndjson", '{"Id": 1, "qty": 2, "rest": 0}\n{"Id": 2}\n')
    rows, _ = rows_and_bad(read_file(path, mapping={"quantity": "qty"}, wanted=["id", "quantity"]))
    assert rows == [{"quantity": 2, "id": 1}, {"id": 2}]


def test_ndjson_with_an_expression_is_text(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ndjson", '{"id": 1, "cents": 250}\n{"id": 2, "cents": null}\n')
    rows, _ = rows_and_bad(
        read_file(path, mapping={"price": "cents::DECIMAL(9,2) / 100"}, wanted=["id", "price"])
    )
    assert [(row["id"], row["price"]) for row in rows] == [("1", 2.5), ("2", None)]


def _parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


def _arrow_file(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def _arrow_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def _feather(table: pa.Table, path: Path) -> None:
    pa.feather.write_feather(table, str(path))


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.parquet", _parquet), ("a.arrow", _arrow_file), ("a.arrows", _arrow_stream), ("a.feather", _feather)],
)
def test_columnar_files_keep_their_types(
    tmp_path: Path, name: str, write: Callable[[pa.Table, Path], None]
) -> None:
    table = pa.table({"n": pa.array([1, None], pa.int32()), "day": pa.array([1, 2], pa.date32())})
    write(table, tmp_path / name)
    chunks = [chunk for chunk in read_file(tmp_path / name) if isinstance(chunk, pa.RecordBatch)]
    assert pa.Table.from_batches(chunks).equals(table)


COMMON = '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326\n'


def test_apache_common(tmp_path: Path) -> None:
    text = COMMON + '::1 - - [10/Oct/2000:13:55:37 +0000] "\\x16\\x03" 400 -\nnot a request\n'
    chunks = read_file(written(tmp_path / "access.log", text), "apache-common", time_columns=["time"])
    rows, bad = rows_and_bad(chunks)
    assert rows[0] == {
        "host": "127.0.0.1",
        "ident": None,
        "user": "frank",
        "time": "2000-10-10T20:55:36.000000",
        "request": "GET /apache_pb.gif HTTP/1.0",
        "status": "200",
        "bytes": "2326",
        "method": "GET",
        "path": "/apache_pb.gif",
        "protocol": "HTTP/1.0",
    }
    assert (rows[1]["host"], rows[1]["bytes"], rows[1]["path"]) == ("::1", None, None)
    assert bad == [3]


def test_apache_combined(tmp_path: Path) -> None:
    text = COMMON.strip() + ' "http://example.com/\\"q\\"" "Mozilla/4.08 [en] (Win98; I ;Nav)"\n' + COMMON
    rows, bad = rows_and_bad(read_file(written(tmp_path / "access.log.gz", text), "apache-combined"))
    assert rows[0]["user_agent"] == "Mozilla/4.08 [en] (Win98; I ;Nav)"
    assert rows[0]["referer"] == 'http://example.com/\\"q\\"'
    assert bad == [2]


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?P<at>\S+ \S+) (?P<level>\w+) (?P<message>.*)",
        "%{TIMESTAMP_ISO8601:at} %{LOGLEVEL:level} %{DATA:message}",
    ],
)
def test_patterns(tmp_path: Path, pattern: str) -> None:
    path = written(tmp_path / "app.log", "2015-10-18 18:01:47,978 INFO started\n\tat Main.java\n")
    rows, bad = rows_and_bad(
        read_file(path, pattern=pattern, time_format="%Y-%m-%d %H:%M:%S,%g", time_columns=["at"])
    )
    assert rows == [{"at": "2015-10-18T18:01:47.978000", "level": "INFO", "message": "started"}]
    assert bad == [2]


@pytest.mark.parametrize(
    ("time_format", "text", "expected"),
    [
        ("epoch", "1396437466.94", "2014-04-02T11:17:46.940000"),
        ("epoch_ms", "1396437466940", "2014-04-02T11:17:46.940000"),
        ("epoch_us", "1396437466940001", "2014-04-02T11:17:46.940001"),
        ("%d.%m.%Y", "02.04.2014", "2014-04-02T00:00:00.000000"),
        ("%d.%m.%Y", "2014/04/02", "2014/04/02"),
        ("epoch", "soon", "soon"),
        ("epoch", "1e30", "1e30"),
        ("%H'%M", "11'17", "1900-01-01T11:17:00.000000"),
    ],
)
def test_time_formats(tmp_path: Path, time_format: str, text: str, expected: str) -> None:
    path = written(tmp_path / "a.csv", f"n,at\n1,{text}\n")
    rows, _ = rows_and_bad(read_file(path, time_format=time_format, time_columns=["AT"]))
    assert rows == [{"n": "1", "at": expected}]


def test_a_value_that_does_not_convert_is_told_with_the_way_round(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("n,at\n1,2026-01-05\nx,2026-01-05\n")
    with pytest.raises(SqlError, match="TRY_CAST") as told:
        list(read_file(path, mapping={"amount": "n::INT * 2"}, wanted=["amount"]))
    assert told.value.where == "--map"


def test_mapping_takes_columns_by_name_expressions_and_leaves_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "InvoiceNo,Quantity,Country\nC1,-2,UK\n2,3,UK\n")
    mapping = {"kind": "CASE WHEN InvoiceNo LIKE 'C%' THEN 'return' ELSE 'sale' END", "units": "quantity"}
    rows, _ = rows_and_bad(read_file(path, mapping=mapping, wanted=["kind", "units", "country", "other"]))
    assert rows == [
        {"kind": "return", "units": "-2", "country": "UK"},
        {"kind": "sale", "units": "3", "country": "UK"},
    ]


@pytest.mark.parametrize(
    ("mapping", "error"),
    [
        ({"kind": "InvoceNo"}, UnknownName),
        ({"knd": "InvoiceNo"}, UnknownName),
        ({"kind": "sum(("}, SqlError),
        ({"kind": "(SELECT content FROM read_text('/etc/hostname'))"}, SqlError),
    ],
)
def test_a_mapping_that_cannot_be(
    tmp_path: Path, mapping: dict[str, str], error: type[HeadraceError]
) -> None:
    path = written(tmp_path / "a.csv", "InvoiceNo\n1\n")
    with pytest.raises(error):
        list(read_file(path, mapping=mapping, wanted=["kind"]))


def test_a_file_without_any_wanted_column_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="none of the stream's columns"):
        list(read_file(written(tmp_path / "a.csv", "x,y\n1,2\n"), wanted=["a"]))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("gone.csv", None),
        ("a.parquet", b"not parquet"),
        ("a.arrow", b"ARROW1 but not really"),
        ("a.ndjson.gz", b"not gzip"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(StorageError, match=name):
        list(read_file(tmp_path / name))


def test_a_truncated_gzip_gives_what_there_is_then_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(
        gzip.compress(b"".join(json.dumps({"n": n}).encode() + b"\n" for n in range(50_000)))[:-20]
    )
    chunks = read_file(path, options=ReadOptions(batch_rows=1_000))
    seen: list[Chunk] = []
    with pytest.raises(StorageError, match="cannot be read"):
        seen.extend(chunks)
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("(?P<a>", "no regular expression"),
        (r"\w+", "names no column"),
        ("%{WRD:a}", "no piece"),
        (None, "needs a pattern"),
    ],
)
def test_patterns_that_cannot_be(tmp_path: Path, pattern: str | None, complaint: str) -> None:
    path = written(tmp_path / "a.log", "x\n")
    with pytest.raises(DeclarationError, match=complaint):
        list(read_file(path, "pattern", pattern=pattern))


def test_formats_are_found_by_name_and_registered_once() -> None:
    assert format_of(Path("x.JSONL.gz")).name == "ndjson"
    assert format_of(Path("x.dat"), "csv").name == "csv"
    with pytest.raises(UnknownName, match="--format"):
        format_of(Path("x.dat"))
    with pytest.raises(UnknownName, match="parquet"):
        format_of(Path("x.csv"), "parket")
    with pytest.raises(DeclarationError, match="registered already"):
        register_format(Format("csv", (), "", formats()["csv"].read))


def test_every_format_is_documented(root: Path) -> None:
    text = (root / "docs" / "reference" / "formats.md").read_text()
    assert [name for name in formats() if f"| `{name}` |" not in text] == []
