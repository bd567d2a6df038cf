"""One pair's public channels on API v1: ticker, trade, spread, ohlc and book, all from the same events.

Theory of this file
-------------------
The engine tells, transaction by transaction, which levels changed and what traded; `frames` then returns what
that transaction means on every open channel, one frame a channel at most. So every channel agrees with every
other one after each transaction. A channel costs something while it is open: the venue opens it for its first
subscriber and closes it with its last. A new subscriber is sent `snapshot`, taken between two transactions.

    trade    all trades of the transaction; nothing for a joiner
    ticker   once a transaction with trades; never for quotes alone (quirk F10)
    ohlc-N   the candle they fell into, once a transaction; nothing when a candle closes. A candle that the
             transaction itself closes is sent first, so that its last trades are seen
    spread   when price or quantity of the best bid or ask changed; nothing for a joiner
    book-N   see `bookfeed`

Numbers are text padded to the wire's precision, which is not the pair's (quirk B6). Not documented and chosen
here: in ticker and spread, a side without levels has price and quantity 0; a day without trades has the last
price as its open, high and low and 0 as its average, as an empty candle of REST `OHLC` has; the last price
before any trade is the start price, with quantity 0. The 24 hours of a ticker move on by whole minutes.

Source: v1.md 4.1, 6.1 to 6.6 and 13; quirks B6, F10, F11, L7.
"""

from __future__ import annotations

from krakenws.exchange.bookfeed import BookFeed, time_text
from krakenws.exchange.candles import MINUTE_US, Candle, Candles
from krakenws.exchange.instruments import WIRE_QTY_DECIMALS
from krakenws.exchange.orders import ZERO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from krakenws.exchange.instruments import Instrument

_KINDS = {"book": 0, "trade": 1, "ticker": 4, "spread": 5, "ohlc": 7}
"""k of a channel id. Source: v1.md 4.1."""


class PublicFeeds:
    """What the public hears of one pair.

    Attributes:
        instrument: the pair.
        book: its book.
        candles: its candles.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.book = BookFeed(
            instrument.wsname, self.channel_id("book-10"), instrument.wire_price_decimals, WIRE_QTY_DECIMALS
        )
        self.candles = Candles()
        self._intervals: dict[int, list[bytes]] = {}  # to send with the next frames: of candles that closed
        self._open: set[str] = set()
        self._last: tuple[Decimal, Decimal] | None = None
        self._traded = False
        self._trades: list[str] = []
        self._moved = False
        self._top = self._quotes()

    def channel_id(self, channel: str) -> int:
        """Return a channel's id. Depths share theirs, as intervals do: it identifies nothing (v1.md 4.1)."""
        return 16 * self.instrument.number + _KINDS[channel.partition("-")[0]]

    def open(self, channel: str) -> None:
        """Make frames for a channel, `book-10`, from now on."""
        name, _, number = channel.partition("-")
        if name == "book":
            self.book.open(int(number))
        elif name == "ohlc":
            self._intervals.setdefault(int(number), [])
        else:
            self._open.add(name)
            if name == "spread":
                self._top = self._quotes()

    def close(self, channel: str) -> None:
        """Make no more frames for an open channel."""
        name, _, number = channel.partition("-")
        if name == "book":
            self.book.close(int(number))
        elif name == "ohlc":
            del self._intervals[int(number)]
        else:
            self._open.remove(name)

    def levels_changed(self, changes: Iterable[tuple[str, Decimal, Decimal, int]]) -> None:
        """Take in the levels a transaction changed.

        Args:
            changes: (`buy` or `sell`, price, total quantity now or 0, microseconds since 1970), in order.
        """
        change = self.book.change
        for side, price, qty, at_us in changes:
            change(side, price, qty, at_us)
            self._moved = True

    def traded(self, trades: Iterable[tuple[Decimal, Decimal, str, str, int]]) -> None:
        """Take in a transaction's trades.

        Args:
            trades: (price, quantity, the taker's `buy` or `sell`, the taker's `market` or `limit`,
                microseconds since 1970), in order of time.
        """
        tell = "trade" in self._open
        for price, qty, side, order_type, at_us in trades:
            if self._traded and self._intervals:
                self._send_closing(at_us)
            self.candles.trade(price, qty, at_us)
            self._last = (price, qty)
            self._traded = True
            if tell:
                self._trades.append(
                    f'["{self._price(price)}","{self._qty(qty)}","{time_text(at_us)}",'
                    f'"{side[0]}","{order_type[0]}",""]'
                )

    def frames(self, now_us: int) -> list[tuple[str, bytes]]:
        """Return (channel, frame) for what happened since the last call on the open channels, in order.

        Args:
            now_us: microseconds since 1970, for what "today" and "24 hours" mean.
        """
        frames: list[tuple[str, bytes]] = []
        if self._traded:
            self._traded = False
            if self._trades:
                trades, self._trades = self._trades, []
                frames.append(("trade", self._frame(f"[{','.join(trades)}]", "trade")))
            if "ticker" in self._open:
                frames.append(("ticker", self._ticker(now_us)))
            for interval, closing in self._intervals.items():
                candle = self.candles.latest(interval)
                if candle is not None:
                    closing.append(self._ohlc(candle, interval))
                frames += ((f"ohlc-{interval}", frame) for frame in closing)
                closing.clear()
        if self._moved:
            self._moved = False
            frames += self.book.frames()
            if "spread" in self._open:
                top = self._quotes()
                if top != self._top:
                    self._top = top
                    frames.append(("spread", self._spread()))
        return frames

    def snapshot(self, channel: str, now_us: int) -> bytes | None:
        """Return what a new subscriber of a channel is sent first, or None.

        What `frames` has not returned yet is in it too, and would come a second time: ask after `frames`.
        """
        name, _, number = channel.partition("-")
        if name == "book":
            return self.book.snapshot(int(number))
        if name == "ticker":
            return self._ticker(now_us)
        if name == "ohlc":
            candle = self.candles.latest(int(number))
            return None if candle is None else self._ohlc(candle, int(number))
        return None

    def change_precision(self, price_decimals: int) -> None:
        """Write prices with other decimals from now on; levels that stand keep their text (quirk B21)."""
        self.book.price_format = f".{price_decimals}f"

    def _price(self, price: Decimal) -> str:
        return format(price, self.book.price_format)

    def _qty(self, qty: Decimal) -> str:
        return format(qty, self.book.qty_format)

    def _frame(self, payload: str, channel: str) -> bytes:
        return f'[{self.channel_id(channel)},{payload},"{channel}","{self.instrument.wsname}"]'.encode()

    def _quotes(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Return best ask and best bid as (price, qty) in wire text."""
        book = self.book
        nothing = self._price(ZERO), self._qty(ZERO)
        return book.best_ask() or nothing, book.best_bid() or nothing

    def _spread(self) -> bytes:
        (ask, ask_qty), (bid, bid_qty) = self._top
        return self._frame(f'["{bid}","{ask}","{self.book.changed}","{bid_qty}","{ask_qty}"]', "spread")

    def _ticker(self, now_us: int) -> bytes:
        price, qty = self._price, self._qty
        (ask, ask_qty), (bid, bid_qty) = self._quotes()
        last_price, last_qty = self._last or (self.instrument.start_price, ZERO)
        today = self.candles.today(now_us) or Candle(now_us, last_price)
        day = self.candles.last_day(now_us) or Candle(now_us, last_price)
        return self._frame(
            f'{{"a":["{ask}",{ask_qty.partition(".")[0]},"{ask_qty}"],'
            f'"b":["{bid}",{bid_qty.partition(".")[0]},"{bid_qty}"],'
            f'"c":["{price(last_price)}","{qty(last_qty)}"],'
            f'"v":["{qty(today.qty)}","{qty(day.qty)}"],'
            f'"p":["{price(today.vwap)}","{price(day.vwap)}"],'
            f'"t":[{today.count},{day.count}],'
            f'"l":["{price(today.low)}","{price(day.low)}"],'
            f'"h":["{price(today.high)}","{price(day.high)}"],'
            f'"o":["{price(today.open)}","{price(day.open)}"]}}',
            "ticker",
        )

    def _send_closing(self, at_us: int) -> None:
        """Keep the last frame of each open candle that a trade at a time will close."""
        for interval, closing in self._intervals.items():
            candle = self.candles.latest(interval)
            if candle is not None and at_us >= candle.start_us + interval * MINUTE_US:
                closing.append(self._ohlc(candle, interval))

    def _ohlc(self, candle: Candle, interval: int) -> bytes:
        price = self._price
        end_us = candle.start_us + interval * MINUTE_US
        return self._frame(
            f'["{time_text(candle.last_us)}","{time_text(end_us)}","{price(candle.open)}","{price(candle.high)}",'
            f'"{price(candle.low)}","{price(candle.close)}","{price(candle.vwap)}","{self._qty(candle.qty)}",'
            f"{candle.count}]",
            f"ohlc-{interval}",
        )
