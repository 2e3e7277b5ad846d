"""The webhook: `POST /v1/sources/stripe`, for one merchant or for many.

An event is about the merchant that its signing secret belongs to (`acct_1=whsec_…` in the settings), else
about the connected `account` that it names, else about `?merchant=` of the address, else about `default`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.stripe.mapping import map_object
from headrace.solutions.billing.stripe.occasion import Occasion, before, sequence
from headrace.solutions.billing.stripe.rows import Gathered, merchant_heard_of
from headrace.solutions.billing.stripe.signature import HEADER, TOLERANCE_S, signer
from headrace.solutions.billing.stripe.values import ident, moment

SECRETS = "HEADRACE_STRIPE_SECRETS"
"""Environment variable: signing secrets, separated by commas; `MERCHANT=SECRET` binds one to a merchant."""
MERCHANT = "default"
MERCHANT_CHARS_MAX = 255
EVENTS = "stripe_events"
LEFT_OUT = ("pending_webhooks",)
"""What differs between deliveries of one event."""


def parse_secrets(text: str) -> dict[str, str | None]:
    """Read `whsec_a,acct_1=whsec_b`: each secret with the merchant that it is bound to, or None."""
    secrets: dict[str, str | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        merchant, bound, secret = part.partition("=")
        if bound and not part.startswith("whsec_"):
            secrets[secret.strip()] = merchant.strip()
        else:
            secrets[part] = None
    return {secret: merchant for secret, merchant in secrets.items() if secret}


class StripeSource:
    """Takes Stripe's webhook deliveries; give it to `app.source("stripe", …, signed=True)`.

    Args:
        secrets: of the endpoints, each with the merchant it is bound to, or None; None: read the
            environment at each
            delivery.
        tolerance_s: how old a signature may be.
    """

    def __init__(
        self, secrets: Mapping[str, str | None] | None = None, tolerance_s: float = TOLERANCE_S
    ) -> None:
        self._secrets = secrets
        self._tolerance_s = tolerance_s

    def __call__(self, delivery: hr.Delivery) -> Sequence[hr.Put]:
        """Return the changes that a delivery means, the event itself among them.

        Raises:
            AccessDenied: it is not signed by somebody known, or about somebody else's merchant.
            BadRequest: it is no event.
        """
        secrets = parse_secrets(os.environ.get(SECRETS, "")) if self._secrets is None else self._secrets
        header = delivery.headers.get(HEADER)
        bound = signer(header, delivery.body, secrets, delivery.received_at, self._tolerance_s)
        event = _event(delivery.body)
        return changes(event, _merchant(bound, event, delivery.params))


def changes(event: dict[str, Any], merchant_id: str) -> Sequence[hr.Put]:
    """Return what an event means for a merchant: the event as it came, and the rows of its object.

    An object that cannot be read does not make the event a lost one: it is kept, with the problem.

    Raises:
        BadRequest: it is no event.
    """
    told_at = _created(event)
    found = event["data"]["object"]
    out = Gathered()
    problem: str | None = None
    try:
        told = Occasion(merchant_id, told_at, sequence(event, found), event["type"], before(event))
        outcome = "mapped" if map_object(found, told, out) else "unknown"
    except BadRequest as error:
        outcome, problem, out = "unread", error.problem, Gathered()
    out.append(EVENTS, _kept(event, merchant_id, told_at, outcome, problem))
    out.upsert("merchants", merchant_heard_of(merchant_id))
    return out.puts()


def _kept(
    event: dict[str, Any], merchant_id: str, told_at: datetime, outcome: str, problem: str | None
) -> dict[str, Any]:
    found = event["data"]["object"]
    return {
        "event_id": f"{merchant_id}/{event['id']}",
        "merchant_id": merchant_id,
        "type": event["type"],
        "object": found.get("object") if isinstance(found.get("object"), str) else None,
        "object_id": ident(found),
        "created_at": told_at,
        "api_version": event.get("api_version"),
        "livemode": bool(event.get("livemode")),
        "outcome": outcome,
        "problem": problem,
        "payload": {name: value for name, value in event.items() if name not in LEFT_OUT},
    }


def _event(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON", where="stripe", expected="an event of Stripe") from None
    return must_be_event(event)


def must_be_event(event: Any) -> dict[str, Any]:
    """Return what is an event.

    Raises:
        BadRequest: it is none, and why.
    """
    expected = '{"object": "event", "id": "evt_…", "type": "…", "created": …, "data": {"object": {…}}}'
    if not isinstance(event, dict) or event.get("object") != "event":
        raise BadRequest("this is no event", where="stripe", expected=expected)
    for name in ("id", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise BadRequest(f"an event without {name}", where="stripe", expected=expected)
    data = event.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("object"), dict):
        raise BadRequest("an event without its object", where=event["id"][:100], expected=expected)
    _created(event)
    return event


def _created(event: dict[str, Any]) -> datetime:
    created = event.get("created")
    if isinstance(created, bool) or not isinstance(created, int):
        raise BadRequest("an event without a time", where=str(event["id"])[:100], expected="created")
    told_at = moment(created)
    assert told_at is not None
    return told_at


def _merchant(bound: str | None, event: dict[str, Any], params: Mapping[str, str]) -> str:
    named = event.get("account") if isinstance(event.get("account"), str) else params.get("merchant")
    if bound is not None and named not in (None, "", bound):
        raise hr.AccessDenied(
            "the secret belongs to another merchant",
            where=HEADER,
            expected=bound,
            hint="use that one's secret",
        )
    return merchant_named(bound or named)


def merchant_named(name: str | None) -> str:
    """Return the id of a merchant that may have been named; `default` where none was.

    Raises:
        BadRequest: it cannot be one.
    """
    merchant = name or MERCHANT
    if len(merchant) > MERCHANT_CHARS_MAX or not merchant.isprintable() or merchant != merchant.strip():
        raise BadRequest("this cannot be a merchant's id", where="merchant")
    return merchant
