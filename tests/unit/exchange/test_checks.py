"""Order requests against the facts of an instrument: what is taken, and Kraken's words for what is not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from krakenws.exchange.checks import (
    DEFAULT_DEADLINE_US,
    MONTH_US,
    Terms,
    check_minimums,
    check_status,
    read_deadline,
    read_order,
    read_price,
)
from krakenws.exchange.instruments import Instrument, find
from krakenws.exchange.orders import CloseOrder, Relative
from krakenws.exchange.requests import Refusal

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
LAST = Decimal(64000)
LIMIT = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": "60000.5", "volume": "0.01"}


def _pair(name: str) -> Instrument:
    found = find(name)
    assert found is not None
    return found


XBT = _pair("XBT/USD")


def _read(change: dict[str, object], pair: Instrument = XBT, last: Decimal | None = LAST) -> Terms:
    """A good limit order with some fields changed; None takes one away."""
    fields = {name: value for name, value in {**LIMIT, **change}.items() if value is not None}
    return read_order(fields, pair, last, NOW)


def _code(change: dict[str, object], pair: Instrument = XBT, last: Decimal | None = LAST) -> str:
    with pytest.raises(Refusal) as caught:
        _read(change, pair, last)
    return caught.value.code


def test_a_limit_order_is_read_exactly() -> None:
    assert _read({}) == Terms("buy", "limit", Decimal("0.01"), limit_price=Decimal("60000.5"))


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "1", "yes", "Yes", True])
def test_whatever_says_yes_to_validate_only_checks(word: object) -> None:
    assert _read({"validate": word}).validate
    order = _read({"leverage": "2", "reduce_only": word})
    assert order.reduce_only
    assert _read({"margin": word}).leverage > 1


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "", False, None])
def test_whatever_says_no_to_validate_is_an_order(word: object) -> None:
    assert not _read({"validate": word, "margin": word, "reduce_only": word}).validate


def test_everything_a_limit_order_can_have_is_read() -> None:
    terms = _read(
        {
            "type": "sell",
            "leverage": "5",
            "oflags": "post,fcib",
            "timeinforce": "GTD",
            "starttm": "+10",
            "expiretm": "+3600",
            "userref": "-7",
            "stp_type": "cancel_both",
            "reduce_only": True,
            "validate": "true",
            "close[ordertype]": "stop-loss-limit",
            "close[price]": "#5%",
            "close[price2]": "59000",
        }
    )
    assert terms == Terms(
        "sell",
        "limit",
        Decimal("0.01"),
        limit_price=Decimal("60000.5"),
        time_in_force="GTD",
        start_us=NOW + 10 * SECOND,
        expire_us=NOW + 3600 * SECOND,
        flags=("post",),
        fee_in_base=True,
        leverage=5,
        reduce_only=True,
        stp_type="cancel_both",
        userref=-7,
        close=CloseOrder("stop-loss-limit", "#5%", "59000"),
        validate=True,
    )
    assert terms.oflags == "fcib,post"
    order = terms.order("O1", "me")
    assert (order.order_id, order.owner, order.margin, order.post_only) == ("O1", "me", True, True)
    assert order.limit_price == terms.limit_price


def test_empty_texts_are_fields_that_were_not_given() -> None:
    empty = ("price2", "leverage", "oflags", "starttm", "expiretm", "userref", "cl_ord_id", "validate",
             "timeinforce", "close[ordertype]", "close[price]", "stp_type")  # fmt: skip
    assert _read(dict.fromkeys(empty, "")) == _read({})


@pytest.mark.parametrize(
    ("change", "limit", "trigger"),
    [
        ({"price": "+100"}, "64100", None),
        ({"price": "-1.5%"}, "63040", None),
        ({"price": "#100"}, "63900", None),
        ({"price": "#100", "type": "sell"}, "64100", None),
        ({"ordertype": "market", "price": None}, None, None),
        ({"ordertype": "stop-loss", "price": "#10%"}, None, "70400"),
        ({"ordertype": "take-profit", "price": "60000"}, None, "60000"),
        ({"ordertype": "stop-loss-limit", "price": "65000", "price2": "65100.1"}, "65100.1", "65000"),
        ({"ordertype": "stop-loss-limit", "price": "65000", "price2": "+10"}, "65010", "65000"),
    ],
)
def test_prices_come_from_the_fields_their_order_type_has(
    change: dict[str, object], limit: str | None, trigger: str | None
) -> None:
    terms = _read(change)
    assert terms.limit_price == (limit and Decimal(limit))
    assert terms.trigger_price == (trigger and Decimal(trigger))


def test_trailing_stops_keep_their_distances() -> None:
    terms = _read({"ordertype": "trailing-stop-limit", "price": "+1.5%", "price2": "-20.5"})
    assert terms.trigger_price == Relative(Decimal("1.5"), percent=True)
    assert terms.limit_price == Relative(Decimal("-20.5"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": None}, "EGeneral:Invalid arguments:type"),
        ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
        ({"type": 7}, "EGeneral:Invalid arguments:type"),
        ({"ordertype": "iceberg"}, "EGeneral:Invalid arguments:ordertype"),
        # volume
        ({"volume": None}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "1e3"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "NaN"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "٣"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "1" * 50}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "1" * 35}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.123456789"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.00004999"}, "EOrder:Order minimum not met"),
        ({"price": "0.5"}, "EOrder:Cost minimum not met"),
        # price
        ({"price": None}, "EGeneral:Invalid arguments:price"),
        ({"price": "x"}, "EOrder:Invalid price:Invalid price argument."),
        ({"price": "0"}, "EOrder:Invalid price:Invalid price argument."),
        ({"price": "-100%"}, "EOrder:Invalid price:Invalid price argument."),
        (
            {"price": "60000.05"},
            "EOrder:Invalid price:XXBTZUSD price can only be specified up to 1 decimals.",
        ),
        ({"ordertype": "market"}, "EGeneral:Invalid arguments:price"),
        ({"price2": "1"}, "EGeneral:Invalid arguments:price2"),
        ({"ordertype": "stop-loss-limit"}, "EGeneral:Invalid arguments:price2"),
        (
            {"ordertype": "stop-loss-limit", "price2": "y"},
            "EOrder:Invalid price:Invalid secondary price argument.",
        ),
        ({"ordertype": "trailing-stop", "price": "100"}, "EOrder:Invalid price:Invalid price argument."),
        ({"ordertype": "trailing-stop", "price": "+0"}, "EOrder:Invalid price:Invalid price argument."),
        (
            {"ordertype": "trailing-stop", "price": "+0.05"},
            "EOrder:Invalid price:XXBTZUSD price can only be specified up to 1 decimals.",
        ),
        (
            {"ordertype": "trailing-stop-limit", "price": "+1", "price2": "5"},
            "EOrder:Invalid price:Invalid secondary price argument.",
        ),
        # flags
        ({"oflags": "fok"}, "EGeneral:Invalid arguments:oflags"),
        ({"oflags": "fciq,fcib"}, "EGeneral:Invalid arguments:oflags"),
        ({"oflags": "viqc"}, "EGeneral:Invalid arguments:oflags"),
        ({"oflags": "post", "ordertype": "market", "price": None}, "EGeneral:Invalid arguments:oflags"),
        (
            {"oflags": "viqc", "ordertype": "market", "price": None, "leverage": "2", "volume": "100"},
            "EGeneral:Invalid arguments:oflags",
        ),
        (
            {"oflags": "nompp"},
            "EGeneral:Invalid arguments:no_mpp order option is only available when ordertype = market",
        ),
        ({"oflags": "post", "timeinforce": "IOC"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"stp_type": "cancel_all"}, "EGeneral:Invalid arguments:stp_type"),
        # leverage
        ({"leverage": "11"}, "EGeneral:Invalid arguments:leverage"),
        ({"leverage": "1"}, "EGeneral:Invalid arguments:leverage"),
        ({"leverage": "two"}, "EGeneral:Invalid arguments:leverage"),
        ({"reduce_only": True}, "EGeneral:Invalid arguments:reduce_only"),
        # times
        ({"timeinforce": "FOK"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"timeinforce": "GTD"}, "EGeneral:Invalid arguments:expiretm"),
        ({"timeinforce": "IOC", "expiretm": "+10"}, "EGeneral:Invalid arguments:expiretm"),
        ({"expiretm": "1700000000"}, "EGeneral:Invalid arguments:expiretm"),
        ({"expiretm": "soon"}, "EGeneral:Invalid arguments:expiretm"),
        ({"expiretm": f"+{MONTH_US // SECOND + 1}"}, "EGeneral:Invalid arguments:expiretm"),
        ({"starttm": "+20", "expiretm": "+20"}, "EGeneral:Invalid arguments:expiretm"),
        ({"starttm": "-5"}, "EGeneral:Invalid arguments:starttm"),
        # references
        ({"userref": "2147483648"}, "EGeneral:Invalid arguments:userref"),
        ({"userref": "x"}, "EGeneral:Invalid arguments:userref"),
        ({"userref": "9" * 5000}, "EGeneral:Invalid arguments:userref"),
        ({"validate": "maybe"}, "EGeneral:Invalid arguments:validate"),
        ({"validate": 1}, "EGeneral:Invalid arguments:validate"),
        ({"margin": "maybe"}, "EGeneral:Invalid arguments:margin"),
        ({"reduce_only": "on"}, "EGeneral:Invalid arguments:reduce_only"),
        ({"userref": "1", "cl_ord_id": "mine"}, "EGeneral:Invalid arguments:cl_ord_id"),
        # conditional close
        ({"close[price]": "1"}, "EGeneral:Invalid arguments:close[ordertype]"),
        ({"close[ordertype]": "market"}, "EGeneral:Invalid arguments:close[ordertype]"),
        ({"close[ordertype]": "limit"}, "EGeneral:Invalid arguments:close[price]"),
        (
            {"close[ordertype]": "limit", "close[price]": "1", "close[price2]": "1"},
            "EGeneral:Invalid arguments:close[price2]",
        ),
        (
            {"close[ordertype]": "limit", "close[price]": "+x"},
            "EOrder:Invalid price:Invalid price argument.",
        ),
        (
            {"close[ordertype]": "trailing-stop", "close[price]": "-5"},
            "EOrder:Invalid price:Invalid price argument.",
        ),
        (
            {"close[ordertype]": "limit", "close[price]": "1.23"},
            "EOrder:Invalid price:XXBTZUSD price can only be specified up to 1 decimals.",
        ),
    ],
)
def test_an_order_is_refused_in_krakens_words(change: dict[str, object], code: str) -> None:
    assert _code(change) == code


def test_a_price_off_a_tick_coarser_than_its_decimals_is_refused() -> None:
    """PAXG/USD has two decimals and a tick of 0.05 (quirk O13)."""
    paxg = _pair("PAXG/USD")
    assert _code({"price": "4000.01", "volume": "1"}, paxg) == "EOrder:Tick size check failed"
    assert _read({"price": "4000.15", "volume": "1"}, paxg).limit_price == Decimal("4000.15")
    assert _read({"price": "+0.01%", "volume": "1"}, paxg, Decimal(4000)).limit_price == Decimal("4000.4")


def test_zeros_beyond_the_decimals_do_not_matter() -> None:
    assert _read({"price": "60000.500", "volume": "0.0100000000"}) == _read({})


def test_volume_decimals_are_those_of_the_pair() -> None:
    zero_g = _pair("0G/EUR")
    assert _read({"price": "1", "volume": "40.12345"}, zero_g).qty == Decimal("40.12345")
    assert _code({"price": "1", "volume": "40.123456"}, zero_g) == "EGeneral:Invalid arguments:volume"


def test_leverage_is_what_the_pair_offers_on_that_side() -> None:
    assert _read({"leverage": "10"}).leverage == 10
    assert _read({"leverage": "3:1"}).leverage == 3
    assert _read({"leverage": "none"}).leverage == 0
    assert _read({"margin": True}).leverage == 10
    spot = _pair("PAXG/USD")
    assert _code({"leverage": "2"}, spot) == "EGeneral:Invalid arguments:leverage"
    assert _code({"margin": True}, spot) == "EGeneral:Invalid arguments:margin"


def test_a_market_order_is_measured_at_the_last_trade() -> None:
    market: dict[str, object] = {"ordertype": "market", "price": None, "volume": "0.0001"}
    assert _code(market, last=Decimal(1000)) == "EOrder:Cost minimum not met"
    assert _read(market).qty == Decimal("0.0001")
    assert _read(market, last=None).qty == Decimal("0.0001")


def test_a_volume_in_quote_currency_has_both_minimums() -> None:
    market: dict[str, object] = {"ordertype": "market", "price": None, "oflags": "viqc"}
    assert _read({**market, "volume": "100.12345"}).viqc
    assert _code({**market, "volume": "0.4"}) == "EOrder:Cost minimum not met"
    assert _code({**market, "volume": "1"}) == "EOrder:Order minimum not met"
    assert _code({**market, "volume": "100.123456"}) == "EGeneral:Invalid arguments:volume"


def test_what_only_reduces_or_settles_may_be_small() -> None:
    check_minimums(Terms("sell", "limit", Decimal("0.00000001"), reduce_only=True), XBT, LAST)
    settle = _read({"ordertype": "settle-position", "price": None, "volume": "0", "leverage": "2"})
    assert settle.qty == 0


def test_a_relative_price_needs_a_trade_to_be_relative_to() -> None:
    assert _code({"price": "+1"}, last=None) == "EGeneral:Invalid arguments:Index unavailable"


def test_a_start_in_the_past_is_now_and_an_expiry_alone_means_gtd() -> None:
    assert _read({"starttm": "1700000000"}).start_us is None
    terms = _read({"expiretm": str(NOW // SECOND + 60)})
    assert (terms.time_in_force, terms.expire_us) == ("GTD", NOW + 60 * SECOND)


@pytest.mark.parametrize(
    ("status", "change", "code"),
    [
        ("online", {}, None),
        ("maintenance", {}, "EService:Unavailable"),
        ("cancel_only", {"oflags": "post"}, "EService:Market in cancel_only mode"),
        ("post_only", {"oflags": "post"}, None),
        ("post_only", {}, "EService:Market in post_only mode"),
        ("limit_only", {}, None),
        ("limit_only", {"ordertype": "market", "price": None}, "EService:Market in limit_only mode"),
        ("reduce_only", {"leverage": "2", "reduce_only": True}, None),
        ("reduce_only", {}, "EService:Market in reduce_only mode"),
        ("work_in_progress", {}, "EService:Market in work_in_progress mode"),
    ],
)
def test_each_status_takes_the_orders_it_is_named_after(
    status: str, change: dict[str, object], code: str | None
) -> None:
    terms = _read(change)
    if code is None:
        check_status(status, terms)
    else:
        with pytest.raises(Refusal) as caught:
            check_status(status, terms)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        ("2026-11-18T11:06:45.000Z", None),
        ("2026-11-18T12:06:45.000+01:00", None),
        ("2026-11-18T11:06:40.500Z", None),
        ("2026-11-18T11:07:40Z", None),
        ("2026-11-18T11:06:40.499Z", "EGeneral:Invalid arguments:deadline"),
        ("2026-11-18T11:07:40.001Z", "EGeneral:Invalid arguments:deadline"),
        ("2026-11-18T11:06:40Z", "EService:Deadline elapsed"),
        ("2026-11-18T11:06:45", "EGeneral:Invalid arguments:deadline"),
        ("soon", "EGeneral:Invalid arguments:deadline"),
    ],
)
def test_a_deadline_is_half_a_second_to_a_minute_ahead(ahead: str, code: str | None) -> None:
    """`NOW` is 2026-11-18T11:06:40Z."""
    if code is None:
        assert NOW < read_deadline(ahead, NOW) <= NOW + 60 * SECOND
    else:
        with pytest.raises(Refusal) as caught:
            read_deadline(ahead, NOW)
        assert caught.value.code == code


def test_a_deadline_not_given_is_five_seconds() -> None:
    assert read_deadline("", NOW) == NOW + DEFAULT_DEADLINE_US == NOW + 5 * SECOND


def test_a_huge_price_is_refused_not_rounded() -> None:
    with pytest.raises(Refusal, match="EOrder:Invalid price"):
        read_price("9" * 60 + ".1", XBT, LAST, "buy", "limit")
