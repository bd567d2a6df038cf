"""Answers that are late, foreign, doubled or without a number are nobody else's verdict."""

from __future__ import annotations

from shlex import split
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.scripts import accepted, knows_nothing, late, refused
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from tests.support.command import Command
    from tests.support.server import Script

ORDER = split("addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01 --ack-timeout 300ms")
LOOKS = {"KRAKENWS_LOOK_UPS": "100ms,10s"}


@pytest.mark.parametrize(("answer", "code"), [(accepted, 0), (refused, 5)])
def test_an_answer_that_comes_late_is_the_verdict(trader: Command, answer: Any, code: int) -> None:
    with exchange(private=late(answer)) as server:
        result = trader.run(*ORDER, *server.options, **LOOKS)
    assert result.code == code, result.err
    (told,) = [event for event in result.events if event["event"] == "reply"]
    assert told["found"] == "late answer"
    assert len(server.sent("addOrder")) == 1


FOREIGN: dict[str, Any] = {
    "another number": lambda asked: accepted(asked, reqid=asked["reqid"] + 1),
    "no number": lambda asked: {n: v for n, v in accepted(asked).items() if n != "reqid"},
    "another kind": lambda asked: accepted(asked, event="cancelAllStatus"),
    "text for a number": lambda asked: accepted(asked, reqid=str(asked["reqid"])),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_an_answer_that_is_not_its_own_is_no_verdict(trader: Command, what: str) -> None:
    def answers_another(client: Connection) -> None:
        client.greet()
        client.send(FOREIGN[what](client.expect(event="addOrder")))
        client.hold()

    with exchange(private=[answers_another, knows_nothing]) as server:
        result = trader.run(*ORDER, *server.options, KRAKENWS_LOOK_UPS="100ms")
    assert result.code == 6, result.err
    assert [event["outcome"] for event in result.events if "outcome" in event] == ["unknown"]
    assert len(server.sent("addOrder")) == 1


def test_answers_of_two_orders_in_the_wrong_order_and_doubled_go_where_they_belong(trader: Command) -> None:
    def crosses(client: Connection) -> None:
        client.greet()
        first, second = client.expect(event="addOrder"), client.expect(event="addOrder")
        client.send(refused(second), refused(second), accepted(first), accepted(first, txid="OTHER"))
        client.hold()

    with exchange(private=crosses) as server:
        result = trader.run(*ORDER, "+", *ORDER, *server.options)
    outcomes = {event["req_id"]: event["outcome"] for event in result.events if "outcome" in event}
    assert outcomes == {1: "accepted", 2: "rejected"}
    assert '"order_id":"OREAL"' in result.out
    assert "OTHER" not in "".join(line for line in result.lines if '"reply"' in line)
    assert result.code == 5


def broken_off(client: Connection) -> None:
    client.greet()
    client.expect(event="addOrder")
    client.reset()


def never_stands(client: Connection) -> None:
    client.accept()
    client.reset()


@pytest.mark.parametrize("script", [never_stands, knows_nothing])
def test_look_ups_that_fail_leave_the_outcome_unknown(trader: Command, script: Script) -> None:
    with exchange(private=[broken_off, script]) as server:
        result = trader.run(*ORDER, *server.options, KRAKENWS_LOOK_UPS="100ms,300ms")
    assert result.code == 6
    assert "look 2 of 2" in result.err
    assert len(server.sent("addOrder")) == 1


def test_an_order_found_in_the_stream_later_is_accepted(trader: Command) -> None:
    def shows_it_late(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="subscribe")
        client.send(*acks(asked), '[[],"openOrders",{"sequence":1}]')
        client.expect(event="subscribe")
        (order,) = server.sent("addOrder")
        news = f'{{"OREAL":{{"status":"pending","userref":{order["userref"]}}}}}'
        client.send(f'[[{news}],"openOrders",{{"sequence":2}}]')
        client.hold()

    with exchange(private=[broken_off, shows_it_late]) as server:
        result = trader.run(*ORDER, *server.options, **LOOKS)
    assert result.code == 0, result.err
    (told,) = [event for event in result.events if event["event"] == "reply"]
    assert (told["found"], told["result"]["order_id"]) == ("openOrders", "OREAL")
