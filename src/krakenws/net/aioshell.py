"""The Python API's shell: the same links as the command line's, on the caller's asyncio loop.

The loop only says when a socket is ready (`add_reader`) and when time has come (`call_later`); everything
between is `net/shell.py`, so that one read is one `recv`, TLS included, and brings all of its frames at once.
Everything here runs in the loop's thread.

A *feed* is one channel and symbol of a link. It is asked for when its first reader comes and left when its
last one goes; its readers share one connection and one book. A reader that is full, and may not lose
anything, stops the link's socket (`_held`): the clock of that link stands still with it, and once the reader
goes on, what came meanwhile is read before anything is called late. While somebody awaits an answer on that
link it is read all the same: who awaits may be the very reader that is full.

Whatever ends a link ends its readers and requests, never those of another, and the next call begins anew.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from krakenws.core.catalog import PRIVATE, Bound, bind
from krakenws.core.events import (
    Answered,
    Connected,
    Deferred,
    Disconnected,
    Gap,
    Heartbeat,
    Lagging,
    Pong,
    Refused,
    Status,
    Subscribed,
    Update,
    doubt_of,
)
from krakenws.core.lagging import snapshot_of
from krakenws.core.protocol import CLOSE
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import OWN_TRADES
from krakenws.core.v2 import V2
from krakenws.errors import ConnectionFailed, RemoteProtocolError, UsageError
from krakenws.net.poller import READ, WRITE
from krakenws.net.shell import GOODBYE_S, Shell, failure_of, has_closed, prove
from krakenws.net.verdicts import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol, TypeAlias

    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Event, Route
    from krakenws.core.redaction import Redactor
    from krakenws.net.credentials import Credentials
    from krakenws.net.poller import HasFileno
    from krakenws.net.shell import Budget, Link
    from krakenws.options import Options

    Watched = Sequence[tuple[HasFileno, int]]
    Step = Callable[[Link], object]

    End: TypeAlias = Answered | Pong
    """How a request ends."""

    class Reader(Protocol):
        """Who reads feeds: a stream's queue, a live book."""

        def take(self, events: list[Update | Event]) -> bool:
            """Take what happened, in order; return whether there must not come more for now."""

        def fail(self, error: BaseException | None) -> None:
            """Take notice that nothing more will come; None: the client was closed."""


DIALECTS: dict[int, Dialect] = {1: V1, 2: V2}
LOG = logging.getLogger("krakenws")
LOG.addHandler(logging.NullHandler())
_CATCH_UP_S = 1.0
"""Enough to read what a socket's buffer holds after it was not read."""
_NOTICEABLE_S = 1.0
"""A wait for a reader that is worth an event."""
_STEPS = 3
"""Token, name, socket: each may take `options.connect_timeout_s` before a request can leave."""


class Feed:
    """One channel and symbol of a link, and who reads it.

    Attributes:
        key: the link's key, the channel's name on the wire, and the symbol.
        bound: what asks for it.
        route: what the protocol knows it by.
        readers: in the order they came.
        subscribed: what the exchange confirmed last, or None.
    """

    __slots__ = ("bound", "key", "link", "readers", "route", "subscribed")

    def __init__(self, key: tuple[tuple[int, str], str, str], link: Link, bound: Bound, route: Route) -> None:
        self.key = key
        self.link = link
        self.bound = bound
        self.route = route
        self.readers: list[Reader] = []
        self.subscribed: Subscribed | None = None


class Wait:
    """Somebody who awaits what a command comes to: the ends of its requests.

    Attributes:
        link: where they go.
        name: the command.
        numbers: of the requests that may still have to be given up.
        expected: how many ends there will be.
        unsent: how many requests were given up before they left.
        end: done when all ends are there, or an error is.
    """

    __slots__ = ("_ends", "end", "expected", "link", "name", "numbers", "unsent")

    def __init__(self, link: Link, name: str, expected: int) -> None:
        self.link = link
        self.name = name
        self.numbers: list[int] = []
        self.expected = expected
        self.unsent = 0
        self.end: asyncio.Future[list[End]] = asyncio.get_running_loop().create_future()
        self._ends: dict[int | None, End] = {}

    def take(self, event: End) -> None:
        """Take the end of one request."""
        self._ends[event.req_id] = event
        self.settle()

    def settle(self) -> None:
        """Be done if everything is there."""
        if len(self._ends) >= self.expected and not self.end.done():
            self.end.set_result([*self._ends.values()])

    def fail(self, error: Exception) -> None:
        """Be done: the rest will never come."""
        if not self.end.done():
            self.end.set_exception(error)


class _Keeper:
    """Reads what only keeps a connection, and takes no notice."""

    def take(self, _events: list[Update | Event]) -> bool:
        """Take no notice."""
        return False

    def fail(self, _error: BaseException | None) -> None:
        """Take no notice."""


class AsyncShell(Shell):
    """Links whose sockets the running asyncio loop watches.

    Args:
        options: endpoints and deadlines.
        redactor: cleans what leaves; secrets that credentials find are registered with it.
        credentials: where the token of private links comes from.
        budget: how often a site may be connected to, or None for as often as the back-off lets us.

    Raises:
        UsageError: the loop cannot watch sockets (Windows' proactor).
    """

    def __init__(
        self, options: Options, *, redactor: Redactor, credentials: Credentials, budget: Budget | None
    ) -> None:
        super().__init__(options, redactor=redactor, credentials=credentials, warn=LOG.warning, budget=budget)
        self._loop = asyncio.get_running_loop()
        if isinstance(self._loop, getattr(asyncio, "ProactorEventLoop", ())):
            raise UsageError(
                "this event loop cannot watch sockets: run with asyncio.SelectorEventLoop,"
                " or use krakenws.sync, which brings its own"
            )
        self._feeds: dict[Route, Feed] = {}
        self._places: dict[tuple[Link, str, str], list[Feed]] = {}
        self._readers: dict[Link, dict[Reader, list[Feed]]] = {}
        self._awaited: dict[tuple[Link, int], Wait] = {}
        self._full: dict[Reader, Link] = {}
        self._stood_since: dict[Link, float] = {}
        self._caught_up_at: dict[Link, float] = {}
        self._watched: dict[tuple[Link, Step], tuple[Watched, list[tuple[int, int]]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._keeper: Reader = _Keeper()
        self._turns_soon = False
        self._is_closed = False

    @property
    def options(self) -> Options:
        """Endpoints and deadlines."""
        return self._options

    # ---- requests

    async def request(self, bound: Bound) -> End:
        """Send a command that does not trade once its connection is ready, and return its end.

        Raises:
            ConnectionFailed: it was not sent, as there is no connection, or the connection was given up.
            KrakenWSError: its link ended: no credentials, say.
        """
        link = self._link(bound)
        wait = Wait(link, bound.entry.name, 1)
        self._expect(wait, link.protocol.request(bound, monotonic()))
        (end,) = await self._end_of(wait)
        return end

    def _expect(self, wait: Wait, req_id: int) -> None:
        wait.numbers.append(req_id)
        self._awaited[wait.link, req_id] = wait

    async def _end_of(self, wait: Wait) -> list[End]:
        """Return the ends of a command's requests; what has not left when this ends is never sent."""
        limit_s = _STEPS * self._options.connect_timeout_s
        if wait.link in self._stood_since:  # it will be read from here on
            self._caught_up_at[wait.link] = monotonic() + _CATCH_UP_S
        timer = self._loop.call_later(limit_s, self._withdraw, wait, limit_s)
        try:
            self._turn()
            return await wait.end
        finally:
            timer.cancel()
            self._give_up(wait)
            for req_id in wait.numbers:
                self._awaited.pop((wait.link, req_id), None)

    def _withdraw(self, wait: Wait, limit_s: float) -> None:
        """Give up what could not leave in time: nobody wants an order that leaves minutes later."""
        place = wait.link.target.shown
        self._fail_unsent(
            wait, ConnectionFailed(f"{wait.name} was not sent: {place} was not ready within {limit_s:g} s")
        )

    def _fail_unsent(self, wait: Wait, error: Exception) -> None:
        """End a wait that has nothing left to wait for, once what has not left is given up."""
        given_up = self._give_up(wait)
        wait.expected -= given_up
        wait.unsent += given_up
        if wait.expected:
            wait.settle()
        else:
            wait.fail(error)

    def _give_up(self, wait: Wait) -> int:
        """Give up the requests that have not left; return how many there were."""
        return sum(self._take_back(wait.link, req_id) for req_id in wait.numbers)

    def _take_back(self, link: Link, req_id: int) -> bool:
        """Return whether a request had not left, and now never will."""
        return link.protocol.give_up(req_id)

    def _keep(self) -> None:
        """Follow something where a private connection is in use: else the exchange closes it (v1.md 3)."""
        link = self._links.get((V1.api, PRIVATE))
        if link is not None and not self._readers.get(link):
            self.join(self._keeper, bind(OWN_TRADES, ["snapshot=false"]))

    # ---- readers

    def join(self, reader: Reader, bound: Bound) -> list[Feed]:
        """Give a reader what a channel brings from now on; a book that is there already begins at once.

        Raises:
            UsageError: the same feed is open with other parameters; the exchange knows it once a connection.
        """
        link = self._link(bound)
        if self._keeper in self._readers.get(link, ()):  # now somebody else does
            self.leave(self._keeper)
        dialect, entry = DIALECTS[bound.entry.api], bound.entry
        values = {name: value for name, value in bound.values.items() if name not in {"pair", "symbol"}}
        channel = dialect.channel(entry, values)
        link_key = (entry.api, entry.access)
        known = {feed.key[2]: feed for feed in self._at(link, channel)}
        for symbol in bound.symbols or [""]:
            if symbol in known and known[symbol].route.values != values:
                raise UsageError(f"{channel} {symbol}".strip() + " is open with other parameters: close that")
        missing = [symbol for symbol in bound.symbols or [""] if symbol not in known]
        if missing:
            self._subscribe(link, _of(bound, missing))
            wanted = {route.symbol: route for route in link.protocol.routes if route.channel == channel}
            for symbol in missing:
                feed = Feed((link_key, channel, symbol), link, _of(bound, [symbol]), wanted[symbol])
                self._feeds[feed.route] = known[symbol] = feed
                for name in {channel, entry.name}:
                    self._places.setdefault((link, name, symbol), []).append(feed)
        feeds = [known[symbol] for symbol in bound.symbols or [""]]
        self._readers.setdefault(link, {})[reader] = feeds
        already: list[Update | Event] = []
        for feed in feeds:
            feed.readers.append(reader)
            if feed.subscribed is not None:
                already.append(feed.subscribed)
            if feed.route.book is not None:
                already.append(snapshot_of(feed.route, time_ns()))
        if already:
            self._pass_on(link, reader, already)
        self._turn_soon()
        return feeds

    def _at(self, link: Link, channel: str) -> list[Feed]:
        return [feed for feed in self._feeds.values() if feed.link is link and feed.key[1] == channel]

    def leave(self, reader: Reader) -> None:
        """Give a reader nothing more; what nobody else reads is unsubscribed."""
        link = next((link for link, readers in self._readers.items() if reader in readers), None)
        if link is None:
            return
        self.resume(reader)
        left: dict[str, list[Feed]] = {}
        for feed in self._readers[link].pop(reader):
            feed.readers.remove(reader)
            if not feed.readers:
                left.setdefault(feed.key[1], []).append(feed)
        for feeds in left.values():
            for feed in feeds:
                self._forget(feed)
            link.protocol.unsubscribe(_of(feeds[0].bound, [feed.route.symbol for feed in feeds]))
        self._turn_soon()

    def _forget(self, feed: Feed) -> None:
        self._feeds.pop(feed.route, None)
        for name in {feed.route.channel, feed.route.entry.name}:
            place = feed.link, name, feed.route.symbol
            self._places[place].remove(feed)
            if not self._places[place]:
                del self._places[place]

    def resume(self, reader: Reader) -> None:
        """Take notice that a full reader has room again, or is gone."""
        link = self._full.pop(reader, None)
        if link is None or link in self._full.values():
            return
        since = self._stood_since.pop(link, None)
        if since is not None:
            now = monotonic()
            self._caught_up_at[link] = now + _CATCH_UP_S
            if now - since >= _NOTICEABLE_S:
                now_ns = time_ns()
                stood = Lagging(now_ns, "block", now_ns - int((now - since) * 1e9), blocked_s=now - since)
                self._pass_on(link, reader, [stood])
        self._turn_soon()

    # ---- what came

    def _tell(
        self,
        link: Link,
        frames: list[bytes],  # noqa: ARG002 - the other shell shows them
        events: list[Update | Event],
    ) -> None:
        readers = self._readers.get(link, ())
        if len(readers) == 1 and {*map(type, events)} == _UPDATES and not self._options.strict:
            (reader,) = readers
            self._pass_on(link, reader, events)
            return
        batches: dict[Reader, list[Update | Event]] = {}
        for event in events:
            if isinstance(event, Update):
                feed = self._feeds.get(event.route)
                for reader in feed.readers if feed else ():
                    batches.setdefault(reader, []).append(event)
            else:
                self._event(link, event, batches)
        for reader, its in batches.items():
            self._pass_on(link, reader, its)
        for event in events:
            if isinstance(event, Refused):
                self._refused(link, event)
        if self._options.strict:
            said = next(filter(None, map(doubt_of, events)), "")
            if said:
                raise RemoteProtocolError(f"strict: {said}")
            prove(events)

    def _pass_on(self, link: Link, reader: Reader, events: list[Update | Event]) -> None:
        if reader.take(events):
            self._full[reader] = link

    def _event(self, link: Link, event: Event, batches: dict[Reader, list[Update | Event]]) -> None:
        """Give an event that is no update to those whom it concerns: readers, or who awaits an answer."""
        if isinstance(event, Heartbeat):
            return
        if isinstance(event, Answered | Pong):
            self._settle(link, event)
            return
        self._log(event)
        channel = getattr(event, "channel", "")
        readers: Iterable[Reader]
        if channel:
            feeds = self._places.get((link, channel, getattr(event, "symbol", "")), ())
            readers = dict.fromkeys(reader for feed in feeds for reader in feed.readers)
            if isinstance(event, Subscribed):
                for feed in feeds:
                    feed.subscribed = event
        else:
            readers = self._readers.get(link, ())
            if isinstance(event, Disconnected):
                for feed in self._feeds.values():
                    if feed.link is link:
                        feed.subscribed = None
        for reader in readers:
            batches.setdefault(reader, []).append(event)

    def _settle(self, link: Link, event: End) -> None:
        self._conclude(event, [wait] if (wait := self._awaited.get((link, event.req_id or 0))) else [])

    @staticmethod
    def _conclude(event: End, waits: Sequence[Wait]) -> None:
        """Tell those who wait for it how a request ended."""
        if all(wait.end.done() for wait in waits):
            LOG.warning("nobody waits any more for this answer: %s", event)
        for wait in waits:
            wait.take(event)

    def _log(self, event: Event) -> None:
        if said := doubt_of(event):
            LOG.warning("%s", said)
        elif isinstance(event, Disconnected):
            LOG.warning("%s connection: %s", event.endpoint, event.cause)
        elif isinstance(event, Refused | Deferred):
            LOG.warning("%s", event)
        elif isinstance(event, Connected | Status | Gap):
            LOG.info("%s", event)

    def _refused(self, link: Link, event: Refused) -> None:
        """End the readers that have nothing left, as far as the protocol gave the feed up."""
        wanted = set(link.protocol.routes)
        for feed in [*self._places.get((link, event.channel, event.symbol), ())]:
            if feed.route in wanted:
                continue
            self._forget(feed)
            for reader in feed.readers:
                feeds = self._readers[link][reader]
                feeds.remove(feed)
                if not feeds:
                    del self._readers[link][reader]
                    self._full.pop(reader, None)
                    reader.fail(refusal(f"{event.channel} {event.symbol}".strip(), event.error))

    # ---- a turn

    def _link(self, bound: Bound) -> Link:
        if self._is_closed:
            raise UsageError("this client is closed: use it inside its `async with` block")
        key = bound.entry.api, bound.entry.access
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = self._make_link(DIALECTS[key[0]], key[1], detail=True)
            link.protocol.kept = True
        return link

    def _turn_soon(self) -> None:
        """Take a turn once whoever calls is done: he may be in the middle of one."""
        if not self._turns_soon:
            self._turns_soon = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Obey every protocol, then watch and wait for what they need now."""
        self._turns_soon = False
        if self._is_closed:
            return
        for link in [*self._links.values()]:
            self._try(link, self._obey)
            protocol = link.protocol
            if protocol.wants == CLOSE and protocol.failure:
                self._fail(link, failure_of(link))
        self._watch_all()
        self._arm()

    def _try(self, link: Link, step: Step) -> None:
        """Take a step of one link; what goes wrong ends that link and is raised where somebody awaits it."""
        try:
            step(link)
        except Exception as error:  # noqa: BLE001 - a defect, too, must not leave readers waiting for ever
            self._fail(link, error)

    def _on_ready(self, link: Link, step: Step) -> None:
        if link in self._links.values():
            self._try(link, step)
            self._turn()

    def _held(self, link: Link) -> bool:
        """Whether a full reader keeps the link's socket from being read."""
        if link not in self._full.values() or any(its is link for its, _ in self._awaited):
            return False
        self._stood_since.setdefault(link, monotonic())
        return True

    def _arm(self) -> None:
        dues = [due for link in self._links.values() if (due := self._due_of(link)) is not None]
        due = min(dues, default=None)
        now = monotonic()
        if due is None:
            return
        if self._timer is not None:
            if self._timer.when() - self._loop.time() <= due - now:  # early is no harm, and arming costs
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0.0, due - now), self._on_timer)

    def _due_of(self, link: Link) -> float | None:
        if self._full and self._held(link):
            return None
        due = self._due(link)
        return due if due is None else max(due, self._caught_up_at.get(link, 0.0))

    def _on_timer(self) -> None:
        self._timer = None
        now = monotonic()
        for link in [*self._links.values()]:
            due = self._due_of(link)
            if due is not None and due <= now:
                self._try(link, lambda link: self._tick(link, now))
        self._turn()

    # ---- sockets

    def _watch_all(self) -> None:
        """Watch what links wait for; what goes is unwatched first: a new socket may have an old number."""
        changed: list[tuple[Link, Step, Watched]] = []
        for link in self._links.values():
            transport, errand, backfill = link.transport, link.errand, link.backfill
            sockets: Watched = transport.watched() if transport else ()
            if self._full and self._held(link):
                sockets = [(sock, WRITE) for sock, mask in sockets if mask & WRITE]
            steps: list[tuple[Step, Watched]] = [
                (self._service, sockets),
                (self._return, errand.watched if errand else ()),
                (self._fill, backfill.watched if backfill else ()),
                *self._further(link),
            ]
            for step, watched in steps:
                if self._watched.get((link, step), _NOTHING)[0] is not watched:
                    changed.append((link, step, watched))
        for link, step, _ in changed:
            self._unwatch(link, step)
        for link, step, watched in changed:
            numbers = [(sock.fileno(), mask) for sock, mask in watched]
            self._watched[link, step] = watched, numbers
            for number, mask in numbers:
                if mask & READ:
                    self._loop.add_reader(number, self._on_ready, link, step)
                if mask & WRITE:
                    self._loop.add_writer(number, self._on_ready, link, step)

    def _further(self, link: Link) -> Iterable[tuple[Step, Watched]]:  # noqa: ARG002 - of a shell that trades
        """Return what else is waited for while this link is there."""
        return ()

    def _unwatch(self, link: Link, step: Step) -> None:
        """Stop watching, by number: the sockets may be closed already."""
        for number, mask in self._watched.pop((link, step), _NOTHING)[1]:
            if mask & READ:
                self._loop.remove_reader(number)
            if mask & WRITE:
                self._loop.remove_writer(number)

    # ---- the end

    def _fail(self, link: Link, error: Exception) -> None:
        """End a link, and what was for it; the next call makes another."""
        self._drop(link)
        for wait in self._waits(link):
            self._fail_unsent(wait, error)
        self._break_off(link, error)
        readers = self._readers.pop(link, {})
        for feed in [feed for feed in self._feeds.values() if feed.link is link]:
            self._forget(feed)
        for reader in readers:
            self._full.pop(reader, None)
            reader.fail(error)

    def _waits(self, link: Link) -> list[Wait]:
        """Return who waits for the ends of requests to a link."""
        return list(dict.fromkeys(wait for (its, _), wait in self._awaited.items() if its is link))

    def _break_off(self, link: Link, error: Exception) -> None:
        """End the waits for answers that will not come."""
        for wait in self._waits(link):
            wait.fail(error)

    def _release(self, link: Link) -> None:
        for key in [key for key in self._watched if key[0] is link]:
            self._unwatch(*key)
        self._stood_since.pop(link, None)
        self._caught_up_at.pop(link, None)

    def _drop(self, link: Link) -> None:
        """Forget a link and all that is for it."""
        for key in [key for key, its in self._links.items() if its is link]:
            del self._links[key]
        self._release(link)
        link.drop()
        link.end_errand()
        if link.backfill is not None:
            link.backfill.end()

    async def close(self) -> None:
        """Say goodbye: readers end, requests are broken off, sockets are closed.

        Close frames get a moment: a socket closed with unread data takes them along.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        links = [*self._links.values()]
        for link in links:
            self._release(link)
            closed = ConnectionFailed("the client was closed")
            for wait in self._waits(link):
                self._fail_unsent(wait, ConnectionFailed(f"{wait.name} was not sent: {closed}"))
            self._break_off(link, closed)
            for reader in self._readers.pop(link, {}):
                reader.fail(None)
        open_ = [asyncio.ensure_future(self._goodbye(link)) for link in links if self._end(link)]
        try:
            if open_:
                await asyncio.wait(open_, timeout=GOODBYE_S)
        finally:
            for task in open_:
                task.cancel()
            for link in links:
                link.drop()

    async def _goodbye(self, link: Link) -> None:
        while (transport := link.transport) is not None and (websocket := link.websocket) is not None:
            data = transport.read()
            if data is None or (data and has_closed(websocket, data)):
                return
            await self._readable([sock.fileno() for sock, _ in transport.watched()])

    async def _readable(self, numbers: Sequence[int]) -> None:
        news = asyncio.Event()
        for number in numbers:
            self._loop.add_reader(number, news.set)
        try:
            await news.wait()
        finally:
            for number in numbers:
                self._loop.remove_reader(number)


_UPDATES = {Update}
_NOTHING: tuple[Watched, list[tuple[int, int]]] = ((), [])


def _of(bound: Bound, symbols: Sequence[str]) -> Bound:
    """Return the same for these symbols."""
    pairs = bound.entry.pairs
    return bound if pairs is None else Bound(bound.entry, {**bound.values, pairs.name: list(symbols)})
