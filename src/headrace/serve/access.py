"""Who may ask: Host, Origin and token are checked before anything else happens, on HTTP and WebSocket alike.

Host stops DNS rebinding (a foreign name that resolves to this machine), Origin stops pages of other sites
from calling this server with a reader's browser, the token stops everybody else.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.errors import AccessDenied
from headrace.serve.answers import error_response
from headrace.serve.settings import ServerSettings

COOKIE = "headrace_token"
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Probes that say nothing about the data and need no token."""
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_SECURITY = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
CORS_HEADERS = {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Encoding, Idempotency-Key",
    "Access-Control-Max-Age": "600",
}


class Access:
    """ASGI middleware that lets a request pass or answers it with 401 or 403.

    Args:
        app: what is guarded.
        settings: host, tokens, allowed hosts and origins.
        signed: whether a request proves by itself who sends it, so that it needs no token.
    """

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, signed: Callable[[Scope], bool] = lambda _: False
    ) -> None:
        self._app = app
        self._signed = signed
        self._digests = [_digest(secret) for secret in settings.secrets]
        self._hosts = {"localhost", host_name(settings.host), *(host_name(h) for h in settings.allowed_hosts)}
        self._origins = {origin.rstrip("/").lower() for origin in settings.allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer, foreign = self.judge(scope)
        if answer is not None:
            await self._refuse(answer, scope, receive, self._dressed(send, foreign))
            return
        await self._app(scope, receive, self._dressed(send, foreign))

    async def pass_on(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one HTTP request and let it go to `app` instead."""
        answer, foreign = self.judge(scope)
        await (answer or app)(scope, receive, self._dressed(send, foreign))

    def judge(self, scope: Scope) -> tuple[Response | None, str | None]:
        """Return what is to be answered at once, if anything, and which allowed other site asks, if one."""
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            foreign = self._check_origin(headers)
            return self._preflight(scope, foreign) or self._check_token(scope, headers), foreign
        except AccessDenied as error:
            return error_response(error), None

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else ""
        if name in self._hosts or _is_address(name):
            return
        raise AccessDenied(
            f"this server does not answer to the host {', '.join(hosts) or '(none)'!r}"[:300],
            where="Host header",
            expected="an address of this machine, or a name in HEADRACE_ALLOWED_HOSTS",
        )

    def _check_origin(self, headers: Headers) -> str | None:
        """Return the origin of an allowed other site, or None for our own pages and for programs."""
        origin = headers.get("origin")
        if origin is None:
            if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
                raise AccessDenied("a page of another site asked", where="Sec-Fetch-Site header")
            return None
        if origin.rstrip("/").lower() in self._origins:
            return origin
        parts = urlsplit(origin)
        if parts.scheme in ("http", "https") and parts.netloc.lower() == headers.get("host", "").lower():
            return None
        raise AccessDenied(
            f"pages of {origin!r} may not call this server"[:300],
            where="Origin header",
            expected="a page of this server",
            hint="name the site in HEADRACE_ALLOWED_ORIGINS",
        )

    def _preflight(self, scope: Scope, foreign: str | None) -> Response | None:
        if foreign is not None and scope["type"] == "http" and scope["method"] == "OPTIONS":
            return Response(status_code=204, headers=CORS_HEADERS)
        return None

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        if not self._digests or scope["path"] in OPEN_PATHS or self._signed(scope):
            return None
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_known(bearer.strip()):
            return None
        if self._is_known(_cookie(headers)):
            return None
        if scope["type"] == "http" and scope["method"] == "GET":
            arriving = self._arriving(scope)
            if arriving is not None:
                return arriving
        error = AccessDenied(
            "this server wants a token",
            expected="Authorization: Bearer TOKEN",
            hint="in a browser, open the address with ?token=TOKEN once",
        )
        answer = error_response(error, status=401)
        answer.headers["WWW-Authenticate"] = 'Bearer realm="headrace"'
        return answer

    def _arriving(self, scope: Scope) -> Response | None:
        """Turn `?token=` into a cookie and drop it from the address, so that it is not bookmarked or
        logged.
        """
        pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in pairs if name == "token"]
        if len(given) != 1 or not self._is_known(given[0]):
            return None
        rest = urlencode([(name, value) for name, value in pairs if name != "token"])
        path = "/" + scope["path"].lstrip("/\\")
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), status_code=303)
        answer.set_cookie(
            COOKIE,
            given[0],
            httponly=True,
            samesite="strict",
            secure=scope.get("scheme") == "https",
            path="/",
        )
        return answer

    def _is_known(self, token: str) -> bool:
        digest = _digest(token)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return bool(token) and any(matches)

    def _dressed(self, send: Send, foreign: str | None) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [pair for pair in _SECURITY if pair[0] not in names]
                if foreign is not None:
                    headers = MutableHeaders(scope=message)
                    headers["Access-Control-Allow-Origin"] = foreign
                    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                    headers.add_vary_header("Origin")
            await send(message)

        return dressed

    async def _refuse(self, answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "access denied"})
            return
        await answer(scope, receive, send)


def host_name(host: str) -> str:
    """Return the lower-case name of a Host header without its port and brackets; empty where it is
    malformed.
    """
    text = host.strip().lower()
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        return name if bracket and (not port or port.startswith(":")) else ""
    if text.count(":") > 1:
        return text if _is_address(text) else ""
    return text.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    """Whether it is an IP address: a rebound name never is one."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _cookie(headers: Headers) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    found = jar.get(COOKIE)
    return found.value if found else ""
