"""A run somewhere else: `headrace.connect(url)` offers the methods of a run over HTTP."""

from headrace.client.remote import RemotePlan as RemotePlan
from headrace.client.remote import RemoteRun as RemoteRun
from headrace.client.remote import RemoteTransaction as RemoteTransaction
from headrace.client.remote import connect as connect

__all__ = ["RemotePlan", "RemoteRun", "RemoteTransaction", "connect"]
