"""`krakenws guard TIMEOUT -- CMD…`: its words, and what a guard is made of."""

from __future__ import annotations

import os

from krakenws.core.catalog import shown
from krakenws.core.kinds import duration
from krakenws.errors import UsageError
from krakenws.net.child import find_program, without_secrets
from krakenws.net.guard import CANCEL, Guard
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.cli.context import Context
    from krakenws.net.guard import GuardSignals
    from krakenws.net.loop import Run

_LONGEST_S = 86_399
"""Source: v2 cancel_all_orders_after: below 86400 seconds."""
_ANSWERS = 3
"""An answer may take this part of TIMEOUT, or as long as anywhere else if that is less."""


def run(context: Context, words: Sequence[str]) -> int:
    """Run CMD under the dead man's switch; return the exit code.

    Raises:
        KrakenWSError: see `Guard.run`; before anything is armed also for words that do not fit.
    """
    timeout_s, command = _read(words)
    program = find_program(command[0])
    options = context.options
    ack_timeout_s = min(options.ack_timeout_s, timeout_s / _ANSWERS)
    options = replace(options, ack_timeout_s=ack_timeout_s, reconnect=None, backfill=False, strict=False)

    def make_run(guard: Guard, signals: GuardSignals) -> Run:
        return context.make_run(options, guard, signals, attendant=guard)

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
