"""Updates as the protocol makes them, from v1 frames, without a connection."""

from __future__ import annotations

from krakenws.core.events import Route, Update
from krakenws.core.v1 import V1

RECEIVED_NS = 1_795_324_223_123_456_789
RECEIVED = "2026-11-22T05:10:23.123456Z"


class Updates:
    """Makes updates; one channel and pair has one route, as in a run."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], Route] = {}

    def __call__(
        self, frame: bytes | str, trust: str | None = None, received_ns: int = RECEIVED_NS
    ) -> Update:
        data = frame.encode() if isinstance(frame, str) else frame
        envelope = V1.classify(data)
        found = V1.parse_channel(envelope.channel)
        assert found is not None, envelope.channel
        entry, values = found
        key = envelope.channel, envelope.symbol
        route = self._routes.setdefault(key, Route(entry, values, *key))
        if entry.rows == "Level":
            book = V1.book(data)
            return Update(route, data, received_ns, book.snapshot, trust, book)
        body = None if envelope.symbol else envelope.body
        return Update(route, data, received_ns, envelope.sequence == 1, trust, body)


def update_of(frame: bytes | str, trust: str | None = None) -> Update:
    """Return an update of its own."""
    return Updates()(frame, trust)
