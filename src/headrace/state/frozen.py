"""Objects to bytes and back: the shape in one pickle, the large columns beside it as they lie in memory.

Only classes of this program and the few of the libraries that hold its columns are made again from a file; a
file that names any other is refused.
"""

from __future__ import annotations

import copyreg
import gc
import io
import pickle
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from headrace.errors import StorageError
from headrace.functions import PythonFunction
from headrace.sql.python_functions import known as function_of

INLINE_BYTES_MAX = 1 << 16
"""Columns up to this size lie in the pickle."""
Column = bytearray | memoryview
_ROOMS = ("change", "contracts", "declarations", "engine", "functions", "intake", "results", "sql")
_LIBRARIES = {
    "numpy": ("dtype", "ndarray"),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "uuid": ("UUID",),
    "collections": ("Counter", "OrderedDict", "defaultdict", "deque"),
}
_BUILTINS = frozenset(("set", "frozenset", "bytearray", "slice", "range", "object"))


@dataclass(slots=True)
class Frozen:
    """An object as bytes.

    Attributes:
        shape: the pickle.
        columns: the large columns, in the order in which the pickle asks for them: the memory itself, or
            copies.
    """

    shape: bytes
    columns: list[memoryview]

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return len(self.shape) + sum(column.nbytes for column in self.columns)

    @property
    def changing_bytes(self) -> int:
        """Bytes of columns that may change."""
        return sum(column.nbytes for column in self.columns if not column.readonly)

    def copy(self, ranges: Sequence[tuple[int, int]] = ((0, 1 << 64),)) -> None:
        """Copy the columns that may change, as far as they lie in some ranges of addresses, which ascend."""
        starts = [start for start, _ in ranges]
        for at, column in enumerate(self.columns):
            if column.readonly:
                continue
            place = address(column)
            before = bisect_right(starts, place) - 1
            if before >= 0 and place < ranges[before][1]:
                self.columns[at] = memoryview(bytes(column))

    def let_go(self) -> None:
        """Forget the columns that may change."""
        self.columns = [column if column.readonly else memoryview(b"") for column in self.columns]


def freeze(value: Any) -> Frozen:
    """Return an object as it is now; what changes in it afterwards does not change the answer.

    Raises:
        StorageError: a part of it cannot be written down.
    """
    frozen = outline(value)
    frozen.copy()
    return frozen


def outline(value: Any) -> Frozen:
    """Return an object as it is now, with columns that still are the object's own: hold it still.

    Raises:
        StorageError: a part of it cannot be written down.
    """
    columns: list[memoryview] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= INLINE_BYTES_MAX:
            return True
        columns.append(raw)
        return False

    written = io.BytesIO()
    try:
        with _no_collecting():
            _Writer(written, beside).dump(value)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise StorageError(f"the state cannot be written down: {error}") from error
    return Frozen(written.getvalue(), columns)


def address(column: memoryview) -> int:
    """Return where in memory a column lies."""
    return int(np.frombuffer(column, dtype=np.uint8).ctypes.data)


def _declared(name: str, _fingerprint: str) -> PythonFunction:
    """Stand in the pickle for a Python function: its code is where it was declared."""
    raise StorageError(f"{name!r} is read by `thaw` alone")


class _Writer(pickle.Pickler):
    def __init__(self, written: io.BytesIO, beside: Callable[[pickle.PickleBuffer], bool]) -> None:
        super().__init__(written, protocol=5, buffer_callback=beside)
        self.dispatch_table = {
            **copyreg.dispatch_table,
            PythonFunction: lambda function: (_declared, (function.name, function.fingerprint)),
        }


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Have nobody look for garbage: among so many objects that takes as long as writing them down."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Careful(pickle.Unpickler):
    def __init__(self, shape: io.BytesIO, columns: Sequence[Column], functions: Mapping[str, PythonFunction]):
        super().__init__(shape, buffers=columns)
        self._functions = functions

    def _declared(self, name: str, fingerprint: str) -> PythonFunction:
        found = function_of(self._functions, name)
        if found is None or found.fingerprint != fingerprint:
            raise StorageError(f"the checkpoint asks for a function {name!r} that is not declared so")
        return found

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _method
        if (module, name) == (__name__, _declared.__name__):
            return self._declared
        if _is_ours(module, name):
            found = super().find_class(module, name)
            if not module.startswith("headrace.") or found.__module__.startswith("headrace."):
                return found
        raise StorageError(f"the checkpoint asks for {module}.{name}, which is none of ours")


def _is_ours(module: str, name: str) -> bool:
    if name.startswith("__") or "." in name:
        return False
    room, _, rest = module.partition(".")
    if room == "headrace":
        return rest.partition(".")[0] in _ROOMS
    if module == "pyarrow.lib" or (module == "builtins" and name in _BUILTINS):
        return True
    return name in _LIBRARIES.get(module, ())


def _method(owner: Any, name: str) -> Any:
    """Return a method of one of our own objects; it stands for `getattr`, which could reach anything."""
    if name.startswith("__") or not type(owner).__module__.startswith("headrace."):
        raise StorageError(f"the checkpoint asks for {type(owner).__name__}.{name}, which is none of ours")
    return getattr(owner, name)


def thaw(
    shape: bytes | bytearray,
    columns: Sequence[Column],
    functions: Mapping[str, PythonFunction] = MappingProxyType({}),
) -> Any:
    """Return the object; its columns are those given, and may be written to where those may.

    Args:
        shape: the pickle.
        columns: what lies beside it, in order.
        functions: the declared ones by name.

    Raises:
        StorageError: it names something that is none of ours, or is no pickle.
    """
    try:
        return _Careful(io.BytesIO(shape), columns, functions).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError) as error:
        raise StorageError(f"the checkpoint cannot be read back: {error}") from error
