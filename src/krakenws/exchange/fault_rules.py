"""The rules by which faults are switched on: their names, their fields, and when one strikes.

A rule is a JSON object, `{"fault": NAME, …}`. All but the venue's own faults may say `times` or
`probability`; with neither they strike once. `after_s` counts from the moment the rule is added. `connection`
counts WebSocket connections from 1; "all" means every one that is open when the rule falls due, each once.

Source: the fields are our own; what they make happen is told by v1.md section 13 and quirks.md.
"""

from __future__ import annotations

from krakenws.core import v1_entries, v2_entries
from krakenws.core.catalog import CHANNEL
from krakenws.core.v1 import V1
from krakenws.errors import UsageError
from krakenws.exchange.refusals import is_documented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

FRAME, CONNECTION, REQUEST, PAGE, VENUE = "frame", "connection", "request", "page", "venue"
FREEZE, CLOSE, RESET, TRUNCATE = "freeze", "close", "reset", "truncate"
NO_ACK, EXCEEDED_RATE, INVALID_SESSION = "no_ack", "exceeded_rate", "invalid_session"
REFUSE = "refuse"
LOSE_ANSWER, ACCEPT_THEN_CUT = "lose_answer", "accept_then_cut"

INFINITY = float("inf")
PROXY_TEXT = "CloudFlare WebSocket proxy restarting"
_CLOSE_CODES = {1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 1014}
_REASON_BYTES = 123
"""Source: RFC 6455 section 5.5: a control frame has 125 bytes at most, of which the code takes two."""
_CHANNELS = {entry.name for entry in (*v1_entries.ENTRIES, *v2_entries.ENTRIES) if entry.kind == CHANNEL}
_STATUSES = ("online", "maintenance", "cancel_only", "post_only", "limit_only")


class Option:
    """One field of a rule beside the common ones.

    Attributes:
        read: gives the value as it is used, or raises ValueError; `wanted` says in words what it takes.
        default: the value when the field is left out; None leaves it out.
        required: whether it must be there.
    """

    __slots__ = ("default", "read", "required", "wanted")

    def __init__(
        self,
        read: Callable[[object], object],
        wanted: str,
        default: object = None,
        *,
        required: bool = False,
    ) -> None:
        self.read = read
        self.wanted = wanted
        self.default = default
        self.required = required


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    value.encode()  # half a surrogate pair is an error of Unicode, which is a ValueError
    return value


def _channel(value: object) -> str:
    channel = _text(value)
    if channel not in _CHANNELS and V1.parse_channel(channel) is None:
        raise ValueError
    return channel


def _reason(value: object) -> str:
    reason = _text(value)
    if len(reason.encode()) > _REASON_BYTES:
        raise ValueError
    return reason


def _error(value: object) -> str:
    error = _text(value)
    if not is_documented(error):
        raise ValueError
    return error


def _whole(value: object) -> int:
    if type(value) is not int or not 1 <= value < 1 << 32:
        raise ValueError
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError
    return float(value)


def _positive(value: object) -> float:
    seconds = _seconds(value)
    if not seconds:
        raise ValueError
    return seconds


def _probability(value: object) -> float:
    share = _seconds(value)
    if not 0 < share <= 1:
        raise ValueError
    return share


def _connection(value: object) -> int | str:
    return "all" if value == "all" else _whole(value)


def _one_of(*values: object) -> Callable[[object], object]:
    def read(value: object) -> object:
        if isinstance(value, bool) or value not in values:
            raise ValueError
        return value

    return read


def _close_code(value: object) -> int:
    code = _whole(value)
    if code not in _CLOSE_CODES and not 3000 <= code < 5000:
        raise ValueError
    return code


def _page_status(value: object) -> int:
    status = _whole(value)
    if not 400 <= status < 600:
        raise ValueError
    return status


def _statuses(value: object) -> tuple[str, ...]:
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) and word in _STATUSES for word in words):
        raise ValueError
    return tuple(words)


def _decimals(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 15:
        raise ValueError
    return value


_A_TIME = "a number of seconds"
_AN_ERROR = "one of Kraken's error strings, such as EService:Busy, and what may follow it"
_CHANNEL = Option(_channel, "a channel such as book or book-10")
_SYMBOL = Option(_text, "a pair such as XBT/USD")
_METHOD = Option(_text, "a method such as addOrder, or a REST call such as AddOrder")
_COMMON = {
    "connection": Option(_connection, 'the number of a connection, from 1, or "all"'),
    "times": Option(_whole, "a whole number from 1"),
    "probability": Option(_probability, "a number above 0, 1 at most"),
    "after_s": Option(_seconds, _A_TIME, 0.0),
}
_FOR_S = Option(_positive, "a number of seconds above 0")
_FEED = {"channel": _CHANNEL, "symbol": _SYMBOL}
_ASKED = {"method": _METHOD, **_FEED}
_THEN = _one_of(CLOSE, RESET, FREEZE)
_KINDS: dict[str, tuple[str, dict[str, Option]]] = {
    "drop": (FRAME, _FEED),
    "duplicate": (FRAME, _FEED),
    "delay": (FRAME, {**_FEED, "delay_s": Option(_seconds, _A_TIME, 1.0)}),
    "reorder": (FRAME, _FEED),
    "bad_checksum": (FRAME, _FEED),
    "mute": (FRAME, _FEED),
    "not_json": (FRAME, {**_FEED, "text": Option(_text, "some text that UTF-8 can carry", PROXY_TEXT)}),
    "unknown_event": (FRAME, _FEED),
    "unknown_field": (FRAME, _FEED),
    "skip_sequence": (FRAME, {"channel": _CHANNEL}),
    TRUNCATE: (FRAME, {**_FEED, "then": Option(_THEN, "close, reset or freeze", CLOSE)}),
    FREEZE: (CONNECTION, _FEED),
    CLOSE: (
        CONNECTION,
        {
            **_FEED,
            "code": Option(_close_code, "a close code such as 1001, 1006, 1011 or 1013", 1001),
            "reason": Option(_reason, f"some text, {_REASON_BYTES} bytes of UTF-8 at most", PROXY_TEXT),
        },
    ),
    RESET: (CONNECTION, _FEED),
    NO_ACK: (REQUEST, _ASKED),
    EXCEEDED_RATE: (REQUEST, _ASKED),
    INVALID_SESSION: (REQUEST, _ASKED),
    REFUSE: (REQUEST, {**_ASKED, "error": Option(_error, _AN_ERROR, required=True)}),
    LOSE_ANSWER: (REQUEST, _ASKED),
    ACCEPT_THEN_CUT: (REQUEST, _ASKED),
    "http_status": (
        PAGE,
        {
            "status": Option(_page_status, "an HTTP status such as 403, 429 or 520", required=True),
            "path": Option(_text, "the beginning of a path such as /0/private"),
        },
    ),
    "system_status": (
        VENUE,
        {
            "status": Option(_statuses, f"one of {', '.join(_STATUSES)}, or a list of them", required=True),
            "for_s": _FOR_S,
        },
    ),
    "rest_lag": (VENUE, {"lag_s": Option(_seconds, _A_TIME, required=True), "for_s": _FOR_S}),
    "change_precision": (
        VENUE,
        {"symbol": _SYMBOL, "decimals": Option(_decimals, "a whole number up to 15", required=True)},
    ),
    "expire_tokens": (VENUE, {}),
}
FAULTS = tuple(_KINDS)
"""The names of all faults."""
_STATES = {"system_status", "rest_lag"}
"""These last instead of striking."""
_WALK_STEP_S = 5.0


class Rule:
    """One fault that was switched on.

    Args:
        number: its number within the plan, from 1.
        spec: its fields.
        now: when it was added.

    Attributes:
        name: which fault.
        kind: what it strikes: a constant of this module.
        from_: when it falls due.
        until: when a lasting fault ends by itself.
        left: how often it will strike yet; infinity for no end.
        options: the fault's own fields, defaults filled in.
        struck: how often it has struck.

    Raises:
        UsageError: the fields make no sense.
    """

    __slots__ = (
        "_chosen",
        "channel",
        "connection",
        "from_",
        "kind",
        "left",
        "method",
        "name",
        "number",
        "options",
        "probability",
        "spec",
        "struck",
        "symbol",
        "until",
    )

    def __init__(self, number: int, spec: Mapping[str, object], now: float) -> None:
        values = _read(spec)
        self.number = number
        self.spec = dict(spec)
        self.name: str = values.pop("fault")
        self.kind = _KINDS[self.name][0]
        self.channel: str = values.pop("channel", "")
        self.symbol: str = values.pop("symbol", "")
        self.method: str = values.pop("method", "")
        self.connection: int | str = values.pop("connection", 0)
        self.probability: float = values.pop("probability", 0.0)
        self.from_: float = now + values.pop("after_s")
        is_endless = self.probability or self.connection == "all" or self.name in _STATES
        self.left: float = values.pop("times", INFINITY if is_endless else 1)
        self.options: dict[str, Any] = values
        self.until = self.from_ + self._lasts_s()
        self.struck = 0
        self._chosen: set[int] | None = None

    def _lasts_s(self) -> float:
        """Return how long a state lasts: as said, or until a walk of system statuses is back at normal."""
        statuses = self.options.get("status", "")
        if self.name == "system_status" and len(statuses) > 1:
            return self._step_s * (len(statuses) - 1) if statuses[-1] == _STATUSES[0] else INFINITY
        lasts_s: float = self.options.get("for_s", INFINITY) if self.name in _STATES else INFINITY
        return lasts_s

    @property
    def _step_s(self) -> float:
        step_s: float = self.options.get("for_s", _WALK_STEP_S)
        return step_s

    @property
    def waits_for_data(self) -> bool:
        """Whether it strikes at certain data only, or is drawn anew for each frame."""
        return bool(self.channel or self.symbol or self.probability)

    def is_due(self, now: float) -> bool:
        """Whether it may strike now."""
        return self.left > 0 and self.from_ <= now < self.until

    def choose(self, open_: Iterable[int]) -> None:
        """Keep to the connections that are open now, if it is for all of them."""
        if self.connection == "all" and self._chosen is None:
            self._chosen = set(open_)
            self._end_if_spent()

    def fits_line(self, number: int) -> bool:
        """Whether it is for that connection."""
        return self.connection in {0, number} if self._chosen is None else number in self._chosen

    def fits_feed(self, channel: str, symbols: Iterable[str]) -> bool:
        """Whether it is for that channel, by its full name or without depth or interval, and a pair."""
        return (not self.channel or self.channel in {channel, channel.partition("-")[0]}) and (
            not self.symbol or self.symbol in symbols
        )

    def strike(self, line: int) -> None:
        """Count one strike, on a connection unless `line` is 0."""
        self.struck += 1
        self.left -= 1
        self.forget(line)

    def forget(self, line: int) -> None:
        """Strike that connection no more, if this is for certain ones."""
        if self._chosen is not None:
            self._chosen.discard(line)
            self._end_if_spent()

    def _end_if_spent(self) -> None:
        if not self._chosen:
            self.left = 0

    def turns(self) -> list[float]:
        """Return the times at which something changes by itself."""
        times = [self.from_, self.until]
        if self.name == "system_status":
            times += [self.from_ + self._step_s * n for n in range(1, len(self.options["status"]))]
        return times

    def status(self, now: float) -> str:
        """Return the system status that a walk has reached."""
        statuses: tuple[str, ...] = self.options["status"]
        return statuses[min(int((now - self.from_) // self._step_s), len(statuses) - 1)]


def _read(spec: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of a rule, checked, with defaults.

    Raises:
        UsageError: the rule makes no sense; it says which field, and what it takes.
    """
    name = spec.get("fault")
    if not isinstance(name, str) or name not in _KINDS:
        known = ", ".join(FAULTS)
        raise UsageError(f"fault {name!r} is not known: it is one of {known}")
    options = {**_common(name), **_KINDS[name][1]}
    values: dict[str, Any] = {"fault": name}
    for field in spec:
        if field not in options and field != "fault":
            raise UsageError(f"fault {name} has no field {field!r}: it takes {', '.join(sorted(options))}")
    for field, option in options.items():
        if field not in spec:
            if option.required:
                raise UsageError(f"fault {name} needs {field}: {option.wanted}")
            if option.default is not None:
                values[field] = option.default
            continue
        try:
            values[field] = option.read(spec[field])
        except (ValueError, TypeError):
            raise UsageError(f"fault {name}: {field} must be {option.wanted}") from None
    return values


def _common(name: str) -> dict[str, Option]:
    """Return the common fields a fault takes: venues and pages have no connections, states do not strike."""
    without = {"connection"} if _KINDS[name][0] in {PAGE, VENUE} else set()
    if name in _STATES:
        without |= {"times", "probability"}
    elif _KINDS[name][0] == VENUE:
        without |= {"probability", "times"}
    return {field: option for field, option in _COMMON.items() if field not in without}


def parse_faults(text: str | bytes) -> list[dict[str, object]]:
    """Return the rules of a JSON text: one object, or a list of them.

    Raises:
        UsageError: it is no such JSON, or a rule makes no sense.
    """
    from json import loads

    try:
        specs = loads(text)
    except (ValueError, RecursionError):
        raise UsageError('faults are JSON: {"fault": NAME, …} or a list of such objects') from None
    if isinstance(specs, dict):
        specs = [specs]
    if not isinstance(specs, list) or not all(isinstance(spec, dict) for spec in specs):
        raise UsageError('faults are JSON: {"fault": NAME, …} or a list of such objects')
    for spec in specs:
        _read(spec)
    return specs
