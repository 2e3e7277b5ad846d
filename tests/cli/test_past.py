"""`headrace query --as-of` and `headrace difference` on a folder that no server holds."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Invoke


def fed(project: Path, invoke: Invoke) -> int:
    """Feed the file, then one more order; return the version in between."""
    assert invoke("replay", "orders.csv", "--stream", "orders").code == 0
    told = invoke("query", "SELECT 1 AS one").err
    version = int(told.split("version ")[1].split(" ")[0])
    (project / "more.csv").write_text("order_id,product,amount\n9,tea,3.10\n")
    assert invoke("replay", "more.csv", "--stream", "orders").code == 0
    return version


def test_query_as_of(project: Path, invoke: Invoke) -> None:
    version = fed(project, invoke)
    assert json.loads(invoke("query", "FROM gmv", "--json").out) == [{"gmv": "20.00", "orders": 3}]
    then = invoke("query", "FROM gmv", "--json", "--as-of", str(version))
    assert json.loads(then.out) == [{"gmv": "16.90", "orders": 2}]
    assert f"version {version} " in then.err
    ahead = invoke("query", "FROM gmv", "--as-of", "2999-01-01")
    assert ahead.code != 0
    assert "in the future" in ahead.err


def test_difference(project: Path, invoke: Invoke) -> None:
    version = fed(project, invoke)
    told = invoke("difference", "gmv", "--since", str(version))
    assert told.code == 0, told.err
    assert "new data" in told.out
    assert "3.10" in told.out
    facts = json.loads(invoke("difference", "gmv", "--since", str(version), "--json").out)
    assert facts["whole"]["sums"] == {"gmv": "3.10", "orders": "1"}
    named = invoke("difference", "gmv", "--since", str(version), "--cause", "shop=orders", "--csv")
    assert named.out.splitlines()[0] == "_cause,_weight,gmv,orders"
    assert named.out.splitlines()[1].startswith("shop,")
    assert invoke("difference", "gmv", "--since", str(version), "--cause", "orders").code == 2
    assert "_weight" in invoke("difference", "gmv", "--since", str(version), "--rows").out
