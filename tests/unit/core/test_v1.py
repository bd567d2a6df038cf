"""API v1: frames are read from their ends, and made as the original script made them."""

from __future__ import annotations

import json

import pytest

from krakenws.core.catalog import bind, find
from krakenws.core.dialect import ACK, DATA, ERROR, HEARTBEAT, PONG, REPLY, STATUS, UNKNOWN, Malformed
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES


def subscribed(line: str, *, token: str = "", leave: bool = False) -> bytes:
    name, *words = line.split()
    entry = find(ENTRIES, name, 1)
    assert entry is not None
    bound = bind(entry, words)
    return V1.subscribe(entry, bound.values, bound.symbols, token, leave=leave)


def command(line: str, *, token: str = "", req_id: int | None = None) -> bytes:
    name, *words = line.split()
    entry = find(ENTRIES, name)
    assert entry is not None
    return V1.command(entry, bind(entry, words).values, token, req_id)


def test_a_subscription_is_worded_as_the_original_script_words_it() -> None:
    assert subscribed("book XBT/USD ETH/EUR") == (
        b'{"event":"subscribe", "subscription":{"name":"book", "depth":10}, "pair":["XBT/USD","ETH/EUR"]}'
    )


def test_a_private_subscription_has_a_token_and_no_pair() -> None:
    assert json.loads(subscribed("ownTrades snapshot=false", token="t")) == {
        "event": "subscribe",
        "subscription": {"name": "ownTrades", "snapshot": False, "token": "t"},
    }


def test_leaving_names_what_tells_subscriptions_apart_and_nothing_else() -> None:
    assert json.loads(subscribed("ohlc XBT/USD 60", leave=True)) == {
        "event": "unsubscribe",
        "subscription": {"name": "ohlc", "interval": 60},
        "pair": ["XBT/USD"],
    }
    assert json.loads(subscribed("openOrders ratecounter=true", token="t", leave=True)) == {
        "event": "unsubscribe",
        "subscription": {"name": "openOrders", "token": "t"},
    }


def test_a_reqid_of_the_user_goes_to_the_top_level() -> None:
    assert json.loads(subscribed("trade XBT/USD reqid=7"))["reqid"] == 7
    assert command("ping reqid=7", req_id=9) == b'{"event":"ping", "reqid":9}'
    assert command("ping") == b'{"event":"ping"}'


def test_a_command_carries_token_values_and_number() -> None:
    assert json.loads(command("cancelOrder txid=A,B", token="t", req_id=4)) == {
        "event": "cancelOrder",
        "token": "t",
        "txid": ["A", "B"],
        "reqid": 4,
    }


def test_a_data_frames_tail_names_channel_and_pair() -> None:
    assert V1.tail(b'[340,{"a":["1",2,"3"]},"ticker","XBT/EUR"]') == V1.tail_of("ticker", "XBT/EUR")
    for frame in (b"", b"[]", b'{"event":"heartbeat"}', b'[1,"a"]'):
        assert V1.tail(frame) not in {V1.tail_of("ticker", "XBT/EUR"), V1.tail_of("", "")}


def test_public_data_may_have_grown_in_the_middle() -> None:
    envelope = V1.classify(b'[1,{"a":[]},{"b":[]},{"x":1},"book-10","XBT/USD"]')
    assert (envelope.kind, envelope.channel, envelope.symbol) == (DATA, "book-10", "XBT/USD")
    assert len(envelope.body) == 3


def test_private_data_has_a_sequence_and_may_grow_behind_it() -> None:
    envelope = V1.classify(b'[[{"O":{}}],"openOrders",{"sequence":5},{"new":1}]')
    assert (envelope.channel, envelope.symbol, envelope.sequence) == ("openOrders", "", 5)
    assert V1.classify(b'[[],"ownTrades"]').sequence is None


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b'{"event":"heartbeat"}', HEARTBEAT),
        (b'{"event":"pong","reqid":1}', PONG),
        (b'{"event":"systemStatus","status":"online","connectionID":1}', STATUS),
        (b'{"event":"subscriptionStatus","status":"subscribed"}', ACK),
        (b'{"event":"addOrderStatus","status":"ok","txid":"O"}', REPLY),
        (b'{"event":"error","errorMessage":"Malformed request"}', ERROR),
        (b'{"Error":"Exceeded msg rate"}', ERROR),
        (b'{"event":"novelty"}', UNKNOWN),
        (b"{}", UNKNOWN),
        (b'{"event":7}', UNKNOWN),
    ],
)
def test_events_are_told_apart(frame: bytes, kind: str) -> None:
    assert V1.classify(frame).kind == kind


@pytest.mark.parametrize(
    "frame", [b"7", b'"text"', b"null", b"[]", b"[1]", b"[1,2,3,4]", b'[{},"x"]', b"nope"]
)
def test_what_is_no_message_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        V1.classify(frame)


def test_a_refusal_may_lack_channel_and_pair() -> None:
    envelope = V1.classify(b'{"errorMessage":"No","event":"subscriptionStatus","status":"error"}')
    assert (envelope.channel, envelope.symbol, envelope.name, envelope.error) == ("", "", "", "No")


def test_a_refusals_channel_is_made_from_the_echoed_request() -> None:
    envelope = V1.classify(
        b'{"errorMessage":"No","event":"subscriptionStatus","pair":"A/B","status":"error",'
        b'"subscription":{"depth":42,"name":"book","token":"t"}}'
    )
    assert (envelope.channel, envelope.name, envelope.symbol) == ("book-42", "book", "A/B")
    assert V1.confirmed(envelope) == {"depth": 42}


def test_an_answer_without_ok_is_a_refusal_even_without_a_reason() -> None:
    assert V1.classify(b'{"event":"addOrderStatus"}').error == "(no reason given)"
    assert V1.classify(b'{"event":"subscriptionStatus","status":"error"}').error == "(no reason given)"
    assert V1.classify(b'{"event":"error"}').error == "(no reason given)"


def test_a_result_has_v2s_field_names() -> None:
    envelope = V1.classify(
        b'{"descr":"d","event":"editOrderStatus","originaltxid":"A","reqid":3,"status":"ok","txid":"B"}'
    )
    assert V1.method(envelope) == "editOrder"
    assert V1.result(envelope) == {"descr": "d", "original_order_id": "A", "order_id": "B"}


def test_a_connection_id_above_2_to_the_63_stays_exact() -> None:
    envelope = V1.classify(
        b'{"connectionID":18239578009413566319,"event":"systemStatus","status":"online","version":"1.9.2"}'
    )
    assert V1.status_details(envelope) == ("1.9.2", "18239578009413566319")


def test_a_books_sides_may_come_in_two_objects_with_the_checksum_in_the_last() -> None:
    changes = V1.book(b'[1,{"a":[["1","2","3"]]},{"b":[["4","5","6"]],"c":"2479000840"},"book-10","X/Y"]')
    assert (changes.asks, changes.bids) == ([["1", "2", "3"]], [["4", "5", "6"]])
    assert (changes.checksum, changes.snapshot) == (2479000840, False)


@pytest.mark.parametrize(
    "frame",
    [
        b'[1,{"as":[["2","1","0"]],"bs":[["1","1","0"]]},"book-10","X/Y"]',
        b'[1,{"as":[["2","1","0"]]},{"bs":[["1","1","0"]]},"book-10","X/Y"]',
    ],
)
def test_a_snapshot_has_both_sides_in_one_object_or_two(frame: bytes) -> None:
    changes = V1.book(frame)
    assert changes.snapshot
    assert (len(changes.asks), len(changes.bids), changes.checksum) == (1, 1, None)


def test_an_empty_snapshot_is_a_snapshot() -> None:
    assert V1.book(b'[1,{"as":[],"bs":[]},"book-10","X/Y"]').snapshot


@pytest.mark.parametrize(
    "payload",
    ["", "{},", '"as",', "[1],", '{"a":1},', '{"c":"x"},', '{"c":1e999},', '{"c":null},', '{"x":[]},', "7,"],
)
def test_a_book_of_another_shape_is_malformed(payload: str) -> None:
    with pytest.raises(Malformed):
        V1.book(f'[1,{payload}"book-10","X/Y"]'.encode())


@pytest.mark.parametrize("frame", [b'{"a":1}', b"7", b'"text"', b"[]", b"null"])
def test_a_book_that_is_no_array_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        V1.book(frame)


def test_channel_names_are_read_back() -> None:
    for channel, values in (("book-25", {"depth": 25}), ("ohlc-5", {"interval": 5}), ("ticker", {})):
        parsed = V1.parse_channel(channel)
        assert parsed is not None
        assert parsed[1] == values
        assert V1.channel(*parsed) == channel


@pytest.mark.parametrize(
    "channel",
    ["", "book", "book-", "book-x", "book-0", "book-" + "9" * 5000, "ticker-5", "ticker-", "ping", "x"],
)
def test_other_channel_names_are_unknown(channel: str) -> None:
    assert V1.parse_channel(channel) is None


@pytest.mark.parametrize(
    ("frame", "change"),
    [
        (b'[1,{"a":[["1","2","3"]],"c":"7"},"book-10","X/Y"]', ([["1", "2", "3"]], (), 7)),
        (b'[1,{"b":[],"c":"7"},"book-10","X/Y"]', ((), (), 7)),
        (b'[1,{"c":"7"},"book-10","X/Y"]', ((), (), 7)),
        (
            b'[1,{"a":[["1","2","3"]],"b":[["4","5"]],"c":"7"},"b","X/Y"]',
            ([["1", "2", "3"]], [["4", "5"]], 7),
        ),
        (b'[1,{"a":[["1","2","3"]]},"book-10","X/Y"]', None),
        (b'[1,{"as":[["1","2","3"]],"c":"7"},"book-10","X/Y"]', None),
        (b'[1,{"a":[["1","2","3"]]},{"b":[],"c":"7"},"book-10","X/Y"]', None),
        (b'[1,{"a":7,"c":"7"},"book-10","X/Y"]', None),
        (b'[1,{"a":[["1",2]],"c":"7"},"book-10","X/Y"]', None),
        (b'[1,{"a":[["1","2","3"]],"c":"x"},"book-10","X/Y"]', None),
        (b'[1,["a","c"],"book-10","X/Y"]', None),
        (b"7", None),
        (b'[1,{"a":[["1","2\x00"]],"c":"7"},"book-10","X/Y"]', None),
        (b'[1,{"a":[["1","2\xff"]],"c":"7"},"book-10","X/Y"]', None),
        (b'[1,{"a":[["1","2"]],"c":"7"},"book-10","X/Y"', None),
    ],
)
def test_a_change_is_a_book_frame_of_one_object_with_a_checksum(frame: bytes, change: object) -> None:
    assert V1.change(frame) == change


def test_a_change_says_what_the_book_frame_says() -> None:
    frame = b'[1,{"b":[["4","5","6"],["7","0","6","r"]],"c":"2479000840"},"book-10","X/Y"]'
    changes = V1.book(frame)
    assert V1.change(frame) == ((), changes.bids, changes.checksum)
