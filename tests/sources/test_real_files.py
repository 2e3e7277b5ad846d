"""Files that nobody wrote for this platform: every line goes in, the views equal DuckDB's answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import headrace as hr
from headrace.sources.files import FileSource
from headrace.sources.registry import ReadOptions
from headrace.sources.replay import Replayed, replay


def played(app: hr.App, source: FileSource, view: str) -> tuple[Replayed, list[dict[str, Any]]]:
    with app.open(None) as run:
        done = replay(run, "lines", source)
        run.advance()
        return done, run.query(f"SELECT * FROM {view}").to_pylist()


def direct(sql: str, path: Path) -> list[dict[str, Any]]:
    table: Any = duckdb.connect().sql(sql, params=[str(path)]).to_arrow_table()
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_clicks(shared_data: Path) -> None:
    app = hr.App("clicks")
    app.stream(
        "lines",
        "session BIGINT NOT NULL, item BIGINT NOT NULL, moment TIMESTAMP NOT NULL",
        event_time="moment",
    )
    app.view(
        "busiest",
        "SELECT item, count(*) AS clicks, count(DISTINCT session) AS sessions, max(moment) AS newest "
        "FROM lines GROUP BY item ORDER BY clicks DESC, item LIMIT 20",
    )
    path = shared_data / "clicks" / "yoochoose_100k_train.tsv.gz"
    mapping = {"session": "SessionId", "item": "ItemId", "moment": "Time"}
    done, rows = played(app, FileSource(path, mapping=mapping, time_format="epoch"), "busiest")
    assert rows == direct(
        """
        SELECT ItemId AS item, count(*) AS clicks, count(DISTINCT SessionId) AS sessions,
            make_timestamp((max(Time::DECIMAL(38,6)) * 1000000)::BIGINT) AS newest
        FROM read_csv(?, delim = '\t', types = {'Time': 'VARCHAR'})
        GROUP BY item ORDER BY clicks DESC, item LIMIT 20
        """,
        path,
    )
    assert done.accepted == done.rows == direct("SELECT count(*) AS n FROM read_csv(?)", path)[0]["n"]


LOGS: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "Apache_2k.log": (
        r"\[(?P<moment>[^\]]+)\] \[%{WORD:level}\] %{GREEDYDATA:message}",
        "%a %b %d %H:%M:%S %Y",
        lambda line: line.split("] [")[1].split("]")[0],
    ),
    "Hadoop_2k.log": (
        r"%{TIMESTAMP_ISO8601:moment} %{LOGLEVEL:level} \[%{DATA}\] (?P<logger>[^: ]+): %{DATA:message}",
        "%Y-%m-%d %H:%M:%S,%g",
        lambda line: line.split()[2],
    ),
    "OpenStack_2k.log": (
        r"%{NOTSPACE} %{TIMESTAMP_ISO8601:moment} %{INT} %{LOGLEVEL:level} %{NOTSPACE} %{DATA:message}",
        "%Y-%m-%d %H:%M:%S.%g",
        lambda line: line.split()[4],
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_logs(shared_data: Path, name: str) -> None:
    pattern, time_format, level_of = LOGS[name]
    app = hr.App("logs")
    app.stream("lines", "moment TIMESTAMP NOT NULL, level TEXT NOT NULL, message TEXT", event_time="moment")
    app.view("levels", "SELECT level, count(*) AS lines, min(moment) AS oldest FROM lines GROUP BY level")
    path = shared_data / "logs" / name
    source = FileSource(path, options=ReadOptions(pattern=pattern), time_format=time_format)
    done, rows = played(app, source, "levels")
    lines = path.read_text().splitlines()
    assert (done.rows, done.accepted) == (len(lines), len(lines))
    assert {row["level"]: row["lines"] for row in rows} == Counter(level_of(line) for line in lines)
    assert all(2000 < row["oldest"].year < 2020 for row in rows)


def test_a_log_with_other_lines_between_loses_none(shared_data: Path, tmp_path: Path) -> None:
    pattern, time_format, _ = LOGS["Apache_2k.log"]
    lines = (shared_data / "logs" / "Apache_2k.log").read_text().splitlines()[:100]
    lines.insert(50, "\tat somewhere in a stack trace")
    path = tmp_path / "a.log"
    path.write_text("\n".join(lines))
    app = hr.App("logs")
    app.stream("lines", "moment TIMESTAMP NOT NULL, level TEXT, message TEXT", event_time="moment")
    source = FileSource(path, options=ReadOptions(pattern=pattern), time_format=time_format)
    done, rows = played(app, source, "lines__rejected")
    assert (done.accepted, done.rejected, done.bad_lines) == (100, 1, 1)
    assert len(rows) == 1
    assert "a.log, line 51: does not match the pattern" in rows[0]["row"]


@pytest.mark.parametrize("name", ["ec2_cpu_utilization_24ae8d", "ec2_network_in_257a54"])
def test_machine_metrics(shared_data: Path, name: str) -> None:
    app = hr.App("machines")
    app.stream("lines", "timestamp TIMESTAMP NOT NULL, value DOUBLE NOT NULL", event_time="timestamp")
    app.view(
        "hourly",
        "SELECT window_start, count(*) AS readings, avg(value) AS mean, quantile_cont(value, 0.75) AS p75 "
        "FROM TUMBLE(lines, timestamp, INTERVAL 1 HOUR) GROUP BY window_start, window_end",
    )
    path = shared_data / "machines" / f"{name}.csv"
    done, rows = played(app, FileSource(path), "hourly")
    expected = direct(
        """
        SELECT date_trunc('hour', timestamp) AS window_start, count(*) AS readings, avg(value) AS mean,
            quantile_cont(value, 0.75) AS p75
        FROM read_csv(?) GROUP BY 1
        """,
        path,
    )
    found = {row["window_start"]: row for row in rows}
    assert len(found) == len(rows) == len(expected)
    assert done.accepted == sum(row["readings"] for row in expected)
    for row in expected:
        assert found[row["window_start"]]["readings"] == row["readings"]
        assert found[row["window_start"]]["mean"] == pytest.approx(row["mean"], rel=1e-12)
        assert found[row["window_start"]]["p75"] == pytest.approx(row["p75"], rel=1e-12)
