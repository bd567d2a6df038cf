"""Hostile servers and inputs: one sentence, a documented exit code, never a traceback."""

from __future__ import annotations

import time
from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.support.scripts import TICKER, streams
from tests.support.server import Connection, acks, exchange, frame_of

if TYPE_CHECKING:
    from tests.support.command import Command, Result
    from tests.support.server import Script

ORDER = "addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01"
LINES = {
    "ping": "ping --ack-timeout 500ms",
    "ticker": "ticker XBT/USD",
    "order": f"{ORDER} --ack-timeout 500ms",
}
OUTPUTS = ["json", "text", "csv", "raw", "transcript"]


def assert_calm(result: Result) -> None:
    """What nobody must ever see."""
    for text in (result.out, result.err):
        assert "Traceback" not in text
        assert "a defect of krakenws" not in text, text
        assert "\x1b" not in text
        assert "\x00" not in text


# ---- bytes that break RFC 6455


def with_bytes(data: bytes, *, greeted: bool = True) -> Script:
    """Send bytes once the client has said something, and hold."""

    def script(client: Connection) -> None:
        if greeted:
            client.greet()
            client.expect()
        else:
            client.accept()
        client.raw(data)
        client.hold()

    return script


BROKEN = {
    "a masked frame": b"\x81\x85\x01\x02\x03\x04abcde",
    "a reserved bit": b"\xc1\x02{}",
    "an unknown opcode": b"\x83\x02{}",
    "an unknown control opcode": b"\x8b\x00",
    "an oversized ping": b"\x89\x7e\x00\x7e" + b"x" * 126,
    "a fragmented ping": b"\x09\x02{}",
    "a continuation of nothing": b"\x80\x02{}",
    "a text inside a text": b"\x01\x02{}\x81\x02{}",
    "text that is no UTF-8": frame_of(b'{"event":"\xff\xfe"}'),
    "text cut inside a character": b"\x01\x02\xe2\x82\x80\x01\x20",
    "a length of 2 to the 63": b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
    "a message beyond all limits": b"\x81\x7f\x00\x00\x00\xff\xff\xff\xff\xff",
    "a close frame of one byte": b"\x88\x01\x03",
    "a close code that must not be sent": b"\x88\x02\x03\xed",
    "a close reason that is no UTF-8": b"\x88\x04\x03\xe8\xff\xfe",
    "a close reason for a terminal": b"\x88\x0b\x03\xe8\x1b[31m\x00\x07xy",
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("what", BROKEN)
def test_broken_frames_end_a_connection(trader: Command, what: str, name: str) -> None:
    script = with_bytes(BROKEN[what])
    with exchange(script, script) as server:
        result = trader.run(*LINES[name].split(), "--reconnect", "never", "-oraw", *server.options)
    assert result.code == (6 if name == "order" else 4), result
    assert result.sentence
    assert_calm(result)


@pytest.mark.parametrize("what", BROKEN)
def test_a_stream_survives_broken_frames_unless_it_is_strict(krakenws: Command, what: str) -> None:
    with exchange([with_bytes(BROKEN[what]), streams(TICKER)]) as server:
        result = krakenws.run(*split("ticker XBT/USD --count 1"), *server.options)
    assert result.code == 0, result.err
    assert result.stream[-1]["event"] == "update"
    assert_calm(result)
    if "close reason for" not in what:
        with exchange(with_bytes(BROKEN[what])) as server:
            assert krakenws.run("ticker", "XBT/USD", "--strict", "-oraw", *server.options).code == 9


@pytest.mark.parametrize("cut_at", [1, 2, 5])
def test_half_a_frame_and_then_the_end_is_4(krakenws: Command, cut_at: int) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.expect()
        client.raw(frame_of(TICKER.encode())[:cut_at])
        client.end()

    with exchange(script) as server:
        result = krakenws.run(*split("ticker XBT/USD --reconnect never -oraw"), *server.options)
    assert result.code == 4
    assert_calm(result)


# ---- an upgrade that is none


UPGRADES = {
    "nothing": b"",
    "no HTTP": b"\x00\xff\xfe\x15\x03\x01" * 20 + b"\r\n\r\n",
    "half a status": b"HTTP/1.1\r\n\r\n",
    "a status in words": b"HTTP/1.1 one OK\r\n\r\n",
    "an endless head": b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-Filler: y\r\n" * 20000,
    "an endless line": b"HTTP/1.1 101 " + b"x" * 300_000,
    "a header without a colon": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade websocket\r\n\r\n",
    "a page for a terminal": b"HTTP/1.1 403 \x1b[31mNo\r\nContent-Length: 9\r\n\r\n\x1b[31m\x00\x07<b>",
    "a page that is no UTF-8": b"HTTP/1.1 500 Error\r\n\r\n" + bytes(range(128, 256)),
    "a redirect to nowhere": b"HTTP/1.1 301 Moved\r\n\r\n",
}


@pytest.mark.parametrize("what", UPGRADES)
def test_an_upgrade_that_is_none_is_4(krakenws: Command, what: str) -> None:
    def script(client: Connection) -> None:
        client.raw(UPGRADES[what])
        client.end()

    with exchange(script) as server:
        result = krakenws.run("ping", "-v", "-oraw", "--connect-timeout", "1s", *server.options)
    assert result.code == 4, result
    assert_calm_but_verbose(result)
    assert len(result.err.splitlines()[0]) < 600


def assert_calm_but_verbose(result: Result) -> None:
    """With -v a traceback of the error itself may stand below its sentence."""
    assert result.err.startswith("krakenws: ")
    assert "a defect of krakenws" not in result.err
    assert "\x1b" not in result.err + result.out
    assert "\x00" not in result.err + result.out


def test_an_extension_nobody_asked_for_is_refused(krakenws: Command) -> None:
    from websockets.utils import accept_key

    def script(client: Connection) -> None:
        client.raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Accept: "
            + accept_key(client.headers["sec-websocket-key"]).encode()
            + b"\r\n\r\n"
        )
        client.hold()

    with exchange(script) as server:
        result = krakenws.run("ping", "-oraw", *server.options)
    assert result.code == 4
    assert "xtension" in result.sentence


# ---- JSON that Kraken never promised

VALUES = [
    "null",
    "true",
    "1",
    "-0",
    "1e400",
    "NaN",
    "Infinity",
    '"x"',
    '""',
    "[]",
    "{}",
    "[[]]",
    "[null]",
    "[{}]",
    '"\\ud800"',
    '"\\u0000\\u001b[31m"',
    "9" * 5000,
    '"' + "9" * 5000 + '"',
    '"-1"',
    '"1e5"',
    '"NaN"',
    '["1","2"]',
    '[["1","2"]]',
    '[["1","2","3","b","l",""]]',
    "[[1,2,3]]",
    '[["x","y","z"]]',
    '[["1.5","0.5","99999999999999999999"]]',
    '[["1.5","0.5","1e400"]]',
    '["1","2","3","4","5"]',
    '["x","y","z","a","b","c","d","e","f"]',
    '{"a":1}',
    '{"a":[["1"]],"c":"x"}',
    '{"as":1,"bs":2}',
    '{"as":[["1","1"]],"bs":[["2","x"]]}',
    '{"as":[["1","1","1"]],"bs":[["2","1","1"]]}',
    '{"b":[["-1","0.0","1"]],"c":"-5"}',
    '{"a":[["1",null,"1"]],"c":"5"}',
    '{"a":"abc"}',
    '{"a":{"b":1}}',
    '{"a":["1",1,"1"],"b":["1",1,"1"],"c":["x","y"]}',
    "[" * 100_000,
    '{"a":' * 50_000,
]
"""What may stand where a payload should; some of it is no JSON at all."""
ODD_EVENTS = [
    "",
    " ",
    "x",
    "CloudFlare WebSocket proxy restarting",
    "\x00",
    '{"event":null}',
    '{"event":{}}',
    '{"event":"\\u0000"}',
    '{"event":"systemStatus"}',
    '{"event":"systemStatus","status":[],"connectionID":1.5,"version":{}}',
    '{"event":"systemStatus","status":"\\u001b[31m","connectionID":"x"}',
    '{"event":"pong","reqid":"x"}',
    '{"event":"pong","reqid":true}',
    '{"event":"pong","reqid":-1}',
    '{"event":"error"}',
    '{"event":"error","errorMessage":{}}',
    '{"event":"error","errorMessage":"\\ud800","reqid":[]}',
    '{"Error":"x"}',
    '{"event":"subscriptionStatus"}',
    '{"event":"subscriptionStatus","status":"error"}',
    '{"event":"subscriptionStatus","status":"error","errorMessage":"x","pair":["XBT/USD"],"subscription":[]}',
    '{"event":"subscriptionStatus","status":"subscribed","channelName":7,"pair":{},"subscription":{"name":[]}}',
    '{"event":"subscriptionStatus","status":"unsubscribed","channelName":"ticker","pair":"A/B"}',
    '{"event":"addOrderStatus","status":"ok"}',
    '{"event":"addOrderStatus","reqid":77,"status":7,"txid":[]}',
    '{"event":"cancelOrderStatus","reqid":1e3}',
    '{"event":"addOrderStatus","status":"error","errorMessage":5}',
    '[1,{},"book-7","XBT/USD"]',
    '[1,{},"book-x","XBT/USD"]',
    '[1,{},"","\\u001b[31m"]',
    '[1,"ticker"]',
    '["ticker","XBT/USD"]',
    '[[],"ownTrades",{"sequence":"x"}]',
    '[[{"O":1}],"openOrders",{"sequence":1}]',
    '[{},"openOrders",[]]',
    '[[[]],"ownTrades"]',
    '[[{"T":{"price":"x","time":"y"}}],"ownTrades",{"sequence":1}]',
]
CHANNELS = {
    "ticker XBT/USD": '[1,%s,"ticker","XBT/USD"]',
    "trade XBT/USD": '[1,%s,"trade","XBT/USD"]',
    "spread XBT/USD": '[1,%s,"spread","XBT/USD"]',
    "ohlc XBT/USD": '[1,%s,"ohlc-1","XBT/USD"]',
    "book XBT/USD --no-verify": '[1,%s,"book-10","XBT/USD"]',
    "book XBT/USD --book full": '[1,%s,"book-10","XBT/USD"]',
    "book XBT/USD --book top": '[1,%s,"book-10","XBT/USD"]',
    "openOrders": '[%s,"openOrders",{"sequence":1}]',
    "ownTrades": '[[{"TX":%s}],"ownTrades",{"sequence":1}]',
}
FIELDS = {
    "ticker XBT/USD": ["a", "b", "c", "v", "p", "t", "l", "h", "o"],
    "openOrders": ["descr", "vol", "price", "userref", "opentm", "status", "fee", "avg_price"],
    "ownTrades": ["price", "vol", "time", "pair", "type", "fee", "cost", "userref", "ordertxid"],
}


def hostile(line: str) -> list[str]:
    """Every frame that a channel may be hit with."""
    template = CHANNELS[line]
    wrapped = '[{"OX":%s}]' if line == "openOrders" else "%s"
    frames = [template % value for value in VALUES]
    frames += [
        template % (wrapped % f'{{"{field}":{value}}}')
        for field in FIELDS.get(line, [])
        for value in VALUES[:-2]
    ]
    return [*frames, *ODD_EVENTS]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("line", CHANNELS)
def test_no_payload_brings_the_program_down(trader: Command, line: str, output: str) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.send(*acks(client.expect()))
        for frame in hostile(line):
            client.send(frame)
        client.close(1000)

    with exchange(script, script) as server:
        result = trader.run(*line.split(), "-o", output, "--reconnect", "never", *server.options)
    assert result.code in {4, 5}, result.err[-2000:]  # a bare refusal may be meant for a broken channel
    if output in {"json", "text", "csv"}:
        assert_calm(result)
    else:
        assert "a defect of krakenws" not in result.err
    if output == "json":
        assert all(event["event"] for event in result.events)


@pytest.mark.parametrize("output", OUTPUTS)
def test_no_file_brings_decode_down(krakenws: Command, output: str) -> None:
    frames = [frame for line in CHANNELS for frame in hostile(line)]
    lines = "\n".join(frame.replace("\n", " ") for frame in frames)
    result = krakenws.run("decode", "-o", output, stdin=lines)
    assert result.code in ({2} if output == "csv" else {0}), result.err[-500:]
    assert "a defect of krakenws" not in result.err


@pytest.mark.parametrize("name", ["ping", "order"])
@pytest.mark.parametrize("output", ["json", "text", "raw"])
def test_odd_events_are_no_answers(trader: Command, name: str, output: str) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.expect()
        client.send(
            *[
                event
                for event in ODD_EVENTS
                if "pong" not in event
                and '"event":"error"' not in event
                and "addOrderStatus" not in event
                and '"Error"' not in event
            ]
        )
        client.hold()

    with exchange(script, script) as server:
        result = trader.run(*LINES[name].split(), "-o", output, *server.options)
    assert result.code == (6 if name == "order" else 4), result
    assert "a defect of krakenws" not in result.err


@pytest.mark.parametrize("first", ["{}", "null", "", "[]", '{"event":"heartbeat"}', "x" * 100_000])
def test_something_else_than_a_greeting_is_no_greeting(trader: Command, first: str) -> None:
    def script(client: Connection) -> None:
        client.send(first)
        client.hold()

    with exchange(private=script) as server:
        result = trader.run(*ORDER.split(), "--connect-timeout", "300ms", "-otext", *server.options)
    assert result.code == 4
    assert server.messages("/auth") == []
    assert_calm(result)


def test_an_order_is_not_sent_into_maintenance(trader: Command) -> None:
    """The exchange says so itself; the answer is one sentence either way."""

    def script(client: Connection) -> None:
        client.greet("maintenance")
        asked = client.expect()
        client.send(
            {
                "event": "addOrderStatus",
                "reqid": asked["reqid"],
                "status": "error",
                "errorMessage": "EService:Unavailable",
            }
        )
        client.hold()

    with exchange(private=script) as server:
        result = trader.run(*ORDER.split(), "--for", "2s", "-oraw", *server.options)
    assert result.code in {4, 5}
    assert_calm(result)


# ---- inputs


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\xff\xfe\n",
        b"\x00",
        b'{"t":1',
        b'{"t":"x","dir":"in","frame":"{}"}',
        b'{"t":null,"frame":5}',
        b'{"t":"1","dir":"in"}',
        b"[" * 200_000,
        b'{"t":"99999999999999999999999","dir":"in","frame":"[1,[],\\"trade\\",\\"X/Y\\"]"}',
        b'{"t":"-5","dir":"in","frame":"[1,[[\\"1\\",\\"2\\",\\"3\\",\\"b\\",\\"l\\",\\"\\"]],\\"trade\\",\\"X/Y\\"]"}',
    ],
)
@pytest.mark.parametrize("tool", ["decode", "replay"])
def test_a_recording_that_is_none_is_one_sentence(krakenws: Command, tool: str, data: bytes) -> None:
    words = ["decode", "-ojson"] if tool == "decode" else ["replay", "-", "--listen", "127.0.0.1:x"]
    result = krakenws.run(*words, stdin=data)
    assert result.code in {0, 2}
    assert_calm(result)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\n", b'{"t":1', b'{"t":"x","dir":"in","frame":"{}"}', b'{"t":null,"frame":5}']
)
def test_a_recording_that_cannot_be_served_is_2(krakenws: Command, data: bytes) -> None:
    (krakenws.home / "frames").write_bytes(data)
    result = krakenws.run("replay", "frames", "--listen", "127.0.0.1:0", "-otext")
    assert result.code == 2
    assert "frames" in result.sentence


def test_arguments_that_are_no_utf_8_are_2(krakenws: Command) -> None:
    result = krakenws.shell("$KRAKENWS ticker $'XBT/\\xff\\xfe'")
    assert result.code == 2
    assert_calm(result)


def test_a_state_directory_that_cannot_be_written_is_one_sentence(krakenws: Command) -> None:
    (krakenws.home / "state").write_text("a file where a directory should be")
    result = krakenws.run(
        "token",
        "-otext",
        "--rest-url",
        "http://127.0.0.1:1",
        KRAKEN_API_KEY="a-key-of-somebody",
        KRAKEN_API_SECRET="c2VjcmV0LXNlY3JldA==",
    )
    assert result.code in {3, 4, 7}
    assert result.sentence
    assert_calm(result)


def test_closed_standard_streams_are_survived(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.hold()

    with exchange(script) as server:
        options = " ".join(server.options)
        for redirection in ("<&-", "2>&-", ">&-"):
            began = time.monotonic()
            result = krakenws.shell(f"$KRAKENWS ping --ack-timeout 200ms {options} {redirection}")
            assert result.code in {4, 7}, (redirection, result)
            assert_calm(result)
            assert time.monotonic() - began < 5
