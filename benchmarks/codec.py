"""What one text message costs in `core.websocket`, beside two rivals in the same interleaved run.

    python benchmarks/codec.py

The rivals: a minimal index loop that checks nothing (no UTF-8, no limits, no other frames), and the sans-I/O
`ClientProtocol` of the `websockets` library. Figures are medians of µs per message; the ratios travel between
machines, the µs do not.
"""

from __future__ import annotations

import statistics
import sys
import time
from os.path import abspath, dirname, join

sys.path.insert(0, join(dirname(dirname(abspath(__file__))), "src"))

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from krakenws.core.websocket import WebSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 65536
TOTAL_BYTES = 8 * READ_BYTES
ROUNDS = 25


def minimal(reads: list[bytes]) -> int:
    count, tail = 0, b""
    for read in reads:
        data = tail + read
        messages: list[bytes] = []
        at, end = 0, len(data)
        while at + 4 <= end:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = data[at + 2] << 8 | data[at + 3], at + 4
            if start + length > end:
                break
            at = start + length
            messages.append(data[start:at])
        tail = data[at:]
        count += len(messages)
    return count


def ours(reads: list[bytes]) -> int:
    websocket = WebSocket(lambda: b"mask", 1 << 24)
    return sum(len(websocket.receive(read)) for read in reads)


def websockets(reads: list[bytes]) -> int:
    client, count = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN), 0
    for read in reads:
        client.receive_data(read)
        count += len(client.events_received())
    return count


def microseconds(codec: Callable[[list[bytes]], int], reads: list[bytes], messages: int) -> float:
    begin_ns = time.perf_counter_ns()
    count = codec(reads)
    spent_ns = time.perf_counter_ns() - begin_ns
    if count != messages:
        raise AssertionError(f"{codec.__name__} found {count} of {messages} messages")
    return spent_ns / messages / 1000


def main() -> None:
    print("µs per message       minimal     ours  websockets   ours/minimal  websockets/ours")
    for size in (50, 150, 800):
        frame = Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
        messages = TOTAL_BYTES // len(frame)
        stream = frame * messages
        shapes = {
            "64 KiB reads": [stream[at : at + READ_BYTES] for at in range(0, len(stream), READ_BYTES)],
            "one per read": [frame] * messages,
        }
        for shape, reads in shapes.items():
            spent: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                for codec in (minimal, ours, websockets):
                    spent.setdefault(codec.__name__, []).append(microseconds(codec, reads, messages))
            unchecked, own, library = (statistics.median(values) for values in spent.values())
            print(
                f"{size:3} B, {shape}   {unchecked:7.3f}  {own:7.3f}     {library:7.3f}"
                f"        {own / unchecked:7.2f}          {library / own:7.1f}"
            )


if __name__ == "__main__":
    main()
