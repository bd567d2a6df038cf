"""What is promised: the table of targets, each row with what is done, beside whom, and the ratio to reach."""
# ruff: noqa: RUF001 - the report has typographic signs

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.contest import Key

if TYPE_CHECKING:
    from benchmarks.contest import Values

_FAR = 2.0
"""Worse than its target by more than this factor, a ratio makes the short form fail."""
_RATE, _CPU = "rate", "cpu"
"""Messages a second, the one measure of which more is better, and processor time a message."""
_AGAINST = {
    "websocat": "websocat",
    "original-blind": "original, spared its check of UTF-8",
    "cryptofeed": "cryptofeed with checksum validation",
    "python -c pass": "`python -c pass`",
    "raw": "the same, `raw` out",
    "socket": "the same on a plain socket, in Python",
    "socket-blind": "a plain socket that neither masks nor reads",
    "after a tenth": "after the first million",
}
"""What rivals are called in the table, where not as everywhere else."""


class Row(NamedTuple):
    """One promise.

    Attributes:
        work: what is done.
        against: who else does it.
        ours: what was measured of krakenws.
        rivals: the same of the rival.
        target: the ratio to reach: at least, where more is better, else at most.
        short: whether the short form looks at it, where the rival is at hand.
    """

    work: str
    against: str
    ours: Key
    rivals: Key
    target: float
    short: bool

    @property
    def more_is_better(self) -> bool:
        """Whether the target is the least that will do."""
        return self.ours.measure == _RATE

    def by_processor(self) -> Row:
        """Return the same promise with messages counted against processor time instead of the wall's."""
        if not self.more_is_better:
            return self
        ours, rivals = (key._replace(measure=_CPU) for key in (self.ours, self.rivals))
        return self._replace(ours=ours, rivals=rivals, target=1 / self.target)

    def ratios(self, values: Values) -> list[float]:
        """Return the ratio of each turn, in order of size; none where one of the two was not measured."""
        ours, rivals = values.get(self.ours, []), values.get(self.rivals, [])
        return sorted(a / b for a, b in zip(ours, rivals, strict=bool(ours and rivals)))

    def is_met(self, ratios: list[float]) -> bool:
        """Tell whether the median reaches the target."""
        found = median(ratios)
        return found >= self.target if self.more_is_better else found <= self.target

    def is_far_off(self, ratios: list[float]) -> bool:
        """Tell whether even the best turn is worse than half of the target."""
        if self.more_is_better:
            return max(ratios) < self.target / _FAR
        return min(ratios) > self.target * _FAR

    def mentions(self, texts: list[str]) -> bool:
        """Tell whether a row has to do with one of some texts."""
        names = "\n".join((self.work, self.against, *self.ours, *self.rivals))
        return any(text in names for text in texts)

    def shown_target(self) -> str:
        """Return the target as it is written."""
        return f"{'≥' if self.more_is_better else '≤'} {_number(self.target, '.3g')}"


def shown(ratios: list[float]) -> str:
    """Return the median of ratios and, in brackets, their range."""
    return f"{_number(median(ratios))} ({_number(ratios[0])}–{_number(ratios[-1])})"


def _number(ratio: float, form: str = ".2f") -> str:
    return f"1/{1 / ratio:,.0f}" if ratio < 0.02 else format(ratio, form)


def _rows(work: str, ours: Key, rivals: dict[str, float], *, short: bool = True) -> list[Row]:
    """Return the rows of one work: rivals of the same contest, and the target against each."""
    return [
        Row(work, _AGAINST.get(who, who), ours, ours._replace(who=who), target, short)
        for who, target in rivals.items()
    ]


_PYTHON = "python -c pass"
_BOOK_10 = Key("ws book-10", "raw", "rate")

TARGETS: list[Row] = [
    *_rows(
        "`raw`, ws: messages a second",
        Key("ws ticker", "raw", "rate"),
        {"floor": 0.8, "websocat": 2, "original": 16, "original-blind": 16},
    ),
    *_rows(
        "`transcript`, ws: messages a second",
        Key("ws ticker", "transcript", "rate"),
        {"original": 12, "original-blind": 12},
    ),
    *_rows(
        "`raw`, wss, full records: messages a second",
        Key("wss ticker", "raw", "rate"),
        {"floor": 0.8, "websocat": 2},
    ),
    *_rows(
        "`raw`, wss, one frame a record: CPU a message",
        Key("wss ticker, a record each", "raw", "cpu"),
        {"original": 0.5, "original-blind": 0.5},
    ),
    *(
        row
        for scheme in ("ws", "wss")
        for rate in (5_000, 50_000)
        for row in _rows(
            f"latency wire to stdout, {scheme} at {rate:,}/s: p50",
            Key(f"latency {scheme} at {rate:,}/s", "raw", "p50"),
            {"floor": 1.3},
            short=rate == 5_000,  # beyond that a busy machine is what is measured
        )
    ),
    *_rows(
        "latency in a pipe at 150/s: p50", Key("latency ws at 150/s", "raw", "p50"), {"original": 1 / 1500}
    ),
    *_rows(
        "book-10, every update verified, `raw` out: updates a second",
        _BOOK_10,
        {"original": 1.7, "original-blind": 1.7, "cryptofeed": 3.5},
    ),
    Row("book-1000 verified", "book-10 verified", Key("ws book-1000", "raw", "rate"), _BOOK_10, 0.75, True),
    *_rows("book-10 verified, `json` out", _BOOK_10._replace(who="json"), {"raw": 0.5}),
    *_rows("ticker, `json` out", Key("ws ticker", "json", "rate"), {"raw": 0.15}),
    *_rows("trade, `json` out", Key("ws trade", "json", "rate"), {"raw": 0.15}),
    *(
        row
        for depth in (10, 1000)
        for row in _rows(
            f"the Book class alone, depth {depth}: time an update",
            Key(f"book class, depth {depth}", "krakenws", "us"),
            {"order-book": 0.4, "sortedcontainers": 0.4},
        )
    ),
    *_rows(
        "session round trip, stdin to answer on stdout: p50",
        Key("session ping", "session", "p50"),
        {"websocat": 1.1},
    ),
    *_rows(
        "a session's `addOrder validate=true`, line to answer: p50",
        Key("session addOrder", "session", "p50"),
        {"socket": 1.5, "socket-blind": 1.5},
    ),
    *_rows("`--help`: start to exit", Key("start-up", "krakenws --help", "ms"), {_PYTHON: 1.5}),
    *_rows("`ping`, ws: start to exit", Key("start-up", "krakenws ping, ws", "ms"), {_PYTHON: 3}),
    *_rows("`ping`, wss: start to exit", Key("start-up", "krakenws ping, wss", "ms"), {_PYTHON: 4.5}),
    *(
        row
        for scheme in ("ws", "wss")
        for row in _rows(
            f"`ping`, {scheme}: start to exit",
            Key("start-up", f"krakenws ping, {scheme}", "ms"),
            {f"original's ping, {scheme}": 0.6},
        )
    ),
    *_rows(
        "`addOrder validate=true`: start to exit",
        Key("one addOrder", "krakenws addOrder", "ms"),
        {"original's addOrder": 0.6},
    ),
    *_rows("peak memory of one raw stream, ws", Key("peak memory, ws", "raw", "memory"), {"original": 0.7}),
    *_rows(
        "peak memory of one raw stream, wss", Key("peak memory, wss", "raw", "memory"), {"original": 0.95}
    ),
    *_rows(
        "1,000 pairs book-10 verified: memory after 10 million messages",
        Key("1,000 pairs, book-10, verified", "in the end", "memory"),
        {"after a tenth": 1.02},
        short=False,
    ),
    *_rows(
        "`async for` over raw updates in the Python API: messages a second",
        Key("async for, ticker", "krakenws", "rate"),
        {"websockets": 4},
    ),
]
"""In the order of the report."""

HEADROOM: list[Row] = [
    *_rows("the load generator, nobody looking, ws", Key("ws ticker", "generator", "rate"), {"floor": 1.5}),
    *_rows("the load generator, nobody looking, wss", Key("wss ticker", "generator", "rate"), {"floor": 1.5}),
]
"""What shows that the load generator is not what is measured."""
