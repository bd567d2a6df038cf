"""REST and WebSocket on one port, over real sockets on loopback, with the standard library as the client."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import urllib.request
from typing import TYPE_CHECKING

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from krakenws.exchange.protocol import Venue
from krakenws.exchange.rest import HttpRequest, HttpResponse, RestApi, RestBackend
from krakenws.net import door
from krakenws.net.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Scene = Callable[[str, int], Awaitable[None]]

DEADLINE_S = 10.0
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
urlopen = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""Without the proxies that the environment may name."""


class Echo(RestApi):
    """Tells what it was asked."""

    def __init__(self) -> None:
        super().__init__(RestBackend())
        self.asked: list[HttpRequest] = []

    def answer(self, request: HttpRequest, now: float) -> HttpResponse:
        self.asked.append(request)
        if request.path == "/big":
            return HttpResponse(200, b"x" * 4_000_000)
        if request.path == "/cut":
            return HttpResponse(0, b"", cut=True)
        if request.path == "/silence":
            return HttpResponse(0, b"", withheld=True)
        told = {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "body": request.body.decode(),
            "peer": request.peer,
            "key": request.headers.get("api-key"),
        }
        status = int(dict(request.query).get("status", "200"))
        return HttpResponse(status, json.dumps(told).encode())


class Shop(Venue):
    """A venue with nothing but REST."""

    def __init__(self) -> None:
        self.rest = Echo()

    def next_deadline(self) -> float | None:
        return None


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, int, Server]]:
    server = Server(Shop())
    async with server.listen("127.0.0.1", 0, tls) as (host, port):
        driving = asyncio.create_task(server.drive())
        try:
            yield host, port, server
        finally:
            driving.cancel()


def served(scene: Callable[[int], None], tls: ssl.SSLContext | None = None) -> None:
    """Run a blocking scene, which is given the port, beside a server."""

    async def run() -> None:
        async with serving(tls) as (_, port, server):
            await asyncio.to_thread(scene, port)
            for _ in range(100):
                if not server._doors:
                    break
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def say(port: int, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_urllib_gets_and_posts() -> None:
    def scene(port: int) -> None:
        base = f"http://127.0.0.1:{port}"
        with urlopen(f"{base}/0/public/Depth?pair=XBT%2FUSD&count=5&empty=") as answer:
            told = json.load(answer)
        assert told["method"] == "GET"
        assert told["path"] == "/0/public/Depth"
        assert told["query"] == [["pair", "XBT/USD"], ["count", "5"], ["empty", ""]]
        assert told["peer"] == "127.0.0.1"
        request = urllib.request.Request(f"{base}/0/private/Balance", b"nonce=1", {"API-Key": "k"})
        with urlopen(request) as answer:
            told = json.load(answer)
        assert (told["method"], told["body"], told["key"]) == ("POST", "nonce=1", "k")

    served(scene)


def test_one_connection_serves_any_number_of_requests_and_then_a_websocket() -> None:
    def scene(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
        for number in range(3):
            connection.request("POST" if number % 2 else "GET", f"/{number}", body=b"b" * number)
            answer = connection.getresponse()
            assert json.loads(answer.read())["path"] == f"/{number}"
        connection.putrequest("GET", "/", skip_accept_encoding=True)
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 101
        connection.close()

    served(scene)


def test_tls_serves_both() -> None:
    authority = trustme.CA()
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serves)
    trusts = ssl.create_default_context()
    authority.configure_trust(trusts)

    async def scene() -> None:
        async with serving(serves) as (host, port, _):

            def post() -> bytes:
                request = urllib.request.Request(f"https://{host}:{port}/x", b"a=1")
                handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusts)
                with urllib.request.build_opener(*handlers).open(request) as answer:
                    return bytes(answer.read())

            assert json.loads(await asyncio.to_thread(post))["body"] == "a=1"
            async with connect(f"wss://{host}:{port}", ssl=trusts) as client:
                assert json.loads(await client.recv())["event"] == "systemStatus"

    asyncio.run(asyncio.wait_for(scene(), DEADLINE_S))


def test_requests_in_a_row_are_answered_in_their_order_however_they_are_cut() -> None:
    asked = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nc=1"
    asked += b"\r\nGET /d HTTP/1.1\r\nConnection: close\r\n\r\n"

    def scene(port: int) -> None:
        for cut in (1, 7, 31, len(asked)):
            with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(asked), cut):
                    connection.sendall(asked[at : at + cut])
                received = b""
                while chunk := connection.recv(65536):
                    received += chunk
            assert [
                json.loads(part.split(b"HTTP/1.1")[0])["path"] for part in received.split(b"\r\n\r\n")[1:]
            ] == [
                "/a",
                "/b",
                "/d",
            ]

    served(scene)


class Wire(asyncio.Transport):
    """Keeps what a door says."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += bytes(data)

    def close(self) -> None:
        pass


def test_the_line_end_that_some_clients_send_behind_a_body_may_come_in_two_reads() -> None:
    async def scene() -> None:
        answered = door.Door(asyncio.Protocol(), lambda _: HttpResponse(200, b"answered"), set())
        wire = Wire()
        answered.connection_made(wire)
        for part in (
            b"POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nc=1",
            b"\r",
            b"\n",
            b"GET /d HTTP/1.1\r\n\r\n",
        ):
            answered.data_received(part)
        answered.connection_lost(None)
        assert wire.said.count(b"HTTP/1.1 200 OK") == wire.said.count(b"HTTP/1.1") == 2

    asyncio.run(scene())


def test_a_websocket_handshake_cut_anywhere_is_handed_on_whole() -> None:
    async def scene() -> None:
        async with serving() as (host, port, server):
            head = (
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            ping = bytes([0x81, 0x90, 0, 0, 0, 0]) + b'{"event":"ping"}'
            for cut in (1, 40, len(head), len(head) + 3, len(head + ping)):
                reader, writer = await asyncio.open_connection(host, port)
                data = head + ping
                for at in range(0, len(data), cut):
                    writer.write(data[at : at + cut])
                    await asyncio.sleep(0)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                await reader.readuntil(b'{"event":"pong"}')
                writer.close()
            assert not server._doors

    asyncio.run(asyncio.wait_for(scene(), DEADLINE_S))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET x HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n"), 400),
        (CHUNKED + b"-1\r\n", 400),
        (CHUNKED + b"0x1\r\n", 400),
        (CHUNKED + b"1\r\nab\r\n", 400),
        (CHUNKED + b"1;" + b"x" * 1100, 400),
        (CHUNKED + b"100001\r\n", 413),
        (CHUNKED + b"80000\r\n" + b"x" * 0x80000 + b"\r\n80001\r\n", 413),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 3000 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n" + b"x" * 300_000, 413),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_or_too_large_is_refused_and_the_refusal_can_be_read(
    request_: bytes, status: int
) -> None:
    def scene(port: int) -> None:
        assert status_of(say(port, request_)) == status

    served(scene)


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_a_body_in_chunks_is_put_together_wherever_it_is_cut(cut: int) -> None:
    async def scene() -> None:
        async with serving() as (host, port, _):
            reader, writer = await asyncio.open_connection(host, port)
            data = CHUNKED + b"5\r\npair=\r\n00a;x=y\r\nXBT/USD&a=\r\n1\r\n1\r\n0\r\nA: b\r\n\r\n"
            data += b"GET /next HTTP/1.1\r\nConnection: close\r\n\r\n"
            for at in range(0, len(data), cut):
                writer.write(data[at : at + cut])
                await asyncio.sleep(0)
            answers = (await reader.read()).split(b"\r\n\r\n")
            assert json.loads(answers[1].partition(b"HTTP")[0])["body"] == "pair=XBT/USD&a=1"
            assert json.loads(answers[2])["path"] == "/next"
            writer.close()

    asyncio.run(asyncio.wait_for(scene(), DEADLINE_S))


@given(
    parts=st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    tail=st.binary(max_size=5),
    cut=st.integers(1, 30),
)
def test_a_chunked_body_is_taken_off_to_its_last_byte(parts: list[bytes], tail: bytes, cut: int) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n" + tail
    chunked, received, body = door._Chunked(), bytearray(), None
    for at in range(0, len(data), cut):
        received += data[at : at + cut]
        if body is None:
            body = chunked.take(received)
    assert (body, bytes(received)) == (b"".join(parts), tail)


@given(st.binary(max_size=60))
def test_what_is_no_chunked_body_is_refused_or_waited_for(data: bytes) -> None:
    with contextlib.suppress(door._Refused):
        door._Chunked().take(bytearray(data))


def test_a_body_in_chunks_may_be_as_large_as_any() -> None:
    def scene(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        half = b"x" * (door.MAX_BODY_BYTES // 2)
        connection.request("POST", "/x", iter([half, half]), encode_chunked=True)
        assert len(json.load(connection.getresponse())["body"]) == door.MAX_BODY_BYTES
        connection.close()

    served(scene)


def test_a_body_of_the_largest_size_is_taken() -> None:
    def scene(port: int) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/x", b"x" * door.MAX_BODY_BYTES)
        with urlopen(request) as answer:
            assert len(json.load(answer)["body"]) == door.MAX_BODY_BYTES

    served(scene)


@pytest.mark.parametrize("half", [b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"])
def test_half_a_request_is_timed_out_although_it_trickles(
    monkeypatch: pytest.MonkeyPatch, half: bytes
) -> None:
    monkeypatch.setattr(door, "READ_S", 0.2)

    def scene(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=0.05) as connection:
            connection.sendall(half)
            received = b""
            for _ in range(100):
                with contextlib.suppress(TimeoutError):
                    received = connection.recv(65536)
                    break
                connection.sendall(b"x")
            assert status_of(received) == 408

    served(scene)


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_an_idle_connection_is_closed_without_a_word(monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    monkeypatch.setattr(door, "READ_S", 0.05)
    monkeypatch.setattr(door, "KEEP_ALIVE_S", 0.05)

    def scene(port: int) -> None:
        assert say(port, first).count(b"HTTP/1.1") == bool(first)

    served(scene)


def test_a_half_request_whose_sender_leaves_is_forgotten() -> None:
    def scene(port: int) -> None:
        assert say(port, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", end=True) == b""

    served(scene)


def test_a_reader_that_takes_no_answer_is_read_no_further_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "STALL_S", 0.2)

    async def scene() -> None:
        async with serving() as (host, port, server):
            with socket.create_connection((host, port)) as connection:
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    connection.send(b"GET /big HTTP/1.1\r\n\r\n" * 100)
                while not server._doors:  # noqa: ASYNC110 - a set, not an event; the deadline is around it
                    await asyncio.sleep(0.01)
                while server._doors:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert server._venue.rest is not None
                assert len(server._venue.rest.asked) < 10  # type: ignore[attr-defined]  # it is an Echo

    asyncio.run(asyncio.wait_for(scene(), DEADLINE_S))


def test_a_slow_reader_gets_every_answer_whole() -> None:
    def scene(port: int) -> None:
        asked = b"GET /big HTTP/1.1\r\n\r\n" * 3 + b"GET /big HTTP/1.1\r\nConnection: close\r\n\r\n"
        assert say(port, asked).count(b"x" * 4_000_000) == 4

    served(scene)


def test_a_client_that_asks_before_it_sends_a_body_is_told_to_go_on() -> None:
    def scene(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            connection.sendall(b"POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"a=1")
            assert status_of(connection.recv(65536)) == 200

    served(scene)


@pytest.mark.parametrize(
    "request_",
    [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"],
)
def test_a_client_that_wants_no_more_is_closed(request_: bytes) -> None:
    def scene(port: int) -> None:
        answer = say(port, request_)
        assert b"\r\nConnection: close\r\n" in answer

    served(scene)


def test_head_is_answered_without_a_body_and_an_odd_status_with_a_phrase() -> None:
    def scene(port: int) -> None:
        head, _, body = say(port, b"HEAD /?status=520 HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 520 Unknown\r\n")
        assert (b"Content-Length: 0" in head, body) == (False, b"")

    served(scene)


def test_an_answer_may_be_cut_or_withheld() -> None:
    def scene(port: int) -> None:
        assert say(port, b"GET /cut HTTP/1.1\r\n\r\n") == b""
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
            connection.sendall(b"GET /silence HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(1)

    served(scene)


def test_the_server_ends_at_once_although_somebody_keeps_a_connection_open() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with serving() as (host, port, _):
            reader, _writer = await asyncio.open_connection(host, port)
            await asyncio.sleep(0.05)
            began = loop.time()
        assert loop.time() - began < 1.0
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        _writer.close()

    asyncio.run(asyncio.wait_for(scene(), DEADLINE_S))
