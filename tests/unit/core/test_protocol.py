"""The conversation: every transition and timer, with time as an argument."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core import v1_entries, v2_entries
from krakenws.core.book import Book
from krakenws.core.catalog import Bound, bind, find
from krakenws.core.events import (
    Connected,
    Deferred,
    Disconnected,
    Gap,
    Heartbeat,
    Pong,
    Refused,
    Rejected,
    Reply,
    Status,
    Subscribed,
    Unanswered,
    Unsubscribed,
    Untrusted,
    Update,
    Violation,
)
from krakenws.core.protocol import CLOSE, CONNECT, STAY, ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v2 import V2
from krakenws.options import Options

if TYPE_CHECKING:
    from krakenws.core.dialect import Dialect

GREETING = b'{"connectionID":1,"event":"systemStatus","status":"online","version":"1.9.2"}'
MAINTENANCE = b'{"connectionID":1,"event":"systemStatus","status":"maintenance","version":"1.9.2"}'
HEARTBEAT = b'{"event":"heartbeat"}'
ASKS = [["101.0", "1.00"], ["102.0", "1.00"]]
BIDS = [["100.0", "1.00"], ["99.0", "1.00"]]


class Talk:
    """A protocol, a clock and what happened so far."""

    def __init__(
        self, *lines: str, dialect: Dialect = V1, detail: bool = True, adopt: bool = False, **options: Any
    ) -> None:
        self.now = 1000.0
        self.ids: list[int] = []
        self.outbox: list[bytes] = []
        self.protocol = ClientProtocol(
            dialect, Options(**options), "public", jitter=lambda: 0.5, detail=detail, adopt=adopt
        )
        for line in lines:
            self.want(line)

    @property
    def ns(self) -> int:
        return int(self.now * 1e9)

    def want(self, line: str) -> Bound:
        name, *words = line.split()
        entry = find((*v1_entries.ENTRIES, *v2_entries.ENTRIES), name)
        assert entry is not None
        bound = bind(entry, words)
        if entry.kind == "channel":
            self.protocol.subscribe(bound, self.now)
        else:
            self.ids.append(self.protocol.request(bound, self.now))
        self.ship()
        return bound

    def ship(self) -> None:
        """Send what is to leave, as a shell does after each call; a lost connection takes it along."""
        if not self.protocol.connected:
            self.outbox.clear()
        self.outbox += self.protocol.frames_to_send()

    def open(self, token: str = "") -> list[Any]:
        assert self.protocol.wants == CONNECT
        self.protocol.connecting(self.now)
        self.protocol.opened(self.now, token)
        return self.hear(GREETING)

    def hear(self, *frames: bytes) -> list[Any]:
        events = self.protocol.receive([*frames], self.ns, self.now)
        self.ship()
        return events

    def ack(self, channel: str, *pairs: str, status: str = "subscribed") -> list[Any]:
        return self.hear(*(ack(channel, pair, status) for pair in pairs))

    def lose(self, cause: str = "reset", **more: Any) -> list[Any]:
        events = self.protocol.lost(cause, self.ns, self.now, **more)
        self.ship()
        return events

    def pass_time(self, seconds: float) -> list[Any]:
        """Let time pass, calling at every deadline as a shell does."""
        end = self.now + seconds
        events: list[Any] = []
        calls = 0
        while (at := self.protocol.next_deadline()) is not None and at <= end:
            calls = 0 if at > self.now else calls + 1
            assert calls < 5, "the timer spins"
            self.now = max(self.now, at)
            events += self.protocol.on_deadline(self.ns, self.now)
            self.ship()
        self.now = end
        return events

    def postpone(self, wait_s: float) -> list[Any]:
        assert self.protocol.wants == CONNECT or self.protocol.connected
        return self.protocol.postponed(wait_s, "the budget is spent", self.ns, self.now)

    def reopen(self) -> list[Any]:
        self.pass_time(60.0)
        return self.open()

    def sent(self) -> list[dict[str, Any]]:
        self.ship()
        frames, self.outbox = self.outbox, []
        return [json.loads(frame) for frame in frames]

    def asked(self) -> list[tuple[str, list[str]]]:
        """What was (un)subscribed since the last look: (event, pairs)."""
        return [(message["event"], message.get("pair", [])) for message in self.sent()]

    def needs_token(self) -> bool:
        return self.protocol.token_refused

    @property
    def wanted(self) -> list[str]:
        return [route.symbol for route in self.protocol.routes]


def ack(channel: str, pair: str = "", status: str = "subscribed") -> bytes:
    name, _, number = channel.partition("-")
    subscription: dict[str, Any] = {"name": name}
    if number:
        subscription["depth" if name == "book" else "interval"] = int(number)
    message = {
        "channelName": channel,
        "event": "subscriptionStatus",
        "status": status,
        "subscription": subscription,
    }
    return json.dumps({**message, "pair": pair} if pair else message).encode()


def refusal(error: str, **fields: Any) -> bytes:
    message = {"errorMessage": error, "event": "subscriptionStatus", "status": "error", **fields}
    return json.dumps(message).encode()


def answer(event: str, **fields: Any) -> bytes:
    status = "error" if "errorMessage" in fields else "ok"
    return json.dumps({"event": event, "status": status, **fields}).encode()


def ticker(pair: str = "XBT/USD") -> bytes:
    return f'[340,{{"a":["1",1,"1"]}},"ticker","{pair}"]'.encode()


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def snapshot(pair: str = "XBT/USD", asks: Any = ASKS, bids: Any = BIDS) -> bytes:
    return compact([336, {"as": asks, "bs": bids}, "book-10", pair])


def level(price: str, qty: str, pair: str = "XBT/USD", *, side: str = "b", crc: int | None = None) -> bytes:
    """One changed level of `ASKS` and `BIDS` with its checksum, or with `crc`."""
    book = Book(pair, 10)
    book.snapshot(ASKS, BIDS)
    change = [[price, qty]]
    book.update(change if side == "a" else [], change if side == "b" else [])
    checksum = book.checksum() if crc is None else crc
    return compact([336, {side: change, "c": str(checksum)}, "book-10", pair])


def own(channel: str, sequence: int) -> bytes:
    return compact([[{"O": {"status": "open"}}], channel, {"sequence": sequence}])


def kinds(events: list[Any]) -> list[type]:
    return [type(event) for event in events]


# ---- connecting


def test_nothing_wanted_needs_no_connection() -> None:
    talk = Talk()
    assert (talk.protocol.wants, talk.protocol.next_deadline(), talk.protocol.idle) == (STAY, None, True)


def test_a_wish_wants_a_connection_and_waits_for_the_greeting() -> None:
    talk = Talk("ticker XBT/USD")
    assert talk.protocol.wants == CONNECT
    talk.protocol.connecting(talk.now)
    assert talk.protocol.wants == STAY
    talk.protocol.opened(talk.now)
    assert talk.hear(HEARTBEAT) == [Heartbeat(talk.ns)]
    assert talk.sent() == []
    events = talk.hear(GREETING)
    assert kinds(events) == [Connected, Status]
    assert events[1] == Status(talk.ns, "online", "1.9.2", "1")
    assert talk.asked() == [("subscribe", ["XBT/USD"])]


@pytest.mark.parametrize(("opened", "what"), [(False, "connection"), (True, "greeting")])
def test_a_connection_that_is_not_greeted_in_time_is_lost(opened: bool, what: str) -> None:
    talk = Talk("ticker XBT/USD")
    talk.protocol.connecting(talk.now)
    if opened:
        talk.now += 4.0
        talk.protocol.opened(talk.now)
    assert talk.protocol.next_deadline() == 1010.0
    events = talk.pass_time(20.0)
    assert kinds(events) == [Disconnected]
    assert events[0].cause == f"no {what} within 10 s"
    assert not talk.protocol.connected
    assert talk.protocol.wants == CLOSE
    assert talk.protocol.failure == events[0].cause


def test_a_later_status_is_an_event_and_no_second_greeting() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    assert kinds(talk.hear(MAINTENANCE)) == [Status]
    assert talk.protocol.system == "maintenance"


def test_a_loss_said_twice_is_one_loss() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    assert kinds(talk.lose()) == [Disconnected]
    deadline = talk.protocol.next_deadline()
    assert talk.lose() == []
    assert talk.protocol.next_deadline() == deadline


# ---- subscribing


def test_each_pair_is_acknowledged_for_itself() -> None:
    talk = Talk("ticker XBT/USD ETH/EUR")
    talk.open()
    assert talk.asked() == [("subscribe", ["XBT/USD", "ETH/EUR"])]
    events = talk.ack("ticker", "XBT/USD")
    assert events == [Subscribed(talk.ns, "ticker", "XBT/USD", {})]
    talk.pass_time(5.0)
    assert ("subscribe", ["ETH/EUR"]) in talk.asked()


def test_an_ack_reports_the_parameters_as_confirmed() -> None:
    talk = Talk("book XBT/USD")
    talk.open()
    assert talk.ack("book-10", "XBT/USD") == [Subscribed(talk.ns, "book", "XBT/USD", {"depth": 10})]


def test_an_ack_that_comes_twice_or_after_its_data_is_reported_once() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    assert kinds(talk.hear(ticker())) == [Update]
    assert kinds(talk.ack("ticker", "XBT/USD", "XBT/USD")) == [Subscribed]


def test_one_refused_pair_of_three_is_reported_and_dropped() -> None:
    talk = Talk("ticker XBT/USD AAA/BBB ETH/EUR")
    talk.open()
    subscription = {"name": "ticker"}
    error = "Currency pair not supported AAA/BBB"
    events = talk.hear(
        ack("ticker", "XBT/USD"),
        refusal(error, pair="AAA/BBB", subscription=subscription),
        ack("ticker", "ETH/EUR"),
    )
    assert kinds(events) == [Subscribed, Refused, Subscribed]
    assert events[1] == Refused(talk.ns, "ticker", "AAA/BBB", error)
    assert talk.wanted == ["XBT/USD", "ETH/EUR"]
    assert kinds(talk.hear(ticker("ETH/EUR"))) == [Update]


def test_a_refusal_without_pair_and_channel_means_the_one_channel_that_was_asked() -> None:
    talk = Talk("ticker XBT/USD ETH/EUR")
    talk.open()
    assert kinds(talk.hear(refusal("Malformed request"))) == [Refused, Refused]
    assert talk.protocol.idle


def test_a_refusal_that_may_mean_two_channels_drops_neither() -> None:
    talk = Talk("ticker XBT/USD", "trade XBT/USD")
    talk.open()
    assert talk.hear(refusal("No")) == [Refused(talk.ns, "", "", "No")]
    assert len(talk.protocol.routes) == 2


def test_a_refusal_that_names_the_channel_without_its_depth_means_that_channel() -> None:
    talk = Talk("book XBT/USD 25", "ticker XBT/USD")
    talk.open()
    talk.hear(refusal("No", pair="XBT/USD", subscription={"name": "book"}))
    assert [route.channel for route in talk.protocol.routes] == ["ticker"]


def test_already_subscribed_is_as_good_as_an_ack() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    error = refusal("Already subscribed", pair="XBT/USD", subscription={"name": "ticker"})
    assert kinds(talk.hear(error, error)) == [Subscribed]
    assert kinds(talk.hear(ticker())) == [Update]


@pytest.mark.parametrize(
    ("error", "least_s"),
    [("Exceeded msg rate", 1.0), ("EService:Unavailable", 5.0), ("EService:Busy", 5.0)],
)
def test_what_the_exchange_was_too_busy_for_is_asked_again(error: str, least_s: float) -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.sent()
    told = talk.hear(refusal(error, pair="XBT/USD", subscription={"name": "ticker"}))
    assert [(type(e), e.cause, e.retry_in_s) for e in told] == [(Deferred, error, least_s)]
    talk.pass_time(least_s - 0.01)
    assert "subscribe" not in [event for event, _ in talk.asked()]
    talk.pass_time(0.01)
    assert ("subscribe", ["XBT/USD"]) in talk.asked()


@pytest.mark.parametrize(
    "frame", [b'{"Error":"Exceeded msg rate"}', b'{"event":"error","errorMessage":"Exceeded msg rate"}']
)
def test_a_rate_error_that_names_nothing_has_all_open_requests_asked_again(frame: bytes) -> None:
    talk = Talk("ticker XBT/USD", "trade ETH/EUR")
    talk.open()
    talk.sent()
    assert kinds(talk.hear(frame)) == [Deferred, Deferred]
    talk.pass_time(1.0)
    assert [pairs for _, pairs in talk.asked()] == [["XBT/USD"], ["ETH/EUR"]]


def test_a_missing_ack_is_told_each_time_it_is_asked_for_again() -> None:
    talk = Talk("ticker XBT/USD", ack_timeout_s=5.0, quiet_s=100.0)
    talk.open()
    told = [event for event in talk.pass_time(16.0) if isinstance(event, Deferred)]
    assert [(event.symbol, event.cause) for event in told] == [("XBT/USD", "no answer yet")] * 2


def test_a_missing_ack_is_asked_for_again_each_time_more_patiently() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.sent()
    times = []
    for _ in range(80):
        talk.pass_time(1.0)
        talk.hear(HEARTBEAT)
        if ("subscribe", ["XBT/USD"]) in talk.asked():
            times.append(talk.now - 1000.0)
    assert times == [5.0, 15.0, 35.0, 75.0]


def test_pairs_are_batched_and_requests_paced() -> None:
    talk = Talk("ticker " + " ".join(f"A{n}/USD" for n in range(1500)))
    talk.open()
    at_once = talk.asked()
    assert [len(pairs) for _, pairs in at_once] == [100] * 5
    talk.pass_time(1.0)
    later = talk.asked()
    assert sum(len(pairs) for _, pairs in (*at_once, *later)) == 1500


def test_a_new_wish_on_a_standing_connection_is_asked_at_once() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.sent()
    talk.want("trade XBT/USD")
    talk.want("ticker XBT/USD")
    assert talk.asked() == [("subscribe", ["XBT/USD"])]


def test_an_unsubscription_is_sent_and_what_was_on_its_way_is_ignored() -> None:
    talk = Talk()
    bound = talk.want("ticker XBT/USD ETH/EUR")
    talk.open()
    talk.ack("ticker", "XBT/USD", "ETH/EUR")
    talk.sent()
    talk.protocol.unsubscribe(bound)
    assert talk.asked() == [("unsubscribe", ["XBT/USD", "ETH/EUR"])]
    assert talk.hear(ticker()) == []
    assert talk.ack("ticker", "XBT/USD", status="unsubscribed") == [
        Unsubscribed(talk.ns, "ticker", "XBT/USD")
    ]
    assert talk.protocol.idle


def test_what_was_never_asked_for_is_not_unsubscribed() -> None:
    talk = Talk()
    bound = talk.want("ticker XBT/USD")
    talk.protocol.unsubscribe(bound)
    assert talk.sent() == []
    assert talk.protocol.idle


def test_an_ack_of_an_old_unsubscription_does_not_end_the_new_subscription() -> None:
    talk = Talk()
    bound = talk.want("ticker XBT/USD")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.protocol.unsubscribe(bound)
    talk.protocol.subscribe(bound, talk.now)
    events = talk.hear(ack("ticker", "XBT/USD", "unsubscribed"), ack("ticker", "XBT/USD"), ticker())
    assert kinds(events) == [Unsubscribed, Subscribed, Update]


def test_a_subscription_the_exchange_ends_is_asked_for_again_with_a_gap() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.sent()
    began = talk.ns
    assert kinds(talk.ack("ticker", "XBT/USD", status="unsubscribed")) == [Unsubscribed]
    assert talk.hear(ticker()) == []  # it was still on its way
    talk.pass_time(1.0)
    assert talk.asked() == [("subscribe", ["XBT/USD"])]
    talk.ack("ticker", "XBT/USD")
    gap, update = talk.hear(ticker())
    assert gap == Gap(talk.ns, "ticker", "XBT/USD", "unsubscribed by the exchange", began, talk.ns)
    assert type(update) is Update


# ---- tokens


def invalid_session(channel: str) -> bytes:
    return refusal("ESession:Invalid session", subscription={"name": channel})


def test_an_invalid_session_waits_for_another_token() -> None:
    talk = Talk("openOrders")
    talk.open("old")
    talk.sent()
    assert kinds(talk.hear(invalid_session("openOrders"))) == [Refused]
    assert talk.needs_token()
    talk.pass_time(1.0)
    assert talk.sent() == []
    talk.protocol.renew("new", talk.now)
    assert not talk.needs_token()
    (message,) = talk.sent()
    assert message["subscription"] == {"name": "openOrders", "token": "new"}


def test_a_refusal_of_the_old_token_says_nothing_of_the_new_one() -> None:
    talk = Talk("openOrders", "ownTrades")
    talk.open("old")
    talk.hear(invalid_session("openOrders"))
    talk.protocol.renew("new", talk.now)
    talk.sent()
    assert talk.hear(invalid_session("ownTrades")) == []
    assert not talk.needs_token()
    assert [message["subscription"]["token"] for message in talk.sent()] == ["new"]
    talk.hear(invalid_session("openOrders"))
    assert talk.needs_token()


def test_a_refusal_of_the_token_ends_with_its_connection() -> None:
    talk = Talk("openOrders")
    talk.open("stale")
    talk.hear(refusal("ESession:Invalid session", subscription={"name": "openOrders"}))
    assert talk.needs_token()
    talk.lose()
    assert not talk.needs_token()


def test_a_new_connection_brings_a_new_token() -> None:
    talk = Talk("openOrders")
    talk.open("old")
    talk.hear(invalid_session("openOrders"))
    talk.lose()
    talk.pass_time(1.0)
    talk.open("new")
    assert talk.sent()[-1]["subscription"]["token"] == "new"


# ---- requests


def test_a_request_is_sent_once_ready_and_matched_by_its_number() -> None:
    talk = Talk("addOrder pair=XBT/USD type=buy ordertype=market volume=1")
    assert talk.sent() == []
    talk.open("t")
    (message,) = talk.sent()
    assert message["reqid"] == talk.ids[0]
    events = talk.hear(answer("addOrderStatus", reqid=talk.ids[0], txid="O1", descr="d"))
    assert events == [Reply(talk.ns, "addOrder", talk.ids[0], {"order_id": "O1", "descr": "d"})]
    assert talk.protocol.idle


def test_a_refused_request_carries_the_error_as_sent() -> None:
    talk = Talk("cancelAll")
    talk.open("t")
    error = "EGeneral:Permission denied"
    assert talk.hear(answer("cancelAllStatus", reqid=talk.ids[0], errorMessage=error)) == [
        Rejected(talk.ns, "cancelAll", talk.ids[0], error)
    ]


def test_a_foreign_answer_is_a_violation_and_ends_nothing() -> None:
    talk = Talk("cancelAll")
    talk.open("t")
    other = answer("cancelAllStatus", reqid=999), answer("addOrderStatus", reqid=talk.ids[0])
    assert kinds(talk.hear(*other)) == [Violation, Violation]
    assert not talk.protocol.idle


def test_a_second_answer_is_a_violation_that_says_so() -> None:
    talk = Talk("cancelAll")
    talk.open("t")
    frame = answer("cancelAllStatus", reqid=talk.ids[0], count=1)
    reply, late = talk.hear(frame, frame)
    assert type(reply) is Reply
    assert late.cause == f"one more answer to cancelAll {talk.ids[0]}, which had ended"


@pytest.mark.parametrize("fields", [{"count": 0}, {"errorMessage": "EGeneral:Invalid arguments"}])
def test_an_answer_without_number_is_nobodys(fields: dict[str, object]) -> None:
    """Ours all carry one, which the exchange echoes."""
    talk = Talk("cancelAll")
    talk.open("t")
    assert kinds(talk.hear(answer("cancelAllStatus", **fields))) == [Violation]


def test_a_cancel_of_three_orders_takes_three_answers() -> None:
    talk = Talk("cancelOrder txid=A,B,C")
    talk.open("t")
    ok = answer("cancelOrderStatus", reqid=talk.ids[0])
    assert talk.hear(ok, ok) == []
    assert kinds(talk.hear(ok)) == [Reply]


def test_a_cancel_that_failed_in_part_is_rejected_with_the_number_that_failed() -> None:
    talk = Talk("cancelOrder cl_ord_id=A,B")
    talk.open("t")
    bad = answer("cancelOrderStatus", reqid=talk.ids[0], errorMessage="EOrder:Unknown order")
    (event,) = talk.hear(answer("cancelOrderStatus", reqid=talk.ids[0]), bad)
    assert event.error == "EOrder:Unknown order (1 of 2; v1 does not say which)"


@pytest.mark.parametrize(
    ("errors", "kind", "said"),
    [
        (["EGeneral:Invalid arguments"], Rejected, "EGeneral:Invalid arguments"),
        (["EOrder:Unknown order"], Unanswered, "1 of 3 answers came, refused: EOrder:Unknown order"),
        ([""], Unanswered, "1 of 3 answers came"),
        (["", "EOrder:Unknown order"], Unanswered, "2 of 3 answers came"),
        ([], Unanswered, "no answer within 5 s"),
    ],
)
def test_a_cancel_with_answers_missing_is_unknown_unless_refused_as_a_whole(
    errors: list[str], kind: type, said: str
) -> None:
    talk = Talk("cancelOrder txid=A,B,C")
    talk.open("t")
    for error in errors:
        talk.hear(
            answer("cancelOrderStatus", reqid=talk.ids[0], **({"errorMessage": error} if error else {}))
        )
    (event,) = talk.pass_time(5.0)
    assert type(event) is kind
    assert said in str(event)


def test_a_request_unanswered_in_time_is_unknown_and_never_sent_again() -> None:
    talk = Talk("openOrders", "cancelAll")
    talk.open("t")
    talk.ack("openOrders", "")
    talk.sent()
    events = talk.pass_time(5.0)
    (unanswered,) = [event for event in events if type(event) is Unanswered]
    assert "look at open orders" in unanswered.hint
    late = answer("cancelAllStatus", reqid=talk.ids[0], count=1)
    assert kinds(talk.hear(late, late)) == [Reply, Violation]
    talk.lose()
    talk.reopen()
    assert [message["event"] for message in talk.sent() if message["event"] == "cancelAll"] == []


def test_a_request_sent_and_cut_off_is_unknown_and_ends_a_one_shot_without_failure() -> None:
    talk = Talk()
    talk.want("cancelAll")
    talk.open("t")
    events = talk.lose("reset by peer")
    assert kinds(events) == [Disconnected, Unanswered]
    assert (talk.protocol.wants, talk.protocol.failure) == (CLOSE, None)


def test_a_request_that_was_made_but_never_taken_to_be_sent_counts_as_unsent() -> None:
    talk = Talk("cancelAll")
    talk.protocol.connecting(talk.now)
    talk.protocol.opened(talk.now, "t")
    talk.protocol.receive([GREETING], talk.ns, talk.now)
    assert kinds(talk.protocol.lost("stdout is full", talk.ns, talk.now)) == [Disconnected]
    assert talk.protocol.failure == "stdout is full"


def test_an_order_is_not_sent_into_maintenance() -> None:
    talk = Talk("cancelAll")
    talk.protocol.connecting(talk.now)
    talk.protocol.opened(talk.now, "t")
    events = talk.hear(MAINTENANCE)
    assert kinds(events) == [Connected, Status, Rejected]
    assert "not sent" in events[-1].error
    assert talk.sent() == []


def test_a_book_that_never_proves_itself_is_asked_for_more_and_more_slowly() -> None:
    talk = book_talk()
    asked = 0
    for _ in range(600):
        talk.hear(level("100.0", "2.00", crc=1))
        talk.pass_time(0.1)
        if "subscribe" in [event for event, _ in talk.asked()]:
            asked += 1
            talk.ack("book-10", "XBT/USD")
            talk.hear(snapshot())
    assert asked == 3  # at once, after 10 and after 30 seconds


def test_a_request_that_could_not_be_sent_is_a_failure() -> None:
    talk = Talk("cancelAll")
    talk.protocol.connecting(talk.now)
    assert kinds(talk.lose("refused")) == [Disconnected]
    assert (talk.protocol.wants, talk.protocol.failure) == (CLOSE, "refused")


def test_an_unsent_request_survives_a_loss_when_reconnecting_is_wished() -> None:
    talk = Talk("cancelAll", reconnect=2)
    talk.protocol.connecting(talk.now)
    talk.lose("refused")
    talk.pass_time(0.0)
    talk.open("t")
    assert [message["event"] for message in talk.sent()] == ["cancelAll"]


def test_an_error_event_ends_the_request_whose_number_it_carries() -> None:
    talk = Talk("cancelAll", "cancelAll")
    talk.open("t")
    frame = answer("error", errorMessage="Malformed request", reqid=talk.ids[1])
    assert talk.hear(frame) == [Rejected(talk.ns, "cancelAll", talk.ids[1], "Malformed request")]


def test_an_error_event_without_number_leaves_open_what_became_of_the_only_order() -> None:
    talk = Talk("cancelAll")
    talk.open("t")
    (told,) = talk.hear(answer("error", errorMessage="Malformed request"))
    assert isinstance(told, Unanswered)
    assert told.hint.startswith("the exchange said Malformed request, and not about which request")
    late = answer("cancelAllStatus", reqid=talk.ids[0], count=1)
    assert kinds(talk.hear(late)) == [Reply], "its own answer may still come"


def test_an_error_event_without_number_ends_the_only_request_that_does_not_trade() -> None:
    talk = Talk("ping")
    talk.open()
    assert kinds(talk.hear(answer("error", errorMessage="Malformed request"))) == [Rejected]


def test_an_error_event_that_may_mean_something_else_is_no_verdict_on_an_order() -> None:
    frame = answer("error", errorMessage="Exceeded msg rate")
    foreign = answer("error", errorMessage="Exceeded msg rate", reqid=12345)
    talk = Talk("cancelAll", ack_timeout_s=60.0)
    talk.open("t")
    assert kinds(talk.hear(foreign)) == [Violation]
    talk.pass_time(30.0)  # a probe of ours is on its way
    assert talk.sent()[-1]["event"] == "ping"
    assert kinds(talk.hear(frame)) == [Violation]
    subscribing = Talk("cancelAll", "openOrders")
    subscribing.open("t")
    assert kinds(subscribing.hear(frame)) == [Deferred]  # taken for the subscription's
    assert not subscribing.protocol.idle


def test_a_ping_is_answered_with_or_without_number() -> None:
    talk = Talk("ping reqid=42")
    talk.open()
    assert talk.sent() == [{"event": "ping", "reqid": 42}]
    talk.now += 0.25
    assert talk.hear(b'{"event":"pong","reqid":42}') == [Pong(talk.ns, 42, 0.25)]
    talk.want("ping")
    talk.want("ping")
    assert talk.sent() == [{"event": "ping"}, {"event": "ping"}]
    assert talk.hear(b'{"event":"pong"}', b'{"event":"pong"}') == [Pong(talk.ns, None, 0.0)] * 2
    assert talk.protocol.idle


def test_a_users_number_in_use_is_not_used_twice() -> None:
    talk = Talk("ping reqid=1", "ping reqid=1", "cancelAll")
    assert len(set(talk.ids)) == 3
    talk.open("t")
    assert [message["reqid"] for message in talk.sent()] == talk.ids


# ---- silence


def test_a_silent_stream_is_probed_and_then_lost() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.sent()
    assert talk.pass_time(2.9) == []
    assert talk.sent() == []
    talk.pass_time(0.1)
    assert [message["event"] for message in talk.sent()] == ["ping"]
    events = talk.pass_time(5.0)
    assert kinds(events) == [Disconnected]
    assert events[0].cause == "silent for 8 s"


def test_any_frame_proves_life() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.sent()
    for frame in (HEARTBEAT, ticker(), b"garbage", b'{"event":"pong","reqid":77}'):
        talk.pass_time(3.5)
        assert [message["event"] for message in talk.sent()] == ["ping"]
        talk.hear(frame)
        assert talk.protocol.connected


def test_a_pong_of_our_own_probe_is_no_event() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.sent()
    talk.pass_time(3.0)
    (probe,) = talk.sent()
    assert talk.hear(json.dumps({"event": "pong", "reqid": probe["reqid"]}).encode()) == []


def test_a_connection_without_subscriptions_is_pinged_before_the_exchange_closes_it() -> None:
    talk = Talk("cancelAll", ack_timeout_s=1000.0)
    talk.open("t")
    talk.sent()
    pings = []
    for _ in range(100):
        talk.pass_time(1.0)
        for message in talk.sent():
            pings.append(talk.now - 1000.0)
            talk.hear(json.dumps({"event": "pong", "reqid": message["reqid"]}).encode())
    assert pings == [30.0, 60.0, 90.0]


# ---- reconnecting


def delays(talk: Talk, losses: int, **more: Any) -> list[float | None]:
    found = []
    for _ in range(losses):
        (event,) = [event for event in talk.lose(**more) if type(event) is Disconnected]
        found.append(event.retry_in_s)
        if event.retry_in_s is None:
            break
        talk.pass_time(event.retry_in_s)
        talk.open()
    return found


def test_reconnecting_backs_off_with_jitter() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    assert delays(talk, 5) == [0.0, 0.0, 1.0, 17.5, 17.5]


def test_a_planned_restart_is_followed_at_once_but_only_once_in_a_row() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    delays(talk, 3)
    assert delays(talk, 2, code=1001) == [0.0, 17.5]


def test_a_refusal_for_lack_of_data_or_by_http_is_followed_politely() -> None:
    for more in ({"code": 1013}, {"at_least_s": 5.0}):
        talk = Talk("ticker XBT/USD")
        talk.open()
        assert delays(talk, 2, **more) == [5.0, 5.0]


def test_maintenance_is_followed_politely_even_when_the_exchange_restarts() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.hear(MAINTENANCE)
    assert delays(talk, 1, code=1001) == [5.0]


def stay(talk: Talk, seconds: int) -> None:
    """Let time pass on a connection that lives."""
    for _ in range(seconds):
        talk.pass_time(1.0)
        talk.hear(HEARTBEAT)


def test_only_a_connection_that_stayed_good_resets_the_back_off() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    delays(talk, 4)
    talk.ack("ticker", "XBT/USD")
    stay(talk, 29)
    assert delays(talk, 1) == [17.5]
    talk.ack("ticker", "XBT/USD")
    stay(talk, 32)
    assert delays(talk, 1) == [0.0]


def test_a_connection_that_owes_an_ack_or_a_snapshot_resets_nothing() -> None:
    talk = Talk("book XBT/USD")
    talk.open()
    delays(talk, 4)
    stay(talk, 100)
    assert delays(talk, 1) == [17.5]
    for _ in range(4):  # acknowledged again and again, and mute
        talk.ack("book-10", "XBT/USD")
        stay(talk, 15)
    assert delays(talk, 1) == [17.5]
    talk.ack("book-10", "XBT/USD")
    stay(talk, 5)
    talk.hear(snapshot())
    stay(talk, 29)
    assert delays(talk, 1) == [17.5]


def test_reconnect_n_counts_anew_after_a_connection_that_stayed_good() -> None:
    talk = Talk("ticker XBT/USD", reconnect=2)
    talk.open()
    for _ in range(3):
        assert delays(talk, 2) == [0.0, 0.0]
        talk.ack("ticker", "XBT/USD")
        stay(talk, 32)


def test_a_stream_goes_on_for_ever_once_its_first_connection_stood() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.lose()
    for _ in range(50):
        talk.pass_time(700.0)
        assert talk.protocol.wants == CONNECT
        talk.protocol.connecting(talk.now)
        talk.lose("refused")
    assert talk.protocol.failure is None


def test_a_stream_whose_first_connection_fails_ends() -> None:
    talk = Talk("ticker XBT/USD")
    talk.protocol.connecting(talk.now)
    (event,) = talk.lose("refused")
    assert event == Disconnected(talk.ns, "public", "refused", None)
    assert (talk.protocol.wants, talk.protocol.failure) == (CLOSE, "refused")


def test_reconnect_never_and_reconnect_n_are_obeyed() -> None:
    talk = Talk("ticker XBT/USD", reconnect=0)
    talk.open()
    assert delays(talk, 5) == [None]
    assert talk.protocol.failure == "reset"
    talk = Talk("ticker XBT/USD", reconnect=2)
    talk.open()
    assert delays(talk, 5) == [0.0, 0.0, None]


def test_a_postponed_stream_waits_even_for_its_first_connection() -> None:
    talk = Talk("ticker XBT/USD", reconnect=0)
    assert talk.postpone(570.0) == [Disconnected(talk.ns, "public", "the budget is spent", 570.0)]
    talk.pass_time(569.9)
    assert not talk.protocol.connected
    assert talk.protocol.wants == STAY
    talk.pass_time(0.1)
    talk.open()
    assert talk.protocol.connected


def test_postponing_is_no_loss() -> None:
    """Neither the back-off nor `--reconnect` count it."""
    talk = Talk("ticker XBT/USD", reconnect=5)
    talk.open()
    assert delays(talk, 1) == [0.0]
    talk.lose()
    talk.pass_time(0.0)
    for _ in range(3):
        talk.postpone(60.0)
        talk.pass_time(60.0)
    talk.open()
    assert delays(talk, 3) == [1.0, 17.5, 17.5]


def test_what_is_postponed_at_the_last_step_is_not_lost_by_its_deadline() -> None:
    talk = Talk("ticker XBT/USD")
    talk.protocol.connecting(talk.now)
    talk.postpone(60.0)
    assert talk.pass_time(59.0) == []
    assert not talk.protocol.connected


@pytest.mark.parametrize("lines", [["ping"], ["cancelAll"], ["ticker XBT/USD", "cancelAll"]])
def test_a_postponed_command_does_not_wait(lines: list[str]) -> None:
    """Nobody wants an order that is sent minutes later."""
    talk = Talk(*lines, reconnect=5)
    assert talk.postpone(570.0) == [Disconnected(talk.ns, "public", "the budget is spent", None)]
    assert (talk.protocol.wants, talk.protocol.failure) == (CLOSE, "the budget is spent")


def test_the_wanted_set_is_asked_for_again_with_its_own_parameters() -> None:
    talk = Talk("book XBT/USD ETH/EUR 25", "ohlc XBT/USD 60", "ticker AAA/BBB")
    talk.open()
    talk.hear(refusal("No", pair="AAA/BBB", subscription={"name": "ticker"}))
    echo = b'{"channelName":"book-25","event":"subscriptionStatus","pair":"XBT/USD","status":"subscribed",'
    talk.hear(echo + b'"subscription":{"depth":25,"name":"book","extra":1}}')
    talk.sent()
    talk.lose()
    talk.reopen()
    assert [(m["subscription"], m["pair"]) for m in talk.sent()] == [
        ({"name": "book", "depth": 25}, ["XBT/USD", "ETH/EUR"]),
        ({"name": "ohlc", "interval": 60}, ["XBT/USD"]),
    ]


def test_a_gap_stands_before_the_first_data_after_a_cut() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.hear(ticker())
    heard = talk.ns
    talk.now += 1.0
    talk.lose("reset")
    talk.reopen()
    talk.ack("ticker", "XBT/USD")
    gap, update = talk.hear(ticker())
    assert gap == Gap(talk.ns, "ticker", "XBT/USD", "reset", heard, talk.ns)
    assert type(update) is Update
    assert kinds(talk.hear(ticker())) == [Update]


def test_a_second_cut_before_any_data_keeps_the_first_ones_beginning() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    heard = talk.ns
    talk.lose("first")
    talk.reopen()
    talk.ack("ticker", "XBT/USD")
    talk.lose("second")
    talk.reopen()
    talk.ack("ticker", "XBT/USD")
    gap = talk.hear(ticker())[0]
    assert (gap.cause, gap.from_ns) == ("first", heard)


def test_what_never_streamed_has_no_gap() -> None:
    talk = Talk("ticker XBT/USD", reconnect=5)
    talk.open()
    talk.lose()
    talk.reopen()
    talk.ack("ticker", "XBT/USD")
    assert kinds(talk.hear(ticker())) == [Update]


# ---- books


def book_talk(*pairs: str, **options: Any) -> Talk:
    talk = Talk(f"book {' '.join(pairs or ('XBT/USD',))}", **options)
    talk.open()
    talk.ack("book-10", *(pairs or ("XBT/USD",)))
    talk.hear(*(snapshot(pair) for pair in pairs or ("XBT/USD",)))
    talk.sent()
    return talk


def test_a_book_is_verified_by_its_checksum() -> None:
    talk = Talk("book XBT/USD")
    talk.open()
    talk.ack("book-10", "XBT/USD")
    first, second = talk.hear(snapshot(), level("100.0", "2.00"))
    assert (first.snapshot, first.trust) == (True, "unverified")
    assert (second.snapshot, second.trust, second.body.bids) == (False, "verified", [["100.0", "2.00"]])


def test_updates_before_the_first_snapshot_are_ignored() -> None:
    talk = Talk("book XBT/USD")
    talk.open()
    talk.ack("book-10", "XBT/USD")
    assert talk.hear(level("100.0", "2.00")) == []


def test_a_mismatch_touches_one_pair_until_its_new_snapshot() -> None:
    talk = book_talk("XBT/USD", "ETH/EUR")
    good = talk.ns
    talk.now += 1.0
    broke = talk.ns
    (gap,) = talk.hear(level("100.0", "2.00", crc=1))
    assert gap == Gap(broke, "book", "XBT/USD", "checksum", good)
    assert talk.asked() == [("unsubscribe", ["XBT/USD"]), ("subscribe", ["XBT/USD"])]
    events = talk.hear(level("100.0", "2.00"), level("100.0", "2.00", "ETH/EUR"))
    assert [event.route.symbol for event in events] == ["ETH/EUR"]
    talk.now += 1.0
    acks = (ack("book-10", "XBT/USD", "unsubscribed"), ack("book-10", "XBT/USD"))
    assert talk.hear(*acks) == []
    assert talk.hear(level("100.0", "2.00")) == []  # late, of the old subscription
    gap, update = talk.hear(snapshot())
    assert gap == Gap(talk.ns, "book", "XBT/USD", "checksum", good, talk.ns)
    assert update.snapshot
    assert kinds(talk.hear(level("100.0", "2.00"))) == [Update]
    assert talk.asked() == []


def test_a_resync_that_brings_no_snapshot_is_asked_again_and_then_renews_the_connection_once() -> None:
    talk = book_talk()
    talk.hear(level("100.0", "2.00", crc=1))
    talk.sent()
    times: list[int] = []
    losses: list[int] = []
    began = talk.now
    for _ in range(1200):
        events = talk.pass_time(0.1)
        if talk.protocol.wants == CONNECT:
            losses.append(round(talk.now - began))
            assert [e.cause for e in events if type(e) is Disconnected] == [
                "book XBT/USD stays silent although it was asked for again"
            ]
            talk.open()
            talk.sent()
            talk.ack("book-10", "XBT/USD")
        talk.hear(HEARTBEAT)
        if asked := [event for event, _ in talk.asked() if event != "ping"]:
            assert asked == ["unsubscribe", "subscribe"]
            times.append(round(talk.now - began))
            talk.ack("book-10", "XBT/USD", status="unsubscribed")
            talk.ack("book-10", "XBT/USD")
    assert losses == [30]  # 10 and 20 seconds of silence, each after a request that was confirmed
    assert times == [10, 40, 50, 70, 110]
    assert kinds(talk.hear(snapshot())) == [Gap, Update]


def wrong_again_and_again(talk: Talk, snapshots: int) -> list[tuple[int, Any]]:
    """Answer each resync with a snapshot and a wrong update; return what was told, with seconds."""
    began, told = talk.now, []
    told += talk.hear(level("100.0", "2.00", crc=1))
    for _ in range(snapshots):
        while not any(event == "subscribe" for event, _ in talk.asked()):
            told += talk.pass_time(0.5)
            talk.hear(HEARTBEAT)
            assert talk.now < began + 1000.0, "no resync"
        talk.ack("book-10", "XBT/USD")
        told += talk.hear(snapshot(), level("100.0", "2.00", crc=1))
    return [(round(event.received_ns / 1e9 - began), event) for event in told]


def test_five_resyncs_in_vain_make_a_book_untrusted_until_the_next_connection() -> None:
    talk = book_talk("XBT/USD", "ETH/EUR")
    told = wrong_again_and_again(talk, 5)
    assert [at for at, event in told if type(event) is Gap and event.to_ns is None] == [0, 0, 10, 30, 70]
    gap, untrusted, update = [event for at, event in told if at == 150][-3:]
    assert (gap.cause, gap.to_ns) == ("checksum", untrusted.received_ns)
    assert untrusted == Untrusted(talk.ns, "book", "XBT/USD", "checksum", 5)
    assert (update.trust, update.body.bids) == ("untrusted", [["100.0", "2.00"]])
    events = talk.hear(level("100.0", "3.00", crc=1), level("100.0", "2.00", "ETH/EUR"))
    assert [event.trust for event in events] == ["untrusted", "verified"]
    for _ in range(100):
        talk.pass_time(1.0)
        talk.hear(HEARTBEAT)
    assert [event for event, _ in talk.asked() if event != "ping"] == []
    talk.lose()
    talk.reopen()
    talk.ack("book-10", "XBT/USD")
    events = talk.hear(snapshot(), level("100.0", "2.00"))
    assert [getattr(event, "trust", event.name) for event in events] == ["gap", "unverified", "verified"]


def test_a_verified_update_between_two_mismatches_does_not_make_resyncs_endless() -> None:
    talk = book_talk()
    times = []
    last: list[Any] = []
    began = talk.now
    for _ in range(6):
        talk.hear(level("100.0", "2.00"))
        last = talk.hear(level("100.0", "2.00", crc=1))
        while not talk.asked() and Untrusted not in kinds(last):
            talk.pass_time(0.5)
            talk.hear(HEARTBEAT)
        times.append(round(talk.now - began))
        talk.ack("book-10", "XBT/USD")
        talk.hear(snapshot())
    assert Untrusted in kinds(last)
    assert times == [0, 10, 30, 70, 150, 150]


def test_a_book_that_was_good_for_a_while_is_asked_for_again_at_once() -> None:
    talk = book_talk()
    for _ in range(8):
        assert kinds(talk.hear(level("100.0", "2.00", crc=1))) == [Gap]
        assert [event for event, _ in talk.asked()] == ["unsubscribe", "subscribe"]
        talk.ack("book-10", "XBT/USD")
        talk.hear(snapshot(), level("100.0", "2.00"))
        for _ in range(10):
            talk.pass_time(1.0)
            talk.hear(HEARTBEAT)
        talk.sent()


def test_an_untrusted_book_takes_broken_frames_as_violations_and_nothing_more() -> None:
    talk = book_talk()
    wrong_again_and_again(talk, 5)
    assert kinds(talk.hear(b'[336,{"b":7},"book-10","XBT/USD"]')) == [Violation]
    assert talk.asked() == []


@pytest.mark.parametrize("error", ["Already subscribed", "Exceeded msg rate", "Subscription Not Found"])
def test_a_resync_that_is_refused_is_asked_again(error: str) -> None:
    talk = book_talk()
    talk.hear(level("100.0", "2.00", crc=1))
    talk.sent()
    talk.hear(refusal(error, pair="XBT/USD", subscription={"name": "book", "depth": 10}))
    assert talk.hear(level("100.0", "2.00")) == []
    talk.pass_time(1.0)
    for _ in range(10):
        talk.hear(HEARTBEAT)
        talk.pass_time(1.0)
    assert [event for event, _ in talk.asked() if event != "ping"] == ["unsubscribe", "subscribe"]
    assert kinds(talk.hear(snapshot())) == [Gap, Update]


def test_an_acknowledged_book_that_stays_mute_is_asked_for_again() -> None:
    talk = Talk("book XBT/USD", "ticker XBT/USD")
    talk.open()
    talk.ack("book-10", "XBT/USD")
    talk.ack("ticker", "XBT/USD")
    talk.sent()
    events = []
    for _ in range(10):
        events += talk.pass_time(1.0)
        talk.hear(HEARTBEAT)
    assert [(type(event), event.cause) for event in events] == [(Gap, "no snapshot")]
    assert talk.asked() == [("unsubscribe", ["XBT/USD"]), ("subscribe", ["XBT/USD"])]


def test_a_crossed_book_counts_as_a_mismatch() -> None:
    talk = book_talk()
    (gap,) = talk.hear(level("101.5", "1.00"))
    assert gap.cause == "crossed book"


def test_a_crossed_snapshot_is_not_taken_either() -> None:
    talk = Talk("book XBT/USD")
    talk.open()
    talk.ack("book-10", "XBT/USD")
    assert [event.cause for event in talk.hear(snapshot(asks=BIDS, bids=ASKS))] == ["crossed book"]
    assert talk.hear(level("100.0", "2.00")) == []
    assert kinds(talk.hear(snapshot())) == [Gap, Update]


@pytest.mark.parametrize(
    "frame",
    [
        b'[336,{"b":[["nan","1"]],"c":"1"},"book-10","XBT/USD"]',
        b'[336,{"b":7},"book-10","XBT/USD"]',
        b'[336,{"c":1e999},"book-10","XBT/USD"]',
        b'[336,{"b":[[],"book-10","XBT/USD"]',
        b'[336,"book-10","XBT/USD"]',
    ],
)
def test_a_malformed_book_frame_is_a_violation_and_a_mismatch(frame: bytes) -> None:
    talk = book_talk()
    violation, gap = talk.hear(frame)
    assert (violation.channel, violation.symbol) == ("book", "XBT/USD")
    assert gap.cause == "malformed"
    assert Gap not in kinds(talk.hear(frame))
    assert talk.asked() == [("unsubscribe", ["XBT/USD"]), ("subscribe", ["XBT/USD"])]


def test_an_update_without_checksum_is_passed_on_unverified() -> None:
    talk = book_talk()
    (update,) = talk.hear(b'[336,{"b":[["100.0","2.00"]]},"book-10","XBT/USD"]')
    assert update.trust == "unverified"


def test_without_verification_nothing_is_kept_and_nothing_doubted() -> None:
    talk = book_talk(verify=False)
    (update,) = talk.hear(level("100.0", "2.00", crc=1))
    assert (update.trust, update.route.book) == ("unverified", None)


def test_the_view_of_the_top_is_told_when_it_changes() -> None:
    talk = book_talk(book="top")
    (update,) = talk.hear(level("100.0", "2.00"))
    assert (update.body.asks, update.body.bids) == ([("101.0", "1.00")], [("100.0", "2.00")])
    assert talk.hear(level("100.0", "2.00")) == []


def test_the_full_view_has_every_level_best_first() -> None:
    talk = book_talk(book="full")
    (update,) = talk.hear(level("99.5", "2.00"))
    assert update.body.bids == [("100.0", "1.00"), ("99.5", "2.00"), ("99.0", "1.00")]
    assert update.body.asks == [("101.0", "1.00"), ("102.0", "1.00")]


# ---- private channels


def test_a_private_channel_begins_with_its_snapshot_and_counts() -> None:
    talk = Talk("ownTrades")
    talk.open("t")
    talk.ack("ownTrades", "")
    first, second = talk.hear(own("ownTrades", 1), own("ownTrades", 2))
    assert (first.snapshot, second.snapshot) == (True, False)
    assert talk.ack("ownTrades", "") == []
    assert [event.snapshot for event in talk.hear(own("ownTrades", 3))] == [False]


def test_a_declined_snapshot_is_none() -> None:
    talk = Talk("ownTrades snapshot=false")
    talk.open("t")
    talk.ack("ownTrades", "")
    assert [event.snapshot for event in talk.hear(own("ownTrades", 1))] == [False]
    assert [event for event in talk.pass_time(12.0) if type(event) is Gap] == []


def test_a_sequence_gap_resubscribes_that_channel() -> None:
    talk = Talk("openOrders", "ownTrades")
    talk.open("t")
    talk.ack("openOrders", "")
    talk.ack("ownTrades", "")
    talk.hear(own("openOrders", 1), own("ownTrades", 1))
    good = talk.ns
    talk.sent()
    talk.now += 1.0
    (gap,) = talk.hear(own("openOrders", 3))
    assert gap == Gap(talk.ns, "openOrders", "", "sequence 1 then 3", good, missed=1)
    assert [(m["event"], m["subscription"]["name"]) for m in talk.sent()] == [
        ("unsubscribe", "openOrders"),
        ("subscribe", "openOrders"),
    ]
    assert talk.hear(own("openOrders", 4)) == []
    talk.hear(ack("openOrders", "", "unsubscribed"), ack("openOrders"))
    gap, update = talk.hear(own("openOrders", 1))
    assert (gap.from_ns, gap.to_ns, gap.missed, update.snapshot) == (good, talk.ns, 1, True)
    assert kinds(talk.hear(own("ownTrades", 2))) == [Update]


def fills(sequence: int, *ids: str) -> bytes:
    return compact([[{name: {"ordertxid": "O1"}} for name in ids], "ownTrades", {"sequence": sequence}])


def told(events: list[Any]) -> list[tuple[str, list[str]]]:
    return [
        ("snapshot" if event.snapshot else "update", [name for item in event.body for name in item])
        for event in events
        if type(event) is Update
    ]


def test_fills_that_happened_while_nobody_listened_are_told_once_and_as_news() -> None:
    talk = Talk("ownTrades")
    talk.open("t")
    talk.ack("ownTrades", "")
    assert told(talk.hear(fills(1, "A", "B"), fills(2, "C"))) == [("snapshot", ["A", "B"]), ("update", ["C"])]
    for known, missed in ((["A", "B", "C"], "D"), (["B", "C", "D"], "E")):
        talk.lose()
        talk.reopen()
        talk.ack("ownTrades", "")
        events = talk.hear(fills(1, *known, missed))
        assert kinds(events)[0] is Gap
        assert told(events) == [("snapshot", known), ("update", [missed])]
    assert told(talk.hear(fills(2, "F"))) == [("update", ["F"])]


def test_a_first_fill_during_an_outage_is_news_although_the_first_snapshot_was_empty() -> None:
    talk = Talk("ownTrades")
    talk.open("t")
    talk.ack("ownTrades", "")
    assert told(talk.hear(fills(1))) == [("snapshot", [])]
    talk.lose()
    talk.reopen()
    talk.ack("ownTrades", "")
    assert told(talk.hear(fills(1, "A"))) == [("update", ["A"])]


# ---- the account of everything


def test_every_data_frame_is_accounted_for() -> None:
    talk = Talk("ticker XBT/USD", "book XBT/USD", book="top")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.ack("book-10", "XBT/USD")
    talk.hear(ticker(), level("100.0", "2.00"), snapshot(), level("99.0", "2.00"), ticker(), b"[")
    (broken,) = [e for e in talk.hear(b'[336,{"b":7},"book-10","XBT/USD"]') if type(e) is Violation]
    assert (broken.count, len(broken.sha256)) == (2, 16)
    talk.hear(level("100.0", "2.00"))
    talk.lose()
    talk.pass_time(0.0)
    talk.now += 2.0
    summary = talk.protocol.summary(talk.ns, talk.now)
    assert (summary.connections, summary.down_s, summary.violations) == (1, 2.0, 2)
    ticked, booked = summary.channels
    assert ticked == {
        "channel": "ticker",
        "symbol": "XBT/USD",
        "received": 2,
        "emitted": 2,
        "withheld": 0,
        "dropped": 0,
        "discarded": 0,
        "malformed": 0,
        "gaps": 1,
        "resyncs": 0,
    }
    assert {name: booked[name] for name in ("received", "emitted", "withheld", "discarded", "malformed")} == {
        "received": 5,
        "emitted": 1,
        "withheld": 1,
        "discarded": 2,
        "malformed": 1,
    }
    assert (booked["gaps"], booked["resyncs"]) == (1, 1)


def test_balances_stream_over_v2() -> None:
    talk = Talk("balances", dialect=V2)
    assert talk.protocol.wants == CONNECT
    talk.protocol.connecting(talk.now)
    talk.protocol.opened(talk.now, "t")
    events = talk.hear(
        b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
        b'"api_version":"v2","connection_id":18125794168470749634}]}'
    )
    assert events == [
        Connected(talk.ns, "public"),
        Status(talk.ns, "online", "2.0.10", "18125794168470749634"),
    ]
    assert talk.sent() == [{"method": "subscribe", "params": {"channel": "balances", "token": "t"}}]
    events = talk.hear(
        b'{"method":"subscribe","result":{"channel":"balances","snapshot":true},"success":true}',
        b'{"channel":"heartbeat"}',
        b'{"channel":"balances","type":"snapshot","data":[],"sequence":1}',
        b'{"channel":"balances","type":"update","data":[{"balance":1.20}],"sequence":2}',
        b'{"channel":"balances","type":"update","data":[],"sequence":4}',
    )
    assert kinds(events) == [Subscribed, Heartbeat, Update, Update, Gap]
    assert [event.snapshot for event in events[2:4]] == [True, False]
    assert events[3].body == [{"balance": "1.20"}]


def test_balances_refused_on_the_wrong_host_end() -> None:
    talk = Talk("balances", dialect=V2)
    talk.protocol.connecting(talk.now)
    talk.protocol.opened(talk.now, "t")
    talk.hear(b'{"channel":"status","type":"update","data":[{"system":"online"}]}')
    events = talk.hear(b'{"error":"Private data unavailable","method":"subscribe","success":false}')
    assert events == [Refused(talk.ns, "balances", "", "Private data unavailable")]
    assert talk.protocol.idle


# ---- odd frames


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        (b"CloudFlare WebSocket proxy restarting", "not JSON"),
        (b'{"event":"novelty"}', "unknown event novelty"),
        (b"[1,2]", "an array that names no channel"),
        (b'[1,{},"ticker","ETH/EUR"]', "data of a channel nobody asked for"),
        (b'[[],"openOrders",{"sequence":1}]', "data of a channel nobody asked for"),
        (b'{"event":"error","errorMessage":"Oh"}', "error event: Oh"),
        (b"", "not JSON"),
    ],
)
def test_an_odd_frame_is_a_violation_and_the_stream_goes_on(frame: bytes, cause: str) -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    talk.ack("ticker", "XBT/USD")
    violation, update = talk.hear(frame, ticker())
    assert violation.cause == cause
    assert violation.length_bytes == len(frame)
    assert type(update) is Update


def test_a_violation_shows_the_beginning_escaped() -> None:
    talk = Talk("ticker XBT/USD")
    talk.open()
    (violation,) = talk.hear(b"\x1b[31m\xff" + b"x" * 10_000)
    assert violation.frame.startswith("\\x1b[31m\\xffx")
    assert len(violation.frame) < 200
    (violation,) = talk.hear(b'{"event":"\\u001b[31m"}')
    assert violation.cause.isprintable()


# ---- frames without detail


def test_without_detail_plain_data_is_not_reported_and_control_frames_are() -> None:
    talk = Talk("ticker XBT/USD", detail=False)
    talk.open()
    assert kinds(talk.ack("ticker", "XBT/USD")) == [Subscribed]
    assert talk.hear(*[ticker()] * 5) == []
    assert talk.hear(ticker(), HEARTBEAT, ticker()) == [Heartbeat(talk.ns)]
    assert kinds(talk.hear(b'{"a":\n[1]}', b"[1,\n[2]]")) == [Violation, Violation]
    talk.pass_time(2.0)
    assert talk.hear(ticker()) == []
    assert talk.protocol.next_deadline() == talk.now + 3.0


def test_without_detail_a_gap_is_still_told_before_data() -> None:
    talk = Talk("ticker XBT/USD", detail=False)
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.hear(ticker())
    talk.lose()
    talk.reopen()
    talk.ack("ticker", "XBT/USD")
    assert Gap in kinds(talk.hear(ticker(), ticker()))
    assert talk.hear(ticker()) == []


def test_without_detail_books_are_still_verified() -> None:
    talk = book_talk(detail=False)
    assert [event.cause for event in talk.hear(level("100.0", "2.00", crc=1))] == ["checksum"]


def test_without_detail_and_verification_a_broken_book_still_heals() -> None:
    talk = book_talk(detail=False, verify=False)
    assert talk.hear(level("100.0", "2.00", crc=1)) == []
    talk.hear(HEARTBEAT, b'[336,{"b":7},"book-10","XBT/USD"]')
    assert talk.asked() == [("unsubscribe", ["XBT/USD"]), ("subscribe", ["XBT/USD"])]
    assert Gap in kinds(talk.hear(snapshot()))
    assert talk.hear(level("100.0", "2.00")) == []
    talk.pass_time(60.0)
    assert ("subscribe", ["XBT/USD"]) not in talk.asked()


# ---- what a shell may skip


@pytest.mark.parametrize("detail", [True, False])
def test_only_good_data_of_what_is_live_changes_nothing_that_a_shell_acts_on(detail: bool) -> None:
    talk = book_talk(detail=detail)
    talk.want("ticker XBT/USD")
    for frames, change in (
        ([ack("ticker", "XBT/USD")], True),
        ([ticker()], False),
        ([level("100.0", "2.00"), ticker()], False),
        ([], False),
        ([HEARTBEAT], True),
        ([ticker(), b"nothing", ticker()], True),
        ([ticker("ETH/USD")], True),
        ([level("100.0", "2.00", crc=1)], True),
        ([snapshot()], True),
        ([level("100.0", "2.00")], False),
    ):
        before = talk.protocol.changes
        talk.hear(*frames)
        assert (talk.protocol.changes != before) == change, frames


def test_an_empty_message_is_no_data() -> None:
    talk = Talk("ticker XBT/USD", detail=False)
    talk.open()
    talk.ack("ticker", "XBT/USD")
    talk.hear(ticker())
    assert kinds(talk.hear(ticker(), b"", ticker())) == [Violation]


# ---- files of frames


def test_a_file_of_frames_adopts_what_it_finds() -> None:
    talk = Talk(adopt=True)
    assert kinds(talk.hear(GREETING, ack("book-10", "XBT/USD"), refusal("No", pair="A/B"))) == [
        Status,
        Subscribed,
        Refused,
    ]
    events = talk.hear(snapshot(), level("100.0", "2.00"), ticker(), own("openOrders", 7), HEARTBEAT)
    assert kinds(events) == [Update, Update, Update, Update, Heartbeat]
    assert [event.trust for event in events[:3]] == ["unverified", "verified", None]
    assert talk.protocol.wants == STAY
    assert talk.sent() == []


def test_a_file_that_begins_in_mid_stream_is_unverified() -> None:
    talk = Talk(adopt=True)
    assert [event.trust for event in talk.hear(level("100.0", "2.00"))] == ["unverified"]


def test_a_mismatch_in_a_file_is_told_and_what_follows_is_unverified() -> None:
    talk = Talk(adopt=True)
    talk.hear(snapshot())
    gap, update = talk.hear(level("100.0", "2.00", crc=1))
    assert (gap.cause, update.trust) == ("checksum", "unverified")
    assert [event.trust for event in talk.hear(level("100.0", "2.00"))] == ["unverified"]
    gap, update, verified = talk.hear(snapshot(), level("100.0", "2.00"))
    assert gap.to_ns is not None
    assert verified.trust == "verified"


def test_a_sequence_gap_in_a_file_is_told_at_both_ends_and_a_new_ack_begins_anew() -> None:
    talk = Talk(adopt=True)
    talk.hear(own("openOrders", 1))
    assert kinds(talk.hear(own("openOrders", 3))) == [Gap, Gap, Update]
    assert kinds(talk.hear(ack("openOrders"), own("openOrders", 1))) == [Subscribed, Update]


ORDER = "addOrder pair=XBT/USD type=buy ordertype=market volume=1"


@pytest.mark.parametrize(
    ("line", "kept", "answered", "change"),
    [
        ("ping", True, answer("pong"), False),
        ("ping", False, answer("pong"), True),  # there is nothing left to do
        (f"{ORDER} validate=true", True, answer("addOrderStatus", reqid=1, descr="d"), False),
        (f"{ORDER} validate=true", True, answer("addOrderStatus", reqid=9, descr="d"), True),
        (ORDER, True, answer("addOrderStatus", reqid=1, txid="O"), True),
        (
            f"{ORDER} validate=true",
            True,
            answer("addOrderStatus", reqid=1, errorMessage="ESession:Invalid session"),
            True,
        ),
    ],
)
def test_an_answer_that_a_session_only_tells_changes_nothing_else(
    line: str, kept: bool, answered: bytes, change: bool
) -> None:
    talk = Talk(line)
    talk.protocol.kept = kept
    talk.open(token="12345678")
    before = talk.protocol.changes
    assert talk.hear(answered)
    assert (talk.protocol.changes != before) == change


def test_a_pong_in_a_file_took_nobody_knows_how_long() -> None:
    talk = Talk(adopt=True)
    assert talk.hear(b'{"event":"pong","reqid":42}') == [Pong(talk.ns, 42, None)]


def test_answers_in_a_file_are_verdicts() -> None:
    talk = Talk(adopt=True)
    events = talk.hear(
        answer("addOrderStatus", reqid=1, txid="O"),
        answer("addOrderStatus", errorMessage="EOrder:Insufficient funds"),
        b'{"event":"pong","reqid":2}',
        answer("error", errorMessage="Malformed request"),
    )
    assert kinds(events) == [Reply, Rejected, Pong, Violation]


def test_a_pair_that_is_half_a_character_is_survived() -> None:
    talk = Talk(adopt=True)
    assert kinds(talk.hear(b'[1,[],"trade","\\ud800/USD"]')) == [Update]


@pytest.mark.parametrize("channel", ["book-0", "book-99999999999", "novelty"])
def test_unknown_channels_of_a_file_are_violations(channel: str) -> None:
    talk = Talk(adopt=True)
    assert kinds(talk.hear(compact([1, {"as": [], "bs": []}, channel, "A/B"]))) == [Violation]
