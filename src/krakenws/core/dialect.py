"""How one version of the API says things: the only place where v1 and v2 differ.

`classify` opens a received frame as far as the protocol needs it; `subscribe`, `unsubscribe` and `command`
make frames. Nothing else in the program asks which API it is talking.
"""

from __future__ import annotations

from json import JSONDecoder, JSONEncoder
from json.encoder import (  # type: ignore[attr-defined]  # of all Pythons since 2.7, not in the stubs
    c_make_encoder,
)
from json.encoder import (
    encode_basestring_ascii as quoted,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from krakenws.core.catalog import Entry, Values

    Change = tuple[Sequence[Sequence[str]], Sequence[Sequence[str]], int]
    """The asks, the bids and the checksum of a book frame."""

DATA = "data"
ACK = "ack"
STATUS = "status"
HEARTBEAT = "heartbeat"
PONG = "pong"
REPLY = "reply"
ERROR = "error"
UNKNOWN = "unknown"


class Malformed(ValueError):
    """A frame that is no message of this API; the text says why, without quoting the frame."""


class Envelope:
    """What a frame says about itself.

    Attributes:
        kind: one of the constants of this module.
        channel: data and acks: the channel as the wire names it, `book-10`; "" when unknown.
        symbol: data and acks: the pair; "" for private channels.
        name: acks: the entry's name; replies: the method's answer, `addOrderStatus`.
        req_id: the request it answers, or None.
        error: the exchange's refusal as sent, or "".
        status: acks: `subscribed` or `unsubscribed`; status frames: the system status.
        sequence: private data: the subscription's sequence number, or None.
        snapshot: data: True or False where the frame itself says so, else None.
        body: data: the payload objects; else the whole decoded message.
    """

    __slots__ = (
        "body",
        "channel",
        "error",
        "kind",
        "name",
        "req_id",
        "sequence",
        "snapshot",
        "status",
        "symbol",
    )

    def __init__(
        self,
        kind: str,
        body: Any,
        *,
        channel: str = "",
        symbol: str = "",
        name: str = "",
        req_id: int | None = None,
        error: str = "",
        status: str = "",
        sequence: int | None = None,
        snapshot: bool | None = None,
    ) -> None:
        self.kind = kind
        self.body = body
        self.channel = channel
        self.symbol = symbol
        self.name = name
        self.req_id = req_id
        self.error = error
        self.status = status
        self.sequence = sequence
        self.snapshot = snapshot


class BookChanges:
    """The levels of one book frame: `(price, qty, …)` wire text in wire order; `checksum` if it has one."""

    __slots__ = ("asks", "bids", "checksum", "snapshot")

    def __init__(
        self,
        asks: Sequence[Sequence[str]],
        bids: Sequence[Sequence[str]],
        checksum: int | None,
        snapshot: bool,
    ) -> None:
        self.asks = asks
        self.bids = bids
        self.checksum = checksum
        self.snapshot = snapshot


class Dialect:
    """One version of the API. Subclasses are stateless; `V1` and `V2` are their single instances."""

    api: int
    path: str
    """What follows the endpoint's URL: "" or "/v2"."""
    entries: tuple[Entry, ...]

    def tail(self, frame: bytes) -> bytes:
        """Return the end of a data frame that names channel and symbol, or b"" where it has none.

        It routes frames without decoding them; a frame whose tail is not known is classified instead.
        """
        raise NotImplementedError

    def tail_of(self, channel: str, symbol: str) -> bytes:
        """Return what `tail` gives for data of that channel and symbol."""
        raise NotImplementedError

    def classify(self, frame: bytes) -> Envelope:
        """Return what a frame says about itself.

        Raises:
            Malformed: it is not JSON, or no message of this API.
        """
        raise NotImplementedError

    def book(self, frame: bytes) -> BookChanges:
        """Return the level changes of a book frame.

        Raises:
            Malformed: it has no such shape.
        """
        raise NotImplementedError

    def change(self, frame: bytes) -> Change | None:  # noqa: ARG002 - of a dialect that has such frames
        """Return the asks, the bids and the checksum of a book frame that is as nearly all of them are.

        None for any other frame: `book` reads it, or says what is wrong with it.
        """
        return None

    def items_told_once(self, entry: Entry, body: Any) -> list[tuple[str, Any]] | None:  # noqa: ARG002
        """Return the items of a private payload with their ids, where a snapshot repeats what was told.

        Each item is a payload by itself. None for other channels, and for payloads of another shape.
        """
        return None

    def status_details(self, envelope: Envelope) -> tuple[str, str]:
        """Return the version and the connection id, as decimal text, of a status frame."""
        raise NotImplementedError

    def confirmed(self, envelope: Envelope) -> dict[str, Any]:
        """Return the parameters that an ack confirms, defaults filled in."""
        raise NotImplementedError

    def method(self, envelope: Envelope) -> str:
        """Return the name of the command that a reply answers."""
        raise NotImplementedError

    def result(self, envelope: Envelope) -> dict[str, Any]:
        """Return what an accepted request brought, under v2's field names."""
        raise NotImplementedError

    def channel(self, entry: Entry, values: Values) -> str:
        """Return the wire's name of a channel with its parameters, `book-10`."""
        raise NotImplementedError

    def parse_channel(self, channel: str) -> tuple[Entry, Values] | None:
        """Return the entry and the parameters that a wire channel name stands for, or None."""
        raise NotImplementedError

    def subscribe(
        self, entry: Entry, values: Values, symbols: Sequence[str], token: str, *, leave: bool = False
    ) -> bytes:
        """Return the frame that subscribes to symbols of a channel, or with `leave` unsubscribes."""
        raise NotImplementedError

    def ping(self, req_id: int) -> bytes:
        """Return the frame that probes the connection."""
        raise NotImplementedError

    def command(self, entry: Entry, values: Values, token: str, req_id: int | None) -> bytes:
        """Return the frame of a command. `req_id` None leaves the request without a number."""
        raise NotImplementedError


def encoder(between: str) -> Callable[[Any, int], Iterable[str]]:
    """Return what gives a value as pieces of JSON text, in ASCII; its second argument is to be 0.

    There are no spaces but those in `between`, which stands between items. `JSONEncoder.encode` makes an
    encoder at each call, half of its time.
    """
    plain = JSONEncoder(separators=(between, ":"), check_circular=False)
    if c_make_encoder is None:  # a Python without it
        return lambda fields, _: plain.iterencode(fields)
    pieces: Callable[[Any, int], Iterable[str]] = c_make_encoder(
        None, plain.default, quoted, None, ":", between, False, False, True
    )
    return pieces


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as JSON text, spaced as the original script spaced it: transcripts stay the same."""
    if _FLAT.issuperset(map(type, message.values())):  # as all orders are
        return "".join(_spaced(message, 0)).encode()
    return _text(message).encode()


_FLAT = frozenset((str, int, bool))
_spaced = encoder(", ")
_compact = encoder(",")


def _text(value: Any) -> str:
    if value.__class__ is str:
        return quoted(value)
    if isinstance(value, dict):
        return "{" + ", ".join([f"{quoted(name)}:{_text(item)}" for name, item in value.items()]) + "}"
    return "".join(_compact(value, 0))


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON value")


def _scanner(parse_float: Callable[[str], Any] | None = None) -> Callable[[str, int], tuple[Any, int]]:
    decoder = JSONDecoder(parse_float=parse_float, parse_constant=_no_constant)
    return decoder.scan_once  # type: ignore[attr-defined, no-any-return]  # there since Python 2.6, not in the stubs


_scan = _scanner()
_scan_keeping_text = _scanner(str)


def decode_keeping_text(frame: bytes) -> Any:
    """Return the JSON value of a frame, numbers with a point or an exponent as their wire text.

    Integers are exact as they are. Money never passes through a float, and trailing zeros stay (v2.md 2.1).

    Raises:
        Malformed: as `decode` does.
    """
    return decode(frame, _scan_keeping_text)


def decode(frame: bytes, scan: Callable[[str, int], tuple[Any, int]] = _scan) -> Any:
    """Return the JSON value of a frame.

    A third of the time of `json.loads`: no search for the encoding, no white-space regex. Frames are UTF-8 by
    the WebSocket's own check.

    Raises:
        Malformed: it is not JSON, nests too deep, or something follows the value.
    """
    try:
        text = frame.decode()
        value, end = scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return _decode_slowly(frame.decode("utf-8", "replace"), scan)
    return value if end == len(text) else _decode_slowly(text, scan)


def _decode_slowly(text: str, scan: Callable[[str, int], tuple[Any, int]]) -> Any:
    """Decode once more without white space around it, which is legal JSON, or say what is wrong."""
    stripped = text.strip(" \t\r\n")
    try:
        value, end = scan(stripped, 0)
    except StopIteration:
        raise Malformed("not JSON") from None
    except RecursionError:
        raise Malformed("JSON nested too deep") from None
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from None
    if end != len(stripped):
        raise Malformed("not JSON: something follows the value")
    return value
