"""What heals a stream of the Python API is told as on the command line: the same events in the same order."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

import krakenws
from tests.support.api import as_json, client, names, run, strike, timeless, updates
from tests.support.sandbox import running
from tests.support.scripts import OPEN_ORDERS, TICKER, Ladder, streams
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from krakenws import Event, Update
    from tests.e2e.conftest import Certificates
    from tests.support.command import Command
    from tests.support.server import Script


def resets(client: Connection) -> None:
    client.serve(TICKER)
    client.reset()


def closes(client: Connection) -> None:
    client.serve(TICKER)
    client.close(1001, "going away")


def breaks(client: Connection) -> None:
    """Send a book with a wrong checksum, and a right one when asked again."""
    ladder = Ladder()
    client.serve(ladder.snapshot(), ladder.update("64001.10000", "7", checksum="1"))
    client.expect(event="unsubscribe")
    asked = client.expect(event="subscribe")
    client.send(*acks(asked), ladder.snapshot(), ladder.update("64002.10000", "8"))
    client.hold()


def skips(client: Connection) -> None:
    """Skip a number of a private feed, and begin anew when asked again."""
    client.serve(OPEN_ORDERS, OPEN_ORDERS.replace('"sequence":1', '"sequence":3'))
    client.expect(event="unsubscribe")
    asked = client.expect(event="subscribe")
    client.send(*acks(asked), OPEN_ORDERS)
    client.hold()


SCENES: dict[str, tuple[str, list[Script], int]] = {
    "reset": ("ticker", [resets, streams(TICKER)], 2),
    "close 1001": ("ticker", [closes, streams(TICKER)], 2),
    "checksum": ("book", [breaks], 3),
    "sequence": ("openOrders", [skips], 2),
}


@pytest.mark.parametrize("scene", SCENES)
def test_the_same_frames_give_the_same_events_as_on_the_command_line(command: Command, scene: str) -> None:
    channel, scripts, count = SCENES[scene]
    pairs = ["XBT/USD"] if channel != "openOrders" else []

    async def main() -> list[Update | Event]:
        async with client(server) as kraken:
            return await updates(kraken.stream(channel, *pairs), count)

    with exchange(scripts, scripts) as server:
        told = command.run(channel, *pairs, "--count", str(count), "-o", "json", *server.options)
    with exchange(scripts, scripts) as server:
        events = run(main())
    assert timeless(as_json(events)) == timeless(told.stream), told.err
    assert any(event["event"] == "gap" for event in told.stream)


def shape(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return a stream without its numbers: how many updates come between two other events is the market's."""
    kinds = ("event", "channel", "symbol", "type", "trust", "cause")
    told = [tuple(event.get(name) for name in kinds) for event in events]
    return [kind for kind, _ in groupby(told)]


FAULTS: list[dict[str, Any]] = [
    {"fault": "drop", "channel": "book", "times": 4},
    {"fault": "bad_checksum", "channel": "book", "times": 1},
    {"fault": "reset", "times": 1},
    {"fault": "close", "code": 1001, "times": 1},
    {"fault": "truncate", "channel": "book", "times": 1},
]


@pytest.mark.parametrize("rule", FAULTS, ids=lambda rule: rule["fault"])
def test_a_book_heals_on_the_api_as_on_the_command_line(command: Command, rule: dict[str, Any]) -> None:
    """The sandbox does the same to each, and both end behind the gap, with verified data again."""

    async def main() -> list[Update | Event]:
        told: list[Update | Event] = []
        struck = healed = False
        async with krakenws.connect(sandbox=sandbox.told["public"]) as kraken:
            async for event in kraken.stream("book", "XBT/USD"):
                told.append(event)
                if isinstance(event, krakenws.Update) and event.trust == "verified":
                    if healed:
                        return told
                    if not struck:
                        struck = True
                        strike(sandbox, rule)
                healed = healed or (isinstance(event, krakenws.Gap) and event.to_ns is not None)
        raise AssertionError

    with running(command, "--pairs", "XBT/USD", "--rate", "400") as sandbox:
        ours = as_json(run(main()))
        with command.start("book", "XBT/USD", "-o", "json") as process:
            theirs = [process.event() for _ in range(6)]
            strike(sandbox, rule)
            while theirs[-1]["event"] != "gap" or theirs[-1]["to"] is None:
                theirs.append(process.event())
            while theirs[-1].get("trust") != "verified":
                theirs.append(process.event())
    assert shape(ours) == shape(theirs)


def test_a_skipped_number_of_a_private_feed_heals_on_the_api(command: Command) -> None:
    async def main() -> list[Update | Event]:
        told: list[Update | Event] = []
        async with krakenws.connect(sandbox=sandbox.told["public"]) as kraken:
            async for event in kraken.stream("openOrders"):
                told.append(event)
                if isinstance(event, krakenws.Update):
                    if "gap" in names(told):
                        return told
                    if names(told).count("update") == 1:
                        strike(sandbox, {"fault": "skip_sequence", "channel": "openOrders", "times": 1})
                    await kraken.add_order(
                        "XBT/USD", type="buy", ordertype="limit", volume="0.01", price="1000.0"
                    )
        raise AssertionError

    with running(command, "--pairs", "XBT/USD") as sandbox:
        told = run(main())
    gaps = [event for event in told if isinstance(event, krakenws.Gap)]
    assert gaps[0].to_ns is None
    assert gaps[-1].to_ns is not None
    assert all("sequence" in gap.cause for gap in gaps)


def test_over_tls_it_is_the_same(command: Command, certificates: Certificates) -> None:
    async def main() -> list[Update | Event]:
        async with krakenws.connect(sandbox=sandbox.told["public"], cafile=certificates.authority) as kraken:
            order = await kraken.add_order(
                "XBT/USD", type="buy", ordertype="limit", volume="0.01", price="1000.0"
            )
            assert order.order_id.startswith("O")
            return await updates(kraken.stream("book", "XBT/USD"), 2)

    words = ("--pairs", "XBT/USD", "--tls", certificates.chain, certificates.key)
    with running(command, *words, cafile=certificates.authority) as sandbox:
        told = run(main())
    assert names(told) == ["connected", "status", "subscribed", "update", "update"]


def test_a_certificate_nobody_vouches_for_is_not_trusted(certificates: Certificates) -> None:
    async def main() -> None:
        async with krakenws.connect(public_url=server.url) as kraken:
            with pytest.raises(krakenws.ConnectionFailed, match="is not trusted") as failed:
                await kraken.ping()
            assert not failed.value.retryable

    with exchange(streams(TICKER), tls=certificates.server) as server:
        run(main())
