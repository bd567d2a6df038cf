"""`krakenws session` on standard input and output: lines in, answers under their ids, one connection."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from shlex import split
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.cli.asking import Mistake, read_line
from krakenws.cli.caller import MOST_OPEN
from krakenws.cli.parser import entries
from krakenws.core.catalog import COMMAND, bind
from tests.support.command import DEADLINE_S, Command
from tests.support.sandbox import Sandbox, running
from tests.support.schema import fits
from tests.support.scripts import (
    OPEN_ORDERS,
    TICKER,
    Ladder,
    accepted,
    acknowledges,
    knows_nothing,
    pongs,
    streams,
)
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Process
    from tests.support.server import Script

TOKEN = "CanaryToken+with/both%2Fkinds+of/base64xyz0"
ORDER = "addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01"
LIFE = {"connected", "disconnected", "status", "summary"}


@contextmanager
def session(command: Command, *words: str, **environ: str) -> Iterator[Process]:
    with command.start("session", *words, environ=environ) as process:
        yield process


def answers(process: Process, *ids: str) -> dict[str, dict[str, Any]]:
    """Read on until each id has an answer, and return the first of each."""
    found: dict[str, dict[str, Any]] = {}
    while set(ids) - set(found):
        event = process.event()
        if "id" in event:
            found.setdefault(event["id"], event)
    return found


# ---- against the sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(Command(tmp_path_factory.mktemp("session")), "--pairs", "XBT/USD,ETH/USD") as found:
        yield found


def test_streams_and_orders_share_one_session(sandbox: Sandbox) -> None:
    with session(sandbox.command) as process:
        process.send("book XBT/USD 25 id=book\nopenOrders id=orders\n")
        told = answers(process, "book", "orders")
        assert {event["event"] for event in told.values()} == {"subscribed"}
        process.send(
            json.dumps({**dict(word.split("=") for word in split(ORDER)[1:]), "do": "addOrder", "id": 7})
            + "\n"
        )
        names: set[str] = set()
        order_id = ""
        while not {"update of an order", "a verified book", "reply"} <= names:
            event = process.event()
            if event["event"] == "reply":
                assert (event["id"], event["outcome"]) == (7, "accepted")
                order_id = event["result"]["order_id"]
            if event.get("channel") == "openOrders" and event.get("type") == "update":
                names.add("update of an order")
            if event.get("trust") == "verified":
                names.add("a verified book")
            names.add(event["event"])
        process.send(f"cancelOrder txid={order_id} id=cancel\nquit id=bye\n")
        told = answers(process, "cancel", "bye")
        assert told["cancel"]["outcome"] == "accepted"
        assert told["bye"]["event"] == "bye"
        result = process.finish()
    assert result.code == 0, result.err
    assert result.events[-1]["event"] == "summary"
    books = [
        event for event in result.events if event.get("channel") == "book" and event["event"] == "update"
    ]
    assert books[0]["type"] == "snapshot"
    assert {event["trust"] for event in books[1:]} == {"verified"}


def test_the_end_of_input_waits_for_open_answers(sandbox: Sandbox) -> None:
    lines = (
        f"{ORDER} validate=true id=a\nping id=b\nticker XBT/USD id=c\nhelp id=d\n{ORDER} validate=true id=e"
    )
    result = sandbox.command.run("session", stdin=lines)
    assert result.code == 0, result.err
    told = {event["id"]: event["event"] for event in result.events if "id" in event}
    assert told == {"a": "reply", "b": "pong", "c": "subscribed", "d": "help", "e": "reply"}


def test_a_bad_line_is_answered_and_ends_nothing(sandbox: Sandbox) -> None:
    lines = (
        b"tikcer XBT/USD id=a\n"
        b'{"id":"b","do":"book","pair":["XBT/USD"],"depth":11}\n'
        b"\xff\xfe\n"
        b"\n# a comment\n" + b"x" * 100_000 + b"\n"
        b"addOrder pair=XBT/USD type=buy ordertype=limit price=1e3 volume=1 id=c\n"
        b"unsubscribe ticker XBT/USD id=d\n"
        b"ping id=e\n"
    )
    result = sandbox.command.run("session", stdin=lines)
    assert result.code == 0, result.err
    told = [event for event in result.events if event["event"] not in LIFE]
    assert [(event["event"], event.get("id"), event.get("line")) for event in told] == [
        ("error", "a", 1),
        ("error", "b", 2),
        ("error", None, 3),
        ("error", None, 6),
        ("error", "c", 7),
        ("error", "d", 8),
        ("pong", "e", None),
    ]
    assert {event["code"] for event in told[:-1]} == {2}
    assert result.err == ""


def test_status_tells_connections_and_what_is_followed(sandbox: Sandbox) -> None:
    with session(sandbox.command) as process:
        process.send("status id=1\nbook XBT/USD ETH/USD 25 id=b\n")
        assert answers(process, "1")["1"]["connections"] == []
        for _ in range(2):
            answers(process, "b")
        process.send("status id=2\n")
        told = answers(process, "2")["2"]
    assert told["event"] == "session"
    assert told["connections"] == [{"endpoint": "public", "api": 1, "state": "ready", "system": "online"}]
    feed = {"channel": "book", "depth": 25, "id": "b", "confirmed": True}
    assert told["subscriptions"] == [{**feed, "symbol": "XBT/USD"}, {**feed, "symbol": "ETH/USD"}]
    assert told["unanswered"] == 0


def test_a_session_of_a_sandbox_of_its_own(krakenws: Command, default_port: None) -> None:
    lines = f"{ORDER} validate=true id=o\n"
    result = krakenws.run("session", "--sandbox", stdin=lines)
    assert result.code == 0, result.err
    assert [event["outcome"] for event in result.events if "id" in event] == ["accepted"]


def test_every_answer_has_a_place_in_the_schema(sandbox: Sandbox) -> None:
    schema = json.loads(sandbox.command.run("catalog", "--schema").out)
    lines = [
        f"{ORDER} validate=true id=a",
        "ping id=b",
        "book XBT/USD id=c",
        "openOrders id=d",
        "status id=e",
    ]
    lines += [
        "help id=f",
        "unsubscribe book XBT/USD id=g",
        "nonsense id=h",
        "ticker DOG/CAT id=i",
        "quit id=j",
    ]
    events = sandbox.command.run("session", stdin="\n".join(lines)).events
    for event in events:
        assert fits(event, schema, schema), event
    assert {event["id"] for event in events if "id" in event} == set("abcdefghij")


def test_every_example_has_a_place_in_the_schema_of_lines(krakenws: Command) -> None:
    schema = json.loads(krakenws.run("session", "--schema").out)
    for entry in entries():
        for example in entry.examples:
            if "--" not in example and "*" not in example:
                values: dict[str, Any] = {**bind(entry, example.split()[1:]).values}
                assert fits({"id": 7, "do": entry.name, **values}, schema, schema), example
                assert not fits({"do": entry.name, **values, "mistake": 1}, schema, schema)
                if entry.kind == COMMAND:
                    asked = {"event": entry.name, **values}
                elif entry.api == 1:
                    pairs = {"pair": values.pop("pair")} if "pair" in values else {}
                    asked = {"event": "subscribe", **pairs, "subscription": {"name": entry.name, **values}}
                else:
                    asked = {"method": "subscribe", "params": {"channel": entry.name, **values}}
                assert fits(asked, schema, schema), asked
                assert read_line(json.dumps(asked), lambda _: list).bound is not None
                assert not fits({**asked, "token": "a-token-of-mine"}, schema, schema)
    assert fits({"do": "unsubscribe", "channel": "book", "pair": ["XBT/USD"]}, schema, schema)
    assert fits({"do": "cancelAll", "intent": "eod"}, schema, schema)
    assert fits({"do": "status", "id": "s"}, schema, schema)


def test_the_schema_of_lines_takes_and_refuses_what_a_session_does(krakenws: Command) -> None:
    schema = json.loads(krakenws.run("session", "--schema").out)
    order = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": 9000, "volume": 0.5}
    taken: list[dict[str, Any]] = [
        {"do": "addOrder", **order, "userref": 12, "leverage": 2, "validate": True},
        {"event": "addOrder", **order, "price": "9000", "userref": "12", "validate": "true"},
        {"do": "ping", "id": 10**15 - 1},
    ]
    refused: list[dict[str, Any]] = [
        {"do": "addOrder", **order, "userref": 1.5},
        {"do": "book", "pair": []},
        {"do": "ping", "id": 10**15},
    ]
    for line in taken:
        assert fits(line, schema, schema), line
        assert read_line(json.dumps(line), lambda _: list).bound is not None
    for line in refused:
        assert not fits(line, schema, schema), line
        with pytest.raises(Mistake):
            read_line(json.dumps(line), lambda _: list)


# ---- against scripts


def test_what_was_unsubscribed_says_nothing_more_and_the_rest_goes_on(trader: Command) -> None:
    ladder = Ladder("XBT/USD", 10)
    asked: list[dict[str, Any]] = []

    def script(client: Connection) -> None:
        client.serve(TICKER)
        client.send(*acks(client.expect(event="subscribe")), ladder.snapshot())
        asked.append(client.expect(event="unsubscribe"))
        client.send(TICKER)  # it was on its way
        client.send(
            {
                "channelID": 340,
                "channelName": "ticker",
                "event": "subscriptionStatus",
                "pair": "XBT/USD",
                "status": "unsubscribed",
                "subscription": {"name": "ticker"},
            },
            TICKER,
            ladder.update("64001.10000", "3.00000000"),
        )
        client.hold()

    with exchange(script) as server, session(trader, *server.options) as process:
        process.send("ticker XBT/USD id=t\n")
        assert process.event("update")["channel"] == "ticker"
        process.send("book XBT/USD id=b\n")
        assert process.event("update")["channel"] == "book"
        process.send("unsubscribe ticker XBT/USD id=u\n")
        assert answers(process, "u")["u"]["event"] == "unsubscribed"
        event = process.event()
        assert (event["event"], event["channel"]) == ("update", "book")
    assert asked == [{"event": "unsubscribe", "pair": ["XBT/USD"], "subscription": {"name": "ticker"}}]


def test_a_second_line_about_the_same_book_is_answered_at_once_with_a_snapshot(krakenws: Command) -> None:
    ladder = Ladder("XBT/USD", 10)
    frames = (ladder.snapshot(), ladder.update("64001.10000", "3.00000000"))
    with exchange(streams(*frames)) as server, session(krakenws, *server.options) as process:
        process.send("book XBT/USD id=1\n")
        for _ in frames:
            process.event("update")
        process.send("book XBT/USD id=2\n")
        assert (again := process.event())["event"] == "subscribed"
        snapshot = process.event()
    assert again["id"] == "2"
    assert (snapshot["type"], snapshot["trust"]) == ("snapshot", "verified")
    (data,) = snapshot["data"]
    assert str(data["checksum"]) == ladder.checksum
    assert data["asks"][0] == {"price": "64001.10000", "qty": "3.00000000"}
    assert len(server.messages()) == 1


def test_one_book_at_two_depths_are_two_subscriptions_with_their_own_answers(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        shallow, deep = client.expect(event="subscribe"), client.expect(event="subscribe")
        refused = {"subscription": deep["subscription"], "pair": "XBT/USD", "errorMessage": "Not today"}
        client.send({"event": "subscriptionStatus", "status": "error", **refused}, *acks(shallow))
        client.hold()

    with exchange(script) as server, session(krakenws, *server.options) as process:
        process.send("book XBT/USD 10 id=shallow\nbook XBT/USD 25 id=deep\n")
        told = answers(process, "shallow", "deep")
    assert told["shallow"]["event"] == "subscribed"
    assert (told["deep"]["event"], told["deep"]["error"]) == ("refused", "Not today")


def test_a_lost_connection_is_healed_with_the_events_of_the_command_line(krakenws: Command) -> None:
    def cut(client: Connection) -> None:
        client.serve(TICKER)
        client.end()

    scripts: list[Script] = [cut, streams(TICKER)]
    with exchange(scripts) as server:
        alone = krakenws.run(*split("ticker XBT/USD --count 2"), *server.options)
    with exchange(scripts) as server, session(krakenws, *server.options) as process:
        process.send("ticker XBT/USD id=t\n")
        told = [process.event()]
        while [event["event"] for event in told].count("update") < 2:
            told.append(process.event())
    assert [event["event"] for event in told] == [event["event"] for event in alone.stream]
    assert [event.get("id") for event in told if event["event"] == "subscribed"] == ["t", "t"]


def test_an_order_on_a_connection_that_breaks_is_unanswered_and_never_sent_again(trader: Command) -> None:
    def cut(client: Connection) -> None:
        client.greet()
        while client.expect()["event"] != "addOrder":
            pass  # the silent subscription
        client.end()

    with exchange(private=[cut, acknowledges]) as server, session(trader, *server.options) as process:
        process.send(f"{ORDER} id=o\n")
        told = answers(process, "o")["o"]
        assert (told["event"], told["outcome"]) == ("unanswered", "unknown")
        process.event("connected")
        process.send("openOrders id=p\n")
        assert answers(process, "p")["p"]["event"] == "subscribed"
        process.end_input()
        assert process.finish().code == 0
    assert len(server.sent("addOrder")) == 1


def test_a_private_connection_without_subscriptions_is_kept_by_a_silent_one(trader: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        seen: list[tuple[str, str | None]] = []
        while len(seen) < 4:
            asked = client.expect()
            seen.append((asked["event"], asked.get("subscription", {}).get("name")))
            if asked["event"] == "subscribe":
                client.send(*acks(asked))
            elif asked["event"] == "cancelAll":
                client.send({"event": "cancelAllStatus", "reqid": asked["reqid"], "status": "ok", "count": 0})
            else:
                client.send(
                    {
                        "channelName": "ownTrades",
                        "event": "subscriptionStatus",
                        "status": "unsubscribed",
                        "subscription": {"name": "ownTrades"},
                    }
                )
        assert sorted(seen[:2]) == [("cancelAll", None), ("subscribe", "ownTrades")]
        assert seen[2:] == [("unsubscribe", "ownTrades"), ("subscribe", "ownTrades")]
        client.hold()

    with exchange(private=script) as server, session(trader, *server.options) as process:
        process.send("cancelAll id=c\n")
        assert answers(process, "c")["c"]["event"] == "reply"
        process.send("status id=s\nownTrades id=own\n")
        assert answers(process, "s")["s"]["subscriptions"] == []
        assert answers(process, "own")["own"]["event"] == "subscribed"
        process.end_input()
        result = process.finish()
    assert result.code == 0
    told = [event["event"] for event in result.stream]
    assert told.count("subscribed") == 1
    assert "unsubscribed" not in told


def test_an_endpoint_that_is_not_there_fails_the_line_and_not_the_session(krakenws: Command) -> None:
    with exchange(pongs) as server:
        options = ["--public-url", server.url, "--private-url", "ws://127.0.0.1:1"]
        with session(krakenws, *options) as process:
            process.send(f"{ORDER} id=o\nopenOrders id=p\n")
            told = answers(process, "o", "p")
            process.send("ping id=g\n")
            assert answers(process, "g")["g"]["event"] == "pong"
            krakenws.store_token(TOKEN)
            process.send(f"{ORDER} id=again\n")
            again = answers(process, "again")["again"]
            process.end_input()
            assert process.finish().code == 0
    assert [(event["event"], event["code"], event["retryable"]) for event in told.values()] == [
        ("error", 3, False)
    ] * 2
    assert "addOrder was not sent" in told["o"]["message"]
    assert (again["event"], again["code"], again["retryable"]) == ("error", 4, True)


def test_a_ping_that_is_given_up_leaves_the_order_of_the_same_number_alone(sandbox: Sandbox) -> None:
    with session(sandbox.command, "--public-url", "ws://127.0.0.1:1") as process:
        process.send(f"{ORDER} id=o\nping id=p\n")
        told = answers(process, "o", "p")
        process.end_input()
        assert process.finish().code == 0
    assert (told["o"]["event"], told["o"]["outcome"]) == ("reply", "accepted")
    assert (told["p"]["event"], told["p"]["code"], told["p"]["retryable"]) == ("error", 4, True)


def test_an_order_that_cannot_leave_in_time_is_given_up_and_never_sent(trader: Command) -> None:
    def cut(client: Connection) -> None:
        client.serve(OPEN_ORDERS)
        client.end()

    told = threading.Event()

    def mute_until_told(client: Connection) -> None:
        if told.is_set():
            acknowledges(client)
        client.accept()  # and no greeting
        client.hold()

    words = ["--connect-timeout", "0.4"]
    with (
        exchange(private=[cut, mute_until_told]) as server,
        session(trader, *words, *server.options) as process,
    ):
        process.send("openOrders id=p\n")
        process.event("disconnected")
        process.send(f"{ORDER} id=o\n")
        answer = answers(process, "o")["o"]
        assert (answer["event"], answer["code"], answer["retryable"]) == ("error", 4, True)
        assert answer["message"] == "addOrder was not sent: no connection within 0.4 s"
        told.set()
        process.event("connected")
    assert server.sent("addOrder") == []


def test_no_more_lines_are_read_than_may_be_unanswered(trader: Command) -> None:
    """Back-pressure on standard input: the exchange is silent until the last line that may be open came."""
    lines = 3 * MOST_OPEN

    def script(client: Connection) -> None:
        client.greet()
        asked = [client.expect(event="cancelAll") for _ in range(MOST_OPEN)]
        for _ in range(lines - MOST_OPEN):
            one = asked.pop(0)
            client.send({"event": "cancelAllStatus", "reqid": one["reqid"], "status": "ok", "count": 0})
            asked.append(client.expect(event="cancelAll"))
            assert len(asked) == MOST_OPEN
        for one in asked:
            client.send({"event": "cancelAllStatus", "reqid": one["reqid"], "status": "ok", "count": 0})
        client.hold()

    def patient(client: Connection) -> None:
        expect = client.expect

        def next_command(**_: object) -> dict[str, Any]:
            while (message := expect())["event"] == "subscribe":
                client.send(*acks(message))
            return message

        client.expect = next_command  # type: ignore[method-assign]  # the silent subscription is another test's
        script(client)

    with exchange(private=patient) as server:
        text = "".join(f"cancelAll id={number}\n" for number in range(lines))
        result = trader.run("session", *server.options, stdin=text)
    assert result.code == 0, result.err
    told = [event["id"] for event in result.events if event["event"] == "reply"]
    assert told == [str(number) for number in range(lines)]


def test_a_signal_ends_it_and_an_open_order_is_told_as_unknown(trader: Command) -> None:
    def silent(client: Connection) -> None:
        client.greet()
        client.hold()

    words = ["--ack-timeout", "0.5", "--reconnect", "never"]
    with exchange(private=silent) as server, session(trader, *words, *server.options) as process:
        process.send(f"{ORDER} id=o\n")
        process.event("connected")
        while not server.sent("addOrder"):
            pass
        os.kill(process.pid, signal.SIGTERM)
        result = process.finish()
    assert result.code == 6, result.err
    (told,) = [event for event in result.events if event["event"] == "unanswered"]
    assert told["id"] == "o"
    assert "addOrder: outcome unknown" in result.err


def test_what_is_asked_behind_a_signal_is_not_begun_while_a_verdict_is_waited_for(trader: Command) -> None:
    told = threading.Event()

    def script(client: Connection) -> None:
        client.greet()
        while (asked := client.expect())["event"] != "addOrder":
            client.send(*acks(asked))
        told.wait(DEADLINE_S)
        client.send({"event": "addOrderStatus", "reqid": asked["reqid"], "status": "ok", "txid": "O1"})
        client.hold()

    patience = ["--ack-timeout", f"{DEADLINE_S}s"]
    with exchange(private=script) as server, session(trader, *patience, *server.options) as process:
        process.send(f"{ORDER} id=before\n")
        while not server.sent("addOrder"):
            pass
        os.kill(process.pid, signal.SIGTERM)
        process.send(f"{ORDER} id=behind\n")
        refused = answers(process, "behind")["behind"]
        told.set()
        assert answers(process, "before")["before"]["outcome"] == "accepted"
        assert process.finish().code == 0
    assert (refused["code"], refused["message"]) == (4, "the session ends")
    assert len(server.sent("addOrder")) == 1


def test_an_order_on_a_new_connection_is_not_taken_for_one_that_is_still_looked_for(trader: Command) -> None:
    """A connection that finds no token any more is given up; the next order gets another one."""
    connections = itertools.count()
    tokenless, told = threading.Event(), threading.Event()

    def script(client: Connection) -> None:
        is_first = not next(connections)
        client.greet()
        while (asked := client.expect())["event"] != "addOrder":
            client.send(*acks(asked))
        if is_first:
            tokenless.wait(DEADLINE_S)
            client.end()
            return
        told.wait(DEADLINE_S)
        client.send(accepted(asked))
        client.hold()

    with exchange(private=script) as server, session(trader, "--look-ups", "1s", *server.options) as process:
        process.send(f"{ORDER} id=lost\n")
        while not server.sent("addOrder"):
            pass
        token_file = trader.home / "WS_Token"
        token = token_file.read_text()
        token_file.unlink()
        tokenless.set()
        found: dict[str, dict[str, Any]] = {}
        for number in itertools.count():
            process.send(f"status id=s{number}\n")
            while (event := process.event()).get("id") != f"s{number}":
                found[event.get("id", "")] = event
            if not event["connections"]:
                break
        trader.store_token(token.strip())
        process.send(f"{ORDER} id=next\n")
        while len(server.sent("addOrder")) < 2:
            pass
        while "lost" not in found:
            event = process.event()
            found[event.get("id", "")] = event
        told.set()
        placed = answers(process, "next")["next"]
    assert found["lost"]["outcome"] == "unknown"
    assert (placed["outcome"], placed["result"]["order_id"]) == ("accepted", "OREAL")


def test_a_signal_calls_off_the_order_that_waits_for_its_connection(trader: Command) -> None:
    connections = itertools.count()
    again = threading.Event()

    def script(client: Connection) -> None:
        if next(connections):
            assert again.wait(DEADLINE_S)
            knows_nothing(client)
            return
        client.greet()
        while (asked := client.expect())["event"] != "addOrder":
            client.send(*acks(asked))
        client.end()

    patience = ["--look-ups", "1s,2s", "--connect-timeout", f"{DEADLINE_S}s"]
    with exchange(private=script) as server, session(trader, *patience, *server.options) as process:
        process.send(f"{ORDER} id=before\n")
        while process.event()["event"] != "disconnected":
            pass
        process.send(f"{ORDER} id=held\nstatus id=s\n")
        assert answers(process, "s")["s"]["unanswered"] == 2
        os.kill(process.pid, signal.SIGTERM)
        held = answers(process, "held")["held"]
        again.set()
        result = process.finish()
    assert (held["code"], held["message"]) == (4, "the session ends")
    assert result.code == 6, "what became of the first one cannot be known"
    assert len(server.sent("addOrder")) == 1


def test_a_reader_that_is_gone_ends_the_session(krakenws: Command) -> None:
    command = [*krakenws.program, "session"]
    with subprocess.Popen(
        command, stdin=PIPE, stdout=PIPE, env=krakenws.environ, cwd=krakenws.home
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"status\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b'{"event":"session"')
        process.stdout.close()
        process.stdin.write(b"status\n")
        process.stdin.flush()
        assert process.wait(DEADLINE_S) == 0


def test_no_secret_leaves_in_any_answer(trader: Command) -> None:
    trader.store_token(TOKEN)

    def echoes(client: Connection) -> None:
        client.greet()
        while True:
            asked = client.expect()
            if asked["event"] == "subscribe":
                refused = f"ESession: {asked['subscription']['token']}"
                client.send({**acks(asked)[0], "status": "error", "errorMessage": refused})
            else:
                client.send(
                    {
                        "event": "addOrderStatus",
                        "reqid": asked["reqid"],
                        "status": "error",
                        "errorMessage": f"EGeneral:{asked['token']}",
                    }
                )

    lines = [
        f"{ORDER} id=o",
        "openOrders id=p",
        f"ticker {TOKEN} id=q",
        json.dumps({"event": "cancelAll", "token": TOKEN, "id": "r"}),
        json.dumps({"do": TOKEN, "id": "s"}),
    ]
    with exchange(private=echoes) as server, session(trader, *server.options) as process:
        process.send(f"{lines[0]}\n")
        answers(process, "o")
        process.send("\n".join(lines[1:]) + "\n")
        told = answers(process, "p", "q", "r", "s")
        process.end_input()
        result = process.finish()
    assert {event["event"] for event in told.values()} == {"refused", "error"}
    for text in (result.out, result.err):
        assert TOKEN not in text
        assert TOKEN.replace("/", "\\/") not in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("session -o text", "a session speaks JSON"),
        ("session --overflow drop --no-verify", "leave one of them out"),
    ],
)
def test_words_that_do_not_fit_are_refused(krakenws: Command, words: str, sentence: str) -> None:
    result = krakenws.run(*split(words))
    assert result.code == 2
    assert sentence in result.err


def test_the_output_that_is_kept_for_other_commands_is_not_meant(krakenws: Command) -> None:
    with session(krakenws, KRAKENWS_OUTPUT="text") as process:
        process.send("status id=s\n")
        assert answers(process, "s")["s"]["event"] == "session"


def test_a_slow_reader_may_have_data_dropped_and_no_answer(krakenws: Command) -> None:
    """With `--overflow drop`: answers are never dropped."""
    flood = [TICKER] * 40_000

    def script(client: Connection) -> None:
        client.serve(*flood)
        client.send({"event": "pong"}) if client.expect(event="ping") else None
        client.hold()

    with exchange(script) as server, session(krakenws, "--overflow", "drop", *server.options) as process:
        process.send("ticker XBT/USD id=t\nping id=g\n")
        told = answers(process, "t", "g")
        assert told["g"]["event"] == "pong"
