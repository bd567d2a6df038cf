"""Kraken's REST API, asked without a socket: routing, parameters, signatures, envelope, faults."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from krakenws.core.signing import sign
from krakenws.exchange.faults import FaultPlan
from krakenws.exchange.instruments import ASSETS, INSTRUMENTS, find
from krakenws.exchange.keys import ALL_PERMISSIONS, WEBSOCKETS, ApiKeys, Grant
from krakenws.exchange.requests import Refusal
from krakenws.exchange.rest import HttpRequest, RestApi, RestBackend, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krakenws.exchange.instruments import Asset, Instrument
    from krakenws.exchange.rest import Fields, HttpResponse, Json

# The sample of Kraken's documentation and our vectors with it: auth.md section 2.
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
NONCE = "1616492376594"
TOKEN_PATH = "/0/private/GetWebSocketsToken"


class Fake(RestBackend):
    """Says what it was asked, in the place of an exchange."""

    def __init__(self) -> None:
        self.keys = ApiKeys()
        self.keys.issue("key", SECRET, "demo")
        self.keys.issue("tokens", SECRET, "demo", {WEBSOCKETS})
        self.keys.issue("all-but-tokens", SECRET, "demo", ALL_PERMISSIONS - {WEBSOCKETS})
        self.asked: list[object] = []

    def now_us(self, now: float, /) -> int:
        return 1772104193_000000 + int(now * 1e6)

    def system_status(self) -> str:
        return "online"

    def assets(self) -> Sequence[Asset]:
        return ASSETS

    def instruments(self) -> Sequence[Instrument]:
        return INSTRUMENTS

    def find(self, name: str, /) -> Instrument | None:
        return find(name)

    def pair_status(self, instrument: Instrument, /) -> str:
        return instrument.status

    def ticker(self, instrument: Instrument, /) -> Json:
        return {"c": [format(instrument.start_price, "f"), "1.0"]}

    def depth(self, instrument: Instrument, count: int, /) -> Json:
        self.asked.append((instrument.wsname, count))
        return {"asks": [["63531.90000", "2.708", 1783467386]], "bids": []}

    def trades(self, instrument: Instrument, since_ns: int | None, count: int, /) -> tuple[Json, str]:
        self.asked.append((since_ns, count))
        return [["83930.3", "0.000051", Decimal("1790359840.939291"), "s", "l", "", 7]], "1790359840939291000"

    def spread(self, instrument: Instrument, since_s: int | None, /) -> tuple[Json, int]:
        self.asked.append(since_s)
        return [], 1790359840

    def ohlc(self, instrument: Instrument, interval_minutes: int, since_s: int | None, /) -> tuple[Json, int]:
        self.asked.append((interval_minutes, since_s))
        return [], 1790355600

    def websockets_token(self, grant: Grant, now: float, /) -> tuple[str, int]:
        return f"token-of-{grant.account}", 900

    def balance(self, grant: Grant, now: float, /) -> Json:
        return {"ZUSD": "1000.0000"}

    def open_orders(self, grant: Grant, fields: Fields, now: float, /) -> Json:
        self.asked.append(fields)
        return {}

    def closed_orders(self, grant: Grant, fields: Fields, now: float, /) -> tuple[Json, int]:
        self.asked.append(fields)
        return {}, 0

    def query_orders(self, grant: Grant, txids: Sequence[str], fields: Fields, now: float, /) -> Json:
        return {txid: {} for txid in txids}

    def trades_history(self, grant: Grant, fields: Fields, now: float, /) -> tuple[Json, int]:
        self.asked.append(fields)
        return {}, 0

    def add_order(self, grant: Grant, instrument: Instrument, fields: Fields, now: float, /) -> Json:
        self.asked.append((instrument.wsname, fields))
        if fields["volume"] == "0":
            raise Refusal("EOrder:Order minimum not met")
        return {"descr": {"order": "buy"}, "txid": ["O"]}

    def cancel_order(self, grant: Grant, field: str, value: str, now: float, /) -> int:
        self.asked.append((field, value))
        return 1


class Counter:
    """A REST API with a fake behind it, and nonces that rise."""

    def __init__(self, faults: FaultPlan | None = None) -> None:
        self.backend = Fake()
        self.api = RestApi(self.backend, faults)
        self.nonce = int(NONCE)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        peer: str = "127.0.0.1",
    ) -> HttpResponse:
        path, _, query = path.partition("?")
        pairs = tuple(
            (name, value) for name, _, value in (item.partition("=") for item in query.split("&") if item)
        )
        return self.api.answer(HttpRequest(method, path, pairs, headers or {}, body, peer), 0.0)

    def get(self, path: str) -> Any:
        response = self.ask("GET", path)
        assert response.status == 200
        return json.loads(response.body)

    def private(
        self, call: str, fields: Mapping[str, object] | None = None, key: str = "key", **changes: Any
    ) -> Any:
        """Sign a call as a client does; `changes` change what is sent after that."""
        self.nonce += 1
        path = f"/0/private/{call}"
        nonce = changes.get("nonce", str(self.nonce))
        body = urlencode({"nonce": nonce, **(fields or {})}).encode()
        if "json" in changes:
            body = json.dumps({"nonce": changes["json"], **(fields or {})}).encode()
            nonce = str(changes["json"])
        headers = {"api-key": key, "api-sign": sign(SECRET, path, nonce, body)}
        headers |= changes.get("headers", {})
        return json.loads(self.ask("POST", path, changes.get("body", body), headers).body)


def refused(error: str) -> dict[str, list[str]]:
    return {"error": [error]}


# -- public calls


def test_time_and_status_are_told_in_krakens_forms() -> None:
    assert Counter().ask("GET", "/0/public/Time").body == (
        b'{"error":[],"result":{"unixtime":1772104193,"rfc1123":"Thu, 26 Feb 26 11:09:53 +0000"}}'
    )
    assert Counter().ask("GET", "/0/public/SystemStatus").body == (
        b'{"error":[],"result":{"status":"online","timestamp":"2026-02-26T11:09:53Z"}}'
    )


def test_a_public_call_may_be_posted_as_form_or_json() -> None:
    for body in (b"pair=XBT%2FUSD&count=5", b'{"pair":"XBT/USD","count":5}'):
        counter = Counter()
        assert json.loads(counter.ask("POST", "/0/public/Depth", body).body)["error"] == []
        assert counter.backend.asked == [("XBT/USD", 5)]
    assert json.loads(Counter().ask("PUT", "/0/public/Time").body) == refused("EGeneral:Invalid arguments")


@pytest.mark.parametrize("name", ["XBTUSD", "XXBTZUSD", "XBT/USD", "BTC/USD"])
def test_asset_pairs_answers_under_the_name_asked_for(name: str) -> None:
    (item,) = Counter().get(f"/0/public/AssetPairs?pair={name}")["result"].items()
    assert item[0] == name
    assert item[1]["wsname"] == "XBT/USD"


def test_asset_pairs_has_what_clients_read() -> None:
    pairs = Counter().get("/0/public/AssetPairs")["result"]
    assert list(pairs) == [instrument.rest_key for instrument in INSTRUMENTS]
    assert pairs["XXBTZUSD"].items() >= {
        "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1,
        "lot_decimals": 8, "ordermin": "0.00005", "costmin": "0.5", "tick_size": "0.1", "status": "online",
    }.items()  # fmt: skip
    assert pairs["XXBTZUSD"]["fees"][0] == [0, 0.4]
    assert Counter().get("/0/public/AssetPairs?pair=ETHUSD,XBT/EUR")["result"].keys() == {"ETHUSD", "XBT/EUR"}


@pytest.mark.parametrize(
    ("info", "fields"),
    [
        ("leverage", {"leverage_buy", "leverage_sell"}),
        ("fees", {"fees", "fees_maker", "fee_volume_currency"}),
        ("margin", {"margin_call", "margin_stop"}),
    ],
)
def test_asset_pairs_tells_a_part_when_asked_for_a_part(info: str, fields: set[str]) -> None:
    assert Counter().get(f"/0/public/AssetPairs?pair=XBTUSD&info={info}")["result"]["XBTUSD"].keys() == fields


def test_assets_are_found_by_key_and_altname() -> None:
    assets = Counter().get("/0/public/Assets?asset=XBT,ZUSD")["result"]
    assert assets["XXBT"] == {
        "aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5, "status": "enabled",
    }  # fmt: skip
    assert list(assets) == ["XXBT", "ZUSD"]
    assert len(Counter().get("/0/public/Assets")["result"]) == len(ASSETS)
    assert Counter().get("/0/public/Assets?aclass=tokenized_asset")["result"] == {}
    assert Counter().get("/0/public/AssetPairs?aclass_base=tokenized_asset")["result"] == {}


def test_market_data_come_under_the_rest_key_or_the_slashed_name() -> None:
    counter = Counter()
    assert counter.get("/0/public/Depth?pair=XBTUSD")["result"].keys() == {"XXBTZUSD"}
    assert counter.get("/0/public/Trades?pair=BTC/USD")["result"].keys() == {"BTC/USD", "last"}
    assert len(counter.get("/0/public/Ticker")["result"]) == len(INSTRUMENTS)
    assert counter.get("/0/public/Ticker?pair=XBTUSD,ETH/USD")["result"].keys() == {"XXBTZUSD", "ETH/USD"}


def test_numbers_keep_their_digits() -> None:
    assert b",1790359840.939291," in Counter().ask("GET", "/0/public/Trades?pair=XBTUSD").body


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("Depth?pair=XBTUSD", ("XBT/USD", 100)),
        ("Depth?pair=XBTUSD&count=500", ("XBT/USD", 500)),
        ("Trades?pair=XBTUSD", (None, 1000)),
        ("Trades?pair=XBTUSD&since=1616492376&count=2", (1616492376000000000, 2)),
        ("Trades?pair=XBTUSD&since=1616492376.5", (1616492376500000000, 1000)),
        ("Trades?pair=XBTUSD&since=1616492376123456789", (1616492376123456789, 1000)),
        ("Spread?pair=XBTUSD&since=1616492376", 1616492376),
        ("OHLC?pair=XBTUSD", (1, None)),
        ("OHLC?pair=XBTUSD&interval=1440&since=1616492376", (1440, 1616492376)),
    ],
)
def test_parameters_have_krakens_defaults_and_bounds(query: str, asked: object) -> None:
    counter = Counter()
    assert counter.get(f"/0/public/{query}")["error"] == []
    assert counter.backend.asked == [asked]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/0/public/AssetPairs?pair=NOPE", "EQuery:Unknown asset pair"),
        ("/0/public/AssetPairs?pair=XBTUSD,NOPE", "EQuery:Unknown asset pair"),
        ("/0/public/AssetPairs?info=all", "EGeneral:Invalid arguments:info"),
        ("/0/public/Assets?asset=NOPE", "EQuery:Unknown asset"),
        ("/0/public/Depth", "EGeneral:Invalid arguments"),
        ("/0/public/Depth?pair=NOPE", "EQuery:Unknown asset pair"),
        ("/0/public/Depth?pair=XBTUSD&count=0", "EGeneral:Invalid arguments:count"),
        ("/0/public/Depth?pair=XBTUSD&count=501", "EGeneral:Invalid arguments:count"),
        ("/0/public/Depth?pair=XBTUSD&count=x", "EGeneral:Invalid arguments:count"),
        ("/0/public/OHLC?pair=XBTUSD&interval=2", "EGeneral:Invalid arguments:interval"),
        ("/0/public/Trades?pair=XBTUSD&since=now", "EGeneral:Invalid arguments:since"),
        ("/0/public/Trades?pair=XBTUSD&since=1.²", "EGeneral:Invalid arguments:since"),
        ("/0/public/Nope", "EGeneral:Unknown method"),
        ("/0/private/Nope", "EGeneral:Unknown method"),
        ("/0/Time", "EGeneral:Unknown method"),
        ("/0/private/Balance", "EGeneral:Invalid arguments"),
        (TOKEN_PATH, "EGeneral:Invalid arguments"),
    ],
)
def test_what_is_wrong_is_said_in_krakens_words_without_a_result(path: str, error: str) -> None:
    assert Counter().get(path) == refused(error)


def test_what_is_no_call_at_all_is_not_found() -> None:
    for path in ("/", "/auth", "/favicon.ico", "/sandbox/faults"):
        assert Counter().ask("GET", path).status == 404


# -- private calls


@pytest.mark.parametrize(
    ("path", "body", "signature"),
    [
        (
            "/0/private/AddOrder",
            b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
            "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
        ),
        (
            TOKEN_PATH,
            b"nonce=1616492376594",
            "+mRDmY9Ks0Moc1zjv/BjfvYa98buO0x1yHChZR5onlfAzAUbfIYlLggUZzdQ0RsmXm4Sh+Q8iAIZdo2wSeHeiA==",
        ),
        (
            TOKEN_PATH,
            b"nonce=1616492376594&otp=123456",
            "Ar/xaIFCxoB9vYgmMdFa96Q4kobeliKYcsJVL0e/9WCP8p+91eHqwusA7xAg4PaDXeGRBOWqOD4e7jxeWmvvDQ==",
        ),
        (
            TOKEN_PATH,
            b'{"nonce":"1616492376594"}',
            "HPdpJhpIrtLjJZVt+Hh9BfWStC+WBySrpgTLHtVBJ7ZH9UdJOtersnssuRGVwxefF6bnUPz24Bq23UUmUtafXg==",
        ),
    ],
)
def test_the_documented_signatures_are_accepted(path: str, body: bytes, signature: str) -> None:
    answer = json.loads(Counter().ask("POST", path, body, {"api-key": "key", "api-sign": signature}).body)
    assert answer["error"] == []


def test_a_token_is_given_with_the_seconds_it_has() -> None:
    assert Counter().private("GetWebSocketsToken")["result"] == {"token": "token-of-demo", "expires": 900}


@pytest.mark.parametrize("nonce", [1616492376594, "1616492376594"])
def test_a_json_nonce_may_be_a_number_or_text(nonce: object) -> None:
    assert Counter().private("Balance", json=nonce)["result"] == {"ZUSD": "1000.0000"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"headers": {"api-key": "nobody", "api-sign": ""}, "nonce": "x"}, "EAPI:Invalid key"),
        ({"headers": {"api-key": ""}}, "EAPI:Invalid key"),
        ({"headers": {"api-sign": ""}}, "EAPI:Invalid signature"),
        ({"headers": {"api-sign": "ü"}, "nonce": "x"}, "EAPI:Invalid signature"),
        ({"body": b"nonce=1616492376595&x=1"}, "EAPI:Invalid signature"),
        ({"body": b"\xff"}, "EAPI:Invalid signature"),
        ({"body": b""}, "EAPI:Invalid signature"),
        ({"nonce": ""}, "EAPI:Invalid nonce"),
        ({"nonce": "1.5", "key": "all-but-tokens"}, "EAPI:Invalid nonce"),
        ({"nonce": str(1 << 64)}, "EAPI:Invalid nonce"),
        ({"key": "all-but-tokens"}, "EGeneral:Permission denied"),
    ],
)
def test_checks_come_in_the_documented_order(changes: dict[str, Any], error: str) -> None:
    assert Counter().private("GetWebSocketsToken", {"x": "y"}, **changes) == refused(error)


def test_a_nonce_serves_once_whatever_its_unit() -> None:
    counter = Counter()
    for nonce in ("1616492376594", "1616492376594000", "1616492376594000000"):
        assert counter.private("Balance", nonce=nonce)["error"] == []
        assert counter.private("Balance", nonce=nonce) == refused("EAPI:Invalid nonce")


@pytest.mark.parametrize(
    "call",
    ["Balance", "OpenOrders", "ClosedOrders", "QueryOrders", "TradesHistory", "AddOrder", "CancelOrder"],
)
def test_every_call_asks_for_its_permission_before_it_looks_at_parameters(call: str) -> None:
    assert Counter().private(call, key="tokens") == refused("EGeneral:Permission denied")


@pytest.mark.parametrize(
    ("call", "fields", "result"),
    [
        ("OpenOrders", {"trades": "true"}, {"open": {}}),
        ("ClosedOrders", {"ofs": "50", "closetime": "close"}, {"closed": {}, "count": 0}),
        ("TradesHistory", {"ofs": "0"}, {"trades": {}, "count": 0}),
        ("QueryOrders", {"txid": "OA,OB"}, {"OA": {}, "OB": {}}),
        ("CancelOrder", {"txid": "OA"}, {"count": 1}),
    ],
)
def test_orders_and_trades_come_in_krakens_frames(call: str, fields: dict[str, str], result: object) -> None:
    assert Counter().private(call, fields) == {"error": [], "result": result}


ORDER = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "37500", "volume": "1.25"}


def test_an_order_reaches_the_exchange_in_api_v1s_words_without_what_was_not_given() -> None:
    counter = Counter()
    wanted = {**ORDER, "close[ordertype]": "limit", "stp_type": "cancel_both", "validate": "true"}
    form = {
        **ORDER,
        "close[ordertype]": "limit",
        "stptype": "cancel-both",
        "validate": "true",
        "userref": "",
        "otp": "1",
    }
    assert counter.private("AddOrder", form)["result"] == {"descr": {"order": "buy"}, "txid": ["O"]}
    message = {
        **ORDER,
        "close": {"ordertype": "limit"},
        "stptype": "cancel-both",
        "validate": True,
        "userref": None,
    }
    assert counter.private("AddOrder", message, json=str(counter.nonce + 9))["error"] == []
    assert counter.backend.asked == [("XBT/USD", wanted)] * 2


@pytest.mark.parametrize(
    ("call", "fields", "error"),
    [
        ("AddOrder", {**ORDER, "volume": ""}, "EGeneral:Invalid arguments:volume"),
        ("AddOrder", {**ORDER, "pair": "NOPE"}, "EQuery:Unknown asset pair"),
        ("AddOrder", {**ORDER, "volume": "0"}, "EOrder:Order minimum not met"),
        ("AddOrder", {**ORDER, "cl_ord_id": "x" * 19}, "EGeneral:Invalid arguments:cl_ord_id"),
        ("AddOrder", {**ORDER, "displayvol": "1"}, "EGeneral:Invalid arguments:displayvol"),
        ("AddOrder", {**ORDER, "color": "red"}, "EGeneral:Invalid arguments:color"),
        ("AddOrder", {**ORDER, "trigger": "index"}, "EGeneral:Invalid arguments:Index unavailable"),
        ("CancelOrder", {}, "EGeneral:Invalid arguments"),
        ("CancelOrder", {"txid": "OA", "userref": "1"}, "EGeneral:Invalid arguments"),
        ("QueryOrders", {}, "EGeneral:Invalid arguments"),
        ("QueryOrders", {"txid": ",".join(["O"] * 51)}, "EGeneral:Invalid arguments"),
        ("ClosedOrders", {"closetime": "never"}, "EGeneral:Invalid arguments:closetime"),
        ("TradesHistory", {"ofs": "-1"}, "EGeneral:Invalid arguments:ofs"),
    ],
)
def test_a_signed_call_with_wrong_parameters_is_refused(
    call: str, fields: dict[str, str], error: str
) -> None:
    assert Counter().private(call, fields) == refused(error)


def test_a_mistake_of_the_exchange_is_answered_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    counter, noted = Counter(), list[Exception]()
    monkeypatch.setattr(counter.backend, "system_status", lambda: 1 // 0)
    monkeypatch.setattr(counter.backend, "failed", lambda error, _now: noted.append(error))
    assert counter.get("/0/public/SystemStatus") == refused("EGeneral:Internal error")
    assert [type(error) for error in noted] == [ZeroDivisionError]


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\\ud800"}',
        b'{"\\ud800":"a"}',
        b'{"nonce":[[1]]}',
        b'{"a":NaN}',
        b"{" * 5000,
        b"{",
        b"a",
        b'{"a":{"b":{"c":"d"}}}',
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body: bytes) -> None:
    assert json.loads(Counter().ask("POST", "/0/public/Time", body).body) == refused(
        "EGeneral:Invalid arguments"
    )


# -- faults


def test_faults_are_listed_added_and_cleared() -> None:
    faults = FaultPlan(lambda: 0.0)
    counter = Counter(faults)
    assert counter.get("/sandbox/faults") == {"error": [], "result": []}
    added = counter.ask("POST", "/sandbox/faults", b'[{"fault":"drop"},{"fault":"mute","times":2}]')
    assert json.loads(added.body)["result"] == [
        {"fault": "drop", "id": 1, "struck": 0},
        {"fault": "mute", "times": 2, "id": 2, "struck": 0},
    ]
    wrong = counter.ask("POST", "/sandbox/faults", b'{"fault":"lightning"}')
    assert wrong.status == 400
    assert json.loads(wrong.body)["error"][0].startswith("fault 'lightning' is not known")
    assert json.loads(counter.ask("DELETE", "/sandbox/faults").body) == {"error": [], "result": []}
    assert counter.ask("PUT", "/sandbox/faults").status == 405


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_faults_are_for_this_machine_only(method: str) -> None:
    faults = FaultPlan(lambda: 0.0)
    assert Counter(faults).ask(method, "/sandbox/faults", b'{"fault":"drop"}', peer="192.0.2.7").status == 403
    assert not faults.active


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::2", False),
        ("", False),
    ],
)
def test_loopback_is_known_by_its_address(address: str, local: bool) -> None:
    assert is_loopback(address) is local


def test_a_page_stands_before_a_path() -> None:
    faults = FaultPlan(lambda: 0.0)
    faults.add([{"fault": "http_status", "status": 520, "path": "/0/private"}], 0.0)
    counter = Counter(faults)
    assert counter.get("/0/public/Time")["error"] == []
    page = counter.ask("POST", TOKEN_PATH)
    assert (page.status, page.content_type, page.reason) == (
        520,
        "text/html; charset=UTF-8",
        "Web server is returning an unknown error",
    )
    assert b"<html>" in page.body


@pytest.mark.parametrize(
    ("fault", "cut", "withheld", "orders"),
    [("no_ack", False, True, 0), ("lose_answer", False, True, 1), ("accept_then_cut", True, False, 1)],
)
def test_an_order_by_rest_can_lose_its_answer(fault: str, cut: bool, withheld: bool, orders: int) -> None:
    faults = FaultPlan(lambda: 0.0)
    faults.add([{"fault": fault, "method": "AddOrder"}], 0.0)
    counter = Counter(faults)
    body = urlencode({"nonce": NONCE, **ORDER}).encode()
    headers = {"api-key": "key", "api-sign": sign(SECRET, "/0/private/AddOrder", NONCE, body)}
    response = counter.ask("POST", "/0/private/AddOrder", body, headers)
    assert (response.cut, response.withheld, len(counter.backend.asked)) == (cut, withheld, orders)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"fault": "exceeded_rate"}, "EAPI:Rate limit exceeded"),
        ({"fault": "invalid_session"}, "ESession:Invalid session"),
        ({"fault": "refuse", "error": "EService:Busy"}, "EService:Busy"),
    ],
)
def test_a_rest_call_can_be_refused_once(fault: dict[str, object], error: str) -> None:
    faults = FaultPlan(lambda: 0.0)
    faults.add([{**fault, "method": "Balance"}], 0.0)
    counter = Counter(faults)
    assert counter.private("Balance") == refused(error)
    assert counter.private("Balance")["error"] == []
