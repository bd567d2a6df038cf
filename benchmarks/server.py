"""The load generator: an exchange on loopback that sends frames made beforehand, faster than clients read.

    python benchmarks/server.py CAFILE

serves `ws` and `wss` until its stdin ends, writes the authority to trust into CAFILE, and prints its ports as
JSON. A client that subscribes gets the ack, the first frame, after a pause (what a client imports at its
first data is start-up) the flood, and a close frame. Pings are answered. The path, `/COUNT/WORD/WORD…`, says
how many frames a flood has, and more:

    single   each frame is a write, and so a TLS record, of its own; else they come in large writes
    rate=N   each is a write of its own, N in a second, and bears the moment it left

Each flood is told on stdout as JSON: when it began, in nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
import time
from base64 import b64encode
from hashlib import sha1
from itertools import accumulate, cycle, islice, pairwise
from os.path import abspath, dirname

sys.path.append(dirname(dirname(abspath(__file__))))  # behind the package, whose name krakenws.py bears

from benchmarks.frames import Stream, stamped_trade, stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

WRITE_BYTES = 1 << 18
PAUSE_S = 0.08
PATIENCE_S = 30.0
_TEXT, _CLOSE = 0x81, 0x88
_GREETING = (
    b'{"connectionID":17843232920108168701,"event":"systemStatus","status":"online","version":"1.9.6"}'
)


def frame(payload: bytes, first: int = _TEXT) -> bytes:
    """Return a server's frame: never masked."""
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    return struct.pack(">BBH" if length < 65536 else ">BBQ", first, 126 + (length > 65535), length) + payload


class Flood:
    """A stream as bytes on the wire, any number of its frames at hand without work."""

    def __init__(self, source: Stream) -> None:
        frames = [frame(payload) for payload in source.cycle]
        self.first = frame(source.first)
        self._ends = [0, *accumulate(map(len, frames))]
        self._wire = b"".join(frames)

    def frames(self, count: int) -> Iterator[memoryview]:
        """Give so many frames, one by one."""
        wire, spans = memoryview(self._wire), pairwise(self._ends)
        yield from (wire[at:end] for at, end in islice(cycle([*spans]), count))

    def writes(self, count: int) -> Iterator[memoryview]:
        """Give the bytes of so many frames, in large pieces."""
        rounds, rest = divmod(count, len(self._ends) - 1)
        for size in [len(self._wire)] * rounds + [self._ends[rest]]:
            wire = memoryview(self._wire)[:size]
            yield from (wire[at : at + WRITE_BYTES] for at in range(0, size, WRITE_BYTES))


class Connection:
    """One client, from its upgrade request to its end."""

    def __init__(self, sock: socket.socket, floods: dict[str, Flood]) -> None:
        self._sock = sock
        self._floods = floods
        self._received = b""
        count, *words = self._upgrade().removeprefix("/").split("/")
        self._count = int(count or 0)
        self._wanted = {name: value for name, _, value in (word.partition("=") for word in words)}

    def run(self) -> None:
        """Serve it until it leaves."""
        self._sock.sendall(frame(_GREETING))
        while (message := self._message()) is not None:
            if message.get("event") == "ping":
                pong = {"event": "pong", **{k: v for k, v in message.items() if k == "reqid"}}
                self._sock.sendall(frame(json.dumps(pong).encode()))
            elif message.get("event") == "subscribe":
                self._subscribe(message)

    def _upgrade(self) -> str:
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        request, *lines = head.decode("ascii").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        digest = sha1(fields["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        answer = ("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        accept = f"Sec-WebSocket-Accept: {b64encode(digest).decode()}"
        self._sock.sendall(("HTTP/1.1 " + "\r\n".join((*answer, accept)) + "\r\n\r\n").encode())
        return request.split(" ")[1]

    def _receive(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionError("the client is gone")
        self._received += data

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._receive()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _message(self) -> dict[str, Any] | None:
        """Return the next message, None when the client closes."""
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(self._take(2), "big")
        key, masked = self._take(4), self._take(length)
        if first == _CLOSE:
            self._sock.sendall(frame(b"\x03\xe8", _CLOSE))
            return None
        message: dict[str, Any] = json.loads(bytes(byte ^ key[at % 4] for at, byte in enumerate(masked)))
        return message

    def _subscribe(self, asked: dict[str, Any]) -> None:
        subscription: dict[str, Any] = asked["subscription"]
        channel = "-".join(str(subscription[name]) for name in ("name", "depth") if name in subscription)
        ack = {
            "channelID": 340,
            "channelName": channel,
            "event": "subscriptionStatus",
            "status": "subscribed",
        }
        for pair in asked["pair"]:
            self._sock.sendall(
                frame(json.dumps({**ack, "pair": pair, "subscription": subscription}).encode())
            )
        flood, count = self._floods[channel], self._count
        self._sock.sendall(flood.first)
        time.sleep(PAUSE_S if count else 0.0)
        print(json.dumps({"began_ns": time.monotonic_ns()}), flush=True)
        if rate := self._wanted.get("rate"):
            self._send_paced(count, float(rate))
        else:
            for piece in flood.frames(count) if "single" in self._wanted else flood.writes(count):
                self._sock.sendall(piece)
        self._sock.sendall(frame(b"\x03\xe8", _CLOSE))

    def _send_paced(self, count: int, rate: float) -> None:
        began = time.monotonic()
        for number in range(count):
            wait = began + number / rate - time.monotonic()
            if wait > 0.0:
                time.sleep(wait)
            self._sock.sendall(frame(stamped_trade(time.monotonic_ns())))


def _tls(cafile: str) -> ssl.SSLContext:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(cafile)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def _listen(listener: socket.socket, tls: ssl.SSLContext | None, floods: dict[str, Flood]) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock, tls, floods), daemon=True).start()


def _serve(sock: socket.socket, tls: ssl.SSLContext | None, floods: dict[str, Flood]) -> None:
    sock.settimeout(PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if tls is not None:
            sock = tls.wrap_socket(sock, server_side=True)
        Connection(sock, floods).run()
    except OSError:
        pass  # clients leave as they like; who measures looks at their output
    finally:
        sock.close()


def main() -> None:
    floods = {channel: Flood(stream(channel)) for channel in ("ticker", "trade", "book-10", "book-1000")}
    ports = {}
    for scheme, tls in (("ws", None), ("wss", _tls(sys.argv[1]))):
        listener = socket.create_server(("127.0.0.1", 0))
        ports[scheme] = listener.getsockname()[1]
        threading.Thread(target=_listen, args=(listener, tls, floods), daemon=True).start()
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
