"""The command line as a whole: help, did-you-mean, usage errors, `--debug` anywhere on the line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from headrace.cli.main import app, main
from headrace.cli.verbs import VERBS


def invoke(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


def test_help_lists_every_verb() -> None:
    code, out, _ = invoke("--help")
    assert code == 0
    assert [verb for verb in VERBS if verb not in out] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    code, out, _ = invoke(verb, "--help")
    assert code == 0
    assert "Usage" in out


def test_a_mistyped_verb_is_told_the_right_one() -> None:
    code, _, err = invoke("qurey")
    assert code == 2
    assert "query" in err


def test_a_mistyped_option_is_told_the_right_one() -> None:
    code, _, err = invoke("run", "--hots", "x")
    assert code == 2
    assert "--host" in err


def test_version_as_a_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("headrace ")
    assert done.stderr == ""


def test_debug_may_stand_after_the_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_DEBUG", "0")
    monkeypatch.setattr(sys, "argv", ["headrace", "init", "1bad", "--debug"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "cannot name an app" in capsys.readouterr().err
