"""What a tier lets an account open on margin. Each refusal has a row in `test_error_strings`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from krakenws.exchange.accounts import Account
from krakenws.exchange.checks import Terms
from krakenws.exchange.margin import (
    ALLOWANCE,
    CANNOT_OPEN,
    CANNOT_OPEN_OPPOSING,
    POSITION_SIZE,
    POSITIONS_LIMIT,
    check_margin,
)
from krakenws.exchange.positions import Position
from krakenws.exchange.ratecounter import PRO, STARTER, Tier
from krakenws.exchange.requests import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

PAIR, OTHER = "XBT/USD", "XBT/EUR"
PRICE = Decimal(50_000)


def long_of(qty: str, tier: Tier = PRO, pair: str = PAIR) -> Account:
    """An account that has bought so much in one position; "0" is none."""
    account = Account("someone", tier)
    if Decimal(qty):
        position = Position("T", "O", "buy")
        position.qty, position.cost = Decimal(qty), Decimal(qty) * PRICE
        account.positions[pair] = [position]
    return account


def refusal(
    account: Account,
    side: str,
    qty: str,
    rate: Callable[[str], Decimal] = lambda _: Decimal(1),
    leverage: int = 5,
) -> str:
    terms = Terms(side, "limit", Decimal(qty), limit_price=PRICE, leverage=leverage)
    try:
        check_margin(account, PAIR, terms, PRICE, rate)
    except Refusal as refused:
        return refused.code
    return ""


@pytest.mark.parametrize(
    ("held", "side", "qty", "error"),
    [
        ("0", "buy", "0.1", CANNOT_OPEN),
        ("1", "buy", "0.1", CANNOT_OPEN),
        ("1", "sell", "1", ""),
        ("1", "sell", "1.1", CANNOT_OPEN_OPPOSING),
    ],
)
def test_a_tier_without_margin_may_only_close(held: str, side: str, qty: str, error: str) -> None:
    assert refusal(long_of(held, STARTER), side, qty) == error


def test_a_spot_order_is_not_looked_at() -> None:
    assert refusal(long_of("0", STARTER), "buy", "1000", leverage=0) == ""


def test_the_position_on_a_pair_has_an_end_and_what_is_closed_first_does_not_count() -> None:
    assert refusal(long_of("0"), "buy", "20") == ""
    assert refusal(long_of("10"), "buy", "10.1") == POSITION_SIZE
    assert refusal(long_of("10"), "sell", "30") == ""
    assert refusal(long_of("10"), "sell", "30.1") == POSITION_SIZE


def test_all_positions_together_have_an_end_counted_in_dollars() -> None:
    small = Tier("small", 60, 100, 60, margin_usd=100_000)
    assert refusal(long_of("1", small, OTHER), "buy", "1") == ""
    assert refusal(long_of("1", small, OTHER), "buy", "1.1") == ALLOWANCE
    euro = {PAIR: Decimal(1), OTHER: Decimal("1.2")}
    assert refusal(long_of("1", small, OTHER), "buy", "0.9", euro.__getitem__) == ALLOWANCE


def test_positions_are_counted_without_the_one_that_is_closed() -> None:
    one = Tier("one", 60, 100, 1)
    assert refusal(long_of("1", one), "buy", "0.1") == POSITIONS_LIMIT
    assert refusal(long_of("1", one), "sell", "1.1") == ""
