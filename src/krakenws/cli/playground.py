"""`--sandbox` on any command: the sandbox exchange instead of Kraken, with the demo account's key."""

from __future__ import annotations

import os
import subprocess
import sys

from krakenws.errors import ConnectionFailed, UsageError
from krakenws.net.transport import parse_url
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from krakenws.options import Options

_LOOK_S = 0.5


class Playground:
    """A sandbox exchange to talk to: one that runs already, or one that lives as long as this object.

    A context manager: leaving it ends the sandbox that it started.

    Args:
        url: where a sandbox listens, or "" for the default port, else one of our own.
        note: takes a sentence for people.
    """

    def __init__(self, url: str, note: Callable[[str], None]) -> None:
        self._url = url
        self._note = note
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Playground:  # noqa: PYI034 - nobody derives from it
        if not self._url:
            self._url = _listening() or self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()  # closes its standard input, too

    def options(self, options: Options) -> Options:
        """Return options that lead to the sandbox.

        Raises:
            UsageError: the URL given is no WebSocket URL.
        """
        target = parse_url(self._url)
        if target.path.strip("/"):
            raise UsageError(f"--sandbox={self._url}: give the sandbox's own address, without a path")
        base = self._url.rstrip("/")
        scheme = "https" if target.secure else "http"
        rest_url = f"{scheme}://{target.shown}"
        return replace(options, public_url=base, private_url=f"{base}/auth", rest_url=rest_url)

    def _start(self) -> str:
        """Start a sandbox on a free port and return its URL."""
        # -P: not the drop-in of the directory we happen to be in. A session of its own, for Ctrl-C is ours;
        # and it ends with its standard input, so that it does not outlive us however we end.
        command = [
            sys.executable,
            "-P",
            "-m",
            "krakenws",
            "sandbox",
            "--listen",
            "127.0.0.1:0",
            "--until-eof",
            "-q",
            "-o",
            "text",
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        for line in self._process.stdout:
            name, colon, value = line.partition(": ")
            if name == "public" and colon:
                self._note(
                    "started a sandbox exchange for this run; 'krakenws sandbox' starts one that lasts"
                )
                return value.strip()
        raise ConnectionFailed("the sandbox exchange did not start; try 'krakenws sandbox' to see why")


def demo_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which the demo account's key is the one that is found, and no token is."""
    from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET

    rest = {name: value for name, value in environ.items() if name != "KRAKENWS_TOKEN"}
    return {**rest, "KRAKEN_API_KEY": DEMO_KEY, "KRAKEN_API_SECRET": DEMO_SECRET}


def _environment() -> dict[str, str]:
    """The sandbox's own settings are its defaults, whatever the caller's environment sets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KRAKENWS_")}


def _listening() -> str:
    """Return the URL of a sandbox on the default port, or ""."""
    from http.client import HTTPConnection, HTTPException

    from krakenws.cli.sandbox import DEFAULT_HOST, DEFAULT_PORT

    connection = HTTPConnection(DEFAULT_HOST, DEFAULT_PORT, timeout=_LOOK_S)
    try:
        connection.request("GET", "/sandbox/faults")
        is_sandbox = connection.getresponse().status == 200
    except ConnectionRefusedError:
        return ""
    except (OSError, HTTPException):
        is_sandbox = False
    finally:
        connection.close()
    if not is_sandbox:
        raise ConnectionFailed(
            f"what listens on {DEFAULT_HOST}:{DEFAULT_PORT} is no sandbox exchange;"
            " give the address of one with --sandbox=URL"
        )
    return f"ws://{DEFAULT_HOST}:{DEFAULT_PORT}"
