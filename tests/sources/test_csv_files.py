"""CSV as it is met in the wild; where it is clean, DuckDB reads the same."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.sources.test_files import rows_and_bad

from headrace.errors import StorageError
from headrace.sources.files import read_file
from headrace.sources.registry import BadLines, ReadOptions


def test_lines_may_end_in_both_ways_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\r\n1,2\r\n3,4\n5\n6,7\r\n\r\n")
    rows, bad = rows_and_bad(read_file(path))
    assert [row["a"] for row in rows] == ["1", "3", "6"]
    assert bad == [4]


def test_a_mark_of_byte_order_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    assert rows_and_bad(read_file(path))[0] == [{"a": "1", "b": "2"}]


def test_names_that_are_missing_or_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,,a," b ",a\n1,2,3,4,5\n')
    assert rows_and_bad(read_file(path))[0] == [{"a": "1", "column1": "2", "a_2": "3", "b": "4", "a_3": "5"}]


def test_rows_that_are_not_utf_8_are_numbered_among_misfits(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,\xff\n2\n3,4\n5\n6\n\xfe,8\n9,\n")
    rows, bad = rows_and_bad(read_file(path))
    assert rows == [{"a": "3", "b": "4"}, {"a": "9", "b": None}]
    assert bad == [2, 3, 5, 6, 7]


def test_a_quote_that_never_ends_does_not_pass_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n3,"4\n' + "5,6\n" * 3_000_000)
    seen: list[Any] = []
    with pytest.raises(StorageError, match="block"):
        seen.extend(read_file(path))


def test_an_encoding_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    with pytest.raises(StorageError, match="klingon"):
        list(read_file(path, options=ReadOptions(encoding="klingon")))


@pytest.mark.parametrize("seed", range(5))
def test_clean_files_read_as_duckdb_reads_them(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    words = ["", "a", "0", "-1.5", "two words", "a,b", 'say "hi"', "line\nbreak", "é王", " ", "NULL", "x;y"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=draw.choice(["\n", "\r\n"]))
    writer.writerow(["id", "b", "c"])
    for number in range(500):
        writer.writerow([number, draw.choice(words), draw.choice(words)])
    path = tmp_path / "a.csv"
    path.write_bytes(text.getvalue().encode())
    table: Any = (
        duckdb.connect()
        .sql("SELECT * FROM read_csv(?, all_varchar = true, header = true, delim = ',')", params=[str(path)])
        .to_arrow_table()
    )
    chunks = [chunk for chunk in read_file(path) if not isinstance(chunk, BadLines)]
    assert rows_and_bad(iter(chunks))[0] == table.to_pylist()
