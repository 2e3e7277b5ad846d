"""`headrace demo`: a complete system with a simulator that feeds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli import warm_up
from headrace.cli.exits import calmly
from headrace.errors import DeclarationError, UnknownName

DEMOS = ("promotions", "billing")


@calmly
def demo(
    name: Annotated[str, typer.Argument(help="Which: promotions or billing.")] = "promotions",
    rate: Annotated[
        float | None, typer.Option("--rate", min=1, help="Events per second; default 2000, billing 200.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed sends the same day.")] = 1,
    events: Annotated[
        int | None, typer.Option("--events", min=1, help="Stop the simulator after so many events.")
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", help="End after this time, such as 60s.")] = None,
    day_in: Annotated[
        str | None, typer.Option("--day-in", help="Play yesterday's 24 hours in this time, such as 5m.")
    ] = None,
    steady: Annotated[bool, typer.Option("--steady", help="No ups and downs of the rate.")] = False,
    merchants: Annotated[
        int | None, typer.Option("--merchants", min=1, help="(billing) How many; default 200.")
    ] = None,
    years: Annotated[
        float | None, typer.Option("--years", min=0.1, help="(billing) How far back they go; default 3.")
    ] = None,
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
    of_promotions: dict[str, Any] = {"--day-in": day_in, "--steady": steady or None}
    of_billing: dict[str, Any] = {"--merchants": merchants, "--years": years}
    _must_be_its_own(name, of_promotions if name == "billing" else of_billing)
    warm_up.done()
    shared: dict[str, Any] = {"seed": seed, "events": events, "for_": for_, "verify": verify, "port": port}
    if name == "billing":
        from headrace.solutions.billing.demo import run_demo as run_billing

        code = run_billing(rate=rate or 200, data=data, merchants=merchants, years=years, **shared)
    else:
        from headrace.solutions.promotions.demo import run_demo

        code = run_demo(rate=rate or 2_000, data=data, day_in=day_in, steady=steady, **shared)
    if code:
        raise typer.Exit(code)


def _must_be_its_own(name: str, foreign: dict[str, Any]) -> None:
    """Refuse options of the other demo."""
    given = [option for option, value in foreign.items() if value is not None]
    if given:
        raise DeclarationError(f"the demo {name} knows no {given[0]}", hint=f"leave {given[0]} out")
