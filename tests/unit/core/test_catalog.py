"""The grammar: words become values of the right type, or one clear sentence."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from krakenws.core import v1_entries, v2_entries
from krakenws.core.catalog import Bound, bind, canonical, find, nearest, shown
from krakenws.core.kinds import normal_pair
from krakenws.errors import UsageError

if TYPE_CHECKING:
    from krakenws.core.catalog import Entry, Values

ENTRIES = (*v1_entries.ENTRIES, *v2_entries.ENTRIES)
ORDER = ["pair=XBT/USD", "type=buy", "volume=1"]


def bound(line: str, *, expand: list[str] | None = None) -> Bound:
    name, *words = line.split(" ")
    entry = find(ENTRIES, name)
    assert entry is not None
    return bind(entry, words, None if expand is None else lambda _: expand)


def values(line: str) -> Values:
    return bound(line).values


def wrong(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        bound(line)
    text = str(caught.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


@pytest.mark.parametrize("name", ["openOrders", "open-orders", "open_orders", "OPENORDERS", "Open-Orders"])
def test_a_name_may_be_spelled_in_any_case_and_with_dashes(name: str) -> None:
    entry = find(ENTRIES, name)
    assert entry is not None
    assert entry.name == "openOrders"


def test_balances_is_v2s_unless_v1_is_asked_for_by_number() -> None:
    assert [getattr(find(ENTRIES, "balances", api), "api", 0) for api in (None, 1, 2)] == [2, 1, 2]


def test_a_name_that_is_none_is_not_found() -> None:
    assert find(ENTRIES, "tickers") is None
    assert find(ENTRIES, "ticker", 2) is None


def test_bare_pairs_are_collected_in_order_and_once() -> None:
    assert values("ticker xbt/usd ETH/EUR btc/usd,doge/xbt") == {"pair": ["XBT/USD", "ETH/EUR", "XDG/XBT"]}


def test_a_bare_integer_is_the_depth_or_the_interval() -> None:
    assert values("book ETH/USD 25")["depth"] == 25
    assert values("ohlc 60 LTC/EUR")["interval"] == 60
    assert wrong("ticker XBT/USD 10").endswith("takes no bare number: 10")
    assert "did you mean timeout=60?" in wrong("cancelAllOrdersAfter 60")


def test_depth_and_interval_are_sent_even_when_not_given() -> None:
    assert values("book ETH/USD")["depth"] == 10
    assert values("ohlc ETH/USD")["interval"] == 1


def test_a_value_is_split_at_the_first_equals_sign() -> None:
    assert values("cancelOrder cl_ord_id=a=b")["cl_ord_id"] == ["a=b"]


@pytest.mark.parametrize("name", ["close[price]", "close-price", "ClosePrice", "close_price"])
def test_parameters_may_be_spelled_in_any_case(name: str) -> None:
    line = f"addOrder {' '.join(ORDER)} ordertype=limit price=1 close[ordertype]=limit {name}=2"
    assert values(line)["close[price]"] == "2"


def test_wire_types_are_those_of_the_exchange() -> None:
    assert values("cancelOrder txid=A,B userref=17") == {"txid": ["A", "B", "17"]}
    assert values("cancelAllOrdersAfter timeout=60 reqid=3") == {"timeout": 60, "reqid": 3}
    assert values("openOrders ratecounter=yes") == {"ratecounter": True}
    order = values(f"addOrder {' '.join(ORDER)} ordertype=MARKET leverage=5 userref=7 validate=1")
    assert order == {
        "pair": "XBT/USD",
        "type": "buy",
        "volume": "1",
        "ordertype": "market",
        "leverage": "5",
        "userref": "7",
        "validate": "true",
    }


def test_numbers_are_never_rounded_or_rewritten() -> None:
    assert values(f"addOrder {' '.join(ORDER[:2])} ordertype=limit volume=0.12500000 price=0007.10")[
        "volume"
    ] == ("0.12500000")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ticker", "ticker needs a pair"),
        ("ticker XBTUSD", "did you mean XBT/USD?"),
        ("ticker btc-usd", "did you mean XBT/USD?"),
        ("ticker XBT/USD/EUR", "is not BASE/QUOTE"),
        ("ticker /USD", "is not BASE/QUOTE"),
        ("ticker XBT/USD,", "has an empty item"),
        ("ticker */USD", "no list of pairs"),
        ("ticker XBT/USD depth=10", "has no parameter depth"),
        ("book XBT/USD 42", "choose from 10, 25, 100, 500, 1000. Did you mean 25?"),
        ("ohlc XBT/USD 61", "Did you mean 60?"),
        ("addOrder pair=XBT/USD", "needs type= (buy, sell), ordertype= (market, limit,"),
        ("addOrder pair=XBT/USD", "settle-position), volume=, for example: addOrder "),
        ("book XBT/USD dept=10", "Did you mean depth?"),
        ("book XBT/USD 10 25", "depth is given twice"),
        ("book XBT/USD depth=ten", "is not a whole number"),
        ("ohlc XBT/USD 2", "choose from 1, 5, 15"),
        ("ticker XBT/USD reqid=18446744073709551616", "is larger than"),
        ("ticker bitcoin", "is not BASE/QUOTE, such as XBT/USD"),
        (
            "addOrder XBT/USD buy market 0.1",
            "addOrder does not take buy; parameters are written key=value: pair,",
        ),
        ("addOrder XBT/USD buy market 0.1", "; did you mean type=buy?"),
        ("addOrder XBTUSD type=buy", "did you mean XBT/USD?"),
        ("cancelOrder OADMSD-7AGC3-IMB46A", "did you mean txid=OADMSD-7AGC3-IMB46A?"),
        ("openOrders XBT/USD", "openOrders does not take XBT/USD"),
        ("openOrders ratecounter=maybe", "neither true nor false"),
        ("cancelAll now", "cancelAll does not take now"),
        ("cancelOrder", "needs one of txid=, userref=, cl_ord_id="),
        ("cancelOrder txid=A cl_ord_id=b", "cannot be combined"),
        ("amendOrder txid=A cl_ord_id=b limit_price=1", "not both"),
        ("cancelOrder txid=A,,B", "has an empty item"),
        ("cancelOrder txid=", "is empty"),
        ("cancelAllOrdersAfter", "needs timeout="),
        ("cancelAllOrdersAfter timeout=86400", "below 86400"),
        ("cancelAllOrdersAfter timeout=-1", "is not a whole number"),
        ("editOrder orderid=A pair=XBT/USD", "needs something to change"),
        ("amendOrder limit_price=1", "needs one of txid=, cl_ord_id="),
        ("amendOrder txid=A", "needs something to change"),
        ("amendOrder txid=A limit_price=1 deadline=tomorrow", "is not a time"),
        ("amendOrder txid=A limit_price=1 deadline=2026-11-22T10:00:00", "is not a time"),
        ("amendOrder txid=A limit_price=1 deadline=20261122T100000Z", "is not a time"),
        ("amendOrder txid=A limit_price=1 deadline=2026-11-22T10Z", "is not a time"),
        ("amendOrder txid=A limit_price=1 deadline=2026-W47-7T10:00:00Z", "is not a time"),
        ("amendOrder txid=A limit_price=1 deadline=2026-11-22T10:00:00.0000001Z", "is not a time"),
        ("amendOrder txid=A limit_price=1 deadline=2026-02-30T10:00:00Z", "is not a time"),
        ("amendOrder txid=A limit_price=0", "limit_price=0 is zero"),
        ("amendOrder txid=A trigger_price=-0.0%", "is zero"),
        ("amendOrder txid=A volume=0", "volume=0 is zero"),
        ("editOrder orderid=A pair=XBT/USD price=0.00", "price=0.00 is zero"),
    ],
)
def test_words_that_do_not_fit_are_one_sentence(line: str, said: str) -> None:
    assert said in wrong(line)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ordertype=limit", "needs price="),
        ("ordertype=limits price=1", "Did you mean limit?"),
        ("ordertype=market price=1", "has no price"),
        ("ordertype=limit price=1e3", "without an exponent"),
        ("ordertype=limit price=1,5", "is not a decimal number"),
        ("ordertype=limit price=nan", "is not a decimal number"),
        ("ordertype=limit price=.5", "is not a decimal number"),
        ("ordertype=limit price=١", "is not a decimal number"),  # noqa: RUF001 - a digit, but no ASCII one
        ("ordertype=limit price=1 price2=2", "has no price2"),
        ("ordertype=stop-loss-limit price=1", "needs price2="),
        ("ordertype=trailing-stop price=1", "needs a relative price"),
        ("ordertype=market oflags=post", "needs ordertype=limit"),
        ("ordertype=limit price=1 oflags=viqc", "needs ordertype=market"),
        ("ordertype=market oflags=fcib,fciq", "exclude each other"),
        ("ordertype=market oflags=fast", "choose from"),
        ("ordertype=limit price=1 timeinforce=GTD", "needs expiretm="),
        ("ordertype=limit price=1 userref=1 cl_ord_id=a", "exclude each other"),
        ("ordertype=limit price=1 userref=2147483648", "32 bits"),
        ("ordertype=limit price=1 cl_ord_id=nineteen-characters", "neither a UUID"),
        ("ordertype=limit price=1 starttm=soon", "neither 0"),
        ("ordertype=limit price=1 close[price]=2", "needs close[ordertype]="),
        ("ordertype=limit price=1 close[ordertype]=limit", "needs close[price]="),
        ("ordertype=limit price=1 close[ordertype]=market", "is not offered"),
        ("ordertype=limit price=1 leverage=", "is empty"),
        ("ordertype=limit price=1 leverage=2.5", "is not a whole number of 2 or more"),
        ("ordertype=limit price=1 leverage=five", "is not a whole number of 2 or more"),
        ("ordertype=limit price=1 leverage=1", "is not a whole number of 2 or more"),
        ("ordertype=limit price=1 leverage=0", "is not a whole number of 2 or more"),
        ("ordertype=limit price=%", "price=% has no number"),
        ("ordertype=limit price=0", "price=0 is zero"),
        ("ordertype=trailing-stop price=+0%", "price=+0% is zero"),
        ("ordertype=stop-loss-limit price=1 price2=0", "price2=0 is zero"),
    ],
)
def test_orders_that_the_exchange_would_refuse_are_refused_before(words: str, said: str) -> None:
    assert said in wrong(f"addOrder {' '.join(ORDER)} {words}")


@pytest.mark.parametrize(
    "words",
    [
        "ordertype=limit price=+1.5% oflags=post,fciq timeinforce=GTD expiretm=+3600",
        "ordertype=stop-loss-limit price=#1% price2=-2",
        "ordertype=trailing-stop price=+1.5%",
        "ordertype=market oflags=viqc",
        "ordertype=settle-position",
        "ordertype=stop-loss-limit price=1 price2=+0",
        "ordertype=limit price=1 deadline=2026-11-22T11:00:05+01:00 leverage=10",
        "ordertype=limit price=1 cl_ord_id=906bcc85-1866-4b4b-9d0d-880bbcbe7447",
        "ordertype=limit price=1 deadline=2026-11-22T10:00:05.000Z userref=-5",
        "ordertype=limit price=1 close[ordertype]=stop-loss-limit close[price]=2 close[price2]=3",
    ],
)
def test_orders_that_the_exchange_takes_are_taken(words: str) -> None:
    assert bound(f"addOrder {' '.join(ORDER)} {words}").entry is v1_entries.ADD_ORDER


RULED = [
    (v1_entries.ADD_ORDER, "type=buy volume=1 ordertype=stop-loss-limit price=1 price2=1"),
    (
        v1_entries.ADD_ORDER,
        "type=buy volume=1 ordertype=limit price=1 close[ordertype]=limit close[price]=1",
    ),
    (v1_entries.ADD_ORDER, "type=buy volume=1 ordertype=market price=1"),
    (v1_entries.ADD_ORDER, "type=buy volume=1 ordertype=trailing-stop price=1"),
    (v1_entries.EDIT_ORDER, "volume=1 price=1 price2=1"),
    (v1_entries.AMEND_ORDER, "txid=O volume=1 display_volume=1 limit_price=1 trigger_price=1"),
]


def test_whatever_has_decimals_and_rules_is_looked_at() -> None:
    assert {entry.name for entry in ENTRIES if entry.rules and entry.decimals} == {
        entry.name for entry, _ in RULED
    }


@pytest.mark.parametrize(("entry", "words"), RULED)
def test_rules_ask_no_more_of_a_decimal_than_whether_it_is_zero(entry: Entry, words: str) -> None:
    """`rebind` does not ask them again."""
    given = dict(word.split("=", 1) for word in words.split(" "))
    numbers = entry.decimals & given.keys()
    assert entry.rules
    assert numbers
    said = [
        [rule({**given, **dict(zip(numbers, others, strict=True))}) is None for rule in entry.rules]
        for others in product(("0.00000001", "7.5", "99999999999.5"), repeat=len(numbers))
    ]
    assert all(one == said[0] for one in said)


def test_a_volume_of_zero_is_for_settling_a_position_alone() -> None:
    order = "addOrder pair=XBT/USD type=buy volume=0.0"
    assert values(f"{order} ordertype=settle-position")["volume"] == "0.0"
    assert "settle-position only" in wrong(f"{order} ordertype=market")


@pytest.mark.parametrize(
    "character", ['"', "'", "`", "\\", "\x00", "\x1b", "\x7f", "\u202e", "\ud800", "\xa0"]
)
def test_quotes_and_control_characters_do_not_get_through(character: str) -> None:
    for line in (f"cancelOrder txid=A{character}", f"ticker XBT{character}/USD", f"ticker{' '}{character}"):
        text = wrong(line)
        assert text.isprintable()


def test_a_pattern_is_expanded_by_the_callers_list_of_pairs() -> None:
    assert bound("ticker */USD", expand=["XBT/USD", "ETH/USD"]).values == {"pair": ["XBT/USD", "ETH/USD"]}
    with pytest.raises(UsageError, match="matches no pair"):
        bound("ticker */USD", expand=[])
    with pytest.raises(UsageError, match="is no pattern"):
        bound("ticker *USD", expand=["XBT/USD"])


def test_pairs_are_spelled_as_each_api_spells_them() -> None:
    assert [normal_pair("btc/doge", api) for api in (1, 2)] == ["XBT/XDG", "BTC/DOGE"]
    assert [normal_pair("XBT/XDG", api) for api in (1, 2)] == ["XBT/XDG", "BTC/DOGE"]
    assert normal_pair("XXBT/ZUSD", 1) == "XXBT/ZUSD"  # letters are never stripped (quirk A3)


def test_slips_are_recognised_and_nonsense_is_not() -> None:
    assert nearest("adorder", [entry.name for entry in ENTRIES]) == "addOrder"
    assert nearest("xyzzy", [entry.name for entry in ENTRIES]) is None
    assert canonical("close[order-type]") == "closeordertype"


def test_text_is_made_fit_for_a_terminal() -> None:
    assert shown("a\x1b[31m") == "a\\x1b[31m"
    assert shown("") == "(nothing)"
    assert len(shown("x" * 1000)) <= 60


def test_a_long_text_is_not_kept() -> None:
    line = f"addOrder {' '.join(ORDER)} ordertype=market sender_sub_id="
    entry = bound(f"{line}{'x' * 64}").entry
    bound(f"{line}{'x' * 65}")
    assert max(len(text) for _, text in entry.known) == 64
