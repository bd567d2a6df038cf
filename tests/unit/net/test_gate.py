"""What the policy is told: of the journal, of orders that wait, of an exchange that is asked once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import pytest

from krakenws.core import v1_entries
from krakenws.core.catalog import Bound, bind
from krakenws.core.exposure import Exposure, Quote
from krakenws.core.policy import Verdict, read_policy
from krakenws.errors import PolicyRefused
from krakenws.net.gate import Gate
from krakenws.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any

    from krakenws.net.loop import EventSink, Run


class Journal:
    """What was sent before."""

    def __init__(self, sent: Sequence[Exposure] = (), verdicts: Sequence[Verdict] = ()) -> None:
        self.sent = sent
        self.verdicts = verdicts
        self.since_ns = 0
        self.opened = 0

    def opened_since(self, since_ns: int) -> int:
        self.since_ns = since_ns
        return self.opened

    def sent_since(self, since_ns: int) -> Sequence[Exposure]:
        self.since_ns = since_ns
        return self.sent

    def last_verdicts(self, count: int) -> Sequence[Verdict]:
        return self.verdicts[:count]


def order(volume: str, pair: str = "XBT/USD") -> Bound:
    words = [f"pair={pair}", "type=buy", "ordertype=limit", "price=64000", f"volume={volume}"]
    return bind(v1_entries.ADD_ORDER, words)


def never(_options: Options, _sink: EventSink, _for_s: float) -> Run:
    raise AssertionError("nobody was to be asked")


def gate(limits: dict[str, object], journal: Journal | None = None) -> Gate:
    return Gate(
        Options(check=False),
        policy=read_policy(limits, "config.toml"),
        history=journal,
        make_run=never,
        stop=None,
        note=pytest.fail,
    )


def test_the_day_is_what_the_journal_has_since_midnight_and_what_waits_to_be_sent() -> None:
    journal = Journal([Exposure("XBT/USD", "0.5", "32000")])
    law = gate({"max_volume_per_day": "1"}, journal)
    assert law.check(order("0.5")) == Exposure("XBT/USD", "0.5", "32000")
    assert journal.since_ns % 86_400_000_000_000 == 0
    assert 0 <= time.time_ns() - journal.since_ns < 86_400_000_000_000
    law.check(order("0.2"), [order("0.3")])
    law.check(order("0.2"), [order("0.3"), order("9", "ETH/USD"), bind(v1_entries.CANCEL_ALL, [])])
    with pytest.raises(PolicyRefused, match=r"1.1 XBT today is more than 1 XBT"):
        law.check(order("0.2"), [order("0.4")])


def test_what_is_only_checked_takes_nothing_of_the_day() -> None:
    checked = bind(v1_entries.ADD_ORDER, [*order("9").entry.examples[0].split()[1:], "validate=true"])
    gate({"max_volume_per_day": "1"}, Journal()).check(order("1"), [checked])


def test_what_others_sent_since_the_check_counts_when_it_is_to_leave() -> None:
    journal = Journal()
    law = gate({"max_volume_per_day": "1"}, journal)
    first, second = ((one, law.check(one)) for one in (order("0.5"), order("0.4")))
    assert first[1] is not None
    assert second[1] is not None
    law.confirm([first, second], journal)  # type: ignore[list-item]  # they have one, as the lines above say
    with pytest.raises(PolicyRefused, match=r"1.3 XBT today is more than 1 XBT"):
        law.confirm([first, second, second], journal)  # type: ignore[list-item]
    journal.sent = [Exposure("XBT/USD", "0.6", "38400")]
    with pytest.raises(PolicyRefused, match=r"1.1 XBT today is more than 1 XBT"):
        law.confirm([first], journal)  # type: ignore[list-item]


def test_a_streak_is_what_the_journal_has() -> None:
    no = Verdict("rejected", time.time_ns())
    limits: dict[str, object] = {"max_rejections_in_a_row": 2}
    gate(limits, Journal(verdicts=[no])).check(order("1"))
    with pytest.raises(PolicyRefused, match="the last 2 orders were rejected"):
        gate(limits, Journal(verdicts=[no, no])).check(order("1"))


def test_without_a_journal_what_it_would_tell_forbids() -> None:
    gate({"max_volume_per_order": "1"}).check(order("1"))
    with pytest.raises(PolicyRefused, match="journal"):
        gate({"max_volume_per_day": "1"}).check(order("1"))


def test_what_only_takes_away_is_never_judged() -> None:
    law = gate({"pairs": [], "kill_file": "/", "max_open_orders": 0})
    for entry in (v1_entries.CANCEL_ALL, v1_entries.CANCEL_ORDER, v1_entries.CANCEL_ALL_ORDERS_AFTER):
        assert law.check(bind(entry, entry.examples[0].split()[1:])) is None


class Costs:
    """Checks that only note which price orders are held to."""

    def __init__(self) -> None:
        self.held_to: list[str] = []

    def check(self, bound: Bound) -> None:
        """Let everything pass."""

    def check_cost(self, _bound: Bound, best: str) -> None:
        self.held_to.append(best)


def test_a_market_order_is_held_to_the_least_cost_when_its_book_is_followed_anyway() -> None:
    books = {"XBT/USD": Quote((("70001.0", "1"),), (("70000.0", "1"),))}
    law = Gate(
        Options(check=False),
        policy=None,
        history=None,
        make_run=never,
        stop=None,
        note=pytest.fail,
        at_hand=books.get,
    )
    law._checks = costs = Costs()  # type: ignore[assignment]
    market = "pair={} type={} ordertype=market volume=0.1"
    for pair, side in (("XBT/USD", "buy"), ("XBT/USD", "sell"), ("ETH/USD", "buy")):
        law.check(bind(v1_entries.ADD_ORDER, market.format(pair, side).split()))
    law.check(order("0.1"))
    assert costs.held_to == ["70001.0", "70000.0"]


def test_what_was_learned_is_old_by_its_own_time_whatever_was_asked_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, asked = [100.0], []
    book = Quote((("64001.0", "1"),), (("64000.0", "1"),))

    def learn(key: Hashable, _work: Callable[[], Any]) -> tuple[int, dict[str, Quote], int | None]:
        _, pairs, counts = cast("tuple[str, frozenset[str], bool]", key)
        asked.append((sorted(pairs), counts))
        return time.time_ns(), dict.fromkeys(pairs, book), 0 if counts else None

    monkeypatch.setattr("krakenws.net.gate.monotonic", lambda: now[0])
    limits: dict[str, object] = {"max_open_orders": 5, "price_collar_percent": 50}
    law = Gate(
        Options(check=False),
        policy=read_policy(limits, "config.toml"),
        history=Journal(),
        make_run=never,
        stop=None,
        note=pytest.fail,
        learn=learn,
    )
    edit = ["orderid=OGTT3Y-C6I3P-XRI6HX", "pair=ETH/USD", "price=64000", "volume=1"]
    law.check(order("1"))
    now[0] += 1.5
    law.check(bind(v1_entries.EDIT_ORDER, edit))
    law.check(order("1"))
    now[0] += 1.5
    law.check(order("1"))
    assert asked == [(["XBT/USD"], True), (["ETH/USD"], False), (["XBT/USD"], True)]
