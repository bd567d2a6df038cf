"""`krakenws replay`: a recording served as an exchange on this machine."""

from __future__ import annotations

import sys

from krakenws.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from krakenws.cli.context import Context
    from krakenws.exchange.replay import Recording

DEMO = "demo"
"""Instead of a file's name: the recording that comes with the package."""
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8766


def run(context: Context, words: Sequence[str]) -> int:
    """Serve the recording that the words name; return the exit code.

    Raises:
        UsageError: a word, the file, the certificate or the address to listen on is wrong.
    """
    from krakenws.cli.certificates import authority_line, serving_with

    if len(words) != 1:
        raise UsageError("replay needs one recording: a file, - for standard input, or demo")
    settings = context.settings
    with serving_with(settings.get("tls")) as (tls, authority):

        def ready(url: str) -> None:
            context.out.write(f"serving {words[0]} at {url}\n{authority_line(authority)}".encode())
            trusting = f" --cafile {authority}" if authority else ""
            context.note(f"try: krakenws ticker XBT/USD --public-url {url}{trusting}")

        return run_replay(
            words[0],
            listen=str(settings.get("listen", f"{DEFAULT_HOST}:{DEFAULT_PORT}")),
            speed=str(settings.get("speed", "1")),
            loop=bool(settings.get("loop")),
            tls=tls,
            ready=ready,
        )


def run_replay(
    path: str,
    *,
    listen: str,
    speed: str,
    loop: bool,
    tls: tuple[str, str] | None,
    ready: Callable[[str], None],
) -> int:
    """Serve a recording until SIGINT or SIGTERM and return the exit code.

    Args:
        path: the recording; `-` is standard input, `demo` the one that comes with the package.
        listen: `HOST:PORT`, `PORT` or `HOST`; what is left out is loopback and the default port.
        speed: a factor of the recorded pace, or `max`.
        loop: start over at the end.
        tls: PEM files of a certificate chain and its key.
        ready: called with the endpoint's URL once connections are accepted; private channels are under /auth.

    Raises:
        UsageError: a word, the file, the certificate or the address to listen on is wrong.
    """
    host, port = parse_listen(listen)
    factor = parse_speed(speed)
    recording = _read(path)

    from krakenws.exchange.replay import ReplayVenue
    from krakenws.net.server import run as serve

    cut = serve(ReplayVenue(recording, speed=factor, loop=loop), host, port, tls, ready)
    if cut:
        print(f"krakenws: {cut} clients were disconnected because they read too slowly", file=sys.stderr)
    return 0


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `PORT` or `HOST`; `[::1]:PORT` for IPv6.

    Raises:
        UsageError: it is none of them.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = ("", text) if text.isdecimal() else (text, str(DEFAULT_PORT))
    elif text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not (port.isascii() and port.isdecimal() and int(port) < 65536) or (":" in host and not is_bracketed):
        raise UsageError(f"--listen {text!r} is not HOST:PORT, such as {DEFAULT_HOST}:{DEFAULT_PORT}")
    return host.strip("[]") or DEFAULT_HOST, int(port)


def parse_speed(text: str) -> float:
    """Return the factor; infinity for `max`.

    Raises:
        UsageError: it is neither `max` nor a number above zero.
    """
    if text == "max":
        return float("inf")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise UsageError(f"--speed {text!r} is neither max nor a number above 0, such as 1, 0.5 or 100")
    return factor


def _read(path: str) -> Recording:
    if path == "-":
        return _parse(sys.stdin.buffer, "standard input")
    if path == DEMO:
        from importlib.resources import files

        with (files("krakenws.exchange") / "demo_v1.jsonl").open("rb") as lines:
            return _parse(lines, path)
    try:
        with open(path, "rb") as lines:
            return _parse(lines, path)
    except OSError as error:
        hint = f"; '{DEMO}' plays a built-in recording" if isinstance(error, FileNotFoundError) else ""
        raise UsageError(f"cannot read the recording {path}: {error.strerror}{hint}") from None


def _parse(lines: Iterable[bytes], name: str) -> Recording:
    from krakenws.exchange.replay import read_recording

    try:
        recording = read_recording(lines)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    if not recording:
        raise UsageError(f"{name}: the recording is empty: it has no received frame")
    return recording
