"""A scripted exchange on loopback: each connection runs a plain function that says what the exchange does.

It is independent of krakenws: the `websockets` library reads the upgrade and the frames, so that a client
which breaks the rules is found out. Every fault the wire can have is one call: cut, close, garbage, silence.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from websockets.exceptions import InvalidState
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    Script = Callable[["Connection"], None]

PATIENCE_S = 20.0
"""How long a script waits for a client that owes it something."""
GREETING = '{"connectionID":17843232920108168701,"event":"systemStatus","status":"online","version":"1.9.2"}'


class ClientGone(Exception):
    """The client ended the connection; a script need not expect it."""


class Connection:
    """One client, seen by the exchange.

    Attributes:
        path: what the client asked for.
        headers: its request's headers, names in lower case.
        frames: the texts it sent, in order.
        close_code: the code of its close frame, or None.
        gone: set when the client ended the connection, or the script did.
    """

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self._socket = sock
        self._stopping = stopping
        self._protocol = ServerProtocol(max_size=None)
        self._pending: list[Any] = []
        self._pongs: list[bytes] = []
        self._accepted = False
        self.frames: list[str] = []
        self.close_code: int | None = None
        self.gone = threading.Event()
        self.request = self._read_request()
        self.path = self.request.path
        self.headers = {name.lower(): value for name, value in self.request.headers.raw_items()}

    @property
    def messages(self) -> list[Any]:
        """What the client sent, parsed."""
        return [json.loads(frame) for frame in self.frames]

    def narrow(self, size: int) -> None:
        """Have the system hold no more bytes than that of what was sent and not taken; it doubles them."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    # ---- what a script says

    def accept(self) -> None:
        """Accept the upgrade."""
        if not self._accepted:
            self._accepted = True
            self._protocol.send_response(self._protocol.accept(self.request))
            self._flush()

    def greet(self, status: str = "online") -> None:
        """Accept the upgrade and send the exchange's greeting."""
        self.send(GREETING.replace("online", status))

    def send(self, *messages: object) -> None:
        """Send texts, bytes or JSON values, a frame each."""
        self.accept()
        for message in messages:
            text = message if isinstance(message, str | bytes) else json.dumps(message, separators=(",", ":"))
            data = text.encode() if isinstance(text, str) else text
            with suppress(InvalidState):
                self._protocol.send_text(data)
        self._flush()

    def send_together(self, *messages: str) -> None:
        """Send frames in one write, so that one read may bring them all."""
        self.raw(b"".join(frame_of(message.encode()) for message in messages))

    def raw(self, data: bytes) -> None:
        """Send bytes as they are, valid or not."""
        try:
            self._socket.sendall(data)
        except OSError:
            raise ClientGone from None

    def takes_more(self, within_s: float) -> bool:
        """Whether the client reads on: its buffer has room within so many seconds."""
        return bool(select.select((), (self._socket,), (), within_s)[1])

    def expect(self, **fields: object) -> dict[str, Any]:
        """Return the next message of the client, which must have these fields."""
        self.accept()
        while True:
            for at, frame in enumerate(self._pending):
                if frame.opcode is Opcode.TEXT:
                    del self._pending[: at + 1]
                    message: dict[str, Any] = json.loads(frame.data)
                    for name, value in fields.items():
                        assert message.get(name) == value, f"{name}={value!r} was expected: {frame.data!r}"
                    return message
            self._pending.clear()
            self._receive()

    def expect_pong(self, payload: bytes) -> None:
        """Wait for the answer to a ping."""
        while payload not in self._pongs:
            self._receive()

    def hold(self) -> None:
        """Say nothing more, until the client goes."""
        with suppress(ClientGone):
            while True:
                self._receive()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and see the client off."""
        self.accept()
        self._protocol.send_close(code, reason)
        self._flush()
        self.hold()

    def close_raw(self, payload: bytes) -> None:
        """Send a close frame with any payload."""
        self.accept()
        self.raw(bytes([0x88, len(payload)]) + payload)
        self.hold()

    def reset(self) -> None:
        """Cut the connection hard (RST)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise ClientGone

    def end(self) -> None:
        """End the connection without a close frame (FIN)."""
        self._socket.close()
        raise ClientGone

    # ---- helpers that most scripts need

    def serve(self, *frames: object) -> dict[str, Any]:
        """Greet, acknowledge one subscription, send its data; return the subscription."""
        self.greet()
        asked = self.expect(event="subscribe")
        self.send(*acks(asked), *frames)
        return asked

    # ---- inside

    def _read_request(self) -> Request:
        while True:
            data = self._recv()
            if not data:
                raise ClientGone
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                assert isinstance(event, Request)
                return event

    def _recv(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except TimeoutError:
            raise AssertionError("the client went silent, and the script waited in vain") from None
        except OSError:
            return b""

    def _receive(self) -> None:
        data = self._recv()
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for frame in self._protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.TEXT:
                self.frames.append(bytes(frame.data).decode())
                self._pending.append(frame)
            elif frame.opcode is Opcode.PONG:
                self._pongs.append(bytes(frame.data))
            elif frame.opcode is Opcode.CLOSE and self.close_code is None:
                self.close_code = Close.parse(frame.data).code
        with suppress(ClientGone):
            self._flush()
        if not data:
            self.gone.set()
            raise ClientGone

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.raw(data)
            else:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        """End the script's waiting, whatever it waits for."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Close the socket."""
        self.gone.set()
        self._socket.close()


class ScriptedServer:
    """Runs scripts by path; with several for a path, one a connection, and the last one again.

    Attributes:
        connections: everybody who asked for an upgrade, in order.
        accepted: how many TCP connections there were, upgrades or not.
    """

    def __init__(
        self,
        scripts: dict[str, list[Script]],
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._scripts = scripts
        self._tls = tls
        self._turn: dict[str, int] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: list[Connection] = []
        self._errors: list[BaseException] = []
        self.connections: list[Connection] = []
        self.accepted = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'ws' if tls is None else 'wss'}://{shown}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def at(self, path: str = "/") -> list[Connection]:
        """Return who asked for a path, in order."""
        return [connection for connection in self.connections if connection.path == path]

    def messages(self, path: str = "/") -> list[Any]:
        """Return what clients sent to a path, parsed, in order of connections."""
        return [message for connection in self.at(path) for message in connection.messages]

    def sent(self, event: str, path: str = "/auth") -> list[Any]:
        """Return the messages of one kind that came to a path."""
        return [message for message in self.messages(path) if message.get("event") == event]

    @property
    def options(self) -> list[str]:
        """The options that make the command talk to this server."""
        return ["--public-url", self.url, "--private-url", f"{self.url}/auth"]

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else frames wait for each other's ACK
        connection = None
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            connection = Connection(sock, self._stopping)
            self._open.append(connection)
            self.connections.append(connection)
            self._script_of(connection.path)(connection)
        except (ClientGone, OSError):
            pass
        except BaseException as error:  # noqa: BLE001 - told when the server is left
            if not self._stopping.is_set():
                self._errors.append(error)
        finally:
            if connection is None:
                sock.close()
            else:
                connection.dispose()

    def _script_of(self, path: str) -> Script:
        scripts = self._scripts[path]
        turn = self._turn.get(path, 0)
        self._turn[path] = turn + 1
        return scripts[min(turn, len(scripts) - 1)]

    def stop(self) -> None:
        """Stop; raise what a script found wrong."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(PATIENCE_S)
        for thread in self._threads:  # clients are gone by now, so that scripts end by themselves
            thread.join(1.0)
        self._stopping.set()
        for connection in self._open:
            connection.shut()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if self._errors:
            raise self._errors[0]


@contextmanager
def exchange(
    public: Script | list[Script] | None = None,
    private: Script | list[Script] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    **more: Script | list[Script],
) -> Iterator[ScriptedServer]:
    """Run an exchange: `public` at `/`, `private` at `/auth`, v2 as `v2=` and `auth_v2=`."""
    paths = {"/": public, "/auth": private, **{f"/{name.replace('_', '/')}": s for name, s in more.items()}}
    scripts = {
        path: script if isinstance(script, list) else [script]
        for path, script in paths.items()
        if script is not None
    }
    server = ScriptedServer(scripts, tls=tls, host=host)
    try:
        yield server
    finally:
        server.stop()


def acks(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answers to a v1 subscription: one a pair, one for a private channel."""
    subscription = {name: value for name, value in asked["subscription"].items() if name != "token"}
    number = subscription.get("depth", subscription.get("interval"))
    channel = subscription["name"] + (f"-{number}" if number is not None else "")
    common = {"channelName": channel, "event": "subscriptionStatus", "status": "subscribed"}
    if "reqid" in asked:
        common["reqid"] = asked["reqid"]
    pairs = asked.get("pair")
    if pairs is None:
        return [{**common, "subscription": subscription}]
    return [{"channelID": 336, **common, "pair": pair, "subscription": subscription} for pair in pairs]


def refusal(asked: dict[str, Any], pair: str, error: str) -> dict[str, Any]:
    """Return the refusal of one pair of a v1 subscription."""
    return {
        "errorMessage": error,
        "event": "subscriptionStatus",
        "pair": pair,
        "status": "error",
        "subscription": asked["subscription"],
    }


def frame_of(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """Return a server's frame as bytes, for what no library would send."""
    first = (0x80 if fin else 0) | opcode
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    if len(payload) < 65536:
        return struct.pack(">BBH", first, 126, len(payload)) + payload
    return struct.pack(">BBQ", first, 127, len(payload)) + payload
