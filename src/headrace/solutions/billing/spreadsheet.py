"""Lines, numbers and days as spreadsheets write them, whatever the country.

A spreadsheet saves `1234.5` as `1234.50`, `1,234.50`, `1.234,50` or `1 234,50`, and the last day of the year
as `2025-12-31`, `31.12.2025`, `31/12/2025` or `12/31/2025`. Most cells say by themselves which of these they
are, and those tell how the others of the same file are meant. What may be two things and is told by no other
cell is refused, with both readings, rather than guessed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest

from headrace.errors import BadRequest
from headrace.solutions.billing.currencies import DIGITS, SIGNS

SPACES = " \u00a0\u2009\u202f'\u2019"
"""What may stand between thousands beside the mark that is not the decimal one."""
YEARS = range(1970, 2200)
"""Years that a day may be of; others are slips of the pen, or mean that there is no day."""
TWO_WAYS = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
GROUPED = re.compile(r"[0-9]+|[0-9]{1,3}(?:(.)[0-9]{3})(?:\1[0-9]{3})*")
DAY = re.compile(
    r"([0-9]{1,4})([-./])([0-9]{1,2})\2([0-9]{1,4})(?:[ T]+([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?))?"
)
SIGNED = re.compile(rf"([A-Z]{{3}}|[{''.join(SIGNS)}])?(.*?)([A-Z]{{3}}|[{''.join(SIGNS)}])?", re.S)
"""A number with the sign or the letters of a currency before or behind it."""
UNITS = {
    **dict.fromkeys(("day", "days", "daily"), ("day", 1)),
    **dict.fromkeys(("week", "weeks", "weekly"), ("week", 1)),
    **dict.fromkeys(("month", "months", "monthly"), ("month", 1)),
    **dict.fromkeys(("quarter", "quarters", "quarterly"), ("month", 3)),
    **dict.fromkeys(("half year", "half years", "half yearly", "semi annual", "semi annually"), ("month", 6)),
    **dict.fromkeys(("year", "years", "yearly", "annual", "annually"), ("year", 1)),
}
"""Intervals as they are called, by unit and count."""
COUNTED = re.compile(r"(?:every )?([1-9][0-9]{0,2}) ?([a-z ]+)")
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How the files of spreadsheet programs themselves begin."""
BARE_DAYS = re.compile(r"[0-9]{5}(?:[.,][0-9]+)?")
"""Days since 1899-12-30, as a spreadsheet writes a day in a column of numbers."""


class WrongCellError(ValueError):
    """A cell that cannot be read.

    Attributes:
        column: the heading of its column; empty: it is about the whole line.
        hint: what to do about it.
    """

    def __init__(self, column: str, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.column = column
        self.hint = hint


@dataclass(frozen=True)
class Line:
    """A line that holds something.

    Attributes:
        number: of its first line in the file, from 1.
        cells: by heading; what is missing at the end is empty.
        spare: cells behind the last heading that hold something.
    """

    number: int
    cells: Mapping[str, str]
    spare: Sequence[str] = ()


@dataclass(frozen=True)
class Sheet:
    """The headings of a file, as they are spoken of, its lines, and the number of the line of headings."""

    headings: Sequence[str]
    lines: Sequence[Line]
    head: int = 1

    def column(self, name: str) -> Iterator[str]:
        """Yield what stands in a column, without empty cells."""
        return (line.cells[name] for line in self.lines if line.cells.get(name))

    def place(self, name: str) -> str:
        """Return how a column is found: by its letter, as a spreadsheet shows it, and its heading."""
        if name not in self.headings:
            return ""
        letters, at = "", list(self.headings).index(name) + 1
        while at:
            at, letter = divmod(at - 1, 26)
            letters = chr(ord("A") + letter) + letters
        return f"column {letters} ({name})"


def read_sheet(body: bytes) -> Sheet:
    """Return a CSV's lines; cells are parted by commas, semicolons or tabs, whichever its headings are.

    Headings are spoken of in small letters, with `_` for spaces. Lines whose cells are all empty are none.

    Raises:
        BadRequest: it is no text, no CSV, or two of its columns have one heading.
    """
    text = _text(body)
    if text[:4].lower() == "sep=":  # what a spreadsheet writes for itself
        text = "\n" + text.partition("\n")[2]
    first = text.lstrip("\n").partition("\n")[0]
    rows = [(number, row) for number, row in _rows(text, max(",;\t", key=first.count)) if any(row)]
    if not rows:
        raise BadRequest("the sheet is empty", where="line 1", expected="a line of headings, lines below it")
    (where, head), *below = rows
    headings = [re.sub(r"[\s_-]+", "_", cell.lower()).strip("_") for cell in head]
    twice = sorted({name for name in headings if name and headings.count(name) > 1})
    if twice:
        raise BadRequest(
            f"two columns are headed {twice[0]!r}", where=f"line {where}", hint="rename or remove one of them"
        )
    wide = len(headings)
    return Sheet(
        headings,
        [
            Line(number, dict(zip_longest(headings, row[:wide], fillvalue="")), [c for c in row[wide:] if c])
            for number, row in below
        ],
        where,
    )


def _text(body: bytes) -> str:
    """Return the text with plain line ends; a mark at its start tells UTF-8 and UTF-16."""
    if body.startswith(WORKBOOKS):
        raise BadRequest("the sheet is a workbook, no text", where="line 1", hint="save it as 'CSV UTF-8'")
    encoding = "utf-16" if body[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"the sheet is not UTF-8: {error.reason}",
            where=f"line {body[: error.start].count(10) + 1}",
            hint="save it as 'CSV UTF-8'",
        ) from None
    if "\0" in text:
        raise BadRequest("the sheet is no text", where="sheet", hint="save it as 'CSV UTF-8'")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield rows, each with the number of the line that it begins in."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for row in reader:
            yield begins, [cell.strip() for cell in row]
            begins = reader.line_num + 1
    except csv.Error as error:
        raise BadRequest(
            f"the sheet cannot be read: {error}",
            where=f"line {begins}",
            hint='a quote that opens must close, and one inside a cell stands twice: "4"" pipe"',
        ) from None


def decimal_mark(texts: Iterable[str]) -> str | None:
    """Return the mark before cents that numbers agree on; None: they tell none, or two.

    >>> decimal_mark(["1,234", "49.00"]), decimal_mark(["1,234", "49,00"]), decimal_mark(["1,234"])
    ('.', ',', None)
    """
    marks = {_own_mark(text) for text in texts} - {None}
    return marks.pop() if len(marks) == 1 else None


def _own_mark(text: str) -> str | None:
    """Return the mark before cents where a number itself tells it."""
    last = max(".,", key=text.rfind)
    other = "," if last == "." else "."
    if last not in text or TWO_WAYS.fullmatch(text):
        return None
    if other in text or text.count(last) == 1:
        return last if text.count(last) == 1 else None
    return other


def bare(text: str) -> str:
    """Return a number without the sign or the letters of a currency, and without space around it.

    >>> bare("$1,234.50"), bare("1.234,50 €"), bare("CHF 5"), bare("5%")
    ('1,234.50', '1.234,50', '5', '5%')
    """
    found = SIGNED.fullmatch(text)
    return found[2].strip() if found else text


def price_of(column: str, text: str, currency: str, mark: str | None) -> Decimal:
    """Return an amount of a currency; a sign that stands with it must be that currency's.

    Raises:
        WrongCellError: it is no such amount, may be two, or is of another currency.
    """
    found = SIGNED.fullmatch(text)
    for sign in filter(None, (found[1], found[3]) if found else ()):
        if currency not in SIGNS.get(sign, (sign.lower(),)):
            problem = f"{text!r} is not of the line's currency {currency.upper()}"
            raise WrongCellError(column, problem, "look at both; amounts need no sign")
    return amount_of(column, bare(text), mark)


def amount_of(column: str, text: str, mark: str | None) -> Decimal:
    """Return a number of nothing or more.

    Args:
        column: for what is said when it is none.
        text: the cell.
        mark: before cents, where the number itself does not tell.

    Raises:
        WrongCellError: it is no such number, or may be two.
    """
    mark = _own_mark(text) or mark
    if mark is None and TWO_WAYS.fullmatch(text):
        whole, parted = re.sub("[.,]", "", text), text.replace(",", ".")
        raise WrongCellError(
            column,
            f"{text!r} may be {whole} or {parted}, and no other line tells which",
            f"write {whole}.00 or {parted}0",
        )
    whole, _, cents = text.partition(mark or ".")
    grouped = GROUPED.fullmatch(whole or "0")
    between = {*SPACES, ".", ","} - {mark}
    sound = re.fullmatch("[0-9]*", cents) and re.search("[0-9]", text)
    if not grouped or not sound or (grouped[1] and grouped[1] not in between):
        below = re.fullmatch(r"[-\u2212(].*[0-9].*|.*[0-9].*-", text)
        hint = (
            "it must not be below nothing: leave credits out" if below else "leave signs and words out of it"
        )
        raise WrongCellError(column, f"{text!r} is no amount such as 49.00", hint)
    return Decimal(re.sub("[^0-9]", "", whole or "0") + "." + (cents or "0"))


def day_first(texts: Iterable[str]) -> bool | None:
    """Tell whether days written with slashes begin with the day; None: they do not say, or say both.

    >>> day_first(["31/12/2025"]), day_first(["12/31/2025", "1/2/2026"]), day_first(["1/2/2026"])
    (True, False, None)
    """
    said = set[bool]()
    for text in texts:
        found = DAY.fullmatch(text)
        if found and found[2] != "." and len(found[1]) < 3:
            said |= {first for first, part in ((True, found[1]), (False, found[3])) if int(part) > 12}
    return said.pop() if len(said) == 1 else None


def moment_of(column: str, text: str, first: bool | None) -> datetime:
    """Return a moment, or the midnight (UTC) with which a day begins.

    Args:
        column: for what is said when it is none.
        text: the cell.
        first: whether `1/2/2026` begins with the day, where the cell itself does not tell.

    Raises:
        WrongCellError: it is no such moment, or may be two.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _written_day(column, text, first)
    if moment.year not in YEARS:
        hint = "leave it empty where there is no such day" if column != "start" else "write the year in full"
        raise WrongCellError(column, f"{text!r} is not of the years {YEARS[0]} to {YEARS[-1]}", hint)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _written_day(column: str, text: str, first: bool | None) -> datetime:
    """Return a day that is not written as ISO 8601 has it."""
    found = DAY.fullmatch(text)
    wrong = f"{text!r} is no time such as 2026-01-31 or 2026-01-31T12:00:00Z"
    if not found or (len(found[1]) < 4 and len(found[4]) < 4):
        bare = BARE_DAYS.fullmatch(text)
        hint = "give the column the format of a date" if bare else "write year, month and day, 2026-01-31"
        raise WrongCellError(column, wrong, hint)
    one, mark, two, three, clock = found.groups()
    if len(one) == 4:
        year, month, day = one, two, three
    elif mark == "." or _begins_with_day(column, text, int(one), int(two), first):
        day, month, year = one, two, three
    else:
        month, day, year = one, two, three
    try:
        hour, _, rest = (clock or "00:00").partition(":")
        return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2} {hour:0>2}:{rest}")
    except ValueError:
        raise WrongCellError(column, wrong, "there is no such day: look at it again") from None


def _begins_with_day(column: str, text: str, one: int, two: int, first: bool | None) -> bool:
    if one > 12 or two > 12:
        return one > 12
    if first is None and one != two:
        problem = f"{text!r} may begin with the day or with the month, and no other line tells which"
        raise WrongCellError(column, problem, "write it as 2026-01-31")
    return bool(first)


def currency_of(column: str, text: str) -> str:
    """Return a currency in small letters.

    Raises:
        WrongCellError: it is none.
    """
    found = text.lower()
    if found not in DIGITS:
        near = [one.upper() for one in DIGITS if sorted(one) == sorted(found)]
        or_else = f"; is it {' or '.join(near)}?" if near else ""
        hint = f"write its three letters{or_else}"
        raise WrongCellError(column, f"{text!r} is no currency such as EUR", hint)
    return found


def interval_of(column: str, text: str, count: str) -> tuple[str, int]:
    """Return the unit of an interval and how many of it: `yearly` and `3 months` are told by themselves.

    Args:
        column: for what is said when it is none.
        text: the cell; empty: a month.
        count: how many of them, from another cell; empty: one.

    Raises:
        WrongCellError: it is none, or two cells say how many.

    >>> interval_of("interval", "Quarterly", ""), interval_of("interval", "every 2 weeks", "")
    (('month', 3), ('week', 2))
    """
    words = re.sub(r"[\s_-]+", " ", text.lower()) or "month"
    counted = COUNTED.fullmatch(words)
    unit = UNITS.get(counted[2] if counted else words)
    if unit is None:
        hint = "there are day, week, month, quarter, year, and more of them, such as 3 months"
        raise WrongCellError(column, f"{text!r} is no interval", hint)
    if counted and count:
        raise WrongCellError(
            column, f"{text!r}, and interval_count says {count}", "say how many in one of the two"
        )
    return unit[0], unit[1] * int(counted[1] if counted else count or 1)
