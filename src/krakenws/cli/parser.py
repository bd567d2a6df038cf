"""The words of a command line: options, names, and what belongs to which feed.

Options are data, as the catalog's parameters are: help, environment variables (`KRAKENWS_<OPTION>`), the keys
of `config.toml` and validation derive from `OPTIONS`. A parameter of a feed may be written `key=value` or
`--key value`; `+` separates feeds. A small parser of our own: argparse alone is 16 ms of a 26 ms ping.
"""

from __future__ import annotations

from krakenws.core import v1
from krakenws.core.catalog import (
    BOOLEAN,
    BOOLEAN_TEXT,
    Entry,
    Param,
    canonical,
    duration,
    find,
    nearest,
    shown,
)
from krakenws.errors import UsageError
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from krakenws.core.policy import Policy

    Setting = str | int | float | bool | None | tuple[str, str] | tuple[float, ...] | Policy
    Settings = dict[str, Setting]

FOREVER = 1_000_000_000
FORMATS = ("text", "json", "transcript", "raw", "csv")


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _format(text: str) -> str:
    return _one_of(text, FORMATS)


def _one_of(text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        meant = nearest(text, choices)
        raise ValueError(f"is none of {', '.join(choices)}" + (f"; did you mean {meant}?" if meant else ""))
    return text


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:19]) <= 10**18:
        raise ValueError("is not a whole number above 0")
    return int(text)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError("is not a whole number")
    return int(text)


def _rate(text: str) -> float:
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15 or not float(text):
        raise ValueError("is not a number above 0")
    return float(text)


def _durations(text: str) -> tuple[float, ...]:
    if text == "none":
        return ()
    times = tuple(map(duration, text.split(",")))
    if list(times) != sorted(set(times)):
        raise ValueError("is not a list of rising times")
    return times


def _intent(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text or not 0 < len(text) <= 64:
        raise ValueError("is not a name of at most 64 ASCII characters without a space")
    return text


def _reconnect(text: str) -> int:
    if text in {"never", "forever"}:
        return 0 if text == "never" else FOREVER
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError("is neither never, forever nor a number")
    return int(text)


def _color(text: str) -> str:
    return _one_of(text, ("auto", "always", "never"))


def _book(text: str) -> str:
    return _one_of(text, ("changes", "top", "full"))


def _overflow(text: str) -> str:
    return _one_of(text, ("block", "drop", "exit"))


def _on_failure(text: str) -> str:
    return _one_of(text, ("cancel", "leave"))


def _api(text: str) -> int:
    return int(_one_of(text, ("1", "2")))


@record
class Option:
    """One option: `parse` reads its value, None for a switch; `tools` limits it to some tools."""

    name: str
    help: str
    metavar: str = ""
    short: str = ""
    parse: Callable[[str], Setting] | None = None
    tools: tuple[str, ...] = ()
    words: int = 1
    alone: str | None = None
    """A first word that needs no second."""
    only_argv: bool = False
    bare: Setting = None
    """What it is set to when it stands without `=VALUE`, for an option whose value may be left out."""
    field: str = ""
    """The field of `Options` it sets, when it sets one."""
    value: Setting = True
    """What a switch sets."""

    @property
    def key(self) -> str:
        """Its name in settings and in `config.toml`."""
        return self.field or self.name.replace("-", "_")


OPTIONS: tuple[Option, ...] = (
    Option(
        "output",
        "what stdout carries: text for eyes, json events, transcript as the original script, raw, csv"
        " (default: text on a terminal, json in a pipe, transcript as krakenws.py)",
        metavar="FORMAT",
        short="o",
        parse=_format,
    ),
    Option("count", "end after N data messages", metavar="N", short="n", parse=_count),
    Option("for", "end after a time: 10s, 5m, 1h", metavar="DURATION", parse=duration),
    Option("api", "version of the API: 1, or 2 where the name exists only there", metavar="1|2", parse=_api),
    Option(
        "book",
        "book updates: changes of levels, top (best bid and ask), or the full book",
        metavar="changes|top|full",
        parse=_book,
        field="book",
    ),
    Option("no-verify", "do not keep books and compare checksums", field="verify", value=False),
    Option(
        "overflow",
        "when stdout is read too slowly (block): block the socket as well, drop market data and say how much,"
        " or exit with 7",
        metavar="block|drop|exit",
        parse=_overflow,
        field="overflow",
    ),
    Option(
        "sandbox",
        "the sandbox exchange instead of Kraken: at URL, else on its default port, else one for this run",
        metavar="[=URL]",
        parse=_text,
        bare="",
        only_argv=True,
    ),
    Option(
        "no-check",
        "send orders as typed, without a look at their pair's decimals and minimums first",
        field="check",
        value=False,
    ),
    Option("dry-run", "print the frame that a command would send, and send nothing", only_argv=True),
    Option("backfill", "fill the gaps of trade streams from REST, each such row marked", field="backfill"),
    Option("strict", "untrustworthy or malformed data ends the run (exit 9)", field="strict"),
    Option("public-url", "another public endpoint", metavar="URL", parse=_text, field="public_url"),
    Option("private-url", "another private endpoint", metavar="URL", parse=_text, field="private_url"),
    Option("rest-url", "another REST endpoint", metavar="URL", parse=_text, field="rest_url"),
    Option(
        "cafile", "trust one more certificate authority (PEM)", metavar="FILE", parse=_text, field="cafile"
    ),
    Option(
        "token-file",
        "the WebSocket token (default: WS_Token here, then next to the program)",
        metavar="FILE",
        parse=_text,
    ),
    Option("key-file", "API key and secret, one a line, mode 0600", metavar="FILE", parse=_text),
    Option(
        "ack-timeout", "how long an answer may take (5s)", metavar="S", parse=duration, field="ack_timeout_s"
    ),
    Option(
        "look-ups",
        "when to look for a request whose answer is lost, after how long each; none: not at all"
        " (1s,2s,4s,8s,16s)",
        metavar="S,S…",
        parse=_durations,
        field="look_ups_s",
    ),
    Option(
        "intent",
        "a name for a trading command: used again, it is answered with the first verdict, nothing is sent",
        metavar="ID",
        parse=_intent,
        only_argv=True,
    ),
    Option(
        "follow",
        "stay with the order that is placed until it is filled (0), canceled or expired (5)",
        only_argv=True,
    ),
    Option(
        "connect-timeout",
        "how long a connection may take (10s)",
        metavar="S",
        parse=duration,
        field="connect_timeout_s",
    ),
    Option(
        "reconnect",
        "never, N times, or forever; by default a stream goes on forever once it stood",
        metavar="never|N|forever",
        parse=_reconnect,
        field="reconnect",
    ),
    Option("show-token", "leave the token readable in transcripts", field="show_token"),
    Option("color", "colour in text output", metavar="auto|always|never", parse=_color),
    Option("verbose", "say more on stderr, as what a stream brought; tracebacks for defects", short="v"),
    Option("quiet", "only errors on stderr", short="q"),
    Option("version", "print the version", only_argv=True),
    Option("help", "print help; behind a NAME, its help", short="h", only_argv=True),
    Option(
        "timeout",
        "end with 124 when the condition is not met in time (never)",
        metavar="DURATION",
        parse=duration,
        tools=("wait",),
        only_argv=True,
    ),
    Option(
        "schema",
        "print the JSON Schema of every event (session: of every line it takes)",
        tools=("catalog", "session"),
        only_argv=True,
    ),
    Option("refresh", "ask the exchange even if the cached list is fresh", tools=("pairs",), only_argv=True),
    Option(
        "speed",
        "times the recorded pace, or max",
        metavar="N|max",
        parse=_text,
        tools=("replay",),
        only_argv=True,
    ),
    Option(
        "listen",
        "address to serve on (replay: 127.0.0.1:8766, sandbox: 127.0.0.1:8765; session: unix:PATH)",
        metavar="HOST:PORT",
        parse=_text,
        tools=("replay", "sandbox", "session"),
        only_argv=True,
    ),
    Option("loop", "begin again at the end of the recording", tools=("replay",), only_argv=True),
    Option(
        "tls",
        "serve wss:// with this certificate and key (PEM files), or with those made on the spot",
        metavar="CERT KEY|self",
        parse=_text,
        tools=("replay", "sandbox"),
        words=2,
        alone="self",
        only_argv=True,
    ),
    Option(
        "until-eof",
        "end with standard input: for a program that starts a sandbox of its own",
        tools=("sandbox",),
        only_argv=True,
    ),
    Option(
        "seed", "same seed, same market (1)", metavar="N", parse=_number, tools=("sandbox",), only_argv=True
    ),
    Option("pairs", "only these pairs", metavar="PAIR,…", parse=_text, tools=("sandbox",), only_argv=True),
    Option(
        "rate",
        "book updates a second of a lively pair",
        metavar="N",
        parse=_rate,
        tools=("sandbox",),
        only_argv=True,
    ),
    Option(
        "faults",
        "faults from the start: a JSON file, or the JSON itself (see docs/sandbox.md)",
        metavar="SPEC",
        parse=_text,
        tools=("sandbox",),
        only_argv=True,
    ),
    Option(
        "limits",
        "hold clients to Kraken's limits on connections, messages and REST calls",
        tools=("sandbox",),
        only_argv=True,
    ),
    Option(
        "truth",
        "write the exchange's own account of what happened, as JSON lines",
        metavar="FILE",
        parse=_text,
        tools=("sandbox",),
        only_argv=True,
    ),
    Option(
        "on-failure",
        "when CMD fails: cancel all orders of the account at once (default), or leave the switch to fire",
        metavar="cancel|leave",
        parse=_on_failure,
        tools=("guard",),
        only_argv=True,
    ),
    Option(
        "pass-secrets",
        "leave Kraken's keys and tokens in CMD's environment",
        tools=("guard",),
        only_argv=True,
    ),
)


@record
class Tool:
    """A command that is not in the catalog."""

    name: str
    help: str
    usage: str
    examples: tuple[str, ...]
    notes: tuple[str, ...] = ()


TOOLS: tuple[Tool, ...] = (
    Tool(
        "token",
        "Fetch a WebSocket token with your API key and store it in WS_Token.",
        "token [--token-file FILE] [--key-file FILE]",
        ("token", "token --key-file ~/kraken.key"),
        (
            "API key and secret: KRAKEN_API_KEY and KRAKEN_API_SECRET, or a key file of two lines, mode 0600",
            "the key needs the permission 'WebSocket interface'; a token must be used within 15 minutes",
            "with a key at hand no stored token is needed: each private connection fetches a fresh one",
            "the token is stored with mode 0600 and never printed",
        ),
    ),
    Tool(
        "pairs",
        "List tradable pairs with their precisions.",
        "pairs [PATTERN…] [--refresh]",
        ("pairs '*/EUR'", "pairs XBT/USD -o json"),
        ("the list is cached for a day; offline the cached list is shown and stderr says how old it is",),
    ),
    Tool(
        "intents",
        "List what was sent to trade, and what became of it.",
        "intents [--count N]",
        ("intents", "intents --count 5 -o json"),
        (
            "open: no verdict yet; unknown: looked for in vain; settled: it can have no effect any more",
            "the journal is state.db in the state directory; it holds no token and no key",
        ),
    ),
    Tool(
        "reconcile",
        "Find out what became of every request whose outcome is open.",
        "reconcile",
        ("reconcile", "reconcile -o json"),
        (
            "looks in open orders and own trades, and with an API key in closed orders; sends nothing else",
            "exit code 0 when no outcome is left open, else 6; other endpoints and keys are left alone",
            "what is nowhere to be found after a quarter of an hour was not placed",
        ),
    ),
    Tool(
        "catalog",
        "Describe every channel and command; --schema prints the JSON Schema of every event.",
        "catalog [NAME…] [--schema]",
        ("catalog", "catalog book -o json", "catalog --schema"),
    ),
    Tool(
        "wait",
        "Return when a condition on verified market data is true.",
        "wait 'CONDITION' [--timeout DURATION]",
        (
            "wait 'XBT/USD bid >= 65000' --timeout 1h",
            "wait 'XBT/USD spread < 0.5 and ETH/USD last < 3000 for 3s'",
            "wait '(XBT/USD mid > 65000 or XBT/USD mid < 60000) and XBT/USD volume > 1000'",
        ),
        (
            "comparisons >= <= > < == != of PAIR QUANTITY with a number or with another PAIR QUANTITY",
            "ask, bid, mid and spread come from the book, once Kraken's checksum has proved it",
            "last is that of each trade, of the ticker until there is one; volume is of 24 hours",
            "and binds tighter than or; parentheses group; 'for 3s' at the end: without a break for so long",
            "a gap or a lost connection suspends it, and lets 'for' begin anew, until data is verified again",
            "exit codes: 0 met; at the time-out 124 when it is not met, 9 when nobody can tell",
            "after Ctrl-C or SIGTERM 130, so that 'wait … && …' does not go on",
        ),
    ),
    Tool(
        "doctor",
        "Look at everything between here and the exchange, and say what mends what is wrong.",
        "doctor",
        ("doctor", "doctor -o json", "doctor --sandbox"),
        (
            "files, budget, proxy, names, endpoints, certificates, status, clock, key, its rights, token",
            "each line is ok, warning, failed, or skipped when it could not be looked at",
            "exit code 0 unless a line failed: 2 URL, 4 the way, 3 key, 9 clock, 7 state; the first of these",
            "only reads, and shows no secret; it counts as two connections",
        ),
    ),
    Tool(
        "guard",
        "Run a command under the dead man's switch: renewed while it lives, left to fire on a crash.",
        "guard TIMEOUT [--on-failure cancel|leave] [--pass-secrets] -- CMD…",
        ("guard 60s -- ./bot.sh", "guard 2m --on-failure leave -- python3 bot.py --pair XBT/USD"),
        (
            "the switch covers ALL open orders of the account, whoever placed them",
            "armed before CMD starts, renewed each third of TIMEOUT (1s to 86399s; Kraken advises 60s)",
            "CMD ends with 0: switched off; otherwise all orders are cancelled (see --on-failure)",
            "its exit code is CMD's (128 + N for signal N); 6 when CMD did well and the switch may be on",
            "the guard killed, or cut off from Kraken: the switch fires; what CMD orders afterwards stands",
            "in maintenance the switch is off, for it would fire when the engine returns",
            "SIGINT, SIGTERM and SIGHUP are passed on to CMD; one after its end stops the waiting",
            "CMD has stdin, stdout and stderr to itself; the guard's own words go to stderr",
        ),
    ),
    Tool(
        "decode",
        "Read recorded frames and print them in any output format; no network.",
        "decode [FILE|-]",
        ("decode frames.jsonl -o json", "krakenws book XBT/USD -o raw | krakenws decode -o csv"),
        ('one frame a line, or lines of {"t": SECONDS, "dir": "in"|"out", "frame": TEXT}',),
    ),
    Tool(
        "session",
        "Keep one connection for many commands: a line in, JSON events out.",
        "session [--listen unix:PATH]",
        (
            "session",
            "session --listen unix:kraken.sock",
        ),
        (
            "a line is a command in the words of the command line, or a JSON object: docs/session.md",
            "its answers carry the line's id=TEXT; unsubscribe NAME …, status, help and quit are its own",
            "connections are opened when first needed, and kept; a wrong line is answered by an error",
            "the end of standard input waits for open answers and leaves",
        ),
    ),
    Tool(
        "sandbox",
        "Run a Kraken on this machine, with a market that lives and money that is not real.",
        "sandbox [--listen HOST:PORT] [--seed N] [--pairs PAIR,…] [--rate N] [--tls CERT KEY|self]"
        " [--faults SPEC] [--truth FILE]",
        ("sandbox", "sandbox --seed 7 --rate 50 --listen 127.0.0.1:9000"),
        (
            "API v1 at / and /auth (private), v2's balances at /auth/v2, REST under /0/public and /0/private",
            "then: krakenws --sandbox ticker XBT/USD, or any other client with the endpoints it prints",
            "without one running, --sandbox on any command starts one for that run",
        ),
    ),
    Tool(
        "replay",
        "Serve a recording as an exchange on loopback.",
        "replay FILE|demo [--speed N|max] [--listen HOST:PORT] [--loop] [--tls CERT KEY|self]",
        ("replay demo", "replay frames.jsonl --speed max --listen 127.0.0.1:9000"),
        ("then: krakenws ticker XBT/USD --public-url ws://127.0.0.1:8766",),
    ),
)


@record
class Feed:
    """One NAME with its words: a catalog entry, or a tool."""

    name: str
    words: tuple[str, ...]
    entry: Entry | None
    tool: Tool | None


@record
class CommandLine:
    """What was typed: feeds in order, and settings given as options."""

    feeds: tuple[Feed, ...]
    settings: Mapping[str, Setting]


def entries() -> tuple[Entry, ...]:
    """Return every entry of every API, in the order help lists them."""
    from krakenws.core import v2

    return (*v1.ENTRIES, *v2.ENTRIES)


def look_up(name: str, api: int | None) -> tuple[Entry | None, Tool | None]:
    """Return what a NAME stands for.

    Raises:
        UsageError: nothing; the sentence names the nearest.
    """
    tool = next((tool for tool in TOOLS if tool.name == canonical(name)), None)
    if tool is not None:
        return None, tool
    entry = find(v1.ENTRIES, name, api) or find(entries(), name, api)
    if entry is not None:
        return entry, None
    here = [entry.name for entry in entries() if not entry.explicit and api in {None, entry.api}]
    where = f" in API v{api}" if api else ""
    if elsewhere := find(entries(), name):
        raise UsageError(
            f"there is no {elsewhere.name}{where}: this version of krakenws has only {', '.join(here)} there"
        )
    meant = nearest(name, [*here, *(tool.name for tool in TOOLS)])
    raise UsageError(
        f"there is no command {shown(name)}{where}; did you mean {meant}?"
        if meant
        else f"there is no command {shown(name)}{where}: krakenws --help lists them"
    )


def parse(argv: Sequence[str]) -> CommandLine:
    """Return what was typed.

    Raises:
        UsageError: an unknown option or name, or an option without its value.
    """
    reader = _Reader(argv)
    reader.read()
    api = reader.settings.get("api")
    feeds = []
    for name, words in reader.feeds:
        entry, tool = look_up(name, api if isinstance(api, int) else None)
        feeds.append(Feed(name, tuple(_parameters(entry, words)), entry, tool))
        if entry is not None:
            _refuse_names(entry, feeds[-1].words)
    tools = [feed.tool.name for feed in feeds if feed.tool]
    if tools and len(feeds) > 1:
        raise UsageError(f"{tools[0]} stands alone; + joins feeds and commands of the catalog")
    for option in reader.limited:
        if not any(tool in option.tools for tool in tools):
            raise UsageError(f"--{option.name} belongs to krakenws {', '.join(option.tools)}")
    return CommandLine(tuple(feeds), reader.settings)


def _refuse_names(entry: Entry, words: Sequence[str]) -> None:
    """A NAME among the words of another is a forgotten `+`."""
    for word in words:
        other = find(entries(), word) if word.isalpha() else None
        if other is not None:
            raise UsageError(
                f"{entry.name} does not take {word}; to run both, join them with +:"
                f" {entry.examples[0]} + {other.examples[0]}"
            )


class _Reader:
    """Splits argv into settings and feeds; `--key value` of a feed stays among its words as it is."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._at = 0
        self.settings: Settings = {}
        self.limited: list[Option] = []
        self.feeds: list[tuple[str, list[str]]] = []
        self._expects_name = True

    def read(self) -> None:
        while self._at < len(self._argv):
            word = self._argv[self._at]
            self._at += 1
            if word == "--" and self.feeds and not self._expects_name:
                self.feeds[-1][1].extend(self._argv[self._at - 1 :])
                self._at = len(self._argv)
            elif word == "+":
                if self._expects_name:
                    raise UsageError("+ joins two feeds, and there is no feed before it")
                self._expects_name = True
            elif word.startswith("--") and len(word) > 2:
                self._long(word)
            elif word.startswith("-") and len(word) > 1 and word[1].isalpha():
                self._short(word)
            elif self._expects_name:
                self.feeds.append((word, []))
                self._expects_name = False
            else:
                self.feeds[-1][1].append(word)
        if self._expects_name and self.feeds:
            raise UsageError("+ joins two feeds, and there is no feed behind it")

    def _long(self, word: str) -> None:
        name, equals, text = word[2:].partition("=")
        option = next((option for option in OPTIONS if option.name == name.lower().replace("_", "-")), None)
        if option is not None and not (option.tools and self._is_parameter(name)):
            self._set(option, text if equals else None)
        elif self.feeds and not self._expects_name:
            self.feeds[-1][1].append(word)
        else:
            raise unknown_option(word, ())

    def _is_parameter(self, name: str) -> bool:
        """Whether the feed being read has it: `--timeout` of cancelAllOrdersAfter is not that of wait."""
        if not self.feeds or self._expects_name:
            return False
        entry = find(entries(), self.feeds[-1][0])
        return entry is not None and entry.param(name) is not None

    def _short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            option = next((option for option in OPTIONS if option.short == letters[0]), None)
            if option is None:
                raise UsageError(f"there is no option -{letters[0]}; krakenws --help lists them")
            if option.parse is not None:
                self._set(option, letters[1:].removeprefix("=") or None)
                return
            self._set(option, None)
            letters = letters[1:]

    def _set(self, option: Option, text: str | None) -> None:
        if option.tools:
            self.limited.append(option)
        if option.parse is None:
            if text is not None:
                raise UsageError(f"--{option.name} takes no value")
            self.settings[option.key] = option.value
            return
        if text is None and option.bare is not None:
            self.settings[option.key] = option.bare
            return
        values = [] if text is None else [text]
        while len(values) < option.words and (not values or values[0] != option.alone):
            if self._at >= len(self._argv):
                raise UsageError(f"--{option.name} needs {option.metavar}")
            values.append(self._argv[self._at])
            self._at += 1
        parsed = [read_setting(option, value, f"--{option.name}") for value in values]
        self.settings[option.key] = (
            parsed[0] if option.words == 1 else (str(parsed[0]), str(parsed[1]) if parsed[1:] else "")
        )


def read_setting(option: Option, text: str, source: str) -> Setting:
    """Return the value of an option.

    Raises:
        UsageError: the text does not fit; `source` says where it stood.
    """
    assert option.parse is not None  # noqa: S101 - switches have no text
    try:
        return option.parse(text)
    except ValueError as error:
        raise UsageError(f"{source} {shown(text)} {error}") from None


def unknown_option(word: str, names: Sequence[str]) -> UsageError:
    """Return the sentence on an option nobody knows."""
    name = word[2:].partition("=")[0]
    known = [*names, *(option.name for option in OPTIONS)]
    meant = nearest(name, known)
    return UsageError(
        f"there is no option --{shown(name)}"
        + (f"; did you mean --{meant}?" if meant else ": krakenws --help lists them")
    )


def _parameters(entry: Entry | None, words: Sequence[str]) -> list[str]:
    """Turn `--key value` and `--key=value` into `key=value` for the parameters an entry has."""
    plain: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":  # the rest is another program's
            return [*plain, word, *left]
        if not word.startswith("--"):
            plain.append(word)
            continue
        name, equals, text = word[2:].partition("=")
        param = entry.param(name) if entry else None
        if param is None:
            raise unknown_option(word, [param.name for param in entry.params] if entry else ())
        plain.append(f"{param.name}={text if equals else _value_behind(param, left)}")
    return plain


def _value_behind(param: Param, left: list[str]) -> str:
    """Take the value of `--key` from the words behind it; true or false may be left out, and is true then."""
    if param.kind is BOOLEAN or param.kind is BOOLEAN_TEXT:
        try:
            param.kind.parse(left[0] if left else "")
        except ValueError:
            return "true"
    elif not left or left[0].startswith("--"):
        raise UsageError(
            f"--{param.name} needs a value, such as --{param.name} {param.example or param.kind.word}"
        )
    return left.pop(0)
