"""What the exchange remembers is bounded: all that can be reached from it stops growing, whatever happens.

The histories are made short, so that they fill in no time. Then the same bustle again and again must leave
the exchange as large as it was.
"""

from __future__ import annotations

from gc import get_referents
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

import pytest

from krakenws.exchange import files, keys, market
from krakenws.exchange.keys import ApiKeys, Grant, Tokens
from krakenws.exchange.ratecounter import Tier
from krakenws.exchange.requests import Refusal
from tests.support.venue import PLENTY, Exchange

if TYPE_CHECKING:
    from tests.support.venue import Client

GRANT = Grant("demo")
FREE = Tier("free", 10**9, 375, 10**6)


def reachable(root: object) -> int:
    """Count the objects that an object leads to, code apart."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        found = waiting.pop()
        if id(found) not in seen and not isinstance(found, type | ModuleType | FunctionType):
            seen.add(id(found))
            waiting += get_referents(found)
    return len(seen)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ENDED_KEPT", 40)
    monkeypatch.setattr(market, "TRADES_KEPT", 40)
    monkeypatch.setattr(market, "SPREADS_KEPT", 40)
    monkeypatch.setattr(keys, "TOKENS_KEPT", 20)


def bustle(exchange: Exchange, client: Client, times: int) -> None:
    """Everything that leaves a trace: orders of all fates, fills, tokens, subscriptions, mistakes."""
    for round_ in range(times):
        bid, ask = exchange.best()
        kept = client.limit("buy", str(bid - 900), "0.001", expiretm="+86400")
        client.ask("amendOrder", txid=kept, volume="0.002")
        (edited,) = client.ask("editOrder", orderid=kept, pair="XBT/USD", price=str(bid - 800))
        client.ask("cancelOrder", txid=[edited["txid"]])
        client.limit("sell", str(ask + 900), "0.001", starttm="+86400", cl_ord_id=f"n{round_}")
        client.add(type="sell", ordertype="trailing-stop", price="+900", volume="0.001", userref="7")
        client.market("buy", "0.002", **{"close[ordertype]": "limit", "close[price]": "#900"})
        client.market("sell", "0.001", leverage="2")
        client.market("buy", "0.001", leverage="2", reduce_only=True)
        client.ask("cancelAllOrdersAfter", timeout=3600)
        client.ask("cancelAll")
        for name in ("book", "trade", "ticker", "ohlc", "spread"):
            public = exchange.public()
            public.subscribe(name, "XBT/USD")
            public.protocol.closed(exchange.now)
        exchange.venue.issue_token(GRANT, exchange.now)
        exchange.wait(0.5)
        client.news()


@pytest.mark.usefixtures("short")
def test_an_exchange_that_has_filled_its_histories_grows_no_more() -> None:
    exchange = Exchange(rate=100.0)
    client = exchange.trader("busy", PLENTY, tier=FREE)
    client.subscribe("openOrders")
    client.subscribe("ownTrades")
    exchange.venue._truth = None
    bustle(exchange, client, 120)
    before = reachable(exchange.venue)
    file = exchange.venue.desk.files["busy"]
    assert (len(file.ended), len(file.fills)) == (40, 40)
    assert len(exchange.venue.markets["XBT/USD"].trades) == 40
    bustle(exchange, client, 240)
    after = reachable(exchange.venue)
    assert after < 1.03 * before, f"{before} objects became {after}"


def test_an_account_remembers_its_last_orders_and_fills() -> None:
    exchange = Exchange()
    file = exchange.venue.desk.files["demo"]
    assert file.ended.maxlen == file.fills.maxlen == files.ENDED_KEPT
    trades = exchange.venue.markets["XBT/USD"].trades
    assert trades.maxlen == market.TRADES_KEPT


def test_orders_that_would_begin_in_a_month_do_not_pile_up_once_they_are_cancelled() -> None:
    exchange = Exchange()
    client = exchange.trader("busy", PLENTY, tier=FREE)
    kept = client.limit("buy", "50000", "0.001", starttm="+5")
    for _ in range(300):
        client.ask("cancelOrder", txid=[client.limit("buy", "50000", "0.001", starttm="+2000000")])
    assert len(exchange.venue.desk._starts) <= 130
    exchange.wait(6.0)
    assert [order.order_id for order in exchange.venue.markets["XBT/USD"].engine.orders_of("busy")] == [kept]


def test_the_oldest_token_that_nobody_used_makes_room_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "TOKENS_KEPT", 3)
    tokens = Tokens()
    used, first, *rest = [tokens.issue(GRANT, bytes([n]) * 32, 0.0) for n in range(3)]
    tokens.subscribed(used)
    newest = tokens.issue(GRANT, bytes([9]) * 32, 1.0)
    assert len(tokens) == 3
    for token in (used, *rest, newest):
        assert tokens.grant(token, 1.0) is GRANT
    with pytest.raises(Refusal):
        tokens.grant(first, 1.0)


def test_mistakes_are_counted_of_so_many_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "CALLERS_COUNTED", 50)
    api_keys = ApiKeys()
    for n in range(200):
        with pytest.raises(Refusal):
            api_keys.authenticate("no such key", "", "/", "1", b"", address=f"10.0.0.{n}", now=0.0)
    assert len(api_keys._mistakes) == 50
