"""The user's own limits: what they allow, what they forbid, and that what is not known forbids."""

from __future__ import annotations

from decimal import Decimal

import pytest

from krakenws.core import v1_entries
from krakenws.core.catalog import Bound, bind
from krakenws.core.exposure import Exposure, Quote
from krakenws.core.policy import (
    STREAK_S,
    Facts,
    Verdict,
    judge,
    needs_journal,
    needs_open_orders,
    needs_quote,
    read_policy,
    without_looking,
)
from krakenws.errors import PolicyRefused, UsageError

NOW_NS = 1_795_341_600_000_000_000
QUOTE = Quote((("70000.0", "0.5"), ("70100.0", "1.0")), (("69990.0", "0.5"), ("69900.0", "2.0")))
ENTRIES = {"add": v1_entries.ADD_ORDER, "edit": v1_entries.EDIT_ORDER, "amend": v1_entries.AMEND_ORDER}
BUY = "add pair=XBT/USD type=buy ordertype=limit price=70000 volume=0.1"
SELL = "add pair=XBT/USD type=sell ordertype=limit price=70000 volume=0.1"


def order(line: str) -> Bound:
    """Bind a line; of a parameter given twice, the last one counts."""
    name, *words = line.split()
    return bind(ENTRIES[name], list({word.partition("=")[0]: word for word in words}.values()))


def verdict(limits: dict[str, object], line: str, **facts: object) -> str:
    """Return the rule that forbids, with its reason, or ""."""
    known = {"quote": QUOTE, "open_orders": 0, "sent_today": [], "verdicts": [], **facts}
    try:
        judge(read_policy(limits, "config.toml"), order(line), Facts(NOW_NS, **known))  # type: ignore[arg-type]
    except PolicyRefused as refused:
        said = str(refused)
        head, tail = "Order: your policy forbids it: ", "; [policy] in config.toml sets the limits"
        assert head in said
        assert said.endswith(tail)
        return said.partition(head)[2].removesuffix(tail)
    return ""


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ({}, BUY),
        ({"pairs": ["XBT/USD"]}, BUY),
        ({"pairs": ["btc/usd"]}, BUY),
        ({"pairs": ["*/USD"]}, BUY),
        ({"pairs": ["BTC/*"]}, BUY),
        ({"max_volume_per_order": "0.1"}, BUY),
        ({"max_volume_per_order": 1}, BUY),
        ({"max_volume_per_order": {"BTC": "0.1", "ETH": 2}}, BUY),
        ({"max_volume_per_order": "0.01"}, "edit orderid=O pair=XBT/USD price=70000"),
        ({"max_notional_per_order": "7000"}, BUY),
        ({"max_notional_per_order": {"USD": "7000"}}, BUY),
        (
            {"max_notional_per_order": "35000"},
            "add pair=XBT/USD type=buy ordertype=market volume=0.5",
        ),
        (
            {"max_notional_per_order": "100"},
            "add pair=XBT/USD type=buy ordertype=market volume=100 oflags=viqc",
        ),
        ({"price_collar_percent": 1}, f"{BUY} price=70700"),
        ({"price_collar_percent": 1}, f"{BUY} price=1"),
        ({"price_collar_percent": 1}, f"{SELL} price=69290.1"),
        ({"price_collar_percent": 1}, f"{SELL} price=700000"),
        ({"price_collar_percent": 1}, f"{BUY} price=+700"),
        ({"price_collar_percent": 1}, f"{BUY} price=-1%"),
        ({"price_collar_percent": 1}, "add pair=XBT/USD type=buy ordertype=market volume=1.5"),
        ({"price_collar_percent": 1}, "add pair=XBT/USD type=sell ordertype=stop-loss price=10 volume=9"),
        (
            {"price_collar_percent": 1},
            "add pair=XBT/USD type=sell ordertype=stop-loss-limit price=60000 price2=59400 volume=1",
        ),
        ({"price_collar_percent": 1}, "amend txid=O pair=XBT/USD trigger_price=10"),
        ({"price_collar_percent": 1}, "edit orderid=O pair=XBT/USD price=70000 volume=1"),
        ({"max_open_orders": 1}, BUY),
        ({"max_rejections_in_a_row": 2}, BUY),
        ({"kill_file": "~/stop"}, BUY),
    ],
)
def test_what_is_within_the_limits_is_allowed(limits: dict[str, object], line: str) -> None:
    assert verdict(limits, line) == ""


@pytest.mark.parametrize(
    ("limits", "line", "said"),
    [
        ({"pairs": ["ETH/USD", "XBT/EUR"]}, BUY, "pairs: XBT/USD is not among ETH/USD, XBT/EUR"),
        ({"pairs": []}, BUY, "pairs: XBT/USD is not among them: none is"),
        ({"pairs": ["XBT/USD"]}, "amend txid=O limit_price=5", "pairs: the command names no pair; say pair="),
        (
            {"max_volume_per_order": "0.05"},
            BUY,
            "max_volume_per_order: 0.1 XBT is more than 0.05 XBT",
        ),
        (
            {"max_volume_per_order": "0.05"},
            "edit orderid=O pair=XBT/USD volume=0.1",
            "max_volume_per_order: 0.1 XBT is more than 0.05 XBT",
        ),
        (
            {"max_volume_per_day": "0.05"},
            "amend txid=O pair=XBT/USD volume=0.1",
            "max_volume_per_day: 0.1 XBT today is more than 0.05 XBT",
        ),
        (
            {"max_volume_per_order": {"ETH": "5"}},
            BUY,
            "max_volume_per_order: it has no limit for XBT; add one",
        ),
        (
            {"max_volume_per_order": "5"},
            "add pair=XBT/USD type=sell ordertype=settle-position volume=0 leverage=2",
            "max_volume_per_order: the volume is not known: volume=0 does not say how much",
        ),
        (
            {"max_volume_per_order": "0.001"},
            "add pair=XBT/USD type=buy ordertype=market volume=70.007 oflags=viqc",
            "max_volume_per_order: 0.0010001 XBT is more than 0.001 XBT",
        ),
        (
            {"max_notional_per_order": "6999.9"},
            BUY,
            "max_notional_per_order: 7000 USD is more than 6999.9 USD",
        ),
        (
            {"max_notional_per_order": "70000"},
            "add pair=XBT/USD type=buy ordertype=market volume=1",
            "max_notional_per_order: 70050 USD is more than 70000 USD",
        ),
        (
            {"max_notional_per_order": "70000"},
            f"{BUY} price=-1% volume=1",
            "max_notional_per_order: 70700 USD is more than 70000 USD",
        ),
        (
            {"max_notional_per_order": "500"},
            "edit orderid=O pair=XBT/USD price=7000",
            "max_notional_per_order: the notional is not known: say volume=",
        ),
        (
            {"max_notional_per_order": "500"},
            "amend txid=O pair=XBT/USD volume=7000",
            "max_notional_per_order: the notional is not known: say the price, too",
        ),
        (
            {"price_collar_percent": "1"},
            f"{BUY} price=70700.1",
            "price_collar_percent: price=70700.1 is more than 1 % above 70000",
        ),
        (
            {"price_collar_percent": "1"},
            f"{SELL} price=69290.0",
            "price_collar_percent: price=69290.0 is more than 1 % below 69990",
        ),
        (
            {"price_collar_percent": "1"},
            f"{BUY} price=+700.1",
            "price_collar_percent: price=+700.1 is more than 1 % away",
        ),
        (
            {"price_collar_percent": "1"},
            f"{BUY} price=-1.1%",
            "price_collar_percent: price=-1.1% is more than 1 % away",
        ),
        (
            {"price_collar_percent": "0.1"},
            "add pair=XBT/USD type=buy ordertype=market volume=1",
            "price_collar_percent: at market it would pay up to 70100, more than 0.1 % above 70000",
        ),
        (
            {"price_collar_percent": "1"},
            "add pair=XBT/USD type=buy ordertype=market volume=1.6",
            "price_collar_percent: the best levels of XBT/USD do not hold the volume; use ordertype=limit",
        ),
        (
            {"price_collar_percent": "1"},
            "add pair=XBT/USD type=sell ordertype=stop-loss-limit price=60000 price2=59399 volume=1",
            "price_collar_percent: price2=59399 is more than 1 % below 60000",
        ),
        (
            {"price_collar_percent": "1"},
            f"{BUY} close[ordertype]=limit close[price]=7000",
            "price_collar_percent: close[price]=7000 is more than 1 % below 69990",
        ),
        (
            {"price_collar_percent": "1"},
            "edit orderid=O pair=XBT/USD price=7000",
            "price_collar_percent: price=7000 is more than 1 % below 69990",
        ),
        (
            {"price_collar_percent": "1"},
            "amend txid=O pair=XBT/USD limit_price=700000",
            "price_collar_percent: limit_price=700000 is more than 1 % above 70000",
        ),
    ],
)
def test_what_is_beyond_a_limit_is_forbidden_by_its_name(
    limits: dict[str, object], line: str, said: str
) -> None:
    assert verdict(limits, line) == said


@pytest.mark.parametrize(
    ("limits", "line", "missing", "rule"),
    [
        ({"price_collar_percent": 1}, BUY, "quote", "price_collar_percent: there was no verified book"),
        (
            {"max_notional_per_order": 1},
            "add pair=XBT/USD type=buy ordertype=market volume=1",
            "quote",
            "max_notional_per_order: the notional is not known: the verified book of XBT/USD",
        ),
        (
            {"max_volume_per_day": 1},
            "add pair=XBT/USD type=buy ordertype=market volume=1 oflags=viqc",
            "quote",
            "max_volume_per_day: the volume is not known: the verified book of XBT/USD",
        ),
        ({"max_open_orders": 9}, BUY, "open_orders", "max_open_orders: how many are open"),
        ({"max_volume_per_day": 9}, BUY, "sent_today", "max_volume_per_day: the journal"),
        ({"max_notional_per_day": 9}, BUY, "sent_today", "max_notional_per_day: the journal"),
        ({"max_rejections_in_a_row": 9}, BUY, "verdicts", "max_rejections_in_a_row: the journal"),
    ],
)
def test_what_is_not_known_forbids(limits: dict[str, object], line: str, missing: str, rule: str) -> None:
    assert verdict(limits, line, **{missing: None}).startswith(rule)


def test_a_day_counts_by_currency_over_all_pairs_and_forgets_nothing() -> None:
    sent = [
        Exposure("XBT/USD", "0.3", "21000"),
        Exposure("XBT/EUR", "0.1", "6000"),
        Exposure("ETH/USD", "1", "2000"),
        Exposure("XBT/USD", "", "100"),
    ]
    assert verdict({"max_volume_per_day": "0.5"}, BUY, sent_today=sent) == ""
    assert (
        verdict({"max_volume_per_day": "0.49"}, BUY, sent_today=sent)
        == "max_volume_per_day: 0.5 XBT today is more than 0.49 XBT"
    )
    assert verdict({"max_notional_per_day": "30100"}, BUY, sent_today=sent) == ""
    assert (
        verdict({"max_notional_per_day": {"USD": "30099"}}, BUY, sent_today=sent)
        == "max_notional_per_day: 30100 USD today is more than 30099 USD"
    )
    unknown = [Exposure("XBT/USD", "0.3")]
    assert "the notional is not known" in verdict({"max_notional_per_day": "99999"}, BUY, sent_today=unknown)


def test_a_streak_of_rejections_forbids_for_a_while() -> None:
    limits: dict[str, object] = {"max_rejections_in_a_row": 2}
    no, yes = Verdict("rejected", NOW_NS - 9_000_000_000), Verdict("accepted", NOW_NS)
    assert (
        verdict(limits, BUY, verdicts=[no, no, yes])
        == "max_rejections_in_a_row: the last 2 orders were rejected; orders are allowed again in 591 s"
    )
    for allowed in ([no], [no, yes, no], [yes, no, no], [Verdict("unknown", NOW_NS), no]):
        assert verdict(limits, BUY, verdicts=allowed) == ""
    old = Verdict("rejected", NOW_NS - STREAK_S * 1_000_000_000)
    assert verdict(limits, BUY, verdicts=[old, old]) == ""


def test_open_orders_are_counted_for_new_ones_only() -> None:
    limits: dict[str, object] = {"max_open_orders": 2}
    assert verdict(limits, BUY, open_orders=2) == "max_open_orders: 2 are open, and 2 may be"
    assert verdict(limits, "edit orderid=O pair=XBT/USD price=5", open_orders=9) == ""


def test_the_kill_file_comes_first() -> None:
    assert verdict({"pairs": []}, BUY, kill="~/stop is there") == "kill_file: ~/stop is there"


def test_what_an_order_may_come_to_is_what_is_recorded_of_it() -> None:
    policy = read_policy({}, "")
    for line, exposure in (
        (BUY, Exposure("XBT/USD", "0.1", "7000")),
        ("add pair=XBT/USD type=buy ordertype=market volume=0.6", Exposure("XBT/USD", "0.6", "42010")),
        ("add pair=XBT/USD type=sell ordertype=market volume=0.6", Exposure("XBT/USD", "0.6", "41985")),
        ("add pair=XBT/USD type=buy ordertype=market volume=9", Exposure("XBT/USD", "9", "")),
        ("edit orderid=O pair=XBT/USD price=5", Exposure("XBT/USD", "", "")),
        ("amend txid=O volume=2", Exposure("", "2", "")),
    ):
        assert judge(policy, order(line), Facts(NOW_NS, QUOTE)) == exposure


def test_the_exchange_is_asked_only_for_what_a_limit_needs() -> None:
    policy = read_policy({"price_collar_percent": 1, "max_notional_per_order": 1, "max_open_orders": 1}, "")
    stop = order("add pair=XBT/USD type=sell ordertype=stop-loss price=10 volume=9")
    assert needs_quote(policy, order(BUY))
    assert not needs_quote(policy, stop)
    assert needs_open_orders(policy, stop)
    assert not needs_open_orders(policy, order("edit orderid=O pair=XBT/USD price=5"))
    assert not needs_journal(policy)
    assert needs_journal(read_policy({"max_volume_per_day": 1}, ""))
    bare, names = without_looking(policy, order(BUY))
    assert names == ["price_collar_percent", "max_open_orders"]
    assert bare == read_policy({"max_notional_per_order": 1}, "")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"pair": ["XBT/USD"]}, "has no limit 'pair'; did you mean pairs?"),
        ({"pairs": "XBT/USD"}, 'pairs is not a list of pairs, such as ["XBT/USD", "*/EUR"]'),
        ({"pairs": ["XBTUSD"]}, "pairs is not a list of pairs"),
        ({"max_volume_per_order": "1e3"}, "max_volume_per_order = 1e3 is not a number such as 0.5 or 5000"),
        ({"max_volume_per_order": True}, "max_volume_per_order = True is not a number"),
        ({"max_volume_per_order": "inf"}, "= inf is not a number"),
        ({"max_volume_per_order": -1}, "= -1 is not a number"),
        ({"max_notional_per_day": {"USD": "x"}}, "max_notional_per_day = x is not a number"),
        ({"price_collar_percent": []}, "price_collar_percent = [] is not a number"),
        ({"max_open_orders": "9"}, "max_open_orders = 9 is not a whole number"),
        ({"max_open_orders": True}, "max_open_orders = True is not a whole number"),
        ({"max_rejections_in_a_row": 0}, "max_rejections_in_a_row = 0 would forbid everything"),
        ({"kill_file": "stop"}, "kill_file is not a path from / or ~/ on"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(table: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_policy(table, "config.toml")
    assert str(refused.value).startswith("config.toml: [policy] ")
    assert sentence in str(refused.value)


def test_numbers_stay_exact() -> None:
    policy = read_policy({"max_notional_per_order": "1"}, "")
    assert policy.max_notional_per_order is not None
    assert policy.max_notional_per_order.of("USD") == Decimal(1)
    tiny = f"{BUY} price=1.00000000000000000000000000001 volume=1.0000000000000001"
    assert verdict({"max_notional_per_order": "1.0000000000000001"}, tiny).startswith(
        "max_notional_per_order"
    )
