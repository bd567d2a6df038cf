"""How many messages a second go from a loopback socket to a pipe, and what each costs in processor time."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from benchmarks.arena import HERE, OURS, PYTHON, subscribe_frame
from benchmarks.contest import Column, Contest, FailedError
from benchmarks.process import cpu_ns
from benchmarks.rivals import connect

if TYPE_CHECKING:
    from benchmarks.arena import Arena

_LAST = b"\x88\x02\x03\xe8"
"""The generator's close frame."""
_START_LINES = 10
"""Greeting, ack, snapshot: no more than so many lines come before the flood."""


class Throughput(Contest):
    """A flood of one channel.

    Args:
        arena: where it takes place.
        scheme: `ws` or `wss`.
        channel: the channel's name on the wire.
        contestants: who takes part; `generator` is the load generator when nobody looks at its frames.
        flood_s: how long a contestant is kept busy.
        single: whether each frame is a write, and so a TLS record, of its own.

    Attributes:
        arena: as given.
        channel: as given.
    """

    references: tuple[str, ...] = ("floor", "plain", "original-blind")
    columns = (
        Column("rate", "1,000 msgs/s", "{:,.0f}"),
        Column("cpu", "CPU µs/msg", "{:.2f}"),
        Column("busy", "busy", "{:.0%}"),
    )

    def __init__(
        self,
        arena: Arena,
        scheme: str,
        channel: str,
        contestants: tuple[str, ...],
        flood_s: float,
        *,
        single: bool = False,
    ) -> None:
        self.name = f"{scheme} {channel}" + (", a record each" if single else "")
        self.contestants = contestants
        self.arena = arena
        self._scheme = scheme
        self.channel = channel
        self._flood_s = flood_s
        self._single = single
        self._counts: dict[str, int] = {}

    def prepare(self, who: str) -> None:
        """Find how many frames keep a contestant busy for long enough."""
        count, busy_s = 250, 0.0
        while busy_s < self._flood_s / 8:
            count *= 4
            wall_s, cpu_us = self.flood(who, count)
            busy_s = wall_s if cpu_us is None else count * cpu_us / 1e6
        self._counts[who] = int(count * self._flood_s / busy_s)

    def measure(self, who: str) -> dict[str, float]:
        """Return thousands of messages a second, processor microseconds a message, and share of a core."""
        count = self._counts[who]
        wall_s, cpu_us = self.flood(who, count)
        found = {"rate": count / wall_s / 1e3}
        if cpu_us is not None:
            if not cpu_us:
                raise FailedError(f"the output of {count} frames came in one piece: too few")
            found |= {"cpu": cpu_us, "busy": count * cpu_us / wall_s / 1e6}
        return found

    def flood(self, who: str, count: int) -> tuple[float, float | None]:
        """Return the seconds that so many frames took, and the processor microseconds of each, if known."""
        path = f"{count}/single" if self._single else str(count)
        if who == "generator":
            return self._generator(path), None
        meter = _Meter()
        run = self.arena.run(self.arena.subscriber(who, self._scheme, path, self.channel), meter.take)
        began_ns = self.arena.began_ns()
        told_more = who in OURS and run.errors.count("\n") > 1  # of a gap, say; the one line is of the close
        code = 4 if who in OURS else 0
        if not count <= meter.lines <= count + 10 or run.code != code or told_more:
            raise FailedError(f"exit {run.code}, {meter.lines} lines of {count}: {run.errors[-300:]}")
        return (meter.ended_ns - began_ns) / 1e9, meter.cpu_us()

    def _generator(self, path: str) -> float:
        """Return how many seconds as many frames take when nobody looks at them."""
        cafile = self.arena.cafile if self._scheme == "wss" else ""
        url = self.arena.url(self._scheme, path)
        read, _ = connect(url, subscribe_frame(self.channel), cafile)
        began_ns = self.arena.began_ns()
        last = b""
        while not last.endswith(_LAST):
            last = read()
        return (time.monotonic_ns() - began_ns) / 1e9


class _Meter:
    """Counts lines, and the processor time between the first of the flood and the last."""

    def __init__(self) -> None:
        self.lines = 0
        self.ended_ns = 0
        self._first = self._last = (0, 0)

    def take(self, pid: int, data: bytes) -> None:
        """Take what a process has written."""
        self.ended_ns = time.monotonic_ns()
        self.lines += data.count(b"\n")
        if self.lines > _START_LINES:
            self._last = self.lines, cpu_ns(pid)
            self._first = self._first if self._first[0] else self._last

    def cpu_us(self) -> float | None:
        """Return microseconds a message: None where the system does not tell, 0 if all came at once."""
        (first_lines, first_ns), (last_lines, last_ns) = self._first, self._last
        if not last_ns:
            return None
        return (last_ns - first_ns) / max(last_lines - first_lines, 1) / 1000


class Iteration(Throughput):
    """A flood of one channel, taken through a Python API (`api.py`)."""

    references = ("websockets", "websockets, json.loads")

    def __init__(self, arena: Arena, channel: str, contestants: tuple[str, ...], flood_s: float) -> None:
        super().__init__(arena, "ws", channel, contestants, flood_s)
        self.name = f"async for, {channel}"

    def flood(self, who: str, count: int) -> tuple[float, float | None]:
        """Return the seconds that so many frames took, and the processor microseconds of each."""
        output = bytearray()
        argv = [PYTHON, str(HERE / "api.py"), who, self.arena.url("ws", str(count)), self.channel, str(count)]
        run = self.arena.run(argv, lambda _, data: output.extend(data))
        began_ns = self.arena.began_ns()
        if run.code:
            raise FailedError(f"exit {run.code}: {run.errors[-300:]}")
        told = json.loads(output)
        return (told["ended_ns"] - began_ns) / 1e9, told["cpu_ns"] / count / 1e3
