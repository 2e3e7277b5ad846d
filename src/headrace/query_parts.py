"""Parts of named queries: SQL that several of them share, written once and named in braces.

    -- people: the customers of a merchant.
    -- $merchant TEXT: whose
    SELECT customer_id, name FROM customers WHERE merchant_id = $merchant

    -- a query that names it
    SELECT count(*) AS people FROM {people} AS people

A part is a SELECT or an expression. Where a query, or another part, names it, its text stands in parentheses;
columns mean there what they mean at that place. Its parameters become the query's, unless they are given:
`{sliced(by => $dimension)}` has `$dimension` wherever the part says `$by`. What a query describes itself, as
another default, goes before what a part says of it; what its parts want it may use without describing it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from sqlglot import tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

from headrace.contracts.names import check_name
from headrace.contracts.types import sql_type
from headrace.errors import DeclarationError, UnknownName

_PARAMETER = re.compile(
    r"""--\s*\$(?P<name>[A-Za-z_]\w*)\s+(?P<type>[^=:]+?)
        (?:\s*=\s*(?P<default>'(?:[^']|'')*'|[^\s:]+))?
        (?:\s+IN\s*\((?P<choices>(?:'(?:[^']|'')*'|[^')])+)\)
          |\s+BETWEEN\s+(?P<least>[^\s:]+)\s+AND\s+(?P<most>[^\s:]+))?
        \s*(?::\s*(?P<help>.*))?""",
    re.VERBOSE,
)
_CHOICE = re.compile(
    r"""\s*(?:'(?P<quoted>(?:[^']|'')*)'|\{(?P<query>[A-Za-z_]\w*)\}|(?P<plain>[^\s,'{}][^,'{}]*?))\s*(?:,|$)"""
)
_NAME = re.compile(r"[A-Za-z_]\w*")
TEXT_CHARS_MAX = 1_000_000
"""Longer than this a query must not become by its parts: parts of parts double quickly."""


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """One parameter of a named query.

    Attributes:
        name: as it stands behind the `$`.
        type: its SQL type.
        is_required: it has no default.
        default: the value where none is given; None is NULL.
        help: what it means.
        choices: the values that it may have; none: any of its type.
        choices_of: the named query whose first column holds the choices, or more of them; None: no other.
        least: the smallest value that it may have, of its type; None: any.
        most: the largest, likewise.
    """

    name: str
    type: str
    is_required: bool
    default: str | None = None
    help: str = ""
    choices: tuple[str, ...] = ()
    choices_of: str | None = None
    least: str | None = None
    most: str | None = None

    @property
    def limits(self) -> tuple[tuple[str, ...], str | None, str | None, str | None]:
        """What its values are held to."""
        return self.choices, self.choices_of, self.least, self.most

    def fits(self, other: QueryParameter) -> bool:
        """Tell whether both want the same."""
        return (self.type, self.is_required, self.default, self.limits) == (
            other.type, other.is_required, other.default, other.limits)  # fmt: skip

    def over(self, other: QueryParameter) -> QueryParameter:
        """Return it with what another describes and it does not."""
        found = self if self.help else replace(self, help=other.help)
        if any(self.limits):
            return found
        return replace(found, choices=other.choices, choices_of=other.choices_of, least=other.least,
                       most=other.most)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QueryPart:
    """A declared part of queries.

    Attributes:
        name: what it is named by, in braces.
        sql: the text as it was written.
        parameters: what its own text wants; parts that it names may want more.
        help: what it is, from its first comments.
        path: its file, or None.
    """

    name: str
    sql: str
    parameters: tuple[QueryParameter, ...]
    help: str = ""
    path: Path | None = None

    @property
    def where(self) -> str:
        """Where it is written."""
        return str(self.path) if self.path else f"query part {self.name!r}"


@dataclass(slots=True)
class Filled:
    """A query's text with its parts put in, and what was met on the way.

    Attributes:
        text: with every parameter cast to its type.
        parameters: of the query and the parts, in the order in which they are met, by name.
        parts: that it names, themselves or through others, by name.
        words: every token's text in lower case.
    """

    text: str = ""
    parameters: dict[str, QueryParameter] = field(default_factory=dict)
    parts: dict[str, QueryPart] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)


def query_part(name: str, sql: str, path: Path | None = None) -> QueryPart:
    """Read a part with the comments that say what it wants.

    Raises:
        DeclarationError: a parameter is described wrongly, or there is no SQL.
    """
    where = str(path) if path else f"query part {name!r}"
    if not isinstance(sql, str) or not tokens_of(sql, where):
        raise DeclarationError("the part has no SQL", where=where, expected="a SELECT, or an expression")
    described, words = head_of(sql, where)
    return QueryPart(name, sql, tuple(described.values()), " ".join(words), path)


def with_parts(
    known: Mapping[str, QueryPart], texts: Sequence[tuple[str, str, Path | None]]
) -> dict[str, QueryPart]:
    """Return declared parts with others, which may name each other: name, text and file of each.

    Raises:
        DeclarationError: a name is taken, or as for `query_part` and `filled`.
        UnknownName: one names a part that is not there.
    """
    parts = dict(known)
    for name, sql, path in texts:
        check_name("query part", name, [(one, "query part") for one in parts])
        parts[name] = query_part(name, sql, path)
    for name, _, _ in texts:
        filled(f"{{{name}}}", {}, parts[name].where, parts)
    return parts


def filled(
    sql: str, described: Mapping[str, QueryParameter], where: str, parts: Mapping[str, QueryPart]
) -> Filled:
    """Put the parts that a query names in their places.

    Args:
        sql: the query's text.
        described: the parameters that its comments describe.
        where: its place, for messages.
        parts: the declared parts by name.

    Raises:
        DeclarationError: a parameter is not described, or described and not used, or differently by two
            parts; a part names itself, or is given what it does not want.
        UnknownName: there is no such part.
    """
    found = Filled()
    filling = _Filling(dict(described), {name.lower(): part for name, part in parts.items()}, found)
    text = filling.text(_Place(sql, where, described))
    found.text = text.strip().rstrip(";").rstrip()
    unused = [name for name in described if name not in found.parameters]
    if unused:
        raise DeclarationError(f"the parameter ${unused[0]} is described, but not used", where=where)
    found.parameters = {name: found.parameters[name] for name in [*described, *found.parameters]}
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """A text that is being put together: a query, a part, or what is given to one."""

    sql: str
    where: str
    described: Mapping[str, QueryParameter]
    given: Mapping[str, str] = field(default_factory=dict)
    chain: tuple[str, ...] = ()


class _Filling:
    """Puts one query together."""

    def __init__(self, own: dict[str, QueryParameter], parts: Mapping[str, QueryPart], found: Filled) -> None:
        self._own, self._parts, self._found = own, parts, found
        self._told: dict[str, str] = {}
        self._open: dict[str, int] = {}  # parameters of the query that it does not describe, with their lines

    def text(self, query: _Place) -> str:
        """Return a query's whole text with everything in it."""
        text = self._between(query, tokens_of(query.sql, query.where), 0, len(query.sql))
        for name, line in self._open.items():
            one = self._found.parameters.get(name)
            if one is None:
                raise _undescribed(name, f"{query.where}, line {line}")
            text = text.replace(f"\0{name}\0", _cast(one))
        return text

    def _between(self, place: _Place, tokens: Sequence[Token], start: int, end: int) -> str:
        """Return the text from one character to another, which begin and end tokens."""
        pieces: list[str] = []
        at, size = 0, 0
        while at < len(tokens):
            token = tokens[at]
            self._found.words.add(token.text.lower())
            piece, used = self._piece(place, tokens, at)
            if piece is not None:
                pieces += [place.sql[start : token.start], piece]
                start = tokens[at + used - 1].end + 1
                size += len(piece)
                if size > TEXT_CHARS_MAX:
                    raise DeclarationError("the query becomes too long by its parts", where=place.where,
                                           expected=f"at most {TEXT_CHARS_MAX} letters")  # fmt: skip
            at += used
        return "".join([*pieces, place.sql[start:end]])

    def _piece(self, place: _Place, tokens: Sequence[Token], at: int) -> tuple[str | None, int]:
        """Return what stands in the place of a token, None: itself; and for how many tokens it does."""
        token, following = tokens[at], tokens[at + 1 : at + 3]
        if token.token_type is TokenType.PARAMETER and token.text == "$" and following:
            if following[0].start == token.end + 1:
                return self._parameter(place, following[0]), 2
        elif (
            token.token_type is TokenType.L_BRACE
            and len(following) == 2
            and _NAME.fullmatch(following[0].text)
        ):
            if following[1].token_type is TokenType.R_BRACE:
                return self._part(place, following[0], {}), 3
            if following[1].token_type is TokenType.L_PAREN:
                given, used = self._given(place, tokens, at + 3)
                return self._part(place, following[0], given), used - at
        return None, 1

    # --- parameters -------------------------------------------------------------------------------
    def _parameter(self, place: _Place, name: Token) -> str:
        if name.text in place.given:
            return place.given[name.text]
        one = place.described.get(name.text)
        if one is None and not place.chain:
            self._open.setdefault(name.text, name.line)
            return f"\0{name.text}\0"  # a part may describe it
        if one is None:
            raise _undescribed(name.text, f"{place.where}, line {name.line}")
        self._want(one, place.where)
        return _cast(one)

    def _want(self, one: QueryParameter, where: str) -> None:
        """Make a parameter the query's; what the query says of it itself stands, but for its type."""
        known = self._found.parameters.get(one.name) or self._own.get(one.name)
        if known is not None and (
            known.type != one.type or (one.name not in self._own and not known.fits(one))
        ):
            raise DeclarationError(
                f"${one.name} is described differently in {self._told.get(one.name, 'the query')}",
                where=where,
                expected=_words(known), hint=f"describe ${one.name} in the query, or alike in both",
            )  # fmt: skip
        self._told.setdefault(one.name, where)
        self._found.parameters[one.name] = one if known is None else known.over(one)

    # --- parts ------------------------------------------------------------------------------------
    def _part(self, place: _Place, name: Token, given: Mapping[str, str]) -> str:
        where = f"{place.where}, line {name.line}"
        part = self._parts.get(name.text.lower())
        if part is None:
            names = [one.name for one in self._parts.values()]
            unknown = UnknownName.of("query part", name.text, names)
            raise UnknownName(unknown.problem, where=where, expected=unknown.expected, hint=unknown.hint or (
                "parts are declared before the queries that name them"))  # fmt: skip
        if part.name in place.chain:
            way = " → ".join((*place.chain[place.chain.index(part.name) :], part.name))
            raise DeclarationError(f"the part {part.name!r} names itself: {way}", where=where)
        described = {one.name: one for one in part.parameters}
        for one in given:
            if one not in described:
                close = get_close_matches(one, described, n=1)
                raise DeclarationError(
                    f"the part {part.name!r} has no parameter {one!r}", where=where,
                    expected=f"of: {', '.join(described)}" if described else "none",
                    hint=f"did you mean {close[0]!r}?" if close else None,
                )  # fmt: skip
        self._found.parts.setdefault(part.name, part)
        tokens = _without_end(tokens_of(part.sql, part.where))
        inner = _Place(part.sql, part.where, described, given, (*place.chain, part.name))
        text = self._between(inner, tokens, tokens[0].start, tokens[-1].end + 1)
        self._check_used(part, tokens)
        return f"({text})"

    def _check_used(self, part: QueryPart, tokens: Sequence[Token]) -> None:
        used = {name.text for mark, name in pairwise(tokens) if mark.text == "$"}
        for one in part.parameters:
            if one.name not in used:
                raise DeclarationError(
                    f"the parameter ${one.name} is described, but not used", where=part.where
                )

    def _given(self, place: _Place, tokens: Sequence[Token], at: int) -> tuple[dict[str, str], int]:
        """Return what is given to a part, and the place of the token after its closing brace."""
        given: dict[str, str] = {}
        while at + 2 < len(tokens) and tokens[at].token_type is not TokenType.R_PAREN:
            name, arrow = tokens[at], tokens[at + 1]
            end = _end_of_argument(tokens, at + 2)
            if arrow.token_type is not TokenType.FARROW or end is None or end == at + 2 or name.text in given:
                break
            inside = tokens[at + 2 : end]
            text = self._between(place, inside, inside[0].start, inside[-1].end + 1)
            given[name.text] = f"({text})" if len(inside) > 2 else text
            at = end + (tokens[end].token_type is TokenType.COMMA)
        closing = [one.token_type for one in tokens[at : at + 2]]
        if closing != [TokenType.R_PAREN, TokenType.R_BRACE] or not given:
            line = tokens[min(at, len(tokens) - 1)].line
            raise DeclarationError(
                "what is given to the part cannot be read", where=f"{place.where}, line {line}",
                expected="{sliced(by => $dimension)}",
            )  # fmt: skip
        return given, at + 2


def _cast(one: QueryParameter) -> str:
    return f"CAST(${one.name} AS {one.type})"


def _undescribed(name: str, where: str) -> DeclarationError:
    return DeclarationError(
        f"${name} is not described", where=where,
        hint=f"add a comment before the SQL: -- ${name} TEXT: what it means",
    )  # fmt: skip


def _end_of_argument(tokens: Sequence[Token], at: int) -> int | None:
    """Return the place of the comma or parenthesis that ends an argument; None where nothing does."""
    depth = 0
    for number in range(at, len(tokens)):
        kind = tokens[number].token_type
        if depth == 0 and kind in (TokenType.COMMA, TokenType.R_PAREN):
            return number
        depth += kind in (TokenType.L_PAREN, TokenType.L_BRACE, TokenType.L_BRACKET)
        depth -= kind in (TokenType.R_PAREN, TokenType.R_BRACE, TokenType.R_BRACKET)
    return None


def _without_end(tokens: Sequence[Token]) -> Sequence[Token]:
    return tokens[:-1] if tokens[-1].token_type is TokenType.SEMICOLON else tokens


def _words(one: QueryParameter) -> str:
    default = "" if one.is_required else f" = {'NULL' if one.default is None else one.default}"
    return f"${one.name} {one.type}{default}"


# --- comments -----------------------------------------------------------------------------------------
def head_of(sql: str, where: str) -> tuple[dict[str, QueryParameter], list[str]]:
    """Return the described parameters and the words of the comments before the SQL.

    Raises:
        DeclarationError: a comment that begins with `$` describes no parameter, or one is described twice.
    """
    described: dict[str, QueryParameter] = {}
    words: list[str] = []
    for line in _comments(sql):
        if not line.removeprefix("--").lstrip().startswith("$"):
            words.append(line.removeprefix("--").strip())
            continue
        found = _PARAMETER.fullmatch(line)
        if found is None:
            raise DeclarationError(
                f"the comment {line!r} describes no parameter", where=where,
                expected="-- $name TYPE = default: what it means",
            )  # fmt: skip
        one = _described(found, where)
        if one.name in described:
            raise DeclarationError(f"${one.name} is described twice", where=where)
        described[one.name] = one
    return described, words


def _comments(sql: str) -> Iterator[str]:
    for raw in sql.splitlines():
        line = raw.strip()
        if line.startswith("--"):
            yield line
        elif line:
            return


def _described(found: re.Match[str], where: str) -> QueryParameter:
    try:
        kind = sql_type(found["type"]).sql
    except (DeclarationError, ValueError) as error:
        raise DeclarationError(
            f"{found['type']!r} is no type", where=f"{where}, ${found['name']}", expected="as in TEXT or DATE"
        ) from error
    default = found["default"]
    if default is not None:
        default = None if default.upper() == "NULL" else _unquoted(default)
    choices, choices_of = _choices(found["choices"] or "", f"{where}, ${found['name']}")
    if default is not None and choices and choices_of is None and default not in choices:
        raise DeclarationError(
            f"the default of ${found['name']} is none of its choices", where=where,
            expected=f"one of: {', '.join(choices)}",
        )  # fmt: skip
    return QueryParameter(
        found["name"], kind, found["default"] is None, default, found["help"] or "", choices, choices_of,
        found["least"], found["most"],
    )  # fmt: skip


def _choices(text: str, where: str) -> tuple[tuple[str, ...], str | None]:
    """Return the choices that stand in parentheses, and the query in braces that tells more."""
    choices: list[str] = []
    queries: list[str] = []
    at = 0
    while at < len(text):
        found = _CHOICE.match(text, at)
        if found is None or (found["query"] and queries):
            raise DeclarationError(
                f"the choices {text!r} cannot be read", where=where,
                expected="IN (day, 'two words', {query_that_tells_more})",
            )  # fmt: skip
        if found["query"] is not None:
            queries.append(found["query"])
        else:
            quoted = found["quoted"]
            choices.append(found["plain"] if quoted is None else quoted.replace("''", "'"))
        at = found.end()
    return tuple(choices), queries[0] if queries else None


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'") if text.startswith("'") else text


def tokens_of(sql: str, where: str) -> list[Token]:
    """Return the tokens of a text, comments left out.

    Raises:
        DeclarationError: it is no SQL, such as a text without its end.
    """
    try:
        return tokenize(sql, read="duckdb")
    except SqlglotError as error:
        raise DeclarationError(f"the SQL cannot be read: {error}", where=where) from error
