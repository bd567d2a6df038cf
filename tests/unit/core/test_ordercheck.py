"""Orders against the rules of their pair and the clock, before they are sent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from krakenws.core import v1_entries
from krakenws.core.catalog import Bound, bind
from krakenws.core.ordercheck import wrong_for_pair, wrong_time
from krakenws.core.pair import PairRow
from krakenws.record import replace

NOW_S = 1_795_341_600.5
"""2026-11-22T10:00:00.500Z"""
XBT = PairRow(
    "XBT/USD", "XBTUSD", "XXBTZUSD", "BTC/USD", 1, 8, "0.1", "0.00005", "0.5", "online", 10, 5
)  # fmt: skip
PAXG = replace(XBT, wsname="PAXG/USD", pair_decimals=2, tick_size="0.05")
JPY = replace(XBT, wsname="XBT/JPY", pair_decimals=0, tick_size="1", costmin="50", leverage_buy=0)
ZEROG = replace(XBT, wsname="0G/EUR", pair_decimals=3, tick_size="0.001", lot_decimals=5, ordermin="35")
BARE = PairRow("XBT/USD", "", "", "", None, None, None, None, None, None, 10, 10)
ENTRIES = {"add": v1_entries.ADD_ORDER, "edit": v1_entries.EDIT_ORDER, "amend": v1_entries.AMEND_ORDER}


def order(line: str) -> Bound:
    """Bind a line; what an order needs and the line does not say is a good limit order."""
    name, *words = line.split()
    needed = {
        "add": "pair=XBT/USD type=buy ordertype=limit volume=1",
        "edit": "orderid=OABC pair=XBT/USD",
        "amend": "txid=OABC pair=XBT/USD",
    }[name].split()
    given = {word.partition("=")[0] for word in words}
    words += [word for word in needed if word.partition("=")[0] not in given]
    if name == "add" and not any(word.startswith(("price=", "ordertype=")) for word in words[: len(given)]):
        words.append("price=70000")
    return bind(ENTRIES[name], words)


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        (XBT, "add"),
        (XBT, "add price=70000.1 volume=0.00005"),
        (XBT, "add price=70000.1000 volume=0.0000500000000"),
        (XBT, "add ordertype=market volume=0.00005"),
        (XBT, "add price=+5.123456"),
        (XBT, "add price=-1.001%"),
        (XBT, "add price=#10.77"),
        (XBT, "add price=5.55%"),
        (XBT, "add ordertype=trailing-stop price=+0.015"),
        (XBT, "add leverage=10"),
        (XBT, "add type=sell leverage=5"),
        (XBT, "add margin=true"),
        (JPY, "add type=sell margin=true"),
        (JPY, "add margin=false"),
        (PAXG, "add price=4187.35"),
        (JPY, "add price=13064500"),
        (XBT, "add volume=0.00000001 price=1 leverage=2 reduce_only=true"),
        (XBT, "add ordertype=settle-position volume=0 leverage=2"),
        (XBT, "add ordertype=market volume=0.5 oflags=viqc"),
        (XBT, "amend volume=0.00000001"),
        (XBT, "edit volume=1 price=70000.1"),
        (BARE, "add price=70000.12345 volume=0.123456789123"),
        (replace(XBT, pair_decimals=None), "add price=70000.1"),
        (replace(XBT, status=None), "add"),
        (replace(XBT, status="a_newer_one"), "add"),
        (replace(XBT, status="limit_only"), "add"),
        (replace(XBT, status="post_only"), "add oflags=post"),
        (replace(XBT, status="post_only"), "amend limit_price=70000"),
        (replace(XBT, status="reduce_only"), "add leverage=2 reduce_only=true"),
        (replace(XBT, status="reduce_only"), "add ordertype=settle-position volume=1"),
    ],
)
def test_what_the_pair_allows_passes(pair: PairRow, line: str) -> None:
    assert wrong_for_pair(order(line), pair) is None


@pytest.mark.parametrize(
    ("pair", "line", "field", "sentence"),
    [
        (
            XBT,
            "add price=70000.123",
            "price",
            (
                "price=70000.123 has 3 decimals, XBT/USD takes 1:"
                " the nearest legal prices are 70000.1 and 70000.2"
            ),
        ),
        (
            XBT,
            "add price=0.04",
            "price",
            ("price=0.04 has 2 decimals, XBT/USD takes 1: the nearest legal price is 0.1"),
        ),
        (
            JPY,
            "add price=100.5",
            "price",
            "price=100.5 has 1 decimal, XBT/JPY takes none: the nearest legal prices are 100 and 101",
        ),
        (
            PAXG,
            "add price=4187.33",
            "price",
            (
                "price=4187.33 is off the tick of PAXG/USD, 0.05:"
                " the nearest legal prices are 4187.30 and 4187.35"
            ),
        ),
        (
            replace(XBT, pair_decimals=None, tick_size="0.25"),
            "add price=1.3",
            "price",
            "price=1.3 is off the tick of XBT/USD, 0.25: the nearest legal prices are 1.25 and 1.5",
        ),
        (
            XBT,
            "add ordertype=stop-loss-limit price=70000 price2=69999.99",
            "price2",
            (
                "price2=69999.99 has 2 decimals, XBT/USD takes 1:"
                " the nearest legal prices are 69999.9 and 70000.0"
            ),
        ),
        (
            XBT,
            "add close[ordertype]=take-profit close[price]=80000.05",
            "close[price]",
            (
                "close[price]=80000.05 has 2 decimals, XBT/USD takes 1:"
                " the nearest legal prices are 80000.0 and 80000.1"
            ),
        ),
        (
            XBT,
            "amend limit_price=70000.15",
            "limit_price",
            (
                "limit_price=70000.15 has 2 decimals, XBT/USD takes 1:"
                " the nearest legal prices are 70000.1 and 70000.2"
            ),
        ),
        (
            XBT,
            "amend trigger_price=70000.15",
            "trigger_price",
            (
                "trigger_price=70000.15 has 2 decimals, XBT/USD takes 1:"
                " the nearest legal prices are 70000.1 and 70000.2"
            ),
        ),
        (
            XBT,
            "edit price=70000.15",
            "price",
            (
                "price=70000.15 has 2 decimals, XBT/USD takes 1:"
                " the nearest legal prices are 70000.1 and 70000.2"
            ),
        ),
        (
            ZEROG,
            "add volume=40.123456",
            "volume",
            (
                "volume=40.123456 has 6 decimals, 0G/EUR takes 5:"
                " the nearest legal volumes are 40.12345 and 40.12346"
            ),
        ),
        (
            ZEROG,
            "add volume=1.123456",
            "volume",
            "volume=1.123456 has 6 decimals, 0G/EUR takes 5: the nearest legal volume is 35",
        ),
        (
            ZEROG,
            "amend volume=0.000001",
            "volume",
            "volume=0.000001 has 6 decimals, 0G/EUR takes 5: the nearest legal volume is 0.00001",
        ),
        (
            ZEROG,
            "amend display_volume=1.0000001",
            "display_volume",
            (
                "display_volume=1.0000001 has 7 decimals, 0G/EUR takes 5:"
                " the nearest legal volumes are 1 and 1.00001"
            ),
        ),
        (
            XBT,
            "add volume=0.00001",
            "volume",
            "volume=0.00001 is below the least of XBT/USD: that is 0.00005",
        ),
        (
            XBT,
            "edit volume=0.00001",
            "volume",
            "volume=0.00001 is below the least of XBT/USD: that is 0.00005",
        ),
        (
            XBT,
            "add price=3000 volume=0.0001",
            "volume",
            (
                "volume=0.0001 at 3000 costs 0.3 USD, below the least cost of XBT/USD, 0.5 USD:"
                " at this price the least legal volume is 0.00016667"
            ),
        ),
        (
            XBT,
            "add ordertype=market volume=0.4 oflags=viqc",
            "volume",
            "volume=0.4 is below the least cost of XBT/USD, 0.5 USD",
        ),
        (
            XBT,
            "add leverage=11",
            "leverage",
            "leverage=11 is more than XBT/USD offers to type=buy: the highest is 10",
        ),
        (
            XBT,
            "add type=sell leverage=6",
            "leverage",
            "leverage=6 is more than XBT/USD offers to type=sell: the highest is 5",
        ),
        (
            JPY,
            "add leverage=2",
            "leverage",
            "XBT/JPY offers no margin to type=buy: leave leverage= out for a spot order",
        ),
        (
            JPY,
            "add margin=true",
            "margin",
            "XBT/JPY offers no margin to type=buy: leave margin= out for a spot order",
        ),
        (
            replace(XBT, status="cancel_only"),
            "edit volume=1",
            "pair",
            "XBT/USD takes no orders now: it is cancel_only, orders can only be cancelled",
        ),
        (
            replace(XBT, status="limit_only"),
            "add ordertype=market",
            "ordertype",
            "XBT/USD is limit_only now: it takes ordertype=limit, not ordertype=market",
        ),
        (
            replace(XBT, status="post_only"),
            "add",
            "oflags",
            "XBT/USD is post_only now: it takes orders with ordertype=limit oflags=post",
        ),
        (
            replace(XBT, status="reduce_only"),
            "add",
            "reduce_only",
            "XBT/USD is reduce_only now: it takes orders with reduce_only=true",
        ),
    ],
)
def test_what_the_pair_forbids_is_named_with_the_nearest_legal_value(
    pair: PairRow, line: str, field: str, sentence: str
) -> None:
    assert wrong_for_pair(order(line), pair) == (field, sentence)


def test_a_market_order_is_too_cheap_only_where_somebody_knows_the_price() -> None:
    bound = order("add ordertype=market volume=0.0001")
    assert wrong_for_pair(bound, XBT) is None
    assert wrong_for_pair(bound, XBT, best="5000") is None
    wrong = wrong_for_pair(bound, XBT, best="4999.9")
    assert wrong is not None
    assert wrong[1].startswith("volume=0.0001 at 4999.9 costs 0.49999 USD, below the least cost of XBT/USD")


@pytest.mark.parametrize(
    "line",
    [
        "add deadline=2026-11-22T10:00:01.000Z",
        "add deadline=2026-11-22T11:01:00.500+01:00",
        "amend volume=1 deadline=2026-11-22T10:00:30Z",
        "add expiretm=0",
        "add expiretm=+1",
        "add expiretm=1795341601",
        f"add expiretm=+{31 * 86400}",
        "add expiretm=+20 starttm=+10",
        "add starttm=1795341000 expiretm=+5",
    ],
)
def test_times_ahead_pass(line: str) -> None:
    assert datetime.fromtimestamp(NOW_S, UTC).isoformat() == "2026-11-22T10:00:00.500000+00:00"
    assert wrong_time(order(line), NOW_S) is None


@pytest.mark.parametrize(
    ("line", "field", "sentence"),
    [
        (
            "add deadline=2026-11-22T10:00:00.500Z",
            "deadline",
            "deadline=2026-11-22T10:00:00.500Z has passed: here it is 2026-11-22T10:00:00.500Z",
        ),
        (
            "add deadline=2026-11-22T10:00:00.999Z",
            "deadline",
            "deadline=2026-11-22T10:00:00.999Z is too near: the first legal one is 2026-11-22T10:00:01.000Z",
        ),
        (
            "amend volume=1 deadline=2026-11-22T10:01:00.501Z",
            "deadline",
            "deadline=2026-11-22T10:01:00.501Z is too far: the last legal one is 2026-11-22T10:01:00.500Z",
        ),
        (
            "add expiretm=1795341600",
            "expiretm",
            "expiretm=1795341600 has passed: here it is 1795341600, 2026-11-22T10:00:00.500Z",
        ),
        ("add expiretm=+10 starttm=+10", "expiretm", "expiretm=+10 is not after starttm=+10"),
        (
            "add expiretm=+2678401",
            "expiretm",
            "expiretm=+2678401 is more than a month ahead: the last legal one is +2678400",
        ),
        (
            "add expiretm=999999999999",
            "expiretm",
            "expiretm=999999999999 is more than a month ahead: the last legal one is 1798020000",
        ),
        (
            "add expiretm=0 timeinforce=GTD",
            "expiretm",
            "timeinforce=GTD needs a time, and expiretm=0 is none",
        ),
    ],
)
def test_times_that_cannot_be_kept_are_named(line: str, field: str, sentence: str) -> None:
    assert wrong_time(order(line), NOW_S) == (field, sentence)
