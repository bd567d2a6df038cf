"""The options of the command line, as data.

As the catalog's parameters do, they say everything once: help, environment variables (`KRAKENWS_<OPTION>`),
the keys of `config.toml` and validation derive from `OPTIONS`.
"""

from __future__ import annotations

from krakenws.core.catalog import nearest, shown
from krakenws.core.kinds import duration
from krakenws.errors import UsageError
from krakenws.record import record
from krakenws.sinks import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.core.policy import Policy

    Setting = str | int | float | bool | None | tuple[str, str] | tuple[float, ...] | Policy
    Settings = dict[str, Setting]

FOREVER = 1_000_000_000


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
    from krakenws.core.intents import NAMES, is_name

    if not is_name(text):
        raise ValueError(f"is not {NAMES}")
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
    Option("spin", "never sleep: the lowest latency, for a whole processor core", field="spin"),
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
