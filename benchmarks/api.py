"""What `async for` over a stream of krakenws costs beside `async for` over a connection of `websockets`.

    python benchmarks/api.py

Both receive the same flood from `server.py`, a process of its own, and count what they are given; neither
parses anything, except where it says so. krakenws routes each frame to its stream and, for books, applies it
and compares the checksum. Figures are medians over rounds in which all take turns; ratios travel between
machines, messages a second do not.
"""
# ruff: noqa: RUF001 - the report has typographic signs

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind the package, whose name krakenws.py bears

import websockets.asyncio.client

import krakenws
from benchmarks.frames import PAIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from krakenws import Client

    Contestant = Callable[[str, str, int], float]

ROUNDS = 7
FRAMES = 100_000
CHANNELS = ("ticker", "trade", "book-10")
TARGET = 4.0
"""How many times faster raw updates must be than the rival's raw messages."""


def _client(url: str) -> Client:
    return krakenws.connect(public_url=url, options=krakenws.Options(reconnect=0, attempts=1_000_000))


def _words(channel: str) -> dict[str, Any]:
    _, _, depth = channel.partition("-")
    return {"depth": int(depth)} if depth else {}


def ours(url: str, channel: str, count: int, *, rows: bool = False) -> float:
    """Return the monotonic time at which the last update was taken."""

    async def run() -> float:
        left = count + 1  # the flood, and what comes with the ack
        async with _client(url) as kraken:
            async for event in kraken.stream(channel.partition("-")[0], PAIR, **_words(channel)):
                if isinstance(event, krakenws.Update):
                    if rows:
                        event.rows()
                    left -= 1
                    if not left:
                        return time.monotonic()
        raise AssertionError(f"{left} updates are missing")

    return asyncio.run(run())


def our_rows(url: str, channel: str, count: int) -> float:
    """Make typed rows of each update as well."""
    return ours(url, channel, count, rows=True)


def our_sync(url: str, channel: str, count: int) -> float:
    """Do the same without asyncio on the caller's side."""
    left = count + 1
    options = krakenws.Options(reconnect=0, attempts=1_000_000)
    with krakenws.sync.connect(public_url=url, options=options) as kraken:
        for event in kraken.stream(channel.partition("-")[0], PAIR, **_words(channel)):
            if isinstance(event, krakenws.Update):
                left -= 1
                if not left:
                    return time.monotonic()
    raise AssertionError(f"{left} updates are missing")


def theirs(url: str, channel: str, count: int, *, rows: bool = False) -> float:
    """Count messages until the last one of the flood; greeting, ack and what comes with it are three more."""
    name, _, depth = channel.partition("-")
    subscription = {"name": name, **({"depth": int(depth)} if depth else {})}

    async def run() -> float:
        left = count + 3
        async with websockets.asyncio.client.connect(url, compression=None) as connection:
            asked = {"event": "subscribe", "subscription": subscription, "pair": [PAIR]}
            await connection.send(json.dumps(asked))
            async for message in connection:
                if rows:
                    json.loads(message)
                left -= 1
                if not left:
                    return time.monotonic()
        raise AssertionError(f"{left} messages are missing")

    return asyncio.run(run())


def their_rows(url: str, channel: str, count: int) -> float:
    """Parse each message with `json.loads` as well."""
    return theirs(url, channel, count, rows=True)


CONTESTANTS: dict[str, Contestant] = {
    "krakenws, updates": ours,
    "krakenws, typed rows": our_rows,
    "krakenws.sync, updates": our_sync,
    "websockets, messages": theirs,
    "websockets, json.loads": their_rows,
}
RIVALS = {
    "krakenws, updates": "websockets, messages",
    "krakenws, typed rows": "websockets, json.loads",
    "krakenws.sync, updates": "websockets, messages",
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    rates: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as home:
        argv = [sys.executable, str(Path(__file__).with_name("server.py")), f"{home}/ca.pem"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = f"ws://127.0.0.1:{json.loads(server.stdout.readline())['ws']}/{FRAMES}"
            for _ in range(rounds):
                for channel in CHANNELS:
                    for name, contestant in CONTESTANTS.items():
                        ended = contestant(url, channel, FRAMES)
                        began = json.loads(server.stdout.readline())["began_ns"] / 1e9
                        rates.setdefault((channel, name), []).append(FRAMES / (ended - began))
            assert server.stdin is not None
            server.stdin.close()
    print("| channel | who | 1,000 msgs/s | × its rival |\n| --- | --- | ---: | ---: |")
    for (channel, name), found in rates.items():
        rival = rates.get((channel, RIVALS.get(name, "")))
        ratio = statistics.median(a / b for a, b in zip(found, rival, strict=True)) if rival else None
        shown = "" if ratio is None else f"{ratio:.1f}"
        print(f"| {channel} | {name} | {statistics.median(found) / 1000:.0f} | {shown} |")


if __name__ == "__main__":
    main()
