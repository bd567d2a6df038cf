"""One connection to an endpoint, made step by step, so that `doctor` can say where it fails.

Blocking; each step has a deadline, also the one that the system offers only as a call without (a name).
What it does the loop does too, with the same parts: addresses, proxy, TLS, upgrade, greeting.
"""

from __future__ import annotations

from os import urandom
from time import monotonic

from krakenws import __version__
from krakenws.core import dialect as d
from krakenws.core.handshake import Handshake
from krakenws.core.v1 import V1
from krakenws.core.websocket import WebSocket
from krakenws.errors import ConnectionFailed
from krakenws.net.errand import Errand
from krakenws.net.poller import Poller
from krakenws.net.target import resolve
from krakenws.net.transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any, TypeVar

    from krakenws.core.dialect import Envelope
    from krakenws.net.target import Address, Target
    from krakenws.options import Options

    T = TypeVar("T")


def bounded(work: Callable[[], T], timeout_s: float, late: str) -> T:
    """Return what a call gives that cannot be interrupted; it goes on in a thread if it takes too long.

    Raises:
        ConnectionFailed: it took longer, which is what `late` says; or whatever the call raises.
    """
    errand = Errand(work, then=lambda: None, late=late, due=None)
    poller = Poller()
    poller.watch(1, errand.watched)
    if not poller.wait(timeout_s):
        errand.close()
        raise ConnectionFailed(f"{late} within {timeout_s:g} s")
    result: T = errand.result()
    return result


def addresses_of(host: str, port: int, timeout_s: float) -> list[Address]:
    """Return the addresses of a host.

    Raises:
        ConnectionFailed: the name does not resolve, or not in time.
    """
    return bounded(lambda: resolve(host, port), timeout_s, f"the name {host} did not resolve")


class Probe:
    """A connection in steps: `connect`, `upgrade`, `hear`, `ask`. A context manager: leaving it closes.

    Args:
        target: where to.
        addresses: of its host, or of its proxy's.
        options: deadlines and authorities; each step may take `connect_timeout_s`.
        environ: where the proxy is looked for.
    """

    def __init__(
        self, target: Target, addresses: list[Address], options: Options, environ: Mapping[str, str]
    ) -> None:
        self._target = target
        self._addresses = addresses
        self._options = options
        self._environ = environ
        self._transport: Transport | None = None
        self._websocket = WebSocket(lambda: urandom(4), options.max_message_bytes)
        self._frames: list[bytes] = []
        self._poller = Poller()

    def __enter__(self) -> Probe:  # noqa: PYI034 - nobody derives from it
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is None:
            return
        if self._websocket.open:
            self._websocket.close()
            self._transport.write(self._websocket.bytes_to_send())
        self._transport.close()

    def connect(self) -> Mapping[str, Any]:
        """Make the connection, with its proxy and TLS; return the certificate, {} without TLS.

        Raises:
            ConnectionFailed: it cannot be made.
            UsageError: the proxy or the file of authorities cannot be used.
        """
        deadline = self._deadline()
        self._transport = transport = Transport(
            self._target, self._addresses, self._options.cafile, self._environ, monotonic()
        )
        while not transport.advance(monotonic()):
            self._wait(transport, deadline, "no connection")
        return transport.certificate

    def upgrade(self) -> None:
        """Ask for the WebSocket.

        Raises:
            ConnectionFailed: the server says no.
            RemoteProtocolError: it says something else.
        """
        transport = self._standing()
        handshake = Handshake(
            self._target.host_header, self._target.path or "/", urandom(16), f"krakenws/{__version__}"
        )
        transport.write(handshake.request)
        deadline = self._deadline()
        while True:
            self._wait(transport, deadline, "no answer to the upgrade")
            data = transport.read()
            if data is None:
                handshake.end()
            rest = handshake.receive(data) if data else None
            if rest is not None:
                self._frames += self._websocket.receive(rest)
                return

    def hear(self, kind: str) -> Envelope:
        """Return the next frame of a kind of `krakenws.core.dialect`; others are passed over.

        Raises:
            ConnectionFailed: none came, or the connection ended.
        """
        transport = self._standing()
        deadline = self._deadline()
        what = "no greeting" if kind == d.STATUS else "no answer"
        while True:
            while self._frames:
                envelope = _opened(self._frames.pop(0))
                if envelope is not None and envelope.kind == kind:
                    return envelope
            if not self._websocket.open:
                reason = self._websocket.failure or f"closed ({self._websocket.close_code})"
                raise ConnectionFailed(f"{self._target.shown}: {what}: {reason}")
            self._wait(transport, deadline, what)
            data = transport.read()
            if data is None:
                raise ConnectionFailed(f"{self._target.shown}: {what}: {transport.cause}")
            self._frames += self._websocket.receive(data)

    def ask(self, frame: bytes, kind: str) -> Envelope:
        """Send a frame, and return the next of a kind.

        Raises:
            ConnectionFailed: as `hear`.
        """
        self._websocket.send(frame)
        self._standing().write(self._websocket.bytes_to_send())
        return self.hear(kind)

    def _standing(self) -> Transport:
        assert self._transport is not None  # noqa: S101 - `connect` comes first
        return self._transport

    def _deadline(self) -> float:
        return monotonic() + self._options.connect_timeout_s

    def _wait(self, transport: Transport, deadline: float, what: str) -> None:
        now = monotonic()
        if now >= deadline:
            raise ConnectionFailed(
                f"{self._target.shown}: {what} within {self._options.connect_timeout_s:g} s"
            )
        next_at = transport.next_deadline
        self._poller.watch(1, transport.watched())
        self._poller.wait((deadline if next_at is None else min(deadline, max(now, next_at))) - now)
        if transport.unsent:
            transport.flush()


def _opened(frame: bytes) -> Envelope | None:
    try:
        return V1.classify(frame)
    except d.Malformed:
        return None
