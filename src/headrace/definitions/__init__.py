"""Definition change: what a change would touch, its build beside what runs, the switch, and the way back."""

from headrace.definitions.changeover import Changeover, Progress
from headrace.definitions.compare import ChangePlan, Item, compare
from headrace.definitions.difference import ViewDifference

__all__ = ["ChangePlan", "Changeover", "Item", "Progress", "ViewDifference", "compare"]
