"""The transcript is the original script's output, line for line."""

from __future__ import annotations

import re
from shlex import split
from typing import TYPE_CHECKING

from tests.e2e.conftest import TOKEN
from tests.support.scripts import HEARTBEAT, OPEN_ORDERS, pongs, refuses, streams
from tests.support.server import GREETING, Connection, acks, exchange

if TYPE_CHECKING:
    from tests.support.command import Command

ACK = (
    '{"channelID": %s,"channelName":"ticker","event":"subscriptionStatus","pair":"%s","status":"subscribed"}'
)
ACKS = [ACK % (340, "XBT/USD"), ACK % (" 341", "ETH/EUR")]
DATA = [
    '[340,{"c":["64010.20000","0.00109400"]},"ticker","XBT/USD"]',
    HEARTBEAT,
    '[341,{"c":["2500.10","1e-3"], "note":"\\u20ac \u20ac"},"ticker","ETH/EUR"]',
]


def tickers(client: Connection) -> None:
    client.greet()
    client.expect(event="subscribe")
    client.send(*ACKS, *DATA)
    client.hold()


def test_a_stream_prints_what_the_original_script_prints(krakenws: Command) -> None:
    with exchange(tickers) as server:
        result = krakenws.called("krakenws.py").run(
            *split("ticker XBT/USD ETH/EUR --count 2"), *server.options
        )
    asked = '{"event":"subscribe", "subscription":{"name":"ticker"}, "pair":["XBT/USD","ETH/EUR"]}'
    assert result.lines == [
        f"WebSocket -> Client: {GREETING}",
        f"Client -> WebSocket: {asked}",
        *[f"WebSocket -> Client: {frame}" for frame in (*ACKS, *DATA)],
    ]
    assert (result.code, result.err) == (0, "")


def test_the_transcript_is_also_an_output_of_krakenws(krakenws: Command) -> None:
    words = split("ticker XBT/USD ETH/EUR --count 2")
    with exchange(tickers) as server:
        drop_in = krakenws.called("krakenws.py").run(*words, *server.options)
        ours = krakenws.run(*words, "-o", "transcript", *server.options)
    assert ours == drop_in


def test_a_backfill_that_is_kept_for_other_outputs_does_not_forbid_a_transcript(krakenws: Command) -> None:
    with exchange(tickers) as server:
        drop_in = krakenws.called("krakenws.py")
        result = drop_in.run("ticker", "XBT/USD", *server.options, "--count", "1", KRAKENWS_BACKFILL="true")
    assert result.code == 0, result


def test_frames_that_come_in_one_read_are_lines_of_their_own_in_wire_order(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.expect(event="subscribe")
        client.send_together(*ACKS, *DATA * 50)
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("ticker XBT/USD ETH/EUR --count 100 -otranscript"), *server.options)
    assert result.lines[2:] == [f"WebSocket -> Client: {frame}" for frame in ACKS + DATA * 50]


def test_the_token_is_masked_on_the_way_out_and_in_an_echo(trader: Command) -> None:
    escaped = TOKEN.replace("/", "\\/")
    refusal = (
        '{"errorMessage":"ESession:Invalid session","event":"subscriptionStatus","status":"error",'
        '"subscription":{"name":"openOrders","token":"%s"}}'
    )

    def script(client: Connection) -> None:
        client.greet()
        client.expect(event="subscribe")
        client.send(refusal % TOKEN, refusal % escaped)
        client.hold()

    with exchange(private=script) as server:
        result = trader.called("krakenws.py").run("openOrders", *server.options)
    assert result.code == 1
    assert result.lines[1:3] == [
        'Client -> WebSocket: {"event":"subscribe", "subscription":{"name":"openOrders", "token":"***"}}',
        f"WebSocket -> Client: {refusal % '***'}",
    ]


def test_show_token_leaves_it_readable(trader: Command) -> None:
    with exchange(private=streams(OPEN_ORDERS)) as server:
        result = trader.run(*split("openOrders -otranscript --count 1 --show-token"), *server.options)
    assert result.lines[1] == (
        'Client -> WebSocket: {"event":"subscribe", "subscription":{"name":"openOrders", '
        f'"token":"{TOKEN}"}}}}'
    )


def test_an_order_is_printed_as_the_original_script_sends_it_and_our_numbers_come_last(
    trader: Command,
) -> None:
    answer = (
        '{"descr":"sell 0.12500000 XBT/EUR @ limit 7500.0","event":"addOrderStatus","reqid":%d,'
        '"status":"ok","txid":"OGTT3Y-C6I3P-XRI6HX"}'
    )

    def script(client: Connection) -> None:
        client.greet()
        client.send(answer % client.expect(event="addOrder")["reqid"])
        client.hold()

    line = "addOrder pair=XBT/EUR type=sell ordertype=limit price=7500 volume=0.125"
    with exchange(private=script) as server:
        result = trader.called("krakenws.py").run(*line.split(), *server.options)
    assert result.code == 0, result.err
    greeting, sent, received = result.lines
    assert greeting == f"WebSocket -> Client: {GREETING}"
    match = re.fullmatch(
        r'Client -> WebSocket: \{"event":"addOrder", "token":"\*\*\*", "pair":"XBT/EUR", "type":"sell", '
        r'"ordertype":"limit", "price":"7500", "volume":"0.125", "userref":"\d+", "reqid":(\d+)\}',
        sent,
    )
    assert match, sent
    assert received == f"WebSocket -> Client: {answer % int(match[1])}"


def test_a_cancel_is_printed_with_its_list(trader: Command) -> None:
    with exchange(private=refuses("EOrder:Unknown order")) as server:
        result = trader.called("krakenws.py").run("cancelOrder", "txid=OADMSD-7AGC3-IMB46A", *server.options)
    assert result.lines[1].startswith(
        'Client -> WebSocket: {"event":"cancelOrder", "token":"***", "txid":["OADMSD-7AGC3-IMB46A"], "reqid":'
    )


def test_ping_is_printed_without_a_number(krakenws: Command) -> None:
    with exchange(pongs) as server:
        result = krakenws.called("krakenws.py").run(*server.options)
    assert result.lines == [
        f"WebSocket -> Client: {GREETING}",
        'Client -> WebSocket: {"event":"ping"}',
        'WebSocket -> Client: {"event":"pong"}',
    ]


def test_the_drop_in_knows_no_exit_codes_but_0_and_1(trader: Command) -> None:
    drop_in = trader.called("krakenws.py")
    order = split("addOrder pair=XBT/USD type=buy ordertype=market volume=1")

    def close(client: Connection) -> None:
        client.greet()
        client.expect()
        client.close(1001)

    with exchange(private=[refuses("EOrder:Insufficient funds"), close]) as server:
        codes = [
            drop_in.run("tikcer", *server.options).code,  # 2
            drop_in.run(*order, *server.options).code,  # 5
            drop_in.run(*order, *server.options).code,  # 6
            drop_in.run(*order, "--token-file", "nowhere", *server.options).code,  # 3
            drop_in.run("ping", "--public-url", "ws://127.0.0.1:1").code,  # 4
        ]
    assert codes == [1] * 5


def test_a_reconnect_is_visible_as_another_greeting_and_subscription(krakenws: Command) -> None:
    def cut(client: Connection) -> None:
        client.serve(DATA[0])
        client.end()

    def again(client: Connection) -> None:
        client.greet()
        client.send(*acks(client.expect(event="subscribe")), DATA[0])
        client.hold()

    with exchange([cut, again]) as server:
        result = krakenws.run(*split("ticker XBT/USD -otranscript --count 2"), *server.options)
    assert result.code == 0, result.err
    assert result.lines[4:] == result.lines[:4]
    assert "connection lost" in result.err
