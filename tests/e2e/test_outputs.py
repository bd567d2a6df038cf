"""What stdout carries in each format, and the tools that need no connection."""

from __future__ import annotations

import csv
import io
import json
from shlex import join, quote, split
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.captures import captures_directory
from tests.support.rest import serve
from tests.support.schema import fits
from tests.support.scripts import (
    HEARTBEAT,
    OHLC,
    OPEN_ORDERS,
    OWN_TRADES,
    SPREAD,
    TICKER,
    TRADE,
    Ladder,
    accepts,
    answers,
    pongs,
    refuses,
    streams,
)
from tests.support.server import GREETING, Connection, exchange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command

ORDER = split("addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01")
CHANNELS = {
    "ticker XBT/USD": [TICKER],
    "trade XBT/USD": [TRADE],
    "spread XBT/USD": [SPREAD],
    "ohlc XBT/USD 60": [OHLC],
    "book XBT/USD 10": [Ladder().snapshot(), Ladder().update("64002.10000", "7.00000000")],
    "openOrders": [OPEN_ORDERS],
    "ownTrades": [OWN_TRADES],
}
EACH = pytest.mark.parametrize("line", CHANNELS)


def stream(command: Command, line: str, output: str, **environ: str) -> Any:
    """Run a channel until its frames are told."""
    frames = CHANNELS[line]
    with exchange(streams(*frames), streams(*frames)) as server:
        result = command.run(
            *line.split(), "-o", output, "--count", str(len(frames)), *server.options, **environ
        )
    assert (result.code, result.err) == (0, "")
    return result


# ---- raw


@EACH
def test_raw_is_each_received_frame_byte_for_byte(trader: Command, line: str) -> None:
    result = stream(trader, line, "raw")
    assert result.lines[0] == GREETING
    assert result.lines[2:] == CHANNELS[line]


def test_raw_keeps_white_space_escapes_and_characters_beyond_ascii(krakenws: Command) -> None:
    frame = '[340, {"c" : ["1.50","\\u0031"], "x":"€\U0001f419"}, 7 ,"ticker","XBT/USD"]'
    with exchange(streams(HEARTBEAT, frame)) as server:
        result = krakenws.run(*split("ticker XBT/USD -oraw --count 1"), *server.options)
    assert result.lines[2:] == [HEARTBEAT, frame]


# ---- json


@EACH
def test_json_events_begin_with_what_identifies_them(trader: Command, line: str) -> None:
    result = stream(trader, line, "json")
    update = result.stream[-1]
    name, *words = line.split()
    number = {"ohlc": ["interval"], "book": ["depth"]}.get(name, [])
    symbol = ["symbol"] if words else []
    trust = ["trust"] if name == "book" else []
    assert list(update) == ["event", "channel", "type", *symbol, *number, "received", *trust, "data"]
    assert update["channel"] == name
    assert update["data"]


def test_a_trade_line_is_the_documented_one(krakenws: Command) -> None:
    update = stream(krakenws, "trade XBT/USD", "json").stream[-1]
    del update["received"]
    assert update == {
        "event": "update",
        "channel": "trade",
        "type": "update",
        "symbol": "XBT/USD",
        "data": [
            {
                "price": "64000.10000",
                "qty": "0.01000000",
                "side": "buy",
                "ord_type": "limit",
                "timestamp": "2026-11-22T05:10:23.101000Z",
            },
            {
                "price": "64000.20000",
                "qty": "0.10000000",
                "side": "sell",
                "ord_type": "market",
                "timestamp": "2026-11-22T05:10:23.102000Z",
            },
        ],
    }


def test_a_book_line_has_its_checksum_as_a_number_and_its_trust(krakenws: Command) -> None:
    snapshot, update = stream(krakenws, "book XBT/USD 10", "json").stream[-2:]
    assert [snapshot["type"], snapshot["trust"]] == ["snapshot", "unverified"]
    assert [update["type"], update["trust"]] == ["update", "verified"]
    (data,) = update["data"]
    assert data["asks"] == [{"price": "64002.10000", "qty": "7.00000000"}]
    assert data["bids"] == []
    assert type(data["checksum"]) is int


def test_json_is_the_default_in_a_pipe(krakenws: Command) -> None:
    with exchange(pongs) as server:
        result = krakenws.run("ping", *server.options)
    assert [event["event"] for event in result.stream] == ["connected", "status", "pong"]


def test_every_json_line_has_a_place_in_the_schema(trader: Command) -> None:
    schema = json.loads(trader.run("catalog", "--schema").out)
    lines = [event for line in CHANNELS for event in stream(trader, line, "json").events]
    with exchange(pongs, [accepts, answers({"errorMessage": "EOrder:x"}, status="error")]) as server:
        for words in (["ping"], ORDER, ORDER):
            lines += trader.run(*words, *server.options).events
    for event in lines:
        assert fits(event, schema, schema), event
    assert not fits({"event": "update"}, schema, schema)
    assert not fits({"event": "pong", "received": 5}, schema, schema)


# ---- csv and text


@EACH
def test_csv_has_a_header_first_and_rows_as_wide_as_it(trader: Command, line: str) -> None:
    header, *rows = csv.reader(io.StringIO(stream(trader, line, "csv").out))
    assert header[0] == "received"
    assert rows
    assert {len(row) for row in rows} == {len(header)}


def test_csv_has_the_columns_of_a_trade(krakenws: Command) -> None:
    rows = list(csv.DictReader(io.StringIO(stream(krakenws, "trade XBT/USD", "csv").out)))
    assert [(row["symbol"], row["price"], row["side"]) for row in rows] == [
        ("XBT/USD", "64000.10000", "buy"),
        ("XBT/USD", "64000.20000", "sell"),
    ]


@EACH
def test_text_stays_within_100_columns(trader: Command, line: str) -> None:
    result = stream(trader, line, "text")
    assert max(map(len, result.lines)) <= 100
    assert "\x1b" not in result.out
    assert len(result.lines) >= 2


def test_text_shows_local_time(krakenws: Command) -> None:
    line = json.dumps({"t": "1795324223.101", "dir": "in", "frame": TRADE})
    there = krakenws.run("decode", "-otext", stdin=line, TZ="Asia/Kolkata").out
    utc = krakenws.run("decode", "-otext", stdin=line, TZ="UTC").out
    assert utc.startswith("05:10:23.101")
    assert there.startswith("10:40:23.101")


def test_text_of_several_channels_names_them(trader: Command) -> None:
    with exchange(streams(TICKER), streams(OPEN_ORDERS)) as server:
        result = trader.run(*split("ticker XBT/USD + openOrders -otext --count 2"), *server.options)
    assert result.code == 0
    assert "ticker" in result.out
    assert "XBT/USD" in result.out


def test_text_of_hostile_data_does_nothing_to_a_terminal(trader: Command) -> None:
    hostile = OPEN_ORDERS.replace("XBT/EUR", "\\u001b[31m\\u0007\\u202eX/Y").replace("sell", "\\u001b]0;x")
    with exchange(private=streams(hostile)) as server:
        result = trader.run(*split("openOrders -otext --count 1"), *server.options)
    assert result.code == 0, result.err
    assert not {"\x1b", "\x07", "\u202e"} & set(result.out)


# ---- colour


def test_colour_is_for_terminals_or_by_wish(krakenws: Command) -> None:
    assert "\x1b[" not in stream(krakenws, "trade XBT/USD", "text").out
    assert "\x1b[" in stream(krakenws, "trade XBT/USD", "text", KRAKENWS_COLOR="always").out
    assert "\x1b[" in stream(krakenws, "trade XBT/USD", "text", KRAKENWS_COLOR="always", NO_COLOR="1").out


def test_on_a_terminal_text_is_the_default_in_colour_unless_no_color_is_set(krakenws: Command) -> None:
    with exchange(streams(TRADE)) as server:
        line = f"$KRAKENWS trade XBT/USD --count 1 {' '.join(server.options)}"
        script = f'script -qec "{line}" /dev/null'
        colour = krakenws.shell(script, TERM="xterm")
        if colour.code == 127:
            pytest.skip("this machine has no script(1)")
        plain = krakenws.shell(script, TERM="xterm", NO_COLOR="1")
        dumb = krakenws.shell(script, TERM="dumb")
    assert "\x1b[" in colour.out
    assert "\x1b[" not in plain.out + dumb.out
    assert "64000.10000" in plain.out
    assert not plain.out.startswith("{")


def test_a_refusal_is_told_once_to_a_terminal_and_always_to_a_stderr_of_its_own(trader: Command) -> None:
    def told(redirection: str) -> tuple[int, str]:
        with exchange(private=refuses("EOrder:Insufficient funds")) as server:
            line = f"$KRAKENWS {join([*ORDER, *server.options])} {redirection}"
            result = trader.shell(f"script -qec {quote(line)} /dev/null", TERM="xterm", NO_COLOR="1")
        if result.code == 127:
            pytest.skip("this machine has no script(1)")
        return result.code, result.out

    code, text = told("")
    assert (code, text.count("refused: EOrder:Insufficient funds")) == (5, 1)
    assert "refused: EOrder:Insufficient funds" in told(">/dev/null")[1]
    told("2>err")
    assert "addOrder refused: EOrder:Insufficient funds" in (trader.home / "err").read_text()


# ---- decode


@pytest.fixture
def captures() -> Path:
    """The directory of captured frames."""
    return captures_directory()


def test_decode_verifies_every_book_line_of_the_capture(krakenws: Command, captures: Path) -> None:
    result = krakenws.run("decode", str(captures / "v1_book1000_four_pairs.jsonl"), "-o", "json")
    assert (result.code, result.err) == (0, "")
    books = [
        event for event in result.events if event.get("channel") == "book" and event["event"] == "update"
    ]
    trust = {(event["type"], event["trust"]) for event in books}
    assert trust == {("snapshot", "unverified"), ("update", "verified")}
    counts = {
        pair: sum(event["symbol"] == pair and event["type"] == "update" for event in books)
        for pair in ("ADA/XBT", "GRT/ETH", "SC/EUR", "XBT/CHF")
    }
    assert counts == {"ADA/XBT": 347, "GRT/ETH": 20, "SC/EUR": 818, "XBT/CHF": 289}
    assert books[0]["received"].startswith("2021-04-17T16:4")


def test_decode_tells_the_api_by_the_first_frame(krakenws: Command, captures: Path) -> None:
    capture = str(captures / "v2_private_2024.jsonl")
    told, found = (krakenws.run("decode", capture, "-ojson", *more) for more in (["--api", "2"], []))
    assert "update" in [event["event"] for event in told.events]
    assert [event["event"] for event in found.events] == [event["event"] for event in told.events]


def test_decode_of_a_file_without_frames_says_so(krakenws: Command, captures: Path) -> None:
    result = krakenws.run("decode", str(captures / "rest_assetpairs_2021.jsonl"))
    assert (result.code, result.out) == (0, "")
    assert "rest_assetpairs_2021.jsonl has no frame of the WebSocket API" in result.err
    assert "standard input has no frame" in krakenws.run("decode", stdin=b"\n").err


def test_decode_reads_standard_input_and_bare_frames(krakenws: Command) -> None:
    frames = f"{GREETING}\n{TICKER}\n\n{TRADE}\n"
    result = krakenws.run("decode", "-", "-ojson", stdin=frames)
    assert (result.code, result.err) == (0, "")
    assert [event.get("channel") for event in result.events if event["event"] == "update"] == [
        "ticker",
        "trade",
    ]
    assert krakenws.run("decode", "-ojson", stdin=frames).stream[-1]["data"] == result.stream[-1]["data"]


@pytest.mark.parametrize("output", ["text", "transcript", "raw", "json"])
def test_decode_takes_every_capture_to_every_output(krakenws: Command, captures: Path, output: str) -> None:
    for path in sorted(captures.glob("v1_*.jsonl")):
        result = krakenws.run("decode", str(path), "-o", output)
        assert result.code == 0, result.err
        assert result.out
        if output == "text":
            assert max(map(len, result.lines)) <= 100


def test_decode_shows_no_token_of_a_recording(krakenws: Command) -> None:
    sent = '{"event":"subscribe","subscription":{"name":"openOrders","token":"a-recorded-token"}}'
    line = json.dumps({"t": "1795324223.5", "dir": "out", "frame": sent})
    result = krakenws.run("decode", "-otranscript", stdin=f"{line}\n")
    assert result.out.startswith("Client -> WebSocket: ")
    assert "a-recorded-token" not in result.out


@pytest.mark.parametrize("token", ["0", "3", "aToken", ""])
def test_a_placeholder_for_a_token_in_a_recording_is_masked_in_its_place_alone(
    krakenws: Command, token: str
) -> None:
    sent = json.dumps({"event": "subscribe", "subscription": {"name": "openOrders", "token": token}})
    answer = '{"connectionID":103030300030,"event":"systemStatus","status":"online","version":"aToken"}'
    lines = [
        json.dumps({"t": "1795324223.5", "dir": direction, "frame": frame})
        for direction, frame in (("out", sent), ("in", answer))
    ]
    result = krakenws.run("decode", "-otranscript", stdin="\n".join(lines))
    asked, answered = (line.partition(": ")[2] for line in result.lines)
    assert json.loads(asked)["subscription"]["token"] == ("***" if token else "")
    assert answered == answer


def test_a_frame_that_csv_leaves_out_is_told_once(krakenws: Command) -> None:
    broken = '[321,[["x"]],"trade","XBT/USD"]'
    recorded = krakenws.run("decode", "-ocsv", stdin=f"{TRADE}\n{broken}\n")
    assert recorded.code == 0
    assert len(recorded.lines) == 3
    assert "no row written" in recorded.sentence
    with exchange(streams(TRADE, broken)) as server:
        live = krakenws.run(*split("trade XBT/USD -ocsv --count 2"), *server.options)
        strict = krakenws.run(*split("trade XBT/USD -ocsv --count 2 --strict"), *server.options)
    assert live.code == 0
    assert len(live.lines) == 3
    assert "unusable frame of trade XBT/USD, no row written" in live.sentence
    assert strict.code == 9
    assert strict.sentence.startswith("--strict: unusable frame of trade XBT/USD")


def test_decode_invents_no_round_trip(krakenws: Command) -> None:
    result = krakenws.run("decode", "-ojson", stdin='{"event":"pong","reqid":7}\n')
    (pong,) = result.events
    assert (pong.pop("received")[:2], pong) == ("20", {"event": "pong", "req_id": 7})
    assert krakenws.run("decode", "-otext", stdin='{"event":"pong"}\n').out == "pong\n"


def test_the_catalog_is_a_table_for_eyes_and_for_spreadsheets(krakenws: Command) -> None:
    text = krakenws.run("catalog", "-otext")
    assert max(map(len, text.lines)) <= 100
    assert "close[price2]" in text.out
    header, *rows = csv.reader(io.StringIO(krakenws.run("catalog", "-ocsv").out))
    assert header == ["name", "api", "kind", "access", "parameters"]
    assert ["ticker", "1", "channel", "public", "pair reqid"] in rows
    (row,) = csv.DictReader(io.StringIO(krakenws.run("catalog", "addOrder", "-ocsv").out))
    assert "trading_agreement reqid" in row["parameters"]


def test_decode_ends_quietly_when_its_reader_does(krakenws: Command, captures: Path) -> None:
    result = krakenws.shell(f"$KRAKENWS decode {captures / 'v1_book1000_four_pairs.jsonl'} -ojson | head -1")
    assert (result.code, result.err, len(result.lines)) == (0, "", 1)


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_a_signal_ends_a_decoding_with_0(krakenws: Command, end: str) -> None:
    with krakenws.start("decode", "-ojson") as process:
        process.send(f"{TICKER}\n")
        process.event("update")
        getattr(process, end)()
        result = process.finish()
    assert (result.code, result.err) == (0, "")


def test_decode_of_a_wrong_checksum_is_9_when_strict(krakenws: Command) -> None:
    ladder = Ladder()
    frames = f"{ladder.snapshot()}\n{ladder.update('64001.10000', '5.00000000', checksum='1')}\n"
    assert krakenws.run("decode", "-ojson", "--strict", stdin=frames).code == 9
    tolerant = krakenws.run("decode", "-ojson", stdin=frames)
    assert tolerant.code == 0
    assert [event["event"] for event in tolerant.events] == ["update", "gap", "update"]


# ---- catalog and pairs


def test_the_catalog_lists_every_channel_and_command(krakenws: Command) -> None:
    entries = krakenws.run("catalog", "-ojson").events
    names = {entry["name"] for entry in entries}
    assert names >= {
        *split("ping ticker ohlc trade spread book openOrders ownTrades balances"),
        *split("addOrder amendOrder editOrder cancelOrder cancelAll cancelAllOrdersAfter"),
    }
    table = krakenws.run("catalog", "-otext")
    assert {line.split()[0] for line in table.lines} >= names


def test_the_catalog_describes_one_entry(krakenws: Command) -> None:
    (entry,) = krakenws.run("catalog", "book", "-ojson").events
    depth = next(param for param in entry["params"] if param["name"] == "depth")
    assert [depth["choices"], depth["default"]] == [[10, 25, 100, 500, 1000], 10]
    assert "10, 25, 100, 500, 1000" in krakenws.run("catalog", "book", "-otext").out


def pair(wsname: str, status: str = "online") -> dict[str, Any]:
    """Return a pair as AssetPairs has it."""
    base, _, quote = wsname.partition("/")
    return {
        "altname": f"{base}{quote}",
        "wsname": wsname,
        "pair_decimals": 1,
        "lot_decimals": 8,
        "tick_size": "0.1",
        "ordermin": "0.0001",
        "costmin": "0.5",
        "status": status,
        "leverage_buy": [2, 3, 4, 5],
        "leverage_sell": [],
    }


LISTED = ["XBT/USD", "ETH/USD", "ETH/EUR", "XDG/XBT"]
ASSET_PAIRS = json.dumps({"error": [], "result": {name: pair(name) for name in LISTED}})


def test_pairs_are_listed_with_their_precisions_and_cached(krakenws: Command) -> None:
    with serve(ASSET_PAIRS) as rest:
        rows = krakenws.run("pairs", "-ojson", "--rest-url", rest.url).events
        again = krakenws.run("pairs", "*/usd", "-otext", "--rest-url", rest.url)
    assert [row["wsname"] for row in rows] == sorted(LISTED)
    assert [rows[0]["pair_decimals"], rows[0]["ordermin"]] == [1, "0.0001"]
    assert len(rest.asked) == 1
    assert (again.code, again.err) == (0, "")
    assert [line.split()[0] for line in again.lines[1:]] == ["ETH/USD", "XBT/USD"]


def test_pairs_offline_come_from_the_cache_and_say_so(krakenws: Command) -> None:
    with serve(ASSET_PAIRS) as rest:
        assert krakenws.run("pairs", "--rest-url", rest.url).code == 0
    result = krakenws.run("pairs", "--refresh", "-ocsv", "--rest-url", rest.url)
    assert result.code == 0
    assert result.lines[0].startswith("wsname,")
    assert len(result.lines) == 1 + len(LISTED)
    assert "the list of pairs is the one of" in result.sentence


def test_pairs_offline_without_a_cache_are_4(krakenws: Command) -> None:
    result = krakenws.run("pairs", "-otext", "--rest-url", "http://127.0.0.1:1")
    assert result.code == 4
    assert result.sentence


def test_a_pair_that_is_not_listed_is_2_with_the_nearest(krakenws: Command) -> None:
    with serve(ASSET_PAIRS) as rest:
        result = krakenws.run("pairs", "ETH/USB", "-otext", "--rest-url", rest.url)
    assert result.code == 2
    assert "ETH/USD" in result.sentence


def test_a_pattern_is_expanded_from_the_list(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        asked = client.serve(TICKER)
        assert sorted(asked["pair"]) == ["ETH/USD", "XBT/USD"]
        client.hold()

    with serve(ASSET_PAIRS) as rest, exchange(script) as server:
        result = krakenws.run("ticker", "*/USD", "--count", "1", "--rest-url", rest.url, *server.options)
    assert result.code == 0, result.err


def test_a_pattern_that_matches_nothing_is_2(krakenws: Command) -> None:
    with serve(ASSET_PAIRS) as rest, exchange(pongs) as server:
        result = krakenws.run("ticker", "*/ABC", "-otext", "--rest-url", rest.url, *server.options)
    assert result.code == 2
    assert server.accepted == 0
