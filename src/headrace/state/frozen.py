"""Objects to bytes and back: the shape in one pickle, the large columns beside it as they lie in memory.

Only classes of this program and the few of the libraries that hold its columns are made again from a file; a
file that names any other is refused.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

from headrace.errors import StorageError

INLINE_BYTES_MAX = 1 << 16
"""Columns up to this size lie in the pickle."""
_MODULES = ("headrace.", "numpy", "pyarrow", "datetime", "decimal", "collections", "uuid", "zoneinfo")
_BUILTINS = frozenset(("set", "frozenset", "bytearray", "slice", "range", "object"))


@dataclass(slots=True)
class Frozen:
    """An object as bytes.

    Attributes:
        shape: the pickle.
        columns: the large columns, in the order in which the pickle asks for them; those that can never
            change are the memory itself, the others are copies.
    """

    shape: bytes
    columns: list[memoryview]

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return len(self.shape) + sum(column.nbytes for column in self.columns)


def freeze(value: Any) -> Frozen:
    """Return an object as it is now; what changes in it afterwards does not change the answer.

    Raises:
        StorageError: a part of it cannot be written down.
    """
    columns: list[memoryview] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= INLINE_BYTES_MAX:
            return True
        columns.append(raw if raw.readonly else memoryview(bytes(raw)))
        return False

    try:
        shape = pickle.dumps(value, protocol=5, buffer_callback=beside)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise StorageError(f"the state cannot be written down: {error}") from error
    return Frozen(shape, columns)


class _Careful(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _method
        known = module.startswith(_MODULES) or (module == "builtins" and name in _BUILTINS)
        if not known or name.startswith("__"):
            raise StorageError(f"the checkpoint asks for {module}.{name}, which is none of ours")
        return super().find_class(module, name)


def _method(owner: Any, name: str) -> Any:
    """Return a method of one of our own objects; it stands for `getattr`, which could reach anything."""
    if name.startswith("__") or not type(owner).__module__.startswith("headrace."):
        raise StorageError(f"the checkpoint asks for {type(owner).__name__}.{name}, which is none of ours")
    return getattr(owner, name)


def thaw(shape: bytes | bytearray, columns: list[bytearray]) -> Any:
    """Return the object; its columns may be written to.

    Raises:
        StorageError: it names something that is none of ours, or is no pickle.
    """
    try:
        return _Careful(io.BytesIO(shape), buffers=columns).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError) as error:
        raise StorageError(f"the checkpoint cannot be read back: {error}") from error
