"""`headrace doctor`: looks at everything that a server needs, and says what to do about what is wrong."""

from __future__ import annotations

import importlib
import os
import platform
import resource
import shutil
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.exits import FAILED, calmly
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption
from headrace.cli.output import say, say_json
from headrace.cli.project import data_folder, has_project, load_project
from headrace.cli.server_file import find_server
from headrace.errors import FolderLocked, HeadraceError

PYTHON_MIN = (3, 11)
PACKAGES = ("duckdb", "pyarrow", "numpy", "polars", "sqlglot", "pydantic", "fastapi", "uvicorn", "vl_convert")
DISTRIBUTIONS = {"vl_convert": "vl-convert-python"}
DISK_FREE_WARN_GB = 5.0
DISK_FREE_FAIL_GB = 0.5
FSYNC_SAMPLES = 20
FSYNC_WARN_MS = 20.0
OPEN_FILES_MIN = 1_024
MEMORY_WARN_GB = 1.0
CLOCK_SKEW_S = 60.0
VOLATILE = ("tmpfs", "ramfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs")
MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@dataclass(frozen=True)
class Finding:
    """What one check found: `status` is ok, warn or fail; `hint` says what to do."""

    check: str
    status: str
    found: str
    hint: str | None = None


@dataclass(frozen=True)
class Place:
    """What is looked at: project folder, data folder, port."""

    project: Path
    data: Path
    port: int


@calmly
def doctor(
    project: ProjectOption = HERE,
    data: DataOption = None,
    port: Annotated[
        int, typer.Option("--port", envvar="HEADRACE_PORT", help="The port that the server would use.")
    ] = 8080,
    as_json: JsonOption = False,
) -> None:
    """Check Python, packages, disk, fsync, lock, clock, port and the project; say what to do."""
    place = Place(project, data_folder(project, data), port)
    found = []
    for check in CHECKS:
        for finding in guarded(check, place):
            found.append(finding)
            if not as_json:
                tell(finding)
    if as_json:
        say_json([asdict(finding) for finding in found])
    if any(finding.status == "fail" for finding in found):
        raise typer.Exit(FAILED)


def guarded(check: Callable[[Place], Iterator[Finding]], place: Place) -> Iterator[Finding]:
    """Yield what a check finds; a check that breaks is a finding too."""
    try:
        yield from check(place)
    except Exception as error:  # noqa: BLE001 - whatever is broken on this machine is what is looked for
        name = check.__name__.removeprefix("check_").replace("_", " ")
        yield Finding(name, "fail", f"the check broke: {type(error).__name__}: {error}")


def tell(finding: Finding) -> None:
    """Write one line, and a second one with what to do."""
    say(f"{MARKS[finding.status]}  {finding.check:12} {finding.found}")
    if finding.hint:
        say(f"{'':18} try: {finding.hint}")


def check_python(_place: Place) -> Iterator[Finding]:
    """Python's version, and whether the machine is one that Headrace is tried on."""
    good = sys.version_info >= PYTHON_MIN
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if not good:
        yield Finding("python", "fail", text, "install Python 3.11 or newer")
    elif platform.system() != "Linux":
        yield Finding("python", "warn", text, "Headrace is tried on Linux only")
    else:
        yield Finding("python", "ok", text)


def check_packages(_place: Place) -> Iterator[Finding]:
    """Whether every package imports; their versions."""
    versions, broken = [f"headrace {version('headrace')}"], []
    for name in PACKAGES:
        try:
            importlib.import_module(name)
            versions.append(f"{name} {version(DISTRIBUTIONS.get(name, name))}")
        except Exception as error:  # noqa: BLE001 - a broken wheel may raise anything
            broken.append(f"{name} ({type(error).__name__}: {error})")
    if broken:
        yield Finding("packages", "fail", f"cannot import {', '.join(broken)}", "install headrace again")
    else:
        yield Finding("packages", "ok", ", ".join(versions))


def nearest_folder(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def check_disk(place: Place) -> Iterator[Finding]:
    """Free space, kind of file system, the right to write."""
    folder = nearest_folder(place.data)
    if not os.access(folder, os.W_OK):
        yield Finding("disk", "fail", f"{folder} cannot be written", "give the right, or name --data")
        return
    free_gb = shutil.disk_usage(folder).free / 1e9
    text = f"{free_gb:,.1f} GB free at {folder}"
    if free_gb < DISK_FREE_FAIL_GB:
        yield Finding("disk", "fail", text, "free some space, or name another folder with --data")
    elif free_gb < DISK_FREE_WARN_GB:
        yield Finding("disk", "warn", text, "the log keeps everything that comes in; plan for its growth")
    else:
        yield Finding("disk", "ok", text)
    kind = file_system(folder)
    if kind in VOLATILE:
        yield Finding("file system", "warn", f"{kind}: gone when the machine restarts", "use a disk")
    elif kind in REMOTE:
        yield Finding("file system", "warn", f"{kind}: locks and fsync may not hold", "use a local disk")


def file_system(folder: Path) -> str:
    """Return the kind of file system that holds a folder, or an empty text where that is not known."""
    best, kind = -1, ""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in mounts:
        _, point, this_kind, *_ = line.split(" ")
        mounted = Path(point.encode().decode("unicode_escape"))
        if (folder == mounted or mounted in folder.parents) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), this_kind
    return kind


def check_fsync(place: Place) -> Iterator[Finding]:
    """How long the disk takes to make a small append durable: the floor of every acknowledgement."""
    folder = nearest_folder(place.data)
    path = folder / f".headrace-doctor-{os.getpid()}"
    try:
        took_ms = fsync_ms(path)
    except OSError as error:
        yield Finding("fsync", "fail", f"{folder}: {error}", "name another folder with --data")
        return
    finally:
        path.unlink(missing_ok=True)
    text = f"{took_ms:.2f} ms for 4 KiB (median of {FSYNC_SAMPLES})"
    if took_ms > FSYNC_WARN_MS:
        yield Finding("fsync", "warn", text, "every acknowledged call waits for it")
    else:
        yield Finding("fsync", "ok", text)


def fsync_ms(path: Path) -> float:
    """Return the median time of a write of 4 KiB with its fsync, in milliseconds."""
    took = []
    with path.open("wb") as file:
        for _ in range(FSYNC_SAMPLES):
            start = time.perf_counter()
            file.write(b"\0" * 4_096)
            file.flush()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - start) * 1e3)
    return statistics.median(took)


def check_machine(_place: Place) -> Iterator[Finding]:
    """Memory that is free, and how many files may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES_MIN:
        yield Finding("open files", "warn", f"at most {soft}", f"ulimit -n {min(hard, 65_536)}")
    free_gb = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    available_gb = available_memory_gb() or free_gb
    if available_gb < MEMORY_WARN_GB:
        yield Finding("memory", "warn", f"{available_gb:.1f} GB available", "stop something else")
    else:
        yield Finding("memory", "ok", f"{available_gb:.1f} GB available")


def available_memory_gb() -> float | None:
    """Return what /proc/meminfo calls available, in GB; None where it is not told."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1_024 / 1e9 if found else None


def check_clock(place: Place) -> Iterator[Finding]:
    """Whether the clock has gone back behind what is stored."""
    newest = max((file.stat().st_mtime for file in place.data.rglob("*") if file.is_file()), default=0.0)
    ahead_s = newest - time.time()
    if ahead_s > CLOCK_SKEW_S:
        yield Finding("clock", "fail", f"{ahead_s:,.0f} s behind the newest stored file", "set the clock")
    else:
        yield Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def check_port(place: Place) -> Iterator[Finding]:
    """Whether the port is free, or ours."""
    holder = find_server(place.data)
    if holder:
        yield Finding("server", "ok", f"runs at {holder.url} (process {holder.pid})")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", place.port))
        except OSError as error:
            yield Finding("port", "warn", f"{place.port}: {error.strerror}", "--port 0 takes any free one")
            return
    yield Finding("port", "ok", f"{place.port} is free")


def check_project_folder(place: Place) -> Iterator[Finding]:
    """Whether the project loads, its views plan, and its pages fit the views."""
    if not has_project(place.project):
        yield Finding("project", "warn", f"no app.py in {place.project.resolve()}", "headrace init shop")
        return
    from headrace.cli.serving import check_project

    try:
        project = load_project(place.project)
        check_project(project)
    except HeadraceError as error:
        yield Finding("project", "fail", told(error), error.hint)
        return
    app = project.app
    counts = [
        (len(app.streams), "stream"),
        (len(app.tables), "table"),
        (len(app.view_decls), "view"),
        (len(project.dashboards), "page"),
    ]
    text = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
    yield Finding("project", "ok", f"{app.name}: {text}")


def check_data(place: Place) -> Iterator[Finding]:
    """Whether the data folder opens under the project's declarations."""
    if place.data.exists() and not place.data.is_dir():
        yield Finding("data", "fail", f"{place.data} is no folder", "name another with --data")
        return
    if find_server(place.data) or not place.data.is_dir() or not has_project(place.project):
        return
    try:
        with load_project(place.project).app.open(place.data, sinks=False) as run:
            number = run.advance().number
    except FolderLocked as error:
        yield Finding("data", "warn", error.problem, "another process works on it; stop it, or ask it")
    except HeadraceError as error:
        yield Finding("data", "fail", told(error), error.hint)
    else:
        yield Finding("data", "ok", f"{place.data} opens; version {number}")


def told(error: HeadraceError) -> str:
    """Return an error in one line."""
    return f"{error.problem} ({error.where})" if error.where else error.problem


CHECKS: tuple[Callable[[Place], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_machine,
    check_disk,
    check_fsync,
    check_clock,
    check_port,
    check_project_folder,
    check_data,
)
