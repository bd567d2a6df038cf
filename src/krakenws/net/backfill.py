"""Fills the gaps of trade streams from REST, beside the loop.

What a gap lost is worked out by `core.backfill`; here is when REST is asked, one call a second for all pairs
(auth.md section 6), each an errand. A pair is asked about as soon as it streams again, and again a few times,
as REST may lag and a quiet pair shows nothing that would meet REST's account. A pair that is lost meanwhile
waits until it streams again: its two gaps become one.
"""

from __future__ import annotations

from krakenws.core.backfill import Filler
from krakenws.core.dialect import Malformed
from krakenws.core.events import Backfilled, Disconnected, Gap, Subscribed, Update, Violation
from krakenws.errors import ConnectionFailed, RequestRejected
from krakenws.net.errand import Errand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket

    from krakenws.core.events import Event
    from krakenws.core.protocol import ClientProtocol
    from krakenws.core.rows import Trade
    from krakenws.net.rest import RestClient

CHANNEL = "trade"
_PATH = "/0/public/Trades"
_PAGE_ROWS = 1000
_PACE_S = 1.0
_ASK_AFTER_S = (0.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds from one answer to the next question, until REST's account meets the stream."""

_CONFIRM_S = 2.0
"""How long what one answer knew has time to come through the stream as well."""


class _Job:
    """One pair's trades, and how far the filling of its gap is."""

    __slots__ = ("asked", "due", "filled", "filler", "last_ns", "open")

    def __init__(self) -> None:
        self.filler = Filler()
        self.last_ns = 0
        self.due: float | None = None
        self.asked = 0
        self.filled = 0
        self.open = True

    def begin(self, now: float) -> None:
        """The pair streams again."""
        self.due = now
        self.asked = 0


class Backfill:
    """The gaps of one protocol's trade streams.

    Args:
        protocol: whose streams they are.
        rest: asked in a thread of its own, one call at a time.

    Attributes:
        watched: what becomes readable when an answer is there.
    """

    def __init__(self, protocol: ClientProtocol, rest: RestClient) -> None:
        self._protocol = protocol
        self._rest = rest
        self._jobs: dict[str, _Job] = {}
        self._errand: Errand | None = None
        self._asked_for = ""
        self._free_at = 0.0

    @property
    def watched(self) -> Sequence[tuple[socket, int]]:
        """What becomes readable when an answer is there."""
        return self._errand.watched if self._errand is not None else ()

    # ---- what the stream tells

    def heed(self, events: Sequence[Update | Event], now: float) -> None:
        """Look at what happened for trades, and for what may have lost some."""
        for event in events:
            if isinstance(event, Update):
                if event.route.entry.name == CHANNEL:
                    self._streamed(event)
            elif isinstance(event, Disconnected):
                for job in self._jobs.values():
                    self._broken(job)
            elif isinstance(event, Violation | Gap | Subscribed) and event.channel == CHANNEL:
                self._heed(event, now)

    def _streamed(self, update: Update) -> None:
        job = self._jobs.setdefault(update.route.symbol, _Job())
        job.last_ns = update.received_ns
        try:
            job.filler.streamed(update.rows())
        except ValueError:  # Malformed: the sink tells it, and what it said is missing
            self._broken(job)

    def _heed(self, event: Violation | Gap | Subscribed, now: float) -> None:
        job = self._jobs.get(event.symbol)
        if isinstance(event, Subscribed):
            job = job or self._jobs.setdefault(event.symbol, _Job())
            job.last_ns = job.last_ns or event.received_ns
            if job.filler.pending:
                job.begin(now)
            return
        if job is not None and (not isinstance(event, Gap) or not job.filler.pending):
            self._broken(job)
            job.begin(now)

    @staticmethod
    def _broken(job: _Job) -> None:
        if job.last_ns:
            job.filler.broken(job.last_ns)
            job.due = None

    # ---- asking

    def next_deadline(self) -> float | None:
        """Return when REST is to be asked next, in monotonic seconds, or None."""
        dues = [job.due for job in self._jobs.values() if job.due is not None]
        if not dues or self._errand is not None:
            return None
        return max(self._free_at, min(dues))

    def on_deadline(self, now: float) -> None:
        """Ask for the pair that waits longest, if its time has come."""
        at = self.next_deadline()
        if at is None or now < at:
            return
        symbol, job = min(
            ((symbol, job) for symbol, job in self._jobs.items() if job.due is not None),
            key=lambda item: item[1].due or 0.0,
        )
        since_ns = job.filler.since_ns
        job.due = None
        self._asked_for = symbol
        self._free_at = now + _PACE_S
        try:
            self._errand = Errand(lambda: self._ask(symbol, since_ns), then=_nothing, late="", due=None)
        except (OSError, RuntimeError):  # out of descriptors or threads: later, perhaps
            job.due = now + _ASK_AFTER_S[-1]

    def _ask(self, symbol: str, since_ns: int) -> list[Trade]:
        """Return all trades since then, page by page; in a thread."""
        from time import sleep

        from krakenws.core.v1_rows import rest_trades

        found: list[Trade] = []
        while True:
            query = {"pair": symbol, "since": str(since_ns), "count": str(_PAGE_ROWS)}
            trades, last_ns = rest_trades(self._rest.public(_PATH, query))
            found += trades
            if len(trades) < _PAGE_ROWS or last_ns <= since_ns:
                return found
            since_ns = last_ns
            sleep(_PACE_S)

    # ---- answers

    def collect(self, received_ns: int, now: float) -> list[Update | Event]:
        """Return what the answer that is there fills in, the gap before it."""
        errand, self._errand = self._errand, None
        assert errand is not None  # noqa: S101 - it was watched
        job = self._jobs[self._asked_for]
        self._free_at = now + _PACE_S
        cause = ""
        known: list[Trade] = []
        try:
            known = errand.result()
        except (ConnectionFailed, RequestRejected, Malformed) as error:
            cause = str(error)
        if job.due is not None or not job.filler.pending:
            return []  # it broke again while REST was asked
        return self._fill(self._asked_for, job, known, cause, received_ns, now)

    def _fill(  # noqa: PLR0917 - one answer, with when it came
        self, symbol: str, job: _Job, known: list[Trade], cause: str, received_ns: int, now: float
    ) -> list[Update | Event]:
        job.asked += 1
        is_last = job.asked >= len(_ASK_AFTER_S)
        events = self._protocol.fill(CHANNEL, symbol, [], received_ns, now)
        if events is None:
            return []  # it does not stream at the moment, and asks again when it does
        missed, whole = ([], False) if cause else job.filler.answered(known, last=is_last)
        if missed:
            job.filled += len(missed)
            events += self._protocol.fill(CHANNEL, symbol, missed, received_ns, now) or []
        if not whole and not is_last:
            job.due = now + _ASK_AFTER_S[job.asked]
            return events
        if not whole and not cause and job.filler.doubtful:
            job.due = now + _CONFIRM_S
            return events
        if not whole:
            cause = cause or "REST does not know the trades that followed yet"
            job.filler.give_up()
        events.append(Backfilled(received_ns, CHANNEL, symbol, job.filled, whole, cause))
        job.filled = 0
        return events

    def end(self) -> None:
        """Want nothing more."""
        if self._errand is not None:
            self._errand.close()
            self._errand = None


def _nothing(*_: object) -> None:
    """Errands of this module are collected."""
