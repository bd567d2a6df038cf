"""One channel and pair of a recording: playing its frames, and what a late joiner is sent first.

Theory of this file
-------------------
A route passes its frames on byte for byte. Whoever joins between two of them needs what the exchange would
send first: a book's levels or the open orders as they stand there, the last fifty own trades, the latest
ticker or candle; nothing for trades and spreads. That state is rebuilt from the frames played so far when
somebody joins, and goes on from there at the next join: playing itself decodes nothing, at the price of a
longer first join late in a long recording.

Private frames carry a number that belongs to the subscription (quirk P2). Where recording and subscription
count differently, the frame is written anew with the subscription's number.

Source: v1.md 6.1, 6.2, 6.5, 7.1 to 7.3; quirks B12, L7, P2, P4, P6.
"""

from __future__ import annotations

from json import dumps

from krakenws.core.book import Book
from krakenws.core.dialect import decode
from krakenws.core.v1 import V1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from krakenws.exchange.protocol import Subscription

_ENDED = frozenset({"closed", "canceled", "expired"})
_LAST_TRADES = 50


class Route:
    """One channel and pair of a recording: its frames, how many were played, and to whom.

    Attributes:
        played: how many of `frames` were played since the start.
    """

    def __init__(self, channel: str, symbol: str) -> None:
        self.channel = channel
        self.symbol = symbol
        self.recorded_id: int | None = None
        self.frames: list[bytes] = []
        self.played = 0
        self.subscriptions: list[Subscription] = []

    @property
    def can_serve(self) -> bool:
        """Whether it can be subscribed: a channel that stays quiet is normal (quirk L7)."""
        return True

    @property
    def channel_id(self) -> int | None:
        """The id in the recorded ack, else the one in the frames; None for private channels."""
        if self.recorded_id is None and self.frames:
            first = decode(self.frames[0])[0]
            return first if isinstance(first, int) else None
        return self.recorded_id

    def join(self, subscription: Subscription) -> None:
        """Send what comes first, and from then on every frame."""
        frame = self.opening()
        if frame is not None:
            subscription.client.publish(frame)
        self.subscriptions.append(subscription)

    def leave(self, subscription: Subscription) -> None:
        """Send it nothing more."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)

    def opening(self) -> bytes | None:
        """Return what a client that joins now is sent first, or None."""
        return None

    def play(self) -> int:
        """Send the next frame and return its length in bytes."""
        frame = self.frames[self.played]
        self.played += 1
        for subscription in self.subscriptions:
            subscription.client.publish(frame)
        return len(frame)

    def rewind(self) -> None:
        """Stand before the first frame again; subscriptions stay."""
        self.played = 0


class LatestRoute(Route):
    """Ticker and candles: a new subscriber is sent the latest frame (v1.md 6.1, 6.2)."""

    def opening(self) -> bytes | None:
        """Return the latest frame."""
        return self.frames[self.played - 1] if self.played else None


class BookRoute(Route):
    """A book: a new subscriber is sent its levels with their times, between two frames."""

    def __init__(self, channel: str, symbol: str) -> None:
        super().__init__(channel, symbol)
        depth = channel.partition("-")[2]
        self._book = Book(symbol, int(depth) if depth.isdecimal() and int(depth) else 10)
        self._times: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self._applied = 0
        self._known = False

    @property
    def can_serve(self) -> bool:
        """A book owes a snapshot: an ack alone is not enough."""
        return bool(self.frames)

    def rewind(self) -> None:
        """Stand before the first frame again; subscriptions stay."""
        super().rewind()
        self._applied = 0
        self._known = False

    def opening(self) -> bytes | None:
        """Return the book as a snapshot frame, in the recording's own text."""
        for frame in self.frames[self._applied : self.played]:
            self._apply(frame)
        self._applied = self.played
        if not self._known:
            return None  # no snapshot was played yet, or a broken frame made it worthless
        asks, bids = map(self._levels, (self._book.asks(), self._book.bids()), self._times)
        payload = {"as": asks, "bs": bids}
        return _compact([self.channel_id or 0, payload, self.channel, self.symbol])

    def _apply(self, frame: bytes) -> None:
        try:
            changes = V1.book(frame)
            if changes.snapshot:
                self._times = ({}, {})
                self._known = True
                self._book.snapshot(changes.asks, changes.bids)
            else:
                self._book.update(changes.asks, changes.bids)
        except ValueError:
            self._known = False
            return
        for times, levels in zip(self._times, (changes.asks, changes.bids), strict=True):
            times.update((level[0], level[2]) for level in levels if len(level) > 2)

    def _levels(self, levels: Sequence[tuple[str, str]], times: dict[str, str]) -> list[list[str]]:
        return [[price, qty, times.get(price, "0.000000")] for price, qty in levels]


class PrivateRoute(Route):
    """An account's channel: frames are numbered by subscription, and begin with a snapshot as number 1."""

    def __init__(self, channel: str, symbol: str) -> None:
        super().__init__(channel, symbol)
        self._state: dict[str, dict[str, Any]] = {}
        self._applied = 0

    def rewind(self) -> None:
        """Stand before the first frame again; subscriptions stay."""
        super().rewind()
        self._state.clear()
        self._applied = 0

    def join(self, subscription: Subscription) -> None:
        """Send what comes first, and from then on every frame."""
        if subscription.values.get("snapshot", True) and not self._begins_with_snapshot():
            for frame in self.frames[self._applied : self.played]:
                self._apply(V1.classify(frame).body)
            self._applied = self.played
            subscription.publish(_compact([{name: fields} for name, fields in self._snapshot().items()]))
        self.subscriptions.append(subscription)

    def _begins_with_snapshot(self) -> bool:
        """Whether the recorded snapshot is still to come."""
        return self.played == 0 and bool(self.frames) and V1.classify(self.frames[0]).sequence == 1

    def play(self) -> int:
        """Send the next frame under each subscription's own number, and return its length in bytes."""
        is_snapshot = self._begins_with_snapshot()
        frame = self.frames[self.played]
        self.played += 1
        envelope = V1.classify(frame)
        payload = b""
        for subscription in self.subscriptions:
            if is_snapshot and not subscription.values.get("snapshot", True):
                continue
            if envelope.sequence == subscription.sequence + 1:
                subscription.sequence += 1
                subscription.client.publish(frame)
                continue
            payload = payload or _compact(envelope.body)
            subscription.publish(payload)
        return len(frame)

    def _apply(self, items: list[object]) -> None:
        for item in items:
            for name, fields in item.items() if isinstance(item, dict) else ():
                if isinstance(fields, dict):
                    self._state.setdefault(name, {}).update(fields)

    def _snapshot(self) -> dict[str, dict[str, Any]]:
        raise NotImplementedError


class OrdersRoute(PrivateRoute):
    """Open orders: updates are partial and merged by order id (quirk P4)."""

    def _snapshot(self) -> dict[str, dict[str, Any]]:
        return {
            order_id: fields
            for order_id, fields in self._state.items()
            if "descr" in fields and fields.get("status") not in _ENDED
        }


class TradesRoute(PrivateRoute):
    """Own trades: a new subscriber is sent the last fifty."""

    def _snapshot(self) -> dict[str, dict[str, Any]]:
        return dict(list(self._state.items())[-_LAST_TRADES:])


ROUTES: dict[str, type[Route]] = {
    "ticker": LatestRoute,
    "ohlc": LatestRoute,
    "trade": Route,
    "spread": Route,
    "book": BookRoute,
    "openOrders": OrdersRoute,
    "ownTrades": TradesRoute,
}


def _compact(value: object) -> bytes:
    return dumps(value, separators=(",", ":")).encode()
