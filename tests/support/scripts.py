"""Scripts that many tests share: what an exchange does on a good day, and frames it sends."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from zlib import crc32

from tests.support.server import acks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.server import Connection, Script

HEARTBEAT = '{"event":"heartbeat"}'
TICKER = (
    '[340,{"a":["64010.20000",1,"1.50000000"],"b":["64010.10000",0,"0.01426600"],'
    '"c":["64010.20000","0.00109400"],"v":["1398.10636219","5589.26295766"],'
    '"p":["63883.56157","63062.11447"],"t":[14360,66788],"l":["63607.60000","62770.80000"],'
    '"h":["65811.10000","65811.10000"],"o":["63659.30000","64709.90000"]},"ticker","XBT/USD"]'
)
TRADE = (
    '[321,[["64000.10000","0.01000000","1795324223.101000","b","l",""],'
    '["64000.20000","0.10000000","1795324223.102000","s","m",""]],"trade","XBT/USD"]'
)
SPREAD = (
    '[341,["64010.00000","64010.10000","1795324223.101000","0.02167307","6.46761464"],"spread","XBT/USD"]'
)
OHLC = (
    '[343,["1795324223.118218","1795324260.000000","64000.10000","64010.40000","64000.00000","64010.40000",'
    '"64005.13297","0.39012812",7],"ohlc-60","XBT/USD"]'
)
OPEN_ORDERS = (
    '[[{"OGTT3Y-C6I3P-XRI6HX":{"avg_price":"0.00000","cost":"0.00000","descr":{"close":null,"leverage":null,'
    '"order":"sell 0.12500000 XBT/EUR @ limit 75000.00000","ordertype":"limit","pair":"XBT/EUR",'
    '"price":"75000.00000","price2":"0.00000","type":"sell"},"expiretm":null,"fee":"0.00000",'
    '"limitprice":"0.00000","misc":"","oflags":"fciq","opentm":"1795324223.361371","refid":null,'
    '"starttm":null,"status":"open","stopprice":"0.00000","timeinforce":"GTC","userref":0,'
    '"vol":"0.12500000","vol_exec":"0.00000000"}}],"openOrders",{"sequence":1}]'
)
OWN_TRADES = (
    '[[{"TDLH43-DVQXD-2KHVYY":{"cost":"345.11914","fee":"0.55219","margin":"0.00000",'
    '"ordertxid":"OGTT3Y-C6I3P-XRI6HX","ordertype":"limit","pair":"XBT/EUR","postxid":"TKH2SE-M7IF5-CFI7LT",'
    '"price":"34500.00000","time":"1795324223.789052","type":"sell","vol":"0.01000345","userref":3}}],'
    '"ownTrades",{"sequence":1}]'
)


class Ladder:
    """A book as the exchange has it: makes frames with right checksums, independently of krakenws."""

    def __init__(self, pair: str = "XBT/USD", depth: int = 10, middle: int = 64000) -> None:
        self.pair = pair
        self.depth = depth
        self.asks = {f"{middle + step}.10000": "1.00000000" for step in range(1, depth + 1)}
        self.bids = {f"{middle - step}.10000": "2.00000000" for step in range(depth)}

    def _best(self, levels: dict[str, str], *, down: bool) -> list[tuple[str, str]]:
        return sorted(levels.items(), key=lambda level: float(level[0]), reverse=down)[: self.depth]

    @property
    def checksum(self) -> str:
        """The checksum of the book as it is."""
        best = self._best(self.asks, down=False)[:10] + self._best(self.bids, down=True)[:10]
        text = "".join(number.replace(".", "").lstrip("0") for level in best for number in level)
        return str(crc32(text.encode()))

    def snapshot(self) -> str:
        """The frame that begins a subscription."""
        sides = {"as": self._best(self.asks, down=False), "bs": self._best(self.bids, down=True)}
        levels = {side: [[*level, "1795324223.000000"] for level in best] for side, best in sides.items()}
        return self._frame(levels)

    def update(self, price: str, qty: str, *, checksum: str | None = None) -> str:
        """The frame of one changed ask; with another checksum than its own, it is wrong."""
        if qty.strip("0.") == "":
            self.asks.pop(price, None)
        else:
            self.asks[price] = qty
        right = self.checksum if checksum is None else checksum
        return self._frame({"a": [[price, qty, "1795324224.000000"]], "c": right})

    def _frame(self, payload: dict[str, Any]) -> str:
        return json.dumps([336, payload, f"book-{self.depth}", self.pair], separators=(",", ":"))


def pongs(client: Connection) -> None:
    """Answer a ping, and go on standing."""
    client.greet()
    asked = client.expect(event="ping")
    client.send({"event": "pong", **({"reqid": asked["reqid"]} if "reqid" in asked else {})})
    client.hold()


def streams(*frames: str) -> Script:
    """Acknowledge the first subscription, send frames, and go on standing."""

    def script(client: Connection) -> None:
        client.serve(*frames)
        client.hold()

    return script


def acknowledges(client: Connection) -> None:
    """Acknowledge every subscription, and send nothing."""
    client.greet()
    while True:
        asked = client.expect()
        if asked["event"] == "subscribe":
            client.send(*acks(asked))


def answers(*told: dict[str, Any], status: str = "ok") -> Script:
    """Answer one trading request: once for each dict, or once with the status alone."""

    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        for fields in told or ({},):
            common = {"event": f"{asked['event']}Status", "reqid": asked["reqid"], "status": status}
            client.send({**common, **fields})
        client.hold()

    return script


def accepts(client: Connection) -> None:
    """Greet, then `serves`."""
    client.greet()
    serves(client)


def serves(client: Connection) -> None:
    """Accept every trading request, whatever it is, and every subscription."""
    while True:
        asked = client.expect()
        if asked["event"] == "subscribe":
            client.send(*acks(asked))
            continue
        common = {"event": f"{asked['event']}Status", "reqid": asked["reqid"], "status": "ok"}
        if asked["event"] == "addOrder":
            common |= {"txid": "OGTT3Y-C6I3P-XRI6HX", "descr": "buy 0.002 XBT/USD @ market"}
        client.send(common)


def refuses(error: str) -> Script:
    """Refuse one trading request."""
    return answers({"errorMessage": error}, status="error")


def knows_nothing(client: Connection) -> None:
    """Serve look-ups on an account without orders and trades."""
    client.greet()
    for _ in range(2):
        asked = client.expect(event="subscribe")
        client.send(*acks(asked), f'[[],"{asked["subscription"]["name"]}",{{"sequence":1}}]')
    client.hold()


def accepted(asked: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The frame that accepts an order."""
    return {"event": "addOrderStatus", "reqid": asked["reqid"], "status": "ok", "txid": "OREAL", **more}


def refused(asked: dict[str, Any]) -> dict[str, Any]:
    """The frame that refuses one."""
    error = "EOrder:Insufficient funds"
    return {"event": "addOrderStatus", "reqid": asked["reqid"], "status": "error", "errorMessage": error}


def late(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> list[Script]:
    """Answer an order, twice, once it is looked for: the private connection's script and the look-up's."""
    looking = threading.Event()

    def is_late(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="addOrder")
        assert looking.wait(20)
        client.send(answer(asked), answer(asked))
        client.hold()

    def looked_at(client: Connection) -> None:
        client.greet()
        client.expect(event="subscribe")
        looking.set()
        client.hold()

    return [is_late, looked_at]
