"""Flink 2.2.1 in a process of its own: a mini cluster with two task slots, on the rows of the same files.

The jars come from the package `apache-flink-libraries` of PyPI, in a virtual environment of its own; a few
small Java classes read the Arrow files and write changes (see `flink/java`). Java 17 with `javac` is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from side_by_side.cost import Cost

VERSION = "2.2.1"
HERE = Path(__file__).parent / "flink"
PARALLELISM = 2
HEAP = "4g"
FACTORIES = ("ArrowRows", "SideInput", "ChangeFile")
NOT_RUNNABLE = {"q6": "Flink refuses an OVER over changes (FLINK-19059)"}

LIGHT = ("q0", "q1", "q2", "q3", "q8", "q10", "q12", "q13", "q14", "q21", "q22")
"""Queries that cost Flink hardly more than starting a job: they are run more often, for a steadier figure."""
JOBS = ("tiny", "tiny", "rows")
LIGHT_JOBS = ("rows", "tiny", "rows", "tiny", "rows")


def runs_of(name: str) -> int:
    """Return how often a query is measured in memory; the cheapest run counts, of either engine."""
    return (LIGHT_JOBS if name in LIGHT else JOBS).count("rows")


_OPENED = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent")
SETTINGS = {
    "parallelism.default": str(PARALLELISM),
    "taskmanager.numberOfTaskSlots": str(PARALLELISM),
    "pipeline.object-reuse": "true",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.distinct-agg.split.enabled": "true",
    "table.local-time-zone": "UTC",
    "state.backend.type": "hashmap",
    "restart-strategy.type": "none",
    "taskmanager.memory.network.max": "128m",
    "rest.bind-port": "0",
}
"""As a user who has read the tuning guide would set them; the mini-batch options are Nexmark's own."""
DURABLE = {
    "state.backend.type": "rocksdb",
    "state.backend.incremental": "true",
    "execution.checkpointing.interval": "10 s",
    "taskmanager.memory.managed.size": "1g",
}
PERSON = """id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING, state STRING,
  date_time TIMESTAMP(3), extra STRING"""
AUCTION = """id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT,
  date_time TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING"""
BID = """auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3),
  extra STRING"""
_WATERMARK = "WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND"


@dataclass(frozen=True)
class Flink:
    """An installed Flink with the benchmark's classes compiled."""

    classpath: str
    java: str

    def run(self, scripts: list[Path], settings: dict[str, str], folder: Path) -> list[dict[str, float]]:
        """Run scripts one after the other in one process; return what each cost."""
        config = folder / "settings"
        config.write_text("\n".join(f"{key}: {value}" for key, value in settings.items()), encoding="utf-8")
        opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED]
        command = [self.java, f"-Xmx{HEAP}", *opened, "-cp", self.classpath, "headrace.bench.RunQuery"]
        done = subprocess.run(
            [*command, str(config), *map(str, scripts)],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or len(lines) != len(scripts):
            raise RuntimeError(f"Flink failed:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
        return lines


def install(work: Path) -> Flink:
    """Return a Flink that is ready: made in `$HEADRACE_BENCH_FLINK`, or below `work`, where it is missing."""
    java, javac = shutil.which("java"), shutil.which("javac")
    if java is None or javac is None:
        raise RuntimeError("Flink needs Java 17 with javac on the path")
    venv = Path(os.environ.get("HEADRACE_BENCH_FLINK", str(work / "flink-venv")))
    if not (venv / "bin" / "python").exists():
        print(f"making {venv} with Flink {VERSION} from PyPI (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    home = _home(venv)
    if home is None:
        wanted = f"apache-flink-libraries=={VERSION}"
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "setuptools", "wheel"], check=True)
        subprocess.run([*pip, "--no-build-isolation", wanted], check=True)
        home = _home(venv)
    assert home is not None
    jars = sorted(map(str, [*(home / "lib").glob("*.jar"), *(home / "opt").glob("flink-python-*.jar")]))
    classes = _compiled(work / "flink-classes", javac, ":".join(jars))
    return Flink(":".join([str(classes), *jars]), java)


def _home(venv: Path) -> Path | None:
    """Return the folder `pyflink` of an environment that holds this version of Flink."""
    found = venv.glob(f"lib/python3*/site-packages/pyflink/lib/flink-dist-{VERSION}.jar")
    return next((jar.parents[1] for jar in found), None)


def _compiled(classes: Path, javac: str, classpath: str) -> Path:
    """Compile the Java sources; quick enough to do every time."""
    shutil.rmtree(classes, ignore_errors=True)
    services = classes / "META-INF" / "services"
    services.mkdir(parents=True)
    names = "\n".join(f"headrace.bench.{name}" for name in FACTORIES)
    (services / "org.apache.flink.table.factories.Factory").write_text(names, encoding="utf-8")
    (classes / "log4j2.properties").write_text("rootLogger.level = error\n", encoding="utf-8")
    sources = sorted(map(str, (HERE / "java").rglob("*.java")))
    command = [javac, "--release", "17", "-nowarn", "-d", str(classes), "-cp", classpath, *sources]
    subprocess.run(command, check=True, capture_output=True)
    return classes


def script(name: str, rows: Path, changes: Path | None) -> str:
    """Return a query as statements; its output is thrown away, or written as changes."""
    streams = {
        "person": f"{PERSON}, {_WATERMARK}",
        "auction": f"{AUCTION}, {_WATERMARK}",
        "bid": f"{BID}, {_WATERMARK}",
        "bid_arrived": f"{BID}, arrived_at AS PROCTIME()",
    }
    parts = [
        f"CREATE TABLE {stream} ({columns}) WITH ('connector' = 'arrow-rows', 'path' = "
        f"'{rows / (stream.removesuffix('_arrived') + '.arrow')}')"
        for stream, columns in streams.items()
    ]
    parts.append(
        "CREATE TABLE side_input (`key` BIGINT, `value` STRING) WITH ('connector' = 'side-input', "
        f"'path' = '{rows / 'side_input.csv'}')"
    )
    parts.append("CREATE TEMPORARY FUNCTION count_char AS 'headrace.bench.CountChar'")
    target = "blackhole" if changes is None else f"change-file {changes}"
    parts.append(f"-- into {target}\n{(HERE / 'queries' / f'{name}.sql').read_text(encoding='utf-8')}")
    return "\n;\n".join(parts)


def measure(
    flink: Flink, name: str, warm: Path, tiny: Path, rows: Path, *, durable: bool
) -> tuple[Cost, list[tuple[int, list[str]]]]:
    """Return the cost of a query over `rows`, and its changes over `warm` as (weight, values as text).

    Several jobs run in one process: the first, over `warm`, writes its changes; the others, over `tiny` and
    `rows`, throw them away. What counts is the cheapest over `rows` less the cheapest over `tiny`, which is
    what any job costs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = dict(SETTINGS)
        if durable:
            settings |= DURABLE | {"execution.checkpointing.dir": (folder / "checkpoints").as_uri()}
        sources = {"warm": warm, "tiny": tiny, "rows": rows}
        order = ("warm", *(LIGHT_JOBS if name in LIGHT else JOBS))
        for label in set(order):
            text = script(name, sources[label], folder / "out" if label == "warm" else None)
            (folder / f"{label}.sql").write_text(text, encoding="utf-8")
        costs = flink.run([folder / f"{label}.sql" for label in order], settings, folder)
        spent = {
            (label, key): min(cost[key] for at, cost in zip(order, costs, strict=True) if at == label)
            for label in ("tiny", "rows")
            for key in ("cpu_s", "wall_s")
        }
        cost = Cost(
            _events(rows) - _events(tiny),
            max(spent["rows", "cpu_s"] - spent["tiny", "cpu_s"], 0.01),
            max(spent["rows", "wall_s"] - spent["tiny", "wall_s"], 0.01),
            costs[-1]["peak_kb"] / 1024,
        )
        return cost, _changes(folder)


def _events(rows: Path) -> int:
    return int(json.loads((rows / "done.json").read_text(encoding="utf-8"))["events"])


def _changes(folder: Path) -> list[tuple[int, list[str]]]:
    found = []
    for part in sorted(folder.glob("out.*")):
        for line in part.read_text(encoding="utf-8").split("\n")[:-1]:
            sign, *values = line.split("\x1f")
            found.append((1 if sign == "+" else -1, values))
    return found
