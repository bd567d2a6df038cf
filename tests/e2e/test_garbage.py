"""What no exchange should send, between frames that it should: the stream goes on, in bounded memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.support.scripts import TICKER
from tests.support.server import exchange

if TYPE_CHECKING:
    from tests.support.command import Command
    from tests.support.server import Connection, Script

MANY_BYTES = 10 * 1024 * 1024
GARBAGE = {
    "ten megabytes of text": "x" * MANY_BYTES,
    "ten megabytes of a string": '{"event":"' + "x" * MANY_BYTES + '"}',
    "ten megabytes of data of nobody": "[1,[" + "1," * (MANY_BYTES // 2) + '1],"ticker","ETH/EUR"]',
    "brackets a hundred thousand deep": "[" * 100_000,
    "objects a hundred thousand deep": '{"a":' * 100_000,
    "a nest that closes": "[" * 100_000 + "]" * 100_000,
    "NUL": "\x00{}",
    "an escaped NUL in a channel": '[1,{},"tick\\u0000er","XBT/USD"]',
    "a lone surrogate": '{"event":"\\ud800"}',
    "a terminal's escape": '{"event":"\x1b[2J\x1b]0;title\x07"}',
    "a key twice": '{"event":"heartbeat","event":"what"}',
    "a number for an event": '{"event":7}',
    "a list for an event": '{"event":[]}',
    "an unknown channel": '[1,{},"prophecy","XBT/USD"]',
    "an unknown event": '{"event":"prophecy"}',
    "a word": "CloudFlare WebSocket proxy restarting",
    "nothing": "",
    "white space": " \t\r\n",
    "not a number": "NaN",
    "a huge exponent": "[1e999999999]",
    "a huge integer": "[" + "9" * 5000 + "]",
    "two values": "{} {}",
}


FRAMES = [frame for garbage in GARBAGE.values() for frame in (TICKER, garbage)]


def garbage_between_data(client: Connection) -> None:
    client.serve(*FRAMES, TICKER)
    client.hold()


@pytest.mark.parametrize("output", ["json", "text", "csv", "raw"])
def test_every_piece_of_garbage_is_told_and_every_data_frame_arrives(krakenws: Command, output: str) -> None:
    scripts: list[Script] = [garbage_between_data]
    with exchange(scripts) as server:
        line = split(f"ticker XBT/USD --count {len(GARBAGE) + 1} -o {output}")
        result = krakenws.run(*line, *server.options)
    assert result.code == 0, result.err[-2000:]
    assert "Traceback" not in result.err
    if output == "raw":
        assert result.out.endswith("".join(f"{frame}\n" for frame in (*FRAMES, TICKER)))
        return
    assert "\x1b" not in result.out + result.err
    assert "\x00" not in result.out + result.err
    if output == "json":
        (summary,) = (event for event in result.events if event["event"] == "summary")
        assert summary["channels"][0]["received"] == summary["channels"][0]["emitted"] == len(GARBAGE) + 1
        violations = [event for event in result.events if event["event"] == "violation"]
        assert [event["count"] for event in violations] == list(range(1, len(GARBAGE) + 1))
        told = {event["sha256"] for event in violations}
        for what, text in GARBAGE.items():
            assert hashlib.sha256(text.encode()).hexdigest()[:16] in told, what
        assert max(len(event["frame"]) for event in violations) < 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_a_hundred_frames_of_ten_megabytes_need_no_more_memory_than_a_few(krakenws: Command) -> None:
    def flood(client: Connection) -> None:
        client.serve(TICKER)
        for _ in range(100):
            client.send("x" * MANY_BYTES)
        client.send(TICKER)
        client.hold()

    with (
        exchange([flood]) as server,
        krakenws.start(*split("ticker XBT/USD -o json"), *server.options) as stream,
    ):
        stream.event("update")
        for number in range(1, 101):
            assert stream.event("violation")["count"] == number
        stream.event("update")
        status = Path(f"/proc/{stream.pid}/status").read_text()
        stream.terminate()
        assert stream.finish().code == 0
    (peak,) = (line.split() for line in status.splitlines() if line.startswith("VmHWM:"))
    assert int(peak[1]) * 1024 < 12 * MANY_BYTES
