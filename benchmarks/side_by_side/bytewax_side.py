"""Bytewax 0.21.1 (Apache 2.0), a Python peer with a Rust core, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from side_by_side.cost import Cost

PARTS = ("bytewax==0.21.1", "pyarrow")
QUERIES = ("q0", "q1", "q2", "q17", "q18", "q22")


@dataclass(frozen=True)
class Bytewax:
    """An installed Bytewax."""

    python: Path

    def run(self, name: str, rows: Path, events: int) -> Cost:
        """Return the cost of a query."""
        flow = Path(__file__).with_name("bytewax_flow.py")
        command = [str(self.python), str(flow), name, str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Bytewax failed:\n{done.stderr[-3000:]}")
        cost = json.loads(done.stdout.splitlines()[-1])
        return Cost(events, cost["cpu_s"], cost["wall_s"], cost["peak_kb"] / 1024)


def install(work: Path) -> Bytewax:
    """Return a Bytewax that is ready, in `$HEADRACE_BENCH_BYTEWAX` or below `work`."""
    venv = Path(os.environ.get("HEADRACE_BENCH_BYTEWAX", str(work / "bytewax-venv")))
    python = venv / "bin" / "python"
    if not python.exists():
        print(f"making {venv} with {PARTS[0]} from PyPI (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PARTS], check=True)
    return Bytewax(python)
