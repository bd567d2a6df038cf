"""`krakenws guard TIMEOUT -- CMD…`: its words, and what a guard is made of."""

from __future__ import annotations

import os

from krakenws.account import Account, open_journal
from krakenws.core.catalog import shown
from krakenws.core.kinds import duration
from krakenws.core.v1_entries import CANCEL_ALL_ORDERS_AFTER
from krakenws.errors import SinkError, UsageError
from krakenws.net.child import find_program, without_secrets
from krakenws.net.guard import CANCEL, Guard
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from krakenws.cli.context import Context
    from krakenws.core.intents import Intent
    from krakenws.journal import Journal
    from krakenws.net.guard import GuardSignals
    from krakenws.net.loop import Run

_LONGEST_S = 86_399
"""Source: v2 cancel_all_orders_after: below 86400 seconds."""
_ANSWERS = 3
"""An answer may take this part of TIMEOUT, or as long as anywhere else if that is less."""


class Logbook:
    """The journal of a guard. Its switch has one row: each request to it takes the place of the one before.

    Without a row nothing is armed. From then on what a guard sends leaves also if its row cannot be written,
    of which people are told: that CMD's orders lose their guard, or stand although it failed, is worse than
    a gap in the journal, and nothing that a guard sends does harm when it is sent twice.
    """

    def __init__(self, journal: Journal, note: Callable[[str], None]) -> None:
        self._journal = journal
        self._note = note
        self._switch = ""
        self._has_begun = False
        self._has_looked = False
        self._said = ""

    def begin(self, intents: Sequence[Intent], *, allow: Callable[[], None] | None = None) -> None:
        """Write intents; they are on the disk when this returns, or that is said.

        Raises:
            SinkError: they could not be written, and nothing was armed yet.
        """
        switch = next((one.id for one in intents if one.method == CANCEL_ALL_ORDERS_AFTER.name), "")
        try:
            self._journal.begin(intents, allow=allow, instead_of=self._switch if switch else "")
        except SinkError as error:
            self._failed(error)
        self._has_begun = True
        self._switch = switch or self._switch

    def settle(self, intent: Intent) -> Intent:
        """Write what became of an intent; that it could not be is said."""
        try:
            return self._journal.settle(intent)
        except SinkError as error:
            self._failed(error)
            return intent

    def _failed(self, error: SinkError) -> None:
        if not self._has_begun:
            raise error
        if str(error) != self._said:
            self._said = str(error)
            self._note(f"not in the journal any more, and sent all the same: {error}")

    def of(self, _name: str) -> list[Intent]:
        """Return nothing: a guard's requests have no names."""
        return []

    def pending(self) -> list[Intent]:
        """Return the intents that are open, once: each run of a guard asks."""
        if self._has_looked:
            return []
        self._has_looked = True
        return self._journal.pending()

    def since(self, _since_ns: int) -> list[Intent]:
        """Return nothing: a guard foretells no rate counter."""
        return []

    def claimed(self, _order_ids: Iterable[str]) -> set[str]:
        """Return nothing: a guard places no order."""
        return set()


def run(context: Context, words: Sequence[str]) -> int:
    """Run CMD under the dead man's switch; return the exit code.

    Raises:
        KrakenWSError: see `Guard.run`; before anything is armed also for words that do not fit.
    """
    timeout_s, command = _read(words)
    program = find_program(command[0])
    options = context.options
    ack_timeout_s = min(options.ack_timeout_s, timeout_s / _ANSWERS)
    options = replace(
        options, ack_timeout_s=ack_timeout_s, look_ups_s=(), reconnect=None, backfill=False, strict=False
    )
    account = Account(options, context.redactor, context.credentials())
    logbook = Logbook(open_journal(), lambda sentence: context.note(f"guard: {sentence}"))

    def make_run(guard: Guard, signals: GuardSignals) -> Run:
        trading = account.trading(logbook, signals, note=context.note)
        return context.make_run(options, guard, signals, attendant=guard, trading=trading)

    def environ() -> dict[str, str]:
        if context.settings.get("pass_secrets"):
            return dict(os.environ)
        return without_secrets(os.environ, context.redactor.clean)

    return Guard(
        command,
        program,
        environ=environ,
        timeout_s=timeout_s,
        on_failure=str(context.settings.get("on_failure", CANCEL)),
        ack_timeout_s=ack_timeout_s,
        make_run=make_run,
        note=context.note,
        jitter=lambda: int.from_bytes(os.urandom(4), "big") / 2**32,
    ).run()


def _read(words: Sequence[str]) -> tuple[int, list[str]]:
    """Return TIMEOUT in seconds, and CMD with its words."""
    if os.name != "posix":
        raise UsageError("guard needs the signals of a Unix system")
    timeout, dashes, *command = [*words, "", ""][: max(len(words), 2)]
    if not timeout or timeout == "--":
        raise UsageError("guard needs a time and a command: guard 60s -- ./bot.sh")
    if dashes != "--" or not command:
        raise UsageError(f"guard needs -- and a command behind its time: guard {timeout} -- ./bot.sh")
    try:
        seconds = duration(timeout)
    except ValueError as error:
        raise UsageError(f"guard: {shown(timeout)} {error}") from None
    if seconds != int(seconds) or not 1 <= seconds <= _LONGEST_S:
        raise UsageError(f"guard: {timeout} is not a time of whole seconds from 1s to {_LONGEST_S}s")
    return int(seconds), command
