"""Feeds: what several readers of one process share of a link.

A *feed* is one channel and symbol of a link. It is asked for when its first reader comes and left when its
last one goes; its readers share one connection and one book. A reader that is full, and may not lose
anything, stops the link's socket (`_held`): the clock of that link stands still with it, and once the reader
goes on, what came meanwhile is read before anything is called late. While somebody awaits an answer on that
link it is read all the same: who awaits may be the very reader that is full. A link that keeps standing for
longer than a second is stale: its books are not current, and the log says who is waited for, as he may have
forgotten his stream.
"""

from __future__ import annotations

from time import monotonic, time_ns
from typing import TYPE_CHECKING

from krakenws.core.catalog import Bound
from krakenws.core.events import (
    Answered,
    Backfilled,
    Connected,
    Disconnected,
    Gap,
    Heartbeat,
    Lagging,
    Pong,
    Refused,
    Status,
    Subscribed,
    Unsubscribed,
    Update,
    Violation,
    doubt_of,
    trouble_of,
)
from krakenws.core.lagging import snapshot_of
from krakenws.errors import RemoteProtocolError, UsageError
from krakenws.net.aioshell import DIALECTS, LOG, AsyncShell
from krakenws.net.poller import WRITE
from krakenws.net.shell import prove
from krakenws.net.verdicts import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    from krakenws.core.events import Event, Route
    from krakenws.core.redaction import Redactor
    from krakenws.net.aioshell import Watched
    from krakenws.net.credentials import Credentials
    from krakenws.net.shell import Budget, Link
    from krakenws.options import Options

    class Reader(Protocol):
        """Who reads feeds: a stream's queue, a live book."""

        def take(self, events: list[Update | Event]) -> bool:
            """Take what happened, in order; return whether there must not come more for now."""

        def fail(self, error: BaseException | None) -> None:
            """Take notice that nothing more will come; None: the client was closed."""


_CATCH_UP_S = 1.0
"""Enough to read what a socket's buffer holds after it was not read."""
_NOTICEABLE_S = 1.0
"""A wait for a reader that is worth an event."""
_UPDATES = {Update}


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


class _Behind:
    """A link that stands, or stood a moment ago; what the system's buffers hold of it is old.

    Attributes:
        since: when (monotonic) it stood first.
        resumed: when it was last read again.
        stale: whether that has gone on for long.
    """

    __slots__ = ("resumed", "since", "stale")

    def __init__(self, since: float) -> None:
        self.since = since
        self.resumed = 0.0
        self.stale = False


class FeedShell(AsyncShell):
    """An `AsyncShell` whose links are read through feeds."""

    def __init__(
        self, options: Options, *, redactor: Redactor, credentials: Credentials, budget: Budget | None
    ) -> None:
        super().__init__(options, redactor=redactor, credentials=credentials, budget=budget)
        self._feeds: dict[Route, Feed] = {}
        self._readers: dict[Link, dict[Reader, list[Feed]]] = {}
        self._full: dict[Reader, Link] = {}
        self._stood_since: dict[Link, float] = {}
        self._behind: dict[Link, _Behind] = {}
        self._caught_up_at: dict[Link, float] = {}

    # ---- readers

    def join(self, reader: Reader, bound: Bound) -> list[Feed]:
        """Give a reader what a channel brings from now on; a book that is there already begins at once.

        Raises:
            UsageError: the same feed is open with other parameters; the exchange knows it once a connection.
        """
        link = self._link(bound)
        self.unkeep(link)
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
                del self._feeds[feed.route]
            link.protocol.unsubscribe(_of(feeds[0].bound, [feed.route.symbol for feed in feeds]))
        self._turn_soon()

    def resume(self, reader: Reader) -> None:
        """Take notice that a full reader has room again, or is gone."""
        link = self._full.pop(reader, None)
        if link is None or link in self._full.values():
            return
        since = self._stood_since.pop(link, None)
        if since is not None:
            now = monotonic()
            self._caught_up_at[link] = now + _CATCH_UP_S
            if behind := self._behind.get(link):
                behind.resumed = now
                self._loop.call_later(_CATCH_UP_S, self._caught_up, link, now)
            if now - since >= _NOTICEABLE_S:
                now_ns = time_ns()
                stood = Lagging(now_ns, "block", now_ns - int((now - since) * 1e9), blocked_s=now - since)
                self._pass_on(link, reader, [stood])
        self._turn_soon()

    # ---- a reader that is full

    def _held(self, link: Link) -> bool:
        """Whether a full reader keeps the link's socket from being read."""
        if link not in self._full.values() or any(its is link for its, _ in self._awaited):
            return False
        if link not in self._stood_since:
            self._stood_since[link] = since = monotonic()
            behind = self._behind.setdefault(link, _Behind(since))
            if not behind.stale:
                self._loop.call_later(behind.since + _NOTICEABLE_S - since, self._stands, link, since)
        return True

    def _stands(self, link: Link, since: float) -> None:
        """Say that a link stands, unless it went on meanwhile."""
        if self._stood_since.get(link) != since:
            return
        self._behind[link].stale = True
        readers = self._readers.get(link, {})
        feeds = [
            feed for reader, its in self._full.items() if its is link for feed in readers.get(reader, ())
        ]
        LOG.warning(
            "the %s connection is not read, until somebody takes from a full stream: %s",
            link.name,
            ", ".join(f"{feed.route.channel} {feed.route.symbol}".strip() for feed in feeds),
        )

    def _caught_up(self, link: Link, resumed: float) -> None:
        """Let books be current again, unless the link stood once more."""
        behind = self._behind.get(link)
        if behind is None or behind.resumed != resumed or link in self._stood_since:
            return
        del self._behind[link]
        if behind.stale:
            for reader in [*self._readers.get(link, ())]:
                self._pass_on(link, reader, [])

    def is_stale(self, link: Link) -> bool:
        """Return whether so little of a link was read lately that what came last from it may be old."""
        behind = self._behind.get(link)
        return behind is not None and behind.stale

    def _awaiting(self, link: Link) -> None:
        if link in self._stood_since:  # it will be read from here on
            self._caught_up_at[link] = monotonic() + _CATCH_UP_S

    def _sockets(self, link: Link) -> Watched:
        sockets = super()._sockets(link)
        if self._full and self._held(link):
            return [(sock, WRITE) for sock, mask in sockets if mask & WRITE]
        return sockets

    def _due_of(self, link: Link) -> float | None:
        if self._full and self._held(link):
            return None
        due = super()._due_of(link)
        return due if due is None else max(due, self._caught_up_at.get(link, 0.0))

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
                raise RemoteProtocolError(f"--strict: {said}")
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
        self._log(link, event)
        for reader in self._concerned(link, event):
            batches.setdefault(reader, []).append(event)

    def _concerned(self, link: Link, event: Event) -> Iterable[Reader]:
        """Return who is told of an event: the readers of the feed that it is about, or all of the link."""
        if event.route is None and (isinstance(event, Violation) or not hasattr(event, "channel")):
            if isinstance(event, Disconnected):
                for its in self._feeds.values():
                    if its.link is link:
                        its.subscribed = None
            return self._readers.get(link, ())
        feed = self._feeds.get(event.route) if event.route is not None else self._filled(link, event)
        if feed is None:
            return ()
        if isinstance(event, Subscribed):
            feed.subscribed = event
        elif isinstance(event, Unsubscribed):
            if feed.subscribed is None:  # of before: what is meant is not in force yet
                return ()
            feed.subscribed = None
        return feed.readers

    def _filled(self, link: Link, event: Event) -> Feed | None:
        """Return what trades were filled into; no other word about a channel of ours is without its route."""
        if not isinstance(event, Backfilled):
            return None
        feeds = self._at(link, event.channel)
        return next((feed for feed in feeds if feed.route.symbol == event.symbol), None)

    def _log(self, link: Link, event: Event) -> None:
        if said := trouble_of(event, stood=link.stood):
            if not (self._options.strict and doubt_of(event)):  # that is raised
                LOG.warning("%s", said)
        elif isinstance(event, Connected | Disconnected | Status | Gap):
            LOG.info("%s", event)

    def _refused(self, link: Link, event: Refused) -> None:
        """End the readers that have nothing left, as far as the protocol gave the feed up."""
        feed = self._feeds.get(event.route) if event.route is not None else None
        if feed is None or feed.route in link.protocol.routes:
            return
        del self._feeds[feed.route]
        for reader in feed.readers:
            feeds = self._readers[link][reader]
            feeds.remove(feed)
            if not feeds:
                del self._readers[link][reader]
                reader.fail(refusal(f"{event.channel} {event.symbol}".strip(), event.error))
                self.resume(reader)

    # ---- the end

    def _end_readers(self, link: Link, error: Exception | None) -> None:
        readers = self._readers.pop(link, {})
        for feed in [feed for feed in self._feeds.values() if feed.link is link]:
            del self._feeds[feed.route]
        for reader in readers:
            self._full.pop(reader, None)
            reader.fail(error)

    def _release(self, link: Link) -> None:
        super()._release(link)
        self._stood_since.pop(link, None)
        self._behind.pop(link, None)
        self._caught_up_at.pop(link, None)


def _of(bound: Bound, symbols: Sequence[str]) -> Bound:
    """Return the same for these symbols."""
    pairs = bound.entry.pairs
    return bound if pairs is None else Bound(bound.entry, {**bound.values, pairs.name: list(symbols)})
