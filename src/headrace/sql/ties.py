"""Order where SQL leaves it open: ties break by the remaining columns, ascending, NULLs last."""

from __future__ import annotations

TIE_KEYS = "headrace_ties"
"""In a window function: how many keys at the end of its ORDER BY are ours."""
