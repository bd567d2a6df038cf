"""Faults in a stream that stood: lost, dead, slow and garbled connections, and what the exchange says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.faults.proxy import (
    BOTH,
    EXCHANGE,
    Bandwidth,
    Blackhole,
    Corrupt,
    Glued,
    HalfClose,
    Latency,
    Reset,
    Sliced,
    Truncate,
    fault_proxy,
    page,
)
from tests.faults.row import Group
from tests.faults.scene import PAIRS, run_sandbox
from tests.faults.truth import check_backfill
from tests.support.scripts import TICKER, streams
from tests.support.server import exchange, frame_of

if TYPE_CHECKING:
    from tests.faults.proxy import Fault
    from tests.faults.scene import Scene, Stream
    from tests.support.server import Connection, Script

STREAMING = Group("Streaming")
row = STREAMING.row

LOST = "disconnected connected gap update"
HEALS = (
    "`disconnected` with the cause, a new connection at once, everything subscribed again, a `gap` per feed"
)
SILENT = "`disconnected` after 3 s of silence, a ping, and 5 s more; then the same"
DEAF_S = 12.0
"""Eight seconds are the rule; the rest is for a busy machine."""


def cut_by(scene: Scene, fault: Fault) -> None:
    """Have the network cut a stream that stands, and see it flow again."""
    with scene.stream() as stream:
        stream.data()
        scene.network(fault)
        stream.until("disconnected")
        stream.flows_on()


def cut_by_exchange(scene: Scene, fault: str, **fields: object) -> None:
    """Have the exchange cut a stream that stands, and see it flow again."""
    with scene.stream() as stream:
        stream.data()
        scene.exchange(fault, **fields)
        stream.until("disconnected")
        stream.flows_on()


@row(
    "the connection is reset (RST)",
    HEALS,
    tells=LOST,
    says="connection reset by peer; connecting again now",
    noticed_s=5,
    back_s=8,
    books=2,
)
def reset(scene: Scene) -> None:
    cut_by(scene, Reset())


@row(
    "the connection ends in the middle of a frame (FIN)",
    HEALS + "; the half frame is never shown",
    tells=LOST,
    says="the other side ended the connection; connecting again now",
    noticed_s=5,
    back_s=8,
    books=2,
)
def truncated(scene: Scene) -> None:
    cut_by(scene, Truncate(at_byte=1000))


@row(
    "only the exchange's direction is closed",
    HEALS,
    tells=LOST,
    says="the other side ended the connection; connecting again now",
    noticed_s=5,
    back_s=8,
    books=2,
)
def half_closed_by_the_exchange(scene: Scene) -> None:
    cut_by(scene, HalfClose())


@row(
    "nothing comes through any more, and no end either",
    SILENT,
    tells=LOST,
    says="silent for 8 s",
    noticed_s=DEAF_S,
    back_s=8,
    books=2,
)
def blackhole(scene: Scene) -> None:
    fall_dark(scene, Blackhole())


@row(
    "nothing passes in either direction, and no end either",
    SILENT,
    tells=LOST,
    says="silent for 8 s",
    noticed_s=DEAF_S,
    back_s=8,
    books=2,
)
def blackhole_both_ways(scene: Scene) -> None:
    fall_dark(scene, Blackhole(towards=BOTH))


def fall_dark(scene: Scene, fault: Fault) -> None:
    """Let a stream fall silent, and end the silence once it was noticed."""
    with scene.stream() as stream:
        stream.data()
        scene.network(fault)
        stream.until("disconnected")
        scene.mend_network()
        stream.flows_on()


@row(
    "what the client says is lost, while data goes on",
    "nothing: data is proof of life",
    tells="update",
    back_s=10,
    books=2,
)
def deaf_exchange(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.network(Blackhole(towards=EXCHANGE))
        stream.data(times=10)


@row(
    "the exchange is stopped (`kill -STOP`), and goes on later",
    SILENT,
    tells=LOST,
    says="silent for 8 s",
    noticed_s=DEAF_S,
    back_s=8,
    books=2,
)
def exchange_stopped(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.sandbox.stop()
        scene.strike()
        try:
            stream.until("disconnected")
        finally:
            scene.sandbox.go_on()
        scene.mend()
        stream.flows_on()


@row(
    "the exchange is killed, and another one started",
    HEALS + "; while nobody listens, each attempt is told",
    tells=LOST,
    says="connecting again now",
    noticed_s=5,
    back_s=15,
    books=2,
)
def exchange_killed(scene: Scene) -> None:
    with run_sandbox(scene.home / "first") as first, run_sandbox(scene.home / "second") as second:
        scene.move_to(first)
        with scene.stream() as stream:
            stream.data()
            scene.strike()
            first.kill()
            stream.until("disconnected")
            scene.move_to(second)
            scene.mend()
            stream.flows_on()


@row(
    "three connections in a row are reset after 20,000 bytes",
    HEALS + "; the third waits a second",
    tells="disconnected gap update disconnected gap update disconnected gap update",
    says="connecting again in 1.0 s",
    noticed_s=10,
    back_s=30,
    books=2,
)
def flapping(scene: Scene) -> None:
    scene.proxy.switch_on(Reset(at_byte=20_000, times=3))
    with scene.stream() as stream:
        stream.data()
        scene.strike()
        for _ in range(3):
            stream.until("disconnected")
        stream.flows_on()


@row(
    "after a cut, HTTP 429 with `Retry-After: 6`",
    "`disconnected` twice; at least the 6 s are waited",
    tells="disconnected disconnected connected gap update",
    says="429.*connecting again in 6.0 s",
    noticed_s=5,
    back_s=15,
    books=2,
)
def too_many_connections(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.proxy.switch_on(page(429, "Retry-After: 6"))
        scene.network(Reset())
        stream.until("disconnected")
        assert stream.until("disconnected")["retry_in_s"] >= 6
        stream.flows_on()


@row(
    "after a cut, HTTP 520",
    "`disconnected` twice; at least 5 s are waited",
    tells="disconnected disconnected connected gap update",
    says="520.*connecting again in 5.0 s",
    noticed_s=5,
    back_s=15,
    books=2,
)
def lost_by_the_proxy_before_the_exchange(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.proxy.switch_on(page(520))
        scene.network(Reset())
        stream.until("disconnected")
        assert stream.until("disconnected")["retry_in_s"] >= 5
        stream.flows_on()


@row(
    "after a cut, HTTP 403 (the address is blocked)",
    "`disconnected` with the next attempt in a minute: knocking prolongs a block",
    tells="disconnected disconnected",
    says="403.*connecting again in 60.0 s",
    noticed_s=5,
    books=1,
)
def blocked(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.proxy.switch_on(page(403))
        scene.network(Reset())
        stream.until("disconnected")
        assert stream.until("disconnected")["retry_in_s"] >= 60


@row(
    "a byte is corrupted under TLS",
    HEALS + "; not a byte of that record is believed",
    tells=LOST,
    says="TLS failed.*connecting again now",
    noticed_s=5,
    back_s=8,
    books=2,
)
def corrupted_under_tls(scene: Scene) -> None:
    with scene.secured(), fault_proxy(scene.proxy.host) as scene.proxy:
        secure = f"wss://{scene.proxy.host}"
        options = ["--public-url", secure, "--cafile", scene.certificates.authority]
        with scene.stream(scene.feeds, *options) as stream:
            stream.data()
            scene.network(Corrupt(at_byte=500))
            stream.until("disconnected")
            stream.flows_on()


@row(
    "a byte is corrupted without TLS, so that text is no UTF-8",
    HEALS,
    tells=LOST,
    says="UTF-8.*connecting again now",
    noticed_s=5,
    back_s=8,
    books=2,
)
def corrupted_in_the_clear(scene: Scene) -> None:
    cut_by(scene, Corrupt(at_byte=30, mask=0x80))


@row(
    "the link carries 8,000 bytes a second",
    "nothing: data comes later, and whole",
    tells="update",
    back_s=15,
    books=2,
)
def narrow(scene: Scene) -> None:
    shaped(scene, Bandwidth(bytes_per_s=8000))


@row(
    "latency of 0.4 s with as much jitter begins in mid-stream",
    "nothing: data comes later, and whole",
    tells="update",
    back_s=15,
    books=2,
)
def late(scene: Scene) -> None:
    shaped(scene, Latency(delay_s=0.4, jitter_s=0.4))


@row("data comes in single bytes", "nothing", tells="update", back_s=10, books=2)
def sliced(scene: Scene) -> None:
    shaped(scene, Sliced())


@row("half a second of data comes in one piece", "nothing", tells="update", back_s=10, books=2)
def glued(scene: Scene) -> None:
    shaped(scene, Glued(hold_s=0.5))


def shaped(scene: Scene, fault: Fault) -> None:
    """Have the network behave oddly; the stream goes on."""
    with scene.stream() as stream:
        stream.data()
        scene.network(fault)
        stream.data(times=10)
        scene.proxy.switch_off()
        stream.data(times=3)


@row(
    "the exchange closes with 1001 (a planned restart)",
    HEALS,
    tells=LOST,
    says="closed by the exchange .1001 CloudFlare.*connecting again now",
    noticed_s=5,
    back_s=8,
    books=2,
)
def closed_1001(scene: Scene) -> None:
    cut_by_exchange(scene, "close", code=1001)


@row(
    "the exchange closes with 1013 (try again later)",
    "the same, after at least 5 s",
    tells=LOST,
    says="closed by the exchange .1013.*connecting again in 5.0 s",
    noticed_s=5,
    back_s=15,
    books=2,
)
def closed_1013(scene: Scene) -> None:
    cut_by_exchange(scene, "close", code=1013)


@row(
    "the exchange ends the connection without a closing handshake (1006)",
    HEALS,
    tells=LOST,
    says="connecting again now",
    noticed_s=5,
    back_s=8,
    books=2,
)
def closed_1006(scene: Scene) -> None:
    cut_by_exchange(scene, "close", code=1006)


@row(
    "the exchange goes into maintenance, and then cuts",
    "`status`, then the same, after at least 5 s",
    tells="status disconnected connected gap update",
    says="connecting again in 5.0 s",
    noticed_s=5,
    back_s=15,
    books=2,
)
def maintenance(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.strike()
        scene.sandbox.fault("system_status", status="maintenance", for_s=4)
        stream.until("status", system="maintenance")
        scene.sandbox.fault("reset")
        stream.until("disconnected")
        stream.flows_on()


@row(
    "the exchange walks through its states",
    "a `status` for each; data as it comes",
    tells="status status status update",
    noticed_s=5,
    books=2,
)
def states(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.strike()
        scene.sandbox.fault("system_status", status=["cancel_only", "post_only", "online"], for_s=0.5)
        for system in ("cancel_only", "post_only", "online"):
            stream.until("status", system=system)
        stream.data()


@row(
    "the exchange freezes one connection, which stays open",
    SILENT,
    tells=LOST,
    says="silent for 8 s",
    noticed_s=DEAF_S,
    back_s=DEAF_S + 8,
    books=2,
)
def frozen(scene: Scene) -> None:
    cut_by_exchange(scene, "freeze")


@row(
    "half a frame, then a reset",
    HEALS + "; the half frame is never shown",
    tells=LOST,
    says="connecting again now",
    noticed_s=5,
    back_s=8,
    books=2,
)
def half_a_frame(scene: Scene) -> None:
    cut_by_exchange(scene, "truncate", channel="book", then="reset")


@row(
    "a text that is no JSON",
    "`violation` with its beginning, escaped; the stream goes on",
    tells="violation update",
    says="unusable frame.*CloudFlare WebSocket proxy restarting",
    noticed_s=5,
    books=2,
)
def no_json(scene: Scene) -> None:
    strange(scene, "not_json")


@row(
    "a text that would write to a terminal",
    "`violation`; no control character reaches stdout or stderr",
    tells="violation update",
    says=r"\\x1b\[2J",
    noticed_s=5,
    books=2,
)
def control_characters(scene: Scene) -> None:
    strange(scene, "not_json", text="\x1b[2J\x1b]0;owned\x07")


TEXTS = (
    '{"event":"systemStatus","status":\x00}',
    "[" * 20_000,
    "[1,2,3]",
    '{"event":7}',
    '[{"asks":1},"trade","XBT/USD"]'.replace("trade", "nothing"),
    "null",
    '"\\ud800"',
    '{"event":"heartbeat","event":"subscriptionStatus","event":[]}',
)


@row(
    "eight wrong texts: with NUL, 20,000 brackets, wrong types, a lone surrogate, one key twice …",
    "`violation` for each; the stream goes on",
    tells=" ".join(["violation"] * len(TEXTS)) + " update",
    says="unusable frame",
    noticed_s=5,
    books=2,
)
def wrong_texts(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.strike()
        for text in TEXTS:
            scene.sandbox.fault("not_json", text=text)
            stream.until("violation")
        stream.data()


def _says_in_between(*frames: bytes) -> Script:
    def script(client: Connection) -> None:
        client.serve(TICKER)
        client.raw(b"".join(frames))
        client.send(TICKER)
        client.hold()

    return script


@row(
    "a frame of 10 MB",
    "`violation` with its length and its beginning; the stream goes on",
    tells="update violation update",
    says="unusable frame",
)
def long_frame(scene: Scene) -> None:
    with exchange(_says_in_between(frame_of(b'"' + b"x" * 10_000_000 + b'"'))) as server:
        result = scene.run("ticker XBT/USD --count 2", *server.options)
    assert len(result.out) < 10_000


@row(
    "a frame of 17 MB, more than any message may have",
    "`disconnected` (1009); connected anew",
    tells="update disconnected connected gap update",
    says="connecting again now",
)
def frame_too_long(scene: Scene) -> None:
    begun = frame_of(b"x" * 17_000_000)[:100_000]
    with exchange([_says_in_between(begun), streams(TICKER)]) as server:
        scene.run("ticker XBT/USD --count 2", *server.options)
        assert server.connections[0].close_code == 1009


@row(
    "an event that no client knows",
    "`violation` with its name; the stream goes on",
    tells="violation update",
    says="unknown event newsOfTheDay",
    noticed_s=5,
    books=2,
)
def unknown_event(scene: Scene) -> None:
    strange(scene, "unknown_event")


def strange(scene: Scene, fault: str, **fields: object) -> None:
    """Have the exchange say something strange; the stream goes on."""
    with scene.stream() as stream:
        stream.data()
        scene.exchange(fault, **fields)
        stream.until("violation")
        stream.data()


@row("a field that no client knows", "nothing: data may grow", tells="update", back_s=5, books=2)
def unknown_field(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.data()
        scene.exchange("unknown_field", channel="book")
        stream.data()


@row(
    "subscriptions are refused with `Exceeded msg rate`",
    "`deferred`, asked again after a second; then the stream",
    tells="deferred subscribed update",
    says="Exceeded msg rate; asking again in 1 s",
    noticed_s=5,
    back_s=10,
    books=1,
)
def asked_too_fast(scene: Scene) -> None:
    scene.sandbox.fault("exceeded_rate", method="subscribe", times=2)
    scene.strike()
    with scene.stream() as stream:
        stream.data()


@row(
    "a subscription is not heard",
    "`deferred` after `--ack-timeout` (here 1 s), asked again; the others stream on meanwhile",
    tells="deferred subscribed update",
    says="no answer yet; asking again now",
    noticed_s=6,
    back_s=10,
    books=1,
)
def subscription_unheard(scene: Scene) -> None:
    scene.sandbox.fault("no_ack", method="subscribe", channel="book")
    scene.strike()
    with scene.stream(scene.feeds, "--ack-timeout", "1s") as stream:
        stream.until("update", channel="trade")
        stream.data()


@row(
    "one of several pairs does not exist",
    "`refused`, once; the others stream on",
    tells="refused update",
    says="AAA/BBB refused: Currency pair not supported",
    noticed_s=5,
    books=0,
)
def pair_refused(scene: Scene) -> None:
    scene.strike()
    with scene.stream("trade AAA/BBB XBT/USD") as stream:
        stream.data("trade")


def _confirmed(stream: Stream) -> tuple[str, str, str]:
    event = stream.until("subscribed")
    return event["channel"], event["symbol"], str(event["params"])


@row(
    "a cut, with 380 subscriptions",
    HEALS + "; all of them come back, ten requests at once and then 20 a second",
    tells="disconnected connected gap update",
    says="connecting again now",
    noticed_s=5,
    back_s=10,
    books=10,
)
def many_subscriptions(scene: Scene) -> None:
    books = " + ".join(f"book */* {depth}" for depth in (10, 25, 100))
    others = " + ".join(f"ohlc */* {minutes}" for minutes in (1, 5, 15, 30, 60))
    with run_sandbox(scene.home / "all", "--limits", pairs=()) as everything:
        scene.move_to(everything)
        with scene.stream(f"trade */* + spread */* + {books} + {others}") as stream:
            asked = [_confirmed(stream) for _ in range(380)]
            scene.network(Reset())
            stream.until("disconnected")
            assert sorted(_confirmed(stream) for _ in range(380)) == sorted(set(asked))
            stream.data("book", times=50)


# ---- over several connections and processes


@row(
    "trades happen while the connection is down, under `--backfill`",
    "`backfilled` for each pair: REST told those between, marked `backfill`; none is missing, none is twice",
    tells="disconnected connected gap update backfilled",
    says="connecting again in 5.0 s",
    noticed_s=5,
    back_s=15,
)
def backfilled(scene: Scene) -> None:
    with scene.stream("trade XBT/USD ETH/USD", "--backfill") as stream:
        for symbol in PAIRS:
            stream.until("update", symbol=symbol)
        scene.exchange("close", code=1013)  # five seconds without us
        missing = set(PAIRS)
        while missing:
            missing.discard(stream.until("backfilled", complete=True)["symbol"])
        stream.data("trade", times=5)
    check_backfill(stream.events, scene.truth)
    assert any(row.get("source") for event in stream.events for row in event.get("data", ()))


@row(
    "a run in which much went wrong ends",
    "`summary`: received = emitted + accounted for, gaps, seconds down, resyncs, by channel",
    tells="disconnected connected gap update summary",
    says="connecting again now",
    noticed_s=5,
    back_s=10,
    books=2,
)
def summed_up(scene: Scene) -> None:
    cut_by(scene, Reset())


@row(
    "this machine has made its 100 attempts of ten minutes, in other processes",
    "it waits, and says until when: the exchange bans an address that goes on",
    tells="disconnected",
    says="budget of 100 connections .* is spent.*free at",
    noticed_s=5,
)
def budget_spent(scene: Scene) -> None:
    counted = scene.home / "state" / "krakenws" / "connections"
    counted.parent.mkdir(parents=True)
    counted.write_text(f"{time.time_ns() // 1_000_000} {scene.proxy.host}\n" * 100)
    scene.strike()
    with scene.stream() as stream:
        assert stream.until("disconnected")["retry_in_s"] > 500
    assert scene.proxy.connections == 0
