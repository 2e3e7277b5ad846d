"""The verbs, in the order in which help lists them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.cli.compact import compact
from headrace.cli.definitions import apply, plan, rollback
from headrace.cli.demo import demo
from headrace.cli.difference import difference
from headrace.cli.doctor import doctor
from headrace.cli.explain import explain
from headrace.cli.folder import backup, fsck, restore
from headrace.cli.import_ import import_files
from headrace.cli.init import init
from headrace.cli.query import query
from headrace.cli.replay import replay
from headrace.cli.run import run

VERBS: dict[str, Callable[..., Any]] = {
    "init": init,
    "run": run,
    "query": query,
    "difference": difference,
    "explain": explain,
    "plan": plan,
    "apply": apply,
    "rollback": rollback,
    "replay": replay,
    "import": import_files,
    "doctor": doctor,
    "backup": backup,
    "restore": restore,
    "fsck": fsck,
    "compact": compact,
    "demo": demo,
}
