"""What accounts hold, pay and owe, by worked examples; `property/test_accounts.py` has the invariants."""

from __future__ import annotations

from decimal import Decimal

import pytest

from krakenws.core.ratecounter import ADD
from krakenws.exchange.accounts import DAY_US, DEMO_BALANCES, Account
from krakenws.exchange.instruments import ASSETS, Instrument, find
from krakenws.exchange.ratecounter import STARTER
from krakenws.exchange.requests import Refusal
from krakenws.record import replace

NOW = 1_795_000_000_000_000


def _pair(name: str) -> Instrument:
    found = find(name)
    assert found is not None
    return found


XBT = _pair("XBT/USD")
"""Fees 0.4 % for takers and 0.25 % for makers, 0.35 % and 0.2 % from 10 000 USD."""


def _account(**balances: str) -> Account:
    return Account("someone", STARTER, {asset: Decimal(amount) for asset, amount in balances.items()})


def _hold(account: Account, order_id: str, side: str, qty: str, price: str, **more: object) -> None:
    account.hold_for(
        order_id, XBT, side=side, qty=Decimal(qty), price=Decimal(price), at_us=NOW, **more  # type: ignore[arg-type]
    )  # fmt: skip


def _refused(account: Account, side: str, qty: str, price: str, **more: object) -> str:
    with pytest.raises(Refusal) as caught:
        _hold(account, "refused", side, qty, price, **more)
    return caught.value.code


def test_a_purchase_holds_its_price_and_the_takers_fee() -> None:
    account = _account(ZUSD="1000")
    _hold(account, "O1", "buy", "0.01", "50000")
    assert account.hold("O1") == ("ZUSD", Decimal("502.00000"))
    assert account.available("ZUSD") == 498
    assert account.balance("ZUSD") == 1000


def test_a_sale_holds_what_it_sells() -> None:
    account = _account(XXBT="1")
    _hold(account, "O1", "sell", "0.4", "50000")
    assert (account.held("XXBT"), account.available("XXBT")) == (Decimal("0.4"), Decimal("0.6"))


def test_fees_in_base_are_held_by_sellers_only() -> None:
    account = _account(XXBT="1", ZUSD="500")
    _hold(account, "O1", "sell", "0.1", "50000", fee_in_base=True)
    _hold(account, "O2", "buy", "0.01", "50000", fee_in_base=True)
    assert account.hold("O1") == ("XXBT", Decimal("0.1004"))
    assert account.hold("O2") == ("ZUSD", Decimal(500))


def test_too_little_money_is_refused_and_changes_nothing() -> None:
    account = _account(ZUSD="501.99999")
    assert _refused(account, "buy", "0.01", "50000") == "EOrder:Insufficient funds"
    assert _refused(account, "sell", "0.01", "50000") == "EOrder:Insufficient funds"
    assert (account.available("ZUSD"), account.open_orders("XBT/USD")) == (Decimal("501.99999"), 0)


def test_a_fill_pays_and_frees_what_it_did_not_cost() -> None:
    account = _account(ZUSD="1000")
    _hold(account, "O1", "buy", "0.01", "50000")
    settled = account.settle("O1", Decimal(40000), Decimal("0.004"), NOW, taker=True)
    assert (settled.cost, settled.fee, settled.position_id) == (Decimal(160), Decimal("0.64"), "")
    assert account.balances == {"ZUSD": Decimal("839.36"), "XXBT": Decimal("0.004")}
    assert account.held("ZUSD") == Decimal("301.20000"), "0.006 at 50000, and its fee"
    account.release("O1")
    assert account.available("ZUSD") == account.balance("ZUSD")


def test_a_seller_as_maker_pays_the_makers_fee_out_of_the_proceeds() -> None:
    account = _account(XXBT="1")
    _hold(account, "O1", "sell", "1", "50000")
    settled = account.settle("O1", Decimal(50000), Decimal(1), NOW, taker=False)
    assert settled.fee == 125
    assert account.balances == {"XXBT": 0, "ZUSD": 49875}
    assert account.fees_paid == {"ZUSD": 125}


def test_a_fee_in_base_is_told_in_quote() -> None:
    account = _account(ZUSD="1000")
    _hold(account, "O1", "buy", "0.01", "50000", fee_in_base=True)
    settled = account.settle("O1", Decimal(50000), Decimal("0.01"), NOW, taker=True)
    assert settled.fee == 2
    assert account.balances == {"ZUSD": 500, "XXBT": Decimal("0.00996")}
    assert account.fees_paid == {"XXBT": Decimal("0.00004")}


def test_a_volume_in_quote_currency_is_spent_to_the_last_digit_and_no_further() -> None:
    account = _account(ZUSD="100.4")
    _hold(account, "O1", "buy", "100", "50000", viqc=True)
    account.settle("O1", Decimal(49999), Decimal("0.00200004"), NOW, taker=True)
    assert Decimal(0) <= account.available("ZUSD") < Decimal("0.0001")


def test_costs_and_fees_are_cut_off() -> None:
    """0.00001 at 33333.3 is 0.333333, of which 0.4 % are 0.00133332."""
    account = _account(ZUSD="10")
    _hold(account, "O1", "buy", "0.0001", "33333.3")
    settled = account.settle("O1", Decimal("33333.3"), Decimal("0.00001"), NOW, taker=True)
    assert (settled.cost, settled.fee) == (Decimal("0.33333"), Decimal("0.00133"))


def test_a_rebate_is_paid_out() -> None:
    pair = replace(XBT, fees_maker=((0, Decimal("-0.02")),))
    account = _account(XXBT="1")
    account.hold_for("O1", pair, side="sell", qty=Decimal(1), price=Decimal(50000), at_us=NOW)
    settled = account.settle("O1", Decimal(50000), Decimal(1), NOW, taker=False)
    assert (settled.fee, account.balance("ZUSD")) == (Decimal(-10), Decimal(50010))


def test_an_amended_order_is_held_anew_or_stays_as_it_was() -> None:
    account = _account(ZUSD="1004")
    _hold(account, "O1", "buy", "0.01", "50000")
    _hold(account, "O1", "buy", "0.02", "50000")
    assert (account.held("ZUSD"), account.open_orders("XBT/USD")) == (Decimal(1004), 1)
    with pytest.raises(Refusal):
        _hold(account, "O1", "buy", "0.03", "50000")
    assert account.hold("O1") == ("ZUSD", Decimal(1004))


def test_a_fill_beyond_the_hold_is_an_error_that_moves_nothing() -> None:
    account = _account(ZUSD="502")
    _hold(account, "O1", "buy", "0.01", "50000")
    with pytest.raises(ValueError, match="O1 costs more"):
        account.settle("O1", Decimal(60000), Decimal("0.01"), NOW, taker=True)
    assert account.balances == {"ZUSD": 502}
    with pytest.raises(KeyError):
        account.settle("O2", Decimal(1), Decimal(1), NOW, taker=True)


def test_the_tier_limits_open_orders_on_each_pair() -> None:
    account = _account(ZUSD="100000")
    for number in range(60):
        _hold(account, f"O{number}", "buy", "0.001", "50000")
    assert _refused(account, "buy", "0.001", "50000") == "EOrder:Orders limit exceeded"
    _hold(account, "O1", "buy", "0.002", "50000")
    account.release("O2")
    account.release("O2")
    _hold(account, "O60", "buy", "0.001", "50000")
    assert account.open_orders("ETH/USD") == 0


def test_each_pair_has_its_own_rate_counter() -> None:
    account = _account()
    account.rate_counter("XBT/USD").charge(NOW, ADD)
    assert account.rate_counter("XBT/USD").count(NOW) == 1
    assert account.rate_counter("ETH/USD").count(NOW) == 0


def test_fees_fall_with_the_volume_of_thirty_days() -> None:
    account = _account(ZUSD="100000")
    _hold(account, "before", "buy", "0.1", "50000")
    account.add_volume_usd(Decimal("9999.99"), NOW)
    assert account.fee_rates(XBT, NOW) == (Decimal("0.004"), Decimal("0.0025"))
    account.add_volume_usd(Decimal("0.01"), NOW + DAY_US)
    assert account.fee_rates(XBT, NOW + DAY_US) == (Decimal("0.0035"), Decimal("0.002"))
    assert account.fee_rates(XBT, NOW + 30 * DAY_US) == (Decimal("0.004"), Decimal("0.0025"))
    settled = account.settle("before", Decimal(50000), Decimal("0.1"), NOW, taker=True, usd_rate=Decimal(1))
    assert settled.fee == 20, "an order keeps the rates it was placed at"
    assert account.trade_volume_usd(NOW + DAY_US) == 15000


def test_pairs_without_fees_for_makers_charge_them_as_takers() -> None:
    assert _account().fee_rates(replace(XBT, fees_maker=()), NOW) == (Decimal("0.004"), Decimal("0.004"))


# Margin


def _long(price: str = "50000") -> Account:
    """One bitcoin bought at five times leverage; its fee was paid."""
    account = _account(ZUSD="20000")
    _hold(account, "O1", "buy", "1", price, leverage=5)
    assert account.hold("O1") == ("ZUSD", Decimal(price) / 5 + Decimal(price) / 250)
    settled = account.settle("O1", Decimal(price), Decimal(1), NOW, taker=True, trade_id="T1")
    account.release("O1")
    assert (settled.margin, settled.position_id) == (Decimal(10000), "T1")
    return account


def test_a_margin_purchase_sets_margin_aside_and_moves_only_its_fee() -> None:
    account = _long()
    assert account.balances == {"ZUSD": 19800}
    assert (account.margin_used("ZUSD"), account.available("ZUSD")) == (Decimal(10000), Decimal(9800))
    assert account.position("XBT/USD") == 1
    assert account.lent == {"ZUSD": 50000, "XXBT": -1}
    assert account.margin_level("ZUSD", {"XBT/USD": ("ZUSD", Decimal(45000))}) == 148


def test_closing_pays_profit_or_loss_and_frees_the_margin() -> None:
    for price, pnl in (("52000", 2000), ("47000", -3000)):
        account = _long()
        _hold(account, "O2", "sell", "1", price, leverage=5)
        assert account.hold("O2") == ("ZUSD", Decimal(price) / 250), "what closes needs no margin"
        settled = account.settle("O2", Decimal(price), Decimal(1), NOW, taker=True)
        assert (settled.margin, settled.position_id) == (Decimal(0), "T1")
        assert account.balance("ZUSD") == 19800 + pnl - Decimal(price) / 250
        assert account.position("XBT/USD") == account.margin_used("ZUSD") == account.lent["ZUSD"] == 0
        assert account.margin_level("ZUSD", {}) is None


def test_a_larger_sale_turns_a_long_position_into_a_short_one() -> None:
    account = _long()
    _hold(account, "O2", "sell", "1.5", "52000", leverage=5)
    settled = account.settle("O2", Decimal(52000), Decimal("1.5"), NOW, taker=False, trade_id="T2")
    assert (settled.margin, settled.position_id) == (Decimal(5200), "T2")
    assert account.position("XBT/USD") == Decimal("-0.5")
    assert account.lent == {"ZUSD": -26000, "XXBT": Decimal("0.5")}


def test_two_orders_do_not_count_on_closing_the_same_position() -> None:
    account = _long()
    _hold(account, "O2", "sell", "1", "50000", leverage=5)
    _hold(account, "O3", "sell", "0.5", "50000", leverage=5)
    assert account.hold("O3") == ("ZUSD", Decimal(5100))
    account.settle("O2", Decimal(50000), Decimal("0.5"), NOW, taker=True)
    _hold(account, "O3", "sell", "0.5", "50000", leverage=5)
    assert account.hold("O3") == ("ZUSD", Decimal(5100)), "the other half is still O2's to close"


def test_what_an_order_has_closed_it_no_longer_counts_on() -> None:
    account = _long()
    account.deposit("ZUSD", Decimal(20000))
    _hold(account, "O1", "buy", "1", "50000", leverage=5)
    account.settle("O1", Decimal(50000), Decimal(1), NOW, taker=True)
    _hold(account, "O2", "sell", "1", "50000", leverage=5)
    account.settle("O2", Decimal(50000), Decimal("0.5"), NOW, taker=True)
    _hold(account, "O3", "sell", "1", "50000", leverage=5)
    assert account.hold("O3") == ("ZUSD", Decimal(200)), "1.5 are open, O2 closes 0.5 of them"


def test_oldest_positions_are_closed_first() -> None:
    account = _long()
    account.deposit("ZUSD", Decimal(100000))
    _hold(account, "O2", "buy", "1", "60000", leverage=5)
    account.settle("O2", Decimal(60000), Decimal("0.5"), NOW, taker=True, trade_id="T2")
    account.settle("O2", Decimal(60000), Decimal("0.5"), NOW, taker=True, trade_id="T3")
    assert [p.position_id for p in account.positions["XBT/USD"]] == ["T1", "T2"], "one order, one position"
    _hold(account, "O3", "sell", "1.5", "60000", leverage=5, reduce_only=True)
    account.settle("O3", Decimal(60000), Decimal("1.5"), NOW, taker=True)
    ((left,),) = account.positions.values()
    assert (left.position_id, left.qty, left.cost, left.margin) == (
        "T2",
        Decimal("0.5"),
        Decimal(30000),
        Decimal(6000),
    )


def test_margin_must_be_there() -> None:
    account = _account(ZUSD="10000")
    assert _refused(account, "buy", "1", "50000", leverage=5) == "EOrder:Margin level too low"


def test_a_loss_can_leave_a_debt_and_orders_held_before_are_still_paid() -> None:
    account = _long()
    _hold(account, "spot", "buy", "0.1", "90000")
    _hold(account, "O2", "sell", "1", "20000", leverage=5)
    account.settle("O2", Decimal(20000), Decimal(1), NOW, taker=True)
    assert account.balance("ZUSD") == 19800 - 30000 - 80
    account.settle("spot", Decimal(90000), Decimal("0.1"), NOW, taker=True)
    assert account.balance("XXBT") == Decimal("0.1")
    assert account.available("ZUSD") < 0
    assert _refused(account, "buy", "0.001", "100") == "EOrder:Insufficient funds"


def test_settling_a_position_pays_for_it_with_own_money() -> None:
    account = _long()
    account.deposit("ZUSD", Decimal(25000))
    account.settle_position(XBT, side="sell", qty=Decimal("0.5"))
    assert (account.balance("ZUSD"), account.balance("XXBT")) == (Decimal(19800), Decimal("0.5"))
    assert (account.position("XBT/USD"), account.margin_used("ZUSD")) == (Decimal("0.5"), Decimal(5000))
    for side, qty, code in (
        ("sell", "0", "EOrder:Insufficient funds"),
        ("sell", "0.6", "EOrder:Unknown position"),
        ("buy", "0", "EOrder:Unknown position"),
    ):
        with pytest.raises(Refusal) as caught:
            account.settle_position(XBT, side=side, qty=Decimal(qty))
        assert caught.value.code == code


def test_settling_a_short_position_delivers_what_was_sold() -> None:
    account = _account(ZUSD="20000")
    _hold(account, "O1", "sell", "1", "50000", leverage=5)
    account.settle("O1", Decimal(50000), Decimal(1), NOW, taker=True, trade_id="T1")
    account.release("O1")
    with pytest.raises(Refusal, match="EOrder:Insufficient funds"):
        account.settle_position(XBT, side="buy", qty=Decimal(0))
    account.deposit("XXBT", Decimal(1))
    account.settle_position(XBT, side="buy", qty=Decimal(0))
    assert account.balances == {"ZUSD": 69800, "XXBT": 0}
    assert account.positions == {}


def test_the_demo_account_has_assets_that_exist() -> None:
    assert set(DEMO_BALANCES) <= {asset.key for asset in ASSETS}
