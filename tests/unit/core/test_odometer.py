"""The rate odometer: what it counts, what corrects it, and what it warns of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core import v1_entries
from krakenws.core.catalog import bind, find
from krakenws.core.events import Rejected, Reply, Route, Subscribed, Unanswered, Update
from krakenws.core.intents import ACCEPTED, OPEN, REJECTED, Intent
from krakenws.core.odometer import Odometer

if TYPE_CHECKING:
    from krakenws.core.catalog import Bound

PAIR = "XBT/USD"
START_US = 1_795_337_417_000_000
SECOND = 1_000_000


def bound(line: str) -> Bound:
    name, *words = line.split()
    entry = find(v1_entries.ENTRIES, name)
    assert entry is not None
    return bind(entry, words)


def limit(price: int = 1000) -> Bound:
    return bound(f"addOrder pair={PAIR} type=buy ordertype=limit price={price} volume=0.01")


def sent(line: str, ago_s: float, state: str = ACCEPTED, **more: Any) -> Intent:
    asked = bound(line)
    at_ns = (START_US - int(ago_s * SECOND)) * 1000
    return Intent(
        f"{line}{ago_s}", 1, False, asked.entry.name, {}, asked.values, 1, "", "", 1, at_ns, {}, state, **more
    )


class Talk:
    """An odometer, and an exchange that says what a test wants it to say."""

    def __init__(self) -> None:
        self.warned: list[str] = []
        self.told: list[str] = []
        self.odometer = Odometer(self.warned.append, self.told.append)
        self.at_us = START_US
        self._sent = 0

    @property
    def count(self) -> int:
        return self.odometer.count(PAIR, self.at_us)

    def wait(self, seconds: float) -> None:
        self.at_us += int(seconds * SECOND)

    def send(self, request: Bound) -> int:
        self._sent += 1
        self.odometer.sending(request, self._sent, self.at_us)
        return self._sent

    def answer(self, req_id: int, error: str = "", **result: str) -> Any:
        at_ns = self.at_us * 1000
        event = Rejected(at_ns, "x", req_id, error) if error else Reply(at_ns, "x", req_id, result)
        (told,) = self.odometer.heed([event])
        return told

    def ask(self, request: Bound, error: str = "", **result: str) -> Any:
        return self.answer(self.send(request), error, **result)

    def orders(self, *entries: dict[str, Any], snapshot: bool = False) -> None:
        route = Route(v1_entries.OPEN_ORDERS, {}, "openOrders", "")
        self.odometer.heed([Update(route, b"", self.at_us * 1000, snapshot, None, list(entries))])

    def ceiling(self, points: int) -> None:
        self.odometer.heed([Subscribed(self.at_us * 1000, "openOrders", "", {"maxratecount": points})])


def order(name: str, **fields: Any) -> dict[str, Any]:
    return {name: {"descr": {"pair": PAIR}, "status": "open", **fields}}


def test_krakens_own_example_counts_to_eight_less_its_decay() -> None:
    """Add, amend at 7 s, cancel 36 s later: 1, 1 + 2, 4; nothing is left of the first three by then."""
    talk = Talk()
    assert talk.ask(limit(), order_id="O1").rate == {"symbol": PAIR, "counter": 1}
    talk.wait(7)
    assert talk.ask(bound("amendOrder txid=O1 limit_price=1001")).rate["counter"] == 3
    talk.wait(36)
    assert talk.ask(bound("cancelOrder txid=O1")).rate["counter"] == 4


@pytest.mark.parametrize(
    ("error", "left"),
    [
        ("EOrder:Post only order", 2),
        ("EOrder:Unknown order", 1),
        ("EOrder:Rate limit exceeded", 60 - 4 + 1),
        ("ESession:Invalid session", 1),
        ("EService:Unavailable: not sent, the exchange is in maintenance", 1),
    ],
)
def test_a_refusal_costs_what_the_exchange_counts_for_it(error: str, left: int) -> None:
    talk = Talk()
    talk.ask(limit(), order_id="O1")
    req_id = talk.send(bound("amendOrder txid=O1 limit_price=1001"))
    assert talk.count == 5
    assert talk.answer(req_id, error).rate["counter"] == left


def test_what_is_not_answered_stays_counted() -> None:
    talk = Talk()
    req_id = talk.send(limit())
    (told,) = talk.odometer.heed([Unanswered(talk.at_us * 1000, "addOrder", req_id, "lost")])
    assert isinstance(told, Unanswered)
    assert told.rate == {"symbol": PAIR, "counter": 1}


def test_an_order_is_known_by_all_its_names() -> None:
    for line, by in (
        ("userref=7", "cancelOrder userref=7"),
        ("cl_ord_id=mine", "cancelOrder cl_ord_id=mine"),
        ("", "cancelOrder txid=O1"),
    ):
        talk = Talk()
        request = bound(f"addOrder pair={PAIR} type=buy ordertype=limit price=1 volume=1 {line}")
        talk.ask(request, order_id="O1")
        assert talk.ask(bound(by)).rate["counter"] == 9
        assert talk.ask(bound(by)).rate is None, "it is gone"


def test_an_edited_order_is_a_new_one() -> None:
    talk = Talk()
    talk.ask(limit(), order_id="O1")
    talk.wait(100)
    talk.ask(bound(f"editOrder orderid=O1 pair={PAIR} price=1001 volume=1"), order_id="O2")
    assert talk.count == 1
    assert talk.ask(bound("cancelOrder txid=O2")).rate["counter"] == 9


def test_orders_of_unknown_age_are_taken_for_old() -> None:
    talk = Talk()
    assert talk.ask(bound("cancelOrder txid=O9")).rate is None
    assert talk.ask(bound(f"amendOrder txid=O9 pair={PAIR} limit_price=1")).rate["counter"] == 1
    assert talk.ask(bound(f"editOrder orderid=O9 pair={PAIR} price=1 volume=1")).rate["counter"] == 2


def test_a_snapshot_tells_ages_and_an_amendment_makes_an_order_young() -> None:
    talk = Talk()
    talk.orders(
        order("O1", opentm=f"{START_US // SECOND - 20}.500000"),
        order("O2", opentm=f"{START_US // SECOND - 400}.000000"),
        snapshot=True,
    )
    talk.orders(order("O2", amended=True))
    talk.ask(bound("cancelOrder txid=O1"))
    assert talk.count == 4
    talk.ask(bound("cancelOrder txid=O2"))
    assert talk.count == 12


def test_what_others_did_is_corrected_by_what_is_told() -> None:
    talk = Talk()
    talk.ceiling(125)
    talk.ask(limit(), order_id="O1")
    talk.orders({"O1": {"status": "open", "ratecount": 40}})
    assert talk.count == 40
    talk.wait(10)
    talk.orders({"O1": {"status": "open", "ratecount": "17"}})
    assert talk.count == 17
    assert talk.ask(limit(), order_id="O2").rate == {"symbol": PAIR, "counter": 18, "ceiling": 125}
    assert talk.told[-1] == "rate counter of XBT/USD: 18 of 125"


def test_what_is_on_its_way_is_not_corrected_away() -> None:
    talk = Talk()
    talk.ask(limit(), order_id="O1")
    talk.send(limit())
    talk.send(limit())
    talk.orders({"O1": {"status": "open", "ratecount": 2}})
    assert talk.count == 3
    talk.orders({"O1": {"status": "open", "ratecount": 30}})
    assert talk.count == 32


def test_the_ceiling_sets_the_pace_and_the_warning() -> None:
    talk = Talk()
    talk.ceiling(125)
    for at in range(125):
        talk.ask(limit(), order_id=f"O{at}")
    assert talk.warned == []
    assert talk.ask(limit(), "EOrder:Rate limit exceeded").rate["counter"] == 125
    (warning,) = talk.warned
    assert "the counter of XBT/USD is about 125 of 125, this costs 1, and there is room in 0.4 s" in warning
    talk.wait(10)
    assert talk.count == 102


def test_without_a_ceiling_the_lowest_tiers_is_assumed_and_said() -> None:
    talk = Talk()
    for at in range(61):
        talk.ask(limit(), order_id=f"O{at}")
    (warning,) = talk.warned
    assert "60 of 60 (of the lowest tier)" in warning
    assert talk.count == 61, "it was taken in spite of us"


def test_frames_that_make_no_sense_change_nothing() -> None:
    talk = Talk()
    talk.ask(limit(), order_id="O1")
    foreign: list[Any] = [[{"O1": {"ratecount": "many"}}], [{"O9": {"ratecount": 50}}]]
    for body in (None, 7, ["O1"], [{"O1": "open"}], *foreign):
        route = Route(v1_entries.OPEN_ORDERS, {}, "openOrders", "")
        talk.odometer.heed([Update(route, b"", START_US * 1000, False, None, body)])
    talk.orders(order("O2", opentm="soon"), snapshot=True)
    assert talk.count == 1


def test_it_remembers_no_more_than_it_needs() -> None:
    talk = Talk()
    for at in range(3000):
        talk.orders(order(f"O{at}"))
    assert len(talk.odometer._orders) == 1000


# ---- what other processes did


LIMIT = f"addOrder pair={PAIR} type=buy ordertype=limit price=1000 volume=0.01"


def recalled(*intents: Intent) -> Talk:
    talk = Talk()
    asked: list[int] = []

    def earlier(since_ns: int) -> list[Intent]:
        asked.append(since_ns)
        return list(intents)

    talk.odometer.recall(earlier, START_US * 1000)
    assert asked == [(START_US - 300 * SECOND) * 1000]
    assert talk.odometer.has_recalled
    return talk


def test_what_was_sent_before_counts_as_far_as_it_has_not_decayed() -> None:
    assert recalled().count == 0
    assert recalled(sent(LIMIT, 0.5), sent(LIMIT, 0.1, OPEN)).count == 2
    assert recalled(*[sent(LIMIT, 10)] * 15).count == 5, "one a second goes"
    assert recalled(sent(LIMIT, 200)).count == 0
    refused = sent(LIMIT, 0.1, REJECTED, error="EOrder:Rate limit exceeded")
    assert recalled(sent(LIMIT, 0.2), refused).count >= 59, "the exchange said that there is no room"


def test_an_order_that_another_process_placed_is_young_when_it_is_cancelled() -> None:
    talk = recalled(sent(LIMIT, 1, result={"order_id": "O1"}))
    assert talk.count == 0
    talk.send(bound("cancelOrder txid=O1"))
    assert talk.count == 8


def test_of_what_was_before_nothing_is_said_but_the_next_order_is_warned_of() -> None:
    talk = recalled(*[sent(LIMIT, 0.1)] * 65)
    assert (talk.warned, talk.told) == ([], [])
    talk.send(limit())
    assert "may be refused by the rate limit" in talk.warned[0]
