"""Nexmark: an auction house's events, seeded and reproducible, and its queries as Headrace views.

Proportions, hot keys and sizes follow the published generator (github.com/nexmark/nexmark); every event is
a function of its number and the seed, so that any range can be made anywhere.
"""

from headrace.testing.nexmark.events import Events, make_events
from headrace.testing.nexmark.queries import QUERIES, SIDE_INPUT_ROWS, app, query, side_input

__all__ = ["QUERIES", "SIDE_INPUT_ROWS", "Events", "app", "make_events", "query", "side_input"]
