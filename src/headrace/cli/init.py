"""`headrace init NAME`: writes a small project that runs."""

from __future__ import annotations

import csv
import io
import random
import re
import shlex
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from headrace.cli.exits import USAGE, calmly
from headrace.cli.output import note, say
from headrace.errors import ProjectError

SAMPLE_ORDERS = 200
SAMPLE_PRICES = {"tea": 490, "coffee": 750, "mug": 1200, "kettle": 3900}
"""Price in cents by product."""


@calmly
def init(
    name: Annotated[str, typer.Argument(help="The folder to make; its last part names the app.")],
) -> None:
    """Write a small project that runs: a stream, a table, views, a page, sample data."""
    folder = Path(name)
    app_name = folder.resolve().name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,62}", app_name):
        note(f"{app_name!r} cannot name an app: letters, digits, _ and -, beginning with a letter")
        raise typer.Exit(USAGE)
    check_empty(folder)
    written = write_project(folder, app_name, datetime.now(UTC))
    note(f"wrote {len(written)} files into {folder}/")
    note("next:")
    step = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(name)} && "
    say(f"{step}headrace run --dev")


def check_empty(folder: Path) -> None:
    """Refuse a folder in which something lies already.

    Raises:
        ProjectError: it is a file, or not empty.
    """
    if folder.is_file():
        raise ProjectError("a file has that name", where=str(folder), hint="choose another name")
    if folder.is_dir() and any(entry.name != ".git" for entry in folder.iterdir()):
        raise ProjectError(
            "the folder is not empty",
            where=str(folder),
            expected="a new or an empty folder",
            hint="another name",
        )


def write_project(folder: Path, name: str, now: datetime) -> list[Path]:
    """Write the files; `now` dates the sample orders. Returns what was written."""
    words = {"name": name, "title": name.replace("_", " ").replace("-", " ").capitalize(), "now": stamp(now)}
    contents = {relative: Template(text).safe_substitute(words) for relative, text in templates().items()}
    contents["sample/orders.csv"] = sample_orders(now)
    written = []
    for relative, text in contents.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def templates() -> dict[str, str]:
    """Return the template files: path in the new project to text."""
    found = dict(_below(files("headrace.cli") / "template", ""))
    return {name.replace("gitignore", ".gitignore"): text for name, text in found.items()}


def _below(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".in"):
            found.append((prefix + entry.name.removesuffix(".in"), entry.read_text(encoding="utf-8")))
    return found


def sample_orders(now: datetime) -> str:
    """Return made-up orders of the half hour before `now`, as CSV, always the same but for the time."""
    chance = random.Random(7)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["order_id", "customer", "product", "quantity", "amount", "placed_at"])
    for number in range(SAMPLE_ORDERS):
        product = chance.choice(sorted(SAMPLE_PRICES))
        quantity = chance.randint(1, 3)
        cents = SAMPLE_PRICES[product] * quantity
        at = now - timedelta(minutes=30) * (1 - number / SAMPLE_ORDERS)
        customer = chance.choice(["Ada", "Emmy", "Grace", "Mary", "Sofia"])
        writer.writerow(
            [number + 1, customer, product, quantity, f"{cents // 100}.{cents % 100:02}", stamp(at)]
        )
    return text.getvalue()


def stamp(at: datetime) -> str:
    """Return a time as ISO 8601 in UTC to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
