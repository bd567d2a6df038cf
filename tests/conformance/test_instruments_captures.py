"""The sandbox's pairs and assets are the exchange's own, as captured over REST."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.exchange.instruments import ASSETS, INSTRUMENTS, Instrument, find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCALES = ("pair_decimals", "lot_decimals")
LIMITS = ("tick_size", "ordermin", "costmin")


def results(captures: Path, name: str, method: str) -> Iterator[dict[str, Any]]:
    """The results of a method, numbers in their own digits."""
    for line in (captures / name).read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        if method in str(answer["url"]):
            yield json.loads(answer["frame"], parse_float=Decimal)["result"]


def captured_pairs(captures: Path, name: str) -> Iterator[tuple[str, dict[str, Any], Instrument]]:
    """Captured pairs that the sandbox has too: key, fields, the sandbox's own."""
    for result in results(captures, name, "AssetPairs"):
        for key, pair in result.items():
            instrument = find(key)
            if instrument is not None:
                yield key, pair, instrument


def names(key: str, pair: dict[str, Any]) -> list[str]:
    return [key, pair["altname"], pair["wsname"], pair["base"], pair["quote"]]


def names_of(instrument: Instrument) -> list[str]:
    return [getattr(instrument, name) for name in ("rest_key", "altname", "wsname", "base", "quote")]


def test_pairs_captured_lately_are_reproduced_in_every_field(captures: Path) -> None:
    compared = set()
    for key, pair, instrument in captured_pairs(captures, "rest_public_2025_2026.jsonl"):
        assert names_of(instrument) == names(key, pair)
        for name in (*SCALES, "cost_decimals"):
            assert getattr(instrument, name) == pair[name], (key, name)
        for name in LIMITS:
            assert getattr(instrument, name) == Decimal(pair[name]), (key, name)
        for name in ("leverage_buy", "leverage_sell"):
            assert getattr(instrument, name) == tuple(pair[name]), (key, name)
        assert instrument.status == pair["status"]
        for name in ("fees", "fees_maker"):  # one capture leaves them out, one ends early
            captured = tuple((volume, Decimal(percent)) for volume, percent in pair[name])
            assert getattr(instrument, name)[: len(captured)] == captured
        compared.add(instrument.wsname)
    assert compared == {
        "XBT/USD",
        "ETH/USD",
        "SOL/USD",
        "XRP/USD",
        "XDG/USD",
        "XBT/USDT",
        "ETH/XBT",
        "ACA/EUR",
    }


def test_the_other_pairs_have_the_facts_of_2021(captures: Path) -> None:
    """But for the minimums of XBT and ETH, and for what was captured since."""
    lately = {item.wsname for *_, item in captured_pairs(captures, "rest_public_2025_2026.jsonl")}
    compared = set()
    for key, pair, instrument in captured_pairs(captures, "rest_assetpairs_2021.jsonl"):
        assert names_of(instrument) == names(key, pair)
        if instrument.wsname != "ETH/XBT":  # has one decimal more since
            assert [getattr(instrument, name) for name in SCALES] == [pair[name] for name in SCALES]
        if instrument.wsname not in lately:
            assert instrument.leverage_buy == tuple(pair["leverage_buy"])
            assert instrument.base in {"XXBT", "XETH"} or instrument.ordermin == Decimal(pair["ordermin"])
        compared.add(instrument.wsname)
    assert {item.wsname for item in INSTRUMENTS} - compared == {"SOL/USD", "0G/EUR", "ACA/EUR"}


def test_assets_have_the_captured_names_and_decimals(captures: Path) -> None:
    [result] = results(captures, "rest_public_2025_2026.jsonl", "/Assets")
    ours = {asset.key: asset for asset in ASSETS}
    for key, asset in result.items():
        assert [ours[key].altname, ours[key].decimals, ours[key].display_decimals] == [
            asset["altname"],
            asset["decimals"],
            asset["display_decimals"],
        ]


@pytest.mark.parametrize("name", ["v1_ticker.jsonl", "v1_public_misc.jsonl"])
def test_the_wires_price_decimals_are_the_captured_ones(captures: Path, name: str) -> None:
    compared = 0
    for line in (captures / name).read_text(encoding="utf-8").splitlines():
        message = json.loads(json.loads(line)["frame"])
        if isinstance(message, list) and message[-2] == "ticker":
            instrument = find(message[-1])
            if instrument is not None:
                assert len(message[1]["c"][0].partition(".")[2]) == instrument.wire_price_decimals
                compared += 1
    assert compared
