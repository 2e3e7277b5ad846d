"""Cutting a text into SQL statements at semicolons that stand outside of strings, names and comments."""

from __future__ import annotations

import re

PIECES = re.compile(
    r"""
      '(?:[^']|'')*'?           # a string, also one that never ends
    | "(?:[^"]|"")*"?           # a quoted name
    | \$\$.*?(?:\$\$|\Z)        # a dollar-quoted string
    | --[^\n]*                  # a comment to the end of the line
    | /\*.*?(?:\*/|\Z)          # a comment
    | ;
    | [^'"$;/-]+ | .
    """,
    re.VERBOSE | re.DOTALL,
)


UNFINISHED = re.compile(r"(,|\b(select|from|where|by|and|or|join|on|as|case|with|union|having))\s*$", re.I)


def split_statements(text: str) -> list[str]:
    """Return the statements of a text, without semicolons and empty ones; the last needs no semicolon."""
    statements, current, meaningful = [], "", False
    for match in PIECES.finditer(text):
        piece = match.group()
        if piece == ";":
            if meaningful:
                statements.append(current.strip())
            current, meaningful = "", False
            continue
        current += piece
        meaningful = meaningful or bool(piece.strip() and not piece.startswith(("--", "/*")))
    return [*statements, current.strip()] if meaningful else statements


def is_finished(text: str) -> bool:
    """Tell whether Enter sends the text: a semicolon or an empty line ends it, or nothing is left open."""
    if not text.strip() or text.lstrip().startswith(".") or text.endswith("\n"):
        return True
    pieces = [m.group() for m in PIECES.finditer(text)]
    last = pieces[-1] if pieces else ""
    quote = last[:1]
    if quote in ("'", '"') and (len(last) < 2 or not last.endswith(quote)):
        return False
    if last.startswith("/*") and not last.endswith("*/"):
        return False
    bare = "".join(piece for piece in pieces if piece[:1] not in ("'", '"') and piece[:2] not in ("--", "/*"))
    if bare.rstrip().endswith(";"):
        return True
    if bare.count("(") > bare.count(")"):
        return False
    return not UNFINISHED.search(bare)
