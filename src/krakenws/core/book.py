"""The order book of one symbol, kept to a depth and verified by Kraken's checksum.

Theory of this file
-------------------
A side is three parallel lists, worst level first, so that the best level is last. Markets move at the best
level: changes land at the end of the lists, where inserting and deleting shift next to nothing however deep
the book is. One ascending order serves both sides because the asks' keys are negated.

Keys are floats, and they give order and nothing else. Two decimals of at most 15 significant digits never
become the same float, and rounding keeps their order, so a float finds and sorts a price exactly; a price
with more digits is refused rather than taken for its neighbour. No float ever leaves the book: what it
answers is Kraken's own text. Prices that are equal as numbers are one level even when their text differs
("1.50" and "1.500", a change of precision in mid-stream, quirk B21), and the newest text wins.

The checksum is a CRC32 over the digits of the best ten asks, then of the best ten bids: price and quantity
without the dot and without leading zeros (quirks B4 to B7). Three things are cached: the digits of each
level, made once when it arrives, which is also how its text is checked; the joined digits of each side's best
ten, dropped by any change among them or right behind them; and the CRC of the asks' ten, from which that of
the bids' goes on, so that a change of the bids alone does not cost the asks' half again.

Rules of the exchange: a frame is applied whole and in wire order, the last change of a price wins whatever
its time stamp says (B11, B12); only then is each side cut to the depth, and what was cut is forgotten, since
Kraken deletes nothing that falls out of the window and republishes what comes back (B8, B9). Deletes of
unknown levels are counted and otherwise ignored (B10). Short and empty books are books (B15).

Source: docs.kraken.com, the v1 `book` channel and its checksum guide; quirks B4 to B15 and B21.
"""

from __future__ import annotations

from bisect import bisect_left
from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_BEST_TEN = slice(None, -11, -1)
"""Of a list with the best level last: the best ten, best first."""


class Book:
    """The levels of one symbol to a depth, in Kraken's own text.

    Prices and quantities go in and come out as decimal text, digit for digit as on the wire; a number of
    API v2 is given as its literal. A `ValueError` leaves the book empty, so that nothing half applied can
    verify later: ask for a new snapshot.

    Attributes:
        symbol: the pair or symbol, under the caller's name for it.
        depth: levels kept on each side: the depth that was subscribed.
    """

    __slots__ = ("_asks", "_asks_crc", "_bids", "depth", "symbol")

    def __init__(self, symbol: str, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"a book of {symbol} needs a depth of at least 1, not {depth}")
        self.symbol = symbol
        self.depth = depth
        self._asks = _Side(f"an ask of {symbol}", -1.0)
        self._bids = _Side(f"a bid of {symbol}", 1.0)
        self._asks_crc = 0

    def snapshot(self, asks: Sequence[Sequence[str]], bids: Sequence[Sequence[str]]) -> None:
        """Replace everything.

        Args:
            asks: levels (price, qty, …) in any order; what follows the quantity is ignored.
            bids: the same for the other side.

        Raises:
            ValueError: a level is malformed, see `update`.
        """
        self._asks.clear()
        self._bids.clear()
        self.update(asks, bids)

    def update(self, asks: Sequence[Sequence[str]], bids: Sequence[Sequence[str]]) -> None:
        """Apply the changes of one whole frame, then cut each side to the depth.

        Args:
            asks: changes (price, qty, …) in wire order; a quantity of zero deletes, any other one sets.
            bids: the same for the other side.

        Raises:
            ValueError: a price or quantity is missing or is not plain decimal text, which is ASCII digits
                with at most one dot (so no sign, exponent, blank or "nan"), or a price has more than 15
                significant digits.
        """
        try:
            if asks:
                self._asks.apply(asks, self.depth)
            if bids:
                self._bids.apply(bids, self.depth)
        except ValueError:
            self._asks.clear()
            self._bids.clear()
            raise

    def checksum(self) -> int:
        """Return the CRC32 of the best ten asks and the best ten bids; 0 for an empty book."""
        asks, bids = self._asks, self._bids
        if asks.best is None:
            asks.best = b"".join(asks.digits[_BEST_TEN])
            self._asks_crc = crc32(asks.best)
        if bids.best is None:
            bids.best = b"".join(bids.digits[_BEST_TEN])
        return crc32(bids.best, self._asks_crc)

    def disproof(self, checksum: int | None) -> str:
        """Return what is wrong with the book after a frame, in a word or two; "" where nothing is.

        A crossed book is wrong although its checksum may be right (quirk B13).

        Args:
            checksum: of the frame; None: it had none.
        """
        if checksum is not None and self.checksum() != checksum:
            return "checksum"
        asks, bids = self._asks.keys, self._bids.keys
        return "crossed book" if asks and bids and bids[-1] >= -asks[-1] else ""

    @property
    def stray_deletes(self) -> int:
        """Deletes of unknown levels since the book was made, snapshots or not (quirk B10)."""
        return self._asks.stray_deletes + self._bids.stray_deletes

    def best_ask(self) -> tuple[str, str] | None:
        """Return the lowest ask as (price, qty), or None when there is none."""
        return self._asks.top()

    def best_bid(self) -> tuple[str, str] | None:
        """Return the highest bid as (price, qty), or None when there is none."""
        return self._bids.top()

    def asks(self, levels: int | None = None) -> list[tuple[str, str]]:
        """Return the asks as (price, qty), best first: all of them, or at most `levels`."""
        return self._asks.best_first(levels)

    def bids(self, levels: int | None = None) -> list[tuple[str, str]]:
        """Return the bids as (price, qty), best first: all of them, or at most `levels`."""
        return self._bids.best_first(levels)


class _Side:
    """One side of a book: parallel lists, the best level last.

    Attributes:
        name: what a level is called in an error.
        sign: 1 for bids, -1 for asks.
        stray_deletes: deletes of unknown levels so far.
        keys: sign * float(price), ascending.
        texts: "price qty" as on the wire; one string takes half the memory of two.
        digits: each level's part of the checksum.
        best: the digits of the best ten levels joined, best first; None until they are asked for.
    """

    __slots__ = ("best", "digits", "keys", "name", "sign", "stray_deletes", "texts")

    def __init__(self, name: str, sign: float) -> None:
        self.name = name
        self.sign = sign
        self.stray_deletes = 0
        self.clear()

    def clear(self) -> None:
        self.keys: list[float] = []
        self.texts: list[str] = []
        self.digits: list[bytes] = []
        self.best: bytes | None = None

    def apply(self, changes: Sequence[Sequence[str]], depth: int) -> None:
        """Apply one frame's changes and cut to `depth`: the hot path of every book stream.

        `float` alone would take "nan", "1e5" and "1_0". The digits are needed anyway, and `bytes.isdigit`
        knows only ASCII, so it settles what is plain decimal text.
        """
        keys, texts, all_digits = self.keys, self.texts, self.digits
        sign, count = self.sign, len(keys)
        level: object = changes
        try:
            for level in changes:
                price, qty = level[0], level[1]
                key = sign * float(price)
                qty_digits = qty.replace(".", "", 1).lstrip("0")
                digits = (price.replace(".", "").lstrip("0") + qty_digits).encode()
                if not digits.isdigit() and digits:  # none are left of price zero, quantity zero
                    raise ValueError  # noqa: TRY301 - told below, with its level
                if not 1 < len(price) < 16:
                    _check_unusual(level, price)
                at = bisect_left(keys, key)
                known = at < count and keys[at] == key
                if count - at <= 10:
                    self.best = None
                if qty_digits:
                    if known:
                        texts[at], all_digits[at] = f"{price} {qty}", digits
                    else:
                        keys.insert(at, key)
                        texts.insert(at, f"{price} {qty}")
                        all_digits.insert(at, digits)
                        count += 1
                elif "0" not in qty:
                    raise ValueError  # noqa: TRY301 - the same
                elif known:
                    del keys[at], texts[at], all_digits[at]
                    count -= 1
                else:
                    self.stray_deletes += 1
        except (ValueError, TypeError, AttributeError, LookupError):
            raise ValueError(
                f"{self.name} is malformed: expected price and quantity as plain decimal text, the price "
                f"with at most 15 significant digits, not {level!r:.200}"
            ) from None
        if count > depth:
            worst = slice(count - depth)
            del keys[worst], texts[worst], all_digits[worst]

    def top(self) -> tuple[str, str] | None:
        return _split(self.texts[-1]) if self.texts else None

    def best_first(self, levels: int | None) -> list[tuple[str, str]]:
        return [_split(text) for text in self.texts[: None if levels is None else -levels - 1 : -1]]


def _split(text: str) -> tuple[str, str]:
    price, _, qty = text.partition(" ")
    return price, qty


def _check_unusual(level: object, price: str) -> None:
    """Refuse "12" posing as the level ("1", "2"), and prices that floats may not tell apart."""
    if isinstance(level, str) or len(price) > 64 or len(price.replace(".", "").strip("0")) > 15:
        raise ValueError
