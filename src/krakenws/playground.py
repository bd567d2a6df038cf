"""The sandbox exchange instead of Kraken, with the demo account's key: `--sandbox`, `connect(sandbox=…)`.

One that is started for a run is a child process: its market and its event loop do not slow the reader down,
and the command's own path stays the one that leads to Kraken. It takes a free port of loopback and ends with
its standard input, which only this process holds open: however we end, also by SIGKILL, it is gone at once.
"""

from __future__ import annotations

import os
import subprocess
import sys

from krakenws.errors import ConnectionFailed, UsageError
from krakenws.net.target import parse_url
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from krakenws.options import Options

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765
"""Where `krakenws sandbox` listens unless told otherwise."""
DEFAULT_URL = f"ws://{DEFAULT_HOST}:{DEFAULT_PORT}"
_LOOK_S = 0.5
_START_S = 30.0
_STOP_S = 5.0
_NO_START = "the sandbox exchange did not start; try 'krakenws sandbox' to see why"


class Playground:
    """A sandbox exchange to talk to: one that runs already, or one that lives as long as this object.

    A context manager: leaving it ends the sandbox that it started; from another thread, too, while it starts.

    Args:
        url: where a sandbox listens, or "" for the default port, else one of our own.
        note: takes a sentence for people.
    """

    def __init__(self, url: str, note: Callable[[str], None]) -> None:
        self._url = url
        self._note = note
        self._process: subprocess.Popen[str] | None = None
        self._left = False

    def __enter__(self) -> Playground:  # noqa: PYI034 - nobody derives from it
        if not self._url:
            try:
                self._url = _listening() or self._start()
            except BaseException:
                self._stop()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._stop()

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
        """Start a sandbox on a free port and return its URL.

        Raises:
            ConnectionFailed: it cannot be started, ended at once, or says nothing for `_START_S`.
        """
        from threading import Timer

        # -P: not the drop-in of the directory we happen to be in. A session of its own, for Ctrl-C is ours.
        command = [sys.executable, "-P", "-m", "krakenws", "sandbox", "--listen", f"{DEFAULT_HOST}:0"]
        command += ["--until-eof", "--quiet", "--output", "text"]
        try:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise ConnectionFailed(f"{_NO_START} ({error.strerror})") from None
        if self._left:  # before there was anything to end
            raise ConnectionFailed(_NO_START)
        assert process.stdout is not None  # noqa: S101 - asked for above
        patience = Timer(_START_S, process.kill)
        patience.daemon = True
        patience.start()
        try:
            for line in process.stdout:
                name, colon, value = line.partition(": ")
                if name == "public" and colon:
                    self._note(
                        "started a sandbox exchange for this run; 'krakenws sandbox' starts one that lasts"
                    )
                    return value.strip()
        finally:
            patience.cancel()
        raise ConnectionFailed(_NO_START)

    def _stop(self) -> None:
        """End the sandbox that was started, if one was."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=_STOP_S)  # closes its standard input, too
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


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
            f"what listens on {DEFAULT_HOST}:{DEFAULT_PORT} is no sandbox exchange, or one with TLS;"
            " give the address of one with --sandbox=URL"
        )
    return DEFAULT_URL
