"""The door of a server: plain HTTP/1.1 is answered here, WebSocket handshakes are handed on.

Theory of this file
-------------------
REST and WebSocket share a port, and the WebSocket library knows no POST. So a `Door` reads the first head of
each connection. If it asks for an upgrade to WebSocket, the transport and all bytes read so far go to the
library, which never learns that somebody looked before it. Anything else is HTTP and stays here:

    head ── upgrade ──▶ handed over
     │ ▲
     │ └── keep-alive ──────┐
     ▼                      │
    body ──▶ answer ──▶ taken by the reader ── close ──▶ gone

Every state has a bound in bytes and a deadline that no trickle of bytes can push back: a head and a body must
be there within `READ_S`, an answer must be taken within `STALL_S`, and between two requests may pass
`KEEP_ALIVE_S`. While an answer is not taken nothing more is read, so pipelining cannot pile up answers.

Source: RFC 9112, sections 2, 3, 5, 6, 7 and 9.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl

from krakenws.exchange.rest import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 1024 * 1024
READ_S = 10.0
KEEP_ALIVE_S = 60.0
STALL_S = 10.0
LINGER_S = 1.0
"""How long a refused client may go on sending: closing at once would tear the answer away."""
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_CHUNK_LINE_BYTES = 1024
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\r\n\0]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")


class _Refused(Exception):
    """No request that can be answered; the status says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Head:
    """The first part of a request, and what it says about the rest."""

    __slots__ = ("body", "headers", "keep_alive", "method", "target")

    def __init__(self, text: bytes) -> None:
        line, *fields = text.split(b"\r\n")
        asked = _REQUEST_LINE.fullmatch(line)
        if asked is None:
            raise _Refused(400)
        self.method = asked[1].decode()
        self.target = asked[2].decode()
        self.headers: dict[str, str] = {}
        for field in fields:
            found = _FIELD.fullmatch(field)
            if found is None:
                raise _Refused(400)
            name, value = found[1].decode().lower(), found[2].decode("latin-1")
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        words = {word.strip() for word in self.headers.get("connection", "").lower().split(",")}
        self.keep_alive = "close" not in words and (asked[3] == b"1" or "keep-alive" in words)
        self.body = self._body(is_chunkable=asked[3] == b"1")

    @property
    def is_upgrade(self) -> bool:
        return "websocket" in self.headers.get("upgrade", "").lower()

    def _body(self, *, is_chunkable: bool) -> _Sized | _Chunked:
        coding = self.headers.get("transfer-encoding")
        if coding is not None:
            if (
                not is_chunkable or "content-length" in self.headers
            ):  # whoever is in between may read it otherwise
                raise _Refused(400)
            if coding.lower() != "chunked":
                raise _Refused(501)
            return _Chunked()
        text = self.headers.get("content-length", "0")
        if not (text.isascii() and text.isdecimal()):  # also two that differ: they came joined by a comma
            raise _Refused(400)
        if len(text) > 18 or int(text) > MAX_BODY_BYTES:
            raise _Refused(413)
        return _Sized(int(text))


class _Sized:
    """A body whose length is known."""

    __slots__ = ("_length",)

    def __init__(self, length: int) -> None:
        self._length = length

    def take(self, received: bytearray) -> bytes | None:
        """Take the body off what was received; None until it is there."""
        if len(received) < self._length:
            return None
        body = bytes(received[: self._length])
        del received[: self._length]
        return body


class _Chunked:
    """A body in chunks; extensions and trailers are read and forgotten."""

    __slots__ = ("_body", "_is_over", "_trailer_bytes")

    def __init__(self) -> None:
        self._body = bytearray()
        self._is_over = False
        self._trailer_bytes = 0

    def take(self, received: bytearray) -> bytes | None:
        """Take whole chunks off what was received; return the body once the last one is there."""
        while (end := received.find(b"\r\n", 0, _CHUNK_LINE_BYTES)) >= 0:
            if self._is_over:
                self._trailer_bytes += end + 2
                if self._trailer_bytes > MAX_HEAD_BYTES:
                    raise _Refused(431)
                del received[: end + 2]
                if not end:
                    return bytes(self._body)
            elif not self._take_chunk(received, end):
                return None
        if len(received) >= _CHUNK_LINE_BYTES:
            raise _Refused(400)
        return None

    def _take_chunk(self, received: bytearray, end: int) -> bool:
        """Take the first chunk, whose size line ends at `end`; false if it is not there yet."""
        found = _CHUNK.fullmatch(received[:end])
        if found is None:
            raise _Refused(400)
        size = int(found[1], 16)
        if len(self._body) + size > MAX_BODY_BYTES:
            raise _Refused(413)
        begin, after = end + 2, end + 2 + size
        if not size:
            self._is_over = True
            del received[:begin]
            return True
        if len(received) < after + 2:
            return False
        if received[after : after + 2] != b"\r\n":
            raise _Refused(400)
        self._body += received[begin:after]
        del received[: after + 2]
        return True


class Door(asyncio.Protocol):
    """The first to read from a new connection.

    Args:
        websocket: who takes over when WebSocket is asked for.
        answer: what is said to an HTTP request.
        doors: where this door is listed while the connection is its own.
    """

    def __init__(
        self, websocket: asyncio.Protocol, answer: Callable[[HttpRequest], HttpResponse], doors: set[Door]
    ) -> None:
        self.transport: asyncio.Transport
        self._websocket = websocket
        self._answer = answer
        self._doors = doors
        self._received = bytearray()
        self._head: _Head | None = None
        self._is_closing = False
        self._is_full = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - asyncio says it
        self.transport = cast("asyncio.Transport", transport)
        self._doors.add(self)
        self._arm(READ_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002, D102
        self._leave()

    def pause_writing(self) -> None:  # noqa: D102
        self._is_full = True
        self.transport.pause_reading()
        self._arm(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:  # noqa: D102
        self._is_full = False
        self.transport.resume_reading()
        if not self._is_closing:
            self._arm(READ_S if self._received else KEEP_ALIVE_S, self._too_slow)
            self._advance()

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._is_closing:
            return
        if not self._received and self._head is None:
            self._arm(READ_S, self._too_slow)
        self._received += data
        self._advance()

    def _advance(self) -> None:
        """Answer what has arrived whole."""
        try:
            while not (self._is_closing or self._is_full):
                if self._head is None:
                    self._head = self._read_head()
                    if self._head is None:
                        return
                    if self._head.is_upgrade:
                        self._hand_over()
                        return
                    if self._head.headers.get("expect", "").lower() == "100-continue":
                        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = self._head.body.take(self._received)
                if body is None:
                    return
                self._reply(self._head, body)
        except _Refused as refused:
            self._refuse(refused.status)

    def _read_head(self) -> _Head | None:
        while self._received.startswith(b"\r\n"):  # some clients end a body with one too many
            del self._received[:2]
        end = self._received.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._received) > MAX_HEAD_BYTES):
            raise _Refused(431)
        if end < 0:
            is_text = (
                self._received[:1].isupper() or self._received == b"\r"
            )  # its line feed is still under way
            if self._received and not is_text:  # TLS where none is spoken, say
                raise _Refused(400)
            return None
        head = _Head(bytes(self._received[:end]))
        if not head.is_upgrade:  # else the next reader wants to see it too
            del self._received[: end + 4]
        return head

    def _hand_over(self) -> None:
        self._leave()
        self.transport.set_protocol(self._websocket)
        self._websocket.connection_made(self.transport)
        self._websocket.data_received(bytes(self._received))

    def _reply(self, head: _Head, body: bytes) -> None:
        self._head = None
        path, _, query = head.target.partition("?")
        pairs = tuple(parse_qsl(query, keep_blank_values=True))
        peer = self.transport.get_extra_info("peername")
        request = HttpRequest(head.method, path, pairs, head.headers, body, str(peer[0]) if peer else "")
        response = self._answer(request)
        if response.cut:
            self._is_closing = True
            self.transport.close()
            return
        if response.withheld:
            self._is_closing = True
            self._arm(KEEP_ALIVE_S, self.transport.abort)
            return
        self._arm(READ_S if self._received else KEEP_ALIVE_S, self._too_slow)
        self._write(response, keep_alive=head.keep_alive, with_body=head.method != "HEAD")
        if not head.keep_alive:
            self._is_closing = True
            self._arm(STALL_S, self.transport.abort)
            self.transport.close()

    def _write(self, response: HttpResponse, *, keep_alive: bool, with_body: bool) -> None:
        head = (
            f"HTTP/1.1 {response.status} {response.reason or _phrase(response.status)}\r\n"
            f"Content-Type: {response.content_type}\r\n"
            f"Content-Length: {len(response.body)}\r\n"
            f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
        )
        self.transport.write(head.encode() + (response.body if with_body else b""))

    def _refuse(self, status: int) -> None:
        """Say why and close, once the client has had the time to read it."""
        text = f"{status} {_phrase(status)}\n".encode()
        self._write(HttpResponse(status, text, "text/plain"), keep_alive=False, with_body=True)
        self._is_closing = True
        self._received.clear()
        self._arm(LINGER_S, self.transport.abort)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _too_slow(self) -> None:
        if self._received or self._head is not None:
            self._refuse(408)
        else:
            self.transport.close()

    def _arm(self, after_s: float, then: Callable[[], object]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(after_s, then)

    def _leave(self) -> None:
        self._doors.discard(self)
        if self._timer is not None:
            self._timer.cancel()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # Cloudflare has its own
        return "Unknown"
