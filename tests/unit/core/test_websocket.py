"""RFC 6455 as written: its own samples, then each rule a server can break."""

from __future__ import annotations

import base64
import tracemalloc

import pytest

from krakenws.core.handshake import Handshake
from krakenws.core.websocket import WebSocket
from krakenws.errors import ConnectionFailed, LocalProtocolError, RemoteProtocolError

NONCE = base64.b64decode("dGhlIHNhbXBsZSBub25jZQ==")  # section 1.3
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
MASK = bytes.fromhex("37fa213d")  # section 5.7
LIMIT = 1 << 20


def handshake() -> Handshake:
    return Handshake("ws.kraken.com", "/v2", NONCE, "krakenws/0.1 (test)")


def websocket(limit: int = LIMIT) -> WebSocket:
    return WebSocket(lambda: MASK, limit)


def frame(first: int, payload: bytes = b"") -> bytes:
    """A server's frame with the shortest length."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(0x88, code.to_bytes(2, "big") + reason)


def sent(ws: WebSocket) -> list[tuple[int, bytes]]:
    """What a server reads in our frames: (opcode, payload) of each."""
    data, frames = ws.bytes_to_send(), []
    while data:
        assert data[0] & 0xF0 == 0x80
        assert data[1] & 0x80, "a client's frame must be masked"
        size, start = data[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        mask, masked = data[start : start + 4], data[start + 4 : start + 4 + size]
        frames.append((data[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))))
        data = data[start + 4 + size :]
    return frames


# --- the upgrade ---


def test_the_request_is_what_the_rfc_asks_for() -> None:
    assert handshake().request == (
        b"GET /v2 HTTP/1.1\r\nHost: ws.kraken.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"User-Agent: krakenws/0.1 (test)\r\n\r\n"
    )


def test_the_sample_accept_of_the_rfc_is_accepted_and_the_bytes_behind_it_are_handed_on() -> None:
    assert handshake().receive(ACCEPTED) == b""
    assert handshake().receive(ACCEPTED + b"\x81\x05Hello") == b"\x81\x05Hello"


def test_an_answer_may_come_byte_by_byte() -> None:
    ours = handshake()
    assert [ours.receive(bytes((byte,))) for byte in ACCEPTED] == [None] * (len(ACCEPTED) - 1) + [b""]


def test_names_and_tokens_of_the_answer_may_be_in_any_case() -> None:
    answer = ACCEPTED.replace(b"Upgrade: websocket", b"UPGRADE:   WebSocket ").replace(
        b"Connection: Upgrade", b"connection: keep-alive, UPGRADE"
    )
    assert handshake().receive(answer) == b""


@pytest.mark.parametrize(
    ("host", "path", "nonce", "agent"),
    [
        ("ws.kraken.com\r\nX: y", "/", NONCE, "a"),
        ("ws kraken.com", "/", NONCE, "a"),
        ("", "/", NONCE, "a"),
        ("bücher.example", "/", NONCE, "a"),
        ("ws.kraken.com", "/v2 HTTP/1.1", NONCE, "a"),
        ("ws.kraken.com", "/\x00", NONCE, "a"),
        ("ws.kraken.com", "v2", NONCE, "a"),
        ("ws.kraken.com", "/", NONCE[1:], "a"),
        ("ws.kraken.com", "/", NONCE, "a\r\nX: y"),
    ],
)
def test_what_cannot_stand_in_a_request_is_refused(host: str, path: str, nonce: bytes, agent: str) -> None:
    with pytest.raises(LocalProtocolError):
        Handshake(host, path, nonce, agent)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"s3pPLMB", b"S3pPLMB", "Sec-WebSocket-Accept"),
        (b"Sec-WebSocket-Accept", b"X-Accept", "Sec-WebSocket-Accept header is missing"),
        (b"Upgrade: websocket\r\n", b"", "Upgrade header is missing"),
        (b"Upgrade: websocket", b"Upgrade: h2c", "Upgrade header says 'h2c'"),
        (b"Connection: Upgrade", b"Connection: close", "Connection header says 'close'"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "permessage-deflate"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n", "chat"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: x\r\n\r\n", "Sec-WebSocket-Accept"),
    ],
)
def test_an_acceptance_that_breaks_a_rule_is_refused(old: bytes, new: bytes, named: str) -> None:
    with pytest.raises(RemoteProtocolError, match=named):
        handshake().receive(ACCEPTED.replace(old, new))


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x01\x00\x02\x02\x46\x00",  # a TLS alert
        b"220 mail.example ESMTP\r\n",
        b"HTTP/2.0 101 x\r\n\r\n",
        b"HTTP/1.1 1x1 OK\r\n\r\n",
        b"HTTP/1.1  101 OK\r\n\r\n",
        b"HTTP/1.10 101 OK\r\n\r\n",
        "HTTP/1.1 ¹⁰¹ OK\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000 + b"\r\n",
    ],
)
def test_what_is_not_an_http_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        handshake().receive(answer)


def refusal(answer: bytes, *, ended: bool = False) -> ConnectionFailed:
    ours = handshake()
    if ended:
        assert ours.receive(answer) is None
    with pytest.raises(ConnectionFailed) as caught:
        ours.end() if ended else ours.receive(answer)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("403 Forbidden", "<html>Attention Required!</html>", "blocked"),
        ("429 Too Many Requests", "slow down", "wait ten minutes"),
        ("502 Bad Gateway", "", "try again later"),
        ("520", "error code: 520", "try again later"),
        ("503 Service Unavailable", "error code: 1020", "blocked"),
        ("404 Not Found", "nothing here", "check the URL"),
    ],
)
def test_a_refusal_names_status_and_body_and_says_what_to_do(status: str, body: str, words: str) -> None:
    failed = refusal(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    assert failed.http_status == int(status[:3])
    assert f"ws.kraken.com refused the WebSocket upgrade with {status} (" in str(failed)
    assert words in str(failed)
    assert body in str(failed)


@pytest.mark.parametrize(
    ("asked", "wait_s", "words"),
    [
        ("7", 7.0, "wait 7 s"),
        ("0", 0.0, "wait ten minutes"),
        ("999999999999999999999", 900.0, "wait 900 s"),
        ("-5", 0.0, "wait ten minutes"),
        ("\xb2", 0.0, "wait ten minutes"),
        ("Sun, 22 Nov 2026 10:00:00 GMT", 0.0, "wait ten minutes"),
    ],
)
def test_a_refusal_says_how_long_to_stay_away(asked: str, wait_s: float, words: str) -> None:
    head = f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {asked}\r\nContent-Length: 0\r\n\r\n"
    failed = refusal(head.encode("latin-1"))
    assert failed.retry_after_s == wait_s
    assert words in str(failed)


def test_a_redirect_names_its_target() -> None:
    failed = refusal(
        b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"
    )
    assert "redirects to https://elsewhere.example/" in str(failed)


def test_a_refusal_cannot_write_to_the_terminal_and_is_kept_short() -> None:
    body = b"\x1b[2J one\r\n\t  two \xff" + b"x" * 5000
    failed = str(refusal(b"HTTP/1.1 403 \x1b[31mNo\r\nContent-Length: 9999\r\n\r\n" + body))
    assert failed.isprintable()
    assert "\\x1b[2J one two" in failed
    assert len(failed) < 300


def test_a_refusal_is_reported_as_soon_as_there_is_enough_of_it() -> None:
    head = b"HTTP/1.1 500 Oops\r\n\r\n"
    ours = handshake()
    assert ours.receive(head + b"x" * 511) is None
    with pytest.raises(ConnectionFailed, match="xxx"):
        ours.receive(b"x")


def test_a_refusal_cut_short_is_reported_at_the_end() -> None:
    failed = refusal(b"HTTP/1.1 503 Oops\r\nContent-Length: 400\r\n\r\nupstream is", ended=True)
    assert failed.http_status == 503
    assert str(failed).endswith("upstream is")


def test_a_chunked_refusal_is_shown_without_its_chunk_sizes() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    failed = refusal(head + b"6;x=y\r\nerror \r\na\r\ncode: 1020\r\n0\r\n\r\n")
    assert str(failed).endswith("it says: error code: 1020")
    assert str(refusal(head + b"<html>\r\nplain", ended=True)).endswith("it says: <html> plain")


def test_an_informational_answer_has_no_body_to_wait_for() -> None:
    assert refusal(b"HTTP/1.1 103 Early Hints\r\n\r\n").http_status == 103


def test_a_connection_that_ends_before_the_answer_is_reported() -> None:
    with pytest.raises(ConnectionFailed, match="before answering"):
        handshake().end()
    assert "in the middle of answering the upgrade: HTTP/1.1 10" in str(refusal(b"HTTP/1.1 10", ended=True))


# --- frames: section 5.7 ---


def test_the_sample_frames_of_the_rfc_are_read() -> None:
    ws = websocket()
    assert ws.receive(bytes.fromhex("810548656c6c6f")) == [b"Hello"]
    assert ws.receive(bytes.fromhex("010348656c 80026c6f")) == [b"Hello"]
    assert ws.receive(bytes.fromhex("890548656c6c6f")) == []
    assert sent(ws) == [(0xA, b"Hello")]


def test_the_masked_sample_frames_of_the_rfc_are_written() -> None:
    ws = websocket()
    ws.send(b"Hello")
    assert ws.bytes_to_send() == bytes.fromhex("8185 37fa213d 7f9f4d5158")
    ws.receive(bytes.fromhex("890548656c6c6f"))
    assert ws.bytes_to_send() == bytes.fromhex("8a85 37fa213d 7f9f4d5158")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_every_form_of_length_is_read_and_written(size: int) -> None:
    payload = b"x" * size
    ws = websocket()
    assert ws.receive(frame(0x81, payload) * 2) == [payload] * 2
    ws.send(payload)
    assert sent(ws) == [(0x1, payload)]


def test_what_is_sent_is_forgotten() -> None:
    ws = websocket()
    assert ws.bytes_to_send() == b""
    ws.send(b"a")
    ws.send(b"b")
    assert sent(ws) == [(0x1, b"a"), (0x1, b"b")]
    assert ws.bytes_to_send() == b""


def test_control_frames_come_between_fragments() -> None:
    ws = websocket()
    data = frame(0x01, b"on") + frame(0x89, b"p") + frame(0x00, b"e ") + frame(0x8A) + frame(0x80, b"two")
    assert ws.receive(data + frame(0x81, b"next")) == [b"one two", b"next"]
    assert sent(ws) == [(0xA, b"p")]
    assert ws.failure is None


def test_a_character_may_be_cut_between_fragments() -> None:
    euro = "€".encode()
    assert websocket().receive(frame(0x01, euro[:1]) + frame(0x80, euro[1:])) == [euro]


def test_only_the_latest_ping_is_answered_and_before_anything_else() -> None:
    ws = websocket()
    ws.send(b"x")
    ws.close()
    ws.receive(frame(0x89, b"1") + frame(0x89, b"2"))
    assert sent(ws) == [(0xA, b"2"), (0x1, b"x"), (0x8, b"\x03\xe8")]


def test_an_unasked_pong_is_ignored() -> None:
    ws = websocket()
    assert ws.receive(frame(0x8A, b"?")) == []
    assert (ws.bytes_to_send(), ws.failure) == (b"", None)


def test_a_ping_is_sent() -> None:
    ws = websocket()
    ws.ping()
    ws.ping(b"x" * 125)
    assert sent(ws) == [(0x9, b""), (0x9, b"x" * 125)]
    with pytest.raises(LocalProtocolError, match="125"):
        ws.ping(b"x" * 126)


def test_text_that_is_not_utf8_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        websocket().send(b"\xff")


# --- the close ---


def test_the_other_side_closes_and_is_echoed() -> None:
    assert websocket().open
    ws = websocket()
    data = frame(0x81, b"last") + close_frame(1001, b"CloudFlare WebSocket proxy restarting")
    assert ws.receive(data + frame(0x81, b"behind")) == [b"last"]
    assert (ws.close_code, ws.close_reason) == (1001, "CloudFlare WebSocket proxy restarting")
    assert not ws.open
    assert sent(ws) == [(0x8, b"\x03\xe9")]
    assert ws.receive(frame(0x81, b"behind")) == []
    assert ws.failure is None


def test_a_close_without_a_code_is_1005() -> None:
    ws = websocket()
    ws.receive(frame(0x88))
    assert (ws.close_code, ws.close_reason) == (1005, "")
    assert sent(ws) == [(0x8, b"")]


def test_we_close_once_and_still_hear_what_was_under_way() -> None:
    ws = websocket()
    ws.close(1000, "bye")
    ws.close(1001)
    assert not ws.open
    assert sent(ws) == [(0x8, b"\x03\xe8bye")]
    assert ws.receive(frame(0x81, b"fill") + close_frame(1000)) == [b"fill"]
    assert ws.close_code == 1000
    assert ws.bytes_to_send() == b""


def test_nothing_is_sent_after_a_close() -> None:
    ws = websocket()
    ws.close()
    with pytest.raises(LocalProtocolError):
        ws.send(b"x")
    with pytest.raises(LocalProtocolError):
        ws.ping()


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1012, 1013, 1014, 3000, 4999])
def test_codes_that_may_be_sent_are_taken(code: int) -> None:
    ws = websocket()
    ws.receive(close_frame(code))
    assert ws.close_code == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_codes_that_must_not_be_sent_are_refused(code: int) -> None:
    ws = websocket()
    ws.receive(close_frame(code))
    assert ws.failure is not None
    assert ws.failure.close_code == 1002
    assert ws.close_code is None
    with pytest.raises(LocalProtocolError):
        websocket().close(code)


def test_a_reason_of_ours_must_fit_into_a_control_frame() -> None:
    websocket().close(1000, "x" * 123)
    with pytest.raises(LocalProtocolError):
        websocket().close(1000, "€" * 42)


# --- broken rules ---


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (bytes.fromhex("8185 37fa213d 7f9f4d5158"), 1002, "must not mask"),
        (frame(0xC1, b"x"), 1002, "reserved bits"),
        (frame(0xA1, b"x"), 1002, "reserved bits"),
        (frame(0x91, b"x"), 1002, "reserved bits"),
        (frame(0x83), 1002, "opcode 0x3"),
        (frame(0x87), 1002, "opcode 0x7"),
        (frame(0x8B), 1002, "opcode 0xb"),
        (frame(0x8F), 1002, "opcode 0xf"),
        (frame(0x09), 1002, "control frame"),
        (frame(0x89, b"x" * 126), 1002, "control frame"),
        (frame(0x08), 1002, "control frame"),
        (frame(0x80, b"x"), 1002, "without having begun"),
        (frame(0x01, b"x") + frame(0x81, b"y"), 1002, "within another"),
        (frame(0x01, b"x") + frame(0x01, b"y"), 1002, "within another"),
        (frame(0x01, b"x") + frame(0x82, b"y"), 1002, "within another"),
        (frame(0x82, b"x"), 1003, "binary"),
        (frame(0x02, b"x"), 1003, "binary"),
        (b"\x81\x7e\x00\x7d" + b"x" * 125, 1002, "shortest"),
        (b"\x81\x7f" + (65535).to_bytes(8, "big"), 1002, "shortest"),
        (b"\x81\x7f" + (1 << 63).to_bytes(8, "big"), 1002, "highest bit"),
        (b"\x81\x7f" + (LIMIT + 1).to_bytes(8, "big"), 1009, "limit of 1048576"),
        (frame(0x01, b"x" * LIMIT) + b"\x00\x01", 1009, "limit of 1048576"),
        (frame(0x81, b"\xed\xa0\x80"), 1007, "UTF-8"),  # a surrogate
        (frame(0x81, b"\xc0\x80"), 1007, "UTF-8"),  # an overlong NUL
        (frame(0x81, b"\xe2\x82"), 1007, "UTF-8"),  # half a character
        (frame(0x81, b"\xf4\x90\x80\x80"), 1007, "UTF-8"),  # above U+10FFFF
        (frame(0x01, b"\xe2") + frame(0x80, b"\x82"), 1007, "UTF-8"),
        (frame(0x81, b"x" * 65536 + b"\xff"), 1007, "UTF-8"),
        (frame(0x88, b"\x03"), 1002, "half a code"),
        (frame(0x88, b"\x03\xe8\xff"), 1007, "reason is not UTF-8"),
    ],
)
def test_a_broken_rule_ends_the_parsing_and_is_answered(data: bytes, code: int, words: str) -> None:
    ws = websocket()
    behind = frame(0x81, b"behind") + close_frame(1000)
    assert ws.receive(frame(0x81, b"before") + data + behind) == [b"before"]
    assert ws.failure is not None
    assert ws.failure.close_code == code
    assert words in str(ws.failure)
    assert str(ws.failure)[0].islower()  # it stands behind "connection lost: "
    assert not ws.open
    assert ws.close_code is None
    assert sent(ws) == [(0x8, code.to_bytes(2, "big") + str(ws.failure).encode())]
    assert ws.receive(behind) == []


def test_two_halves_of_a_character_in_two_messages_do_not_make_a_whole() -> None:
    ws = websocket()
    assert ws.receive(frame(0x81, "ü".encode()) + frame(0x81, b"\xc3") + frame(0x81, b"\xbc")) == [
        "ü".encode()
    ]
    assert ws.failure is not None


def test_a_failure_after_our_close_sends_no_second_close() -> None:
    ws = websocket()
    ws.close()
    ws.receive(frame(0x82))
    assert ws.failure is not None
    assert sent(ws) == [(0x8, b"\x03\xe8")]


@pytest.mark.parametrize("limit", [0, 1, 100, 125, 126, 127, 65535, 65536])
def test_the_limit_is_exact_at_every_form_of_length(limit: int) -> None:
    ws = websocket(limit)
    assert ws.receive(frame(0x81, b"x" * limit)) == [b"x" * limit]
    ws.receive(frame(0x81, b"x" * (limit + 1)))
    assert ws.failure is not None
    assert ws.failure.close_code == 1009


def test_a_message_of_many_reads_is_held_once_and_joined_once() -> None:
    size = 8 << 20
    stream = frame(0x81, b"x" * size)
    reads = [stream[at : at + 65536] for at in range(0, len(stream), 65536)]
    ws = websocket(size)
    tracemalloc.start()
    try:
        assert [message for read in reads[:-1] for message in ws.receive(read)] == []
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000, f"the reads themselves are kept, not copies of them ({held} of {peak} bytes)"
    assert ws.receive(reads[-1] + frame(0x81, b"next")) == [b"x" * size, b"next"]
