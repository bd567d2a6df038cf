"""API v2: how its frames are read and made.

So far what `balances` needs. Requests are `{"method", "params"}`, answers repeat the method, data frames are
objects with `channel`; numbers are numbers, and their digits count.

Source: docs.kraken.com, Spot WebSocket API v2; v2.md sections 2 to 4 and 6.
"""

from __future__ import annotations

from krakenws.core.catalog import CHANNEL
from krakenws.core.dialect import (
    ACK,
    DATA,
    ERROR,
    HEARTBEAT,
    PONG,
    REPLY,
    STATUS,
    UNKNOWN,
    BookChanges,
    Dialect,
    Envelope,
    Malformed,
    decode_keeping_text,
    encode,
)
from krakenws.core.v2_entries import ENTRIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from krakenws.core.catalog import Entry, Values

_CHANNELS = {entry.name: entry for entry in ENTRIES if entry.kind == CHANNEL}
_ACKS = {"subscribe": "subscribed", "unsubscribe": "unsubscribed"}


class DialectV2(Dialect):
    """API v2. Source: v2.md."""

    api = 2
    path = "/v2"
    entries = ENTRIES

    def tail(self, frame: bytes) -> bytes:  # noqa: ARG002 - the order of fields is not guaranteed (v2.md 2)
        return b""

    def tail_of(self, channel: str, symbol: str) -> bytes:
        return f"{channel} {symbol}".encode("utf-8", "surrogatepass")

    def classify(self, frame: bytes) -> Envelope:
        message = decode_keeping_text(frame)
        if not isinstance(message, dict):
            raise Malformed("not an object")
        method = _text_of(message, "method")
        if method:
            return _answer(message, method)
        channel = _text_of(message, "channel")
        if channel:
            return _data(message, channel)
        error = _text_of(message, "error") or _text_of(message, "Error")
        if error:
            return Envelope(ERROR, message, req_id=_req_id(message), error=error)
        return Envelope(UNKNOWN, message)

    def book(self, frame: bytes) -> BookChanges:  # noqa: ARG002 - no book is in `ENTRIES`
        raise Malformed("not the shape of a book")

    def status_details(self, envelope: Envelope) -> tuple[str, str]:
        details = envelope.body["data"][0]
        connection_id = details.get("connection_id")
        return _text_of(details, "version"), "" if connection_id is None else str(connection_id)

    def confirmed(self, envelope: Envelope) -> dict[str, Any]:
        """The echo fills in defaults and adds what is no parameter (quirk V1)."""
        left_out = {"channel", "symbol", "token", "warnings"}
        return {name: value for name, value in _result_of(envelope.body).items() if name not in left_out}

    def method(self, envelope: Envelope) -> str:
        return envelope.name

    def result(self, envelope: Envelope) -> dict[str, Any]:
        return _result_of(envelope.body)

    def channel(self, entry: Entry, values: Values) -> str:  # noqa: ARG002 - no channel with a depth yet
        return entry.name

    def parse_channel(self, channel: str) -> tuple[Entry, Values] | None:
        entry = _CHANNELS.get(channel)
        return None if entry is None else (entry, {})

    def subscribe(
        self, entry: Entry, values: Values, symbols: Sequence[str], token: str, *, leave: bool = False
    ) -> bytes:
        """From the user's own parameters, never from an echo (quirk V1); leaving needs the channel alone."""
        params: dict[str, Any] = {"channel": entry.name}
        if not leave:
            params.update({name: values[name] for name in values if name not in {"symbol", "req_id"}})
        if symbols:
            params["symbol"] = list(symbols)
        if token:
            params["token"] = token
        message: dict[str, Any] = {"method": "unsubscribe" if leave else "subscribe", "params": params}
        if "req_id" in values:
            message["req_id"] = values["req_id"]
        return encode(message)

    def ping(self, req_id: int) -> bytes:
        return encode({"method": "ping", "req_id": req_id})

    def command(self, entry: Entry, values: Values, token: str, req_id: int | None) -> bytes:
        params: dict[str, Any] = {name: value for name, value in values.items() if name != "req_id"}
        if token:
            params["token"] = token
        message: dict[str, Any] = {"method": entry.name}
        if params:
            message["params"] = params
        if req_id is not None:
            message["req_id"] = req_id
        return encode(message)


def _text_of(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""


def _integer_of(message: dict[str, Any], name: str) -> int | None:
    value = message.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _req_id(message: dict[str, Any]) -> int | None:
    return _integer_of(message, "req_id")


def _result_of(message: dict[str, Any]) -> dict[str, Any]:
    result = message.get("result")
    return result if isinstance(result, dict) else {}


def _data(message: dict[str, Any], channel: str) -> Envelope:
    """Read what the exchange sends unasked: heartbeats, its status, and data."""
    if channel == "heartbeat":
        return Envelope(HEARTBEAT, message)
    data = message.get("data")
    if channel == "status":
        if not (isinstance(data, list) and data and isinstance(data[0], dict)):
            raise Malformed("not the shape of a status")
        return Envelope(STATUS, message, status=_text_of(data[0], "system"))
    if not isinstance(data, list | dict):
        raise Malformed("a channel without data")
    type_ = _text_of(message, "type")
    return Envelope(
        DATA,
        data,
        channel=channel,
        symbol="" if channel in _CHANNELS else _symbol_of(data),  # a private channel's rows have symbols too
        sequence=_integer_of(message, "sequence"),
        snapshot=type_ == "snapshot" if type_ else None,
    )


def _symbol_of(data: Any) -> str:
    first = data[0] if isinstance(data, list) and data else None
    return _text_of(first, "symbol") if isinstance(first, dict) else ""


def _answer(message: dict[str, Any], method: str) -> Envelope:
    req_id = _req_id(message)
    if method == "pong":
        return Envelope(PONG, message, req_id=req_id, name=method)
    error = _text_of(message, "error")
    if not error and message.get("success") is not True:
        error = "(no reason given)"
    if method not in _ACKS:
        return Envelope(
            REPLY, message, req_id=req_id, name=method, error=error, symbol=_text_of(message, "symbol")
        )
    result = _result_of(message)
    channel = _text_of(result, "channel") or _text_of(message, "channel")
    return Envelope(
        ACK,
        message,
        channel=channel,
        symbol=_text_of(result, "symbol") or _text_of(message, "symbol"),
        name=channel,
        req_id=req_id,
        error=error,
        status="error" if error else _ACKS[method],
    )


V2 = DialectV2()
