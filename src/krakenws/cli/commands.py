"""What each command does once its words are understood: feeds and trading in one run loop, and the tools."""

from __future__ import annotations

import os
from time import monotonic, time, time_ns

from krakenws.core.catalog import Bound, bind
from krakenws.directories import config_dir
from krakenws.errors import KrakenWSError, OutcomeUnknown, SinkError, UsageError
from krakenws.sinks import ClosedPipe, Out, open_sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from krakenws.budget import ConnectionBudget
    from krakenws.cli.options import Settings
    from krakenws.cli.parser import Feed
    from krakenws.cli.playground import Playground
    from krakenws.core.catalog import Entry
    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Summary
    from krakenws.core.odometer import Odometer
    from krakenws.core.redaction import Redactor
    from krakenws.net.credentials import Credentials
    from krakenws.net.facts import MakeRun
    from krakenws.net.follow import Follow
    from krakenws.net.loop import EventSink
    from krakenws.net.stop import Stop
    from krakenws.net.trading import Trading
    from krakenws.options import Options
    from krakenws.sinks import Sink

_SELDOM_S = 60.0
_EXCHANGE_TOOLS = {"token", "pairs", "wait", "doctor", "guard", "reconcile", "session"}
"""The tools that talk to an exchange, and so may talk to the sandbox."""


class Context:
    """What a command runs with.

    Attributes:
        options: endpoints and deadlines.
        settings: everything else that was set.
        output: the output format.
        out: stdout.
        note: says a sentence on stderr, unless quiet.
        redactor: the run's one redactor.
        program_dir: where the program lies, for `WS_Token` beside it.
        working_dir: where `WS_Token` is looked for first.
        environ: where keys and tokens are looked for.
        sink: what takes the output, once it is open.
        plays: whether it talks to a sandbox, which bans nobody.
    """

    def __init__(
        self,
        options: Options,
        settings: Settings,
        *,
        output: str,
        out: Out,
        note: Callable[[str], None],
        redactor: Redactor,
        program_dir: str,
    ) -> None:
        self.options = options
        self.settings = settings
        self.output = output
        self.out = out
        self.note = note
        self.redactor = redactor
        self.program_dir = program_dir
        try:
            self.working_dir = os.getcwd()
        except OSError:  # it was deleted
            self.working_dir = os.devnull  # no WS_Token lies there
        self.environ: Mapping[str, str] = os.environ
        self.sink: Sink | None = None
        self.plays = False

    def open_sink(self, bound: Sequence[Bound] | None) -> Sink:
        """Open the output; `bound` is None when only the data tells what the run is about."""
        warn = None if self.options.strict else self.note  # what ends the run need not be told twice
        self.sink = open_sink(self.output, self.out, bound=bound, color=self._has_color(), warn=warn)
        return self.sink

    def _has_color(self) -> bool:
        wish = self.settings.get("color", "auto")
        if wish != "auto":
            return wish == "always"
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and os.isatty(1)

    def credentials(self) -> Credentials:
        """Return what finds tokens and keys; the state file is opened only when a nonce is drawn."""
        from krakenws.net.credentials import Credentials

        token_file, key_file = self.settings.get("token_file"), self.settings.get("key_file")
        return Credentials(
            self.options,
            self.redactor,
            next_nonce,
            environ=self.environ,
            working_dir=self.working_dir,
            program_dir=self.program_dir,
            config_dir=config_dir(),
            token_file=str(token_file) if token_file else None,
            key_file=str(key_file) if key_file else None,
        )

    def budget(self) -> ConnectionBudget | None:
        """Return the budget of connections that all processes share; there is none for a sandbox."""
        if self.plays:
            return None
        from krakenws.budget import ConnectionBudget

        return ConnectionBudget(self.options, self.note)

    def play(self, playground: Playground) -> None:
        """Talk to a sandbox exchange, with the demo account's key: the user's own is of no use there."""
        from krakenws.cli.playground import demo_environment

        self.plays = True
        self.options = playground.options(self.options)
        self.environ = demo_environment(self.environ)
        self.working_dir = self.program_dir = os.devnull  # no WS_Token lies there

    def pair_patterns(self, api: int) -> Callable[[str], list[str]]:
        """Return what expands `*/USD`."""

        def expand(pattern: str) -> list[str]:
            from krakenws.net.pairs import load

            pairs = load(self.options, refresh=False, now_s=time())
            if pairs.note:
                self.note(pairs.note)
            return pairs.expand(pattern, api)

        return expand


def next_nonce(key_id: str) -> int:
    """Return a new nonce for a key; may be called in any thread."""
    from krakenws.state import State

    state = State()
    try:
        return state.next_nonce(key_id, time_ns())
    finally:
        state.close()


def dialect_of(api: int) -> Dialect:
    """Return the dialect of an API version."""
    if api == 1:
        from krakenws.core.v1 import V1

        return V1
    from krakenws.core.v2 import V2

    return V2


def run(context: Context, feeds: Sequence[Feed]) -> int:
    """Run what was typed, against Kraken or a sandbox exchange; return the exit code."""
    tool = feeds[0].tool
    if context.settings.get("dry_run"):
        from krakenws.cli.orders import run_dry

        return run_dry(context, feeds)
    sandbox = context.settings.get("sandbox")
    if sandbox is None or (tool is not None and tool.name not in _EXCHANGE_TOOLS):
        return run_tool(context, feeds[0]) if tool else run_feeds(context, feeds)
    from krakenws.cli.playground import Playground

    with Playground(str(sandbox), context.note) as playground:
        context.play(playground)
        return run_tool(context, feeds[0]) if tool else run_feeds(context, feeds)


def run_feeds(context: Context, feeds: Sequence[Feed]) -> int:
    """Run channels and commands of the catalog together; return the exit code."""
    bound = [_bind(context, feed.entry, feed.words) for feed in feeds if feed.entry]
    if context.options.backfill and context.output in {"raw", "transcript"}:
        raise UsageError(f"--backfill tells rows, and {context.output} is frames as they came; use json")
    trades = any(one.entry.trading for one in bound)
    if context.settings.get("intent") and not trades:
        raise UsageError("--intent names a trading command, and there is none")
    tell_lag = Seldom(context.note)
    sink = _open_output(context, bound, tell_lag)
    from krakenws.net.loop import Run
    from krakenws.net.stop import Stop, Stopped

    count, for_s = context.settings.get("count"), context.settings.get("for")
    credentials = context.credentials()
    with Stop() as stop:

        def make_run(options: Options, watcher: EventSink, for_s: float) -> Run:
            """Return a run beside the user's own: what is learned by it goes nowhere else."""
            return Run(
                options,
                watcher,
                context.out,
                redactor=context.redactor,
                credentials=credentials,
                note=context.note,
                warn=context.note,
                tell_lag=tell_lag,
                stop=stop,
                budget=context.budget(),
                for_s=for_s,
            )

        run = Run(
            context.options,
            sink,
            context.out,
            redactor=context.redactor,
            credentials=credentials,
            note=_silent if context.output == "text" else context.note,  # text tells it on stdout
            warn=context.note,
            tell_lag=tell_lag,
            stop=stop,
            budget=context.budget(),
            trading=_trading(context, stop, make_run) if trades else None,
            follow=_follow(bound) if context.settings.get("follow") else None,
            count=count if isinstance(count, int) else None,
            for_s=for_s if isinstance(for_s, float) else None,
            summarize=_summarizer(context, sink),
            odometer=_odometer(context, bound),
        )
        for one in bound:
            run.add(dialect_of(one.entry.api), one)
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


def _trading(context: Context, stop: Stop, make_run: MakeRun) -> Trading:
    from krakenws.cli.intents import make_trading, open_journal

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
        from krakenws.sinks.text import summary

        context.note(summary(event))

    return tell


def _open_output(context: Context, bound: Sequence[Bound], tell_lag: Callable[[str], None]) -> Sink:
    """Open the output of a stream, which has a policy for readers that are too slow."""
    options = context.options
    if options.overflow == "block":
        return context.open_sink(bound)
    from krakenws.sinks.overflow import HoldingOut, dropping, open_out

    context.out = out = open_out(context.out, options)
    sink = context.open_sink(bound)
    if isinstance(out, HoldingOut):
        sink = context.sink = dropping(sink, out, options, bound, note=context.note, tell_lag=tell_lag)
    return sink


class Seldom:
    """Says the first sentence, and then at most one a minute."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._silent_until = 0.0

    def __call__(self, sentence: str) -> None:
        """Say it, unless one was said lately."""
        now = monotonic()
        if now >= self._silent_until:
            self._silent_until = now + _SELDOM_S
            self._say(sentence)


def _odometer(context: Context, bound: Sequence[Bound]) -> Odometer | None:
    """Return what foretells the rate counter, if anything is to be ordered; -v has it told."""
    if not any(one.entry.trading for one in bound):
        return None
    from krakenws.core.odometer import Odometer

    return Odometer(context.note, context.note if context.settings.get("verbose") else None)


def _silent(_sentence: str) -> None:
    """Say nothing."""


def _bind(context: Context, entry: Entry, words: Sequence[str]) -> Bound:
    one = bind(entry, words, context.pair_patterns(entry.api))
    if entry.name == "balances" and entry.api == 2:
        context.note("balances is served by API v2: v1 never had it")
    return one


# ---- tools


def run_tool(context: Context, feed: Feed) -> int:
    """Run a tool; return the exit code."""
    assert feed.tool is not None  # noqa: S101 - the caller looked
    tools = {
        "token": _token,
        "pairs": _pairs,
        "intents": _intents,
        "reconcile": _reconcile,
        "catalog": _catalog,
        "wait": _wait,
        "doctor": _doctor,
        "decode": _decode,
        "replay": _replay,
        "sandbox": _sandbox,
        "guard": _guard,
        "session": _session,
    }
    return tools[feed.tool.name](context, list(feed.words))


def _token(context: Context, words: list[str]) -> int:
    if words:
        raise UsageError(f"token takes no words: {words[0]}")
    from krakenws.net.credentials import TOKEN_FILE, store_token

    file = context.settings.get("token_file")
    if context.plays and not file:
        raise UsageError(
            f"token: {TOKEN_FILE} is for Kraken's; name another file for the sandbox's with --token-file"
            " (with --sandbox no command needs one)"
        )
    token = context.credentials().renew()
    source = "the sandbox exchange, with the demo key" if context.plays else token.source
    path = os.path.abspath(str(file or TOKEN_FILE))
    store_token(path, token.text)
    if context.output == "json":
        write_json(context, [{"event": "token", "stored": path, "source": source}])
    else:
        context.out.write(f"stored in {path} (from {source}); use it within 15 minutes\n".encode())
    return 0


def _pairs(context: Context, words: list[str]) -> int:
    from krakenws.net.pairs import load

    pairs = load(context.options, refresh=bool(context.settings.get("refresh")), now_s=time())
    if pairs.note:
        context.note(pairs.note)
    wanted = {name for word in words for pattern in word.split(",") for name in pairs.expand(pattern)}
    rows = [row for row in pairs.rows if not words or row.wsname in wanted]
    if words and not rows:
        meant = pairs.nearest(words[0])
        raise UsageError(f"no pair matches {words[0]}" + (f"; did you mean {meant}?" if meant else ""))
    fields: tuple[str, ...] = type(rows[0]).__match_args__ if rows else ()
    table = [[getattr(row, name) for name in fields] for row in rows]
    if context.output == "json":
        write_json(
            context,
            (
                {name: value for name, value in zip(fields, row, strict=True) if value is not None}
                for row in table
            ),
        )
    elif context.output == "csv":
        _write_csv(context, [list(fields), *table])
    else:
        _write_table(context, [[name.replace("_", " ") for name in fields], *table])
    return 0


def _intents(context: Context, words: list[str]) -> int:
    from krakenws.cli.intents import list_intents

    _write_fields(context, list_intents(words, context.settings.get("count")))
    return 0


def _reconcile(context: Context, words: list[str]) -> int:
    from krakenws.cli.intents import reconcile

    rows, all_settled = reconcile(context, words)
    _write_fields(context, rows)
    return 0 if all_settled else OutcomeUnknown.exit_code


def _catalog(context: Context, words: list[str]) -> int:
    from krakenws.cli.help import of_entry
    from krakenws.cli.parser import entries, look_up

    if context.settings.get("schema"):
        from krakenws.core.schema import schema

        write_json(context, [schema(entries())], indent=2)
        return 0
    chosen = entries()
    if words:
        api = context.settings.get("api")
        found = [look_up(word, api if isinstance(api, int) else None)[0] for word in words]
        chosen = tuple(entry for entry in found if entry is not None)
    columns: list[object] = ["name", "api", "kind", "access", "parameters"]
    if context.output == "json":
        write_json(context, map(_entry_fields, chosen))
    elif context.output == "csv":
        rows = ([e.name, e.api, e.kind, e.access, " ".join(p.name for p in e.params)] for e in chosen)
        _write_csv(context, [columns, *rows])
    elif words:
        context.out.write("\n".join(of_entry("krakenws", entry) for entry in chosen).encode())
    else:
        _write_table(context, [columns, *(row for e in chosen for row in _entry_rows(e))])
    return 0


def _entry_rows(entry: Entry) -> list[list[object]]:
    """Its parameters stand in one column, on as many lines as they need."""
    from textwrap import wrap

    first, *more = wrap(" ".join(param.name for param in entry.params), 54, break_on_hyphens=False) or [""]
    rows: list[list[object]] = [[entry.name, f"v{entry.api}", entry.kind, entry.access, first]]
    rows += [["", "", "", "", line] for line in more]
    return rows


def _entry_fields(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "api": entry.api,
        "kind": entry.kind,
        "access": entry.access,
        "help": entry.help,
        "params": [
            {
                "name": param.name,
                "kind": param.kind.word,
                "help": param.help,
                "required": param.required,
                **({"choices": list(param.choices)} if param.choices else {}),
                **({"default": param.default} if param.default is not None else {}),
                "schema": dict(param.kind.schema),
            }
            for param in entry.params
        ],
        "examples": list(entry.examples),
        "notes": list(entry.notes),
        "source": entry.source,
    }


def _wait(context: Context, words: list[str]) -> int:
    from krakenws.core.condition import parse

    condition = parse(" ".join(words))  # before anything heavy is loaded: most mistakes are made here
    from krakenws.cli.wait import wait

    return wait(context, condition)


def _doctor(context: Context, words: list[str]) -> int:
    if words:
        raise UsageError(f"doctor takes no words: {words[0]}")
    from krakenws.cli.doctor import doctor

    return doctor(context)


def _decode(context: Context, words: list[str]) -> int:
    if len(words) > 1:
        raise UsageError(f"decode reads one file, or - for standard input: {words[1]} is one too many")
    api = context.settings.get("api")
    count = context.settings.get("count")
    import signal

    from krakenws.cli.decode import decode_file

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        decode_file(
            words[0] if words else "-",
            context.open_sink(None),
            dialect_of(api if isinstance(api, int) else 1),
            context.options,
            redactor=context.redactor,
            note=context.note,
            count=count if isinstance(count, int) else None,
        )
    except KeyboardInterrupt:
        return 0  # told to end, as a stream is
    return 0


def _replay(context: Context, words: list[str]) -> int:
    from krakenws.cli.certificates import serving_with
    from krakenws.cli.replay import run_replay

    if len(words) != 1:
        raise UsageError("replay needs one recording: a file, - for standard input, or demo")
    settings = context.settings
    with serving_with(settings.get("tls")) as (tls, authority):

        def ready(url: str) -> None:
            context.out.write(f"serving {words[0]} at {url}\n{_authority(authority)}".encode())
            trusting = f" --cafile {authority}" if authority else ""
            context.note(f"try: krakenws ticker XBT/USD --public-url {url}{trusting}")

        return run_replay(
            words[0],
            listen=str(settings.get("listen", "127.0.0.1:8766")),
            speed=str(settings.get("speed", "1")),
            loop=bool(settings.get("loop")),
            tls=tls,
            ready=ready,
        )


def _authority(path: str) -> str:
    """Return the line that says whom the clients of a server have to trust, if there is one."""
    return f"CA: {path}\n" if path else ""


def _sandbox(context: Context, words: list[str]) -> int:
    from krakenws.cli.certificates import serving_with
    from krakenws.cli.sandbox import run_sandbox

    if words:
        raise UsageError(f"sandbox takes no words: {words[0]}; pairs are given with --pairs")
    settings = context.settings
    seed, rate = settings.get("seed"), settings.get("rate")
    with serving_with(settings.get("tls")) as (tls, authority):

        def ready(text: str) -> None:
            context.out.write(f"{text}{_authority(authority)}".encode())

        return run_sandbox(
            listen=str(settings.get("listen", "")),
            seed=seed if isinstance(seed, int) else 1,
            pairs=str(settings.get("pairs", "")),
            rate=rate if isinstance(rate, float) else None,
            tls=tls,
            limits=bool(settings.get("limits")),
            faults=str(settings.get("faults", "")),
            truth=str(settings.get("truth", "")),
            ready=ready,
            until_eof=bool(settings.get("until_eof")),
        )


def _guard(context: Context, words: list[str]) -> int:
    from krakenws.cli.guard import run_guard

    return run_guard(context, words)


def _session(context: Context, words: list[str]) -> int:
    from krakenws.cli.session import run_session

    return run_session(context, words)


# ---- tables


def write_json(context: Context, items: Iterable[object], indent: int | None = None) -> None:
    """Write a line of JSON for each item, or with `indent` more of them."""
    from json import dumps

    separators = (",", ":") if indent is None else (",", ": ")
    lines = [dumps(item, separators=separators, indent=indent, ensure_ascii=False) for item in items]
    context.out.write("".join(f"{line}\n" for line in lines).encode())


def _write_fields(context: Context, rows: Sequence[Mapping[str, object]]) -> None:
    """Things with the same fields each: as JSON, CSV or a table."""
    table: list[list[object]] = [[*row.values()] for row in rows]
    if context.output == "json":
        write_json(context, rows)
    elif context.output == "csv":
        _write_csv(context, [[*rows[0]], *table] if rows else [])
    elif rows:
        _write_table(context, [[name.replace("_", " ") for name in rows[0]], *table])


def _write_csv(context: Context, table: list[list[object]]) -> None:
    from csv import writer
    from io import StringIO

    text = StringIO()
    writer(text, lineterminator="\n").writerows(
        ["" if cell is None else cell for cell in row] for row in table
    )
    context.out.write(text.getvalue().encode())


def _write_table(context: Context, table: list[list[object]]) -> None:
    """Columns for eyes, numbers to the right."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_number = [
        all(row[i].replace(".", "").isdigit() or not row[i] for row in cells[1:]) for i in range(len(widths))
    ]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        )
        for row in cells
    )
    context.out.write("".join(line.rstrip() + "\n" for line in lines).encode())
