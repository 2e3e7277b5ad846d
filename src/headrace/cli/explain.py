"""`headrace explain`: how a view is kept: per operator the rule, the rows of state, the class of cost."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.cli.exits import calmly
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption, TokenOption, UrlOption
from headrace.cli.output import say, say_json
from headrace.cli.session import session


@calmly
def explain(
    view: Annotated[str, typer.Argument(help="The view.")],
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a view is kept: its operators, the rule of each, rows of state, class of cost."""
    with session(project, data=data, url=url, token=token) as asked:
        found = asked.explain(view)
    if as_json:
        say_json(found.as_dict() if hasattr(found, "as_dict") else found)
    else:
        show_explain(found)


def show_explain(found: Any) -> None:
    """Write an explanation as text."""
    say(str(found))
