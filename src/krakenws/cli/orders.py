"""What happens to commands before they are sent: checks, the user's policy, and a dry run instead of all."""

from __future__ import annotations

from time import time_ns

from krakenws.core.catalog import COMMAND, PRIVATE, bind
from krakenws.core.requests import Requests, only_validates
from krakenws.errors import UsageError
from krakenws.net.gate import Gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.cli.commands import Context
    from krakenws.cli.parser import Feed
    from krakenws.core.catalog import Bound
    from krakenws.net.facts import MakeRun
    from krakenws.net.stop import Stop


def admit(
    context: Context, commands: Sequence[Bound], make_run: MakeRun | None = None, stop: Stop | None = None
) -> None:
    """Return if commands may be sent; without `make_run`, nobody is asked (a dry run).

    Raises:
        KrakenWSError: as `Gate.check` does.
    """
    policy = context.settings.get("policy")
    if policy is not None:
        from krakenws.core.policy import Policy

        assert isinstance(policy, Policy)  # noqa: S101 - settings.py read it
    gate = Gate(context.options, policy=policy, history=None, make_run=make_run, stop=stop, note=context.note)
    for at, one in enumerate(commands):
        gate.check(one, commands[:at])
    for one in commands:
        if only_validates(one):
            context.note(f"{one.entry.name} validate=true: it is only checked, NOT placed")


def run_dry(context: Context, feeds: Sequence[Feed]) -> int:
    """Print the frames that commands would send, the token redacted; nothing is opened or sent."""
    from krakenws.cli.commands import dialect_of
    from krakenws.core.redaction import MASK

    commands = []
    for feed in feeds:
        if feed.entry is None or feed.entry.kind != COMMAND:
            raise UsageError(f"--dry-run shows what a command would send, and {feed.name} is none")
        commands.append(bind(feed.entry, feed.words))
    sink = context.open_sink(commands)
    admit(context, commands)
    requests: dict[str, Requests] = {}  # numbered by connection
    for one in commands:
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
