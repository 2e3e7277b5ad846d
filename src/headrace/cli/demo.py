"""`headrace demo`: a complete system with a simulator that feeds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli import warm_up
from headrace.cli.exits import calmly
from headrace.errors import UnknownName

DEMOS = ("promotions",)


@calmly
def demo(
    name: Annotated[str, typer.Argument(help="Which: promotions.")] = "promotions",
    rate: Annotated[float, typer.Option("--rate", min=1, help="Events per second.")] = 2_000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed sends the same day.")] = 1,
    events: Annotated[
        int | None, typer.Option("--events", min=1, help="Stop the simulator after so many events.")
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", help="End after this time, such as 60s.")] = None,
    day_in: Annotated[
        str | None, typer.Option("--day-in", help="Play yesterday's 24 hours in this time, such as 5m.")
    ] = None,
    steady: Annotated[bool, typer.Option("--steady", help="No ups and downs of the rate.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="At the end compare every view with the simulator's own tally.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0: any free.")] = 8080,
    data: Annotated[
        Path | None, typer.Option("--data", help="Keep the data here; default: a folder that is thrown away.")
    ] = None,
) -> None:
    """Start a complete system and feed it with made-up, believable events. Ctrl-C ends it."""
    if name not in DEMOS:
        raise UnknownName.of("demo", name, DEMOS)
    from headrace.solutions.promotions.demo import run_demo

    warm_up.done()
    code = run_demo(
        rate=rate,
        seed=seed,
        events=events,
        for_=for_,
        day_in=day_in,
        verify=verify,
        port=port,
        data=data,
        steady=steady,
    )
    if code:
        raise typer.Exit(code)
