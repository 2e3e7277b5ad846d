"""Regular expressions: DuckDB and Arrow both use RE2. Patterns are constants; those that match nothing are
left.
"""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.kernels.text import _column, _constant
from headrace.engine.kernels.vec import TEXT, Miss, Vec, from_flags


def matches(part: Vec, pattern: Vec) -> Vec:
    """Return regexp_matches: whether the pattern is found anywhere."""
    return from_flags(pc.match_substring_regex(_column(part), _checked(_constant(pattern))))


def full_match(part: Vec, pattern: Vec) -> Vec:
    """Return regexp_full_match: whether the pattern is the whole text."""
    wanted = _checked(_constant(pattern))
    return from_flags(pc.match_substring_regex(_column(part), f"\\A(?:{wanted})\\z"))


def replace(part: Vec, pattern: Vec, other: Vec, *, everywhere: bool) -> Vec:
    """Return regexp_replace of the first match, or of all."""
    wanted, replacement = _checked(_constant(pattern)), _constant(other)
    if "\\" in replacement:
        raise Miss
    most = None if everywhere else 1
    return Vec(TEXT, pc.replace_substring_regex(_column(part), wanted, replacement, max_replacements=most))


def extract(part: Vec, pattern: Vec, group: int) -> Vec:
    """Return regexp_extract of a group (0: the whole match), '' where nothing matches."""
    array = _column(part)
    found = pc.extract_regex(array, _with_names(_checked(_constant(pattern)), group))
    values = found.field("wanted")
    if found.null_count:
        values = pc.if_else(found.is_valid(), values, "")
    values = pc.fill_null(values, "")
    if array.null_count:
        values = pc.if_else(array.is_valid(), values, pa.scalar(None, values.type))
    return Vec(TEXT, values)


@lru_cache(maxsize=256)
def _checked(pattern: str) -> str:
    """Return a pattern that Arrow takes and that does not match empty text."""
    try:
        empty = pc.match_substring_regex(pa.array([""]), pattern)[0].as_py()
    except pa.ArrowInvalid:
        empty = True
    if empty:
        raise Miss
    return pattern


@lru_cache(maxsize=256)
def _with_names(pattern: str, group: int) -> str:
    """Return the pattern with the wanted group named; plain groups become silent ones."""
    if group == 0:
        return f"(?P<wanted>{_silenced(pattern, -1)})"
    return _silenced(pattern, group)


def _silenced(pattern: str, wanted: int) -> str:
    pieces, at, number, in_class = [], 0, 0, False
    while at < len(pattern):
        here = pattern[at]
        if here == "\\":
            if pattern[at + 1 : at + 2] in ("Q", ""):
                raise Miss
            pieces.append(pattern[at : at + 2])
            at += 2
            continue
        if in_class:
            in_class = here != "]"
        elif here == "[":
            in_class = True
            if pattern[at + 1 : at + 2] in ("]", "^", "["):
                pieces.append(pattern[at : at + 2])
                at += 2
                if pattern[at - 1] == "^" and pattern[at : at + 1] == "]":
                    raise Miss
                if pattern[at - 1] in ("]", "["):
                    raise Miss
                continue
        elif here == "(":
            if pattern[at + 1 : at + 2] == "?":
                raise Miss
            number += 1
            pieces.append("(?P<wanted>" if number == wanted else "(?:")
            at += 1
            continue
        pieces.append(here)
        at += 1
    if wanted > number:
        raise Miss
    return "".join(pieces)
