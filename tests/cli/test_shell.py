"""The shell: what it answers to, and that no error ends it. A run answers; no keyboard is involved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

import headrace as hr
from headrace.cli.shell import Shell, Words


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    app = hr.App("shop")
    app.stream("orders", "order_id BIGINT NOT NULL, amount DECIMAL(18,2)")
    app.view("gmv", "SELECT sum(amount) AS gmv FROM orders")
    with app.open(None) as run:
        run.append("orders", [{"order_id": 1, "amount": "5.00"}])
        run.advance()
        yield Shell(run)


ANSWERED = [
    ("select * from gmv", "5.00"),
    ("SELECT * FROM gmv;", "5.00"),
    (".help", ".schema"),
    (".tables", "orders__rejected"),
    (".schema gmv", "DECIMAL(38,2)"),
    (".schema", "order_id"),
    (".explain gmv", "aggregate"),
]


@pytest.mark.parametrize(("text", "expected"), ANSWERED)
def test_it_answers(shell: Shell, text: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.handle(text)
    assert expected in capsys.readouterr().out


REFUSED = [
    ("select nope", "nope"),
    ("drop table gmv", "error"),
    (".tabels", "did you mean .tables?"),
    (".nothing at all", "see .help"),
    (".schema gvm", "did you mean 'gmv'?"),
    (".explain", "name a view"),
    (".mode xml", "there are table, json and csv"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_no_mistake_ends_it(
    shell: Shell, text: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.handle(text)
    told = capsys.readouterr()
    assert told.out == ""
    assert expected in told.err


@pytest.mark.parametrize("text", [".quit", ".exit", "quit", "exit;", " .QUIT "])
def test_it_ends_when_it_is_asked_to(shell: Shell, text: str) -> None:
    assert not shell.handle(text)


def test_an_empty_line_is_nothing(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.handle("  ")
    assert capsys.readouterr() == ("", "")


def test_the_mode_changes_the_form(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.handle(".mode csv")
    shell.handle("select * from gmv")
    shell.handle(".mode table")
    assert capsys.readouterr().out == "gmv\n5.00\n"


def completions(words: Words, text: str) -> list[str]:
    found: Any = words.get_completions(Document(text), CompleteEvent())
    return [completion.text for completion in found]


def test_completion_knows_names_columns_words_and_commands() -> None:
    words = Words({"gmv": ("gmv", "orders"), "orders": ("order_id",)}, [".help", ".tables"])
    assert completions(words, "select * from gm") == ["gmv"]
    assert "SELECT" in completions(words, "sel")
    assert "order_id" in completions(words, "select x from orders where ord")
    assert "order_id" not in completions(words, "select ord")
    assert completions(words, ".ta") == [".tables"]
    assert completions(words, "select 1") == []
    assert completions(words, "") == []
