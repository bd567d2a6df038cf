"""What the exchange's account of orders proves about a request whose answer is lost, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core.inquiry import (
    AGED_NS,
    Evidence,
    Question,
    judge,
    mark_of,
    more_questions,
    named,
    questions,
)
from krakenws.core.intents import ACCEPTED, REJECTED, SETTLED, Intent
from krakenws.record import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AT_NS = 1_790_000_000_000_000_000
ORDER = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": "9000.0", "volume": "0.010"}
ID, OTHER = "OAAAAA-AAAAA-AAAAAA", "OBBBBB-BBBBB-BBBBBB"
OPEN_ORDERS, CLOSED_ORDERS = "/0/private/OpenOrders", "/0/private/ClosedOrders"
QUERY_ORDERS, TRADES_HISTORY = "/0/private/QueryOrders", "/0/private/TradesHistory"


def intent(method: str = "addOrder", own: dict[str, Any] | None = None, /, **asked: Any) -> Intent:
    return Intent("i", 1, False, method, asked, {**asked, **(own or {})}, 1, "wss://x", "", 1, AT_NS)


def added(**own: str) -> Intent:
    return intent("addOrder", own or {"userref": "17"}, **ORDER)


def seconds(after_s: float = 0.0) -> str:
    at_us = AT_NS // 1000 + round(after_s * 1_000_000)
    return f"{at_us // 1_000_000}.{at_us % 1_000_000:06d}"


def order(status: str = "open", after_s: float = 0.5, **fields: Any) -> dict[str, Any]:
    descr = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": "9000.00000", "order": "words"}
    return {
        "status": status,
        "opentm": seconds(after_s),
        "vol": "0.01000000",
        "userref": 17,
        "descr": descr,
        "refid": None,
        **fields,
    }


def streamed(*updates: dict[str, Any], snapshot: dict[str, Any] | None = None) -> Evidence:
    evidence = Evidence()
    evidence.stream("openOrders", [{name: f} for name, f in (snapshot or {}).items()], snapshot=True)
    for update in updates:
        evidence.stream("openOrders", [update], snapshot=False)
    return evidence


class Others:
    """Intents beside the one that is looked for: the orders that are theirs, and those still looked for."""

    def __init__(self, *claimed: str, pending: Sequence[Intent] = ()) -> None:
        self._claimed = set(claimed)
        self._pending = pending

    def claimed(self, order_ids: Iterable[str]) -> set[str]:
        return self._claimed & set(order_ids)

    def pending(self) -> Sequence[Intent]:
        return self._pending


NOBODY = Others()


def verdict(one: Intent, evidence: Evidence, after_ns: int = 10**9, others: Others = NOBODY) -> Intent | None:
    return judge(one, evidence, AT_NS + after_ns, others)


# ---- placing


def test_an_order_with_our_number_is_ours_wherever_it_is_seen() -> None:
    found = verdict(added(), streamed(snapshot={ID: order()}))
    assert found is not None
    assert (found.state, found.found) == (ACCEPTED, "openOrders")
    assert found.result == {"order_id": ID, "descr": "words", "status": "open"}

    evidence = Evidence()
    evidence.answered(Question(CLOSED_ORDERS), {"closed": {ID: order("closed")}}, AT_NS)
    found = verdict(added(), evidence)
    assert found is not None
    assert (found.state, found.found, found.result["status"]) == (ACCEPTED, "REST ClosedOrders", "closed")


def test_an_order_that_filled_at_once_is_known_by_its_fill() -> None:
    evidence = streamed()
    fill = {"ordertxid": ID, "userref": 17, "pair": "XBT/USD", "type": "buy", "time": seconds(0.2)}
    evidence.stream("ownTrades", [{"T1": fill}], snapshot=False)
    found = verdict(added(), evidence)
    assert found is not None
    assert (found.state, found.found, found.result["order_id"]) == (ACCEPTED, "ownTrades", ID)


def test_a_fill_of_the_snapshot_bears_no_number_and_is_asked_about() -> None:
    evidence = streamed()
    fills = [
        {"T1": {"ordertxid": ID, "time": seconds(0.2)}},
        {"T0": {"ordertxid": OTHER, "time": seconds(-60)}},
    ]
    evidence.stream("ownTrades", fills, snapshot=True)
    assert verdict(added(), evidence) is None
    asked = more_questions([added()], evidence, thorough=False)
    assert asked == [Question(QUERY_ORDERS, (("txid", ID),))]
    evidence.answered(asked[0], {ID: order("closed")}, AT_NS)
    found = verdict(added(), evidence)
    assert found is not None
    assert found.found == "REST QueryOrders"
    assert more_questions([added()], evidence, thorough=False) == []


def test_trades_are_asked_for_when_it_is_to_be_thorough() -> None:
    (asked,) = more_questions([added()], Evidence(), thorough=True)
    assert asked.path == TRADES_HISTORY
    evidence = Evidence()
    evidence.answered(asked, {"trades": {"T1": {"ordertxid": ID, "time": seconds(1)}}}, AT_NS)
    assert evidence.unexplained(AT_NS) == [ID]
    assert more_questions([intent("cancelAll")], evidence, thorough=True) == []


@pytest.mark.parametrize(
    "other",
    [
        order(userref=18),
        order(userref=0),
        order(userref=None),
        order(refid=OTHER),
    ],
)
def test_other_orders_and_conditional_closes_are_not_ours(other: dict[str, Any]) -> None:
    assert verdict(added(), streamed(snapshot={ID: other})) is None


def users_own() -> Intent:
    return intent("addOrder", **ORDER, userref="17")


def test_a_number_of_the_users_counts_when_everything_fits() -> None:
    found = verdict(users_own(), streamed(snapshot={ID: order(), OTHER: order(after_s=-60)}))
    assert found is not None
    assert found.result["order_id"] == ID


@pytest.mark.parametrize(
    "other",
    [
        order(after_s=-2),
        order(vol="0.02000000"),
        order(descr={"pair": "ETH/USD", "type": "buy", "ordertype": "limit"}),
        order(descr={"pair": "XBT/USD", "type": "sell", "ordertype": "limit"}),
        order(descr={"pair": "XBT/USD", "type": "buy", "ordertype": "market"}),
        {"userref": 17},
    ],
)
def test_a_number_of_the_users_does_not_suffice(other: dict[str, Any]) -> None:
    assert verdict(users_own(), streamed(snapshot={ID: other})) is None


def test_two_orders_that_fit_or_one_that_is_another_intents_prove_nothing() -> None:
    both = streamed(snapshot={ID: order(), OTHER: order()})
    assert verdict(users_own(), both) is None
    found = verdict(users_own(), both, others=Others(OTHER))
    assert found is not None
    assert found.result["order_id"] == ID
    assert verdict(users_own(), streamed(snapshot={ID: order()}), others=Others(ID)) is None


def test_an_order_that_could_be_another_open_intents_proves_nothing() -> None:
    one, evidence = users_own(), streamed(snapshot={ID: order()})
    alike = replace(one, id="j", created_ns=AT_NS + 100_000_000)
    assert verdict(one, evidence, others=Others(pending=[one, alike])) is None
    later = replace(alike, created_ns=AT_NS + 60 * 10**9)
    larger = replace(alike, sent={**alike.sent, "volume": "0.2"})
    for other in (later, larger):
        found = verdict(one, evidence, others=Others(pending=[one, other]))
        assert found is not None
        assert found.state == ACCEPTED


def looked(one: Intent, asked_ns: int, evidence: Evidence | None = None) -> Evidence:
    evidence = evidence or Evidence()
    for question in questions(one):
        evidence.answered(question, {"open": {}, "closed": {}}, asked_ns)
    return evidence


def test_not_found_is_unknown_until_nothing_can_be_on_its_way_any_more() -> None:
    one = added()
    assert verdict(one, looked(one, AT_NS + 10**9), 10**9) is None
    assert verdict(one, looked(one, AT_NS + 10**9), AGED_NS + 1) is None, "the look itself must be late"
    assert verdict(one, streamed(), AGED_NS + 1) is None, "the streams do not tell what filled at once"
    found = verdict(one, looked(one, AT_NS + AGED_NS), AGED_NS + 1)
    assert found is not None
    assert found.state == REJECTED
    assert "not placed" in found.error


def test_half_of_rest_proves_no_absence() -> None:
    one = added()
    evidence = Evidence()
    evidence.answered(questions(one)[0], {"open": {}}, AT_NS + AGED_NS)
    assert verdict(one, evidence, AGED_NS + 1) is None


def test_an_order_of_the_users_number_is_not_called_absent_while_one_like_it_is_there() -> None:
    one = users_own()
    evidence = looked(one, AT_NS + AGED_NS, streamed(snapshot={ID: order(after_s=-5)}))
    found = verdict(one, evidence, AGED_NS + 1)
    assert found is not None
    assert found.state == SETTLED
    assert "userref 17" in found.error


def test_a_lagging_place_does_not_bring_an_ended_order_back() -> None:
    evidence = streamed({ID: {"status": "canceled", "lastupdated": seconds(1)}}, snapshot={ID: order()})
    evidence.answered(Question(OPEN_ORDERS), {"open": {ID: order()}}, AT_NS)
    assert evidence.status(ID) == "canceled"
    assert evidence.open_ids == set()


# ---- editing


def test_an_edit_is_proved_by_the_new_order() -> None:
    asked = {"orderid": OTHER, "pair": "XBT/USD", "price": "9100"}
    edit = intent("editOrder", {"newuserref": "17"}, **asked)
    found = verdict(edit, streamed(snapshot={ID: order()}))
    assert found is not None
    assert found.result["order_id"] == ID
    assert found.result["original_order_id"] == OTHER
    assert [q.path for q in questions(edit)] == [OPEN_ORDERS, CLOSED_ORDERS, QUERY_ORDERS]


# ---- cancelling


def cancel(name: str = ID) -> Intent:
    return intent("cancelOrder", txid=[name])


@pytest.mark.parametrize(
    ("status", "after_s", "state"),
    [
        ("canceled", 1.0, ACCEPTED),
        ("canceled", -60.0, REJECTED),
        ("closed", 1.0, REJECTED),
        ("expired", 1.0, REJECTED),
    ],
)
def test_a_cancel_is_proved_by_what_became_of_the_order(status: str, after_s: float, state: str) -> None:
    for place in ("stream", "REST"):
        evidence = Evidence()
        if place == "stream":
            evidence.stream(
                "openOrders", [{ID: {"status": status, "lastupdated": seconds(after_s)}}], snapshot=False
            )
        else:
            fields = order(status, closetm=seconds(after_s))
            evidence.answered(Question(QUERY_ORDERS, (("txid", ID),)), {ID: fields}, AT_NS)
        found = verdict(cancel(), evidence)
        assert found is not None
        assert found.state == state


def test_a_cancel_of_an_order_that_stands_is_unknown_and_later_refused() -> None:
    evidence = streamed(snapshot={ID: order(after_s=-60)})
    assert verdict(cancel(), evidence) is None
    found = verdict(cancel(), evidence, AGED_NS)
    assert found is not None
    assert found.state == REJECTED


def test_a_cancel_of_an_order_nobody_knows_is_unknown_and_later_settled() -> None:
    assert verdict(cancel(), streamed()) is None
    found = verdict(cancel(), streamed(), AGED_NS)
    assert found is not None
    assert found.state == SETTLED


def test_a_cancel_by_userref_is_proved_when_none_of_its_orders_stands() -> None:
    gone = {"status": "canceled", "lastupdated": seconds(1), "userref": 17}
    standing = streamed({ID: gone}, snapshot={OTHER: order()})
    assert verdict(cancel("17"), standing) is None
    found = verdict(cancel("17"), streamed({ID: gone}))
    assert found is not None
    assert found.state == ACCEPTED
    assert [q.path for q in questions(cancel("17"))] == [OPEN_ORDERS, CLOSED_ORDERS]


def test_cancel_all_is_proved_by_a_fresh_list_without_orders_from_before() -> None:
    one = intent("cancelAll")
    assert verdict(one, Evidence()) is None, "there is no list"
    assert verdict(one, looked(one, AT_NS + 1)) is None, "REST may lag"
    assert verdict(one, streamed(snapshot={ID: order(after_s=-60)})) is None
    swept = {OTHER: order("canceled", after_s=-60, closetm=seconds(0.1))}
    for evidence in (streamed(), streamed(snapshot={ID: order(after_s=60)})):
        assert verdict(one, evidence) is None, "it may yet arrive"
        evidence.answered(questions(one)[1], {"closed": swept}, AT_NS)
        found = verdict(one, evidence)
        assert found is not None
        assert (found.state, found.found) == (ACCEPTED, "REST ClosedOrders")
        evidence.streams_lost()
        assert verdict(one, evidence) is None


@pytest.mark.parametrize(
    "other",
    [
        order("canceled", after_s=-60, closetm=seconds(-0.1)),
        order("canceled", after_s=0.1, closetm=seconds(0.2)),
        order("canceled", after_s=-60, closetm=seconds(0.2), reason="Post only order"),
        order("closed", after_s=-60, closetm=seconds(0.1)),
        order("canceled", opentm=None, closetm=seconds(0.1)),
    ],
)
def test_what_ended_otherwise_does_not_tell_of_cancel_all(other: dict[str, Any]) -> None:
    one, evidence = intent("cancelAll"), streamed()
    evidence.answered(questions(one)[1], {"closed": {OTHER: other}}, AT_NS)
    assert verdict(one, evidence) is None
    found = verdict(one, evidence, AGED_NS)
    assert found is not None
    assert (found.state, found.found) == (ACCEPTED, "openOrders"), "nothing of it is on its way any more"


@pytest.mark.parametrize(("after_s", "state"), [(-60, REJECTED), (0.5, SETTLED), (60, ACCEPTED)])
def test_an_old_cancel_all_is_told_by_when_orders_that_stand_were_placed(after_s: float, state: str) -> None:
    """Within a second of it they may have come right before or right after."""
    found = verdict(intent("cancelAll"), streamed(snapshot={ID: order(after_s=after_s)}), AGED_NS)
    assert found is not None
    assert found.state == state


# ---- amending


def amend(**asked: Any) -> Intent:
    return intent("amendOrder", txid=ID, **asked)


@pytest.mark.parametrize(
    ("asked", "proved"),
    [
        ({"limit_price": "9000"}, True),
        ({"limit_price": "9000.0", "volume": "0.01"}, True),
        ({"limit_price": "9000.0", "volume": "0.02"}, False),
        ({"limit_price": "9100"}, False),
        ({"limit_price": "+1%"}, False),
        ({"post_only": True}, False),
        ({"trigger_price": "9000"}, False),
    ],
)
def test_an_amendment_is_proved_by_the_order_standing_as_asked(asked: dict[str, Any], proved: bool) -> None:
    found = verdict(amend(**asked), streamed(snapshot={ID: order(after_s=-60)}))
    assert (found is not None) is proved


def test_an_amended_trigger_is_compared_where_v1_has_it() -> None:
    descr = {"ordertype": "stop-loss-limit", "price": "8000.00000", "price2": "7900.00000"}
    evidence = streamed(snapshot={ID: order(descr=descr)})
    assert verdict(amend(trigger_price="8000", limit_price="7900.0"), evidence) is not None
    assert verdict(amend(limit_price="8000"), evidence) is None


@pytest.mark.parametrize("price", ["9100", "+1%"])
def test_an_amendment_that_does_not_show_is_settled_when_it_is_old(price: str) -> None:
    """It may have happened, and another one after it."""
    found = verdict(amend(limit_price=price), streamed(snapshot={ID: order(after_s=-60)}), AGED_NS)
    assert found is not None
    assert found.state == SETTLED


def test_an_amendment_of_an_order_nobody_knows_is_unknown_and_later_settled() -> None:
    one = intent("amendOrder", cl_ord_id="mine", volume="1")
    assert verdict(one, streamed()) is None
    found = verdict(one, streamed(), AGED_NS)
    assert found is not None
    assert (found.state, found.error.partition(" is")[0]) == (SETTLED, "mine")


# ---- the dead man's switch


@pytest.mark.parametrize(("timeout", "said"), [(60, "set to 60 s"), (0, "switched off")])
def test_the_switch_is_settled_when_nothing_of_it_is_on_its_way_any_more(timeout: int, said: str) -> None:
    one = intent("cancelAllOrdersAfter", timeout=timeout)
    assert verdict(one, streamed(), AGED_NS - 1) is None
    found = verdict(one, streamed(), AGED_NS)
    assert found is not None
    assert found.state == SETTLED
    assert found.error.endswith(said)


# ---- words, and what is not what it should be


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (added(), "addOrder (userref 17)"),
        (added(cl_ord_id="kw1"), "addOrder (cl_ord_id kw1)"),
        (intent("addOrder", **ORDER, userref="0"), "addOrder"),
        (cancel(), f"cancelOrder ({ID})"),
        (intent("cancelAll"), "cancelAll"),
    ],
)
def test_an_intent_is_named_for_people(one: Intent, said: str) -> None:
    assert named(one) == said


def test_a_userref_of_zero_is_none() -> None:
    assert mark_of(intent("addOrder", **ORDER, userref="0")) is None
    one, evidence = intent("addOrder", **ORDER, userref="0"), streamed(snapshot={ID: order(userref=0)})
    assert verdict(one, evidence) is None
    found = verdict(one, evidence, AGED_NS)
    assert found is not None
    assert found.state == SETTLED


@pytest.mark.parametrize(
    "strange",
    [[], [1], [{ID: None}], [{ID: {"opentm": "later", "userref": 17}}], [{ID: {"status": 5, "descr": "x"}}]],
)
def test_a_strange_payload_proves_nothing_and_breaks_nothing(strange: list[Any]) -> None:
    for channel in ("openOrders", "ownTrades"):
        evidence = Evidence()
        evidence.stream(channel, strange, snapshot=False)
        for one in (users_own(), cancel(), amend(volume="1"), intent("cancelAll")):
            assert verdict(one, evidence) is None
    evidence = Evidence()
    answer: Any
    for answer in (None, [], {"open": []}, {"open": {ID: 5}}, {"trades": {"T": {"ordertxid": 7}}}):
        evidence.answered(Question(OPEN_ORDERS), answer, AT_NS)
        evidence.answered(Question(TRADES_HISTORY), answer, AT_NS)
    assert verdict(users_own(), evidence) is None
