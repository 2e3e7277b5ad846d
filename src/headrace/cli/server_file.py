"""The small file by which a running server is found from its data folder: address, process, token."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

NAME = "server.json"


@dataclass(frozen=True)
class ServerAddress:
    """Where a server listens: `url`, the process that serves, and the token it wants, if any."""

    url: str
    pid: int
    token: str | None = None


@contextlib.contextmanager
def announced(data: Path, address: ServerAddress) -> Iterator[None]:
    """Write the file for the time of the block; only its owner may read it, for it may hold the token."""
    path = data / NAME
    fresh = data / f".{NAME}.{address.pid}"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(asdict(address)))
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def find_server(data: Path) -> ServerAddress | None:
    """Return the server that holds the folder, or None; a file whose process is gone does not count."""
    try:
        found = orjson.loads((data / NAME).read_bytes())
        address = ServerAddress(str(found["url"]), int(found["pid"]), found.get("token"))
    except (OSError, ValueError, KeyError, TypeError, orjson.JSONDecodeError):
        return None
    return address if is_alive(address.pid) else None


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
