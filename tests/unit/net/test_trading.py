"""The one way of trading commands: checks, names, rows before frames, look-ups, verdicts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core.events import Rejected, Reply, Route, Unanswered, Update
from krakenws.core.inquiry import AGED_NS
from krakenws.core.intents import ACCEPTED, OPEN, REJECTED, SETTLED, UNKNOWN
from krakenws.core.v1_entries import OPEN_ORDERS
from krakenws.errors import PolicyRefused, SinkError, UsageError
from krakenws.net import trading
from krakenws.record import replace
from tests.support.trading import Ledger, Run

if TYPE_CHECKING:
    from krakenws.core.catalog import Bound
    from krakenws.core.intents import Intent

LIMIT = "addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01"
MARKET = "addOrder pair=XBT/USD type=buy ordertype=market volume=0.01"


def messages(frames: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in frames]


def answer(method: str, number: int, error: str = "", **more: Any) -> list[bytes]:
    told = {"event": f"{method}Status", "reqid": number, "status": "error" if error else "ok", **more}
    if error:
        told["errorMessage"] = error
    return [json.dumps(told).encode()]


def hear(run: Run, frames: list[bytes]) -> list[Any]:
    return [
        event
        for event in run.trading.heed(run.protocol.receive(frames, 0, run.now))
        if isinstance(event, Reply | Rejected | Unanswered)
    ]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (LIMIT, r'"userref":"[1-9]\d{0,9}"'),
        (LIMIT + " timeinforce=GTD expiretm=+60", r'"userref":"[1-9]\d{0,9}"'),
        (MARKET, r'"cl_ord_id":"kw[0-9a-f]{16}"'),
        (LIMIT + " timeinforce=IOC", r'"cl_ord_id":"kw'),
        (LIMIT + " close[ordertype]=limit close[price]=9900", r'"cl_ord_id":"kw'),
        ("editOrder orderid=O1 pair=XBT/USD price=9100", r'"newuserref":"[1-9]\d{0,9}"'),
        (LIMIT + " userref=7", r'"userref":"7"'),
        (LIMIT + " cl_ord_id=mine", r'"cl_ord_id":"mine"'),
    ],
)
def test_every_order_leaves_with_one_number(line: str, number: str) -> None:
    ledger = Ledger()
    run = Run(ledger)
    run.add(line)
    (frame,) = run.open()
    found = re.findall(rb'"(?:userref|cl_ord_id|newuserref)":', frame)
    assert len(found) == 1
    assert re.search(number.encode(), frame)
    (row,) = ledger.rows.values()
    assert "token" not in row.sent
    assert row.asked == {n: v for n, v in row.sent.items() if n in row.asked}


def test_a_checked_order_leaves_as_typed() -> None:
    run = Run(Ledger())
    run.add(LIMIT + " validate=true")
    (message,) = messages(run.open())
    assert not {"userref", "cl_ord_id"} & message.keys()


def test_a_userref_that_an_open_intent_has_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()
    first = Run(ledger)
    first.add(LIMIT)
    (message,) = messages(first.open())
    taken = int(message["userref"]) - 1
    drawn = iter([taken, taken, 41])
    monkeypatch.setattr(
        trading, "urandom", lambda size: next(drawn).to_bytes(4, "big") if size == 4 else bytes(size)
    )
    second = Run(ledger)
    second.add(LIMIT)
    assert messages(second.open())[0]["userref"] == "42"


def test_a_number_under_which_an_order_is_looked_for_is_not_given_to_another() -> None:
    run = Run(Ledger())
    assert run.add(LIMIT + " reqid=7") == [7]
    run.open()
    assert not [
        event
        for event in run.trading.heed(run.protocol.lost("reset", 0, run.now))
        if isinstance(event, Unanswered)
    ], "it is looked for"
    (number,) = run.add(LIMIT + " reqid=7")
    assert number != 7
    assert [intent.req_id for intent in run.trading.owed] == [7]


def test_checks_come_before_everything_else() -> None:
    asked: list[str] = []

    def allows(bound: Bound) -> None:
        asked.append(bound.entry.name)

    def forbids(bound: Bound) -> None:
        assert "userref" not in bound.values
        raise PolicyRefused("not on Sundays")

    ledger = Ledger()
    run = Run(ledger, checks=(allows, forbids))
    with pytest.raises(PolicyRefused):
        run.add(LIMIT)
    assert asked == ["addOrder"]
    assert run.protocol.idle
    assert not run.trading.waiting


def test_no_row_no_frame() -> None:
    class Full(Ledger):
        def begin(self, intents: Any, *, allow: Any = None) -> None:
            raise SinkError("disk full")

    run = Run(Full())
    run.add(LIMIT)
    with pytest.raises(SinkError):
        run.open()
    assert (run.signals.held, run.trading.traded, run.trading.owed) == (False, False, [])
    assert len(run.trading.waiting) == 1


def test_the_row_is_there_before_the_frame_and_signals_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    points: list[tuple[str, int]] = []
    ledger = Ledger()
    monkeypatch.setattr(trading, "reached", lambda point: points.append((point, len(ledger.rows))))
    run = Run(ledger)
    run.add(LIMIT)
    run.open()
    run.trading.left()
    held = [run.signals.held]
    (told,) = hear(run, answer("addOrder", 1, txid="O1"))
    assert (told.result, told.found) == ({"order_id": "O1"}, "")
    assert [*held, run.signals.held] == [True, False]
    assert points == [
        (trading.BEFORE_ROW, 0),
        (trading.ROW, 1),
        (trading.LEFT, 1),
        (trading.ANSWERED, 1),
        (trading.SETTLED, 1),
    ]


def test_a_cancel_of_three_is_three_requests_of_one_intent() -> None:
    ledger = Ledger()
    run = Run(ledger)
    first, second, third = run.add("cancelOrder txid=A,B,C")
    assert [message["txid"] for message in messages(run.open())] == [["A"], ["B"], ["C"]]
    assert len({name for name, _ in ledger.rows}) == 1
    (refused,) = hear(run, answer("cancelOrder", second, "EOrder:Unknown order"))
    (accepted,) = hear(run, answer("cancelOrder", first))
    assert (refused.order, accepted.order) == ("B", "A")
    assert [row.state for row in ledger.rows.values()] == [ACCEPTED, REJECTED, OPEN]
    assert [intent.req_id for intent in run.trading.owed] == [third]


def test_a_verdict_counts_although_the_journal_cannot_take_it() -> None:
    class Breaks(Ledger):
        def settle(self, intent: Intent) -> Intent:
            raise SinkError("disk full")

    run = Run(Breaks())
    run.add(LIMIT)
    run.open()
    (told,) = hear(run, answer("addOrder", 1, txid="O1"))
    assert isinstance(told, Reply)
    assert "disk full" in run.notes[-1]
    assert run.trading.owed == []


def test_a_verdict_that_another_process_was_first_to_tell_is_told_again_and_no_other() -> None:
    ledger = Ledger()
    run = Run(ledger)
    run.add(LIMIT)
    run.open()
    (row,) = ledger.pending()
    ledger.settle(replace(row, state=REJECTED, error="EOrder:Unknown order"))
    (told,) = hear(run, answer("addOrder", 1, txid="O1"))
    assert isinstance(told, Rejected)
    assert (told.error, told.found) == ("EOrder:Unknown order", "journal")


def test_without_look_ups_the_outcome_is_unknown_at_once() -> None:
    ledger = Ledger()
    run = Run(ledger, look_ups_s=())
    run.add(LIMIT)
    run.open()
    (told,) = run.trading.heed(run.protocol.on_deadline(0, 6.0))
    assert isinstance(told, Unanswered)
    assert told.userref
    assert [row.state for row in ledger.rows.values()] == [UNKNOWN]


def test_the_switch_is_not_looked_for_as_it_shows_nowhere() -> None:
    ledger = Ledger()
    run = Run(ledger)
    run.add("cancelAllOrdersAfter timeout=60")
    run.open()
    (told,) = run.trading.heed(run.protocol.on_deadline(0, 6.0))
    assert isinstance(told, Unanswered)
    assert "sending it again is harmless" in told.hint
    assert "reconcile" not in told.hint
    assert [row.state for row in ledger.rows.values()] == [UNKNOWN]
    assert not run.trading.busy


def test_what_cannot_be_found_out_any_more_is_told_as_unknown_and_not_as_refused() -> None:
    ledger = Ledger()
    first = Run(ledger, name="mine")
    first.add("amendOrder txid=O1 limit_price=9000")
    first.open()
    (row,) = ledger.pending()
    ledger.settle(replace(row, state=SETTLED, error="how O1 stands does not tell"))
    again = Run(ledger, name="mine")
    assert again.add("amendOrder txid=O1 limit_price=9000") == []
    (told,) = again.trading.told()
    assert isinstance(told, Unanswered)
    assert told.hint == (
        "how O1 stands does not tell; this cannot be found out any more: look at the order as it is now"
    )


def test_an_answer_after_the_last_look_settles_the_journal_and_tells_no_second_verdict() -> None:
    ledger = Ledger()
    run = Run(ledger, look_ups_s=())
    run.add(LIMIT)
    run.open()
    run.trading.heed(run.protocol.on_deadline(0, 6.0))
    assert hear(run, answer("addOrder", 1, txid="O1")) == []
    assert [row.state for row in ledger.rows.values()] == [ACCEPTED]
    assert "late answer" in run.notes[-1]


def test_what_a_look_up_saw_long_ago_proves_nothing_to_the_next() -> None:
    """A session of hours: what was open at the first look-up may have been cancelled since."""
    ledger = Ledger()
    run = Run(ledger, look_ups_s=(1.0,))
    run.add("cancelOrder txid=O1")
    run.open()
    run.trading.heed(run.protocol.lost("cut", 0, 0.0))
    update = Update(
        Route(OPEN_ORDERS, {}, "openOrders", ""), b"", 0, True, None, [{"O1": {"status": "open"}}]
    )
    assert run.trading.look_ups.heed([update]) == []
    (told,) = run.trading.look_ups.on_deadline(run.trading.look_ups.next_deadline() or 0.0)
    assert isinstance(told, Unanswered)
    run.trading.look_ups.forget()  # as the loop does when nothing is looked for
    (row,) = ledger.rows.values()
    run.trading.adopt(replace(row, created_ns=row.created_ns - 2 * AGED_NS), "asked again")
    assert run.trading.told() == [], "the answer of then is none"
    assert len(run.trading.look_ups.heed([update])) == 1


def test_one_order_is_not_found_for_two_intents_that_look_alike() -> None:
    ledger = Ledger()
    run = Run(ledger)
    for _ in range(2):
        run.add(LIMIT + " userref=7")
    run.open()
    run.trading.heed(run.protocol.lost("cut", 0, 0.0))
    row = next(iter(ledger.rows.values()))
    fields = {
        "status": "open",
        "userref": 7,
        "vol": "0.01000000",
        "opentm": f"{row.created_ns // 10**9 + 1}.000000",
        "descr": {"pair": "XBT/USD", "type": "buy", "ordertype": "limit"},
    }
    update = Update(Route(OPEN_ORDERS, {}, "openOrders", ""), b"", 0, True, None, [{"O1": fields}])
    told = run.trading.look_ups.heed([update])
    assert told == [], "it may be either's"
    first, second = ledger.rows.values()
    ledger.settle(replace(first, state=ACCEPTED, result={"order_id": "O0"}))
    (found,) = run.trading.look_ups.heed([update])
    assert isinstance(found, Reply)
    assert (found.intent, found.result["order_id"]) == (second.id, "O1")


def test_a_name_of_another_account_is_refused() -> None:
    ledger = Ledger()
    Run(ledger, name="mine", account="a").add(LIMIT)
    run = Run(ledger, name="mine", account="a")
    run.add(LIMIT)
    run.open()
    with pytest.raises(UsageError, match="another key"):
        Run(ledger, name="mine", account="b").add(LIMIT)
    assert Run(ledger, name="mine", account="").add(LIMIT) == []
