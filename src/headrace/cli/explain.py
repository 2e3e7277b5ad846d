"""`headrace explain`: how a view is kept: per operator the rule, the rows of state, the time of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any

import typer

from headrace.cli.exits import calmly
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption, TokenOption, UrlOption
from headrace.cli.output import fitted, note, printable, say, say_json
from headrace.cli.session import session
from headrace.engine.explained import tree_lines

DETAIL_WIDTH_MAX = 80
RECOMPUTED = "recomputed"


@calmly
def explain(
    view: Annotated[str, typer.Argument(help="The view.")],
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a view is kept: its operators, the rule of each, rows of state, time of the last step."""
    with session(project, data=data, url=url, token=token) as asked:
        found = asked.explain(view)
    if as_json:
        say_json(as_facts(found))
    else:
        show_explain(found)


def as_facts(found: Any) -> Any:
    """Return an explanation as plain values: a tree of operators, each with its `inputs`."""
    if hasattr(found, "as_dict"):
        return found.as_dict()
    return asdict(found) if is_dataclass(found) and not isinstance(found, type) else found


def show_explain(found: Any) -> None:
    """Write an explanation as a tree, outputs above inputs."""
    facts = as_facts(found)
    if not isinstance(facts, Mapping) or "rule" not in facts:
        say(str(found))
        return
    for line in tree_lines(facts, shown=lambda text: fitted(printable(text), DETAIL_WIDTH_MAX)):
        say(line)
    if any(operator["rule"] == RECOMPUTED for operator in walk(facts)):
        note("what is recomputed costs the size of its input at every step; all else costs what changed")


def walk(facts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield an operator and all below it."""
    yield facts
    for below in facts.get("inputs") or ():
        yield from walk(below)
