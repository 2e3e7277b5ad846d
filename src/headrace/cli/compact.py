"""`headrace compact`: what the declarations let go is let go now, and the log is sealed."""

from __future__ import annotations

from typing import Any

from headrace.cli.exits import calmly, not_found
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption
from headrace.cli.output import say, say_json
from headrace.cli.project import data_folder
from headrace.cli.server_file import find_server
from headrace.errors import FolderLocked


@calmly
def compact(project: ProjectOption = HERE, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Make the log of a data folder that nobody has open smaller: its segments become Parquet, what is old
    in the history of tables is folded, and rows go that have outlived their stream's retention.
    """
    from headrace.log.log import Log
    from headrace.retention import compact as compacted
    from headrace.state.checkpoint import Checkpoints

    folder = data_folder(project, data)
    if not (folder / "log").is_dir():
        raise not_found("there is no data folder", where=str(folder), hint="name it with --data")
    holder = find_server(folder)
    if holder is not None:
        raise FolderLocked(
            f"a server runs on it: {holder.url}",
            where=str(folder),
            hint="stop it; while it runs, it seals segments and lets old rows go by itself",
        )
    with Log.open(folder) as log:
        before = log.stats()["bytes"]
        told = compacted(log, Checkpoints(folder).needed_from())
        after, gone = log.stats()["bytes"], log.trimmed()
    facts: dict[str, Any] = {
        "bytes_before": before,
        "bytes_after": after,
        "relations": dict(told.relations),
        "history_from": {name: at.isoformat() for name, (_, at) in gone.items()},
    }
    if as_json:
        say_json(facts)
        return
    say(f"{folder}: {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now")
    for name, commit in told.relations.items():
        folded = "old rows are gone" if name in gone else "older changes are folded"
        say(f"{name}: {folded}, up to commit {commit:,}")
