"""Every documented error string: how to bring it about, and the answer in which it comes, to the letter."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import pytest

from krakenws.core.signing import sign
from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET, MISTAKES, TOKEN_LIFE_S, WEBSOCKETS, Grant
from krakenws.exchange.limits import Limits
from krakenws.exchange.protocol import ServerProtocol
from krakenws.exchange.ratecounter import INTERMEDIATE, PRO, STARTER, Tier
from krakenws.exchange.refusals import ABSENT, WHEN, is_documented
from krakenws.exchange.rest import HttpRequest
from krakenws.exchange.sandbox import SandboxVenue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Provoke = Callable[["Scene"], tuple[str, str]]
    """Brings an error about; tells the event of the answer, or `REST`, and the string."""

START_US = 1_795_337_417_000_000
RICH = {"ZUSD": Decimal(10_000_000), "XXBT": Decimal(100)}
ORDER = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": "70000", "volume": "0.01"}
MARGIN = {**ORDER, "ordertype": "market", "price": "", "leverage": "5"}
NARROW = Tier("narrow", 10, 0, 2)
"""Two orders may be open, one of them later; two positions; and ten orders may ever be placed."""


class Scene:
    """A sandbox with three pairs, and what was last answered."""

    def __init__(self) -> None:
        self.now = 50.0
        self.venue = SandboxVenue(
            seed=1, pairs=["XBT/USD", "PAXG/USD", "ACA/EUR"], start_us=START_US, now=self.now
        )
        self.token = self.venue.issue_token(Grant("demo"), self.now)
        self._connections: dict[bool, ServerProtocol] = {}
        self._nonce = 0

    def become(self, tier: Tier, balances: Mapping[str, Decimal] = RICH) -> None:
        """Go on as another account."""
        self.venue.open_account("other", balances, tier)
        self.token = self.venue.issue_token(Grant("other"), self.now)

    def say(self, frame: object, *, private: bool = False) -> dict[str, Any]:
        """Send a frame and return the last of its answers."""
        protocol = self._connections.get(private)
        if protocol is None:
            protocol = ServerProtocol(self.venue, private=private, connection_id=1, now=self.now)
            self._connections[private] = protocol
        protocol.frames_to_send()
        protocol.receive(frame if isinstance(frame, bytes) else json.dumps(frame).encode(), self.now)
        answers = [json.loads(frame) for frame in protocol.frames_to_send()]
        answer: dict[str, Any] = [answer for answer in answers if isinstance(answer, dict)][-1]
        return answer

    def command(self, event: str, **fields: object) -> dict[str, Any]:
        return self.say({"event": event, "token": self.token, **fields}, private=True)

    def placed(self, **fields: object) -> str:
        """Place an order and return its id."""
        answer = self.command("addOrder", **{**ORDER, **fields})
        assert answer["status"] == "ok", answer
        return str(answer["txid"])

    def call(self, method: str, *, key: str = DEMO_KEY, secret: str = DEMO_SECRET, **fields: object) -> Any:
        """Make a private REST call and return its envelope."""
        self._nonce += 1
        path = f"/0/private/{method}"
        fields = {"nonce": self._nonce, **fields}
        body = urlencode(fields).encode()
        headers = {"api-key": key, "api-sign": sign(secret, path, str(fields["nonce"]), body)}
        return self.http("POST", path, body, headers)

    def http(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Any:
        path, _, query = path.partition("?")
        fields = tuple((name, value) for name, _, value in (item.partition("=") for item in query.split("&")))
        assert self.venue.rest is not None
        request = HttpRequest(method, path, fields if query else (), headers or {}, body, "127.0.0.1")
        return json.loads(self.venue.rest.answer(request, self.now).body)


class Row(NamedTuple):
    """One string, the answer it comes in, and how to bring it about."""

    text: str
    answer: str
    provoke: Provoke


def _told(answer: dict[str, Any]) -> tuple[str, str]:
    """Return the event of an answer, or `REST`, and its error; "" without one."""
    if "event" in answer:
        return answer["event"], answer.get("errorMessage", "")
    return "REST", next(iter(answer["error"]), "")


def public(frame: object) -> Provoke:
    return lambda scene: _told(scene.say(frame))


def subscribe(name: str = "ticker", pair: object = ("XBT/USD",), **options: object) -> Provoke:
    frame = {"event": "subscribe", "pair": pair, "subscription": {"name": name, **options}}
    return public({field: value for field, value in frame.items() if value is not None})


def private_channel(event: str = "subscribe", **fields: object) -> Provoke:
    def provoke(scene: Scene) -> tuple[str, str]:
        subscription = {"name": "openOrders", "token": scene.token}
        return _told(scene.say({"event": event, "subscription": subscription, **fields}, private=True))

    return provoke


def command(event: str, **fields: object) -> Provoke:
    return lambda scene: _told(scene.command(event, **fields))


def order(**fields: object) -> Provoke:
    return command("addOrder", **{**ORDER, **fields})


def on_margin(**fields: object) -> Provoke:
    return command("addOrder", **{**MARGIN, **fields})


def call(method: str, **fields: Any) -> Provoke:
    return lambda scene: _told(scene.call(method, **fields))


def get(path: str) -> Provoke:
    return lambda scene: _told(scene.http("GET", path))


def after(prepare: Callable[[Scene], object], provoke: Provoke) -> Provoke:
    def both(scene: Scene) -> tuple[str, str]:
        prepare(scene)
        return provoke(scene)

    return both


def as_account(tier: Tier, provoke: Provoke, balances: Mapping[str, Decimal] = RICH) -> Provoke:
    return after(lambda scene: scene.become(tier, balances), provoke)


def in_mode(mode: str, provoke: Provoke) -> Provoke:
    return after(lambda scene: scene.venue.set_status(mode), provoke)


def beyond(times: int, provoke: Provoke) -> Provoke:
    """Say it to a venue with limits, once more than it can be said at once."""

    def provoke_often(scene: Scene) -> tuple[str, str]:
        scene.venue.limits = Limits()
        assert [provoke(scene)[1] for _ in range(times)] == [""] * times
        return provoke(scene)

    return provoke_often


def _break_rest(scene: Scene) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    assert scene.venue.rest is not None
    scene.venue.rest._backend.system_status = fail  # type: ignore[assignment, method-assign]


def _grow_old(scene: Scene) -> None:
    scene.now += TOKEN_LIFE_S


def _edit_with_own_id(scene: Scene) -> tuple[str, str]:
    scene.placed(cl_ord_id="mine")
    ((txid, _),) = scene.venue.desk.files["demo"].live.items()
    return _told(scene.command("editOrder", orderid=txid, pair="XBT/USD", volume="0.02"))


def _lose_eligibility(scene: Scene) -> tuple[str, str]:
    scene.become(PRO)
    scene.placed(**{**MARGIN, "volume": "0.01"})
    scene.venue.desk.files["other"].account.tier = STARTER
    return _told(scene.command("addOrder", **{**MARGIN, "type": "sell", "volume": "0.02"}))


def _reduce_too_much(scene: Scene) -> tuple[str, str]:
    scene.placed(**MARGIN)
    scene.placed(**{**MARGIN, "type": "sell", "volume": "0.02", "reduce_only": True})
    ended = scene.call("ClosedOrders")["result"]["closed"].values()
    return next(("reason", entry["reason"]) for entry in ended if entry["reason"])


def _wrong_signatures(scene: Scene) -> None:
    for _ in range(MISTAKES):
        scene.call("Balance", secret=DEMO_SECRET.swapcase())


ADD, SUB = "addOrderStatus", "subscriptionStatus"
WRONG = "EGeneral:Invalid arguments"
ROWS = [
    # Subscriptions and messages
    Row("Already subscribed", SUB, subscribe(pair=["XBT/USD", "XBT/USD"])),
    Row("Currency pair not in ISO 4217-A3 format XBTUSDT", SUB, subscribe(pair=["XBTUSDT"])),
    Row("Currency pair not supported BTC/USDZZ", SUB, subscribe(pair=["BTC/USDZZ"])),
    Row("Pair(s) not found", SUB, subscribe(pair=None)),
    Row("Pair field must be an array", SUB, subscribe(pair="XBT/USD")),
    Row("Pair field unsupported for this subscription type", SUB, private_channel(pair=["XBT/USD"])),
    Row("Subscription depth not supported", SUB, subscribe("book", depth=42)),
    Row("Subscription book depth must be an integer", SUB, subscribe("book", depth="10")),
    Row("Subscription ohlc interval not supported", SUB, subscribe("ohlc", interval=2)),
    Row("Subscription ohlc interval must be an integer", SUB, subscribe("ohlc", interval="1")),
    Row("Subscription ohlc requires interval", SUB, subscribe("ohlc", interval=None)),
    Row("Subscription name invalid", SUB, subscribe("balances")),
    Row("Subscription field must be an object", SUB, public({"event": "subscribe", "subscription": "book"})),
    Row("Unsupported field: 'depth' for the given msg type: subscribe", SUB, subscribe("trade", depth=10)),
    Row("Unsupported field: 'post_only' for the given msg type: add order", ADD, order(post_only=True)),
    Row(
        "Subscription Not Found",
        SUB,
        public({"event": "unsubscribe", "pair": ["XBT/USD"], "subscription": {"name": "ticker"}}),
    ),
    Row("Malformed request", SUB, public({"event": "subscribe", "subscription": {"depth": 10}})),
    Row("Malformed request", "error", public(b"{")),
    Row("Event(s) not found", "error", public({"reqid": 1})),
    Row("Unsupported event", "error", public({"event": "dance"})),
    Row("Exceeded msg rate", "error", beyond(Limits().burst, public({"event": "ping"}))),
    Row(
        "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
        SUB,
        subscribe("openOrders", None),
    ),
    Row(
        "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
        "cancelAllStatus",
        public({"event": "cancelAll"}),
    ),
    Row(
        "Public channels not available in this endpoint",
        SUB,
        private_channel(subscription={"name": "ticker"}, pair=["XBT/USD"]),
    ),
    Row("Token(s) not found", ADD, order(token=None)),
    Row("Volume field must be a string", ADD, order(volume=0.01)),
    Row("Txid field must be an array", "cancelOrderStatus", command("cancelOrder", txid="O1")),
    # Session and key
    Row("ESession:Invalid session", ADD, order(token="no such token")),
    Row("ESession:Invalid session", SUB, after(_grow_old, private_channel())),
    Row("EAPI:Invalid key", "REST", call("Balance", key="no such key")),
    Row("EAPI:Invalid signature", "REST", call("Balance", secret=DEMO_SECRET.swapcase())),
    Row("EAPI:Invalid nonce", "REST", after(lambda s: s.call("Balance"), call("Balance", nonce=1))),
    Row(
        "EGeneral:Permission denied",
        ADD,
        lambda s: _told(
            s.command("addOrder", **ORDER, token=s.venue.issue_token(Grant("demo", frozenset()), s.now))
        ),
    ),
    Row(
        "EGeneral:Permission denied",
        "REST",
        after(
            lambda s: s.venue.keys.issue("k", DEMO_SECRET, "demo", {WEBSOCKETS}),
            call("AddOrder", key="k", **ORDER),
        ),
    ),
    Row(
        "EGeneral:Permission denied",
        "REST",
        after(
            lambda s: s.venue.keys.issue("k", DEMO_SECRET, "demo", otp="right"),
            call("Balance", key="k", otp="wrong"),
        ),
    ),
    Row("EGeneral:Temporary lockout", "REST", after(_wrong_signatures, call("Balance"))),
    # Requests
    Row(WRONG, "REST", get("/0/private/Balance")),
    Row(WRONG, "REST", get("/0/public/Depth")),
    Row(f"{WRONG}:userref", ADD, order(userref="x")),
    Row(f"{WRONG}:count", "REST", get("/0/public/Depth?pair=XBTUSD&count=501")),
    Row(f"{WRONG}:Index unavailable", "REST", call("AddOrder", **ORDER, trigger="index")),
    Row(
        f"{WRONG}:no_mpp order option is only available when ordertype = market",
        ADD,
        order(oflags="nompp"),
    ),
    Row("EGeneral:Unknown method", "REST", get("/0/public/Weather")),
    Row("EGeneral:Internal error", "REST", after(_break_rest, get("/0/public/SystemStatus"))),
    Row("EGeneral:Too many requests", "REST", beyond(Limits().call_burst, get("/0/public/Time"))),
    Row("EAPI:Rate limit exceeded", "REST", beyond(INTERMEDIATE.call_ceiling, call("Balance"))),
    Row("EQuery:Unknown asset pair", "REST", get("/0/public/Ticker?pair=BTCUSDZZ")),
    Row("EQuery:Unknown asset pair", ADD, order(pair="XBT/CAD")),
    Row("EQuery:Unknown asset", "REST", get("/0/public/Assets?asset=NOPE")),
    # State of the exchange
    Row("EService:Unavailable", ADD, in_mode("maintenance", order())),
    Row("EService:Market in cancel_only mode", ADD, in_mode("cancel_only", order())),
    Row("EService:Market in cancel_only mode", ADD, order(pair="ACA/EUR", price="0.0004", volume="12000")),
    Row("EService:Market in post_only mode", ADD, in_mode("post_only", order())),
    Row(
        "EService:Market in limit_only mode", ADD, in_mode("limit_only", order(ordertype="market", price=""))
    ),
    Row("EService:Deadline elapsed", ADD, order(deadline="2026-01-01T00:00:00.000Z")),
    # Orders
    Row("EOrder:Insufficient funds", ADD, order(volume="2")),
    Row("EOrder:Insufficient funds", "REST", call("AddOrder", **{**ORDER, "volume": "2"})),
    Row("EOrder:Order minimum not met", ADD, order(volume="0.00001")),
    Row("EOrder:Cost minimum not met", ADD, order(volume="0.00005", price="1000")),
    Row("EOrder:Tick size check failed", ADD, order(pair="PAXG/USD", price="4000.01")),
    Row(
        "EOrder:Invalid price:XXBTZUSD price can only be specified up to 1 decimals.",
        ADD,
        order(price="70000.05"),
    ),
    Row("EOrder:Invalid order", "editOrderStatus", _edit_with_own_id),
    Row("EOrder:Post only order", ADD, order(price="100000", oflags="post")),
    Row("EOrder:Unknown order", "cancelOrderStatus", command("cancelOrder", txid=["OAAAAA-BBBBB-CCCCCC"])),
    Row("EOrder:Unknown order", "REST", call("CancelOrder", txid="OAAAAA-BBBBB-CCCCCC")),
    Row(
        "EOrder:Rate limit exceeded",
        ADD,
        as_account(NARROW, after(lambda s: [s.command("addOrder", **ORDER) for _ in range(10)], order())),
    ),
    Row(
        "EOrder:Orders limit exceeded",
        ADD,
        as_account(NARROW, after(lambda s: [s.placed() for _ in range(2)], order())),
    ),
    Row(
        "EOrder:Scheduled orders limit exceeded",
        ADD,
        as_account(NARROW, after(lambda s: s.placed(starttm="+60"), order(starttm="+60"))),
    ),
    # Margin
    Row("EOrder:Cannot open position", ADD, as_account(STARTER, on_margin())),
    Row("EOrder:Cannot open opposing position", ADD, _lose_eligibility),
    Row("EOrder:Margin allowance exceeded", ADD, on_margin(volume="8", leverage="10")),
    Row("EOrder:Margin level too low", ADD, on_margin(volume="5", leverage="2")),
    Row("EOrder:Margin position size exceeded", ADD, as_account(PRO, on_margin(volume="20"))),
    Row(
        "EOrder:Positions limit exceeded",
        ADD,
        as_account(NARROW, after(lambda s: [s.placed(**MARGIN) for _ in range(2)], on_margin())),
    ),
    Row(
        "EOrder:Unknown position",
        ADD,
        on_margin(ordertype="settle-position", type="sell", volume="0"),
    ),
    Row("EOrder:Reduce only:No position exists", ADD, order(leverage="2", reduce_only=True)),
    Row("EOrder:Reduce only:Position is closed", "reason", _reduce_too_much),
]
DOCUMENTED = [text for texts in WHEN.values() for text in texts]


def is_of(answer: str, text: str) -> bool:
    """Whether a string is one of a documented form, in which <…> stands for anything."""
    form = re.sub("<[^>]+>", ".+", re.escape(text))
    return re.fullmatch(form if text != "EOrder:Invalid price" else f"{form}.*", answer) is not None


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.answer}-{row.text}" for row in ROWS])
def test_an_error_is_said_in_krakens_words_where_kraken_says_it(row: Row) -> None:
    assert row.provoke(Scene()) == (row.answer, row.text)


@pytest.mark.parametrize("text", [text for text in DOCUMENTED if text not in ABSENT])
def test_every_documented_string_has_a_row_that_brings_it_about(text: str) -> None:
    assert any(is_of(row.text, text) for row in ROWS)


def test_every_row_brings_a_documented_string_about() -> None:
    assert [row.text for row in ROWS if not any(is_of(row.text, text) for text in DOCUMENTED)] == []
    assert ABSENT.keys() <= set(DOCUMENTED)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("EService:Throttled: 1795337417", True),
        ("EService:Throttled", True),
        ("EOrder:Insufficient funds", True),
        ("EOrder:insufficient funds", False),
        ("EFunding:Max fee exceeded", False),
        ("", False),
    ],
)
def test_a_string_is_known_whatever_follows_it(text: str, known: bool) -> None:
    assert is_documented(text) is known


@pytest.mark.parametrize("text", ABSENT)
def test_what_has_no_cause_here_is_said_when_a_fault_wants_it(text: str) -> None:
    error = text.replace("<unix time>", "1795337417")
    for provoke, answer, method in (
        (subscribe(), SUB, "subscribe"),
        (order(), ADD, "addOrder"),
        (call("AddOrder", **ORDER), "REST", "AddOrder"),
    ):
        scene = Scene()
        scene.venue.faults.add([{"fault": "refuse", "method": method, "error": error}], scene.now)
        assert provoke(scene) == (answer, error)
