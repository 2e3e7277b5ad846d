"""Who is believed: only a delivery that a known secret signed a short time ago, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.stripe.signature import sign, signer
from headrace.solutions.billing.stripe.source import parse_secrets

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT_S = int(NOW.timestamp())
BODY = b'{"id": "evt_1"}'


def test_a_signature_as_stripe_documents_it() -> None:
    # computed with openssl: printf '1767225600.{"id": "evt_1"}' | openssl dgst -sha256 -hmac whsec_test
    known = "cadaa7d3969bfb3d2eb29334f30dba6a9887b21221ab72200cff0ad25e8a7bc0"
    assert sign(BODY, "whsec_test", AT_S) == f"t={AT_S},v1={known}"
    assert signer(f"t={AT_S},v1={known}", BODY, {"whsec_test": None}, NOW) is None


def test_while_secrets_are_rotated_either_is_believed() -> None:
    old, new = sign(BODY, "whsec_old", AT_S), sign(BODY, "whsec_new", AT_S)
    secrets = {"whsec_old": None, "whsec_new": "acct_1"}
    assert signer(old, BODY, secrets, NOW) is None
    assert signer(new, BODY, secrets, NOW) == "acct_1"
    both = f"{old},{new.partition(',')[2]}"
    assert signer(both, BODY, {"whsec_new": "acct_1"}, NOW) == "acct_1"
    assert signer(f"{new},v0=abc", BODY, secrets, NOW) == "acct_1"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_delivery_that_was_recorded_cannot_be_played_again(minutes: int) -> None:
    header = sign(BODY, "whsec_a", AT_S)
    with pytest.raises(hr.AccessDenied, match="too far from the clock"):
        signer(header, BODY, {"whsec_a": None}, NOW + timedelta(minutes=minutes))
    assert signer(header, BODY, {"whsec_a": "x"}, NOW + timedelta(minutes=minutes / 2)) == "x"


def test_other_bytes_or_another_secret_are_refused() -> None:
    header = sign(BODY, "whsec_a", AT_S)
    for body, secrets in ((BODY + b" ", {"whsec_a": None}), (BODY, {"whsec_b": None})):
        with pytest.raises(hr.AccessDenied, match="none of the secrets"):
            signer(header, body, secrets, NOW)
    with pytest.raises(hr.AccessDenied, match="no secret is set"):
        signer(header, BODY, {}, NOW)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        "v1=ab",
        f"t={AT_S}",
        "t=soon,v1=ab",
        "t=1,t=2,v1=ab",
        f"t={AT_S},v0=ab",
        "t=²,v1=é",
    ],
)
def test_what_is_no_signature_is_a_bad_request(header: str | None) -> None:
    with pytest.raises(BadRequest, match="no signature"):
        signer(header, BODY, {"whsec_a": None}, NOW)


def test_secrets_stand_in_one_line() -> None:
    assert parse_secrets(" whsec_a, acct_1=whsec_b ,,whsec_c=") == {
        "whsec_a": None,
        "whsec_b": "acct_1",
        "whsec_c=": None,
    }
    assert parse_secrets("") == {}
    assert parse_secrets("acct_1=") == {}
