"""API v1 as the exchange talks it.

Source: v1.md sections 5, 7.3, 8 and 9; quirks F1, F2, P3.
"""

from __future__ import annotations

from krakenws.core.catalog import CHANNEL, PRIVATE, PUBLIC
from krakenws.core.v1 import V1 as CLIENT
from krakenws.core.v1_entries import ENTRIES
from krakenws.exchange.dialect import ServerDialect
from krakenws.exchange.requests import Refusal, channel_values, command_values, is_reqid, token_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.core.catalog import Entry, Values
    from krakenws.exchange.dialect import Message, Wish
    from krakenws.exchange.protocol import Subscription

VERSION = "1.9.2"
"""The service build in the greeting."""
_WRONG_ENDPOINT = {
    PRIVATE: "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
    PUBLIC: "Public channels not available in this endpoint",
}
_NO_PAIR_ALLOWED = "Pair field unsupported for this subscription type"
_BAD_REQID = "Reqid field must be a positive integer less than 18446744073709551616"
_CHANNELS = {entry.name: entry for entry in ENTRIES if entry.kind == CHANNEL and not entry.explicit}
_COMMANDS = {entry.name: entry for entry in ENTRIES if entry.trading}


class ServerDialectV1(ServerDialect):
    """API v1."""

    client = CLIENT
    heartbeat = b'{"event":"heartbeat"}'
    commands = _COMMANDS

    def method(self, message: Message) -> str:
        event = message.get("event")
        return event if isinstance(event, str) else ""

    def subject(self, message: Message) -> tuple[str, list[str]]:
        asked, pairs = message.get("subscription"), message.get("pair")
        channel = str(asked.get("name", "")) if isinstance(asked, dict) else ""
        named = pairs if isinstance(pairs, list) else [pairs]
        return channel, [pair for pair in named if isinstance(pair, str)]

    def number_error(self, message: Message) -> str:
        return "" if "reqid" not in message or is_reqid(message["reqid"]) else _BAD_REQID

    def wishes(self, message: Message, access: str, *, leave: bool) -> tuple[str | None, list[Wish]]:
        asked = message.get("subscription")
        if not isinstance(asked, dict):
            raise Refusal("Subscription field must be an object")
        if "name" not in asked:
            raise Refusal("Malformed request")
        name = asked["name"]
        if name == "*":
            entries = [entry for entry in _CHANNELS.values() if entry.access == access]
        elif isinstance(name, str) and name in _CHANNELS:
            entries = [_CHANNELS[name]]
        else:
            raise Refusal("Subscription name invalid")
        if entries[0].access != access:
            raise Refusal(_WRONG_ENDPOINT[entries[0].access])
        message_type = "unsubscribe" if leave else "subscribe"
        wanted = [(entry, channel_values(entry, asked, message_type)) for entry in entries]
        if access == PRIVATE:
            if "pair" in message:
                raise Refusal(_NO_PAIR_ALLOWED)
            return token_of(asked), [(entry, values, None) for entry, values in wanted]
        pairs = message.get("pair")
        if pairs is not None and not isinstance(pairs, list):
            raise Refusal("Pair field must be an array")
        if not pairs:
            raise Refusal("Pair(s) not found")
        return None, [(entry, values, pair) for entry, values in wanted for pair in pairs]

    def channel_id(self, message: Message) -> int | None:
        """Source: v1.md 5.5."""
        if "subscription" in message or "channelID" not in message:
            return None
        channel_id = message["channelID"]
        if type(channel_id) is not int:  # a bool would pass for one
            raise Refusal("Malformed request")
        return channel_id

    def command(self, entry: Entry, message: Message, access: str) -> tuple[str, Values]:
        if access != PRIVATE:
            raise Refusal(_WRONG_ENDPOINT[PRIVATE])
        error = self.number_error(message)
        if error:
            raise Refusal(error)
        values = command_values(entry, message)
        return token_of(message), values

    def greeting(self, status: str, connection_id: int) -> Message:
        return {
            "connectionID": connection_id,
            "event": "systemStatus",
            "status": status,
            "version": VERSION,
        }

    def pong(self, message: Message) -> Message:  # noqa: ARG002 - whatever else it says
        return {"event": "pong"}

    def error(self, message: Message, text: str) -> Message:  # noqa: ARG002 - it is not named
        return {"errorMessage": text, "event": "error"}

    def unknown(self, method: str) -> str:
        return "Unsupported event" if method else "Event(s) not found"

    def ack(self, subscription: Subscription, *, leave: bool, max_rate_count: int) -> Message:
        entry = subscription.entry
        echo: Message = {"name": entry.name}
        echo.update((param.name, subscription.values[param.name]) for param in entry.params if param.always)
        if entry.name == "openOrders" and not leave:
            echo["maxratecount"] = max_rate_count
        answer: Message = {
            "channelName": subscription.channel,
            "event": "subscriptionStatus",
            "status": "unsubscribed" if leave else "subscribed",
            "subscription": echo,
        }
        if subscription.channel_id is not None:
            answer["channelID"] = subscription.channel_id
        if subscription.symbol:
            answer["pair"] = subscription.symbol
        return answer

    def refusal(self, message: Message, refusal: Refusal, symbol: object = None) -> Message:
        answer: Message = {
            "errorMessage": refusal.code,
            "event": "subscriptionStatus",
            "status": "error",
        }
        asked = message.get("subscription")
        if isinstance(asked, dict):  # echoed with its token, as Kraken does
            answer["subscription"] = {name: value for name, value in asked.items() if _is_plain(value)}
        if isinstance(symbol, str):
            answer["pair"] = symbol
        return answer

    def refusals(self, message: Message, refusal: Refusal) -> list[Message]:
        pairs = message.get("pair")
        named = pairs if isinstance(pairs, list) and refusal.code != _NO_PAIR_ALLOWED else None
        return [self.refusal(message, refusal, pair) for pair in named or [None]]

    def answer(self, entry: Entry, answer: Message) -> Message:
        return {**answer, "event": entry.reply}

    def rejection(self, entry: Entry, message: Message, refusal: Refusal) -> Message:
        answer: Message = {"errorMessage": refusal.code, "event": entry.reply, "status": "error"}
        if refusal.code.startswith("Unsupported field") and isinstance(message.get("pair"), str):
            answer["pair"] = message["pair"]
        return answer

    def numbered(self, message: Message, answer: Message, at_us: int) -> Message:  # noqa: ARG002 - v1 tells no time
        if "reqid" not in message:
            return answer
        return {**answer, "reqid": message["reqid"] if is_reqid(message["reqid"]) else None}

    def data(self, subscription: Subscription, payload: bytes, *, snapshot: bool) -> bytes:  # noqa: ARG002 - not marked
        """Source: v1.md 7.3."""
        channel = subscription.channel.encode()
        return b'[%b,"%b",{"sequence":%d}]' % (payload, channel, subscription.sequence)


def _is_plain(value: object) -> bool:
    return not isinstance(value, dict | list)


V1 = ServerDialectV1()
