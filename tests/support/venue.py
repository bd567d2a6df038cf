"""A sandbox exchange in memory, and its clients. Time is what a test says."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from krakenws.core.signing import sign
from krakenws.exchange.keys import DEMO_ACCOUNT, DEMO_KEY, DEMO_SECRET, Grant
from krakenws.exchange.protocol import ServerProtocol
from krakenws.exchange.rest import HttpRequest
from krakenws.exchange.sandbox import SandboxVenue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START_US = 1_795_337_417_000_000
START_S = 50.0
PLENTY = {"ZUSD": Decimal(10_000_000), "XXBT": Decimal(100), "XETH": Decimal(1000)}


class Client:
    """One connection."""

    def __init__(self, exchange: Exchange, *, token: str = "") -> None:
        self.exchange = exchange
        self.token = token
        self.protocol = ServerProtocol(exchange.venue, private=bool(token), connection_id=1, now=exchange.now)
        self.protocol.frames_to_send()

    def frames(self) -> list[bytes]:
        return [frame for frame in self.protocol.frames_to_send() if frame != b'{"event":"heartbeat"}']

    def news(self) -> list[Any]:
        return [json.loads(frame) for frame in self.frames()]

    def send(self, event: str, **fields: object) -> None:
        """Send a request; what comes of it is among the next `frames`."""
        message = {"event": event, **fields}
        if self.token and event not in {"subscribe", "unsubscribe"}:
            message["token"] = self.token
        self.protocol.receive(json.dumps(message).encode(), self.exchange.now)

    def say(self, event: str, **fields: object) -> list[Any]:
        """Send a request and return everything that came of it."""
        self.send(event, **fields)
        return self.news()

    def ask(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Send a command and return its answers."""
        return [message for message in self.say(event, **fields) if isinstance(message, dict)]

    def subscribe(self, name: str, *pairs: str, **options: object) -> list[Any]:
        subscription = {"name": name, **options}
        if self.token:
            return self.say("subscribe", subscription={**subscription, "token": self.token})
        return self.say("subscribe", pair=list(pairs), subscription=subscription)

    def add(self, pair: str = "XBT/USD", **fields: object) -> dict[str, Any]:
        (answer,) = self.ask("addOrder", pair=pair, **fields)
        return answer

    def limit(self, side: str, price: str, volume: str, **more: Any) -> str:
        answer = self.add(type=side, ordertype="limit", price=price, volume=volume, **more)
        assert answer["status"] == "ok", answer
        return str(answer["txid"])

    def market(self, side: str, volume: str, **more: Any) -> str:
        answer = self.add(type=side, ordertype="market", volume=volume, **more)
        assert answer["status"] == "ok", answer
        return str(answer["txid"])


class Exchange:
    """A sandbox with a clock.

    Attributes:
        truth: its own account, unless it `tells` none.
    """

    def __init__(
        self, seed: int = 1, pairs: Sequence[str] = ("XBT/USD",), *, tells: bool = True, **more: Any
    ) -> None:
        self.now = START_S
        self.truth: list[dict[str, Any]] = []
        truth = self.truth.append if tells else None
        self.venue = SandboxVenue(seed=seed, pairs=pairs, start_us=START_US, now=START_S, truth=truth, **more)
        self.venue.snapshot_s = (0.0, 0.0)  # at once, unless a test is about it
        self.clients: list[Client] = []
        self._nonce = 0

    def public(self) -> Client:
        return Client(self)

    def private(self, account: str = DEMO_ACCOUNT) -> Client:
        return Client(self, token=self.venue.issue_token(Grant(account), self.now))

    def trader(self, name: str, balances: Mapping[str, Decimal] = PLENTY, **more: Any) -> Client:
        self.venue.open_account(name, balances, **more)
        return self.private(name)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.venue.next_deadline()) is not None and deadline <= until:
            self.step()
        self.now = until
        self.venue.on_deadline(until)

    def step(self) -> None:
        """Let the next thing happen."""
        deadline = self.venue.next_deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        self.venue.on_deadline(self.now)

    def best(self, pair: str = "XBT/USD") -> tuple[Decimal, Decimal]:
        engine = self.venue.markets[pair].engine
        self.venue.markets[pair].advance(self.venue.catch_up(self.now))
        assert engine.best_bid is not None
        assert engine.best_ask is not None
        return engine.best_bid[0], engine.best_ask[0]

    def rest(self, method: str, **fields: object) -> Any:
        self._nonce += 1
        path = f"/0/private/{method}"
        body = urlencode({"nonce": self._nonce, **fields}).encode()
        headers = {"api-key": DEMO_KEY, "api-sign": sign(DEMO_SECRET, path, str(self._nonce), body)}
        request = HttpRequest("POST", path, (), headers, body, "127.0.0.1")
        return self._answer(request)

    def get(self, method: str, **fields: str) -> Any:
        query = tuple(fields.items())
        return self._answer(HttpRequest("GET", f"/0/public/{method}", query, {}, b"", "127.0.0.1"))

    def _answer(self, request: HttpRequest) -> Any:
        assert self.venue.rest is not None
        answer = json.loads(self.venue.rest.answer(request, self.now).body)
        assert not answer["error"], answer
        return answer["result"]
