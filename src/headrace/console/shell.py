"""The HTML around every page: head, bar, one place for the panels, and what the page is told, as JSON."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from headrace.themes import THEMES, vega_config

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""Nothing from outside, nothing inline, no eval: Vega's expressions are interpreted, not compiled."""
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def page(title: str, app: str, script: str, told: dict[str, Any], *, look: str) -> str:
    """Return a whole page.

    Args:
        title: the heading.
        app: the app's name, which leads back to the first page.
        script: the module in `static/` that draws the page.
        told: what the module is told; data, never markup.
        look: class of the page, for the style sheet.
    """
    home = f'<nav aria-label="Pages"><a href="/">{escape(app)}</a></nav>' if look != "index" else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · {escape(app)}</title>
<link rel="icon" href="/console/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/console/theme.css">
<link rel="stylesheet" href="/console/static/console.css">
<script src="/console/static/theme.js"></script>
</head>
<body class="{escape(look)}">
<a class="skip" href="#grid">To the panels</a>
<header class="topbar">
{home}
<h1>{escape(title)}</h1>
<span class="spring"></span>
<span id="overall" class="state loading" role="status"><i></i><span>loading</span></span>
<span id="version" class="number-small"></span>
<span id="clock" class="number-small" role="timer" aria-label="Clock, UTC"></span>
<button id="theme" type="button" aria-label="Light or dark (key t)" title="Light or dark (t)">◐</button>
<button id="help" type="button" aria-label="Help (key ?)" title="Help (?)">?</button>
</header>
<main id="grid"><noscript>These pages are live and need JavaScript.</noscript></main>
<script id="told" type="application/json">{for_script(told | {"themes": themes_json()})}</script>
<script type="module" src="/console/static/{escape(script)}"></script>
</body>
</html>
"""


def for_script(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def themes_json() -> dict[str, Any]:
    """Return the colours and the chart configuration of each theme."""
    return {
        name: {"name": name, "tokens": theme.tokens(), "config": vega_config(theme)}
        for name, theme in THEMES.items()
    }
