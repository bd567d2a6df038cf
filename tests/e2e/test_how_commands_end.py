"""Exit codes, one sentence on stderr, and at which moment a command ends."""

from __future__ import annotations

import socket
import threading
import time
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from json import dumps
from pathlib import Path
from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.support.command import ROOT
from tests.support.rest import Answer, serve
from tests.support.scripts import (
    HEARTBEAT,
    OPEN_ORDERS,
    TICKER,
    Ladder,
    accepts,
    acknowledges,
    pongs,
    refuses,
    streams,
)
from tests.support.server import Connection, acks, exchange, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler

    from tests.support.command import Command
    from tests.support.server import Script

ORDER = split("addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01")
SOON_S = 5.0
"""Generous for a busy machine, and far below what the server would wait."""


# ---- when


@pytest.mark.parametrize("output", ["json", "raw", "text", "transcript"])
def test_ping_ends_with_its_pong_although_the_server_keeps_the_line_open(
    krakenws: Command, output: str
) -> None:
    with exchange(pongs) as server:
        began = time.monotonic()
        result = krakenws.run("ping", "-o", output, *server.options)
        took_s = time.monotonic() - began
    assert (result.code, result.err) == (0, "")
    assert took_s < SOON_S
    assert server.connections[0].close_code == 1000


def test_ping_says_in_text_how_long_the_round_trip_took(krakenws: Command) -> None:
    with exchange(pongs) as server:
        result = krakenws.run("ping", "-otext", *server.options)
    assert "pong in " in result.out
    assert " ms" in result.out


def test_an_order_ends_with_its_answer(trader: Command) -> None:
    with exchange(private=accepts) as server:
        began = time.monotonic()
        result = trader.run(*ORDER, *server.options)
        took_s = time.monotonic() - began
    assert result.code == 0, result.err
    assert took_s < SOON_S
    reply = result.stream[-1]
    assert list(reply) == [
        *("event", "method", "req_id", "success", "outcome", "result", "rate", "intent", "received"),
    ]
    assert reply["result"] == {"order_id": "OGTT3Y-C6I3P-XRI6HX", "descr": "buy 0.002 XBT/USD @ market"}
    assert server.connections[0].close_code == 1000


def test_two_commands_in_one_run_end_with_the_last_answer(trader: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        first, second = client.expect(), client.expect()
        for asked in (second, first):
            client.send({"event": f"{asked['event']}Status", "reqid": asked["reqid"], "status": "ok"})
        client.hold()

    with exchange(private=script) as server:
        result = trader.run(*split("cancelAll + cancelAllOrdersAfter timeout=0"), *server.options)
    assert result.code == 0, result.err
    assert [event["method"] for event in result.events if event["event"] == "reply"] == [
        "cancelAllOrdersAfter",
        "cancelAll",
    ]


# ---- 0


def test_count_ends_a_stream_after_exactly_so_many_data_messages(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        client.send(*acks(asked))
        client.send_together(*[TICKER, HEARTBEAT] * 10)
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("ticker XBT/USD -oraw --count 3"), *server.options)
    assert result.code == 0
    assert result.lines.count(TICKER) == 3
    assert result.lines[-1] == TICKER
    assert server.connections[0].close_code == 1000


def test_a_time_ends_a_stream(krakenws: Command) -> None:
    with exchange(streams(TICKER)) as server:
        result = krakenws.run(*split("ticker XBT/USD -oraw --for 300ms"), *server.options)
    assert (result.code, result.err) == (0, "")
    assert result.lines[-1] == TICKER
    assert server.connections[0].close_code == 1000


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_a_signal_ends_a_stream_with_0_and_a_close_frame(krakenws: Command, end: str) -> None:
    with exchange(streams(TICKER)) as server, krakenws.start("ticker", "XBT/USD", *server.options) as process:
        process.event("update")
        began = time.monotonic()
        getattr(process, end)()
        result = process.finish()
        assert time.monotonic() - began < 1.0
    assert (result.code, result.err) == (0, "")
    assert server.connections[0].close_code == 1000


@pytest.mark.parametrize("output", ["raw", "json", "text", "transcript", "csv"])
def test_a_closed_pipe_ends_quietly(krakenws: Command, output: str) -> None:
    def endless(client: Connection) -> None:
        client.serve()
        while True:
            client.send_together(*[TICKER] * 100)

    with exchange(endless) as server:
        result = krakenws.shell(f"$KRAKENWS ticker XBT/USD -o {output} {' '.join(server.options)} | head -1")
    assert (result.code, result.err) == (0, "")
    assert len(result.lines) == 1


def test_a_pipe_closed_before_anything_was_written_ends_quietly(krakenws: Command) -> None:
    with exchange(streams(TICKER)) as server:
        result = krakenws.shell(f"$KRAKENWS ticker XBT/USD {' '.join(server.options)} | true")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_help_into_a_closed_pipe_ends_quietly(krakenws: Command) -> None:
    result = krakenws.shell("$KRAKENWS --help | true")
    assert (result.code, result.err) == (0, "")


# ---- 3


def test_without_a_token_the_places_are_named_and_nothing_is_opened(krakenws: Command) -> None:
    with exchange(private=accepts) as server:
        result = krakenws.run(*ORDER, *server.options)
    assert result.code == 3
    assert server.accepted == 0
    for place in (
        "KRAKENWS_TOKEN",
        str(krakenws.home / "WS_Token"),
        "KRAKEN_API_KEY",
        "KRAKEN_API_SECRET",
        str(krakenws.home / "config" / "krakenws" / "key"),
    ):
        assert place in result.err
    error = result.stream[-1]
    assert [error["event"], error["code"], error["retryable"]] == ["error", 3, False]


@pytest.mark.parametrize("error", ["ESession:Invalid session", "EGeneral:Permission denied"])
@pytest.mark.parametrize("line", [ORDER, ["openOrders"]])
def test_a_refused_token_is_3(trader: Command, line: list[str], error: str) -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        if asked["event"] == "subscribe":
            client.send(
                {
                    "errorMessage": error,
                    "event": "subscriptionStatus",
                    "status": "error",
                    "subscription": asked["subscription"],
                }
            )
        else:
            client.send(
                {
                    "errorMessage": error,
                    "event": "addOrderStatus",
                    "reqid": asked["reqid"],
                    "status": "error",
                }
            )
        client.hold()

    with exchange(private=script) as server:
        result = trader.run(*line, *server.options)
    assert result.code == 3, result.err
    assert len(server.messages("/auth")) == 1


# ---- 4


def http(status: str, body: str = "", *headers: str) -> Script:
    """Answer the upgrade with a page."""

    def script(client: Connection) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: text/html", *headers]
        client.raw("\r\n".join([*head, "", body]).encode())
        client.hold()

    return script


def wrong_accept(client: Connection) -> None:
    """Accept with the answer to another key."""
    client.raw(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    client.hold()


def half_an_answer(client: Connection) -> None:
    """Stop in the middle of the upgrade."""
    client.raw(b"HTTP/1.1 101 Switching Pro")
    client.end()


def not_http(client: Connection) -> None:
    """Talk another protocol."""
    client.raw(b"SSH-2.0-OpenSSH_9.2\r\n" * 3)
    client.hold()


def never_answers(client: Connection) -> None:
    """Leave the upgrade unanswered."""
    client.hold()


def never_greets(client: Connection) -> None:
    """Accept, and say nothing."""
    client.accept()
    client.hold()


def cuts_before_the_greeting(client: Connection) -> None:
    """Accept, and cut."""
    client.accept()
    client.reset()


REFUSED: list[tuple[Script, str]] = [
    (http("403 Forbidden", "<html><body>Access denied</body></html>"), "403"),
    (http("429 Too Many Requests"), "429"),
    (http("503 Service Unavailable", "<html>maintenance</html>"), "503"),
    (http("520 Web Server Returned an Unknown Error", "<html>Cloudflare</html>"), "520"),
    (http("302 Found", "", "Location: https://example.invalid/\x1b[31m"), "302"),
    (http("200 OK", "<html>hello</html>"), "200"),
    (wrong_accept, "Accept"),
    (half_an_answer, "stopped in the middle"),
    (not_http, ""),
    (never_answers, "within 0.3 s"),
    (never_greets, "no greeting within 0.3 s"),
    (cuts_before_the_greeting, "reset"),
]


@pytest.mark.parametrize(("script", "words"), REFUSED)
@pytest.mark.parametrize("line", ["ping", "ticker XBT/USD", " ".join(ORDER)])
def test_a_connection_that_never_stood_is_4(trader: Command, script: Script, words: str, line: str) -> None:
    with exchange(script, script) as server:
        began = time.monotonic()
        result = trader.run(*line.split(), "-oraw", "--connect-timeout", "0.3", *server.options)
        took_s = time.monotonic() - began
    assert result.code == 4, result
    assert words in result.sentence
    assert "\x1b" not in result.err
    assert took_s < SOON_S
    assert server.messages("/auth") == []


def test_nobody_listening_is_4(krakenws: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"ws://127.0.0.1:{free.getsockname()[1]}"
    result = krakenws.run("ping", "--public-url", url)
    assert result.code == 4
    assert "connection refused" in result.sentence
    assert result.stream[-1]["retryable"] is True


def test_an_unknown_host_is_4(krakenws: Command) -> None:
    result = krakenws.run("ping", "-oraw", "--public-url", "wss://nonexistent.invalid")
    assert result.code == 4
    assert "nonexistent.invalid" in result.sentence


def test_a_connection_lost_before_the_order_was_sent_is_4(trader: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.reset()

    with exchange(private=cuts_before_the_greeting) as server:
        result = trader.run(*ORDER, "-oraw", *server.options)
    assert result.code == 4
    assert server.messages("/auth") == []


def test_a_stream_that_may_not_reconnect_ends_with_4(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.serve(TICKER)
        client.close(1011, "out of order")

    with exchange(script) as server:
        result = krakenws.run(*split("ticker XBT/USD --reconnect never"), *server.options)
    assert result.code == 4
    assert "1011" in result.err
    assert "out of order" in result.err
    assert result.stream[-1]["event"] == "error"
    assert len(server.connections) == 1


# ---- 5


def test_a_refused_order_is_5_with_the_exchange_s_own_words(trader: Command) -> None:
    with exchange(private=refuses("EOrder:Insufficient funds")) as server:
        result = trader.run(*ORDER, *server.options)
    assert result.code == 5
    assert "EOrder:Insufficient funds" in result.sentence
    reply, error = result.stream[-2:]
    assert [reply["outcome"], reply["error"]] == ["rejected", "EOrder:Insufficient funds"]
    assert [error["event"], error["code"], error["retryable"]] == ["error", 5, False]


def test_every_subscription_refused_is_5(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        for pair in asked["pair"]:
            client.send(refusal(asked, pair, f"Currency pair not supported {pair}"))
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("ticker AAA/BBB CCC/DDD"), *server.options)
    assert result.code == 5
    assert [event["symbol"] for event in result.events if event["event"] == "refused"] == [
        "AAA/BBB",
        "CCC/DDD",
    ]


def test_one_refused_pair_is_told_and_the_others_stream_on(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        good = {**asked, "pair": ["XBT/USD"]}
        client.send(refusal(asked, "AAA/BBB", "Currency pair not supported AAA/BBB"), *acks(good), TICKER)
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("ticker AAA/BBB XBT/USD --count 1"), *server.options)
    assert result.code == 0
    names = [event["event"] for event in result.stream]
    assert names == ["connected", "status", "refused", "subscribed", "update"]
    assert "Currency pair not supported AAA/BBB" in result.sentence


# ---- 6


def closes(client: Connection) -> None:
    """Take the order, and close."""
    client.greet()
    client.expect()
    client.close(1001, "CloudFlare WebSocket proxy restarting")


def cuts(client: Connection) -> None:
    """Take the order, and cut."""
    client.greet()
    client.expect()
    client.reset()


def ends(client: Connection) -> None:
    """Take the order, and end the connection without a close frame."""
    client.greet()
    client.expect()
    client.end()


def is_silent(client: Connection) -> None:
    """Take the order, and say nothing."""
    client.greet()
    client.expect()
    client.hold()


def answers_another(client: Connection) -> None:
    """Take the order, and answer one that nobody sent."""
    client.greet()
    asked = client.expect()
    client.send({"event": "addOrderStatus", "reqid": asked["reqid"] + 1, "status": "ok", "txid": "OTHER"})
    client.hold()


@pytest.mark.parametrize("reconnect", ["", "--reconnect=3", "--reconnect=forever", "--reconnect=never"])
@pytest.mark.parametrize("script", [closes, cuts, ends, is_silent, answers_another])
def test_an_order_without_an_answer_is_6_and_is_never_sent_twice(
    trader: Command, script: Script, reconnect: str
) -> None:
    words = [*ORDER, "--ack-timeout", "0.3", *([reconnect] if reconnect else [])]
    with exchange(private=script) as server:
        result = trader.run(*words, *server.options)
    assert result.code == 6, result
    assert len(server.sent("addOrder")) == 1
    unanswered = next(event for event in result.events if event["event"] == "unanswered")
    assert unanswered["outcome"] == "unknown"
    error = result.stream[-1]
    assert [error["event"], error["code"], error["retryable"]] == ["error", 6, False]
    assert "unknown" in result.err


def test_an_order_beside_a_stream_is_not_sent_again_when_the_stream_reconnects(trader: Command) -> None:
    def first(client: Connection) -> None:
        client.greet()
        events = {client.expect()["event"], client.expect()["event"]}
        assert events == {"subscribe", "addOrder"}
        client.reset()

    def second(client: Connection) -> None:
        client.serve(OPEN_ORDERS)
        client.hold()

    with exchange(private=[first, second]) as server:
        result = trader.run("openOrders", "+", *ORDER, "--count", "1", *server.options)
    assert result.code == 6
    assert len(server.connections) == 2
    assert len(server.sent("addOrder")) == 1
    assert len(server.sent("subscribe")) == 2


def test_an_order_without_an_answer_outweighs_one_that_was_refused(trader: Command) -> None:
    def refuses_one(client: Connection) -> None:
        client.greet()
        first = client.expect()
        client.expect()
        error = "EOrder:Insufficient funds"
        refused = {"event": "addOrderStatus", "status": "error", "errorMessage": error}
        client.send({**refused, "reqid": first["reqid"]})
        client.hold()

    with exchange(private=refuses_one) as server:
        result = trader.run(*ORDER, "+", *ORDER, "--ack-timeout", "0.3", *server.options)
    assert result.code == 6
    assert len(server.sent("addOrder")) == 2


def test_a_strict_run_that_ends_over_bad_data_does_not_hide_an_order_without_an_answer(
    trader: Command,
) -> None:
    with exchange(private=answers_another) as server:
        result = trader.run(*ORDER, "--strict", "-ojson", *server.options)
    assert result.code == 6
    assert '"retryable":false' in result.out.splitlines()[-1]


def test_a_verdict_in_the_same_read_as_bad_data_is_told_and_never_called_worth_a_retry(
    trader: Command,
) -> None:
    def both(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        accepted = {"event": "addOrderStatus", "reqid": asked["reqid"], "status": "ok", "txid": "OREAL"}
        client.send_together('{"event":"newThing"}', dumps(accepted))
        client.hold()

    with exchange(private=both) as server:
        result = trader.run(*ORDER, "--strict", "-ojson", *server.options)
    assert result.code == 9
    assert '"outcome":"accepted"' in result.out
    assert '"retryable":false' in result.out.splitlines()[-1]


def test_a_refused_session_does_not_hide_an_order_on_its_way(trader: Command) -> None:
    def refuses_the_stream(client: Connection) -> None:
        client.greet()
        asked = [client.expect(), client.expect()]
        assert {message["event"] for message in asked} == {"subscribe", "addOrder"}
        subscription = {"name": "openOrders"}
        error = {"errorMessage": "ESession:Invalid session", "event": "subscriptionStatus", "status": "error"}
        client.send({**error, "subscription": subscription})
        client.hold()

    with exchange(private=refuses_the_stream) as server:
        result = trader.run("openOrders", "+", *ORDER, *server.options)
    assert result.code == 6


@pytest.mark.parametrize("output", ["json", "raw", "text"])
def test_an_order_that_never_left_because_the_disk_is_full_is_7(trader: Command, output: str) -> None:
    with exchange(private=accepts) as server, open("/dev/full", "wb") as full:
        result = trader.run_onto(full, *ORDER, "-o", output, *server.options)
    assert server.sent("addOrder") == []
    assert result.code == 7


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_a_signal_with_an_order_on_its_way_is_6(trader: Command, end: str) -> None:
    with (
        exchange(private=is_silent) as server,
        trader.start(*ORDER, "-otranscript", *server.options) as process,
    ):
        while not process.line().startswith("Client -> WebSocket"):
            pass
        getattr(process, end)()
        result = process.finish()
    assert result.code == 6
    waited, outcome = result.err.splitlines()
    assert "a second signal leaves without it" in waited
    assert "outcome unknown" in outcome
    assert len(server.sent("addOrder")) == 1


def test_a_signal_before_the_order_left_is_not_6(trader: Command) -> None:
    with exchange(private=never_greets) as server, trader.start(*ORDER, *server.options) as process:
        wait_until(lambda: bool(server.connections))
        process.interrupt()
        result = process.finish()
    assert result.code == 4
    assert "not sent" in result.sentence
    assert server.messages("/auth") == []


def test_a_closed_pipe_with_an_order_on_its_way_is_not_called_done(trader: Command) -> None:
    with exchange(private=is_silent) as server:
        result = trader.shell(
            f"$KRAKENWS {' '.join(ORDER)} --ack-timeout 0.3 {' '.join(server.options)} | true"
        )
    sent = server.sent("addOrder")
    assert len(sent) <= 1
    assert result.code == 6 or (result.code == 4 and not sent)


# ---- 7


@pytest.mark.parametrize("output", ["raw", "json", "text", "transcript", "csv"])
def test_a_full_disk_is_7(krakenws: Command, output: str) -> None:
    with exchange(streams(TICKER)) as server, open("/dev/full", "wb") as full:
        result = krakenws.run_onto(full, "ticker", "XBT/USD", "-o", output, *server.options)
    assert result.code == 7
    assert "no space left on device" in result.sentence


def test_help_onto_a_full_disk_is_7(krakenws: Command) -> None:
    with open("/dev/full", "wb") as full:
        assert krakenws.run_onto(full, "--help").code == 7


# ---- 9


def test_strict_ends_with_9_at_a_wrong_checksum(krakenws: Command) -> None:
    ladder = Ladder()

    def script(client: Connection) -> None:
        client.serve(ladder.snapshot(), ladder.update("64001.10000", "5.00000000", checksum="1"))
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("book XBT/USD --strict"), *server.options)
    assert result.code == 9
    assert "checksum" in result.sentence
    assert [event["code"] for event in result.events if event["event"] == "error"] == [9]


@pytest.mark.parametrize("frame", ["not json", '{"event":"surprise"}', '[1,2,"trade","XBT/USD"]'])
def test_strict_ends_with_9_at_a_frame_that_kraken_never_promised(krakenws: Command, frame: str) -> None:
    with exchange(streams(frame)) as server:
        result = krakenws.run(*split("ticker XBT/USD --strict -oraw"), *server.options)
    assert result.code == 9
    assert "--strict" in result.sentence


@pytest.mark.parametrize("output", ["json", "text", "csv", "raw", "transcript"])
def test_strict_ends_with_9_at_a_payload_without_its_channel_s_shape(krakenws: Command, output: str) -> None:
    bad = '[340,{"a":"x"},"ticker","XBT/USD"]'
    with exchange(streams(bad)) as server:
        result = krakenws.run(*split("ticker XBT/USD --strict -o"), output, *server.options)
    assert result.code == 9
    assert "--strict: unusable frame of ticker XBT/USD" in result.err
    assert krakenws.run("decode", "--strict", "-oraw", stdin=bad).code == 9


def test_without_strict_such_a_frame_is_told_and_the_stream_goes_on(krakenws: Command) -> None:
    with exchange(streams("CloudFlare WebSocket proxy restarting", TICKER)) as server:
        result = krakenws.run(*split("ticker XBT/USD --count 1"), *server.options)
    assert result.code == 0
    assert [event["event"] for event in result.stream][-2:] == ["violation", "update"]
    assert "CloudFlare" in result.sentence


# ---- signals at awkward moments


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that can be seen, with a deadline."""
    end_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end_at
        time.sleep(0.005)


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_a_signal_ends_a_stream_that_waits_to_reconnect(krakenws: Command, end: str) -> None:
    """Without anybody listening any more, so that the waits grow."""
    scripts: list[Script] = [
        streams_then_closes,
        http("503 Service Unavailable"),
    ]
    with exchange(scripts) as server, krakenws.start("ticker", "XBT/USD", *server.options) as process:
        process.note("connecting again in 5")
        began = time.monotonic()
        getattr(process, end)()
        result = process.finish()
        assert time.monotonic() - began < 1.0
    assert result.code == 0


def streams_then_closes(client: Connection) -> None:
    """A stream that stood, and ends."""
    client.serve(TICKER)
    client.close(1000)


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_a_signal_ends_a_run_whose_connection_is_not_answered(krakenws: Command, end: str) -> None:
    with exchange(never_answers) as server, krakenws.start("ticker", "XBT/USD", *server.options) as process:
        wait_until(lambda: bool(server.connections))
        began = time.monotonic()
        getattr(process, end)()
        result = process.finish()
        assert time.monotonic() - began < 1.0
    assert result.code == 0
    assert "Traceback" not in result.err


@contextmanager
def black_hole() -> Iterator[int]:
    """Give the port of a listener with a full backlog: it answers no SYN, as a firewall that drops."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def half_open(port: int) -> int:
    """Count the connections to a port of this machine whose SYN has no answer (Linux)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs the kernel's list of connections")
def test_a_signal_ends_a_run_whose_packets_vanish(krakenws: Command) -> None:
    with black_hole() as port:
        before = half_open(port)
        with krakenws.start("ticker", "XBT/USD", "--public-url", f"ws://127.0.0.1:{port}") as process:
            wait_until(lambda: half_open(port) > before)
            began = time.monotonic()
            process.interrupt()
            result = process.finish()
            assert time.monotonic() - began < 1.0
    assert (result.code, result.err) == (0, "")


def test_a_connection_that_hangs_is_given_up_in_time(krakenws: Command) -> None:
    with black_hole() as port:
        words = f"ping -oraw --connect-timeout 300ms --public-url ws://127.0.0.1:{port}"
        result = krakenws.run(*split(words))
    assert result.code == 4
    assert "within 0.3 s" in result.sentence


@pytest.mark.parametrize(("line", "code"), [(["openOrders"], 0), (ORDER, 4)])
def test_a_signal_ends_a_run_that_waits_for_its_token(krakenws: Command, line: list[str], code: int) -> None:
    hung_up = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        hung_up.wait(10)

    secret = b64encode(bytes(64)).decode()
    with (
        serve(Answer("", write=hang)) as rest,
        krakenws.start(
            *line,
            "--rest-url",
            rest.url,
            environ={"KRAKEN_API_KEY": "a-key-for-tests", "KRAKEN_API_SECRET": secret},
        ) as process,
    ):
        wait_until(lambda: bool(rest.asked))
        began = time.monotonic()
        process.interrupt()
        result = process.finish()
        took_s = time.monotonic() - began
        hung_up.set()
    assert result.code == code
    assert took_s < 1.0


def test_a_stream_of_refused_orders_beside_it_is_judged_by_the_order(trader: Command) -> None:
    with exchange(acknowledges, refuses("EOrder:Order minimum not met")) as server:
        result = trader.run("ticker", "XBT/USD", "+", *ORDER, "--for", "500ms", *server.options)
    assert result.code == 5


def test_the_drop_in_can_be_executed() -> None:
    assert (ROOT / "krakenws.py").stat().st_mode & 0o100
