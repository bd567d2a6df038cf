"""The journal as an event loop may use it: it waits for nobody.

While another program has locked the file, writing raises `StateLocked` at once. A request that needs a row
is then put off: it keeps its place before all that comes after it and leaves once the lock is gone, or never,
if that takes longer than `PATIENCE_S`. A verdict is known all the same: it is told to whoever awaits it, and
kept until it can be written. A power cut could have taken it anyway (`krakenws.journal`): then it is looked
for again.

    `begin` raises ─▶ `put_off` ─▶ `again_at` comes ─▶ `try_again` ─▶ the lock is gone: it leaves
                                         ▲                │ └────────▶ `PATIENCE_S` are over: it is not sent
    `settle` keeps a verdict ────────────┴────────────────┘
"""

from __future__ import annotations

from time import monotonic

from krakenws.errors import SinkError, StateLocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from krakenws.core.intents import Intent
    from krakenws.core.protocol import ClientProtocol
    from krakenws.core.requests import Request
    from krakenws.net.lookups import Ledger

    class Journal(Ledger, Protocol):
        """A journal that raises `StateLocked` at once (`krakenws.journal.Journal`)."""

        @property
        def locked(self) -> bool: ...  # noqa: D102


PATIENCE_S = 5.0
"""How long the journal may be locked before what needs it is given up: as long as a run waits."""
AGAIN_S = 0.02
"""How long until it is tried again."""


class LoopLedger:
    """A journal that keeps the verdicts it cannot write yet, and puts off what needs a row.

    Args:
        journal: what is written.
        note: takes the sentence that a verdict could not be written at all.

    Attributes:
        kept: the verdicts to be written.
        lock: why requests are put off, None if none are.
        again_at: when (monotonic seconds) `try_again` wants to be called, None: nothing waits.
    """

    def __init__(self, journal: Journal, note: Callable[[str], None]) -> None:
        self.kept: dict[tuple[str, int], Intent] = {}
        self.lock: StateLocked | None = None
        self.again_at: float | None = None
        self._journal = journal
        self._note = note
        self._protocol: ClientProtocol | None = None

    # ---- rows

    def begin(self, intents: Sequence[Intent], *, allow: Callable[[], None] | None = None) -> None:
        """Write intents, all or none; they are on the disk when this returns.

        Raises:
            StateLocked: nothing was written: the file is locked, or others were put off and come first.
            SinkError, IntentTakenError: as `krakenws.journal.Journal.begin`.
        """
        if self.lock is not None:
            raise self.lock
        self._journal.begin(intents, allow=allow)

    def put_off(self, protocol: ClientProtocol, locked: StateLocked) -> list[Request]:
        """Put off what is about to leave and needs a row, which `begin` could not write.

        Returns:
            The trading requests that leave nevertheless: they are only to be checked.
        """
        trading = [request for request in protocol.leaving if request.entry.trading]
        protocol.hold([request for request in trading if not request.bound.only_validates], monotonic())
        self.lock, self._protocol = locked, protocol
        self._wait()
        return [request for request in trading if request.bound.only_validates]

    def try_again(self, now: float) -> list[tuple[Request, StateLocked]]:
        """Write what was kept; let leave what was put off, unless the file is still locked.

        Returns:
            The requests that were put off for too long, and why: they will not be sent.
        """
        self.write()
        lock, protocol = self.lock, self._protocol
        if lock is None or protocol is None:
            return []
        if not protocol.held or not self._journal.locked:
            self.lock = self._protocol = None
            protocol.go_on(now)
            return []
        self._wait()
        late = [one for one in protocol.held if one.held_at is not None and now - one.held_at >= PATIENCE_S]
        for request in late:
            protocol.give_up(request.req_id)
        return [(request, lock) for request in late]

    # ---- verdicts

    def settle(self, intent: Intent) -> Intent:
        """Write what became of an intent, now or later; return what stands, as far as it can be known."""
        try:
            return self._journal.settle(intent)
        except StateLocked:
            self.kept[intent.id, intent.part] = intent
            self._wait()
            return intent

    def write(self) -> None:
        """Write what was kept, if the file lets us by now; what it never will take is told."""
        self.again_at = None
        try:
            self._write_all()
        except StateLocked:
            self._wait()
        except SinkError as error:
            self._lose(error)

    def finish(self) -> None:
        """Write what was kept now, or tell that it could not be."""
        try:
            self._write_all()
        except SinkError as error:
            self._lose(error)

    def _write_all(self) -> None:
        for key, intent in [*self.kept.items()]:
            self._journal.settle(intent)
            del self.kept[key]

    def _lose(self, error: SinkError) -> None:
        for one in self.kept.values():
            self._note(f"the journal could not be told that {one.method} was {one.state}: {error}")
        self.kept.clear()

    def _wait(self) -> None:
        if self.again_at is None:
            self.again_at = monotonic() + AGAIN_S

    # ---- what is in it

    def of(self, name: str, /) -> list[Intent]:
        """Return the parts of an intent, in order; none if the name was never used."""
        return self._known(self._journal.of(name))

    def pending(self) -> list[Intent]:
        """Return the intents of which nobody knows yet what became of them, oldest first."""
        return [intent for intent in self._known(self._journal.pending()) if intent.pending]

    def since(self, since_ns: int, /) -> list[Intent]:
        """Return the intents from a time on (nanoseconds since 1970), oldest first."""
        return self._known(self._journal.since(since_ns))

    def claimed(self, order_ids: Iterable[str]) -> set[str]:
        """Return those of some orders that are known to be an intent's."""
        wanted = set(order_ids)
        kept = {str(intent.result.get("order_id", "")) for intent in self.kept.values()}
        return self._journal.claimed(wanted) | (wanted & kept)

    def _known(self, rows: list[Intent]) -> list[Intent]:
        return [self.kept.get((row.id, row.part), row) if row.pending else row for row in rows]
