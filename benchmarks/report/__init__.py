"""Where benchmarks write: tables on the terminal, and into the page of the documentation that shows them."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "benchmarks.md"
PARTS = ("headrace", "duckdb", "pyarrow", "polars", "numpy")


def work_folder() -> Path:
    """Return where rows and tools are kept between runs: `$HEADRACE_BENCH_WORK`, or `.headrace/bench`."""
    folder = Path(os.environ.get("HEADRACE_BENCH_WORK", ".headrace/bench")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def machine() -> str:
    """Return processor, cores, memory, system and versions, in one line."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8"))
        model = found.group(1) if found else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = ", ".join(f"{name} {version(name)}" for name in PARTS)
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} × {model}, {memory:.0f} GB; {system}, {parts}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a table, the first column to the left and the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def aligned(head: list[str], rows: list[list[str]]) -> str:
    """Return the same table for a terminal."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    ]
    return "\n".join(lines)


def publish(section: str, text: str) -> None:
    """Put a text between the marks of a section of the page, with machine, versions, day and load."""
    load = os.getloadavg()[2]
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    note = f"Measured {when} on {machine()}. Load of the machine over a quarter of an hour: {load:.1f}."
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    if not rest or end not in rest:
        raise ValueError(f"{PAGE} has no section {section}")
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{note}\n\n{end}{after}", encoding="utf-8")
