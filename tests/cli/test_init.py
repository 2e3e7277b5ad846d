"""`headrace init`: Python that compiles, CSV that reads, and nobody's work overwritten."""

from __future__ import annotations

import ast
import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke
from typer.testing import CliRunner

from headrace.cli.init import SAMPLE_ORDERS, sample_orders, templates, write_project
from headrace.cli.main import app
from headrace.cli.project import load_project
from headrace.cli.serving import check_project

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_new_project_has_everything(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / "shop")])
    assert result.exit_code == 0
    assert "headrace run --dev" in result.stdout
    names = {
        str(path.relative_to(tmp_path / "shop")) for path in (tmp_path / "shop").rglob("*") if path.is_file()
    }
    assert names >= {"app.py", "README.md", "send.py", ".gitignore", "views/gmv.sql", "sample/orders.csv"}
    assert any(name.startswith("dashboards/") for name in names)


def test_a_new_project_loads_plans_and_takes_its_sample(tmp_path: Path, invoke: Invoke) -> None:
    write_project(tmp_path, "shop", datetime.now(UTC))
    project = load_project(tmp_path)
    check_project(project)
    assert [page.name for page in project.dashboards] == ["wall"]
    words = ("--stream", "orders", "--project", str(tmp_path), "--json")
    fed = json.loads(invoke("replay", str(tmp_path / "sample" / "orders.csv"), *words).out)
    assert (fed["rows"], fed["accepted"]) == (SAMPLE_ORDERS, SAMPLE_ORDERS)


def test_every_placeholder_is_filled_and_python_compiles(tmp_path: Path) -> None:
    for path in write_project(tmp_path, "shop", NOW):
        text = path.read_text()
        assert "$name" not in text
        assert "$title" not in text
        assert "$now" not in text
        if path.suffix == ".py":
            ast.parse(text)


def test_the_order_sent_by_hand_is_none_of_the_sample(tmp_path: Path) -> None:
    """Once it was number 1, and was refused: the id had come with other content."""
    write_project(tmp_path, "shop", NOW)
    sent = re.search(r'"order_id": (\d+)', (tmp_path / "README.md").read_text())
    assert sent is not None
    assert int(sent[1]) > SAMPLE_ORDERS
    assert "$(date -u" in (tmp_path / "README.md").read_text()


def test_the_sample_ends_at_the_present_in_order() -> None:
    rows = list(csv.DictReader(sample_orders(NOW).splitlines()))
    assert len(rows) == SAMPLE_ORDERS
    times = [row["placed_at"] for row in rows]
    assert times == sorted(times)
    assert times[0] == "2026-03-01T11:30:00Z"
    assert times[-1] <= "2026-03-01T12:00:00Z"
    assert sample_orders(NOW) == sample_orders(NOW)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert result.exit_code in (1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("mine")
    result = CliRunner().invoke(app, ["init", str(tmp_path / "shop")])
    assert result.exit_code == 1
    assert "a file has that name" in result.stderr


def test_an_empty_folder_or_a_fresh_repository_will_do(tmp_path: Path) -> None:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    assert CliRunner().invoke(app, ["init", str(tmp_path / "shop")]).exit_code == 0


@pytest.mark.parametrize("name", ["1shop", "my shop", "shöp", "x" * 70])
def test_a_name_that_cannot_name_an_app_is_a_usage_error(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / name)])
    assert result.exit_code == 2
    assert not (tmp_path / name).exists()


def test_the_templates_are_shipped() -> None:
    assert "app.py" in templates()
    assert ".gitignore" in templates()
