"""Ways out: what keeps a database, a file or a store at a view, version by version.

`app.sink(view, url)` declares one. Kinds are registered by URL scheme in `registry`, one file per kind; a
third party registers its own the same way:

>>> from headrace.sinks import Shipment, Sink, SinkKind, register_sink
"""

from headrace.sinks.registry import Guarantee, Sink, SinkKind, Target, register_sink, sink_kinds
from headrace.sinks.shipment import Position, Shipment

__all__ = [
    "Guarantee",
    "Position",
    "Shipment",
    "Sink",
    "SinkKind",
    "Target",
    "register_sink",
    "sink_kinds",
]
