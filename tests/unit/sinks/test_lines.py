"""Every output format, line for line."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
import threading
from functools import partial
from io import StringIO
from pathlib import Path
from time import gmtime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from krakenws.core import events
from krakenws.core.catalog import CHANNEL, PRIVATE, Bound, Entry
from krakenws.core.events import Route, Update
from krakenws.core.schema import schema
from krakenws.core.v1_entries import BOOK, CANCEL_ALL, ENTRIES, OWN_TRADES, TICKER, TRADE
from krakenws.errors import CredentialsError, OutcomeUnknown, SinkError, UsageError
from krakenws.sinks import ClosedPipe, Out, open_sink
from krakenws.sinks.lines import Json
from krakenws.sinks.text import Text
from tests.updates import RECEIVED, RECEIVED_NS, Updates, update_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krakenws.core.events import Event
    from krakenws.sinks import Sink

TRADES = """[1,[["64000.10000","0.01000000","1795324223.101000","b","l",""]],"trade","XBT/USD"]"""
ASK = """[1,{"a":[["64010.20000","0.00000000","1795324223.1"]],"c":"2479000840"},"book-10","XBT/USD"]"""
NOW = RECEIVED_NS
BEFORE = "2026-11-22T05:10:22.123456Z"


class Memory(Out):
    """Keeps what is written, and in how many pieces."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    @property
    def text(self) -> str:
        return b"".join(self.writes).decode()


def written(format_: str, *items: Update | Event, **options: Any) -> str:
    out = Memory()
    sink = open_sink(format_, out, **options)
    sink.write(items)
    sink.close()
    assert len(out.writes) <= 1
    return out.text


def seen(*items: Update | Event, **options: Any) -> list[str]:
    """Lines of `text`, in UTC."""
    out = Memory()
    Text(out, local=gmtime, **options).write(items)
    return out.text.splitlines()


EVENTS: list[tuple[Event, str]] = [
    (events.Connected(NOW, "wss://ws.kraken.com"), '"event":"connected","endpoint":"wss://ws.kraken.com"'),
    (
        events.Disconnected(NOW, "wss://ws.kraken.com", "reset by peer", 0.25),
        '"event":"disconnected","endpoint":"wss://ws.kraken.com","cause":"reset by peer","retry_in_s":0.25',
    ),
    (
        events.Disconnected(NOW, "wss://ws.kraken.com", "reset by peer"),
        '"event":"disconnected","endpoint":"wss://ws.kraken.com","cause":"reset by peer"',
    ),
    (
        events.Status(NOW, "online", "1.9.2", "17843232920108168701"),
        '"event":"status","system":"online","version":"1.9.2","connection_id":"17843232920108168701"',
    ),
    (events.Status(NOW, "maintenance"), '"event":"status","system":"maintenance"'),
    (events.Pong(NOW, 7, 0.0234), '"event":"pong","req_id":7,"round_trip_s":0.0234'),
    (events.Pong(NOW, None, 0.1 + 0.2), '"event":"pong","round_trip_s":0.3'),
    (events.Pong(NOW, 7), '"event":"pong","req_id":7'),
    (
        events.Subscribed(NOW, "book-10", "XBT/USD", {"depth": 10}),
        '"event":"subscribed","channel":"book","symbol":"XBT/USD","depth":10,"params":{"depth":10}',
    ),
    (
        events.Subscribed(NOW, "openOrders", "", {"maxratecount": 125}),
        '"event":"subscribed","channel":"openOrders","params":{"maxratecount":125}',
    ),
    (
        events.Unsubscribed(NOW, "ohlc-60", "XBT/USD"),
        '"event":"unsubscribed","channel":"ohlc","symbol":"XBT/USD","interval":60',
    ),
    (
        events.Refused(NOW, "", "FOO/BAR", "Currency pair not supported FOO/BAR"),
        '"event":"refused","symbol":"FOO/BAR","error":"Currency pair not supported FOO/BAR"',
    ),
    (
        events.Gap(NOW, "trade", "XBT/USD", "lost", NOW - 1_000_000_000, NOW),
        f'"event":"gap","channel":"trade","symbol":"XBT/USD","cause":"lost","from":"{BEFORE}","to":"{RECEIVED}"',
    ),
    (
        events.Gap(NOW, "book-10", "XBT/USD", "crc", NOW),
        f'"event":"gap","channel":"book","symbol":"XBT/USD","depth":10,"cause":"crc","from":"{RECEIVED}","to":null',
    ),
    (
        events.Reply(NOW, "addOrder", 7, {"a": 1}),
        '"event":"reply","method":"addOrder","req_id":7,"success":true,"outcome":"accepted","result":{"a":1}',
    ),
    (
        events.Rejected(NOW, "addOrder", 8, "EOrder:Bad"),
        '"event":"reply","method":"addOrder","req_id":8,"success":false,"outcome":"rejected","error":"EOrder:Bad"',
    ),
    (
        events.Unanswered(NOW, "addOrder", 9, "look first"),
        '"event":"unanswered","method":"addOrder","req_id":9,"outcome":"unknown","hint":"look first"',
    ),
    (
        events.Lagging(NOW, "block", NOW - 1_000_000_000, 1.0, 3.5),
        f'"event":"lagging","policy":"block","from":"{BEFORE}","blocked_s":1.0,"blocked_total_s":3.5',
    ),
    (
        events.Lagging(NOW, "drop", NOW, dropped=[{"count": 2}], dropped_total=5),
        f'"event":"lagging","policy":"drop","from":"{RECEIVED}","dropped":[{{"count":2}}],"dropped_total":5',
    ),
    (
        events.Violation(NOW, "no JSON", "C\\x1b", 40, "ab", 3),
        '"event":"violation","cause":"no JSON","frame":"C\\\\x1b","length_bytes":40,"sha256":"ab","count":3',
    ),
]


@pytest.mark.parametrize(("event", "fields"), EVENTS)
def test_json_has_a_line_for_every_event(event: Event, fields: str) -> None:
    line = f'{{{fields},"received":"{RECEIVED}"}}\n'
    assert written("json", event) == line
    out = Memory()
    Json(out, many=True).write([event])
    assert out.text == line


@pytest.mark.parametrize(
    "value", ["\ud800", 2**70, "\x7f", "é €", "\u2028\u009b\u202e", 0.00001, 1e300, None]
)
def test_what_an_exchange_may_answer_is_told_where_there_are_many_events_too(value: Any) -> None:
    out = Memory()
    Json(out, many=True).write([events.Reply(NOW, "addOrder", 7, {"a": value})])
    assert json.loads(out.text)["result"]["a"] == value
    assert out.text[:-1].isprintable()
    assert out.text.isascii()


def test_json_of_a_trade_is_the_line_of_the_contract() -> None:
    assert written("json", update_of(TRADES)) == (
        '{"event":"update","channel":"trade","type":"update","symbol":"XBT/USD",'
        f'"received":"{RECEIVED}","data":[{{"price":"64000.10000","qty":"0.01000000","side":"buy",'
        '"ord_type":"limit","timestamp":"2026-11-22T05:10:23.101000Z"}]}\n'
    )


def test_json_of_a_book_says_its_depth_and_how_far_it_is_trusted() -> None:
    assert written("json", update_of(ASK, events.VERIFIED)) == (
        '{"event":"update","channel":"book","type":"update","symbol":"XBT/USD","depth":10,'
        f'"received":"{RECEIVED}","trust":"verified",'
        '"data":[{"asks":[{"price":"64010.20000","qty":"0.00000000"}],"bids":[],"checksum":2479000840}]}\n'
    )


def test_json_keeps_order_routes_trust_and_times_apart() -> None:
    make = Updates()
    other = TRADES.replace("XBT/USD", "ETH/EUR")
    snapshot = '[1,{"as":[],"bs":[]},"book-10","XBT/USD"]'
    lines = written(
        "json",
        make(snapshot, events.UNVERIFIED),
        make(ASK, events.VERIFIED),
        make(ASK, events.UNVERIFIED, NOW + 2_000),
        make(TRADES, None, NOW + 2_000),
        make(other, None, NOW + 1_000_000_000),
        make(TRADES, None, NOW),
    ).splitlines()
    told = [json.loads(line) for line in lines]
    assert [(line["type"], line["symbol"], line.get("trust"), line["received"][17:]) for line in told] == [
        ("snapshot", "XBT/USD", "unverified", "23.123456Z"),
        ("update", "XBT/USD", "verified", "23.123456Z"),
        ("update", "XBT/USD", "unverified", "23.123458Z"),
        ("update", "XBT/USD", None, "23.123458Z"),
        ("update", "ETH/EUR", None, "24.123456Z"),
        ("update", "XBT/USD", None, "23.123456Z"),
    ]


def test_json_of_a_private_channel_has_no_symbol_of_its_own() -> None:
    frame = '[[{"OABC":{"status":"open","userref":0}}],"openOrders",{"sequence":2}]'
    assert written("json", update_of(frame)) == (
        f'{{"event":"update","channel":"openOrders","type":"update","received":"{RECEIVED}",'
        '"data":[{"order_id":"OABC","order_status":"open"}]}\n'
    )


def test_json_of_an_interval_names_it() -> None:
    frame = '[1,["1.5","3600.0","1","1","1","1","1","1",1],"ohlc-60","XBT/USD"]'
    assert '"symbol":"XBT/USD","interval":60,"received"' in written("json", update_of(frame))


def test_json_says_a_broken_data_frame_is_a_violation_and_goes_on() -> None:
    broken = '[1,{"no":"\\u001b[2J' + "x" * 300 + '"},"trade","XBT/USD"]'
    first, second = map(json.loads, written("json", update_of(broken), update_of(TRADES)).splitlines())
    assert (first["event"], first["channel"], first["symbol"]) == ("violation", "trade", "XBT/USD")
    assert first["length_bytes"] == len(broken)
    assert len(first["frame"]) == 120
    assert broken.startswith(first["frame"])
    assert second["event"] == "update"


def test_text_that_is_no_unicode_is_a_violation() -> None:
    update = update_of(r'[[{"OABC":{"status":"\ud800"}}],"openOrders",{"sequence":2}]')
    assert json.loads(written("json", update))["event"] == "violation"
    assert "\\ud800" in seen(update)[0]


@pytest.mark.parametrize("format_", ["json", "csv", "text", "raw", "transcript"])
def test_heartbeats_have_no_line(format_: str) -> None:
    out = Memory()
    sink = open_sink(format_, out, bound=[Bound(TRADE, {})])
    sink.write([events.Heartbeat(NOW)])
    assert out.text in {"", "received,type,symbol,price,qty,side,ord_type,timestamp,misc,trade_id,source\n"}


def test_json_tells_the_error_that_ends_the_run() -> None:
    out = Memory()
    open_sink("json", out).failed(OutcomeUnknown("no answer to addOrder"))
    open_sink("text", out).failed(OutcomeUnknown("no answer to addOrder"))
    open_sink("json", out).failed(CredentialsError("no token"))
    assert out.text == (
        '{"event":"error","code":6,"message":"no answer to addOrder","retryable":false}\n'
        '{"event":"error","code":3,"message":"no token","retryable":false}\n'
    )


def test_the_schema_names_the_fields_of_every_json_line() -> None:
    definitions = schema(ENTRIES)["$defs"]
    out = Memory()
    sink = Json(out)
    sink.write([event for event, _ in EVENTS])
    sink.write([update_of(TRADES), update_of(ASK, events.VERIFIED)])
    sink.failed(UsageError("no"))
    for line in map(json.loads, out.text.splitlines()):
        name = line["event"]
        if name == "update":
            name = f"update_{line['channel']}"
        if name == "reply" and not line["success"]:
            name = "rejected"
        described = definitions[name]
        assert set(described["required"]) <= set(line) <= set(described["properties"]), line
        for field, value in line.items():
            assert described["properties"][field].get("const", value) == value


def test_events_without_rows_do_not_load_msgspec() -> None:
    program = (
        "import sys; from krakenws.core import events; from krakenws.sinks import Out, open_sink\n"
        "for name in ('json', 'text'):\n"
        "    sink = open_sink(name, Out(1))\n"
        "    sink.write([events.Pong(1, 7, .02), events.Rejected(1, 'addOrder', 8, 'E')])\n"
        "slow = {'msgspec', 'typing', 'dataclasses', 'csv', 'decimal', 'datetime'} & set(sys.modules)\n"
        "sys.exit(f'loaded {slow}' if slow else 0)"
    )
    source = str(Path(__file__).parents[3] / "src")
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=source,  # where "krakenws" is the package and not the script of that name
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2] == "pong in 20.0 ms"


def test_a_transcript_has_every_frame_byte_for_byte_in_wire_order() -> None:
    out = Memory()
    sink = open_sink("transcript", out)
    assert not sink.wants_events
    sink.sent([b'{"event":"ping"}', b'{"event":"subscribe"}'])
    sink.received([b'{"event":"pong"}', b'"\xff\x1b"', b""])
    sink.received([])
    sink.write([events.Heartbeat(NOW)])
    assert out.writes == [
        b'Client -> WebSocket: {"event":"ping"}\nClient -> WebSocket: {"event":"subscribe"}\n',
        b'WebSocket -> Client: {"event":"pong"}\nWebSocket -> Client: "\xff\x1b"\nWebSocket -> Client: \n',
    ]


def test_raw_has_received_frames_and_nothing_else() -> None:
    out = Memory()
    sink = open_sink("raw", out)
    assert not sink.wants_events
    sink.sent([b"sent"])
    sink.received([b'{"event":"heartbeat"}', b"[1]"])
    sink.received([])
    assert out.writes == [b'{"event":"heartbeat"}\n[1]\n']


def test_csv_has_the_header_once_and_the_columns_of_its_rows() -> None:
    out = Memory()
    sink = open_sink("csv", out, bound=[Bound(TRADE, {}), Bound(TRADE, {})])
    sink.write([update_of(TRADES)])
    sink.write([update_of(TRADES.replace('"l",""', '"l","a ""quoted"" \\u001b word"'.replace('""', '\\"')))])
    header, first, second = out.text.splitlines()
    assert header == "received,type,symbol,price,qty,side,ord_type,timestamp,misc,trade_id,source"
    assert first == (
        f"{RECEIVED},update,XBT/USD,64000.10000,0.01000000,buy,limit,2026-11-22T05:10:23.101000Z,,,"
    )
    assert second.endswith(',limit,2026-11-22T05:10:23.101000Z,"a ""quoted"" \\x1b word",,')


def test_csv_of_a_book_has_a_line_for_each_level() -> None:
    frame = '[1,{"a":[["3","1","1.5"]]},{"b":[["2","4","1.5"],["1","0","1.5"]],"c":"7"},"book-25","XBT/USD"]'
    assert written("csv", update_of(frame, events.VERIFIED), bound=[Bound(BOOK, {})]).splitlines() == [
        "received,type,symbol,depth,trust,side,price,qty",
        f"{RECEIVED},update,XBT/USD,25,verified,ask,3,1",
        f"{RECEIVED},update,XBT/USD,25,verified,bid,2,4",
        f"{RECEIVED},update,XBT/USD,25,verified,bid,1,0",
    ]


def test_csv_of_a_private_channel_takes_the_symbol_from_its_rows() -> None:
    frame = """[[{"TABC":{"cost":"19.00","fee":"0.05","ordertxid":"OABC","ordertype":"limit","pair":"XBT/EUR",
        "price":"9.50","time":"0.5","type":"sell","vol":"2.0","margin_borrow":false}}],"ownTrades"]"""
    (row,) = csv.DictReader(StringIO(written("csv", update_of(frame), bound=[Bound(OWN_TRADES, {})])))
    assert list(row)[:5] == ["received", "type", "exec_id", "order_id", "symbol"]
    assert (row["symbol"], row["last_qty"], row["margin_borrow"], row["cl_ord_id"]) == (
        "XBT/EUR",
        "2.0",
        "false",
        "",
    )


def test_csv_without_data_is_a_table_with_a_header() -> None:
    assert written("csv", bound=[Bound(BOOK, {})]) == "received,type,symbol,depth,trust,side,price,qty\n"


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ([Bound(TICKER, {}), Bound(TRADE, {})], "ticker and trade"),
        ([Bound(CANCEL_ALL, {})], "cancelAll is none"),
        ([], "csv needs a channel"),
    ],
)
def test_csv_is_refused_for_anything_but_one_channel(bound: list[Bound], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_sink("csv", Memory(), bound=bound)


def test_csv_says_elsewhere_which_frames_it_leaves_out() -> None:
    said: list[str] = []
    written(
        "csv",
        events.Connected(NOW, "wss://ws.kraken.com"),
        events.Gap(NOW, "trade", "XBT/USD", "connection lost", NOW),
        update_of('[1,[["x"]],"trade","XBT/USD"]'),
        bound=[Bound(TRADE, {})],
        warn=said.append,
    )
    (sentence,) = said
    assert sentence.startswith("unusable frame of trade XBT/USD, no row written: not the shape of trade")


def test_a_format_that_is_not_offered_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="choose from text, json, transcript, raw, csv"):
        open_sink("xml", Memory())


def trade(price: str, qty: str = "0.5", pair: str = "XBT/USD") -> Update:
    return update_of(f'[1,[["{price}","{qty}","1.5","s","m",""]],"trade","{pair}"]')


def test_text_of_trades_lines_up_and_keeps_the_digits_of_the_wire() -> None:
    lines = seen(trade("10.00", "12.25"), trade("9.90"), trade("0.0000012", "7", "XDG/XBT"), trade("9.95"))
    assert lines == [
        "05:10:23.123  XBT/USD  sell  10.00      12.25  market",
        "05:10:23.123  XBT/USD  sell   9.90 ▼     0.5   market",
        "05:10:23.123  XDG/XBT  sell  0.0000012          7  market",
        "05:10:23.123  XBT/USD  sell       9.95 ▲     0.5   market",
    ]


def test_text_colours_side_and_direction_only_when_asked() -> None:
    lines = seen(trade("10"), trade("11"), trade("9"), color=True)
    assert all("\x1b[31msell\x1b[0m" in line for line in lines)
    assert "\x1b[32m11 ▲\x1b[0m" in lines[1]
    assert "\x1b[31m 9 ▼\x1b[0m" in lines[2]
    assert "\x1b" not in "".join(seen(trade("10"), trade("11")))


def test_text_of_a_book_names_changed_levels_and_what_is_proved() -> None:
    frame = '[1,{"a":[["31.5","0.000","1.5"]]},{"b":[["30.5","2.250","1.5"]],"c":"7"},"book-10","XBT/USD"]'
    snapshot = '[1,{"as":[["31","1","1"],["32","1","1"]],"bs":[["30","1","1"]]},"book-10","XBT/USD"]'
    assert seen(update_of(snapshot, events.UNVERIFIED), update_of(frame, events.VERIFIED)) == [
        "05:10:23.123  XBT/USD  snapshot 2 asks 1 bids  best 30 / 31",
        "05:10:23.123  XBT/USD  ✓  ask 31.5  -  bid 30.5  2.250",
    ]
    assert "  ?  ask 31.5" in seen(update_of(frame, events.UNVERIFIED))[0]


def test_text_of_a_long_book_frame_counts_what_does_not_fit() -> None:
    levels = ",".join(f'["{30000 + n}.00000","{n}.00000000","1.5"]' for n in range(1, 101))
    (line,) = seen(update_of(f'[1,{{"a":[{levels}]}},{{"b":[{levels}]}},"book-1000","XBT/USD"]'))
    assert len(line) <= 100
    assert "+99  bid " in line
    assert line.endswith("+99")


def test_text_remembers_what_an_order_is() -> None:
    make = Updates()
    descr = {"ordertype": "limit", "pair": "XBT/USD", "price": "9.50", "price2": "0.00", "type": "buy"}
    steps: list[dict[str, Any]] = [
        {"status": "pending", "descr": descr, "vol": "2.0", "vol_exec": "0.0"},
        {"status": "open"},
        {"vol_exec": "0.5", "avg_price": "9.40"},
        {"status": "closed", "vol_exec": "2.0", "avg_price": "9.45"},
        {"status": "canceled", "cancel_reason": "User requested"},
    ]
    frames = [json.dumps([[{"OABC": step}], "openOrders", {"sequence": 2}]) for step in steps]
    assert seen(*map(make, frames)) == [
        "05:10:23.123  OABC  pending   buy 2.0 XBT/USD @ limit 9.50",
        "05:10:23.123  OABC  open      buy 2.0 XBT/USD @ limit 9.50",
        "05:10:23.123  OABC  filling   buy 0.5 of 2.0 XBT/USD at 9.40",
        "05:10:23.123  OABC  closed    buy 2.0 XBT/USD at 9.45",
        "05:10:23.123  OABC  canceled  User requested",
    ]


def test_text_of_fills_in_a_snapshot_says_when_they_were_made() -> None:
    fill = """[[{"TABC":{"cost":"19.00","fee":"0.05","ordertxid":"OABC","ordertype":"limit","pair":"XBT/EUR",
        "price":"9.50","time":"1700000000.5","type":"sell","vol":"2.0"}}],"ownTrades",{"sequence":%d}]"""
    assert seen(update_of(fill % 1), update_of(fill % 2)) == [
        "2023-11-14 22:13  OABC  sell   2.0  XBT/EUR at 9.50  fee 0.05",
        "05:10:23.123  OABC  sell   2.0  XBT/EUR at 9.50  fee 0.05",
    ]


def test_text_of_the_other_channels() -> None:
    ticker = """[1,{"a":["101.20",3,"3.5"],"b":["101.10",0,"0.2"],"c":["101.15","0.01"],"v":["10.0","20.0"],
        "p":["100.1","100.2"],"t":[5,9],"l":["99.1","98.1"],"h":["102.1","103.1"],
        "o":["100.0","98.0"]},"ticker","XBT/USD"]"""
    spread = '[1,["7.1","7.25","1.5","0.5","1.5"],"spread","XBT/USD"]'
    candle = '[1,["1.5","3600.0","1.0","4.0","0.5","2.0","1.7","9.0",12],"ohlc-60","XBT/USD"]'
    assert seen(update_of(ticker), update_of(spread), update_of(candle)) == [
        "05:10:23.123  XBT/USD  101.15    bid 101.10  ask 101.20   +3.21%  vol 20.0",
        "05:10:23.123  XBT/USD     0.5 bid 7.1  7.25 ask    1.5  spread 0.15",
        "05:10:23.123  XBT/USD  00:00 60m  C 2.0 ▲  O 1.0  H 4.0  L 0.5  vol 9.0",
    ]


def balance(data: str) -> Update:
    entry = Entry(api=2, name="balances", kind=CHANNEL, access=PRIVATE, help="Balances.", rows="Balance")
    return Update(Route(entry, {}, "balances", ""), f'{{"data":[{data}]}}'.encode(), NOW, False, None, None)


WALLETS = """{"asset":"USD","balance":160.2400,"wallets":[{"type":"spot","id":"main","balance":100.2400},
    {"type":"earn","id":"flexible","balance":60.0000}]}"""


def test_text_of_balances_shows_what_changed_and_why() -> None:
    entry = '{"asset":"USD","amount":%s,"fee":%s,"balance":%s,"type":"trade"}'
    assert seen(
        balance(WALLETS),
        balance(entry % ("-19.9743", "0.0499", "118.0677")),
        balance(entry % ("2", "0.0", "120")),
    ) == [
        "05:10:23.123  USD     160.2400  spot main 100.2400, earn flexible 60.0000",
        "05:10:23.123  USD     118.0677    -19.9743  trade  fee 0.0499",
        "05:10:23.123  USD     120          +2       trade",
    ]


def test_csv_of_balances_has_wallets_as_json() -> None:
    update = balance(WALLETS)
    (row,) = csv.DictReader(StringIO(written("csv", update, bound=[Bound(update.route.entry, {})])))
    assert (row["asset"], row["balance"], row["amount"]) == ("USD", "160.2400", "")
    assert (row["type"], row["entry_type"]) == ("update", "")
    assert json.loads(row["wallets"])[1] == {"type": "earn", "id": "flexible", "balance": "60.0000"}


def test_text_names_the_channel_when_there_are_several() -> None:
    assert seen(update_of(TRADES), channels=True)[0].startswith("05:10:23.123  trade  XBT/USD")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (events.Connected(NOW, "wss://a.b"), "05:10:23.123  connected to wss://a.b"),
        (
            events.Disconnected(NOW, "wss://a.b", "reset by peer", 1.5),
            "05:10:23.123  disconnected from wss://a.b: reset by peer; trying again in 1.5 s",
        ),
        (events.Status(NOW, "online", "1.9.2"), "05:10:23.123  exchange online, version 1.9.2"),
        (events.Subscribed(NOW, "book-10", "XBT/USD", {}), "05:10:23.123  subscribed to book-10 XBT/USD"),
        (events.Unsubscribed(NOW, "ownTrades", ""), "05:10:23.123  unsubscribed from ownTrades"),
        (
            events.Refused(NOW, "ticker", "FOO/BAR", "not supported"),
            "05:10:23.123  refused ticker FOO/BAR: not supported",
        ),
        (
            events.Gap(NOW, "book-10", "XBT/USD", "checksum", NOW),
            "05:10:23.123  GAP book-10 XBT/USD: checksum; not to be trusted since 05:10:23.123",
        ),
        (
            events.Gap(NOW, "book-10", "XBT/USD", "checksum", NOW, NOW + 2_000_000_000),
            "05:10:23.123  GAP book-10 XBT/USD: checksum; nothing to trust from 05:10:23.123 to 05:10:25.123",
        ),
        (
            events.Disconnected(NOW, "wss://a.b", "reset by peer", 0.04),
            "05:10:23.123  disconnected from wss://a.b: reset by peer; trying again now",
        ),
        (
            events.Lagging(NOW, "drop", NOW, dropped=[{"channel": "trade", "count": 2}], dropped_total=5),
            "05:10:23.123  stdout is read too slowly: 2 messages of trade dropped, 5 in all",
        ),
        (events.Pong(NOW, 7, 0.02344), "pong in 23.4 ms"),
        (events.Pong(NOW, 7), "pong"),
        (
            events.Reply(NOW, "addOrder", 7, {"descr": "buy 2 XBTUSD @ limit 9", "order_id": "OABC"}),
            "accepted: buy 2 XBTUSD @ limit 9 (order OABC)",
        ),
        (events.Reply(NOW, "cancelAll", 7, {"count": 3}), "accepted: cancelAll (count 3)"),
        (
            events.Rejected(NOW, "addOrder", 7, "EOrder:Insufficient funds"),
            "refused: EOrder:Insufficient funds",
        ),
        (events.Unanswered(NOW, "addOrder", 7, "look first"), "outcome unknown: look first"),
    ],
)
def test_text_tells_everything_else_in_a_sentence(event: Event, line: str) -> None:
    assert seen(event) == [line]


def test_a_long_sentence_is_wrapped_and_loses_nothing() -> None:
    hint = " ".join(["look"] * 60)
    lines = seen(events.Unanswered(NOW, "addOrder", 7, hint))
    assert len(lines) > 1
    assert all(len(line) <= 100 for line in lines)
    assert " ".join(" ".join(lines).split()) == f"outcome unknown: {hint}"


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x07", "\r", "\n", "\x9b31m", "\u202e", "\x7f"])
def test_control_characters_of_the_wire_never_reach_a_terminal(evil: str) -> None:
    text = json.dumps(evil)[1:-1]
    lines = seen(
        update_of(TRADES.replace('"l",""', f'"{text}","{text}"')),
        update_of(TRADES.replace("64000.10000", text)),
        update_of(f'[1,["{text}","{text}","1.5","{text}","{text}"],"spread","XBT/USD"]'),
        update_of(f'[1,{{"a":[["{text}","{text}","1.5"]]}},"book-10","{text}"]'),
        update_of(f'[[{{"{text}":{{"status":"{text}","vol":"{text}"}}}}],"openOrders"]'),
        events.Refused(NOW, evil, evil, evil),
        events.Rejected(NOW, evil, 7, evil),
        events.Reply(NOW, evil, 7, {evil: evil}),
        events.Violation(NOW, evil, evil, 1, "ab12", 1),
        update_of(f'[1,"{text}","trade","XBT/USD"]'),
        color=False,
    )
    assert len(lines) == 10
    assert all(line.isprintable() for line in lines)


def test_text_is_never_wider_than_its_columns() -> None:
    long = "9" * 90
    lines = seen(
        update_of(TRADES.replace("64000.10000", long).replace("0.01000000", long)),
        update_of(f'[1,["{long}","{long}","1.5","{long}","{long}"],"spread","XBT/USD"]'),
        update_of(f'[1,["1.5","3600.0","{long}","1","1","1","1","{long}",1],"ohlc-60","XBT/USD"]'),
        update_of(f'[1,{{"a":[["{long}","{long}","1.5"]]}},"book-10","XBT/USD"]'),
        update_of(f'[[{{"{long}":{{"status":"{long}","vol":"{long}"}}}}],"openOrders"]'),
        update_of(f'[[{{"OABC":{{"status":"closed","cancel_reason":"{long}"}}}}],"openOrders"]'),
        events.Violation(NOW, "not JSON", long, 99, "ab12", 1),
        events.Disconnected(NOW, "wss://ws.kraken.com", long),
        events.Rejected(NOW, "addOrder", 7, long * 3),
    )
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("columns", range(30, 100, 3))
def test_on_a_narrow_terminal_no_line_wraps_and_no_number_loses_digits(columns: int) -> None:
    numbers = {"64000.10000", "0.01000000", "64010.20000", "2.00000000", "64010.30000", "3.00000000"}
    lines = seen(
        update_of(TRADES),
        update_of('[1,["64010.20000","64010.30000","1.5","2.00000000","3.00000000"],"spread","XBT/USD"]'),
        columns=lambda: columns,
    )
    assert max(map(len, lines)) <= columns
    shown = {word.rstrip("…") for line in lines for word in line.split() if word[0].isdigit() and "." in word}
    assert {number for number in shown if ":" not in number} - numbers - {"0.10000"} == set()


def test_80_columns_show_both_sides_of_a_book_and_of_a_spread() -> None:
    ask, bid = '["64010.20000","2.00000000","1.5"]', '["64000.10000","1.00000000","1.5"]'
    both = f'[1,{{"a":[{ask}]}},{{"b":[{bid}]}},"book-10","XBT/USD"]'
    (book,) = seen(update_of(both, "verified"), columns=lambda: 60)
    assert book == "05:10:23  XBT/USD  ✓  ask 64010.20000  bid 64000.10000"
    spread = '[1,["64010.20000","64010.30000","1.5","2.00000000","3.00000000"],"spread","XBT/USD"]'
    (line,) = seen(update_of(spread), columns=lambda: 80)
    assert "2.00000000 bid 64010.20000  64010.30000 ask    3.00000000" in line


def test_a_wide_terminal_is_used_and_a_window_may_change() -> None:
    widths = iter([100, 60, 160])
    out = Memory()
    text = Text(out, local=gmtime, columns=lambda: next(widths))
    broken = events.Violation(NOW, "c", "x" * 200, 9, "ab12", 1)
    text.write([broken])
    text.write([broken])
    assert [len(line) for line in out.text.splitlines()] == [60, 160]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ('[[],"openOrders",{"sequence":1}]', "05:10:23.123  no open orders"),
        ('[[],"ownTrades",{"sequence":1}]', "05:10:23.123  no trades yet"),
    ],
)
def test_a_snapshot_of_nothing_says_so(frame: str, said: str) -> None:
    assert seen(update_of(frame)) == [said]


def test_trades_filled_in_from_rest_show_when_they_were_made() -> None:
    missed = Updates()(TRADES, received_ns=RECEIVED_NS + 3_000_000_000)
    rows = [structs.replace(row, source="backfill") for row in missed.rows()]
    (line,) = seen(Update(missed.route, b"", missed.received_ns, False, None, rows))
    assert line.startswith("05:10:23.101  XBT/USD")


@pytest.mark.parametrize(
    ("policy", "said"), [("block", "--overflow offers other ways"), ("exit", "--overflow exit ends the run")]
)
def test_advice_on_a_slow_reader_fits_the_policy(policy: str, said: str) -> None:
    assert said in events.lag_of(events.Lagging(NOW, policy, NOW, 2.0, 2.0))


@pytest.mark.parametrize("length", range(95, 106))
def test_a_cut_line_says_so(length: int) -> None:
    (line,) = seen(events.Violation(NOW, "c", "x" * (length - 50), 9, "ab12", 1))
    whole = f"05:10:23.123  broken frame, 9 bytes: c: {'x' * (length - 50)}"
    assert line == (whole if len(whole) <= 100 else f"{whole[:99]}…")


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def test_a_pipe_is_made_to_hold_more_than_one_read_becomes_and_never_less(pipe: list[int]) -> None:
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("pipes have one size here")
    out = Out(pipe[1])
    out.widen()
    assert fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ) >= 1 << 17
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 1 << 19)
    out.widen()
    assert fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ) == 1 << 19


def test_what_is_no_pipe_is_not_widened(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        Out(file.fileno()).widen()


def test_a_closed_pipe_is_told_apart_from_a_full_disk(pipe: list[int]) -> None:
    os.close(pipe.pop(0))
    with pytest.raises(ClosedPipe):
        Out(pipe[0]).write(b"line\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("format_", ["json", "text", "csv", "raw", "transcript"])
def test_a_full_disk_is_a_sentence(format_: str) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        sink: Sink = open_sink(format_, Out(fd), bound=[Bound(TRADE, {})])
        feed = partial(sink.write, [update_of(TRADES)])
        if not sink.wants_events:
            feed = partial(sink.received, [b"frame"])
        with pytest.raises(SinkError, match=f"^stdout: {os.strerror(errno.ENOSPC).lower()}$") as raised:
            feed()
        assert raised.value.exit_code == 7
    finally:
        os.close(fd)


def test_all_of_it_is_written_to_a_full_pipe_that_does_not_block(pipe: list[int]) -> None:
    data = bytes(range(256)) * 4096
    got: list[bytes] = []

    def read() -> None:
        while sum(map(len, got)) < len(data):
            got.append(os.read(pipe[0], 65536))

    os.set_blocking(pipe[1], False)
    reader = threading.Thread(target=read)
    reader.start()
    Out(pipe[1]).write(data)
    reader.join()
    assert b"".join(got) == data
