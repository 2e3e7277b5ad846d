"""A small project on disk, and the command line called in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli.main import app

APP = """
import headrace as hr

app = hr.App("shop")
app.stream("orders", "order_id BIGINT NOT NULL, product TEXT, amount DECIMAL(18,2)", event_id="order_id")
app.views("views")
"""
GMV = "SELECT sum(amount) AS gmv, count(*) AS orders FROM orders\n"
ROWS = "order_id,product,amount\n1,tea,4.90\n2,mug,12.00\n2,mug,12.00\n3,tea,free\n"


@dataclass(frozen=True)
class Told:
    """What a verb did: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Told]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, and the working folder of the test."""
    folder = tmp_path / "shop"
    (folder / "views").mkdir(parents=True)
    (folder / "app.py").write_text(APP)
    (folder / "views" / "gmv.sql").write_text(GMV)
    (folder / "orders.csv").write_text(ROWS)
    monkeypatch.chdir(folder)
    for name in ("PROJECT", "DATA", "URL", "TOKEN", "HOST", "PORT", "DEBUG"):
        monkeypatch.delenv(f"HEADRACE_{name}", raising=False)
    return folder


@pytest.fixture
def invoke() -> Invoke:
    """Call a verb in this process."""

    def call(*words: str, stdin: str | None = None) -> Told:
        result = CliRunner().invoke(app, list(words), input=stdin)
        return Told(result.exit_code, result.stdout, result.stderr)

    return call
