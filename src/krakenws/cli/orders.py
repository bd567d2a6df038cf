"""What happens to commands before they are sent: checks, the user's policy, and a dry run instead of all."""

from __future__ import annotations

from time import time_ns

from krakenws.core.catalog import COMMAND, PRIVATE, bind
from krakenws.core.requests import Requests
from krakenws.errors import UsageError
from krakenws.net.errand import at_once
from krakenws.net.gate import Gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.cli.context import Context
    from krakenws.cli.parser import Feed
    from krakenws.core.catalog import Bound
    from krakenws.core.policy import Policy
    from krakenws.net.errand import Learn
    from krakenws.net.facts import MakeRun
    from krakenws.net.gate import AtHand, History
    from krakenws.net.stop import Stop


def make_gate(
    context: Context,
    make_run: MakeRun | None = None,
    stop: Stop | None = None,
    history: History | None = None,
    *,
    learn: Learn = at_once,
    at_hand: AtHand | None = None,
) -> Gate:
    """Return what commands have to pass.

    Args:
        context: what the commands run with.
        make_run: makes the run in which a policy's facts are asked for; None: nobody is asked (a dry run).
        stop: signals, or None.
        history: what was sent before; None: a dry run does not look.
        learn: makes the calls that ask the exchange.
        at_hand: gives the best prices of a pair whose verified book is followed anyway.
    """
    policy = _policy_of(context)
    options, note = context.options, context.note
    return Gate(
        options,
        policy=policy,
        history=history,
        make_run=make_run,
        stop=stop,
        note=note,
        learn=learn,
        at_hand=at_hand,
    )


def pass_gate(context: Context, gate: Gate, bound: Bound, waiting: Sequence[Bound]) -> dict[str, str] | None:
    """Let a command pass, or raise as `Gate.check` does; return what it may come to, if a policy asks."""
    exposure = gate.check(bound, waiting)
    if bound.only_validates:
        context.note(f"{bound.entry.name} validate=true: it is only checked, NOT placed")
    return None if exposure is None else exposure.__dict__


def _policy_of(context: Context) -> Policy | None:
    policy = context.settings.get("policy")
    if policy is None:
        return None
    from krakenws.core.policy import Policy

    assert isinstance(policy, Policy)  # noqa: S101 - settings.py read it
    return policy


def run_dry(context: Context, feeds: Sequence[Feed]) -> int:
    """Print the frames that commands would send, the token redacted; nothing is opened or sent."""
    from krakenws.cli.context import dialect_of
    from krakenws.core.redaction import MASK
    from krakenws.net.trading import draw_userref, requests_of

    commands = []
    for feed in feeds:
        if feed.entry is None or feed.entry.kind != COMMAND:
            raise UsageError(f"--dry-run shows what a command would send, and {feed.name} is none")
        commands.append(bind(feed.entry, feed.words))
    sink = context.open_sink(commands)
    gate = make_gate(context)
    for at, one in enumerate(commands):
        pass_gate(context, gate, one, commands[:at])
    requests: dict[str, Requests] = {}  # numbered by connection
    for one in [request for command in commands for request in requests_of(command, draw_userref)]:
        entry = one.entry
        request = requests.setdefault(entry.access, Requests()).add(one)
        token, number = MASK if entry.access == PRIVATE else "", request.req_id if request.numbered else None
        frame = dialect_of(entry.api).command(entry, one.values, token, number)
        if context.output == "transcript":
            sink.sent([frame])
        elif context.output == "json":
            from krakenws.core.events import DryRun

            sink.write([DryRun(time_ns(), entry.name, frame.decode())])
        else:
            context.out.write(frame + b"\n")
    context.note("dry run: nothing was sent")
    return 0
