"""What a gap in a stream of trades lost: those that REST knows and the stream did not bring.

Theory of this file
-------------------
v1 trades have no id (quirk F12), so that streamed and REST trades are compared as multisets: same price,
quantity, side and type, and the same moment as far as the stream's microseconds go; REST tells more digits.

    before ──── lost ────│ fresh ─────▶        streamed, missed, streamed again
    ═══════ REST, since a little before the loss ═══════▶

What REST has and `before` has not is missed, up to the moment of the first trade that is `fresh`: from there
on the stream brings everything itself, also what REST knows first. REST may lag the stream; until it knows
something later than the first fresh trade, it is asked again. While nothing fresh came, as with a quiet
pair, a trade might still be on its way through the stream: it counts as missed when two answers in a row have
it. Of the very moment of the first fresh trade the stream may bring more, until it brings a later one.
"""

from __future__ import annotations

from collections import Counter, deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.core.rows import Trade

    Key = tuple[str, str, str, str]

_MARGIN_NS = 2_000_000_000
"""REST is asked from this long before the last trade seen: trades of one moment come in several frames."""
_REMEMBERED = 10_000


class Filler:
    """The trades of one symbol across gaps.

    Attributes:
        pending: a gap is to be filled.
        doubtful: the last answer knew a trade of which one more has to tell whether the stream missed it.
    """

    __slots__ = ("_before", "_candidates", "_fresh", "_from_ns", "_recent", "doubtful", "pending")

    def __init__(self) -> None:
        self.pending = self.doubtful = False
        self._recent: deque[Trade] = deque(maxlen=_REMEMBERED)
        self._before: list[Trade] = []
        self._fresh: list[Trade] = []
        self._candidates: Counter[tuple[Key, int]] = Counter()
        self._from_ns = 0

    @property
    def since_ns(self) -> int:
        """From when REST is to be asked, nanoseconds since 1970."""
        return self._from_ns

    def streamed(self, trades: Sequence[Trade]) -> None:
        """Take trades that the stream brought."""
        if self.pending:
            self._fresh += trades
        self._recent += trades
        if trades:
            self._forget(_micros(trades[-1].timestamp) - _MARGIN_NS // 1000)

    def _forget(self, before_us: int) -> None:
        while self._recent and _micros(self._recent[0].timestamp) < before_us:
            self._recent.popleft()

    def broken(self, good_ns: int) -> None:
        """The stream broke; it was last good at `good_ns`, wall-clock nanoseconds.

        A break while an earlier one is still being filled makes one gap of both.
        """
        self._before += self._fresh if self.pending else self._recent
        if not self.pending:
            self._from_ns = good_ns
            if self._recent:  # but nothing from before the stream began: no gap lost that
                oldest_us, newest_us = (_micros(self._recent[at].timestamp) for at in (0, -1))
                self._from_ns = max(newest_us * 1000 - _MARGIN_NS, (oldest_us - 2) * 1000)
        self._fresh.clear()
        self._candidates.clear()
        self.pending = True

    def answered(self, known: Sequence[Trade], *, last: bool = False) -> tuple[list[Trade], bool]:
        """Take what REST knows since `since_ns`; return what was missed, and whether that is all of it.

        A gap stays `pending` until that is all of it, or until `give_up`.

        Args:
            known: REST's trades, oldest first.
            last: it was asked often enough: no trade that meets the stream is waited for any more. What is
                `doubtful` is still to be confirmed by one more answer.
        """
        unseen = _without(known, self._before)
        missed, doubts = self._sorted(unseen)
        confirmed = _those_of(doubts, self._candidates & Counter(map(_exact, doubts)))
        self._candidates = Counter(map(_exact, doubts))
        self.doubtful = len(confirmed) < len(doubts)
        missed += confirmed
        self._before += missed
        whole = self._meets(known, last=last) and not self.doubtful
        if whole:
            self.give_up()
        return missed, whole

    def _sorted(self, unseen: list[Trade]) -> tuple[list[Trade], list[Trade]]:
        """Return what was surely missed, and what the stream may still bring."""
        if not self._fresh:
            return [], unseen
        moments = [_micros(trade.timestamp) for trade in self._fresh]
        first, settled = min(moments), max(moments) > min(moments)
        missed, doubts = [], []
        for trade in _without(unseen, self._fresh):
            at = _micros(trade.timestamp)
            if at < first or (settled and at == first):
                missed.append(trade)
            elif at == first:
                doubts.append(trade)
        return missed, doubts

    def _meets(self, known: Sequence[Trade], *, last: bool) -> bool:
        """Whether REST's account meets the stream: it knows all of the moment where that began again."""
        if not self._fresh:
            return last
        moments = [_micros(trade.timestamp) for trade in self._fresh]
        first, settled = min(moments), max(moments) > min(moments)
        newest = _micros(known[-1].timestamp) if known else 0
        if last:
            return newest >= first
        return settled and newest >= first + 2  # 1 µs may be rounding

    def give_up(self) -> None:
        """Fill this gap no further."""
        self.pending = self.doubtful = False
        self._before.clear()
        self._fresh.clear()
        self._candidates.clear()


def _key(trade: Trade) -> Key:
    from decimal import Decimal

    price, qty = (format(Decimal(text).normalize(), "f") for text in (trade.price, trade.qty))
    return price, qty, trade.side, trade.ord_type


def _exact(trade: Trade) -> tuple[Key, int]:
    return _key(trade), _micros(trade.timestamp)


def _micros(timestamp: str) -> int:
    """Return microseconds since 1970 of RFC 3339 text in UTC, finer digits cut."""
    from datetime import UTC, datetime, timedelta

    at = datetime.fromisoformat(f"{timestamp[:26].rstrip('Z').ljust(26, '0')}+00:00")
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _without(known: Sequence[Trade], seen: Sequence[Trade]) -> list[Trade]:
    """Return what is known less what was seen, each seen trade taking away one.

    The stream may have cut a time to microseconds or rounded it; what is equal goes first.
    """
    left = Counter(_exact(trade) for trade in seen)
    rest = list(known)
    for later_us in (0, 1):
        known, rest = rest, []
        for trade in known:
            key, micros = _exact(trade)
            if left[key, micros + later_us] > 0:
                left[key, micros + later_us] -= 1
            else:
                rest.append(trade)
    return rest


def _those_of(trades: Sequence[Trade], wanted: Counter[tuple[Key, int]]) -> list[Trade]:
    left = wanted.copy()
    found = []
    for trade in trades:
        exact = _exact(trade)
        if left[exact] > 0:
            left[exact] -= 1
            found.append(trade)
    return found
