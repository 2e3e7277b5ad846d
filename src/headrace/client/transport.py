"""Requests that survive a lost connection, a restart and a busy server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import orjson

from headrace.errors import AccessDenied, ConnectError, HeadraceError

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0
PATIENCE_S = 30.0
"""How long a server may be gone or busy before an error is raised."""
_GONE = frozenset({502, 503, 504})


class Transport:
    """One server's address, token and connections. Thread-safe.

    A request is sent again after a lost connection, so a caller that changes anything sends an
    `Idempotency-Key`.

    Args:
        url: `http://host:port`; a `?token=` in it counts as the token.
        token: what the server wants, or None.
        patience_s: how long it may be gone or busy.
    """

    def __init__(self, url: str, token: str | None, patience_s: float) -> None:
        self.url, found = split_url(url)
        self._patience_s = patience_s
        token = token or found
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request until it is answered.

        Raises:
            ConnectError: nobody answers, or the answer is not Headrace's.
            HeadraceError: the error that the server answered, of the class that it has there.
        """
        began = time.monotonic()
        wait_s = FIRST_WAIT_S
        while True:
            patient = time.monotonic() - began < self._patience_s
            try:
                response = self._client.request(method, path, params=params, content=content, headers=headers)
            except httpx.TransportError as error:
                problem: HeadraceError = self._unreachable(error)
            else:
                if response.status_code < 300:
                    return response
                problem = error_of(response)
                if response.status_code == 429:
                    wait_s = _retry_after_s(response, wait_s)
                elif response.status_code not in _GONE:
                    raise problem
            if not patient:
                raise problem
            time.sleep(wait_s)  # sleeps: the server asked for it, or is not there at present
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def _unreachable(self, error: httpx.TransportError) -> ConnectError:
        return ConnectError(
            f"the server does not answer: {error or type(error).__name__}",
            where=self.url,
            expected="a running `headrace run`",
        )


def split_url(url: str) -> tuple[str, str | None]:
    """Return the address without its query, and the token in it, if any.

    Raises:
        ConnectError: it is no address.
    """
    no_address = ConnectError(f"{url!r} is no address"[:300], expected="http://host:port")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise no_address from None
    if not is_whole:
        raise no_address
    pairs = parse_qsl(parts.query)
    token = next((value for name, value in pairs if name == "token"), None)
    rest = urlencode([(name, value) for name, value in pairs if name != "token"])
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), rest, "")), token


def _retry_after_s(response: httpx.Response, otherwise_s: float) -> float:
    with contextlib.suppress(KeyError, ValueError):
        return min(max(float(response.headers["Retry-After"]), 0.01), LONGEST_WAIT_S)
    return otherwise_s


def classes_by_code() -> dict[str, type[HeadraceError]]:
    """Return every error class by its code."""
    found = [HeadraceError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return {cls.code: cls for cls in found}


def error_of(response: httpx.Response) -> HeadraceError:
    """Return the error of an answer, of the class that it had on the server."""
    try:
        facts = dict(orjson.loads(response.content)["error"])
        code, problem = str(facts.pop("code")), str(facts.pop("problem"))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return ConnectError(
            f"status {response.status_code}, and the answer is not Headrace's: {response.text[:200]}",
            where=str(response.request.url.copy_with(query=None)),
        )
    cls = classes_by_code().get(code, HeadraceError)
    if response.status_code == 401:
        cls = AccessDenied
    named = {name: facts.pop(name, None) for name in ("where", "expected", "hint")}
    return cls(problem, **named, **{str(name): value for name, value in facts.items()})
