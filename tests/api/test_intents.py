"""Orders of the Python API are in the journal like those of the command line, and end the same way."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import krakenws
from krakenws.account import open_journal
from krakenws.net import trading
from krakenws.record import replace
from tests.support.api import client, run, strike, updates, wait_until
from tests.support.sandbox import running
from tests.support.scripts import OPEN_ORDERS, accepted, accepts, knows_nothing, late, refused
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from krakenws import Client
    from krakenws.core.intents import Intent
    from tests.support.command import Command
    from tests.support.server import Script

    Scripts = Callable[[], list[Script]]

ORDER: dict[str, Any] = {"type": "buy", "ordertype": "limit", "volume": "0.01", "price": Decimal(9000)}
TYPED = ("addOrder", "pair=XBT/USD", *(f"{name}={value}" for name, value in ORDER.items()))
LOOKS: dict[str, Any] = {"ack_timeout_s": 0.3, "look_ups_s": (0.1, 0.5)}


def order(kraken: Client, **more: Any) -> Any:
    return kraken.add_order("XBT/USD", **ORDER, **more)


def rows() -> list[Intent]:
    """The journal, as another process finds it."""
    journal = open_journal()
    try:
        return journal.last(100)
    finally:
        journal.close()


def told_of(intents: list[Intent]) -> list[tuple[Any, ...]]:
    """What became of each, without what differs from run to run."""
    return [(i.method, dict(i.asked), i.state, i.found, i.result.get("order_id"), i.error) for i in intents]


def answers_another(client: Connection) -> None:
    client.greet()
    asked = client.expect(event="addOrder")
    client.send(accepted(asked, reqid=asked["reqid"] + 1))
    client.hold()


def fails_inside(client: Connection) -> None:
    client.greet()
    client.send({**refused(client.expect(event="addOrder")), "errorMessage": "EGeneral:Internal error"})
    client.hold()


def lost_and_found() -> list[Script]:
    userref: list[str] = []

    def broken_off(client: Connection) -> None:
        client.greet()
        userref.append(client.expect(event="addOrder")["userref"])
        client.reset()

    def shows_it(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="subscribe")
        client.send(*acks(asked), '[[],"openOrders",{"sequence":1}]')
        client.expect(event="subscribe")
        news = f'{{"OREAL":{{"status":"pending","userref":{userref[0]}}}}}'
        client.send(f'[[{news}],"openOrders",{{"sequence":2}}]')
        client.hold()

    return [broken_off, shows_it]


CASES: dict[str, tuple[Scripts, type[krakenws.KrakenWSError] | None]] = {
    "late and accepted": (partial(late, accepted), None),
    "late and refused": (partial(late, refused), krakenws.OrderRejected),
    "found in openOrders": (lost_and_found, None),
    "the answer to another request": (lambda: [answers_another, knows_nothing], krakenws.OutcomeUnknown),
    "an error that proves nothing": (lambda: [fails_inside, knows_nothing], krakenws.OutcomeUnknown),
}


@pytest.mark.parametrize("case", CASES)
def test_a_lost_answer_ends_as_on_the_command_line(command: Command, home: Path, case: str) -> None:
    scripts, expected = CASES[case]
    with exchange(private=scripts()) as server:
        shown = command.run(
            *TYPED, *server.options, "--ack-timeout", "300ms", "--look-ups", "100ms,500ms", "-o", "json"
        )
    assert shown.code == (expected.exit_code if expected else 0), shown.err
    before = told_of(rows())
    next(home.rglob("state.db")).unlink()

    async def main() -> krakenws.OrderAdded:
        async with client(server, **LOOKS) as kraken:
            verdict: krakenws.OrderAdded = await order(kraken)
            return verdict

    with exchange(private=scripts()) as server:
        if expected is None:
            verdict = run(main())
            (told,) = [event for event in shown.events if event["event"] == "reply"]
            assert (verdict.order_id, verdict.found) == (told["result"]["order_id"], told["found"])
        else:
            with pytest.raises(expected) as error:
                run(main())
            assert isinstance(error.value, expected)
    assert len(server.sent("addOrder")) == 1
    assert told_of(rows()) == before


TROUBLE: list[dict[str, Any]] = [
    {"fault": "refuse", "method": "addOrder", "error": "EOrder:Insufficient funds"},
    {"fault": "refuse", "method": "addOrder", "error": "EGeneral:Internal error"},
    {"fault": "lose_answer", "method": "addOrder"},
    {"fault": "accept_then_cut", "method": "addOrder"},
    {"fault": "invalid_session"},
]


@pytest.mark.parametrize("rule", TROUBLE, ids=lambda rule: "{fault} {error}".format(**{"error": "", **rule}))
def test_an_order_in_trouble_ends_as_on_the_command_line(
    command: Command, home: Path, rule: dict[str, Any]
) -> None:
    (home / "WS_Token").unlink()

    async def main() -> int:
        options = krakenws.Options(ack_timeout_s=1.0, look_ups_s=(0.5, 2.0))
        async with krakenws.connect(sandbox=sandbox.told["public"], options=options) as kraken:
            try:
                await order(kraken)
            except krakenws.KrakenWSError as error:
                return error.exit_code
            return 0

    with running(command, "--pairs", "XBT/USD") as sandbox:
        strike(sandbox, {**rule, "times": 1})
        code = run(main())
        strike(sandbox, {**rule, "times": 1})
        shown = sandbox.run(" ".join((*TYPED, "--ack-timeout 1s --look-ups 500ms,2s")))
    assert code == shown.code, shown.err
    ours, theirs = rows()
    assert (ours.state, ours.found, ours.error) == (theirs.state, theirs.found, theirs.error)


def test_the_row_of_an_order_is_in_the_journal_before_its_frame_leaves() -> None:
    found: list[str] = []

    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="addOrder")
        found.extend(row.state for row in rows())
        client.send(accepted(asked))
        client.hold()

    async def main() -> krakenws.OrderAdded:
        async with client(server) as kraken:
            verdict: krakenws.OrderAdded = await order(kraken)
            return verdict

    with exchange(private=script) as server:
        verdict = run(main())
    assert found == ["open"]
    (row,) = rows()
    assert (row.state, row.id, row.named) == ("accepted", verdict.intent, False)


def test_what_is_only_validated_is_in_no_journal() -> None:
    async def main() -> krakenws.OrderAdded:
        async with client(server) as kraken:
            verdict: krakenws.OrderAdded = await order(kraken, validate=True)
            return verdict

    with exchange(private=accepts) as server:
        assert run(main()).intent == ""
    assert rows() == []


def test_a_cancelled_call_whose_order_has_left_is_settled_when_the_answer_comes() -> None:
    cancelled = threading.Event()

    async def main() -> None:
        async with client(server) as kraken:
            asked = asyncio.create_task(order(kraken))
            await wait_until(lambda: server.sent("addOrder"))
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert [row.state for row in rows()] == ["open"]
            cancelled.set()
            await wait_until(lambda: [row.state for row in rows()] == ["accepted"])

    with exchange(private=partial(slow, answer=cancelled)) as server:
        run(main())
    assert len(server.sent("addOrder")) == 1


def hold_up_checks(monkeypatch: Any) -> tuple[threading.Event, threading.Event]:
    """Let the gate wait; return what tells that it was asked, and what lets it go on."""
    asked, go_on = threading.Event(), threading.Event()

    def check(*_: object) -> None:
        asked.set()
        assert go_on.wait(10)

    monkeypatch.setattr("krakenws.net.gate.Gate.check", check)
    return asked, go_on


def test_an_order_that_is_cancelled_while_it_is_checked_leaves_no_trace(monkeypatch: Any) -> None:
    asked, go_on = hold_up_checks(monkeypatch)

    async def main() -> None:
        async with client(server) as kraken:
            first = asyncio.create_task(order(kraken))
            await wait_until(asked.is_set)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            go_on.set()
            await kraken.cancel_all()

    with exchange(private=accepts) as server:
        run(main())
    assert server.sent("addOrder") == []
    assert [row.method for row in rows()] == ["cancelAll"]


def test_a_cancel_does_not_wait_for_the_checks_of_an_order(monkeypatch: Any) -> None:
    asked, go_on = hold_up_checks(monkeypatch)

    async def main() -> None:
        async with client(server) as kraken:
            first = asyncio.create_task(order(kraken))
            await wait_until(asked.is_set)
            await kraken.cancel_all()
            assert server.sent("addOrder") == []
            go_on.set()
            await first

    with exchange(private=accepts) as server:
        run(main())
    assert [row.method for row in rows()] == ["cancelAll", "addOrder"]


def test_an_order_left_open_by_a_client_that_was_closed_is_settled_by_reconcile(command: Command) -> None:
    """What matters most: no order is forgotten, whoever stopped waiting for it."""
    with running(command, "--pairs", "XBT/USD") as sandbox:

        async def main() -> krakenws.OutcomeUnknown:
            async with krakenws.connect(sandbox=sandbox.told["public"]) as kraken:
                asked = asyncio.create_task(kraken.add_order("XBT/USD", **{**ORDER, "price": 60000}))
                await wait_until(rows)
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked
                await kraken.cancel_all_orders_after(60)
                other = asyncio.create_task(kraken.add_order("XBT/USD", **{**ORDER, "price": 60001}))
                await wait_until(lambda: len(rows()) == 3)
            with pytest.raises(krakenws.OutcomeUnknown, match="'krakenws reconcile' looks again") as unknown:
                await other
            return unknown.value

        strike(sandbox, {"fault": "lose_answer", "method": "addOrder", "times": 2})
        unknown = run(main())
        first, _, last = rows()
        assert [row.state for row in (first, last)] == ["open", "open"]
        assert unknown.intent == last.id
        done = command.run("reconcile", f"--sandbox={sandbox.told['public']}", "-o", "json")
    assert done.code == 0, done.err
    assert [row.state for row in rows()] == ["accepted"] * 3


def test_a_name_used_again_is_answered_with_the_first_verdict() -> None:
    async def main() -> list[krakenws.OrderAdded]:
        async with client(server) as kraken:
            first = await order(kraken, intent="monday")
        async with client(server) as kraken:
            again = await order(kraken, intent="monday")
            with pytest.raises(krakenws.UsageError, match="the intent monday stands for addOrder"):
                await kraken.cancel_all(intent="monday")
            with pytest.raises(krakenws.UsageError, match="is not a name of at most 64"):
                await order(kraken, intent="tues day")
            return [first, again]

    with exchange(private=accepts) as server:
        first, again = run(main())
    assert (first.order_id, first.intent, first.found) == ("OGTT3Y-C6I3P-XRI6HX", "monday", "")
    assert (again.order_id, again.intent, again.found) == ("OGTT3Y-C6I3P-XRI6HX", "monday", "journal")
    assert len(server.sent("addOrder")) == 1
    assert server.sent("cancelAll") == []


def test_a_name_whose_outcome_is_open_is_looked_for_and_not_sent_again() -> None:
    scripts = lost_and_found()

    async def main() -> krakenws.OrderAdded:
        async with client(server, look_ups_s=()) as kraken:
            with pytest.raises(krakenws.OutcomeUnknown) as unknown:
                await order(kraken, intent="monday")
            assert unknown.value.intent == "monday"
        async with client(server, **LOOKS) as kraken:
            verdict: krakenws.OrderAdded = await order(kraken, intent="monday")
            return verdict

    with exchange(private=scripts) as server:
        verdict = run(main())
    assert (verdict.order_id, verdict.found) == ("OREAL", "openOrders")
    assert len(server.sent("addOrder")) == 1


def slow(client: Connection, answer: threading.Event) -> None:
    client.greet()
    asked = client.expect(event="addOrder")
    assert answer.wait(10)
    client.send(accepted(asked))
    client.hold()


def test_two_tasks_with_one_name_send_one_order_and_have_its_verdict() -> None:
    async def main() -> list[Any]:
        async with client(server) as kraken:
            return await asyncio.gather(*(order(kraken, intent="monday") for _ in range(3)))

    with exchange(private=accepts) as server:
        verdicts = run(main())
    assert [(one.order_id, one.found) for one in verdicts] == [("OGTT3Y-C6I3P-XRI6HX", "")] * 3
    assert len(server.sent("addOrder")) == 1


def test_another_order_under_a_name_that_is_on_its_way_is_refused_and_harms_nobody() -> None:
    answer = threading.Event()

    async def main() -> None:
        async with client(server) as kraken:
            first = asyncio.create_task(order(kraken, intent="monday"))
            await wait_until(lambda: server.sent("addOrder"))
            with pytest.raises(krakenws.UsageError, match="the intent monday stands for addOrder") as no:
                await order(kraken, intent="monday", userref=7)
            assert not no.value.retryable
            with pytest.raises(krakenws.UsageError, match="the intent monday stands for addOrder"):
                await kraken.cancel_all(intent="monday")
            answer.set()
            assert (await first).intent == "monday"

    with exchange(private=partial(slow, answer=answer)) as server:
        run(main())
    assert len(server.sent("addOrder")) == 1


@pytest.mark.parametrize("leaves", [0, 1])
@pytest.mark.parametrize("has_left", [False, True])
def test_a_caller_that_leaves_does_not_harm_the_others_of_its_name(leaves: int, has_left: bool) -> None:
    answer, greets = threading.Event(), threading.Event()

    def script(client: Connection) -> None:
        client.accept()
        assert greets.wait(10)
        slow(client, answer)

    async def main() -> None:
        async with client(server) as kraken:
            callers = [asyncio.create_task(order(kraken, intent="monday")) for _ in range(2)]
            await wait_until(lambda: any(wait.callers == 2 for wait in kraken._shell._owed.get("monday", ())))
            if has_left:
                greets.set()
                await wait_until(lambda: server.sent("addOrder"))
            callers[leaves].cancel()
            with pytest.raises(asyncio.CancelledError):
                await callers[leaves]
            greets.set()
            answer.set()
            assert (await callers[1 - leaves]).order_id == "OREAL"

    with exchange(private=script) as server:
        run(main())
    assert len(server.sent("addOrder")) == 1


def test_what_all_callers_of_a_name_gave_up_before_it_left_is_never_sent() -> None:
    greets = threading.Event()

    def script(client: Connection) -> None:
        client.accept()
        assert greets.wait(10)
        accepts(client)

    async def main() -> None:
        async with client(server) as kraken:
            callers = [asyncio.create_task(order(kraken, intent="monday")) for _ in range(2)]
            await wait_until(lambda: any(wait.callers == 2 for wait in kraken._shell._owed.get("monday", ())))
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)
            greets.set()
            await kraken.cancel_all()  # behind all that left

    with exchange(private=script) as server:
        run(main())
    assert server.sent("addOrder") == []
    assert [row.method for row in rows()] == ["cancelAll"]


def test_a_call_under_a_name_whose_callers_have_left_awaits_its_verdicts() -> None:
    answer = threading.Event()

    def script(client: Connection) -> None:
        client.greet()
        first, second = (client.expect(event="cancelOrder") for _ in range(2))
        client.send({"event": "cancelOrderStatus", "reqid": first["reqid"], "status": "ok"})
        assert answer.wait(10)
        client.send({"event": "cancelOrderStatus", "reqid": second["reqid"], "status": "ok"})
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            first = asyncio.create_task(kraken.cancel_order("OONE", "OTWO", intent="monday"))
            await wait_until(lambda: [row.state for row in rows()] == ["accepted", "open"])
            first.cancel()
            await asyncio.wait([first])
            again = asyncio.create_task(kraken.cancel_order("OONE", "OTWO", intent="monday"))
            await wait_until(lambda: kraken._shell._owed.get("monday"))
            answer.set()
            assert (await again).intent == "monday"

    with exchange(private=script) as server:
        run(main())
    assert len(server.sent("cancelOrder")) == 2


@pytest.mark.parametrize(
    ("age_s", "expected"), [(0, krakenws.IntentUnderway), (120, krakenws.OutcomeUnknown)]
)
def test_a_name_that_another_process_awaits_is_underway_and_later_unknown(
    age_s: int, expected: type[krakenws.KrakenWSError]
) -> None:
    """The other's answer or its look-ups may yet tell; once they must have, nobody knows."""

    async def main() -> None:
        async with client(server) as kraken:
            first = await order(kraken)
            (row,) = rows()
            journal = open_journal()
            theirs = {"pid": row.pid + 1, "created_ns": row.created_ns - age_s * 1_000_000_000}
            verdict: dict[str, Any] = {"state": "open", "result": {}, "settled_ns": None}
            journal.begin([replace(row, id="monday", named=True, **theirs, **verdict)])
            journal.close()
        async with client(server, ack_timeout_s=60.0, look_ups_s=(0.1,)) as kraken:
            with pytest.raises(expected) as no:
                await order(kraken, intent="monday")
            assert no.value.retryable == (expected is krakenws.IntentUnderway)
            assert isinstance(no.value, krakenws.UsageError) == (expected is krakenws.IntentUnderway)
            journal = open_journal()
            journal.settle(replace(journal.of("monday")[0], state="accepted", result=first.result))
            journal.close()
            assert (await order(kraken, intent="monday")).order_id == first.order_id

    with exchange(private=[accepts, knows_nothing]) as server:
        run(main())
    assert len(server.sent("addOrder")) == 1


def take_monday(point: str) -> None:
    """Be the other process: ask for the first order again under the name, just before the second row."""
    if point == trading.BEFORE_ROW and len(rows()) == 1:
        journal = open_journal()
        journal.begin([replace(rows()[0], id="monday", named=True)])
        journal.close()


def test_a_name_that_another_process_is_quicker_to_use_is_answered_with_its_verdict(monkeypatch: Any) -> None:
    async def main() -> list[krakenws.OrderAdded]:
        async with client(server) as kraken:
            first = await order(kraken, userref=7)
            monkeypatch.setattr(trading, "reached", take_monday)
            return [first, await order(kraken, userref=7, intent="monday")]

    with exchange(private=accepts) as server:
        first, second = run(main())
    assert (second.order_id, second.intent, second.found) == (first.order_id, "monday", "journal")
    assert len(server.sent("addOrder")) == 1


def test_a_name_that_another_process_takes_for_something_else_fails_its_order_alone(monkeypatch: Any) -> None:
    async def main() -> list[Any]:
        async with client(server) as kraken:
            first = await order(kraken, userref=7)
            monkeypatch.setattr(trading, "reached", take_monday)
            both = (order(kraken, userref=8, intent="monday"), order(kraken, userref=9))
            return [first, *await asyncio.gather(*both, return_exceptions=True)]

    with exchange(private=accepts) as server:
        _, named, other = run(main())
    assert isinstance(named, krakenws.UsageError)
    assert isinstance(other, krakenws.OrderAdded)
    assert [one["userref"] for one in server.sent("addOrder")] == ["7", "9"]


def test_orders_at_once_count_for_one_anothers_limits(home: Path) -> None:
    (home / "config" / "krakenws").mkdir(parents=True)
    policy = "[policy]\nmax_volume_per_day = { XBT = 0.025 }\n"
    (home / "config" / "krakenws" / "config.toml").write_text(policy)

    async def main() -> list[Any]:
        async with client(server) as kraken:
            return await asyncio.gather(*(order(kraken) for _ in range(3)), return_exceptions=True)

    with exchange(private=accepts) as server:
        *placed, third = run(main())
    assert [type(one) for one in placed] == [krakenws.OrderAdded] * 2
    assert isinstance(third, krakenws.PolicyRefused)
    assert len(server.sent("addOrder")) == 2


def test_without_a_journal_nothing_is_sent_and_streams_go_on(home: Path) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.send(*acks(client.expect(event="subscribe")), OPEN_ORDERS)
        go_on.wait(10)
        client.send(OPEN_ORDERS.replace('"sequence":1', '"sequence":2'))
        client.hold()

    go_on = threading.Event()

    async def main() -> None:
        async with client(server) as kraken:
            stream = kraken.stream("openOrders")
            await updates(stream, 1)
            with pytest.raises(krakenws.SinkError, match=r"state\.db"):
                await order(kraken)
            go_on.set()
            assert len(await updates(stream, 1)) == 1

    state = home / "state" / "krakenws"
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("in the way")
    with exchange(private=script) as server:
        run(main())
    assert server.sent("addOrder") == []


def test_each_order_of_a_cancel_has_its_own_verdict() -> None:
    def script(client: Connection) -> None:
        client.greet()
        for error in ("", "EOrder:Unknown order"):
            asked = client.expect(event="cancelOrder")
            outcome = {"status": "error", "errorMessage": error} if error else {"status": "ok"}
            client.send({"event": "cancelOrderStatus", "reqid": asked["reqid"], **outcome})
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            with pytest.raises(krakenws.OrderRejected, match="cancelOrder OTWO refused") as no:
                await kraken.cancel_order("OONE", "OTWO")
            assert no.value.code == "EOrder:Unknown order"

    with exchange(private=script) as server:
        run(main())
    assert [one["txid"] for one in server.sent("cancelOrder")] == [["OONE"], ["OTWO"]]
    assert [row.state for row in rows()] == ["accepted", "rejected"]


def test_whenever_a_call_is_cancelled_each_frame_has_its_row_and_each_row_its_frame() -> None:
    draws = Random(7)

    async def trade(kraken: Client, number: int) -> None:
        asked = asyncio.create_task(order(kraken, userref=number))
        await asyncio.sleep(draws.uniform(0, 0.03))
        asked.cancel()
        await asyncio.wait([asked])

    async def main() -> None:
        async with client(server) as kraken:
            await order(kraken, userref=101)  # what the others need is loaded
            await asyncio.gather(*(trade(kraken, number) for number in range(1, 101)))
            await kraken.cancel_all()  # behind all that left

    with exchange(private=accepts) as server:
        run(main())
    sent = [one["userref"] for one in server.sent("addOrder")]
    placed = [row for row in rows() if row.method == "addOrder"]
    assert [row.sent["userref"] for row in placed] == sent
    assert {row.state for row in placed} <= {"accepted"}
    assert len(sent) < 101
