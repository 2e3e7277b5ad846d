"""What the metadata of an annotation says about a value: constraints, digits, privacy, validators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import annotated_types as at
from pydantic import AfterValidator, AllowInfNan, BeforeValidator, PlainValidator, Strict, WrapValidator
from pydantic.fields import FieldInfo
from pydantic.types import StringConstraints

from headrace.contracts.annotations import DecimalDigits, EventTime, Pii
from headrace.contracts.shape import Check, Custom

_BOUNDS = (
    (at.Gt, "gt"),
    (at.Ge, "ge"),
    (at.Lt, "lt"),
    (at.Le, "le"),
    (at.MinLen, "min_length"),
    (at.MaxLen, "max_length"),
)
_HARMLESS = {"strict", "union_mode"}


@dataclass
class Notes:
    """The collected metadata of one annotation."""

    checks: list[Check] = field(default_factory=list)
    custom: Custom = Custom.NONE
    digits: DecimalDigits | None = None
    max_digits: int | None = None
    decimal_places: int | None = None
    privacy: str | None = None
    event_time: EventTime | None = None

    def add_all(self, metadata: Iterable[Any]) -> Notes:
        """Read every item of an annotation's metadata; returns itself."""
        for item in metadata:
            self._add(item)
        return self

    def needs(self, custom: Custom) -> None:
        """Say that pydantic has to look at rows, at least to this extent."""
        self.custom = max(self.custom, custom)

    def _add(self, item: Any) -> None:
        if self._add_own(item) or self._add_bound(item):
            return
        if isinstance(item, StringConstraints) or type(item).__name__ == "_PydanticGeneralMetadata":
            self._add_settings(vars(item))
        elif isinstance(item, FieldInfo):
            self.add_all(item.metadata)
        elif isinstance(item, at.GroupedMetadata):
            self.add_all(item)
        elif isinstance(item, AllowInfNan):
            self._add_settings({"allow_inf_nan": item.allow_inf_nan})
        elif isinstance(item, (BeforeValidator, PlainValidator, WrapValidator)):
            self.needs(Custom.BEFORE)
        elif isinstance(item, (AfterValidator, at.BaseMetadata)):
            self.needs(Custom.AFTER)
        elif hasattr(item, "__get_pydantic_core_schema__") and not isinstance(item, Strict):
            self.needs(Custom.BEFORE)

    def _add_own(self, item: Any) -> bool:
        match item:
            case DecimalDigits():
                self.digits = item
            case Pii():
                self.privacy = item.tag
            case EventTime():
                self.event_time = item
            case _:
                return False
        return True

    def _add_bound(self, item: Any) -> bool:
        for kind, op in _BOUNDS:
            if isinstance(item, kind):
                self._check(op, getattr(item, op))
                return True
        return False

    def _check(self, op: str, bound: Any) -> None:
        if bound is not None and not (op == "min_length" and bound == 0):
            self.checks.append(Check(op, bound))

    def _add_settings(self, settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            if value is None or (value is False and name != "allow_inf_nan") or name in _HARMLESS:
                continue
            match name:
                case "min_length" | "max_length":
                    self._check(name, value)
                case "pattern":
                    self._check(name, getattr(value, "pattern", value))
                case "max_digits" | "decimal_places":
                    setattr(self, name, value)
                case "allow_inf_nan":
                    self.checks += [] if value else [Check("finite")]
                case _:
                    self.needs(Custom.BEFORE)
