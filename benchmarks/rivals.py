"""The clients krakenws is measured beside: each sends a frame, then writes a line for each it receives.

    python benchmarks/rivals.py floor|plain|original|original-blind URL FRAME CAFILE [TEXT]

The close frame ends them; `original` also leaves as soon as a frame contains TEXT. CAFILE may be empty.

floor: the least that plain Python can do: a socket, frames cut by an index loop, one write a read, no checks.
plain: what one writes with the `websockets` library: `recv`, `json.loads`, `print`.
original: the original script's way, with its library `websocket-client`: `recv` and `print` with a prefix.
original-blind: the same, spared its check of UTF-8, whose pure-Python form takes most of its time; an
optional package does it in C.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Read = Callable[[], bytes]
    Send = Callable[[bytes], object]

_READ_BYTES = 65536


def masked(payload: bytes, key: bytes = bytes(4)) -> bytes:
    """Return a client's text frame; a mask of zeros costs nothing."""
    length = len(payload)
    head = bytes((0x81, 0x80 | length)) if length < 126 else b"\x81\xfe" + length.to_bytes(2, "big")
    if any(key):
        pad = (key * (length // 4 + 1))[:length]
        hidden = int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")
        payload = hidden.to_bytes(length, "little")
    return head + key + payload


def connect(url: str, subscribe: str, cafile: str) -> tuple[Read, bytes]:
    """Return what reads from a subscribed connection, and what has come with the upgrade's answer."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    host, _, port = authority.partition(":")
    sock = socket.create_connection((host, int(port)))
    read, send = (
        _in_tls(sock, host, cafile) if scheme == "wss" else (lambda: sock.recv(_READ_BYTES), sock.sendall)
    )
    lines = (f"GET /{path} HTTP/1.1", f"Host: {authority}", "Upgrade: websocket", "Connection: Upgrade")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    send("\r\n".join((*lines, key, "Sec-WebSocket-Version: 13", "", "")).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += read()
    send(masked(subscribe.encode()))
    return read, data.partition(b"\r\n\r\n")[2]


def _in_tls(sock: socket.socket, host: str, cafile: str) -> tuple[Read, Send]:
    """TLS in memory, so that all records of a read leave together."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=cafile).wrap_bio(incoming, outgoing, server_hostname=host)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(_READ_BYTES))
    sock.sendall(outgoing.read())

    def read() -> bytes:
        parts: list[bytes] = []
        while not parts:
            incoming.write(sock.recv(_READ_BYTES))
            try:
                while part := tls.read(_READ_BYTES):
                    parts.append(part)
            except ssl.SSLWantReadError:
                pass
        return b"".join(parts)

    def send(data: bytes) -> None:
        tls.write(data)
        sock.sendall(outgoing.read())

    return read, send


def floor(url: str, subscribe: str, cafile: str) -> None:
    read, data = connect(url, subscribe, cafile)
    write = os.write
    while True:
        lines = []
        at, end = 0, len(data)
        while at + 4 <= end and data[at] == 0x81:
            length = data[at + 1]
            start = at + 2
            if length == 126:
                length = data[at + 2] << 8 | data[at + 3]
                start = at + 4
            elif length == 127:
                length = int.from_bytes(data[at + 2 : at + 10], "big")
                start = at + 10
            if start + length > end:
                break
            at = start + length
            lines.append(data[start:at])
        if lines:
            write(1, b"\n".join(lines) + b"\n")
        if at < end and data[at] != 0x81:
            return
        data = data[at:] + read()


def plain(url: str, subscribe: str, cafile: str) -> None:
    from json import loads

    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect as open_

    context = ssl.create_default_context(cafile=cafile) if cafile else None
    with open_(url, ssl=context, compression=None, max_size=None) as connection:
        connection.send(subscribe)
        try:
            while True:
                print(loads(connection.recv()))
        except ConnectionClosed:
            pass


def original(url: str, frame: str, cafile: str, *, blind: bool = False, until: str = "") -> None:
    library: Any = import_module("websocket")
    tls = {"ca_certs": cafile} if cafile else None
    connection = library.create_connection(url, sslopt=tls, skip_utf8_validation=blind)
    connection.send(frame)
    while message := connection.recv():
        print("WebSocket -> Client: %s" % message)  # noqa: UP031 - as the original has it
        if until and until in message:
            connection.close()
            return


def main() -> None:
    name, url, frame, cafile, *more = sys.argv[1:]
    if name.startswith("original"):
        original(url, frame, cafile, blind=name.endswith("-blind"), until="".join(more))
    else:
        {"floor": floor, "plain": plain}[name](url, frame, cafile)


if __name__ == "__main__":
    main()
