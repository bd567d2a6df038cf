"""One pair's whole book, and the `book` frames of every depth that somebody subscribed, API v1.

Theory of this file
-------------------
A depth is a window on the best levels of each side. A client holds what its window showed it, applies a
frame whole, in wire order, and then cuts each side to the depth. The frames must leave it with the best
levels of the book at that depth, and are what Kraken would have sent:

- a change inside the window is sent, in the order in which it happened, also several of one price (B11);
- a delete inside the window is followed by the level that enters at its end, marked `r`, with its old time
  (B12);
- a level that an insertion pushes out is not deleted: the client cuts it (B8);
- asks come first; `c`, over the best ten of each side, is in the last object (B1, B2).

One case needs memory. Until the frame ends, a client still holds the levels pushed out during that frame, so
a later change of the same frame that deletes one of them from the book is sent, though it is outside the
window: else the client would take it for better than the level that really is the window's last. A new
quantity of such a level need not be sent, since it is sent again if it comes back.

A side is three parallel lists, worst level first, as in `core.book`; one ascending order serves both sides
because the asks' keys are negated. The place of a change is its rank in every window, so a change costs one
search, whatever the number of depths. Its wire text is made once, when it arrives, and kept: levels that
stand keep their text when the pair's precision changes (B21). The checksum is not the client's code, so that
the captured frames and the client's `Book` can judge it.

Source: v1.md 6.5 and 6.6; quirks B1 to B12, B15 and B21.
"""

from __future__ import annotations

from bisect import bisect_left
from zlib import crc32

from krakenws.exchange.orders import BUY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

_BEST_TEN = slice(None, -11, -1)


def time_text(at_us: int) -> str:
    """Return microseconds since 1970 as seconds, as v1 writes times."""
    text = f"{at_us:07d}"
    return f"{text[:-6]}.{text[-6:]}"


class BookFeed:
    """A pair's book as API v1 shows it.

    Attributes:
        symbol: the pair's wsname.
        price_format: how a price is written from now on, `.5f`.
        qty_format: how a quantity is written.
        changed: the time of the latest change as on the wire; "" before the first.
    """

    __slots__ = (
        "_asks",
        "_at_us",
        "_bids",
        "_depths",
        "_head",
        "changed",
        "price_format",
        "qty_format",
        "symbol",
    )

    def __init__(self, symbol: str, channel_id: int, price_decimals: int, qty_decimals: int) -> None:
        self.symbol = symbol
        self.price_format = f".{price_decimals}f"
        self.qty_format = f".{qty_decimals}f"
        self.changed = ""
        self._at_us = -1
        self._head = f"[{channel_id},{{"
        self._asks = _Side()
        self._bids = _Side()
        self._depths: dict[int, tuple[_Window, _Window, str]] = {}

    def open(self, depth: int) -> None:
        """Make frames for a depth from now on."""
        if depth not in self._depths:
            asks, bids = _Window(depth), _Window(depth)
            self._asks.windows.append(asks)
            self._bids.windows.append(bids)
            self._depths[depth] = (asks, bids, f'}},"book-{depth}","{self.symbol}"]')

    def close(self, depth: int) -> None:
        """Make no more frames for a depth."""
        asks, bids, _ = self._depths.pop(depth)
        self._asks.windows.remove(asks)
        self._bids.windows.remove(bids)

    def change(self, side: str, price: Decimal, qty: Decimal, at_us: int) -> None:
        """Set the quantity of a level at a time; 0 takes it away, and is nothing where there is no level."""
        if at_us != self._at_us:
            self._at_us = at_us
            self.changed = time_text(at_us)
        price_text, qty_text = format(price, self.price_format), format(qty, self.qty_format)
        text = f'["{price_text}","{qty_text}","{self.changed}"]'
        if side == BUY:
            book, key = self._bids, price
        else:
            book, key = self._asks, -price
        if qty:
            digits = price_text.replace(".", "").lstrip("0") + qty_text.replace(".", "").lstrip("0")
            book.set(key, text, digits.encode())
        else:
            book.delete(key, text)

    def frames(self) -> list[tuple[str, bytes]]:
        """Return (channel, frame) of each open depth whose window changed since the last call."""
        frames: list[tuple[str, bytes]] = []
        checksum = ""
        for depth, (asks, bids, tail) in self._depths.items():
            if not asks.changes and not bids.changes:
                continue
            checksum = checksum or f'"c":"{self.checksum()}"'
            if not bids.changes:
                body = f'"a":[{",".join(asks.take())}],{checksum}'
            elif not asks.changes:
                body = f'"b":[{",".join(bids.take())}],{checksum}'
            else:
                body = f'"a":[{",".join(asks.take())}]}},{{"b":[{",".join(bids.take())}],{checksum}'
            frames.append((f"book-{depth}", f"{self._head}{body}{tail}".encode()))
        return frames

    def snapshot(self, depth: int) -> bytes:
        """Return the frame that a new subscriber is sent: the best levels of each side, best first."""
        asks, bids = (",".join(side.texts[: -depth - 1 : -1]) for side in (self._asks, self._bids))
        return f'{self._head}"as":[{asks}],"bs":[{bids}]}},"book-{depth}","{self.symbol}"]'.encode()

    def checksum(self) -> int:
        """Return the CRC32 over the best ten asks and the best ten bids."""
        return crc32(self._bids.best_ten(), crc32(self._asks.best_ten()))

    def levels(self, depth: int) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
        """Return asks and bids as (price, qty, time) in wire text, best first, at most `depth` each."""
        asks, bids = (
            [_fields(text) for text in side.texts[: -depth - 1 : -1]] for side in (self._asks, self._bids)
        )
        return asks, bids

    def best_ask(self) -> tuple[str, str] | None:
        """Return the lowest ask as (price, qty) in wire text, or None."""
        return self._asks.best()

    def best_bid(self) -> tuple[str, str] | None:
        """Return the highest bid as (price, qty) in wire text, or None."""
        return self._bids.best()


def _fields(text: str) -> tuple[str, str, str]:
    _, price, _, qty, _, time, _ = text.split('"')
    return price, qty, time


class _Window:
    """What one depth shows of one side, and what of it changed since the last frame.

    Attributes:
        depth: levels shown.
        changes: wire texts, in order.
        pushed_out: keys of levels that left the window by insertions since the last frame and still exist.
    """

    __slots__ = ("changes", "depth", "pushed_out")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.changes: list[str] = []
        self.pushed_out: set[Decimal] = set()

    def take(self) -> list[str]:
        """Return the changes and begin the next frame."""
        changes, self.changes = self.changes, []
        if self.pushed_out:
            self.pushed_out = set()
        return changes


class _Side:
    """One side of the book: parallel lists, the best level last.

    Attributes:
        keys: prices, negated for asks, ascending.
        texts: the levels as on the wire.
        digits: each level's part of the checksum.
        windows: those of the open depths.
    """

    __slots__ = ("_best", "_best_ten", "digits", "keys", "texts", "windows")

    def __init__(self) -> None:
        self.keys: list[Decimal] = []
        self.texts: list[str] = []
        self.digits: list[bytes] = []
        self.windows: list[_Window] = []
        self._best_ten: bytes | None = b""

    def set(self, key: Decimal, text: str, digits: bytes) -> None:
        """Set a level."""
        keys = self.keys
        count = len(keys)
        at = bisect_left(keys, key)
        if at < count and keys[at] == key:
            rank = count - 1 - at
            self.texts[at] = text
            self.digits[at] = digits
            for window in self.windows:
                if rank < window.depth:
                    window.changes.append(text)
        else:
            rank = count - at
            keys.insert(at, key)
            self.texts.insert(at, text)
            self.digits.insert(at, digits)
            for window in self.windows:
                if rank < window.depth:
                    window.changes.append(text)
                    if count >= window.depth:
                        window.pushed_out.add(keys[count - window.depth])
        if rank < 10:
            self._best_ten = None

    def delete(self, key: Decimal, text: str) -> None:
        """Take a level away."""
        keys = self.keys
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return
        del keys[at], self.texts[at], self.digits[at]
        count = len(keys)
        rank = count - at
        for window in self.windows:
            if rank < window.depth:
                window.changes.append(text)
                window.pushed_out.discard(key)
                if count >= window.depth:
                    window.changes.append(f'{self.texts[count - window.depth][:-1]},"r"]')
            elif key in window.pushed_out:
                window.changes.append(text)
                window.pushed_out.discard(key)
        if rank < 10:
            self._best_ten = None

    def best_ten(self) -> bytes:
        """Return the digits of the best ten levels, best first."""
        if self._best_ten is None:
            self._best_ten = b"".join(self.digits[_BEST_TEN])
        return self._best_ten

    def best(self) -> tuple[str, str] | None:
        """Return the best level as (price, qty)."""
        return _fields(self.texts[-1])[:2] if self.texts else None
