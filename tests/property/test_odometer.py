"""The odometer foretells the sandbox's counter; what others trade it learns from openOrders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from krakenws.core.catalog import bind, find
from krakenws.core.odometer import Odometer
from krakenws.core.protocol import CONNECT, ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES
from krakenws.exchange.ratecounter import TIERS
from krakenws.options import Options
from tests.support.venue import PLENTY, START_US, Exchange

if TYPE_CHECKING:
    from krakenws.core.catalog import Bound
    from tests.support.venue import Client

PAIR = "XBT/USD"
ACTIONS = ["add", "add", "add refused", "validate", "amend", "amend refused", "edit", "edit refused"]
ACTIONS += ["cancel", "cancel", "cancel all", "unknown", "burst"]
WAITS_S = st.sampled_from([0.0, 0.1, 1.0, 3.0, 11.0, 40.0])
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 99), WAITS_S), max_size=40)


def command(line: str) -> Bound:
    name, *words = line.split()
    entry = find(ENTRIES, name)
    assert entry is not None
    return bind(entry, words)


class Account:
    """Our protocol and odometer, wired to one account of a sandbox in memory."""

    def __init__(self, tier: str, *, listens: bool) -> None:
        self.exchange = Exchange(tells=False, rate=0.1)
        self.exchange.venue.max_rate_count = TIERS[tier].ceiling
        self.client: Client = self.exchange.trader("trader", PLENTY, tier=TIERS[tier])
        self.other: Client = self.exchange.private("trader")
        self.warned: list[str] = []
        self.odometer = Odometer(self.warned.append)
        self.protocol = ClientProtocol(V1, Options(), "private", jitter=lambda: 0.0)
        self.open: list[str] = []
        self.answers: list[Any] = []
        self.protocol.subscribe(command("openOrders ratecounter=true"), self.exchange.now)
        assert self.protocol.wants == CONNECT
        self.protocol.connecting(self.exchange.now)
        self.protocol.opened(self.exchange.now, self.client.token)
        greeting = {"event": "systemStatus", "status": "online", "connectionID": 1, "version": "1"}
        self._take([json.dumps(greeting).encode()])
        if listens:
            self._talk()
        else:
            self.protocol.frames_to_send()
            self.odometer.limit(TIERS[tier].ceiling)

    @property
    def at_us(self) -> int:
        return START_US + round((self.exchange.now - 50.0) * 1_000_000)

    @property
    def truth(self) -> int:
        counter = self.exchange.venue.desk.files["trader"].account.rate_counter(PAIR)
        return counter.count(self.exchange.venue.at_us(self.exchange.now))

    @property
    def foretold(self) -> int:
        return self.odometer.count(PAIR, self.at_us)

    def wait(self, seconds: float) -> None:
        self.exchange.wait(seconds)
        self._talk()

    def ask(self, line: str) -> Any:
        request = command(line)
        req_id = self.protocol.request(request, self.exchange.now)
        self.odometer.sending(request, req_id, self.at_us)
        self._talk()
        return next(answer for answer in self.answers if answer.req_id == req_id)

    def _talk(self) -> None:
        for frame in self.protocol.frames_to_send():
            self.client.protocol.receive(frame, self.exchange.now)
        self._take(self.client.protocol.frames_to_send())

    def _take(self, frames: list[bytes]) -> None:
        events = self.protocol.receive(frames, self.at_us * 1000, self.exchange.now)
        self.answers += [event for event in self.odometer.heed(events) if hasattr(event, "req_id")]

    def act(self, action: str, choice: int) -> None:
        order = self.open[choice % len(self.open)] if self.open else "OAAAAA-AAAAA-AAAAAA"
        add = f"addOrder pair={PAIR} type=buy ordertype=limit volume=0.01 price={1000 + choice}"
        if action in {"add", "validate", "burst"}:
            for _ in range(20 if action == "burst" else 1):
                answer = self.ask(add + (" validate=true" if action == "validate" else ""))
                if new := _order_id(answer):
                    self.open.append(new)
        elif action == "add refused":
            self.ask(f"addOrder pair={PAIR} type=buy ordertype=limit volume=0.00000001 price=1000")
        elif action == "unknown":
            self.ask("cancelOrder txid=OAAAAA-AAAAA-AAAAAA")
            self.ask(f"editOrder orderid=OAAAAA-AAAAA-AAAAAA pair={PAIR} price=1 volume=1")
            self.ask("amendOrder txid=OAAAAA-AAAAA-AAAAAA limit_price=1")
        elif action.startswith("amend"):
            price = "999999999" if action == "amend refused" else f"{900 + choice}"
            self.ask(f"amendOrder txid={order} limit_price={price}")
        elif action.startswith("edit"):
            price = "999999999" if action == "edit refused" else f"{800 + choice}"
            answer = self.ask(f"editOrder orderid={order} pair={PAIR} price={price} volume=0.02")
            if new := _order_id(answer):
                self.open = [new if name == order else name for name in self.open]
        elif action == "cancel all":
            self.ask("cancelAll")
            self.open = []
        elif not hasattr(self.ask(f"cancelOrder txid={order}"), "error") and order in self.open:
            self.open.remove(order)


def _order_id(answer: Any) -> str:
    return str(getattr(answer, "result", {}).get("order_id", ""))


@pytest.mark.parametrize("listens", [True, False])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(tier=st.sampled_from(sorted(TIERS)), steps=STEPS)
def test_what_is_foretold_is_what_the_exchange_counts(
    listens: bool, tier: str, steps: list[tuple[str, int, float]]
) -> None:
    account = Account(tier, listens=listens)
    for action, choice, wait_s in steps:
        account.act(action, choice)
        assert account.foretold == account.truth
        account.wait(wait_s)
        assert account.foretold == account.truth
    refused = [a for a in account.answers if getattr(a, "error", "") == "EOrder:Rate limit exceeded"]
    assert len(refused) == len(account.warned), "said before, each time and no other"


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, orders=st.integers(1, 5))
def test_what_others_do_is_known_as_soon_as_it_is_told(
    steps: list[tuple[str, int, float]], orders: int
) -> None:
    """To a point: what is told is rounded up to whole ones."""
    account = Account("pro", listens=True)
    for action, choice, wait_s in steps:
        for _ in range(orders):
            account.other.add(pair=PAIR, type="buy", ordertype="limit", price="500", volume="0.01")
        account.wait(0.0)
        assert abs(account.truth - account.foretold) <= 1
        account.act(action, choice)
        account.wait(wait_s)
        assert abs(account.truth - account.foretold) <= 1
