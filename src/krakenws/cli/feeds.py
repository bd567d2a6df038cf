"""What the callers of a session follow: each channel and symbol once upstream, however many follow it.

A feed is asked for with its first caller and left with its last. Who comes later is told `subscribed` at once
and begins with a snapshot: of the verified book; of the last frame where that is a state (ticker, spread,
ohlc); of an account's channel, what all were told since its last snapshot. Where that has grown too long, the
channel is asked for anew, and everybody begins with the exchange's own.

`unsubscribed` is said as soon as a caller leaves, since nothing reaches it from then on; what the exchange
says of it later is expected, and swallowed.

The exchange closes a private connection that carries no subscription (v1.md section 3). Where nobody follows
anything there, `keep` follows `ownTrades`, silently.
"""

from __future__ import annotations

from time import time_ns

from krakenws.core.catalog import PRIVATE, Bound
from krakenws.core.events import Refused, Subscribed, Unsubscribed, Update, Violation, place_of
from krakenws.core.lagging import snapshot_of
from krakenws.core.subscriptions import INVALID_SESSION
from krakenws.core.v1 import V1
from krakenws.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from krakenws.cli.caller import Caller
    from krakenws.core.catalog import Entry, Values
    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Event, Route
    from krakenws.core.session import CallerId
    from krakenws.net.loop import Run
    from krakenws.options import Options

    LinkKey = tuple[int, str]
    """API and access: which endpoint."""
    Key = tuple[int, str, str]
    """API, channel as the wire names it, symbol."""

_NUMBERS = ("reqid", "req_id")
_LONGEST_TOLD = 1000
_STATES = {"Ticker", "Spread", "Candle"}
"""Rows of which the last says how things are."""
_KEPT = (V1.api, PRIVATE)


class Feed:
    """One channel and symbol that is followed.

    Attributes:
        entry: its channel.
        values: its parameters, the pair left out.
        key: which one it is.
        callers: who follows it, each with the id it was asked under.
        waiting: who awaits the answer to a line about it, with the line's id.
        confirmed: what the exchange said, as long as the connection stands that it was said on.
        last: its last data.
        begins: it is a channel of the account, and begins with a snapshot.
        told: what came since the last one, for who comes late; None when that has grown too long.
    """

    __slots__ = ("begins", "callers", "confirmed", "entry", "key", "last", "told", "values", "waiting")

    def __init__(self, entry: Entry, values: Values, key: Key) -> None:
        self.entry = entry
        self.values = values
        self.key = key
        self.callers: dict[Caller, CallerId] = {}
        self.waiting: list[tuple[Caller, CallerId]] = []
        self.confirmed: Subscribed | None = None
        self.last: Update | None = None
        self.begins = entry.access == PRIVATE and values.get("snapshot") is not False
        self.told: list[Update] | None = []

    def take(self, update: Update) -> None:
        """Take its data, for those who follow it and for who comes late."""
        self.last = update
        if self.begins:
            self._keep(update)
        for caller in self.callers:
            caller.take(update)

    def restart(self) -> None:
        """Its subscription is gone: what is known of it does not count for the next."""
        self.confirmed = self.last = None
        self.told = []

    def _keep(self, update: Update) -> None:
        if update.snapshot:
            self.told = [update]
        elif self.told is not None:
            self.told.append(update)
            if len(self.told) > _LONGEST_TOLD:
                self.told = None

    @property
    def link(self) -> LinkKey:
        """Which endpoint it comes from."""
        return self.entry.api, self.entry.access

    @property
    def place(self) -> tuple[str, str]:
        """Channel and symbol, as events have them."""
        return self.key[1:]

    def answer(self, event: Event, *, only: Caller | None = None) -> None:
        """Answer those who wait for a word about this feed."""
        waiting, self.waiting = self.waiting, []
        for caller, id_ in waiting:
            if only is None or caller is only:
                caller.settle(event, id_)
            else:
                self.waiting.append((caller, id_))

    def tell(self, event: Event) -> None:
        """Answer those who wait, and tell all others who follow it under the id they asked with."""
        waited = {caller for caller, _ in self.waiting}
        self.answer(event)
        for caller, id_ in self.callers.items():
            if caller not in waited:
                caller.answer(event, id_)


class Feeds:
    """All feeds of a session.

    Args:
        options: of the session.
        dialect_of: gives the dialect of an API.

    Attributes:
        run: what they are asked from.
    """

    run: Run

    def __init__(self, options: Options, dialect_of: Callable[[int], Dialect]) -> None:
        self._levels = 1 if options.book == "top" else None
        self._dialect_of = dialect_of
        self._all: dict[Key, Feed] = {}
        self._of_route: dict[Route, Feed] = {}
        self._leaving: dict[Key, int] = {}

    # ---- what callers want

    def follow(self, caller: Caller, id_: CallerId, bound: Bound) -> None:
        """Let a caller follow a channel, for each of its pairs.

        Raises:
            UsageError: it is followed with other parameters, and a connection has it only once.
        """
        entry, values = bound.entry, _values_of(bound)
        keys = self._keys(bound)
        for key in keys:
            feed = self._all.get(key)
            if feed is not None and feed.values != values:
                given = " ".join(f"{name}={_shown(value)}" for name, value in feed.values.items())
                raise UsageError(
                    f"{entry.name} is followed {f'with {given}' if given else 'without parameters'}"
                    f"{'' if caller in feed.callers else ' by another client'}:"
                    " it cannot have other parameters at the same time"
                )
        if (entry.api, entry.access) == _KEPT:
            self._unkeep()
        new = []
        for key in keys:
            feed = self._all.get(key)
            if feed is None:
                feed = self._all[key] = Feed(entry, values, key)
                new.append(key)
            feed.callers[caller] = id_
            if feed.confirmed is not None and feed.told is None:
                self._renew(feed)
            if feed.confirmed is None:
                feed.waiting.append((caller, id_))
                caller.open += 1
            else:
                self._begin(caller, id_, feed, feed.confirmed)
        if new:
            self.run.add(self._dialect_of(entry.api), _bound(entry, values, new))

    def _begin(self, caller: Caller, id_: CallerId, feed: Feed, confirmed: Subscribed) -> None:
        """Let a late caller begin where the others are."""
        now_ns, last = time_ns(), feed.last
        caller.answer(Subscribed(now_ns, confirmed.channel, confirmed.symbol, confirmed.params), id_)
        if last is None:
            return
        if last.route.book is not None:
            caller.take(snapshot_of(last.route, now_ns, self._levels))
        elif feed.entry.rows in _STATES:
            caller.take(Update(last.route, last.frame, last.received_ns, True, None, last.body))
        for update in feed.told or ():
            caller.take(update)

    def _renew(self, feed: Feed) -> None:
        """Ask for a feed anew, for the sake of its snapshot."""
        feed.restart()
        bound = _bound(feed.entry, feed.values, [feed.key])
        self._expect(feed.key)
        self.run.remove(bound)
        self.run.add(self._dialect_of(feed.entry.api), bound)

    def stop(self, caller: Caller, id_: CallerId, bound: Bound) -> None:
        """End what a caller follows.

        Raises:
            UsageError: it does not follow that.
        """
        feeds = []
        for key in self._keys(bound):
            feed = self._all.get(key)
            if feed is None or caller not in feed.callers:
                raise UsageError(f"{' '.join(key[1:]).strip()} is not followed, and cannot be left")
            feeds.append(feed)
        now_ns = time_ns()
        for feed in feeds:
            feed.answer(Unsubscribed(now_ns, *feed.place), only=caller)  # of a line that is overtaken
            caller.answer(Unsubscribed(now_ns, *feed.place), id_)
        self._leave(caller, feeds)

    def leave(self, caller: Caller) -> None:
        """End all that a caller follows, without a word to it."""
        feeds = [feed for feed in self._all.values() if caller in feed.callers]
        for feed in feeds:
            feed.waiting = [item for item in feed.waiting if item[0] is not caller]
        self._leave(caller, feeds)

    def _leave(self, caller: Caller, feeds: Iterable[Feed]) -> None:
        """What nobody follows any more is left upstream, in one request a channel."""
        left: dict[str, list[Feed]] = {}
        for feed in feeds:
            del feed.callers[caller]
            if not feed.callers:
                self._forget(feed)
                self._expect(feed.key)
                left.setdefault(feed.key[1], []).append(feed)
        for together in left.values():
            first = together[0]
            self.run.remove(_bound(first.entry, first.values, [feed.key for feed in together]))

    def _expect(self, key: Key) -> None:
        """The exchange will say that this one ended."""
        self._leaving[key] = self._leaving.get(key, 0) + 1

    def _forget(self, feed: Feed) -> None:
        del self._all[feed.key]
        for route in [route for route, its in self._of_route.items() if its is feed]:
            del self._of_route[route]

    def _keys(self, bound: Bound) -> list[Key]:
        entry = bound.entry
        channel = self._dialect_of(entry.api).channel(entry, _values_of(bound))
        return [(entry.api, channel, symbol) for symbol in bound.symbols or [""]]

    def of(self, caller: Caller) -> list[dict[str, Any]]:
        """Return what a caller follows, as `status` tells it."""
        return [
            {**place_of(*feed.place), "id": feed.callers[caller], "confirmed": feed.confirmed is not None}
            for feed in self._all.values()
            if caller in feed.callers
        ]

    # ---- what the exchange says

    def data(self, api: int, update: Update) -> None:
        """Give data to all who follow it."""
        feed = self._of_route.get(update.route)
        if feed is None:
            feed = self._all.get((api, update.route.channel, update.route.symbol))
            if feed is None:
                return
            self._of_route[update.route] = feed
        feed.take(update)

    def news(self, api: int, event: Event) -> bool:
        """Tell those whom an event about a channel concerns; return whether it is about one."""
        route, channel = event.route, getattr(event, "channel", "")
        if route is None and not channel:
            return False
        key = (api, route.channel, route.symbol) if route else (api, channel, getattr(event, "symbol", ""))
        feed = self._all.get(key)
        if isinstance(event, Unsubscribed) and self._leaving.get(key):
            self._leaving[key] -= 1
            return True
        if feed is None:
            return not isinstance(event, Violation)  # who sent it has no place here: let all know
        if isinstance(event, Subscribed):
            self._leaving.pop(key, None)  # an older word of its end would have come before
            feed.confirmed = event
            feed.tell(event)
        elif isinstance(event, Refused) and not event.error.startswith(INVALID_SESSION):
            self._forget(feed)
            feed.tell(event)
        elif isinstance(event, Unsubscribed):
            feed.restart()
            feed.tell(event)
        else:
            for caller in feed.callers:
                caller.take(event)
        return True

    def lost(self, link: LinkKey) -> None:
        """The connection is gone, and with it what was confirmed there."""
        for feed in self._all.values():
            if feed.link == link:
                feed.restart()
        private = link[1] == PRIVATE
        for key in [key for key in self._leaving if key[0] == link[0] and (not key[2]) == private]:
            del self._leaving[key]

    def failed(self, link: LinkKey) -> list[Feed]:
        """Forget the feeds of an endpoint that failed for good, and return them."""
        feeds = [feed for feed in self._all.values() if feed.link == link]
        for feed in feeds:
            self._forget(feed)
        self.lost(link)
        return feeds

    def close(self, event: Callable[[Feed], Event]) -> None:
        """Answer those who still wait for a word about a feed."""
        for feed in self._all.values():
            if feed.waiting:
                feed.answer(event(feed))

    # ---- the subscription that keeps a private connection

    def keep(self) -> None:
        """Follow something where a private connection is in use and nobody follows anything."""
        link = self.run.link(_KEPT)
        if link is None or link.keeper is not None or any(feed.link == _KEPT for feed in self._all.values()):
            return
        self.run.keep(link)

    def _unkeep(self) -> None:
        link = self.run.link(_KEPT)
        keeper = None if link is None else self.run.unkeep(link)
        if keeper is not None:
            self._expect(self._keys(keeper)[0])


def _values_of(bound: Bound) -> Values:
    """Return a channel's parameters without its pairs, and without the number of a request it may share."""
    return {name: value for name, value in bound.values.items() if name not in {"pair", "symbol", *_NUMBERS}}


def _bound(entry: Entry, values: Values, keys: Iterable[Key]) -> Bound:
    pairs = entry.pairs
    return Bound(entry, values if pairs is None else {**values, pairs.name: [key[2] for key in keys]})


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
