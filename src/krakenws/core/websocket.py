"""RFC 6455, client role, sans I/O: bytes in, whole text messages out.

What follows an accepted `Handshake` on the same connection, until the close.

    open ──close frame sent or received──▶ closing ──close frame received──▶ over
     └───────────────the other side breaks a rule──────────────────────────▶ over (`failure`)

Rules of this file:

- A server's frame is not masked, so a message is a slice. Nearly all frames are unfragmented text below
  64 KiB; `WebSocket._texts` cuts those, a whole read at once, and is written for speed alone. Whatever it
  does not recognise (other opcodes, fragments, long or broken or unfinished frames) goes to
  `WebSocket._frame`, which is written to be exact.
- How a stream is cut into reads changes nothing: same messages, same close, same failure.
- A frame is judged by its head, before its payload is kept. While a frame is unfinished, reads are only
  collected: the cost of a message grows with its size, not with its size times its reads.
- What the other side does wrong never raises in `WebSocket`: messages before it still count.
"""

from __future__ import annotations

import struct

from krakenws.errors import LocalProtocolError, RemoteProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN = 0x80
_WHOLE_TEXT = (_FIN | _TEXT) << 8  # two bytes as one number: an unfragmented text, and its length to be added
_NO_TEXT = 1 << 16  # what two bytes never are
_two_numbers = struct.Struct(">HH").unpack_from
_medium_head = struct.Struct(">BBH").pack
_CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015)))  # may be sent; section 7.4.1 and IANA
_CONTROL_BYTES = 125


class WebSocket:
    """One open connection's frames, client role.

    Args:
        mask: gives 4 fresh random bytes at each call (RFC 6455, section 5.3).
        max_message_bytes: a longer message is refused from its head (close 1009).

    Attributes:
        close_code: why the other side closed; 1005 when it gave no code, None while it has not closed.
        close_reason: its words with that.
        failure: the rule the other side broke; nothing is parsed after it.
    """

    __slots__ = (
        "_chunks",
        "_close_sent",
        "_expected",
        "_fragments",
        "_held",
        "_mask",
        "_max_message_bytes",
        "_needed",
        "_out",
        "_over",
        "_pong",
        "_text",
        "close_code",
        "close_reason",
        "failure",
    )

    def __init__(self, mask: Callable[[], bytes], max_message_bytes: int) -> None:
        self.close_code: int | None = None
        self.close_reason = ""
        self.failure: RemoteProtocolError | None = None
        self._mask = mask
        self._max_message_bytes = max_message_bytes
        # What `_texts` looks for: nothing where a length must be held to the limit, or amid fragments.
        self._text = self._expected = _WHOLE_TEXT if max_message_bytes >= 0xFFFF else _NO_TEXT
        self._fragments: bytearray | None = None
        self._chunks: list[bytes] = []  # an unfinished frame: what is held of it, and what it needs
        self._held = 0
        self._needed = 0
        self._out: list[bytes] = []
        self._pong: bytes | None = None
        self._close_sent = False
        self._over = False

    @property
    def open(self) -> bool:
        """Whether messages can be sent: no close frame went either way, and no rule was broken."""
        return not (self._close_sent or self._over)

    def receive(self, data: bytes) -> list[bytes]:
        """Return the whole text messages that `data` completes, in order, valid UTF-8, undecoded.

        Never raises: a broken rule ends up in `failure` and a close frame in `bytes_to_send`. Messages still
        count after our own close frame; whatever follows the other side's is ignored.
        """
        if self._over:
            return []
        if self._held:
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._chunks)
            self._held = 0
        messages: list[bytes] = []
        at, end = 0, len(data)
        try:
            while (at := self._texts(data, at, messages)) < end:
                begin, at = at, self._frame(data, at, messages)
                if at == begin:
                    self._chunks = [data[at:]]
                    self._held = end - at
                    break
        except RemoteProtocolError as violation:
            # Without its traceback, which would keep this read alive in a cycle.
            self._fail(violation.with_traceback(None))
        return messages

    def send(self, payload: bytes) -> None:
        """Queue a text message: UTF-8, in one masked frame.

        Raises:
            LocalProtocolError: if the connection is closing or closed, or the payload is not UTF-8.
        """
        if not payload.isascii() and not _is_utf8(payload):
            raise LocalProtocolError("a text message has to be UTF-8")
        self._send(_TEXT, payload)

    def ping(self, payload: bytes = b"") -> None:
        """Queue a ping frame; its pong is not reported.

        Raises:
            LocalProtocolError: if the connection is closing or closed, or the payload exceeds 125 bytes.
        """
        if len(payload) > _CONTROL_BYTES:
            raise LocalProtocolError(f"a ping carries at most {_CONTROL_BYTES} bytes, not {len(payload)}")
        self._send(_PING, payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Queue a close frame, unless there was one or the connection is over.

        Raises:
            LocalProtocolError: if the code may not be sent (section 7.4) or the reason exceeds 123 bytes.
        """
        payload = code.to_bytes(2, "big") + reason.encode(errors="replace") if _is_close_code(code) else b""
        if not 2 <= len(payload) <= _CONTROL_BYTES:
            raise LocalProtocolError(f"a connection cannot be closed with code {code} and reason {reason!r}")
        self._close(payload)

    def bytes_to_send(self) -> bytes:
        """Return what is to be sent, and forget it: b"" when nothing is.

        Of the pings since the last call only the latest is answered, as section 5.5.3 allows: a flood of
        pings makes no flood of pongs. The pong goes first, since nothing should follow a close frame.
        """
        if self._pong is not None:
            self._out.insert(0, self._masked_frame(_PONG, self._pong))
            self._pong = None
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _texts(self, data: bytes, at: int, messages: list[bytes]) -> int:
        """Take unfragmented text frames below 64 KiB from `at` on; return where the first other one begins.

        One call reads a head as two numbers: the kind with the short length, and the long length if there is
        one. The loop does not ask whether a frame is whole: if one is not, it is the last, and is taken back.
        Nor does it look at UTF-8: one `isascii` of all messages settles it, Kraken's text being ASCII mostly.
        """
        short, long = self._text, self._text + 126
        first, begin, end = len(messages), at, len(data)
        head, last = _two_numbers, end - 4
        while at <= last:
            kind, length = head(data, at)
            if kind == long:
                if length < 126:
                    break
                start = at + 4
            elif short <= kind < long:
                length = kind - short
                start = at + 2
            else:
                break
            begin = at
            at = start + length
            messages.append(data[start:at])
        if at > end:  # a slice stops where the data does: the last one is not whole
            messages.pop()
            at = begin
        if not b"".join(messages[first:] if first else messages).isascii():
            for index in range(first, len(messages)):
                if not _is_utf8(messages[index]):
                    del messages[index:]
                    raise _not_utf8()
        return at

    def _frame(self, data: bytes, at: int, messages: list[bytes]) -> int:
        """Take the one frame at `at`, of any kind; return where the next begins.

        An unfinished frame is left alone: `at` is returned, and `_needed` is what it takes to get further.
        """
        available = len(data) - at
        self._needed = 2
        if available < 2:
            return at
        first, length = data[at], data[at + 1]
        self._check_kind(first, length)
        start = at + 2
        if length >= 126:
            width = 2 if length == 126 else 8
            self._needed += width
            start += width
            if available < self._needed:
                return at
            length = int.from_bytes(data[at + 2 : start], "big")
            _check_length(length, width)
        opcode = first & 0x0F
        if opcode < _CLOSE:
            self._check_size(length)
        self._needed += length
        if available < self._needed:
            return at
        payload = data[start : start + length]
        if opcode < _CLOSE:
            self._data(payload, bool(first & _FIN), messages)
        elif opcode == _PING:
            self._pong = payload
        elif opcode == _CLOSE:
            self._closed(payload)
            return len(data)  # nothing behind it counts
        return start + length

    def _check_kind(self, first: int, second: int) -> None:
        """Refuse what the first two bytes already show to be wrong (section 5.2)."""
        opcode = first & 0x0F
        if first & 0x70:
            raise RemoteProtocolError(f"a frame arrived with reserved bits set (first byte 0x{first:02x})")
        if second & 0x80:
            raise RemoteProtocolError("a masked frame arrived, but a server must not mask")
        if opcode >= _CLOSE:
            if opcode > _PONG:
                raise RemoteProtocolError(f"a frame arrived with the unknown opcode 0x{opcode:x}")
            if not first & _FIN or second > _CONTROL_BYTES:
                raise RemoteProtocolError(
                    "a control frame arrived that is fragmented or longer than 125 bytes"
                )
        elif opcode > _BINARY:
            raise RemoteProtocolError(f"a frame arrived with the unknown opcode 0x{opcode:x}")
        elif (opcode == _CONTINUATION) != (self._fragments is not None):
            raise RemoteProtocolError("a message began within another, or went on without having begun")
        elif opcode == _BINARY:
            raise RemoteProtocolError("a binary message arrived, but this API sends text only", 1003)

    def _check_size(self, length: int) -> None:
        size = length + len(self._fragments or b"")
        if size > self._max_message_bytes:
            raise RemoteProtocolError(
                f"a message of {size} bytes or more arrived, above the limit of {self._max_message_bytes}",
                1009,
            )

    def _data(self, payload: bytes, is_last: bool, messages: list[bytes]) -> None:
        if self._fragments is not None:
            self._fragments += payload
            if not is_last:
                return
            payload = bytes(self._fragments)
            self._fragments = None
            self._text = self._expected
        elif not is_last:
            self._fragments = bytearray(payload)
            self._text = _NO_TEXT
            return
        if not _is_utf8(payload):
            raise _not_utf8()
        messages.append(payload)

    def _closed(self, payload: bytes) -> None:
        """Take the other side's close frame (section 5.5.1), and echo it unless it is an echo itself."""
        code, reason = int.from_bytes(payload[:2], "big"), payload[2:]
        if payload and (len(payload) < 2 or not _is_close_code(code)):
            raise RemoteProtocolError(
                "a close frame arrived with a code that must not be sent, or half a code"
            )
        if not _is_utf8(reason):
            raise RemoteProtocolError("a close frame arrived whose reason is not UTF-8", 1007)
        self.close_code = code if payload else 1005
        self.close_reason = reason.decode()
        self._close(payload[:2])
        self._over = True

    def _fail(self, violation: RemoteProtocolError) -> None:
        self.failure = violation
        self._close(violation.close_code.to_bytes(2, "big") + str(violation).encode()[: _CONTROL_BYTES - 2])
        self._over = True
        self._chunks.clear()
        self._fragments = None

    def _close(self, payload: bytes) -> None:
        if self.open:
            self._send(_CLOSE, payload)
            self._close_sent = True

    def _send(self, opcode: int, payload: bytes) -> None:
        if self._close_sent or self._over:
            raise LocalProtocolError("nothing can be sent any more: the connection is closing or closed")
        self._out.append(self._masked_frame(opcode, payload))

    def _masked_frame(self, opcode: int, payload: bytes) -> bytes:
        size = len(payload)
        if size < 126:
            head = bytes((_FIN | opcode, 0x80 | size))
        elif size <= 0xFFFF:
            head = _medium_head(_FIN | opcode, 0x80 | 126, size)
        else:
            head = bytes((_FIN | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
        key = self._mask()
        # One exclusive-or of two long integers: byte by byte would be fifty times slower.
        pad = (key * (size // 4 + 1))[:size]
        masked = int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")
        return head + key + masked.to_bytes(size, "little")


def _check_length(length: int, width: int) -> None:
    """Refuse a length that 7 or 16 bits could have said, or one beyond 63 bits (section 5.2)."""
    if length < 126 or (width == 8 and length <= 0xFFFF):
        raise RemoteProtocolError(f"a frame arrived whose length {length} is not in its shortest form")
    if length >> 63:
        raise RemoteProtocolError("a frame arrived whose length has its highest bit set")


def _is_close_code(code: int) -> bool:
    """Whether a close frame may carry `code` (section 7.4)."""
    return code in _CLOSE_CODES or 3000 <= code <= 4999


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _not_utf8() -> RemoteProtocolError:
    return RemoteProtocolError("a text message arrived that is not UTF-8", 1007)
