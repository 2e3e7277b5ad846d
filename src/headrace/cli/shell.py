"""The SQL shell of `headrace query`: history, completion, a few dot commands, forgiving about semicolons."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from headrace.cli.explain import show_explain
from headrace.cli.output import complain, note, say, say_table
from headrace.cli.query import answer_all
from headrace.cli.session import Asked
from headrace.cli.statements import is_finished
from headrace.errors import HeadraceError

PROMPT = "headrace> "
MORE = "      ... "
KEYWORDS = """
    SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET LEFT JOIN ON AS AND OR NOT NULL IS IN BETWEEN LIKE
    DISTINCT
    COUNT SUM AVG MIN MAX FILTER OVER PARTITION QUALIFY WITH UNION ALL CASE WHEN THEN ELSE END CAST DESC ASC
""".split()  # noqa: SIM905 - a list of words reads better so


class Words(Completer):
    """Completes names of views, their columns, SQL words and dot commands."""

    def __init__(self, names: dict[str, tuple[str, ...]], dots: Iterable[str]) -> None:
        self._names = names
        self._dots = sorted(dots)

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterable[Completion]:
        """Yield what could stand at the cursor."""
        before = document.text_before_cursor.lstrip()
        if before.startswith(".") and " " not in before:
            yield from (Completion(dot, -len(before)) for dot in self._dots if dot.startswith(before))
            return
        word = document.get_word_before_cursor(WORD=False)
        if not word or not (word[0].isalpha() or word[0] == "_"):
            return
        lowered = word.lower()
        text = document.text.lower()
        near = [column for name, columns in self._names.items() if name.lower() in text for column in columns]
        for candidate in dict.fromkeys([*self._names, *near, *KEYWORDS]):
            if candidate.lower().startswith(lowered):
                yield Completion(candidate, -len(word))


class Shell:
    """A loop that reads SQL or a dot command and answers it; errors never end it.

    Args:
        asked: a run or a client.
        form: `table`, `json` or `csv`.
    """

    def __init__(self, asked: Asked, form: str = "table") -> None:
        self._asked = asked
        self._form = form
        self._dots: dict[str, tuple[str, Callable[[str], None]]] = {
            ".help": ("this list", self._help),
            ".tables": ("every stream, table and view", self._tables),
            ".schema": ("NAME: its columns; without a name: all", self._schema),
            ".explain": ("VIEW: its operators", self._explain),
            ".mode": ("table, json or csv", self._mode),
            ".quit": ("end; so do .exit and Ctrl-D", self._help),
        }

    def loop(self) -> None:
        """Read and answer until the user ends it."""
        prompt: PromptSession[str] = PromptSession(
            history=self._history(),
            completer=Words(self._columns(), self._dots),
            complete_while_typing=False,
            key_bindings=self._keys(),
            multiline=True,
            prompt_continuation=lambda *_: MORE,
        )
        note("SQL, or .help; Ctrl-D ends")
        while True:
            try:
                text = prompt.prompt(PROMPT)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if not self.handle(text):
                return

    def handle(self, text: str) -> bool:
        """Answer one input; return False when it asks to end."""
        text = text.strip()
        if text.rstrip(";").strip().lower() in (".quit", ".exit", "quit", "exit", "\\q", ".q"):
            return False
        try:
            if text.startswith("."):
                self._dot(text)
            elif text:
                answer_all(self._asked, text, self._form)
        except HeadraceError as error:
            complain(error)
        except KeyboardInterrupt:
            note("stopped")
        return True

    def _dot(self, text: str) -> None:
        command, _, rest = text.rstrip(";").partition(" ")
        found = self._dots.get(command.lower())
        if found:
            found[1](rest.strip())
            return
        close = get_close_matches(command.lower(), self._dots, n=1)
        note(f"there is no command {command}" + (f"; did you mean {close[0]}?" if close else "; see .help"))

    def _help(self, _rest: str) -> None:
        for name, (meaning, _) in self._dots.items():
            say(f"{name:10} {meaning}")
        say("Anything else is SQL; a semicolon at the end is not needed.")

    def _tables(self, _rest: str) -> None:
        rows = [(info.name, info.kind, info.rows, info.error) for info in self._asked.relations()]
        say_table(["name", "kind", "rows", "error"], [[*r[:2], *map(blank, r[2:])] for r in sorted(rows)])

    def _schema(self, rest: str) -> None:
        infos = [self._asked.relation(rest)] if rest else self._asked.relations()
        rows = [(info.name, column.name, column.sql_type) for info in infos for column in info.schema]
        say_table(["name", "column", "type"], rows)

    def _explain(self, rest: str) -> None:
        if rest:
            show_explain(self._asked.explain(rest))
        else:
            note("name a view: .explain gmv")

    def _mode(self, rest: str) -> None:
        if rest in ("table", "json", "csv"):
            self._form = rest
        else:
            note(f"the mode is {self._form}; there are table, json and csv")

    def _columns(self) -> dict[str, tuple[str, ...]]:
        try:
            return {info.name: info.schema.names for info in self._asked.relations()}
        except HeadraceError:
            return {}

    @staticmethod
    def _history() -> Any:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "headrace"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return FileHistory(str(folder / "query_history"))
        except OSError:
            return InMemoryHistory()

    @staticmethod
    def _keys() -> KeyBindings:
        keys = KeyBindings()

        @Condition
        def finished() -> bool:
            from prompt_toolkit.application import get_app

            return is_finished(get_app().current_buffer.text)

        @keys.add("enter", filter=finished)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.validate_and_handle()

        return keys


def blank(value: Any) -> Any:
    """Return the value, or an empty text for None."""
    return "" if value is None else value
