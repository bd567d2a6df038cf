"""Faults of order books: what the checksum is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.row import Group
from tests.faults.scene import wait_until

if TYPE_CHECKING:
    from tests.faults.scene import Scene

BOOKS = Group("Order books")
row = BOOKS.row

HEALS = "`gap` when it is noticed, that pair alone is subscribed anew, `gap` with both ends, its new snapshot"
HEALED = "gap gap update"


def spoiled(scene: Scene, fault: str, cause: str = "checksum", **fields: object) -> None:
    """Have the exchange spoil one pair's book; it heals, and the other pair knows nothing of it."""
    with scene.stream() as stream:
        stream.proves("XBT/USD")
        scene.exchange(fault, channel="book", symbol="XBT/USD", **fields)
        stream.until("gap", symbol="XBT/USD", to=None)
        healed = stream.until("gap", symbol="XBT/USD")
        assert healed["cause"] == cause
        assert healed["to"] is not None
        stream.until("update", symbol="XBT/USD", trust="verified")
        stream.data()
    assert scene.proxy.connections == 1
    assert not [event for event in stream.events if event["event"] == "gap" and event["symbol"] != "XBT/USD"]


@row(
    "four updates in a row are lost",  # one alone is made good by the next, once in 25 times
    HEALS,
    tells=HEALED,
    says="gap in book XBT/USD: checksum; asked for again",
    noticed_s=10,
    back_s=10,
    books=2,
)
def updates_lost(scene: Scene) -> None:
    spoiled(scene, "drop", times=4)


@row(
    "a checksum is wrong",
    HEALS,
    tells=HEALED,
    says="gap in book XBT/USD: checksum; asked for again",
    noticed_s=5,
    back_s=10,
    books=2,
)
def checksum_wrong(scene: Scene) -> None:
    spoiled(scene, "bad_checksum")


@row(
    "two updates come in the wrong order",
    HEALS,
    tells=HEALED,
    says="gap in book XBT/USD: checksum; asked for again",
    noticed_s=10,
    back_s=10,
    books=2,
)
def updates_swapped(scene: Scene) -> None:
    spoiled(scene, "reorder", times=3)


@row(
    "a checksum is wrong, and again right after the book has healed",
    "the same, twice; the other pair streams on",
    tells="gap gap update gap gap update",
    says="gap in book XBT/USD: checksum; asked for again",
    noticed_s=5,
    back_s=25,
    books=2,
)
def checksum_wrong_again(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.proves("XBT/USD")
        scene.exchange("bad_checksum", channel="book", symbol="XBT/USD")
        stream.until("gap", symbol="XBT/USD", to=None)
        stream.until("update", channel="book", symbol="XBT/USD", type="snapshot")
        scene.sandbox.fault("bad_checksum", channel="book", symbol="XBT/USD")
        stream.until("gap", symbol="XBT/USD", to=None)
        stream.until("update", channel="book", symbol="XBT/USD", type="snapshot")
        stream.data()


@row(
    "an update comes twice",
    "nothing: levels are states, and the checksum agrees",
    tells="update",
    back_s=10,
    books=2,
)
def update_doubled(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.proves("XBT/USD")
        scene.exchange("duplicate", channel="book", symbol="XBT/USD", times=5)
        stream.data(times=5)
    assert not [event for event in stream.events if event["event"] == "gap"]


@row(
    "the updates of a pair come 1.5 s late",
    "nothing: they come in order; the other pair is on time",
    tells="update",
    back_s=10,
    books=2,
)
def updates_late(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.proves("XBT/USD")
        scene.exchange("delay", channel="book", symbol="XBT/USD", delay_s=1.5)
        stream.until("update", symbol="XBT/USD", channel="book")
        stream.data()
    assert not [event for event in stream.events if event["event"] == "gap"]


@row(
    "the decimals of a pair change in mid-stream",
    "nothing, or a resync: the book goes on verified with the new text",
    tells="update",
    says="(gap in book XBT/USD|^$)",
    back_s=10,
    books=2,
)
def decimals_change(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.proves("XBT/USD")
        scene.exchange("change_precision", symbol="XBT/USD", decimals=7)
        while True:
            update = stream.until("update", channel="book", symbol="XBT/USD", trust="verified")
            prices = [level["price"] for row in update["data"] for level in (*row["asks"], *row["bids"])]
            if any(len(price.partition(".")[2]) == 7 for price in prices):
                break
        stream.data()


@row(
    "a snapshot does not come, though the subscription was acknowledged",
    "`gap` after 10 s, asked again",
    tells="gap gap update",
    says="gap in book XBT/USD: no snapshot; asked for again",
    noticed_s=15,
    back_s=20,
    books=2,
)
def snapshot_missing(scene: Scene) -> None:
    scene.sandbox.fault("mute", channel="book", symbol="XBT/USD")
    scene.strike()
    with scene.stream() as stream:
        stream.until("gap", symbol="XBT/USD", to=None)
        stream.until("update", channel="book", symbol="XBT/USD", type="snapshot")
        stream.data()


@row(
    "a checksum is wrong under `--strict`",
    "the run ends: data that cannot be trusted is not passed on",
    code=9,
    tells="gap error",
    says=r"^krakenws: --strict: gap in book XBT/USD: checksum\n",
    noticed_s=5,
    books=1,
)
def checksum_wrong_under_strict(scene: Scene) -> None:
    with scene.stream(scene.feeds, "--strict") as stream:
        stream.proves("XBT/USD")
        scene.exchange("bad_checksum", channel="book", symbol="XBT/USD")
        stream.until("error")
        scene.result = stream.process.finish()


@row(
    "a checksum is wrong, and the connection is cut before the book has healed",
    HEALS,
    tells="gap disconnected connected gap update",
    says="checksum; asked for again(.|\n)*connecting again now",
    noticed_s=5,
    back_s=10,
    books=2,
)
def cut_while_healing(scene: Scene) -> None:
    with scene.stream() as stream:
        stream.proves("XBT/USD")
        scene.sandbox.fault("no_ack", method="subscribe", channel="book")
        scene.exchange("bad_checksum", channel="book", symbol="XBT/USD")
        stream.until("gap", symbol="XBT/USD", to=None)
        wait_until(lambda: scene.struck_by("no_ack"))
        scene.mended_ns = scene.proxy.cut()
        stream.until("disconnected")
        stream.until("update", symbol="XBT/USD", trust="verified")
        stream.data()
