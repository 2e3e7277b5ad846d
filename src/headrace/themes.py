"""The colours of pages and charts, light and dark, in one place: style sheet and charts both come from here.

Text on its ground reaches a contrast of 4.5 or more in both themes (a test computes it). The categorical
colours keep apart for the common kinds of colour blindness; the ramp of a heat strip is one hue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FONT = '-apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", system-ui, sans-serif'


@dataclass(frozen=True, slots=True)
class Theme:
    """One set of colours, as `#rrggbb`.

    Attributes:
        name: `light` or `dark`.
        ground: behind the panels.
        panel: of a panel.
        raised: of a pointed-at row, a button, a code block.
        border: between things.
        ink: of text.
        muted: of labels.
        grid: of grid lines in charts.
        accent: of the one series, of links and focus.
        good: of a level.
        warn: of a level.
        bad: of a level.
        series: of several series, in this order.
        ramp: from the least to the most in a heat strip.
    """

    name: str
    ground: str
    panel: str
    raised: str
    border: str
    ink: str
    muted: str
    grid: str
    accent: str
    good: str
    warn: str
    bad: str
    series: tuple[str, ...]
    ramp: tuple[str, ...]

    def tokens(self) -> dict[str, str]:
        """Return the single colours by name, as charts and style sheets refer to them.

        `pale` and `deep` are written on cells of a ramp: one of the two can be read on any shade.
        """
        names = "ground panel raised border ink muted grid accent good warn bad"
        return {name: getattr(self, name) for name in names.split()} | {"pale": "#ffffff", "deep": "#000000"}


LIGHT = Theme(
    name="light",
    ground="#f3f4f6",
    panel="#ffffff",
    raised="#f0f2f5",
    border="#dcdfe4",
    ink="#14181d",
    muted="#5b6470",
    grid="#e8eaee",
    accent="#1f5fbf",
    good="#1a7a45",
    warn="#8f5f00",
    bad="#bf2f2a",
    series=("#1f5fbf", "#d9822b", "#1f8a70", "#8a4fbf", "#b83a5e", "#6b7785", "#7a9a01", "#3aa3c9"),
    ramp=("#eef3fa", "#c6d9f0", "#8fb5e0", "#4f86c9", "#1f5fbf", "#123e85"),
)
DARK = Theme(
    name="dark",
    ground="#0c0f13",
    panel="#14181e",
    raised="#1c222a",
    border="#262d36",
    ink="#e8ebef",
    muted="#96a0ad",
    grid="#222932",
    accent="#6ea6f5",
    good="#4cc38a",
    warn="#e2a63b",
    bad="#f2746b",
    series=("#6ea6f5", "#f0a35e", "#4fc0a0", "#b990ea", "#ee7f9f", "#9aa5b1", "#b3cc4d", "#67c5e6"),
    ramp=("#18202b", "#1d3557", "#24508a", "#3a78c2", "#6ea6f5", "#b9d6ff"),
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


def vega_config(theme: Theme) -> dict[str, Any]:
    """Return the Vega-Lite configuration of a theme: quiet axes, tabular figures, no frames."""
    return {
        "background": None,
        "font": FONT,
        "view": {"stroke": None},
        "padding": {"left": 2, "right": 6, "top": 4, "bottom": 2},
        "axis": {
            "domain": False,
            "ticks": False,
            "gridColor": theme.grid,
            "labelColor": theme.muted,
            "labelFontSize": 11,
            "labelPadding": 5,
            "titleColor": theme.muted,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
        },
        "axisTemporal": {"grid": False, "labelOverlap": True, "labelFlush": True},
        "legend": {
            "orient": "top",
            "direction": "horizontal",
            "offset": 2,
            "padding": 0,
            "labelColor": theme.muted,
            "labelFontSize": 11,
            "labelLimit": 110,
            "symbolSize": 60,
            "symbolOpacity": 1,
            "symbolType": "square",
            "title": None,
            "columnPadding": 10,
            "rowPadding": 2,
        },
        "range": {"category": list(theme.series), "heatmap": list(theme.ramp), "ramp": list(theme.ramp)},
        "text": {"color": theme.ink, "fontSize": 12},
        "line": {"color": theme.accent, "strokeWidth": 1.75},
        "area": {"color": theme.accent},
        "bar": {"color": theme.accent},
        "rect": {"color": theme.accent},
    }


def style_sheet() -> str:
    """Return the colours as CSS variables: light, dark by the reader's preference, either by `data-theme`.

    Paper is light, except behind a chart: `--drawn` is the ground of the theme that the chart was drawn in.
    """
    light, dark = (_variables(theme) + f"  --drawn: {theme.panel};\n" for theme in (LIGHT, DARK))
    return (
        f":root {{ color-scheme: light; --font: {FONT};\n{light}}}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark;\n{dark}}} }}\n"
        f":root[data-theme=light] {{ color-scheme: light;\n{light}}}\n"
        f":root[data-theme=dark] {{ color-scheme: dark;\n{dark}}}\n"
        f"@media print {{ :root, :root[data-theme] {{ color-scheme: light;\n{_variables(LIGHT)}}} }}\n"
    )


def _variables(theme: Theme) -> str:
    return "".join(f"  --{name}: {colour};\n" for name, colour in theme.tokens().items())
