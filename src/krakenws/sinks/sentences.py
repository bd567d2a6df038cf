"""Events in words: what people read instead of rows."""

from __future__ import annotations

from krakenws.core import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from krakenws.core.events import Event


def sentence(event: Event, at: Callable[[int], str]) -> str:
    """Return an event in words, or "" for a heartbeat.

    Args:
        event: anything but an update.
        at: gives the time of wall-clock nanoseconds, as a person reads it.
    """
    match event:
        case events.Connected():
            return f"connected to {event.endpoint}"
        case events.Disconnected():
            return f"disconnected from {event.endpoint}: {event.cause}{_again(event.retry_in_s)}"
        case events.Status():
            return f"exchange {event.system}{event.version and f', version {event.version}'}"
        case events.Pong():
            return "pong" if event.round_trip_s is None else f"pong in {event.round_trip_s * 1000:.1f} ms"
        case events.Subscribed():
            return f"subscribed to {_what(event)}"
        case events.Unsubscribed():
            return f"unsubscribed from {_what(event)}"
        case events.Deferred():
            return f"waiting for {_what(event)}: {event.cause}{_again(event.retry_in_s)}"
        case events.Refused():
            return f"refused {_what(event)}: {event.error}"
        case events.Gap():
            missed = f"; {event.missed} messages missed" if event.missed else ""
            return f"GAP {_what(event)}: {event.cause}{missed}{_span(event, at)}"
        case events.Backfilled():
            how = "" if event.complete else f", perhaps not all: {event.cause}"
            return f"filled {_what(event)}: {event.trades} trades from REST{how}"
        case events.Untrusted():
            return f"UNTRUSTED {_what(event)}: {event.cause}, {event.resyncs} resubscriptions did not help"
        case events.Summary():
            return summary(event)
        case events.Lagging():
            return events.lag_of(event)
        case events.Violation():
            of = f" of {_what(event)}" if event.channel else ""
            return f"broken frame{of}, {event.length_bytes} bytes: {event.cause}: {event.frame}"
        case events.Met():
            values = ", ".join(f"{v['symbol']} {v['quantity']} {v['value']}" for v in event.values)
            held = "" if event.held_s is None else f", held for {event.held_s:.1f} s"
            return f"met: {event.condition} ({values}{held})"
        case events.Reply():
            said = "validated, NOT placed" if event.validated else "accepted"
            of = f" of {event.order}" if event.order else ""
            found = f", found: {event.found}" if event.found else ""
            return f"{said}: {_result(event.method, event.result)}{of}{found}"
        case events.Rejected():
            return f"{event.order} refused: {event.error}".lstrip()
        case events.Unanswered():
            return f"outcome unknown: {event.hint}"
    return ""


def summary(event: events.Summary) -> str:
    """Return what one endpoint brought, in a sentence: all channels together, then what went wrong."""
    counts: dict[str, int] = {}
    for channel in event.channels:
        for name in events.Tally.NAMES:
            counts[name] = counts.get(name, 0) + channel[name]
    received = counts.pop("received", 0)
    told = [f"{value} {name}" for name, value in counts.items() if value]
    if event.violations:
        told.append(f"{event.violations} violations")
    if event.connections > 1:
        told.append(f"{event.connections} connections, {event.down_s:.1f} s without one")
    frames = "1 data frame" if received == 1 else f"{received} data frames"
    return f"{event.endpoint}: {frames}" + (f": {', '.join(told)}" if told else "")


def _again(retry_in_s: float | None) -> str:
    if retry_in_s is None:
        return ""
    return f"; trying again {'now' if retry_in_s < 0.05 else f'in {retry_in_s:.1f} s'}"


def _what(event: Any) -> str:
    return f"{event.channel} {event.symbol}".strip()


def _span(gap: events.Gap, at: Callable[[int], str]) -> str:
    if gap.to_ns is not None:
        return f"; nothing to trust from {at(gap.from_ns or gap.to_ns)} to {at(gap.to_ns)}"
    return "" if gap.from_ns is None else f"; not to be trusted since {at(gap.from_ns)}"


def _result(method: str, result: Mapping[str, Any]) -> str:
    """The exchange's own phrase first, where it has one; then ids and figures by name."""
    rest = dict(result)
    phrase = rest.pop("descr", method)
    names = {"order_id": "order", "original_order_id": "instead of"}
    told = ", ".join(f"{names.get(name, name)} {value}" for name, value in rest.items())
    return f"{phrase} ({told})" if told else str(phrase)
