"""The journal as an event loop may use it: it waits for nobody.

While another program has locked the file, writing raises `StateLocked` at once, and who wanted it tries again
from the loop. A verdict is known all the same: it is told to whoever awaits it, kept, and written once the
lock is gone. A power cut could have taken it anyway (`krakenws.journal`): then it is looked for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from krakenws.errors import StateLocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from krakenws.core.intents import Intent
    from krakenws.net.lookups import Ledger

    class Journal(Ledger, Protocol):
        """A journal that raises `StateLocked` at once (`krakenws.journal.Journal`)."""

        @property
        def locked(self) -> bool: ...  # noqa: D102


class LoopLedger:
    """A journal that keeps the verdicts it cannot write yet.

    Args:
        journal: what is written.
        later: called when a verdict is kept, so that `write` is called some time.

    Attributes:
        kept: the verdicts to be written.
    """

    def __init__(self, journal: Journal, later: Callable[[], None]) -> None:
        self.kept: dict[tuple[str, int], Intent] = {}
        self._journal = journal
        self._later = later

    @property
    def locked(self) -> bool:
        """Whether another program keeps the file from being written now."""
        return self._journal.locked

    def begin(self, intents: Sequence[Intent], *, allow: Callable[[], None] | None = None) -> None:
        """Write intents, all or none; they are on the disk when this returns.

        Raises:
            StateLocked: nothing was written.
            SinkError, IntentTakenError: as `krakenws.journal.Journal.begin`.
        """
        self._journal.begin(intents, allow=allow)

    def settle(self, intent: Intent) -> Intent:
        """Write what became of an intent, now or later; return what stands, as far as it can be known."""
        try:
            return self._journal.settle(intent)
        except StateLocked:
            self.kept[intent.id, intent.part] = intent
            self._later()
            return intent

    def write(self) -> None:
        """Write what was kept.

        Raises:
            StateLocked: not yet.
        """
        for key, intent in [*self.kept.items()]:
            self._journal.settle(intent)
            del self.kept[key]

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
