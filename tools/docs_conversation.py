"""The conversation that the JSON examples of the docs come from: invented frames, in the shapes Kraken documents.

Held with the pure protocol at fixed times, and written by the JSON output itself.
"""

# ruff: noqa: D102, D103, E501, INP001 - part of a script, and frames are long

from __future__ import annotations

from typing import TYPE_CHECKING

from krakenws.cli.parser import look_up
from krakenws.core.catalog import CHANNEL, PRIVATE, PUBLIC, bind
from krakenws.core.events import Backfilled, DryRun, Lagging, Met, Update
from krakenws.core.protocol import ClientProtocol
from krakenws.core.session import Bye, Help, Listening, Session
from krakenws.core.v1 import V1
from krakenws.core.v2 import V2
from krakenws.errors import RequestRejected
from krakenws.options import Options
from krakenws.sinks import Out
from krakenws.sinks.lines import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.core.catalog import Bound
    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Event

NOW_NS = 1_795_324_223_123_456_000  # 2026-11-22T05:10:23.123456Z

GREETING = '{"connectionID":8628615390848610000,"event":"systemStatus","status":"online","version":"1.9.2"}'
ACK = (
    '{"channelName":"%s","event":"subscriptionStatus","pair":"%s","status":"subscribed","subscription":{%s}}'
)
REFUSAL = (
    '{"errorMessage":"Currency pair not supported DOG/CAT","event":"subscriptionStatus","pair":"DOG/CAT",'
    '"status":"error","subscription":{"name":"ticker"}}'
)
BUSY = REFUSAL.replace("Currency pair not supported DOG/CAT", "Exceeded msg rate").replace(
    "DOG/CAT", "XBT/USD"
)
TICKER = (
    '[340,{"a":["64010.20000",0,"0.48986847"],"b":["64010.10000",0,"0.02606940"],"c":["64010.10000","0.01000000"],'
    '"v":["132.67200000","455.04000000"],"p":["64010.10000","64010.10000"],"t":[2764,9480],'
    '"l":["64008.10000","64005.60000"],"h":["64042.00000","64044.50000"],"o":["64022.10000","64040.00000"]},'
    '"ticker","XBT/USD"]'
)
SNAPSHOT = (
    '[336,{"as":[["64010.20000","0.48986847","1795324220.941976"],["64010.70000","0.10126498","1795324219.530191"]],'
    '"bs":[["64010.10000","0.02606940","1795324221.262146"]]},"book-10","XBT/USD"]'
)
CHANGE = '[336,{"b":[["64009.50000","0.26333397","1795324223.087221"]],"c":"%s"},"book-10","XBT/USD"]'
RIGHT, WRONG = "4096329511", "1"  # the CRC32 of the book after SNAPSHOT and CHANGE, and another number
SPREAD = (
    '[338,["64010.10000","64010.20000","1795324223.101000","0.02606940","0.48986847"],"spread","XBT/USD"]'
)
OHLC = (
    '[339,["1795324223.101000","1795324260.000000","64010.00000","64012.50000","64009.50000","64010.10000",'
    '"64010.88000","1.20400000",17],"ohlc-1","XBT/USD"]'
)
TRADE = '[337,[["64010.10000","0.01000000","1795324223.101000","b","l",""]],"trade","XBT/USD"]'
ORDER = (
    '[[{"OGTT3Y-C6I3P-XRI6HX":{"avg_price":"0.00000","cost":"0.00000","descr":{"close":null,"leverage":null,'
    '"order":"sell 0.12500000 XBT/EUR @ limit 7500.00000","ordertype":"limit","pair":"XBT/EUR","price":"7500.00000",'
    '"price2":"0.00000","type":"sell"},"expiretm":null,"fee":"0.00000","limitprice":"0.00000","misc":"",'
    '"oflags":"fciq","opentm":"1795324201.361371","refid":null,"starttm":null,"status":"open","stopprice":"0.00000",'
    '"timeinforce":"GTC","userref":1771,"vol":"0.12500000","vol_exec":"0.00000000"}}],"openOrders",{"sequence":1}]'
)
ORDER_CLOSED = '[[{"OGTT3Y-C6I3P-XRI6HX":{"status":"closed","userref":1771}}],"openOrders",{"sequence":2}]'
FILL = (
    '[[{"TDLH43-DVQXD-2KHVYY":{"cost":"937.50000","fee":"1.50000","margin":"0.00000","ordertxid":"OGTT3Y-C6I3P-XRI6HX",'
    '"ordertype":"limit","pair":"XBT/EUR","postxid":"TKH2SE-M7IF5-CFI7LT","price":"7500.00000",'
    '"time":"1795324223.089052","type":"sell","vol":"0.12500000","userref":1771}}],"ownTrades",{"sequence":1}]'
)
BALANCE = (
    '{"channel":"balances","type":"snapshot","sequence":1,"data":[{"asset":"BTC","asset_class":"currency",'
    '"balance":1.20000000,"wallets":[{"type":"spot","id":"main","balance":1.20000000}]}]}'
)
STATUS_V2 = (
    '{"channel":"status","type":"update","data":[{"api_version":"v2","connection_id":8628615390848610000,'
    '"system":"online","version":"2.0.10"}]}'
)


TWICE = {"book", "openOrders", "gap", "lagging"}
"""These are shown with what follows the first."""


class Collected(Out):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.text = b""

    def write(self, data: bytes) -> None:
        self.text += data

    def take(self) -> str:
        text, self.text = self.text.decode().rstrip("\n"), b""
        return text


def bound_of(line: str) -> Bound:
    name, *words = line.split()
    entry, _ = look_up(name, None)
    assert entry is not None, line  # noqa: S101 - a slip in this script
    return bind(entry, words)


class Talk:
    """One client's conversation; each event becomes a line, kept under its name."""

    def __init__(self, dialect: Dialect, endpoint: str, lines: dict[str, list[str]]) -> None:
        self._protocol = ClientProtocol(dialect, Options(), endpoint, jitter=lambda: 0.0)
        self._out = Collected()
        self._sink = Json(self._out)
        self._lines = lines
        self._ns = NOW_NS

    def ask(self, line: str) -> None:
        bound = bound_of(line)
        if bound.entry.kind == CHANNEL:
            self._protocol.subscribe(bound, self._now)
        else:
            self._protocol.request(bound, self._now)
        self._protocol.frames_to_send()

    def leave(self, line: str) -> None:
        self._protocol.unsubscribe(bound_of(line))

    def open(self) -> None:
        self._protocol.connecting(self._now)
        self._protocol.opened(self._now, "")

    def hear(self, *frames: str) -> None:
        for frame in frames:
            self._ns += 20_000_000
            self._keep(self._protocol.receive([frame.encode()], self._ns, self._now))
            self._protocol.frames_to_send()

    def wait(self, seconds: int) -> None:
        self._ns += seconds * 1_000_000_000
        self._keep(self._protocol.on_deadline(self._ns, self._now))

    def summarize(self) -> None:
        self._keep([self._protocol.summary(self._ns, self._now)])

    def tell(self, event: Event) -> None:
        self._keep([event])

    def lag(self) -> None:
        ns = self._ns + 14_250_000_000
        dropped = [{"channel": "book", "depth": 10, "symbol": "XBT/USD", "count": 816}]
        self.tell(Lagging(ns, "block", self._ns, 14.25, 14.25))
        self.tell(Lagging(ns, "drop", self._ns, dropped=dropped, dropped_total=816))

    def lose(self, cause: str) -> None:
        self._keep(self._protocol.lost(cause, self._ns, self._now))

    @property
    def _now(self) -> float:
        return (self._ns - NOW_NS) / 1e9

    def _keep(self, events: Sequence[Update | Event]) -> None:
        for event in events:
            self._sink.write([event])
            line = self._out.take()
            if line:
                name = event.route.entry.name if isinstance(event, Update) else type(event).__name__.lower()
                kept = self._lines.setdefault(name, [])
                if len(kept) < (2 if name in TWICE else 1):
                    kept.append(line)


CHECK = (
    '{"event":"check","check":"file modes","state":"warning","message":"others can read /home/ann/WS_Token",'
    '"fix":"run chmod 600 /home/ann/WS_Token"}'
)


def conversation() -> dict[str, list[str]]:
    """Return a line or two of each event, by the channel's or the event's name."""
    lines: dict[str, list[str]] = {}
    public = Talk(V1, PUBLIC, lines)
    for ask in ("ticker XBT/USD DOG/CAT", "book XBT/USD", "spread XBT/USD", "ohlc XBT/USD", "trade XBT/USD"):
        public.ask(ask)
    public.open()
    public.hear(GREETING, ACK % ("book-10", "XBT/USD", '"depth":10,"name":"book"'), REFUSAL, BUSY)
    public.wait(1)
    public.hear(
        ACK % ("ticker", "XBT/USD", '"name":"ticker"'), ACK % ("spread", "XBT/USD", '"name":"spread"')
    )
    public.hear(
        ACK % ("trade", "XBT/USD", '"name":"trade"'),
        ACK % ("ohlc-1", "XBT/USD", '"interval":1,"name":"ohlc"'),
    )
    public.hear(TICKER, SNAPSHOT, CHANGE % RIGHT, SPREAD, OHLC, TRADE)
    public.hear(CHANGE % WRONG, ACK % ("book-10", "XBT/USD", '"depth":10,"name":"book"'), SNAPSHOT)
    public.lag()
    public.hear("CloudFlare WebSocket proxy restarting")
    public.ask("ping")
    public.hear('{"event":"pong","reqid":1}')
    public.leave("trade XBT/USD")
    public.hear((ACK % ("trade", "XBT/USD", '"name":"trade"')).replace("subscribed", "unsubscribed"))
    public.summarize()
    public.lose("closed by the exchange (1001)")

    public.tell(DryRun(NOW_NS, "cancelAll", '{"event":"cancelAll", "token":"***", "reqid":1}'))
    public.tell(Backfilled(NOW_NS, "trade", "XBT/USD", 3, True))
    bid = {"symbol": "XBT/USD", "quantity": "bid", "value": "65000.10000"}
    public.tell(Met(NOW_NS, "XBT/USD bid >= 65000 for 3s", [bid], 3.004217))

    feed = {"channel": "book", "symbol": "XBT/USD", "depth": 25, "id": "b1", "confirmed": True}
    endpoint = {"endpoint": "public", "api": 1, "state": "ready", "system": "online"}
    public.tell(Session(NOW_NS, [endpoint], [feed], 0))
    public.tell(Help(NOW_NS, "Ask the exchange for a pong …"))
    public.tell(Bye(NOW_NS))
    public.tell(Listening(NOW_NS, "kraken.sock"))

    never_right = Talk(V1, PUBLIC, lines)
    never_right.ask("book XBT/USD")
    never_right.open()
    never_right.hear(GREETING)
    for seconds in (0, 0, 10, 20, 40, 80):
        never_right.wait(seconds)
        never_right.hear(ACK % ("book-10", "XBT/USD", '"depth":10,"name":"book"'), SNAPSHOT, CHANGE % WRONG)

    private = Talk(V1, PRIVATE, lines)
    private.open()
    private.hear(GREETING)
    private.ask("openOrders")
    private.ask("ownTrades")
    private.hear(
        '{"channelName":"openOrders","event":"subscriptionStatus","status":"subscribed","subscription":{"name":"openOrders"}}'
    )
    private.hear(
        '{"channelName":"ownTrades","event":"subscriptionStatus","status":"subscribed","subscription":{"name":"ownTrades"}}'
    )
    private.hear(ORDER, ORDER_CLOSED, FILL)
    order = "addOrder pair=XBT/EUR type=sell ordertype=limit price=7500 volume=0.125 reqid="
    private.ask(order + "7")
    private.hear(
        '{"descr":"sell 0.12500000 XBTEUR @ limit 7500.0","event":"addOrderStatus","reqid":7,"status":"ok","txid":"OGTT3Y-C6I3P-XRI6HX"}'
    )
    private.ask(order + "8")
    private.hear(
        '{"errorMessage":"EOrder:Insufficient funds","event":"addOrderStatus","reqid":8,"status":"error"}'
    )
    private.ask(order + "9")
    private.wait(5)

    second = Talk(V2, PRIVATE, lines)
    second.ask("balances")
    second.open()
    second.hear(STATUS_V2)
    second.hear(
        '{"method":"subscribe","result":{"channel":"balances","snapshot":true},"success":true,"req_id":1}',
        BALANCE,
    )

    out = Collected()
    Json(out).failed(
        RequestRejected("addOrder refused: EOrder:Insufficient funds", "EOrder:Insufficient funds")
    )
    lines["error"] = [out.take()]
    lines["check"] = [CHECK]
    lines["checked"] = ['{"event":"checked","ok":13,"warning":1,"failed":0,"skipped":0,"code":0}']
    return lines
