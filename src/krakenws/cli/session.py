"""`krakenws session`: one command a line, JSON events out, connections that stay.

On standard input and output it has one caller and ends with it; with `--listen unix:PATH` it has many, and
ends when it is told to. What it does with their lines is the switchboard's; here it gets its run, its output
and its end.
"""

from __future__ import annotations

import os

from krakenws.cli.caller import Caller
from krakenws.cli.commands import Context, Seldom, dialect_of
from krakenws.cli.switchboard import Switchboard
from krakenws.errors import UsageError
from krakenws.net.loop import Run
from krakenws.net.stop import Stop, Stopped
from krakenws.sinks import ClosedPipe
from krakenws.sinks.lines import Json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.core.events import Summary
    from krakenws.sinks import Sink

_STDIN = 0
_FIRST = 1


class _Input:
    """Standard input, for `Poller`."""

    def fileno(self) -> int:
        """Return the descriptor."""
        return _STDIN


def run_session(context: Context, words: list[str]) -> int:
    """Run a session to its end; return the exit code.

    Raises:
        KrakenWSError: it could not begin, or what broke it off: the output, `--strict`.
    """
    if words:
        raise UsageError(f"session takes no words: {words[0]}; commands are its lines of standard input")
    if context.settings.get("output", "json") != "json":
        raise UsageError("a session speaks JSON: leave --output out")
    if os.name != "posix":
        raise UsageError("session needs a Unix system, where standard input can be waited for")
    context.output = "json"
    with Stop() as stop:
        return _Session(context, stop).serve()


class _Session:
    def __init__(self, context: Context, stop: Stop) -> None:
        self._context = context
        self._stop = stop
        self._tell_lag = Seldom(context.note)
        self._switchboard = Switchboard(
            context.options,
            dialect_of=dialect_of,
            patterns=context.pair_patterns,
            clean=context.redactor.clean,
            help_on=_help_on,
            leave=self._leave,
            on_gone=self._on_gone,
        )

    def serve(self) -> int:
        sink = self._open_output()
        self._switchboard.join(Caller(_FIRST, _Input(), sink, alone=True))
        run = self._make_run()
        self._switchboard.steer(run)
        try:
            try:
                run.run()
                self._switchboard.close()
            finally:
                sink.close()
        except Stopped:
            pass  # while it was ending anyway
        except ClosedPipe:
            run.judge_unknown()
            raise
        except Exception:
            run.judge_unknown()
            raise
        run.judge_unknown()
        return 0

    def _leave(self) -> None:
        self._stop.set = True

    def _on_gone(self, caller: Caller) -> None:
        pass

    def _open_output(self) -> Sink:
        context, options = self._context, self._context.options
        if options.overflow == "block":
            sink: Sink = Json(context.out)
        else:
            from krakenws.sinks.overflow import HoldingOut, dropping, open_out

            context.out = out = open_out(context.out, options)
            sink = Json(out)
            if isinstance(out, HoldingOut):
                note, tell_lag = context.note, self._tell_lag
                sink = dropping(sink, out, options, None, note=note, tell_lag=tell_lag)
        context.sink = sink
        return sink

    def _make_run(self) -> Run:
        context = self._context
        count, for_s = context.settings.get("count"), context.settings.get("for")
        return Run(
            context.options,
            self._switchboard,
            context.out,
            redactor=context.redactor,
            credentials=context.credentials(),
            note=context.note,
            warn=context.note,
            tell_lag=self._tell_lag,
            stop=self._stop,
            budget=context.budget(),
            count=count if isinstance(count, int) else None,
            for_s=for_s if isinstance(for_s, float) else None,
            summarize=self._summarize,
            attendant=self._switchboard,
        )

    def _summarize(self, summary: Summary) -> None:
        self._switchboard.write([summary])


def _help_on(topic: str) -> str:
    from krakenws.cli.help import of_entry
    from krakenws.cli.parser import entries, look_up

    if not topic:
        return _HELP + ", ".join(entry.name for entry in entries() if not entry.explicit)
    entry, _ = look_up(topic, None)
    return of_entry("krakenws", entry) if entry is not None else ""


_HELP = """\
A line is a command in the words of the command line, or a JSON object; id=TEXT is carried by its answers.
  ticker XBT/USD id=t1
  {"id": "t1", "do": "ticker", "pair": ["XBT/USD"]}
unsubscribe NAME …   end what NAME … began
status               connections, and what you follow
help [NAME]          this, or what NAME takes
quit                 wait for open answers, and leave
NAME is one of: """
