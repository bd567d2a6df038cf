"""What one JSON line costs, from a frame as received to the line on its way out.

    python benchmarks/rows.py

The rival decodes the same frame with `json.loads` and encodes it with `json.dumps`, without giving anything a
name. Book frames come with their levels decoded, as the protocol hands them over after the checksum; what
that decoding costs is shown beside it. Figures are medians of µs per line; the ratios travel between
machines, the µs do not.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from os.path import abspath, dirname, join

sys.path.insert(0, join(dirname(dirname(abspath(__file__))), "src"))

from krakenws.core.events import VERIFIED, Route, Update
from krakenws.core.v1 import V1
from krakenws.sinks import Out
from krakenws.sinks.lines import Json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LINES = 2000
ROUNDS = 25
LEVEL = '["64010.%d0000","1.2500000%d","1616333924.73742%d"]'
FRAMES = {
    "ticker": b'[340,{"a":["64000.20000",1,"1.00000000"],"b":["64000.10000",0,"0.01426600"],'
    b'"c":["64000.20000","0.00109400"],"v":["1398.10636219","5589.26295766"],'
    b'"p":["63883.56157","63062.11447"],"t":[14360,66788],"l":["63607.60000","62770.80000"],'
    b'"h":["64811.10000","64811.10000"],"o":["63659.30000","63709.90000"]},"ticker","XBT/USD"]',
    "trade": b'[321,[["64000.10000","0.02063928","1616333924.737428","b","m",""]],"trade","XBT/USD"]',
    "book-10": (
        f'[336,{{"b":[{",".join(LEVEL % (n, n, n) for n in range(2))}],"c":"3139033408"}},'
        '"book-10","XBT/USD"]'
    ).encode(),
}


class Nowhere(Out):
    """Takes lines and does nothing: writing is measured elsewhere."""

    def write(self, data: bytes) -> None:
        """Do nothing."""


def update(frame: bytes) -> Update:
    envelope = V1.classify(frame)
    entry, values = V1.parse_channel(envelope.channel) or (V1.entries[0], {})
    route = Route(entry, values, envelope.channel, envelope.symbol)
    is_book = entry.rows == "Level"
    return Update(route, frame, 1, False, VERIFIED if is_book else None, V1.book(frame) if is_book else None)


def rival(frame: bytes) -> bytes:
    return json.dumps(json.loads(frame), separators=(",", ":")).encode() + b"\n"


def microseconds(function: Callable[[], object], lines: int) -> float:
    begin_ns = time.perf_counter_ns()
    function()
    return (time.perf_counter_ns() - begin_ns) / lines / 1000


def main() -> None:
    print("µs per line       ours  loads+dumps   ratio   book decoding")
    for name, frame in FRAMES.items():
        sink, events = Json(Nowhere(-1)), [update(frame)] * LINES
        sink.write(events[:1])
        runs: dict[str, Callable[[], object]] = {
            "ours": lambda sink=sink, events=events: sink.write(events),  # type: ignore[misc]  # bound early
            "rival": lambda frame=frame: [rival(frame) for _ in range(LINES)],  # type: ignore[misc]  # the same
            "book": lambda frame=frame: [V1.book(frame) for _ in range(LINES)],  # type: ignore[misc]  # the same
        }
        spent: dict[str, list[float]] = {run: [] for run in runs}
        for _ in range(ROUNDS):
            for run, function in runs.items():
                if run != "book" or name.startswith("book"):
                    spent[run].append(microseconds(function, LINES))
        ours, other = statistics.median(spent["ours"]), statistics.median(spent["rival"])
        book = f"{statistics.median(spent['book']):7.2f}" if spent["book"] else ""
        print(f"{name:12}   {ours:7.2f}  {other:11.2f}   {ours / other:5.2f}   {book:>13}")


if __name__ == "__main__":
    main()
