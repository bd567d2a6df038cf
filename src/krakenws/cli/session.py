"""`krakenws session`: one command a line, JSON events out, connections that stay.

On standard input and output it has one caller and ends with it; with `--listen unix:PATH` it has many, and
ends when it is told to. What it does with their lines is the switchboard's; here it gets its run, its output
and its end.

Nobody waits for one of many. What a client has not read yet is kept for it up to `overflow_bytes`; then
market data is dropped for it, told and mended as under `--overflow drop`. When what cannot be dropped
(answers, its account, the life of connections) has grown to twice that, it is cut.
"""

from __future__ import annotations

import os
from functools import lru_cache

from krakenws.account import open_journal
from krakenws.cli.beside import Beside
from krakenws.cli.caller import Caller
from krakenws.cli.context import Context, Seldom, dialect_of
from krakenws.cli.intents import make_trading
from krakenws.cli.parser import entries
from krakenws.cli.switchboard import Switchboard
from krakenws.core.odometer import Odometer
from krakenws.core.session import Listening
from krakenws.errors import SinkError, UsageError
from krakenws.net.ledger import LoopLedger
from krakenws.net.stop import Silence, Stop, Stopped
from krakenws.record import replace
from krakenws.sinks.lines import Json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from krakenws.core.events import Summary
    from krakenws.core.exposure import Quote
    from krakenws.net.listener import UnixListener
    from krakenws.net.loop import EventSink, Run
    from krakenws.net.stop import Signals
    from krakenws.options import Options
    from krakenws.sinks import Sink

_STDIN = 0
_DOOR = 0
"""The key under which those who come are waited for; callers are numbered from 1."""


class _Input:
    """Standard input, for `Poller`."""

    def fileno(self) -> int:
        """Return the descriptor."""
        return _STDIN


def run(context: Context) -> int:
    """Run a session to its end; return the exit code.

    Raises:
        KrakenWSError: it could not begin, or what broke it off: the output, `--strict`.
    """
    settings = context.settings
    if settings.get("schema"):
        from krakenws.cli.tables import write_json
        from krakenws.core.schema import requests_schema

        write_json(context, [requests_schema(entries())], indent=2)
        return 0
    if "output" in context.typed and settings["output"] != "json":
        raise UsageError("a session speaks JSON: leave --output out")
    if settings.get("intent"):
        raise UsageError("--intent names one command, and a session has many: say intent= in its line")
    if os.name != "posix":
        raise UsageError("session needs a Unix system, where standard input can be waited for")
    context.output = "json"
    with Stop() as stop:
        if (place := settings.get("listen")) is None:
            return _Session(context, stop).serve()
        return _listen(context, stop, str(place))


def _listen(context: Context, stop: Stop, place: str) -> int:
    from krakenws.net.listener import UnixListener

    kind, _, path = place.partition(":")
    if kind != "unix" or not path:
        raise UsageError(f"--listen {place} is not unix:PATH, such as unix:kraken.sock")
    if "overflow" in context.typed and context.options.overflow != "drop":
        raise UsageError("a session for many waits for none of them: --overflow drop is what it does")
    if "verify" in context.typed:
        raise UsageError(
            "a session for many begins a book from its own copy, which --no-verify does not keep"
        )
    context.options = replace(context.options, verify=True)
    with UnixListener(path) as listener:
        return _Server(context, stop, listener).serve()


class _Session:
    """The session of one caller, on standard input and output."""

    def __init__(self, context: Context, stop: Stop) -> None:
        self._context = context
        self._stop = stop
        self._tell_lag = Seldom(context.note)
        self._beside = Beside()
        self._silence = Silence()
        self._switchboard = Switchboard(
            context.options,
            dialect_of=lru_cache(dialect_of),
            patterns=lru_cache(lambda api: context.pair_patterns(api, self._beside.learn)),
            beside=self._beside,
            clean=context.redactor.clean,
            await_journal=_await_journal,
            help_on=_help_on,
            leave=self._leave,
            on_knock=self._on_knock,
            on_gone=self._on_gone,
        )

    def serve(self) -> int:
        """Run it to its end; return the exit code."""
        sink = self._open()
        run = self._make_main()
        self._switchboard.steer(run)
        self._begin(run)
        try:
            try:
                run.run()
            finally:
                self._switchboard.close()
                self._silence.close()
                self._close()
                sink.close()
        except Stopped:
            pass  # while it was ending anyway
        except Exception:  # a closed pipe, too
            run.verdicts.judge_unknown()  # what became of an order outweighs what broke off
            raise
        run.verdicts.judge_unknown()
        return 0

    def _begin(self, run: Run) -> None:
        """Do what needs the run."""

    def _close(self) -> None:
        """See off who is still there."""

    def _leave(self) -> None:
        self._stop.set = True

    def _on_knock(self) -> None:
        """Nobody knocks on standard input."""

    def _on_gone(self, caller: Caller, error: SinkError | None) -> None:
        """Who has the session alone is never gone."""

    def _open(self) -> Sink:
        """Open standard output, and let its caller in."""
        context, options = self._context, self._context.options
        if options.overflow == "block":
            sink: Sink = Json(context.out, many=True)
        else:
            from krakenws.sinks.overflow import HoldingOut, dropping, open_out

            context.out = out = open_out(context.out, options)
            sink = Json(out, many=True)
            if isinstance(out, HoldingOut):
                note, tell_lag = context.note, self._tell_lag
                sink = dropping(sink, out, options, None, note=note, tell_lag=tell_lag)
        context.sink = sink
        self._switchboard.join(Caller(1, _Input(), sink, alone=True))
        return sink

    def _make_look(self, options: Options, watcher: EventSink, for_s: float) -> Run:
        """Return a run for another thread, in which a policy's facts are asked for."""
        return self._make_run(options, watcher, self._silence, for_s=for_s)

    def _make_main(self) -> Run:
        context = self._context
        count, for_s = context.settings.get("count"), context.settings.get("for")
        journal = open_journal(patience_s=0.0)
        ledger = LoopLedger(journal, context.note)
        return self._make_run(
            context.options,
            self._switchboard,
            self._stop,
            count=count if isinstance(count, int) else None,
            for_s=for_s if isinstance(for_s, float) else None,
            summarize=self._summarize,
            trading=make_trading(
                context,
                journal,
                self._stop,
                self._make_look,
                ledger=ledger,
                learn=self._beside.learn,
                at_hand=self._quote,
            ),
            ledger=ledger,
            odometer=Odometer(context.note, context.note if context.settings.get("verbose") else None),
            attendant=self._switchboard,
        )

    def _quote(self, pair: str) -> Quote | None:
        return self._switchboard.run.quote(pair)

    def _make_run(self, options: Options, sink: EventSink, stop: Signals, **more: Any) -> Run:
        return self._context.make_run(options, sink, stop, tell_lag=self._tell_lag, **more)

    def _summarize(self, summary: Summary) -> None:
        self._switchboard.write([summary])


class _Server(_Session):
    """The session of many callers, on a Unix socket."""

    def __init__(self, context: Context, stop: Stop, listener: UnixListener) -> None:
        super().__init__(context, stop)
        self._listener = listener
        self._clients: dict[Caller, socket.socket] = {}
        self._count = 0
        from krakenws.cli.clients import Encoder

        self._encoder = Encoder()
        self._run: Run | None = None

    def _open(self) -> Sink:
        self._context.sink = sink = Json(self._context.out)
        return sink

    def _begin(self, run: Run) -> None:
        from time import time_ns

        self._run = run
        run.watch(_DOOR, self._listener.watched)
        assert self._context.sink is not None  # noqa: S101 - opened just before
        self._context.sink.write([Listening(time_ns(), self._listener.path)])

    def _on_knock(self) -> None:
        try:
            for client in self._listener.accept():
                self._welcome(client)
        except SinkError as error:  # no descriptor left: until somebody goes
            self._context.note(str(error))
            assert self._run is not None  # noqa: S101 - somebody knocked
            self._run.watch(_DOOR, ())

    def _welcome(self, client: socket.socket) -> None:
        from krakenws.cli.clients import ClientOut, SharedJson
        from krakenws.sinks.overflow import dropping

        self._count += 1
        name = f"client {self._count}"
        out = ClientOut(client, name, self._context.options)
        sink = dropping(
            SharedJson(out, self._encoder),
            out,
            self._context.options,
            None,
            note=self._context.note,
            tell_lag=lambda _: self._tell_lag(f"{name} reads too slowly: market data is dropped for it"),
            shared=True,
        )
        caller = Caller(self._count, client, sink, alone=False)
        self._clients[caller] = client
        self._switchboard.join(caller)

    def _on_gone(self, caller: Caller, error: SinkError | None) -> None:
        self._clients.pop(caller).close()
        if error is not None:
            self._context.note(str(error))
        if self._run is not None:
            self._run.watch(_DOOR, self._listener.watched)

    def _close(self) -> None:
        for client in self._clients.values():
            client.close()


def _await_journal() -> None:
    """Wait until the journal can be read, as long as any run does."""
    journal = open_journal()
    try:
        journal.last(1)
    finally:
        journal.close()


def _help_on(topic: str) -> str:
    from krakenws.cli.help import of_entry
    from krakenws.cli.parser import look_up

    if not topic:
        return _HELP + ", ".join(entry.name for entry in entries() if not entry.explicit)
    entry, _ = look_up(topic, None)
    return of_entry("krakenws", entry) if entry is not None else ""


_HELP = """\
A line is a command in the words of the command line, or a JSON object; id=TEXT is carried by its answers.
  ticker XBT/USD id=t1
  {"id": "t1", "do": "ticker", "pair": ["XBT/USD"]}
intent=NAME names a trading command: used again, it is answered with the first verdict, and nothing is sent.
unsubscribe NAME …   end what NAME … began
status               connections, and what you follow
help [NAME]          this, or what NAME takes
quit                 wait for open answers, and leave
NAME is one of: """
