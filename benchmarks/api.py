"""Those who receive a flood through a Python API: `async for` of krakenws and of the library `websockets`.

    python benchmarks/api.py CONTESTANT URL CHANNEL COUNT

Each counts what it is given, and parses it only where its name says so. krakenws routes each frame to its
stream and, for books, applies it and compares the checksum. When COUNT have come behind what comes with the
ack, the moment and the processor time of the flood are printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind the package, whose name krakenws.py bears

from benchmarks.arena import subscribe_frame
from benchmarks.frames import PAIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _stream(opened: Any, channel: str) -> Any:
    name, _, depth = channel.partition("-")
    return opened.stream(name, PAIR, **({"depth": int(depth)} if depth else {}))


async def ours(url: str, channel: str, count: int, *, rows: bool = False) -> int:
    """Take updates of a stream; return the processor time at which the flood began, in nanoseconds."""
    import krakenws

    left, began_ns = 1, 0
    options = krakenws.Options(reconnect=0, attempts=1_000_000)
    async with krakenws.connect(public_url=url, options=options) as opened:
        async for event in _stream(opened, channel):
            if isinstance(event, krakenws.Update):
                if rows:
                    event.rows()
                left -= 1
                if not left:
                    if began_ns:
                        return began_ns
                    left, began_ns = count, time.process_time_ns()
    raise AssertionError(f"{left} updates are missing")


def ours_sync(url: str, channel: str, count: int) -> int:
    """Do the same without asyncio on the caller's side."""
    import krakenws

    left, began_ns = 1, 0
    options = krakenws.Options(reconnect=0, attempts=1_000_000)
    with krakenws.sync.connect(public_url=url, options=options) as opened:
        for event in _stream(opened, channel):
            if isinstance(event, krakenws.Update):
                left -= 1
                if not left:
                    if began_ns:
                        return began_ns
                    left, began_ns = count, time.process_time_ns()
    raise AssertionError(f"{left} updates are missing")


async def theirs(url: str, channel: str, count: int, *, rows: bool = False) -> int:
    """Take messages of a connection; greeting, ack and what comes with it are three."""
    import websockets.asyncio.client

    left, began_ns = 3, 0
    async with websockets.asyncio.client.connect(url, compression=None) as connection:
        await connection.send(subscribe_frame(channel))
        async for message in connection:
            if rows:
                json.loads(message)
            left -= 1
            if not left:
                if began_ns:
                    return began_ns
                left, began_ns = count, time.process_time_ns()
    raise AssertionError(f"{left} messages are missing")


def main() -> None:
    who, url, channel, count = sys.argv[1:]
    flood = url, channel, int(count)
    if who == "krakenws.sync":
        began_ns = ours_sync(*flood)
    else:
        began_ns = asyncio.run((ours if who.startswith("krakenws") else theirs)(*flood, rows="," in who))
    print(json.dumps({"ended_ns": time.monotonic_ns(), "cpu_ns": time.process_time_ns() - began_ns}))


if __name__ == "__main__":
    main()
