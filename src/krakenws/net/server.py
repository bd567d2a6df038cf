"""Serves any venue over WebSockets: API v1 at `/` (public) and `/auth` (private), plain or TLS.

One task drives the venue and all its clients by the earliest of their deadlines; a connection's own task only
receives. What a turn gathers for a client leaves in one write, however many frames it is.

A reader that falls behind is bounded by its write buffer. A venue with a clock of its own does not wait: such
a reader is cut. A patient venue (a replay at full speed) waits until its readers have room, and cuts one that
takes nothing at all for `STALL_S`.
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
import ssl
from typing import TYPE_CHECKING

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from krakenws.errors import UsageError
from krakenws.exchange.protocol import ServerProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from websockets.asyncio.server import Server as WebSocketServer
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from krakenws.exchange.protocol import Venue

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
_PATHS = {"": False, "/auth": True}

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
        frames = self.protocol.frames_to_send()
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
    """

    def __init__(self, venue: Venue) -> None:
        self.cut = 0
        self._venue = venue
        self._clients: set[_Client] = set()
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
        ) as websockets:
            bound = websockets.sockets[0].getsockname()
            try:
                yield bound[0], bound[1]
            finally:
                await self._close(websockets)

    async def drive(self) -> None:
        """Let time pass for the venue and its clients; returns when the venue is finished."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            deadline = self._venue.next_deadline()
            if deadline is not None and deadline <= now:
                self._venue.on_deadline(now)
            for client in self._clients:
                client.protocol.on_deadline(now)
            await self._flush_all()
            if self._venue.finished:
                return
            await self._sleep_until(self._next_deadline())

    def _next_deadline(self) -> float | None:
        deadlines = [client.protocol.next_deadline() for client in self._clients]
        deadline = self._venue.next_deadline()
        return min(deadlines if deadline is None else [deadline, *deadlines], default=None)

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
            backlog_bytes = client.flush()
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

    def _cut(self, client: _Client) -> None:
        self.cut += 1
        self._clients.discard(client)
        client.connection.transport.abort()

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse paths that are no endpoint; the place where a venue's REST calls will be answered."""
        path = request.path.partition("?")[0].rstrip("/")
        if path in _PATHS:
            return None
        return connection.respond(404, "API v1 is served at / (public) and /auth (private)\n")

    async def _handle(self, connection: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        assert connection.request is not None  # noqa: S101 - there is one once the handshake is done
        path = connection.request.path.partition("?")[0].rstrip("/")
        protocol = ServerProtocol(
            self._venue, private=_PATHS[path], connection_id=secrets.randbits(64), now=loop.time()
        )
        client = _Client(connection, protocol)
        self._clients.add(client)
        try:
            client.flush()
            self._wake.set()
            while True:
                frame = await connection.recv(decode=False)
                protocol.receive(frame, loop.time())
                client.flush()
                self._wake.set()
        except ConnectionClosed:
            pass
        finally:
            self._clients.discard(client)
            protocol.closed(loop.time())

    async def _close(self, websockets: WebSocketServer) -> None:
        """Say goodbye (1001) to all at once; who does not answer in time is cut off."""
        websockets.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await websockets.wait_closed()
        for client in self._clients:
            client.connection.transport.abort()


def run(venue: Venue, host: str, port: int, tls: tuple[str, str] | None, ready: Callable[[str], None]) -> int:
    """Serve a venue until it is finished, or until SIGINT or SIGTERM.

    Args:
        venue: what is served.
        host: the address to listen on.
        port: its port; 0 takes any free one.
        tls: PEM files of the certificate chain and of its key, or None.
        ready: called with the public endpoint's URL once connections are accepted.

    Returns:
        How many readers were cut because they fell behind.

    Raises:
        UsageError: the certificate or its key cannot be used, or the address cannot be listened on.
    """
    context = None if tls is None else _tls_context(*tls)
    return asyncio.run(_run(venue, host, port, context, ready))


async def _run(
    venue: Venue, host: str, port: int, tls: ssl.SSLContext | None, ready: Callable[[str], None]
) -> int:
    server = Server(venue)
    async with contextlib.AsyncExitStack() as stack:
        try:
            bound_host, bound_port = await stack.enter_async_context(server.listen(host, port, tls))
        except OSError as error:
            raise UsageError(_cannot_listen(host, port, error)) from None
        driving = asyncio.ensure_future(server.drive())
        _on_signals(driving.cancel)
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
