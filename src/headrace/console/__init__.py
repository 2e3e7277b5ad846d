"""The web pages: dashboards, and a page for every view, stream and table; nothing comes from outside."""

from headrace.console.attach import attach

__all__ = ["attach"]
