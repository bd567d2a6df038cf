"""API v2 as the exchange talks it: so far what `balances` needs, and how everything else is refused.

What the exchange proper refuses (`E…`) names its channel and has a `status`, what its gateway refuses has
neither; a refused unsubscription calls itself `subscribe`. Both as captured, as are all texts but those of
fields that have a wrong type, which follow the pattern of the ones that were captured.

Source: v2.md sections 2 to 4 and 8; captured answers of 2024 and 2026; quirk V2.
"""

from __future__ import annotations

from krakenws.core.catalog import CHANNEL, PRIVATE, PUBLIC
from krakenws.core.v2 import V2 as CLIENT
from krakenws.core.v2_entries import ENTRIES
from krakenws.exchange.dialect import ServerDialect
from krakenws.exchange.records import utc_text
from krakenws.exchange.requests import Refusal, is_reqid, token_of, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from krakenws.core.catalog import Entry, Values
    from krakenws.exchange.dialect import Message, Wish
    from krakenws.exchange.protocol import Subscription

VERSION = "2.0.10"
"""The service build in the greeting."""
_WRONG_ENDPOINT = {
    PRIVATE: "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
    PUBLIC: "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com",
}
_UNSUPPORTED = "Unsupported event"
_CHANNELS = {entry.name: entry for entry in ENTRIES if entry.kind == CHANNEL}
_COMMANDS = {entry.name: entry for entry in ENTRIES if entry.trading}
_NOT_OFFERED = {
    **dict.fromkeys(("ticker", "book", "ohlc", "trade", "instrument"), PUBLIC),
    "executions": PRIVATE,
}
"""Kraken's other channels: where they would be."""
_ECHOED = ("depth", "event_trigger", "interval", "snapshot")
_TYPES: dict[str, type[Any]] = {"string": str, "integer": int, "boolean": bool, "array": list}


class ServerDialectV2(ServerDialect):
    """API v2."""

    client = CLIENT
    heartbeat = b'{"channel":"heartbeat"}'
    commands = _COMMANDS

    def method(self, message: Message) -> str:
        method = message.get("method")
        return method if isinstance(method, str) else ""

    def subject(self, message: Message) -> tuple[str, list[str]]:
        params = message.get("params")
        if not isinstance(params, dict):
            return "", []
        named = params.get("symbol")
        symbols = named if isinstance(named, list) else [named]
        return str(params.get("channel", "")), [symbol for symbol in symbols if isinstance(symbol, str)]

    def number_error(self, message: Message) -> str:
        wrong = "req_id" in message and not is_reqid(message["req_id"])
        return "Req_id field must be an integer" if wrong else ""

    def wishes(self, message: Message, access: str, *, leave: bool) -> tuple[str | None, list[Wish]]:
        params = message.get("params")
        if not isinstance(params, dict):
            raise Refusal("Params field must be an object")
        name = params.get("channel")
        if not isinstance(name, str):
            raise Refusal("Channel field must be a string")
        entry = _CHANNELS.get(name)
        at = _NOT_OFFERED.get(name) if entry is None else entry.access
        if at is not None and at != access:
            raise Refusal(_WRONG_ENDPOINT[at])
        if entry is None:
            raise Refusal(_UNSUPPORTED)
        values = _channel_values(entry, params, "unsubscribe" if leave else "subscribe")
        if access == PRIVATE:
            return token_of(params), [(entry, values, None)]
        symbols = values.pop("symbol", None)
        if not isinstance(symbols, list):
            raise Refusal("Symbol field must be an array")
        return None, [(entry, values, symbol) for symbol in symbols]

    def greeting(self, status: str, connection_id: int) -> Message:
        about = {"api_version": "v2", "connection_id": connection_id, "system": status, "version": VERSION}
        return {"channel": "status", "data": [about], "type": "update"}

    def pong(self, message: Message) -> Message:
        for field in message:
            if field not in {"method", "req_id"}:
                raise Refusal(f"Unsupported field: '{field}' for the given msg type: ping")
        return {"method": "pong"}

    def error(self, message: Message, text: str) -> Message:
        method = self.method(message)
        return {"error": text, "success": False, **({"method": method} if method else {})}

    def unknown(self, method: str) -> str:  # noqa: ARG002 - one text for all of them
        return _UNSUPPORTED

    def ack(
        self,
        subscription: Subscription,
        *,
        leave: bool,
        max_rate_count: int,  # noqa: ARG002 - told by executions alone
    ) -> Message:
        result: Message = {"channel": subscription.channel}
        echoed = [name for name in _ECHOED if name in subscription.values]
        result.update(
            (name, subscription.values[name]) for name in echoed if not (leave and name == "snapshot")
        )
        if subscription.symbol:
            result["symbol"] = subscription.symbol
        return {"method": "unsubscribe" if leave else "subscribe", "result": result, "success": True}

    def refusal(self, message: Message, refusal: Refusal, symbol: object = None) -> Message:
        answer: Message = {"error": refusal.code, "method": "subscribe", "success": False}
        if refusal.code.startswith("E"):
            answer.update(channel=self.subject(message)[0], status="error")
        if isinstance(symbol, str):
            answer["symbol"] = symbol
        return answer

    def refusals(self, message: Message, refusal: Refusal) -> list[Message]:
        return [self.refusal(message, refusal)]

    def numbered(self, message: Message, answer: Message, at_us: int) -> Message:
        time = utc_text(at_us)
        answer = {**answer, "time_in": time, "time_out": time}
        return {**answer, "req_id": message["req_id"]} if is_reqid(message.get("req_id")) else answer

    def data(self, subscription: Subscription, payload: bytes, *, snapshot: bool) -> bytes:
        return b'{"channel":"%b","type":"%b","data":%b,"sequence":%d}' % (
            subscription.channel.encode(),
            b"snapshot" if snapshot else b"update",
            payload,
            subscription.sequence,
        )


def _channel_values(entry: Entry, params: Message, message_type: str) -> Values:
    """Return a channel's parameters, defaults filled in."""
    known = {param.name: param for param in entry.params if param.name != "req_id"}
    for field in params:
        if field not in known and not (field == "channel" or (field == "token" and entry.access == PRIVATE)):
            raise Refusal(f"Unsupported field: '{field}' for the given msg type: {message_type}")
    values: Values = {}
    for name, param in known.items():
        value = params.get(name, param.default)
        if value is None:
            continue
        if type(value) is not _TYPES[str(param.kind.schema["type"])]:
            raise wrong_type(name, param)
        if param.choices and value not in param.choices:
            raise Refusal(f"EGeneral:Invalid arguments:{name}")
        values[name] = value
    return values


V2 = ServerDialectV2()
