"""The door: each row is accepted, repeated, late or rejected once, and the decision is made durable."""

from headrace.intake.calls import Call, CheckedRows
from headrace.intake.intake import Intake
from headrace.intake.side import REJECTED, late_schema, side_schemas

__all__ = ["REJECTED", "Call", "CheckedRows", "Intake", "late_schema", "side_schemas"]
