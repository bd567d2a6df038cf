"""The exchange's own account of what happened: numbered lines in the order of time.

Theory of this file
-------------------
Every line is `{"seq", "time_us", "event", …}`: `seq` counts from 1 without a gap, `time_us` never goes back,
whatever the pair. Numbers of money are exact text, times microseconds since 1970.

Of the traders it tells what they do to the book, not which of their orders did it: one `Book` a pair when it
opens, then one `Market` for each transaction. Of the accounts it tells everything: what was refused, each
order and each of its states, each fill, each change of a balance. So every book, every public feed, every
account's money and every order's end follow from the lines alone.

One transaction's lines: its orders' states as the engine reports them, `Market`, then `Settled`, `Ledger` and
`Ended`.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct, to_builtins

from krakenws.exchange.events import (
    Accepted,
    Amended,
    Armed,
    Filled,
    LevelChanged,
    Rested,
    Triggered,
)
from krakenws.exchange.orders import BUY, SELL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.market import Market
    from krakenws.exchange.records import OrderRecord

    Line = dict[str, object]

_STATES = (Accepted, Armed, Triggered, Rested, Amended)
"""What the engine tells of an order before it ends; `Settled` and `Ended` tell the rest, with the money."""


class Truth:
    """The account of one exchange.

    Args:
        write: takes each line, an object that JSON can say.
    """

    def __init__(self, write: Callable[[Line], None]) -> None:
        self._write = write
        self._seq = 0

    def tell(self, event: str, time_us: int, **fields: object) -> None:
        """Write a line."""
        self._seq += 1
        line: Line = {"seq": self._seq, "time_us": time_us, "event": event}
        line.update((name, _plain(value)) for name, value in fields.items())
        self._write(line)

    def opened(self, market: Market, time_us: int) -> None:
        """Write the book that a market opens with."""
        bids, asks = ([(price, qty) for price, qty, _ in market.engine.levels(side)] for side in (BUY, SELL))
        self.tell("Book", time_us, pair=market.instrument.wsname, bids=bids, asks=asks)

    def transaction(
        self, pair: str, events: Sequence[EngineEvent], time_us: int, orders: Mapping[str, OrderRecord]
    ) -> None:
        """Write what one transaction did.

        Args:
            pair: the market's wsname.
            events: the engine's.
            time_us: when it was.
            orders: the accounts' live orders on the pair, by id.
        """
        levels: list[tuple[object, ...]] = []
        trades: list[Line] = []
        for event in events:
            if isinstance(event, LevelChanged):
                levels.append((event.side, event.price, event.qty))
            elif isinstance(event, Filled):
                trades.append(_trade(event))
            elif isinstance(event, _STATES):
                order_id = event.order.order_id if isinstance(event, Accepted) else event.order_id
                if order_id in orders:
                    self._state(pair, orders[order_id].owner, event)
        if levels or trades:
            self.tell("Market", time_us, pair=pair, levels=levels, trades=trades)

    def _state(self, pair: str, account: str, event: EngineEvent) -> None:
        fields = to_builtins(event, builtin_types=(Decimal,))
        self.tell(fields.pop("event"), fields.pop("time_us"), account=account, pair=pair, **fields)


def _trade(event: Filled) -> Line:
    return {
        "trade_id": event.trade_id,
        "price": event.price,
        "qty": event.qty,
        "side": event.taker_side,
        "ord_type": event.taker_type,
        "maker_id": event.maker_id,
        "taker_id": event.taker_id,
    }


def _plain(value: object) -> object:
    """Return a value as JSON can say it, numbers of money with all their digits."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Struct):
        return _plain(to_builtins(value, builtin_types=(Decimal,)))
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
