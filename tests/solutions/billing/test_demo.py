"""`headrace demo billing` as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke, invoke

from headrace.errors import HeadraceError
from headrace.solutions.billing.demo import must_be_taken, run_demo

__all__ = ["invoke"]


@pytest.mark.timeout(400)
def test_the_demo_verifies_itself() -> None:
    words = [
        "demo",
        "billing",
        "--merchants",
        "2",
        "--years",
        "1",
        "--events",
        "300",
        "--verify",
        "--port",
        "0",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", *words],
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "all 20 equal the books" in done.stderr
    assert done.stdout.startswith("http://127.0.0.1:")


def test_a_folder_with_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(HeadraceError, match="holds data already"):
        run_demo(data=tmp_path)


def test_options_of_the_other_demo_are_refused(invoke: Invoke) -> None:
    told = invoke("demo", "billing", "--day-in", "5m")
    assert told.code == 1
    assert "--day-in" in told.err
    told = invoke("demo", "promotions", "--merchants", "5")
    assert "--merchants" in told.err
    assert invoke("demo", "billin").code == 3


def test_rows_that_are_not_taken_end_the_demo() -> None:
    from headrace.solutions.billing.app import app

    with app.open(None) as run, pytest.raises(HeadraceError, match="rejected"):
        must_be_taken(run.upsert("products", [{"product_id": "p"}]), "products")
