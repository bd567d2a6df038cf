"""What a run printed, held against itself and against the exchange's own account.

The first is what a consumer of stdout relies on: a gap stands before the next data of whatever was broken,
and a book called verified has the checksum it claims, worked out here from the printed levels alone and
independently of krakenws. The second is that nothing is missing but at a published gap, and nothing twice.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable

    Event = dict[str, Any]
    Key = tuple[str, str]
    Trade = tuple[Decimal, Decimal, str, int]

PRIVATE = {"openOrders", "ownTrades"}


def at_ns(stamp: str) -> int:
    """Return an event's time as nanoseconds since 1970."""
    return _at_us(stamp) * 1000


def _at_us(stamp: str) -> int:
    moment = datetime.fromisoformat(stamp)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def place_of(event: Event) -> Key:
    """Return the channel, with its number, and the pair of an event."""
    number = event.get("depth", event.get("interval", ""))
    return f"{event['channel']}{f'-{number}' if number else ''}", event.get("symbol", "")


def check_continuity(events: Iterable[Event]) -> None:
    """A gap, with both its ends, stands before the next data of whatever was broken."""
    known: set[Key] = set()
    broken: dict[Key, str] = {}
    for event in events:
        kind = event["event"]
        if kind == "disconnected":
            is_private = event["endpoint"] == "private"
            broken |= {key: event["cause"] for key in known if (key[0] in PRIVATE) == is_private}
        elif kind == "gap":
            if event["to"] is None:
                broken[place_of(event)] = event["cause"]
            else:
                broken.pop(place_of(event), None)
                assert event.get("from", "") <= event["to"], event
        elif kind == "unsubscribed":
            broken[place_of(event)] = "unsubscribed"
        elif kind == "update":
            key = place_of(event)
            assert key not in broken, f"{key} goes on without a gap after: {broken[key]}"
            known.add(key)


# ---- books


class _Side:
    """One side of a book as printed, its texts kept: a price may come with other decimals than before."""

    def __init__(self, best: int) -> None:
        self._best = best
        self._levels: dict[Decimal, tuple[str, str]] = {}

    def apply(self, rows: list[dict[str, str]]) -> None:
        for row in rows:
            if Decimal(row["qty"]):
                self._levels[Decimal(row["price"])] = row["price"], row["qty"]
            else:
                self._levels.pop(Decimal(row["price"]), None)

    def cut(self, depth: int) -> None:
        self._levels = {price: self._levels[price] for price in self.prices[:depth]}

    @property
    def prices(self) -> list[Decimal]:
        return sorted(self._levels, key=lambda price: self._best * price)

    @property
    def digits(self) -> str:
        """The first ten levels as the checksum takes them. Source: v1.md, book checksum."""
        return "".join(
            text.replace(".", "").lstrip("0") for price in self.prices[:10] for text in self._levels[price]
        )


def check_books(events: Iterable[Event]) -> int:
    """Every book called verified has the checksum it was sent with; return how many were."""
    books: dict[Key, tuple[_Side, _Side]] = {}
    verified = 0
    for event in events:
        if event["event"] != "update" or event["channel"] != "book":
            continue
        key = place_of(event)
        if event["type"] == "snapshot":
            books[key] = _Side(1), _Side(-1)
        asks, bids = books[key]
        for row in event["data"]:
            asks.apply(row["asks"])
            bids.apply(row["bids"])
        asks.cut(event["depth"])
        bids.cut(event["depth"])
        if event["trust"] == "verified":
            verified += 1
            assert crc32((asks.digits + bids.digits).encode()) == event["data"][-1]["checksum"], event
        assert not asks.prices or not bids.prices or asks.prices[0] > bids.prices[0], event
    return verified


# ---- against the exchange


def check_trades(events: Iterable[Event], truth: Iterable[Event]) -> int:
    """Trades are the exchange's, in its order, none twice, none missing but at a gap; return how many."""
    made = _made(truth)
    stretches: dict[str, list[list[Trade]]] = {}
    for event in events:
        if event.get("channel") != "trade":
            continue
        stretch = stretches.setdefault(event["symbol"], [[]])
        if event["event"] == "gap" and event["to"] is not None:
            stretch.append([])
        elif event["event"] == "update":
            stretch[-1] += [_trade(row) for row in event["data"] if "source" not in row]
    for symbol, parts in stretches.items():
        at = 0
        for part in filter(None, parts):
            at = made[symbol].index(part[0], at)
            assert made[symbol][at : at + len(part)] == part, f"{symbol}: lost, doubled or made up"
            at += len(part)
    return sum(len(part) for parts in stretches.values() for part in parts)


def check_backfill(events: Iterable[Event], truth: Iterable[Event]) -> None:
    """With those that REST told, every trade between the first and the last is there, and there once."""
    told: dict[str, Counter[Trade]] = {}
    for event in events:
        if event["event"] == "update" and event["channel"] == "trade":
            told.setdefault(event["symbol"], Counter()).update(map(_trade, event["data"]))
    for symbol, made in _made(truth).items():
        places = [at for at, trade in enumerate(made) if trade in told[symbol]]
        between = Counter(made[places[0] : places[-1] + 1])
        assert not between - told[symbol], f"{symbol}: lost"
        assert not told[symbol] - between, f"{symbol}: doubled or made up"


def _made(truth: Iterable[Event]) -> dict[str, list[Trade]]:
    """Return the exchange's trades by pair, in order."""
    made: dict[str, list[Trade]] = {}
    for entry in truth:
        if entry["event"] == "Market":
            made.setdefault(entry["pair"], []).extend(
                (Decimal(trade["price"]), Decimal(trade["qty"]), trade["side"], entry["time_us"])
                for trade in entry["trades"]
            )
    return made


def trades_made(truth: Iterable[Event]) -> int:
    """Return how many trades there were, of all pairs."""
    return sum(map(len, _made(truth).values()))


def _trade(row: dict[str, str]) -> Trade:
    return Decimal(row["price"]), Decimal(row["qty"]), row["side"], _at_us(row["timestamp"])


def check_fills(events: Iterable[Event], settled: set[str]) -> set[str]:
    """No own fill is told twice as live, and none is made up; return the ids of those that were told."""
    live: list[str] = []
    told: set[str] = set()
    for event in events:
        if event["event"] == "update" and event["channel"] == "ownTrades":
            ids = [row["exec_id"] for row in event["data"]]
            told.update(ids)
            if event["type"] == "update":
                live += ids
    assert len(live) == len(set(live)), "a fill was told twice as live"
    assert told <= settled
    return told


def orders_taken(truth: Iterable[Event]) -> list[Event]:
    """Return the user's own orders that the exchange took."""
    return [
        entry["order"]
        for entry in truth
        if entry["event"] == "Accepted" and not str(entry["order"]["owner"]).startswith("traders")
    ]
