"""A recording played to clients, without a socket or a clock: hand-made frames, real checksums."""

from __future__ import annotations

import json
from typing import Any

import pytest

from krakenws.core.book import Book
from krakenws.errors import UsageError
from krakenws.exchange.protocol import ServerProtocol
from krakenws.exchange.replay import LEAD_S, ReplayVenue, read_recording

SNAPSHOT = (
    b'[336,{"as":[["100.10000","1.00000000","1.000001"],["100.20000","2.00000000","1.000002"]],'
    b'"bs":[["100.00000","3.00000000","1.000003"],["99.90000","0.50000000","1.000004"]]},"book-10","XBT/USD"]'
)
CHANGES: list[dict[str, list[list[str]]]] = [
    {"a": [["100.15000", "0.25000000", "2.000001"]]},
    {"b": [["99.90000", "0.00000000", "2.100000"], ["100.05000", "7.00000000", "2.100001"]]},
    {"a": [["100.10000", "0.00000000", "2.200000"]], "b": [["100.07000", "0.10000000", "2.200001"]]},
]
TICKERS = [b'[340,{"c":["100.%d","1.00000000"]},"ticker","XBT/USD"]' % n for n in range(3)]
TRADE = b'[337,[["100.10000","1.00000000","2.000000","b","m",""]],"trade","XBT/USD"]'


def book_frames() -> list[bytes]:
    book = Book("XBT/USD", 10)
    snapshot = json.loads(SNAPSHOT)[1]
    book.snapshot(snapshot["as"], snapshot["bs"])
    frames = [SNAPSHOT]
    for change in CHANGES:
        book.update(change.get("a", ()), change.get("b", ()))
        parts: list[dict[str, Any]] = [{side: levels} for side, levels in change.items()]
        parts[-1]["c"] = str(book.checksum())
        frames.append(json.dumps([336, *parts, "book-10", "XBT/USD"], separators=(",", ":")).encode())
    return frames


class Client:
    """One client of a venue; `wake` lets its heartbeats alone."""

    def __init__(self, venue: ReplayVenue, *, private: bool = False) -> None:
        self.venue = venue
        self.protocol = ServerProtocol(venue, private=private, connection_id=1, now=0.0)
        self.protocol.frames_to_send()

    def subscribe(self, name: str, now: float = 0.0, pair: str = "XBT/USD", **fields: object) -> list[bytes]:
        """Subscribe and return what follows the ack."""
        message: dict[str, Any] = {"event": "subscribe", "subscription": {"name": name, **fields}}
        if "token" not in fields:
            message["pair"] = [pair]
        return self.ask(message, now)[1:]

    def ask(self, message: object, now: float = 0.0) -> list[bytes]:
        self.protocol.receive(json.dumps(message).encode(), now)
        return self.protocol.frames_to_send()

    def refusal(self, name: str, **fields: Any) -> str:
        self.protocol.frames_to_send()
        message: dict[str, Any] = {"event": "subscribe", "subscription": {"name": name}}
        message["pair"] = [fields.pop("pair", "XBT/USD")]
        message["subscription"].update(fields)
        return str(json.loads(self.ask(message)[0])["errorMessage"])

    def until(self, now: float) -> list[bytes]:
        """Let the venue play until `now` and return the frames."""
        while (due := self.venue.next_deadline()) is not None and due <= now:
            self.venue.on_deadline(now)
        return self.protocol.frames_to_send()


def check(frames: list[bytes]) -> int:
    """Follow one book from its snapshot; return how many checksums verified."""
    book = Book("XBT/USD", 10)
    verified = 0
    for frame in frames:
        data = {side: levels for part in json.loads(frame)[1:-2] for side, levels in part.items()}
        if "as" in data:
            book.snapshot(data["as"], data["bs"])
            continue
        book.update(data.get("a", ()), data.get("b", ()))
        assert book.checksum() == int(data["c"])
        verified += 1
    return verified


def venue_of(*frames: bytes, speed: float = 1.0, **options: bool) -> ReplayVenue:
    """Frames one second apart."""
    return ReplayVenue([(float(t), frame) for t, frame in enumerate(frames)], speed=speed, **options)


def test_the_first_subscriber_sees_the_recording_byte_for_byte_from_its_first_frame() -> None:
    frames = book_frames()
    client = Client(venue_of(*frames))
    assert client.subscribe("book", now=50.0) == []
    assert client.until(1000.0) == frames


def test_frames_come_at_the_recorded_pace() -> None:
    frames = book_frames()
    client = Client(ReplayVenue(list(zip((7.0, 7.5, 9.0, 9.0), frames, strict=True)), speed=2.0))
    client.subscribe("book", now=50.0)
    start = 50.0 + LEAD_S
    assert client.until(start - 0.01) == []
    assert client.until(start + 0.1) == frames[:1]
    assert client.venue.next_deadline() == pytest.approx(start + 0.25)
    assert client.until(start + 0.9) == frames[1:2]
    assert client.until(start + 1.0) == frames[2:]
    assert client.venue.next_deadline() is None


def test_frames_without_a_time_come_at_a_fixed_pace() -> None:
    client = Client(ReplayVenue([(None, frame) for frame in TICKERS]))
    client.subscribe("ticker")
    assert client.until(LEAD_S + 0.06) == TICKERS[:2]
    assert client.until(LEAD_S + 0.11) == TICKERS[2:]


def test_a_clock_that_was_set_back_while_recording_makes_no_pause() -> None:
    client = Client(ReplayVenue([(5000.0, TICKERS[0]), (10.0, TICKERS[1]), (11.0, TICKERS[2])]))
    client.subscribe("ticker")
    assert client.until(LEAD_S + 0.5) == TICKERS[:2]
    assert client.until(LEAD_S + 1.0) == TICKERS[2:]


@pytest.mark.parametrize("joined_after", [1, 2, 3, 4])
def test_whoever_joins_a_book_between_two_frames_verifies_every_later_checksum(joined_after: int) -> None:
    venue = venue_of(*book_frames())
    first, second = Client(venue), Client(venue)
    first.subscribe("book")
    frames = first.until(LEAD_S + joined_after - 0.5)
    late = second.subscribe("book", now=joined_after)
    assert b'"as"' in late[0]
    frames += first.until(100.0)
    late += second.until(100.0)
    assert check(frames) == 3
    assert check(late) == 4 - joined_after


def test_a_late_snapshot_has_the_recordings_own_text_and_times() -> None:
    venue = venue_of(*book_frames())
    Client(venue).subscribe("book")
    venue.on_deadline(LEAD_S + 2.5)
    assert Client(venue).subscribe("book", now=3.0) == [
        (
            b'[336,{"as":[["100.10000","1.00000000","1.000001"],["100.15000","0.25000000","2.000001"],'
            b'["100.20000","2.00000000","1.000002"]],'
            b'"bs":[["100.05000","7.00000000","2.100001"],["100.00000","3.00000000","1.000003"]]},'
            b'"book-10","XBT/USD"]'
        )
    ]


def test_a_book_whose_snapshot_was_not_recorded_yet_opens_with_nothing() -> None:
    venue = venue_of(*book_frames()[1:])
    Client(venue).subscribe("book")
    venue.on_deadline(LEAD_S + 1.5)
    assert Client(venue).subscribe("book", now=2.0) == []


def test_a_damaged_book_frame_makes_late_snapshots_impossible_until_the_next_one() -> None:
    broken = b'[336,{"a":[["1e5","1"]],"c":"1"},"book-10","XBT/USD"]'
    venue = venue_of(SNAPSHOT, broken, SNAPSHOT)
    Client(venue).subscribe("book")
    venue.on_deadline(LEAD_S + 1.5)
    assert Client(venue).subscribe("book", now=2.0) == []
    venue.on_deadline(LEAD_S + 2.5)
    assert Client(venue).subscribe("book", now=3.0) == [SNAPSHOT]


def test_a_late_joiner_of_the_ticker_is_sent_the_latest_frame_and_of_trades_nothing() -> None:
    venue = venue_of(TICKERS[0], TRADE, TICKERS[1], TICKERS[2])
    Client(venue).subscribe("ticker")
    venue.on_deadline(LEAD_S + 2.5)
    late = Client(venue)
    assert late.subscribe("ticker", now=3.0) == [TICKERS[1]]
    assert late.subscribe("trade", now=3.0) == []
    assert late.until(100.0) == [TICKERS[2]]


def test_each_client_is_sent_what_it_subscribed_and_no_more_after_it_left() -> None:
    venue = venue_of(TICKERS[0], TRADE, TICKERS[1])
    tickers, trades = Client(venue), Client(venue)
    tickers.subscribe("ticker")
    trades.subscribe("trade")
    assert tickers.until(LEAD_S + 1.5) == [TICKERS[0]]
    tickers.protocol.closed(2.0)
    assert trades.until(100.0) == [TRADE]
    assert tickers.until(100.0) == []


@pytest.mark.parametrize(
    ("name", "fields", "error"),
    [
        ("ticker", {"pair": "ETH/EUR"}, "Currency pair not supported ETH/EUR"),
        ("book", {"depth": 25}, "Subscription depth not supported"),
        ("ohlc", {"interval": 5}, "Subscription ohlc interval not supported"),
        ("spread", {}, "Subscription name invalid"),
    ],
)
def test_what_the_recording_lacks_is_refused(name: str, fields: dict[str, object], error: str) -> None:
    candle = b'[343,["1","60","1","1","1","1","1","1",1],"ohlc-1","XBT/USD"]'
    assert Client(venue_of(SNAPSHOT, TICKERS[0], candle)).refusal(name, **fields) == error


def test_a_quiet_channel_that_was_acknowledged_in_the_recording_is_served() -> None:
    ack = (
        b'{"channelID":865,"channelName":"trade","event":"subscriptionStatus","pair":"ETH/EUR",'
        b'"status":"subscribed","subscription":{"name":"trade"}}'
    )
    client = Client(venue_of(ack, TRADE))
    request = {"event": "subscribe", "pair": ["ETH/EUR"], "subscription": {"name": "trade"}}
    assert client.ask(request) == [ack]


def test_what_was_greeted_acked_or_beaten_in_the_recording_is_not_played() -> None:
    status = b'{"connectionID":1,"event":"systemStatus","status":"online","version":"1.8.3"}'
    client = Client(venue_of(status, b'{"event":"heartbeat"}', b"CloudFlare is restarting", TRADE))
    client.subscribe("trade")
    assert client.until(LEAD_S) == [TRADE]


def test_without_a_loop_the_end_is_silent_and_late_joiners_still_get_a_snapshot() -> None:
    venue = venue_of(*book_frames())
    first = Client(venue)
    first.subscribe("book")
    first.until(100.0)
    assert not venue.finished
    first.protocol.on_deadline(101.0)
    assert first.protocol.frames_to_send() == [b'{"event":"heartbeat"}']
    assert check(Client(venue).subscribe("book", now=102.0)) == 0


def test_a_recording_that_ended_is_started_anew_when_everybody_has_left() -> None:
    venue = venue_of(*book_frames())
    first = Client(venue)
    first.subscribe("book")
    first.until(100.0)
    first.protocol.closed(101.0)
    second = Client(venue)
    assert second.subscribe("book", now=200.0) == []
    assert second.until(300.0) == book_frames()


def test_a_loop_sends_the_recorded_snapshot_again_to_everybody() -> None:
    frames = book_frames()
    venue = venue_of(*frames, loop=True)
    clients = [Client(venue), Client(venue)]
    for client in clients:
        client.subscribe("book")
    venue.on_deadline(LEAD_S + 3.0)
    assert clients[0].until(LEAD_S + 3.0) == frames
    assert clients[0].until(LEAD_S + 3.0 + LEAD_S) == frames[:1]
    assert clients[1].until(LEAD_S + 3.0 + LEAD_S) == [*frames, frames[0]]


def test_a_loop_of_one_moment_plays_once_a_turn() -> None:
    venue = venue_of(TRADE, speed=float("inf"), loop=True)
    client = Client(venue)
    client.subscribe("trade")
    venue.on_deadline(1.0)
    assert client.protocol.frames_to_send() == [TRADE]


def test_exit_at_end_finishes_the_venue_with_the_last_frame() -> None:
    venue = venue_of(*TICKERS, exit_at_end=True)
    client = Client(venue)
    client.subscribe("ticker")
    client.until(LEAD_S + 1.5)
    assert not venue.finished
    assert client.until(LEAD_S + 2.5) == TICKERS[2:]
    assert venue.finished


def test_full_speed_plays_in_batches_and_waits_for_its_readers() -> None:
    venue = venue_of(*TICKERS * 3000, speed=float("inf"))
    client = Client(venue)
    client.subscribe("ticker")
    venue.on_deadline(LEAD_S)
    batch = client.protocol.frames_to_send()
    assert 0 < len(batch) < 9000
    assert venue.patient
    assert batch + client.until(LEAD_S) == TICKERS * 3000


ORDERS = [
    b'[[{"O1":{"descr":{"pair":"XBT/USD"},"status":"open"}}],"openOrders",{"sequence":1}]',
    b'[[{"O2":{"descr":{"pair":"XBT/USD"},"status":"pending"}}],"openOrders",{"sequence":2}]',
    b'[[{"O2":{"status":"open","userref":0}}],"openOrders",{"sequence":3}]',
    b'[[{"O1":{"status":"closed"}}],"openOrders",{"sequence":4}]',
    b'[[{"O9":{"vol_exec":"1"}}],"openOrders",{"sequence":5}]',
]


def test_the_first_subscriber_of_open_orders_sees_them_as_recorded() -> None:
    client = Client(venue_of(*ORDERS), private=True)
    assert client.subscribe("openOrders", token="any") == []
    assert client.until(100.0) == ORDERS


def test_a_late_joiner_of_open_orders_gets_them_merged_and_its_own_numbers() -> None:
    venue = venue_of(*ORDERS)
    Client(venue, private=True).subscribe("openOrders", token="any")
    venue.on_deadline(LEAD_S + 3.5)
    late = Client(venue, private=True)
    assert late.subscribe("openOrders", now=4.0, token="any") == [
        b'[[{"O2":{"descr":{"pair":"XBT/USD"},"status":"open","userref":0}}],"openOrders",{"sequence":1}]'
    ]
    assert late.until(100.0) == [b'[[{"O9":{"vol_exec":"1"}}],"openOrders",{"sequence":2}]']


def test_open_orders_recorded_without_their_snapshot_begin_with_an_empty_one() -> None:
    client = Client(venue_of(ORDERS[3]), private=True)
    assert client.subscribe("openOrders", token="any") == [b'[[],"openOrders",{"sequence":1}]']
    assert client.until(100.0) == [b'[[{"O1":{"status":"closed"}}],"openOrders",{"sequence":2}]']


def test_a_loop_counts_on_within_a_private_subscription() -> None:
    venue = venue_of(*ORDERS[:2], loop=True)
    client = Client(venue, private=True)
    client.subscribe("openOrders", token="any")
    frames = client.until(LEAD_S + 1.0) + client.until(LEAD_S + 1.0 + LEAD_S)
    assert [json.loads(frame)[2]["sequence"] for frame in frames] == [1, 2, 3]


def test_own_trades_begin_with_the_last_fifty_unless_that_is_declined() -> None:
    frames = [b'[[{"T%d":{"vol":"1"}}],"ownTrades",{"sequence":%d}]' % (n, n) for n in range(1, 62)]
    venue = venue_of(*frames)
    clients = [Client(venue, private=True) for _ in range(2)]
    assert clients[0].subscribe("ownTrades", token="any", snapshot=False) == []
    assert clients[0].until(LEAD_S + 59.5)[0] == frames[1].replace(b'"sequence":2', b'"sequence":1')
    snapshot = json.loads(clients[1].subscribe("ownTrades", now=60.0, token="any")[0])
    assert [next(iter(trade)) for trade in snapshot[0]] == [f"T{n}" for n in range(11, 61)]
    assert clients[1].until(100.0) == [b'[[{"T61":{"vol":"1"}}],"ownTrades",{"sequence":2}]']


def test_any_token_but_an_empty_one_is_good_and_unrecorded_private_channels_are_unavailable() -> None:
    client = Client(venue_of(TRADE), private=True)
    request = {"event": "subscribe", "subscription": {"name": "openOrders", "token": ""}}
    assert json.loads(client.ask(request)[0])["errorMessage"] == "ESession:Invalid session"
    request = {"event": "subscribe", "subscription": {"name": "openOrders", "token": "any"}}
    assert json.loads(client.ask(request)[0])["errorMessage"] == "EService:Unavailable"


def test_commands_are_answered_as_in_the_recording_in_turn_else_unavailable() -> None:
    ok = b'{"event":"cancelOrderStatus","reqid":1234,"status":"ok"}'
    error = b'{"errorMessage":"EOrder:Unknown order","event":"cancelOrderStatus","status":"error"}'
    client = Client(venue_of(ok, error, TRADE), private=True)
    request = {"event": "cancelOrder", "token": "any", "txid": ["O1", "O2", "O3"], "reqid": 5}
    answers = [json.loads(frame) for frame in client.ask(request)]
    assert [answer["status"] for answer in answers] == ["ok", "error", "ok"]
    assert {answer["reqid"] for answer in answers} == {5}
    answers = [json.loads(frame) for frame in client.ask({**request, "txid": ["O4"]})]
    assert [answer["status"] for answer in answers] == ["error"]
    refused = json.loads(client.ask({"event": "cancelAll", "token": "any"})[0])
    assert refused == {
        "errorMessage": "EService:Unavailable", "event": "cancelAllStatus", "status": "error",
    }  # fmt: skip


def test_recordings_are_read_with_and_without_times_and_direction() -> None:
    lines = [
        b'{"t":"1.5","dir":"in","frame":"[1]"}\n',
        b"\n",
        b'{"t":2,"dir":"out","frame":"{}"}\n',
        b'{"t":null,"dir":"in","url":"https://api.kraken.com","frame":"{}"}\n',
        b'{"t":null,"dir":"in","frame":"no json"}\n',
        b'[2,{},"ticker","XBT/USD"]\r\n',
        b'{"event":"heartbeat"}',
    ]
    assert read_recording(lines) == [
        (1.5, b"[1]"),
        (None, b"no json"),
        (None, b'[2,{},"ticker","XBT/USD"]'),
        (None, b'{"event":"heartbeat"}'),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"[1,2", b"7", b"{}", b'{"frame":7}', b'{"dir":"up","frame":""}', b'{"t":"noon","frame":""}',
        b'{"t":"nan","frame":""}', b'{"t":-1,"frame":""}', b'{"t":[],"frame":""}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_malformed_line_is_named_by_its_number(line: bytes) -> None:
    with pytest.raises(UsageError, match=r"^line 2 of the recording"):
        read_recording([b"[1]", line, b"[1]"])


def test_a_recording_without_data_is_refused() -> None:
    with pytest.raises(UsageError, match="no data frame"):
        venue_of(b'{"event":"heartbeat"}')
