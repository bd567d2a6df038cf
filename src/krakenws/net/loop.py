"""The command line's shell: one poll loop over the sockets and one timer; no asyncio.

A frame's way to stdout: one `recv` → every whole frame of it → `ClientProtocol.receive` → one write of the
sink. Nothing is queued; a slow sink slows the socket. Streams and one-shot commands share this loop and
differ only in when they end.

Nothing but the sink blocks it. What the system offers only as a call that blocks (a name to resolve, the REST
call for a token) is an `Errand`: a thread that makes this one call and ends, while the loop serves the other
link, signals and the clock. Such a thread shares nothing with the loop but its result and the redactor.

A link's way to a connection: budget → token (private links) → name → budget again, spent → socket. One errand
at a time; one that outlasts its attempt serves the next, so that threads and REST calls do not pile up.

What trades goes through `net.trading`: it says what may leave, turns answers into verdicts, and looks for
those that are lost, for which the loop keeps a link of its own that no sink hears of. How the run ended is
for `net.verdicts` to say.
"""

from __future__ import annotations

from os import environ, urandom
from time import monotonic, time_ns

from krakenws import __version__
from krakenws.core.catalog import CHANNEL, PRIVATE, Bound, find
from krakenws.core.events import (
    Deferred,
    Disconnected,
    Gap,
    Lagging,
    Refused,
    Rejected,
    Reply,
    Unanswered,
    Update,
    doubt_of,
    lag_of,
)
from krakenws.core.ordercheck import PLACING
from krakenws.core.pacing import POLITE_S
from krakenws.core.protocol import CLOSE, CONNECT, ClientProtocol
from krakenws.core.v1 import ENTRIES, V1
from krakenws.core.websocket import Handshake, WebSocket
from krakenws.errors import (
    ConnectionFailed,
    CredentialsError,
    KrakenWSError,
    RemoteProtocolError,
    RequestRejected,
)
from krakenws.net.errand import Errand
from krakenws.net.lookups import CHANNELS
from krakenws.net.poller import READ, Poller
from krakenws.net.stop import Stopped
from krakenws.net.transport import Transport, is_address, parse_url, resolve, way_to
from krakenws.net.verdicts import Verdicts
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Event, Summary
    from krakenws.core.odometer import Odometer
    from krakenws.core.redaction import Redactor
    from krakenws.net.backfill import Backfill
    from krakenws.net.credentials import Credentials, Token
    from krakenws.net.follow import Follow
    from krakenws.net.poller import HasFileno
    from krakenws.net.stop import Signals
    from krakenws.net.trading import Command, Trading
    from krakenws.net.transport import Address, Target
    from krakenws.options import Options

    class Budget(Protocol):
        """What the loop needs of the shared budget (`krakenws.budget.ConnectionBudget`)."""

        def delay(self, site: str) -> float: ...  # noqa: D102
        def spend(self, site: str) -> float: ...  # noqa: D102
        def spent(self, site: str, wait_s: float) -> str: ...  # noqa: D102

    class EventSink(Protocol):
        """What the loop needs of a sink (`krakenws.sinks.Sink`)."""

        wants_events: bool

        @property
        def waiting(self) -> Sequence[tuple[HasFileno, int]]: ...  # noqa: D102
        def drained(self) -> None: ...  # noqa: D102
        def sent(self, frames: list[bytes]) -> None: ...  # noqa: D102
        def received(self, frames: list[bytes]) -> None: ...  # noqa: D102
        def write(self, events: list[Update | Event]) -> None: ...  # noqa: D102

    class Attendant(Protocol):
        """Who steers a run from beside it: a guard, a session's switchboard. It ends with its signals."""

        keeps: bool
        """Whether commands wait for a connection that must not be made yet, and it gives them up itself."""

        def attend(self, now: float) -> None: ...  # noqa: D102
        def next_deadline(self) -> float | None: ...  # noqa: D102
        def ready(self, key: int) -> None: ...  # noqa: D102
        def outlives(self, api: int, access: str, error: KrakenWSError) -> bool: ...  # noqa: D102

    class Output(Protocol):
        """What the loop needs to know of the descriptor behind it (`krakenws.sinks.Out`)."""

        stood_s: float


_FILLING = 1 << 20
"""What is added to a link's number to watch the errand of its backfill."""
_LOOKING = 1 << 21
"""The key under which the errand of look-ups is watched."""
_GOODBYE_S = 0.3
_BLOCKED_S = 60.0
"""After HTTP 403: the address is blocked for minutes, and knocking prolongs it."""
_HEAP_BYTES = 1 << 20
"""Allocated and freed once at the start of a run. One read keeps several buffers of 64 KiB, more than glibc
keeps at the heap's end by default, so that every read would shrink and grow the heap: a third of a raw
stream's time. Freeing one large block teaches glibc to keep more. Its pages are never touched."""
_OUTPUT = 1 << 30
"""The poller's key for the reader of our output."""
_ATTENDED = 1 << 31
"""What is added to an attendant's key to watch what it waits for."""
_CATCH_UP_S = 1.0
"""Enough to read what a socket's buffer holds after output stood still."""
_FOR_EVER = 1_000_000_000
_TRADED = (V1.api, PRIVATE)
"""Where verdicts come from that no connection brought."""


class Link:
    """One endpoint: its protocol, and the connection it has at the moment.

    Attributes:
        key: its API and access.
        looks: it is there for look-ups, not for what the user asked for.
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
        self.renewed = False
        self.stood = False

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


class Run:
    """Some bound entries, run until they end.

    Args:
        options: endpoints and deadlines.
        sink: takes frames or events.
        out: what the sink writes to.
        redactor: cleans what leaves; secrets that credentials find are registered with it.
        credentials: where the token of private links comes from.
        note: takes a sentence for people (stderr) about an event on the way.
        warn: takes one about something that no event tells.
        tell_lag: takes one about a reader that is too slow; there may be many.
        stop: signals.
        budget: how often a site may be connected to, or None for as often as the back-off lets us.
        trading: what trading commands go through. Without it only those may be added that take away, as a
            guard's, which are in no journal.
        follow: follows the order that is placed to its end, or None.
        count: end after so many data messages, or None.
        for_s: end after so many seconds, or None.
        summarize: takes what each endpoint brought when streams end, or None.
        odometer: foretells the rate counter of trading requests, or None.
        attendant: is called on each turn of the loop and may add entries; then being idle does not end the
            run, nor does an endpoint that fails for good, if the attendant `outlives` it. None: nobody.

    Attributes:
        told: API and access of the link whose events the sink is being given.
    """

    def __init__(
        self,
        options: Options,
        sink: EventSink,
        out: Output,
        *,
        redactor: Redactor,
        credentials: Credentials,
        note: Callable[[str], None],
        warn: Callable[[str], None],
        tell_lag: Callable[[str], None],
        stop: Signals,
        budget: Budget | None = None,
        trading: Trading | None = None,
        follow: Follow | None = None,
        count: int | None = None,
        for_s: float | None = None,
        summarize: Callable[[Summary], None] | None = None,
        odometer: Odometer | None = None,
        attendant: Attendant | None = None,
    ) -> None:
        self.told = (0, "")
        self._made = 0
        self._options = options
        self._sink = sink
        self._out = out
        self._stood_s = 0.0
        self._caught_up_at: float | None = None
        self._redactor = redactor
        self._credentials = credentials
        self._note = note
        self._warn = warn
        self._tell_lag = tell_lag
        self._stop = stop
        self._budget = budget
        self._trading = trading
        self._follow = follow
        self._held_back: list[tuple[Link, Command]] = []
        self._summarize = summarize
        self._odometer = odometer
        self._attendant = attendant
        self._left = count
        self._end_at = None if for_s is None else monotonic() + for_s
        self._links: dict[tuple[int, str], Link] = {}
        self._numbered: dict[int, Link] = {}
        self._poller = Poller()
        self._poller.watch(0, ((stop.wakeup, READ),))
        self._bare: dict[int, Bound] = {}
        self._looker: Link | None = None
        self._streams = False
        self._doubted = ""
        self.verdicts = Verdicts(trading)

    def add(self, dialect: Dialect, bound: Bound) -> int | None:
        """Put an entry on the link of its API and access, which is opened when the run needs it.

        Returns:
            A command's `req_id`; None for what goes through `Trading`, which may have to wait.

        Raises:
            KrakenWSError: it trades and must not be sent (`Trading.prepare`).
        """
        entry = bound.entry
        if entry.trading and self._trading is not None:
            self.order(dialect, bound)
            return None
        assert entry.name not in PLACING  # noqa: S101 - what places an order leaves through `Trading`
        link = self._link(dialect, entry.access)
        if entry.kind == CHANNEL:
            self._streams = True
            if self._options.backfill and entry.rows == "Trade" and link.backfill is None:
                link.backfill = self._make_backfill(link)
            link.protocol.subscribe(bound, monotonic())
            return None
        req_id = link.protocol.request(bound, monotonic())
        if entry.trading:
            self._bare[req_id] = bound
            if self._odometer is not None:
                self._odometer.sending(bound, req_id, time_ns() // 1000)
        return req_id

    def order(self, dialect: Dialect, bound: Bound) -> list[int]:
        """Put a command on its way that trades; return the numbers of the requests that it becomes.

        Raises:
            KrakenWSError: it must not be sent (`Trading.prepare`).
        """
        assert self._trading is not None  # noqa: S101 - the caller gave it
        commands = self._trading.prepare(bound)
        if self._follow is not None:
            link = self._link(dialect, bound.entry.access)
            self._listen(link)
            self._held_back += [(link, command) for command in commands]
            return []
        return [self._request(self._link(dialect, bound.entry.access), command) for command in commands]

    def _request(self, link: Link, command: Command) -> int:
        assert self._trading is not None  # noqa: S101 - whose command it is
        req_id = link.protocol.request(command.bound, monotonic())
        self._trading.expect(command, req_id)
        if self._odometer is not None:
            self._odometer.sending(command.bound, req_id, time_ns() // 1000)
        return req_id

    @staticmethod
    def _listen(link: Link) -> None:
        """Subscribe to what tells of orders."""
        for name in CHANNELS:
            entry = find(ENTRIES, name)
            assert entry is not None  # noqa: S101 - it is there
            link.protocol.subscribe(Bound(entry, {}), monotonic())

    def _link(self, dialect: Dialect, access: str) -> Link:
        key = dialect.api, access
        if key not in self._links:
            self._links[key] = self._make_link(dialect, access)
        return self._links[key]

    def remove(self, bound: Bound) -> None:
        """Want a channel no longer, for each of its pairs."""
        link = self._links.get((bound.entry.api, bound.entry.access))
        if link is not None:
            link.protocol.unsubscribe(bound)

    def give_up(self, key: tuple[int, str], req_id: int) -> bool:
        """Forget a request of an endpoint that has not left; return whether that was so."""
        link = self._links.get(key)
        if link is None or not link.protocol.give_up(req_id):
            return False
        if self._trading is not None:
            self._trading.give_up(req_id)
        return True

    def watch(self, key: int, sockets: Sequence[tuple[HasFileno, int]]) -> None:
        """Wait for these on the attendant's behalf, which is told by `ready` with the same key."""
        self._poller.watch(_ATTENDED + key, sockets)

    @property
    def links(self) -> list[Link]:
        """The endpoints in use, in the order they were needed."""
        return [*self._links.values()]

    def _make_backfill(self, link: Link) -> Backfill:
        from krakenws.net.backfill import Backfill
        from krakenws.net.rest import RestClient

        return Backfill(link.protocol, RestClient(self._options, self._redactor))

    def _make_link(self, dialect: Dialect, access: str, *, looks: bool = False) -> Link:
        private = access == PRIVATE
        options = replace(self._options, reconnect=_FOR_EVER) if looks else self._options
        url = options.private_url if private else options.public_url
        protocol = ClientProtocol(
            dialect,
            options,
            access,
            jitter=lambda: int.from_bytes(urandom(4), "big") / 2**32,
            detail=looks or self._looks_closely,
        )
        protocol.kept = self._attendant is not None and self._attendant.keeps
        target = parse_url(url.rstrip("/") + dialect.path)
        self._made += 1
        link = Link((dialect.api, access), self._made, target, protocol, looks=looks)
        self._numbered[link.number] = link
        return link

    @property
    def _looks_closely(self) -> bool:
        """Whether each data frame matters by itself: to the output, to a count, to the account at the end."""
        counts = self._left is not None or self._summarize is not None or self._follow is not None
        return self._sink.wants_events or self._options.strict or counts

    # ---- the loop

    def run(self) -> None:
        """Run to the end; `judge` then says how it ended.

        Raises:
            KrakenWSError: what broke it off: the sink, credentials, `--strict`.
        """
        bytes(_HEAP_BYTES)
        try:
            while not self._is_over():
                if self._attendant is not None:
                    self._attendant.attend(monotonic())
                self._look()
                for link in self._every():
                    self._obey(link)
                if self._is_over():
                    break
                self._wait()
            self._tell_summaries()
        except Stopped:
            self._tell_summaries()
        finally:
            self._say_goodbye()

    def _tell_summaries(self) -> None:
        if self._summarize is None or not self._streams:
            return
        for link in self._links.values():
            summary = link.protocol.summary(time_ns(), monotonic())
            if summary.channels:
                self._summarize(summary)

    def _every(self) -> list[Link]:
        links = [*self._links.values()]
        return links if self._looker is None else [*links, self._looker]

    def _is_over(self) -> bool:
        if self._stop.urgent:
            return True
        if self._trading is not None and self._trading.busy:  # verdicts are waited for, whatever else happens
            return False
        if self._stop.set or self._left == 0 or (self._follow is not None and self._follow.over):
            return True
        if self._end_at is not None and monotonic() >= self._end_at:
            return True
        idle = self._attendant is None
        for link in self.links:
            protocol = link.protocol
            failed = protocol.wants == CLOSE and protocol.failure
            if failed and not self._goes_on_without(link, ConnectionFailed(_at(link, failed))):
                return True
            idle = idle and protocol.idle
        return idle

    def _fail(self, link: Link, error: KrakenWSError) -> None:
        """End the run, unless somebody attends it who goes on without this link."""
        if self._attendant is None:
            raise error
        self._lost(link, str(error), final=True)
        if not self._goes_on_without(link, error):
            raise error

    def _goes_on_without(self, link: Link, error: KrakenWSError) -> bool:
        """Return whether the run does without a link: what is asked of its endpoint next gets a new one."""
        if self._attendant is None or not self._attendant.outlives(*link.key, error):
            return False
        del self._links[link.key]
        link.drop()
        link.end_errand()
        if link.backfill is not None:
            link.backfill.end()
        self._forget(link)
        return True

    def _forget(self, link: Link) -> None:
        del self._numbered[link.number]
        for key in (link.number, -link.number, link.number + _FILLING):
            self._poller.watch(key, ())

    def _obey(self, link: Link) -> None:
        protocol = link.protocol
        if protocol.token_refused and link.transport is not None and link.errand is None:
            try:
                self._renew_token(link)
            except CredentialsError as refused:
                if not link.looks:
                    raise
                self._lost(link, str(refused), at_least_s=POLITE_S)
        if protocol.wants == CONNECT:
            self._connect(link)
        self._send(link)
        if link.transport is not None and not protocol.connected:
            link.drop()

    def _wait(self) -> None:
        """Wait for bytes or for the next deadline, and take what is there."""
        trading = self._trading
        due = None if trading is not None and trading.busy else self._end_at
        if self._attendant is not None:
            at = self._attendant.next_deadline()
            due = at if due is None or (at is not None and at < due) else due
        if trading is not None:
            looks_at = trading.look_ups.next_deadline()
            if looks_at is not None and (due is None or looks_at < due):
                due = looks_at
            self._poller.watch(_LOOKING, trading.look_ups.watched)
        for link in self._every():
            transport, errand, backfill = link.transport, link.errand, link.backfill
            for at in (
                link.protocol.next_deadline(),
                transport.next_deadline if transport else None,
                errand.due if errand else None,
                backfill.next_deadline() if backfill else None,
            ):
                if at is not None and (due is None or at < due):
                    due = at
            self._poller.watch(link.number, transport.watched() if transport else ())
            self._poller.watch(-link.number, errand.watched if errand else ())
            if backfill is not None:
                self._poller.watch(link.number + _FILLING, backfill.watched)
        self._poller.watch(_OUTPUT, self._sink.waiting)
        if due is not None and self._caught_up_at is not None:
            due = max(due, self._caught_up_at)
        for number in self._poller.wait(None if due is None else max(0.0, due - monotonic())):
            if number >= _ATTENDED:
                assert self._attendant is not None  # noqa: S101 - nobody else watches there
                self._attendant.ready(number - _ATTENDED)
            elif number == _OUTPUT:
                self._sink.drained()
            elif number == _LOOKING and trading is not None:
                self._tell_verdicts(trading.look_ups.collect())
            elif number == 0:
                self._stop.heard()
            elif its := self._numbered.get(abs(number) % _FILLING):  # else it failed a moment ago
                serve = self._fill if number > _FILLING else self._service if number > 0 else self._return
                serve(its)
        now = monotonic()
        if self._caught_up_at is not None:
            if now < self._caught_up_at:
                return
            self._caught_up_at = None
        if due is not None and due <= now:
            self._on_deadline(now)

    def _on_deadline(self, now: float) -> None:
        if self._trading is not None:
            self._tell_verdicts(self._trading.look_ups.on_deadline(now))
        for link in self._every():
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

    # ---- look-ups

    def _look(self) -> None:
        """Tell the verdicts that are known; keep a connection for look-ups while anything is looked for."""
        trading = self._trading
        if trading is None:
            return
        self._tell_verdicts(trading.told())
        if self._held_back and self._follow is not None and self._follow.ready:
            for link, command in self._held_back:
                self._request(link, command)
            self._held_back.clear()
        if trading.look_ups and self._looker is None:
            self._looker = self._make_link(V1, PRIVATE, looks=True)
            self._listen(self._looker)
        elif not trading.look_ups and self._looker is not None:
            self._looker.drop()
            self._looker.end_errand()
            self._forget(self._looker)
            self._looker = None

    def _tell_verdicts(self, events: Sequence[Event]) -> None:
        if events:
            self._write([], [*events])

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
            self._lost(link, str(failed), at_least_s=patience_s(failed))
        except CredentialsError as failed:
            if link.looks:
                self._lost(link, str(failed), at_least_s=POLITE_S)
            else:
                self._fail(link, failed)
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
                self._fail(link, CredentialsError(refused))
            return
        link.renewed = True
        due = monotonic() + self._options.connect_timeout_s
        self._start(link, self._credentials.renew, then=self._take_renewed, late=self._tokenless, due=due)

    def _take_renewed(self, link: Link, token: Token) -> None:
        link.token = token
        link.protocol.renew(token.text.reveal(), monotonic())

    # ---- one link

    def _service(self, link: Link) -> None:
        """Take what came, as far as this connection is."""
        transport = link.transport
        if transport is None:
            return
        websocket = link.websocket
        if websocket is None:
            try:
                self._open(link, transport)
            except (ConnectionFailed, RemoteProtocolError) as error:
                if link.websocket is not None:  # --strict, on the first frames
                    raise
                self._lost(link, str(error), at_least_s=patience_s(error))
            return
        if transport.unsent:
            transport.flush()
        data = transport.read()
        if data:
            self._take(link, websocket, data)
        if not websocket.open:
            self._closed(link, websocket)
        elif data is None:
            self._lost(link, transport.cause)

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
        link.websocket = WebSocket(lambda: urandom(4), self._options.max_message_bytes)
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
        if self._left is None or link.looks:
            self._deliver(link, frames, link.protocol.receive(frames, received_ns, now))
            return
        if self._left == 0:  # only a verdict is waited for
            events = link.protocol.receive(frames, received_ns, now)
            self._deliver(link, [], [event for event in events if type(event) is not Update])
            return
        for frame in frames:
            events = link.protocol.receive([frame], received_ns, now)
            self._deliver(link, [frame], events)
            self._left -= sum(type(event) is Update for event in events)
            if self._left <= 0:
                self._left = 0
                return

    def _clean(self, frames: list[bytes]) -> list[bytes]:
        """Redact what an exchange may echo: all frames of a read at once, as it hardly ever does."""
        joined = b"\n".join(frames)
        clean = self._redactor.clean_bytes
        return frames if clean(joined) == joined else [*map(clean, frames)]

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
    ) -> None:
        if link.websocket is not None and link.transport is not None:
            link.transport.write(link.websocket.bytes_to_send())
        link.drop()
        cause = self._redactor.clean(cause)  # it may quote what the other side said
        told = link.protocol.lost(
            cause, time_ns(), monotonic(), code=code, at_least_s=at_least_s, final=final
        )
        self._deliver(link, [], told)

    def _send(self, link: Link) -> None:
        websocket, transport = link.websocket, link.transport
        if websocket is None or transport is None:
            return
        trading = None if link.looks else self._trading
        if trading is not None and websocket.open:
            trading.leave(link.protocol)
        frames = link.protocol.frames_to_send() if websocket.open else []
        for frame in frames:
            websocket.send(frame)
        out = websocket.bytes_to_send()
        if out:
            transport.write(out)
        if frames and trading is not None:
            trading.left()
        if frames and not self._sink.wants_events and not link.looks:  # only now: what left has left
            shown = frames if self._options.show_token else [*map(self._redactor.clean_bytes, frames)]
            self._sink.sent(shown)

    # ---- what happened

    def _deliver(self, link: Link, frames: list[bytes], events: list[Update | Event]) -> None:
        if link.looks:
            assert self._trading is not None  # noqa: S101 - whose link it is
            self._tell_verdicts(self._trading.look_ups.heed(events))
            return
        if link.backfill is not None:
            link.backfill.heed(events, monotonic())
        if self._odometer is not None and link.name == PRIVATE:
            events = self._odometer.heed(events)
        self._tell(link, frames, events)

    def _tell(self, link: Link, frames: list[bytes], events: list[Update | Event]) -> None:
        if self._trading is not None:
            events = self._trading.heed(events)
        self._write(frames, events, link)

    def _write(self, frames: list[bytes], events: list[Update | Event], link: Link | None = None) -> None:
        if self._follow is not None:
            events = self._follow.heed(events)
        try:
            if not self._sink.wants_events:
                if frames:
                    self._sink.received(frames)
            elif events:
                self.told = _TRADED if link is None else link.key
                self._sink.write(events)
        finally:  # a verdict counts even when it cannot be written
            for event in events:
                if type(event) is not Update:
                    self._heed(link, event)  # type: ignore[arg-type]  # what is no Update is an Event
        if self._out.stood_s != self._stood_s:
            self._stood_still()
        if self._options.strict:
            if self._doubted:
                raise RemoteProtocolError(f"--strict: {self._doubted}")
            _prove(events)

    def _stood_still(self) -> None:
        """Tell that the reader made us wait. What came meanwhile is read before anything is called late."""
        stood_s, self._stood_s = self._out.stood_s - self._stood_s, self._out.stood_s
        if self._caught_up_at is None:  # not put off again and again by a reader that is always slow
            self._caught_up_at = monotonic() + _CATCH_UP_S
        now_ns = time_ns()
        since_ns = now_ns - int(stood_s * 1e9)
        event = Lagging(now_ns, self._options.overflow, since_ns, stood_s, self._stood_s)
        self._tell_lag(lag_of(event))
        if self._sink.wants_events:
            self._sink.write([event])

    def _heed(self, link: Link | None, event: Event) -> None:
        """What people are told on stderr, and what decides the exit code."""
        if isinstance(event, Reply | Rejected | Unanswered):
            self._bare.pop(event.req_id, None)
            self.verdicts.answered(event)
        elif isinstance(event, Refused):
            self.verdicts.refused(event)
            if link is not None and not link.protocol.idle:  # else the end of the run says so
                what = f"{event.channel} {event.symbol}".strip() or "a subscription"
                self._note(f"{what} refused: {event.error}")
        elif isinstance(event, Deferred):
            when = f"in {event.retry_in_s:g} s" if event.retry_in_s else "now"
            self._note(f"{event.channel} {event.symbol}".strip() + f": {event.cause}; asking again {when}")
        elif isinstance(event, Disconnected):
            if event.retry_in_s is not None:
                when = f"in {event.retry_in_s:.1f} s" if event.retry_in_s else "now"
                what = "connection lost" if link is not None and link.stood else "endpoint not connected"
                self._note(f"{event.endpoint} {what}: {event.cause}; connecting again {when}")
        elif said := doubt_of(event):
            self._doubted = self._doubted or said
            if not self._options.strict:
                self._note(f"{said}; asked for again" if isinstance(event, Gap) else said)

    # ---- the end

    def _say_goodbye(self) -> None:
        """Send close frames and give them a moment: a socket closed with unread data takes them along."""
        if self._trading is not None:
            self._trading.look_ups.finish()
            self._poller.watch(_LOOKING, ())
        every = self._every()
        open_ = [link for link in every if link.websocket is not None]
        for link in open_:
            assert link.websocket is not None and link.transport is not None  # noqa: S101, PT018 - filtered
            if link.websocket.open:
                link.websocket.close()
            link.transport.write(link.websocket.bytes_to_send())
            link.transport.end_writing()
        until = monotonic() + _GOODBYE_S
        for link in every:
            link.end_errand()
            if link.backfill is not None:
                link.backfill.end()
        for key in self._poller.keys:
            self._poller.watch(key, ())
        while open_ and (left := until - monotonic()) > 0:
            for link in open_:
                self._poller.watch(link.number, link.transport.watched() if link.transport else ())
            for number in self._poller.wait(left):
                link = self._numbered[number]
                data = link.transport.read() if link.transport else None
                if data is None or (data and link.websocket and _has_closed(link.websocket, data)):
                    self._poller.watch(number, ())
                    open_.remove(link)
        for link in every:
            link.drop()

    def forget(self) -> None:
        """Forget the answers so far, for `judge` too: a run of weeks must not grow by them."""
        self.verdicts.forget()

    def judge(self, *, unsent_is_failure: bool = True) -> None:
        """Raise what the run ended with, the gravest first; return when it ended well.

        Raises:
            KrakenWSError: its `exit_code` is the process's.
        """
        links = self._links.values()
        failures = [_at(link, link.protocol.failure) for link in links if link.protocol.failure]
        streaming = not self._streams or any(link.protocol.routes for link in links)
        for bound in self._bare.values():  # beside `Trading`, as a guard's
            sent = any(link.protocol.has_sent(bound) for link in links)
            self.verdicts.left_over(bound, sent=sent)
        self.verdicts.judge(failures, streaming=streaming, unsent_is_failure=unsent_is_failure)
        if self._follow is not None:
            self._follow.judge()


def _at(link: Link, failure: str) -> str:
    """Say whose failure it is, unless it says so itself."""
    return failure if link.target.shown in failure else f"{link.name} endpoint {link.target.shown}: {failure}"


def _prove(events: list[Update | Event]) -> None:
    """Under `--strict` a payload must have its channel's shape, whether or not the output shows its rows."""
    for event in events:
        if isinstance(event, Update) and (flaw := event.flaw()):
            what = f"{event.route.entry.name} {event.route.symbol}".strip()
            raise RemoteProtocolError(f"--strict: unusable frame of {what}: {flaw}")


def patience_s(error: KrakenWSError) -> float:
    """Return how long a refusal asks to be left alone (quirk N2, v1.md section 3)."""
    status = getattr(error, "http_status", None) or 0
    if status == 403:
        return _BLOCKED_S
    asked_s = getattr(error, "retry_after_s", POLITE_S if isinstance(error, RequestRejected) else 0.0)
    return max(asked_s, POLITE_S) if status == 429 or status >= 500 else float(asked_s)


def _has_closed(websocket: WebSocket, data: bytes) -> bool:
    websocket.receive(data)
    return websocket.close_code is not None or websocket.failure is not None
