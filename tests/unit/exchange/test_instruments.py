"""The sandbox's pairs: consistent in themselves, varied on purpose, found by any spelling."""

from __future__ import annotations

from decimal import Decimal

import pytest

from krakenws.exchange.instruments import ASSETS, INSTRUMENTS, QUIET, THIN, Instrument, find

PAIRS = pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda item: item.wsname)


def decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


@pytest.mark.parametrize("name", ["XDG/USD", "XDGUSD", "xdgusd", "DOGE/USD", "DOGEUSD"])
def test_a_pair_is_found_by_any_spelling(name: str) -> None:
    instrument = find(name)
    assert instrument is not None
    assert instrument.symbol == "DOGE/USD"


def test_a_pair_is_found_by_its_rest_key() -> None:
    assert find("XXBTZEUR") is find("BTC/EUR") is find("XBTEUR")


@pytest.mark.parametrize("name", ["", "XBT", "XBT/", "XBT-USD", "LSK/XBT"])
def test_an_unknown_pair_is_none(name: str) -> None:
    assert find(name) is None


def test_no_spelling_number_or_name_means_two_pairs() -> None:
    for name in ("wsname", "altname", "rest_key", "symbol", "number"):
        assert len({getattr(item, name) for item in INSTRUMENTS}) == len(INSTRUMENTS)
    assert all(
        find(name) is item
        for item in INSTRUMENTS
        for name in (item.wsname, item.altname, item.rest_key, item.symbol)
    )


@PAIRS
def test_a_pairs_numbers_fit_each_other(instrument: Instrument) -> None:
    assert instrument.start_price % instrument.tick_size == 0
    assert decimals(instrument.tick_size) <= instrument.pair_decimals <= instrument.wire_price_decimals
    assert decimals(instrument.ordermin) <= instrument.lot_decimals
    assert instrument.start_price >= 40 * instrument.tick_size, "too few prices for a market"


@PAIRS
def test_a_pairs_assets_are_listed(instrument: Instrument) -> None:
    assert {instrument.base, instrument.quote} <= {asset.key for asset in ASSETS}


@PAIRS
def test_fees_fall_with_volume_and_begin_at_none(instrument: Instrument) -> None:
    for schedule in (instrument.fees, instrument.fees_maker):
        volumes, percents = zip(*schedule, strict=True)
        assert volumes[0] == 0
        assert list(volumes) == sorted(set(volumes))
        assert list(percents) == sorted(percents, reverse=True)


def test_every_kind_of_pair_that_clients_stumble_over_is_there() -> None:
    by_name = {item.wsname: item for item in INSTRUMENTS}
    assert by_name["XDG/USD"].wire_price_decimals == 9
    assert by_name["0G/EUR"].lot_decimals == 5
    assert by_name["XBT/JPY"].pair_decimals == 0
    assert by_name["ACA/EUR"].status == "cancel_only"
    assert any(item.tick_size > Decimal(1).scaleb(-item.pair_decimals) for item in INSTRUMENTS)
    assert {THIN, QUIET} < {item.liquidity for item in INSTRUMENTS}
    assert 28 <= len(INSTRUMENTS) <= 40
