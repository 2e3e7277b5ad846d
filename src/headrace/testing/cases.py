"""Conformance cases: what an app declares, what happens to it and what must be seen, as plain text.

    case the first match takes the padding away
      Prose, for the reader.
    stream orders event_time=ts lateness=10s
      id BIGINT, customer TEXT, ts TIMESTAMP
    table customers key=name
      name TEXT, country TEXT
    view countries
      SELECT country, count(*) AS n FROM orders LEFT JOIN customers ON customer = name GROUP BY ALL
    append orders -> accepted 1
      [1, "a", "2026-01-01T00:00:00Z"]
    advance
    expect countries
      [null, 1]

A line that is not indented is a word with its arguments; the indented lines below it are its body. `#` begins
a comment line. A file holds one case or several. Rows are JSON, one a line: an array in the order of the
columns, or an object. The words are in `docs/reference/conformance.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headrace.errors import DeclarationError

DECLARING = ("stream", "table", "view")
STEPS = (
    "append", "upsert", "delete", "begin", "commit", "advance", "clock", "reopen", "create", "replace",
    "drop", "checkpoint", "refuse", "expect", "changes", "check", "query", "sides", "past",
)  # fmt: skip
HEADS = ("case", "xfail", "start", "always")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Block:
    """One word of a case with its arguments and body.

    Attributes:
        word: such as `append`.
        name: what it is about, such as a stream; may be empty.
        options: what follows the name as `key=value`.
        rest: the other text of the line, in front of `->`.
        answer: the text after `->`, or None.
        body: the indented lines, without their common indentation.
        line: number of the line in its file.
    """

    word: str
    name: str = ""
    options: tuple[tuple[str, str], ...] = ()
    rest: str = ""
    answer: str | None = None
    body: tuple[str, ...] = ()
    line: int = 0

    @property
    def sql(self) -> str:
        """The body as SQL."""
        return "\n".join(self.body)

    def rows(self) -> list[Any]:
        """Return the body as JSON values, one a line."""
        return [read_json(text, f"line {self.line}") for text in self.body]

    def text(self) -> str:
        """Return the block as it stands in a file."""
        options = " ".join(f"{key}={value}" for key, value in self.options)
        answer = f"-> {self.answer}" if self.answer is not None else ""
        head = " ".join(part for part in (self.word, self.name, options, self.rest, answer) if part)
        return "\n".join([head, *(f"  {line}" for line in self.body)])


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: unique in its file.
        about: prose.
        declared: the `stream`, `table` and `view` blocks.
        steps: what happens, in order.
        start: the first reading of the clock, ISO 8601.
        always: whether every version is checked against DuckDB, and the sum of changes against the view.
        xfail: per runner, why it fails there at present.
        path: its file.
    """

    name: str
    declared: tuple[Block, ...] = ()
    steps: tuple[Block, ...] = ()
    about: tuple[str, ...] = ()
    start: str = "2026-01-01T00:00:00Z"
    always: bool = False
    xfail: dict[str, str] = field(default_factory=dict)
    path: Path | None = None

    def text(self) -> str:
        """Return the case as it stands in a file."""
        head = [Block("case", rest=self.name, body=self.about)]
        head += [Block("xfail", runner, answer=reason) for runner, reason in self.xfail.items()]
        head += [Block("start", rest=self.start)] if self.start != Case.start_default() else []
        head += [Block("always", rest="check")] if self.always else []
        return "\n".join(block.text() for block in (*head, *self.declared, *self.steps)) + "\n"

    @staticmethod
    def start_default() -> str:
        """Return where the clock stands unless a case says otherwise."""
        return "2026-01-01T00:00:00Z"


def read_json(text: str, where: str) -> Any:
    """Return the value of one line of JSON; DeclarationError where it is none."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise DeclarationError(
            f"not JSON: {error}", where=where, expected="one JSON array or object a line"
        ) from None


def read_cases(path: str | Path) -> list[Case]:
    """Return the cases of a file, or of every `.case` file below a folder, in the order of their names.

    Raises:
        DeclarationError: a file does not follow the format.
    """
    path = Path(path)
    files = sorted(path.rglob("*.case")) if path.is_dir() else [path]
    return [
        replace(case, path=file)
        for file in files
        for case in parse_cases(file.read_text(encoding="utf-8"), where=str(file))
    ]


def parse_cases(text: str, *, where: str = "case") -> list[Case]:
    """Return the cases that a text holds; DeclarationError where it does not follow the format."""
    cases: list[Case] = []
    for block in _blocks(text, where):
        if block.word == "case":
            cases.append(Case(block.rest, about=block.body))
        elif not cases:
            raise DeclarationError(
                f"{block.word!r} before the first case", where=f"{where}, line {block.line}"
            )
        else:
            cases[-1] = _with(cases[-1], block)
    return cases


def _with(case: Case, block: Block) -> Case:
    if block.word == "xfail":
        return replace(case, xfail=case.xfail | {block.name: block.answer or ""})
    if block.word == "start":
        return replace(case, start=block.rest)
    if block.word == "always":
        return replace(case, always=True)
    if block.word in DECLARING:
        return replace(case, declared=(*case.declared, block))
    return replace(case, steps=(*case.steps, block))


def _blocks(text: str, where: str) -> Iterator[Block]:
    head, number, body = "", 0, list[str]()
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            body.append(line.rstrip())
            continue
        if head:
            yield _block(head, number, body, where)
        head, number, body = line.strip(), at, []
        if body and not head:
            raise DeclarationError("a body without a word", where=f"{where}, line {at}")
    if head:
        yield _block(head, number, body, where)


def _block(head: str, line: int, body: list[str], where: str) -> Block:
    word, _, rest = head.partition(" ")
    if word not in (*HEADS, *DECLARING, *STEPS):
        known = ", ".join((*HEADS, *DECLARING, *STEPS))
        raise DeclarationError(
            f"unknown word {word!r}", where=f"{where}, line {line}", expected=f"one of: {known}"
        )
    block = Block(word, body=_dedented(body), line=line)
    if word in ("case", "start", "always", "clock"):
        return replace(block, rest=rest.strip())
    before, arrow, after = rest.partition("->")
    answer = after.strip() if arrow else None
    tokens = before.split()
    name = tokens.pop(0) if tokens and _NAME.fullmatch(tokens[0]) else ""
    options = tuple((key, value) for key, sign, value in (token.partition("=") for token in tokens) if sign)
    others = " ".join(token for token in tokens if "=" not in token)
    return replace(block, name=name, options=options, rest=others, answer=answer)


def _dedented(body: Iterable[str]) -> tuple[str, ...]:
    lines = list(body)
    if not lines:
        return ()
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    return tuple(line[margin:] for line in lines)
