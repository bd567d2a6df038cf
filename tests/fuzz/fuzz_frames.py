"""Fuzz target: no sequence of frames makes the protocol, its books or its events raise.

    python tests/fuzz/fuzz_frames.py --seconds 60 [--seed 1]

With atheris installed it is coverage-guided; without, frames are mutated from seeds. Either way the first
input that raises ends the run with its traceback, and the input is printed.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parents[2])]

from krakenws.core import v1_entries, v2_entries
from krakenws.core.catalog import bind
from krakenws.core.events import Update
from krakenws.core.protocol import ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v2 import V2
from krakenws.options import Options
from tests.fuzz.program import main

SEEDS = [
    b'{"connectionID":18239578009413566319,"event":"systemStatus","status":"online","version":"1.9.2"}',
    b'{"event":"heartbeat"}',
    b'{"event":"pong","reqid":1}',
    b'{"channelName":"book-10","event":"subscriptionStatus","pair":"XBT/USD","status":"subscribed"}',
    b'{"errorMessage":"Exceeded msg rate","event":"subscriptionStatus","pair":"XBT/USD","status":"error"}',
    b'{"event":"subscriptionStatus","status":"error","subscription":{"depth":10,"name":"book"}}',
    b'{"errorMessage":"ESession:Invalid session","event":"subscriptionStatus","status":"error"}',
    b'[336,{"as":[["101.0","1.00","1.0"]],"bs":[["100.0","1.00","1.0"]]},"book-10","XBT/USD"]',
    b'[336,{"a":[["101.0","0.00","1.0"]]},{"b":[["100.5","1.00","1.0","r"]],"c":"974947235"},"book-10","XBT/USD"]',
    b'[340,{"a":["45503.80000",1,"1.00000000"],"b":["45496.20000",0,"0.01426600"]},"ticker","XBT/EUR"]',
    b'[[{"OKB55A":{"status":"open","userref":0}}],"openOrders",{"sequence":2}]',
    b'{"descr":"buy","event":"addOrderStatus","reqid":1,"status":"ok","txid":"ONPNXH"}',
    b'{"errorMessage":"Malformed request","event":"error","reqid":42}',
    b'{"Error":"Exceeded msg rate"}',
    b'{"channel":"status","data":[{"api_version":"v2","connection_id":1,"system":"online"}],"type":"update"}',
    b'{"channel":"balances","type":"snapshot","sequence":1,"data":[{"asset":"BTC","balance":1.20}]}',
    b'{"error":"No","method":"subscribe","req_id":1,"success":false,"symbol":"XBT/EUR"}',
    b"CloudFlare WebSocket proxy restarting",
]
TOKENS = [
    *(b'"event"', b'"a"', b'"as"', b'"c"', b'"pair"', b'"subscription"', b'"sequence"', b"null", b"true"),
    *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\ud800", b"\xff", b"\x00", b"1e999", b"-0", b"NaN"),
    *(
        b"9" * 5000,
        b"[" * 5000,
        b'"book-10","XBT/USD"]',
        b'"book-0","A/B"]',
        b"0.00000000",
        b"99999999999999999",
    ),
]


def mutated(choose: random.Random) -> bytes:
    """Return a seed with a few pieces cut, repeated or replaced."""
    frame = bytearray(choose.choice(SEEDS))
    for _ in range(choose.randrange(4)):
        at = choose.randrange(len(frame) + 1)
        end = min(len(frame), at + choose.randrange(12))
        kind = choose.randrange(5)
        if kind == 0:
            del frame[at:end]
        elif kind == 1:
            frame[at:at] = choose.choice(TOKENS)
        elif kind == 2:
            frame[at:end] = choose.choice(TOKENS)
        elif kind == 3:
            frame[at:at] = frame[at:end]
        elif frame:
            frame[at % len(frame)] = choose.randrange(256)
    return bytes(frame)


def converse(frames: list[bytes], setting: int) -> None:
    """Give frames to a protocol and look at all it says.

    Args:
        frames: what arrives; the rest of the conversation is fixed.
        setting: its bits choose API, view, verification, detail and whether channels are adopted.
    """
    api2, adopt, verify = bool(setting & 1), bool(setting & 2), bool(setting & 4)
    options = Options(verify=verify, book=("changes", "top", "full", "changes")[setting >> 3 & 3])
    dialect = V2 if api2 else V1
    protocol = ClientProtocol(
        dialect, options, "public", jitter=lambda: 0.5, adopt=adopt, detail=bool(setting & 32)
    )
    if api2:
        protocol.subscribe(bind(v2_entries.BALANCES, []), 0.0)
    else:
        protocol.subscribe(bind(v1_entries.BOOK, ["XBT/USD", "ETH/EUR"]), 0.0)
        protocol.subscribe(bind(v1_entries.TICKER, ["XBT/EUR"]), 0.0)
        protocol.subscribe(bind(v1_entries.OPEN_ORDERS, []), 0.0)
        protocol.request(bind(v1_entries.CANCEL_ORDER, ["txid=A,B"]), 0.0)
    protocol.connecting(0.0)
    protocol.opened(0.0, "token")
    events = protocol.receive([SEEDS[14] if api2 else SEEDS[0]], 1, 0.0)
    now = 0.0
    for frame in frames:
        now += 0.5
        events += protocol.receive([frame], int(now * 1e9), now)
        events += protocol.on_deadline(int(now * 1e9), now)
        protocol.frames_to_send()
        protocol.next_deadline()
    events += protocol.lost("over", 1, now)
    for event in events:
        if not repr(event):
            raise AssertionError("an event without a text")
        if isinstance(event, Update):
            with suppress(ValueError):  # Malformed, or half a surrogate pair, as the sinks take it
                event.rows()


def run(seconds: float, seed: int, limit: int | None = None) -> int:
    """Fuzz for a time, or for `limit` conversations; return how many there were."""
    choose = random.Random(seed)
    until = time.monotonic() + seconds
    done = 0
    while done != limit and (limit is not None or time.monotonic() < until):
        frames = [mutated(choose) for _ in range(choose.randrange(1, 12))]
        setting = choose.randrange(64)
        try:
            converse(frames, setting)
        except BaseException:
            sys.stderr.write(f"seed {seed}, conversation {done}, setting {setting}: {frames!r}\n")
            raise
        done += 1
    return done


def _guided(data: bytes) -> None:
    converse(data[1:].split(b"\n"), data[0] if data else 0)


if __name__ == "__main__":
    main(__doc__, _guided, lambda seconds, seed: f"{run(seconds, seed)} conversations, nothing raised")
