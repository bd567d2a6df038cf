"""The whole sandbox exchange in memory: markets, orders, money, tokens, faults. Time is what a test says."""

from __future__ import annotations

import json
from decimal import ROUND_DOWN, Decimal
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from krakenws.core.book import Book
from krakenws.core.v1 import V1
from krakenws.errors import UsageError
from krakenws.exchange.instruments import INSTRUMENTS, find
from krakenws.exchange.keys import CANCEL, DEMO_ACCOUNT, QUERY_OPEN, Grant
from krakenws.exchange.ratecounter import PRO, STARTER, Tier
from krakenws.exchange.sandbox import SNAPSHOT_S
from tests.support.truth import Rebuilt
from tests.support.venue import PLENTY, START_S, Client, Exchange


def orders_of(news: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    """What openOrders frames say, in order."""
    return [
        (order_id, fields)
        for message in news
        if isinstance(message, list) and message[1] == "openOrders"
        for entry in message[0]
        for order_id, fields in entry.items()
    ]


# -- public


def test_snapshots_of_books_come_after_a_while_in_another_order_and_before_their_updates() -> None:
    pairs = ["XBT/USD", "ETH/USD", "XBT/EUR", "ETH/EUR", "SOL/USD", "XRP/USD"]

    def story(seed: int) -> list[tuple[float, str]]:
        exchange = Exchange(seed, pairs)
        exchange.venue.snapshot_s = SNAPSHOT_S
        client = exchange.public()
        acks = client.subscribe("book", *pairs)
        assert [ack["pair"] for ack in acks] == pairs
        assert client.subscribe("ticker", "XBT/USD")[1][-2] == "ticker"  # at once
        begun: dict[str, float] = {}
        for step in range(150):
            exchange.wait(0.01)
            client.protocol.on_deadline(exchange.now)
            for frame in client.news():
                if frame[-2] == "book-10":
                    assert ("as" in frame[1]) == (frame[-1] not in begun)
                    begun.setdefault(frame[-1], step / 100)
        return [(begins, pair) for pair, begins in begun.items()]

    told = story(1)
    assert told == story(1)
    assert told != story(2)
    assert SNAPSHOT_S[0] - 0.02 <= told[0][0] <= told[-1][0] <= SNAPSHOT_S[1]
    assert sorted(pair for _, pair in told) == sorted(pairs)
    assert [pair for _, pair in told] != pairs


def test_a_book_that_is_left_before_its_snapshot_has_none() -> None:
    exchange = Exchange()
    exchange.venue.snapshot_s = SNAPSHOT_S
    client = exchange.public()
    client.subscribe("book", "XBT/USD")
    (ack,) = client.say("unsubscribe", pair=["XBT/USD"], subscription={"name": "book"})
    assert ack["status"] == "unsubscribed"
    exchange.wait(SNAPSHOT_S[1])
    client.protocol.on_deadline(exchange.now)
    assert client.news() == []


def test_each_pair_is_acknowledged_with_its_channel_id_before_its_snapshot_comes() -> None:
    news = Exchange(pairs=["XBT/USD", "0G/EUR"]).public().subscribe("book", "XBT/USD", "0G/EUR", depth=25)
    assert [n.get("pair") for n in news[:2]] == ["XBT/USD", "0G/EUR"]
    assert [n["channelID"] for n in news[:2]] == [n[0] for n in news[2:]]
    assert [(len(n[1]["as"]) <= 25, n[2], n[3]) for n in news[2:]] == [
        (True, "book-25", "XBT/USD"),
        (True, "book-25", "0G/EUR"),
    ]


@pytest.mark.parametrize("pair", ["XBT/CAD", "BTC/USD"])
def test_a_pair_that_is_not_here_is_refused_as_kraken_does(pair: str) -> None:
    (answer,) = Exchange().public().subscribe("ticker", pair)
    assert answer["errorMessage"] == f"Currency pair not supported {pair}"


def test_books_of_every_depth_stay_verified_for_minutes() -> None:
    exchange = Exchange(pairs=["XBT/USD", "ADA/XBT", "0G/EUR"])
    books: dict[tuple[str, str], Book] = {}
    checked = 0
    clients = [exchange.public() for _ in range(2)]
    streams: list[bytes] = []
    for client, depths in zip(clients, ((10, 100), (25, 1000)), strict=True):
        for depth in depths:
            client.protocol.receive(
                json.dumps(
                    {
                        "event": "subscribe",
                        "pair": list(exchange.venue.markets),
                        "subscription": {"name": "book", "depth": depth},
                    }
                ).encode(),
                exchange.now,
            )
    for _ in range(20):
        exchange.wait(6.0)
        streams = [frame for client in clients for frame in client.frames() if frame.startswith(b"[")]
        for frame in streams:
            envelope, changes = V1.classify(frame), V1.book(frame)
            key = (envelope.channel, envelope.symbol)
            if changes.snapshot:
                books[key] = Book(envelope.symbol, int(envelope.channel.partition("-")[2]))
                books[key].snapshot(changes.asks, changes.bids)
                continue
            books[key].update(changes.asks, changes.bids)
            assert books[key].checksum() == changes.checksum
            assert not books[key].disproof(None)
            checked += 1
    assert len(books) == 12
    assert checked > 5000
    for (channel, pair), book in books.items():
        engine = exchange.venue.markets[pair].engine
        depth = int(channel.partition("-")[2])
        for ours, side in ((book.asks(), "sell"), (book.bids(), "buy")):
            told = [(Decimal(price), Decimal(qty)) for price, qty in ours]
            assert told == [level[:2] for level in engine.levels(side, depth)]


def test_ticker_candle_and_spread_agree_with_trades_and_book_after_every_transaction() -> None:
    exchange = Exchange()
    client = exchange.public()
    for name in ("trade", "ticker", "ohlc", "spread", "book"):
        client.subscribe(name, "XBT/USD")
    (snapshot,) = Client(exchange).subscribe("book", "XBT/USD")[1:]
    book = Book("XBT/USD", 10)
    book.snapshot(snapshot[1]["as"], snapshot[1]["bs"])
    volume, count, seen, last = Decimal(0), 0, 0, ("", "")
    while exchange.now < START_S + 120:
        exchange.step()
        by_channel: dict[str, list[bytes]] = {}
        for frame in client.frames():
            by_channel.setdefault(V1.classify(frame).channel, []).append(frame)
        for frame in by_channel.get("book-10", []):
            changes = V1.book(frame)
            book.update(changes.asks, changes.bids)
        for frame in by_channel.get("trade", []):
            for price, qty, *_ in json.loads(frame)[1]:
                volume, count, last = volume + Decimal(qty), count + 1, (price, qty)
        if "trade" in by_channel:
            ticker, candle = (json.loads(by_channel[name][-1])[1] for name in ("ticker", "ohlc-1"))
            assert tuple(ticker["c"]) == last
            assert candle[5] == last[0]
            assert (Decimal(ticker["v"][0]), ticker["t"][0]) == (volume, count)
            assert [ticker["a"][0], ticker["b"][0]] == [book.asks(1)[0][0], book.bids(1)[0][0]]
            seen += 1
        if "spread" in by_channel:
            bid, ask, _, bid_qty, ask_qty = json.loads(by_channel["spread"][-1])[1]
            assert [(ask, ask_qty), (bid, bid_qty)] == [book.asks(1)[0], book.bids(1)[0]]
    assert seen > 50


def test_the_same_seed_gives_the_same_frames_byte_for_byte_however_time_is_cut() -> None:
    def run(seed: int, step_s: float) -> str:
        exchange = Exchange(seed, pairs=["XBT/USD", "SC/EUR"])
        client = exchange.public()
        for name in ("book", "trade", "ticker"):
            client.subscribe(name, *exchange.venue.markets)
        by_pair: dict[str, list[bytes]] = {}
        for _ in range(round(30 / step_s)):
            exchange.wait(step_s)
            for frame in client.frames():
                by_pair.setdefault(V1.classify(frame).symbol, []).append(frame)
        assert len(by_pair["XBT/USD"]) > 300
        return sha256(b"".join(by_pair["XBT/USD"] + by_pair.get("SC/EUR", []))).hexdigest()

    assert run(5, 0.5) == run(5, 3.0)
    assert run(5, 0.5) != run(6, 0.5)


def test_a_market_has_the_same_history_whether_anybody_watches_or_not() -> None:
    watched, alone = Exchange(), Exchange(pairs=["XBT/USD", "ETH/USD"])
    watched.public().subscribe("book", "XBT/USD")
    for exchange in (watched, alone):
        exchange.wait(20.0)
        exchange.best()
    assert watched.venue.markets["XBT/USD"].engine.state() == alone.venue.markets["XBT/USD"].engine.state()


def test_what_happened_before_a_subscription_is_not_told_again_after_it() -> None:
    exchange = Exchange()
    exchange.wait(60.0)
    assert exchange.venue.markets["XBT/USD"].trades
    client = exchange.public()
    client.subscribe("ticker", "XBT/USD")
    client.subscribe("trade", "XBT/USD")
    for _ in range(500):
        exchange.step()
        told = [V1.classify(frame).channel for frame in client.frames()]
        assert told in ([], ["trade", "ticker"])


def test_the_last_unsubscription_closes_a_channel() -> None:
    exchange = Exchange()
    client = exchange.public()
    client.subscribe("book", "XBT/USD")
    client.say("unsubscribe", pair=["XBT/USD"], subscription={"name": "book"})
    exchange.wait(5.0)
    assert client.frames() == []
    assert not exchange.venue.markets["XBT/USD"].is_watched


def test_all_pairs_can_be_subscribed_at_once() -> None:
    exchange = Exchange(pairs=())
    news = exchange.public().subscribe("book", *(i.wsname for i in INSTRUMENTS))
    assert [n["status"] for n in news[: len(INSTRUMENTS)]] == ["subscribed"] * len(INSTRUMENTS)
    assert len(news) == 2 * len(INSTRUMENTS)


def test_an_unknown_pair_or_a_senseless_rate_is_a_mistake_of_usage() -> None:
    with pytest.raises(UsageError, match="NOPE"):
        Exchange(pairs=["NOPE"])
    with pytest.raises(UsageError, match="rate"):
        Exchange(rate=0.0)


def test_a_rate_scales_how_often_something_happens() -> None:
    counts = []
    for rate in (5.0, 50.0):
        exchange = Exchange(rate=rate)
        client = exchange.public()
        client.subscribe("book", "XBT/USD", depth=1000)
        exchange.wait(20.0)
        counts.append(len(client.frames()))
    assert counts[1] > 5 * counts[0]


# -- orders


def test_a_limit_order_lives_from_pending_to_canceled_on_open_orders() -> None:
    client = Exchange().private()
    client.subscribe("openOrders")
    news = client.say(
        "addOrder",
        pair="XBT/USD",
        type="buy",
        ordertype="limit",
        price="70000",
        volume="0.01",
        reqid=7,
        userref="12",
    )
    answer = news[-1]
    assert answer == {
        "descr": "buy 0.01000000 XBTUSD @ limit 70000.0",
        "event": "addOrderStatus",
        "reqid": 7,
        "status": "ok",
        "txid": answer["txid"],
    }
    told = orders_of(news)
    assert [fields["status"] for _, fields in told] == ["pending", "open"]
    assert told[0][0] == answer["txid"]
    assert [n[2]["sequence"] for n in news[:-1]] == [2, 3]
    news = client.say("cancelOrder", txid=[answer["txid"]])
    ((_, ended),) = orders_of(news)
    assert (ended["status"], ended["cancel_reason"], ended["userref"]) == ("canceled", "User requested", 12)
    assert news[-1] == {"event": "cancelOrderStatus", "status": "ok"}


def test_a_market_order_fills_without_status_closes_and_is_one_of_own_trades() -> None:
    client = Exchange().private()
    client.subscribe("openOrders", ratecounter=True)
    client.subscribe("ownTrades")
    news = client.say("addOrder", pair="XBT/USD", type="buy", ordertype="market", volume="0.2")
    told = [fields for _, fields in orders_of(news)]
    assert [t.get("status") for t in told] == ["pending", "open", *[None] * (len(told) - 3), "closed"]
    assert all("ratecount" in t for t in told)
    assert told[-1]["vol_exec"] == "0.20000000"
    (trades,) = [n for n in news if isinstance(n, list) and n[1] == "ownTrades"]
    (entry,) = trades[0]
    ((trade_id, fill),) = entry.items()
    assert trade_id.startswith("T")
    assert (fill["ordertxid"], fill["vol"], fill["cost"]) == (
        news[-1]["txid"],
        "0.20000000",
        told[-1]["cost"],
    )
    late = Exchange.private(client.exchange)
    assert late.subscribe("ownTrades")[1][0][0].keys() == entry.keys()
    each = Exchange.private(client.exchange)
    fills = client.exchange.venue.desk.files["demo"].fills
    assert len(each.subscribe("ownTrades", consolidate_taker=False)[1][0]) == len(fills) == 4


def test_two_users_trade_with_each_other_and_each_hears_of_their_own_half() -> None:
    exchange = Exchange()
    maker, taker = exchange.trader("maker"), exchange.trader("taker")
    bid, ask = exchange.best()
    price = str(ask - Decimal("0.1"))
    assert Decimal(price) > bid
    maker.subscribe("ownTrades")
    resting = maker.limit("sell", price, "0.5", oflags="post")
    taking = taker.limit("buy", price, "0.5", timeinforce="IOC")
    ((frame,),) = [n[0] for n in maker.news() if n[1] == "ownTrades"]
    ((_, fill),) = frame.items()
    assert (fill["ordertxid"], fill["type"], fill["vol"]) == (resting, "sell", "0.50000000")
    files = exchange.venue.desk.files
    assert [r.order_id for r in files["taker"].ended] == [taking]
    assert files["maker"].account.balance("XXBT") == PLENTY["XXBT"] - Decimal("0.5")
    fee = (Decimal(price) * Decimal("0.5") * Decimal("0.0025")).quantize(Decimal("0.00001"), ROUND_DOWN)
    assert files["maker"].account.fees_paid["ZUSD"] == fee


def test_a_resting_order_fills_when_the_market_comes_to_it() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.subscribe("ownTrades")
    client.limit("buy", str(exchange.best()[0]), "0.0001")
    for _ in range(600):
        exchange.wait(1.0)
        if not exchange.venue.desk.orders_on("XBT/USD"):
            break
    assert [n[1] for n in client.news()] == ["ownTrades"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            {"price": "70000.05"},
            "EOrder:Invalid price:XXBTZUSD price can only be specified up to 1 decimals.",
        ),
        ({"volume": "0.00001"}, "EOrder:Order minimum not met"),
        ({"volume": "0.00005", "price": "1000"}, "EOrder:Cost minimum not met"),
        ({"volume": "2"}, "EOrder:Insufficient funds"),
        ({"type": "sell", "volume": "6"}, "EOrder:Insufficient funds"),
        ({"price": "100000", "oflags": "post"}, "EOrder:Post only order"),
        ({"price": "70000", "leverage": "50"}, "EGeneral:Invalid arguments:leverage"),
        ({"pair": "XBT/CAD"}, "EQuery:Unknown asset pair"),
        ({"volume": "5", "leverage": "2"}, "EOrder:Margin level too low"),
        ({"leverage": "2", "reduce_only": True}, "EOrder:Reduce only:No position exists"),
        ({"expiretm": "1"}, "EGeneral:Invalid arguments:expiretm"),
        ({"deadline": "2026-01-01T00:00:00.000Z"}, "EService:Deadline elapsed"),
        ({"pair": "PAXG/USD", "price": "4000.01"}, "EOrder:Tick size check failed"),
        ({"pair": "ACA/EUR", "price": "0.0004", "volume": "12000"}, "EService:Market in cancel_only mode"),
        ({"validate": "maybe"}, "EGeneral:Invalid arguments:validate"),
        ({"validate": 1}, "Validate field must be a string"),
        ({"ordertype": "market"}, "EGeneral:Invalid arguments:price"),
        ({"oflags": "fcib,fciq"}, "EGeneral:Invalid arguments:oflags"),
        ({"ordertype": "stop-loss-limit"}, "EGeneral:Invalid arguments:price2"),
        ({"close[price]": "1"}, "EGeneral:Invalid arguments:close[ordertype]"),
        ({"color": "red"}, "Unsupported field: 'color' for the given msg type: add order"),
    ],
)
def test_an_order_is_refused_in_krakens_words_and_nothing_has_changed(
    fields: dict[str, object], error: str
) -> None:
    exchange = Exchange(pairs=["XBT/USD", "PAXG/USD", "ACA/EUR"])
    client = exchange.private()
    client.subscribe("openOrders")
    order = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": "70000", "volume": "0.01"}
    (answer,) = client.say("addOrder", **{**order, **fields})
    assert (answer["status"], answer["errorMessage"]) == ("error", error)
    file = exchange.venue.desk.files["demo"]
    assert not file.live
    assert file.account.held("ZUSD") == 0 == file.account.held("XXBT")


def test_validate_checks_and_places_nothing() -> None:
    exchange = Exchange()
    client = exchange.private()
    order: dict[str, Any] = {"type": "buy", "ordertype": "limit", "price": "70000", "validate": "true"}
    answer = client.add(**order, volume="0.01")
    assert answer == {
        "descr": "buy 0.01000000 XBTUSD @ limit 70000.0",
        "event": "addOrderStatus",
        "status": "ok",
    }
    assert client.add(**{**order, "volume": "0.01", "validate": True}) == answer
    for word in ("True", "1", "yes"):
        placed = exchange.rest("AddOrder", **{**order, "validate": word}, pair="XBTUSD", volume="0.01")
        assert placed == {"descr": {"order": answer["descr"]}}
    assert client.add(**order, volume="9")["errorMessage"] == "EOrder:Insufficient funds"
    assert exchange.venue.desk.files["demo"].account.held("ZUSD") == 0
    txid = client.limit("buy", "70000", "0.01", validate="false")
    (edited,) = client.ask("editOrder", pair="XBT/USD", orderid=txid, price="69000", validate="true")
    assert (edited["originaltxid"], "txid" in edited) == (txid, False)


def test_each_order_of_a_cancellation_is_answered_and_a_userref_stands_for_many() -> None:
    client = Exchange().private()
    first = client.limit("buy", "70000", "0.01")
    for price in ("60000", "61000"):
        client.limit("buy", price, "0.01", userref="77")
    answers = client.ask("cancelOrder", txid=[first, "OADMSD-7AGC3-IMB46A", "77"], reqid=4)
    assert [a.get("errorMessage", a["status"]) for a in answers] == ["ok", "EOrder:Unknown order", "ok", "ok"]
    assert {a["reqid"] for a in answers} == {4}
    assert client.ask("cancelAll") == [{"count": 0, "event": "cancelAllStatus", "status": "ok"}]


def test_an_order_is_found_by_the_clients_own_id_which_is_unique_while_it_is_open() -> None:
    client = Exchange().private()
    order = {"type": "buy", "ordertype": "limit", "price": "70000", "volume": "0.01", "cl_ord_id": "my-7"}
    assert client.add(**order)["cl_ord_id"] == "my-7"
    assert client.add(**order)["errorMessage"] == "EGeneral:Invalid arguments:cl_ord_id"
    (answer,) = client.ask("amendOrder", cl_ord_id="my-7", limit_price="70001")
    assert (answer["status"], answer["cl_ord_id"]) == ("ok", "my-7")
    assert client.ask("cancelOrder", cl_ord_id=["my-7"]) == [{"event": "cancelOrderStatus", "status": "ok"}]
    assert client.add(**order)["status"] == "ok"


def test_an_amended_order_keeps_its_id_and_holds_what_it_needs_now() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.subscribe("openOrders")
    txid = client.limit("buy", "70000", "0.01")
    news = client.say("amendOrder", txid=txid, limit_price="60000", volume="0.02", reqid=9)
    ((order_id, told),) = orders_of(news)
    assert (order_id, told["amended"], told["vol"], told["descr"]["price"]) == (
        txid,
        True,
        "0.02000000",
        "60000.00000",
    )
    assert news[-1]["txid"] == txid
    account = exchange.venue.desk.files["demo"].account
    assert account.held("ZUSD") == Decimal("1204.8")
    (answer,) = client.ask("amendOrder", txid=txid, limit_price="100000", post_only=True)
    assert answer["errorMessage"] == "EOrder:Post only order"
    assert account.held("ZUSD") == Decimal("1204.8")
    (answer,) = client.ask("amendOrder", txid=txid, volume="9")
    assert answer["errorMessage"] == "EOrder:Insufficient funds"
    client.ask("cancelAll")
    assert account.held("ZUSD") == 0


def test_an_edited_order_has_a_new_id_and_the_old_one_is_canceled() -> None:
    client = Exchange().private()
    client.subscribe("openOrders")
    old = client.limit("buy", "70000", "0.01")
    news = client.say("editOrder", orderid=old, pair="XBT/USD", price="9000", volume="0.06")
    answer = news[-1]
    assert answer["descr"] == "order edited volume = 0.06000000, price = 9000.00000000"
    assert answer["originaltxid"] == old != answer["txid"]
    assert [(i, f["status"]) for i, f in orders_of(news)] == [
        (old, "canceled"),
        (answer["txid"], "pending"),
        (answer["txid"], "open"),
    ]
    (answer,) = client.ask("editOrder", orderid=old, pair="XBT/USD", price="9000")
    assert answer["errorMessage"] == "EOrder:Unknown order"


def test_a_refused_edit_leaves_the_order_as_it_was() -> None:
    exchange = Exchange()
    client = exchange.private()
    txid = client.limit("buy", "70000", "0.01", oflags="post")
    for change, error in (
        ({"volume": "9"}, "EOrder:Insufficient funds"),
        ({"price": "100000"}, "EOrder:Post only order"),
    ):
        (answer,) = client.ask("editOrder", orderid=txid, pair="XBT/USD", **change)
        assert answer["errorMessage"] == error
    file = exchange.venue.desk.files["demo"]
    assert list(file.live) == [txid]
    assert file.account.held("ZUSD") == Decimal("702.8")
    assert file.account.open_orders("XBT/USD") == 1


def test_a_fill_of_an_order_with_a_conditional_close_places_the_close_order() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.subscribe("openOrders")
    parent = client.market("buy", "0.001", **{"close[ordertype]": "limit", "close[price]": "99000"})
    (record,) = exchange.venue.desk.files["demo"].live.values()
    assert (record.parent_id, record.terms.side, record.qty) == (parent, "sell", Decimal("0.001"))
    assert record.limit_price == 99000


def test_a_stop_fires_sells_and_is_told_as_triggered() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.subscribe("openOrders")
    last = exchange.venue.markets["XBT/USD"].engine.last_price
    assert last is not None
    client.add(type="sell", ordertype="stop-loss", price=str(last - 5), volume="0.001")
    seller = exchange.trader("whale")
    seller.market("sell", "15")
    told = [fields for _, fields in orders_of(client.news())]
    assert "stopped" in [fields.get("misc") for fields in told]
    assert told[-1]["status"] == "closed"


def test_a_stop_that_buys_beyond_what_its_owner_has_is_filled_as_far_as_the_money_goes() -> None:
    exchange = Exchange()
    client = exchange.trader("poor", {"ZUSD": Decimal(8480)})
    client.subscribe("openOrders")
    last = exchange.venue.markets["XBT/USD"].engine.last_price
    assert last is not None
    assert client.add(type="buy", ordertype="stop-loss", price=str(last + 5), volume="0.1")["status"] == "ok"
    exchange.trader("whale").market("buy", "15")
    account = exchange.venue.desk.files["poor"].account
    told = orders_of(client.news())[-1][1]
    assert (told["status"], told["cancel_reason"]) == ("canceled", "Insufficient funds")
    assert Decimal("0.09") < account.balance("XXBT") == Decimal(told["vol_exec"]) < Decimal("0.1")
    assert 0 <= account.balance("ZUSD") == account.available("ZUSD") < Decimal("0.01")
    assert not account.lent


def test_an_order_with_a_later_start_waits_as_pending() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.subscribe("openOrders")
    client.limit("buy", "70000", "0.01", starttm="+30")
    exchange.wait(29.0)
    assert client.news() == []
    exchange.wait(2.0)
    assert [fields["status"] for _, fields in orders_of(client.news())] == ["open"]


def test_an_order_expires_when_its_time_has_come() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.subscribe("openOrders")
    client.limit("buy", "70000", "0.01", expiretm="+30")
    exchange.wait(31.0)
    assert [fields["status"] for _, fields in orders_of(client.news())] == ["expired"]
    assert exchange.venue.desk.files["demo"].account.held("ZUSD") == 0


def test_the_dead_mans_switch_cancels_everything_in_time_unless_renewed() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.subscribe("openOrders")
    client.limit("buy", "70000", "0.01")
    (answer,) = client.ask("cancelAllOrdersAfter", timeout=60, reqid=15)
    assert answer == {
        "currentTime": "2026-11-22T08:50:17Z",
        "event": "cancelAllOrdersAfterStatus",
        "reqid": 15,
        "status": "ok",
        "triggerTime": "2026-11-22T08:51:17Z",
    }
    exchange.wait(50.0)
    client.ask("cancelAllOrdersAfter", timeout=60)
    exchange.wait(50.0)
    assert client.news() == []
    exchange.wait(11.0)
    assert [fields["status"] for _, fields in orders_of(client.news())] == ["canceled"]
    client.limit("buy", "70000", "0.01")
    client.ask("cancelAllOrdersAfter", timeout=5)
    (answer,) = client.ask("cancelAllOrdersAfter", timeout=0)
    assert answer["triggerTime"] == "0"
    exchange.wait(10.0)
    assert exchange.venue.desk.orders_on("XBT/USD")


def test_an_order_cancelled_by_the_switch_at_the_instant_it_would_start_never_starts() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.limit("buy", "70000", "0.01", starttm="+5")
    client.ask("cancelAllOrdersAfter", timeout=5)
    exchange.wait(6.0)
    assert not exchange.venue.desk.files["demo"].live
    assert exchange.venue.markets["XBT/USD"].engine.orders_of("demo") == []


def test_the_rate_counter_refuses_who_cancels_young_orders_too_often_and_forgets() -> None:
    exchange = Exchange()
    client = exchange.trader("hasty", tier=STARTER)
    answers = []
    for _ in range(8):
        txid = client.limit("buy", "70000", "0.01")
        answers += client.ask("cancelOrder", txid=[txid])
    refused = [a["errorMessage"] for a in answers if a["status"] == "error"]
    assert refused
    assert set(refused) == {"EOrder:Rate limit exceeded"}
    exchange.wait(60.0)
    assert client.ask("cancelAll")[0]["count"] == len(refused)


def test_the_tier_limits_how_many_orders_are_open() -> None:
    client = Exchange().trader("busy", tier=PRO)
    answers = []
    for _ in range(230):
        client.exchange.wait(0.3)
        answers.append(client.add(type="buy", ordertype="limit", price="1000", volume="0.001"))
    assert [a["status"] for a in answers].count("ok") == PRO.open_orders
    assert answers[-1]["errorMessage"] == "EOrder:Orders limit exceeded"


def test_a_margin_position_is_opened_and_closed_and_leaves_no_loan() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.market("buy", "0.1", leverage="5")
    account = exchange.venue.desk.files["demo"].account
    assert account.position("XBT/USD") == Decimal("0.1")
    client.market("sell", "0.1", leverage="5", reduce_only=True)
    assert account.position("XBT/USD") == 0
    assert account.lent["XXBT"] == 0
    assert account.margin_used("ZUSD") == 0
    assert account.balance("XXBT") == 5


TYPES = ("limit", "market", "stop-loss", "take-profit", "stop-loss-limit", "take-profit-limit")
FREE = Tier("free", 10**9, 375, 10**6)


class Crowd:
    """Two users who send whatever comes to mind: mostly valid requests, many at the edge of it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.exchange = Exchange(seed)
        self.wealth = {
            "ZUSD": Decimal(self.random.choice([5000, 10**7])),
            "XXBT": Decimal(self.random.choice([0, 100])),
        }
        self.clients = {name: self.exchange.trader(name, self.wealth, tier=FREE) for name in ("ann", "bob")}
        self.files = [self.exchange.venue.desk.files[name] for name in self.clients]

    def act(self) -> str:
        random = self.random
        name = random.choice(list(self.clients))
        live = list(self.exchange.venue.desk.files[name].live)
        bid, ask = self.exchange.best()
        side = random.choice(["buy", "sell"])
        price = str((bid if side == "buy" else ask) + random.randint(-30, 30))
        volume = str(Decimal(random.randint(1, 300)) / 1000)
        kind = random.random()
        client = self.clients[name]
        if kind < 0.6 or not live:
            (answer,) = client.ask("addOrder", pair="XBT/USD", **self.order(side, price, volume))
        elif kind < 0.75:
            (answer,) = client.ask("amendOrder", txid=random.choice(live), limit_price=price, volume=volume)
        elif kind < 0.9:
            (answer,) = client.ask(
                "editOrder", orderid=random.choice(live), pair="XBT/USD", price=price, volume=volume
            )
        elif kind < 0.97:
            (answer,) = client.ask("cancelOrder", txid=[random.choice(live)])
        else:
            (answer,) = client.ask("cancelAllOrdersAfter", timeout=random.randint(0, 5))
        self.exchange.wait(random.choice([0.0, 3.0]))
        return f"{answer['event']}:{answer.get('errorMessage', 'ok')}"

    def order(self, side: str, price: str, volume: str) -> dict[str, Any]:
        random = self.random
        kind = random.choice((*TYPES, "trailing-stop", "trailing-stop-limit", "settle-position"))
        order: dict[str, Any] = {"type": side, "ordertype": kind, "volume": volume}
        if kind.startswith("trailing"):
            order["price"] = random.choice(["+5", "+0.05%"])
        elif kind not in {"market", "settle-position"}:
            order["price"] = price
        if kind.endswith("-limit"):
            order["price2"] = random.choice(["+3", "-2"])
        maybe = {
            "leverage": "3",
            "reduce_only": True,
            "oflags": random.choice(["post", "fcib", "fciq"]),
            "stp_type": random.choice(["cancel_oldest", "cancel_both"]),
            "expiretm": "+7",
            "starttm": "+5",
            "close[ordertype]": "limit",
        }
        order.update((name, value) for name, value in maybe.items() if random.random() < 0.15)
        if "close[ordertype]" in order:
            order["close[price]"] = random.choice(["#5", "99000", "-1%"])
        return order

    def flow(self) -> dict[str, Decimal]:
        """What came to the users by trades, by the engine's account alone."""
        sides = {
            e["order"]["order_id"]: 1 if e["order"]["side"] == "buy" else -1
            for e in self.exchange.truth
            if e["event"] == "Accepted" and e["order"]["owner"] in self.clients
        }
        flow = {"XXBT": Decimal(0), "ZUSD": Decimal(0)}
        for trade in (t for e in self.exchange.truth if e["event"] == "Market" for t in e["trades"]):
            for role in ("maker_id", "taker_id"):
                direction = sides.get(trade[role], 0)
                qty = Decimal(trade["qty"])
                cost = (qty * Decimal(trade["price"])).quantize(Decimal("0.00001"), ROUND_DOWN)
                flow["XXBT"] += direction * qty
                flow["ZUSD"] -= direction * cost
        return flow


@pytest.mark.parametrize("seed", [1, 7, 30, 42])
def test_whatever_users_do_money_is_neither_made_nor_lost_and_all_books_agree(seed: int) -> None:
    crowd = Crowd(seed)
    engine = crowd.exchange.venue.markets["XBT/USD"].engine
    answers = set()
    for _ in range(200):
        answers.add(crowd.act())
        for file in crowd.files:
            started = {r.order_id for r in file.live.values() if r.status != "pending"}
            orders = engine.orders_of(file.account.name)
            assert {order.order_id for order in orders} == started
            for order in orders:
                record = file.live[order.order_id]
                assert (record.qty, record.filled) == (order.qty, order.filled)
            for order_id in file.live:
                assert file.account.hold(order_id)[1] >= 0
            assert file.account.open_orders("XBT/USD") == len(file.live)
    assert len(answers) >= 8
    for asset, moved in crowd.flow().items():
        have = sum(
            (
                a.balance(asset) + a.fees_paid.get(asset, Decimal(0)) - a.lent.get(asset, Decimal(0))
                for a in (file.account for file in crowd.files)
            ),
            Decimal(0),
        )
        assert have == 2 * crowd.wealth[asset] + moved, asset
    rebuilt = Rebuilt(crowd.exchange.truth)
    for file in crowd.files:
        told = rebuilt.balances[file.account.name]
        assert {a: qty for a, qty in told.items() if qty} == {
            a: qty for a, qty in file.account.balances.items() if qty
        }
        for record in (*file.ended, *file.live.values()):
            told_of = rebuilt.orders.get(record.order_id)  # settling a position is none
            if told_of is not None:
                assert (told_of.status == "open") == (record.order_id in file.live)
                assert (told_of.filled, told_of.cost, told_of.fee) == (
                    record.filled,
                    record.cost,
                    record.fee,
                )
    crowd.exchange.wait(10.0)
    for client, file in zip(crowd.clients.values(), crowd.files, strict=True):
        client.ask("cancelAll")
        assert file.account.held("XXBT") == 0 == file.account.held("ZUSD")


# -- who may do what


def test_a_token_that_is_unknown_unused_or_void_is_an_invalid_session() -> None:
    exchange = Exchange()
    client = exchange.private()
    other = Client(exchange, token="nonsense")
    assert other.ask("cancelAll")[0]["errorMessage"] == "ESession:Invalid session"
    exchange.wait(901.0)
    assert client.ask("cancelAll")[0]["errorMessage"] == "ESession:Invalid session"


def test_a_private_subscription_keeps_its_token_alive() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.subscribe("openOrders")
    exchange.wait(2000.0)
    assert client.ask("cancelAll")[0]["status"] == "ok"
    client.protocol.closed(exchange.now)
    assert not exchange.venue.desk.files["demo"].subscriptions["openOrders"]


def test_a_key_that_may_not_is_denied() -> None:
    exchange = Exchange()
    grant = Grant(DEMO_ACCOUNT, frozenset({QUERY_OPEN, CANCEL}))
    client = Client(exchange, token=exchange.venue.issue_token(grant, exchange.now))
    denied = "EGeneral:Permission denied"
    assert client.add(type="buy", ordertype="market", volume="1")["errorMessage"] == denied
    assert client.subscribe("ownTrades")[0]["errorMessage"] == denied
    assert client.subscribe("openOrders")[0]["status"] == "subscribed"
    assert client.ask("cancelAll")[0]["status"] == "ok"


@pytest.mark.parametrize(
    ("status", "taken", "cancelled"),
    [
        ("cancel_only", "EService:Market in cancel_only mode", "ok"),
        ("post_only", "EService:Market in post_only mode", "ok"),
        ("limit_only", "ok", "ok"),
        ("maintenance", "EService:Unavailable", "EService:Unavailable"),
    ],
)
def test_system_modes_take_what_they_should(status: str, taken: str, cancelled: str) -> None:
    exchange = Exchange()
    client = exchange.private()
    txid = client.limit("buy", "60000", "0.01")
    exchange.venue.set_status(status)
    answer = client.add(type="buy", ordertype="limit", price="70000", volume="0.01")
    assert answer.get("errorMessage", answer["status"]) == taken
    (answer,) = client.ask("cancelOrder", txid=[txid])
    assert answer.get("errorMessage", answer["status"]) == cancelled
    market = exchange.venue.markets["XBT/USD"]
    trades = len(market.trades)
    exchange.wait(60.0)
    exchange.best()
    assert (len(market.trades) > trades) == (status == "limit_only")


# -- REST, faults, truth


def test_rest_and_the_sockets_tell_the_same() -> None:
    exchange = Exchange(pairs=["XBT/USD", "ETH/USD"])
    client = Client(exchange, token=exchange.rest("GetWebSocketsToken")["token"])
    txid = client.limit("buy", "70000", "0.01", userref="5")
    placed = exchange.rest("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.01")
    assert list(exchange.rest("OpenOrders")["open"]) == [txid]
    (closed,) = exchange.rest("ClosedOrders")["closed"].items()
    assert (closed[0], closed[1]["status"], closed[1]["vol_exec"]) == (
        placed["txid"][0],
        "closed",
        "0.01000000",
    )
    assert exchange.rest("QueryOrders", txid=txid, trades="true")[txid]["userref"] == 5
    trades = exchange.rest("TradesHistory")["trades"]
    assert {t["ordertxid"] for t in trades.values()} == set(placed["txid"])
    assert Decimal(exchange.rest("Balance")["XXBT"]) == Decimal("5.01")
    assert exchange.rest("CancelOrder", txid=5) == {"count": 1}
    exchange.wait(90.0)
    ticker = exchange.get("Ticker", pair="XBTUSD")["XXBTZUSD"]
    trades = exchange.get("Trades", pair="XBTUSD")
    assert trades["XXBTZUSD"][-1][0] == ticker["c"][0]
    assert exchange.get("Trades", pair="XBTUSD", since=trades["last"])["XXBTZUSD"] == []
    candles = exchange.get("OHLC", pair="XBTUSD")["XXBTZUSD"]
    assert sum(c[7] for c in candles) == ticker["t"][0]
    depth = exchange.get("Depth", pair="XBTUSD", count="3")["XXBTZUSD"]
    spread = exchange.get("Spread", pair="XBTUSD")["XXBTZUSD"]
    assert spread[-1][1:] == [depth["bids"][0][0], depth["asks"][0][0]]
    assert set(exchange.get("AssetPairs")) == {"XXBTZUSD", "XETHZUSD"}


def test_an_id_of_thousands_of_digits_is_no_order() -> None:
    (answer,) = Exchange().private().ask("cancelOrder", txid=["9" * 5000])
    assert answer["errorMessage"] == "EOrder:Unknown order"


@pytest.mark.parametrize("time", ["NaN", "sNaN", "Infinity", "soon"])
def test_a_history_begins_and_ends_at_a_time(time: str) -> None:
    for call, field in (("TradesHistory", "start"), ("ClosedOrders", "end")):
        with pytest.raises(AssertionError, match=f"EGeneral:Invalid arguments:{field}"):
            Exchange().rest(call, **{field: time})


def test_a_balance_is_cut_off_and_never_rounded_up() -> None:
    exchange = Exchange()
    exchange.venue.open_account(DEMO_ACCOUNT, {"XXBT": Decimal("0.99999999999")})
    assert exchange.rest("Balance")["XXBT"] == "0.9999999999"


def test_the_truth_log_tells_of_mistakes_of_our_own_by_kind_and_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchange = Exchange()
    monkeypatch.setattr(type(exchange.venue.rest._backend), "assets", lambda _self: 1 // 0)  # type: ignore[union-attr]
    with pytest.raises(AssertionError, match="EGeneral:Internal error"):
        exchange.get("Assets")
    told = exchange.truth[-1]
    assert (told["event"], told["error"]) == ("InternalError", "ZeroDivisionError")
    assert told["place"].startswith("<lambda>:")


def test_the_faults_of_the_exchange_itself_happen() -> None:
    exchange = Exchange()
    client = exchange.private()
    txid = client.limit("buy", "70000", "0.01")
    exchange.wait(5.0)
    faults = exchange.venue.faults
    faults.add(
        [
            {"fault": "rest_lag", "lag_s": 30},
            {"fault": "system_status", "status": "cancel_only"},
            {"fault": "expire_tokens"},
            {"fault": "change_precision", "decimals": 3},
        ],
        exchange.now,
    )
    exchange.venue.suffer(faults, exchange.now)
    assert exchange.rest("OpenOrders")["open"] == {}
    assert exchange.venue.status == "cancel_only"
    assert client.ask("cancelAll")[0]["errorMessage"] == "ESession:Invalid session"
    exchange.wait(31.0)
    assert list(exchange.rest("OpenOrders")["open"]) == [txid]
    faults.clear()
    exchange.venue.suffer(faults, exchange.now)
    assert exchange.venue.status == "online"
    assert {"expire_tokens", "change_precision"} <= {
        e["fault"] for e in exchange.truth if e["event"] == "Fault"
    }


def test_spellings_find_pairs_for_rest_and_only_wsnames_for_orders() -> None:
    client = Exchange().private()
    assert find("btcusd") is find("XBT/USD")
    answer = client.add("XBTUSD", type="buy", ordertype="market", volume="0.01")
    assert answer["status"] == "error"


@pytest.mark.parametrize("merged", [True, False])
def test_a_snapshot_tells_a_takers_fills_as_they_were_told_before(merged: bool) -> None:
    exchange = Exchange()
    maker, taker = exchange.trader("maker"), exchange.trader("taker")
    taker.subscribe("ownTrades", snapshot=False, consolidate_taker=merged)
    bid, ask = exchange.best()
    for price in (ask - 1, ask - 2):
        assert price > bid
        maker.limit("sell", str(price), "0.01")
    order = {"pair": "XBT/USD", "type": "buy", "ordertype": "market", "volume": "0.02"}
    news = [message for message in taker.say("addOrder", **order) if isinstance(message, list)]
    live = [name for payload, *_ in news for fill in payload for name in fill]
    again = exchange.private("taker")
    snapshot = [m for m in again.subscribe("ownTrades", consolidate_taker=merged) if isinstance(m, list)]
    told = [name for payload, *_ in snapshot for fill in payload for name in fill]
    assert sorted(told) == sorted(live)
    assert len(told) == (1 if merged else 2)
