"""Legal prices and volumes, and the nearest to those that are not, against arithmetic on fractions."""

from __future__ import annotations

import re
from fractions import Fraction
from math import lcm

from hypothesis import assume, given
from hypothesis import strategies as st

from krakenws.core import v1_entries
from krakenws.core.catalog import bind
from krakenws.core.exact import scale_of, text_of, trimmed, units
from krakenws.core.ordercheck import wrong_for_pair
from krakenws.core.pair import PairRow

NUMBERS = st.from_regex(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,12})?", fullmatch=True, alphabet="0123456789.")
TICKS = st.sampled_from(["0.00000001", "0.001", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "10", None])
DECIMALS = st.one_of(st.none(), st.integers(0, 10))


def pair(**rules: object) -> PairRow:
    fields = {
        "wsname": "XBT/USD",
        "altname": "",
        "rest_key": "",
        "symbol": "",
        "pair_decimals": None,
        "lot_decimals": None,
        "tick_size": None,
        "ordermin": None,
        "costmin": None,
        "status": "online",
        "leverage_buy": 0,
        "leverage_sell": 0,
        **rules,
    }
    return PairRow(**fields)  # type: ignore[arg-type]  # each test gives the kinds of its fields


def objection(row: PairRow, price: str, volume: str) -> str:
    words = ["pair=XBT/USD", "type=buy", "ordertype=limit", f"price={price}", f"volume={volume}"]
    wrong = wrong_for_pair(bind(v1_entries.ADD_ORDER, words), row)
    return "" if wrong is None else wrong[1]


def nearest_in(sentence: str) -> list[str]:
    listed = re.search(r"nearest legal \w+?s? (?:is|are) ([0-9.]+)(?: and ([0-9.]+))?$", sentence)
    assert listed, sentence
    return [found for found in listed.groups() if found]


def neighbours(text: str, step: Fraction, least: Fraction) -> set[Fraction]:
    """The multiples of a step around a number, without those below the least one."""
    below = Fraction(text) // step * step
    return {number for number in (below, below + step) if number >= least} or {least}


@given(NUMBERS, DECIMALS, TICKS)
def test_prices_pass_exactly_when_they_are_legal_and_the_nearest_are_named(
    price: str, decimals: int | None, tick: str | None
) -> None:
    assume(Fraction(price))
    steps = [Fraction(1, 10**decimals)] if decimals is not None else []
    steps += [Fraction(tick)] if tick else []
    scale = 10**12
    step = Fraction(lcm(*(int(each * scale) for each in steps)), scale)
    said = objection(pair(pair_decimals=decimals, tick_size=tick), price, "1")
    assert (not said) == (not steps or not Fraction(price) % step)
    if said:
        assert set(map(Fraction, nearest_in(said))) == neighbours(price, step, step)


@given(NUMBERS, st.integers(0, 10), NUMBERS)
def test_volumes_pass_exactly_when_they_are_legal_and_the_nearest_are_named(
    volume: str, decimals: int, ordermin: str
) -> None:
    assume(Fraction(volume))
    row = pair(lot_decimals=decimals, ordermin=ordermin)
    step = Fraction(1, 10**decimals)
    fits, enough = not Fraction(volume) % step, Fraction(volume) >= Fraction(ordermin)
    said = objection(row, "1", volume)
    assert (not said) == (fits and enough)
    if fits:
        assert not said or said.endswith(f"that is {trimmed(ordermin)}")
        return
    least = max(step, -(-Fraction(ordermin) // step) * step)
    assert set(map(Fraction, nearest_in(said))) == neighbours(volume, step, least)


@given(NUMBERS, NUMBERS, NUMBERS, st.integers(0, 10))
def test_the_least_volume_named_at_a_price_is_the_least_that_costs_enough(
    price: str, volume: str, costmin: str, decimals: int
) -> None:
    assume(Fraction(price) and Fraction(volume) and scale_of(volume) <= decimals)
    row = pair(lot_decimals=decimals, costmin=costmin)
    said = objection(row, price, volume)
    assert (not said) == (Fraction(price) * Fraction(volume) >= Fraction(costmin))
    if said:
        least = said.rpartition(" ")[2]
        assert not objection(row, price, least)
        below = Fraction(least) - Fraction(1, 10**decimals)
        assert Fraction(price) * below < Fraction(costmin)


@given(NUMBERS, st.integers(0, 20))
def test_units_and_text_are_each_others_inverse(number: str, more: int) -> None:
    scale = scale_of(number) + more
    assert Fraction(units(number, scale), 10**scale) == Fraction(number)
    assert Fraction(text_of(units(number, scale), scale)) == Fraction(number)
    assert Fraction(trimmed(number)) == Fraction(number)
