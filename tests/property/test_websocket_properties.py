"""For every stream of bytes: no exception, and the way it is cut into reads changes nothing."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from krakenws.core.handshake import Handshake
from krakenws.core.websocket import WebSocket
from krakenws.errors import ConnectionFailed, RemoteProtocolError

NONCE = bytes(range(16))
ACCEPT = base64.b64encode(
    hashlib.sha1(base64.b64encode(NONCE) + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
)
LIMIT = 70_000

texts = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.sampled_from((125, 126, 65535, 65536, LIMIT + 1)).map(lambda size: b"x" * size),
    st.sampled_from((b"\xff", b"\xc3")),
)


def encode(first: int, payload: bytes, width: int | None) -> bytes:
    """A server's frame; `width` forces the length into that many bytes, shortest form or not."""
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    if width == 0 or size >= 1 << 8 * width:
        return bytes((first, min(size, 125))) + payload[:125]
    return bytes((first, 126 if width == 2 else 127)) + size.to_bytes(width, "big") + payload


def fragmented(payload: bytes, pieces: int) -> bytes:
    step = len(payload) // pieces + 1
    parts = [payload[at : at + step] for at in range(0, len(payload), step)] or [b""]
    heads = [0x01] + [0x00] * (len(parts) - 1)
    heads[-1] |= 0x80
    return encode(0x89, b"ping", None).join(
        encode(head, part, None) for head, part in zip(heads, parts, strict=True)
    )


good_frames = st.one_of(
    st.builds(encode, st.just(0x81), texts, st.none()),
    st.builds(fragmented, texts, st.integers(1, 4)),
    st.builds(encode, st.sampled_from((0x89, 0x8A)), st.binary(max_size=125), st.none()),
)
odd_frames = st.one_of(
    st.builds(encode, st.integers(0, 255), texts, st.sampled_from((None, 0, 2, 8))),
    st.builds(
        lambda code, reason: encode(0x88, code.to_bytes(2, "big") + reason, None),
        st.integers(990, 1020),
        st.binary(max_size=5),
    ),
    st.binary(max_size=12),
)
streams = st.builds(
    lambda good, odd: b"".join(good) + b"".join(odd),
    st.lists(good_frames, max_size=8),
    st.lists(st.one_of(good_frames, odd_frames), max_size=5),
)


@st.composite
def cut_streams(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """A stream, and the same as reads: empty ones, single bytes and large ones among them."""
    stream = draw(source)
    near = st.integers(0, min(len(stream), 300))
    cuts = sorted(draw(st.lists(st.one_of(near, st.integers(0, len(stream))), max_size=20)))
    reads = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return stream, reads


def outcome(reads: list[bytes]) -> tuple[object, ...]:
    ws = WebSocket(lambda: b"mask", LIMIT)
    messages = [message for read in reads for message in ws.receive(read)]
    failure = ws.failure and (str(ws.failure), ws.failure.close_code)
    for message in messages:
        message.decode("utf-8")
    return messages, ws.close_code, ws.close_reason, failure, ws.open, ws.bytes_to_send()


@given(cut_streams(streams))
def test_any_cut_gives_the_same_messages_close_and_failure(cut: tuple[bytes, list[bytes]]) -> None:
    stream, reads = cut
    assert outcome(reads) == outcome([stream])


@given(st.lists(good_frames, max_size=4).map(b"".join).filter(lambda stream: len(stream) < 2000))
def test_a_stream_may_come_byte_by_byte(stream: bytes) -> None:
    assert outcome([bytes((byte,)) for byte in stream]) == outcome([stream])


@given(cut_streams(st.binary(max_size=400)))
def test_any_bytes_give_messages_or_a_failure(cut: tuple[bytes, list[bytes]]) -> None:
    stream, reads = cut
    assert outcome(reads) == outcome([stream])


@given(st.lists(st.text(max_size=200).map(str.encode), max_size=30), st.data())
def test_every_text_arrives_in_order(payloads: list[bytes], data: st.DataObject) -> None:
    pieces = [data.draw(st.integers(1, 3)) for _ in payloads]
    stream = b"".join(
        encode(0x81, payload, None) if count == 1 else fragmented(payload, count)
        for payload, count in zip(payloads, pieces, strict=True)
    )
    _, reads = data.draw(cut_streams(st.just(stream)))
    messages, *_ = outcome(reads)
    assert messages == payloads


lines = st.sampled_from(
    (
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"HTTP/1.1 403 Forbidden\r\n",
        b"HTTP/1.0 503\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\n",
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n",
        b"Sec-WebSocket-Protocol: x\r\n",
        b"Content-Length: 7\r\n",
        b"Content-Length: x\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\nerror\r\n",
        b"0\r\n",
        b" folded\r\n",
        b"\r\n",
        b"A" * 9000,
    )
)
answers = st.one_of(
    st.lists(st.one_of(lines, st.binary(max_size=20)), max_size=12).map(b"".join),
    st.builds(
        lambda more, rest: (
            b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: "
            + ACCEPT
            + b"\r\n"
            + b"".join(more)
            + b"\r\n"
            + rest
        ),
        st.lists(lines, max_size=2),
        st.binary(max_size=20),
    ),
    st.builds(
        lambda head, body: head + b"\r\n" + body,
        st.lists(lines, max_size=3).map(lambda more: b"HTTP/1.1 500 x\r\n" + b"".join(more)),
        st.binary(max_size=30).map(lambda body: body * 200),
    ),
)


def verdict(reads: list[bytes]) -> tuple[object, ...]:
    """What the handshake makes of the reads: the bytes behind an acceptance, or the error."""
    handshake = Handshake("localhost", "/", NONCE, "test")
    try:
        for index, read in enumerate(reads):
            rest = handshake.receive(read)
            if rest is not None:
                return ("accepted", rest + b"".join(reads[index + 1 :]))
        handshake.end()
    except ConnectionFailed as failed:
        return ("refused", str(failed), failed.http_status)
    except RemoteProtocolError as failed:
        return ("wrong", str(failed), failed.close_code)
    raise AssertionError("end() returned")


def check_verdict(cut: tuple[bytes, list[bytes]]) -> None:
    stream, reads = cut
    kind, said, *more = verdict(reads)
    assert (kind, said, *more) == verdict([stream])
    assert isinstance(said, bytes) or (isinstance(said, str) and said.isprintable())


@given(cut_streams(answers))
def test_any_answer_cut_anyhow_gives_the_same_verdict(cut: tuple[bytes, list[bytes]]) -> None:
    check_verdict(cut)


@given(cut_streams(st.binary(max_size=200)))
def test_any_bytes_for_an_answer_are_refused_in_an_orderly_way(cut: tuple[bytes, list[bytes]]) -> None:
    check_verdict(cut)
    assert verdict(cut[1])[0] != "accepted"


@given(st.binary(min_size=4, max_size=4), st.text(max_size=300).map(str.encode))
def test_masking_twice_is_the_identity(mask: bytes, payload: bytes) -> None:
    ws = WebSocket(lambda: mask, LIMIT)
    ws.send(payload)
    frame = ws.bytes_to_send()
    masked = frame[len(frame) - len(payload) :]
    assert bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked)) == payload
