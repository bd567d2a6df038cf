"""Whatever answers come, in whichever order, each order leaves once and has one verdict, which is true."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from krakenws.core.events import Rejected, Reply, Route, Unanswered, Update
from krakenws.core.intents import ACCEPTED, OPEN, REJECTED
from krakenws.core.v1_entries import OPEN_ORDERS
from tests.support.trading import Ledger, Run

if TYPE_CHECKING:
    from krakenws.core.events import Answered

LINE = "addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01"
ORDERS = 3
ACTS = st.one_of(
    st.tuples(
        st.sampled_from(["ok", "error", "seen", "numberless ok", "numberless error", "error event"]),
        st.integers(1, ORDERS),
    ),
    st.tuples(st.just("foreign"), st.integers(ORDERS + 1, 99)),
    st.tuples(st.sampled_from(["time", "lost"]), st.just(0)),
)


class World:
    """What the exchange says, and what of it is true of each order."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.run = Run(self.ledger)
        for _ in range(ORDERS):
            self.run.add(LINE)
        self.sent = [json.loads(frame) for frame in self.run.open()]
        self.true: dict[int, set[str]] = {number: set() for number in range(1, ORDERS + 1)}
        self.told: list[Answered] = []
        self.connected = True

    def act(self, act: str, number: int) -> None:
        if act == "time":
            self.run.now += 6.0
            self._answer(self.run.protocol.on_deadline(0, self.run.now))
        elif act == "lost":
            self.connected = False
            self._answer(self.run.protocol.lost("cut", 0, self.run.now))
        elif act == "seen":
            sent = self.sent[number - 1]
            body = [{f"O{number}": {"status": "open", "userref": int(sent["userref"])}}]
            update = Update(Route(OPEN_ORDERS, {}, "openOrders", ""), b"", 0, False, None, body)
            self.true[number].add(ACCEPTED)
            self._hear(self.run.trading.look_ups.heed([update]))
        elif self.connected:
            answer: dict[str, Any] = {
                "event": "addOrderStatus",
                "reqid": number,
                "status": "ok",
                "txid": f"O{number}",
            }
            if "error" in act:
                answer |= {"status": "error", "errorMessage": "EOrder:Insufficient funds"}
            if act == "error event":
                answer = {"event": "error", "errorMessage": "Exceeded msg rate"}
            elif "numberless" in act:
                del answer["reqid"]
            elif number in self.true:
                self.true[number].add(REJECTED if "error" in act else ACCEPTED)
            self._answer(self.run.protocol.receive([json.dumps(answer).encode()], 0, self.run.now))

    def _answer(self, events: Any) -> None:
        self._hear(self.run.trading.heed(events))

    def _hear(self, events: Any) -> None:
        self.told += [e for e in events if isinstance(e, Reply | Rejected | Unanswered)]


@given(st.lists(ACTS, max_size=12))
def test_each_order_leaves_once_and_has_at_most_one_verdict_which_is_true(
    acts: list[tuple[str, int]],
) -> None:
    world = World()
    assert [message["reqid"] for message in world.sent] == [1, 2, 3]
    assert len({message["userref"] for message in world.sent}) == ORDERS
    for act, number in acts:
        world.act(act, number)
        assert not [frame for frame in world.run.leave() if b"addOrder" in frame]
    numbers = [event.req_id for event in world.told]
    assert len(numbers) == len(set(numbers))
    states = {row.req_id: row.state for row in world.ledger.rows.values()}
    for event in world.told:
        state = ACCEPTED if isinstance(event, Reply) else REJECTED
        assert states[event.req_id] == state
        assert state in world.true[event.req_id]
    assert {number for number, state in states.items() if state == OPEN} == set(states) - set(numbers)


@given(st.lists(st.sampled_from([*"abc"]), min_size=2, max_size=8))
def test_a_name_leaves_once_whoever_uses_it(names: list[str]) -> None:
    ledger = Ledger()
    left = []
    for name in names:
        run = Run(ledger, name=name)
        run.add(LINE)
        left += [name for frame in run.open() if b"addOrder" in frame]
    assert sorted(left) == sorted(set(names))
