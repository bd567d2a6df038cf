"""Streams over bad lines: reconnects, gaps, checksums; all of it told on stdout, in order."""

from __future__ import annotations

import os
import signal
import time
from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.support.scripts import OPEN_ORDERS, TICKER, Ladder, streams
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from tests.support.command import Command
    from tests.support.server import Script

LATE_S = 1.0
"""How much later than it happened a line may be read, on a busy machine."""


def then_ends(*frames: str) -> Script:
    """Stream, and end without a close frame."""

    def script(client: Connection) -> None:
        client.serve(*frames)
        client.end()

    return script


def then_closes(*frames: str, code: int = 1001) -> Script:
    """Stream, and close."""

    def script(client: Connection) -> None:
        client.serve(*frames)
        client.close(code, "going away")

    return script


@pytest.mark.parametrize("first", [then_ends(TICKER), then_closes(TICKER), then_closes(TICKER, code=1013)])
def test_a_lost_stream_is_asked_for_again_with_the_original_parameters(
    krakenws: Command, first: Script
) -> None:
    with exchange([first, streams(TICKER)]) as server:
        result = krakenws.run(*split("ticker XBT/USD ETH/EUR --count 2"), *server.options)
    assert result.code == 0, result.err
    asked = {"event": "subscribe", "pair": ["XBT/USD", "ETH/EUR"], "subscription": {"name": "ticker"}}
    assert server.messages() == [asked, asked]


def test_the_gap_stands_between_the_last_data_and_the_next(krakenws: Command) -> None:
    with exchange([then_ends(TICKER), streams(TICKER)]) as server:
        result = krakenws.run(*split("ticker XBT/USD --count 2"), *server.options)
    names = [event["event"] for event in result.stream]
    life = ["connected", "status", "subscribed"]
    assert names == [*life, "update", "disconnected", *life, "gap", "update"]
    gap = result.stream[-2]
    assert list(gap) == ["event", "channel", "symbol", "cause", "from", "to", "received"]
    assert gap["from"] < gap["to"] == result.stream[-1]["received"]
    assert result.events[4]["retry_in_s"] >= 0
    assert "connection lost" in result.err


def test_a_gap_says_which_of_a_pairs_books_it_is_about(krakenws: Command) -> None:
    deep, shallow = Ladder(depth=25), Ladder()
    wrong = deep.update("64005.10000", "3.00000000", checksum="1")

    def script(client: Connection) -> None:
        client.greet()
        for ladder in (deep, shallow):
            client.send(*acks(client.expect(event="subscribe")), ladder.snapshot())
        client.send(wrong)
        client.hold()

    with exchange(script) as server:
        words = split("book XBT/USD depth=25 + book XBT/USD --strict")
        result = krakenws.run(*words, *server.options)
    gap = next(event for event in result.events if event["event"] == "gap")
    assert (gap["channel"], gap["symbol"], gap["depth"]) == ("book", "XBT/USD", 25)


def test_json_ends_with_an_account_of_every_data_frame(krakenws: Command) -> None:
    with exchange([then_ends(TICKER), streams(TICKER, "[1]")]) as server:
        result = krakenws.run(*split("ticker XBT/USD --count 2"), *server.options)
    summary = result.events[-1]
    assert (summary["event"], summary["endpoint"], summary["connections"]) == ("summary", "public", 2)
    assert summary["down_s"] >= 0.0
    (ticker,) = summary["channels"]
    assert (ticker["channel"], ticker["symbol"]) == ("ticker", "XBT/USD")
    assert [ticker[name] for name in ("received", "emitted", "gaps")] == [2, 2, 1]


@pytest.mark.parametrize("output", ["raw", "csv", "text"])
def test_who_asks_for_more_words_is_told_what_the_stream_brought(krakenws: Command, output: str) -> None:
    with exchange(streams(TICKER)) as server:
        line = split(f"ticker XBT/USD --count 1 -o {output}")
        quiet, verbose = (krakenws.run(*line, *more, *server.options) for more in ([], ["-v"]))
    told = "public: 1 data frame: 1 emitted"
    assert told not in quiet.out + quiet.err
    assert told in (verbose.out if output == "text" else verbose.err)


def test_a_lost_private_stream_takes_the_token_anew(trader: Command) -> None:
    """A file that another program renews is read again."""

    def first(client: Connection) -> None:
        client.serve(OPEN_ORDERS)
        trader.store_token("another-token-of-the-user")
        client.end()

    with exchange(private=[first, streams(OPEN_ORDERS)]) as server:
        result = trader.run(*split("openOrders ratecounter=true --count 2"), *server.options)
    assert result.code == 0, result.err
    first_asked, second_asked = server.messages("/auth")
    assert second_asked["subscription"].pop("token") == "another-token-of-the-user"
    del first_asked["subscription"]["token"]
    assert first_asked == second_asked
    assert second_asked["subscription"] == {"name": "openOrders", "ratecounter": True}


def test_a_wrong_checksum_resubscribes_that_pair_alone_and_data_resumes_verified(krakenws: Command) -> None:
    bad, good = Ladder("XBT/USD"), Ladder("ETH/USD", middle=2500)

    def script(client: Connection) -> None:
        client.serve(bad.snapshot(), good.snapshot())
        client.send(bad.update("64001.10000", "5.00000000", checksum="1"))
        left = client.expect(event="unsubscribe")
        client.send(bad.update("64001.10000", "6.00000000"))  # on its way while we asked: to be ignored
        asked = client.expect(event="subscribe")
        assert left["pair"] == asked["pair"] == ["XBT/USD"]
        assert left["subscription"] == asked["subscription"] == {"name": "book", "depth": 10}
        (ack,) = acks(asked)
        client.send({**ack, "status": "unsubscribed"}, ack, bad.snapshot())
        client.send(good.update("2501.10000", "7.00000000"), bad.update("64001.10000", "0.00000000"))
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("book XBT/USD ETH/USD 10 --count 5"), *server.options)
    assert result.code == 0, result.err
    told = [
        (event["event"], event["symbol"], event.get("trust", event.get("cause")))
        for event in result.events
        if event["event"] in {"update", "gap"}
    ]
    assert told == [
        ("update", "XBT/USD", "unverified"),
        ("update", "ETH/USD", "unverified"),
        ("gap", "XBT/USD", "checksum"),
        ("gap", "XBT/USD", "checksum"),
        ("update", "XBT/USD", "unverified"),
        ("update", "ETH/USD", "verified"),
        ("update", "XBT/USD", "verified"),
    ]
    noticed, ended = [event for event in result.events if event["event"] == "gap"]
    assert noticed["to"] is None
    assert ended["from"] == noticed["from"]
    assert "checksum" in result.sentence
    assert len(server.connections) == 1


@pytest.mark.parametrize("output", ["raw", "transcript", "text", "csv"])
def test_books_are_verified_for_every_output(krakenws: Command, output: str) -> None:
    ladder = Ladder()

    def script(client: Connection) -> None:
        client.serve(ladder.snapshot(), ladder.update("64001.10000", "5.00000000", checksum="1"))
        asked = [client.expect(event="unsubscribe"), client.expect(event="subscribe")][1]
        client.send(*acks(asked), ladder.snapshot())
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("book XBT/USD --count 2 -o"), output, *server.options)
    assert result.code == 0, result.err
    assert "checksum" in result.err + result.out


def test_no_verify_lets_everything_pass(krakenws: Command) -> None:
    ladder = Ladder()
    frames = [ladder.snapshot(), ladder.update("64001.10000", "5.00000000", checksum="1")]
    with exchange(streams(*frames)) as server:
        result = krakenws.run(*split("book XBT/USD --count 2 --no-verify"), *server.options)
    assert (result.code, result.err) == (0, "")
    assert [event.get("trust") for event in result.stream[-2:]] == ["unverified"] * 2


def test_an_update_without_a_checksum_is_unverified(krakenws: Command) -> None:
    ladder = Ladder()
    bare = ladder.update("64001.10000", "5.00000000").replace(f',"c":"{ladder.checksum}"', "")
    with exchange(streams(ladder.snapshot(), bare, ladder.update("64002.10000", "5.00000000"))) as server:
        result = krakenws.run(*split("book XBT/USD --count 3"), *server.options)
    assert [event["trust"] for event in result.stream[-3:]] == ["unverified", "unverified", "verified"]


def test_book_top_is_told_when_it_changes_and_book_full_always(krakenws: Command) -> None:
    ladder = Ladder()
    frames = [
        ladder.snapshot(),
        ladder.update("64005.10000", "9.00000000"),  # below the top
        ladder.update("64001.10000", "9.00000000"),
    ]
    with exchange(streams(*frames)) as server:
        top = krakenws.run(*split("book XBT/USD --book top --count 2"), *server.options)
        full = krakenws.run(*split("book XBT/USD --book full --count 3"), *server.options)
    best = [event["data"][0] for event in top.events if event["event"] == "update"]
    assert [(book["asks"], book["bids"]) for book in best] == [
        ([{"price": "64001.10000", "qty": qty}], [{"price": "64000.10000", "qty": "2.00000000"}])
        for qty in ("1.00000000", "9.00000000")
    ]
    last = full.stream[-1]["data"][0]
    assert [level["price"] for level in last["asks"]] == [f"{64000 + n}.10000" for n in range(1, 11)]
    assert [level["price"] for level in last["bids"]] == [f"{64000 - n}.10000" for n in range(10)]


def test_a_hole_in_a_private_sequence_is_healed(trader: Command) -> None:
    second = OPEN_ORDERS.replace('"sequence":1', '"sequence":3')

    def script(client: Connection) -> None:
        client.serve(OPEN_ORDERS, second)
        asked = [client.expect(event="unsubscribe"), client.expect(event="subscribe")][1]
        (ack,) = acks(asked)
        client.send({**ack, "status": "unsubscribed"}, ack, OPEN_ORDERS)
        client.hold()

    with exchange(private=script) as server:
        result = trader.run(*split("openOrders --count 2"), *server.options)
    assert result.code == 0, result.err
    told = [event["event"] for event in result.events if event["event"] in {"update", "gap"}]
    assert told == ["update", "gap", "gap", "update"]


def test_a_stream_that_falls_silent_is_probed_and_then_connected_anew(krakenws: Command) -> None:
    """It has to wait for the client's patience with a line on which nothing comes."""

    def silent(client: Connection) -> None:
        client.serve(TICKER)
        client.expect(event="ping")
        client.send('{"event":"pong","reqid":1}')
        client.hold()

    with exchange(silent) as server:
        result = krakenws.run(*split("ticker XBT/USD -oraw --for 3500ms"), *server.options)
    assert result.code == 0
    assert [message["event"] for message in server.messages()] == ["subscribe", "ping"]


def test_reconnect_n_gives_up_after_n(krakenws: Command) -> None:
    with exchange(then_ends(TICKER)) as server:
        result = krakenws.run(*split("ticker XBT/USD --reconnect 2"), *server.options)
    assert result.code == 4
    assert len(server.connections) == 3
    *_, lost, summary, error = result.events
    assert [event["event"] for event in (lost, summary, error)] == ["disconnected", "summary", "error"]
    assert "retry_in_s" not in lost
    assert error["code"] == 4


def test_unsubscribed_by_the_exchange_is_told_and_asked_for_again(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        asked = client.serve(TICKER)
        (ack,) = acks(asked)
        client.send({**ack, "status": "unsubscribed"})
        again = client.expect(event="subscribe")
        assert again == asked
        client.send(*acks(again), TICKER)
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("ticker XBT/USD --count 2"), *server.options)
    assert result.code == 0, result.err
    names = [event["event"] for event in result.stream][3:]
    assert names == ["update", "unsubscribed", "subscribed", "gap", "update"]


def test_a_rate_limit_is_waited_out(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.expect(event="subscribe")
        client.send({"errorMessage": "Exceeded msg rate", "event": "error"})
        client.send(*acks(client.expect(event="subscribe")), TICKER)
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("ticker XBT/USD --count 1"), *server.options)
    assert result.code == 0, result.err
    assert len(server.sent("subscribe", "/")) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals that stop a process")
def test_an_exchange_that_freezes_is_noticed_within_8_s_and_healed_within_3_of_its_return(
    krakenws: Command,
) -> None:
    """The other test that has to wait for the client's patience: 3 s of silence, 5 s for the probe."""
    with krakenws.start("sandbox", "--listen", "127.0.0.1:0", "--rate", "50") as sandbox:
        _, _, url = sandbox.line().partition("public: ")
        with krakenws.start(*split("book XBT/USD -ojson --public-url"), url) as stream:
            stream.event("update")
            os.kill(sandbox.pid, signal.SIGSTOP)
            began = time.monotonic()
            lost = stream.event("disconnected")
            noticed_s = time.monotonic() - began
            os.kill(sandbox.pid, signal.SIGCONT)
            began = time.monotonic()
            gap = stream.event("gap")
            update = stream.event("update")
            healed_s = time.monotonic() - began
            stream.interrupt()
            assert stream.finish().code == 0
    assert "silent for 8 s" in lost["cause"]
    assert noticed_s < 8.0 + LATE_S
    assert healed_s < 3.0
    assert gap["cause"] == lost["cause"]
    assert gap["from"] < gap["to"] == update["received"]
