"""A market that looks alive: the seeded traders of one pair.

Theory of this file
-------------------
There is a fair price, known to the traders only. It wanders, is pushed by those who take, jumps when there is
news, and is drawn back to the start price so softly that a day's market is free and a year's stays plausible.
Around it stand two pools of orders a side: *near*, where most happens, its distances from the fair price
exponential; and *far*, the deep book of a liquid pair, ever wider spaced. Each call of `act` is one
transaction, one frame of each channel:

    place, cancel   keep each pool near its target, within a quarter of it; the last order is never cancelled
    amend           a new quantity in place; most of the changes that neither add nor delete a level
    replace         cancel and place at once: two changes of one side
    flicker         a price placed and changed twice in one transaction (quirk B11)
    take            sizes by a power law, in clusters of one direction; now and then through several levels,
                    or with the rest staying in the book (both sides in one frame)
    correct         somebody is bid above the fair price, or asked below it: a maker withdraws, or the quote
                    is taken. So a user's order fills when the price has come past it
    news            the fair price jumps, makers withdraw what it passed and quote anew on both sides

A new price is at a random distance, or one tick better than a colleague's: hence the many gaps of one tick in
real books. All geometry is relative to the price and then rounded to the tick, so a pair with a coarse tick
gets many orders a level and few deletes, as captured ones do, without being told.

Distances, sizes and the fair price are drawn as floats and are nobody's money; each becomes a whole number of
ticks or lots before it becomes an order, and is exact from there on. What the traders do depends on their
random numbers and on the book, never on the time: the same seed is the same market, byte for byte.

Chosen from captures; the comparison is in docs/market.md, made by tools/measure_market.py.
"""

from __future__ import annotations

from decimal import Decimal
from math import ceil, floor, log
from zlib import crc32

from krakenws.exchange.instruments import DEEP, NORMAL, QUIET, THIN
from krakenws.exchange.modes import CANCEL_ONLY, MAINTENANCE, ONLINE, POST_ONLY
from krakenws.exchange.orders import (
    BUY,
    CANCEL_OLDEST,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    OPPOSITE,
    SELL,
    NewOrder,
)
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.instruments import Instrument
    from krakenws.exchange.matching import Engine

    Pool = list[tuple[str, int]]  # order id, price in ticks; some have been filled since

MAKER, TAKER = "traders:maker", "traders:taker"
OWNERS = frozenset({MAKER, TAKER})
"""Whose orders these are: of no account, and of no user."""

# Of all actions, how many are …
_TAKES = 0.01  # before clustering
_NEWS = 1 / 4000
_FLICKERS = 0.002
_REPLACES = 0.05
_AMENDS = 0.17
_FAR = 0.10

_CLUSTER, _CLUSTER_DECAY = 0.15, 0.7  # how many more are takes after one, and what each action leaves of it
_SWEEPS = 0.12  # of takes
_LEAVES_REST = 0.015  # of takes
_MARKET_ORDERS = 0.25  # of the other takes
_TAKEN = 0.2  # of quotes past the fair price; makers withdraw the others in time
_PENNY = 0.35  # of new prices
_HURRY, _HURRY_MEAN = 0.7, 0.25  # of the gaps between actions; their mean, as a part of the mean of all
_WANDER_BP = 100.0  # how far from the start price the fair price is usually found in the long run
_SEED_AGE_US = 3_600_000_000


@record
class Character:
    """What the market of a pair is like.

    Attributes:
        actions_per_s: how many transactions a second its traders make.
        spacing_bp: between two near orders, in 1/10,000 of the price; the spread is three to five of them.
        near: orders kept near the fair price: bids, asks.
        far: orders kept in the deep book, on each side.
        step_bp: how far the fair price moves with each action, on average and in either direction.
        size: of a maker's order, as a multiple of the smallest.
    """

    actions_per_s: float
    spacing_bp: float
    near: tuple[int, int]
    far: int
    step_bp: float
    size: int


CHARACTERS = {
    DEEP: Character(30.0, 0.15, (12, 12), 1150, 0.04, 300),
    NORMAL: Character(15.0, 4.0, (12, 12), 150, 0.2, 100),
    THIN: Character(0.6, 10.0, (6, 6), 0, 0.8, 40),
    QUIET: Character(0.01, 20.0, (4, 1), 0, 4.0, 20),
}
"""By liquidity."""


def uniform(seed: int, name: str) -> Callable[[], float]:
    """Return a source of numbers in [0, 1), its own for each name, and the same for the same seed.

    Source: the upper 53 bits of Knuth's 64-bit linear congruential generator (MMIX).
    """
    mask = 2**64 - 1
    state = (seed * 0x9E3779B97F4A7C15 ^ crc32(name.encode()) * 0xBF58476D1CE4E5B9) & mask

    def draw() -> float:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        return (state >> 11) * 2.0**-53

    for _ in range(8):  # away from neighbouring seeds
        state = (state ^ state >> 31) & mask
        draw()
    return draw


class Traders:
    """All traders of one pair.

    Args:
        instrument: the pair.
        random: gives numbers in [0, 1).
        actions_per_s: of real time, on average; as its `Character` has it unless given.

    Attributes:
        character: what the pair's market is like.
        actions_per_s: may be changed at any time.
    """

    def __init__(
        self, instrument: Instrument, random: Callable[[], float], actions_per_s: float | None = None
    ) -> None:
        self.character = CHARACTERS[instrument.liquidity]
        self.actions_per_s = self.character.actions_per_s if actions_per_s is None else actions_per_s
        self._random = random
        self._tick = instrument.tick_size
        self._lot = Decimal(1).scaleb(-instrument.lot_decimals)
        self._smallest = int(instrument.ordermin / self._lot)
        self._start = float(instrument.start_price / self._tick)
        self._fair = self._start + 0.5  # in ticks, like everything below
        self._spacing = self._start * self.character.spacing_bp / 10_000
        self._step = 2 * self._start * self.character.step_bp / 10_000
        self._return = (self.character.step_bp / _WANDER_BP) ** 2
        self._targets = dict(zip((BUY, SELL), self.character.near, strict=True))
        self._near: dict[str, Pool] = {BUY: [], SELL: []}
        self._far: dict[str, Pool] = {BUY: [], SELL: []}
        self._excitement = 0.0
        self._trend = BUY
        self._prefix = instrument.altname
        self._ids = 0

    def next_s(self) -> float:
        """Return how long to wait for the next action, in seconds: many short gaps and a few long ones."""
        hurry = self._random() < _HURRY
        mean = _HURRY_MEAN if hurry else (1 - _HURRY * _HURRY_MEAN) / (1 - _HURRY)
        return self._exponential(mean / self.actions_per_s)

    def seed_book(self, engine: Engine, at_us: int) -> list[EngineEvent]:
        """Fill an empty book and return the events, dated over the hour before a time, the best last."""
        fair = self._fair
        orders: list[tuple[float, str, Pool]] = []
        for side in (BUY, SELL):
            distances = [self._distance(side) for _ in range(self._targets[side])]
            orders += ((distance, side, self._near[side]) for distance in distances)
            distance = max(distances)
            for rank in range(self.character.far):
                distance += self._exponential(self._spacing * (1 + rank / 20))
                orders.append((distance, side, self._far[side]))
        orders.sort(key=lambda order: order[0], reverse=True)
        events: list[EngineEvent] = []
        for number, (distance, side, pool) in enumerate(orders, 1):
            age_us = int((1 - number / len(orders)) ** 2 * _SEED_AGE_US)
            ticks = floor(fair - distance) if side == BUY else ceil(fair + distance)
            if ticks > 0:
                events += self._submit(engine, side, ticks, pool, at_us - age_us)
        return events

    def act(self, engine: Engine, at_us: int) -> list[EngineEvent]:
        """Return the events of one transaction; none in modes in which nobody can trade."""
        mode = engine.mode
        if mode in {CANCEL_ONLY, MAINTENANCE}:
            return []
        random = self._random
        self._fair += (random() - 0.5) * 2 * self._step + (self._start - self._fair) * self._return
        self._excitement *= _CLUSTER_DECAY
        side = BUY if random() < 0.5 else SELL
        if mode != POST_ONLY:
            if random() < _TAKES + self._excitement:
                return self._take(engine, side, at_us)
            corrected = self._correct(engine, at_us)
            if corrected:
                return corrected
        choice = random() - _NEWS
        if choice < 0 and mode != POST_ONLY:
            return self._news(engine, side, at_us)
        if (choice := choice - _FLICKERS) < 0:
            return self._flicker(engine, side, at_us)
        if (choice := choice - _REPLACES) < 0:
            return self._cancel(engine, self._near[side], at_us) + self._place(engine, side, at_us)
        if (choice := choice - _AMENDS) < 0:
            return self._amend(engine, side, at_us)
        if choice < _FAR and self.character.far:
            pool, target = self._far[side], self.character.far
        else:
            pool, target = self._near[side], self._targets[side]
        if random() < 0.5 + 2 * (target - len(pool)) / target:
            return self._place(engine, side, at_us, far=pool is self._far[side])
        return self._cancel(engine, pool, at_us) or self._amend(engine, side, at_us)

    def _correct(self, engine: Engine, at_us: int) -> list[EngineEvent]:
        """Return the events of what is done about an empty side, or one that is past the fair price."""
        for side, best in ((BUY, engine.best_bid), (SELL, engine.best_ask)):
            if best is None:
                events = self._place(engine, side, at_us)
                if events:
                    return events
                continue
            price, qty, _ = best
            ticks = int(price / self._tick)
            past = ticks - self._fair if side == BUY else self._fair - ticks
            if past > 0 and self._random() < 0.5:
                pool = self._near[side]
                at = next((at for at, entry in enumerate(pool) if entry[1] == ticks), -1)
                if at < 0 or engine.order(pool[at][0]) is None or self._random() < _TAKEN:
                    return self._trade(engine, OPPOSITE[side], qty, price, at_us)
                events = engine.cancel(_take_out(pool, at), at_us)
                return events if pool else events + self._place(engine, side, at_us)
        return []

    def _news(self, engine: Engine, side: str, at_us: int) -> list[EngineEvent]:
        """Return the events of a jump: stale quotes go, by their makers or by takers, and new ones come."""
        jump = self._spacing * min(5 * (1.0 - self._random()) ** -0.4, 60.0)
        self._fair = max(self._fair + jump if side == BUY else self._fair - jump, 2.0)
        passed = OPPOSITE[side]
        stale: list[str] = []
        for pool in (self._near[passed], self._far[passed]):
            kept: Pool = []
            for entry in pool:
                if entry[1] > self._fair if passed == SELL else entry[1] < self._fair:
                    kept.append(entry)
                elif engine.order(entry[0]) is not None:
                    stale.append(entry[0])
            pool[:] = kept
        events = engine.cancel_many(stale, at_us)
        for quoting in (passed, side, passed, side):
            if len(self._near[quoting]) > self._targets[quoting]:
                events += self._cancel(engine, self._near[quoting], at_us)
            events += self._place(engine, quoting, at_us)
        return events

    # Makers

    def _place(self, engine: Engine, side: str, at_us: int, *, far: bool = False) -> list[EngineEvent]:
        """Return the events of a new order that does not take."""
        random, pool = self._random, self._near[side]
        sign = 1 if side == SELL else -1
        if far:
            pool = self._far[side]
            reach = self._spacing * self._targets[side]
            distance = reach * (self._start * 0.3 / reach) ** random()
        elif pool and random() < _PENNY:
            colleague = pool[int(random() * len(pool))][1] - sign
            distance = max((colleague - self._fair) * sign, 0.0)
        else:
            distance = self._distance(side)
        ticks = ceil(self._fair + distance) if side == SELL else floor(self._fair - distance)
        best = engine.best_bid if side == SELL else engine.best_ask
        if best is not None:
            bound = int(best[0] / self._tick) + sign
            ticks = max(ticks, bound) if side == SELL else min(ticks, bound)
        return self._submit(engine, side, ticks, pool, at_us) if ticks > 0 else []

    def _submit(self, engine: Engine, side: str, ticks: int, pool: Pool, at_us: int) -> list[EngineEvent]:
        order_id = self._new_id()
        pool.append((order_id, ticks))
        new = NewOrder(order_id, MAKER, side, LIMIT, self._size(), ticks * self._tick, post_only=True)
        return engine.submit(new, at_us)

    def _cancel(self, engine: Engine, pool: Pool, at_us: int) -> list[EngineEvent]:
        """Return the events of cancelling any order of a pool but its last."""
        at = self._pick(engine, pool)
        if at < 0 or len(pool) == 1:
            return []
        return engine.cancel(_take_out(pool, at), at_us)

    def _amend(self, engine: Engine, side: str, at_us: int) -> list[EngineEvent]:
        """Return the events of a new quantity for any near order."""
        pool = self._near[side]
        at = self._pick(engine, pool)
        if at < 0:
            return self._place(engine, side, at_us)
        order = engine.order(pool[at][0])
        assert order is not None  # noqa: S101 - it was picked because it lives
        return engine.amend(order.order_id, at_us, qty=order.filled + self._size())

    def _flicker(self, engine: Engine, side: str, at_us: int) -> list[EngineEvent]:
        """Return the events of an order that is placed and twice amended."""
        events = self._place(engine, side, at_us)
        if events:
            order_id = self._near[side][-1][0]
            events += engine.amend(order_id, at_us, qty=self._size())
            events += engine.amend(order_id, at_us, qty=self._size())
        return events

    def _pick(self, engine: Engine, pool: Pool) -> int:
        """Return the place of any live order in a pool, -1 when there is none; forget those found filled."""
        while pool:
            at = int(self._random() * len(pool))
            if engine.order(pool[at][0]) is not None:
                return at
            _take_out(pool, at)
        return -1

    # Takers

    def _take(self, engine: Engine, side: str, at_us: int) -> list[EngineEvent]:
        """Return the events of a taker, who leaves at least one level standing."""
        random = self._random
        if self._excitement > _CLUSTER / 10 and random() < 0.8:
            side = self._trend
        levels = engine.levels(OPPOSITE[side], 6)
        if len(levels) < 2:
            return self._place(engine, OPPOSITE[side], at_us)
        self._excitement, self._trend = _CLUSTER, side
        best_price, best_qty, _ = levels[0]
        price: Decimal | None = best_price
        impact, stays = 0.3, False
        fate = random()
        if fate < _LEAVES_REST:
            qty, stays = best_qty + self._size(), True
        elif fate < _LEAVES_REST + _SWEEPS:
            reach = 1 + int(random() * (len(levels) - 1))
            price, last_qty, _ = levels[reach]
            qty = sum((level[1] for level in levels[:reach]), last_qty // self._lot // 2 * self._lot)
            impact = 0.5 * reach
        else:
            qty = min(int(self._smallest * (1.0 - random()) ** -1.25) * self._lot, best_qty)
            if engine.mode == ONLINE and random() < _MARKET_ORDERS:
                price = None
        self._fair += impact * self._spacing if side == BUY else -impact * self._spacing
        return self._trade(engine, side, qty, price, at_us, stays=stays)

    def _trade(
        self,
        engine: Engine,
        side: str,
        qty: Decimal,
        price: Decimal | None,
        at_us: int,
        *,
        stays: bool = False,
    ) -> list[EngineEvent]:
        """Return the events of a taker's order; forget the makers' orders it filled, remember its rest.

        Args:
            engine: the pair's.
            side: `buy` or `sell`.
            qty: in the base currency.
            price: its limit; None for a market order.
            at_us: the time.
            stays: whether its rest stays in the book.
        """
        order_id = self._new_id()
        new = NewOrder(
            order_id,
            TAKER,
            side,
            MARKET if price is None else LIMIT,
            qty,
            price,
            time_in_force=GTC if stays or price is None else IOC,
            stp_type=CANCEL_OLDEST,
        )
        events = engine.submit(new, at_us)
        pool = self._near[OPPOSITE[side]]
        pool[:] = [entry for entry in pool if engine.order(entry[0]) is not None]
        if price is not None and engine.order(order_id) is not None:
            self._near[side].append((order_id, int(price / self._tick)))
        return events

    # Numbers

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._prefix}-{self._ids}"

    def _exponential(self, mean: float) -> float:
        return -log(1.0 - self._random()) * mean

    def _distance(self, side: str) -> float:
        """Return how far from the fair price a maker quotes, in ticks."""
        return self._spacing * (0.5 + self._exponential(self._targets[side]))

    def _size(self) -> Decimal:
        """Return a maker's quantity: by a power law, and one in three times a round number."""
        random = self._random
        lots = int(
            self._smallest * self.character.size * min((1.0 - random()) ** -0.8, 200.0) * (0.1 + random())
        )
        if random() < 0.3:
            lots -= lots % 10 ** (len(str(lots)) - 2)
        return lots * self._lot


def _take_out(pool: Pool, at: int) -> str:
    """Remove the entry at a place, its order does not matter, and return its order id."""
    entry, pool[at] = pool[at], pool[-1]
    pool.pop()
    return entry[0]
