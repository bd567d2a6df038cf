"""JSON in and out: spacing of the original script, odd JSON from the wire."""

from __future__ import annotations

from typing import Any

import pytest

from krakenws.core.dialect import Malformed, decode, decode_keeping_text, encode


def test_frames_are_spaced_as_the_original_script_spaced_them() -> None:
    message = {
        "event": "subscribe",
        "subscription": {"name": "book", "depth": 10},
        "pair": ["XBT/USD", "ETH/EUR"],
    }
    assert encode(message) == (
        b'{"event":"subscribe", "subscription":{"name":"book", "depth":10}, "pair":["XBT/USD","ETH/EUR"]}'
    )


def test_encoding_escapes_what_json_needs_escaped() -> None:
    assert encode({"a": 'x"\n\\é', "b": True, "c": None}) == b'{"a":"x\\"\\n\\\\\\u00e9", "b":true, "c":null}'


@pytest.mark.parametrize(
    ("frame", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'  {"a":1}\r\n', {"a": 1}),
        (b"[1,[2]]\n", [1, [2]]),
        (b'"text"', "text"),
        (b'{"a":18446744073709551615}', {"a": 18446744073709551615}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'["\xff"]', ["\ufffd"]),
        (b'["\\ud83d\\ude00"]', ["\U0001f600"]),
    ],
    ids=["object", "white space", "line end", "text", "uint64", "key twice", "not UTF-8", "surrogate pair"],
)
def test_legal_json_is_decoded(frame: bytes, value: Any) -> None:
    assert decode(frame) == value


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"   ",
        b"CloudFlare WebSocket proxy restarting",
        b'{"a":1}x',
        b"[1] [2]",
        b'{"a":',
        b"[1,",
        b"[NaN]",
        b"[-Infinity]",
        b"\xef\xbb\xbf[]",
        b'["a\x00b"]',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" + b"9" * 10_000 + b"]",
    ],
    ids=lambda frame: repr(frame[:20]),
)
def test_anything_else_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        decode(frame)
    with pytest.raises(Malformed):
        decode_keeping_text(frame)


def test_what_is_wrong_is_said_without_quoting_the_frame() -> None:
    with pytest.raises(Malformed, match="nested too deep"):
        decode(b"[" * 100_000)
    with pytest.raises(Malformed) as caught:
        decode(b'{"token":"secret"}"secret"')
    assert "secret" not in str(caught.value)


def test_numbers_keep_their_wire_text_where_digits_count() -> None:
    assert decode_keeping_text(b'{"a":1.20,"b":1e-08,"c":7,"d":0.00000000}') == {
        "a": "1.20",
        "b": "1e-08",
        "c": 7,
        "d": "0.00000000",
    }
