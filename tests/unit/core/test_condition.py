"""The grammar of conditions: what is one, what is said of what is none, and three-valued logic."""

from __future__ import annotations

from decimal import Decimal

import pytest

from krakenws.core.condition import Condition, Number, Quantity, holds, parse
from krakenws.errors import UsageError


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("XBT/USD bid >= 65000", "XBT/USD bid >= 65000"),
        ("btc/usd BID>=65000.50", "XBT/USD bid >= 65000.50"),
        ("65000 < xbt/usd Last", "65000 < XBT/USD last"),
        ("ETH/USD last < XBT/USD mid", "ETH/USD last < XBT/USD mid"),
        ("1INCH/USD volume != 0 FOR 1.5s", "1INCH/USD volume != 0 for 1.5s"),
        (
            "XBT/USD bid > 1 AND ETH/USD ask < 2 or DOGE/USD mid == 3",
            "XBT/USD bid > 1 and ETH/USD ask < 2 or XDG/USD mid == 3",
        ),
        ("((XBT/USD bid > 1))", "XBT/USD bid > 1"),
        (
            "(XBT/USD bid > 1 or XBT/USD bid < 0) and (ETH/USD ask < 2)for 3s",
            "(XBT/USD bid > 1 or XBT/USD bid < 0) and ETH/USD ask < 2 for 3s",
        ),
    ],
)
def test_a_condition_is_read_in_any_spelling_and_written_in_one(text: str, read: str) -> None:
    condition = parse(text)
    assert str(condition) == read
    assert parse(read) == condition


def test_a_time_to_hold_is_about_the_whole() -> None:
    condition = parse("XBT/USD bid > 1 or ETH/USD ask < 2 for 2m")
    assert condition.hold_s == 120.0
    assert condition.quantities == [Quantity("XBT/USD", "bid"), Quantity("ETH/USD", "ask")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "wait needs a condition, such as 'XBT/USD bid >= 65000'"),
        ("XBT/USD bdi >= 1", "bdi (word 2 of the condition) is no quantity (ask, bid, last, mid, spread,"),
        ("XBT/USD bdi >= 1", "did you mean bid?"),
        ("XBT/USD bid => 1", "=> (word 3 of the condition) is no comparison (>=, <=, >, <, ==, !=); did you"),
        ("XBT/USD bid => 1", "did you mean >=?"),
        ("XBT/USD bid = 1", "did you mean ==?"),
        ("XBT/USD bid ≥ 1", "did you mean >=?"),
        ("XBT/USD bid 65000", "quote the condition, or the shell takes > and < for itself"),
        ("bid >= 1", "bid (word 1 of the condition) stands without its pair: write XBT/USD bid"),
        ("XBTUSD bid > 1", "is not BASE/QUOTE; did you mean XBT/USD?"),
        ("1 < 2", "one side must be a quantity"),
        ("XBT/USD bid > 65,000", "65,000 (word 4 of the condition) is not a decimal number"),
        ("XBT/USD bid > 65,000", "a point stands before decimals, and nothing between thousands"),
        ("not XBT/USD bid > 1", "not (word 1 of the condition) is not part of a condition: turn the"),
        ("XBT/USD bid > 6e4", "write it out, without an exponent"),
        ("XBT/USD bid > -1", "-1 (word 4 of the condition) is not a decimal number"),
        ("*/USD bid > 1", "is a pattern: a condition names its pairs one by one"),
        ("XBT/USD bid > 1 for", "ends behind for, where a duration such as 3s is missing"),
        ("XBT/USD bid > 1 for 3x", "3x (word 6 of the condition) is not a duration such as 10s"),
        ("XBT/USD bid > 1 for 3s or XBT/USD ask < 3", "follows for, which ends a condition"),
        ("(XBT/USD bid > 1 for 3s)", "stands within parentheses: it ends a condition"),
        ("XBT/USD bid > 1 && XBT/USD ask < 3", "did you mean and?"),
        ("XBT/USD bid > 1 orr XBT/USD ask < 3", "did you mean or?"),
        ("(XBT/USD bid > 1", "a parenthesis of the condition is not closed"),
        ("XBT/USD bid > 1)", "closes a parenthesis that was not opened"),
        ("1 < XBT/USD bid < 2", "is a second comparison in one: join two with and"),
        ("XBT/USD bid >", "the condition ends behind >, where"),
        ("(" * 5000, "is one parenthesis too deep"),
    ],
)
def test_what_is_no_condition_is_refused_at_the_word_that_does_not_fit(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert said in str(refused.value)


def test_as_deep_as_allowed_is_read() -> None:
    assert str(parse("(" * 50 + "XBT/USD bid > 1" + ")" * 50)) == "XBT/USD bid > 1"


def verdict(condition: Condition, **known: str) -> bool | None:
    def value_of(value: Number | Quantity) -> Decimal | None:
        text = value.text if isinstance(value, Number) else known.get(value.name)
        return None if text is None else Decimal(text)

    return holds(condition.root, value_of)


@pytest.mark.parametrize(
    ("operator", "below", "same", "above"),
    [
        (">=", False, True, True),
        ("<=", True, True, False),
        (">", False, False, True),
        ("<", True, False, False),
        ("==", False, True, False),
        ("!=", True, False, True),
    ],
)
def test_comparisons_are_of_numbers_and_exact(operator: str, below: bool, same: bool, above: bool) -> None:
    condition = parse(f"XBT/USD bid {operator} 0.30000000000000000001")
    assert verdict(condition, bid="0.3") is below
    assert verdict(condition, bid="0.300000000000000000010") is same
    assert verdict(condition, bid="0.30000000000000000002") is above


def test_and_binds_tighter_than_or() -> None:
    condition = parse("XBT/USD bid > 1 or XBT/USD ask > 1 and XBT/USD last > 1")
    assert verdict(condition, bid="2", ask="0", last="0") is True
    assert verdict(parse("(XBT/USD bid > 1 or XBT/USD ask > 1) and XBT/USD last > 1"), bid="2", last="0") is (
        False
    )


def test_what_is_known_decides_where_it_can() -> None:
    either, both = (parse(f"XBT/USD bid > 1 {word} XBT/USD ask > 1") for word in ("or", "and"))
    assert verdict(either, bid="2") is True
    assert verdict(either, bid="1") is None
    assert verdict(both, bid="1") is False
    assert verdict(both, bid="2") is None
    assert verdict(both) is None
