"""How long a frame takes from the sender's clock to a line in the reader's hands."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from benchmarks.contest import Column, Contest, FailedError

if TYPE_CHECKING:
    from benchmarks.arena import Arena

STAMP = re.compile(rb'"(\d{20})"')


class Latency(Contest):
    """Single frames at a steady rate.

    Args:
        arena: where it takes place.
        scheme: `ws` or `wss`.
        rate: frames a second.
        contestants: who takes part.
        seconds: how long a turn is.
    """

    references = ("floor", "original-blind")
    columns = (
        Column("p50", "p50 µs", "{:,.0f}"),
        Column("p99", "p99 µs", "{:,.0f}"),
        Column("rate", "frames/s", "{:,.0f}"),
    )

    def __init__(
        self, arena: Arena, scheme: str, rate: int, contestants: tuple[str, ...], seconds: float
    ) -> None:
        self.name = f"latency {scheme} at {rate:,}/s"
        self.contestants = contestants
        self._arena = arena
        self._scheme = scheme
        self._path = f"{int(rate * seconds)}/rate={rate}"
        self._count = int(rate * seconds)

    def prepare(self, who: str) -> None:
        """See that it can take part."""
        self._arena.subscriber(who, self._scheme, self._path, "trade")

    def measure(self, who: str) -> dict[str, float]:
        """Return percentiles in microseconds, and the rate that the generator reached."""
        waited_us: list[float] = []
        sent_ns: list[int] = []

        def take(_pid: int, data: bytes) -> None:
            now_ns = time.monotonic_ns()
            stamps = [int(stamp) for stamp in STAMP.findall(data)]
            sent_ns.extend(stamps)
            waited_us.extend((now_ns - stamp) / 1000 for stamp in stamps)

        run = self._arena.run(self._arena.subscriber(who, self._scheme, self._path, "trade"), take)
        self._arena.began_ns()
        if len(sent_ns) < self._count * 0.99:  # a stamp may be cut by the end of a read
            raise FailedError(f"exit {run.code}, {len(sent_ns)} frames of {self._count}: {run.errors[-300:]}")
        waited_us.sort()
        count = len(waited_us)
        return {
            "p50": waited_us[count // 2],
            "p99": waited_us[count * 99 // 100],
            "rate": (count - 1) / (sent_ns[-1] - sent_ns[0]) * 1e9,
        }
