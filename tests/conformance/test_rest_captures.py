"""REST answers as the exchange sent them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from krakenws.net.pairs import Pairs, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    ReadCapture = Callable[[str], list[tuple[str | None, str, str]]]


def _asset_pairs(frame: str) -> dict[str, dict[str, object]]:
    """The result of an answer if it is one of AssetPairs, else nothing."""
    result = json.loads(frame, parse_float=str).get("result")
    entries = result if isinstance(result, dict) else {}
    return {
        key: entry for key, entry in entries.items() if isinstance(entry, dict) and "pair_decimals" in entry
    }


@pytest.fixture(scope="module")
def pairs_2021(read_capture: ReadCapture) -> Pairs:
    ((_, _, frame),) = read_capture("rest_assetpairs_2021.jsonl")
    return Pairs(parse(_asset_pairs(frame)))


def test_every_pair_of_2021_with_a_websocket_name_is_a_row(
    read_capture: ReadCapture, pairs_2021: Pairs
) -> None:
    ((_, _, frame),) = read_capture("rest_assetpairs_2021.jsonl")
    sent = _asset_pairs(frame)
    named = {key: entry for key, entry in sent.items() if "wsname" in entry}
    assert len(named) < len(sent), "the dark-pool pairs have none"
    assert {row.rest_key: row.wsname for row in pairs_2021.rows} == {k: e["wsname"] for k, e in named.items()}
    for row in pairs_2021.rows:
        entry = named[row.rest_key]
        assert row.altname == entry["altname"]
        assert (row.pair_decimals, row.lot_decimals) == (entry["pair_decimals"], entry["lot_decimals"])
        assert (row.tick_size, row.costmin, row.status) == (None, None, None), "not yet sent in 2021"


def test_patterns_and_nearest_names_work_on_the_list_of_2021(pairs_2021: Pairs) -> None:
    dollars = pairs_2021.expand("*/usd")
    assert dollars == [name for name in pairs_2021.names if name.endswith("/USD")]
    assert {"XBT/USD", "XDG/USD", "ETH/USD"} <= set(dollars)
    for row in pairs_2021.rows:
        for text in (row.altname, row.rest_key, row.wsname.replace("/", "-"), row.symbol):
            assert pairs_2021.nearest(text) == row.wsname


def test_every_pair_of_2025_and_2026_has_its_rules(read_capture: ReadCapture) -> None:
    frames = [frame for _, _, frame in read_capture("rest_public_2025_2026.jsonl")]
    lists = [found for frame in frames if (found := _asset_pairs(frame))]
    assert len(lists) == 4
    for sent in lists:
        rows = parse(sent)
        assert len(rows) == len(sent)
        for row in rows:
            entry = sent[row.rest_key]
            for field in ("tick_size", "ordermin", "costmin", "status"):
                assert getattr(row, field) == entry[field]
                assert isinstance(entry[field], str)
            leverages = entry["leverage_buy"]
            assert isinstance(leverages, list)
            assert row.leverage_buy == max(leverages, default=0)
