"""The durable, ordered, replayable record of all input."""

from headrace.log.log import Log, Ticket
from headrace.log.records import Commit, Declared, Record, Step

__all__ = ["Commit", "Declared", "Log", "Record", "Step", "Ticket"]
