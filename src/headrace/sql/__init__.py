"""SQL text to a logical plan; one rule per file."""

from headrace.sql.errors import format_error, located
from headrace.sql.explain import explain_plan
from headrace.sql.planner import plan_view, relations_of

__all__ = ["explain_plan", "format_error", "located", "plan_view", "relations_of"]
