"""What a watch believes and for how long: fed with what the protocol makes of frames, time as an argument."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core.catalog import bind, find
from krakenws.core.condition import parse
from krakenws.core.protocol import ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES
from krakenws.core.watch import Watch
from krakenws.options import Options
from tests.support.scripts import HEARTBEAT, Ladder
from tests.support.server import GREETING

if TYPE_CHECKING:
    from krakenws.core.events import Met

ANY_ASK = "XBT/USD ask > 1"


def ticker(last: str, volume: str = "1.00000000") -> str:
    pair, day = [last, "1.0"], [volume, volume]
    parts: dict[str, Any] = {"a": [last, 1, "1.0"], "b": [last, 1, "1.0"], "c": pair, "v": day, "t": [1, 1]}
    parts |= {name: [last, last] for name in "plho"}
    return json.dumps([340, parts, "ticker", "XBT/USD"])


def trades(*prices: str) -> str:
    return json.dumps(
        [321, [[price, "0.1", "1795324223.101000", "b", "l", ""] for price in prices], "trade", "XBT/USD"]
    )


class Waiting:
    """A watch behind a protocol that has just connected, and a clock."""

    def __init__(self, text: str) -> None:
        condition = parse(text)
        options = Options(book="full")
        self.now = 1000.0
        self.watch = Watch(condition, options.quiet_s)
        self.protocol = ClientProtocol(V1, options, "public", jitter=lambda: 0.0)
        for channel, symbols in self.watch.channels.items():
            entry = find(ENTRIES, channel)
            assert entry is not None
            self.protocol.subscribe(bind(entry, symbols), self.now)
        self.ladder = Ladder()
        self.open()

    def open(self) -> None:
        self.now += 60.0
        self.protocol.connecting(self.now)
        self.protocol.opened(self.now, "")
        assert self.hear(GREETING) is None

    def hear(self, *frames: str, after_s: float = 0.0) -> Met | None:
        self.now += after_s
        ns = int(self.now * 1e9)
        events = self.protocol.receive([frame.encode() for frame in frames], ns, self.now)
        self.protocol.frames_to_send()
        return self.watch.take(events, self.now)

    def prove(self) -> Met | None:
        """A book and its first checksum; the best ask is 64001.10000, the best bid 64000.10000."""
        return self.hear(self.ladder.snapshot(), self.ladder.update("64005.10000", "3.00000000"))

    def lose(self) -> None:
        self.watch.take(self.protocol.lost("reset", int(self.now * 1e9), self.now), self.now)

    @property
    def doubt(self) -> str:
        return self.watch.doubt(self.now)


def values(met: Met | None) -> dict[str, str]:
    assert met is not None
    return {value["quantity"]: value["value"] for value in met.values}


def test_channels_are_those_that_the_quantities_come_from() -> None:
    watch = Watch(parse("XBT/USD bid > 1 or ETH/USD last < 2 and XBT/USD volume > ETH/USD mid"), 3.0)
    assert watch.channels == {
        "book": ["XBT/USD", "ETH/USD"],
        "ticker": ["ETH/USD", "XBT/USD"],
        "trade": ["ETH/USD"],
    }


def test_a_book_counts_from_its_first_checksum_on() -> None:
    waiting = Waiting(ANY_ASK)
    assert waiting.doubt == "the book of XBT/USD has not come yet"
    assert waiting.hear(waiting.ladder.snapshot()) is None
    assert waiting.doubt == "the book of XBT/USD is unverified"
    met = waiting.hear(waiting.ladder.update("64001.10000", "2.00000000"))
    assert values(met) == {"ask": "64001.10000"}
    assert met is not None
    assert met.condition == "XBT/USD ask > 1"
    assert met.held_s is None


def test_figures_of_a_book_are_exact_and_keep_their_digits() -> None:
    waiting = Waiting(
        "XBT/USD spread == 1 and XBT/USD mid == 64000.6 and XBT/USD ask == 64001.1 and XBT/USD bid > 64000"
    )
    assert values(waiting.prove()) == {
        "spread": "1.00000",
        "mid": "64000.60000",
        "ask": "64001.10000",
        "bid": "64000.10000",
    }


def test_a_moment_between_two_frames_of_one_read_is_enough() -> None:
    waiting = Waiting("XBT/USD ask < 64001")
    waiting.prove()
    down = waiting.ladder.update("64000.50000", "1.00000000")
    up = waiting.ladder.update("64000.50000", "0.00000000")
    assert values(waiting.hear(down, up)) == {"ask": "64000.50000"}


def test_a_wrong_checksum_is_a_gap_until_the_next_book_has_proved_itself() -> None:
    waiting = Waiting("XBT/USD ask < 64001")
    waiting.prove()
    assert waiting.doubt == ""
    assert waiting.hear(waiting.ladder.update("64000.50000", "1.00000000", checksum="1")) is None
    assert waiting.doubt == "the book of XBT/USD is broken: checksum"
    assert waiting.hear(waiting.ladder.snapshot()) is None
    assert waiting.doubt == "the book of XBT/USD is unverified"
    assert waiting.hear(waiting.ladder.update("64009.10000", "9.00000000")) is not None


def test_a_lost_connection_leaves_nothing_known() -> None:
    waiting = Waiting("XBT/USD ask < 64001 or XBT/USD last > 70000")
    waiting.prove()
    waiting.hear(ticker("65000.0"))
    assert waiting.doubt == ""
    waiting.lose()
    assert waiting.doubt == "there is no connection: reset"
    waiting.open()
    assert waiting.doubt == "the book of XBT/USD has not come yet; the ticker of XBT/USD has not come yet"
    assert waiting.hear(ticker("71000.0")) is not None, "what is known decides"


def test_last_is_the_tickers_until_a_trade_comes_and_then_each_trade() -> None:
    waiting = Waiting("XBT/USD last == 64002")
    assert waiting.hear(ticker("64001.0")) is None
    assert waiting.watch.state() == "XBT/USD last 64001.0"
    assert waiting.hear(trades("64003.0"), ticker("64002.0")) is None, "the ticker is late"
    assert values(waiting.hear(trades("64001.5", "64002.00", "64003.0"))) == {"last": "64002.00"}


@pytest.mark.parametrize("text", ["NaN", "1e5", "-1", ""])
def test_a_figure_that_is_no_plain_number_is_not_believed(text: str) -> None:
    waiting = Waiting("XBT/USD last != 5")
    assert waiting.hear(trades(text)) is None
    assert waiting.doubt
    assert waiting.hear(trades("64003.0")) is not None


def test_a_time_to_hold_ends_with_the_first_sign_of_life_after_it() -> None:
    waiting = Waiting(f"{ANY_ASK} for 3s")
    assert waiting.prove() is None
    assert waiting.hear(HEARTBEAT, after_s=1.5) is None
    assert waiting.watch.take([], waiting.now + 1.6) is None, "time alone proves nothing"
    assert waiting.hear(HEARTBEAT, after_s=1.4) is None
    met = waiting.hear(HEARTBEAT, after_s=0.1)
    assert met is not None
    assert met.held_s == pytest.approx(3.0)
    assert values(met) == {"ask": "64001.10000"}


def test_what_interrupts_lets_a_time_to_hold_begin_anew() -> None:
    waiting = Waiting("XBT/USD ask > 64001 for 2s")
    waiting.prove()
    below = waiting.ladder.update("64000.50000", "1.00000000")
    above = waiting.ladder.update("64000.50000", "0.00000000")
    assert waiting.hear(below, above, after_s=1.5) is None, "false for a moment"
    assert waiting.hear(HEARTBEAT, after_s=1.9) is None
    assert waiting.hear(waiting.ladder.update("64009.10000", "7.00000000", checksum="1")) is None, "a gap"
    again = waiting.ladder.snapshot(), waiting.ladder.update("64009.10000", "6.00000000")
    assert waiting.hear(*again, after_s=0.05) is None
    assert waiting.hear(HEARTBEAT, after_s=1.9) is None
    assert waiting.hear(HEARTBEAT, after_s=0.1) is not None


def test_a_read_that_ends_with_the_condition_false_completes_nothing() -> None:
    waiting = Waiting("XBT/USD ask > 64001 for 2s")
    waiting.prove()
    frames = HEARTBEAT, waiting.ladder.update("64000.50000", "1.00000000")
    assert waiting.hear(*frames, after_s=2.5) is None


def test_a_silence_is_no_proof_and_lets_a_time_to_hold_begin_anew() -> None:
    waiting = Waiting(f"{ANY_ASK} for 3s")
    waiting.prove()
    waiting.now += 4.0
    assert waiting.doubt == "the connection is silent for 4 s"
    assert waiting.hear(HEARTBEAT) is None
    assert waiting.hear(HEARTBEAT, after_s=1.5) is None
    assert waiting.hear(HEARTBEAT, after_s=1.5) is not None


def test_a_side_without_levels_leaves_what_needs_it_unknown() -> None:
    waiting = Waiting("XBT/USD spread > 0")
    waiting.ladder.asks = {}
    assert waiting.hear(waiting.ladder.snapshot()) is None
    waiting.ladder.asks = {"64009.10000": "1.00000000"}
    assert waiting.hear(waiting.ladder.update("64009.10000", "0.00000000")) is None
    assert waiting.doubt == "the book of XBT/USD has no level on one side"
    assert waiting.hear(waiting.ladder.update("64009.10000", "1.00000000")) is not None


def test_a_refusal_is_kept() -> None:
    waiting = Waiting(ANY_ASK)
    refusal = {
        "errorMessage": "Currency pair not supported XBT/USD",
        "event": "subscriptionStatus",
        "pair": "XBT/USD",
        "status": "error",
        "subscription": {"depth": 10, "name": "book"},
    }
    assert waiting.hear(json.dumps(refusal)) is None
    assert waiting.watch.refused is not None
    assert waiting.watch.refused.error == "Currency pair not supported XBT/USD"
