"""The list of pairs, its cache, patterns and nearest names."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from krakenws.errors import ConnectionFailed, RequestRejected
from krakenws.net.pairs import FRESH_S, Listed, Pairs, Shelf, load, parse
from krakenws.options import Options
from tests.support.rest import Answer, serve

if TYPE_CHECKING:
    from pathlib import Path

NOW_S = 1_790_000_000.0


def _entry(wsname: str, altname: str, **more: object) -> dict[str, object]:
    return {
        "altname": altname,
        "wsname": wsname,
        "pair_decimals": 1,
        "lot_decimals": 8,
        "leverage_buy": [2, 3, 10, 4],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "tick_size": "0.5",
        "ordermin": "0.00005",
        "costmin": "0.5",
        "status": "online",
        **more,
    }


RESULT: dict[str, object] = {
    "XXBTZUSD": _entry("XBT/USD", "XBTUSD"),
    "XXBTZEUR": _entry("XBT/EUR", "XBTEUR", status="cancel_only"),
    "XDGUSD": _entry("XDG/USD", "XDGUSD", status="newer_status"),
    "XETHXXBT": _entry("ETH/XBT", "ETHXBT"),
    "AAPLxUSD": _entry("AAPLx/USD", "AAPLxUSD"),
    "OLDUSD": _entry("OLD/USD", "OLDUSD", status="delisted"),
    "XXBTZUSD.d": {"altname": "XBTUSD.d"},
    "BARE": {"wsname": "B/ARE"},
    "ODD": {"wsname": "O/DD", "altname": 17, "pair_decimals": "1", "leverage_buy": "x", "tick_size": 1},
    "NOSLASH": {"wsname": "NOSLASH"},
    "NODICT": [],
    "NOTEXT": {"wsname": 17},
}
ANSWER = json.dumps({"error": [], "result": RESULT})
PAIRS = Pairs(parse(RESULT))


def _load(url: str, directory: Path, now_s: float = NOW_S, *, refresh: bool = False) -> Pairs:
    return load(Options(rest_url=url), refresh=refresh, now_s=now_s, directory=str(directory))


def test_a_row_has_every_name_and_rule_of_a_pair() -> None:
    row = PAIRS.find("xbt/usd")
    assert row is PAIRS.find("BTC/USD")
    assert row is not None
    assert vars(row) == {
        "wsname": "XBT/USD",
        "altname": "XBTUSD",
        "rest_key": "XXBTZUSD",
        "symbol": "BTC/USD",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "tick_size": "0.5",
        "ordermin": "0.00005",
        "costmin": "0.5",
        "status": "online",
        "leverage_buy": 10,
        "leverage_sell": 0,
    }


def test_entries_without_a_name_are_left_out_and_the_rest_is_in_order() -> None:
    assert PAIRS.names == [
        "AAPLx/USD",
        "B/ARE",
        "ETH/XBT",
        "O/DD",
        "OLD/USD",
        "XBT/EUR",
        "XBT/USD",
        "XDG/USD",
    ]


def test_what_kraken_did_not_send_is_none() -> None:
    for name, rest_key in (("B/ARE", "BARE"), ("O/DD", "ODD")):
        row = PAIRS.find(name)
        assert row is not None
        assert (row.altname, row.pair_decimals, row.tick_size, row.leverage_buy) == (rest_key, None, None, 0)
    assert PAIRS.find("XBTUSD") is None


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*/USD", ["AAPLx/USD", "XBT/USD", "XDG/USD"]),
        ("*/usd", ["AAPLx/USD", "XBT/USD", "XDG/USD"]),
        ("XBT/*", ["XBT/EUR", "XBT/USD"]),
        ("btc/*", ["XBT/EUR", "XBT/USD"]),
        ("*/BTC", ["ETH/XBT"]),
        ("?DG/USD", ["XDG/USD"]),
        ("[DX]*/USD", ["XBT/USD", "XDG/USD"]),
        ("*/XYZ", []),
        ("OLD/*", []),
    ],
)
def test_a_pattern_gives_the_pairs_that_are_not_delisted(pattern: str, names: list[str]) -> None:
    assert PAIRS.expand(pattern) == names


def test_patterns_give_the_names_of_the_api() -> None:
    assert PAIRS.expand("X*/USD", api=2) == ["BTC/USD", "DOGE/USD"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("XBTUSD", "XBT/USD"),
        ("XXBTZUSD", "XBT/USD"),
        ("btc-usd", "XBT/USD"),
        ("BTCUSD", "XBT/USD"),
        ("doge_usd", "XDG/USD"),
        ("XBT/USD", "XBT/USD"),
        ("aaplx/usd", "AAPLx/USD"),
        ("XBT/UDS", "XBT/USD"),
        ("€", None),
        ("", None),
    ],
)
def test_the_nearest_pair_is_the_one_that_was_meant(text: str, name: str | None) -> None:
    assert PAIRS.nearest(text) == name


def test_a_delisted_pair_is_never_the_nearest() -> None:
    assert PAIRS.nearest("OLDUSD") != "OLD/USD"


def test_the_nearest_pair_has_the_name_of_the_api() -> None:
    assert PAIRS.nearest("XBTUSD", api=2) == "BTC/USD"


def test_a_list_is_fetched_once_a_day(tmp_path: Path) -> None:
    with serve(ANSWER) as server:
        first = _load(server.url, tmp_path / "new")
        again = _load(server.url, tmp_path / "new", NOW_S + FRESH_S - 1)
        assert (len(server.asked), first, again) == (1, PAIRS, PAIRS)
        _load(server.url, tmp_path / "new", NOW_S + FRESH_S)
        assert len(server.asked) == 2
        _load(server.url, tmp_path / "new", NOW_S + FRESH_S, refresh=True)
        assert len(server.asked) == 3
        _load(server.url, tmp_path / "new", NOW_S)
        assert len(server.asked) == 4, "a list of the future comes from a wrong clock"


def test_an_old_list_serves_offline_and_says_so(tmp_path: Path) -> None:
    with serve(ANSWER) as server:
        _load(server.url, tmp_path)
    pairs = _load(server.url, tmp_path, NOW_S + 10 * FRESH_S)
    assert pairs.rows == PAIRS.rows
    assert pairs.note.startswith("the list of pairs is the one of 2026-09-21 14:13 UTC: 127.0.0.1:")
    assert "refused the connection" in pairs.note
    assert _load(server.url, tmp_path, refresh=True).note


def test_offline_without_a_list_fails(tmp_path: Path) -> None:
    with serve("") as server:
        pass
    with pytest.raises(ConnectionFailed, match="refused the connection"):
        _load(server.url, tmp_path)


def test_a_page_of_cloudflare_counts_as_offline(tmp_path: Path) -> None:
    with serve(ANSWER, Answer("<title>520</title>", status=520)) as server:
        _load(server.url, tmp_path)
        assert "HTTP status 520" in _load(server.url, tmp_path, refresh=True).note


def test_a_refusal_is_not_hidden_by_the_cache(tmp_path: Path) -> None:
    with serve(ANSWER, '{"error":["EGeneral:Invalid arguments"]}') as server:
        _load(server.url, tmp_path)
        with pytest.raises(RequestRejected):
            _load(server.url, tmp_path, refresh=True)


def test_each_endpoint_has_its_own_list_and_the_oldest_go(tmp_path: Path) -> None:
    for number in range(10):
        answer = json.dumps({"error": [], "result": {"X": _entry(f"N{number}/USD", "")}})
        with serve(answer) as server:
            _load(server.url, tmp_path, NOW_S + number)
            assert _load(server.url, tmp_path, NOW_S + number).names == [f"N{number}/USD"]
    stored = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert sorted(line[0] for line in stored if isinstance(line, list)) == [
        f"N{number}/USD" for number in range(2, 10)
    ]
    assert os.listdir(tmp_path) == ["pairs.jsonl"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-5],
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: '{"layout":2}',
        lambda text: '{"layout":2}\n{"endpoint":[]}',
        lambda text: '{"layout":2}\n[]',
        lambda text: text.replace('"layout":2', '"layout":3'),
        lambda text: text.replace('"XBT/USD"', "17"),
        lambda text: text.replace('"XBT/USD",', ""),
        lambda text: text.replace("1790000000.0", "NaN"),
        lambda text: text.replace("1790000000.0", "1e300"),
        lambda text: text.replace("1790000000.0", '"yesterday"'),
        lambda text: "\udcff",
    ],
)
def test_a_cache_that_is_not_ours_is_fetched_again(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    path = tmp_path / "pairs.jsonl"
    with serve(ANSWER) as server:
        _load(server.url, tmp_path)
        path.write_text(spoil(path.read_text()), errors="surrogateescape")
        Shelf(Options(rest_url=server.url), str(tmp_path)).find("XBT/USD")
        assert _load(server.url, tmp_path) == PAIRS
        assert len(server.asked) == 2
        assert _load(server.url, tmp_path) == PAIRS
        assert len(server.asked) == 2


def test_a_cache_that_cannot_be_written_is_mentioned(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with serve(ANSWER) as server:
        pairs = _load(server.url, tmp_path / "file")
    assert pairs.rows == PAIRS.rows
    assert pairs.note.startswith("the list of pairs could not be kept in ")


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krakenws.net.pairs.cache_dir", lambda: str(tmp_path / "krakenws"))
    with serve(ANSWER) as server:
        load(Options(rest_url=server.url), refresh=False, now_s=NOW_S)
    assert (tmp_path / "krakenws" / "pairs.jsonl").exists()


def test_one_pair_is_looked_up_in_its_endpoints_list_by_either_name(tmp_path: Path) -> None:
    other = json.dumps({"error": [], "result": {"X": _entry("ONLY/HERE", "")}})
    with serve(ANSWER) as server, serve(other) as elsewhere:
        options = Options(rest_url=server.url)
        assert Shelf(options, str(tmp_path)).find("XBT/USD") is None, "nothing was fetched yet"
        _load(server.url, tmp_path)
        _load(elsewhere.url, tmp_path, NOW_S + 1)
        row = PAIRS.find("XBT/USD")
        for name in ("XBT/USD", "BTC/USD"):
            assert Shelf(options, str(tmp_path)).find(name) == Listed(row, NOW_S)
        for row in PAIRS.rows:
            assert Shelf(options, str(tmp_path)).find(row.wsname) == Listed(row, NOW_S)
        assert Shelf(options, str(tmp_path)).find("ONLY/HERE") == Listed(None, NOW_S)
        assert Shelf(options, str(tmp_path)).find("XBT") == Listed(None, NOW_S)
        assert Shelf(options, str(tmp_path)).find('X","Y') == Listed(None, NOW_S)
        found = Shelf(Options(rest_url=elsewhere.url), str(tmp_path)).find("ONLY/HERE")
        assert found is not None
        assert (found.row is None, found.fetched_s) == (False, NOW_S + 1)
        assert Shelf(Options(rest_url=elsewhere.url), str(tmp_path)).find("XBT/USD") == Listed(
            None, NOW_S + 1
        )


def test_a_shelf_is_looked_into_again_a_second_after_another_list_has_taken_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 10.0
    monkeypatch.setattr("krakenws.net.pairs.monotonic", lambda: now_s)
    with serve(ANSWER) as server:
        shelf = Shelf(Options(rest_url=server.url), str(tmp_path))
        _load(server.url, tmp_path)
        found = shelf.find("XBT/USD")
        assert shelf.find("XBT/USD") is found, "it was read again"
        _load(server.url, tmp_path, NOW_S + FRESH_S + 1)
        now_s += 1.0
        again = shelf.find("XBT/USD")
        assert again is not None
        assert again.fetched_s == NOW_S + FRESH_S + 1
        (tmp_path / "pairs.jsonl").unlink()
        now_s += 1.0
        assert shelf.find("XBT/USD") is None
