"""Exit codes and calm errors: a message on stderr, nothing on stdout, tracebacks when asked for."""

from __future__ import annotations

import pytest
import typer

from headrace import errors
from headrace.cli.exits import calmly, exit_code, not_found

CODES = [
    (errors.SqlError("x"), 1),
    (errors.RowsRejected("x"), 1),
    (errors.ProjectError("x"), 1),
    (errors.UnknownName("x"), 3),
    (not_found("x"), 3),
    (errors.FolderLocked("x"), 4),
    (errors.LogDamaged("x"), 4),
    (errors.ConnectError("x"), 4),
]


@pytest.mark.parametrize(("error", "code"), CODES)
def test_codes(error: errors.HeadraceError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        calmly(verb)()
    assert ended.value.exit_code == exit_code(error) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert f"[{error.code}] x" in told.err
    assert "Traceback" not in told.err


def test_every_fact_of_an_error_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    @calmly
    def verb() -> None:
        raise errors.SqlError(
            "no such column [x]", where="gmv, line 2", expected="one of: a", hint="did you mean 'a'?"
        )

    with pytest.raises(typer.Exit):
        verb()
    told = capsys.readouterr().err
    assert "gmv, line 2: no such column [x]" in told
    assert "  expected: one of: a" in told
    assert "  try: did you mean 'a'?" in told


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    @calmly
    def verb() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        verb()
    assert ended.value.exit_code == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_surprise_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @calmly
    def verb() -> None:
        raise ValueError("oh")

    with pytest.raises(typer.Exit) as ended:
        verb()
    assert ended.value.exit_code == 1
    calm = capsys.readouterr().err
    assert "unexpected ValueError: oh" in calm
    assert "--debug" in calm
    assert "Traceback" not in calm
    monkeypatch.setenv("HEADRACE_DEBUG", "1")
    with pytest.raises(typer.Exit):
        verb()
    assert "Traceback" in capsys.readouterr().err
