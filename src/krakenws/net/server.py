"""Serves any venue over WebSockets: API v1 at `/` (public) and `/auth` (private), plain or TLS; API v2 below.

A venue that has a REST API has it answered on the same port (`door.py`), and one that can have faults has
them made here, where there are sockets to freeze, break and half-write. Who has neither pays for neither.

One task drives the venue and all its clients by the earliest of their deadlines; a connection's own task only
receives. What a turn gathers for a client leaves in one write, however many frames it is.

A reader that falls behind is bounded by its write buffer. A venue with a clock of its own does not wait: such
a reader is cut. A patient venue (a replay at full speed) waits until its readers have room, and cuts one that
takes nothing at all for `STALL_S`.

A mistake of ours in serving one client costs that client: it is closed with 1011, and standard error is told
why. One in the venue's own doings ends the server, for then nobody could trust what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import secrets
import signal
import socket
import ssl
import struct
import sys
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.protocol import State

from krakenws.errors import UsageError, place_of
from krakenws.exchange.fault_rules import CLOSE, FREEZE
from krakenws.exchange.faults import Page
from krakenws.exchange.limits import Visitors
from krakenws.exchange.protocol import ServerProtocol
from krakenws.exchange.v1 import V1
from krakenws.exchange.v2 import V2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from websockets.asyncio.server import Server as WebSocketServer
    from websockets.http11 import Request

    from krakenws.exchange.faults import End, FaultPlan, Line
    from krakenws.exchange.protocol import Venue
    from krakenws.exchange.rest import HttpRequest, HttpResponse
    from krakenws.net.door import Door

MAX_REQUEST_BYTES = 1024 * 1024
BACKLOG_BYTES = 16 * 1024 * 1024
"""What a slow reader may leave untaken before it is cut; above one snapshot of every pair."""
WRITE_BUFFER_BYTES = 256 * 1024
"""What a patient venue leaves untaken before it waits."""
STALL_S = 10.0
CLOSE_S = 0.3
"""How long a closing handshake may take: the whole server ends within a second."""
BURST_FRAMES = 32
"""So many frames at once get their headers here, three times as fast as in `websockets`. Fewer are framed by
`websockets`, whose independence keeps our client honest."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends RST instead of FIN."""
_PATHS = {
    f"{endpoint}{dialect.client.path}": (dialect, is_private)
    for dialect in (V1, V2)
    for endpoint, is_private in (("", False), ("/auth", True))
}

_log = logging.getLogger("krakenws.server")
_log.addHandler(logging.NullHandler())  # else refused handshakes would be printed


class _Client:
    """One connection and its conversation."""

    __slots__ = ("connection", "protocol")

    def __init__(self, connection: ServerConnection, protocol: ServerProtocol) -> None:
        self.connection = connection
        self.protocol = protocol

    def flush(self) -> int:
        """Write what has gathered and return the bytes the reader has not taken yet."""
        return self._write(self.protocol.frames_to_send())

    def receive(self, frame: bytes, now: float) -> None:
        """Take in one frame of the client."""
        self.protocol.receive(frame, now)

    def _write(self, frames: list[bytes]) -> int:
        transport = self.connection.transport
        websocket = self.connection.protocol
        if frames and websocket.state is State.OPEN:
            if len(frames) < BURST_FRAMES:
                for frame in frames:
                    websocket.send_text(frame)
                transport.write(b"".join(websocket.data_to_send()))
            else:
                transport.write(b"".join([part for frame in frames for part in (_header(len(frame)), frame)]))
        return transport.get_write_buffer_size()


class _FaultyClient(_Client):
    """A connection to which faults may happen.

    Attributes:
        line: what they do to it.
    """

    __slots__ = ("_is_ended", "_server", "line")

    def __init__(
        self, connection: ServerConnection, protocol: ServerProtocol, line: Line, server: Server
    ) -> None:
        super().__init__(connection, protocol)
        self.line = line
        self._server = server
        self._is_ended = False

    def flush(self) -> int:
        if self._is_ended:
            return 0
        if not self.line.plan.active:
            return super().flush()
        now = asyncio.get_running_loop().time()
        left_bytes = self._write(self.line.outgoing(self.protocol.frames_to_send(), now))
        if self.line.end is not None:
            self._is_ended = True
            self._server.end(self, self.line.end)
        return left_bytes

    def receive(self, frame: bytes, now: float) -> None:
        if self.line.end is None:
            self.protocol.receive(frame, now)


def _directory(apis: tuple[int, ...]) -> str:
    """Return where what is, for who asked elsewhere."""
    return "".join(
        f"API v{client.api} is served at {client.path or '/'} (public) and /auth{client.path} (private)\n"
        for client in (V1.client, V2.client)
        if client.api in apis
    )


@functools.lru_cache(maxsize=4096)
def _header(length_bytes: int) -> bytes:
    """Return the header of a whole, unmasked text frame: there are no extensions. Source: RFC 6455, 5.2."""
    if length_bytes < 126:
        return bytes((0x81, length_bytes))
    if length_bytes < 65536:
        return b"\x81\x7e" + length_bytes.to_bytes(2)
    return b"\x81\x7f" + length_bytes.to_bytes(8)


class Server:
    """Runs one venue for any number of connections.

    Attributes:
        cut: readers that were disconnected because they fell behind.
        failed: how often serving a client failed, by a mistake of our own; it was disconnected.
    """

    def __init__(self, venue: Venue) -> None:
        self.cut = 0
        self.failed = 0
        self._venue = venue
        self._status = venue.status
        self._clients: set[_Client] = set()
        self._frozen: set[_FaultyClient] = set()
        self._doors: set[Door] = set()
        self._visitors = None if venue.limits is None else Visitors(venue.limits)
        self._wake = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listen(
        self, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[tuple[str, int]]:
        """Accept connections while the context lasts; gives the address that is bound (port 0: any free one).

        Raises:
            OSError: the address cannot be bound.
        """
        async with serve(
            self._handle,
            host,
            port,
            ssl=tls,
            compression=None,
            process_request=self._process_request,
            max_size=MAX_REQUEST_BYTES,
            ping_interval=None,  # idle connections are ended by Kraken's own rule
            close_timeout=CLOSE_S,
            write_limit=WRITE_BUFFER_BYTES,
            server_header=None,
            logger=_log,
            create_connection=None if self._venue.rest is None else self._door,  # type: ignore[arg-type]  # a wrapper may be given
        ) as websockets:
            bound = websockets.sockets[0].getsockname()
            try:
                yield bound[0], bound[1]
            finally:
                await self._close(websockets)

    async def drive(self) -> None:
        """Let time pass for the venue and its clients; returns when the venue is finished."""
        loop = asyncio.get_running_loop()
        faults = self._venue.faults
        while True:
            now = loop.time()
            if faults is not None and faults.active:
                self._suffer(faults, now)
            deadline = self._venue.next_deadline()
            if deadline is not None and deadline <= now:
                self._venue.on_deadline(now)
            is_news = self._venue.status != self._status
            self._status = self._venue.status
            for client in tuple(self._clients):
                try:
                    if is_news:
                        client.protocol.announce_status()
                    client.protocol.on_deadline(now)
                except Exception as error:  # noqa: BLE001 - the others must outlive it
                    self._fail(client, error)
            await self._flush_all()
            if self._venue.finished:
                return
            await self._sleep_until(self._next_deadline())

    def _next_deadline(self) -> float | None:
        deadlines = [client.protocol.next_deadline() for client in self._clients]
        deadline = self._venue.next_deadline()
        if deadline is not None:
            deadlines.append(deadline)
        faults = self._venue.faults
        deadline = faults.next_deadline() if faults is not None and faults.active else None
        if deadline is not None:
            deadlines.append(deadline)
        return min(deadlines, default=None)

    def _suffer(self, faults: FaultPlan, now: float) -> None:
        """Let the venue's own faults happen, and break the frozen connections if faults were cleared."""
        faults.on_deadline(now)
        self._venue.suffer(faults, now)
        for client in tuple(self._frozen):
            if client.line.end is not None and client.line.end.how != FREEZE:
                self.end(client, client.line.end)

    def end(self, client: _FaultyClient, end: End) -> None:
        """End a connection as a fault has it. The venue is told at once, the client finds out."""
        transport, loop = client.connection.transport, asyncio.get_running_loop()
        if end.how == CLOSE and end.code != 1006:
            client.protocol.close = (end.code, end.reason)
            return
        self._clients.discard(client)
        self._frozen.discard(client)
        client.protocol.forsake(loop.time())
        if end.half:
            transport.write(_header(len(end.half)) + end.half[: len(end.half) // 2])
        if end.how == FREEZE:
            transport.pause_reading()
            self._frozen.add(client)
        elif end.how == CLOSE:
            transport.close()
            loop.call_later(CLOSE_S, transport.abort)  # it may not be reading
        else:
            with contextlib.suppress(OSError):  # the client may have been faster
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
                )
            transport.abort()

    async def _sleep_until(self, deadline: float | None) -> None:
        """Return at the deadline, or when a client's request may have moved it."""
        loop = asyncio.get_running_loop()
        if deadline is not None and deadline <= loop.time():
            await asyncio.sleep(0)
            return
        timer = None if deadline is None else loop.call_at(deadline, self._wake.set)
        await self._wake.wait()
        self._wake.clear()
        if timer is not None:
            timer.cancel()

    async def _flush_all(self) -> None:
        for client in tuple(self._clients):
            try:
                backlog_bytes = client.flush()
            except Exception as error:  # noqa: BLE001 - the others must outlive it
                self._fail(client, error)
                continue
            if self._venue.patient and backlog_bytes > WRITE_BUFFER_BYTES:
                try:
                    async with asyncio.timeout(STALL_S):
                        await client.connection.drain()
                except TimeoutError:
                    self._cut(client)
                except OSError:
                    pass  # the connection broke while we waited; its own task ends it
            elif backlog_bytes > BACKLOG_BYTES:
                self._cut(client)
            if client.protocol.close is not None:
                self._say_goodbye(client, *client.protocol.close)

    def _say_goodbye(self, client: _Client, code: int, reason: str) -> None:
        """Start the closing handshake without waiting for its end, which is bounded."""
        self._clients.discard(client)
        if client.connection.protocol.state is State.OPEN:
            client.connection.protocol.send_close(code, reason)
            client.connection.send_data()
        asyncio.get_running_loop().call_later(CLOSE_S, client.connection.transport.abort)

    def _fail(self, client: _Client, error: Exception) -> None:
        """Give up a client that a mistake of ours kept from being served."""
        self._report(error)
        self._forget(client)
        self._say_goodbye(client, 1011, "internal error")

    def _report(self, error: Exception) -> None:
        """Tell of a mistake of ours: its kind and place, as its text may hold a secret."""
        self.failed += 1
        with contextlib.suppress(Exception):  # a closed standard error, a truth log that is full
            print(
                "krakenws: a client was disconnected by a defect of this server"
                f" ({type(error).__name__} at {place_of(error)}), the others are served on",
                file=sys.stderr,
            )
            self._venue.failed(error, asyncio.get_running_loop().time())

    def _cut(self, client: _Client) -> None:
        self.cut += 1
        self._clients.discard(client)
        client.connection.transport.abort()

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse paths that are no endpoint, who comes too often, and where a fault puts a page."""
        path = request.path.partition("?")[0].rstrip("/")
        faults = self._venue.faults
        now = asyncio.get_running_loop().time()
        page = None
        if self._visitors is not None and not self._visitors.admit(connection.remote_address[0], now):
            page = Page(429)
        elif faults is not None and faults.active:
            page = faults.page(path or "/", now, upgrade=True)
        if page is not None:
            headers = Headers({"Content-Type": "text/html; charset=UTF-8", "Connection": "close"})
            headers["Content-Length"] = str(len(page.body))
            return Response(page.status, page.reason, headers, page.body)
        if path in _PATHS and _PATHS[path][0].client.api in self._venue.apis:
            return None
        return connection.respond(404, _directory(self._venue.apis))

    def _door(self, *made_of: Any, **options: Any) -> Door:
        """Return what stands before a new `ServerConnection`, and lets it have WebSocket handshakes only."""
        from krakenws.net.door import Door  # a venue without REST does not need what it imports

        return Door(ServerConnection(*made_of, **options), self._answer, self._doors)

    def _answer(self, request: HttpRequest) -> HttpResponse:
        assert self._venue.rest is not None  # noqa: S101 - else there are no doors
        response = self._venue.rest.answer(request, asyncio.get_running_loop().time())
        self._wake.set()
        return response

    async def _handle(self, connection: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        assert connection.request is not None  # noqa: S101 - there is one once the handshake is done
        dialect, is_private = _PATHS[connection.request.path.partition("?")[0].rstrip("/")]
        protocol = ServerProtocol(
            self._venue,
            private=is_private,
            connection_id=secrets.randbits(64),
            now=loop.time(),
            dialect=dialect,
        )
        line = protocol.line
        client = (
            _Client(connection, protocol) if line is None else _FaultyClient(connection, protocol, line, self)
        )
        self._clients.add(client)
        try:
            self._serve(client)
            while client in self._clients:
                frame = await connection.recv(decode=False)
                if client in self._clients:  # still: it may have been given up meanwhile
                    self._serve(client, frame)
            await connection.wait_closed()
        except ConnectionClosed:
            pass
        finally:
            self._clients.discard(client)
            self._frozen.discard(client)
            self._forget(client)

    def _serve(self, client: _Client, frame: bytes | None = None) -> None:
        """Take in a client's frame, if there is one, and write what there is for it."""
        try:
            if frame is not None:
                client.receive(frame, asyncio.get_running_loop().time())
            client.flush()
        except Exception as error:  # noqa: BLE001 - the others must outlive it
            self._fail(client, error)
        self._wake.set()

    def _forget(self, client: _Client) -> None:
        """Let the venue forget a client that is gone."""
        now = asyncio.get_running_loop().time()
        is_left = False
        while not is_left:
            try:
                client.protocol.closed(now)
                is_left = True
            except Exception as error:  # noqa: BLE001 - the others must outlive it
                self._report(error)
                is_left = not client.protocol.subscriptions  # each try has ended one

    async def _close(self, websockets: WebSocketServer) -> None:
        """Say goodbye (1001) to all at once; who does not answer in time is cut off."""
        websockets.close()
        for door in tuple(self._doors):
            door.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await websockets.wait_closed()
        for client in (*self._clients, *self._frozen):
            client.connection.transport.abort()


def run(
    venue: Venue,
    host: str,
    port: int,
    tls: tuple[str, str] | None,
    ready: Callable[[str], None],
    *,
    until_eof: bool = False,
) -> int:
    """Serve a venue until it is finished, or until SIGINT or SIGTERM.

    Args:
        venue: what is served.
        host: the address to listen on.
        port: its port; 0 takes any free one.
        tls: PEM files of the certificate chain and of its key, or None.
        ready: called with the public endpoint's URL once connections are accepted.
        until_eof: end with standard input as well, so as not to outlive the program that started it.

    Returns:
        How many readers were cut because they fell behind.

    Raises:
        UsageError: the certificate or its key cannot be used, or the address cannot be listened on.
    """
    context = None if tls is None else _tls_context(*tls)
    return asyncio.run(_run(venue, host, port, context, ready, until_eof=until_eof))


async def _run(
    venue: Venue,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    ready: Callable[[str], None],
    *,
    until_eof: bool,
) -> int:
    server = Server(venue)
    async with contextlib.AsyncExitStack() as stack:
        try:
            bound_host, bound_port = await stack.enter_async_context(server.listen(host, port, tls))
        except OSError as error:
            raise UsageError(_cannot_listen(host, port, error)) from None
        driving = asyncio.ensure_future(server.drive())
        _on_signals(driving.cancel)
        if until_eof:
            _on_end_of_input(driving.cancel)
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        ready(f"{'ws' if tls is None else 'wss'}://{shown}:{bound_port}")
        with contextlib.suppress(asyncio.CancelledError):
            await driving
    return server.cut


def _on_signals(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


def _on_end_of_input(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop()

    with contextlib.suppress(NotImplementedError, PermissionError):  # Windows; a file, which never ends
        loop.add_reader(0, look)


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"cannot listen on {host}:{port}: something else does already; choose another port with --listen"
        )
    words = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return f"cannot listen on {host}:{port}: {words}; choose another address with --listen"


def _tls_context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise UsageError(
            f"--tls: {certificate} and {key} are not a PEM certificate and its key ({error.reason})"
        ) from None
    except OSError as error:
        name = certificate if not os.path.exists(certificate) else key
        raise UsageError(f"--tls: cannot read {name}: {error.strerror}") from None
    return context
