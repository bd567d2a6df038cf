"""What is done once the words are understood: a tool, or feeds and commands in one run."""

from __future__ import annotations

from krakenws.cli.context import Seldom, dialect_of
from krakenws.core.catalog import Bound, bind, shown
from krakenws.core.v1_entries import PLACING
from krakenws.errors import KrakenWSError, PolicyRefused, SinkError, UsageError
from krakenws.record import replace
from krakenws.sinks import ClosedPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.cli.context import Context
    from krakenws.cli.parser import Feed
    from krakenws.cli.tools import Tool
    from krakenws.core.catalog import Entry
    from krakenws.core.events import Summary
    from krakenws.core.odometer import Odometer
    from krakenws.net.facts import MakeRun
    from krakenws.net.follow import Follow
    from krakenws.net.loop import EventSink, Run
    from krakenws.net.stop import Stop
    from krakenws.net.trading import Trading
    from krakenws.options import Options
    from krakenws.sinks import Sink

_EXCHANGE_TOOLS = {"token", "pairs", "wait", "doctor", "guard", "reconcile", "session"}
"""The tools that talk to an exchange, and so may talk to the sandbox."""


def run(context: Context, feeds: Sequence[Feed]) -> int:
    """Run what was typed, against Kraken or a sandbox exchange; return the exit code."""
    tool, sandbox = feeds[0].tool, context.settings.get("sandbox")
    if tool is not None and not tool.takes_words and feeds[0].words:
        instead = f"; {tool.instead}" if tool.instead else ""
        raise UsageError(f"{tool.name} takes no words: {shown(feeds[0].words[0])}{instead}")
    if context.settings.get("dry_run"):
        from krakenws.cli.orders import run_dry

        if sandbox is not None:  # its playground is not entered: nobody is asked
            from krakenws.playground import DEFAULT_URL, Playground

            context.play(Playground(str(sandbox) or DEFAULT_URL, context.note))
        return run_dry(context, feeds)
    if sandbox is None or (tool is not None and tool.name not in _EXCHANGE_TOOLS):
        return _run_tool(context, tool, feeds[0].words) if tool else run_feeds(context, feeds)
    from krakenws.playground import Playground

    with Playground(str(sandbox), context.note) as playground:
        context.play(playground)
        return _run_tool(context, tool, feeds[0].words) if tool else run_feeds(context, feeds)


def _run_tool(context: Context, tool: Tool, words: Sequence[str]) -> int:
    """Run a tool: each is a module by its name, whose `run` takes the words, if the tool takes any."""
    from importlib import import_module

    module = import_module(f"krakenws.cli.{tool.name}")
    return int(module.run(context, words) if tool.takes_words else module.run(context))


def run_feeds(context: Context, feeds: Sequence[Feed]) -> int:
    """Run channels and commands of the catalog together; return the exit code."""
    bound = [_bind(context, feed.entry, feed.words) for feed in feeds if feed.entry]
    _settle_contradictions(context, bound)
    tell_lag = Seldom(context.note)
    sink = _open_output(context, bound, tell_lag)
    from krakenws.net.stop import Stop, Stopped

    with Stop() as stop:
        run = _make_run(context, bound, sink, stop, tell_lag)
        _add_all(run, bound)
        try:
            try:
                run.run()
            finally:
                sink.close()
        except Stopped:
            pass  # while it was ending anyway
        except ClosedPipe:
            run.judge()  # what became of an order outweighs a broken pipe
            raise
        except SinkError as error:
            run.judge(unsent_is_failure=False)
            error.retryable = not run.verdicts.traded
            raise
        except Exception as error:
            run.verdicts.judge_unknown()
            if run.verdicts.traded and isinstance(error, KrakenWSError):
                error.retryable = False
            raise
        run.judge()
    return 0


def _add_all(run: Run, bound: Sequence[Bound]) -> None:
    """Put all on their way; where a policy forbids one, none that places an order, but those that cancel."""
    forbidden: PolicyRefused | None = None
    for one in bound:
        if forbidden is not None and one.entry.name in PLACING:
            continue
        try:
            run.add(dialect_of(one.entry.api), one)
        except PolicyRefused as refused:
            forbidden = refused
    if forbidden is not None:
        run.forbid(forbidden)


def _settle_contradictions(context: Context, bound: Sequence[Bound]) -> None:
    """Refuse what was typed and cannot be together; a setting that was kept yields.

    Raises:
        UsageError: of two things that were typed only one can be.
    """
    if context.options.backfill and context.output in {"raw", "transcript"}:
        if "backfill" in context.typed:
            raise UsageError(f"--backfill tells rows, and {context.output} is frames as they came; use json")
        context.options = replace(context.options, backfill=False)
    if context.settings.get("intent") and not any(one.entry.trading for one in bound):
        raise UsageError("--intent names a trading command, and there is none")


def _make_run(
    context: Context, bound: Sequence[Bound], sink: Sink, stop: Stop, tell_lag: Callable[[str], None]
) -> Run:
    credentials = context.credentials()

    def run_beside(options: Options, watcher: EventSink, for_s: float) -> Run:
        """Return a run beside the user's own: what is learned by it goes nowhere else."""
        return context.make_run(
            options, watcher, stop, credentials=credentials, tell_lag=tell_lag, for_s=for_s
        )

    trades = any(one.entry.trading for one in bound)
    count, for_s = context.settings.get("count"), context.settings.get("for")
    return context.make_run(
        context.options,
        sink,
        stop,
        credentials=credentials,
        note=_silent if context.output == "text" else context.note,  # text tells it on stdout
        tell_lag=tell_lag,
        trading=_trading(context, stop, run_beside) if trades else None,
        follow=_follow(bound) if context.settings.get("follow") else None,
        count=count if isinstance(count, int) else None,
        for_s=for_s if isinstance(for_s, float) else None,
        summarize=_summarizer(context, sink),
        odometer=_odometer(context) if trades else None,
    )


def _trading(context: Context, stop: Stop, make_run: MakeRun) -> Trading:
    from krakenws.account import open_journal
    from krakenws.cli.intents import make_trading

    return make_trading(context, open_journal(), stop, make_run)


def _follow(bound: Sequence[Bound]) -> Follow:
    from krakenws.net.follow import Follow

    places = [one for one in bound if one.entry.name in {"addOrder", "editOrder"}]
    if len(places) != 1 or len(bound) != 1 or bound[0].values.get("validate") in {True, "true"}:
        raise UsageError("--follow goes with one addOrder or editOrder alone, and not with validate")
    return Follow()


def _summarizer(context: Context, sink: Sink) -> Callable[[Summary], None] | None:
    """Return what tells the summary of a run: JSON always has it, people who asked for more with -v."""
    verbose = bool(context.settings.get("verbose"))
    if context.output == "json" or (verbose and context.output == "text"):
        return lambda event: sink.write([event])
    if not verbose:
        return None

    def tell(event: Summary) -> None:
        from krakenws.sinks.sentences import summary

        context.note(summary(event))

    return tell


def _open_output(context: Context, bound: Sequence[Bound], tell_lag: Callable[[str], None]) -> Sink:
    """Open the output of a stream, which has a policy for readers that are too slow."""
    options = context.options
    if options.overflow == "block":
        context.out.widen()
        return context.open_sink(bound)
    from krakenws.sinks.overflow import HoldingOut, dropping, open_out

    context.out = out = open_out(context.out, options)
    sink = context.open_sink(bound)
    if isinstance(out, HoldingOut):
        sink = context.sink = dropping(sink, out, options, bound, note=context.note, tell_lag=tell_lag)
    return sink


def _odometer(context: Context) -> Odometer:
    """Return what foretells the rate counter; -v has it told."""
    from krakenws.core.odometer import Odometer

    return Odometer(context.note, context.note if context.settings.get("verbose") else None)


def _silent(_sentence: str) -> None:
    """Say nothing."""


def _bind(context: Context, entry: Entry, words: Sequence[str]) -> Bound:
    one = bind(entry, words, context.pair_patterns(entry.api))
    if entry.name == "balances" and entry.api == 2 and context.settings.get("api") != entry.api:
        context.note("balances is served by API v2: v1 never had it")
    return one
