"""Public channels: when each says something, and exactly what."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from krakenws.exchange.feeds import PublicFeeds
from krakenws.exchange.instruments import find

T = 1_795_324_223_123_456  # 2026-11-22T05:10:23.123456Z
MINUTE_US = 60_000_000
CHANNELS = ("trade", "ticker", "spread", "ohlc-1", "ohlc-5", "book-10")


def feeds(*channels: str, name: str = "XBT/USD") -> PublicFeeds:
    """The feeds of a pair with a bid of 2 at 84000 and an ask of 1.5 at 84000.1."""
    instrument = find(name)
    assert instrument is not None
    made = PublicFeeds(instrument)
    made.levels_changed(
        [("buy", Decimal(84000), Decimal(2), T - 9), ("sell", Decimal("84000.1"), Decimal("1.5"), T - 8)]
    )
    made.frames(T)
    for channel in channels:
        made.open(channel)
    return made


def trade(price: str, qty: str, at_us: int = T) -> tuple[Decimal, Decimal, str, str, int]:
    return (Decimal(price), Decimal(qty), "buy", "market", at_us)


def payload(frame: bytes | None) -> Any:
    assert frame is not None
    return json.loads(frame)[1]


def test_a_transaction_is_one_frame_on_every_open_channel() -> None:
    made = feeds(*CHANNELS)
    made.levels_changed([("sell", Decimal("84000.1"), Decimal(1), T)])
    made.traded([trade("84000.1", "0.25"), trade("84000.1", "0.25", T + 1)])
    frames = made.frames(T)
    assert sorted(channel for channel, _ in frames) == sorted(CHANNELS)
    assert all(json.loads(frame)[-2:] == [channel, "XBT/USD"] for channel, frame in frames)
    assert made.frames(T) == []


def test_channels_that_are_not_open_are_silent() -> None:
    made = feeds()
    made.levels_changed([("sell", Decimal("84000.1"), Decimal(1), T)])
    made.traded([trade("84000.1", "0.5")])
    assert made.frames(T) == []


def test_closed_channels_are_silent() -> None:
    made = feeds(*CHANNELS)
    for channel in CHANNELS:
        made.close(channel)
    made.levels_changed([("sell", Decimal("84000.1"), Decimal(1), T)])
    made.traded([trade("84000.1", "0.5")])
    assert made.frames(T) == []


def test_a_trade_frame_has_the_takers_letters_and_an_empty_misc() -> None:
    made = feeds("trade")
    made.traded([(Decimal("84000.1"), Decimal("0.5"), "sell", "limit", T), trade("84000.1", "12", T + 1)])
    assert dict(made.frames(T))["trade"] == (
        b'[337,[["84000.10000","0.50000000","1795324223.123456","s","l",""],'
        b'["84000.10000","12.00000000","1795324223.123457","b","m",""]],"trade","XBT/USD"]'
    )


def test_a_ticker_has_its_keys_in_the_captured_order() -> None:
    made = feeds()
    made.traded([trade("84000.0", "1.0", T - 5), trade("84000.1", "3.0", T)])
    assert made.snapshot("ticker", T) == (
        b'[340,{"a":["84000.10000",1,"1.50000000"],"b":["84000.00000",2,"2.00000000"],'
        b'"c":["84000.10000","3.00000000"],"v":["4.00000000","4.00000000"],"p":["84000.07500","84000.07500"],'
        b'"t":[2,2],"l":["84000.00000","84000.00000"],"h":["84000.10000","84000.10000"],'
        b'"o":["84000.00000","84000.00000"]},"ticker","XBT/USD"]'
    )


def test_quotes_alone_move_no_ticker() -> None:
    """Quirk F10."""
    made = feeds("ticker")
    made.levels_changed([("sell", Decimal("84000.1"), Decimal(0), T)])
    assert made.frames(T) == []


def test_a_ticker_without_trades_or_levels_shows_the_start_price_and_nothing_else() -> None:
    instrument = find("ADA/XBT")
    assert instrument is not None
    shown = payload(PublicFeeds(instrument).snapshot("ticker", T))
    assert shown["a"] == shown["b"] == ["0.000000000", 0, "0.00000000"]
    assert shown["c"] == ["0.000005010", "0.00000000"]
    assert (shown["v"], shown["t"], shown["p"]) == (["0.00000000"] * 2, [0, 0], ["0.000000000"] * 2)
    assert shown["l"] == shown["h"] == shown["o"] == ["0.000005010"] * 2


def test_a_day_without_trades_has_the_last_price_and_yesterdays_volume_beside_it() -> None:
    made = feeds()
    made.traded([trade("84001", "1"), trade("84000", "1")])
    shown = payload(made.snapshot("ticker", T + 1200 * MINUTE_US))
    assert (shown["v"], shown["t"]) == (["0.00000000", "2.00000000"], [0, 2])
    assert shown["p"] == ["0.00000", "84000.50000"]
    assert shown["o"] == ["84000.00000", "84001.00000"]


def test_a_spread_says_bid_ask_time_and_volumes() -> None:
    made = feeds("spread")
    made.levels_changed([("sell", Decimal("84000.1"), Decimal("1.25"), T)])
    assert made.frames(T) == [
        (
            "spread",
            b'[341,["84000.00000","84000.10000","1795324223.123456","2.00000000","1.25000000"],"spread","XBT/USD"]',
        )
    ]


def test_a_level_behind_the_best_moves_no_spread() -> None:
    made = feeds("spread")
    made.levels_changed([("sell", Decimal("84000.2"), Decimal(1), T)])
    assert made.frames(T) == []


def test_a_spread_that_is_back_at_the_end_of_a_transaction_is_not_told() -> None:
    made = feeds("spread", "book-10")
    made.levels_changed(
        [("sell", Decimal(84000), Decimal(1), T), ("sell", Decimal(84000), Decimal(0), T)],
    )
    assert [channel for channel, _ in made.frames(T)] == ["book-10"]


def test_a_spread_opened_late_tells_the_next_change_only() -> None:
    made = feeds()
    made.levels_changed([("sell", Decimal("84000.1"), Decimal(1), T)])
    made.open("spread")
    made.levels_changed([("sell", Decimal("84000.2"), Decimal(1), T)])
    assert made.frames(T) == []


def test_the_spread_of_one_side_has_zeros_on_the_other() -> None:
    made = feeds("spread")
    made.levels_changed([("sell", Decimal("84000.1"), Decimal(0), T)])
    [(_, frame)] = made.frames(T)
    assert payload(frame) == ["84000.00000", "0.00000", "1795324223.123456", "2.00000000", "0.00000000"]


def test_a_candle_says_last_trade_end_prices_average_volume_count() -> None:
    made = feeds("ohlc-5")
    made.traded([trade("84000", "1"), trade("84003", "2", T + 1)])
    assert dict(made.frames(T))["ohlc-5"] == (
        b'[343,["1795324223.123457","1795324500.000000","84000.00000","84003.00000","84000.00000",'
        b'"84003.00000","84002.00000","3.00000000",2],"ohlc-5","XBT/USD"]'
    )


def test_a_candle_closed_in_the_middle_of_a_transaction_is_sent_before_the_next() -> None:
    made = feeds("ohlc-1", "ohlc-5")
    made.traded([trade("84000", "1"), trade("84003", "2", T + MINUTE_US)])
    assert [(channel, payload(frame)[-1]) for channel, frame in made.frames(T + MINUTE_US)] == [
        ("ohlc-1", 1),
        ("ohlc-1", 1),
        ("ohlc-5", 2),
    ]


def test_a_candle_that_an_earlier_transaction_finished_is_not_sent_again() -> None:
    made = feeds("ohlc-1")
    made.traded([trade("84000", "1")])
    made.frames(T)
    made.traded([trade("84003", "2", T + MINUTE_US)])
    assert len(made.frames(T + MINUTE_US)) == 1


@pytest.mark.parametrize("channel", ["trade", "spread", "ohlc-1"])
def test_some_channels_have_nothing_for_a_joiner(channel: str) -> None:
    assert feeds(channel).snapshot(channel, T) is None


def test_a_joiner_is_sent_the_latest_candle_however_old() -> None:
    made = feeds()
    made.traded([trade("84000", "1")])
    assert payload(made.snapshot("ohlc-1", T + 500 * MINUTE_US))[0] == "1795324223.123456"


def test_opening_a_channel_twice_is_opening_it() -> None:
    made = feeds("ohlc-1", "ohlc-1", "book-10", "book-10")
    made.levels_changed([("sell", Decimal("84000.1"), Decimal(1), T)])
    made.traded([trade("84000", "1")])
    assert len(made.frames(T)) == 2


def test_channel_ids_tell_channels_apart_and_depths_not() -> None:
    """Source: v1.md 4.1."""
    made = feeds()
    names = ("book-10", "book-1000", "trade", "ticker", "spread", "ohlc-1", "ohlc-60")
    assert [made.channel_id(name) for name in names] == [336, 336, 337, 340, 341, 343, 343]


def test_another_precision_holds_for_what_comes_and_levels_keep_theirs() -> None:
    """Quirk B21."""
    made = feeds("book-10", "trade")
    made.change_precision(1)
    made.levels_changed([("sell", Decimal("84000.2"), Decimal(1), T)])
    made.traded([trade("84000.1", "1")])
    frames = dict(made.frames(T))
    assert payload(frames["trade"])[0][0] == "84000.1"
    assert payload(frames["book-10"])["a"][0][0] == "84000.2"
    assert [level[0] for level in payload(made.snapshot("book-10", T))["as"]] == ["84000.10000", "84000.2"]
