"""A venue served over real sockets on loopback, with `websockets` as the client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from krakenws.errors import UsageError
from krakenws.exchange.protocol import Subscription, Venue
from krakenws.exchange.replay import ReplayVenue
from krakenws.net import server as module
from krakenws.net.server import Server, run
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from websockets.asyncio.client import ClientConnection

SOURCE = Path(__file__).parents[3] / "src"
DEADLINE_S = 60.0
TICKERS = [b'[340,{"c":["100.%d","1.00000000"]},"ticker","XBT/USD"]' % n for n in range(3)]
SUBSCRIBE = '{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"ticker"}}'


def timed(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))


def venue_of(frames: list[bytes], *, speed: float = float("inf"), **options: bool) -> ReplayVenue:
    return ReplayVenue([(float(t), frame) for t, frame in enumerate(frames)], speed=speed, **options)


async def receive(client: ClientConnection, count: int) -> list[Any]:
    return [json.loads(await client.recv()) for _ in range(count)]


async def data(client: ClientConnection, count: int) -> list[bytes]:
    """Return so many frames as they came, without the heartbeats of each second."""
    frames: list[bytes] = []
    while len(frames) < count:
        frame = await client.recv(decode=False)
        if frame != b'{"event":"heartbeat"}':
            frames.append(frame)
    return frames


async def subscribed(url: str) -> ClientConnection:
    client = await connect(url, compression=None)
    await client.send(SUBSCRIBE)
    assert [message["event"] for message in await receive(client, 2)] == [
        "systemStatus",
        "subscriptionStatus",
    ]
    return client


def test_a_client_is_greeted_acknowledged_and_sent_the_recording_byte_for_byte() -> None:
    async def scene() -> None:
        async with serving(venue_of(TICKERS)) as (_, url):
            client = await subscribed(url)
            assert await data(client, len(TICKERS)) == TICKERS
            await client.close()

    timed(scene())


def test_tls_serves_the_same() -> None:
    authority = trustme.CA()
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serves)
    trusts = ssl.create_default_context()
    authority.configure_trust(trusts)

    async def scene() -> None:
        async with (
            serving(venue_of(TICKERS * 5000), serves) as (_, url),
            connect(url, ssl=trusts) as client,
        ):
            await client.send(SUBSCRIBE)
            await receive(client, 2)
            assert await data(client, 15000) == TICKERS * 5000

    timed(scene())


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/", "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"),
        ("", "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"),
        ("/auth", "ESession:Invalid session"),
        ("/auth/", "ESession:Invalid session"),
    ],
)
def test_the_path_chooses_the_public_or_the_private_endpoint(path: str, error: str) -> None:
    async def scene() -> None:
        async with serving(venue_of(TICKERS)) as (_, url), connect(url + path) as client:
            await client.send('{"event":"subscribe","subscription":{"name":"openOrders","token":""}}')
            assert (await receive(client, 2))[1]["errorMessage"] == error

    timed(scene())


def test_any_other_path_is_not_found() -> None:
    async def scene() -> None:
        async with serving(venue_of(TICKERS)) as (_, url):
            with pytest.raises(InvalidStatus) as caught:
                await connect(f"{url}/v2")
            assert caught.value.response.status_code == 404
            assert b"/auth" in (caught.value.response.body or b"")

    timed(scene())


def test_a_client_that_speaks_no_websocket_or_drops_out_disturbs_nobody(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def scene() -> None:
        async with serving(venue_of(TICKERS)) as (_, url):
            host, port = url.removeprefix("ws://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"nonsense\r\n\r\n")
            await reader.read()
            writer.close()
            rude = await connect(url)
            rude.transport.abort()
            client = await subscribed(url)
            assert await client.recv(decode=False) == TICKERS[0]
            await client.close()

    timed(scene())
    assert capfd.readouterr() == ("", "")


def test_heartbeats_reach_a_client_while_nothing_else_does() -> None:
    async def scene() -> None:
        async with serving(venue_of(TICKERS[:1])) as (_, url):
            client = await subscribed(url)
            assert await client.recv(decode=False) == TICKERS[0]
            assert await client.recv() == '{"event":"heartbeat"}'
            await client.close()

    timed(scene())


def test_the_end_of_a_venue_closes_its_clients_with_1001_after_the_last_frame() -> None:
    async def scene() -> None:
        server = Server(venue_of(TICKERS, exit_at_end=True))
        async with server.listen("127.0.0.1", 0) as (host, port):
            driving = asyncio.create_task(server.drive())
            client = await subscribed(f"ws://{host}:{port}")
            await driving
        assert await data(client, len(TICKERS)) == TICKERS
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1001

    timed(scene())


def test_an_idle_client_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krakenws.exchange.protocol.IDLE_S", 0.05)

    async def scene() -> None:
        async with serving(venue_of(TICKERS)) as (_, url), connect(url) as client:
            await client.recv()
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1000

    timed(scene())


@pytest.mark.parametrize("count", [1, module.BURST_FRAMES - 1, module.BURST_FRAMES])
@pytest.mark.parametrize("length_bytes", [125, 126, 65535, 65536])
def test_frames_of_every_header_size_arrive_whole_alone_and_in_bursts(count: int, length_bytes: int) -> None:
    begin, end = b'[340,{"x":"', b'"},"ticker","XBT/USD"]'
    frame = begin + b"x" * (length_bytes - len(begin) - len(end)) + end
    recording: list[tuple[float | None, bytes]] = [(1.0, frame)] * count

    async def scene() -> None:
        async with serving(ReplayVenue(recording)) as (_, url):
            client = await subscribed(url)
            assert await data(client, count) == [frame] * count
            await client.close()

    timed(scene())


class Flood(Venue):
    """Sends as much as it can to whoever subscribes, and does not wait for anybody."""

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []

    def subscribe(self, subscription: Subscription, _now: float, /) -> int:
        self.subscriptions.append(subscription)
        return 1

    def begin(self, _subscription: Subscription, _now: float, /) -> None:
        pass

    def unsubscribe(self, subscription: Subscription, _now: float, /) -> None:
        self.subscriptions.remove(subscription)

    def next_deadline(self) -> float | None:
        return 0.0 if self.subscriptions else None

    def on_deadline(self, _now: float, /) -> None:
        for subscription in self.subscriptions:
            subscription.client.publish(b"x" * 65536)


class Landmine(Venue):
    """Serves everybody but who subscribes the pair that names where our code is broken."""

    def __init__(self) -> None:
        self.subscribed: list[Subscription] = []
        self.told: list[str] = []

    def subscribe(self, subscription: Subscription, _now: float, /) -> int:
        self.subscribed.append(subscription)
        self.stumble(subscription, "REQUEST/USD")
        return 340

    def delay_s(self, subscription: Subscription, /) -> float:
        return 0.01 if subscription.symbol == "DEADLINE/USD" else 0.0

    def begin(self, subscription: Subscription, _now: float, /) -> None:
        self.stumble(subscription, "DEADLINE/USD")
        if subscription.symbol == "FLUSH/USD":
            subscription.client.publish(None)  # type: ignore[arg-type]  # the mistake
        for frame in TICKERS:
            subscription.client.publish(frame)

    def unsubscribe(self, subscription: Subscription, _now: float, /) -> None:
        self.subscribed.remove(subscription)
        self.stumble(subscription, "LEAVING/USD")

    def failed(self, error: Exception, _now: float, /) -> None:
        self.told.append(str(error))

    def stumble(self, subscription: Subscription, where: str) -> None:
        if subscription.symbol == where:
            raise KeyError("what might be a secret")

    def next_deadline(self) -> float | None:
        return None


@pytest.mark.parametrize("where", ["REQUEST", "DEADLINE", "FLUSH", "LEAVING"])
def test_a_mistake_of_ours_costs_the_client_it_concerns_and_nobody_else(
    where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    venue = Landmine()

    async def scene() -> None:
        async with serving(venue) as (server, url), connect(url) as victim:
            other = await subscribed(url)
            await receive(other, len(TICKERS))
            pairs = ["LEAVING/USD", "FLUSH/USD"] if where == "LEAVING" else [f"{where}/USD"]
            request = {"event": "subscribe", "pair": pairs, "subscription": {"name": "ticker"}}
            await victim.send(json.dumps(request))
            with contextlib.suppress(ConnectionClosed):
                async for _ in victim:
                    pass
            assert (victim.close_code, victim.close_reason) == (1011, "internal error")
            assert server.failed == 1 + (where == "LEAVING")
            await other.send('{"event":"ping"}')
            while json.loads(await other.recv()) != {"event": "pong"}:
                pass
            assert json.loads(await other.recv()) == {"event": "heartbeat"}  # time goes on as well
            await other.close()
            again = await subscribed(url)
            await again.close()

    timed(scene())
    assert all(subscription.symbol in {"XBT/USD", "REQUEST/USD"} for subscription in venue.subscribed)
    said = capfd.readouterr().err.splitlines()
    assert len(said) == len(venue.told) == 1 + (where == "LEAVING")
    assert all("a client was disconnected by a defect of this server (" in line for line in said)
    assert ("KeyError at stumble:" in said[-1]) == (where != "FLUSH")
    assert "secret" not in str(said)


def silent_client(url: str) -> socket.socket:
    """Subscribe over a plain socket and read no more."""
    host, port = url.removeprefix("ws://").split(":")
    client = socket.create_connection((host, int(port)))
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    payload = SUBSCRIBE.encode()
    client.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
    return client


async def until_cut(server: Server) -> None:
    while not server.cut:  # noqa: ASYNC110 - a counter, not an event; `timed` is the deadline
        await asyncio.sleep(0.01)


def test_a_reader_that_falls_behind_a_venue_with_a_clock_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKLOG_BYTES", 1 << 20)

    async def scene() -> None:
        async with serving(Flood()) as (server, url):
            client = await asyncio.to_thread(silent_client, url)
            await until_cut(server)
            assert server.cut == 1
            client.close()

    timed(scene())


def test_a_replay_at_full_speed_waits_for_its_readers_and_cuts_one_that_stalls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.3)
    frames = [b'[340,{"x":"%d%b"},"ticker","XBT/USD"]' % (n, b"x" * 2000) for n in range(10000)]

    async def scene() -> None:
        async with serving(venue_of(frames)) as (server, url):
            client = await asyncio.to_thread(silent_client, url)
            good = await subscribed(url)
            assert await data(good, len(frames)) == frames
            assert server.cut == 1
            client.close()
            await good.close()

    timed(scene())


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    """Start a replay of the demo as a process of its own; give it and its URL."""
    code = (
        "import sys; from krakenws.cli.replay import run_replay;"
        "sys.exit(run_replay('demo', listen='127.0.0.1:0', speed=sys.argv[1], loop=True, tls=None,"
        " ready=lambda url: print(url, flush=True)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, *options],  # -P: not the krakenws.py of the working directory
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_cleanly_within_a_second_even_with_a_stalled_reader(
    number: signal.Signals,
) -> None:
    process, url = start("max")
    with process:
        client = silent_client(url)
        assert client.recv(100)
        sent = time.monotonic()
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0
        assert time.monotonic() - sent < 1.0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        client.close()


def test_a_port_in_use_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}: something else does"):
            run(venue_of(TICKERS), "127.0.0.1", port, None, print)


def test_a_certificate_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(UsageError, match="are not a PEM certificate and its key"):
        run(venue_of(TICKERS), "127.0.0.1", 0, (str(broken), str(broken)), print)
    with pytest.raises(UsageError, match=r"cannot read .*missing.pem: No such file"):
        run(venue_of(TICKERS), "127.0.0.1", 0, (str(tmp_path / "missing.pem"), str(broken)), print)
