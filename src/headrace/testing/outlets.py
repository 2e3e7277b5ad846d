"""An outlet that remembers what it was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.change import Change
from headrace.results import Version


@dataclass(slots=True)
class ListOutlet:
    """Collects every version and its changes, in order; attach it with `run.attach(outlet)`."""

    versions: list[tuple[Version, dict[str, Change]]] = field(default_factory=list)

    def publish(self, version: Version, changes: Mapping[str, Change]) -> None:
        """Remember the changes of one version."""
        self.versions.append((version, dict(changes)))
