"""Faults that need a socket, seen by a client: frozen, closed, broken and half-written connections, pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from krakenws.exchange.faults import FaultPlan
from krakenws.exchange.protocol import Subscription, Venue
from krakenws.exchange.rest import RestApi, RestBackend
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from websockets.asyncio.client import ClientConnection

DEADLINE_S = 10.0
FRAMES = [b'[340,{"c":["100.%d","1.00000000"]},"ticker","XBT/USD"]' % n for n in range(3)]
SUBSCRIBE = '{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"ticker"}}'
PING = '{"event":"ping"}'


class Ticking(Venue):
    """Sends three frames to whoever subscribes, and what the test publishes; takes every order."""

    def __init__(self, *rules: dict[str, object]) -> None:
        self.plan = FaultPlan(lambda: 0.0)
        self.plan.add(rules, asyncio.get_running_loop().time())
        self.faults = self.plan
        self.rest = RestApi(RestBackend(), self.plan)
        self.subscriptions: set[Subscription] = set()
        self.orders = 0

    def authorize(self, token: str) -> str:
        return token

    def subscribe(self, subscription: Subscription, _now: float, /) -> int:
        self.subscriptions.add(subscription)
        return 340

    def begin(self, subscription: Subscription, _now: float, /) -> None:
        for frame in FRAMES:
            subscription.client.publish(frame)

    def unsubscribe(self, subscription: Subscription, _now: float, /) -> None:
        self.subscriptions.discard(subscription)

    def command(self, *_: object) -> list[dict[str, Any]]:
        self.orders += 1
        return [{"status": "ok"}]

    def next_deadline(self) -> float | None:
        return None


def timed(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))


def switch(url: str, method: str, rule: object = None) -> dict[str, Any]:
    data = None if rule is None else json.dumps(rule).encode()
    request = urllib.request.Request(f"http{url[2:]}/sandbox/faults", data, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


async def greeted(url: str, **options: Any) -> ClientConnection:
    client = await connect(url, proxy=None, **options)
    assert json.loads(await client.recv())["event"] == "systemStatus"
    return client


async def closing(client: ClientConnection) -> int:
    """Return the code with which a connection closes, whatever comes before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.recv()
    assert client.close_code is not None
    return client.close_code


def test_frames_suffer_and_late_ones_arrive_without_another_frame_to_carry_them() -> None:
    async def scene() -> None:
        venue = Ticking({"fault": "duplicate"}, {"fault": "delay", "delay_s": 0.05})
        async with serving(venue) as (_, url):
            client = await greeted(url)
            await client.send(SUBSCRIBE)
            await client.recv()
            assert [await client.recv(decode=False) for _ in range(4)] == [FRAMES[0], *FRAMES]
            await client.close()

    timed(scene())


@pytest.mark.parametrize("code", [1001, 1011, 1013, 4000])
def test_close_says_its_code_and_reason(code: int) -> None:
    async def scene() -> None:
        async with serving(Ticking({"fault": "close", "code": code, "reason": "so"})) as (_, url):
            client = await connect(url, proxy=None)
            assert (await closing(client), client.close_reason) == (code, "so")

    timed(scene())


@pytest.mark.parametrize("rule", [{"fault": "close", "code": 1006}, {"fault": "reset"}])
def test_a_connection_ends_without_a_handshake_in_the_middle_of_its_life(rule: dict[str, object]) -> None:
    async def scene() -> None:
        venue = Ticking()
        async with serving(venue) as (server, url):
            client = await greeted(url)
            await client.send(SUBSCRIBE)
            assert [await client.recv() for _ in range(4)]
            await asyncio.to_thread(switch, url, "POST", rule)
            assert await closing(client) == 1006
            assert not venue.subscriptions
            again = await greeted(url)
            await again.close()
            assert not server._frozen

    timed(scene())


def plain_socket(url: str) -> socket.socket:
    host, port = url.removeprefix("ws://").split(":")
    client = socket.create_connection((host, int(port)), timeout=5.0)
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    received = b""
    while b"systemStatus" not in received:
        received += client.recv(65536)
    return client


def say(client: socket.socket, text: str) -> None:
    payload = text.encode()
    client.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)


def rest_of(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received


def test_reset_is_a_reset_and_1006_is_none() -> None:
    async def scene() -> None:
        async with serving(Ticking()) as (_, url):
            broken = await asyncio.to_thread(plain_socket, url)
            await asyncio.to_thread(switch, url, "POST", {"fault": "reset", "connection": 1})
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(rest_of, broken)
            ended = await asyncio.to_thread(plain_socket, url)
            await asyncio.to_thread(switch, url, "POST", {"fault": "close", "code": 1006, "connection": 2})
            assert await asyncio.to_thread(rest_of, ended) == b""
            broken.close()
            ended.close()

    timed(scene())


def test_truncate_writes_half_a_frame_and_no_more() -> None:
    async def scene() -> None:
        async with serving(Ticking({"fault": "truncate", "channel": "ticker"})) as (_, url):
            client = await asyncio.to_thread(plain_socket, url)
            say(client, SUBSCRIBE)
            received = await asyncio.to_thread(rest_of, client)
            half = FRAMES[0][: len(FRAMES[0]) // 2]
            assert received.endswith(bytes((0x81, len(FRAMES[0]))) + half)
            client.close()

    timed(scene())


@pytest.mark.parametrize("rule", [{"fault": "freeze"}, {"fault": "truncate", "then": "freeze"}])
def test_a_frozen_connection_neither_reads_nor_writes_nor_closes_until_faults_are_cleared(
    rule: dict[str, object],
) -> None:
    async def scene() -> None:
        venue = Ticking()
        async with serving(venue) as (server, url):
            client = await asyncio.to_thread(plain_socket, url)
            await asyncio.to_thread(switch, url, "POST", {**rule, "symbol": "XBT/USD"})
            say(client, SUBSCRIBE)
            while not server._frozen:  # noqa: ASYNC110 - a set, not an event; `timed` is the deadline
                await asyncio.sleep(0.01)
            assert not venue.subscriptions
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(rest_of, client)
            say(client, PING)
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(client.recv, 1)
            other = await greeted(url)
            await other.send(PING)
            assert json.loads(await other.recv()) == {"event": "pong"}
            assert (await asyncio.to_thread(switch, url, "DELETE"))["result"] == []
            client.settimeout(5.0)
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(rest_of, client)
            while server._frozen or venue.plan.active:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            client.close()
            await other.close()

    timed(scene())


def test_the_server_ends_within_a_second_with_a_frozen_connection() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with serving(Ticking({"fault": "freeze"})) as (server, url):
            client = await connect(url, proxy=None)
            while not server._frozen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            began = loop.time()
        assert loop.time() - began < 1.0
        client.transport.abort()

    timed(scene())


def test_tls_connections_break_close_and_freeze_as_well() -> None:
    authority = trustme.CA()
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serves)
    trusts = ssl.create_default_context()
    authority.configure_trust(trusts)
    rules: list[dict[str, object]] = [
        {"fault": "reset", "connection": 1},
        {"fault": "close", "connection": 2, "code": 1013},
        {"fault": "truncate", "connection": 3, "symbol": "XBT/USD"},
        {"fault": "freeze", "connection": 4, "symbol": "XBT/USD"},
    ]

    async def scene() -> None:
        async with serving(Ticking(*rules), serves) as (server, url):
            for code in (1006, 1013, 1006):
                client = await connect(url, proxy=None, ssl=trusts)
                with contextlib.suppress(ConnectionClosed):
                    await client.send(SUBSCRIBE)
                assert await closing(client) == code
            client = await greeted(url, ssl=trusts)
            await client.send(SUBSCRIBE)
            while not server._frozen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            client.transport.abort()

    timed(scene())


def test_accept_then_cut_takes_the_order_and_ends_without_an_answer() -> None:
    async def scene() -> None:
        venue = Ticking({"fault": "accept_then_cut", "method": "cancelAll"})
        async with serving(venue) as (_, url):
            client = await greeted(f"{url}/auth")
            await client.send('{"event":"cancelAll","token":"t"}')
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (venue.orders, client.close_code) == (1, 1006)

    timed(scene())


def test_a_page_comes_instead_of_the_upgrade_once() -> None:
    async def scene() -> None:
        async with serving(Ticking({"fault": "http_status", "status": 520})) as (_, url):
            with pytest.raises(InvalidStatus) as caught:
                await connect(url, proxy=None)
            response = caught.value.response
            assert response.status_code == 520
            assert response.headers["Content-Type"].startswith("text/html")
            assert b"520" in (response.body or b"")
            await (await greeted(url)).close()

    timed(scene())


def test_a_system_status_is_told_to_everybody_and_to_newcomers_and_goes_back() -> None:
    async def scene() -> None:
        async with serving(Ticking()) as (_, url):
            clients = [await greeted(url), await greeted(f"{url}/auth")]
            rule = {
                "fault": "system_status",
                "status": ["maintenance", "cancel_only", "online"],
                "for_s": 0.2,
            }
            await asyncio.to_thread(switch, url, "POST", rule)
            for status in ("maintenance", "cancel_only", "online"):
                for client in clients:
                    told = json.loads(await client.recv())
                    assert (told["event"], told["status"]) == ("systemStatus", status)
                if status == "maintenance":
                    late = await connect(url, proxy=None)
                    assert json.loads(await late.recv())["status"] == "maintenance"
                    await late.close()
            await asyncio.to_thread(switch, url, "POST", {"fault": "system_status", "status": "post_only"})
            assert json.loads(await clients[0].recv())["status"] == "post_only"
            await asyncio.to_thread(switch, url, "DELETE")
            assert json.loads(await clients[0].recv())["status"] == "online"
            for client in clients:
                await client.close()

    timed(scene())


def test_a_fault_waits_for_its_time_although_nothing_else_happens() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with serving(Ticking({"fault": "close", "after_s": 0.2})) as (_, url):
            began = loop.time()
            client = await greeted(url)
            assert await closing(client) == 1001
            assert 0.1 < loop.time() - began < 2.0

    timed(scene())
