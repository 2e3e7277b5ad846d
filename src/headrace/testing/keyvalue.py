"""`keyvalue:///folder`: a sink in a store without transactions, as an example of one that writes by key.

One file per key: enough to see what a crash between two of them leaves, and how a repeat mends it. It is
registered when `headrace.testing` is imported, the way any third party registers a kind of sink.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from headrace.contracts.encode import to_json_rows
from headrace.sinks import Position, Shipment, SinkKind, Target, register_sink
from headrace.sinks.shipment import rows_by_key

_POSITION = "position"


class KeyFolder:
    """A folder with one JSON file per key.

    Args:
        folder: where the files lie; it is made where it is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    # --- a store of keys and values ---------------------------------------------------------------
    def put(self, key: Sequence[Any], row: dict[str, Any]) -> None:
        """Set the value of a key."""
        path = self._file(key)
        draft = path.with_suffix(".tmp")
        draft.write_bytes(orjson.dumps({"key": list(key), "row": row}))
        draft.replace(path)

    def remove(self, key: Sequence[Any]) -> None:
        """Delete a key, if it is there."""
        self._file(key).unlink(missing_ok=True)

    def rows(self) -> list[dict[str, Any]]:
        """Return all values, in the order of their keys."""
        found = [orjson.loads(path.read_bytes()) for path in self.folder.glob("*.json")]
        return [item["row"] for item in sorted(found, key=lambda item: orjson.dumps(item["key"]))]

    def _file(self, key: Sequence[Any]) -> Path:
        return self.folder / f"{hashlib.sha256(orjson.dumps(list(key))).hexdigest()}.json"

    # --- the protocol of sinks --------------------------------------------------------------------
    def position(self) -> Position | None:
        """Return the position, which is written after the rows."""
        try:
            return Position(**orjson.loads((self.folder / _POSITION).read_bytes()))
        except OSError:
            return None

    def write(self, shipment: Shipment) -> None:
        """Set and delete by key, then move the position."""
        assert shipment.key is not None
        change = shipment.net()
        come, gone = rows_by_key(change, shipment.key)
        rows = to_json_rows(change.to_table().select(shipment.schema.names), shipment.schema)
        names = [_as_json(rows[at], shipment.key) for at in come.values()]
        for key, at in zip(names, come.values(), strict=True):
            self.put(key, rows[at])
        if shipment.is_whole:
            kept = {self._file(key).name for key in names}
            for path in self.folder.glob("*.json"):
                if path.name not in kept:
                    path.unlink()
        for at in gone.values():
            self.remove(_as_json(rows[at], shipment.key))
        draft = self.folder / (_POSITION + ".tmp")
        draft.write_bytes(
            orjson.dumps({"history": shipment.position.history, "version": shipment.position.version})
        )
        draft.replace(self.folder / _POSITION)

    def close(self) -> None:
        """Nothing is open between deliveries."""


def _as_json(row: dict[str, Any], key: Sequence[str]) -> list[Any]:
    return [row[name] for name in key]


def _open(target: Target) -> KeyFolder:
    return KeyFolder(target.path)


register_sink(
    SinkKind("keyvalue", "idempotent", "a folder with one JSON file per key", _open, needs_key=True)
)
