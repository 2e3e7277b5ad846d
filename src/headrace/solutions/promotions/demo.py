"""`headrace demo promotions`: the server, the simulator beside it, and at the end, if wanted, the proof."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

import headrace as hr
from headrace.errors import ConnectError, HeadraceError, StorageError
from headrace.solutions.kit.compare import Compared, compare_views, comparison_table
from headrace.solutions.kit.durations import seconds_or_none
from headrace.solutions.kit.server import Server, end_calmly, module, serving, stdout_of
from headrace.solutions.promotions.journal import read_journal
from headrace.solutions.promotions.tally import tally

HERE = Path(__file__).parent
VERIFY_EVENTS = 100_000
"""How many events `--verify` plays when neither their number nor a time is given."""


def run_demo(
    *,
    rate: float = 2_000,
    seed: int = 1,
    events: int | None = None,
    for_: str | None = None,
    day_in: str | None = None,
    verify: bool = False,
    port: int = 8080,
    data: Path | None = None,
    steady: bool = False,
) -> int:
    """Run the demo until it is over, or Ctrl-C; return the exit code.

    Args:
        rate: events per second.
        seed: equal seeds play equal days.
        events: stop the simulator after so many events.
        for_: end by itself after this time, as in `60s`.
        day_in: play yesterday's 24 hours in this time, as in `5m`.
        verify: at the end compare every view with the simulator's own tally.
        port: the server's port; 0: any free one.
        data: where to keep the data; None: a folder that is removed at the end.
        steady: no ups and downs of the rate.

    Returns:
        0; 1 when a view differs from the tally, or the server or the simulator failed.

    Raises:
        HeadraceError: a duration that is none, or `verify` on a folder that is not empty.
    """
    console = Console(stderr=True)
    if verify and events is None and for_ is None:
        events = VERIFY_EVENTS
    plan = {
        "rate": rate,
        "events": events,
        "for": seconds_or_none(for_),
        "seed": seed,
        "day-in": seconds_or_none(day_in),
    }
    if verify and data is not None and data.is_dir() and any(data.iterdir()):
        raise StorageError(
            "the tally knows only what this run sends, and the folder holds events already",
            where=str(data),
            hint="--verify with a new folder, or without --data",
        )
    end_calmly()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-demo-")))
        journal = folder / "journal" if verify else None
        try:
            server = stack.enter_context(serving(HERE, data or folder / "data", port, console))
            sys.stdout.write(f"{server.url}\n")
            sys.stdout.flush()
            console.print(
                f"the wall:  {server.url}/dashboards/wall\nall views: {server.url}/\nCtrl-C ends the demo",
                highlight=False,
            )
            summary = _simulate(server, plan, journal, steady, console)
            if journal is None:
                ends = summary is not None and for_ is not None
                if ends:
                    return 0
                console.print("the simulator is done; the wall stays until Ctrl-C")
                return server.stay()
            return _verify(server.url, journal, console)
        except KeyboardInterrupt:
            console.print("ended")
            return 0
        except HeadraceError as error:
            console.print(str(error), style="red", highlight=False)
            return 1


def _simulate(
    server: Server, plan: dict[str, Any], journal: Path | None, steady: bool, console: Console
) -> dict[str, Any] | None:
    """Play the day in a process of its own, with a line of progress; return its last numbers."""
    arguments = ["--url", server.url, *(["--steady"] if steady else [])]
    for name, value in plan.items():
        arguments += [] if value is None else [f"--{name}", str(value)]
    arguments += ["--journal", str(journal)] if journal else []
    numbers: dict[str, Any] | None = None
    with module("headrace.solutions.promotions.simulate", arguments) as process:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            for line in stdout_of(process):
                numbers = json.loads(line)
                live.update(_progress(numbers))
                server.must_run()
        code = process.wait()
    if numbers is not None:
        console.print(_progress(numbers))
    if code != 0:
        server.must_run()
        raise ConnectError(f"the simulator ended with code {code}", hint="its own words stand above")
    return numbers


def _progress(numbers: dict[str, Any]) -> Text:
    hour = numbers["hour"]
    return Text(
        f"{int(hour):02}:{int(hour % 1 * 60):02} in the shop | {numbers['sent']:>11,} events, "
        f"{numbers['rate']:>8,.0f}/s | accepted {numbers['accepted']:,}, repeated {numbers['repeated']:,}, "
        f"late {numbers['late']:,}, rejected {numbers['rejected']:,} | "
        f"answers p99 {numbers['request_p99_ms']:.0f} ms"
    )


def _verify(url: str, journal: Path, console: Console) -> int:
    console.print("comparing every view with the tally …")
    outcomes, wrong = verify_views(url, journal)
    console.print(comparison_table(outcomes))
    for sentence in wrong:
        console.print(sentence, style="red")
    differing = [outcome.view for outcome in outcomes if outcome.problem]
    if differing or wrong:
        names = ", ".join(differing)
        console.print(f"{len(differing)} of {len(outcomes)} views differ: {names}", style="bold red")
        return 1
    console.print(f"all {len(outcomes)} views equal the tally", style="bold green")
    return 0


def verify_views(url: str, journal: Path) -> tuple[list[Compared], list[str]]:
    """Compare every view of a server with the tally of a journal.

    Returns:
        The outcome per view, and sentences about answers that cannot be right.
    """
    taken, wrong = read_journal(journal)
    expected = tally(taken)
    with hr.connect(url) as run:
        run.advance()
        return compare_views(lambda view: run.read(view).table.to_pylist(), expected), wrong
