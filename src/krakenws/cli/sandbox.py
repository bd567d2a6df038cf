"""`krakenws sandbox`: an exchange with a living market on this machine."""

from __future__ import annotations

import sys

from krakenws.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from typing import IO

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765


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
    """
    from contextlib import ExitStack
    from time import monotonic, time_ns

    from krakenws.cli.replay import parse_listen
    from krakenws.exchange.fault_rules import parse_faults
    from krakenws.exchange.limits import Limits
    from krakenws.exchange.sandbox import SandboxVenue
    from krakenws.net.server import run

    host, port = parse_listen(_with_port(listen))
    rules = parse_faults(_read_faults(faults)) if faults else []
    with ExitStack() as stack:
        log = _open_log(truth, stack)
        now = monotonic()  # the clock of asyncio, which the server goes by
        venue = SandboxVenue(
            seed=seed,
            pairs=_names(pairs),
            rate=rate,
            start_us=time_ns() // 1000,
            now=now,
            truth=None if log is None else _writer(log),
        )
        venue.limits = Limits() if limits else None
        venue.faults.add(rules, now)
        cut = run(venue, host, port, tls, lambda url: ready(_greeting(url)), until_eof=until_eof)
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


def _writer(log: IO[str]) -> Callable[[dict[str, object]], None]:
    from json import dumps

    return lambda entry: print(dumps(entry, separators=(",", ":")), file=log)


def _open_log(path: str, stack: ExitStack) -> IO[str] | None:
    if not path:
        return None
    if path == "-":
        return sys.stderr
    try:
        return stack.enter_context(open(path, "w", encoding="utf-8", buffering=1))
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
