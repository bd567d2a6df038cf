"""`krakenws sandbox`: an exchange with a living market on this machine."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from signal import SIGTERM, raise_signal

from krakenws.errors import SinkError, UsageError
from krakenws.playground import DEFAULT_HOST, DEFAULT_PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from io import FileIO

    from krakenws.cli.context import Context

_STDERR = 2


def run(context: Context) -> int:
    """Serve the sandbox exchange that the options describe; return the exit code.

    Raises:
        UsageError: a file, the certificate or the address to listen on is wrong.
        SinkError: `--truth` could not take a line.
    """
    from krakenws.cli.certificates import authority_line, serving_with

    settings = context.settings
    seed, rate = settings.get("seed"), settings.get("rate")
    with serving_with(settings.get("tls")) as (tls, authority):

        def ready(text: str) -> None:
            context.out.write(f"{text}{authority_line(authority)}".encode())

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


def run_sandbox(
    *,
    listen: str,
    seed: int,
    pairs: str,
    rate: float | None,
    tls: tuple[str, str] | None,
    limits: bool,
    faults: str,
    truth: str,
    ready: Callable[[str], None],
    until_eof: bool = False,
) -> int:
    """Serve the sandbox exchange until SIGINT or SIGTERM and return the exit code.

    Args:
        listen: `HOST:PORT`, `PORT` or `HOST`; what is left out is loopback and the default port.
        seed: the same seed, the same market.
        pairs: names in any spelling with commas between; "" is all.
        rate: transactions a second of the liveliest pairs, others in proportion; None is lifelike.
        tls: PEM files of a certificate chain and its key.
        limits: whether clients are held to Kraken's limits on connections, messages and REST calls.
        faults: a file of fault rules as JSON, or the JSON itself; "" for none.
        truth: a file for the exchange's own account as JSON lines, `-` is standard error; "" for none.
        ready: called once connections are accepted with five lines: the endpoints, the demo account's key
            and its secret.
        until_eof: end with standard input as well.

    Raises:
        UsageError: a word, a file, the certificate or the address to listen on is wrong.
        SinkError: `truth` could not take a line, so that the account would have a hole.
    """
    from contextlib import ExitStack
    from time import monotonic, time_ns

    from krakenws.cli.replay import parse_listen
    from krakenws.exchange.fault_rules import parse_faults
    from krakenws.exchange.limits import Limits
    from krakenws.exchange.sandbox import SandboxVenue
    from krakenws.net.server import run as serve

    host, port = parse_listen(_with_port(listen))
    rules = parse_faults(_read_faults(faults)) if faults else []
    with ExitStack() as stack:
        log = _open_log(truth, stack) if truth else None
        now = monotonic()  # the clock of asyncio, which the server goes by
        venue = SandboxVenue(
            seed=seed,
            pairs=_names(pairs),
            rate=rate,
            start_us=time_ns() // 1000,
            now=now,
            truth=None if log is None else log.write,
        )
        venue.limits = Limits() if limits else None
        venue.faults.add(rules, now)

        def begin(url: str) -> None:
            if log is None or log.begin():
                ready(_greeting(url))

        cut = serve(venue, host, port, tls, begin, until_eof=until_eof)
    if log is not None and log.failure is not None:
        raise log.failure
    if cut:
        print(f"krakenws: {cut} clients were disconnected because they read too slowly", file=sys.stderr)
    return 0


def _with_port(listen: str) -> str:
    """Return an address to listen on with the port that it may lack."""
    if not listen:
        return f"{DEFAULT_HOST}:{DEFAULT_PORT}"
    lacks_port = listen.endswith("]") or not (":" in listen or listen.isdecimal())
    return f"{listen}:{DEFAULT_PORT}" if lacks_port else listen


def _names(pairs: str) -> list[str]:
    names = [name.strip() for name in pairs.split(",") if name.strip()]
    if pairs and not names:
        raise UsageError(f"--pairs {pairs!r} names no pair; leave it out for all of them")
    return names


def _greeting(url: str) -> str:
    from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET

    return (
        f"public: {url}\nprivate: {url}/auth\nREST: http{url.removeprefix('ws')}\n"
        f"API key: {DEMO_KEY}\nAPI secret: {DEMO_SECRET}\n"
    )


class _Log:
    """Where the account of `--truth` goes, once the server runs: the file may be that of one running already.

    Attributes:
        failure: why a line could not be written, or None. The server then ends as by SIGTERM.
    """

    def __init__(self, file: FileIO, name: str) -> None:
        self.failure: SinkError | None = None
        self._file = file
        self._name = name
        self._held: list[bytes] | None = []

    def begin(self) -> bool:
        """Take the file, with what was told before; return whether it could be written."""
        held, self._held = self._held or [], None
        if self._file.fileno() != _STDERR:
            with suppress(OSError):  # a pipe or a terminal has nothing to cut off
                self._file.truncate(0)
        self._write(b"".join(held))
        return self.failure is None

    def write(self, entry: dict[str, object]) -> None:
        """Write a line."""
        from json import dumps

        line = dumps(entry, separators=(",", ":")).encode() + b"\n"
        if self._held is not None:
            self._held.append(line)
        elif self.failure is None:
            self._write(line)

    def _write(self, left: bytes) -> None:
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.failure = SinkError(f"--truth: cannot write {self._name}: {error.strerror}")
            raise_signal(SIGTERM)


def _open_log(path: str, stack: ExitStack) -> _Log:
    try:
        if path == "-":
            return _Log(
                stack.enter_context(open(_STDERR, "wb", buffering=0, closefd=False)), "standard error"
            )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        return _Log(stack.enter_context(open(descriptor, "wb", buffering=0)), path)
    except OSError as error:
        raise UsageError(f"--truth: cannot write {path}: {error.strerror}") from None


def _read_faults(spec: str) -> bytes:
    if spec.lstrip()[:1] in {"{", "["}:
        return spec.encode()
    try:
        with open(spec, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"--faults: cannot read {spec}: {error.strerror}") from None
