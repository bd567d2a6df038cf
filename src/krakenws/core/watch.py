"""Follows the quantities of a condition through the events of a run, and tells when it is met.

What a quantity is known from, and until when:

- `ask`, `bid`, `mid`, `spread` from a book of ten levels whose checksum matched on its latest frame. v1's
  snapshot has no checksum, so that a book counts from the first update on; a gap, a frame without a checksum
  or an untrusted book ends that.
- `last` from the channel `trade`, each trade by itself; until the first one comes, from `ticker`, since v1
  sends no snapshot of trades. `volume` (of 24 hours) from `ticker`.
- A lost connection, an unsubscription or a malformed frame makes what it touches unknown until new data.

A time to hold (`for 3s`) is over with the first frame that comes after it: data that the connection did not
bring yet may say otherwise, and heartbeats come once a second (quirk L1). Whatever makes the condition false
or unknown lets it begin anew, and so does a silence: what comes behind one was not seen when it happened.
"""

from __future__ import annotations

from decimal import Context, Decimal

from krakenws.core.condition import Number, holds
from krakenws.core.events import (
    VERIFIED,
    Connected,
    Disconnected,
    Gap,
    Heartbeat,
    Met,
    Refused,
    Unsubscribed,
    Update,
    Violation,
)
from krakenws.core.kinds import AMOUNT_OR_ZERO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.core.condition import Condition, Quantity
    from krakenws.core.events import Event

_EXACT = Context(prec=300)
"""Twice the digits that a level of a book may have."""
_CHANNELS = {"last": ("ticker", "trade"), "volume": ("ticker",)}
_BOOK = ("book",)


class Watch:
    """One condition, watched until it is met.

    Args:
        condition: what is waited for.
        quiet_s: a connection silent for longer cannot be trusted.

    Attributes:
        refused: the first subscription that the exchange refused: the condition cannot be judged. Else None.
    """

    def __init__(self, condition: Condition, quiet_s: float) -> None:
        self.refused: Refused | None = None
        self._condition = condition
        self._quiet_s = quiet_s
        self._quantities = condition.quantities
        self._known: dict[tuple[str, str], dict[str, Decimal]] = {}
        self._why: dict[tuple[str, str], str] = {}
        self._lost = ""
        self._alive_at: float | None = None
        self._since: float | None = None

    @property
    def channels(self) -> dict[str, list[str]]:
        """The pairs that must be subscribed, by channel."""
        wanted: dict[str, dict[str, None]] = {}
        for quantity in self._quantities:
            for channel in _CHANNELS.get(quantity.name, _BOOK):
                wanted.setdefault(channel, {})[quantity.symbol] = None
        return {channel: list(symbols) for channel, symbols in wanted.items()}

    # ---- what happened

    def take(self, events: Sequence[Update | Event], now: float) -> Met | None:
        """Take what one read brought; return that the condition is met, once it is.

        Args:
            events: in order.
            now: monotonic seconds.
        """
        alive = False
        for event in events:
            if isinstance(event, Update | Heartbeat):
                alive = True
                self._break_silence(now)
            if isinstance(event, Update):
                met = self._update(event, now)
                if met:
                    return met
            else:
                self._happened(event, now)
        return self._held(events[-1].received_ns, now) if alive else None

    def _break_silence(self, now: float) -> None:
        if self._silent_s(now) > self._quiet_s and self._since is not None:
            self._since = now
        self._alive_at = now

    def _silent_s(self, now: float) -> float:
        return 0.0 if self._alive_at is None else now - self._alive_at

    def _update(self, update: Update, now: float) -> Met | None:
        channel, symbol = update.route.entry.name, update.route.symbol
        if channel == "book":
            if update.trust == VERIFIED:
                self._learn(channel, symbol, _of_book(update.body.asks, update.body.bids), now)
            else:
                self._forget((channel, symbol), f"is {update.trust}", now)
            return self._met(update.received_ns, now)
        try:
            rows = update.rows()
            figures = [_of_trade(row) if channel == "trade" else _of_ticker(row) for row in rows]
        except ValueError as error:
            self._happened(update.violation(error), now)
            return None
        for figure in figures:
            self._learn(channel, symbol, figure, now)
            met = self._met(update.received_ns, now)
            if met:
                return met
        return None

    def _happened(self, event: Event, now: float) -> None:
        """Forget what an event makes worthless."""
        if isinstance(event, Disconnected):
            self._lost = event.cause
            self._known.clear()
            self._why.clear()
            self._judge(now)
        elif isinstance(event, Connected):
            self._lost = ""
            self._alive_at = now
        elif isinstance(event, Gap | Violation):
            self._forget((event.channel, event.symbol), f"is broken: {event.cause}", now)
        elif isinstance(event, Unsubscribed):
            self._forget((event.channel, event.symbol), "was unsubscribed by the exchange", now)
        elif isinstance(event, Refused) and self.refused is None:
            self.refused = event

    def _learn(self, channel: str, symbol: str, figures: dict[str, Decimal], now: float) -> None:
        self._known[channel, symbol] = figures
        self._why[channel, symbol] = "has no level on one side"
        self._judge(now)

    def _forget(self, place: tuple[str, str], why: str, now: float) -> None:
        self._known.pop(place, None)
        self._why[place] = why
        self._judge(now)

    # ---- verdict

    def _value(self, value: Number | Quantity) -> Decimal | None:
        if isinstance(value, Number):
            return Decimal(value.text)
        for channel in reversed(_CHANNELS.get(value.name, _BOOK)):
            known = self._known.get((channel, value.symbol))
            if known is not None:
                return known.get(value.name)
        return None

    def _judge(self, now: float) -> None:
        """Note since when it holds."""
        if not holds(self._condition.root, self._value):
            self._since = None
        elif self._since is None:
            self._since = now

    def _met(self, received_ns: int, now: float) -> Met | None:
        """Return that it is met, if a moment is enough."""
        return None if self._condition.hold_s else self._held(received_ns, now)

    def _held(self, received_ns: int, now: float) -> Met | None:
        if self._since is None or now - self._since < self._condition.hold_s:
            return None
        held_s = now - self._since if self._condition.hold_s else None
        values = [
            {"symbol": quantity.symbol, "quantity": quantity.name, "value": format(value, "f")}
            for quantity in self._quantities
            if (value := self._value(quantity)) is not None
        ]
        return Met(received_ns, str(self._condition), values, held_s)

    # ---- when the time is over

    def doubt(self, now: float) -> str:
        """Return why the condition cannot be judged at the moment, or "" when it can."""
        if self._lost:
            return f"there is no connection: {self._lost}"
        if holds(self._condition.root, self._value) is None:
            unknown = [quantity for quantity in self._quantities if self._value(quantity) is None]
            return "; ".join(dict.fromkeys(map(self._ignorance, unknown)))
        silent_s = self._silent_s(now)
        return f"the connection is silent for {silent_s:.0f} s" if silent_s > self._quiet_s else ""

    def _ignorance(self, quantity: Quantity) -> str:
        channel = _CHANNELS.get(quantity.name, _BOOK)[0]
        why = self._why.get((channel, quantity.symbol), "has not come yet")
        return f"the {channel} of {quantity.symbol} {why}"

    def state(self) -> str:
        """Return what the quantities are at the moment, those that are known, for people."""
        known = [(quantity, self._value(quantity)) for quantity in self._quantities]
        return ", ".join(f"{quantity} {value:f}" for quantity, value in known if value is not None)


def _of_book(asks: Sequence[Sequence[str]], bids: Sequence[Sequence[str]]) -> dict[str, Decimal]:
    """Return the figures of a book, best level first; those that need a missing side are left out."""
    figures = {}
    if asks:
        figures["ask"] = Decimal(asks[0][0])
    if bids:
        figures["bid"] = Decimal(bids[0][0])
    if len(figures) == 2:
        ask, bid = figures["ask"], figures["bid"]
        figures["spread"] = _EXACT.subtract(ask, bid)
        figures["mid"] = _EXACT.divide(_EXACT.add(ask, bid), Decimal(2))
    return figures


def _of_ticker(row: object) -> dict[str, Decimal]:
    return {"last": _decimal(row, "last"), "volume": _decimal(row, "volume")}


def _of_trade(row: object) -> dict[str, Decimal]:
    return {"last": _decimal(row, "price")}


def _decimal(row: object, field: str) -> Decimal:
    """Return a figure of a row, which is the exchange's text.

    Raises:
        ValueError: it is no plain decimal number.
    """
    text = getattr(row, field)
    try:
        return Decimal(str(AMOUNT_OR_ZERO.parse(text)))
    except ValueError as error:
        raise ValueError(f"{field} {error}") from None
