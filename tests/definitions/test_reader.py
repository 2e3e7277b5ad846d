"""A reader that hammers a server over HTTP while its definition changes to and fro and the server is killed.

The invariant: every answer is wholly old or wholly new. One query asks for `turnover`, for `best` that reads
it, and for what both definitions say over the orders of the same version; the answer is right if one of them
explains all of it. And no version means two things: whoever reads version n before a kill and after it reads
the same. The kills come at the points of the switch, where an answer could be of both: the new definitions
are on disk and the old views still answer; the new views are in place and no version shows them; they are
shown and nobody has been told. In between the server opens under whichever definition its folder takes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.definitions.served import GROSS, NET, shop
from tests.torture import Torture

import headrace as hr

ROOT = Path(__file__).resolve().parents[2]
POINTS = ("definitions declared", "definitions exchanged", "definitions shown")
ROWS = "(SELECT string_agg(shop || ' ' || amount || ' ' || n, ',' ORDER BY shop) FROM {source})"
BEST = "(SELECT max(amount) || ' ' || sum(n) FROM {source})"
BOTH = (("gross", GROSS), ("net", NET))
ASKED = ", ".join(
    [
        ROWS.format(source="turnover") + " AS turnover",
        "(SELECT amount || ' ' || n FROM best) AS best",
        *(ROWS.format(source=f"({sql})") + f" AS {name}" for name, sql in (("gross", GROSS), ("net", NET))),
        *(
            BEST.format(source=f"({sql})") + f" AS best_{name}"
            for name, sql in (("gross", GROSS), ("net", NET))
        ),
    ]
)


@dataclass
class Reader:
    """What has been read so far, over all lives of the server."""

    seen: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    newest: int = 0

    def hammer(self, url: str, done: threading.Event) -> None:
        """Read until the server is gone."""
        with httpx.Client(base_url=url, timeout=100, trust_env=False) as http:
            while not done.is_set():
                try:
                    answer = http.post("/v1/sql", json={"sql": f"SELECT {ASKED}"})
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.check(answer.json())

    def check(self, answer: dict[str, Any]) -> None:
        """Compare one answer with both definitions, and with what was read of its version before."""
        row, version = answer["rows"][0], answer["version"]
        both = (row["turnover"], row["best"])
        fits = [name for name in ("gross", "net") if both == (row[name], row[f"best_{name}"])]
        if not fits:
            self.wrong.append(f"version {version} is of neither definition: {row}")
        if len(fits) == 1:
            self.kinds.add(fits[0])
        if self.seen.setdefault(version, both) != both:
            self.wrong.append(f"version {version} means two things: {self.seen[version]} and {both}")
        if version < self.newest:
            self.wrong.append(f"version {version} comes after {self.newest}")
        self.newest = version


def live(folder: Path, reader: Reader, point: str, visit: int) -> int:
    """One life of the server; return how it ended."""
    command = [sys.executable, "-m", "tests.definitions.served", str(folder), point, str(visit)]
    done = threading.Event()
    with (
        (folder.parent / "errors.txt").open("a") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url and process.wait(30) == -9:
                return -9  # at a point on the way to serving
            assert url, (folder.parent / "errors.txt").read_text()[-2000:]
            thread = threading.Thread(target=reader.hammer, args=(url, done))
            thread.start()
            process.stdout.read()
            ended = process.wait(60)
            done.set()
            thread.join()
        finally:
            process.kill()
    return ended


def ends_well(folder: Path, reader: Reader) -> None:
    """The folder opens under one of the definitions, and is right under it."""
    assert reader.wrong == []
    for turnover in (NET, GROSS):
        try:
            run = shop(turnover).open(folder)
        except hr.DeclarationsChanged:
            continue
        with run:
            if run.change is not None:
                run.change.wait(settled=True)
            run.advance()
            asked = run.query(f"SELECT * FROM ({turnover}) ORDER BY ALL").to_pylist()
            assert run.query("SELECT * FROM turnover ORDER BY ALL").to_pylist() == asked
        return
    raise AssertionError("the folder takes neither definition")


def test_every_answer_is_wholly_old_or_wholly_new_whatever_kills_the_server(tmp_path: Path) -> None:
    folder, reader = tmp_path / "data", Reader()
    for visit, point in enumerate(POINTS[:2], start=1):
        assert live(folder, reader, point, visit) == -9, (tmp_path / "errors.txt").read_text()[-2000:]
    ends_well(folder, reader)
    assert reader.kinds == {"gross", "net"}


@pytest.mark.torture(weight=0.4)
def test_every_answer_is_wholly_old_or_wholly_new_for_long(tmp_path: Path, torture: Torture) -> None:
    others = ("-", "after rename ?/change.json", "before write log/*.seg", "after sync log/*.seg")
    folder, reader = tmp_path / "data", Reader()

    def case(seed: int) -> None:
        point = (*POINTS, *others)[seed % (len(POINTS) + len(others))]
        live(folder, reader, point, 1 + seed % (3 if point in POINTS else 60))
        ends_well(folder, reader)

    torture.play(case)
