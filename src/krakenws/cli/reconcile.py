"""`krakenws reconcile`: what became of every request whose outcome is open."""

from __future__ import annotations

from contextlib import suppress

from krakenws.account import open_journal
from krakenws.cli.intents import fields_of, make_trading
from krakenws.cli.tables import write_fields
from krakenws.errors import OutcomeUnknown
from krakenws.net.stop import Stop, Stopped
from krakenws.sinks import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.cli.context import Context


def run(context: Context) -> int:
    """Look for every open intent, and say what became of each; return the exit code.

    Raises:
        KrakenWSError: what broke it off.
    """
    journal = open_journal()
    with Stop() as stop:
        trading = make_trading(context, journal, stop)
        ours, others = trading.adopt_open()
        if others:
            context.note(f"of another endpoint or API key, and left alone: {others} open intents")
        look = context.make_run(context.options, Sink(), stop, trading=trading)
        with suppress(Stopped):  # while it was ending anyway
            look.run()
    rows = [row for name in dict.fromkeys(intent.id for intent in ours) for row in journal.of(name)]
    journal.close()
    write_fields(context, [fields_of(row) for row in rows])
    return OutcomeUnknown.exit_code if any(row.pending for row in rows) else 0
