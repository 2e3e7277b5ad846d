"""Ad-hoc SQL over snapshots: what it may say (`guard`) and who answers it (`reader`)."""

from headrace.query.reader import QueryLimits as QueryLimits
from headrace.query.reader import Reader as Reader

__all__ = ["QueryLimits", "Reader"]
