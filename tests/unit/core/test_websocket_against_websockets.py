"""The `websockets` library as an independent judge: both ends in memory, neither knows the other."""

from __future__ import annotations

import itertools

import pytest
from websockets.exceptions import ProtocolError
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from krakenws.core.handshake import Handshake
from krakenws.core.websocket import WebSocket
from krakenws.errors import ConnectionFailed, RemoteProtocolError

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 200_000)


def client() -> WebSocket:
    numbers = itertools.count(0x9E3779B9, 0x7F4A7C15)
    return WebSocket(lambda: (next(numbers) & 0xFFFFFFFF).to_bytes(4, "big"), 1 << 20)


def opened() -> tuple[WebSocket, ServerProtocol]:
    """A connection after the upgrade, which the library's server has accepted."""
    handshake = Handshake("localhost:8080", "/v2", bytes(range(16)), "krakenws/test")
    server = ServerProtocol()
    server.receive_data(handshake.request)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.path == "/v2"
    assert request.headers["Host"] == "localhost:8080"
    server.send_response(server.accept(request))
    assert handshake.receive(b"".join(server.data_to_send())) == b""
    assert server.state is State.OPEN
    return client(), server


def at_server(ws: WebSocket, server: ServerProtocol) -> list[tuple[Opcode, bytes]]:
    server.receive_data(ws.bytes_to_send())
    return [
        (event.opcode, bytes(event.data)) for event in server.events_received() if isinstance(event, Frame)
    ]


def at_client(ws: WebSocket, server: ServerProtocol) -> list[bytes]:
    return ws.receive(b"".join(server.data_to_send()))


def test_the_upgrade_is_accepted_and_frames_may_come_with_the_answer() -> None:
    handshake = Handshake("localhost", "/", bytes(16), "krakenws/test")
    server = ServerProtocol()
    server.receive_data(handshake.request)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    server.send_text(b"greeting")
    rest = handshake.receive(b"".join(server.data_to_send()))
    assert rest is not None
    assert client().receive(rest) == [b"greeting"]


def test_its_refusal_is_understood() -> None:
    handshake = Handshake("localhost", "/", bytes(16), "krakenws/test")
    server = ServerProtocol()
    server.receive_data(handshake.request)
    server.send_response(server.reject(503, "under maintenance\n"))
    with pytest.raises(ConnectionFailed, match=r"503 Service Unavailable .*under maintenance$") as caught:
        handshake.receive(b"".join(server.data_to_send()))
    assert caught.value.http_status == 503


def test_its_choice_of_an_unasked_subprotocol_is_refused() -> None:
    handshake = Handshake("localhost", "/", bytes(16), "krakenws/test")
    server = ServerProtocol(select_subprotocol=lambda *_: "chat")  # type: ignore[arg-type]  # NewType
    server.receive_data(handshake.request)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    with pytest.raises(RemoteProtocolError, match="chat"):
        handshake.receive(b"".join(server.data_to_send()))


@pytest.mark.parametrize("size", SIZES)
def test_our_frames_decode_there_and_its_frames_here(size: int) -> None:
    ws, server = opened()
    payload = bytes(32 + i % 90 for i in range(size))
    ws.send(payload)
    ws.send("€".encode())
    assert at_server(ws, server) == [(Opcode.TEXT, payload), (Opcode.TEXT, "€".encode())]
    server.send_text(payload)
    server.send_text("€".encode())
    assert at_client(ws, server) == [payload, "€".encode()]


def test_its_frames_decode_here_in_every_fragmentation() -> None:
    ws, server = opened()
    payload = "aé€😀".encode()
    for cuts in itertools.product((False, True), repeat=len(payload) - 1):
        bounds = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(payload)]
        parts = [payload[begin:end] for begin, end in itertools.pairwise(bounds)]
        server.send_text(parts[0], fin=len(parts) == 1)
        for number, part in enumerate(parts[1:], 2):
            server.send_ping(str(number).encode())
            server.send_continuation(part, fin=number == len(parts))
        assert at_client(ws, server) == [payload]
        answer = [(Opcode.PONG, str(len(parts)).encode())] if len(parts) > 1 else []
        assert at_server(ws, server) == answer


def test_pings_are_answered_both_ways() -> None:
    ws, server = opened()
    ws.ping(b"are you there")
    assert at_server(ws, server) == [(Opcode.PING, b"are you there")]
    assert at_client(ws, server) == []
    server.send_ping(b"and you")
    assert at_client(ws, server) == []
    assert at_server(ws, server) == [(Opcode.PONG, b"and you")]


def test_we_close_and_it_agrees() -> None:
    ws, server = opened()
    ws.close(1000, "au revoir, à bientôt")
    at_server(ws, server)
    assert server.close_rcvd == Close(1000, "au revoir, à bientôt")
    at_client(ws, server)
    assert (ws.close_code, ws.failure) == (1000, None)
    assert ws.bytes_to_send() == b""
    assert server.close_expected()


@pytest.mark.parametrize(("code", "reason"), [(1001, "proxy restarting"), (1013, "§"), (4999, "")])
def test_it_closes_and_we_agree(code: int, reason: str) -> None:
    ws, server = opened()
    server.send_close(code, reason)
    assert at_client(ws, server) == []
    assert (ws.close_code, ws.close_reason) == (code, reason)
    at_server(ws, server)
    assert server.close_rcvd == Close(code, "")
    assert server.close_rcvd_then_sent is False


def test_it_closes_without_a_code_and_we_agree() -> None:
    ws, server = opened()
    server.send_close()
    at_client(ws, server)
    assert ws.close_code == 1005
    at_server(ws, server)
    assert server.close_rcvd == Close(1005, "")


def test_our_verdict_on_a_broken_rule_reaches_it() -> None:
    ws, server = opened()
    server.send_text(b"before")
    server.send_binary(b"\x00")
    assert at_client(ws, server) == [b"before"]
    at_server(ws, server)
    assert ws.failure is not None
    assert server.close_rcvd == Close(1003, str(ws.failure))


def test_both_judge_close_codes_alike() -> None:
    for code in range(1 << 16):
        try:
            Close(code, "").check()
        except ProtocolError:
            legal = False
        else:
            legal = True
        ws = client()
        ws.receive(b"\x88\x02" + code.to_bytes(2, "big"))
        assert (ws.failure is None) == legal, code
