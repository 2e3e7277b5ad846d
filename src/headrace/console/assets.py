"""Static files of the pages, with entity tags; Vega's bundle is made from the wheel that prints charts."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import vl_convert

from headrace.themes import style_sheet

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""All that the pages need; vega-embed carries Vega, Vega-Lite and the expression interpreter."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    media_type: str
    etag: str


def asset(content: bytes, media_type: str) -> Asset:
    """Return content with its entity tag."""
    return Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:24]}"')


class Assets:
    """The static files by name, read once; the Vega bundle is made when it is first asked for.

    Args:
        cache: folder for the bundle, so that only the first start on a machine makes it; None: no cache.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._bundle: Asset | None = None
        self._making = threading.Lock()
        self._files = {
            file.name: asset(file.read_bytes(), TYPES[file.suffix])
            for file in sorted(STATIC.iterdir())
            if file.suffix in TYPES
        }
        self.theme = asset(style_sheet().encode(), TYPES[".css"])

    def get(self, name: str) -> Asset | None:
        """Return a static file, or None."""
        return self._files.get(name)

    def vega(self) -> Asset:
        """Return the bundle of Vega, Vega-Lite and vega-embed; the first call may take seconds."""
        with self._making:
            if self._bundle is None:
                self._bundle = asset(self._load_bundle(), TYPES[".js"])
            return self._bundle

    def _load_bundle(self) -> bytes:
        kept = self._cache / bundle_name() if self._cache else None
        if kept is not None:
            found = _intact(kept)
            if found is not None:
                return found
        made = vl_convert.javascript_bundle(SNIPPET).encode()
        if kept is not None:
            _keep(kept, made)
        return bytes(made)


def bundle_name() -> str:
    """Return the cache's file name: it changes with the versions inside and with the snippet."""
    versions = "-".join([version("vl-convert-python"), vl_convert.get_vega_version(), SNIPPET])
    return f"vega-{hashlib.sha256(versions.encode()).hexdigest()[:16]}.js"


def cache_folder() -> Path:
    """Return the reader's own cache folder for Headrace."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "headrace"


def _intact(path: Path) -> bytes | None:
    """Return the cached bundle if its checksum, in its first line, holds."""
    try:
        first, _, rest = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return rest if first == _first_line(rest) else None


def _first_line(content: bytes) -> bytes:
    return b"// sha256 " + hashlib.sha256(content).hexdigest().encode()


def _keep(path: Path, content: bytes) -> None:
    """Write the bundle in one step; a folder that cannot be written only costs time at the next start."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(_first_line(content) + b"\n" + content)
        Path(file.name).replace(path)
    except OSError:
        return
