"""Durations on the command line of a demo."""

from __future__ import annotations

import typer

from headrace.errors import DeclarationError


def duration_s(text: str) -> float:
    """Read `90`, `60s`, `5m` or `1h` as seconds.

    Raises:
        typer.BadParameter: it is none of these.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a duration such as 60s, 5m or 1h") from None
    if not 0 < seconds < float("inf"):
        raise typer.BadParameter(f"{text!r} is not a positive duration")
    return seconds


def seconds_or_none(text: str | None) -> float | None:
    """Read a duration that may not be given.

    Raises:
        DeclarationError: it is none.
    """
    try:
        return None if text is None else duration_s(text)
    except typer.BadParameter as error:
        raise DeclarationError(str(error)) from None
