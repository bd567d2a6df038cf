"""Text for people at a terminal: a line a row, local time, columns that line up, never wider than a screen.

A line is a list of cells, a cell a list of (style, text). Everything passes through one `_render`, which
escapes control characters, drops cells at the end that do not fit, cuts what still does not, and colours.
No number is cut: one without its last digits is another number.
Digits are the wire's: trailing zeros tell what precision a pair has.
"""

from __future__ import annotations

from time import localtime

from krakenws.core import events
from krakenws.core.violations import plain
from krakenws.sinks import COLUMNS, Sink
from krakenws.sinks.sentences import sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from time import struct_time
    from typing import Any

    from krakenws.core.events import Event, Update
    from krakenws.core.rows import (
        Balance,
        Candle,
        Fill,
        Level,
        Levels,
        Order,
        Spread,
        Ticker,
        Trade,
    )
    from krakenws.errors import KrakenWSError
    from krakenws.sinks import Out

    Cell = list[tuple[str, str]]

_WIDEST = 24
"""A column does not grow beyond this: one monstrous number must not spoil all lines after it."""
_KEPT = 5
"""This many cells of a line are never dropped for want of room."""
_DIM, _BOLD, _RED, _GREEN, _WARN = "2", "1", "31", "32", "1;33"
_SIDES = {"buy": _GREEN, "sell": _RED}
_STYLES = {
    events.Disconnected: _WARN,
    events.Deferred: _WARN,
    events.Refused: _RED,
    events.Gap: _WARN,
    events.Lagging: _WARN,
    events.Violation: _RED,
    events.Untrusted: _RED,
    events.Met: _GREEN,
    events.Reply: _GREEN,
    events.Rejected: _RED,
    events.Unanswered: _WARN,
    events.Pong: "",
}
_ANSWERS = (events.Pong, events.Reply, events.Rejected, events.Unanswered)
"""What a command ends with: a sentence alone, without the time."""
_NOTHING = {"Order": "no open orders", "Fill": "no trades yet"}
"""What a snapshot without rows says."""
_OVER = frozenset({"closed", "canceled", "expired"})


class Text(Sink):
    """Rows as aligned lines, everything else as sentences."""

    def __init__(
        self,
        out: Out,
        *,
        color: bool = False,
        channels: bool = False,
        local: Callable[[float], struct_time] = localtime,
        columns: Callable[[], int] = lambda: COLUMNS,
    ) -> None:
        """Make one.

        Args:
            out: where it writes.
            color: whether to colour.
            channels: name the channel in each line, for runs of several.
            local: gives the local time of epoch seconds.
            columns: gives the widest a line may be, which changes with a window.
        """
        self._write = out.write
        self._color = color
        self._channels = channels
        self._local = local
        self._measure = columns
        self._columns = columns()
        self._align = _Columns()
        self._seen: dict[tuple[str, str, str], float] = {}
        self._orders: dict[str, Order] = {}
        self._failures: list[str] = []
        self._layouts: dict[str, Callable[[Update, Any], list[Cell]]] = {
            "Ticker": self._ticker,
            "Level": self._book,
            "Spread": self._spread,
            "Trade": self._trade,
            "Candle": self._candle,
            "Order": self._order,
            "Fill": self._fill,
            "Balance": self._balance,
        }

    def write(self, events_: Sequence[Update | Event]) -> None:
        """Write lines for events; heartbeats have none."""
        self._columns = self._measure()
        lines: list[str] = []
        for event in events_:
            if isinstance(event, events.Update):
                lines += self._rows(event)
            else:
                lines += self._sentence(event)
        if lines:
            self._write(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))

    def has_told(self, error: KrakenWSError) -> bool:
        """Return whether the error is a refused or unanswered command, which already has its line."""
        return any(str(error).endswith(said) for said in self._failures)

    def _rows(self, update: Update) -> list[str]:
        try:
            rows = update.rows()
        except ValueError as error:
            return self._sentence(update.violation(error))
        word, head = update.route.entry.rows, self._head(update)
        if update.snapshot and not rows and word in _NOTHING:
            return [self._render([*head, [(_DIM, _NOTHING[word])]])]
        when = self._when_made(update, rows)
        lines = []
        for row in rows:
            if when is not None:
                head[0] = [(_DIM, when(row.timestamp))]
            lines.append(self._render([*head, *self._layouts[word](update, row)]))
        return lines

    def _when_made(self, update: Update, rows: Sequence[Any]) -> Callable[[str], str] | None:
        """Return what tells the time of rows that are older than the message that brought them, or None."""
        word = update.route.entry.rows
        if word == "Fill" and update.snapshot:  # of other days
            return self._when
        return self._moment if word == "Trade" and rows and rows[0].source else None

    def _head(self, update: Update) -> list[Cell]:
        cells: list[Cell] = [[(_DIM, self._time(update.received_ns))]]
        if self._channels:
            cells.append([(_DIM, self._align.word("channel", update.route.entry.name))])
        if update.route.symbol:
            cells.append([(_BOLD, self._align.word("symbol", update.route.symbol))])
        return cells

    def _sentence(self, event: Event) -> list[str]:
        said = sentence(event, self._time)
        if not said:
            return []
        style = _STYLES.get(type(event), _DIM)
        if isinstance(event, events.Status) and event.system != "online":
            style = _WARN
        if isinstance(event, events.Rejected | events.Unanswered):
            self._failures.append(said)
        if not isinstance(event, _ANSWERS):
            said = f"{self._time(event.received_ns)}  {said}"
        if len(said) <= self._columns or isinstance(event, events.Violation):
            return [self._render([[(style, said)]])]
        from textwrap import wrap

        return [
            self._render([[(style, line)]]) for line in wrap(said, self._columns, subsequent_indent="    ")
        ]

    def _ticker(self, update: Update, row: Ticker) -> list[Cell]:
        symbol, number = update.route.symbol, self._align.number
        style, arrow = self._direction("ticker", symbol, "last", row.last)
        change = _percent(row.open, row.last)
        return [
            [(style, f"{number('last', symbol, row.last)} {arrow}")],
            [(_DIM, "bid "), ("", number("bid", symbol, row.bid))],
            [(_DIM, "ask "), ("", number("ask", symbol, row.ask))],
            [(_RED if change.startswith("-") else _GREEN, f"{change:>7}")],
            [(_DIM, "vol "), ("", row.volume)],
        ]

    def _trade(self, update: Update, row: Trade) -> list[Cell]:
        symbol, number = update.route.symbol, self._align.number
        style, arrow = self._direction("trade", symbol, "price", row.price)
        return [
            [(_SIDES.get(row.side, ""), f"{row.side:<4}")],
            [(style, f"{number('price', symbol, row.price)} {arrow}")],
            [("", number("qty", symbol, row.qty, 4))],
            [(_DIM, row.ord_type)],
            *([[("", row.misc)]] if row.misc else ()),
            *([[(_DIM, row.source)]] if row.source else ()),
        ]

    def _spread(self, update: Update, row: Spread) -> list[Cell]:
        symbol, number = update.route.symbol, self._align.number
        bid, _ = self._direction("spread", symbol, "bid", row.bid)
        ask, _ = self._direction("spread", symbol, "ask", row.ask)
        bid_qty, ask_qty = (
            number("bid_qty", symbol, row.bid_qty, 4),
            number("ask_qty", symbol, row.ask_qty, 4),
        )
        return [
            [("", bid_qty), (_DIM, " bid "), (bid, number("best_bid", symbol, row.bid))],
            [(ask, number("best_ask", symbol, row.ask)), (_DIM, " ask "), ("", ask_qty)],
            [(_DIM, "spread "), ("", _difference(row.ask, row.bid))],
        ]

    def _candle(self, update: Update, row: Candle) -> list[Cell]:
        symbol, number = update.route.symbol, self._align.number
        style, arrow = _moved(_float(row.open), _float(row.close))
        begin = self._when(row.interval_begin)
        begin = begin[-5:] if row.interval < 1440 else begin[:10]
        return [
            [("", self._align.word("candle", f"{begin} {row.interval}m"))],
            # The close first: what does not fit is dropped from the end.
            [(_DIM, "C "), (style, f"{number('ohlc', symbol, row.close)} {arrow}")],
            [(_DIM, "O "), ("", number("ohlc", symbol, row.open))],
            [(_DIM, "H "), ("", number("ohlc", symbol, row.high))],
            [(_DIM, "L "), ("", number("ohlc", symbol, row.low))],
            [(_DIM, "vol "), ("", row.volume)],
        ]

    def _book(self, update: Update, row: Levels) -> list[Cell]:
        if update.snapshot:
            cells: list[Cell] = [[("", f"snapshot {len(row.asks)} asks {len(row.bids)} bids")]]
            if row.asks and row.bids:
                best_bid, best_ask = (_GREEN, row.bids[0].price), (_RED, row.asks[0].price)
                cells.append([(_DIM, "best "), best_bid, (_DIM, " / "), best_ask])
            return cells
        head = sum(2 + len(text) for cell in self._head(update) for _, text in cell)
        room = self._columns - head - len("✓  ")
        if row.asks and row.bids:
            room = (room - 2) // 2
        mark = (_GREEN, "✓") if update.trust == events.VERIFIED else (_WARN, "?")
        symbol = update.route.symbol
        sides = (("ask", _RED, row.asks), ("bid", _GREEN, row.bids))
        return [[mark], *(self._levels(symbol, *side, room) for side in sides if side[2])]

    def _levels(self, symbol: str, name: str, style: str, levels: Sequence[Level], room: int) -> Cell:
        """As many levels of one side as fit, one price at the least, and how many more there are."""
        cell: Cell = [(_DIM, name)]
        room -= len(name)
        for index, level in enumerate(levels):
            gone = not level.qty.strip("0.")
            price = self._align.number("level", symbol, level.price)
            qty = self._align.number("level_qty", symbol, "-" if gone else level.qty, 2)
            gap = "  " if index else " "
            more = f"  +{len(levels) - index}"
            room -= len(gap) + len(price) + 1 + len(qty)
            if index and room < (len(more) if index + 1 < len(levels) else 0):
                return [*cell, (_DIM, more)]
            cell += [("", gap), (_DIM if gone else style, price)]
            if index or room >= 0:
                cell.append((_DIM if gone else "", f" {qty}"))
        return cell

    def _order(self, _: Update, row: Order) -> list[Cell]:
        known = self._orders.get(row.order_id, row) if row.symbol is None else row
        status = row.order_status or ("filling" if row.cum_qty else "changed")
        if status in _OVER:
            self._orders.pop(row.order_id, None)
        elif known.symbol:
            self._orders[row.order_id] = known
        cells: list[Cell] = [[("", row.order_id)], [(_BOLD, f"{status:<8}")], _order_phrase(row, known)]
        if row.reason:
            cells.append([(_DIM, row.reason)])
        return [cell for cell in cells if cell]

    def _fill(self, _: Update, row: Fill) -> list[Cell]:
        symbol, number = row.symbol, self._align.number
        return [
            [("", row.order_id)],
            [
                (_SIDES.get(row.side, ""), f"{row.side:<4}"),
                ("", f" {number('fill_qty', symbol, row.last_qty, 3)}"),
            ],
            [
                (_BOLD, self._align.word("symbol", symbol)),
                ("", f" at {number('fill_price', symbol, row.last_price)}"),
            ],
            [(_DIM, "fee "), ("", row.fee)],
        ]

    def _balance(self, _: Update, row: Balance) -> list[Cell]:
        cells: list[Cell] = [
            [(_BOLD, self._align.word("asset", row.asset))],
            [("", self._align.number("balance", row.asset, row.balance, 6))],
        ]
        if row.amount:
            sign = "" if row.amount.startswith("-") else "+"
            style = _GREEN if sign else _RED
            cells.append([(style, self._align.number("amount", row.asset, sign + row.amount, 5))])
            cells.append([("", " ".join(word for word in (row.type, row.subtype) if word))])
        if row.fee and row.fee.strip("0."):
            cells.append([(_DIM, "fee "), ("", row.fee)])
        parts = [f"{wallet.type} {wallet.id} {wallet.balance}" for wallet in row.wallets or ()]
        if len(parts) > 1:
            cells.append([(_DIM, ", ".join(parts))])
        return cells

    def _direction(self, channel: str, symbol: str, column: str, price: str) -> tuple[str, str]:
        """Colour and arrow of a price against the one before it. The float is for order only."""
        value = _float(price)
        before = self._seen.get((channel, symbol, column), value)
        self._seen[channel, symbol, column] = value
        return _moved(before, value)

    def _time(self, ns: int) -> str:
        second, rest_ns = divmod(ns, 1_000_000_000)
        at = self._local(second)
        clock = f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
        return clock if self._columns < COLUMNS else f"{clock}.{rest_ns // 1_000_000:03d}"

    def _moment(self, timestamp: str) -> str:
        """Return local time of RFC 3339 UTC."""
        fraction = timestamp.partition(".")[2].rstrip("Z")
        return self._time(_seconds(timestamp) * 1_000_000_000 + int(fraction[:9].ljust(9, "0")))

    def _when(self, timestamp: str) -> str:
        """Return local date and minute of RFC 3339 UTC."""
        at = self._local(_seconds(timestamp))
        return f"{at.tm_year}-{at.tm_mon:02d}-{at.tm_mday:02d} {at.tm_hour:02d}:{at.tm_min:02d}"

    def _render(self, cells: list[Cell]) -> str:
        """Return the line. Nothing reaches a terminal but through here."""
        clean = [[(style, plain(text)) for style, text in cell] for cell in cells]
        while len(clean) > _KEPT and len(clean[-1]) > 1 and _width(clean) > self._columns:
            del clean[-1]  # a labelled figure; words are cut
        parts = [part for cell in clean for part in (("", "  "), *cell)][1:]
        room = self._columns
        fits = sum(len(text) for _, text in parts) <= room
        if fits:
            parts[-1] = (parts[-1][0], parts[-1][1].rstrip())
        else:
            room -= 1
        line = []
        for style, text in parts:
            shown = text if len(text) <= room else _cut(text, room)
            room = room - len(shown) if shown == text else 0
            line.append(f"\x1b[{style}m{shown}\x1b[0m" if style and self._color and shown else shown)
        return "".join(line) + ("" if fits else "…")


def _cut(text: str, room: int) -> str:
    """Return the beginning of a text, without the digits of a number that does not fit."""
    cut = text[:room]
    return cut.rstrip("0123456789.") if text[room] in "0123456789." else cut


def _seconds(timestamp: str) -> int:
    """Return the whole seconds since 1970 of RFC 3339 UTC."""
    from datetime import datetime

    return int(datetime.fromisoformat(timestamp).timestamp())


def _width(cells: list[Cell]) -> int:
    return sum(len(text) for cell in cells for _, text in cell) + 2 * len(cells) - 2


class _Columns:
    """Widths that only grow: of a whole column, and of the digits of each pair in it."""

    def __init__(self) -> None:
        self._widths: dict[str, int] = {}
        self._digits: dict[tuple[str, str], tuple[int, int]] = {}

    def number(self, column: str, symbol: str, text: str, whole_digits: int = 1) -> str:
        """Return a number padded so that the points of a pair stand under each other, and columns too.

        Pairs have their own digits: one point for all of them would spread 64000.1 and 0.000002220 over
        sixteen places. `whole_digits` is the room a column begins with, so that it need not grow soon.
        """
        whole, dot, fraction = text.partition(".")
        fraction = dot + fraction
        left, right = self._digits.get((column, symbol), (whole_digits, 0))
        left, right = max(left, min(len(whole), _WIDEST)), max(right, min(len(fraction), _WIDEST))
        self._digits[column, symbol] = left, right
        return f"{whole:>{left}}{fraction:<{right}}".rjust(self._grow(column, left + right))

    def word(self, column: str, text: str) -> str:
        """Return a word padded on its right."""
        return text.ljust(self._grow(column, len(text)))

    def _grow(self, column: str, width: int) -> int:
        self._widths[column] = widest = max(self._widths.get(column, 0), min(width, _WIDEST))
        return widest


def _order_phrase(row: Order, known: Order) -> Cell:
    """What is bought or sold, and at which price: the one ordered, once it fills the average one.

    Args:
        row: what was just said.
        known: what was said at first, since updates do not repeat it.
    """
    qty = row.order_qty or known.order_qty or ""
    price = " ".join(price for price in (known.stop_price, known.limit_price) if price)
    at = f" @ {known.order_type} {price}".rstrip() if known.order_type else ""
    if row.cum_qty and row.cum_qty.strip("0."):
        qty = f"{row.cum_qty} of {qty}" if qty not in {row.cum_qty, ""} else row.cum_qty
        at = f" at {row.avg_price}"
    if not known.symbol:
        return [("", f"{qty}{at}")] if qty and at else []
    return [(_SIDES.get(known.side or "", ""), known.side or ""), ("", f" {qty} {known.symbol}{at}")]


def _float(text: str) -> float:
    """For comparing only: no figure shown has been one."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _moved(before: float, now: float) -> tuple[str, str]:
    if now > before:
        return _GREEN, "▲"
    return (_RED, "▼") if now < before else ("", " ")


def _percent(before: str | None, now: str) -> str:
    from decimal import Decimal, DecimalException

    try:
        return f"{(Decimal(now) / Decimal(before or '0') - 1) * 100:+.2f}%"
    except (DecimalException, ValueError):
        return ""


def _difference(ask: str, bid: str) -> str:
    from decimal import Decimal, DecimalException

    try:
        return format(Decimal(ask) - Decimal(bid), "f")
    except (DecimalException, ValueError):
        return ""
