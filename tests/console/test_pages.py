"""The pages without a browser: what is served, under which headers, and what a page is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.console.stub import Stub, View, schema

from headrace.console.assets import Assets, bundle_name
from headrace.console.shell import for_script
from headrace.dashboards import Dashboard
from headrace.errors import DeclarationError
from headrace.panels import Bar, Curve, Fact, Text, Tile

HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(2)>'"&<!--"""


@pytest.fixture
def stub() -> Stub:
    views = {
        "gmv": View(schema("gmv DECIMAL(18,2), orders BIGINT"), [["12.50", 3]]),
        "per_minute": View(schema("minute TIMESTAMP, gmv DECIMAL(18,2)")),
        HOSTILE: View(schema("a VARCHAR")),
        "orders": View(schema("order_id BIGINT, amount DECIMAL(18,2)"), kind="stream"),
        "orders__late": View(schema("order_id BIGINT, _watermark TIMESTAMP"), kind="side"),
        "orders__rejected": View(
            schema("row VARCHAR, reason VARCHAR, field VARCHAR, value VARCHAR"),
            [['{"order_id":"x"}', "not a BIGINT", "order_id", "x"]],
            kind="side",
        ),
        "broken": View(schema("a BIGINT"), error="division by zero"),
    }
    panels = [
        Tile(view="gmv", value="gmv", format="money GBP 0", title=HOSTILE, help=HOSTILE),
        Text(text=HOSTILE),
    ]
    return Stub(views, [Dashboard(name="wall", title=HOSTILE, panels=panels)])


@pytest.fixture
def client(stub: Stub) -> Iterator[httpx.Client]:
    with stub, httpx.Client(base_url=stub.url, timeout=100) as client:
        yield client


def told(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="told" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_hostile_titles_stay_text(client: httpx.Client) -> None:
    html = client.get("/dashboards/wall").text
    scripts = re.findall(r"<script[^>]*>", html)
    assert scripts == [
        '<script src="/console/static/theme.js">',
        '<script id="told" type="application/json">',
        '<script type="module" src="/console/static/dashboard.js">',
    ]
    assert "<img" not in html
    assert told(html)["panels"][0]["title"] == HOSTILE
    assert HOSTILE in unescape(html)


def test_json_in_a_script_cannot_end_it() -> None:
    text = for_script({"a": "</script>&\u2028"})
    assert "<" not in text
    assert "&" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": "</script>&\u2028"}


@pytest.mark.parametrize("path", ["/", "/dashboards/wall", "/views/gmv", "/streams/orders", "/views/nothing"])
def test_every_page_allows_nothing_inline_and_nothing_from_outside(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    tags = re.findall(r"<[^>]*>", answer.text)
    assert [tag for tag in tags if re.search(r"https?://|style=|\son\w+=", tag)] == []


@pytest.mark.parametrize("path", ["/dashboards/wal", "/views/gmw", "/streams/gmv", "/views/orders"])
def test_a_missing_page_says_what_there_is(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "there is no" in told(answer.text)["problem"]


def test_a_close_name_is_suggested(client: httpx.Client) -> None:
    assert "did you mean 'gmv'?" in told(client.get("/views/gmw").text)["problem"]


def test_the_first_page_counts_rows_late_and_rejected(client: httpx.Client) -> None:
    overview = client.get("/console/overview.json").json()
    assert overview["inputs"] == [
        {
            "name": "orders",
            "kind": "stream",
            "rows": 0,
            "columns": 2,
            "accepted": None,
            "late": 0,
            "rejected": 1,
        }
    ]
    states = {view["name"]: (view["rows"], view["error"]) for view in overview["views"]}
    assert states["gmv"] == (1, None)
    assert states["broken"] == (0, "division by zero")


def test_a_stream_shows_why_rows_were_rejected(client: httpx.Client) -> None:
    sides = told(client.get("/streams/orders").text)["sides"]
    rejected = next(side for side in sides if side["label"] == "rejected")
    assert rejected["recent"][0]["reason"] == "not a BIGINT"


def test_static_files_are_answered_by_their_tag(client: httpx.Client) -> None:
    for path in ("/console/static/console.css", "/console/theme.css", "/console/vega.js"):
        first = client.get(path)
        assert first.status_code == 200
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/console/static/nothing.js", "/console/static/..%2Fshell.py"])
def test_only_static_files_are_static(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_bundle_is_made_once_and_again_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def bundle(snippet: str) -> str:
        made.append(snippet)
        return "window.vegaEmbed = 1;"

    monkeypatch.setattr("vl_convert.javascript_bundle", bundle)
    content = Assets(tmp_path).vega().content
    assert Assets(tmp_path).vega().content == content
    assert len(made) == 1
    kept = tmp_path / bundle_name()
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    assert Assets(tmp_path).vega().content == content
    assert len(made) == 2
    nowhere = tmp_path / "file"
    nowhere.write_text("in the way")
    assert Assets(nowhere).vega().content == content


def test_a_dashboard_over_a_missing_view_is_refused_at_the_start(stub: Stub) -> None:
    wrong = Dashboard(name="wrong", panels=[Bar(view="gmw", x="a", y="b")])
    with pytest.raises(
        DeclarationError, match=r"panel 1: bar 'gmw', field 'view': there is no view named 'gmw'"
    ):
        Stub(stub.views, [wrong])


def test_a_tile_names_all_views_that_it_reads(stub: Stub) -> None:
    tile = Tile(
        view="gmv",
        value="gmv",
        curve=Curve(view="per_minute", x="minute", y="gmv", window="1h"),
        facts=[Fact(value="a", view=HOSTILE)],
    )
    with Stub(stub.views, [Dashboard(name="wall", panels=[tile])]) as other:
        page = told(httpx.get(f"{other.url}/dashboards/wall").text)
    assert page["panels"][0]["views"] == ["gmv", "per_minute", HOSTILE]
    assert set(page["schemas"]) == {"gmv", "per_minute", HOSTILE}
    assert page["panels"][0]["curve"]["window_ms"] == 3_600_000
