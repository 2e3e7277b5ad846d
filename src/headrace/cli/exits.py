"""How a verb ends: exit codes, and errors told calmly.

0    done
1    the thing asked for failed: SQL that does not parse, rows refused, a check that found something
2    the command line is wrong
3    not found: no project, no such file, stream, table or view
4    cannot get at the data: folder locked or damaged, server unreachable, port taken
130  interrupted with Ctrl-C
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from headrace.cli.output import complain, note
from headrace.errors import Closed, ConnectError, HeadraceError, ProjectError, StorageError, UnknownName

DONE = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNAVAILABLE = 4
INTERRUPTED = 130

P = ParamSpec("P")
R = TypeVar("R")


def exit_code(error: HeadraceError) -> int:
    """Return the exit code of an error."""
    if isinstance(error, UnknownName) or error.details.get("missing"):
        return NOT_FOUND
    if isinstance(error, StorageError | ConnectError | Closed):
        return UNAVAILABLE
    return FAILED


def not_found(problem: str, *, where: str | None = None, hint: str | None = None) -> ProjectError:
    """Build the error of a file or project that is not there."""
    return ProjectError(problem, where=where, hint=hint, missing=True)


def debugging() -> bool:
    """Tell whether tracebacks are wanted (`--debug`, or HEADRACE_DEBUG set)."""
    return os.environ.get("HEADRACE_DEBUG", "") not in ("", "0")


def calmly(verb: Callable[P, R]) -> Callable[P, R]:
    """Wrap a verb: errors become messages on stderr and an exit code; tracebacks are for `--debug` only."""

    @functools.wraps(verb)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return verb(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except HeadraceError as error:
            complain(error)
            raise typer.Exit(exit_code(error)) from None
        except KeyboardInterrupt:
            note("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read our output has had enough. Python would complain once more when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(DONE) from None
        except Exception as error:  # noqa: BLE001 - the last line of defence of a command line
            if debugging():
                traceback.print_exc()
            else:
                note(f"unexpected {type(error).__name__}: {error}")
                note("  try: the same command with --debug shows where it happened")
            raise typer.Exit(FAILED) from None

    return wrapped
