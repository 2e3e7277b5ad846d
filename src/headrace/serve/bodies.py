"""What comes in: bodies read in bounded memory, unpacked in bounded memory, and turned into rows."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from headrace.errors import BadRequest, BodyTooLarge, BodyTooSlow, Busy, UnsupportedBody
from headrace.serve.answers import ARROW
from headrace.serve.arrow_bodies import arrow_rows
from headrace.serve.settings import ServerSettings

JSON_TYPES = frozenset({"", "application/json", "text/json"})
NDJSON_TYPES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines"}
)
ARROW_TYPES = frozenset({ARROW, "application/x-apache-arrow-stream"})
RETRY_AFTER_S = 0.5
STRUCTURES_MAX = 1_000_000
"""Objects and arrays of one JSON body."""


class Flight:
    """Bytes of all bodies that are being worked on; used from the event loop only."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes_held = 0

    def take(self, size: int) -> None:
        """Count bytes.

        Raises:
            Busy: too much is held already.
        """
        if self.bytes_held + size > self.bytes_max:
            raise Busy(
                "too many requests are being worked on",
                expected=f"at most {self.bytes_max:,} bytes in flight",
                hint="send again after Retry-After",
                retry_after_s=RETRY_AFTER_S,
            )
        self.bytes_held += size

    def give_back(self, size: int) -> None:
        """Uncount bytes."""
        self.bytes_held -= size


@asynccontextmanager
async def body_of(request: Request, settings: ServerSettings, flight: Flight) -> AsyncIterator[bytes]:
    """Yield the whole body, unpacked; its bytes count as in flight until the block ends.

    Raises:
        BodyTooLarge, Busy, BodyTooSlow, BadRequest, UnsupportedBody.
    """
    held = 0
    try:
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
            raise UnsupportedBody(f"cannot unpack {encoding!r}"[:100], expected="gzip, or none")
        _check_declared(request, settings)
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(settings.body_timeout_s):
                async for chunk in request.stream():
                    if not chunk:
                        continue
                    flight.take(len(chunk))
                    held += len(chunk)
                    if held > settings.body_bytes_max:
                        raise _too_large(settings.body_bytes_max, "bytes")
                    chunks.append(chunk)
        except TimeoutError:
            raise BodyTooSlow(
                "the body did not arrive in time", expected=f"within {settings.body_timeout_s:g} s"
            ) from None
        except ClientDisconnect:
            raise BadRequest("the client went away before the body was complete") from None
        body = b"".join(chunks) if len(chunks) != 1 else chunks[0]
        if encoding not in ("identity", ""):
            body = unpacked(body, settings.decoded_bytes_max)
            flight.take(len(body))
            held += len(body)
        yield body
    finally:
        flight.give_back(held)


def _check_declared(request: Request, settings: ServerSettings) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > settings.body_bytes_max:
        raise _too_large(settings.body_bytes_max, "bytes")


def _too_large(most: int, what: str) -> BodyTooLarge:
    return BodyTooLarge("the body is too large", expected=f"at most {most:,} {what}", hint="send it in parts")


def unpacked(body: bytes, bytes_max: int) -> bytes:
    """Return the body behind gzip or zlib, stopping as soon as it grows beyond `bytes_max`.

    Raises:
        BodyTooLarge, BadRequest.
    """
    result = bytearray()
    rest = body
    while rest:
        unpacker = zlib.decompressobj(wbits=47)
        try:
            result += unpacker.decompress(rest, bytes_max + 1 - len(result))
        except zlib.error as error:
            raise BadRequest(f"the body is not gzip: {error}") from None
        if len(result) > bytes_max:
            raise _too_large(bytes_max, "bytes after decompression")
        if not unpacker.eof:
            raise BadRequest("the gzip body ends in the middle")
        rest = unpacker.unused_data.lstrip(b"\0")
    return bytes(result)


def is_text(content_type: str) -> bool:
    """Whether a body of this type is JSON, one value or one a line, so that its rows are a list."""
    return _media_type(content_type) in JSON_TYPES | NDJSON_TYPES


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def rows_of(body: bytes, content_type: str, bytes_max: int) -> Any:
    """Return the rows of a body: a list (JSON, NDJSON; what is no object is refused row by row) or an
    Arrow table.

    Raises:
        BadRequest: it does not parse.
        UnsupportedBody: a type that is not taken.
    """
    kind = _media_type(content_type)
    if kind in JSON_TYPES:
        return _json_rows(body)
    if kind in NDJSON_TYPES:
        _check_structures(body)
        return ndjson_rows(body)
    if kind in ARROW_TYPES:
        return arrow_rows(body, bytes_max)
    raise UnsupportedBody(
        f"the Content-Type {kind!r} is not taken"[:200],
        expected=f"application/json, application/x-ndjson or {ARROW}",
        hint="with curl, add: -H 'Content-Type: application/json'",
    )


def parsed_json(body: bytes) -> Any:
    """Return the JSON of a body.

    Raises:
        BadRequest: naming the place.
        BodyTooLarge: it has too many parts.
    """
    _check_structures(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}", expected="JSON in UTF-8") from None


def _check_structures(body: bytes) -> None:
    """Refuse a body of too many objects and arrays: each takes up to a hundred times its bytes in memory."""
    if len(body) > STRUCTURES_MAX and body.count(b"{") + body.count(b"[") > STRUCTURES_MAX:
        raise _too_large(STRUCTURES_MAX, "objects and arrays")


def _json_rows(body: bytes) -> list[Any]:
    value = parsed_json(body)
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    raise BadRequest("the body is neither an object nor an array", expected="one row, or an array of rows")


def ndjson_rows(body: bytes) -> list[Any]:
    """Return one row per line; a line that does not parse stays text, so that it is rejected alone."""
    rows: list[Any] = []
    for line in body.split(b"\n"):
        text = line.strip()
        if not text:
            continue
        try:
            rows.append(orjson.loads(text))
        except orjson.JSONDecodeError:
            rows.append(text.decode("utf-8", "replace"))
    return rows
