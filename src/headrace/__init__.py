"""Headrace: streams, tables and SQL views that are kept exactly right as the data arrives.

Every public name stands here; it is loaded when it is first used, so that `import headrace` is quick.
"""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from headrace.app import App as App
    from headrace.client import connect as connect
    from headrace.contracts.annotations import decimal as decimal
    from headrace.contracts.annotations import event_time as event_time
    from headrace.contracts.annotations import pii as pii
    from headrace.contracts.models import Event as Event
    from headrace.contracts.models import Table as Table
    from headrace.dashboards import Dashboard as Dashboard
    from headrace.deliveries import Delivery as Delivery
    from headrace.deliveries import Put as Put
    from headrace.errors import (
        AccessDenied as AccessDenied,
    )
    from headrace.errors import (
        Busy as Busy,
    )
    from headrace.errors import (
        ChangeFailed as ChangeFailed,
    )
    from headrace.errors import (
        Closed as Closed,
    )
    from headrace.errors import (
        ConnectError as ConnectError,
    )
    from headrace.errors import (
        DeclarationError as DeclarationError,
    )
    from headrace.errors import (
        DeclarationsChanged as DeclarationsChanged,
    )
    from headrace.errors import (
        FolderLocked as FolderLocked,
    )
    from headrace.errors import (
        FormatTooNew as FormatTooNew,
    )
    from headrace.errors import (
        HeadraceError as HeadraceError,
    )
    from headrace.errors import (
        IdempotencyConflict as IdempotencyConflict,
    )
    from headrace.errors import (
        LogDamaged as LogDamaged,
    )
    from headrace.errors import (
        ProjectError as ProjectError,
    )
    from headrace.errors import (
        QueryStopped as QueryStopped,
    )
    from headrace.errors import (
        RowsRejected as RowsRejected,
    )
    from headrace.errors import (
        SqlError as SqlError,
    )
    from headrace.errors import (
        StorageError as StorageError,
    )
    from headrace.errors import (
        UnknownName as UnknownName,
    )
    from headrace.errors import (
        UnsupportedSql as UnsupportedSql,
    )
    from headrace.errors import (
        VersionAhead as VersionAhead,
    )
    from headrace.errors import (
        VersionGone as VersionGone,
    )
    from headrace.errors import (
        ViewInError as ViewInError,
    )
    from headrace.history.difference import CauseTotal as CauseTotal
    from headrace.history.difference import Difference as Difference
    from headrace.results import (
        AppendResult as AppendResult,
    )
    from headrace.results import (
        Freshness as Freshness,
    )
    from headrace.results import (
        HeldChange as HeldChange,
    )
    from headrace.results import (
        Rejection as Rejection,
    )
    from headrace.results import (
        RowStatus as RowStatus,
    )
    from headrace.results import (
        SinkStatus as SinkStatus,
    )
    from headrace.results import (
        Version as Version,
    )

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "App",
    "AppendResult",
    "Busy",
    "CauseTotal",
    "ChangeFailed",
    "Closed",
    "ConnectError",
    "Dashboard",
    "DeclarationError",
    "DeclarationsChanged",
    "Delivery",
    "Difference",
    "Event",
    "FolderLocked",
    "FormatTooNew",
    "Freshness",
    "HeadraceError",
    "HeldChange",
    "IdempotencyConflict",
    "LogDamaged",
    "ProjectError",
    "Put",
    "QueryStopped",
    "Rejection",
    "RowStatus",
    "RowsRejected",
    "SinkStatus",
    "SqlError",
    "StorageError",
    "Table",
    "UnknownName",
    "UnsupportedSql",
    "Version",
    "VersionAhead",
    "VersionGone",
    "ViewInError",
    "__version__",
    "connect",
    "decimal",
    "event_time",
    "pii",
]

_PLACES = {
    "App": "headrace.app",
    "Event": "headrace.contracts.models",
    "Table": "headrace.contracts.models",
    "decimal": "headrace.contracts.annotations",
    "pii": "headrace.contracts.annotations",
    "event_time": "headrace.contracts.annotations",
    "connect": "headrace.client",
    "Dashboard": "headrace.dashboards",
    "Delivery": "headrace.deliveries",
    "Put": "headrace.deliveries",
    "CauseTotal": "headrace.history.difference",
    "Difference": "headrace.history.difference",
    "Version": "headrace.results",
    "AppendResult": "headrace.results",
    "RowStatus": "headrace.results",
    "Rejection": "headrace.results",
    "SinkStatus": "headrace.results",
    "Freshness": "headrace.results",
    "HeldChange": "headrace.results",
    "HeadraceError": "headrace.errors",
    "DeclarationError": "headrace.errors",
    "ProjectError": "headrace.errors",
    "RowsRejected": "headrace.errors",
    "UnknownName": "headrace.errors",
    "SqlError": "headrace.errors",
    "UnsupportedSql": "headrace.errors",
    "ViewInError": "headrace.errors",
    "VersionAhead": "headrace.errors",
    "VersionGone": "headrace.errors",
    "QueryStopped": "headrace.errors",
    "Busy": "headrace.errors",
    "IdempotencyConflict": "headrace.errors",
    "StorageError": "headrace.errors",
    "FolderLocked": "headrace.errors",
    "LogDamaged": "headrace.errors",
    "FormatTooNew": "headrace.errors",
    "DeclarationsChanged": "headrace.errors",
    "ChangeFailed": "headrace.errors",
    "Closed": "headrace.errors",
    "AccessDenied": "headrace.errors",
    "ConnectError": "headrace.errors",
}


def __getattr__(name: str) -> _typing.Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    value = getattr(_importlib.import_module(place), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
