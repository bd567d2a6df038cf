"""Names of orders in a session: used again, they are answered with the first verdict and send nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import Command
from tests.support.sandbox import Sandbox, running
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Process

ORDER = "addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01"
AS_JSON = (
    '{"id":"%s","intent":"%s","do":"addOrder","pair":"XBT/USD","type":"buy","ordertype":"limit",'
    '"price":"9000","volume":"0.01"}'
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(Command(tmp_path_factory.mktemp("intents")), "--pairs", "XBT/USD") as found:
        yield found


def ask(process: Process, line: str, id_: str) -> dict[str, Any]:
    """Send a line; return its answer."""
    process.send(line + "\n")
    while (event := process.event()).get("id") != id_:
        pass
    return event


def test_a_name_used_again_is_answered_with_the_first_verdict_by_any_session(sandbox: Sandbox) -> None:
    with sandbox.command.start("session") as process:
        first = ask(process, f"{ORDER} intent=monday id=1", "1")
        assert (first["outcome"], first["intent"]) == ("accepted", "monday")
        other = ask(process, f"{ORDER} id=2", "2")
        again = ask(process, AS_JSON % ("3", "monday"), "3")
        assert again["result"] == first["result"]
        assert again["found"] == "journal"
        last = ask(process, f"{ORDER} --intent tuesday id=4", "4")
        process.send("quit\n")
        assert process.finish().code == 0
    placed = [event["result"]["order_id"] for event in (first, other, last)]
    assert len(set(placed)) == 3
    with sandbox.command.start("session") as process:  # whose requests are numbered from 1 again
        process.send(f"{ORDER} id=1\n{ORDER} intent=monday id=2\n{ORDER} id=3\n")
        told: dict[str, Any] = {}
        while len(told) < 3:
            event = process.event()
            if "id" in event:
                told[event["id"]] = event
        process.send("quit\n")
        assert process.finish().code == 0
    assert told["2"]["result"]["order_id"] == placed[0]
    assert not {told["1"]["result"]["order_id"], told["3"]["result"]["order_id"]} & set(placed)
    assert not sandbox.run(f"{ORDER} --intent monday").code


def test_a_name_stands_for_one_command(sandbox: Sandbox) -> None:
    with sandbox.command.start("session") as process:
        assert ask(process, f"{ORDER} intent=one id=1", "1")["outcome"] == "accepted"
        refused = ask(process, "cancelAll intent=one id=2", "2")
        assert (refused["event"], refused["code"], refused["retryable"]) == ("error", 2, False)
        assert refused["message"].startswith("the intent one stands for addOrder pair=XBT/USD")
        refused = ask(process, "ticker XBT/USD intent=two id=3", "3")
        assert refused["message"] == "intent names a trading command, and ticker is none"


def test_a_name_whose_verdict_is_awaited_can_be_asked_for_later(trader: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        numbers = {}
        while "cancelAll" not in numbers:
            message = client.expect()
            numbers[message["event"]] = message.get("reqid")
            if message["event"] == "subscribe":
                client.send(*acks(message))
        accepted = {"event": "addOrderStatus", "status": "ok", "txid": "OREAL", "descr": "buy"}
        client.send(
            {**accepted, "reqid": numbers["addOrder"]},
            {"event": "cancelAllStatus", "status": "ok", "count": 0, "reqid": numbers["cancelAll"]},
        )
        client.hold()

    with exchange(private=script) as server, trader.start("session", *server.options) as process:
        process.send(f"{ORDER} intent=once id=1\nopenOrders id=wait\n")
        while process.event().get("id") != "wait":
            pass
        refused = ask(process, f"{ORDER} intent=once id=2", "2")
        assert refused["message"] == "the intent once awaits its verdict: ask again once that is told"
        assert refused["retryable"] is True
        assert ask(process, "cancelAll id=3", "1")["result"]["order_id"] == "OREAL"
        assert ask(process, f"{ORDER} intent=once id=4", "4")["found"] == "journal"
    assert len(server.sent("addOrder")) == 1


def test_a_cancel_of_several_orders_under_one_name_tells_each_verdict_again(sandbox: Sandbox) -> None:
    with sandbox.command.start("session") as process:
        ids = [ask(process, f"{ORDER} id={n}", str(n))["result"]["order_id"] for n in range(2)]
        line = f"cancelOrder txid={','.join(ids)} intent=both"
        for name in ("first", "second"):
            process.send(f"{line} id={name}\n")
            told: list[dict[str, Any]] = []
            while len(told) < 2:
                event = process.event()
                if event.get("id") == name:
                    told.append(event)
            assert {event["outcome"] for event in told} == {"accepted"}, told
            assert sum("found" in event for event in told) == (2 if name == "second" else 0)
