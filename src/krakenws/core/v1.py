"""API v1: how its frames are read and made.

Source: docs.kraken.com, Spot WebSocket API v1; where captured frames disagree, the frames are right
(`quirks.md`). v1 numbers are quoted text, data frames are arrays read from their ends, everything else is an
object with `event`.
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
    decode,
    encode,
)
from krakenws.core.v1_entries import ENTRIES, OWN_TRADES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from krakenws.core.catalog import Entry, Values
    from krakenws.core.dialect import Change

_REPLIES = frozenset(entry.reply for entry in ENTRIES if entry.trading)
_CHANNELS = {entry.name: entry for entry in ENTRIES if entry.kind == CHANNEL}
_NO_RESULT = frozenset(("event", "status", "reqid", "errorMessage"))
_RESULT_NAMES = {
    "txid": "order_id",
    "originaltxid": "original_order_id",
    "currentTime": "current_time",
    "triggerTime": "trigger_time",
}
_SUFFIX = {"book": "depth", "ohlc": "interval"}


class DialectV1(Dialect):
    """API v1. Source: v1.md sections 4 to 9."""

    api = 1
    path = ""
    entries = ENTRIES

    def tail(self, frame: bytes) -> bytes:
        """Return `"channelName","pair"]` of a data frame: channel ids are not to be trusted (quirk F4)."""
        return frame[frame.rfind(b',"', 0, frame.rfind(b',"')) :]

    def tail_of(self, channel: str, symbol: str) -> bytes:
        return f',"{channel}","{symbol}"]'.encode("utf-8", "surrogatepass")  # JSON can name half a character

    def classify(self, frame: bytes) -> Envelope:
        message = decode(frame)
        if isinstance(message, list):
            return _data(message)
        if not isinstance(message, dict):
            raise Malformed("neither an array nor an object")
        return _event(message)

    def book(self, frame: bytes) -> BookChanges:
        """Both sides may come in one frame, the checksum in its last object (quirks B1, B2)."""
        message = decode(frame)
        asks: list[Any] = []
        bids: list[Any] = []
        checksum = None
        snapshot = False
        try:
            for part in message[1:-2]:
                for name, value in part.items():
                    if name == "c":
                        checksum = int(value)
                        continue
                    snapshot = snapshot or name in {"as", "bs"}
                    side = asks if name in {"a", "as"} else bids if name in {"b", "bs"} else None
                    if side is not None:
                        side.extend(value)
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError):
            raise Malformed("not the shape of a book") from None
        if not snapshot and not asks and not bids and checksum is None:
            raise Malformed("a book frame without levels")
        return BookChanges(asks, bids, checksum, snapshot)

    def change(self, frame: bytes) -> Change | None:
        from krakenws.core import v1_change

        self.change = v1_change.change  # type: ignore[method-assign]  # from now on without this call between
        return v1_change.change(frame)

    def items_told_once(self, entry: Entry, body: Any) -> list[tuple[str, Any]] | None:
        if entry is not OWN_TRADES or not all(isinstance(part, dict) for part in body):
            return None
        return [(name, {name: fields}) for part in body for name, fields in part.items()]

    def status_details(self, envelope: Envelope) -> tuple[str, str]:
        connection_id = envelope.body.get("connectionID")
        return _text_of(envelope.body, "version"), "" if connection_id is None else str(connection_id)

    def confirmed(self, envelope: Envelope) -> dict[str, Any]:
        subscription = envelope.body.get("subscription")
        given = subscription if isinstance(subscription, dict) else {}
        return {name: value for name, value in given.items() if name not in {"name", "token"}}

    def method(self, envelope: Envelope) -> str:
        return envelope.name.removesuffix("Status")

    def result(self, envelope: Envelope) -> dict[str, Any]:
        result = {}
        for name, value in envelope.body.items():
            if name not in _NO_RESULT:
                result[_RESULT_NAMES.get(name, name)] = value
        return result

    def channel(self, entry: Entry, values: Values) -> str:
        suffix = _SUFFIX.get(entry.name)
        return f"{entry.name}-{values[suffix]}" if suffix else entry.name

    def parse_channel(self, channel: str) -> tuple[Entry, Values] | None:
        name, _, number = channel.partition("-")
        entry = _CHANNELS.get(name)
        suffix = _SUFFIX.get(name)
        if entry is None or channel != (f"{name}-{number}" if suffix else name):
            return None
        if suffix is None:
            return entry, {}
        if not (number.isascii() and number.isdigit() and len(number) <= 5 and int(number)):
            return None
        return entry, {suffix: int(number)}

    def subscribe(
        self, entry: Entry, values: Values, symbols: Sequence[str], token: str, *, leave: bool = False
    ) -> bytes:
        """Only fields of the channel are sent: others are refused (quirk F2), a missing name too (F1)."""
        fields = (
            ("depth", "interval")
            if leave
            else tuple(name for name in values if name not in {"pair", "reqid"})
        )
        subscription: dict[str, Any] = {"name": entry.name, **{n: values[n] for n in fields if n in values}}
        if token:
            subscription["token"] = token
        message: dict[str, Any] = {
            "event": "unsubscribe" if leave else "subscribe",
            "subscription": subscription,
        }
        if symbols:
            message["pair"] = list(symbols)
        if "reqid" in values:
            message["reqid"] = values["reqid"]
        return encode(message)

    def ping(self, req_id: int) -> bytes:
        return encode({"event": "ping", "reqid": req_id})

    def command(self, entry: Entry, values: Values, token: str, req_id: int | None) -> bytes:
        message: dict[str, Any] = {"event": entry.name}
        if token:
            message["token"] = token
        message.update(values)
        if req_id is not None:
            message["reqid"] = req_id
        return encode(message)


def _data(message: list[Any]) -> Envelope:
    """Read a data array from its ends: it may have grown in the middle (quirks B1, F3) or behind (P1)."""
    if len(message) >= 4 and isinstance(message[-1], str) and isinstance(message[-2], str):
        return Envelope(DATA, message[1:-2], channel=message[-2], symbol=message[-1])
    if len(message) >= 2 and isinstance(message[0], list) and isinstance(message[1], str):
        tail = message[2] if len(message) > 2 else None
        sequence = tail.get("sequence") if isinstance(tail, dict) else None
        return Envelope(
            DATA, message[0], channel=message[1], sequence=sequence if isinstance(sequence, int) else None
        )
    raise Malformed("an array that names no channel")


def _text_of(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""


def _event(message: dict[str, Any]) -> Envelope:
    event = message.get("event")
    event = event if isinstance(event, str) else ""
    if event == "heartbeat":
        return Envelope(HEARTBEAT, message)
    req_id = message.get("reqid")
    req_id = req_id if isinstance(req_id, int) and not isinstance(req_id, bool) else None
    if event == "pong":
        return Envelope(PONG, message, req_id=req_id, name=event)
    if event == "systemStatus":
        return Envelope(STATUS, message, status=_text_of(message, "status"))
    error = _text_of(message, "errorMessage") if "errorMessage" in message else ""
    if event == "subscriptionStatus":
        return _ack(message, req_id, error)
    if event in _REPLIES:
        if not error and message.get("status") != "ok":
            error = "(no reason given)"
        return Envelope(REPLY, message, req_id=req_id, name=event, error=error)
    if event == "error" or isinstance(message.get("Error"), str):
        return Envelope(
            ERROR, message, req_id=req_id, error=error or _text_of(message, "Error") or "(no reason given)"
        )
    return Envelope(UNKNOWN, message, name=event, req_id=req_id)


def _ack(message: dict[str, Any], req_id: int | None, error: str) -> Envelope:
    """Acks come one a pair; refusals may lack channel and pair (quirk F8), private acks have no pair (P3)."""
    subscription = message.get("subscription")
    asked = subscription if isinstance(subscription, dict) else {}
    name = _text_of(asked, "name")
    channel = _text_of(message, "channelName")
    if not channel and name:
        suffix = asked.get(_SUFFIX.get(name, ""))
        channel = f"{name}-{suffix}" if suffix is not None else name
    status = _text_of(message, "status")
    return Envelope(
        ACK,
        message,
        channel=channel,
        symbol=_text_of(message, "pair"),
        name=name or channel.partition("-")[0],
        req_id=req_id,
        error=error or ("(no reason given)" if status == "error" else ""),
        status=status,
    )


V1 = DialectV1()
