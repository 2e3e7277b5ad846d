"""Stripe's signatures: `Stripe-Signature: t=TIME,v1=HMAC[,v1=HMAC]` over `TIME.BODY` with SHA-256.

Source: docs.stripe.com/webhooks/signature.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

from headrace.errors import AccessDenied, BadRequest

TOLERANCE_S = 300
"""How far the time in a signature may lie from the clock, either way."""
HEADER = "stripe-signature"


def sign(body: bytes, secret: str, at_s: int) -> str:
    """Return the header that Stripe would send with a body at a time, in seconds since the epoch."""
    return f"t={at_s},v1={_digest(body, secret, str(at_s))}"


def signer(
    header: str | None,
    body: bytes,
    secrets: Mapping[str, str | None],
    now: datetime,
    tolerance_s: float = TOLERANCE_S,
) -> str | None:
    """Return whom the secret that signed a body belongs to; None: to all merchants.

    Args:
        header: of the delivery.
        body: as it was sent.
        secrets: each with its merchant; several of one merchant while they are rotated.
        now: the clock, aware.
        tolerance_s: beyond it a delivery that was recorded once cannot be played again.

    Raises:
        AccessDenied: there is no secret, none of them made the signature, or it is too old or too new.
        BadRequest: there is no such header, or it is not one.
    """
    if not secrets:
        raise AccessDenied(
            "no secret is set, so nobody can be believed",
            where="stripe",
            hint="set HEADRACE_STRIPE_SECRETS to the endpoint's signing secret (whsec_…)",
        )
    time, signatures = _parts(header)
    given = time.encode() + b"." + body
    found: list[str | None] = []
    for secret, merchant in secrets.items():
        digest = hmac.new(secret.encode(), given, hashlib.sha256).hexdigest()
        if sum(hmac.compare_digest(digest, signature) for signature in signatures):
            found.append(merchant)
    if not found:
        raise AccessDenied(
            "the signature is of none of the secrets", where=HEADER, hint="is it this endpoint's secret?"
        )
    if abs(now.timestamp() - int(time)) > tolerance_s:
        raise AccessDenied(
            "the signature's time is too far from the clock",
            where=HEADER,
            expected=f"within {tolerance_s:g} s",
            hint="check this machine's clock",
        )
    return found[0]


def _digest(body: bytes, secret: str, time: str) -> str:
    return hmac.new(secret.encode(), time.encode() + b"." + body, hashlib.sha256).hexdigest()


def _parts(header: str | None) -> tuple[str, list[str]]:
    """Return the time and the signatures of the scheme v1."""
    pairs = [part.strip().partition("=") for part in (header or "").split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == "v1" and value.isascii()]
    if (
        len(times) != 1
        or not (times[0].isascii() and times[0].isdigit())
        or len(times[0]) > 12
        or not signatures
    ):
        raise BadRequest("there is no signature", where=HEADER, expected="t=…,v1=… as Stripe sends it")
    return times[0], signatures
