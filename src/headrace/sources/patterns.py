"""Patterns of log lines: the Apache formats, and `%{NAME:column}` pieces that stand for expressions."""

from __future__ import annotations

import re

from headrace.errors import DeclarationError

PIECES = {
    "WORD": r"\w+",
    "NOTSPACE": r"\S+",
    "SPACE": r"\s*",
    "DATA": r".*?",
    "GREEDYDATA": r".*",
    "INT": r"[+-]?\d+",
    "NUMBER": r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?",
    "QUOTEDSTRING": r'"(?:[^"\\]|\\.)*"',
    "UUID": r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}",
    "IP": r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+)",
    "HOSTNAME": r"[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?",
    "IPORHOST": r"[0-9A-Za-z:](?:[0-9A-Za-z:.-]*[0-9A-Za-z])?",
    "USER": r"[\w.@+-]+",
    "PATH": r"/[^\s?#]*",
    "LOGLEVEL": r"(?i:trace|debug|info|notice|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|alert|emerg)",
    "TIMESTAMP_ISO8601": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?",
    "HTTPDATE": r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
    "SYSLOGTIMESTAMP": r"\w{3} +\d{1,2} \d\d:\d\d:\d\d",
}
"""What each `%{NAME}` stands for; the names are those that Grok made customary."""

APACHE_COMMON = (
    r"(?P<host>\S+) (?P<ident>\S+) (?P<user>.+?) \[(?P<time>[^\]]+)\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}|-) (?P<bytes>\d+|-)'
)
APACHE_COMBINED = APACHE_COMMON + r' "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)"'
APACHE_TIME = "%d/%b/%Y:%H:%M:%S %z"
REQUEST = re.compile(r"(?P<method>[A-Z]+) (?P<path>\S+)(?: (?P<protocol>HTTP/\d(?:\.\d)?))?")

_PIECE = re.compile(r"%\{(?P<name>\w+)(?::(?P<column>\w+))?\}")


def compile_pattern(text: str) -> re.Pattern[str]:
    """Return the regular expression for a pattern; the whole line must match it.

    Args:
        text: a regular expression with named groups `(?P<level>\\w+)`; `%{WORD:level}` is short for one.

    Raises:
        DeclarationError: a piece that does not exist, an expression that does not compile, or no named group.
    """
    try:
        compiled = re.compile(_PIECE.sub(_piece, text))
    except re.error as error:
        raise DeclarationError(
            f"the pattern is no regular expression: {error}",
            where=f"--pattern {text!r}",
            hint="write brackets, dots and stars that stand for themselves with a backslash before them",
        ) from None
    if not compiled.groupindex:
        raise DeclarationError(
            "the pattern names no column",
            where=f"--pattern {text!r}",
            expected=r"at least one (?P<column>…) or %{WORD:column}",
        )
    return compiled


def _piece(match: re.Match[str]) -> str:
    name, column = match["name"], match["column"]
    if name not in PIECES:
        raise DeclarationError(
            f"there is no piece %{{{name}}}",
            where="--pattern",
            expected=f"one of {', '.join(sorted(PIECES))}",
        )
    return f"(?P<{column}>{PIECES[name]})" if column else f"(?:{PIECES[name]})"
