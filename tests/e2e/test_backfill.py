"""Trades that a gap lost, filled in from REST: together with the stream they are what the exchange traded."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from tests.e2e.test_sandbox import sandbox

if TYPE_CHECKING:
    from tests.support.command import Command

PAIRS = ("XBT/USD", "ETH/USD")


def post(url: str, fault: dict[str, object]) -> None:
    request = Request(
        f"{url}/sandbox/faults", json.dumps(fault).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=10.0) as answer:
        assert answer.status == 200


def micros(epoch: str) -> int:
    seconds, _, fraction = epoch.partition(".")
    return int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0"))


def traded(url: str, pair: str) -> list[tuple[int, str, str, str]]:
    """Return the exchange's own trades of a pair, by moment."""
    found: list[tuple[int, str, str, str]] = []
    since = "0"
    while True:
        with urlopen(f"{url}/0/public/Trades?pair={pair}&since={since}", timeout=10.0) as answer:
            result = json.loads(answer.read(), parse_float=str)["result"]
        last = result.pop("last")
        (rows,) = result.values()
        found += [(micros(row[2]), row[0], row[1], {"b": "buy", "s": "sell"}[row[3]]) for row in rows]
        if len(rows) < 1000 or last == since:
            return found
        since = last


def told(rows: list[dict[str, Any]]) -> list[tuple[int, str, str, str]]:
    from datetime import datetime

    return [
        (
            round(datetime.fromisoformat(row["timestamp"][:26] + "+00:00").timestamp() * 1_000_000),
            row["price"],
            row["qty"],
            row["side"],
        )
        for row in rows
    ]


@pytest.mark.parametrize("lag", [False, True])
def test_streamed_and_filled_trades_are_what_the_exchange_traded(krakenws: Command, lag: bool) -> None:
    with sandbox(krakenws, "--rate", "3000", "--pairs", ",".join(PAIRS)) as (_, says):
        line = ["trade", *PAIRS, "--backfill", "-o", "json"]
        endpoints = ["--public-url", says["public"], "--rest-url", says["REST"]]
        with krakenws.start(*line, *endpoints) as stream:
            lines: dict[str, list[dict[str, Any]]] = {pair: [] for pair in PAIRS}
            filled: dict[str, int] = {}

            def follow(until: str, times: int) -> None:
                while times:
                    event = stream.event()
                    if event["event"] == "update":
                        lines[event["symbol"]] += event["data"]
                    elif event["event"] == "backfilled":
                        assert event["complete"], event
                        filled[event["symbol"]] = event["trades"]
                    times -= event["event"] == until

            follow("update", 20)
            if lag:
                post(says["REST"], {"fault": "rest_lag", "lag_s": 1.5, "for_s": 3600})
            post(says["REST"], {"fault": "http_status", "status": 404, "times": 2})
            post(says["REST"], {"fault": "reset", "times": 1})
            follow("backfilled", len(PAIRS))
            follow("update", 20)
            stream.terminate()
            while (event := stream.event())["event"] != "summary":
                if event["event"] == "update":
                    lines[event["symbol"]] += event["data"]
        if lag:
            urlopen(Request(f"{says['REST']}/sandbox/faults", method="DELETE"), timeout=10.0).close()
        for pair, rows in lines.items():
            ours = told(rows)
            first, last = min(ours)[0], max(ours)[0]
            theirs = [trade for trade in traded(says["REST"], pair) if first < trade[0] < last]
            assert Counter(trade for trade in ours if first < trade[0] < last) == Counter(theirs)
            from_rest = [row for row in rows if row.get("source") == "backfill"]
            assert len(from_rest) == filled[pair] > 0
            assert len({row["trade_id"] for row in from_rest}) == len(from_rest)


def test_frames_as_they_came_cannot_be_filled_in(krakenws: Command) -> None:
    result = krakenws.run("trade", "XBT/USD", "--backfill", "-o", "raw")
    assert (result.code, result.out) == (2, "")
    assert "--backfill" in result.sentence
