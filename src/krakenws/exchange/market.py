"""One pair's market: its engine, those who trade in it, and all that the public is told of it.

Theory of this file
-------------------
Whatever the engine does goes through `take`, once, in order: to the feeds, to the subscribers, to the short
memory that REST reads, and to an observer (the users' desk, the truth log). So no channel can know anything
that another one does not.

Each act of the traders has a time of its own, drawn from their random numbers; `advance` carries out what is
due by a time, at those times. So the market's history depends on the seed alone: not on who watches, nor on
how often `advance` is called. A market that nobody looked at yet has not even been opened, and catches up.

A machine that cannot keep up with the rate asked for falls behind by `MAX_LAG_US` at most. Beyond that time
passes without trading: the only case in which the history depends on the machine.

Source: issue "The sandbox exchange", points 2 to 4; v1.md 13.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from krakenws.exchange.events import Filled, LevelChanged
from krakenws.exchange.feeds import PublicFeeds
from krakenws.exchange.matching import Engine
from krakenws.exchange.orders import ZERO
from krakenws.exchange.traders import CHARACTERS, Traders, uniform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.exchange.clearing import Clearing
    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.instruments import Instrument
    from krakenws.exchange.protocol import Subscription

    Observer = Callable[["Market", Sequence[EngineEvent], int], None]

BATCH_ACTIONS = 500
"""So many acts of the traders are carried out at a time; then somebody else has his turn."""
MAX_LAG_US = 10_000_000
TRADES_KEPT = 1000
SPREADS_KEPT = 200
FULL_RATE = CHARACTERS["deep"].actions_per_s
"""Acts a second of the liveliest pairs, which the rate asked for is compared with."""


class Market:
    """One pair.

    Args:
        instrument: the pair.
        seed: with the pair's name, what its traders do.
        rate: acts a second of the liveliest pairs, others in proportion; None as their characters have it.
        start_us: when it begins, microseconds since 1970.
        clearing: whom the engine asks about money and positions, and tells of fills.
        observe: told of each transaction: the market, its events, and when.

    Attributes:
        engine: its book and its orders; whoever uses it hands what it returns to `take`.
        feeds: what the public hears.
        trades: the last ones.
        spreads: (microseconds, best bid, best ask) as text, the last ones.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        seed: int,
        rate: float | None,
        start_us: int,
        clearing: Clearing,
        observe: Observer,
    ) -> None:
        self.instrument = instrument
        self.engine = Engine(
            instrument.wsname,
            tick_size=instrument.tick_size,
            lot_size=Decimal(1).scaleb(-instrument.lot_decimals),
            last_price=instrument.start_price,
            clearing=clearing,
        )
        self.feeds = PublicFeeds(instrument)
        self.trades: deque[Filled] = deque(maxlen=TRADES_KEPT)
        self.spreads: deque[tuple[int, str, str]] = deque(maxlen=SPREADS_KEPT)
        self._observe = observe
        own_rate = CHARACTERS[instrument.liquidity].actions_per_s
        self._traders = Traders(
            instrument,
            uniform(seed, instrument.wsname),
            None if rate is None else own_rate * rate / FULL_RATE,
        )
        self._audience: dict[str, list[Subscription]] = {}
        self._is_open = False
        self._at_us = self._start_us = start_us
        self._next_us = start_us
        self._best: tuple[Decimal, Decimal] = (ZERO, ZERO)

    @property
    def is_watched(self) -> bool:
        """Whether anybody is subscribed."""
        return bool(self._audience)

    @property
    def next_us(self) -> int:
        """When something will happen next: microseconds since 1970."""
        expiry_us = self.engine.next_expiry_us
        return self._next_us if expiry_us is None else min(self._next_us, expiry_us)

    def advance(self, to_us: int, actions: int = BATCH_ACTIONS) -> int:
        """Carry out what is due by a time, so many acts at most, and return the time that it is here then."""
        while self.next_us <= to_us:
            if not actions:
                self.skip(to_us - MAX_LAG_US)
                return self._at_us
            actions -= 1
            self.act()
        self._at_us = max(self._at_us, to_us)
        return self._at_us

    def act(self) -> int:
        """Carry out what is due next, an act of the traders or the expiry of orders; return when it was."""
        if not self._is_open:
            self.open()
            return self._at_us
        expiry_us = self.engine.next_expiry_us
        if expiry_us is not None and expiry_us < self._next_us:
            self._at_us = max(self._at_us, expiry_us)
            events = self.engine.expire(self._at_us)
        else:
            self._at_us = self._next_us
            events = self._traders.act(self.engine, self._at_us)
            self._next_us += 1 + int(self._traders.next_s() * 1_000_000)
        if events:
            self.take(events, self._at_us)
        return self._at_us

    def skip(self, to_us: int) -> None:
        """Let time pass without trading: the machine is too slow."""
        self._next_us = max(self._next_us, to_us)

    def price_at(self, at_us: int) -> Decimal:
        """Return the price of the last trade before a time, or the one it started from."""
        self.advance(at_us - 1)
        return self.engine.last_price or self.instrument.start_price

    def take(self, events: Sequence[EngineEvent], at_us: int) -> None:
        """Tell everybody what the engine did in one transaction."""
        changes: list[tuple[str, Decimal, Decimal, int]] = []
        trades: list[Filled] = []
        for event in events:
            kind = type(event)
            if kind is LevelChanged:
                changes.append((event.side, event.price, event.qty, event.time_us))  # type: ignore[union-attr]  # by kind
            elif kind is Filled:
                trades.append(event)  # type: ignore[arg-type]  # by kind
        feeds = self.feeds
        if trades:
            self.trades.extend(trades)
            feeds.traded([(t.price, t.qty, t.taker_side, t.taker_type, t.time_us) for t in trades])
        if changes:
            feeds.levels_changed(changes)
            self._remember_spread(at_us)
        if self._audience:
            for channel, frame in feeds.frames(at_us):
                for subscription in self._audience[channel]:
                    subscription.client.publish(frame)
        self._observe(self, events, at_us)

    def join(self, subscription: Subscription) -> None:
        """Send a new subscriber what comes first, and from then on every frame."""
        channel = subscription.channel
        self.feeds.frames(self._at_us)  # what happened while nobody listened is told by the snapshot
        audience = self._audience.get(channel)
        if audience is None:
            self.feeds.open(channel)
            audience = self._audience[channel] = []
        snapshot = self.feeds.snapshot(channel, self._at_us)
        if snapshot is not None:
            subscription.client.publish(snapshot)
        audience.append(subscription)

    def leave(self, subscription: Subscription) -> None:
        """Send it nothing more."""
        audience = self._audience.get(subscription.channel, [])
        if subscription in audience:
            audience.remove(subscription)
            if not audience:
                del self._audience[subscription.channel]
                self.feeds.close(subscription.channel)

    def open(self) -> None:
        """Let the traders fill the book, as of the start; otherwise the first act is this."""
        self._is_open = True
        events = self._traders.seed_book(self.engine, self._start_us)
        self.take(events, self._start_us)
        self._next_us = self._start_us + 1 + int(self._traders.next_s() * 1_000_000)

    def _remember_spread(self, at_us: int) -> None:
        bid, ask = self.engine.best_bid, self.engine.best_ask
        best = (bid[0] if bid else ZERO, ask[0] if ask else ZERO)
        if best != self._best:
            self._best = best
            decimals = self.instrument.wire_price_decimals
            self.spreads.append((at_us, f"{best[0]:.{decimals}f}", f"{best[1]:.{decimals}f}"))
