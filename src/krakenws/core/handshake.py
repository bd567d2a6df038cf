"""RFC 6455, section 4, client role, sans I/O: the HTTP upgrade, and why it was refused.

request ──▶ head ──101──▶ accepted: the bytes behind it belong to a `WebSocket`
└──else──▶ refused: a little of the body, for the message, then ConnectionFailed
"""

from __future__ import annotations

from krakenws.errors import ConnectionFailed, LocalProtocolError, RemoteProtocolError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_HEAD_BYTES = 16 * 1024
_BODY_BYTES = 512  # of a refusal; a message shows the first _SHOWN characters of it
_RAW_BODY_BYTES = 4096  # the same with its chunk sizes
_LONGEST_WAIT_S = 900  # a ban lasts ten minutes (quirk N1); a longer Retry-After is a mistake, or malice
_SHOWN = 120


class Handshake:
    """The HTTP upgrade: `request` is what to send, `receive` takes what comes back.

    Build it while the connection is being made: the answer it expects is worked out here.

    Args:
        host: the Host header, with the port when it is not the default.
        path: the resource, e.g. "/v2".
        nonce: 16 random bytes.
        user_agent: who is asking.

    Raises:
        LocalProtocolError: if an argument cannot stand in a request.

    Source: RFC 6455, section 4.1.
    """

    __slots__ = ("_accept", "_head", "_host", "_received", "request")

    def __init__(self, host: str, path: str, nonce: bytes, user_agent: str) -> None:
        from binascii import b2a_base64

        try:  # as `random` does: `hashlib` loads OpenSSL, 2 ms that ws:// has no other use for
            from _sha1 import sha1  # type: ignore[import-not-found]  # of CPython, up to 3.14 at least
        except ImportError:
            from hashlib import sha1

        for what, word in (("host", host), ("path", path), ("user agent", user_agent.replace(" ", "_"))):
            if not (word and word.isascii() and word.isprintable()) or " " in word:
                raise LocalProtocolError(f"the {what} of a WebSocket request cannot be {_shown(word)!r}")
        if not path.startswith("/") or len(nonce) != 16:
            raise LocalProtocolError(
                "A WebSocket request needs a path that begins with / and 16 random bytes"
            )
        key = b2a_base64(nonce, newline=False)
        self._accept = b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False).decode()
        self._host = host
        self._received = bytearray()
        self._head: _Head | None = None
        self.request: bytes = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"User-Agent: {user_agent}\r\n\r\n"
        ).encode()

    def receive(self, data: bytes) -> bytes | None:
        """Return None while more is needed, else the bytes behind the head: the upgrade was accepted.

        Raises:
            ConnectionFailed: if the answer is no, with its status and the beginning of its body.
            RemoteProtocolError: if the answer is not one that RFC 6455, section 4.1, allows.
        """
        self._received += data
        if self._head is None:
            self._head = self._take_head(len(data))
        if self._head is None:
            return None
        if self._head.status == 101:
            self._check(self._head.fields)
            return bytes(self._received)
        body, whole = self._head.body(bytes(self._received[:_RAW_BODY_BYTES]))
        if whole or len(self._received) >= _RAW_BODY_BYTES:
            raise self._refusal(self._head, body)
        return None

    def end(self) -> None:
        """Say why it came to nothing: the connection ended, or time ran out, while `receive` gave None.

        Raises:
            ConnectionFailed: always, with what came so far.
        """
        if self._head is not None:
            raise self._refusal(self._head, self._head.body(bytes(self._received))[0])
        if self._received:
            begin = _shown(self._received.decode("latin-1"))
            raise ConnectionFailed(f"{self._host} stopped in the middle of answering the upgrade: {begin}")
        raise ConnectionFailed(f"{self._host} closed the connection before answering the WebSocket upgrade")

    def _take_head(self, fresh: int) -> _Head | None:
        """Return the head once it is whole; `_received` then holds only what came behind it."""
        received = self._received
        if len(received) < 8:
            return None
        if not received.startswith((b"HTTP/1.1", b"HTTP/1.0")):
            begin = bytes(received[:8])
            raise RemoteProtocolError(
                f"{self._host} does not answer in HTTP (it begins with {begin!r}): check scheme and port"
            )
        end = received.find(b"\r\n\r\n", max(0, len(received) - fresh - 3))
        if end + 4 > _HEAD_BYTES or (end < 0 and len(received) >= _HEAD_BYTES):
            raise RemoteProtocolError(
                f"{self._host} answers the upgrade with a head of more than {_HEAD_BYTES} bytes"
            )
        if end < 0:
            return None
        status_line, *lines = received[:end].decode("latin-1").split("\r\n")
        del received[: end + 4]
        status, _, reason = status_line[9:].partition(" ")
        if status_line[8:9] != " " or len(status) != 3 or not (status.isascii() and status.isdigit()):
            raise RemoteProtocolError(
                f"{self._host} answers with a malformed status line: {_shown(status_line)}"
            )
        return _Head(int(status), reason, lines)

    def _check(self, fields: dict[str, str]) -> None:
        wrong = (
            ("Upgrade", fields.get("upgrade", "").lower() != "websocket"),
            ("Connection", "upgrade" not in map(str.strip, fields.get("connection", "").lower().split(","))),
            ("Sec-WebSocket-Accept", fields.get("sec-websocket-accept") != self._accept),
            ("Sec-WebSocket-Extensions", fields.get("sec-websocket-extensions", "") != ""),
            ("Sec-WebSocket-Protocol", "sec-websocket-protocol" in fields),
        )
        for name, is_wrong in wrong:
            if is_wrong:
                value = fields.get(name.lower())
                said = "is missing" if value is None else f"says {_shown(value)!r}"
                raise RemoteProtocolError(
                    f"{self._host} is no proper WebSocket server: its {name} header {said}"
                )

    def _refusal(self, head: _Head, body: bytes) -> ConnectionFailed:
        text = _shown(body.decode("utf-8", "replace"))
        status = head.status
        if status == 403 or "error code: 1020" in text:  # Cloudflare: access denied (quirk N2)
            advice = "blocked: this address or client is not let in"
        elif status == 429:
            wait = f"{head.retry_after_s:.0f} s" if head.retry_after_s else "ten minutes"  # quirk N1
            advice = f"too many connections: wait {wait}"
        elif 300 <= status < 400:
            target = _shown(head.fields.get("location", "nowhere"))
            advice = f"it redirects to {target}: give that URL if you trust it"
        elif status >= 500:
            advice = "the server is in trouble: try again later"
        else:
            advice = "check the URL"
        line = f"{status} {_shown(head.reason)}".strip()
        said = f", it says: {text}" if text else ""
        return ConnectionFailed(
            f"{self._host} refused the WebSocket upgrade with {line} ({advice}){said}",
            status,
            head.retry_after_s,
        )


class _Head:
    """Status and fields of an HTTP answer. Lenient: what a refusal says matters more than its form."""

    __slots__ = ("fields", "reason", "status")

    def __init__(self, status: int, reason: str, lines: list[str]) -> None:
        self.status = status
        self.reason = reason
        self.fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            self.fields[name] = f"{self.fields[name]}, {value}" if name in self.fields else value

    @property
    def retry_after_s(self) -> float:
        """How long it asks to be left alone, if it says so in seconds. Source: RFC 9110, section 10.2.3."""
        asked = self.fields.get("retry-after", "")
        return float(min(int(asked[:9]), _LONGEST_WAIT_S)) if asked.isascii() and asked.isdigit() else 0.0

    def body(self, raw: bytes) -> tuple[bytes, bool]:
        """Return the beginning of the body, and whether there is no need to wait for more of it."""
        if "chunked" in self.fields.get("transfer-encoding", "").lower():
            body, whole = _unchunked(raw)
            return body[:_BODY_BYTES], whole or len(body) >= _BODY_BYTES
        length = self.fields.get("content-length", "")
        wanted = int(length) if length.isascii() and length.isdigit() and len(length) < 16 else _BODY_BYTES
        if self.status < 200 or self.status in (204, 304):  # these have none; RFC 9112, section 6.3
            wanted = 0
        wanted = min(wanted, _BODY_BYTES)
        return raw[:wanted], len(raw) >= wanted


def _unchunked(raw: bytes) -> tuple[bytes, bool]:
    """Return what the chunks hold so far, and whether the last one is there (RFC 9112, section 7.1)."""
    body = b""
    while True:
        size_text, newline, rest = raw.partition(b"\r\n")
        if not newline:
            return body, False
        try:
            size = int(size_text.partition(b";")[0], 16)
        except ValueError:
            return body + raw, False  # no chunks after all: show it as it is
        if size <= 0:
            return body, True
        body += rest[:size]
        raw = rest[size + 2 :]


def _shown(text: str) -> str:
    """Return the beginning of foreign text, fit for one line of a terminal."""
    text = " ".join(text.split())[:_SHOWN]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
