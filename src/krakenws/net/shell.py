"""What every shell shares: the way to each endpoint's connection, and what it brings.

A shell drives protocols in real time. There are two: the blocking loop of the command line (`net/loop.py`)
and the one on asyncio behind the Python API (`net/aioshell.py`). How they wait and what they do with events
is their own; greeting, tokens, budget, back-off, renewals and TLS are here.

Nothing here blocks. What the system offers only as a call that blocks (a name to resolve, the REST call for a
token) is an `Errand`: a thread that makes this one call and ends. Such a thread shares nothing with the shell
but its result and the redactor.

A link's way to a connection: budget → token (private links) → name → budget again, spent → socket. One errand
at a time; one that outlasts its attempt serves the next, so that threads and REST calls do not pile up.

A shell's turn: `_obey` each link, wait for what `Link.watched` names or until `_due`, then `_service`,
`_return` or `_fill` what is ready, and `_tick` what is due.
"""

from __future__ import annotations

from itertools import count
from os import environ, urandom
from time import monotonic, time_ns

from krakenws import __version__
from krakenws.core.catalog import PRIVATE, Bound
from krakenws.core.events import Update
from krakenws.core.handshake import Handshake
from krakenws.core.pacing import POLITE_S
from krakenws.core.protocol import CONNECT, ClientProtocol
from krakenws.core.v1_entries import OPEN_ORDERS, OWN_TRADES
from krakenws.core.websocket import WebSocket
from krakenws.errors import ConnectionFailed, CredentialsError, RemoteProtocolError, RequestRejected
from krakenws.net.errand import Errand
from krakenws.net.target import is_address, parse_url, resolve, way_to
from krakenws.net.transport import Transport, load_tls
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Event
    from krakenws.core.redaction import Redactor
    from krakenws.errors import KrakenWSError
    from krakenws.net.backfill import Backfill
    from krakenws.net.credentials import Credentials, Token
    from krakenws.net.target import Address, Target
    from krakenws.options import Options

    class Budget(Protocol):
        """What a shell needs of the shared budget (`krakenws.budget.ConnectionBudget`)."""

        def delay(self, site: str) -> float: ...  # noqa: D102
        def spend(self, site: str) -> float: ...  # noqa: D102
        def spent(self, site: str, wait_s: float) -> str: ...  # noqa: D102


GOODBYE_S = 0.3
"""How long the exchange may take to answer close frames."""
_FOR_EVER = 1_000_000_000
_BLOCKED_S = 60.0
"""After HTTP 403: the address is blocked for minutes, and knocking prolongs it."""
_HEAP_BYTES = 1 << 20
"""Allocated and freed once at the start. One read keeps several buffers of 64 KiB, more than glibc
keeps at the heap's end by default, so that every read would shrink and grow the heap: a third of a raw
stream's time. Freeing one large block teaches glibc to keep more. Its pages are never touched."""


class Link:
    """One endpoint: its protocol, and the connection it has at the moment.

    Attributes:
        key: its API and access.
        looks: it is there for look-ups, not for what the user asked for.
        keeper: what is followed only to keep the connection, or None.
        retryable: whether trying again could help where the last connection failed.
    """

    def __init__(
        self,
        key: tuple[int, str],
        number: int,
        target: Target,
        protocol: ClientProtocol,
        *,
        looks: bool = False,
    ) -> None:
        self.key = key
        self.name = key[1]
        self.looks = looks
        self.number = number
        self.target = target
        self.protocol = protocol
        self.transport: Transport | None = None
        self.handshake: Handshake | None = None
        self.websocket: WebSocket | None = None
        self.errand: Errand | None = None
        self.backfill: Backfill | None = None
        self.token: Token | None = None
        self.keeper: Bound | None = None
        self.renewed = False
        self.stood = False
        self.retryable = True

    def drop(self) -> None:
        """Forget the connection, and the errand that was for it: without one, an errand is for the next."""
        if self.transport is not None:
            self.transport.close()
            self.end_errand()
        self.transport = self.handshake = self.websocket = None

    def end_errand(self) -> None:
        """Want nothing more of the errand."""
        if self.errand is not None:
            self.errand.close()
            self.errand = None


class Shell:
    """Links, and what is done with them between two waits.

    Args:
        options: endpoints and deadlines.
        redactor: cleans what leaves; secrets that credentials find are registered with it.
        credentials: where the token of private links comes from.
        warn: takes a sentence about something that no event tells.
        budget: how often a site may be connected to, or None for as often as the back-off lets us.
    """

    def __init__(
        self,
        options: Options,
        *,
        redactor: Redactor,
        credentials: Credentials,
        warn: Callable[[str], None],
        budget: Budget | None,
    ) -> None:
        bytes(_HEAP_BYTES)
        self._options = options
        self._redactor = redactor
        self._credentials = credentials
        self._warn = warn
        self._budget = budget
        self._links: dict[tuple[int, str], Link] = {}
        self._made = 0
        self._numbers: dict[tuple[int, str], Iterator[int]] = {}

    # ---- what a shell adds

    def _tell(self, link: Link, frames: list[bytes], events: list[Update | Event]) -> None:
        """Take what came: the frames of one read, redacted, and what they mean, in order."""
        raise NotImplementedError

    def _leaving(self, link: Link) -> None:
        """Let leave what is about to: what must not is withdrawn from the protocol here."""

    def _sent(self, link: Link, frames: list[bytes]) -> None:
        """Take frames that have left."""

    def _fail(self, link: Link, error: KrakenWSError) -> None:  # noqa: ARG002 - of a shell that can
        """Do without a link that failed for good, or raise the error."""
        raise error

    def _receive(self, link: Link, frames: list[bytes], received_ns: int, now: float) -> None:
        self._deliver(link, frames, link.protocol.receive(frames, received_ns, now))

    # ---- links

    def _make_link(self, dialect: Dialect, access: str, *, detail: bool, looks: bool = False) -> Link:
        options = replace(self._options, reconnect=_FOR_EVER) if looks else self._options
        url = options.private_url if access == PRIVATE else options.public_url
        # A link takes the place of one that failed, of which orders may still be looked for by their numbers.
        numbers = None if looks else self._numbers.setdefault((dialect.api, access), count(1))
        protocol = ClientProtocol(
            dialect,
            options,
            access,
            jitter=lambda: int.from_bytes(urandom(4), "big") / 2**32,
            detail=detail,
            numbers=numbers,
        )
        target = parse_url(url.rstrip("/") + dialect.path)
        self._made += 1
        return Link((dialect.api, access), self._made, target, protocol, looks=looks)

    def _subscribe(self, link: Link, bound: Bound) -> None:
        if self._options.backfill and bound.entry.rows == "Trade" and link.backfill is None:
            from krakenws.net.backfill import Backfill
            from krakenws.net.rest import RestClient

            link.backfill = Backfill(link.protocol, RestClient(self._options, self._redactor))
        link.protocol.subscribe(bound, monotonic())

    @staticmethod
    def keep(link: Link) -> None:
        """Follow something on a private connection where nobody else does: it would be closed (v1.md 3)."""
        if link.keeper is None and not link.protocol.routes:
            link.keeper = Bound(OWN_TRADES, {"snapshot": False})
            link.protocol.subscribe(link.keeper, monotonic())

    @staticmethod
    def unkeep(link: Link) -> Bound | None:
        """Leave that to somebody else; return what was followed."""
        keeper, link.keeper = link.keeper, None
        if keeper is not None:
            link.protocol.unsubscribe(keeper)
        return keeper

    def _obey(self, link: Link) -> None:
        protocol = link.protocol
        if protocol.token_refused and link.transport is not None and link.errand is None:
            self._renew_token(link)
        if protocol.wants == CONNECT:
            self._connect(link)
        self._send(link)
        if link.transport is not None and not protocol.connected:
            link.drop()

    def _due(self, link: Link) -> float | None:
        """Return when (monotonic) `_tick` wants to be called, or None."""
        transport, errand, backfill = link.transport, link.errand, link.backfill
        due = None
        for at in (
            link.protocol.next_deadline(),
            transport.next_deadline if transport else None,
            errand.due if errand else None,
            backfill.next_deadline() if backfill else None,
        ):
            if at is not None and (due is None or at < due):
                due = at
        return due

    def _tick(self, link: Link, now: float) -> None:
        """Do what is due."""
        transport = link.transport
        next_address_at = transport.next_deadline if transport else None
        if next_address_at is not None and next_address_at <= now:
            self._service(link)
        errand = link.errand
        if errand is not None and errand.due is not None and errand.due <= now:
            errand.due = None
            self._lost(link, f"{errand.late} within {self._options.connect_timeout_s:g} s")
        deadline = link.protocol.next_deadline()
        if deadline is not None and deadline <= now:
            self._deliver(link, [], link.protocol.on_deadline(time_ns(), now))
        if link.backfill is not None:
            link.backfill.on_deadline(now)

    def _fill(self, link: Link) -> None:
        """Tell what REST knows of the trades that a gap lost."""
        if link.backfill is not None:
            filled = link.backfill.collect(time_ns(), monotonic())
            self._tell(link, [], filled)

    # ---- connecting

    def _connect(self, link: Link) -> None:
        link.drop()
        link.stood = False
        errand = link.errand
        if errand is not None:  # of the attempt before: what it brings serves this one
            errand.due = self._connecting(link)
            if not errand.watched:
                self._return(link)
        elif self._postpone(link, spend=False):
            return
        elif link.name == PRIVATE:
            find, due = self._credentials.find_token, self._connecting(link)
            self._start(link, find, then=self._take_token, late=self._tokenless, due=due)
        else:
            self._find(link)

    def _connecting(self, link: Link) -> float:
        """Begin a step of the way to a connection; return until when it must be done."""
        now = monotonic()
        link.protocol.connecting(now)
        return now + self._options.connect_timeout_s

    def _postpone(self, link: Link, *, spend: bool) -> bool:
        """Return whether the budget forbids to connect now; if not, and with `spend`, count an attempt."""
        budget, site = self._budget, link.target.site
        if budget is None:
            return False
        wait_s = budget.spend(site) if spend else budget.delay(site)
        if wait_s == 0.0:
            return False
        cause = budget.spent(site, wait_s)
        self._deliver(link, [], link.protocol.postponed(wait_s, cause, time_ns(), monotonic()))
        return True

    def _start(
        self, link: Link, work: Callable[[], Any], *, then: Callable[..., None], late: str, due: float
    ) -> None:
        try:
            link.errand = Errand(work, then=then, late=late, due=due)
        except (OSError, RuntimeError) as error:  # out of descriptors or threads
            self._lost(link, f"the system refused what connecting takes: {error}")

    def _return(self, link: Link) -> None:
        """Go on with what an errand brought; if its attempt was given up, keep that for the next one."""
        errand = link.errand
        if errand is None:
            return
        if not link.protocol.connected:
            errand.watched = ()
            return
        link.errand = None
        try:
            result = errand.result()
        except (ConnectionFailed, RequestRejected) as failed:
            self._lost(link, str(failed), at_least_s=patience_s(failed), retryable=failed.retryable)
        except CredentialsError as failed:
            self._locked_out(link, failed)
        else:
            errand.then(link, result)

    @property
    def _tokenless(self) -> str:
        return f"{self._options.rest_url} gave no token"

    def _take_token(self, link: Link, token: Token) -> None:
        if token.warning and link.token is None:  # once is enough
            self._warn(token.warning)
        link.token = token
        link.renewed = False
        self._find(link)

    def _find(self, link: Link) -> None:
        due = self._connecting(link)
        host, port = way_to(link.target, environ)
        if not is_address(host):
            late = f"the name {host} did not resolve"
            self._start(link, lambda: resolve(host, port), then=self._dial, late=late, due=due)
            load_tls(link.target)
            return
        try:
            addresses = resolve(host, port)
        except ConnectionFailed as failed:
            self._lost(link, str(failed))
        else:
            self._dial(link, addresses)

    def _dial(self, link: Link, addresses: list[Address]) -> None:
        if self._postpone(link, spend=True):  # another process was quicker
            return
        self._connecting(link)
        target = link.target
        try:
            link.transport = Transport(target, addresses, self._options.cafile, environ, monotonic())
        except ConnectionFailed as failed:
            self._lost(link, str(failed))
            return
        agent = f"krakenws/{__version__}"
        link.handshake = Handshake(target.host_header, target.path or "/", urandom(16), agent)

    def _renew_token(self, link: Link) -> None:
        token = link.token
        if token is None or link.renewed or not token.renewable:
            if not link.protocol.idle:
                source = token.source if token else "nowhere"
                refused = f"the exchange refused the token from {source}: fetch a new one"
                self._locked_out(link, CredentialsError(refused))
            return
        link.renewed = True
        due = monotonic() + self._options.connect_timeout_s
        self._start(link, self._credentials.renew, then=self._take_renewed, late=self._tokenless, due=due)

    def _locked_out(self, link: Link, error: CredentialsError) -> None:
        """Without a token there is nothing to wait for, except for look-ups."""
        if link.looks:
            self._lost(link, str(error), at_least_s=POLITE_S)
        else:
            self._fail(link, error)

    def _take_renewed(self, link: Link, token: Token) -> None:
        link.token = token
        link.protocol.renew(token.text.reveal(), monotonic())

    # ---- one link

    def _service(self, link: Link) -> bool:
        """Take what came, as far as this connection is; return whether it was data and nothing else.

        Then nothing is to be done for the link that was not to be done before.
        """
        transport = link.transport
        if transport is None:
            return False
        websocket = link.websocket
        if websocket is None:
            try:
                self._open(link, transport)
            except (ConnectionFailed, RemoteProtocolError) as error:
                if link.websocket is not None:  # --strict, on the first frames
                    raise
                self._lost(link, str(error), at_least_s=patience_s(error), retryable=error.retryable)
            return False
        if transport.unsent:
            transport.flush()
        data = transport.read()
        changes = link.protocol.changes
        if data:
            self._take(link, websocket, data)
        if not websocket.open:
            self._closed(link, websocket)
        elif data is None:
            self._lost(link, transport.cause)
        else:
            return link.protocol.changes == changes and not transport.unsent
        return False

    def _open(self, link: Link, transport: Transport) -> None:
        """Go on with TCP, TLS and the upgrade."""
        handshake = link.handshake
        assert handshake is not None  # noqa: S101 - made with the transport
        if not transport.advance(monotonic()):
            return
        if handshake.request:
            transport.write(handshake.request)
            handshake.request = b""
            return
        data = transport.read()
        if data is None:
            handshake.end()
            raise ConnectionFailed(transport.cause)
        rest = handshake.receive(data) if data else None
        if rest is None:
            return
        link.stood = True
        link.websocket = WebSocket(_masks().__next__, self._options.max_message_bytes)
        link.protocol.opened(monotonic(), link.token.text.reveal() if link.token else "")
        if rest:
            self._take(link, link.websocket, rest)

    def _take(self, link: Link, websocket: WebSocket, data: bytes) -> None:
        """The hot path: one read's bytes become frames, events and one write."""
        frames = websocket.receive(data)
        pong = websocket.bytes_to_send()
        if pong and link.transport is not None:  # before a slow reader makes us wait
            link.transport.write(pong)
        if not frames:
            return
        received_ns, now = time_ns(), monotonic()
        if link.token is not None and not self._options.show_token:
            frames = self._clean(frames)
        self._receive(link, frames, received_ns, now)

    def _clean(self, frames: list[bytes]) -> list[bytes]:
        """Redact what an exchange may echo: all frames of a read at once, as it hardly ever does."""
        clean = self._redactor.clean_bytes
        joined = b"\n".join(frames)  # one frame is passed on as it is
        return frames if clean(joined) is joined else [*map(clean, frames)]

    def _closed(self, link: Link, websocket: WebSocket) -> None:
        if websocket.failure is not None:
            if self._options.strict and not link.looks:
                raise websocket.failure
            self._lost(link, str(websocket.failure))
            return
        code, reason = websocket.close_code, websocket.close_reason
        shown = "".join(character if character.isprintable() else "?" for character in reason)
        self._lost(link, f"closed by the exchange ({code}{f' {shown}' if shown else ''})", code=code)

    def _lost(
        self,
        link: Link,
        cause: str,
        *,
        code: int | None = None,
        at_least_s: float = 0.0,
        final: bool = False,
        retryable: bool = True,
    ) -> None:
        if link.websocket is not None and link.transport is not None:
            link.transport.write(link.websocket.bytes_to_send())
        link.drop()
        link.retryable = retryable
        cause = self._redactor.clean(cause)  # it may quote what the other side said
        told = link.protocol.lost(
            cause, time_ns(), monotonic(), code=code, at_least_s=at_least_s, final=final
        )
        self._deliver(link, [], told)

    def _send(self, link: Link) -> None:
        websocket, transport = link.websocket, link.transport
        if websocket is None or transport is None:
            return
        frames: list[bytes] = []
        if link.protocol.sends and websocket.open:
            self._leaving(link)
            frames = link.protocol.frames_to_send()
        for frame in frames:
            websocket.send(frame)
        out = websocket.bytes_to_send()
        if out:
            transport.write(out)
        if frames:  # only now: it may fail, and what left has left
            self._sent(link, frames)

    def _deliver(self, link: Link, frames: list[bytes], events: list[Update | Event]) -> None:
        if link.backfill is not None:
            link.backfill.heed(events, monotonic())
        self._tell(link, frames, events)

    def _end(self, link: Link) -> bool:
        """Begin to leave; return whether the exchange has a close frame to answer."""
        link.end_errand()
        if link.backfill is not None:
            link.backfill.end()
        websocket, transport = link.websocket, link.transport
        if websocket is None or transport is None:
            return False
        if websocket.open:
            websocket.close()
        transport.write(websocket.bytes_to_send())
        transport.end_writing()
        return True


def _masks() -> Iterator[bytes]:
    """Give 4 random bytes at a time, drawn for 64 frames at once, as each call of the system shows."""
    while True:
        drawn = urandom(256)
        yield from (drawn[at : at + 4] for at in range(0, 256, 4))


def listen(link: Link) -> None:
    """Subscribe to what tells of orders."""
    for channel in (OPEN_ORDERS, OWN_TRADES):
        link.protocol.subscribe(Bound(channel, {}), monotonic())


def failure_of(link: Link) -> ConnectionFailed:
    """Return why a link ended for good: whose failure it was, unless it says so itself."""
    failure, place = link.protocol.failure or "", link.target.shown
    message = failure if place in failure else f"{link.name} endpoint {place}: {failure}"
    return ConnectionFailed(message, retryable=link.retryable)


def prove(events: list[Update | Event]) -> None:
    """Under `--strict` a payload must have its channel's shape, whether or not the output shows its rows."""
    for event in events:
        if isinstance(event, Update) and (flaw := event.flaw()):
            what = f"{event.route.entry.name} {event.route.symbol}".strip()
            raise RemoteProtocolError(f"--strict: unusable frame of {what}: {flaw}")


def patience_s(error: KrakenWSError) -> float:
    """Return how long a refusal asks to be left alone (quirk N2, v1.md section 3)."""
    status = getattr(error, "http_status", None) or 0
    asked_s = getattr(error, "retry_after_s", POLITE_S if isinstance(error, RequestRejected) else 0.0)
    if status == 403:
        return max(asked_s, _BLOCKED_S)
    return max(asked_s, POLITE_S) if status == 429 or status >= 500 else float(asked_s)


def has_closed(websocket: WebSocket, data: bytes) -> bool:
    """Return whether the exchange has said goodbye."""
    websocket.receive(data)
    return websocket.close_code is not None or websocket.failure is not None
