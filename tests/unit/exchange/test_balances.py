"""balances on API v2: what a snapshot and the entries after it say is what the account has, to the digit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.exchange import balances
from krakenws.exchange.keys import CANCEL, DEMO_ACCOUNT, QUERY_FUNDS, Grant
from krakenws.exchange.ledger import TRADE, LedgerEntry, Posting
from krakenws.exchange.protocol import ServerProtocol
from krakenws.exchange.v2 import V2
from tests.support.venue import Client, Exchange
from tests.unit.exchange.test_sandbox import Crowd

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYS = {"USD": "ZUSD", "BTC": "XXBT"}


class Listener:
    """A connection on API v2 that listens to an account's balances."""

    def __init__(self, exchange: Exchange, account: str = DEMO_ACCOUNT, **params: object) -> None:
        token = exchange.venue.issue_token(Grant(account, frozenset({QUERY_FUNDS})), exchange.now)
        self._protocol = ServerProtocol(
            exchange.venue, private=True, connection_id=1, now=exchange.now, dialect=V2
        )
        self.greeting = self.news()
        request = {"method": "subscribe", "params": {"channel": "balances", "token": token, **params}}
        self._protocol.receive(json.dumps(request).encode(), exchange.now)
        self.ack, *self.first = self.news()

    def news(self) -> list[dict[str, Any]]:
        frames = self._protocol.frames_to_send()
        return [json.loads(frame, parse_float=Decimal) for frame in frames]

    def entries(self) -> list[dict[str, Any]]:
        return entries_of(self.news())


def entries_of(news: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for message in news if message["channel"] == "balances" for entry in message["data"]]


def test_a_snapshot_has_every_asset_under_its_v2_name_in_the_spot_wallet() -> None:
    (snapshot,) = Listener(Exchange()).first
    assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 1)
    names = [entry["asset"] for entry in snapshot["data"]]
    assert names == ["BTC", "DOGE", "ETH", "EUR", "SOL", "USD", "USDC", "USDT", "XRP"]
    for entry in snapshot["data"]:
        assert entry["wallets"] == [{"type": "spot", "id": "main", "balance": entry["balance"]}]


def test_a_trade_is_two_messages_with_one_ref_id_first_what_was_given() -> None:
    exchange = Exchange()
    client, listener = exchange.private(), Listener(exchange)
    client.market("buy", "0.01")
    client.market("sell", "0.01")
    news = listener.news()
    assert [message["sequence"] for message in news] == list(range(2, 2 + len(news)))
    (newest_first, *_) = client.subscribe("ownTrades")[1]
    trades = {trade_id: fields for item in reversed(newest_first) for trade_id, fields in item.items()}
    pairs = list(zip(*[iter(entries_of(news))] * 2, strict=True))
    assert [entry["ref_id"] for entry, _ in pairs] == list(trades)
    for given, got in pairs:
        trade = trades[given["ref_id"]]
        assert got["ref_id"] == given["ref_id"]
        assert given["timestamp"] == got["timestamp"]
        assert given["amount"] < 0 < got["amount"]
        dollars, coins = (given, got) if trade["type"] == "buy" else (got, given)
        assert (dollars["asset"], coins["asset"]) == ("USD", "BTC")
        assert abs(dollars["amount"]) == Decimal(trade["cost"])
        assert abs(coins["amount"]) == Decimal(trade["vol"])
        assert (dollars["fee"], coins["fee"]) == (Decimal(trade["fee"]), 0)
        assert {e["type"] for e in (given, got)} == {e["category"] for e in (given, got)} == {"trade"}


def test_what_orders_hold_is_no_entry() -> None:
    exchange = Exchange()
    client, listener = exchange.private(), Listener(exchange)
    order_id = client.limit("buy", "70000", "0.01")
    client.ask("cancelOrder", txid=[order_id])
    assert listener.news() == []


def test_a_fee_in_base_currency_stands_in_that_entry() -> None:
    exchange = Exchange()
    listener = Listener(exchange)
    exchange.private().market("buy", "0.01", oflags="fcib")
    dollars, coins = listener.entries()[:2]
    assert (dollars["fee"], coins["fee"] > 0) == (0, True)
    assert coins["balance"] == 5 + coins["amount"] - coins["fee"]


def test_trading_on_margin_moves_the_fee_and_when_it_closes_profit_or_loss() -> None:
    exchange = Exchange()
    client, listener = exchange.private(), Listener(exchange)
    client.market("buy", "0.1", leverage="5")
    opened = listener.entries()
    assert {(e["asset"], e["type"], e["category"], e["amount"]) for e in opened} == {
        ("USD", "margin", "margin-trade", 0)
    }
    assert all(entry["fee"] > 0 for entry in opened)
    client.market("sell", "0.1", leverage="5", reduce_only=True)
    closed = listener.entries()
    assert sum(entry["amount"] for entry in closed) < 0  # the spread
    assert closed[-1]["balance"] == exchange.venue.desk.files["demo"].account.balance("ZUSD")


def test_a_settled_position_is_paid_and_taken() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.market("buy", "0.1", leverage="5")
    listener = Listener(exchange)
    client.add(type="sell", ordertype="settle-position", volume="0", leverage="5")
    paid, taken = listener.entries()
    assert (paid["asset"], taken["asset"], taken["amount"]) == ("USD", "BTC", Decimal("0.1"))
    assert {e["type"] for e in (paid, taken)} == {"settled"}
    assert {e["category"] for e in (paid, taken)} == {"margin-settle"}


def test_without_a_snapshot_the_first_entry_is_number_one() -> None:
    exchange = Exchange()
    listener = Listener(exchange, snapshot=False)
    assert listener.first == []
    exchange.private().market("buy", "0.01")
    assert listener.news()[0]["sequence"] == 1


def test_nobody_hears_of_anothers_money() -> None:
    exchange = Exchange()
    other = exchange.trader("other")
    listener = Listener(exchange)
    other.market("buy", "0.01")
    assert listener.news() == []


def test_a_key_that_may_not_query_funds_is_denied() -> None:
    exchange = Exchange()
    token = exchange.venue.issue_token(Grant(DEMO_ACCOUNT, frozenset({CANCEL})), exchange.now)
    protocol = ServerProtocol(exchange.venue, private=True, connection_id=1, now=exchange.now, dialect=V2)
    protocol.frames_to_send()
    protocol.receive(
        json.dumps({"method": "subscribe", "params": {"channel": "balances", "token": token}}).encode(),
        exchange.now,
    )
    (answer,) = map(json.loads, protocol.frames_to_send())
    assert answer["error"] == "EGeneral:Permission denied"


def test_the_feed_and_rest_tell_the_same() -> None:
    exchange = Exchange()
    exchange.private().market("buy", "0.01")
    (snapshot,) = Listener(exchange).first
    told = {entry["asset"]: entry["balance"] for entry in snapshot["data"]}
    rest = exchange.rest("Balance")
    for symbol, key in KEYS.items():
        assert 0 <= told[symbol] - Decimal(rest[key]) < Decimal("0.0001")


@pytest.mark.parametrize("seed", [1, 7, 30])
def test_whatever_users_do_snapshot_and_entries_add_up_to_the_account(seed: int) -> None:
    crowd = Crowd(seed)
    listeners = {name: Listener(crowd.exchange, name) for name in crowd.clients}
    known = {name: dict.fromkeys(KEYS, Decimal(0)) for name in crowd.clients}
    for name, listener in listeners.items():
        known[name].update((entry["asset"], entry["balance"]) for entry in entries_of(listener.first))
    kinds = set()
    for _ in range(200):
        crowd.act()
        for name, listener in listeners.items():
            for entry in listener.entries():
                known[name][entry["asset"]] += entry["amount"] - entry["fee"]
                assert known[name][entry["asset"]] == entry["balance"]
                kinds.add(entry["category"])
            account = crowd.exchange.venue.desk.files[name].account
            assert known[name] == {symbol: account.balance(key) for symbol, key in KEYS.items()}
    assert {"trade", "margin-trade"} <= kinds


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("118.0677", b"118.0677"),
        ("0", b"0.0000"),
        ("-0.0000", b"0.0000"),
        ("1E+3", b"1000.0000"),
        ("-0.00000050", b"-0.0000005"),
        ("99156.48539", b"99156.48539"),
    ],
)
def test_amounts_are_plain_numbers_of_at_least_the_assets_decimals(amount: str, text: bytes) -> None:
    posting = Posting("ZUSD", Decimal(amount), Decimal(0), Decimal(1))
    frame = balances.update(LedgerEntry("L1", "T1", TRADE, posting, 0))
    assert b'"amount":%b,' % text in frame


def test_a_client_of_v1_has_no_such_channel() -> None:
    exchange = Exchange()
    (answer,) = Client(exchange, token=exchange.private().token).subscribe("balances")
    assert answer["errorMessage"] == "Subscription name invalid"
