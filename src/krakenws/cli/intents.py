"""What the trading commands of a run go through, and `krakenws intents`."""

from __future__ import annotations

from time import gmtime, strftime

from krakenws.account import Account, confirming, open_journal
from krakenws.net.errand import at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.cli.context import Context
    from krakenws.core.catalog import Bound
    from krakenws.core.intents import Intent
    from krakenws.journal import Journal
    from krakenws.net.errand import Learn
    from krakenws.net.facts import MakeRun
    from krakenws.net.gate import AtHand
    from krakenws.net.ledger import LoopLedger
    from krakenws.net.stop import Stop
    from krakenws.net.trading import Check, Confirm, Trading

LISTED = 50
"""Intents that are listed without `--count`."""


def make_trading(
    context: Context,
    journal: Journal,
    stop: Stop,
    make_run: MakeRun | None = None,
    *,
    ledger: LoopLedger | None = None,
    learn: Learn = at_once,
    at_hand: AtHand | None = None,
) -> Trading:
    """Return what the trading commands of a run go through.

    Args:
        context: what the run runs with.
        journal: of intents.
        stop: signals.
        make_run: makes the run in which a policy's facts are asked for; None: there are no checks.
        ledger: the journal again, for a run that waits for nobody.
        learn: makes the calls that ask the exchange before an order.
        at_hand: gives the best prices of a pair whose verified book is followed anyway.
    """
    account = Account(context.options, context.redactor, context.credentials())
    checks: tuple[Check, ...] = ()
    confirm: Confirm | None = None
    if make_run is not None:
        from krakenws.cli.orders import make_gate, pass_gate

        history = account.history(journal)
        gate = make_gate(context, make_run, stop, history, learn=learn, at_hand=at_hand)

        def check(bound: Bound) -> dict[str, str] | None:
            return pass_gate(context, gate, bound, trading.waiting if gate.has_policy else ())

        checks = (check,)
        confirm = confirming(gate, history)
    name = str(context.settings.get("intent", ""))
    trading = account.trading(
        ledger or journal, stop, note=context.note, name=name, checks=checks, confirm=confirm
    )
    return trading


def run(context: Context) -> int:
    """List the last intents; return the exit code."""
    from krakenws.cli.tables import write_fields

    count = context.settings.get("count")
    journal = open_journal()
    try:
        rows = [fields_of(intent) for intent in journal.last(count if isinstance(count, int) else LISTED)]
    finally:
        journal.close()
    write_fields(context, rows)
    return 0


def fields_of(intent: Intent) -> dict[str, object]:
    """Return the fields of an intent that are shown."""
    from krakenws.core.inquiry import named

    seconds, rest_ns = divmod(intent.created_ns, 1_000_000_000)
    return {
        "intent": intent.id + (f"/{intent.part}" if intent.part > 1 else ""),
        "time": f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(seconds))}.{rest_ns // 1000:06d}Z",
        "request": named(intent),
        "state": intent.state,
        "order_id": str(intent.result.get("order_id", "")),
        "found": intent.found,
        "error": intent.error,
        "endpoint": intent.endpoint,
    }
