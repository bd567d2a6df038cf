"""Faults that last, played in memory with a clock of their own: nobody waits for an hour to pass."""

from __future__ import annotations

import json
from itertools import pairwise

from krakenws.core.events import Connected, Deferred, Disconnected, Gap, Status, Update
from tests.faults.memory import QuietVenue, World
from tests.faults.row import Group

TIME = Group("Long outages and clocks")
row = TIME.memory

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
FEEDS = ("trade XBT/USD ETH/USD", "book XBT/USD ETH/USD")


def started(*words: str) -> World:
    """Return a world in which the feeds have stood for a minute."""
    world = World(*(words or FEEDS))
    world.run(60)
    assert len(world.events(Connected)) == 1
    return world


@row(
    "nobody listens for an hour",
    "tried after 0, 0 and 1 s, then each 5 to 30 s, for ever; back within 30 s of its end",
)
def outage_of_an_hour() -> None:
    world = started()
    world.reachable = False
    world.cut()
    world.run(HOUR_S)
    waits = world.waits_s
    assert waits[:3] == [0.0, 0.0, 1.0]
    assert all(5.0 <= wait <= 30.0 for wait in waits[3:])
    assert len({round(wait) for wait in waits[3:]}) > 10, "with jitter"
    assert world.most_attempts_in_10_min <= 100
    world.reachable = True
    ended = world.now
    world.run(60)
    (back,) = world.said(Connected)[1:]
    assert back - ended <= 30
    assert sorted(gap.symbol for gap in world.gaps if gap.channel == "book") == ["ETH/USD", "XBT/USD"]


@row(
    "every connection is lost after a second, three hundred times in a row",
    "never more than 100 attempts in ten minutes: what stood for a second does not reset the back-off",
)
def no_connection_stands() -> None:
    world = started()
    world.random.random = lambda: 0.0  # type: ignore[method-assign]  # the least patient draws
    for _ in range(300):
        world.cut()
        world.run(max(world.waits_s[-1], 0.0) + 1.0)
    assert world.most_attempts_in_10_min <= 100
    assert sum(wait < 5 for wait in world.waits_s) == 3


@row(
    "each connection stands for a minute, then breaks, two hundred times in a row",
    "connected again at once, each time: 30 s of good data reset the back-off",
)
def a_break_each_minute() -> None:
    world = started("trade XBT/USD")
    for _ in range(200):
        world.cut()
        world.run(60)
    assert set(world.waits_s) == {0.0}
    assert len(world.said(Connected)) == 201


@row(
    "the exchange restarts (close 1001) again and again",
    "at once the first time; a second one in a row has to wait its turn",
)
def restarts_in_a_row() -> None:
    world = started("trade XBT/USD")
    for _ in range(6):
        world.cut("closed by the exchange (1001)", 1001)
        world.run(world.waits_s[-1] + 1.0)
    assert world.waits_s[0] == 0.0
    assert all(wait >= 5 for wait in world.waits_s[4:])


@row(
    "two hours of maintenance, the connection lost every minute",
    "`status` each time; at least 5 s between attempts; back when it is over",
)
def long_maintenance() -> None:
    world = started("trade XBT/USD")
    world.venue.status = "maintenance"
    world.cut()
    world.run(1)
    for _ in range(120):
        world.cut()
        world.run(60)
    assert all(wait >= 5 for wait in world.waits_s[1:])
    world.venue.status = "online"
    world.cut()
    world.run(60)
    assert world.events(Status)[-1][1].system == "online"  # type: ignore[union-attr]  # a Status
    assert world.told[-1][0] > world.now - 60


@row(
    "the cable is out: frames vanish, for ten minutes",
    "noticed after 8 s; each attempt gives up after 10 s; back within 40 s of its end",
)
def cable_out() -> None:
    world = started()
    world.passes = lambda _: []
    cut_at = world.now
    world.run(600)
    assert world.said(Disconnected)[0] - cut_at <= 8.0
    world.passes = lambda frame: [frame]
    ended = world.now
    world.run(60)
    assert world.said(Connected)[-1] - ended <= 40
    assert not [event for at, event in world.events(Update) if cut_at < at < ended]


@row(
    "the machine sleeps for ten minutes, and its connection is dead when it wakes",
    "noticed 5 s after waking at the latest",
)
def machine_sleeps() -> None:
    world = started()
    world.passes = lambda _: []
    world.now += 600
    woken = world.now
    world.run(10)
    assert world.said(Disconnected)[0] - woken <= 5.0


@row(
    "the wall clock steps back by an hour, and forward by two",
    "nothing: patience is measured by a clock that does not step",
)
def wall_clock_steps() -> None:
    world = started()
    for step in (-HOUR_S, 2 * HOUR_S):
        world.wall_s += step
        before = len(world.events(Update))
        world.run(60)
        assert len(world.events(Update)) > before
    assert not world.events(Disconnected, Gap, Deferred)


@row(
    "nothing is traded for an hour, heartbeats go on",
    "nothing: quiet `trade`, `ticker` and `ohlc` are normal",
)
def quiet_market() -> None:
    world = started("trade XBT/USD")
    world.passes = lambda frame: [] if b'"trade"' in frame else [frame]
    world.run(HOUR_S)
    assert not world.events(Disconnected, Gap, Deferred)


@row(
    "nothing is subscribed for ten days",
    "nothing: a ping every 30 s keeps the exchange from closing an idle line",
)
def ten_idle_days() -> None:
    world = World("ping", venue=QuietVenue())
    world.run(10 * DAY_S)
    pings = [at for at, frame in world.asked if b'"ping"' in frame]
    assert len(pings) >= 10 * DAY_S / 31
    assert max(later - earlier for earlier, later in pairwise(pings)) <= 31
    assert not world.events(Disconnected)
    assert world.client.connected


def _spoiled(frame: bytes) -> list[bytes]:
    """Spoil every checksum of one pair's book."""
    if b'"book-10","XBT/USD"' not in frame or b'"c":"' not in frame:
        return [frame]
    begin, _, rest = frame.partition(b'"c":"')
    return [begin + b'"c":"1' + rest[rest.index(b'"') :]]


@row(
    "every checksum of one pair is wrong, for twenty minutes",
    "asked for at once, after 10, 20, 40 and 80 s; then that pair is `untrusted` until the next reconnect;"
    " the others are verified all the while",
)
def pair_never_proves_itself() -> None:
    world = started()
    world.passes = _spoiled
    world.run(20 * 60)
    resyncs = [
        at
        for at, frame in world.asked
        if b'"subscribe"' in frame and b'"book"' in frame and json.loads(frame)["pair"] == ["XBT/USD"]
    ]
    assert len(resyncs) == 5
    for least, (earlier, later) in zip((10, 20, 40, 80), pairwise(resyncs), strict=True):
        assert later - earlier >= least
    assert [event for _, event in world.told if event.name == "untrusted"]
    shown = [event for _, event in world.events(Update) if event.trust == "verified"]  # type: ignore[union-attr]
    assert {event.route.symbol for event in shown[-100:]} == {"ETH/USD"}  # type: ignore[union-attr]
    assert not world.events(Disconnected)


@row(
    "a book is acknowledged and stays mute, again and again",
    "`gap` after 10 s, asked again; when that does not help, the connection is renewed",
)
def channel_stays_mute() -> None:
    world = started("trade XBT/USD", "book ETH/USD")
    world.passes = lambda frame: [] if b'"book-10"' in frame and frame.startswith(b"[") else [frame]
    world.cut()
    world.run(60)
    assert world.said(Gap, symbol="ETH/USD", cause="no snapshot")
    assert len(world.events(Disconnected)) >= 2
