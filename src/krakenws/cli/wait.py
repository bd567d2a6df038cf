"""`krakenws wait`: returns when a condition is true on verified data."""

from __future__ import annotations

from time import monotonic

from krakenws.core.catalog import bind, find
from krakenws.core.condition import parse
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES
from krakenws.errors import ConditionNotMet, DataUntrusted, RequestRejected, UsageError
from krakenws.record import replace
from krakenws.sinks import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.cli.context import Context
    from krakenws.core.events import Event, Met, Update
    from krakenws.core.watch import Watch
    from krakenws.net.loop import Run
    from krakenws.net.stop import Stop

STOPPED = 130
"""The exit code after a signal: `wait … && buy` must not go on."""


def run(context: Context, words: Sequence[str]) -> int:
    """Wait until the condition is met, and say so; return the exit code.

    Raises:
        UsageError: it is no condition, or an option contradicts.
        ConditionNotMet: it was judged to the end and did not come true in time.
        DataUntrusted: at the end it could not be judged.
        RequestRejected: the exchange refused a pair.
        KrakenWSError: what else ends a stream.
    """
    condition = parse(" ".join(words))
    _refuse_contradictions(context)
    from krakenws.core.watch import Watch  # most mistakes are made above: they load nothing heavy
    from krakenws.net.stop import Stop, Stopped

    watch = Watch(condition, context.options.quiet_s)
    with Stop() as stop:
        sink = _Watching(watch, stop)
        main = _run_of(context, sink, stop)
        for channel, symbols in watch.channels.items():
            entry = find(ENTRIES, channel)
            assert entry is not None  # noqa: S101 - the catalog has the three of them
            main.add(V1, bind(entry, symbols))
        try:
            main.run()
        except Stopped:
            return STOPPED
        if sink.met is not None:
            _tell(context, sink.met)
            return 0
        if watch.refused is not None:
            refused = watch.refused
            raise RequestRejected(
                f"{refused.channel} {refused.symbol} refused: {refused.error}", refused.error
            )
        main.judge()
        if stop.set:
            return STOPPED
    doubt = watch.doubt(monotonic())
    if doubt:
        raise DataUntrusted(f"wait could not judge {condition} in time: {doubt}")
    raise ConditionNotMet(f"not met in time: {condition} ({watch.state()})")


def _run_of(context: Context, sink: Sink, stop: Stop) -> Run:
    """Return a run whose events show whole books, frame by frame."""
    timeout_s = context.settings.get("timeout")
    return context.make_run(
        replace(context.options, book="full", verify=True, backfill=False, overflow="block"),
        sink,
        stop,
        note=lambda sentence: None if stop.set else context.note(sentence),
        for_s=timeout_s if isinstance(timeout_s, float) else None,
    )


class _Watching(Sink):
    """Ends the run when the condition is met, or can never be."""

    def __init__(self, watch: Watch, stop: Stop) -> None:
        self.met: Met | None = None
        self._watch = watch
        self._stop = stop

    def write(self, events: Sequence[Update | Event]) -> None:
        """Let the watch see what happened."""
        if self.met is None:
            self.met = self._watch.take(events, monotonic())
        if self.met is not None or self._watch.refused is not None:
            self._stop.set = True


def _refuse_contradictions(context: Context) -> None:
    typed = context.typed
    if "for" in typed:
        raise UsageError(
            "wait takes --timeout: for how long a condition must hold is said at its end, as in"
            " 'XBT/USD bid >= 65000 for 3s'"
        )
    if "count" in typed:
        raise UsageError("wait takes no --count: it ends when its condition is met, or with --timeout")
    if "api" in typed and context.settings["api"] != V1.api:
        raise UsageError("wait works on API v1: leave out --api")
    if "verify" in typed:
        raise UsageError("wait judges verified books only: leave out --no-verify")


def _tell(context: Context, met: Met) -> None:
    if context.output == "json":
        from krakenws.sinks.lines import Json

        Json(context.out).write([met])
    else:
        from krakenws.sinks.sentences import sentence

        context.out.write(f"{sentence(met, str)}\n".encode())
