"""How the exchange's side of a conversation is worded: what `core.dialect` is for the client's side.

A `ServerProtocol` leads the conversation. What differs between the versions of the API is asked of its
dialect: how a request is read, and how answers and private data are written. Nothing else of the exchange
asks which API a client talks.

Messages are made as objects; the protocol numbers them (`numbered`), sorts their keys and sends them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from krakenws.core.catalog import Entry, Values
    from krakenws.core.dialect import Dialect
    from krakenws.exchange.protocol import Subscription
    from krakenws.exchange.requests import Refusal

    Message = dict[str, Any]
    Wish = tuple[Entry, Values, object]
    """A channel, its parameters with defaults filled in, and the symbol as it was asked for, or None."""


class ServerDialect:
    """One version of the API. Subclasses are stateless; `V1` and `V2` are their single instances.

    Attributes:
        client: the same version as its clients talk it.
        heartbeat: the frame.
        commands: the trading commands, by the method of their request.
    """

    client: Dialect
    heartbeat: bytes
    commands: Mapping[str, Entry]

    # Reading

    def method(self, message: Message) -> str:
        """Return what a request is: `ping`, `subscribe`, `unsubscribe`, a command; "" if it does not say."""
        raise NotImplementedError

    def subject(self, message: Message) -> tuple[str, list[str]]:
        """Return the channel and the symbols a request is about, "" and [] where it names none."""
        raise NotImplementedError

    def number_error(self, message: Message) -> str:
        """Return what is wrong with a request's number, or ""."""
        raise NotImplementedError

    def wishes(self, message: Message, access: str, *, leave: bool) -> tuple[str | None, list[Wish]]:
        """Return the token, None on the public endpoint, and what a (un)subscription asks for, in its order.

        Raises:
            Refusal: it is wrong as a whole.
        """
        raise NotImplementedError

    def channel_id(self, message: Message) -> int | None:  # noqa: ARG002 - the version decides
        """Return the channel id by which an unsubscription says what it ends, or None.

        Raises:
            Refusal: it is none.
        """
        return None

    def command(self, entry: Entry, message: Message, access: str) -> tuple[str, Values]:
        """Return the token and the parameters of a command.

        Raises:
            Refusal: it makes no sense, or not on this endpoint.
        """
        raise NotImplementedError

    # Writing

    def greeting(self, status: str, connection_id: int) -> Message:
        """Return the system status, with which every conversation begins."""
        raise NotImplementedError

    def pong(self, message: Message) -> Message:
        """Return the answer to a ping.

        Raises:
            Refusal: the ping is not a proper one.
        """
        raise NotImplementedError

    def error(self, message: Message, text: str) -> Message:
        """Return the refusal of a request that is about no subscription; {} was no request at all."""
        raise NotImplementedError

    def unknown(self, method: str) -> str:
        """Return the error text for a request that the exchange does not know."""
        raise NotImplementedError

    def ack(self, subscription: Subscription, *, leave: bool, max_rate_count: int) -> Message:
        """Return that a subscription was made, or with `leave` ended."""
        raise NotImplementedError

    def refusal(self, message: Message, refusal: Refusal, symbol: object = None) -> Message:
        """Return that a subscription was refused, for one symbol if it is given."""
        raise NotImplementedError

    def refusals(self, message: Message, refusal: Refusal) -> list[Message]:
        """Return the answers to a subscription that is refused as a whole."""
        raise NotImplementedError

    def answer(self, entry: Entry, answer: Message) -> Message:
        """Return the answer to a command, of the fields the venue gave."""
        raise NotImplementedError

    def rejection(self, entry: Entry, message: Message, refusal: Refusal) -> Message:
        """Return that a command was refused."""
        raise NotImplementedError

    def numbered(self, message: Message, answer: Message, at_us: int) -> Message:
        """Return an answer with the number of its request, if it had one.

        Args:
            message: the request.
            answer: what is said to it.
            at_us: wall clock, microseconds since 1970.
        """
        raise NotImplementedError

    def data(self, subscription: Subscription, payload: bytes, *, snapshot: bool) -> bytes:
        """Return a frame of private data under the subscription's present sequence number.

        Args:
            subscription: whose it is.
            payload: the JSON list of the frame's objects.
            snapshot: whether it is the subscription's first word.
        """
        raise NotImplementedError
